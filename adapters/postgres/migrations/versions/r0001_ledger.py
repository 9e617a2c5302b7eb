"""The log, the marks, the API keys, the read models' progress, and the roles' privileges on them.

`ledger.events` has the layout that the eventsourcing library's PostgreSQL recorder reads (text originator ids), and
beside it `recorded_at` and, for a fill, its `execution_key`: a venue's execution is recorded once. Its
`notification_id` has no sequence: the log numbers events itself, because a sequence leaves a gap wherever a transaction
rolls back.
"""

from alembic import op

from adapters.postgres.migrations.naming import named

revision = "0001"
down_revision = None

APPEND_ONLY = ("ledger.events", "market.marks")

TABLES = """
CREATE SCHEMA ledger;

CREATE TABLE ledger.events (
    originator_id text NOT NULL,
    originator_version bigint NOT NULL,
    topic text NOT NULL,
    state bytea NOT NULL,
    notification_id bigint NOT NULL,
    recorded_at timestamptz NOT NULL,
    execution_key text,
    PRIMARY KEY (originator_id, originator_version)
);
CREATE UNIQUE INDEX events_execution_key_idx ON ledger.events (execution_key) WHERE execution_key IS NOT NULL;
CREATE UNIQUE INDEX events_notification_id_idx ON ledger.events (notification_id);
CREATE INDEX events_recorded_at_idx ON ledger.events (recorded_at, notification_id);

CREATE FUNCTION ledger.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%.% is append-only: % refused', TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'restrict_violation', HINT = 'A mistake is corrected by recording another event.';
END $$;

CREATE SCHEMA market;

CREATE TABLE market.marks (
    mark_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    instrument_id text NOT NULL,
    mark_at timestamptz NOT NULL,
    price numeric NOT NULL CHECK (price > '-Infinity' AND price < 'Infinity'),
    source text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX marks_latest_idx ON market.marks (instrument_id, mark_at DESC, mark_id DESC);

CREATE SCHEMA access;

CREATE TABLE access.api_keys (
    key_id text PRIMARY KEY,
    key_sha256 bytea NOT NULL UNIQUE CHECK (length(key_sha256) = 32),
    actor text NOT NULL,
    scopes text[] NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz
);

CREATE SCHEMA read AUTHORIZATION daybook_projector;

CREATE TABLE read.progress (
    projection text PRIMARY KEY,
    version int NOT NULL,
    seq bigint NOT NULL DEFAULT 0,
    updated_at timestamptz NOT NULL DEFAULT now(),
    error text
);
ALTER TABLE read.progress OWNER TO daybook_projector;
"""

# Both kinds: a row trigger also stops replicated changes, a statement trigger also a change of no rows, and TRUNCATE.
REFUSALS = """
CREATE TRIGGER refuse_row_change BEFORE UPDATE OR DELETE ON {table}
    FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
ALTER TABLE {table} ENABLE ALWAYS TRIGGER refuse_row_change;
ALTER TABLE {table} ENABLE ALWAYS TRIGGER refuse_change;
"""

RIGHTS = """
GRANT USAGE ON SCHEMA ledger, market TO daybook_writer, daybook_projector, daybook_auditor;
GRANT SELECT ON ledger.events, market.marks TO daybook_writer, daybook_projector, daybook_auditor;
GRANT INSERT ON ledger.events, market.marks TO daybook_writer;

GRANT USAGE ON SCHEMA access TO daybook_writer, daybook_admin;
GRANT SELECT ON access.api_keys TO daybook_writer, daybook_admin;
GRANT INSERT, UPDATE (revoked_at) ON access.api_keys TO daybook_admin;

GRANT USAGE ON SCHEMA read TO daybook_writer, daybook_auditor;
GRANT SELECT ON read.progress TO daybook_writer, daybook_auditor;
ALTER DEFAULT PRIVILEGES FOR ROLE daybook_projector GRANT USAGE ON SCHEMAS TO daybook_auditor;
ALTER DEFAULT PRIVILEGES FOR ROLE daybook_projector GRANT SELECT ON TABLES TO daybook_auditor;
"""


def upgrade() -> None:
    op.execute(named(TABLES))
    for table in APPEND_ONLY:
        op.execute(REFUSALS.format(table=table))
    op.execute(named(RIGHTS))


def downgrade() -> None:
    raise NotImplementedError("a book of record is not undone; restore a backup beside it instead")
