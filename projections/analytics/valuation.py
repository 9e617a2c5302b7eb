"""Valuation of rows of positions at given marks, and sums of them. Pure, for live rows and replays alike.

A missing mark is not estimated: a value that depends on it is None, and so is every sum it is part of. A stale mark is
used and flagged as stale. Sums never mix currencies: each group is of one.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TypedDict

from domain.marks import MarkOnRecord
from domain.values import EARLIEST, ZERO, Mark, exact
from projections.storage.tables import AnyRow, Row, contract_of

Marks = Mapping[str, Mark]


class MarkColumns(TypedDict):
    """The mark a row is valued at: `mark` in quote units, `mark_age_ms` in milliseconds; None without a mark."""

    mark: Decimal | None
    mark_source: str | None
    mark_at: datetime | None
    mark_quality: str | None
    mark_age_ms: int | None
    is_mark_stale: bool | None


def mark_of(row: AnyRow, marks: Marks) -> Mark | None:
    """Return the usable mark of the row's instrument: one at a price that such an instrument may have."""
    mark = marks.get(row["instrument_id"])
    if mark is None or mark.price > 0:
        return mark
    contract = contract_of(row)
    return mark if contract is not None and contract.has_price(mark.price) else None


def marked(mark: Mark | None) -> MarkColumns:
    """Return a mark as columns: price, source, time, quality, age and whether it is stale.

    A supposed mark (as of EARLIEST) has no time.
    """
    kept = mark if isinstance(mark, MarkOnRecord) else None
    return {
        "mark": mark.price if mark is not None else None,
        "mark_source": mark.source if mark is not None else None,
        "mark_at": mark.mark_at if mark is not None and mark.mark_at > EARLIEST else None,
        "mark_quality": kept.quality.value if kept is not None else None,
        "mark_age_ms": kept.age_ms if kept is not None else None,
        "is_mark_stale": kept.is_stale if kept is not None else None,
    }


def value(row: AnyRow, mark: Mark | None) -> Decimal | None:
    """Return the position's value in settlement currency; zero when flat, None without a mark."""
    if not row["quantity"]:
        return ZERO
    contract = contract_of(row)
    if contract is None or mark is None:
        return None
    return exact(contract.value(row["quantity"], mark.price))


def notional(row: AnyRow, mark: Mark | None) -> Decimal | None:
    """Return the position's size in quote currency, below zero when short; zero when flat, None without a mark."""
    if not row["quantity"]:
        return ZERO
    contract = contract_of(row)
    if contract is None or mark is None:
        return None
    size = contract.notional(row["quantity"], mark.price)
    return exact(size if row["quantity"] > 0 else -size)


def grouped(rows: Iterable[AnyRow], by: Sequence[str], sums: Sequence[str]) -> list[Row]:
    """Return one row for each value of the `by` columns, sorted by them, with sums, `missing_marks` and `stale_marks`.

    A sum over an unknown is None; `missing_marks` are the instruments whose mark is missing, `stale_marks` those whose
    mark is stale.
    """
    groups: dict[tuple[str, ...], list[AnyRow]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] or "" for name in by), []).append(row)
    return [
        dict(zip(by, group, strict=True))
        | {name: total([row[name] for row in members]) for name in sums}
        | {
            "missing_marks": _named(row for row in members if row["quantity"] and row["mark"] is None),
            "stale_marks": _named(row for row in members if row["quantity"] and row["is_mark_stale"]),
        }
        for group, members in sorted(groups.items())
    ]


def _named(rows: Iterable[AnyRow]) -> list[str]:
    return sorted({row["instrument_id"] for row in rows})


def total(parts: Sequence[Decimal | None]) -> Decimal | None:
    """Return the sum; None if a part is unknown."""
    if len(parts) == 1:
        return parts[0]
    if parts.count(ZERO) == len(parts):  # the usual case, faster than adding them up
        return ZERO
    try:
        return exact(sum(parts, ZERO))  # type: ignore[type-var, arg-type]
    except TypeError:  # an unknown is no number
        return None
