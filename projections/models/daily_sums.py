"""Daily sums: every position's gains, payments and trades, by the half hour and the day (UTC) of their occurrence.

Sums are changes: `quantity` signed, `cost`, `realized`, `rounding`, `fee_cost`, `fees_settle` (commissions expensed in
settlement currency), `funding`, `income` and `transferred` in `settle`, as in `projections.models.positions`;
`other_fees` are expensed commissions in third currencies. `volume` is the unsigned quantity traded (base units or
contracts), `turnover` its value in `quote` (of an option its premium), `fills` the number of trades that stand.
`totals` are of all time, so that the sums before some days are found as totals less the days since, however long the
history.

A late trade, a reversal or a restatement changes the half hour in which the trade occurred, however late it is
recorded; `restated` keeps the change of each such event, under its own `seq`: a past day as known before is the day as
known now less the restatements since. A restatement by half hour may be of years: its changes are in one row of
`moved`, apart from the other tables. A row has the changes of the position's last few restatements up to its own (a
Fenwick tree: the sum of the first n is in as many rows as n has ones in binary).

Sums over days are the position's own; sums by any days that begin and end at half hours are additions of these rows.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple, TypedDict, cast

import sqlalchemy as sa

from domain.instrument import Contract, Kind
from domain.ledger import Logged
from domain.position import (
    Effect,
    FundingSettled,
    PositionKey,
    PositionRestated,
    PositionTransferred,
    Sums,
    TradeBooked,
    TradeReversed,
    expensed,
    paid_in_base,
)
from domain.values import ZERO, Money, exact
from projections.calendar import SLOTS_A_DAY, Close, slot_of, slot_start
from projections.storage.rows import Source, fetch
from projections.storage.statements import read
from projections.storage.tables import (
    AT,
    CONTRACT,
    NUMBER,
    POSITION,
    TEXT,
    WHOLE,
    Amounts,
    ContractColumns,
    PositionColumns,
    PositionId,
    Projection,
    Row,
    Rows,
    contract_columns,
    contract_row,
    fact,
    key,
    maybe,
    place_of,
    position_filter,
    table,
)

EFFECT = ("quantity", "cost", "realized", "rounding", "fee_cost")
SUMS = (*EFFECT, "fees_settle", "funding", "income", "transferred", "volume", "turnover")
RESTATED_SUMS = ("cost", "realized", "rounding", "fee_cost")
RESTATED = ("restated_seq", *POSITION, "slot")
RESTATED_ROWS_MAX = 1000
MOVED_ROWS = 16  # restatements read at a time


def _sums() -> tuple[sa.Column[Any], ...]:
    return (*(fact(name, NUMBER) for name in SUMS), fact("other_fees", Amounts()), fact("fills", WHOLE))


halves = table("daily", "halves", *map(key, POSITION), key("slot", WHOLE), *_sums(), indexes=(("slot",),))
days_table = table("daily", "days", *map(key, POSITION), key("slot", WHOLE), *_sums(), indexes=(("slot",),))
totals_table = table("daily", "totals", *map(key, POSITION), *contract_columns(), *_sums(), fact("moved", WHOLE))
restated = table(
    "daily",
    "restated",
    *map(key, POSITION),
    key("slot", WHOLE),
    key("restated_seq", WHOLE),
    maybe("settle"),
    *_sums(),
    fact("recorded_at", AT),
    indexes=(("restated_seq",),),
)
moved_table = table(
    "daily",
    "moved",
    *map(key, POSITION),
    key("number", WHOLE),
    fact("moved_seq", WHOLE),
    maybe("settle"),
    fact("recorded_at", AT),
    fact("changes"),
    created_by="moved_seq",
    is_only_added=True,
)


class SumColumns(TypedDict):
    """Sums of changes: `quantity` and `volume` in base units or contracts, `turnover` in `quote` (of an option in
    `settle`), `other_fees` by currency, all others in `settle`; `fills` is a number of trades.
    """

    quantity: Decimal
    cost: Decimal
    realized: Decimal
    rounding: Decimal
    fee_cost: Decimal
    fees_settle: Decimal
    funding: Decimal
    income: Decimal
    transferred: Decimal
    volume: Decimal
    turnover: Decimal
    other_fees: dict[str, Decimal]
    fills: int


class DailySumRow(PositionColumns, SumColumns, ContractColumns):
    """The sums of a position and day: `day` counts from 1, 0 is all before."""

    day: int
    seq: int


class RestatedRow(PositionColumns, SumColumns):
    """The change of a past half hour (from `occurred_from`; `slot` counts from 1970) by a late event."""

    slot: int
    restated_seq: int
    settle: str | None
    recorded_at: datetime
    seq: int
    occurred_from: datetime


_NOTHING: Row = dict.fromkeys(SUMS, ZERO) | {"other_fees": {}, "fills": 0}
_NO_CONTRACT: Row = dict.fromkeys(CONTRACT)


class _Change(NamedTuple):
    """The amounts an event adds to the half hour of `at`."""

    at: datetime
    contract: Row
    sums: dict[str, Decimal]
    other_fees: tuple[Money, ...] = ()
    fills: int = 0
    is_restatement: bool = False


def _put(rows: Rows, logged: Logged, position: PositionKey, change: _Change) -> None:
    slot = slot_of(change.at)
    day = slot // SLOTS_A_DAY
    place = place_of(position)
    rows.put(halves, _plus(rows.get(halves, *place, slot), place, logged, change, slot=slot))
    rows.put(days_table, _plus(rows.get(days_table, *place, day), place, logged, change, slot=day))
    total = _plus(rows.get(totals_table, *place), place, logged, change, **_NO_CONTRACT, moved=0) | change.contract
    rows.put(totals_table, total)
    if change.is_restatement:
        known = rows.get(restated, *place, slot, logged.seq)
        restatement = {"slot": slot, "restated_seq": logged.seq, "settle": total["settle"]}
        restatement["recorded_at"] = logged.recorded.recorded_at
        rows.put(restated, _plus(known, place, logged, change, **restatement))


def _plus(known: Row | None, place: PositionId, logged: Logged, change: _Change, **more: Any) -> Row:
    """Return the row, or a new one, with a change added; sums are exact, and made canonical when they are read."""
    row = dict(known) if known is not None else dict(zip(POSITION, place, strict=True)) | more | _NOTHING
    row["seq"] = logged.seq
    for name, part in change.sums.items():
        row[name] += part
    for fee in change.other_fees:
        row["other_fees"] = added((row["other_fees"], {fee.currency: fee.amount}))
    row["fills"] += change.fills
    return row


def _effect(effect: Effect, sign: int) -> dict[str, Decimal]:
    return {name: part if sign > 0 else -part for name in EFFECT if (part := getattr(effect, name))}


def _traded(rows: Rows, logged: Logged, event: TradeBooked) -> None:
    contract, effect = event.contract, event.effect
    sums = _effect(effect, 1)
    sums["volume"] = event.last_qty
    sums["turnover"] = contract.notional(event.last_qty, event.last_px)
    other = _fees(sums, contract, expensed(effect, event.commission), 1)
    at, columns = event.transact_time, contract_row(contract)
    change = _Change(at, columns, sums, other_fees=other, fills=1, is_restatement=event.is_late)
    _put(rows, logged, event.key, change)


def _reversed(rows: Rows, logged: Logged, event: TradeReversed) -> None:
    """Subtract the trade's recorded amounts; its size follows from the effect (see `domain.holdings.balances`)."""
    contract, effect = event.contract, event.effect
    sums = _effect(effect, -1)
    fees = expensed(effect, event.commission)
    volume, turnover = traded(contract, effect, event.commissions, fees)
    sums["volume"], sums["turnover"] = -volume, -turnover
    other = _fees(sums, contract, fees, -1)
    at, columns = event.transact_time, contract_row(contract)
    change = _Change(at, columns, sums, other_fees=other, fills=-1, is_restatement=True)
    _put(rows, logged, event.key, change)


