"""What was reported of a day, what is known now, and what makes the difference: the items sum to it, exactly."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal as D
from functools import partial, reduce
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from domain.ledger import Logged, scan
from domain.order import OrderFillBusted, OrderFillCorrected, OrderKey
from domain.position import Position, PositionKey, SettleFunding
from domain.values import ZERO, Mark, Money, Side, exact
from projections.analytics.restatement import Bounds, Cause, Known, Sums, Valuer, restate
from projections.models import positions_occurred
from projections.runner.runner import Runner
from projections.storage.tables import place_of
from tests.desk import BTC, PERP, T0, Desk, costings, fill, fill_days, mark
from tests.domain import as_of
from tests.projections.running import empty

KEY = PositionKey("main", "trend", BTC)


def _sums(held: Position | None) -> Sums:
    if held is None:
        return Sums()
    settle = held.contract.settle if held.contract is not None else "USDT"
    booked = held.realized + held.rounding + held.funding + held.income - held.fee_cost - held.fees.get(settle, ZERO)
    return Sums(held.quantity, held.book.cost, booked)


def known(history: Sequence[Logged], bounds: Bounds, opening: Mark | None, closing: Mark | None) -> Known:
    """A position's day by the domain's own folds."""
    records = [logged.recorded for logged in history]
    before, after = (as_of.as_occurred(records, moment) for moment in bounds)
    opens = Valuer(before.contract if before else None, opening)
    return Known(_sums(before), _sums(after), opens, Valuer(after.contract if after else None, closing))


def check(then: Known, now: Known, items: Sequence[Any]) -> None:
    """The items lead from what was reported to what is known."""
    if then.pnl is None or now.pnl is None:
        return
    assert exact(sum((item.amount for item in items), ZERO)) == exact(now.pnl - then.pnl)
    assert exact(sum((item.booked for item in items), ZERO)) == exact(now.booked - then.booked)


marks = st.none() | st.sampled_from([D(80), D(100), D("123.457")])


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=9, phases=[Phase.generate])
@given(
    fill_days, costings, st.tuples(st.integers(0, 20), st.integers(1, 40)), st.integers(0, 10), st.tuples(*[marks] * 4)
)
def test_the_items_of_any_day_sum_to_the_difference(
    projector: sa.Engine,
    day: list[tuple[int, ...]],
    costing: Any,
    span: tuple[int, int],
    tenths: int,
    prices: tuple[D | None, ...],
) -> None:
    """Anything late, busted, corrected, moved or funded, at any prices then and now."""
    empty(projector)
    desk = Desk(costing=costing)
    desk.live(day)
    Runner(desk.log, projector).catch_up()
    start = T0 + timedelta(minutes=span[0])
    bounds = Bounds(start, start + timedelta(minutes=span[1]))
    history = list(scan(desk.log))
    then_seq = len(history) * tenths // 10
    while 0 < then_seq < len(history) and _append(history[then_seq - 1]) == _append(history[then_seq]):
        then_seq += 1
    with projector.connect() as connection:
        changed = positions_occurred.changes(connection, bounds.end, then_seq, len(history))
    for stream in sorted({one.recorded.stream for one in history if one.recorded.stream.startswith("position:")}):
        mine = [one for one in history if one.recorded.stream == stream]
        key = mine[0].recorded.event.key
        seqs = changed.get(place_of(key), [])
        shown = [mark(key.instrument_id, str(price)) if price is not None else None for price in prices]
        now = known(mine, bounds, shown[2], shown[3])
        then = known([one for one in mine if one.seq <= then_seq], bounds, shown[0] and shown[2] and shown[0], shown[1])
        settle = mine[0].recorded.event.contract.settle if hasattr(mine[0].recorded.event, "contract") else "USDT"
        everything = [one for one in mine if one.seq > then_seq]
        for events in (everything, [one for one in mine if one.seq in seqs]):
            check(then, now, restate(then, now, events, settle=settle, bounds=bounds, summed=partial(_summed, mine)))


def _summed(history: Sequence[Logged], seq: int, by: datetime) -> Sums:
    """What had occurred by a moment, as known at a seq, by the domain's own fold."""
    return _sums(as_of.as_occurred([one.recorded for one in history if one.seq <= seq], by))


