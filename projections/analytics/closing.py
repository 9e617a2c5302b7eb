"""Closing: positions at each close and their value at the marks of that moment. Pure.

A `Closing` is one moment with the newest marks not after it (only those young enough) and the rates they give.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple, cast

from domain.instrument import Contract, Kind
from domain.values import Mark, exact
from projections.analytics.conversion import Converter, is_fresh
from projections.analytics.valuation import mark_of, value
from projections.models.daily_sums import added
from projections.storage.tables import CONTRACT, POSITION, AnyRow, Row, contract_of

HELD = ("quantity", "cost")
OTHER_FEES = "other_fees"
MOVING = ("quantity", "cost", "realized", "rounding", "fee_cost", "fees_settle", "funding", "income", "transferred")
LEGS = (*MOVING, OTHER_FEES)
_FUTURES = (Kind.LINEAR.value, Kind.INVERSE.value, None)


class Closing(NamedTuple):
    """One moment, its usable marks and its rates. `stale` are the instruments whose mark is too old."""

    at: datetime
    marks: Mapping[str, Mark]
    rates: Converter
    stale: frozenset[str] = frozenset()

    def lacking(self, instrument_id: str) -> str | None:
        """Return the instrument if its mark is missing or too old."""
        return None if instrument_id in self.marks else instrument_id


def closing(
    at: datetime,
    marks: Mapping[str, Mark],
    pairs: Mapping[str, Contract],
    age_max: timedelta,
    equals: Sequence[tuple[str, str]] = (),
    *,
    own: Mapping[str, Contract] | None = None,
) -> Closing:
    """Return the closing of a moment, from the newest marks not after it; coins are priced by `own` pairs first."""
    fresh = {name: mark for name, mark in marks.items() if is_fresh(mark, at, age_max)}
    rates = Converter(pairs, marks, at=at, age_max=age_max, equals=equals, own=own or {})
    return Closing(at, fresh, rates, frozenset(marks.keys() - fresh.keys()))


def held_at_closes(sums: Sequence[AnyRow], count: int, names: Sequence[str] = HELD) -> Iterator[list[Row]]:
    """Yield every position as it was at the opening and at the close of each of `count` days: `count` + 1 lists.

    `sums` are rows of `projections.models.daily_sums`; a row has the total of each of `names` up to the close.
    """
    by_day: dict[int, list[AnyRow]] = {}
    for row in sums:
        by_day.setdefault(row["day"], []).append(row)
    held: dict[tuple[Any, ...], Row] = {}
    for day in range(count + 1):
        for row in by_day.get(day, ()):
            place = (*(row[name] for name in POSITION), row["settle"])
            before = held.get(place)
            position: Row = {name: row[name] for name in (*POSITION, *CONTRACT)}
            if before is not None:
                position |= {name: before[name] for name in CONTRACT if position[name] is None}
            held[place] = position | {name: _plus(before, row, name) for name in names}
        yield list(held.values())


def _plus(before: Row | None, row: AnyRow, name: str) -> Any:
    if before is None:
        return row[name]
    if name == OTHER_FEES:
        return added((before[name], row[name])) if row[name] else before[name]
    return exact(before[name] + row[name])


def own_pairs(rows: Iterable[AnyRow]) -> dict[str, Contract]:
    """Return the spot instruments among rows of positions: the pairs that these coins are traded in."""
    found = {row["instrument_id"]: contract_of(row) for row in rows if row["kind"] == Kind.SPOT}
    return {instrument_id: contract for instrument_id, contract in found.items() if contract is not None}


def worth(row: AnyRow, close: Closing) -> Decimal | None:
    """Return the position's value at the close in settlement currency; None without a mark."""
    return value(row, mark_of(row, close.marks))


def unrealized(row: AnyRow, close: Closing) -> Decimal | None:
    """Return the position's value less its cost; zero where quantity and cost are zero, None without a mark."""
    found = worth(row, close)
    return None if found is None else exact(found - row["cost"])


def is_future(position: AnyRow) -> bool:
    """Whether trading the instrument moves no money but fees until the position is closed."""
    return position["kind"] in _FUTURES


def settled(position: AnyRow) -> Decimal:
    """Return the position's net cash flow in settlement currency, fees included; see `holdings.balances.moved_by`."""
    moved = position["realized"] + position["rounding"] - position["fee_cost"] + position["funding"]
    moved -= position["fees_settle"]
    if not is_future(position):
        moved += position["transferred"] + position["income"] - position["cost"]
    return exact(cast(Decimal, moved))


def converted(amount: Decimal | None, held_in: str | None, wanted: str, close: Closing) -> Decimal | None:
    """Convert an amount to another currency at the close, rounded once; None without an amount or a rate."""
    if amount is None or not amount or held_in == wanted:
        return amount
    assert held_in is not None, "an amount is in a currency"
    return close.rates.rate(held_in, wanted).amount_of(amount)