def traded(
    contract: Contract, effect: Effect, commissions: Sequence[Money], fees: Sequence[Money]
) -> tuple[Decimal, Decimal]:
    """Return the volume and turnover of a trade, from its effect: a commission in base is part of the change of
    quantity, a capitalised one, which is not among the `fees` expensed, part of the cash paid.
    """
    signed, cash = effect.quantity, effect.realized + effect.rounding - effect.cost - effect.fee_cost
    in_base = paid_in_base(contract, commissions)
    for paid in commissions:
        if paid is in_base:
            signed += paid.amount
        elif paid.currency == contract.settle and all(fee.currency != paid.currency for fee in fees):
            cash += paid.amount
    volume = exact(abs(signed))
    return volume, exact(volume * contract.contract_size) if contract.kind is Kind.INVERSE else exact(abs(cash))


def _fees(sums: dict[str, Decimal], contract: Contract, fees: Sequence[Money], sign: int) -> tuple[Money, ...]:
    """Add a commission paid in settlement currency to `fees_settle`; return those paid in third currencies."""
    others = []
    in_base = paid_in_base(contract, fees)
    for fee in fees:
        if fee.currency == contract.settle:
            sums["fees_settle"] = sign * fee.amount
        elif fee is not in_base:
            others.append(Money(sign * fee.amount, fee.currency))
    return tuple(others)


