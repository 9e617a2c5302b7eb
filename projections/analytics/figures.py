"""Figures of a closing: every balance, every position, and the PnL of every closed day, as canonical text by key.

A day's PnL is what was realized, paid and received on it: `net` = realized + rounding + funding + income - fee_cost -
fees_settle, in settlement currency. Unrealized PnL is no part of it, because it depends on marks, which a closing does
not state. Days are calendar days in UTC. Zeros stay: what was never there has no figure.
"""

import json
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from domain import names
from domain.sealed.figures import FiguresTree, day_figure, position_figure
from domain.values import EPOCH, exact
from projections.calendar import DAY, MIDNIGHT
from projections.models import balances, daily_sums, positions
from projections.storage.rows import Source, fetch
from projections.storage.tables import position_of

PROJECTIONS = (positions.PROJECTION, balances.PROJECTION, daily_sums.PROJECTION)
NAMES = tuple(projection.name for projection in PROJECTIONS)
VERSIONS = {projection.name: projection.version for projection in PROJECTIONS}
OF_POSITION = (
    "settle", "quantity", "cost", "realized", "rounding", "fees", "fee_cost", "funding", "income", "transferred",
)  # fmt: skip
OF_DAY = (
    "settle", "quantity", "cost", "realized", "rounding", "fee_cost", "fees_settle", "other_fees", "funding", "income",
    "transferred", "volume", "turnover", "fills",
)  # fmt: skip


def figures(source: Source, closed_before: date) -> FiguresTree:
    """Return all figures of a source's moment; PnL of the days before `closed_before`."""
    found: dict[str, str] = {}
    for row in balances.balances(source):
        key = names.stream("balance", row["account_id"], row["venue"], row["asset"])
        found[key] = canonical({"total": row["total"], "held": row["held"]})
    for held in positions.positions(source):
        key = position_figure(*position_of(held))
        found[key] = canonical({name: held[name] for name in OF_POSITION})  # type: ignore[literal-required]
    found |= _days(source, closed_before)
    return FiguresTree(found)


def _days(source: Source, closed_before: date) -> dict[str, str]:
    last = (datetime.combine(closed_before, datetime.min.time(), EPOCH.tzinfo) - EPOCH) // DAY
    slots = {row["slot"] for row in fetch(source, daily_sums.days_table, where={})}
    starts = {slot for slot in slots if slot < last}
    if not starts:
        return {}
    bounds = [EPOCH + DAY * slot for slot in sorted(starts | {slot + 1 for slot in starts})]  # no day in between
    found = {}
    for row in daily_sums.sums(source, MIDNIGHT, bounds):
        if not 1 <= row["day"] < len(bounds):
            continue
        day = bounds[row["day"] - 1].date()
        key = day_figure(day, *position_of(row))
        gained = row["realized"] + row["rounding"] + row["funding"] + row["income"]
        net = exact(gained - row["fee_cost"] - row["fees_settle"])
        found[key] = canonical({name: row[name] for name in OF_DAY} | {"net": net})  # type: ignore[literal-required]
    return found


def canonical(values: Mapping[str, Any]) -> str:
    """Return values as the one JSON text that states them: members sorted, no spaces, decimals as plain text."""
    return json.dumps(_plain(values), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _plain(value: Any) -> Any:
    match value:
        case Decimal():
            return f"{exact(value):f}"
        case dict():
            return {name: _plain(each) for name, each in value.items()}
        case _:
            return value
