"""The cosignatures of witnesses, beside the checkpoints that they are of.

Append-only, like the checkpoints. A witness may cosign the same checkpoint again, later; both are kept.
"""

from alembic import op

from adapters.postgres.migrations.naming import named
from adapters.postgres.migrations.versions.r0003_proof import REFUSALS

revision = "0011"
down_revision = "0010"

TABLES = """
CREATE TABLE ledger.cosignatures (
    size bigint NOT NULL CHECK (size > 0),
    name text COLLATE "C" NOT NULL,
    key_id bytea NOT NULL CHECK (length(key_id) = 4),
    signed_at timestamptz NOT NULL,
    line text NOT NULL,
    stored_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (size, name, key_id, signed_at)
);
CREATE INDEX cosignatures_of_key ON ledger.cosignatures (name, key_id, size);
"""

RIGHTS = """
GRANT SELECT, INSERT ON ledger.cosignatures TO daybook_sealer;
GRANT SELECT ON ledger.cosignatures TO daybook_writer, daybook_auditor;
"""


def upgrade() -> None:
    op.execute(TABLES)
    op.execute(REFUSALS.format(table="ledger.cosignatures"))
    op.execute(named(RIGHTS))


def downgrade() -> None:
    raise NotImplementedError("a book of record is not undone; restore a backup beside it instead")
