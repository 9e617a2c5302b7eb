"""A report of a book that no process has folded yet: the command brings the read models forward."""

import json
import threading

import psycopg
import pytest

from api.daybook import Daybook
from projections.runner.rebuild import REBUILD_LOCK
from tests.api.command_line import Run
from tests.desk import Desk


@pytest.fixture
def head(daybook: Daybook) -> int:
    """A log of a few events, which no read model has."""
    desk = Desk(daybook.log)
    desk.live([(0, 1, 1, 1, minute) for minute in range(12)])
    return daybook.log.head().seq


@pytest.mark.parametrize("more", [(), ("--as-of", "{head}"), ("--as-of", "2026-03-01T12:00:00Z")], ids=" ".join)
def test_a_report_right_after_an_import_is_whole(
    inside: Run, daybook: Daybook, head: int, more: tuple[str, ...]
) -> None:
    requested = [one.format(head=head) for one in more]
    shown = inside("report", "executions", "--json", *requested, url=daybook.url)
    assert shown.returncode == 0, shown.stderr
    report = json.loads(shown.stdout)
    assert (report["seq"], len(report["items"]) > 0) == (head, True)


def test_a_report_of_an_empty_book_is_empty(inside: Run, database_url: str) -> None:
    shown = inside("report", "pnl", "--json", url=database_url)
    assert shown.returncode == 0, shown.stderr
    report = json.loads(shown.stdout)
    assert (report["seq"], report["items"]) == (0, [])


def test_a_rebuild_of_another_process_is_waited_for(
    inside: Run, daybook: Daybook, head: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projections.runner.rebuild.ENDING_SECONDS_MAX", 0.1)
    monkeypatch.setattr("api.terminal.options.BAR_SECONDS", 0.0)
    daybook.runner.catch_up()
    with psycopg.connect(daybook.url, autocommit=True) as other:
        other.execute("UPDATE read.progress SET version = version - 1 WHERE projection = 'executions'")
        other.execute("SELECT pg_advisory_lock(%s)", [REBUILD_LOCK])
        ending = threading.Timer(1.5, lambda: other.execute("SELECT pg_advisory_unlock(%s)", [REBUILD_LOCK]))
        ending.start()
        shown = inside("report", "executions", "--json", url=daybook.url)
        ending.join()
    assert (shown.returncode, json.loads(shown.stdout)["seq"]) == (0, head), shown.stderr
    assert "Bringing read models forward: seq" in shown.stderr


def test_a_process_that_holds_the_read_models_for_a_while_is_waited_for(inside: Run, daybook: Daybook) -> None:
    desk = Desk(daybook.log)
    daybook.runner.catch_up()
    before = daybook.log.head().seq
    desk.live([(0, 1, 1, 1, minute) for minute in range(5)])
    with psycopg.connect(daybook.url) as other:
        other.execute("SELECT FROM read.progress FOR UPDATE")
        ending = threading.Timer(1.0, other.rollback)
        ending.start()
        shown = inside("report", "executions", "--json", url=daybook.url)
        ending.join()
    assert shown.returncode == 0, shown.stderr
    assert json.loads(shown.stdout)["seq"] == daybook.log.head().seq > before


def test_a_read_model_that_an_error_has_stopped_is_named_at_once(inside: Run, daybook: Daybook, head: int) -> None:
    daybook.runner.catch_up()
    with psycopg.connect(daybook.url) as other:
        other.execute("UPDATE read.progress SET seq = 1, error = 'seq 2 is bad' WHERE projection = 'executions'")
    shown = inside("report", "executions", url=daybook.url)
    assert (shown.returncode, "seq 2 is bad" in shown.stderr) == (1, True), shown.stderr
    assert head > 1
