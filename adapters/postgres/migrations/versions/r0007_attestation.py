"""The schemas of read models' tables, and digests that attest their rows.

`read.progress` gains the schema that a projection's tables are in, and the digest and number of its rows, updated in
the transaction that writes them. `read.attestations` keeps some past digests, `read.kept` names the rows that a rebuild
has replaced, `read.followers` the processes that keep read models up to date. Read models are derived: existing ones
are dropped, and folded again into tables of the new kind.
"""

from alembic import op

from adapters.postgres.migrations.naming import named

revision = "0007"
down_revision = "0006"

TABLES = """
DELETE FROM read.progress;
ALTER TABLE read.progress
    ADD COLUMN schema text COLLATE "C",
    ADD COLUMN digest bytea CHECK (length(digest) = 32),
    ADD COLUMN rows bigint;

CREATE SEQUENCE read.schema_numbers;

CREATE TABLE read.attestations (
    projection text COLLATE "C" NOT NULL,
    seq bigint NOT NULL,
    version int NOT NULL,
    digest bytea NOT NULL CHECK (length(digest) = 32),
    rows bigint NOT NULL,
    attested_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (projection, seq)
);

CREATE TABLE read.kept (
    projection text COLLATE "C" PRIMARY KEY,
    version int NOT NULL,
    seq bigint NOT NULL,
    schema text COLLATE "C" NOT NULL,
    digest bytea,
    rows bigint,
    kept_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE read.followers (
    follower text COLLATE "C" PRIMARY KEY,
    name text NOT NULL,
    backend_pid int NOT NULL,
    beat bigint NOT NULL DEFAULT 0,
    events_s bigint,
    since timestamptz NOT NULL DEFAULT clock_timestamp(),
    beat_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
"""

RIGHTS = """
ALTER SEQUENCE read.schema_numbers OWNER TO daybook_projector;
ALTER TABLE read.attestations OWNER TO daybook_projector;
ALTER TABLE read.kept OWNER TO daybook_projector;
ALTER TABLE read.followers OWNER TO daybook_projector;
GRANT SELECT ON read.attestations, read.kept, read.followers TO daybook_writer, daybook_auditor;
"""


def upgrade() -> None:
    op.execute(TABLES)
    op.execute(named(RIGHTS))


def downgrade() -> None:
    raise NotImplementedError("a book of record is not undone; restore a backup beside it instead")
