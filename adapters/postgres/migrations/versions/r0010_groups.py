"""The entries of groups of streams (`domain.sealed.groups`), from which bundles show that they are complete.

A row has the entries that one group gained since the row before, 40 bytes each; `upto` is their number after it,
`nodes` the right edge of the group's tree then, `tile_roots` the roots of the tiles of 256 entries that became full.
`size` is the place in the log up to which they are: a checkpoint's, or a step of catching up with a log from before.
Derived: if all rows are deleted, the sealer makes them again from the log, and compares with its newest checkpoint.

`ledger.closings` keeps the figures of closings (`domain.sealed.figures`) for proofs: their lines, compressed. Derived
as well: what is not there is computed from the log, and is right if it leads to the root in the closing's event.
"""

from alembic import op

from adapters.postgres.migrations.naming import named

revision = "0010"
down_revision = "0009"

TABLES = """
CREATE TABLE ledger.group_runs (
    group_name text COLLATE "C" NOT NULL,
    size bigint NOT NULL CHECK (size > 0),
    upto bigint NOT NULL CHECK (upto > 0),
    entries bytea NOT NULL CHECK (length(entries) > 0 AND length(entries) % 40 = 0),
    nodes bytea NOT NULL CHECK (length(nodes) % 32 = 0),
    tile_roots bytea NOT NULL CHECK (length(tile_roots) % 32 = 0),
    PRIMARY KEY (group_name, size)
);
ALTER TABLE ledger.group_runs ALTER COLUMN entries SET STORAGE EXTERNAL;
CREATE INDEX group_runs_size_idx ON ledger.group_runs (size);

CREATE TABLE ledger.closings (
    as_of_seq bigint PRIMARY KEY CHECK (as_of_seq > 0),
    figures bytea NOT NULL
);
ALTER TABLE ledger.closings ALTER COLUMN figures SET STORAGE EXTERNAL;
"""

RIGHTS = """
GRANT SELECT, INSERT ON ledger.group_runs TO daybook_sealer;
GRANT SELECT ON ledger.group_runs TO daybook_writer, daybook_auditor;
GRANT SELECT, INSERT ON ledger.closings TO daybook_writer;
GRANT SELECT ON ledger.closings TO daybook_auditor;
"""


def upgrade() -> None:
    op.execute(TABLES)
    op.execute(named(RIGHTS))


def downgrade() -> None:
    raise NotImplementedError("a book of record is not undone; restore a backup beside it instead")
