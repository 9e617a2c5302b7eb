"""The views of `v1` on accounts, instruments, balances, the journal, days, capital and marks."""

from projections.sql_views.definitions import Composed, Function, columns, view
from projections.sql_views.trading_views import CONTRACT, LEG, POSITION, SEQ

ACCOUNT_ASSET = """
account_id text -- The account.
asset text -- The asset; amounts are in units of it.
"""

VIEWS = (
    view(
        "accounts",
        "references.accounts",
        "Accounts. Who owns one is not shown.",
        f"""account_id text -- The account.
base_currency text -- The currency it is reported in.
opened_at timestamptz -- When it was opened.
{SEQ.strip()}
""",
    ),
    view(
        "instruments",
        "references.instruments",
        "Instruments as last listed or amended.",
        f"""instrument_id text -- The instrument.
{CONTRACT.strip()}
expiry timestamptz -- When it expires; null if it does not.
lot_size numeric -- The smallest step of quantity.
{SEQ.strip()}
""",
    ),
    view(
        "balances",
        "balances.balances",
        "Balances of accounts by venue and asset.",
        f"""account_id text -- The account.
venue text -- The venue; empty of cash without one.
asset text -- The asset; amounts are in units of it.
total numeric -- All of it.
held numeric -- What pending transfers hold.
available numeric = t.total - t.held -- total less held.
{SEQ.strip()}
""",
    ),
    view(
        "coin_entries",
        "coins.entries",
        """What moved coins and money other than by trades, as reported: a row for each amount. `daybook report gains`
        matches it, and trades, with lots.""",
        f"""account_id text -- The account.
entry text -- TRANSFER, RETURN, FEE, ENTRY or FUNDING.
reference text -- The transfer, fee, entry or payment.
line bigint = l.ordinality -- The number of the amount in its entry: first what moved, then fees.
kind text -- Of an ENTRY its kind, such as STAKING or CONVERSION; else as entry.
counter_account_id text = nullif(t.counter_account_id, '') -- The other account of ours, of a transfer that has one.
strategy_id text = nullif(t.strategy_id, '') -- The strategy of the position; null of cash.
instrument_id text = nullif(t.instrument_id, '') -- The instrument of the position; null of cash.
position_side text = nullif(t.position_side, '') -- Its leg: LONG, SHORT or BOTH; null of cash.
transact_time timestamptz -- When it happened.
asset text = l.value->>0 -- The asset.
amount numeric = l.value->>1 -- What came in; below zero what went out. In units of the asset.
{SEQ.strip()}
""",
        source="{table} AS t CROSS JOIN LATERAL jsonb_array_elements(t.entries) WITH ORDINALITY AS l",
        has_history=False,
    ),
    view(
        "journal_lines",
        "journal.entries",
        """The journal in double entry, a row for each line; the lines of an entry sum to zero in each asset. Free text
        is not shown.""",
        f"""entry_seq bigint -- The place in the log of the event it is of.
part bigint -- The number of the entry among those of its event.
line bigint = l.ordinality -- The number of the line in its entry.
account_id text -- The account.
kind text -- What moved, such as TRADE, FUNDING or TRANSFER.
booking_date date -- The day it was recorded (ISO 20022 BookgDt).
value_date date -- The day it belongs to (ISO 20022 ValDt).
strategy_id text -- The strategy of the position; null of cash.
instrument_id text -- The instrument of the position; null of cash.
reference text -- The execution, transfer or payment.
transact_time timestamptz -- When it happened.
recorded_at timestamptz -- When it was recorded.
ledger_account text = l.value->>0 -- The ledger account, such as Assets:BINANCE.
asset text = l.value->>1 -- The asset.
amount numeric = l.value->>2 -- Debit above zero, credit below, in units of the asset.
{SEQ.strip()}
""",
        source="{table} AS t CROSS JOIN LATERAL jsonb_array_elements(t.lines) WITH ORDINALITY AS l",
        has_history=False,
        added="position_side text -- The leg of hedge mode, LONG or SHORT; BOTH of a one-way position; null of cash.",
    ),
    view(
        "ledger",
        "journal.ledger",
        "The trial balance: debit and credit of each ledger account by position and asset.",
        f"""account_id text -- The account.
strategy_id text = nullif(t.strategy_id, '') -- The strategy of the position; null of cash.
instrument_id text = nullif(t.instrument_id, '') -- The instrument of the position; null of cash.
asset text -- The asset.
ledger_account text = pair.key -- The ledger account.
debit numeric = pair.value->>0 -- Sum of debits, in units of the asset.
credit numeric = pair.value->>1 -- Sum of credits, unsigned.
{SEQ.strip()}
""",
        source="{table} AS t CROSS JOIN LATERAL jsonb_each(t.sums) AS pair",
        has_history=False,
        added="position_side text = nullif(t.position_side, '') -- Its leg: LONG, SHORT or BOTH; null of cash.",
    ),
    view(
        "turnovers",
        "journal.turnover",
        "Debit and credit of each ledger account by asset and value date.",
        f"""{ACCOUNT_ASSET}value_date date -- The UTC day.
ledger_account text = pair.key -- The ledger account.
debit numeric = pair.value->>0 -- Sum of debits.
credit numeric = pair.value->>1 -- Sum of credits, unsigned.
{SEQ.strip()}
""",
        source="{table} AS t CROSS JOIN LATERAL jsonb_each(t.sums) AS pair",
        has_history=False,
    ),
    view(
        "position_days",
        "daily.days",
        """What every position gained, paid and traded by the UTC day in which it occurred, as known now. Sums are
        changes, in settle.""",
        f"""{POSITION}day date = date '1970-01-01' + t.slot::int -- The UTC day.
quantity numeric -- Change of quantity, signed.
cost numeric -- Change of cost.
realized numeric -- Realized PnL, before fees.
rounding numeric -- What rounding realized left over.
fee_cost numeric -- Cost of fees paid in the base currency.
fees_settle numeric -- Fees paid in settle; below zero rebates.
funding numeric -- Funding received; below zero paid.
income numeric -- Cost of quantity received as income.
transferred numeric -- Cost of quantity moved in, less that moved out, without a trade.
volume numeric -- Quantity traded, unsigned.
turnover numeric -- Value traded, in quote (of an option in settle).
fills bigint -- Number of trades.
{SEQ.strip()}
""",
        added=LEG,
    ),
    view(
        "cash_flows",
        "capital.cash",
        """Money moved in and out of accounts other than by trading, by half hour of occurrence.""",
        f"""account_id text -- The account.
currency text -- The currency.
half_hour timestamptz = timestamptz '1970-01-01 00:00Z' + t.slot * interval '30 minutes' -- The half hour's start.
external numeric -- Deposits, withdrawals, transfers, opening balances and adjustments: below zero is out.
income numeric -- Interest, rebates, rewards and other income.
fees numeric -- Charges apart from those of trades.
{SEQ.strip()}
converted numeric -- What was bought less what was sold in conversions of one currency to another.
borrowed numeric -- What was borrowed less what was repaid; no capital.
""",
    ),
)

