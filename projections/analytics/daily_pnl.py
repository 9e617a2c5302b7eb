"""Daily PnL of every position, in settlement currency and in its account's base currency. Pure.

`net` = realized + rounding + funding + income - fee_cost - fees_settle + the change of unrealized over the day, in
settlement currency, without `other_fees`. In base currency every part is converted at the rate of the day's close,
rounded once; there `fees` counts commissions in every currency, and so does `net`. So the parts of a row add up, rows
add up to any breakdown, and days to the whole. A figure whose mark or rate is missing or too old is None.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from operator import itemgetter
from typing import Any, NotRequired, TypedDict, cast

from domain.values import ZERO, exact, venue_of
from projections.analytics.closing import Closing, converted, held_at_closes, unrealized
from projections.analytics.conversion import RateRow
from projections.analytics.valuation import total
from projections.calendar import Days
from projections.models.daily_sums import SUMS, DailySumRow, added
from projections.storage.tables import POSITION, AnyRow, PositionColumns, Row

GROUPS = (*POSITION, "venue", "base")
FLOWS = ("realized", "rounding", "funding", "income", "fee_cost", "fees_settle", "transferred", "volume", "turnover")
OWN = (*FLOWS, "unrealized", "unrealized_change", "net")
IN_BASE = ("realized", "rounding", "funding", "income", "fee_cost", "fees", "unrealized_change", "net", "turnover")
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


def daily_pnl(
    sums: Sequence[DailySumRow], days: Days, closings: Sequence[Closing], bases: Mapping[str, str]
) -> list[DailyPnlRow]:
    """Return a row for every day and position with a holding or a change on that day.

    `closings` has one more than there are days: the first is the opening of the first day. `bases` are the accounts'
    base currencies.
    """
    by_place = {(row["day"], *(row[name] for name in POSITION), row["settle"]): row for row in sums}
    rows: list[DailyPnlRow] = []
    before: dict[tuple[Any, ...], Decimal | None] = {}
    for number, held in enumerate(held_at_closes(sums, len(days.dates))):
        close = closings[number]
        now: dict[tuple[Any, ...], Decimal | None] = {}
        for position in held:
            place = (*(position[name] for name in POSITION), position["settle"])
            now[place] = unrealized(position, close)
            flow = by_place.get((number, *place))
            opened = before.get(place, ZERO)
            if number and (flow is not None or position["quantity"] or now[place] != opened):
                day: Row = {"day": days.dates[number - 1], "close_at": close.at}
                day |= _row(position, flow, close, opened=opened, closed=now[place], bases=bases)
                rows.append(cast(DailyPnlRow, day))
        before = now
    return rows


def _row(
    position: Row,
    flow: DailySumRow | None,
    close: Closing,
    *,
    opened: Decimal | None,
    closed: Decimal | None,
    bases: Mapping[str, str],
) -> Row:
    sums: AnyRow = flow if flow is not None else _NOTHING
    moved = exact(closed - opened) if closed is not None and opened is not None else None
    booked = sum([sums[name] for name in _GAINS], ZERO) - sum([sums[name] for name in _PAID], ZERO)
    base_currency = bases.get(position["account_id"], position["settle"])
    row = {name: position[name] for name in (*POSITION, "kind", "base", "quote", "settle")}
    row |= {"venue": venue_of(position["instrument_id"]), "quantity": position["quantity"]}
    row |= {name: sums[name] for name in FLOWS}
    row |= {
        "fills": sums["fills"],
        "other_fees": sums["other_fees"],
        "unrealized": closed,
        "unrealized_change": moved,
        "net": None if moved is None else exact(booked + moved),
        "base_currency": base_currency,
        "in_base": _in_base(sums, moved, position, close, wanted=base_currency),
        "missing_marks": [position["instrument_id"]] if moved is None else [],
        "seq": sums["seq"],
    }
    return row


def _in_base(sums: AnyRow, moved: Decimal | None, position: Row, close: Closing, *, wanted: str) -> Row:
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
    parts["net"] = _net(parts)
    parts["turnover"] = converted(sums["turnover"], position["quote"] or settle, wanted, close)
    return parts


def _net(parts: Mapping[str, Decimal | None]) -> Decimal | None:
    minus = {"fee_cost", "fees"}
    return total([-part if part and name in minus else part for name, part in parts.items()])


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
