"""Positions: quantity, cost, realized PnL, fees and funding. One row a position.

All of a position is in one row, so that quantity, cost and PnL in a response are of one moment; `pnl` and `exposure`
value these rows at given marks. Quantities are signed; sums are in `settle`; `fees` are by currency. A restatement
changes the sums as `domain.position.evolve` does; a reversed trade's effect is subtracted. `income` and `transferred`
are quantity received without a trade, at its cost: earned, or moved in. `last_*` is the latest occurrence ever booked.
`fundings` are the payments that `funding` sums.

`reached` is the latest moment of any booking: no version of a row includes later occurrences. Bookings of earlier
moments (a late trade, a reversal, a restatement) are kept in `late` as well, with the amounts they added: both are
needed to look up a position as of any moment of occurrence (`projections.models.positions_occurred`). Of a restatement
by half hour only the sums are here: its changes up to a moment follow from the executions. `entries` counts the trades
and transfers that stand, `payments` those of funding.
"""

from datetime import datetime
from decimal import Decimal
from typing import cast

from domain.ledger import Logged
from domain.position import (
    MICROSECOND,
    Effect,
    FundingSettled,
    PositionKey,
    PositionRestated,
    PositionTransferred,
    TradeBooked,
    TradeReversed,
    expensed,
    occurrence_of,
)
from domain.values import EARLIEST, EPOCH, ZERO, Money, Occurrence, exact
from projections.storage.history import node_of
from projections.storage.rows import Source, fetch
from projections.storage.tables import (
    AT,
    NUMBER,
    POSITION,
    WHOLE,
    Amounts,
    AnyRow,
    ContractColumns,
    PositionColumns,
    PositionId,
    Projection,
    Row,
    Rows,
    contract_columns,
    contract_of,
    contract_row,
    fact,
    key,
    maybe,
    place_of,
    position_filter,
    position_row,
    table,
)

SUMS = ("quantity", "cost", "realized", "rounding", "fee_cost")  # columns that an effect changes
RESTATED = ("cost", "realized", "rounding", "fee_cost")  # columns that a restatement changes
EVERY_SUM = (*SUMS, "income", "transferred", "funding")
COUNTS = ("entries", "payments")
LAST = ("last_transact_time", "last_trade_seq", "last_exec_id", "last_nanos", "last_tie")  # an Occurrence
BOOKKEEPING = ("reached", *LAST[3:], *COUNTS)  # columns for looking up versions, not returned

positions_table = table(
    "positions",
    "positions",
    *map(key, POSITION),
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
    maybe("last_nanos", WHOLE),
    maybe("last_tie"),
    fact("reached", AT),
    *(fact(name, WHOLE) for name in COUNTS),
    versions_by=(*POSITION, "reached"),
)
late = table(  # amounts added to the position from the moment `since` up to `until`, in microseconds since 1970
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
    *map(key, POSITION),
    key("funding_id"),
    fact("amount", NUMBER),
    fact("currency"),
    fact("transact_time", AT),
    fact("recorded_at", AT),
    fact("booked_seq", WHOLE),
    indexes=(("booked_seq",),),
    created_by="booked_seq",
)


class PositionRow(PositionColumns, ContractColumns):
    """A position: `quantity` signed, in base units or contracts, `avg_px` in quote units, `fees` by currency, all other
    sums in `settle`.
    """

    cost_basis: str | None
    fee_policy: str | None
    money_places: int | None
    quantity: Decimal
    cost: Decimal
    realized: Decimal
    rounding: Decimal
    fees: dict[str, Decimal]
    fee_cost: Decimal
    funding: Decimal
    income: Decimal
    transferred: Decimal
    last_transact_time: datetime | None
    last_trade_seq: int | None
    last_exec_id: str | None
    seq: int
    avg_px: Decimal | None


def _new(position: PositionKey, at: datetime) -> Row:
    return {
        **position_row(position),
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
        "last_nanos": None,
        "last_tie": None,
        "reached": at,
        "entries": 0,
        "payments": 0,
    }


def _row(rows: Rows, logged: Logged, position: PositionKey, at: datetime) -> Row:
    """Return a copy of the position's row, or a new one, to be changed by an occurrence at a moment."""
    known = rows.get(positions_table, *place_of(position))
    if known is None:
        return _new(position, at) | {"seq": logged.seq}
    reached = known["reached"]
    return known | {"seq": logged.seq, "reached": at if at > reached else reached}  # noqa: FURB136 (twice as fast)


