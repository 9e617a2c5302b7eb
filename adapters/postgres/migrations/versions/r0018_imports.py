"""Imports of files: one row for each, by a digest of its content and of what was stated about it, with its outcome.

What a file says is in the log; this answers the question what became of a file that was sent, and of sending it again.
"""

from alembic import op

from adapters.postgres.migrations.naming import named

revision = "0018"
down_revision = "0017"

TABLES = """
CREATE TABLE ledger.imports (
    import_id text COLLATE "C" PRIMARY KEY,
    account_id text COLLATE "C" NOT NULL,
    name text NOT NULL,
    status text NOT NULL,
    outcome bytea NOT NULL,
    started_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);
"""

RIGHTS = """
GRANT SELECT, INSERT, UPDATE ON ledger.imports TO daybook_writer;
GRANT SELECT ON ledger.imports TO daybook_auditor;
"""


def upgrade() -> None:
    op.execute(TABLES)
    op.execute(named(RIGHTS))


def downgrade() -> None:
    raise NotImplementedError("a book of record is not undone; restore a backup beside it instead")
