"""Read models follow the log exactly once, through any interruption; rebuilt or replayed, they are the same rows."""

import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.log.postgres import PostgresLog
from domain.account import Costing
from domain.ledger import Logged, schema
from domain.position import TradeBooked
from domain.risk import ANYWHERE, EngageSwitch, Mode, ReleaseSwitch
from domain.values import Side
from projections.catalog import PROJECTIONS
from projections.models import executions, lots, orders, positions
from projections.runner.batches import GroupFollower
from projections.runner.runner import Runner, as_of
from projections.storage.progress import Batches, create_missing
from projections.storage.rows import MemoryRows, SqlRows, fetch
from projections.storage.tables import Rows
from tests import CHECKOUT
from tests.desk import T0, Desk, costings, days, fill, new_order, order_days
from tests.projections.running import FIFO, TIMEOUT_S, all_rows, empty, following, poisoned, trade, until


def seqs(runner: Runner) -> set[int]:
    return {one.seq for one in runner.status()}


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=7)
@given(days | order_days, costings, st.lists(st.integers(0, 40), max_size=3), st.integers(1, 30))
def test_followed_rebuilt_and_replayed_rows_are_the_same(
    projector: sa.Engine, day: list[tuple[int, ...]], costing: Costing, stops: list[int], batch_events_max: int
) -> None:
    """Following in batches of any size, with restarts at any step of the day."""
    empty(projector)
    desk = Desk(costing=costing)
    last = 0
    for stop in [*sorted(stops), len(day)]:
        desk.live(day[last:stop])
        last = max(last, stop)
        runner = Runner(desk.log, projector, batch_events_max=batch_events_max)
        runner.catch_up()
        assert {one.error for one in runner.status()} == {None}
    replayed = all_rows(as_of(desk.log))
    with projector.connect() as connection:
        assert all_rows(connection) == replayed
    rebuilt = Runner(desk.log, projector).rebuild()
    assert [result.is_identical for result in rebuilt] == [True] * len(PROJECTIONS)
    assert sum(result.rows for result in rebuilt) == sum(map(len, replayed.values()))
    with projector.connect() as connection:
        assert all_rows(connection) == replayed


@pytest.fixture
def desk(log: PostgresLog) -> Desk:
    return Desk(log, FIFO)


@pytest.fixture
def runner(log: PostgresLog, projector: sa.Engine) -> Runner:
    return Runner(log, projector, batch_events_max=4)


def test_rows_of_the_past_are_those_that_were_live_then(desk: Desk, runner: Runner, projector: sa.Engine) -> None:
    then = trade(desk, range(3))
    runner.catch_up()
    with projector.connect() as connection:
        live = all_rows(connection)
    trade(desk, range(3, 6))
    assert all_rows(as_of(desk.log, seq=then)) == live
    recorded_at = desk.log.select(after=then - 1, limit=1)[0].recorded.recorded_at
    assert all_rows(as_of(desk.log, at=recorded_at)) == live
    assert all_rows(as_of(desk.log, at=T0 - timedelta(days=1))) == all_rows(MemoryRows())


def test_a_poisonous_event_stops_its_projection_alone_and_a_fix_goes_on(
    desk: Desk, log: PostgresLog, projector: sa.Engine
) -> None:
    head = trade(desk, range(6))
    bad = [one.seq for one in log.select() if getattr(one.recorded.event, "exec_id", "") == "E3"]
    broken = poisoned(positions.PROJECTION, lambda event: event.exec_id == "E3")
    others = [projection for projection in PROJECTIONS if projection is not positions.PROJECTION]
    runner = Runner(log, projector, [*others, broken])
    runner.catch_up()
    by_name = {one.projection: one for one in runner.status()}
    stopped = by_name.pop("positions")
    assert {(one.seq, one.lag, one.error) for one in by_name.values()} == {(head, 0, None)}
    assert stopped.seq + 1 in bad
    assert stopped.error == (
        f"positions stopped at seq {stopped.seq + 1} ({schema.topic_of_class(TradeBooked)} of "
        "position:main:trend:BTCUSDT.SIM): ArithmeticError: cannot be"
    )
    with projector.connect() as connection:
        assert positions.positions(connection) == positions.positions(as_of(log, seq=stopped.seq))
    assert not runner.wait_for(head, TIMEOUT_S)
    assert runner.wait_for(head, TIMEOUT_S, ["orders", "lots"])
    fixed = Runner(log, projector)
    fixed.catch_up()
    assert {(one.seq, one.error) for one in fixed.status()} == {(head, None)}
    with projector.connect() as connection:
        assert all_rows(connection) == all_rows(as_of(log))


