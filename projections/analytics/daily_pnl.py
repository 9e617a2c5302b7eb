"""Daily PnL of every position, in settlement currency and in its account's base currency. Pure.

`net` = realized + rounding + funding + income - fee_cost - fees_settle + the change of unrealized over the day, in
settlement currency, without `other_fees`. In base currency every part is converted at the rate of the day's close,
rounded once; there `fees` counts commissions in every currency, and so does `net`. So the parts of a row add up, rows
add up to any breakdown, and days to the whole. A figure whose mark or rate is missing or too old is None.

`revaluation`, in base currency, is the change in value of what a position has left in other currencies than the base,
over the day: gains kept in their settlement currency, the payment of a cross, fees paid in a third coin; and the
difference between its own mark and the one price of a coin that is traded in several pairs. So a coin that has left
has no PnL. Cash that is no position's (deposits, income, charges, conversions) has rows of its own, without strategy
and instrument, where it is not in base currency or not capital. With these the rows of a day add up to the PnL of the
equity curve, but for quantity that was transferred at another cost than its value; `reconciliation` has every line.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from operator import itemgetter
from types import MappingProxyType
from typing import Any, NamedTuple, NotRequired, TypedDict, cast

from domain.instrument import Kind
from domain.values import ZERO, PositionSide, exact, venue_of
from projections.analytics.closing import (
    LEGS,
    OTHER_FEES,
    Closing,
    converted,
    held_at_closes,
    is_future,
    unrealized,
)
from projections.analytics.conversion import RateRow
from projections.analytics.valuation import total
from projections.calendar import Days
from projections.models.capital_flows import CASH, CashFlowRow
from projections.models.daily_sums import SUMS, DailySumRow, added
from projections.storage.tables import POSITION, AnyRow, PositionColumns, Row

GROUPS = (*POSITION, "venue", "base")
FLOWS = ("realized", "rounding", "funding", "income", "fee_cost", "fees_settle", "transferred", "volume", "turnover")
OWN = (*FLOWS, "unrealized", "unrealized_change", "net")
IN_BASE = (
    "realized", "rounding", "funding", "income", "fee_cost", "fees", "unrealized_change", "revaluation", "net",
    "turnover",
)  # fmt: skip
_CONVERTED = ("realized", "rounding", "funding", "income", "fee_cost")
_GAINS, _PAID = ("realized", "rounding", "funding", "income"), ("fee_cost", "fees_settle")
_NOTHING: Row = dict.fromkeys(SUMS, ZERO) | {"other_fees": {}, "fills": 0, "seq": 0}


class FlowColumns(TypedDict):
    """Sums of a day, as in `daily_sums.SumColumns`; None where a part is unknown."""

    realized: Decimal
    rounding: Decimal
    funding: Decimal
    income: Decimal
    fee_cost: Decimal
    fees_settle: Decimal
    transferred: Decimal
    turnover: Decimal
    fills: int
    other_fees: dict[str, Decimal]
    unrealized: Decimal | None
    unrealized_change: Decimal | None
    net: Decimal | None


class DailyPnlInBase(TypedDict):
    """Daily PnL in an account's base currency; None where a mark or rate is missing."""

    realized: Decimal | None
    rounding: Decimal | None
    funding: Decimal | None
    income: Decimal | None
    fee_cost: Decimal | None
    fees: Decimal | None
    unrealized_change: Decimal | None
    revaluation: Decimal | None
    net: Decimal | None
    turnover: Decimal | None


class DailyPnlRow(PositionColumns, FlowColumns):
    """A position's PnL of the day that ends at `close_at`; `quantity` there signed, in base units or contracts."""

    day: date
    close_at: datetime
    kind: str | None
    base: str | None
    quote: str | None
    settle: str | None
    venue: str
    quantity: Decimal
    volume: Decimal
    base_currency: str
    in_base: DailyPnlInBase
    missing_marks: list[str]
    seq: int


