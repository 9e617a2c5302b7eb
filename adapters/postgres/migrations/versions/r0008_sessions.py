"""An append tests what may change while its session lasts: the server's settings, and the schema itself.

`ledger.continue_after` also refuses when the commit would not be on the disk before it is acknowledged, and when the
database was brought forward to another revision than the caller's. A server for tests says so by
`daybook.durability = off` in its own settings. Callers of before, which name no revision, are refused.
"""

from alembic import op

from adapters.postgres.migrations.naming import named

revision = "0008"
down_revision = "0007"

FUNCTIONS = """
CREATE OR REPLACE FUNCTION ledger.continue_after(expected bigint, revision text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    found bigint;
    present text;
BEGIN
    SELECT version_num INTO present FROM public.daybook_revision;
    IF present <> revision THEN
        RAISE EXCEPTION 'the database was brought forward to revision %, and this process knows %', present, revision
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Start it again with the newer Daybook.';
    END IF;
    IF current_setting('synchronous_commit') IN ('off', 'local')
        OR ('off' IN (current_setting('fsync'), current_setting('full_page_writes'))
            AND coalesce(current_setting('daybook.durability', true), '') <> 'off') THEN
        RAISE EXCEPTION 'the server would acknowledge what it may lose: fsync is %, full_page_writes %, and'
            ' synchronous_commit %', current_setting('fsync'), current_setting('full_page_writes'),
            current_setting('synchronous_commit')
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Set all three to on.';
    END IF;
    PERFORM pg_advisory_xact_lock(229093388);
    SELECT notification_id INTO found FROM ledger.events ORDER BY notification_id DESC LIMIT 1;
    IF coalesce(found, 0) <> expected THEN
        RAISE EXCEPTION 'the log ends at %, not at %', coalesce(found, 0), expected
            USING ERRCODE = 'serialization_failure';
    END IF;
END $$;

CREATE OR REPLACE FUNCTION ledger.continue_after(expected bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the database was brought forward, and this process knows an older revision'
        USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Start it again with the newer Daybook.';
END $$;
"""

RIGHTS = """
GRANT USAGE ON SCHEMA public TO daybook_writer;
GRANT SELECT ON public.daybook_revision TO daybook_writer;
"""


def upgrade() -> None:
    op.execute(FUNCTIONS)
    op.execute(named(RIGHTS))


def downgrade() -> None:
    raise NotImplementedError("a book of record is not undone; restore a backup beside it instead")