@pytest.mark.parametrize("cached_rows_max", [0, 1, 40_000])
def test_rows_deleted_in_a_batch_that_is_rolled_back_are_deleted_when_it_is_folded_again(
    desk: Desk, log: PostgresLog, projector: sa.Engine, monkeypatch: pytest.MonkeyPatch, cached_rows_max: int
) -> None:
    """A closed lot, which is looked up first, and a released kill switch, which is not."""
    monkeypatch.setitem(SqlRows.__init__.__kwdefaults__, "cached_rows_max", cached_rows_max)
    broken = poisoned(positions.PROJECTION, lambda event: event.exec_id == "E1")
    others = [projection for projection in PROJECTIONS if projection is not positions.PROJECTION]
    with projector.connect() as connection:
        with connection.begin():
            create_missing(connection, [*others, broken])
        follower = GroupFollower(log, connection, [*others, broken], 100)
        desk.report(fill("E0", Side.BUY, "1", "100"))
        desk.request(EngageSwitch("main", ANYWHERE, Mode.HALT, "daily loss", T0))
        assert follower.advance()
        desk.report(fill("E1", Side.SELL, "1", "110", 1))
        desk.request(ReleaseSwitch("main", ANYWHERE, "looked into", T0), actor="another")
        assert follower.advance()
    status = {one.projection: one.error for one in Runner(log, projector).status()}
    assert "cannot be" in (status.pop("positions") or "")
    assert set(status.values()) == {None}
    with projector.connect() as connection:
        replayed = as_of(log)
        for projection in others:
            for table in projection.tables:
                assert fetch(connection, table) == fetch(replayed, table)


def test_a_refusal_with_a_text_that_postgresql_cannot_store_is_shown(
    desk: Desk, log: PostgresLog, projector: sa.Engine
) -> None:
    """NUL is shown as its symbol."""
    desk.request(EngageSwitch("main", ANYWHERE, Mode.HALT, "a\0loss", T0), actor="al\0ice")
    desk.request(new_order("A"))
    runner = Runner(log, projector)
    runner.catch_up()
    assert {one.error for one in runner.status()} == {None}
    with projector.connect() as connection:
        (shown,) = orders.blotter(connection)
        assert (shown["status"], shown["facts"]["reason"]) == ("REJECTED", "a\u2400loss")
        assert all_rows(connection) == all_rows(as_of(log))
    assert all(one.is_right for one in runner.verify())


