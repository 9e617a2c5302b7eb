"""The quality of marks, the index for bitemporal look-ups, and funding rates.

`quality` is the kind of price a mark is, UNSTATED for older marks. `market.funding_rates` has the rates that venues
announced for perpetuals: a fraction of notional for one interval, settled at `rate_at`.
"""

from alembic import op

from adapters.postgres.migrations.naming import named

revision = "0006"
down_revision = "0005"

TABLES = """
ALTER TABLE market.marks ADD COLUMN quality text NOT NULL DEFAULT 'UNSTATED';
DROP INDEX market.marks_latest_idx;
CREATE INDEX marks_latest_idx ON market.marks (instrument_id, mark_at DESC, mark_id DESC) INCLUDE (recorded_at);
CREATE INDEX marks_recorded_idx ON market.marks (instrument_id, recorded_at);

CREATE TABLE market.funding_rates (
    rate_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    instrument_id text NOT NULL,
    rate_at timestamptz NOT NULL,
    rate numeric NOT NULL CHECK (rate > '-Infinity' AND rate < 'Infinity'),
    source text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX funding_rates_idx ON market.funding_rates (instrument_id, rate_at, rate_id);
CREATE TRIGGER refuse_row_change BEFORE UPDATE OR DELETE ON market.funding_rates
    FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON market.funding_rates
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
ALTER TABLE market.funding_rates ENABLE ALWAYS TRIGGER refuse_row_change;
ALTER TABLE market.funding_rates ENABLE ALWAYS TRIGGER refuse_change;
"""

RIGHTS = """
GRANT SELECT ON market.funding_rates TO daybook_writer, daybook_projector, daybook_auditor;
GRANT INSERT ON market.funding_rates TO daybook_writer;
"""


def upgrade() -> None:
    op.execute(TABLES)
    op.execute(named(RIGHTS))


def downgrade() -> None:
    raise NotImplementedError("a book of record is not undone; restore a backup beside it instead")
