"""Restatement of a day's PnL: as it was reported, as it is known now, and the causes of the difference, by position.

A day ends at its close, a time in UTC or in a named zone (00:00: the end of the date). It includes what occurred from
its start up to its end, exclusive, and is valued at the newest marks of both moments. The arithmetic is in
`projections.analytics.restatement`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

from api.clock import now
from api.daybook import Daybook
from api.parameters import Moment, Where, parsed_day
from api.read_models.snapshot import Reading, reading
from domain import position
from domain.errors import InvalidInput
from domain.ledger import Logged
from domain.values import ZERO, Mark, exact
from projections.analytics.restatement import Bounds, Item, Known, Sums, Valuer, restate
from projections.calendar import parsed_close
from projections.models import positions_occurred
from projections.models.positions import PositionRow
from projections.storage.history import AsOf
from projections.storage.tables import POSITION, PositionId, Row, contract_of, position_key, position_of

MICROSECOND = timedelta(microseconds=1)
TOGETHER_MAX = 64  # events at most so far apart are read together
MODELS = ("positions", "executions")

Key = PositionId


@dataclass(frozen=True)
class Day:
    """A day, and the two times at which it is known: when it was reported, and now (None) or another time."""

    start: datetime
    end: datetime
    reported: Moment
    restated: Moment | None = None


def day_of(day: str, close: str, known_at: Moment | None, restated_at: Moment | None) -> Day:
    """Return the day that ends at `close` of a date, 00:00 being the end of the date. By default it was reported as
    it ended.

    Raises InvalidInput, also for a day that has not ended.
    """
    date, closes = parsed_day(day), parsed_close(close)
    present = now()
    if date > present.date() + timedelta(days=1) or (end := closes.end_of(date)) > present:
        raise InvalidInput("day", day, f"the date of a day that has ended by {present:%Y-%m-%d %H:%M}")
    return Day(closes.end_of(date - timedelta(days=1)), end, known_at or Moment(at=end), restated_at)


@dataclass(frozen=True)
class Restated:
    """One position's day: as it was reported, as it is known now, and the causes of the difference."""

    key: Key
    settle: str
    then: Known
    now: Known
    items: tuple[Item, ...]

    @property
    def difference(self) -> Decimal | None:
        """now - then; None if either is not known."""
        was, is_ = self.then.pnl, self.now.pnl
        return None if was is None or is_ is None else exact(is_ - was)


@dataclass(frozen=True)
class Restatement:
    """A day restated: the places in the log it is known at then and now, and its positions."""

    day: Day
    then_seq: int
    now_seq: int
    positions: list[Restated]


def restatement(daybook: Daybook, day: Day, where: Where, **waiting: Any) -> Restatement:
    """Return the restatement of a day. Raises InvalidInput if it would be restated before it was reported."""
    with reading(daybook, *MODELS, moment=day.restated, **waiting) as at:
        return restated_at(daybook, at, day, where, **waiting)


def restated_at(daybook: Daybook, at: Reading, day: Day, where: Where, **waiting: Any) -> Restatement:
    """Return the restatement of a day as it is known in a reading. Raises InvalidInput if that was not reported yet."""
    with reading(daybook, *MODELS, moment=day.reported, **waiting) as then:
        was = _Boundaries(daybook, then, day, where)
    is_ = _Boundaries(daybook, at, day, where)
    if at.seq < then.seq:
        raise InvalidInput("restated_at", at.seq, f"a moment after the day was reported, at seq {then.seq}")
    connection = at.source.connection if isinstance(at.source, AsOf) else at.source
    changed = positions_occurred.changes(connection, day.end - MICROSECOND, then.seq, at.seq, **where._asdict())  # type: ignore[arg-type]
    bounds = Bounds(day.start - MICROSECOND, day.end - MICROSECOND)
    positions = []
    for key in sorted(was.keys | is_.keys):
        settle = is_.settle(key) or was.settle(key)
        known_then, known_now = was.known(key, settle), is_.known(key, settle)
        events = _events(daybook, key, changed.get(key, []))
        summed = partial(_summed, daybook, key, settle)
        items = restate(known_then, known_now, events, settle=settle, bounds=bounds, summed=summed)
        positions.append(Restated(key, settle, then=known_then, now=known_now, items=items))
    return Restatement(day, then.seq, at.seq, positions)


