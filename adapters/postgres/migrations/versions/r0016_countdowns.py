"""The countdowns of dead man's switches, which are extended every few seconds: each replaces the one before.

Unlogged: an extension waits for no disk. After a crash of the server there are none, and each switch that is armed
counts down in full again.
"""

from alembic import op

from adapters.postgres.migrations.naming import named

revision = "0016"
down_revision = "0015"

TABLES = """
CREATE UNLOGGED TABLE ledger.countdowns (
    account_id text COLLATE "C" NOT NULL,
    strategy_id text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    extended_at timestamptz NOT NULL,
    deadline timestamptz NOT NULL,
    is_over boolean NOT NULL DEFAULT false,
    PRIMARY KEY (account_id, strategy_id)
) WITH (fillfactor = 50);
"""

RIGHTS = """
GRANT SELECT, INSERT, UPDATE ON ledger.countdowns TO daybook_writer;
GRANT SELECT ON ledger.countdowns TO daybook_auditor;
"""


def upgrade() -> None:
    op.execute(TABLES)
    op.execute(named(RIGHTS))


def downgrade() -> None:
    raise NotImplementedError("a book of record is not undone; restore a backup beside it instead")
