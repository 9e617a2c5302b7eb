"""The places of process managers in the log: one row for each, with its state there.

`since` is the last seq that a process manager does not react to: the end of the log when it was first started, or where
its state of another version was. `saves` counts the writes of a row, so that of two processes that would write one, the
second fails. `error` names the event that it stopped at.
"""

from alembic import op

from adapters.postgres.migrations.naming import named

revision = "0017"
down_revision = "0016"

TABLES = """
CREATE TABLE read.reactions (
    reaction text COLLATE "C" PRIMARY KEY,
    version int NOT NULL,
    since bigint NOT NULL,
    seq bigint NOT NULL,
    state bytea,
    saves bigint NOT NULL DEFAULT 0,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    error text,
    carried_out bigint NOT NULL DEFAULT 0,
    refused bigint NOT NULL DEFAULT 0,
    last_request_id text,
    last_cause text,
    last_refusal text,
    last_at timestamptz
);
"""

RIGHTS = """
ALTER TABLE read.reactions OWNER TO daybook_projector;
GRANT SELECT ON read.reactions TO daybook_writer, daybook_auditor;
"""


def upgrade() -> None:
    op.execute(TABLES)
    op.execute(named(RIGHTS))


def downgrade() -> None:
    raise NotImplementedError("a book of record is not undone; restore a backup beside it instead")