def _summed(daybook: Daybook, key: Key, settle: str, seq: int, by: datetime) -> Sums:
    """Return a position's sums of all that had occurred by a moment, as known at a seq."""
    with reading(daybook, *MODELS, moment=Moment(seq=seq)) as at:
        found = positions_occurred.positions(at.source, by, **Where(*key)._asdict())
    return _sums(found[0] if found else None, settle)


class _Boundaries:
    """Positions and marks at a day's start and end, as they are known in a reading."""

    def __init__(self, daybook: Daybook, at: Reading, day: Day, where: Where) -> None:
        moments = (day.start, day.end)
        self._rows = [
            {
                position_of(row): row
                for row in positions_occurred.positions(at.source, moment - MICROSECOND, **where._asdict())
            }
            for moment in moments
        ]
        self._marks = [_marks(daybook, at, moment) for moment in moments]

    @property
    def keys(self) -> set[Key]:
        return self._rows[0].keys() | self._rows[1].keys()

    def settle(self, key: Key) -> str:
        return next((row["settle"] for rows in self._rows if (row := rows.get(key)) and row["settle"]), "")

    def known(self, key: Key, settle: str) -> Known:
        rows = [rows.get(key) for rows in self._rows]
        before, after = (_sums(row, settle) for row in rows)
        opening, closing = (
            Valuer(contract_of(row) if row else None, marks.get(key[2]))
            for row, marks in zip(rows, self._marks, strict=True)
        )
        return Known(before, after, opening, closing)


def _marks(daybook: Daybook, at: Reading, moment: datetime) -> dict[str, Mark]:
    if at.known_at is None and isinstance(at.source, AsOf):
        return {}
    found = daybook.market.latest_all(moment, at.known)
    return {
        name: Mark(mark.instrument_id, mark.price, mark.source, mark.mark_at) for name, mark in found.items()
    }  # fmt: skip


def _sums(row: PositionRow | None, settle: str) -> Sums:
    if row is None:
        return Sums()
    gained = row["realized"] + row["rounding"] + row["funding"] + row["income"]
    return Sums(row["quantity"], row["cost"], gained - row["fee_cost"] - row["fees"].get(settle, ZERO))


def _events(daybook: Daybook, key: Key, seqs: Sequence[int]) -> Iterator[Logged]:
    """Yield the events at these places that are of this position."""
    wanted, stream = set(seqs), position.stream(position_key(key))
    at = 0
    while at < len(seqs):
        first = seqs[at]
        while at < len(seqs) and seqs[at] < first + TOGETHER_MAX:
            at += 1
        for logged in daybook.history.select(after=first - 1, upto=seqs[at - 1], limit=TOGETHER_MAX):
            if logged.seq in wanted and logged.recorded.stream == stream:
                yield logged


def restatement_record(found: Restatement) -> dict[str, Any]:
    """Return a restatement as a record: items, newest cause last, and sums by settlement currency."""
    items = [
        {
            **dict(zip(POSITION, one.key, strict=True)),
            "settle": one.settle,
            "cause": item.cause.value,
            "recorded_at": item.recorded_at,
            "first_seq": item.first_seq,
            "last_seq": item.last_seq,
            "exec_ids": list(item.exec_ids),
            "mark_was": item.mark_was.price if item.mark_was else None,
            "mark_is": item.mark_is.price if item.mark_is else None,
            "booked": item.booked,
            "unrealized": item.unrealized,
            "amount": item.amount,
        }
        for one in found.positions
        for item in one.items
    ]
    rows: list[Row] = [
        {
            **dict(zip(POSITION, one.key, strict=True)),
            "settle": one.settle,
            "reported": one.then.pnl,
            "known": one.now.pnl,
            "difference": one.difference,
            "items": len(one.items),
        }
        for one in found.positions
    ]
    return {
        "day_start": found.day.start,
        "day_end": found.day.end,
        "reported_seq": found.then_seq,
        "seq": found.now_seq,
        "positions": rows,
        "items": items,
        "totals": [_total(settle, rows) for settle in sorted({row["settle"] for row in rows})],
    }


def _total(settle: str, rows: list[Row]) -> Row:
    mine = [row for row in rows if row["settle"] == settle]
    sums = {}
    for name in ("reported", "known", "difference"):
        parts = [row[name] for row in mine]
        sums[name] = None if None in parts else exact(sum(parts, ZERO))
    return {"settle": settle, **sums}