_DAILY = columns(f"""{ACCOUNT_ASSET}day date -- The UTC day, by value date.
opening numeric -- The balance at the day's beginning.
inflow numeric -- What came in.
outflow numeric -- What went out, unsigned.
closing numeric -- The balance at the day's end: opening + inflow - outflow.
""")
_MOVEMENTS = columns(f"""{ACCOUNT_ASSET}day date -- The UTC day, by value date.
kind text -- What moved it, such as TRADE, FUNDING or TRANSFER.
inflow numeric -- What came in.
outflow numeric -- What went out, unsigned.
""")
_MATCHES = columns(f"""{POSITION}exec_id text -- The disposal.
line bigint -- The number of the match within its disposal.
lot_id text -- The lot: the execution that opened it.
acquired_at timestamptz -- When the lot was acquired; null if its execution is not on record in this position.
disposed_at timestamptz -- When it was disposed of.
holding_days numeric -- Whole days from acquisition to disposal.
quantity numeric -- Quantity used up, unsigned, in base units or contracts.
proceeds numeric -- What it was disposed of for: cost + gain, in settle; of a short lot below zero, as paid to close it.
cost numeric -- Cost of what was used up, signed as the lot's, in settle.
gain numeric -- Gain before rounding, in settle.
settle text -- The currency of proceeds, cost and gain.
is_current boolean -- False: a long restatement came after; `daybook report lots --matches` has the matches.
seq bigint -- The place in the log of the last event that changed the row.
{LEG}
""")
_VALUES = columns(f"""{POSITION}kind text -- SPOT, LINEAR, INVERSE or OPTION; null while only funding was settled.
settle text -- The currency of cost, value and unrealized.
quantity numeric -- What is held, in base units or contracts; below zero short.
cost numeric -- Cost of what is held.
mark numeric -- The newest mark, in quote units; null without one.
mark_at timestamptz -- When that was seen: decide whether it is too old.
value numeric -- Value at the mark, of INVERSE rounded at 18 places; null without a mark, zero when flat.
unrealized numeric -- value less cost.
seq bigint -- The place in the log of the last event that changed the position.
{LEG}
""")
_NET_ASSETS = columns(f"""{ACCOUNT_ASSET}balance numeric -- All of the asset, spot positions included.
open_value numeric -- Unrealized gain of futures that settle in it, and value of options, at the newest marks.
net_assets numeric -- balance + open_value; null where a mark is missing.
without_mark bigint -- Number of positions without a mark.
""")
_MARKS = columns("""mark_id bigint -- The number of the mark.
instrument_id text -- The instrument.
mark_at timestamptz -- When the price was seen.
price numeric -- The price, in quote units a base unit.
quality text -- MARK, INDEX, TRADE, CLOSE, MID, MANUAL or UNSTATED.
source text -- Where it is from.
recorded_at timestamptz -- When it was recorded, by the database's clock.
""")
_PROGRESS = columns("""read_model text -- The read model.
seq bigint -- The place in the log up to which its views are current.
updated_at timestamptz -- When it last moved.
is_stopped boolean -- Whether it stopped at an event; `daybook status` gives the reason.
""")

