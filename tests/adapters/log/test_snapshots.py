"""Snapshots: a long stream is read from its newest one, never from a wrong one, and nothing depends on it."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
import structlog
from eventsourcing.postgres import PostgresAggregateRecorder, PostgresDatastore

from adapters.log import snapshots, state_codec
from adapters.log.postgres import PostgresLog
from adapters.log.snapshots import KEPT_MAX
from adapters.postgres.connections import Connection, Role
from domain.ledger import PAGE_EVENTS, Aggregates, Ledger, Recorded, scan, unit_of_work
from domain.order import OrderFilled
from tests.desk import POSITION, T0, fill_of, new_order, open_desk
from tests.group_commit import leading, report, request

EVERY = 40
PAGE = 10
LIMIT = "limit:main"


@pytest.fixture(name="shown")
def captured_log_lines() -> Iterator[list[Any]]:
    """What is logged, though others have set up logging for the whole process."""
    configured = structlog.get_config()
    structlog.reset_defaults()
    with structlog.testing.capture_logs() as lines:
        yield lines
    structlog.configure(**configured)


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams are long when they have a few dozen events."""
    monkeypatch.setattr(snapshots, "SNAPSHOT_EVENTS", EVERY)
    monkeypatch.setattr(unit_of_work, "PAGE_EVENTS", PAGE)


