"""Worker processes answer, are canceled in Python and in the database, are killed, and do not outlive their parent."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import psycopg
import pytest

from adapters.postgres import connections
from adapters.processes import pool
from adapters.processes.pool import WorkCanceled, Worker, WorkerEnded, WorkerFailed, Workers
from adapters.processes.worker import NICENESS, Compute, Computed
from tests.waiting import until

pytestmark = pytest.mark.slow

SLEEP = "SELECT pg_sleep(600) /* of a worker */"
SLEEPING = "SELECT count(*) FROM pg_stat_activity WHERE query = %s AND state = 'active'"


@contextmanager
def opened(url: str) -> Iterator[Compute]:
    connections.bound_process(statement_seconds_max=600)

    def compute(call: Any) -> Computed:
        match call:
            case "pid":
                return Computed(os.getpid())
            case "priority":
                return Computed(os.getpriority(os.PRIO_PROCESS, 0))
            case "file":
                read, write = os.pipe()
                os.write(write, b"a long report")
                os.close(write)
                return Computed("see the file", read)
            case "spin":
                while True:
                    pass
            case "sleep in the database":
                with connections.connect(url) as connection:
                    connection.execute(SLEEP)
            case "memory":
                return Computed(len(bytearray(2**20)))
            case _:
                raise ValueError(call)
        raise AssertionError

    yield compute


@pytest.fixture
def workers(database_url: str) -> Iterator[Workers]:
    made = Workers(partial(opened, database_url), modules=["psycopg"], name="test worker")
    yield made
    made.close()


@pytest.fixture
def worker(workers: Workers) -> Iterator[Worker]:
    taken = workers.take()
    yield taken
    workers.give_back(taken)


def in_a_thread(worker: Worker, call: str) -> Callable[[], BaseException | None]:
    """Starts a computation; returns a function that waits for its end and returns the error it ended with."""
    errors: list[BaseException] = []

    def compute() -> None:
        try:
            worker.compute(call)
        except (WorkCanceled, WorkerEnded) as error:
            errors.append(error)

    thread = threading.Thread(target=compute)
    thread.start()

    def ended() -> BaseException | None:
        thread.join(30)
        assert not thread.is_alive()
        return errors[0] if errors else None

    return ended


def processor_seconds(pid: int) -> float:
    with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def is_sleeping(url: str) -> bool:
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(SLEEPING, [SLEEP]).fetchone() != (0,)


def test_a_worker_answers_at_a_low_priority_and_is_used_again(workers: Workers):
    first = workers.take()
    pid = first.compute("pid").value
    assert pid == first.pid != os.getpid()
    assert first.compute("priority").value == NICENESS
    workers.give_back(first)
    again = workers.take()
    assert again.compute("pid").value == pid
    workers.give_back(again)


def test_an_open_file_comes_with_an_answer(worker: Worker):
    answer = worker.compute("file")
    assert answer.value == "see the file"
    assert answer.file is not None
    with os.fdopen(answer.file, "rb") as file:
        assert file.read() == b"a long report"
    assert worker.compute("pid").value == worker.pid


def test_a_mistake_comes_back_as_its_traceback_and_the_worker_goes_on(worker: Worker):
    with pytest.raises(WorkerFailed, match=r"ValueError: nonsense"):
        worker.compute("nonsense")
    assert worker.compute("pid").value == worker.pid


def test_python_is_canceled_in_the_middle_and_the_same_process_answers_next(worker: Worker):
    ended = in_a_thread(worker, "spin")
    assert worker.pid is not None
    pid = worker.pid
    until(lambda: processor_seconds(pid) > 0.05)
    worker.cancel()
    assert isinstance(ended(), WorkCanceled)
    used = processor_seconds(pid)
    time.sleep(0.1)
    assert processor_seconds(pid) - used < 0.05
    assert worker.compute("pid").value == pid


def test_a_statement_is_canceled_in_the_database(worker: Worker, database_url: str):
    ended = in_a_thread(worker, "sleep in the database")
    until(lambda: is_sleeping(database_url))
    worker.cancel()
    assert isinstance(ended(), WorkCanceled)
    until(lambda: not is_sleeping(database_url))
    assert worker.compute("pid").value == worker.pid


def test_canceling_when_nothing_runs_changes_nothing(worker: Worker):
    worker.compute("pid")
    worker.cancel()
    assert worker.compute("pid").value == worker.pid


def test_the_statement_of_a_killed_worker_ends_too(workers: Workers, database_url: str):
    worker = workers.take()
    ended = in_a_thread(worker, "sleep in the database")
    until(lambda: is_sleeping(database_url))
    worker.kill()
    assert isinstance(ended(), WorkerEnded)
    until(lambda: not is_sleeping(database_url))
    workers.give_back(worker)
    other = workers.take()
    assert other.compute("pid").value == other.pid != worker
    workers.give_back(other)


def test_a_worker_ends_when_its_parent_is_gone_though_it_computes(workers: Workers, database_url: str):
    worker = workers.take()
    pid = worker.pid
    assert pid is not None
    worker._send(pool.Call(1, "sleep in the database"))
    until(lambda: is_sleeping(database_url))
    worker._pipe.close()  # what the kernel does when the parent ends
    until(lambda: not is_sleeping(database_url))
    until(lambda: not worker.is_alive)
    workers.give_back(worker)


def test_a_worker_that_used_much_memory_is_replaced(workers: Workers, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pool, "MEMORY_BYTES_MAX", 2**20)
    worker = workers.take()
    pid = worker.compute("memory") and worker.pid
    workers.give_back(worker)
    other = workers.take()
    assert other.compute("pid").value != pid
    workers.give_back(other)


def test_a_worker_killed_while_it_is_idle_is_not_lent(workers: Workers):
    worker = workers.take()
    pid = worker.compute("pid").value
    workers.give_back(worker)
    os.kill(pid, signal.SIGKILL)
    until(lambda: not worker.is_alive)
    other = workers.take()
    assert other.compute("pid").value != pid
    workers.give_back(other)


def test_closing_ends_a_computation(workers: Workers):
    worker = workers.take()
    ended = in_a_thread(worker, "spin")
    workers.close()
    assert isinstance(ended(), WorkerEnded)
    workers.give_back(worker)