COMPOSED = (
    Composed(
        "matches",
        """Disposals and the lots they used up, with the time of acquisition, the proceeds and the time held (none under
        AVERAGE).""",
        _MATCHES,
        """
SELECT d.account_id, d.strategy_id, d.instrument_id, d.exec_id, d.line, d.lot_id,
    coalesce(opened.transact_time, moved.opened_at) AS acquired_at,
    d.disposed_at,
    floor(extract(epoch FROM d.disposed_at - coalesce(opened.transact_time, moved.opened_at)) / 86400) AS holding_days,
    d.quantity, d.cost + d.gain AS proceeds, d.cost, d.gain, p.settle,
    NOT EXISTS (SELECT FROM v1.long_restatements AS r WHERE r.account_id = d.account_id
        AND r.strategy_id = d.strategy_id AND r.instrument_id = d.instrument_id AND r.position_side = d.position_side
        AND r.restated_seq > d.seq AND r.since_at <= d.disposed_at) AS is_current,
    d.seq, d.position_side
FROM v1.lot_disposals AS d
LEFT JOIN v1.positions AS p USING (account_id, strategy_id, instrument_id, position_side)
LEFT JOIN LATERAL (
    SELECT min(e.transact_time) AS transact_time FROM v1.executions AS e
    WHERE e.account_id = d.account_id AND e.strategy_id = d.strategy_id AND e.instrument_id = d.instrument_id
        AND e.position_side = d.position_side AND e.exec_id = d.lot_id
) AS opened ON true
LEFT JOIN (
    SELECT account_id, strategy_id, instrument_id, position_side, lot_id, min(opened_at) AS opened_at
    FROM v1.transferred_lots GROUP BY account_id, strategy_id, instrument_id, position_side, lot_id
) AS moved USING (account_id, strategy_id, instrument_id, position_side, lot_id)
""",
    ),
    Composed(
        "daily_balances",
        """Opening and closing balances of accounts by asset and UTC day; a row for each day with movements. Exactly:
        opening + inflow - outflow = closing, and a day opens with what the one before closed with.""",
        _DAILY,
        """
SELECT account_id, asset, value_date AS day, closing - inflow + outflow AS opening, inflow, outflow, closing
FROM (
    SELECT account_id, asset, value_date, inflow, outflow,
        sum(inflow - outflow) OVER (PARTITION BY account_id, asset ORDER BY value_date) AS closing
    FROM (
        SELECT account_id, asset, value_date, sum(debit) AS inflow, sum(credit) AS outflow
        FROM v1.turnovers WHERE ledger_account LIKE 'Assets:%' GROUP BY account_id, asset, value_date
    ) AS of_day
) AS running
""",
    ),
    Composed(
        "balance_movements",
        "What moved the balances of a day, by kind.",
        _MOVEMENTS,
        """
SELECT account_id, asset, value_date AS day, kind, coalesce(sum(amount) FILTER (WHERE amount > 0), 0) AS inflow,
    -coalesce(sum(amount) FILTER (WHERE amount < 0), 0) AS outflow
FROM v1.journal_lines WHERE ledger_account LIKE 'Assets:%' GROUP BY account_id, asset, value_date, kind
""",
    ),
    Composed(
        "marks",
        "Prices that positions are valued at, as they were seen; the history is only added to.",
        _MARKS,
        """
SELECT mark.mark_id, mark.instrument_id, mark.mark_at, mark.price, mark.quality, mark.source,
    coalesce(mark.recorded_at, batch.recorded_at) AS recorded_at
FROM market.marks AS mark LEFT JOIN LATERAL (
    SELECT recorded_at, last_id FROM market.batches
    WHERE kind = 'MARK' AND first_id <= mark.mark_id ORDER BY first_id DESC LIMIT 1
) AS batch ON mark.recorded_at IS NULL
WHERE mark.recorded_at IS NOT NULL OR batch.last_id >= mark.mark_id
""",
    ),
    Composed(
        "position_values",
        "Positions at the newest marks.",
        _VALUES,
        """
SELECT p.account_id, p.strategy_id, p.instrument_id, p.kind, p.settle, p.quantity, p.cost, m.price AS mark, m.mark_at,
    v.value, v.value - p.cost AS unrealized, p.seq, p.position_side
FROM v1.positions AS p
LEFT JOIN LATERAL (
    SELECT price, mark_at FROM v1.marks WHERE instrument_id = p.instrument_id AND mark_at <= now()
    ORDER BY mark_at DESC, mark_id DESC LIMIT 1
) AS m ON true
CROSS JOIN LATERAL (SELECT CASE
    WHEN p.quantity = 0 THEN 0
    WHEN p.kind <> 'INVERSE' THEN p.quantity * p.contract_size * m.price
    WHEN m.price > 0 THEN round((-p.quantity * p.contract_size)::numeric(200, 60) / m.price, 18)
END AS value) AS v
""",
    ),
    Composed(
        "net_assets",
        """What each account is worth, asset by asset and converted into no other, at the newest marks. In one currency
        and by the day, with returns: `daybook report nav`.""",
        _NET_ASSETS,
        """
SELECT account_id, asset, sum(balance) AS balance, sum(open_value) AS open_value,
    CASE WHEN sum(without_mark) = 0 THEN sum(balance) + sum(open_value) END AS net_assets,
    sum(without_mark) AS without_mark
FROM (
    SELECT account_id, asset, total AS balance, 0 AS open_value, 0 AS without_mark FROM v1.balances
    UNION ALL
    SELECT account_id, settle, 0, CASE kind WHEN 'OPTION' THEN value ELSE unrealized END, (value IS NULL)::int
    FROM v1.position_values WHERE kind IN ('LINEAR', 'INVERSE', 'OPTION') AND (quantity <> 0 OR cost <> 0)
) AS parts GROUP BY account_id, asset
""",
    ),
    Composed(
        "progress",
        "How far each read model, and so its views, has followed the log.",
        _PROGRESS,
        "SELECT projection AS read_model, seq, updated_at, error IS NOT NULL AS is_stopped FROM read.progress",
    ),
)