@pytest.fixture(name="owner")
def owner_of_the_database(database_url: str) -> Iterator[Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


def trade(log: PostgresLog, first: int, count: int) -> None:
    """Fills of orders of their own, half of them sold again."""
    ledger = Ledger(log, lambda: T0)
    for n in range(first, first + count):
        ledger.report([fill_of(f"A{n}", f"E{n}", at=n, side="SELL" if n % 2 else "BUY")], actor="venue")


def traded(log: PostgresLog, count: int) -> None:
    """A desk with a position and a limit stream of so many events, and their snapshots stored."""
    open_desk(log)
    trade(log, 0, count)
    assert log.snapshots.flush()


def versions(owner: Connection, stream: str = POSITION) -> list[int]:
    query = "SELECT originator_version FROM ledger.snapshots WHERE originator_id = %s ORDER BY 1"
    return [version for (version,) in owner.execute(query, [stream])]


def folded(log: PostgresLog, stream: str) -> Any:
    """From the first event, with no snapshot."""
    return unit_of_work.folded(stream, (0, None), log.read(stream))[1]


def read_by(database_url: str, monkeypatch: pytest.MonkeyPatch, stream: str = POSITION) -> tuple[Any, int]:
    """The state as a new process has it, and how many events it read for it."""
    events: list[int] = []
    read = PostgresLog.read

    def counted(self: PostgresLog, stream: str, **how: Any) -> list[Recorded]:
        page = read(self, stream, **how)
        events.append(len(page))
        return page

    with PostgresLog(database_url) as log, monkeypatch.context() as patch:
        patch.setattr(PostgresLog, "read", counted)
        state = Aggregates(log).known(stream)[1]
        assert log.snapshots.flush()
    return state, sum(events)


def check_stored(owner: Connection, log: PostgresLog) -> None:
    """Every snapshot in the table is what its stream folds to."""
    query = "SELECT s.originator_id, s.originator_version, s.topic, s.state, e.state FROM ledger.snapshots AS s "
    query += "LEFT JOIN ledger.events AS e USING (originator_id, originator_version)"
    for stream, version, topic, stored, event in owner.execute(query):  # type: ignore[arg-type]
        state = unit_of_work.folded(stream, (0, None), log.read(stream, limit=version))[1]
        assert snapshots.opened(stream, version, topic, stored, event) == state


def test_a_long_stream_is_read_from_its_newest_snapshot(
    database_url: str, log: PostgresLog, owner: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    traded(log, 5 * EVERY + 7)
    for stream in (POSITION, LIMIT):
        state, events = read_by(database_url, monkeypatch, stream)
        assert state == folded(log, stream)
        assert events < EVERY + 2 * PAGE
        assert len(versions(owner, stream)) == KEPT_MAX, "the newest few are kept"
    assert versions(owner)[-1] > 4 * EVERY
    assert owner.execute("SELECT count(*) FROM ledger.snapshots WHERE originator_id LIKE 'order:%'").fetchone() == (0,)


def test_a_leading_writer_takes_them_behind_its_appends(
    database_url: str, log: PostgresLog, owner: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_desk(log)
    with leading(database_url, log) as group:
        for n in range(3 * EVERY):
            report(group, fill_of(f"A{n}", f"E{n}", at=n))
        assert log.snapshots.flush()
        assert versions(owner) and versions(owner, LIMIT)
    with leading(database_url, log) as group:  # nothing in memory
        assert group._leading.wait(60)
        answers = report(group, fill_of("late", "L1", at=5), fill_of("next", "L2", at=10**5))
        assert all(answer.records for answer in answers)
        request(group, new_order("next-order"))
    state, _ = read_by(database_url, monkeypatch)
    assert state == folded(log, POSITION)


def test_folding_a_long_tail_leaves_a_snapshot_except_for_an_auditor(
    database_url: str, log: PostgresLog, owner: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    traded(log, 3 * EVERY)
    owner.execute("DELETE FROM ledger.snapshots")
    with PostgresLog(database_url, Role.AUDITOR) as theirs:
        assert Ledger(theirs, lambda: T0).state(POSITION) == folded(log, POSITION)
        assert theirs.snapshots.flush()
        assert versions(owner) == []
    with PostgresLog(database_url) as ours:
        assert Ledger(ours, lambda: T0).state(POSITION) == folded(log, POSITION)
    assert versions(owner), "closing waits for what is to be stored"
    _, events = read_by(database_url, monkeypatch)
    assert events < EVERY + 2 * PAGE
    with PostgresLog(database_url, Role.AUDITOR) as theirs:
        assert Aggregates(theirs).known(POSITION)[1] == folded(log, POSITION)


def test_deleting_all_of_them_at_any_time_changes_no_answer(
    database_url: str, log: PostgresLog, owner: Connection
) -> None:
    open_desk(log)
    for n in range(6):
        trade(log, n * EVERY, EVERY)
        assert log.snapshots.flush()
        if n % 2:
            owner.execute("DELETE FROM ledger.snapshots")
        with PostgresLog(database_url) as other:
            for stream in (POSITION, LIMIT):
                assert Ledger(other, lambda: T0).state(stream) == folded(log, stream)
    fills = [recorded.event for _, recorded in scan(log) if isinstance(recorded.event, OrderFilled)]
    assert len(fills) == 6 * EVERY


def _flip(stored: bytes, at: int) -> bytes:
    return stored[:at] + bytes([stored[at] ^ 1]) + stored[at + 1 :]


@pytest.mark.parametrize(
    ("said", "change"),
    [
        ("not those that were stored", lambda s, v, e: (v, _flip(s, 3))),
        ("not those that were stored", lambda s, v, e: (v, _flip(s, 40))),
        ("not those that were stored", lambda s, v, e: (v, _flip(s, len(s) - 1))),
        ("not those that were stored", lambda s, v, e: (v, s[: len(s) // 2])),
        ("not those that were stored", lambda s, v, e: (v, b"")),
        ("not those that were stored", lambda s, v, e: (v - 1, s)),
        ("ahead of the log", lambda s, v, e: (v + 1000, s)),
        (
            "another event",
            lambda s, v, e: (v, snapshots.closed(POSITION, v, state_codec.topic_of(POSITION), s[64:], b"other")),
        ),
        (
            "cut off",
            lambda s, v, e: (v, snapshots.closed(POSITION, v, state_codec.topic_of(POSITION), s[64:-9], e)),
        ),
        (
            "",
            lambda s, v, e: (v, snapshots.closed(POSITION, v, state_codec.topic_of(POSITION), b"\0" + s[65:], e)),
        ),
    ],
)
def test_one_that_is_wrong_is_passed_over_and_removed(
    database_url: str,
    log: PostgresLog,
    owner: Connection,
    monkeypatch: pytest.MonkeyPatch,
    shown: list[Any],
    said: str,
    change: Any,
) -> None:
    traded(log, 4 * EVERY)
    older, newest = versions(owner)
    query = """
        SELECT s.state, s.originator_version, e.state FROM ledger.snapshots AS s
        JOIN ledger.events AS e USING (originator_id, originator_version)
        WHERE originator_id = %s AND originator_version = %s
    """
    row = owner.execute(query, [POSITION, newest]).fetchone()
    assert row is not None
    wrong, stored = change(*row)
    update = "UPDATE ledger.snapshots SET originator_version = %s, state = %s WHERE originator_version = %s"
    owner.execute(update + " AND originator_id = %s", [wrong, stored, newest, POSITION])
    state, events = read_by(database_url, monkeypatch)
    assert state == folded(log, POSITION)
    assert newest - older <= events <= newest - older + EVERY + 2 * PAGE, "the one before is used"
    (passed_over, *_) = (line for line in shown if line["event"] == "a snapshot is not used")
    assert said in str(passed_over)
    check_stored(owner, log)


def test_one_of_other_code_is_neither_read_nor_removed_at_once(
    database_url: str, log: PostgresLog, owner: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    traded(log, 3 * EVERY)
    theirs = versions(owner)
    owner.execute("UPDATE ledger.snapshots SET topic = 'position:older', state = 'x'")
    state, events = read_by(database_url, monkeypatch)
    assert state == folded(log, POSITION)
    assert events >= 3 * EVERY, "folded from the first event"
    count = "SELECT count(*) FROM ledger.snapshots WHERE topic = 'position:older' AND originator_id = %s"
    assert owner.execute(count, [POSITION]).fetchone() == (len(theirs),), "the other release may still want them"
    assert len(versions(owner)) > len(theirs)
    owner.execute("UPDATE ledger.snapshots SET taken_at = taken_at - interval '8 days' WHERE state = 'x'")
    trade(log, 3 * EVERY, EVERY)
    assert log.snapshots.flush()
    assert owner.execute(count, [POSITION]).fetchone() == (0,)


def test_what_is_not_on_record_is_never_stored(log: PostgresLog, owner: Connection) -> None:
    traded(log, 2 * EVERY)
    before = versions(owner)
    log.snapshots.offer(POSITION, 10 * EVERY, folded(log, POSITION))
    assert log.snapshots.flush()
    assert versions(owner) == before


def test_a_caller_waits_for_nothing(
    database_url: str, log: PostgresLog, owner: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither for a thread that is stuck nor for a table that is locked; and what cannot be stored is let go."""
    open_desk(log)
    with psycopg.connect(database_url) as other:
        other.execute("LOCK TABLE ledger.snapshots IN ACCESS EXCLUSIVE MODE")
        began = time.monotonic()
        trade(log, 0, 2 * EVERY)
        assert time.monotonic() - began < 30
        assert not log.snapshots.flush(0.01), "the thread waits for the table"
    assert log.snapshots.flush()
    assert versions(owner)
    monkeypatch.setattr(snapshots, "WAITING_MAX", 0)
    trade(log, 2 * EVERY, EVERY)
    assert log.snapshots.flush()


def test_storing_holds_no_lock_that_an_append_needs(database_url: str, log: PostgresLog, owner: Connection) -> None:
    traded(log, 2 * EVERY)
    with psycopg.connect(database_url) as storing:
        query = "INSERT INTO ledger.snapshots SELECT originator_id, 99999, topic, state FROM ledger.snapshots LIMIT 1"
        storing.execute(query)
        storing.execute(
            snapshots.PRUNE, {"stream": POSITION, "topic": state_codec.topic_of(POSITION), "version": 99999}
        )
        locked = storing.execute(
            "SELECT DISTINCT mode FROM pg_locks JOIN pg_class ON relation = pg_class.oid "
            "WHERE relname = 'events' AND pid = pg_backend_pid()"
        ).fetchall()
        assert {mode for (mode,) in locked} <= {"AccessShareLock"}
        trade(log, 2 * EVERY, 3)
        storing.rollback()


def test_the_librarys_own_recorder_reads_them(database_url: str, log: PostgresLog, owner: Connection) -> None:
    traded(log, 2 * EVERY)
    parts = psycopg.conninfo.conninfo_to_dict(database_url)
    datastore = PostgresDatastore(
        str(parts["dbname"]), str(parts["host"]), str(parts.get("port", "5432")), str(parts["user"]),
        str(parts.get("password", "")), schema="ledger", originator_id_type="text",
    )  # fmt: skip
    with datastore:
        recorder = PostgresAggregateRecorder(datastore, events_table_name="snapshots")
        (found,) = recorder.select_events(POSITION, desc=True, limit=1)
    assert found.originator_version == versions(owner)[-1]
    assert found.topic == state_codec.topic_of(POSITION)


def test_a_state_that_grows_is_stored_the_less_often(
    log: PostgresLog, owner: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "BYTES_PER_EVENT", 1)
    monkeypatch.setattr(snapshots, "KEPT_MAX", 100)
    traded(log, 4 * EVERY)
    (size,) = owner.execute("SELECT min(length(state)) FROM ledger.snapshots").fetchone() or (0,)
    assert size > 4 * EVERY
    assert len(versions(owner)) == 1


def test_a_late_report_deeper_than_the_tail_reads_the_history_in_pages(
    log: PostgresLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    traded(log, 7 * EVERY)
    largest: list[int] = []
    read = PostgresLog.read

    def counted(self: PostgresLog, stream: str, **how: Any) -> list[Recorded]:
        page = read(self, stream, **how)
        largest.append(len(page))
        return page

    monkeypatch.setattr(PostgresLog, "read", counted)
    ledger = Ledger(log, lambda: T0)
    (answer,) = ledger.report([fill_of("late", "L1", at=-5, qty="0.5")], actor="venue")
    assert answer.records
    assert max(largest) <= PAGE_EVENTS
    assert ledger.state(POSITION) == folded(log, POSITION)


@pytest.mark.slow
def test_killed_while_snapshots_are_stored_nothing_is_harmed(database_url: str, owner: Connection) -> None:
    """A process that stores them all the time, killed at six different moments."""
    with PostgresLog(database_url) as log:
        open_desk(log)
    for turn in range(6):
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.adapters.log.snapshotting", database_url, str(turn)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None and process.stdout.readline() == "trading\n"
        threading.Event().wait(0.02 + 0.02 * turn)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
    with PostgresLog(database_url) as log:
        for stream in (POSITION, LIMIT):
            assert Ledger(log, lambda: T0).state(stream) == folded(log, stream)
        assert versions(owner), "some were stored"
        check_stored(owner, log)


def test_the_connection_lost_while_one_is_stored_is_no_matter(
    database_url: str, log: PostgresLog, owner: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_desk(log)
    with psycopg.connect(database_url) as other:
        other.execute("LOCK TABLE ledger.snapshots IN ACCESS EXCLUSIVE MODE")
        trade(log, 0, EVERY + 5)
        waiting = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        deadline = time.monotonic() + 60
        while not (pids := owner.execute(waiting).fetchall()):
            assert time.monotonic() < deadline
        for (pid,) in pids:
            owner.execute("SELECT pg_terminate_backend(%s)", [pid])
    assert log.snapshots.flush()
    trade(log, EVERY + 5, 2 * EVERY)
    assert log.snapshots.flush()
    assert versions(owner)
    check_stored(owner, log)
    assert Ledger(log, lambda: T0).state(POSITION) == folded(log, POSITION)
