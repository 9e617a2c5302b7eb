"""The keys of personal data, one per subject; and the size from which a restored ledger has checkpoints.

The keys are in a schema of their own that only the custodian may read. A key is created once and deleted once: a row
whose key is deleted stays, so that a forgotten subject is never given a new one.
"""

from alembic import op

from adapters.postgres.migrations.naming import named

revision = "0005"
down_revision = "0004"

TABLES = """
CREATE SCHEMA personal;

CREATE TABLE personal.subjects (
    subject text PRIMARY KEY,
    key bytea CHECK (length(key) = 64),
    made_at timestamptz NOT NULL DEFAULT now(),
    forgotten_at timestamptz,
    CHECK ((key IS NULL) = (forgotten_at IS NOT NULL))
);
ALTER TABLE personal.subjects ALTER COLUMN key SET STORAGE PLAIN;

CREATE FUNCTION personal.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF NEW.key IS NULL AND OLD.subject = NEW.subject AND OLD.made_at = NEW.made_at THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'a subject''s key is made once, and forgotten once: % refused', TG_OP
        USING ERRCODE = 'restrict_violation', HINT = 'daybook redact forgets a subject.';
END $$;

CREATE TRIGGER refuse_row_change BEFORE UPDATE OR DELETE ON personal.subjects
    FOR EACH ROW EXECUTE FUNCTION personal.refuse_change();
CREATE TRIGGER refuse_change BEFORE TRUNCATE ON personal.subjects
    FOR EACH STATEMENT EXECUTE FUNCTION personal.refuse_change();
ALTER TABLE personal.subjects ENABLE ALWAYS TRIGGER refuse_row_change;
ALTER TABLE personal.subjects ENABLE ALWAYS TRIGGER refuse_change;
"""

IDENTITY = "ALTER TABLE ledger.identity ADD COLUMN restored_size bigint NOT NULL DEFAULT 0 CHECK (restored_size >= 0)"

RIGHTS = """
GRANT USAGE ON SCHEMA personal TO daybook_custodian, daybook_auditor;
GRANT SELECT, INSERT, UPDATE (key, forgotten_at) ON personal.subjects TO daybook_custodian;
GRANT SELECT (subject, made_at, forgotten_at) ON personal.subjects TO daybook_auditor;
"""


def upgrade() -> None:
    op.execute(TABLES)
    op.execute(IDENTITY)
    op.execute(named(RIGHTS))


def downgrade() -> None:
    raise NotImplementedError("a book of record is not undone; restore a backup beside it instead")
