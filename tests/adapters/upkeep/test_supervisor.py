"""A supervised thread is restarted for any reason, shows its health, and is missed when it dies."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from adapters.upkeep import supervisor
from adapters.upkeep.supervisor import Health, State, Supervisor, Task
from adapters.upkeep.watch import SealingWatch

pytestmark = pytest.mark.slow

SECONDS_MAX = 60


@contextmanager
def running(upkeep: Supervisor, work: Callable[[Task], None]) -> Iterator[Task]:
    task = upkeep.start("work", work, is_needed=True, pause_seconds_max=0.1)
    try:
        yield task
    finally:
        task.end(SECONDS_MAX)


def until(upkeep: Supervisor, is_true: Callable[[Health], bool]) -> Health:
    deadline = time.monotonic() + SECONDS_MAX
    while not is_true(found := upkeep.health()[0]):
        assert time.monotonic() < deadline, found
        time.sleep(0.01)
    return found


@pytest.mark.parametrize("end", ["raises", "returns", "exits"])
def test_work_that_ends_is_started_again_until_it_goes_well(end: str):
    upkeep, may_work, starts = Supervisor(), threading.Event(), []

    def work(task: Task) -> None:
        starts.append(None)
        if may_work.is_set():
            task.succeeded()
            task.stopping.wait()
        elif end == "raises":
            raise ArithmeticError("cannot be")
        elif end == "exits":
            raise SystemExit

    with running(upkeep, work):
        failing = until(upkeep, lambda one: one.failures >= 3)
        assert failing.state == State.RESTARTING and failing.last_success_at is None and len(starts) >= 3
        assert {"raises": "cannot be", "returns": "it ended by itself", "exits": "SystemExit"}[
            end
        ] == failing.last_error
        may_work.set()
        well = until(upkeep, lambda one: one.state == State.RUNNING)
        assert well.last_success_at is not None and well.last_error is not None and not well.is_trouble
    assert upkeep.health() == []


def test_the_pause_between_tries_grows_to_its_bound(monkeypatch: pytest.MonkeyPatch):
    waited: list[float] = []
    task = Task("work", lambda _: None, pause_seconds_max=3)
    monkeypatch.setattr(task.stopping, "wait", waited.append)
    for _ in range(10):
        task.failed(OSError("no"))
        task.pause()
    assert all(0.25 <= one <= 3 for one in waited) and all(one >= 1.5 for one in waited[4:])
    assert len(set(waited)) > 5, "they vary"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_dies_outside_its_work_is_missed_and_replaced():
    upkeep, starts, may_fail = Supervisor(), [], threading.Event()

    def die() -> None:
        raise SystemExit

    def work(task: Task) -> None:
        starts.append(None)
        if len(starts) == 1:
            may_fail.wait()
            raise ArithmeticError("cannot be")
        task.succeeded()
        task.stopping.wait()

    with running(upkeep, work) as task:
        first, pause, task.pause = task._thread, task.pause, die  # type: ignore[method-assign]
        may_fail.set()
        first.join()
        dead = upkeep.health()[0]
        task.pause = pause  # type: ignore[method-assign]
        assert dead.state == State.DEAD and dead.is_trouble and dead.last_error == "cannot be"
        well = until(upkeep, lambda one: one.state == State.RUNNING)
        assert well.last_error == "its thread has died" and len(starts) == 2 and task._thread is not first


def test_work_that_hangs_is_silent_after_its_bound():
    upkeep, go_on = Supervisor(), threading.Event()

    def work(task: Task) -> None:
        go_on.wait()
        while not task.stopping.wait(0.01):
            task.idle()

    task = upkeep.start("work", work, silent_seconds_max=0.05)
    until(upkeep, lambda one: one.state == State.SILENT and one.is_trouble)
    go_on.set()
    until(upkeep, lambda one: one.state == State.RUNNING)
    task.end(SECONDS_MAX)


def test_a_failure_is_trouble_only_after_the_grace(monkeypatch: pytest.MonkeyPatch):
    task = Task("work", lambda _: None)
    task.failed(OSError("no"))
    assert task.health().state == State.RESTARTING and not task.health().is_trouble
    monkeypatch.setattr(supervisor, "GRACE_SECONDS", 0.0)
    assert task.health().is_trouble
    task.succeeded()
    assert task.health().state == State.RUNNING and not task.health().is_trouble


def test_sealing_is_stalled_when_what_was_there_is_not_sealed_in_time():
    watch = SealingWatch(10)
    looks = [  # at, log, sealed, is it stalled?
        (0, 5, 5, False), (1, 9, 5, False), (10, 20, 5, False), (12, 30, 5, True), (13, 30, 9, False),
        (22, 60, 29, False), (23.5, 60, 29, True), (24, 60, 60, False), (90, 60, 60, False), (91, 61, 60, False),
        (101, 61, 60, False), (101.5, 61, 60, True), (102, 61, 61, False),
    ]  # fmt: skip
    for at, seq, sealed, is_stalled in looks:
        found = watch.look(seq, sealed, at)
        assert (found.is_stalled, found.behind_since is not None) == (is_stalled, seq > sealed), (at, found)
