"""Exposure: the size of positions at given marks. A view of the rows of `projections.models.positions`.

`notional` is in the instrument's quote currency, below zero when short; an option's is its premium, and that of an
option or quanto is in settlement currency, which its `quote` then names. Summed by account, strategy, instrument, venue
or base asset: `gross` is the sum of absolute notionals, `net` the signed sum; by quote currency, never converted.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, NotRequired, TypedDict, cast

from domain.instrument import Kind
from domain.values import PLACES_MAX, ZERO, Mark, divide, exact, rounded, venue_of
from projections.analytics.closing import Closing, converted
from projections.analytics.valuation import MarkColumns, Marks, grouped, mark_of, marked, notional, total
from projections.models.limits import LimitRow
from projections.models.positions import PositionRow, positions
from projections.storage.rows import Source
from projections.storage.tables import POSITION, AnyRow, PositionColumns, Row, contract_of

GROUPS = (*POSITION, "venue", "base")


class ExposureRow(PositionColumns, MarkColumns):
    """The size of a position at a mark: `quantity` in base units or contracts, `notional` in `quote`, both signed."""

    kind: str | None
    base: str | None
    quote: str | None
    quantity: Decimal
    seq: int
    venue: str
    notional: Decimal | None


class ExposureTotal(TypedDict):
    """Gross and net notional in one quote currency, with the columns they are summed by; None if a part is unknown."""

    account_id: NotRequired[str]
    strategy_id: NotRequired[str]
    instrument_id: NotRequired[str]
    position_side: NotRequired[str]
    venue: NotRequired[str]
    base: NotRequired[str]
    quote: str
    gross: Decimal | None
    net: Decimal | None
    missing_marks: list[str]
    stale_marks: list[str]


class SizedRow(PositionColumns):
    """The size of a position in its own units and in `currency`: `quantity` in base units or contracts, `notional` in
    `quote`, `delta` in units of `asset`; `net`, `gross` and `delta_value` in `currency`. `lacking` names the missing
    mark or rate.
    """

    kind: str | None
    quantity: Decimal
    venue: str
    asset: str | None
    quote: str | None
    notional: Decimal | None
    delta: Decimal | None
    currency: str
    net: Decimal | None
    gross: Decimal | None
    delta_value: Decimal | None
    lacking: str | None
    seq: int


class ExposureCut(TypedDict):
    """Sums of `SizedRow` in one currency, with the columns they are summed by: `delta` only of one asset, `share` of
    all gross as a fraction.
    """

    account_id: NotRequired[str]
    strategy_id: NotRequired[str]
    venue: NotRequired[str]
    asset: NotRequired[str]
    instrument_id: NotRequired[str]
    position_side: NotRequired[str]
    gross: Decimal | None
    net: Decimal | None
    delta_value: Decimal | None
    delta: Decimal | None
    share: Decimal | None
    lacking: list[str]


class Concentration(TypedDict):
    """Concentration of gross exposure in assets: fractions, None if a size is unknown."""

    herfindahl: Decimal | None
    largest_share: Decimal | None
    largest_asset: str | None


class HeadroomRow(LimitRow):
    """A limit with the headroom left, in its units, and whether it `is_breached`: used by more than it allows.

    `is_exceeded` is a deprecated alias of `is_breached`.
    """

    subject: str
    headroom: Decimal | None
    is_breached: bool | None
    is_exceeded: bool | None


def exposure(
    source: Source,
    *,
    account_id: str | None = None,
    strategy_id: str | None = None,
    instrument_id: str | None = None,
    position_side: str | None = None,
    marks: Marks,
) -> list[ExposureRow]:
    """Return every open position's size at the marks, by account, strategy and instrument."""
    rows = positions(
        source, account_id=account_id, strategy_id=strategy_id, instrument_id=instrument_id,
        position_side=position_side,
    )  # fmt: skip
    return [sized(row, mark_of(row, marks)) for row in rows if row["quantity"]]


def sized(row: PositionRow, mark: Mark | None) -> ExposureRow:
    """Return the exposure row of a position; `notional` is None without a mark."""
    return {
        "account_id": row["account_id"],
        "strategy_id": row["strategy_id"],
        "instrument_id": row["instrument_id"],
        "position_side": row["position_side"],
        "kind": row["kind"],
        "base": row["base"],
        "quote": _notional_currency(row),
        "quantity": row["quantity"],
        "seq": row["seq"],
        "venue": venue_of(row["instrument_id"]),
        **marked(mark),
        "notional": notional(row, mark),
    }


