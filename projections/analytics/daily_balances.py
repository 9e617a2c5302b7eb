"""Daily balances: what each balance of an account opened and closed a UTC day with, and what moved it, by kind.

Days are value dates: a late fill belongs to the day it occurred on. `closing` = `opening` + `inflow` - `outflow`,
exactly, and a day opens with what the one before closed with. Kinds are those of journal entries (TRADE, REVERSAL,
FUNDING, FEE, TRANSFER, INTEREST and so on), except that the fee of a trade is COMMISSION, apart from the trade. The
balances at both ends are sums of the table of turnovers, the movements in between are lines of entries: two tables
that are folded apart, which must agree.
"""

from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from decimal import Decimal
from typing import TypedDict

from domain.errors import HistoryBroken, InvalidInput
from domain.values import ZERO, exact
from projections.calendar import DAYS_MAX
from projections.models.bookkeeping import ASSETS, FEES
from projections.models.journal import entries_table, turnover_table
from projections.storage.rows import Source, fetch
from projections.storage.tables import Row

COMMISSION = "COMMISSION"
DAYS_SHOWN = 30
DAY = timedelta(days=1)
Place = tuple[str, str]  # account and asset


class DailyBalanceRow(TypedDict):
    """A balance on one day, in units of the asset: `inflow` and `outflow` unsigned, and by kind of movement."""

    account_id: str
    asset: str
    day: str
    opening: Decimal
    inflow: Decimal
    outflow: Decimal
    inflow_by_kind: dict[str, Decimal]
    outflow_by_kind: dict[str, Decimal]
    closing: Decimal
    seq: int


def daily_balances(
    source: Source,
    *,
    account_id: str | None = None,
    asset: str | None = None,
    first: date | None = None,
    last: date | None = None,
) -> Iterator[DailyBalanceRow]:
    """Yield balances by day, account and asset: of each day on which there is one, or something moves.

    By default of the last 30 days up to the last one on record. Raises InvalidInput for more than DAYS_MAX days, and
    HistoryBroken if balances and entries disagree.
    """
    turnovers = fetch(source, turnover_table, where={"account_id": account_id, "asset": asset})
    if not turnovers:
        return
    last = last or date.fromisoformat(max(row["value_date"] for row in turnovers))
    first = first or last - (DAYS_SHOWN - 1) * DAY
    _check(first, last)
    by_day: dict[str, list[Row]] = {}
    for row in turnovers:
        by_day.setdefault(row["value_date"], []).append(row)
    opening: dict[Place, Decimal] = {}
    seqs: dict[Place, int] = {}
    for day in sorted(day for day in by_day if day < first.isoformat()):
        for row in by_day[day]:
            _add(opening, seqs, row)
    for number in range((last - first).days + 1):
        day = (first + number * DAY).isoformat()
        closing = dict(opening)
        for row in by_day.get(day, ()):
            _add(closing, seqs, row)
        moved = _moved(source, day, account_id, asset) if day in by_day else {}
        for place in sorted({*closing, *moved}):
            ends = opening.get(place, ZERO), closing.get(place, ZERO)
            row_ = _row(place, day, ends, moved.get(place, ({}, {})))
            if row_["opening"] or row_["inflow"] or row_["outflow"]:
                yield {**row_, "seq": seqs.get(place, 0)}
        opening = closing


def _check(first: date, last: date) -> None:
    if first > last:
        raise InvalidInput("to", last.isoformat(), f"a day since {first.isoformat()}")
    if (last - first).days >= DAYS_MAX:
        raise InvalidInput("from", first.isoformat(), f"at most {DAYS_MAX} days before {last.isoformat()}")


def _add(balances: dict[Place, Decimal], seqs: dict[Place, int], row: Row) -> None:
    """Add a day's turnover of asset accounts to the balances."""
    place = (row["account_id"], row["asset"])
    moved = [debit - credit for account, (debit, credit) in row["sums"].items() if account.startswith(ASSETS)]
    if moved:
        balances[place] = exact(balances.get(place, ZERO) + sum(moved, ZERO))
        seqs[place] = max(seqs.get(place, 0), row["seq"])


Moved = tuple[dict[str, Decimal], dict[str, Decimal]]  # in and out, by kind


def _moved(source: Source, day: str, account_id: str | None, asset: str | None) -> dict[Place, Moved]:
    """Return what moved each balance on a day."""
    found: dict[Place, Moved] = {}
    for entry in fetch(source, entries_table, where={"account_id": account_id, "value_date": day}):
        previous = ""
        for account, of_asset, text in entry["lines"]:
            if account.startswith(ASSETS) and asset in (None, of_asset):
                amount = Decimal(text)
                kind = COMMISSION if previous == FEES and entry["instrument_id"] else entry["kind"]
                sides = found.setdefault((entry["account_id"], of_asset), ({}, {}))
                side = sides[0] if amount > 0 else sides[1]
                side[kind] = exact(side.get(kind, ZERO) + abs(amount))
            previous = account
    return found


def _row(place: Place, day: str, ends: tuple[Decimal, Decimal], moved: Moved) -> DailyBalanceRow:
    opening, closing = ends
    inflow, outflow = (exact(sum(side.values(), ZERO)) for side in moved)
    if opening + inflow - outflow != closing:
        about = f"{place[0]} in {place[1]} on {day}"
        raise HistoryBroken(f"the journal's entries do not add up to its turnovers: {about}; rebuild the journal")
    return {
        "account_id": place[0],
        "asset": place[1],
        "day": day,
        "opening": opening,
        "inflow": inflow,
        "outflow": outflow,
        "inflow_by_kind": _sorted(moved[0]),
        "outflow_by_kind": _sorted(moved[1]),
        "closing": closing,
        "seq": 0,
    }


def _sorted(amounts: Mapping[str, Decimal]) -> dict[str, Decimal]:
    return dict(sorted(amounts.items()))