class DailyPnlTotal(FlowColumns):
    """Sums of daily PnL in one settlement and base currency, with the columns they are summed by."""

    day: NotRequired[date]
    account_id: NotRequired[str]
    strategy_id: NotRequired[str]
    instrument_id: NotRequired[str]
    position_side: NotRequired[str]
    venue: NotRequired[str]
    base: NotRequired[str]
    settle: str
    base_currency: str
    in_base: DailyPnlInBase
    missing_marks: list[str]
    seq: int


class DailyRateRow(RateRow):
    """A rate at the close of a day."""

    day: date


class _Valued(NamedTuple):
    """A position at a close: its unrealized gain in settlement currency, and all it has led to, by currency, with the
    coin of spot at the position's own mark. `apart`, in base currency, is how far the coin's price is from that mark.
    """

    unrealized: Decimal | None = ZERO
    results: Mapping[str, Decimal] = MappingProxyType({})
    apart: Decimal | None = ZERO


def daily_pnl(
    sums: Sequence[DailySumRow],
    days: Days,
    closings: Sequence[Closing],
    bases: Mapping[str, str],
    cash: Sequence[CashFlowRow] = (),
) -> list[DailyPnlRow]:
    """Return a row for every day and position with a holding or a change on that day, and those of cash.

    `closings` has one more than there are days: the first is the opening of the first day. `bases` are the accounts'
    base currencies.
    """
    by_place = {(row["day"], *(row[name] for name in POSITION), row["settle"]): row for row in sums}
    rows: list[DailyPnlRow] = []
    before: dict[tuple[Any, ...], _Valued] = {}
    for number, held in enumerate(held_at_closes(sums, len(days.dates), LEGS)):
        close = closings[number]
        now: dict[tuple[Any, ...], _Valued] = {}
        for position in held:
            place = (*(position[name] for name in POSITION), position["settle"])
            wanted = bases.get(position["account_id"], position["settle"])
            now[place] = _valued(position, close, wanted)
            flow = by_place.get((number, *place))
            opened = before.get(place, _Valued())
            if not number:
                continue
            changes = _revalued(opened.results, closings[number - 1], close, wanted)
            revalued = total([*changes, _less(now[place].apart, opened.apart)])
            if opened.unrealized is None and position["settle"] != wanted:
                revalued = None
            if flow is not None or position["quantity"] or now[place] != opened or revalued != ZERO:
                day: Row = {"day": days.dates[number - 1], "close_at": close.at}
                moved = _less(now[place].unrealized, opened.unrealized)
                day |= _row(
                    position, flow, close, closed=now[place].unrealized, moved=moved, revalued=revalued, wanted=wanted
                )
                rows.append(cast(DailyPnlRow, day))
        before = now
    rows += _cash_rows(cash, days, closings, bases)
    return sorted(rows, key=itemgetter("day")) if cash else rows


def _valued(position: Row, close: Closing, wanted: str) -> _Valued:
    gained, settle = unrealized(position, close), position["settle"]
    results = {currency: exact(-paid) for currency, paid in position[OTHER_FEES].items()}
    other = -position["income"] if is_future(position) else position["transferred"]  # see `closing.settled`
    results[settle] = exact((gained or ZERO) + _booked(position) + other)
    if not _has_other_price(position, close, wanted):
        return _Valued(gained, results)
    by_mark = None if gained is None else converted(exact(gained + position["cost"]), settle, wanted, close)
    return _Valued(gained, results, _less(converted(position["quantity"], position["base"], wanted, close), by_mark))


def _has_other_price(position: Row, close: Closing, wanted: str) -> bool:
    """Whether the coin of a spot position has its price from another pair than the position's."""
    if position["kind"] != Kind.SPOT or not position["quantity"]:
        return False
    steps = close.rates.rate(position["base"], wanted).steps
    return not steps or steps[0].instrument_id != position["instrument_id"]


def _booked(sums: AnyRow) -> Decimal:
    return sum([sums[name] for name in _GAINS], ZERO) - sum([sums[name] for name in _PAID], ZERO)


