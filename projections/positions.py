"""Positions: what is held, what it cost, what it has realized, paid and received. One row a position.

Everything a position is, is in one row, so that quantity, cost and PnL in an answer are of one moment; `pnl` and
`exposure` value these rows at given marks. Quantities are signed; sums are in `settle`; `fees` are by currency. A
restatement moves the sums by what it changed, as `domain.position.evolve` does; a trade that is taken back takes its
effect along. `income` and `transferred` are what came in without a trade, at its cost: earned, or brought. `last_*` is
the latest occurrence that was ever booked. `fundings` are the payments that `funding` sums.

`reached` is the latest moment of anything that was booked: no version of a row says anything of what occurred behind
it. What is booked of moments before it, a late trade, a reversal, a restatement, is kept in `late` as well, with what
it added: by these two a position as it occurred at any moment is looked up (`projections.occurred`). `entries` counts
the trades and transfers that stand, `payments` those of funding.
"""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal

from domain.costing import MICROSECOND, Effect
from domain.log import Logged
from domain.position import (
    FundingSettled,
    PositionKey,
    PositionRestated,
    PositionTransferred,
    TradeBooked,
    TradeReversed,
)
from domain.values import EARLIEST, EPOCH, ZERO, exact
from projections.history import node_of
from projections.rows import Rows, Source, fetch
from projections.tables import (
    AT,
    NUMBER,
    WHOLE,
    Amounts,
    Projection,
    Row,
    contract_columns,
    contract_of,
    contract_row,
    fact,
    key,
    maybe,
    table,
)

POSITION = ("account_id", "strategy_id", "instrument_id")
SUMS = ("quantity", "cost", "realized", "rounding", "fee_cost")  # what an effect adds to
RESTATED = ("cost", "realized", "rounding", "fee_cost")  # what a restatement moves
EVERY_SUM = (*SUMS, "income", "transferred", "funding")
COUNTS = ("entries", "payments")

positions_table = table(
    "positions",
    "positions",
    key("account_id"),
    key("strategy_id"),
    key("instrument_id"),
    *contract_columns(),
    maybe("cost_basis"),
    maybe("fee_policy"),
    maybe("money_places", WHOLE),
    fact("quantity", NUMBER),
    fact("cost", NUMBER),
    fact("realized", NUMBER),
    fact("rounding", NUMBER),
    fact("fees", Amounts()),
    fact("fee_cost", NUMBER),
    fact("funding", NUMBER),
    fact("income", NUMBER),
    fact("transferred", NUMBER),
    maybe("last_transact_time", AT),
    maybe("last_trade_seq", WHOLE),
    maybe("last_exec_id"),
    fact("reached", AT),
    *(fact(name, WHOLE) for name in COUNTS),
    versions_by=(*POSITION, "reached"),
)
late = table(  # what was added, from the moment `since` up to `until`, both in microseconds since 1970
    "positions",
    "late",
    *map(key, POSITION),
    key("late_seq", WHOLE),
    key("since", WHOLE),
    fact("until", WHOLE),
    fact("node", WHOLE),
    *(fact(name, NUMBER) for name in EVERY_SUM),
    fact("fees", Amounts()),
    *(fact(name, WHOLE) for name in COUNTS),
    indexes=(("node", "since"),),
    has_history=False,
)
fundings = table(
    "positions",
    "fundings",
    key("account_id"),
    key("strategy_id"),
    key("instrument_id"),
    key("funding_id"),
    fact("amount", NUMBER),
    fact("currency"),
    fact("transact_time", AT),
    fact("recorded_at", AT),
    fact("booked_seq", WHOLE),
    indexes=(("booked_seq",),),
    born="booked_seq",
)


def _new(position: PositionKey, at: datetime) -> Row:
    return {
        "account_id": position.account_id,
        "strategy_id": position.strategy_id,
        "instrument_id": position.instrument_id,
        "kind": None,
        "base": None,
        "quote": None,
        "settle": None,
        "contract_size": None,
        "cost_basis": None,
        "fee_policy": None,
        "money_places": None,
        "quantity": ZERO,
        "cost": ZERO,
        "realized": ZERO,
        "rounding": ZERO,
        "fees": {},
        "fee_cost": ZERO,
        "funding": ZERO,
        "income": ZERO,
        "transferred": ZERO,
        "last_transact_time": None,
        "last_trade_seq": None,
        "last_exec_id": None,
        "reached": at,
        "entries": 0,
        "payments": 0,
    }


def _row(rows: Rows, logged: Logged, position: PositionKey, at: datetime) -> Row:
    """The row, to be changed by what occurred at a moment."""
    known = rows.get(positions_table, position.account_id, position.strategy_id, position.instrument_id)
    row = (_new(position, at) if known is None else known) | {"seq": logged.seq}
    row["reached"] = max(row["reached"], at)
    return row


