"""Tables of the leading writer: keyed requests with their answers, the leader, and a check of the log's end.

`ledger.requests` has one row for every request with a key, written in the transaction of its events: seqs `first_seq`
to `last_seq` (none if last < first), and the answer as it was sent. `ledger.leader` has one row at most, unlogged:
after a crash of the server there is no leader. `beat` is a counter that increases while the leader runs.
"""

from alembic import op

from adapters.postgres.migrations.naming import named

revision = "0002"
down_revision = "0001"

TABLES = """
CREATE TABLE ledger.requests (
    actor text NOT NULL,
    request_key text NOT NULL,
    body_sha256 bytea NOT NULL CHECK (length(body_sha256) = 32),
    first_seq bigint NOT NULL,
    last_seq bigint NOT NULL,
    recorded_at timestamptz NOT NULL,
    answer bytea NOT NULL,
    PRIMARY KEY (actor, request_key)
);

CREATE TRIGGER refuse_row_change BEFORE UPDATE OR DELETE ON ledger.requests
    FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger.requests
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
ALTER TABLE ledger.requests ENABLE ALWAYS TRIGGER refuse_row_change;
ALTER TABLE ledger.requests ENABLE ALWAYS TRIGGER refuse_change;

CREATE UNLOGGED TABLE ledger.leader (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    term bigint NOT NULL,
    beat bigint NOT NULL DEFAULT 0,
    name text NOT NULL,
    backend_pid int NOT NULL,
    since timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Holds off every other append until the transaction ends, and fails unless the log ends at `expected`.
CREATE FUNCTION ledger.continue_after(expected bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    found bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(229093388);
    SELECT notification_id INTO found FROM ledger.events ORDER BY notification_id DESC LIMIT 1;
    IF coalesce(found, 0) <> expected THEN
        RAISE EXCEPTION 'the log ends at %, not at %', coalesce(found, 0), expected
            USING ERRCODE = 'serialization_failure';
    END IF;
END $$;
"""

RIGHTS = """
GRANT SELECT, INSERT ON ledger.requests TO daybook_writer;
GRANT SELECT, INSERT, UPDATE ON ledger.leader TO daybook_writer;
GRANT SELECT ON ledger.requests, ledger.leader TO daybook_auditor;
"""


def upgrade() -> None:
    op.execute(TABLES)
    op.execute(named(RIGHTS))


def downgrade() -> None:
    raise NotImplementedError("a book of record is not undone; restore a backup beside it instead")
