"""An append tests what its session and its server must hold, because both may change while a session lasts.

`ledger.continue_after` also refuses when the commit would not be on the disk before it is acknowledged. A server for
tests says so by `daybook.durability = off` in its own settings.
"""

from alembic import op

revision = "0008"
down_revision = "0007"

FUNCTION = """
CREATE OR REPLACE FUNCTION ledger.continue_after(expected bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    found bigint;
BEGIN
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
"""


def upgrade() -> None:
    op.execute(FUNCTION)


def downgrade() -> None:
    raise NotImplementedError("a book of record is not undone; restore a backup beside it instead")
