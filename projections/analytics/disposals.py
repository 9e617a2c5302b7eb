"""Disposals: matches with the acquisition of their lot, the proceeds, and how long the lot was held.

`proceeds` is cost + gain: for what the part of the lot was disposed of, in settlement currency, before rounding; of a
short lot below zero, as paid to close it, as its cost is what its sale brought in. `holding_days` are whole days of 24
hours from acquisition to disposal; a lot is held for long when they reach `long_term_days`. A lot that was moved by a
transfer keeps the time of its acquisition.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from domain.values import exact, time
from projections.models import executions
from projections.models.executions import TRANSFER, Position
from projections.models.lots import RecostedMatchRow
from projections.storage.rows import Source, fetch
from projections.storage.tables import POSITION, AnyRow, Row, position_of

LONG_TERM_DAYS = 365
LOTS_MAX = 1000  # looked up at a time
DAY = timedelta(days=1)


class Filter(NamedTuple):
    """Which disposals by time: from `since` on, before `until`."""

    since: datetime | None = None
    until: datetime | None = None

    def has(self, row: AnyRow) -> bool:
        """Return whether a match is of a disposal in this time."""
        at: datetime = row["disposed_at"]
        return (self.since is None or at >= self.since) and (self.until is None or at < self.until)


class DisposalRow(RecostedMatchRow):
    """A match and its acquisition: `acquired_at`, `holding_days` and `is_long_term` are None where that is unknown."""

    acquired_at: datetime | None
    proceeds: Decimal
    holding_days: int | None
    is_long_term: bool | None
    settle: str | None


class Acquisitions:
    """When lots were acquired, looked up once for each lot, however many pages of matches there are."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._known: dict[tuple[Position, str], _Acquired] = {}
        self._moved: dict[Position, dict[str, _Acquired]] = {}

    def described(self, matches: Iterable[AnyRow], long_term_days: int = LONG_TERM_DAYS) -> list[Row]:
        """Return matches with their acquisitions, in their order and with all their columns."""
        rows = list(matches)
        wanted: dict[Position, dict[str, None]] = {}
        for row in rows:
            if (position_of(row), row["lot_id"]) not in self._known:
                wanted.setdefault(position_of(row), {})[row["lot_id"]] = None
        for position, lot_ids in wanted.items():
            self._look_up(position, tuple(lot_ids))
        return [_described(row, self._known.get((position_of(row), row["lot_id"])), long_term_days) for row in rows]

    def _look_up(self, position: Position, lot_ids: Sequence[str]) -> None:
        """Note when lots of a position were acquired: by the execution of their id, else as moved by a transfer."""
        where: Row = dict(zip(POSITION, position, strict=True))
        for start in range(0, len(lot_ids), LOTS_MAX):
            chosen = tuple(lot_ids[start : start + LOTS_MAX])
            for row in fetch(self._source, executions.executions, where=where | {"exec_id": chosen}):
                found = _Acquired(row["transact_time"], row["settle"])
                place = (position, row["exec_id"])
                self._known[place] = min(found, self._known.get(place, found))
        for lot_id in lot_ids:
            if (position, lot_id) not in self._known and lot_id in (moved := self._moved_into(position)):
                self._known[position, lot_id] = moved[lot_id]

    def _moved_into(self, position: Position) -> dict[str, "_Acquired"]:
        if position not in self._moved:
            where: Row = dict(zip(POSITION, position, strict=True))
            rows = fetch(self._source, executions.executions, where=where | {"entry": TRANSFER})
            self._moved[position] = {
                lot["lot_id"]: _Acquired(time(lot["opened_at"][0], "opened_at"), row["settle"])
                for row in rows
                for lot in row["lots"] or ()
            }
        return self._moved[position]


class _Acquired(NamedTuple):
    at: datetime
    settle: str | None


def _described(row: AnyRow, acquired: _Acquired | None, long_term_days: int) -> Row:
    days = None if acquired is None else (row["disposed_at"] - acquired.at) // DAY
    return {
        **row,
        "acquired_at": None if acquired is None else acquired.at,
        "proceeds": exact(row["cost"] + row["gain"]),
        "holding_days": days,
        "is_long_term": None if days is None else days >= long_term_days,
        "settle": None if acquired is None else acquired.settle,
    }
