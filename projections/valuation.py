"""Valuation: what rows of positions are worth at given marks, and sums of them. Pure, for live rows and replays alike.

A mark that is not there is not guessed: what depends on it is None, and so is every sum that it is part of. Sums never
mix currencies: each group is of one.
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from domain.instrument import Kind
from domain.values import EARLIEST, ZERO, Mark, exact, venue_of
from projections.tables import Row, contract_of

Marks = Mapping[str, Mark]


def mark_of(row: Row, marks: Marks) -> Mark | None:
    """The mark that can value the row's instrument: an inverse contract has no value at a price of zero."""
    mark = marks.get(row["instrument_id"])
    if mark is None or (mark.price <= 0 and row["kind"] == Kind.INVERSE):
        return None
    return mark


def marked(mark: Mark | None) -> Row:
    """A mark as columns: price, source and time, which a price that somebody just supposes (as of EARLIEST) has not."""
    if mark is None:
        return {"mark": None, "mark_source": None, "mark_at": None}
    return {
        "mark": mark.price,
        "mark_source": mark.source,
        "mark_at": mark.mark_at if mark.mark_at > EARLIEST else None,
    }


def value(row: Row, mark: Mark | None) -> Decimal | None:
    """The position's value in settlement currency; zero when flat, None without a mark."""
    if not row["quantity"]:
        return ZERO
    contract = contract_of(row)
    if contract is None or mark is None:
        return None
    return exact(contract.value(row["quantity"], mark.price))


def notional(row: Row, mark: Mark | None) -> Decimal | None:
    """The position's size in quote currency, below zero when short; zero when flat, None without a mark."""
    if not row["quantity"]:
        return ZERO
    contract = contract_of(row)
    if contract is None or mark is None:
        return None
    size = contract.notional(row["quantity"], mark.price)
    return exact(size if row["quantity"] > 0 else -size)


def with_venue(row: Row) -> Row:
    """The row and its instrument's venue."""
    return row | {"venue": venue_of(row["instrument_id"])}


def grouped(rows: Iterable[Row], by: Sequence[str], sums: Sequence[str]) -> list[Row]:
    """One row for each value of the `by` columns, sorted by them, with sums and `missing_marks`.

    A sum over an unknown is None; `missing_marks` names the instruments whose mark is missing.
    """
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] or "" for name in by), []).append(row)
    return [
        dict(zip(by, group, strict=True))
        | {name: _sum(row[name] for row in members) for name in sums}
        | {
            "missing_marks": sorted(
                {row["instrument_id"] for row in members if row["quantity"] and row["mark"] is None}
            )
        }
        for group, members in sorted(groups.items())
    ]


def _sum(parts: Iterable[Decimal | None]) -> Decimal | None:
    total = ZERO
    for part in parts:
        if part is None:
            return None
        total += part
    return exact(total)
