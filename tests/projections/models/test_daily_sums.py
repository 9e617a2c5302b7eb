"""Daily sums: of any days and any breakdown they add up to the position; what comes late lands where it occurred."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal as D

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from adapters.log.postgres import PostgresLog
from domain.account import CostBasis, Costing
from domain.errors import InvalidInput
from domain.ledger import scan
from domain.order import OrderFillBusted, OrderKey
from domain.position import PositionKey, SettleFunding
from domain.values import ZERO, Money, Side
from projections import calendar
from projections.calendar import MIDNIGHT, Close, parsed
from projections.models import daily_sums, positions
from projections.runner.runner import Runner, as_of
from projections.storage.rows import MemoryRows
from projections.storage.tables import Row
from tests.desk import BTC, T0, Desk, costings, days, fill

NEW_YORK = parsed("17:00 America/New_York")
INDIA = parsed("15:30 Asia/Kolkata")
DAY = date(2026, 3, 1)
ALL_DAYS = {"first": DAY - timedelta(days=3), "last": DAY + timedelta(days=40)}
KEY = PositionKey("main", "trend", BTC)
PROJECTIONS = (daily_sums.PROJECTION, positions.PROJECTION)


def by_day(rows: MemoryRows | sa.Connection, close: Close, **where: str) -> list[Row]:
    chosen = calendar.days(close, **ALL_DAYS)
    return daily_sums.sums(rows, close, chosen.bounds, **where)


def total(rows: Sequence[Row], name: str) -> D:
    return sum((row[name] for row in rows), ZERO)


@given(days, costings, st.sampled_from((MIDNIGHT, NEW_YORK, INDIA)))
def test_sums_over_days_are_the_positions_own(day: list[tuple[int, ...]], costing: Costing, close: Close) -> None:
    desk = Desk(costing=costing)
    desk.live(day)
    rows = as_of(desk.log, projections=PROJECTIONS)
    shown = by_day(rows, close)
    for position in positions.positions(rows):
        own = [row for row in shown if all(row[name] == position[name] for name in daily_sums.POSITION)]
        for name in (*daily_sums.EFFECT, "funding", "income", "transferred"):
            assert total(own, name) == position[name], name
        settled = position["fees"].get(position["settle"], ZERO)
        assert total(own, "fees_settle") == settled
        third = {c: paid for c, paid in position["fees"].items() if c not in (position["settle"], position["base"])}
        assert daily_sums.added(row["other_fees"] for row in own) == daily_sums.added([third])


@given(days, costings, st.sampled_from((MIDNIGHT, NEW_YORK, INDIA)), st.integers(-2, 2))
def test_what_was_there_before_some_days_is_what_came_before_them(
    day: list[tuple[int, ...]], costing: Costing, close: Close, first: int
) -> None:
    desk = Desk(costing=costing)
    desk.live(day)
    rows = as_of(desk.log, projections=PROJECTIONS)
    part = calendar.days(close, DAY + timedelta(days=first), DAY + timedelta(days=first))
    shown = daily_sums.sums(rows, close, part.bounds)
    for name in daily_sums.SUMS:
        for number, bound in enumerate(part.slots):
            until = [row for row in rows.rows(daily_sums.halves) if row["slot"] < bound]
            assert total([row for row in shown if row["day"] <= number], name) == total(until, name)


@given(days, costings)
def test_what_was_known_is_what_is_known_less_the_restatements_since(
    day: list[tuple[int, ...]], costing: Costing
) -> None:
    desk = Desk(costing=costing)
    desk.live(day)
    now = as_of(desk.log, projections=PROJECTIONS)
    changed = daily_sums.restatements(now, limit=10_000)
    in_order = MemoryRows()
    late = {row["restated_seq"] for row in changed}
    daily_sums.PROJECTION.fold(in_order, (logged for logged in scan(desk.log) if logged.seq not in late))
    for name in daily_sums.SUMS:
        known = {
            (*(row[c] for c in daily_sums.POSITION), row["slot"]): row[name] for row in now.rows(daily_sums.halves)
        }
        for row in changed:
            known[*(row[c] for c in daily_sums.POSITION), row["slot"]] -= row[name]
        first = {
            (*(row[c] for c in daily_sums.POSITION), row["slot"]): row[name] for row in in_order.rows(daily_sums.halves)
        }
        assert {at: amount for at, amount in known.items() if amount} == {at: a for at, a in first.items() if a}


def test_a_days_sums_are_of_what_occurred_in_it() -> None:
    desk = Desk(costing=Costing(CostBasis.FIFO))
    desk.report(fill("E-1", Side.BUY, "2", "100", fee=Money(D("0.5"), "USDT")))
    desk.report(fill("E-2", Side.SELL, "1", "150", 24 * 60, fee=Money(D("0.1"), "BNB")))
    desk.report(SettleFunding(KEY, "F-1", Money(D(-3), "USDT"), T0 + timedelta(days=2)))
    first, second, third = by_day(as_of(desk.log, projections=PROJECTIONS), MIDNIGHT)
    assert (first["day"], second["day"], third["day"]) == (4, 5, 6)
    assert (first["quantity"], first["cost"], first["fees_settle"], first["turnover"]) == (2, 200, D("0.5"), 200)
    assert (second["realized"], second["volume"], second["turnover"], second["fills"]) == (50, 1, 150, 1)
    assert (second["other_fees"], third["funding"]) == ({"BNB": D("0.1")}, -3)


def test_days_end_at_the_requested_close() -> None:
    desk = Desk()
    close_at = datetime(2026, 3, 1, 22, tzinfo=UTC)  # 17:00 in New York
    minutes = (close_at - T0) // timedelta(minutes=1)
    desk.report(fill("E-1", Side.BUY, "1", "100", minutes - 1), fill("E-2", Side.BUY, "1", "100", minutes))
    rows = as_of(desk.log, projections=PROJECTIONS)
    chosen = calendar.days(NEW_YORK, DAY, DAY + timedelta(days=1))
    assert chosen.bounds[1] == close_at
    assert [(row["day"], row["fills"]) for row in daily_sums.sums(rows, NEW_YORK, chosen.bounds)] == [(1, 1), (2, 1)]
    assert [(row["day"], row["fills"]) for row in daily_sums.sums(rows, NEW_YORK, chosen.bounds[1:])] == [
        (0, 1),
        (1, 1),
    ]


def test_a_late_fill_changes_the_day_it_occurred_in_and_is_marked_late() -> None:
    desk = Desk(costing=Costing(CostBasis.FIFO))
    desk.report(fill("E-1", Side.BUY, "1", "100"), fill("E-2", Side.SELL, "1", "150", 48 * 60))
    before = as_of(desk.log, projections=PROJECTIONS)
    assert daily_sums.restatements(before) == []
    desk.report(fill("E-0", Side.BUY, "1", "120", -60))  # an older lot: the sale used it up
    after = as_of(desk.log, projections=PROJECTIONS)
    assert [row["realized"] for row in by_day(before, MIDNIGHT)] == [0, 50]
    assert [row["realized"] for row in by_day(after, MIDNIGHT)] == [0, 30]
    moved = {
        (row["occurred_from"].date().day, row["realized"], row["quantity"]) for row in daily_sums.restatements(after)
    }
    assert moved == {(3, -20, 0), (1, 0, 1)}


@pytest.mark.parametrize("basis", [CostBasis.AVERAGE, CostBasis.HIFO])
@pytest.mark.parametrize("currency", ["USDT", "BTC", "BNB"])
def test_a_busted_trade_leaves_nothing(basis: CostBasis, currency: str) -> None:
    desk = Desk(costing=Costing(basis))
    desk.report(fill("E-1", Side.BUY, "2", "100", cl_ord_id="A"), fill("E-2", Side.BUY, "1", "130", 1, cl_ord_id="A"))
    known = by_day(as_of(desk.log, projections=PROJECTIONS), MIDNIGHT)
    desk.report(fill("E-3", Side.SELL, "2", "110", 2, cl_ord_id="B", fee=Money(D("0.01"), currency)))
    desk.report(OrderFillBusted(OrderKey("main", "B"), "E-3", "erroneous", T0 + timedelta(minutes=3), exec_id="X-3"))
    left = by_day(as_of(desk.log, projections=PROJECTIONS), MIDNIGHT)
    assert [row | {"seq": 0} for row in left] == [row | {"seq": 0} for row in known]


@pytest.mark.parametrize("close", [MIDNIGHT, NEW_YORK, INDIA])
def test_the_database_sums_as_memory_does(log: PostgresLog, projector: sa.Engine, close: Close) -> None:
    desk = Desk(log=log)
    desk.live([(step, step % 5, step % 7, step % 3, step % 31) for step in range(60)])
    Runner(log, projector).catch_up()
    with projector.connect() as connection:
        shown = by_day(connection, close)
        assert len(shown) > 3
        assert shown == by_day(as_of(log, projections=PROJECTIONS), close)
        part = calendar.days(close, DAY, DAY).bounds
        inner = daily_sums.sums(connection, close, part)
        assert inner == daily_sums.sums(as_of(log, projections=PROJECTIONS), close, part)
        assert by_day(connection, close, account_id="main") == [row for row in shown if row["account_id"] == "main"]
        assert daily_sums.restatements(connection) == daily_sums.restatements(as_of(log, projections=PROJECTIONS))


@pytest.mark.parametrize("text", ["25:00", "17:00 Mars/Olympus", "noon", "17:15 UTC", "12:00 Asia/Kathmandu", "1:00"])
def test_what_is_no_close_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="close"):
        parsed(text)


def test_a_day_is_as_long_as_in_its_time_zone() -> None:
    chosen = calendar.days(NEW_YORK, date(2026, 3, 7), date(2026, 3, 9))
    assert [later - earlier for earlier, later in zip(chosen.slots, chosen.slots[1:], strict=False)] == [48, 46, 48]
    assert NEW_YORK.day_of(chosen.bounds[1]) == date(2026, 3, 8)
    assert NEW_YORK.day_of(chosen.bounds[1] - timedelta(microseconds=1)) == date(2026, 3, 7)
    with pytest.raises(InvalidInput, match="a day since"):
        calendar.days(MIDNIGHT, date(2026, 3, 2), date(2026, 3, 1))
