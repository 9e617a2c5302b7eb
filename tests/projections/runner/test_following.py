"""Following: every event once and in order beside slow, rolled-back and concurrent writers; one follower at a time."""

import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from adapters.log.postgres import PostgresLog
from adapters.postgres import connections
from adapters.postgres.connections import Role
from domain.account import AccountOpened
from domain.errors import StreamConflict
from domain.ledger import Logged
from projections.catalog import PROJECTIONS
from projections.models import positions
from projections.runner import lease
from projections.runner.batches import GroupFollower
from projections.runner.runner import Runner, as_of
from projections.storage.progress import Batches
from projections.storage.rows import SqlRows
from projections.storage.tables import Rows
from tests import CHECKOUT
from tests.desk import Desk
from tests.projections.running import FIFO, TIMEOUT_S, all_rows, following, trade, until
from tests.records import records

COMMITS = 25


def write(url: str, name: str, seed: int) -> None:
    """Appends of one to nine events; some slow, some rolled back after all was written, some in conflict."""
    draw, version = random.Random(seed), 0
    with PostgresLog(url) as log, connections.connect(url, Role.WRITER) as connection:
        while version < COMMITS:
            added = records(name, range(version + 1, version + 1 + draw.randint(1, 9)))
            kind = draw.random()
            with connection.transaction(force_rollback=kind < 0.5):
                log.append_on(connection, added)
                time.sleep(0.01 if kind < 0.2 else 0)
            if kind >= 0.5:
                version += len(added)
            if kind > 0.9:
                with pytest.raises(StreamConflict):
                    log.append(added)


def test_every_event_is_seen_once_and_in_order_beside_any_writers(
    database_url: str, log: PostgresLog, projector: sa.Engine
) -> None:
    """By one who polls as fast as it can, and by a runner that is woken."""
    polled: list[int] = []
    folded: list[int] = []
    is_done = threading.Event()

    def fold(rows: Rows, logged: Logged, event: Any) -> None:
        folded.append(logged.seq)

    def poll() -> None:
        with PostgresLog(database_url, Role.PROJECTOR) as reading:
            batches = Batches(reading, 3)
            while not is_done.is_set() or polled[-1] < reading.head().seq:
                polled.extend(logged.seq for logged in batches.next(polled[-1] if polled else 0))

    seen = replace(positions.PROJECTION, name="seen", tables=(), folds={AccountOpened: fold})
    poller = threading.Thread(target=poll)
    writers = [threading.Thread(target=write, args=(database_url, f"account:{n}", n)) for n in range(4)]
    poller.start()
    with following(Runner(log, projector, [seen], batch_events_max=5)):
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join(TIMEOUT_S)
        head = log.head().seq
        assert head >= 4 * COMMITS
        is_done.set()
        poller.join(TIMEOUT_S)
        until(lambda: folded[-1:] == [head])
    assert polled == list(range(1, head + 1))
    assert folded == list(range(1, head + 1))


@pytest.fixture
def desk(log: PostgresLog) -> Desk:
    return Desk(log, FIFO)


