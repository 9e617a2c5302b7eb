"""An append whose connection is lost: recorded once or not at all, and the caller knows which."""

from collections.abc import Sequence
from typing import Any

import psycopg
import pytest

from adapters.log.postgres import LogRecorder, PostgresLog
from adapters.postgres import connections
from adapters.postgres.connections import Role
from domain.errors import HistoryBroken, StreamConflict, Unavailable
from tests.records import record, records

KILL_OTHERS = """
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


@pytest.fixture(name="kill")
def killer_of_connections(database_url: str) -> Any:
    def kill() -> None:
        with psycopg.connect(database_url) as connection:
            connection.execute(KILL_OTHERS)

    return kill


def test_a_connection_lost_while_idle_is_replaced_unseen(log: PostgresLog, kill: Any) -> None:
    log.append([record("a", 1)])
    kill()
    assert log.append([record("a", 2)]) == 2
    kill()
    assert len(log.read("a")) == 2


@pytest.mark.parametrize("size", [1, 100])
def test_an_append_that_committed_before_its_answer_was_lost_is_not_lost(
    log: PostgresLog, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    insert = LogRecorder.insert_on

    def commit_and_lose(self: LogRecorder, connection: Any, events: Sequence[Any]) -> range:
        insert(self, connection, events)
        raise psycopg.OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(LogRecorder, "insert_on", commit_and_lose)
    assert log.append(records("a", range(1, size + 1))) == size
    assert log.head().seq == size


def test_an_append_lost_before_its_commit_is_unavailable_and_not_recorded(
    log: PostgresLog, monkeypatch: pytest.MonkeyPatch, kill: Any
) -> None:
    def lose(self: LogRecorder, connection: Any, rows: Any) -> None:
        kill()
        connection.execute("SELECT 1").fetchone()

    log.append([record("a", 1)])
    with monkeypatch.context() as patched:
        patched.setattr(LogRecorder, "_insert_rows", lose)
        patched.setattr(LogRecorder, "_copy", lose)
        for size in (1, 100):
            with pytest.raises(Unavailable):
                log.append(records("b", range(1, size + 1)))
    assert log.head().seq == 1
    assert log.append([record("b", 1)]) == 2


def test_whether_an_append_took_place_can_be_queried(log: PostgresLog) -> None:
    batch = [record("a", 1), record("b", 1)]
    assert log.settled(batch) is None
    log.append(batch)
    assert log.settled(batch) == 2
    assert log.settled([record("a", 1, note="EUR"), record("b", 1)]) is None


def test_a_writer_may_append_on_the_connection_that_holds_its_lock(log: PostgresLog, database_url: str) -> None:
    with connections.connect(database_url, Role.WRITER) as connection:
        for size in (1, 100):
            head = log.head().seq
            assert log.append_on(connection, records(f"s{size}", range(1, size + 1))) == head + size
            with pytest.raises(StreamConflict):
                log.append_on(connection, records(f"s{size}", range(1, size + 1)))
        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
    with pytest.raises(psycopg.OperationalError):
        log.append_on(connection, [record("x", 1)])


def test_a_writer_that_ignores_the_lock_meets_the_unique_key(log: PostgresLog, database_url: str) -> None:
    log.append([record("a", 1)])
    with psycopg.connect(database_url) as rogue:
        rogue.execute("INSERT INTO ledger.events SELECT originator_id, 2, topic, state, 2, now() FROM ledger.events")
        rogue.commit()
    for size in (1, 100):
        with pytest.raises(StreamConflict):
            log.append([record("b", 1), *records("a", range(2, 2 + size), at_s=9e9)])


def test_a_gap_is_noticed_where_it_is_read(log: PostgresLog, database_url: str) -> None:
    log.append([*records("a", range(1, 6)), record("b", 1)])
    with psycopg.connect(database_url) as tamperer:
        tamperer.execute("ALTER TABLE ledger.events DISABLE TRIGGER ALL")
        tamperer.execute("DELETE FROM ledger.events WHERE notification_id = 3")
    with pytest.raises(HistoryBroken, match="a: 4 events after version 0"):
        log.read("a")
    with pytest.raises(HistoryBroken, match="after seq 1"):
        log.select(after=1)
    assert [seq for seq, _ in log.select(after=3)] == [4, 5, 6]
