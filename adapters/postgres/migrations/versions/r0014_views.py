"""SQL views of the read models for other tools, in a schema for each version; the first is `v1`.

The views are made and kept by the projections, which own the schema. `read.in_use` lets a view name the rows of two
builds of a read model and show those that the reader's snapshot has in use. The group `daybook_reader` may read the
views and nothing else; it has no members until somebody is let in.

The names of streams get an index by code point, so that those with a prefix are found.
"""

from alembic import op

from adapters.postgres.migrations.naming import named

revision = "0014"
down_revision = "0013"

TABLES = """
CREATE INDEX events_streams_idx ON ledger.events (originator_id COLLATE "C") WHERE originator_version = 1;

CREATE SCHEMA v1;

CREATE FUNCTION read.in_use(projection text, schema text, known text[]) RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER PARALLEL SAFE SET search_path = pg_catalog AS $$
DECLARE
    used text;
BEGIN
    SELECT p.schema INTO used FROM read.progress AS p WHERE p.projection = in_use.projection;
    IF used = in_use.schema THEN
        RETURN true;
    END IF;
    IF used = ANY (known) THEN
        RETURN false;
    END IF;
    RAISE EXCEPTION 'the rows of % that this transaction would see have been replaced since it began', projection
        USING ERRCODE = 'serialization_failure', HINT = 'Begin a new transaction and read again.';
END $$;
"""

RIGHTS = """
ALTER SCHEMA v1 OWNER TO daybook_projector;
ALTER FUNCTION read.in_use(text, text, text[]) OWNER TO daybook_projector;
GRANT USAGE ON SCHEMA v1 TO daybook_auditor;
DO $$ BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'daybook_reader') THEN
        GRANT USAGE ON SCHEMA v1 TO daybook_reader;
        GRANT SELECT ON ALL TABLES IN SCHEMA v1 TO daybook_reader;
        ALTER DEFAULT PRIVILEGES FOR ROLE daybook_projector IN SCHEMA v1 GRANT SELECT ON TABLES TO daybook_reader;
    END IF;
END $$;
"""


def upgrade() -> None:
    op.execute(TABLES)
    op.execute(named(RIGHTS))


def downgrade() -> None:
    raise NotImplementedError("a book of record is not undone; restore a backup beside it instead")
