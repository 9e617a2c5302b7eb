"""Columns of the tables on the terminal: titles, kinds, and which are left out first on a narrow one."""

from collections.abc import Sequence

from api.terminal.output import Column, Kind

WHOSE = (Column("account_id", "Account", rank=3), Column("strategy_id", "Strategy", rank=2))
INSTRUMENT = Column("instrument_id", "Instrument")
HELD = (Column("quantity", "Quantity", Kind.NUMBER), Column("avg_px", "Avg price", Kind.NUMBER, 4))
POSITIONS = (
    *WHOSE, INSTRUMENT, *HELD, Column("cost", "Cost", Kind.NUMBER), Column("realized", "Realized", Kind.PNL),
    Column("fees", "Fees", rank=1), Column("funding", "Funding", Kind.PNL, 9), Column("settle", "Ccy"),
    Column("cost_basis", "Basis", rank=5),
)  # fmt: skip
PNL = (
    *WHOSE, INSTRUMENT, Column("quantity", "Quantity", Kind.NUMBER, 1), Column("mark", "Mark", Kind.NUMBER, 1),
    Column("realized", "Realized", Kind.PNL), Column("unrealized", "Unrealized", Kind.PNL),
    Column("funding", "Funding", Kind.PNL, 9), Column("fees_settle", "Fees", Kind.NUMBER),
    Column("fee_cost", "Fee cost", Kind.NUMBER, 9), Column("other_fees", "Other fees", rank=9),
    Column("net", "Net", Kind.PNL), Column("settle", "Ccy"),
)  # fmt: skip
PNL_TOTALS = (
    Column("settle", "Ccy"), Column("realized", "Realized", Kind.PNL), Column("unrealized", "Unrealized", Kind.PNL),
    Column("funding", "Funding", Kind.PNL, 9), Column("fees_settle", "Fees", Kind.NUMBER),
    Column("fee_cost", "Fee cost", Kind.NUMBER, 9), Column("net", "Net", Kind.PNL),
)  # fmt: skip
EXPOSURE = (
    *WHOSE, INSTRUMENT, Column("quantity", "Quantity", Kind.NUMBER), Column("mark", "Mark", Kind.NUMBER, 1),
    Column("notional", "Notional", Kind.PNL), Column("quote", "Ccy"),
)  # fmt: skip
EXPOSURE_TOTALS = (
    Column("quote", "Ccy"), Column("gross", "Gross", Kind.NUMBER), Column("net", "Net", Kind.PNL),
    Column("missing_marks", "Missing marks", rank=9),
)  # fmt: skip
LOTS = (
    *WHOSE, INSTRUMENT, Column("lot_id", "Lot", rank=1), Column("opened_at", "Opened", Kind.TIME),
    Column("opened_quantity", "Opened qty", Kind.NUMBER, 4), Column("quantity", "Open qty", Kind.NUMBER),
    Column("cost", "Cost", Kind.NUMBER),
)  # fmt: skip
MATCHES = (
    *WHOSE, INSTRUMENT, Column("acquired_at", "Acquired", Kind.TIME, 1),
    Column("disposed_at", "Disposed", Kind.TIME, 1), Column("exec_id", "Execution", rank=5),
    Column("lot_id", "Lot", rank=3), Column("quantity", "Quantity", Kind.NUMBER),
    Column("proceeds", "Proceeds", Kind.NUMBER, 2), Column("cost", "Cost", Kind.NUMBER),
    Column("gain", "Gain", Kind.PNL), Column("holding_days", "Days", Kind.NUMBER, 2),
    Column("settle", "Ccy", rank=4),
)  # fmt: skip
ORDERS = (
    *WHOSE, Column("cl_ord_id", "Order"), INSTRUMENT, Column("side", "Side"), Column("ord_type", "Type", rank=5),
    Column("order_qty", "Quantity", Kind.NUMBER), Column("price", "Price", Kind.NUMBER, 1),
    Column("status", "Status"), Column("cum_qty", "Filled", Kind.NUMBER), Column("avg_px", "Avg price", Kind.NUMBER, 4),
    Column("rule", "Refused by", rank=9),
)  # fmt: skip
EXECUTIONS = (
    *WHOSE, Column("transact_time", "Time", Kind.TIME), INSTRUMENT, Column("side", "Side"),
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
    Column("venue", "Venue", rank=4), Column("asset", "Asset", rank=4), Column("measure", "Measure"),
    Column("limit", "Limit", Kind.NUMBER), Column("used", "Used", Kind.NUMBER),
    Column("utilisation", "Utilisation", Kind.NUMBER, 1), Column("currency", "Ccy", rank=2),
    Column("breached_at", "Breached", Kind.TIME, 9), Column("unassessed", "Not monitored", rank=9),
)  # fmt: skip
TABLES: dict[str, tuple[Sequence[Column], Sequence[Column]]] = {
    "pnl": (PNL, PNL_TOTALS),
    "exposure": (EXPOSURE, EXPOSURE_TOTALS),
    "positions": (POSITIONS, ()),
    "balances": (BALANCES, ()),
    "daily-balances": (DAILY_BALANCES, ()),
    "journal": (JOURNAL, ()),
    "trial-balance": (TRIAL_BALANCE, TRIAL_BALANCE[2:]),
    "blotter": (ORDERS, ()),
    "executions": (EXECUTIONS, ()),
    "risk": (LIMITS, ()),
    "lots": (LOTS, ()),
    "matches": (MATCHES, ()),
}