def _row(
    position: Row,
    flow: DailySumRow | None,
    close: Closing,
    *,
    closed: Decimal | None,
    moved: Decimal | None,
    revalued: Decimal | None,
    wanted: str,
) -> Row:
    sums: AnyRow = flow if flow is not None else _NOTHING
    booked = _booked(sums)
    row = {name: position[name] for name in (*POSITION, "kind", "base", "quote", "settle")}
    row |= {"venue": venue_of(position["instrument_id"]), "quantity": position["quantity"]}
    row |= {name: sums[name] for name in FLOWS}
    row |= {
        "fills": sums["fills"],
        "other_fees": sums["other_fees"],
        "unrealized": closed,
        "unrealized_change": moved,
        "net": None if moved is None else exact(booked + moved),
        "base_currency": wanted,
        "in_base": _in_base(sums, moved, position, close, wanted=wanted, revalued=revalued),
        "missing_marks": [position["instrument_id"]] if moved is None else [],
        "seq": sums["seq"],
    }
    return row


def _less(closed: Decimal | None, opened: Decimal | None) -> Decimal | None:
    return exact(closed - opened) if closed is not None and opened is not None else None


def _revalued(amounts: Mapping[str, Decimal], opening: Closing, close: Closing, wanted: str) -> list[Decimal | None]:
    """Return the change of the value of each amount from one close to the next."""
    return [
        _less(converted(amount, currency, wanted, close), converted(amount, currency, wanted, opening))
        for currency, amount in amounts.items()
        if amount and currency != wanted
    ]


def _in_base(
    sums: AnyRow, moved: Decimal | None, position: Row, close: Closing, *, wanted: str, revalued: Decimal | None
) -> Row:
    settle, others = position["settle"], sums["other_fees"]
    fees: Decimal | None = sums["fees_settle"]
    if settle == wanted:
        parts: Row = {name: sums[name] for name in _CONVERTED}
    else:
        parts = {name: converted(sums[name], settle, wanted, close) for name in _CONVERTED}
        fees = converted(fees, settle, wanted, close)
    if others:
        fees = total([fees, *(converted(paid, currency, wanted, close) for currency, paid in others.items())])
    parts["fees"] = fees
    parts["unrealized_change"] = converted(moved, settle, wanted, close)
    parts["revaluation"] = revalued
    parts["net"] = _net(parts)
    parts["turnover"] = converted(sums["turnover"], position["quote"] or settle, wanted, close)
    return parts


def _net(parts: Mapping[str, Decimal | None]) -> Decimal | None:
    minus = {"fee_cost", "fees"}
    return total([-part if part and name in minus else part for name, part in parts.items()])


class _Cash(NamedTuple):
    """Cash of an account in one currency: its balance at a close, and what moved on the day."""

    balance: Decimal = ZERO
    income: Decimal = ZERO
    charges: Decimal = ZERO
    converted: Decimal = ZERO
    seq: int = 0

    def plus(self, row: CashFlowRow) -> "_Cash":
        moved = row["external"] + row["income"] - row["fees"] + row["converted"]
        return _Cash(
            exact(self.balance + moved), exact(self.income + row["income"]),
            charges=exact(self.charges + row["fees"]), converted=exact(self.converted + row["converted"]),
            seq=max(self.seq, row["seq"]),
        )  # fmt: skip


def _cash_rows(
    cash: Sequence[CashFlowRow], days: Days, closings: Sequence[Closing], bases: Mapping[str, str]
) -> Iterator[DailyPnlRow]:
    """Yield the rows of cash: what it earned and was charged, and the change of its value in base currency."""
    bounds = days.slots
    by_day: dict[int, list[CashFlowRow]] = {}
    for row in cash:
        if row["slot"] < bounds[-1]:
            by_day.setdefault(bisect_right(bounds, row["slot"]), []).append(row)
    held: dict[tuple[str, str], _Cash] = {}
    for number, close in enumerate(closings):
        before = {place: _Cash(known.balance) for place, known in held.items()}
        held = dict(before)
        for row in by_day.get(number, ()):
            place = (row["account_id"], row["currency"])
            held[place] = held.get(place, _Cash()).plus(row)
        for (account_id, currency), now in sorted(held.items()) if number else ():
            wanted = bases.get(account_id, currency)
            was = before.get((account_id, currency), _Cash()).balance
            is_still = not (now.income or now.charges or now.converted)
            if is_still and (currency == wanted or not (was or now.balance)):
                continue
            day: Row = {"day": days.dates[number - 1], "close_at": close.at}
            day |= _cash_row(
                account_id, currency, now, was=was, opening=closings[number - 1], close=close, wanted=wanted
            )
            yield cast(DailyPnlRow, day)