def _append(logged: Logged) -> tuple[Any, ...]:
    return logged.recorded.recorded_at, logged.recorded.request_id


def restated(desk: Desk, then_seq: int, then_mark: str, now_mark: str) -> tuple[Known, Known, Sequence[Any]]:
    mine = [one for one in scan(desk.log) if one.recorded.stream == f"position:main:trend:{BTC}"]
    bounds = Bounds(T0 + timedelta(minutes=10), T0 + timedelta(minutes=20))
    opening = mark(BTC, "100")
    now = known(mine, bounds, opening, mark(BTC, now_mark))
    then = known([one for one in mine if one.seq <= then_seq], bounds, opening, mark(BTC, then_mark))
    return then, now, restate(then, now, [one for one in mine if one.seq > then_seq], settle="USDT", bounds=bounds)


def test_each_cause_is_reported_by_itself() -> None:
    desk = Desk()
    desk.report(fill("E1", Side.BUY, "2", "100", 5), fill("E2", Side.SELL, "1", "130", 15))
    reported = desk.log.head().seq
    desk.report(fill("E3", Side.BUY, "1", "110", 12, fee=Money(D(1), "USDT")))
    desk.report(OrderFillBusted(OrderKey("main", "O-E2"), "E2", "error", T0 + timedelta(minutes=30), exec_id="X"))
    corrected = OrderFillCorrected(
        OrderKey("main", "O-E3"), "E3", D(2), D(110), T0 + timedelta(minutes=31), None, exec_id="Y"
    )
    desk.report(corrected)
    desk.report(SettleFunding(KEY, "F1", Money(D("-0.5"), "USDT"), T0 + timedelta(minutes=18)))
    desk.report(fill("E9", Side.BUY, "7", "90", 25))
    then, now, items = restated(desk, reported, "120", "125")
    assert (then.pnl, now.pnl) == (D(50), D("78.5"))
    shown = [(item.cause, item.exec_ids, item.amount) for item in items]
    assert shown == [
        (Cause.LATE_FILL, ("E3",), D(9)), (Cause.BUST, ("E2",), D(-10)), (Cause.CORRECTION, shown[2][1], D(10)),
        (Cause.LATE_FUNDING, ("F1",), D("-0.5")), (Cause.PRICE, (), D(20)),
    ]  # fmt: skip
    check(then, now, items)
    assert (items[-1].mark_was.price, items[-1].mark_is.price) == (D(120), D(125))


def test_nothing_new_is_no_item() -> None:
    desk = Desk()
    desk.report(fill("E1", Side.BUY, "2", "100", 12))
    reported = desk.log.head().seq
    desk.report(fill("E2", Side.BUY, "7", "90", 25))
    then, now, items = restated(desk, reported, "120", "120")
    assert (then.pnl, now.pnl, items) == (D(40), D(40), ())


def test_what_is_valued_only_together_is_one_item() -> None:
    """Between two busts a holding has no mark: only both together make a difference that is known."""
    bounds, empty_day = Bounds(T0, T0 + timedelta(minutes=20)), Known()
    desk = Desk()
    for number, side in enumerate((Side.BUY, Side.SELL)):
        desk.report(fill(f"E{number}", side, "1", str(100 + number), number + 1, instrument_id=PERP))
    mine = [one for one in scan(desk.log) if one.recorded.stream.startswith("position:")]
    now = known(mine, bounds, None, None)
    (item,) = restate(empty_day, now, mine, settle="BTC", bounds=bounds)
    assert (item.cause, item.exec_ids, item.amount) == (Cause.LATE_FILL, ("E0", "E1"), now.pnl)
    (item,) = restate(empty_day, known(mine[:1], bounds, None, None), mine[:1], settle="BTC", bounds=bounds)
    assert (item.booked, item.unrealized, item.amount) == (ZERO, None, None)
    assert reduce(lambda total, one: total + (one.amount or ZERO), (item,), ZERO) == ZERO
