"""The simulated day: one seed is one log, under any clock, and however often it was interrupted."""

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from adapters.exchanges.simulated import INVERSE, LINEAR, SPOT, Faults
from adapters.log.memory import MemoryLog
from adapters.log.postgres import PostgresLog
from adapters.market.mark_store import MarkStore
from adapters.market.recording import MarkRecorder
from adapters.writer.writer import Writer
from api.demo.trading_day import ACCOUNT, LIMITS, MARKET_MAKER, MOMENTUM, DayStep, TradingDay
from domain import order, position, risk
from domain.ledger import EventLog
from domain.marks import MarksRecorded
from domain.order import OrderBroken, OrderFilled, OrderRefused, OrderSubmitted
from domain.position import FundingSettled, PositionBroken, PositionKey
from domain.risk import HoldRefused, Measure
from tests.api.demo.days import NOW, day, desk
from tests.derived import derived

pytestmark = pytest.mark.slow


class Interrupted(Exception):
    """Somebody pulled the plug."""


def said(log: EventLog) -> list[tuple[Any, ...]]:
    """Everything in the log but its marks and when it was recorded."""
    return [
        (one.stream, one.version, one.actor, one.request_id, one.event)
        for _, one in log.select(limit=1_000_000)
        if not isinstance(one.event, MarksRecorded)
    ]


def assert_derived(log: EventLog) -> None:
    """Everything in the log follows from its requests and reports."""
    found = derived([one.recorded for one in log.select(limit=1_000_000)])
    assert not found.faults and found.events == log.head().seq, found.faults


def test_a_day_is_busy_and_its_limits_bite() -> None:
    log = MemoryLog()
    writer, summary = day(log)
    events = [one.event for _, one in log.select(limit=1_000_000)]
    kinds = Counter(type(event) for event in events)
    assert 2000 <= summary.orders <= 5000
    assert summary.fills == kinds[OrderFilled] > 1000
    assert summary.refusals == kinds[OrderRefused] > 50
    assert summary.funding == kinds[FundingSettled] > 0
    assert summary.events == len(events) == log.head().seq
    failed = {event.failed.measure for event in events if isinstance(event, HoldRefused) and event.failed}
    assert failed == {Measure.MAX_POSITION, Measure.MAX_ORDER_NOTIONAL} == {limit[2] for limit in LIMITS}
    assert kinds[OrderBroken] == kinds[PositionBroken] == 0
    limits: risk.Risk = writer.state(risk.stream(ACCOUNT))
    assert limits.holds == {}, "nothing is left working"
    for strategy_id, name in ((MARKET_MAKER, SPOT), (MARKET_MAKER, INVERSE), (MOMENTUM, LINEAR)):
        held = writer.state(position.stream(PositionKey(ACCOUNT, strategy_id, name)))
        assert held.quantity == limits.positions[strategy_id, name]
        assert held.realized != 0
        assert held.fees
    assert_derived(log)


def test_one_seed_is_one_log_under_any_clock() -> None:
    logs = [MemoryLog() for _ in range(3)]
    day(logs[0], steps=150)
    day(logs[1], steps=150, first=NOW + timedelta(days=9))
    day(logs[2], seed=2, steps=150)
    assert said(logs[0]) == said(logs[1]) != said(logs[2])


def test_a_day_run_again_adds_nothing() -> None:
    log = MemoryLog()
    _, first = day(log, steps=150)
    was = log.head()
    _, again = day(log, steps=150)
    assert log.head() == was
    assert again.events == 0
    assert (again.orders, again.fills, again.refusals, again.cancels) == (
        first.orders, first.fills, first.refusals, first.cancels
    )  # fmt: skip


@pytest.mark.parametrize("steps", [1, 40, 149])
def test_a_day_interrupted_and_run_again_is_the_day(steps: int) -> None:
    def interrupt(step: DayStep) -> None:
        if step.number == steps:
            raise Interrupted

    whole, log = MemoryLog(), MemoryLog()
    day(whole, steps=150)
    writer, marks = desk(log)
    with pytest.raises(Interrupted):
        TradingDay(1, steps=150).run(writer, marks, interrupt)
    assert 0 < log.head().seq < whole.head().seq
    day(log, steps=150)
    assert said(log) == said(whole)


def test_a_day_at_a_bad_venue_loses_and_doubles_nothing() -> None:
    log = MemoryLog()
    faults = Faults(duplicate_per_mille=200, late_per_mille=200, late_steps_max=4, fill_after_cancel_per_mille=1000)
    writer, summary = day(log, steps=200, faults=faults)
    fills = [one.event for _, one in log.select(limit=1_000_000) if isinstance(one.event, OrderFilled)]
    assert len({fill.exec_id for fill in fills}) == len(fills) == summary.fills
    held = writer.state(position.stream(PositionKey(ACCOUNT, MOMENTUM, LINEAR)))
    assert held.quantity == sum(fill.side.sign * fill.last_qty for fill in fills if fill.instrument_id == LINEAR)
    orders = {one.event.key for _, one in log.select(limit=1_000_000) if isinstance(one.event, OrderSubmitted)}
    breaks = [broken for key in orders for broken in writer.state(order.stream(key)).breaks]
    assert breaks == [], "what is only reported late and out of order breaks nothing"
    assert_derived(log)


def test_steps_show_the_day_as_it_goes() -> None:
    writer, marks = desk(MemoryLog())
    steps: list[DayStep] = []
    summary = TradingDay(1, steps=30).run(writer, marks, steps.append)
    assert [step.number for step in steps] == list(range(1, 31))
    assert [step.seq for step in steps] == sorted(step.seq for step in steps)
    assert len(steps[-1].marks) == 3
    assert steps[-1].orders == summary.orders
    assert steps[-1].fills <= summary.fills


def test_the_same_day_in_postgres_with_its_marks(log: PostgresLog, database_url: str) -> None:
    memory = MemoryLog()
    day(memory, steps=60)
    marks = MarkStore(database_url)
    steps: list[DayStep] = []
    writer = Writer(log, lambda: NOW, marks.latest)
    TradingDay(1, steps=60).run(writer, MarkRecorder(marks, writer.carry_out), steps.append)
    assert said(log) == said(memory)
    found = marks.latest_all().values()
    assert {(mark.instrument_id, mark.price, mark.mark_at) for mark in found} == {
        (mark.instrument_id, mark.price, mark.mark_at) for mark in steps[-1].marks
    }
    marks.close()
    assert_derived(log)
