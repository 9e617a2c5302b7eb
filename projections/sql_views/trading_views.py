"""The views of `v1` on orders, executions, positions, lots, limits and breaks."""

from projections.sql_views.definitions import view

POSITION = """
account_id text -- The account.
strategy_id text -- The strategy; together with account, instrument and position_side it identifies the position.
instrument_id text -- The instrument, such as BTC-USD.BINANCE: its venue is what follows the dot.
"""
LEG = "position_side text -- The leg of hedge mode, LONG or SHORT; BOTH of a one-way position."
CONTRACT = """
kind text -- SPOT, LINEAR, INVERSE or OPTION; null while only funding was settled.
base text -- The currency that is bought and sold.
quote text -- The currency prices are in.
settle text -- The currency that gains and costs are in.
contract_size numeric -- Base units a contract (of INVERSE quote units); 1 for SPOT.
"""
CONVENTIONS = """
cost_basis text -- AVERAGE, FIFO, LIFO, HIFO, LOFO or SPECIFIC: which acquisitions a disposal uses up.
fee_policy text -- EXPENSED: fees are kept apart from cost. CAPITALISED: they are part of cost and proceeds.
money_places bigint -- Decimal places at which realized PnL is booked.
"""
SEQ = """
seq bigint -- The place in the log of the last event that changed the row.
"""
SCOPE = """
account_id text -- The account; firm for the limits over all accounts together.
strategy_id text = nullif(t.strategy_id, '') -- The strategy it covers; null: all together.
instrument_id text = nullif(t.instrument_id, '') -- The instrument it covers; null: any.
venue text = nullif(t.venue, '') -- The venue it covers; null: any.
asset text = nullif(t.asset, '') -- The base asset it covers; null: any.
"""
RECOSTED = (
    "EXISTS (SELECT FROM {schema}.restatements AS r WHERE r.account_id = t.account_id"
    " AND r.strategy_id = t.strategy_id AND r.instrument_id = t.instrument_id AND r.position_side = t.position_side"
    " AND r.restated_seq > t.seq AND r.since_at <= t.transact_time)"
)

