"""While the database is away there is a line a minute, with what failed meanwhile, and one when it is back."""

from typing import Any

import psycopg
import pytest
import structlog
from structlog.testing import capture_logs

from adapters.upkeep import outages
from adapters.upkeep.outages import Outage, is_outage
from adapters.upkeep.supervisor import Task
from domain.errors import Unavailable


class Clock:
    seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(outages, "time", clock)
    return clock


@pytest.fixture(autouse=True)
def _all_is_logged() -> None:
    """Services of other tests may have configured another level."""
    structlog.reset_defaults()


def lost() -> Unavailable:
    """As `connections.reaching` raises it."""
    error = Unavailable("the database cannot be reached")
    error.__cause__ = psycopg.OperationalError("connection refused")
    return error


def test_an_hour_without_a_database_is_a_line_a_minute_and_one_when_it_is_back(clock: Clock) -> None:
    outage = Outage()
    tasks = [Task(name, lambda _: None, outage=outage) for name in ("writer", "sealer", "follower")]
    with capture_logs() as lines:
        for _ in range(3600 * 4):
            for task in tasks:
                task.failed(lost())
            outage.away("requests", "the database cannot be reached", is_task=False)
            clock.seconds += 0.25
        for task in tasks[:2]:
            task.succeeded()
        assert len(lines) == 60 and lines[0]["away_s"] == 0, "the first at once"
        assert {tuple(line["failed"].values()) for line in lines[1:]} == {(240, 240, 240, 240)}
        tasks[2].succeeded()
    assert [line["event"] for line in lines[59:]] == ["the database is away", "the database is back"]
    assert lines[-1]["away_s"] == 3600 and not outage.is_on
    assert sum(sum(line["failed"].values()) for line in lines) == 3600 * 4 * 4, "each failure is counted once"


def test_a_database_that_comes_and_goes_is_no_more_than_two_lines_a_minute(clock: Clock) -> None:
    task = Task("writer", lambda _: None)
    with capture_logs() as lines:
        for _ in range(240):
            task.failed(lost())
            clock.seconds += 0.125
            task.succeeded()
            clock.seconds += 0.125
    assert [line["event"] for line in lines] == ["the database is away", "the database is back"]


def test_a_task_that_fails_for_another_reason_is_a_line_a_minute_too(clock: Clock) -> None:
    task = Task("witness 1", lambda _: None)
    with capture_logs() as lines:
        for number in range(480):
            task.failed(OSError(f"attempt {number} failed"))
            clock.seconds += 0.25
        task.succeeded()
    assert [line.get("times") for line in lines] == [1, 240, None]
    assert lines[-1]["event"] == "a task goes on"


def test_a_task_that_has_ended_does_not_keep_the_database_away(clock: Clock) -> None:
    outage = Outage()
    heart, writer = (Task(name, lambda _: None, outage=outage) for name in ("leader's heart", "writer"))
    with capture_logs() as lines:
        heart.failed(lost())
        writer.failed(lost())
        heart.stopping.set()
        outage.forget(heart.name)
        writer.succeeded()
    assert [line["event"] for line in lines] == ["the database is away", "the database is back"]


@pytest.mark.parametrize(
    ("error", "is_so"),
    [
        (psycopg.OperationalError("connection refused"), True),
        (psycopg.errors.AdminShutdown("terminating connection"), True),
        (psycopg.errors.CannotConnectNow("the database system is starting up"), True),
        (psycopg.InterfaceError("the connection is closed"), True),
        (lost(), True),
        (psycopg.errors.DiskFull("no space left"), False),
        (psycopg.errors.LockNotAvailable("lock timeout"), False),
        (psycopg.errors.UndefinedTable("no such table"), False),
        (Unavailable("all 8 database connections are busy"), False),
    ],
)
def test_an_outage_is_not_what_the_database_refuses(error: Any, is_so: bool) -> None:
    assert is_outage(error) is is_so
