"""Exposure: the size of positions at given marks. A view of the rows of `projections.models.positions`.

`notional` is in the instrument's quote currency, below zero when short; an option's is its premium in settlement
currency, which its `quote` then names. Summed by account, strategy, instrument, venue or base asset: `gross` is the sum
of absolute notionals, `net` the signed sum; by quote currency, never converted.
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from domain.instrument import Kind
from domain.values import PLACES_MAX, ZERO, Mark, divide, exact, rounded, venue_of
from projections.analytics.closing import Closing, converted
from projections.analytics.valuation import Marks, grouped, mark_of, marked, notional, total, with_venue
from projections.models.positions import positions
from projections.storage.rows import Source
from projections.storage.tables import Row, contract_of

GROUPS = ("account_id", "strategy_id", "instrument_id", "venue", "base")


def exposure(
    source: Source,
    *,
    account_id: str | None = None,
    strategy_id: str | None = None,
    instrument_id: str | None = None,
    marks: Marks,
) -> list[Row]:
    """Return every open position's size at the marks, by account, strategy and instrument."""
    rows = positions(source, account_id=account_id, strategy_id=strategy_id, instrument_id=instrument_id)
    return [sized(row, mark_of(row, marks)) for row in rows if row["quantity"]]


def sized(row: Row, mark: Mark | None) -> Row:
    """Return the exposure row of a position; `notional` is None without a mark."""
    size = notional(row, mark)
    kept = ("account_id", "strategy_id", "instrument_id", "kind", "base", "quote", "quantity", "seq")
    quoted_in = {"quote": row["settle"]} if row["kind"] == Kind.OPTION else {}
    return with_venue({name: row[name] for name in kept}) | quoted_in | marked(mark) | {"notional": size}


def totals(rows: Sequence[Row], by: Sequence[str]) -> list[Row]:
    """Sum `exposure` rows to `gross` and `net` for each of `by` (some of GROUPS) and quote currency."""
    sizes = [
        row | {"net": row["notional"], "gross": None if row["notional"] is None else abs(row["notional"])}
        for row in rows
    ]
    return grouped(sizes, (*by, "quote"), ("gross", "net"))


CUTS = ("account_id", "strategy_id", "venue", "asset", "instrument_id")
SUMS = ("gross", "net", "delta_value")


def sized_in(row: Row, close: Closing, currency: str) -> Row:
    """Return an open position's size in its own currencies and in `currency`."""
    size = notional(row, mark_of(row, close.marks))
    quote = row["settle"] if row["kind"] == Kind.OPTION else row["quote"]
    in_currency = converted(size, quote, currency, close)
    delta = delta_of(row, close)
    lacking = row["instrument_id"] if size is None else (f"{quote} to {currency}" if in_currency is None else None)
    return {
        **{name: row[name] for name in ("account_id", "strategy_id", "instrument_id", "kind", "quantity")},
        "venue": venue_of(row["instrument_id"]),
        "asset": row["base"],
        "quote": quote,
        "notional": size,
        "delta": delta,
        "currency": currency,
        "net": in_currency,
        "gross": None if in_currency is None else abs(in_currency),
        "delta_value": None if delta is None else in_currency,
        "lacking": lacking,
        "seq": row["seq"],
    }


def delta_of(row: Row, close: Closing) -> Decimal | None:
    """Return the delta in units of the base asset, signed; None of options, and of inverse contracts without a mark."""
    contract, mark = contract_of(row), mark_of(row, close.marks)
    if contract is None or contract.kind is Kind.OPTION:
        return None
    units = exact(row["quantity"] * contract.contract_size)
    if contract.kind is not Kind.INVERSE:
        return units
    return None if mark is None else divide(units, mark.price)


def cut(rows: Iterable[Row], by: Sequence[str]) -> list[Row]:
    """Sum `sized_in` rows for each of `by` (some of CUTS), sorted by those; `share` is the fraction of all gross."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    found = list(rows)
    for row in found:
        groups.setdefault(tuple(row[name] or "" for name in by), []).append(row)
    whole = total([row["gross"] for row in found])
    return [
        dict(zip(by, place, strict=True)) | _summed(members, whole, has_one_asset="asset" in by)
        for place, members in sorted(groups.items())
    ]


def _summed(members: Sequence[Row], whole: Decimal | None, *, has_one_asset: bool) -> Row:
    gross = total([row["gross"] for row in members])
    return {
        **{name: total([row[name] for row in members]) for name in SUMS},
        "delta": total([row["delta"] for row in members]) if has_one_asset else None,
        "share": divide(gross, whole) if gross is not None and whole else None,
        "lacking": sorted({row["lacking"] for row in members if row["lacking"]}),
    }


def concentration(rows: Iterable[Row]) -> Row:
    """Return the concentration of gross exposure in assets: `herfindahl`, the largest share and its asset."""
    parts = cut(rows, ("asset",))
    shares = [part["share"] for part in parts]
    if not shares or None in shares:
        return {"herfindahl": None, "largest_share": None, "largest_asset": None}
    largest = max(parts, key=lambda part: part["share"])  # of equals the first by name
    return {
        "herfindahl": rounded(sum((share * share for share in shares), ZERO), PLACES_MAX),
        "largest_share": largest["share"],
        "largest_asset": largest["asset"],
    }


def leverage(gross: Decimal | None, equity: Decimal | None) -> Decimal | None:
    """Return gross / equity to 18 places; None without an equity above zero."""
    return divide(gross, equity) if gross is not None and equity is not None and equity > 0 else None


def with_headroom(limit: Mapping[str, Any]) -> Row:
    """Return a row of `limits.utilisation` with `headroom` and `is_exceeded`; None where usage is not known.

    `subject` is the instrument or asset measured, or "" for all of the limit's scope.
    """
    used = limit["used"]
    headroom = None if used is None else exact(limit["limit"] - used)
    row = {"subject": limit["instrument_id"] or ""} | dict(limit)
    return row | {"headroom": headroom, "is_exceeded": None if headroom is None else headroom < 0}
