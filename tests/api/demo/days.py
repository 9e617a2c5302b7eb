"""Simulated trading days without a database."""

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from adapters.writer.writer import Writer
from api.demo.trading_day import DaySummary, TradingDay
from domain.ledger import EventLog
from domain.values import Mark

NOW = datetime(2026, 11, 23, tzinfo=UTC)


class MarksInMemory:
    """The newest marks, for a desk without a database."""

    def __init__(self) -> None:
        self.newest: dict[str, Mark] = {}

    def record(self, marks: Any, *, actor: str) -> int:
        self.newest |= {mark.instrument_id: mark for mark in marks}
        return len(marks)

    def latest(self, instrument_id: str) -> Mark | None:
        return self.newest.get(instrument_id)


def desk(log: EventLog, *, first: datetime = NOW) -> tuple[Writer, MarksInMemory]:
    """A writer whose clock moves on a second at every look."""
    ticks, marks = count(), MarksInMemory()
    return Writer(log, lambda: first + timedelta(seconds=next(ticks)), marks.latest), marks


def day(log: EventLog, seed: int = 1, *, first: datetime = NOW, **more: Any) -> tuple[Writer, DaySummary]:
    writer, marks = desk(log, first=first)
    return writer, TradingDay(seed, **more).run(writer, marks)