def _transferred(rows: Rows, logged: Logged, event: PositionTransferred) -> None:
    sums = _effect(event.effect, 1)
    sums["income" if event.reason.is_income else "transferred"] = event.cost
    change = _Change(event.transact_time, contract_row(event.contract), sums, is_restatement=event.is_late)
    _put(rows, logged, event.key, change)


def _funded(rows: Rows, logged: Logged, event: FundingSettled) -> None:
    sums = {"funding": event.amount.amount}
    _put(rows, logged, event.key, _Change(event.transact_time, {"settle": event.amount.currency}, sums))


def _restated(rows: Rows, logged: Logged, event: PositionRestated) -> None:
    for item in event.items:
        sums = _moved(item.was, item.now)
        if sums:
            _put(rows, logged, event.key, _Change(item.transact_time, {}, sums, is_restatement=True))
    if event.moved:
        _put_moved(rows, logged, event)


def _put_moved(rows: Rows, logged: Logged, event: PositionRestated) -> None:
    """Put the changes of a restatement by half hour."""
    place = place_of(event.key)
    total = rows.get(totals_table, *place)
    assert total is not None, "a restatement follows bookings"
    number = total["moved"] + 1
    row = dict(total) | {"seq": logged.seq, "moved": number}
    for name in RESTATED_SUMS:
        row[name] += sum((getattr(moved, name) for moved in event.moved), ZERO)
    rows.put(totals_table, row)
    block = {moved.half_hour: (moved.cost, moved.realized, moved.fee_cost) for moved in event.moved}
    for child in _children(number):
        known = rows.get(moved_table, *place, child)
        assert known is not None, "restatements are numbered without gaps"
        _add(block, known)
    facts = {"number": number, "moved_seq": logged.seq, "settle": total["settle"], "changes": _written(block)}
    facts |= {"recorded_at": logged.recorded.recorded_at, "seq": logged.seq}
    rows.put(moved_table, dict(zip(POSITION, place, strict=True)) | facts)


Moves = dict[int, tuple[Decimal, Decimal, Decimal]]  # by half hour: cost, realized, cost of fees


def _children(number: int) -> list[int]:
    """Return the numbers of the rows that a row has added to its own restatement."""
    found, one = [], 1
    while not number & one:
        found.append(number - one)
        one <<= 1
    return found


def _path(number: int) -> tuple[int, ...]:
    """Return the numbers of the rows that add up to the first `number` restatements."""
    found = []
    while number:
        found.append(number)
        number &= number - 1
    return tuple(found)


