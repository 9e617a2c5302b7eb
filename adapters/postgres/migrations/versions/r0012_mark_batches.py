"""Batches of marks and funding rates: their place in the log, and the hashes of their leaves.

A price is on record when its batch is: `market.batches` has a row for each MarksRecorded of the log, inserted by a
trigger in the transaction that appends the event, and by nothing else. Prices without one are of a batch that was
never completed, and no query shows them. `known_to` is the greatest id on record at that seq.

Ids are given in blocks, one a batch, so that a batch is a range of ids. Prices recorded before this revision keep their
ids and their `recorded_at`; newer ones have the time of their batch.
"""

from alembic import op

from adapters.postgres.migrations.naming import named
from adapters.postgres.migrations.versions.r0001_ledger import REFUSALS

revision = "0012"
down_revision = "0011"

IDS_A_BATCH = 5000

TABLES = f"""
CREATE SEQUENCE market.price_ids INCREMENT BY {IDS_A_BATCH};
SELECT setval('market.price_ids', (
    SELECT (coalesce(max(id), 0) / {IDS_A_BATCH} + 1) * {IDS_A_BATCH} + 1
    FROM (SELECT max(mark_id) FROM market.marks UNION ALL SELECT max(rate_id) FROM market.funding_rates) AS ids (id)
), false);

ALTER TABLE market.marks ALTER COLUMN mark_id DROP IDENTITY IF EXISTS;
ALTER TABLE market.marks ALTER COLUMN recorded_at DROP DEFAULT, ALTER COLUMN recorded_at DROP NOT NULL;
ALTER TABLE market.funding_rates ALTER COLUMN rate_id DROP IDENTITY IF EXISTS;
ALTER TABLE market.funding_rates ALTER COLUMN recorded_at DROP DEFAULT, ALTER COLUMN recorded_at DROP NOT NULL;

DROP INDEX market.marks_recorded_idx;
CREATE INDEX marks_recorded_idx ON market.marks (instrument_id, recorded_at) WHERE recorded_at IS NOT NULL;
CREATE INDEX marks_id_idx ON market.marks (instrument_id, mark_id) WHERE recorded_at IS NULL;
CREATE INDEX marks_earlier_idx ON market.marks (mark_id) WHERE recorded_at IS NOT NULL;
CREATE INDEX funding_rates_earlier_idx ON market.funding_rates (rate_id) WHERE recorded_at IS NOT NULL;

CREATE TABLE market.batches (
    kind text COLLATE "C" NOT NULL,
    first_id bigint NOT NULL,
    last_id bigint NOT NULL CHECK (last_id >= first_id),
    seq bigint NOT NULL,
    recorded_at timestamptz NOT NULL,
    is_earlier boolean NOT NULL,
    known_to bigint NOT NULL,
    PRIMARY KEY (kind, first_id)
);
CREATE UNIQUE INDEX batches_seq_idx ON market.batches (seq);
CREATE INDEX batches_earlier_idx ON market.batches (kind, last_id) WHERE is_earlier;

CREATE TABLE market.leaves (
    kind text COLLATE "C" NOT NULL,
    first_id bigint NOT NULL,
    hashes bytea NOT NULL,
    PRIMARY KEY (kind, first_id)
);
ALTER TABLE market.leaves ALTER COLUMN hashes SET STORAGE EXTERNAL;

CREATE FUNCTION market.complete_batch() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    event json := convert_from(NEW.state, 'UTF8')::json -> 'event';
    before bigint := (
        SELECT known_to FROM market.batches WHERE kind = event ->> 'kind' ORDER BY seq DESC LIMIT 1
    );
BEGIN
    INSERT INTO market.batches (kind, first_id, last_id, seq, recorded_at, is_earlier, known_to) VALUES (
        event ->> 'kind', (event ->> 'first_id')::bigint, (event ->> 'last_id')::bigint, NEW.notification_id,
        NEW.recorded_at, coalesce((event ->> 'is_earlier')::boolean, false),
        greatest(before, (event ->> 'last_id')::bigint)
    );
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION market.complete_batch() FROM PUBLIC;
CREATE TRIGGER complete_batch AFTER INSERT ON ledger.events FOR EACH ROW WHEN (NEW.topic = 'MarksRecorded')
    EXECUTE FUNCTION market.complete_batch();
"""  # noqa: S608 (our own number)

RIGHTS = """
GRANT SELECT ON market.batches, market.leaves TO daybook_writer, daybook_projector, daybook_auditor;
GRANT INSERT ON market.leaves TO daybook_writer;
GRANT USAGE ON SEQUENCE market.price_ids TO daybook_writer;
"""


def upgrade() -> None:
    op.execute(TABLES)
    for table in ("market.batches", "market.leaves"):
        op.execute(REFUSALS.format(table=table))
    op.execute(named(RIGHTS))


def downgrade() -> None:
    raise NotImplementedError("a book of record is not undone; restore a backup beside it instead")
