"""Snapshots of long streams: an aggregate's state at a version, so that a start need not read the whole stream.

A cache: every row may be deleted at any time, at the cost of folding its stream again. The columns are those of the
eventsourcing library's snapshots; `topic` names the kind of aggregate and the code that folded it, and is part of the
key so that two releases can work side by side. The writer adds and deletes rows; rows are never updated.
"""

from alembic import op

from adapters.postgres.migrations.naming import named

revision = "0004"
down_revision = "0003"

TABLE = """
CREATE TABLE ledger.snapshots (
    originator_id text NOT NULL,
    originator_version bigint NOT NULL CHECK (originator_version > 0),
    topic text NOT NULL,
    state bytea NOT NULL,
    taken_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (originator_id, topic, originator_version)
);
ALTER TABLE ledger.snapshots ALTER COLUMN state SET STORAGE EXTERNAL;
"""

RIGHTS = """
GRANT SELECT, INSERT, DELETE ON ledger.snapshots TO daybook_writer;
GRANT SELECT ON ledger.snapshots TO daybook_auditor;
"""


def upgrade() -> None:
    op.execute(TABLE)
    op.execute(named(RIGHTS))


def downgrade() -> None:
    raise NotImplementedError("a book of record is not undone; restore a backup beside it instead")