def _booked(rows: Rows, logged: Logged, event: TradeBooked | PositionTransferred) -> None:
    at, effect = event.transact_time, event.effect
    row = _row(rows, logged, event.key, at)
    if row["cost_basis"] is None:
        row["cost_basis"] = event.costing.cost_basis.value
        row["fee_policy"] = event.costing.fee_policy.value
        row["money_places"] = event.costing.money_places
    if not event.is_late or row["kind"] is None:  # a late one may be of before the contract was amended
        row |= contract_row(event.contract)
    _add(row, effect, 1)
    if isinstance(event, TradeBooked):
        for fee in expensed(effect, event.commission):
            row["fees"] = _with_fee(row["fees"], fee)
    else:
        summed_as = _summed_as(event)
        row[summed_as] = exact(row[summed_as] + event.cost)
    place, last_at = occurrence_of(event), row["last_transact_time"]
    if last_at is None or at > last_at or (at == last_at and place > Occurrence(*(row[name] for name in LAST))):
        row |= zip(LAST, place, strict=True)
    rows.put(positions_table, row)
    if at < row["reached"]:
        more = _fee_of(event, 1) if isinstance(event, TradeBooked) else {_summed_as(event): event.cost}
        _put_late(rows, row, at, _change(effect, 1) | more)


def _add(row: Row, effect: Effect, sign: int) -> None:
    """Add an entry's effect to the row, or subtract it."""
    for name in SUMS:
        if part := getattr(effect, name):
            row[name] = exact(row[name] + part if sign > 0 else row[name] - part)
    row["entries"] += sign


def _change(effect: Effect, sign: int) -> Row:
    """Return the same change as a row."""
    return {name: exact(sign * getattr(effect, name)) for name in SUMS} | {"entries": sign}


def _fee_of(event: TradeBooked | TradeReversed, sign: int) -> Row:
    fees: dict[str, Decimal] = {}
    for fee in expensed(event.effect, event.commission):
        fees = _with_fee(fees, Money(sign * fee.amount, fee.currency))
    return {"fees": fees}


def _summed_as(event: PositionTransferred) -> str:
    return "income" if event.reason.is_income else "transferred"


_NOTHING: Row = dict.fromkeys(EVERY_SUM, ZERO) | {"fees": {}} | dict.fromkeys(COUNTS, 0)


def _put_late(rows: Rows, row: Row, at: datetime, change: Row) -> None:
    """Put the amounts an event added at a moment before the position's latest."""
    since, until = ((moment - EPOCH) // MICROSECOND for moment in (at, row["reached"]))
    made = {name: row[name] for name in POSITION} | {"late_seq": row["seq"], "since": since, "until": until}
    rows.put(late, made | _NOTHING | change | {"node": node_of(since, until), "seq": row["seq"]})


def _with_fee(fees: dict[str, Decimal], fee: Money) -> dict[str, Decimal]:
    return fees | {fee.currency: exact(fees.get(fee.currency, ZERO) + fee.amount)}


def _reversed(rows: Rows, logged: Logged, event: TradeReversed) -> None:
    at, effect = event.transact_time, event.effect
    row = _row(rows, logged, event.key, at)
    _add(row, effect, -1)
    for fee in expensed(effect, event.commission):
        row["fees"] = _with_fee(row["fees"], Money(-fee.amount, fee.currency))
    rows.put(positions_table, row)
    if at < row["reached"]:
        _put_late(rows, row, at, _change(effect, -1) | _fee_of(event, -1))


def _restated(rows: Rows, logged: Logged, event: PositionRestated) -> None:
    moved: dict[datetime, Row] = {}
    for item in event.items:
        change = moved.setdefault(item.transact_time, dict.fromkeys(RESTATED, ZERO))
        for name in RESTATED:
            change[name] = exact(change[name] + getattr(item.now, name) - getattr(item.was, name))
    row = _row(rows, logged, event.key, max(moved, default=EARLIEST))
    for name in RESTATED:
        changes = [*(change[name] for change in moved.values()), *(getattr(each, name) for each in event.moved)]
        row[name] = exact(row[name] + sum(changes, ZERO))
    rows.put(positions_table, row)
    for at, change in moved.items():
        if at < row["reached"]:
            _put_late(rows, row, at, change)


def _funded(rows: Rows, logged: Logged, event: FundingSettled) -> None:
    at, paid = event.transact_time, event.amount
    row = _row(rows, logged, event.key, at)
    row["funding"] = exact(row["funding"] + paid.amount)
    row["payments"] += 1
    row["settle"] = row["settle"] or paid.currency
    rows.put(positions_table, row)
    if at < row["reached"]:
        _put_late(rows, row, at, {"funding": paid.amount, "payments": 1})
    payment = {
        **position_row(event.key),
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
    8,
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
    position_side: str | None = None,
    limit: int | None = None,
    after: PositionId | None = None,
) -> list[PositionRow]:
    """Return positions by account, strategy, instrument and leg, with `avg_px`: the price at which value equals cost.

    The next page is `after` the last row's `POSITION` columns.
    """
    where = position_filter(account_id, strategy_id, instrument_id, position_side)
    found = fetch(source, positions_table, where=where, after=after, limit=limit)
    for row in found:
        for name in BOOKKEEPING:
            del row[name]
        row["avg_px"] = average_price(row)
    return cast(list[PositionRow], found)


def average_price(row: AnyRow) -> Decimal | None:
    """Return the price at which the position is worth its cost, to 18 places; None when flat."""
    contract = contract_of(row)
    return contract.average_price(row["quantity"], row["cost"]) if contract else None