def _written(moves: Moves) -> str:
    """Return changes as text: half hour, cost, realized, and the cost of fees if it is not zero. Zeros are left out."""
    return ";".join(
        " ".join((str(slot), *(f"{exact(part):f}" for part in (parts if parts[2] else parts[:2]))))
        for slot, parts in sorted(moves.items())
        if any(parts)
    )


def _add(moves: Moves, row: Row, sign: int = 1) -> None:
    """Add the changes of a row."""
    for written in row["changes"].split(";") if row["changes"] else ():
        slot, cost, realized, *rest = written.split(" ")
        known = moves.get(int(slot), (ZERO, ZERO, ZERO))
        parts = (Decimal(cost), Decimal(realized), Decimal(rest[0]) if rest else ZERO)
        moves[int(slot)] = (known[0] + sign * parts[0], known[1] + sign * parts[1], known[2] + sign * parts[2])


def _sums_of_moves(parts: Iterable[tuple[Decimal, Decimal, Decimal]]) -> dict[str, Decimal]:
    """Return the sums of changes; the amount paid for an entry does not change."""
    cost, realized, fee_cost = (exact(sum(several, ZERO)) for several in zip(*parts, strict=True))
    return {"cost": cost, "realized": realized, "rounding": exact(cost + fee_cost - realized), "fee_cost": fee_cost}


def _moved(was: Sums, now: Effect) -> dict[str, Decimal]:
    return {name: moved for name in RESTATED_SUMS if (moved := getattr(now, name) - getattr(was, name))}


PROJECTION = Projection(
    "daily",
    3,
    (halves, days_table, totals_table, restated, moved_table),
    {
        TradeBooked: _traded,
        TradeReversed: _reversed,
        PositionTransferred: _transferred,
        PositionRestated: _restated,
        FundingSettled: _funded,
    },
)