FUNCTIONS = (
    Function(
        "path_of",
        "seq bigint",
        "The keys under which past versions that held at a place in the log are found. For the as-of functions.",
        """
CREATE OR REPLACE FUNCTION v1.path_of(seq bigint) RETURNS bigint[] LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT array_agg(((seq >> level + 1) << level + 1) | (1::bigint << level)) FROM generate_series(0, 47) AS level
$$
""",
    ),
    Function(
        "seq_at",
        "moment timestamptz",
        """The last place in the log recorded at or before a moment, for the as-of functions. Refused for moments before
        the log's clock was last set right; Daybook itself answers those.""",
        """
CREATE OR REPLACE FUNCTION v1.seq_at(moment timestamptz) RETURNS bigint
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    confirmed_seq bigint;
    confirmed_at timestamptz;
    found bigint;
BEGIN
    SELECT notification_id, recorded_at INTO confirmed_seq, confirmed_at FROM ledger.events
        WHERE originator_id = 'clock' ORDER BY originator_version DESC LIMIT 1;
    IF moment < confirmed_at THEN
        RAISE EXCEPTION 'the clock of the log was set right at %: a place before that is not certain', confirmed_at
            USING HINT = 'Use `daybook report … --as-of`, or a seq.';
    END IF;
    SELECT notification_id INTO found FROM ledger.events
        WHERE recorded_at <= moment AND notification_id >= coalesce(confirmed_seq, 1)
        ORDER BY recorded_at DESC, notification_id DESC LIMIT 1;
    RETURN coalesce(found, 0);
END $$
""",
    ),
)
