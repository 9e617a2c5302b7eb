"""Net asset value (NAV) by the day, and its time-weighted return. Pure.

NAV is the equity of `projections.analytics.equity`: cash and positions at the marks of a moment. The time-weighted
return is that of the GIPS standards for firms (CFA Institute, 2020, provisions 2.A.20 to 2.A.24 and glossary): the time
is cut into sub-periods at each external cash flow, the portfolio is valued there, and the sub-periods' returns are
linked geometrically:

    return of a sub-period = NAV at its end / (NAV at its start + the flow made there) - 1
    return of a day, or of all days = product of (1 + return of each sub-period) - 1

So a flow changes no return, however large and whenever it is made. It counts as made at the start of its half hour, and
is converted at the marks there. Where the portfolio cannot be valued at a flow, as a mark is missing or too old, the
sub-periods around it are one, and its return is modified Dietz: the flow is weighted by the fraction of the time
that is left. `method` states which of the two a day's return is, `flows_weighted` how many flows had no valuation. A
close that cannot be valued has neither NAV nor return; the next one's return is `since` the last moment that had both.
"""

from bisect import bisect_right
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import TypedDict

from domain.values import ONE, ZERO, divide, exact, rounded
from projections.analytics.closing import Closing
from projections.analytics.equity import INDEX_PLACES, EquityInputs, EquityPoint, curve
from projections.analytics.valuation import total
from projections.calendar import Close, Days, slot_of, slot_start

BY_HALF_HOURS = Close(0, 30)  # not midnight, so that sums are read by the half hour
TIME_WEIGHTED, MODIFIED_DIETZ = "TIME_WEIGHTED", "MODIFIED_DIETZ"


class NavPoint(TypedDict("_Return", {"return": Decimal | None})):  # no name in Python
    """NAV at the close of a day, in `currency`: `return`, `index` and `drawdown` are fractions; None for `reason`."""

    day: date
    close_at: datetime
    currency: str
    nav: Decimal | None
    cash: Decimal | None
    positions: Decimal | None
    external: Decimal | None
    pnl: Decimal | None
    since: datetime
    method: str | None
    sub_periods: int
    flows: int
    flows_weighted: int
    index: Decimal
    drawdown: Decimal
    reason: str | None
    lacking: list[str]


def flow_slots(inputs: EquityInputs, days: Days) -> list[int]:
    """Return the half hours with external flows in these days, in order."""
    slots = {row["slot"] for row in inputs.cash if row["external"]} | {row["slot"] for row in inputs.moved}
    first, last = slot_of(days.bounds[0]), slot_of(days.bounds[-1])
    return sorted(slot for slot in slots if first <= slot < last)


def sub_periods(days: Days, flows: Sequence[int]) -> Days:
    """Return the days cut at each flow: as many dates as sub-periods, each the day it is part of."""
    bounds = sorted({*days.bounds, *(slot_start(slot) for slot in flows)})
    dates = (days.dates[bisect_right(days.bounds, start) - 1] for start in bounds[:-1])
    return Days(BY_HALF_HOURS, tuple(dates), tuple(bounds))


def nav(
    inputs: EquityInputs,
    days: Days,
    parts: Days,
    closings: Sequence[Closing],
    currency: str,
    *,
    capital: Decimal = ZERO,
) -> list[NavPoint]:
    """Return a row for each day. `parts` are its sub-periods, `closings` and the sums of `inputs` those of them.

    `closings` has one more than there are sub-periods. `capital` is added to what is on record, from the beginning.
    """
    at_flows = [closings[0], *closings[:-1]]  # a flow is at the start of its sub-period
    points = curve(inputs, parts, closings, currency, capital=capital, flow_closings=at_flows)
    flows = set(flow_slots(inputs, days))
    rows: list[NavPoint] = []
    index = high = ONE
    number = 0
    for day, end in zip(days.dates, days.bounds[1:], strict=True):
        first = number
        while number < len(points) and parts.bounds[number + 1] <= end:
            number += 1
        row = _day(points, parts, range(first, number), flows)
        if row["return"] is not None:
            index = rounded(index * (ONE + row["return"]), INDEX_PLACES)
            high = max(high, index)
        drawdown = ZERO if not high else exact(ONE - divide(index, high))
        rows.append(row | {"day": day, "index": index, "drawdown": drawdown})
    return rows


def _day(points: Sequence[EquityPoint], parts: Days, numbers: range, flows: set[int]) -> NavPoint:
    """Return the row of a day, which consists of the sub-periods of these numbers."""
    first, end = numbers.start, numbers.stop
    last = points[end - 1]
    linked, starts, weighted = ONE, [], 0
    for number in numbers:
        point = points[number]
        if point["return"] is None:
            continue
        linked = rounded(linked * (ONE + point["return"]), INDEX_PLACES)
        begin = number + 1 - point["days_spanned"]
        starts.append(parts.bounds[begin])
        weighted += sum(slot_of(bound) in flows for bound in parts.bounds[begin + 1 : number + 1])
    is_known = last["return"] is not None
    gained = [point["pnl"] for point in points[first:end] if point["pnl"] is not None]
    return {
        "day": last["day"],
        "close_at": last["close_at"],
        "currency": last["currency"],
        "nav": last["equity"],
        "cash": last["cash"],
        "positions": last["positions"],
        "external": total([point["external"] for point in points[first:end]]),
        "pnl": total(list(gained)) if last["pnl"] is not None else None,
        "return": exact(linked - ONE) if is_known else None,
        "since": min(starts) if is_known else parts.bounds[first],
        "method": (MODIFIED_DIETZ if weighted else TIME_WEIGHTED) if is_known else None,
        "sub_periods": len(starts) if is_known else 0,
        "flows": sum(slot_of(bound) in flows for bound in parts.bounds[first:end]),
        "flows_weighted": weighted if is_known else 0,
        "index": ONE,
        "drawdown": ZERO,
        "reason": None if is_known else last["reason"],
        "lacking": last["lacking"],
    }
