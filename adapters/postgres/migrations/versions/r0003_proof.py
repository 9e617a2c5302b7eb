"""The log's proof: the ledger's identity, the Merkle tree's tiles, signed checkpoints, the keys that signed them.

All tables are append-only. `ledger.tiles` has the full tiles, 256 hashes of 32 bytes, and the root over each; a
checkpoint's `leaves` are the leaf hashes since the previous checkpoint that are not in a full tile yet, so that every
leaf's hash is stored, once or twice. The sealer writes only to these tables, and is the only writer of them.
"""

from alembic import op

from adapters.postgres.migrations.naming import named

revision = "0003"
down_revision = "0002"

APPEND_ONLY = ("ledger.identity", "ledger.keys", "ledger.tiles", "ledger.checkpoints")

TABLES = """
CREATE TABLE ledger.identity (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    ledger_id uuid NOT NULL,
    named_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE ledger.keys (
    place int PRIMARY KEY CHECK (place > 0),
    vkey text NOT NULL UNIQUE,
    since_size bigint NOT NULL CHECK (since_size >= 0),
    handover text,
    published_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE ledger.tiles (
    level smallint NOT NULL CHECK (level >= 0),
    tile_index bigint NOT NULL CHECK (tile_index >= 0),
    hashes bytea NOT NULL CHECK (length(hashes) = 8192),
    root bytea NOT NULL CHECK (length(root) = 32),
    PRIMARY KEY (level, tile_index)
);
ALTER TABLE ledger.tiles ALTER COLUMN hashes SET STORAGE EXTERNAL;

CREATE TABLE ledger.checkpoints (
    size bigint PRIMARY KEY CHECK (size > 0),
    note text NOT NULL,
    leaves bytea NOT NULL CHECK (length(leaves) % 32 = 0 AND length(leaves) < 8192),
    sealed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
ALTER TABLE ledger.checkpoints ALTER COLUMN leaves SET STORAGE EXTERNAL;
"""

REFUSALS = """
CREATE TRIGGER refuse_row_change BEFORE UPDATE OR DELETE ON {table}
    FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
ALTER TABLE {table} ENABLE ALWAYS TRIGGER refuse_row_change;
ALTER TABLE {table} ENABLE ALWAYS TRIGGER refuse_change;
"""

RIGHTS = """
GRANT USAGE ON SCHEMA ledger TO daybook_sealer;
GRANT SELECT ON ledger.events TO daybook_sealer;
GRANT SELECT, INSERT ON ledger.identity, ledger.keys, ledger.tiles, ledger.checkpoints TO daybook_sealer;
GRANT SELECT ON ledger.identity, ledger.keys, ledger.tiles, ledger.checkpoints TO daybook_writer, daybook_auditor;
"""


def upgrade() -> None:
    op.execute(TABLES)
    for table in APPEND_ONLY:
        op.execute(REFUSALS.format(table=table))
    op.execute(named(RIGHTS))


def downgrade() -> None:
    raise NotImplementedError("a book of record is not undone; restore a backup beside it instead")