VIEWS = (
    view(
        "orders",
        "orders.orders",
        """The blotter: one row an order, from submission (or adoption, or refusal) to its last report. Quantities are
        in base units or contracts, prices in quote units.""",
        f"""
account_id text -- The account.
cl_ord_id text -- Our id of the order, unique in its account (FIX ClOrdID).
order_id text -- The venue's id of the order, empty until it is known (FIX OrderID).
strategy_id text -- The strategy.
instrument_id text -- The instrument.
side text -- BUY or SELL; null of an adopted order whose terms are unknown.
ord_type text -- MARKET, LIMIT and so on (FIX OrdType).
time_in_force text -- DAY, GTC, IOC and so on (FIX TimeInForce).
order_qty numeric -- Quantity ordered; null of an adopted order whose terms are unknown.
price numeric -- Limit price.
stop_px numeric -- Stop price.
expire_time timestamptz -- When a GTD order expires.
terms_cl_ord_id text -- The ClOrdID of the terms in force: the order's own, or of its last replacement.
status text -- FIX OrdStatus: NEW, PARTIALLY_FILLED, FILLED, CANCELED, REJECTED, EXPIRED and so on.
cum_qty numeric -- Quantity filled.
leaves_qty numeric -- Quantity that may still be filled.
cum_cost numeric -- Sum of last_qty x last_px of the fills that stand.
avg_px numeric = CASE WHEN t.cum_qty <> 0 THEN t.cum_cost / t.cum_qty END -- Average price of the fills; null without.
rule text -- The rule that refused the order, if one did.
reason text -- The venue's latest reason, empty if it gave none.
breaks bigint -- Number of reports on this order that contradict the ledger.
opened_at timestamptz -- When it was submitted, adopted or refused: the client's or venue's time.
changed_at timestamptz -- When it last changed: the client's or venue's time.
opened_seq bigint -- The place in the log at which the row began.
{SEQ.strip()}
""",
        added=LEG,
    ),
    view(
        "executions",
        "executions.executions",
        """Every trade and transfer booked, one row each, and its effect on its position in order of occurrence, as
        known now. A trade canceled by the venue stays, with no effect.""",
        f"""{POSITION}exec_id text -- The venue's id of the execution (FIX ExecID), or the id of a transfer.
cl_ord_id text -- Our id of its order; empty of a transfer.
entry text -- TRADE or TRANSFER.
reason text -- The kind of trade, or the reason of the transfer.
trade_seq bigint -- The venue's sequence of the trade; 0 without.
side text -- BUY or SELL.
last_qty numeric -- Quantity, unsigned, in base units or contracts.
last_px numeric -- Price in quote units; null of a transfer.
stated_cost numeric = t.cost -- The cost stated with a transfer; null of a trade.
commission numeric -- Fee in commission_currency, positive paid, negative a rebate; of several the first, and all of
    them in execution_fees.
commission_currency text -- The currency of the fee.
liquidity text -- MAKER, TAKER or UNKNOWN.
transact_time timestamptz -- When it happened at the venue.
recorded_at timestamptz -- When it was recorded.
{CONTRACT.strip()}
{CONVENTIONS.strip()}
effect_quantity numeric -- Change of the position's quantity, signed.
effect_cost numeric = CASE WHEN NOT {RECOSTED} THEN t.effect_cost END -- Change of its cost, in settle.
realized numeric = CASE WHEN NOT {RECOSTED} THEN t.realized END -- Realized PnL, in settle.
rounding numeric = CASE WHEN NOT {RECOSTED} THEN t.rounding END -- What rounding realized left over, in settle.
fee numeric -- What of commission is expensed, in commission_currency.
fee_cost numeric = CASE WHEN NOT {RECOSTED} THEN t.fee_cost END -- Cost of a fee paid in the base currency, in settle.
is_late boolean -- Whether it arrived after a later one.
is_current boolean = NOT {RECOSTED} -- False: a long restatement came after; the effects are null here, and
    `daybook report executions` has them.
restatements bigint -- How often its effect was restated.
reversal text -- Why the venue canceled it; null while it stands.
booked_seq bigint -- The place in the log at which it was booked.
{SEQ.strip()}
""",
        added=LEG,
    ),
    view(
        "execution_fees",
        "executions.executions",
        """The fees of every trade as the venue charged them, one row a currency. What of them is expensed is in
        position_fees and in the journal.""",
        f"""{POSITION}exec_id text -- The execution.
cl_ord_id text -- Our id of its order.
currency text = f.value->>'currency' -- The currency of the fee.
amount numeric = f.value->>'amount' -- The fee: positive paid, negative a rebate.
{SEQ.strip()}
{LEG}
""",
        source="{table} AS t CROSS JOIN LATERAL jsonb_array_elements(t.commissions) AS f",
        has_history=False,
    ),
    view(
        "transferred_lots",
        "executions.executions",
        "Lots that were moved into a position by a transfer, with the age they keep.",
        f"""{POSITION}transfer_id text = t.exec_id -- The transfer.
lot_id text = l.value->>'lot_id' -- The lot: the execution that opened it.
opened_at timestamptz = l.value->'opened_at'->>0 -- When it was acquired.
{SEQ.strip()}
""",
        source="{table} AS t CROSS JOIN LATERAL jsonb_array_elements(t.lots) AS l",
        has_history=False,
        added=LEG,
    ),
    view(
        "positions",
        "positions.positions",
        """Positions: quantity, cost, realized PnL and funding. One row a position, closed ones included. Quantities are
        signed; sums are in settle.""",
        f"""{POSITION}{CONTRACT.strip()}
{CONVENTIONS.strip()}
quantity numeric -- What is held, in base units or contracts; below zero short.
cost numeric -- Cost of what is held, signed as quantity.
avg_px numeric = CASE WHEN t.quantity <> 0 AND t.kind IN ('SPOT', 'LINEAR') THEN t.cost / t.quantity / t.contract_size
    END -- Average price of what is held, in quote units; null of other kinds, and without quantity.
realized numeric -- Realized PnL, before fees.
rounding numeric -- What rounding realized left over.
fee_cost numeric -- Cost of fees paid in the base currency.
funding numeric -- Funding received; below zero paid.
income numeric -- Cost of quantity received as income: airdrops, staking, interest, rebates.
transferred numeric -- Cost of quantity moved in, less that moved out, without a trade.
last_transact_time timestamptz -- The latest occurrence that was booked.
last_exec_id text -- Its execution id.
{SEQ.strip()}
""",
        added=LEG,
    ),
    view(
        "position_fees",
        "positions.positions",
        "Fees of positions, by the currency they were paid in.",
        f"""{POSITION}currency text = f.key -- The currency.
amount numeric = f.value -- Fees paid in it; below zero rebates.
{SEQ.strip()}
""",
        source="{table} AS t CROSS JOIN LATERAL jsonb_each_text(t.fees) AS f",
        has_history=False,
        added=LEG,
    ),
    view(
        "funding",
        "positions.fundings",
        "Funding payments of positions, one row each.",
        f"""{POSITION}funding_id text -- The venue's id of the payment.
amount numeric -- Received; below zero paid.
currency text -- The currency of the amount.
transact_time timestamptz -- When it was settled.
recorded_at timestamptz -- When it was recorded.
booked_seq bigint -- The place in the log at which it was booked.
{SEQ.strip()}
""",
        added=LEG,
    ),
    view(
        "lots",
        "lots.lots",
        """Open lots: acquisitions not used up yet (none under AVERAGE). A short lot's quantity is below zero. Costs are
        in the position's settle currency.""",
        f"""{POSITION}lot_id text -- The execution that opened it.
opened_at timestamptz -- When it was acquired; a transferred lot keeps its age.
opened_trade_seq bigint -- The venue's sequence of that trade.
opened_quantity numeric -- Quantity acquired, signed.
opened_cost numeric -- Its cost.
quantity numeric -- Quantity left, signed.
cost numeric -- Cost of what is left.
{SEQ.strip()}
""",
        added=LEG,
    ),
    view(
        "lot_disposals",
        "lots.matches",
        """Matches of disposals with the lots they used up (none under AVERAGE), by time of occurrence. `matches` has
        them with the time of acquisition and the proceeds.""",
        f"""{POSITION}exec_id text -- The disposal.
line bigint -- The number of the match within its disposal, in the order in which lots were used up.
disposed_at timestamptz -- When it was disposed of.
disposed_trade_seq bigint -- The venue's sequence of that trade.
lot_id text -- The lot: the execution that opened it.
quantity numeric -- Quantity used up, unsigned, in base units or contracts.
cost numeric -- Its cost, signed as the lot's, in settle.
gain numeric -- Gain before rounding, in settle.
{SEQ.strip()}
""",
        added=LEG,
    ),
    view(
        "long_restatements",
        "executions.restatements",
        """Restatements of so many entries that they are on record by half hour only. Effects and matches of the entries
        from since_at on are costed when `daybook report` reads them; here they are not current.""",
        f"""{POSITION}restated_seq bigint -- The place in the log of the restatement.
since_at timestamptz -- The occurrence it begins at.
{SEQ.strip()}
""",
        has_history=False,
        added=LEG,
    ),
    view(
        "limits",
        "limits.limits",
        "Limits in force.",
        f"""{SCOPE}measure text -- What is limited, such as POSITION or NOTIONAL.
limit_value numeric = t."limit" -- The limit, in currency, or without one in base units, contracts or orders.
currency text -- The currency of the limit; null if it is not of money.
version bigint -- How often it was set.
unassessed text -- Why it cannot be assessed at present; null if it can.
transact_time timestamptz -- When it was set.
{SEQ.strip()}
""",
    ),
    view(
        "limit_breaches",
        "limits.breaches",
        "Limits exceeded other than by an order, while they are.",
        f"""{SCOPE}measure text -- What is limited.
subject text -- What exceeds it, if it is a part of the scope; else empty.
version bigint -- The version of the limit.
limit_value numeric = t."limit" -- The limit.
currency text -- The currency of limit and used; null if they are not of money.
used numeric -- What was used.
transact_time timestamptz -- When it was found.
{SEQ.strip()}
""",
    ),
    view(
        "shadow_limits",
        "shadow_limits.beside",
        "Limits that are not active: drafts, and shadow limits, which record what they would refuse.",
        f"""{SCOPE}measure text -- What is limited, such as POSITION or NOTIONAL.
status text -- DRAFT or SHADOW.
limit_value numeric = t."limit" -- The limit, in currency, base units, contracts or orders; null if lifted.
currency text -- The currency of the limit; null if it is not of money.
version bigint -- How often it was set in this status.
would_refuse bigint -- How many orders it would have refused since it was set to this number; null of a draft.
unassessed text -- Why it cannot be assessed at present; null if it can.
transact_time timestamptz -- When it was set.
{SEQ.strip()}
""",
    ),
    view(
        "shadow_refusals",
        "shadow_limits.refusals",
        "Orders and replacements that passed, and that a shadow limit would have refused.",
        f"""refused_seq bigint -- The place in the log of the refusal.
{SCOPE.strip()}
measure text -- What is limited.
version bigint -- The version of the limit.
limit_value numeric = t."limit" -- The limit.
used numeric -- The usage without the order; null if it could not be measured.
with_order numeric -- The usage with the order; null if it could not be measured.
currency text -- The currency of these; null if they are not of money.
order_account_id text -- The account of the order.
cl_ord_id text -- The order.
requested_as text -- The id of the replacement, if it was one.
order_strategy_id text -- The strategy of the order.
order_instrument_id text -- The instrument of the order.
side text -- BUY or SELL.
order_qty numeric -- The quantity it would have held.
transact_time timestamptz -- When it was checked.
{SEQ.strip()}
""",
        added=LEG,
    ),
    view(
        "switches",
        "limits.switches",
        "Kill switches that are engaged.",
        f"""{SCOPE}mode text -- What is stopped.
version bigint -- How often it was engaged.
transact_time timestamptz -- When it was engaged.
{SEQ.strip()}
""",
    ),
    view(
        "exposures",
        "limits.usage",
        "What limits count: positions and working orders, by position.",
        f"""{POSITION}quantity numeric = t.position -- Quantity held, signed, in base units or contracts.
held_buy numeric -- Quantity of working buy orders.
held_sell numeric -- Quantity of working sell orders.
orders bigint -- Number of working orders.
{SEQ.strip()}
""",
        added=LEG,
    ),
    view(
        "breaks",
        "breaks.breaks",
        """Reports that contradict the ledger or could not be read, and differences from venue statements. What the
        venue sent is not shown.""",
        f"""break_seq bigint -- The place in the log of the event that found it, which identifies it.
account_id text -- The account.
kind text -- ORDER, POSITION, ACCOUNT, UNREADABLE or RECONCILIATION.
rule text -- The rule that is broken.
about text -- What it is about: a subject, or a stable id.
cl_ord_id text -- The order, if it is about one.
report_type text -- The type of the report.
venue text -- The venue it is from.
status text -- OPEN or RESOLVED.
opened_at timestamptz -- When a RECONCILIATION break was opened.
age_steps bigint -- How many thresholds of age a RECONCILIATION break has passed.
recorded_at timestamptz -- When it was recorded.
{SEQ.strip()}
""",
        added="break_id text -- Its id, of any kind: to dismiss it by, or to correct it.",
    ),
)
