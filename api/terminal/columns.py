"""Columns of the tables on the terminal: titles, kinds, and which are left out first on a narrow one."""

from collections.abc import Sequence

from api.terminal.output import Column, Kind

WHOSE = (Column("account_id", "Account", rank=3), Column("strategy_id", "Strategy", rank=2))
INSTRUMENT = Column("instrument_id", "Instrument")
LEG = Column("position_side", "Leg", rank=9)
HELD = (Column("quantity", "Quantity", Kind.NUMBER), Column("avg_px", "Avg price", Kind.NUMBER, 4))
POSITIONS = (
    *WHOSE, INSTRUMENT, LEG, *HELD, Column("cost", "Cost", Kind.NUMBER), Column("realized", "Realized", Kind.PNL),
    Column("fees", "Fees", rank=1), Column("funding", "Funding", Kind.PNL, 9), Column("settle", "Ccy"),
    Column("cost_basis", "Basis", rank=5),
)  # fmt: skip
PNL = (
    *WHOSE, INSTRUMENT, LEG, Column("kind", "Kind", rank=8), Column("quantity", "Quantity", Kind.NUMBER, 1),
    Column("mark", "Mark", Kind.NUMBER, 1),
    Column("realized", "Realized", Kind.PNL), Column("unrealized", "Unrealized", Kind.PNL),
    Column("funding", "Funding", Kind.PNL, 9), Column("income", "Income", Kind.PNL, 9),
    Column("fees_settle", "Fees", Kind.NUMBER),
    Column("fee_cost", "Fee cost", Kind.NUMBER, 9), Column("other_fees", "Other fees", rank=9),
    Column("net", "Net", Kind.PNL), Column("settle", "Ccy"),
)  # fmt: skip
PNL_TOTALS = (
    Column("settle", "Ccy"), Column("realized", "Realized", Kind.PNL), Column("unrealized", "Unrealized", Kind.PNL),
    Column("funding", "Funding", Kind.PNL, 9), Column("income", "Income", Kind.PNL, 9),
    Column("fees_settle", "Fees", Kind.NUMBER),
    Column("fee_cost", "Fee cost", Kind.NUMBER, 9), Column("net", "Net", Kind.PNL),
    Column("fees_converted", "Other fees", Kind.NUMBER, 8), Column("left_out", "Not in net, no rate", rank=1),
)  # fmt: skip
EXPOSURE = (
    *WHOSE, INSTRUMENT, LEG, Column("base", "Coin", rank=2), Column("quantity", "Quantity", Kind.NUMBER),
    Column("mark", "Mark", Kind.NUMBER, 1), Column("notional", "Notional", Kind.PNL), Column("quote", "Ccy"),
)  # fmt: skip
UNCOUNTED = (
    *WHOSE, Column("venue", "Venue", rank=3), Column("asset", "Asset"), Column("quantity", "Amount", Kind.PNL),
)  # fmt: skip
EXPOSURE_TOTALS = (
    Column("quote", "Ccy"), Column("gross", "Gross", Kind.NUMBER), Column("net", "Net", Kind.PNL),
    Column("missing_marks", "Missing marks", rank=9),
)  # fmt: skip
LOTS = (
    *WHOSE, INSTRUMENT, LEG, Column("lot_id", "Lot", rank=1), Column("opened_at", "Opened", Kind.TIME),
    Column("opened_quantity", "Opened qty", Kind.NUMBER, 4), Column("quantity", "Open qty", Kind.NUMBER),
    Column("cost", "Cost", Kind.NUMBER),
)  # fmt: skip
MATCHES = (
    *WHOSE, INSTRUMENT, LEG, Column("acquired_at", "Acquired", Kind.TIME, 1),
    Column("disposed_at", "Disposed", Kind.TIME, 1), Column("exec_id", "Execution", rank=5),
    Column("lot_id", "Lot", rank=3), Column("quantity", "Quantity", Kind.NUMBER),
    Column("proceeds", "Proceeds", Kind.NUMBER, 2), Column("cost", "Cost", Kind.NUMBER),
    Column("gain", "Gain", Kind.PNL), Column("holding_days", "Days", Kind.NUMBER, 2),
    Column("settle", "Ccy", rank=4),
)  # fmt: skip
ORDERS = (
    *WHOSE, Column("cl_ord_id", "Order"), INSTRUMENT, LEG, Column("side", "Side"), Column("ord_type", "Type", rank=5),
    Column("order_qty", "Quantity", Kind.NUMBER), Column("price", "Price", Kind.NUMBER, 1),
    Column("status", "Status"), Column("cum_qty", "Filled", Kind.NUMBER), Column("avg_px", "Avg price", Kind.NUMBER, 4),
    Column("rule", "Refused by", rank=9),
)  # fmt: skip
EXECUTIONS = (
    *WHOSE, Column("transact_time", "Time", Kind.TIME), INSTRUMENT, LEG, Column("side", "Side"),
    Column("last_qty", "Quantity", Kind.NUMBER), Column("last_px", "Price", Kind.NUMBER),
    Column("realized", "Realized", Kind.PNL), Column("fee", "Fee", Kind.NUMBER, 2),
    Column("commission_currency", "Fee ccy", rank=2), Column("exec_id", "Execution", rank=4),
    Column("reason", "Reason", rank=3), Column("reversal", "Reversal", rank=9),
)  # fmt: skip
BALANCES = (
    Column("account_id", "Account"), Column("venue", "Venue"), Column("asset", "Asset"),
    Column("total", "Total", Kind.PNL), Column("held", "Held", Kind.NUMBER), Column("available", "Available", Kind.PNL),
)  # fmt: skip
DAILY_BALANCES = (
    Column("day", "Day"), Column("account_id", "Account", rank=1), Column("asset", "Asset"),
    Column("opening", "Opening", Kind.PNL), Column("inflow", "In", Kind.NUMBER), Column("outflow", "Out", Kind.NUMBER),
    Column("inflow_by_kind", "In by kind", rank=3), Column("outflow_by_kind", "Out by kind", rank=3),
    Column("closing", "Closing", Kind.PNL),
)  # fmt: skip
JOURNAL = (
    Column("entry_seq", "Seq", rank=1), Column("value_date", "Value date"), Column("booking_date", "Booked", rank=5),
    Column("account_id", "Account", rank=3), Column("kind", "Kind"), Column("reference", "Reference", rank=4),
    Column("narrative", "Narrative", rank=6), Column("account", "Ledger account"),
    Column("strategy_id", "Strategy", rank=8),
    Column("instrument_id", "Instrument", rank=7), Column("asset", "Asset"), Column("debit", "Debit", Kind.NUMBER),
    Column("credit", "Credit", Kind.NUMBER),
)  # fmt: skip
TRIAL_BALANCE = (
    Column("account_id", "Account", rank=1), Column("account", "Ledger account"), Column("asset", "Asset"),
    Column("debit", "Debit", Kind.NUMBER, 2), Column("credit", "Credit", Kind.NUMBER, 2),
    Column("balance", "Balance", Kind.NUMBER),
)  # fmt: skip
LIMITS = (
    Column("account_id", "Account"), Column("strategy_id", "Strategy", rank=3), Column("instrument_id", "Instrument"),
    Column("venue", "Venue", rank=4), Column("asset", "Asset", rank=4), Column("scope", "Scope", rank=6),
    Column("measure", "Measure"), Column("subject", "On", rank=5), Column("status", "Status", rank=2),
    Column("limit", "Limit", Kind.NUMBER), Column("used", "Used", Kind.NUMBER),
    Column("headroom", "Headroom", Kind.PNL), Column("utilisation", "Utilisation", Kind.NUMBER, 4),
    Column("currency", "Ccy", rank=1), Column("is_breached", "Over", rank=2),
    Column("would_refuse", "Would refuse", Kind.NUMBER, 7), Column("breached_at", "Breached", Kind.TIME, 9),
    Column("unassessed", "Not monitored", rank=9),
)  # fmt: skip
NAV = (
    Column("day", "Day"), Column("nav", "NAV", Kind.NUMBER), Column("cash", "Cash", Kind.NUMBER, 5),
    Column("positions", "Positions", Kind.NUMBER, 5), Column("external", "Brought in", Kind.NUMBER, 3),
    Column("pnl", "PnL", Kind.PNL, 2), Column("return", "Return", Kind.PNL), Column("index", "Index", Kind.NUMBER, 1),
    Column("method", "Method", rank=4), Column("currency", "In"), Column("reason", "Unknown for", rank=9),
)  # fmt: skip
DAILY = (
    Column("day", "Day"), Column("account_id", "Account", rank=4), Column("strategy_id", "Strategy", rank=3),
    Column("instrument_id", "Instrument", rank=1), LEG, Column("realized", "Realized", Kind.PNL, 2),
    Column("funding", "Funding", Kind.PNL, 6), Column("fees_settle", "Fees", Kind.NUMBER, 5),
    Column("unrealized_change", "Unrealized +/-", Kind.PNL, 2), Column("net", "Net", Kind.PNL),
    Column("settle", "In"), Column("revaluation_base", "Revaluation", Kind.PNL, 7),
    Column("net_base", "Net in base", Kind.PNL), Column("base_currency", "Base", rank=1),
    Column("fills", "Fills", Kind.NUMBER, 8), Column("other_fees", "In net in base only: other fees", rank=1),
)  # fmt: skip
EQUITY = (
    Column("day", "Day"), Column("equity", "Equity", Kind.NUMBER), Column("cash", "Cash", Kind.NUMBER, 5),
    Column("positions", "Positions", Kind.NUMBER, 5), Column("external", "Brought in", Kind.NUMBER, 3),
    Column("pnl", "PnL", Kind.PNL), Column("return", "Return", Kind.PNL),
    Column("drawdown", "Drawdown", Kind.NUMBER, 4),
    Column("currency", "In"), Column("reason", "Unknown for", rank=9),
)  # fmt: skip
RECONCILIATION = (
    Column("day", "Day"), Column("equity_before", "Equity before", Kind.NUMBER),
    Column("trading_pnl", "Trading PnL", Kind.PNL), Column("revaluation", "Revaluation", Kind.PNL, 2),
    Column("cash_income", "Income", Kind.PNL, 4), Column("cash_charges", "Charges", Kind.NUMBER, 4),
    Column("cash_revaluation", "Of cash", Kind.PNL, 3), Column("deposits", "Deposits", Kind.PNL, 1),
    Column("transfers", "Transfers", Kind.PNL, 5), Column("transfer_result", "Cost less value", Kind.PNL, 6),
    Column("conversion_rounding", "Rounding", Kind.PNL, 7), Column("equity", "Equity", Kind.NUMBER),
    Column("currency", "In"), Column("lacking", "Unknown for", rank=9),
)  # fmt: skip
QUALITY = (
    Column("account_id", "Account", rank=4), Column("strategy_id", "Strategy", rank=5), Column("cl_ord_id", "Order"),
    Column("instrument_id", "Instrument", rank=1), LEG, Column("side", "Side"),
    Column("avg_px", "Avg price", Kind.NUMBER, 3),
    Column("arrival_px", "At arrival", Kind.NUMBER, 3), Column("slippage_bps", "Slippage bps", Kind.NUMBER),
    Column("shortfall", "Cost", Kind.NUMBER), Column("quote", "In", rank=1),
    Column("fill_ratio", "Filled", Kind.NUMBER, 2), Column("seconds_to_first_fill", "First s", Kind.NUMBER, 6),
    Column("seconds_to_last_fill", "Last s", Kind.NUMBER, 6),
)  # fmt: skip
QUALITY_GROUPS = tuple(
    Column(name, title, rank=9)
    for name, title in (
        ("account_id", "Account"), ("strategy_id", "Strategy"), ("instrument_id", "Instrument"),
        ("position_side", "Leg"), ("venue", "Venue"),
        ("day", "Day"),
    )
)  # fmt: skip
QUALITY_TOTALS = (
    Column("quote", "In"), Column("orders", "Orders", Kind.NUMBER), Column("filled", "Filled", Kind.NUMBER),
    Column("without_mark", "No mark", Kind.NUMBER, 4), Column("notional", "Size", Kind.NUMBER, 2),
    Column("shortfall", "Cost", Kind.NUMBER), Column("slippage_bps", "Slippage bps", Kind.NUMBER),
    Column("fill_ratio", "Fill ratio", Kind.NUMBER), Column("seconds_to_first_fill", "First s", Kind.NUMBER, 5),
)  # fmt: skip
CUTS = (
    Column("account_id", "Account", rank=9), Column("strategy_id", "Strategy", rank=9),
    Column("venue", "Venue", rank=9), Column("asset", "Asset", rank=9), Column("instrument_id", "Instrument", rank=9),
    LEG,
    Column("gross", "Gross", Kind.NUMBER), Column("net", "Net", Kind.PNL), Column("delta", "Delta", Kind.PNL, 1),
    Column("delta_value", "Delta value", Kind.PNL, 2), Column("share", "Share", Kind.NUMBER),
)  # fmt: skip
HEADROOM = (
    Column("account_id", "Account"), Column("measure", "Limit of"), Column("status", "Status", rank=2),
    Column("subject", "On", rank=1), Column("limit", "Limit", Kind.NUMBER), Column("used", "Used", Kind.NUMBER),
    Column("headroom", "Headroom", Kind.PNL), Column("currency", "In"), Column("is_breached", "Over", rank=2),
    Column("scope", "Scope", rank=3), Column("unassessed", "Unknown for", rank=9),
)  # fmt: skip
RESTATED = (
    Column("account_id", "Account", rank=3), Column("strategy_id", "Strategy", rank=2),
    INSTRUMENT, LEG, Column("reported", "Reported", Kind.PNL), Column("known", "Known", Kind.PNL),
    Column("difference", "Difference", Kind.PNL), Column("settle", "In"), Column("items", "Items", Kind.NUMBER, 4),
)  # fmt: skip
CAUSES = (
    Column("cause", "Cause"), Column("recorded_at", "Recorded", Kind.TIME, 2), Column("instrument_id", "Instrument"),
    Column("exec_ids", "Executions", rank=1), Column("mark_was", "Mark was", Kind.NUMBER, 3),
    Column("mark_is", "Mark is", Kind.NUMBER, 3), Column("booked", "Booked", Kind.PNL),
    Column("unrealized", "Unrealized", Kind.PNL), Column("amount", "Difference", Kind.PNL), Column("settle", "In"),
)  # fmt: skip
RESTATED_TOTALS = (
    Column("settle", "In"), Column("reported", "Reported", Kind.PNL), Column("known", "Known", Kind.PNL),
    Column("difference", "Difference", Kind.PNL),
)  # fmt: skip
RATES = (
    Column("day", "Day"), Column("from_currency", "From"), Column("to_currency", "To"),
    Column("rate", "Rate", Kind.NUMBER), Column("reason", "Unknown for", rank=9),
)  # fmt: skip
SIZED = (
    *WHOSE, INSTRUMENT, LEG, Column("asset", "Asset", rank=2), Column("quantity", "Quantity", Kind.NUMBER),
    Column("notional", "Notional", Kind.PNL), Column("quote", "Ccy"), Column("net", "Net", Kind.PNL),
    Column("currency", "In"), Column("lacking", "Unknown for", rank=9),
)  # fmt: skip
FIGURES = (Column("figure", "Figure"), Column("value", "Value", Kind.NUMBER), Column("why", "Unknown for", rank=9))
LOSSES = (
    Column("level", "Level", Kind.NUMBER), Column("historical_var", "Historical VaR", Kind.NUMBER),
    Column("historical_es", "Historical ES", Kind.NUMBER), Column("parametric_var", "Parametric VaR", Kind.NUMBER),
    Column("parametric_es", "Parametric ES", Kind.NUMBER),
)  # fmt: skip
MOVEMENTS = (
    Column("asset", "Asset"), Column("venue", "Venue"), Column("opening", "Opening", Kind.NUMBER),
    Column("in", "In", Kind.NUMBER), Column("out", "Out", Kind.NUMBER), Column("closing", "Closing", Kind.NUMBER),
)  # fmt: skip
RESULT = (
    Column("asset", "Asset"), Column("realized", "Realized", Kind.PNL), Column("rounding", "Rounding", Kind.PNL, 8),
    Column("funding", "Funding", Kind.PNL, 4), Column("other_income", "Other income", Kind.PNL, 5),
    Column("fees", "Fees", Kind.PNL), Column("fees_in_kind", "Fees in kind", Kind.PNL, 6),
    Column("net", "Net", Kind.PNL),
)  # fmt: skip
HELD_AT_END = (
    INSTRUMENT, LEG, Column("strategy_id", "Strategy", rank=2), Column("quantity", "Quantity", Kind.NUMBER),
    Column("mark", "Mark", Kind.NUMBER), Column("mark_age_ms", "Mark age", Kind.AGE, 1),
    Column("value", "Value", Kind.NUMBER, 3), Column("unrealized", "Unrealized", Kind.PNL), Column("settle", "Ccy"),
)  # fmt: skip
BY_INSTRUMENT = (Column("instrument_id", "Instrument"), Column("asset", "Asset"), Column("net", "Net", Kind.PNL))
ENTRIES = (
    Column("transact_time", "Time", Kind.TIME), Column("kind", "Kind"), Column("reference", "Reference", rank=4),
    Column("instrument_id", "Instrument", rank=2), Column("narrative", "Narrative", rank=5),
    Column("moved", "Movement"), Column("gained", "Result"), Column("entry_seq", "Seq", rank=6),
)  # fmt: skip
COIN, IN_CURRENCY = Column("coin", "Coin"), Column("currency", "In")
OF_ACCOUNT = Column("account_id", "Account", rank=3)
GAINS = (
    OF_ACCOUNT, COIN, Column("disposed_at", "Disposed", Kind.TIME), Column("kind", "Kind", rank=1),
    Column("quantity", "Quantity", Kind.NUMBER), Column("acquired_at", "Acquired", Kind.TIME),
    Column("holding_days", "Days", Kind.NUMBER, 4), Column("term", "Term", rank=2),
    Column("cost", "Cost", Kind.NUMBER), Column("proceeds", "Proceeds", Kind.NUMBER),
    Column("gain", "Gain", Kind.PNL), IN_CURRENCY, Column("reference", "Reference", rank=5),
    Column("proceeds_rate", "Rate", Kind.NUMBER, 6), Column("missing", "Unknown for", rank=7),
)  # fmt: skip
GAIN_TOTALS = (
    Column("year", "Year", Kind.NUMBER), OF_ACCOUNT, COIN, Column("term", "Term"),
    Column("quantity", "Quantity", Kind.NUMBER), Column("cost", "Cost", Kind.NUMBER, 2),
    Column("proceeds", "Proceeds", Kind.NUMBER, 1), Column("gain", "Gain", Kind.PNL), IN_CURRENCY,
    Column("disposals", "Rows", Kind.NUMBER, 5), Column("unvalued", "Not valued", Kind.NUMBER),
    Column("unvalued_quantity", "Of them", Kind.NUMBER, 4),
)  # fmt: skip
GAIN_YEARS = (
    Column("year", "Year", Kind.NUMBER), Column("gain", "Gain", Kind.PNL), Column("gain_long", "Long", Kind.PNL),
    Column("gain_short", "Short", Kind.PNL), Column("income", "Income", Kind.NUMBER),
    Column("derivatives", "Derivatives", Kind.PNL),
    Column("expenses", "Expenses", Kind.NUMBER), IN_CURRENCY, Column("disposals", "Rows", Kind.NUMBER, 5),
    Column("unvalued", "Not valued", Kind.NUMBER), Column("cost", "Cost", Kind.NUMBER, 3),
    Column("proceeds", "Proceeds", Kind.NUMBER, 2),
)  # fmt: skip
GAIN_INCOME = (
    OF_ACCOUNT, COIN, Column("received_at", "Received", Kind.TIME), Column("kind", "Kind"),
    Column("quantity", "Quantity", Kind.NUMBER), Column("value", "Value", Kind.NUMBER), IN_CURRENCY,
    Column("reference", "Reference", rank=5), Column("missing", "Unknown for", rank=7),
)  # fmt: skip
GAIN_DERIVATIVES = (
    OF_ACCOUNT, Column("settled_at", "Settled", Kind.TIME), Column("instrument_id", "Instrument"),
    Column("kind", "Kind"), Column("amount", "Amount", Kind.PNL), Column("settle", "Of"),
    Column("value", "Value", Kind.PNL), IN_CURRENCY, Column("reference", "Reference", rank=5),
    Column("value_rate", "Rate", Kind.NUMBER, 6), Column("missing", "Unknown for", rank=7),
)  # fmt: skip
GAIN_LEFT = (
    OF_ACCOUNT, COIN, Column("acquired_at", "Acquired", Kind.TIME), Column("acquired_by", "By", rank=1),
    Column("quantity", "Quantity", Kind.NUMBER), Column("cost", "Cost", Kind.NUMBER), IN_CURRENCY,
    Column("lot_id", "Lot", rank=5), Column("missing", "Unknown for", rank=7),
)  # fmt: skip
GAIN_REMOVED = (
    OF_ACCOUNT, COIN, Column("removed_at", "Withdrawn", Kind.TIME), Column("quantity", "Quantity", Kind.NUMBER),
    Column("acquired_at", "Acquired", Kind.TIME), Column("cost", "Cost", Kind.NUMBER), IN_CURRENCY,
    Column("reference", "Reference", rank=5),
)  # fmt: skip
GAIN_COINS = (
    OF_ACCOUNT, COIN, Column("acquired", "Acquired", Kind.NUMBER), Column("moved", "Moved", Kind.NUMBER, 2),
    Column("disposed", "Disposed", Kind.NUMBER), Column("removed", "Withdrawn", Kind.NUMBER, 1),
    Column("left", "Left", Kind.NUMBER), Column("left_cost", "Cost of it", Kind.NUMBER), IN_CURRENCY,
    Column("uncovered", "Uncovered", Kind.NUMBER, 3), Column("unvalued", "Not valued", Kind.NUMBER, 4),
)  # fmt: skip
TABLES: dict[str, dict[str, Sequence[Column]]] = {
    "pnl": {"items": PNL, "totals": PNL_TOTALS},
    "exposure": {"items": EXPOSURE, "totals": EXPOSURE_TOTALS, "uncounted": UNCOUNTED},
    "positions": {"items": POSITIONS},
    "balances": {"items": BALANCES},
    "daily-balances": {"items": DAILY_BALANCES},
    "journal": {"items": JOURNAL},
    "trial-balance": {"items": TRIAL_BALANCE, "totals": TRIAL_BALANCE[2:]},
    "blotter": {"items": ORDERS},
    "executions": {"items": EXECUTIONS},
    "risk": {"items": LIMITS},
    "lots": {"items": LOTS},
    "matches": {"items": MATCHES},
    "gains": {
        "items": GAINS, "totals": GAIN_TOTALS, "years": GAIN_YEARS, "income": GAIN_INCOME,
        "derivatives": GAIN_DERIVATIVES, "left": GAIN_LEFT,
        "removed": GAIN_REMOVED, "coins": GAIN_COINS,
    },
    "daily": {"items": DAILY, "totals": DAILY, "rates": RATES},
    "equity": {"items": EQUITY},
    "reconciliation": {"items": RECONCILIATION, "totals": RECONCILIATION[1:]},
    "nav": {"items": NAV},
    "statistics": {"figures": FIGURES, "losses": LOSSES},
    "quality": {"items": QUALITY, "totals": (*QUALITY_GROUPS, *QUALITY_TOTALS)},
    "leverage": {"figures": FIGURES, "exposure": CUTS, "limits": HEADROOM, "positions": SIZED},
    "restatement": {"items": CAUSES, "positions": RESTATED, "totals": RESTATED_TOTALS},
    "statement": {
        "balances": MOVEMENTS, "result": RESULT, "by_instrument": BY_INSTRUMENT, "positions": HELD_AT_END,
        "entries": ENTRIES,
    },
}  # fmt: skip
