"""Secrets of rotated API keys, and when each key was used last.

A key that is rotated has several secrets on record, each by its fingerprint; the log says which of them are valid. The
time of the last use is kept to the minute and is no evidence: the service writes it at most once a minute a key.
"""

from alembic import op

from adapters.postgres.migrations.naming import named

revision = "0015"
down_revision = "0014"

TABLES = """
CREATE TABLE access.key_secrets (
    key_sha256 bytea PRIMARY KEY CHECK (length(key_sha256) = 32),
    key_id text NOT NULL REFERENCES access.api_keys (key_id),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX key_secrets_key_id_idx ON access.key_secrets (key_id);
ALTER TABLE access.api_keys ADD COLUMN used_at timestamptz;
"""

RIGHTS = """
GRANT SELECT ON access.key_secrets TO daybook_writer, daybook_admin, daybook_auditor;
GRANT INSERT ON access.key_secrets TO daybook_admin;
GRANT UPDATE (used_at) ON access.api_keys TO daybook_writer;
"""


def upgrade() -> None:
    op.execute(TABLES)
    op.execute(named(RIGHTS))


def downgrade() -> None:
    raise NotImplementedError("a book of record is not undone; restore a backup beside it instead")