def _cash_row(
    account_id: str, currency: str, now: _Cash, *, was: Decimal, opening: Closing, close: Closing, wanted: str
) -> Row:
    income, charges, bought = (
        converted(amount, currency, wanted, close) for amount in (now.income, now.charges, now.converted)
    )
    revalued = total([*_revalued({currency: was}, opening, close, wanted), bought])
    none = dict.fromkeys(FLOWS, ZERO)
    return {
        **dict.fromkeys(POSITION, ""), "account_id": account_id, "position_side": PositionSide.BOTH.value,
        "kind": CASH, "base": currency, "quote": None, "settle": currency, "venue": "", "quantity": now.balance,
        **none, "income": now.income, "fees_settle": now.charges, "fills": 0, "other_fees": {}, "unrealized": ZERO,
        "unrealized_change": ZERO, "net": exact(now.income - now.charges), "base_currency": wanted,
        "in_base": dict.fromkeys(IN_BASE, ZERO) | {
            "income": income, "fees": charges, "revaluation": revalued,
            "net": total([income, revalued, None if charges is None else -charges]),
        },
        "missing_marks": [], "seq": now.seq,
    }  # fmt: skip


def rates(rows: Iterable[DailyPnlRow], closings: Sequence[Closing]) -> list[DailyRateRow]:
    """Return the rates that converted the rows: each once, by day and currencies, with its path."""
    by_moment = {close.at: close for close in closings}
    wanted: set[tuple[Any, ...]] = set()
    for row in rows:
        for currency in {row["settle"], row["quote"] or row["settle"], *row["other_fees"]}:
            if currency != row["base_currency"]:
                wanted.add((row["day"], row["close_at"], currency, row["base_currency"]))
    return [
        {"day": day, **by_moment[moment].rates.rate(held_in, base).as_row()}
        for day, moment, held_in, base in sorted(wanted)
    ]


def breakdown(rows: Iterable[DailyPnlRow], by: Sequence[str], *, is_by_day: bool = True) -> list[DailyPnlTotal]:
    """Sum rows by some of GROUPS and by settlement and base currency, for each day or for all days together.

    A sum over an unknown is None. `unrealized` is that of each group's last day.
    """
    groups: dict[tuple[Any, ...], list[AnyRow]] = {}
    names = (*(("day",) if is_by_day else ()), *by, "settle", "base_currency")
    found: Iterable[AnyRow] = rows
    for row in found:
        groups.setdefault(tuple(row[name] or "" for name in names), []).append(row)
    sums = [dict(zip(names, place, strict=True)) | _group(members) for place, members in sorted(groups.items())]
    return cast(list[DailyPnlTotal], sums)


_ADDED = tuple(name for name in OWN if name not in ("unrealized", "volume"))
_SUMMED = (
    *(name for name in OWN if name != "volume"), "fills", "other_fees", "in_base", "missing_marks", "seq",
)  # fmt: skip


def _group(members: Sequence[AnyRow]) -> Row:
    if len(members) == 1:
        return {name: members[0][name] for name in _SUMMED}
    last = max(row["day"] for row in members)
    return {
        **_totals(_ADDED, members),
        "unrealized": total([row["unrealized"] for row in members if row["day"] == last]),
        "fills": sum(row["fills"] for row in members),
        "other_fees": added(row["other_fees"] for row in members),
        "in_base": _totals(IN_BASE, [row["in_base"] for row in members]),
        "missing_marks": sorted({name for row in members for name in row["missing_marks"]}),
        "seq": max(row["seq"] for row in members),
    }


def _totals(names: Sequence[str], rows: Sequence[AnyRow]) -> Row:
    columns = zip(*map(itemgetter(*names), rows), strict=True)
    return {name: total(column) for name, column in zip(names, columns, strict=True)}