@contextmanager
def follower(url: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that follows, or stands by."""
    command = [sys.executable, "-m", "tests.projections.runner.follower", url, "quick"]
    with subprocess.Popen(command, cwd=CHECKOUT) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGCONT)
            process.kill()


@pytest.mark.slow
def test_a_standby_takes_over_from_one_that_is_killed_and_from_one_that_hangs(
    desk: Desk, database_url: str, log: PostgresLog, projector: sa.Engine
) -> None:
    runner = Runner(log, projector)

    def leads(process: "subprocess.Popen[bytes]") -> bool:
        return [one.name.split()[1] for one in runner.followers()] == [str(process.pid)]

    with follower(database_url) as first:
        until(lambda: leads(first))
        assert runner.wait_for(trade(desk, range(2)), TIMEOUT_S)
        with follower(database_url) as second, follower(database_url) as third:
            first.kill()
            until(lambda: leads(second) or leads(third))
            hanging, other = (second, third) if leads(second) else (third, second)
            assert runner.wait_for(trade(desk, range(2, 4)), TIMEOUT_S)
            hanging.send_signal(signal.SIGSTOP)
            until(lambda: leads(other))
            hanging.send_signal(signal.SIGCONT)
            assert runner.wait_for(trade(desk, range(4, 8)), TIMEOUT_S)
            assert leads(other), "who comes back stands by"
    with projector.connect() as connection:
        assert all_rows(connection) == all_rows(as_of(log))


def test_a_table_that_is_away_for_a_while_stops_its_read_model_only_until_it_is_back(
    desk: Desk, log: PostgresLog, projector: sa.Engine
) -> None:
    runner = Runner(log, projector)
    with following(runner):
        assert runner.wait_for(trade(desk, range(3)), TIMEOUT_S)
        with projector.begin() as connection:
            schema = connection.scalar(sa.text("SELECT schema FROM read.progress WHERE projection = 'lots'"))
            connection.execute(sa.text(f'ALTER TABLE "{schema}".lots RENAME TO elsewhere'))
        head = trade(desk, range(3, 6))
        until(lambda: "does not exist" in str({one.projection: one.error for one in runner.status()}["lots"]))
        assert runner.wait_for(head, TIMEOUT_S, ["positions", "orders"])
        with projector.begin() as connection:
            connection.execute(sa.text(f'ALTER TABLE "{schema}".elsewhere RENAME TO lots'))
        until(lambda: all(one.error is None and one.lag == 0 for one in runner.status()))
    with projector.connect() as connection:
        assert all_rows(connection) == all_rows(as_of(log))


@pytest.mark.slow
def test_what_was_stopped_is_resumed_without_a_restart(desk: Desk, log: PostgresLog, projector: sa.Engine) -> None:
    is_broken = threading.Event()
    is_broken.set()
    folds = dict(positions.PROJECTION.folds)

    def failing(fold: Any) -> Any:
        def folded(rows: Rows, logged: Logged, event: Any) -> None:
            if is_broken.is_set():
                raise ArithmeticError("not yet")
            fold(rows, logged, event)

        return folded

    broken = replace(positions.PROJECTION, folds={kind: failing(fold) for kind, fold in folds.items()})
    runner = Runner(log, projector, [broken])
    with following(runner):
        head = trade(desk, range(3))
        until(lambda: runner.status()[0].error is not None)
        assert runner.resume(["positions"]) == ["positions"]
        until(lambda: runner.status()[0].error is not None)
        is_broken.clear()
        assert runner.resume() == ["positions"]
        assert runner.wait_for(head, TIMEOUT_S)
        assert runner.resume() == []
    with projector.connect() as connection:
        assert positions.positions(connection) == positions.positions(as_of(log))


def test_lag_is_shown_in_events_and_in_time(desk: Desk, log: PostgresLog, projector: sa.Engine) -> None:
    runner = Runner(log, projector)
    head = trade(desk, range(2))
    assert {(one.seq, one.lag, one.rows) for one in runner.status()} == {(0, head, 0)}
    assert {one.lag_ms > 0 for one in runner.status()} == {True}
    with following(runner):
        assert runner.wait_for(head, TIMEOUT_S)
        assert {(one.lag, one.lag_ms) for one in runner.status()} == {(0, 0)}
        assert runner.rate() > 0
        until(lambda: bool(runner.followers()) and runner.followers()[0].events_s is not None)
    assert runner.followers() == [], "who stops says so"


def test_which_rows_there_are_is_read_before_there_is_an_event(
    desk: Desk, log: PostgresLog, projector: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the first event would wait for it."""
    trade(desk, range(3))
    Runner(log, projector).catch_up()
    loaded: list[SqlRows] = []
    load_keys = SqlRows.load_keys

    def loading(rows: SqlRows) -> None:
        load_keys(rows)
        loaded.append(rows)

    monkeypatch.setattr(SqlRows, "load_keys", loading)
    runner = Runner(log, projector)
    with following(runner):
        until(lambda: len(loaded) == len(PROJECTIONS))
        assert runner.wait_for(trade(desk, range(3, 6)), TIMEOUT_S)
    assert len(loaded) == len(PROJECTIONS), "and not again"
    with projector.connect() as connection:
        assert all_rows(connection) == all_rows(as_of(log))


def test_catching_up_is_left_to_the_process_that_follows(
    desk: Desk, log: PostgresLog, projector: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless that one does not move."""
    advancing: set[int] = set()
    advance = GroupFollower.advance

    def noted(self: GroupFollower) -> bool:
        advancing.add(threading.get_ident())
        return advance(self)

    monkeypatch.setattr(GroupFollower, "advance", noted)
    follower, other = Runner(log, projector), Runner(log, projector)
    with following(follower):
        assert follower.wait_for(log.head().seq, TIMEOUT_S)
        head = trade(desk, range(6))
        assert other.catch_up() == head
        assert {one.seq for one in other.status()} == {head}
    assert threading.get_ident() not in advancing

    monkeypatch.setattr("projections.runner.runner.PATIENCE_S", 0.1)
    head = trade(desk, range(6, 9))
    with projector.connect() as connection, connection.begin():
        assert connection.scalar(lease.ACQUIRE, {"lock": lease.FOLLOW_LOCK})
        assert other.catch_up() == head
        assert {one.seq for one in other.status()} == {head}
    assert threading.get_ident() in advancing