def test_a_connection_lost_inside_a_batch_leaves_no_trace_of_it(
    desk: Desk, log: PostgresLog, projector: sa.Engine
) -> None:
    """It dies after rows were written and before the place was: both are gone, and come once."""
    head = trade(desk, range(6))
    is_cut = threading.Event()

    def cut(connection: sa.Connection, cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("UPDATE read.progress") and not is_cut.is_set():
            is_cut.set()
            with projector.connect() as other:
                assert len(fetch(connection, orders.orders)) > len(fetch(other, orders.orders))
            driver: Any = connection.connection.driver_connection
            driver.close()

    sa.event.listen(projector, "before_cursor_execute", cut)
    with following(Runner(log, projector)):
        until(is_cut.is_set)
        until(lambda: seqs(Runner(log, projector)) == {head})
    with projector.connect() as connection:
        assert all_rows(connection) == all_rows(as_of(log))


@pytest.mark.slow
def test_a_process_killed_again_and_again_ends_with_every_event_once(
    desk: Desk, database_url: str, log: PostgresLog, projector: sa.Engine
) -> None:
    head = trade(desk, range(120))
    for reached in (1, head // 5, head // 2):
        command = [sys.executable, "-m", "tests.projections.runner.follower", database_url]
        with subprocess.Popen(command, cwd=CHECKOUT) as process:
            until(lambda seq=reached: max(seqs(Runner(log, projector))) >= seq)  # type: ignore[misc]
            process.send_signal(signal.SIGKILL)
    assert min(seqs(Runner(log, projector))) < head, "the last one was killed on its way"
    assert Runner(log, projector).catch_up() == head
    with projector.connect() as connection:
        assert all_rows(connection) == all_rows(as_of(log))


def test_two_runners_at_once_write_every_event_once(desk: Desk, log: PostgresLog, projector: sa.Engine) -> None:
    trade(desk, range(12))
    runners = [Runner(log, projector, batch_events_max=3) for _ in range(3)]
    threads = [threading.Thread(target=runner.catch_up) for runner in runners]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT_S)
    runners[0].catch_up()
    with projector.connect() as connection:
        assert all_rows(connection) == all_rows(as_of(log))


def test_following_wakes_when_the_log_grows(
    desk: Desk, log: PostgresLog, runner: Runner, projector: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projections.runner.runner.WAIT_S", 10.0)
    with following(runner):
        assert runner.wait_for(desk.log.head().seq, TIMEOUT_S)
        waits = []
        for number in range(20):
            head, start = trade(desk, [number]), time.monotonic()
            assert runner.wait_for(head, TIMEOUT_S)
            waits.append(time.monotonic() - start)
        assert sorted(waits)[10] < 5, "half of WAIT_S without a notice is a poll"
    with projector.connect() as connection:
        assert all_rows(connection) == all_rows(as_of(log))


@pytest.mark.slow
def test_an_append_without_a_notice_is_found_by_polling(
    desk: Desk, runner: Runner, projector: sa.Engine, log: PostgresLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Notices may be lost: those of these appends go to another channel."""
    with following(runner):
        assert runner.wait_for(desk.log.head().seq, TIMEOUT_S)
        monkeypatch.setattr("adapters.log.postgres.CHANNEL", "without_listeners")
        assert runner.wait_for(trade(desk, range(3)), TIMEOUT_S)
    with projector.connect() as connection:
        assert all_rows(connection) == all_rows(as_of(log))


def test_a_standby_takes_over(desk: Desk, log: PostgresLog, runner: Runner, projector: sa.Engine) -> None:
    standby = Runner(log, projector)
    with following(standby):
        with following(runner):
            assert runner.wait_for(trade(desk, range(3)), TIMEOUT_S)
        assert standby.wait_for(trade(desk, range(3, 6)), TIMEOUT_S)


def test_waiting_for_what_has_not_happened_ends(desk: Desk, runner: Runner) -> None:
    runner.catch_up()
    start = time.monotonic()
    assert not runner.wait_for(desk.log.head().seq + 1, 0.1)
    assert 0.1 <= time.monotonic() - start < TIMEOUT_S


def test_status_before_the_first_run_is_the_log_ahead(desk: Desk, runner: Runner) -> None:
    head = desk.log.head().seq
    assert [(one.projection, one.seq, one.lag) for one in runner.status()] == [(p.name, 0, head) for p in PROJECTIONS]


def test_a_rebuild_finds_and_mends_rows_that_were_altered(desk: Desk, runner: Runner, projector: sa.Engine) -> None:
    trade(desk, range(3))
    runner.catch_up()
    with projector.begin() as connection:
        connection.execute(sa.update(executions.executions).values(last_px=1))
    results = {result.name: result for result in runner.rebuild()}
    assert [name for name, result in results.items() if not result.is_identical] == ["executions"]
    altered = results["executions"]
    assert altered.digest_before == altered.digest_after, "what was folded was right"
    (difference,) = altered.differences
    assert (difference.added, difference.removed, difference.changed) == (0, 0, 3)
    assert difference.columns == {"last_px": 3}
    assert [row.columns for row in difference.sample] == [{"last_px": ("1", "100")}] * 3
    with projector.connect() as connection:
        assert all_rows(connection) == all_rows(as_of(desk.log))
    assert [result.is_identical for result in runner.rebuild(["executions"])] == [True]
    with pytest.raises(KeyError):
        runner.rebuild(["no such"])


@pytest.mark.slow
def test_a_rebuild_under_a_follower_ends_with_rows_that_are_right(
    desk: Desk, log: PostgresLog, runner: Runner, projector: sa.Engine
) -> None:
    """The follower's cache is of rows that are no longer there."""
    with following(runner):
        for start in range(0, 12, 3):
            trade(desk, range(start, start + 3))
            assert all(result.is_identical for result in Runner(log, projector).rebuild())
        assert runner.wait_for(log.head().seq, TIMEOUT_S)
    with projector.connect() as connection:
        assert all_rows(connection) == all_rows(as_of(log))


@pytest.mark.slow
def test_readers_see_whole_tables_throughout_a_rebuild(desk: Desk, runner: Runner, projector: sa.Engine) -> None:
    trade(desk, range(30))
    runner.catch_up()
    counts, is_done = set(), threading.Event()

    def read() -> None:
        while not is_done.is_set():
            with projector.connect() as connection:
                counts.add(len(lots.open_lots(connection)))

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for _ in range(3):
        runner.rebuild()
    is_done.set()
    for reader in readers:
        reader.join(TIMEOUT_S)
    assert counts == {30}


def test_a_long_report_does_not_hold_up_a_rebuild(desk: Desk, runner: Runner, projector: sa.Engine) -> None:
    """It reads on in the old rows; they go with the next rebuild."""
    trade(desk, range(3))
    runner.catch_up()
    with projector.connect() as report:
        assert len(orders.blotter(report)) == 3
        assert all(result.is_identical for result in runner.rebuild())
        with projector.connect() as other:
            assert len(orders.blotter(other)) == 3
        assert len(orders.blotter(report)) == 3


def test_a_changed_projection_is_rebuilt_before_it_goes_on(desk: Desk, log: PostgresLog, projector: sa.Engine) -> None:
    trade(desk, range(3))
    Runner(log, projector).catch_up()
    head = trade(desk, range(3, 6))

    def changed(rows: Rows, logged: Logged, event: TradeBooked) -> None:
        positions.PROJECTION.folds[TradeBooked](rows, logged, event)
        (held,) = rows.find(positions.positions_table, account_id="main")
        rows.put(positions.positions_table, held | {"money_places": 99})

    version = positions.PROJECTION.version + 1
    newer = replace(positions.PROJECTION, version=version, folds={**positions.PROJECTION.folds, TradeBooked: changed})
    newer_runner = Runner(log, projector, [newer])
    newer_runner.catch_up()
    assert [(one.version, one.seq, one.error) for one in newer_runner.status()] == [(version, head, None)]
    with projector.connect() as connection:
        assert positions.positions(connection)[0]["money_places"] == 99
    trade(desk, range(6, 8))
    older = Runner(log, projector)  # still running somewhere: it leaves the newer rows alone
    older.catch_up()
    assert {one.projection: one.lag for one in older.status()}["positions"] > 0
    results = {result.name: result.is_identical for result in newer_runner.rebuild()}
    assert results == {"positions": True}


def test_a_batch_never_ends_inside_an_append(desk: Desk, log: PostgresLog) -> None:
    fills = [fill(f"B{number}", Side.BUY, "1", "100", number) for number in range(5)]
    ends = [log.head().seq]
    for many in (1, 5, 2):
        desk.report(*[replace_id(one, f"{many}-{n}") for n, one in enumerate(fills[:many])])
        ends.append(log.head().seq)
    for events_max in range(1, 12):
        batches, after, seen = Batches(log, events_max), ends[0], []
        while batch := batches.next(after):
            seen += [one.seq for one in batch]
            after = batch[-1].seq
            assert after in ends
        assert seen == list(range(ends[0] + 1, ends[-1] + 1))


def replace_id(one: Any, exec_id: str) -> Any:
    return fill(exec_id, one.side, one.last_qty, one.last_px)
