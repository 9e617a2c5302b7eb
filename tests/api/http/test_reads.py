"""Expensive reads end with their budget or their client, and starve neither the writer nor other readers."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx
import psycopg
import pytest

from adapters.postgres.scopes import Scope
from api.daybook import Daybook
from api.settings import Settings
from benchmarks import desk as bench
from tests import CHECKOUT
from tests.api.client import bought_and_sold, open_book, order, serving
from tests.api.command_line import environment
from tests.api.own_writes import Client, known
from tests.waiting import until

pytestmark = pytest.mark.slow

AS_OCCURRED = {"as_of": "2026-01-03T00:00:00Z", "known_at": "now"}
WAITING = """
SELECT count(*) FROM pg_stat_activity
WHERE application_name = 'daybook_auditor' AND wait_event_type = 'Lock' AND datname = current_database()
"""
FILLS = 3_000


@contextmanager
def locked(url: str, *tables: tuple[str, str]) -> Iterator[None]:
    """Locks tables of read models, so that each statement that reads them waits."""
    with psycopg.connect(url) as connection:
        for projection, table in tables:
            found = connection.execute("SELECT schema FROM read.progress WHERE projection = %s", [projection])
            (schema,) = found.fetchone() or ("",)
            connection.execute(f'LOCK TABLE "{schema}".{table} IN ACCESS EXCLUSIVE MODE')  # type: ignore[arg-type]
        yield


def waiting(url: str) -> int:
    with psycopg.connect(url, autocommit=True) as connection:
        (count,) = connection.execute(WAITING).fetchone() or (0,)
    return int(count)


def measure(client: httpx.Client, name: str) -> float:
    """The value of a metric."""
    lines = client.get("/metrics").text.splitlines()
    return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name} ")), 0.0)


def ended(client: httpx.Client, outcome: str) -> float:
    return measure(client, f'daybook_expensive_reads_total{{outcome="{outcome}"}}')


def workers_of(pid: int) -> dict[int, float]:
    """The processor seconds of the processes below a process, of those at a lower priority than its own."""
    parents: dict[int, tuple[int, int, float]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        parents[int(entry.parent.name)] = (int(fields[1]), int(fields[16]), ticks)
    below = {pid}
    while more := {child for child, (parent, *_) in parents.items() if parent in below} - below:
        below |= more
    niceness = parents[pid][1] if pid in parents else 0
    return {child: parents[child][2] for child in below if child in parents and parents[child][1] > niceness}


def are_alive(pids: Iterable[int]) -> bool:
    return any(Path(f"/proc/{pid}").exists() for pid in pids)


class Sent:
    """A request over a connection of its own, whose answer is not read."""

    def __init__(self, client: httpx.Client, verb: str, path: str, **parameters: Any) -> None:
        place, body = urlsplit(str(client.base_url)), b""
        if verb == "GET":
            path += f"?{urlencode(parameters)}"
        else:
            body = json.dumps(parameters).encode()
        head = f"{verb} {path} HTTP/1.1\r\nHost: {place.netloc}\r\nAuthorization: {client.headers['authorization']}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self.connection = socket.create_connection((place.hostname or "", place.port or 0))
        self.connection.sendall(head.encode() + body)

    def hang_up(self) -> None:
        self.connection.close()


class Process:
    """`daybook serve` in a process of its own."""

    def __init__(self, url: str, pid: int, daybook: Daybook) -> None:
        self.url = url
        self.pid = pid
        self._daybook = daybook

    @contextmanager
    def client(self, actor: str) -> Iterator[httpx.Client]:
        """A client with a key of its own."""
        key = self._daybook.keys.issue(actor, list(Scope))
        with Client(base_url=self.url, headers={"Authorization": f"Bearer {key}"}, timeout=60) as client:
            yield client


@pytest.fixture
def process(daybook: Daybook) -> Iterator[Process]:
    """A service whose reads may take a minute, and wait for a slot for as long."""
    settings = {
        "DAYBOOK_DATABASE_URL": daybook.url, "DAYBOOK_WAIT_SECONDS_MAX": "60", "DAYBOOK_READ_SECONDS_MAX": "60",
        "DAYBOOK_LOG_LEVEL": "error",
    }  # fmt: skip
    command = [sys.executable, "-m", "api.cli", "serve", "--port", "0", "--json"]
    with subprocess.Popen(
        command, cwd=CHECKOUT, env=environment(**settings), stdout=subprocess.PIPE, text=True
    ) as serving_:
        assert serving_.stdout is not None
        try:
            shown = json.loads("".join(iter(serving_.stdout.readline, "}\n")) + "}")
            with known(shown["url"], daybook.url):
                yield Process(shown["url"], serving_.pid, daybook)
        finally:
            workers = workers_of(serving_.pid)
            serving_.terminate()
            serving_.wait(30)
    until(lambda: not are_alive(workers))


def test_a_read_whose_client_hangs_up_ends_in_the_process_and_in_the_database(process: Process, daybook: Daybook):
    with process.client("desk") as desk, process.client("other") as other:
        open_book(desk)
        seq = bought_and_sold(desk)
        assert desk.get("/v1/executions", params=AS_OCCURRED | {"min_seq": seq}).status_code == 200
        with locked(daybook.url, ("executions", "executions")):
            sent = Sent(desk, "GET", "/v1/reports/executions", format="csv")
            until(lambda: waiting(daybook.url) == 1)
            assert measure(other, "daybook_expensive_reads_running") == 1
            sent.hang_up()
            until(lambda: waiting(daybook.url) == 0)
            until(lambda: measure(other, "daybook_expensive_reads_running") == 0)
        assert ended(other, "hung-up") == 1
        assert len(desk.get("/v1/reports/executions").json()["items"]) == 3


def test_a_replay_whose_client_hangs_up_uses_no_more_processor_time(process: Process, daybook: Daybook):
    for request in bench.opening():
        daybook.writer.request(request, actor="bench")
    for command in bench.fills(0, FILLS // 3, 500):
        daybook.writer.carry_out(command)
    with process.client("auditor") as auditor:
        before = sum(workers_of(process.pid).values())
        sent = Sent(auditor, "POST", "/v1/what-if", method="FIFO")
        until(lambda: sum(workers_of(process.pid).values()) > before + 0.1)
        sent.hang_up()
        until(lambda: measure(auditor, "daybook_expensive_reads_running") == 0)
        assert ended(auditor, "hung-up") == 1
        used = sum(workers_of(process.pid).values())
        time.sleep(0.3)
        assert sum(workers_of(process.pid).values()) - used < 0.1


def test_a_service_that_is_killed_leaves_no_process_and_no_statement_behind(process: Process, daybook: Daybook):
    with process.client("desk") as desk:
        open_book(desk)
        assert desk.get("/v1/positions", params={"min_seq": bought_and_sold(desk)}).status_code == 200
        with locked(daybook.url, ("executions", "executions")):
            sent = Sent(desk, "GET", "/v1/reports/executions")
            until(lambda: waiting(daybook.url) == 1)
            workers = workers_of(process.pid)
            assert workers
            os.kill(process.pid, signal.SIGKILL)
            until(lambda: waiting(daybook.url) == 0)
        until(lambda: not are_alive(workers))
        sent.hang_up()


def test_a_key_that_saturates_delays_neither_another_keys_reads_nor_an_order(process: Process, daybook: Daybook):
    with process.client("desk") as greedy, process.client("desk") as desk:  # one actor, two keys
        open_book(desk)
        seq = bought_and_sold(desk)
        assert desk.get("/v1/positions", params={"min_seq": seq}).status_code == 200
        assert greedy.get("/v1/reports/executions").status_code == 200
        with locked(daybook.url, ("executions", "executions")):
            sent = [Sent(greedy, "GET", "/v1/reports/executions") for _ in range(9)]
            until(lambda: measure(desk, "daybook_expensive_reads_waiting") == 8)
            refused = greedy.get("/v1/reports/executions")
            assert (refused.status_code, refused.headers["Retry-After"]) == (429, "5")
            assert refused.json()["type"] == "urn:daybook:problem:too-many-reads"
            assert desk.get("/v1/positions").status_code == 200
            assert desk.post("/v1/orders", json=order("A-9")).status_code == 201
            assert desk.get("/v1/explain/positions", params={"cell": "quantity", "min_seq": 0}).status_code == 200
            assert greedy.get("/v1/positions", params={"min_seq": 0}).status_code == 200
            assert measure(desk, "daybook_expensive_reads_running") == 1
            for each in sent:
                each.hang_up()
            until(lambda: measure(desk, "daybook_expensive_reads_waiting") == 0)


class TestWithLittleTime:
    """A service in this process, whose reads have a second."""

    @pytest.fixture
    def settings(self, database_url: str) -> Settings:
        return Settings(database_url=database_url, wait_seconds_max=30, read_seconds_max=1, log_level="error")

    def test_a_read_that_uses_up_its_budget_is_stopped_in_the_database_too(self, desk: httpx.Client, daybook: Daybook):
        seq = bought_and_sold(desk)
        assert desk.get("/v1/executions", params={"min_seq": seq}).status_code == 200
        with locked(daybook.url, ("executions", "executions")):
            answer = desk.get("/v1/reports/executions", params={"format": "parquet"})
            until(lambda: waiting(daybook.url) == 0)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
        problem = answer.json()
        assert (problem["type"], problem["seconds_max"]) == ("urn:daybook:problem:read-over-budget", "1")
        assert "longer than 1 s and was stopped; request less at once" in problem["detail"]
        assert ended(desk, "over-budget") == 1
        until(lambda: desk.get("/v1/reports/executions").status_code == 200)


def test_exhausted_connections_are_503_with_retry_after(desk: httpx.Client, daybook: Daybook):
    seq = bought_and_sold(desk)
    assert desk.get("/v1/positions", params={"min_seq": seq}).status_code == 200
    with ExitStack() as stack:
        for _ in range(16):
            stack.enter_context(daybook.engine.connect())
        answer = desk.get("/v1/positions")
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        assert answer.json()["type"] == "urn:daybook:problem:unavailable"
        assert answer.json()["detail"] == "all 16 database connections are busy; try again"
        assert desk.post("/v1/orders", json=order("A-9")).status_code == 201
        assert desk.get("/v1/reports/positions").status_code == 200
    assert desk.get("/v1/positions").status_code == 200


def test_readers_that_use_all_their_connections_to_the_log_leave_the_writer_its_own(
    desk: httpx.Client, daybook: Daybook
):
    with ExitStack() as stack:
        for _ in range(8):
            stack.enter_context(daybook.history.recorder.datastore.connections.connection())
            stack.enter_context(daybook.market._pool.connection())
        assert desk.post("/v1/orders", json=order("A-9")).status_code == 201


def test_a_process_killed_in_the_middle_of_a_read_is_503_and_replaced(desk: httpx.Client, daybook: Daybook):
    assert desk.get("/v1/executions", params={"min_seq": bought_and_sold(desk)}).status_code == 200
    answers: list[httpx.Response] = []
    with locked(daybook.url, ("executions", "executions")):
        reading = threading.Thread(target=lambda: answers.append(desk.get("/v1/reports/executions")))
        reading.start()
        until(lambda: waiting(daybook.url) == 1)
        for pid in workers_of(os.getpid()):
            os.kill(pid, signal.SIGKILL)
        reading.join()
    assert (answers[0].status_code, answers[0].json()["type"]) == (503, "urn:daybook:problem:read-ended")
    assert desk.get("/v1/reports/executions").status_code == 200


def test_a_key_whose_cheap_reads_all_wait_delays_neither_an_order_nor_another_keys_cheap_read(
    desk: httpx.Client, daybook: Daybook, client_for: Callable[..., httpx.Client]
):
    assert desk.get("/v1/positions", params={"min_seq": bought_and_sold(desk)}).status_code == 200
    other = client_for("trade")
    with locked(daybook.url, ("positions", "positions")):
        sent = [Sent(desk, "GET", "/v1/positions") for _ in range(80)]
        until(lambda: waiting(daybook.url) == 12)
        assert other.post("/v1/orders", json=order("A-9")).status_code == 201
        assert other.get("/v1/orders").status_code == 200
        for each in sent:
            each.hang_up()


def test_errors_of_a_read_in_a_process_are_the_same_problems(desk: httpx.Client):
    bought_and_sold(desk)
    unknown = desk.get("/v1/reports/nope")
    assert (unknown.status_code, unknown.json()["report"]) == (404, "nope")
    assert unknown.json()["type"] == "urn:daybook:problem:not-found"
    wrong = desk.get("/v1/explain/positions", params={"cell": "nope"})
    assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "cell")
    ahead = desk.get("/v1/reports/positions", params={"as_of": "999999"})
    assert (ahead.status_code, ahead.json()["errors"][0]["value"]) == (422, 999999)


def test_a_demo_without_a_key_may_send_expensive_reads(daybook: Daybook):
    with serving(daybook, demo=True) as url, Client(base_url=url, timeout=30) as client:
        assert client.get("/v1/reports/positions").json()["items"] == []