def sums(
    source: Source,
    close: Close,
    bounds: Sequence[datetime],
    *,
    account_id: str | None = None,
    strategy_id: str | None = None,
    instrument_id: str | None = None,
    position_side: str | None = None,
) -> list[DailySumRow]:
    """Return the sums of every position and day; the days begin and end at `bounds`, one moment more than days.

    `day` counts from 1; 0 stands for all that occurred before the first day. Days without a change have no row.
    """
    where = position_filter(account_id, strategy_id, instrument_id, position_side)
    chosen = {name: value for name, value in where.items() if value is not None}
    slots = [slot_of(bound) for bound in bounds]
    if close.is_utc_midnight:
        parts = [_Part(days_table, [slot // SLOTS_A_DAY for slot in slots])]
    else:
        next_day = -(-slots[-1] // SLOTS_A_DAY)  # whole days after the last are read as days
        parts = [_Part(halves, slots, next_day * SLOTS_A_DAY), _Part(days_table, [next_day], shift=len(slots) - 1)]
    by_position: dict[tuple[Any, ...], list[Row]] = {}
    for row in _since(source, chosen, parts):
        by_position.setdefault(tuple(row[name] for name in POSITION), []).append(row)
    rows: list[Row] = []
    for total in fetch(source, totals_table, where=chosen):
        since = by_position.get(tuple(total[name] for name in POSITION), [])
        if total["moved"]:
            since = _with_moves(source, total, since, parts)
        contract = {name: total[name] for name in CONTRACT}
        rows += [row | contract for row in (_opening(total, since), *since) if row["day"] < len(slots)]
    kept = [row for row in rows if row["fills"] or row["other_fees"] or any(row[name] for name in SUMS)]
    return cast(list[DailySumRow], sorted(kept, key=lambda row: (*(row[name] for name in POSITION), row["day"])))


def _with_moves(source: Source, total: Row, since: Sequence[Row], parts: Sequence["_Part"]) -> list[Row]:
    """Return a position's sums by day, with the changes of restatements by half hour."""
    moves: Moves = {}
    seq = 0
    place = {name: total[name] for name in POSITION}
    for row in fetch(source, moved_table, where=place | {"number": _path(total["moved"])}):
        _add(moves, row)
        seq = max(seq, row["seq"])
    by_day: dict[int, list[tuple[Decimal, Decimal, Decimal]]] = {}
    for half, change in moves.items():
        for part in parts:
            slot = half // SLOTS_A_DAY if part.table is days_table else half
            if slot >= part.slots[0] and (part.before is None or slot < part.before):
                by_day.setdefault(bisect_right(part.slots, slot) + part.shift, []).append(change)
    days = {row["day"]: row for row in since}
    for day, changes in by_day.items():
        known = days.get(day) or place | {"day": day, "seq": seq} | _NOTHING
        added_ = {name: exact(known[name] + change) for name, change in _sums_of_moves(changes).items()}
        days[day] = known | added_ | {"seq": max(known["seq"], seq)}
    return [row for _, row in sorted(days.items())]


def _opening(total: Row, since: Sequence[Row]) -> Row:
    """Return a position's sums before the first day: its total less the days since."""
    row = {name: total[name] for name in (*POSITION, "seq")} | {"day": 0}
    row |= {name: exact(total[name] - sum([each[name] for each in since], ZERO)) for name in SUMS}
    gone = ({currency: -paid for currency, paid in each["other_fees"].items()} for each in since)
    row["other_fees"] = added((total["other_fees"], *gone))
    return row | {"fills": total["fills"] - sum(each["fills"] for each in since)}


class _Part(NamedTuple):
    """Rows of a table from the first of its slots on, and before a slot if there is one. `shift` adds to their days."""

    table: sa.Table
    slots: Sequence[int]
    before: int | None = None
    shift: int = 0


def _since(source: Source, chosen: Row, parts: Sequence[_Part]) -> list[Row]:
    """Return the sums of each position and day from the first slot on; one more day holds all after the last slot."""
    if isinstance(source, sa.Connection):
        return _in_sql(source, chosen, parts)
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for part in parts:
        for row in fetch(source, part.table, where=chosen, at_least={"slot": part.slots[0]}):
            if part.before is None or row["slot"] < part.before:
                day = bisect_right(part.slots, row["slot"]) + part.shift
                groups.setdefault((*(row[name] for name in POSITION), day), []).append(row)
    return [_summed(place, members) for place, members in groups.items()]


def _summed(place: tuple[Any, ...], members: list[Row]) -> Row:
    row = dict(zip((*POSITION, "day"), place, strict=True))
    row |= {name: exact(sum((member[name] for member in members), ZERO)) for name in SUMS}
    row["other_fees"] = added(member["other_fees"] for member in members)
    return row | {"fills": sum(m["fills"] for m in members), "seq": max(m["seq"] for m in members)}


def added(parts: Iterable[dict[str, Decimal]]) -> dict[str, Decimal]:
    """Return the sum of amounts by currency, without zeros."""
    total: dict[str, Decimal] = {}
    for part in parts:
        for currency, amount in part.items():
            total[currency] = total.get(currency, ZERO) + amount
    return {currency: exact(amount) for currency, amount in sorted(total.items()) if amount}


def _in_sql(source: sa.Connection, chosen: Row, parts: Sequence[_Part]) -> list[Row]:
    values = {f"is_{name}": value for name, value in chosen.items()}
    for number, part in enumerate(parts):
        bounds = {"slots": list(part.slots), "since": part.slots[0], "before": part.before, "shift": part.shift}
        values |= {f"{name}_{number}": value for name, value in bounds.items() if value is not None}
    form = (tuple(chosen), tuple((part.table, part.before is not None) for part in parts))
    rows = read(source, parts[0].table, _summing, form, values=values)
    for row in rows:
        for name in SUMS:
            row[name] = exact(row[name])
        paid = row["other_fees"]
        row["other_fees"] = added({c: Decimal(amount) for c, amount in fees.items()} for fees in paid) if paid else {}
        row["fills"] = int(row["fills"])
    return rows


def _summing(form: tuple[tuple[str, ...], tuple[tuple[sa.Table, bool], ...]]) -> sa.CompoundSelect[Any]:
    """Return the query of `_in_sql` by what is chosen, over tables and whether each ends before a slot."""
    chosen, parts = form
    return sa.union_all(*(_sums_of(number, chosen, *part) for number, part in enumerate(parts)))


def _sums_of(number: int, chosen: tuple[str, ...], table_: sa.Table, has_end: bool) -> sa.Select[Any]:
    columns = table_.c

    def bound(name: str, type_: sa.types.TypeEngine[Any] = WHOLE) -> sa.BindParameter[Any]:
        return sa.bindparam(f"{name}_{number}", type_=type_)

    day = sa.func.width_bucket(columns.slot, bound("slots", sa.ARRAY(WHOLE))) + bound("shift")
    place = [*(columns[name] for name in POSITION), day.label("day")]
    paid = sa.func.jsonb_agg(columns.other_fees).filter(sa.cast(columns.other_fees, sa.Text) != "{}")
    query = (
        sa.select(
            *place,
            *(sa.func.sum(columns[name]).label(name) for name in SUMS),
            paid.label("other_fees"),
            sa.func.sum(columns.fills).label("fills"),
            sa.func.max(columns.seq).label("seq"),
        )
        .where(columns.slot >= bound("since"))
        .where(*(columns[name] == sa.bindparam(f"is_{name}", type_=TEXT) for name in chosen))
        .group_by(*(sa.literal_column(str(place_)) for place_ in range(1, len(place) + 1)))
    )
    return query.where(columns.slot < bound("before")) if has_end else query


def restatements(
    source: Source,
    *,
    account_id: str | None = None,
    strategy_id: str | None = None,
    instrument_id: str | None = None,
    position_side: str | None = None,
    after: tuple[Any, ...] | None = None,
    limit: int = RESTATED_ROWS_MAX,
) -> list[RestatedRow]:
    """Return the changes of past half hours (`occurred_from`) by late trades, reversals and restatements, newest first.

    The next page is `after` the last row's RESTATED columns.
    """
    where = position_filter(account_id, strategy_id, instrument_id, position_side)
    found = fetch(source, restated, where=where, by=RESTATED, after=after, limit=limit, is_descending=True)
    found += _moved_rows(source, where, after=after, limit=limit)
    found.sort(key=_restated_place, reverse=True)
    rows = [
        row | {name: exact(row[name]) for name in SUMS} | {"occurred_from": slot_start(row["slot"])}
        for row in found[:limit]
    ]
    return cast(list[RestatedRow], rows)


def _restated_place(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in RESTATED)


def _moved_rows(source: Source, where: Row, *, after: tuple[Any, ...] | None, limit: int) -> list[Row]:
    """Return the changes of restatements by half hour, a row a half hour, the newest first: at least `limit`."""
    found: list[Row] = []
    by = ("moved_seq", *POSITION)
    behind = None if after is None else (after[0] + 1, *after[1 : 1 + len(POSITION)])
    while len(found) < limit:
        page = fetch(source, moved_table, where=where, by=by, after=behind, limit=MOVED_ROWS, is_descending=True)
        for row in page:
            rows = _own(source, row)
            found += [one for one in rows if after is None or _restated_place(one) < tuple(after)]
        if len(page) < MOVED_ROWS:
            break
        behind = tuple(page[-1][name] for name in by)
    return found


def _own(source: Source, row: Row) -> list[Row]:
    """Return the changes of one restatement: its row less the rows that are added in it."""
    moves: Moves = {}
    _add(moves, row)
    place = {name: row[name] for name in POSITION}
    if children := tuple(_children(row["number"])):
        for child in fetch(source, moved_table, where=place | {"number": children}):
            _add(moves, child, -1)
    about = place | _NOTHING | {"restated_seq": row["moved_seq"]}
    about |= {name: row[name] for name in ("settle", "recorded_at", "seq")}
    return [about | {"slot": slot} | _sums_of_moves([parts]) for slot, parts in moves.items() if any(parts)]