def _notional_currency(row: AnyRow) -> str | None:
    contract = contract_of(row)
    return row["quote"] if contract is None else contract.notional_currency


def totals(rows: Sequence[ExposureRow], by: Sequence[str]) -> list[ExposureTotal]:
    """Sum `exposure` rows to `gross` and `net` for each of `by` (some of GROUPS) and quote currency."""
    sizes = [
        row | {"net": row["notional"], "gross": None if row["notional"] is None else abs(row["notional"])}
        for row in rows
    ]
    return cast(list[ExposureTotal], grouped(sizes, (*by, "quote"), ("gross", "net")))


CUTS = ("account_id", "strategy_id", "venue", "asset", "instrument_id", "position_side")
SUMS = ("gross", "net", "delta_value")


def sized_in(row: PositionRow, close: Closing, currency: str) -> SizedRow:
    """Return an open position's size in its own currencies and in `currency`."""
    size = notional(row, mark_of(row, close.marks))
    quote = _notional_currency(row)
    in_currency = converted(size, quote, currency, close)
    delta = delta_of(row, close)
    lacking = row["instrument_id"] if size is None else (f"{quote} to {currency}" if in_currency is None else None)
    return {
        "account_id": row["account_id"],
        "strategy_id": row["strategy_id"],
        "instrument_id": row["instrument_id"],
        "position_side": row["position_side"],
        "kind": row["kind"],
        "quantity": row["quantity"],
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


def delta_of(row: AnyRow, close: Closing) -> Decimal | None:
    """Return the delta in units of the base asset, signed; None of options, quantos, and inverse without a mark."""
    contract, mark = contract_of(row), mark_of(row, close.marks)
    if contract is None or contract.kind is Kind.OPTION or contract.is_quanto:
        return None
    units = exact(row["quantity"] * contract.contract_size)
    if contract.kind is not Kind.INVERSE:
        return units
    return None if mark is None else divide(units, mark.price)


def cut(rows: Iterable[SizedRow], by: Sequence[str]) -> list[ExposureCut]:
    """Sum `sized_in` rows for each of `by` (some of CUTS), sorted by those; `share` is the fraction of all gross."""
    groups: dict[tuple[Any, ...], list[AnyRow]] = {}
    found: list[AnyRow] = list(rows)
    for row in found:
        groups.setdefault(tuple(row[name] or "" for name in by), []).append(row)
    whole = total([row["gross"] for row in found])
    cuts = [
        dict(zip(by, place, strict=True)) | _summed(members, whole, has_one_asset="asset" in by)
        for place, members in sorted(groups.items())
    ]
    return cast(list[ExposureCut], cuts)


def _summed(members: Sequence[AnyRow], whole: Decimal | None, *, has_one_asset: bool) -> Row:
    gross = total([row["gross"] for row in members])
    return {
        **{name: total([row[name] for row in members]) for name in SUMS},
        "delta": total([row["delta"] for row in members]) if has_one_asset else None,
        "share": divide(gross, whole) if gross is not None and whole else None,
        "lacking": sorted({row["lacking"] for row in members if row["lacking"]}),
    }


def concentration(rows: Iterable[SizedRow]) -> Concentration:
    """Return the concentration of gross exposure in assets: `herfindahl`, the largest share and its asset."""
    parts = cut(rows, ("asset",))
    shares = {part["asset"]: share for part in parts if (share := part["share"]) is not None}
    if not shares or len(shares) < len(parts):
        return {"herfindahl": None, "largest_share": None, "largest_asset": None}
    largest = max(shares, key=lambda asset: shares[asset])  # of equals the first by name
    return {
        "herfindahl": rounded(sum((share * share for share in shares.values()), ZERO), PLACES_MAX),
        "largest_share": shares[largest],
        "largest_asset": largest,
    }


def leverage(gross: Decimal | None, equity: Decimal | None) -> Decimal | None:
    """Return gross / equity to 18 places; None without an equity above zero."""
    return divide(gross, equity) if gross is not None and equity is not None and equity > 0 else None


def with_headroom(limit: AnyRow) -> HeadroomRow:
    """Return a row of `limits.utilisation` with `headroom` and `is_breached`; None where usage is not known.

    `subject` is the instrument or asset measured, or "" for all of the limit's scope.
    """
    used = limit["used"]
    headroom = None if used is None else exact(limit["limit"] - used)
    row = {"subject": limit["instrument_id"] or ""} | dict(limit)
    is_breached = None if headroom is None else headroom < 0
    row |= {"headroom": headroom, "is_breached": is_breached, "is_exceeded": is_breached}
    return cast(HeadroomRow, row)