def _booked(rows: Rows, logged: Logged, event: TradeBooked | PositionTransferred) -> None:
    row, effect = _row(rows, logged, event.key, event.transact_time), event.effect
    if row["cost_basis"] is None:
        row["cost_basis"] = event.costing.cost_basis.value
        row["fee_policy"] = event.costing.fee_policy.value
        row["money_places"] = event.costing.money_places
    row |= contract_row(event.contract)
    change = _change(effect, 1)
    if isinstance(event, TradeBooked):
        place = (event.transact_time, event.trade_seq, event.exec_id)
        if effect.fee:
            change["fees"] = {event.commission.currency: effect.fee}
    else:
        place = (event.transact_time, 0, event.transfer_id)
        change["income" if event.reason.is_income else "transferred"] = event.cost
    last = (row["last_transact_time"], row["last_trade_seq"], row["last_exec_id"])
    if last[0] is None or place > last:
        row["last_transact_time"], row["last_trade_seq"], row["last_exec_id"] = place
    _put(rows, row, event.transact_time, change)


def _change(effect: Effect, sign: int) -> Row:
    """What an entry's effect adds, or takes back."""
    parts = ((name, getattr(effect, name)) for name in SUMS)
    return {name: part if sign > 0 else -part for name, part in parts if part} | {"entries": sign}


def _put(rows: Rows, row: Row, at: datetime, change: Row) -> None:
    """The row with what occurred at a moment added; if it has been beyond that, also what is late."""
    for name, part in change.items():
        if name == "fees":
            row[name] = _with_fees(row[name], part)
        elif name in COUNTS:
            row[name] += part
        else:
            row[name] = exact(row[name] + part)
    rows.put(positions_table, row)
    _put_late(rows, row, [(at, change)])


_NOTHING: Row = dict.fromkeys(EVERY_SUM, ZERO) | {"fees": {}} | dict.fromkeys(COUNTS, 0)


def _put_late(rows: Rows, row: Row, changes: Iterable[tuple[datetime, Row]]) -> None:
    """What an event adds at moments before the latest that its position has reached, one row each."""
    reached = row["reached"]
    until = (reached - EPOCH) // MICROSECOND
    for at, change in changes:
        if at < reached:
            since = (at - EPOCH) // MICROSECOND
            made = {name: row[name] for name in POSITION} | {"late_seq": row["seq"], "since": since, "until": until}
            rows.put(late, made | _NOTHING | change | {"node": node_of(since, until), "seq": row["seq"]})


def _with_fees(fees: dict[str, Decimal], added: dict[str, Decimal]) -> dict[str, Decimal]:
    return fees | {currency: exact(fees.get(currency, ZERO) + amount) for currency, amount in added.items()}


def _reversed(rows: Rows, logged: Logged, event: TradeReversed) -> None:
    row, effect = _row(rows, logged, event.key, event.transact_time), event.effect
    change = _change(effect, -1)
    if effect.fee:
        change["fees"] = {event.commission.currency: -effect.fee}
    _put(rows, row, event.transact_time, change)


def _restated(rows: Rows, logged: Logged, event: PositionRestated) -> None:
    moved: dict[datetime, Row] = {}
    for item in event.items:
        change = moved.setdefault(item.transact_time, dict.fromkeys(RESTATED, ZERO))
        for name in RESTATED:
            change[name] = exact(change[name] + getattr(item.now, name) - getattr(item.was, name))
    row = _row(rows, logged, event.key, max(moved, default=EARLIEST))
    for name in RESTATED:
        row[name] = exact(row[name] + sum((change[name] for change in moved.values()), ZERO))
    rows.put(positions_table, row)
    _put_late(rows, row, moved.items())


def _funded(rows: Rows, logged: Logged, event: FundingSettled) -> None:
    row = _row(rows, logged, event.key, event.transact_time)
    row["settle"] = row["settle"] or event.amount.currency
    _put(rows, row, event.transact_time, {"funding": event.amount.amount, "payments": 1})
    payment = {
        "account_id": event.key.account_id,
        "strategy_id": event.key.strategy_id,
        "instrument_id": event.key.instrument_id,
        "funding_id": event.funding_id,
        "amount": event.amount.amount,
        "currency": event.amount.currency,
        "transact_time": event.transact_time,
        "recorded_at": logged.recorded.recorded_at,
        "booked_seq": logged.seq,
        "seq": logged.seq,
    }
    rows.put(fundings, payment)


PROJECTION = Projection(
    "positions",
    4,
    (positions_table, late, fundings),
    {
        TradeBooked: _booked,
        TradeReversed: _reversed,
        PositionTransferred: _booked,
        PositionRestated: _restated,
        FundingSettled: _funded,
    },
)


def positions(
    source: Source,
    *,
    account_id: str | None = None,
    strategy_id: str | None = None,
    instrument_id: str | None = None,
    limit: int | None = None,
    after: tuple[str, str, str] | None = None,
) -> list[Row]:
    """Positions by account, strategy and instrument, with `avg_px`: the price at which the quantity is worth its cost.

    The next page is `after` the last row's (account_id, strategy_id, instrument_id).
    """
    where = {"account_id": account_id, "strategy_id": strategy_id, "instrument_id": instrument_id}
    found = fetch(source, positions_table, where=where, after=after, limit=limit)
    return [row | {"avg_px": average_price(row)} for row in found]


def average_price(row: Row) -> Decimal | None:
    """The price at which the position is worth its cost, to 18 places; None when flat."""
    contract = contract_of(row)
    return contract.average_price(row["quantity"], row["cost"]) if contract else None
