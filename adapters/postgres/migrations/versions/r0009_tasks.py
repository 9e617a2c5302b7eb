"""The health of the background tasks of each process, so that `daybook status` shows it from any other.

Unlogged: it is reported again every few seconds, and after a crash of the server there is none.
"""

from alembic import op

from adapters.postgres.migrations.naming import named

revision = "0009"
down_revision = "0008"

TABLES = """
CREATE UNLOGGED TABLE ledger.tasks (
    process text COLLATE "C" NOT NULL,
    task text COLLATE "C" NOT NULL,
    state text NOT NULL,
    since timestamptz NOT NULL,
    failures bigint NOT NULL,
    last_success_at timestamptz,
    last_error_at timestamptz,
    last_error text,
    is_needed boolean NOT NULL,
    is_trouble boolean NOT NULL,
    reported_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (process, task)
);
"""

RIGHTS = """
GRANT SELECT, INSERT, UPDATE, DELETE ON ledger.tasks TO daybook_writer;
GRANT SELECT ON ledger.tasks TO daybook_auditor;
"""


def upgrade() -> None:
    op.execute(TABLES)
    op.execute(named(RIGHTS))


def downgrade() -> None:
    raise NotImplementedError("a book of record is not undone; restore a backup beside it instead")
