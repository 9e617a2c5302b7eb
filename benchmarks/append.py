"""Durable appends: `python -m benchmarks.append [SECONDS]` (of each slice; 2 unless given).

Everything runs on one server of its own with fsync on, through the whole domain, by group commit. Contestants alternate
in `ROUNDS` slices and medians are reported, so that other load on the machine affects all alike. Peers: the
eventsourcing library's own application (the note shows the number of processes), UmaDB as a server on loopback (if the
`umadb` wheel is installed: in this environment, or in that of the Python named by DAYBOOK_BENCH_UMADB), and as the
floor a bare INSERT per commit and a bare binary COPY of the same rows.
"""

import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import structlog

from adapters.log.postgres import COLUMNS, COPY_TYPES, PostgresLog
from adapters.postgres.connections import Role, connect
from adapters.writer.group_commit import GroupCommit
from adapters.writer.writer import Writer
from benchmarks import desk
from benchmarks.lines import line
from benchmarks.peers import library
from domain.account import RawReportKept

ROUNDS = 3
FILLS_A_BATCH = 500
FILLS_A_HUNDRED = 33  # of three events each
AHEAD_MAX = 4  # batches a bulk client has on the queue
CLIENTS = 16
LIBRARY_PROCESSES = 8
FLOOR_ROWS_MAX = 50_000


def evidence(name: str) -> RawReportKept:
    """Return an event."""
    raw = f"{name}," + "a,b,c,d,1.25,97500.10" * 5
    return RawReportKept("main", "SIM", name, raw, reason="price: 'b' is not a finite decimal number")


def in_turns(*works: Callable[[], float | None]) -> list[float | None]:
    """Return the median result of each over `ROUNDS` alternating rounds; None for one that is not available."""
    results = [[work() for work in works] for _ in range(ROUNDS)]
    medians: list[float | None] = []
    for column in zip(*results, strict=True):
        known = [value for value in column if value is not None]
        medians.append(statistics.median(known) if known else None)
    return medians


def commands(clients: int, seconds: float, send: Callable[[int, int], object]) -> tuple[float, float, float]:
    """Return commands per second of `clients` threads, each sending one at a time, and p50 and p99 in ms."""
    times: list[list[float]] = [[] for _ in range(clients)]
    start, end = threading.Barrier(clients), time.perf_counter() + seconds + 0.2

    def run(client: int) -> None:
        start.wait()
        n = 0
        while (began := time.perf_counter()) < end:
            send(client, n)
            times[client].append(time.perf_counter() - began)
            n += 1

    threads = [threading.Thread(target=run, args=(client,)) for client in range(clients)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    taken = time.perf_counter() - began
    every = sorted(one * 1000 for client in times for one in client)
    return len(every) / taken, statistics.median(every), every[int(len(every) * 0.99)]


class Bulk(NamedTuple):
    """The rates and processor times of a slice of fills."""

    fills_s: float
    events_s: float
    writer_us: float
    server_us: float


class Desk:
    """A client that sends fills of known orders and keeps a few batches queued."""

    def __init__(self, url: str, log: PostgresLog, group: GroupCommit) -> None:
        self._log = log
        self._group = group
        self._orders = 0
        assert group._task is not None
        with psycopg.connect(url) as connection:
            row = connection.execute("SELECT backend_pid FROM ledger.leader").fetchone()
        assert row is not None
        self._writer, self._server = f"self/task/{group._task.native_id}", f"{row[0]}"

    def send(self, seconds: float, size: int) -> Bulk:
        """Send batches of `size` fills for about `seconds`; their orders are sent before, and are not timed."""
        orders = int(seconds * 10_000) // desk.FILLS_AN_ORDER
        first, self._orders = self._orders, self._orders + orders
        for one in [self._group.submit(command) for command in desk.orders(first, orders)]:
            one.result()
        commands, head = desk.fills(first, orders, size), self._log.head().seq
        writer, server, began = cpu_s(self._writer), cpu_s(self._server), time.perf_counter()
        waiting: list[Future[Any]] = []
        for command in commands:
            waiting.append(self._group.submit(command))
            if len(waiting) > AHEAD_MAX:
                waiting.pop(0).result()
        for one in waiting:
            one.result()
        taken, fills = time.perf_counter() - began, orders * desk.FILLS_AN_ORDER
        writer, server = cpu_s(self._writer) - writer, cpu_s(self._server) - server
        events = self._log.head().seq - head
        return Bulk(fills / taken, events / taken, writer / fills * 1e6, server / fills * 1e6)


def cpu_s(task: str) -> float:
    """Return the processor time of a process or thread, by its path in /proc."""
    fields = Path(f"/proc/{task}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def copy_floor(url: str, log: PostgresLog, rows_max: int = FLOOR_ROWS_MAX) -> tuple[float, float]:
    """Return rows per second of a bare binary COPY of the log's rows in one transaction: without and with indexes."""
    rows = log.recorder.rows(f"SELECT {COLUMNS}, execution_key FROM ledger.events LIMIT {rows_max}", [])
    found = []
    with psycopg.connect(url, autocommit=True) as connection:
        for how in ("", "INCLUDING ALL"):
            connection.execute(f"CREATE TABLE floor (LIKE ledger.events {how})")
            began = time.perf_counter()
            floor = "COPY floor FROM STDIN (FORMAT BINARY)"
            with connection.transaction(), connection.cursor() as cursor, cursor.copy(floor) as copy:
                copy.set_types(COPY_TYPES)
                for row in rows:
                    copy.write_row(row)
            found.append(len(rows) / (time.perf_counter() - began))
            connection.execute("DROP TABLE floor")
    return found[0], found[1]


def insert_floor(url: str, seconds: float, clients: int, payload: int) -> float:
    """Return commits per second of one bare INSERT each, with a connection per client."""
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute("CREATE TABLE floor (n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, state bytea)")
    connections = [connect(url) for _ in range(clients)]
    state = b"x" * payload
    insert = "INSERT INTO floor (state) VALUES (%s)"
    rate, _, _ = commands(clients, seconds, lambda c, n: connections[c].execute(insert, [state], prepare=True))
    for connection in connections:
        connection.close()
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute("DROP TABLE floor")
    return rate


def library_rate(url: str, processes: int, size: int, seconds: float) -> float:
    """Return saves per second of the library's own application."""
    library.application(url, create=True).close()  # type: ignore[attr-defined]
    with tempfile.TemporaryDirectory() as directory:
        go = Path(directory, "go")
        arguments = [sys.executable, "-m", "benchmarks.peers.library", url, str(size), str(seconds), str(go)]
        running = [subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) for _ in range(processes)]
        outputs = [process.stdout for process in running]
        assert all(output is not None and output.readline() == "ready\n" for output in outputs)
        go.touch()
        return sum(float(json.loads(process.communicate()[0])["commits_s"]) for process in running)


def umadb_rate(clients: int, size: int, payload: int, seconds: float) -> tuple[float | None, str]:
    """Return appends per second of UmaDB, and its version; None and the reason if it is not installed."""
    python = os.environ.get("DAYBOOK_BENCH_UMADB") or (sys.executable if importlib.util.find_spec("umadb") else None)
    if python is None:
        return None, "UmaDB not measured: no umadb wheel (pip install umadb; DAYBOOK_BENCH_UMADB=that python)"
    script = Path(__file__).parent / "peers" / "uma.py"
    finished = subprocess.run(
        [python, str(script), str(clients), str(size), str(payload), str(seconds)],
        check=False, capture_output=True, text=True, cwd=script.parents[2],
    )  # fmt: skip
    if finished.returncode:
        return None, f"UmaDB not measured: {finished.stderr.strip().splitlines()[-1:]}"
    answer = json.loads(finished.stdout)
    return answer["commits_s"], f"umadb {answer['version']}"


class Bench:
    """The measurements, each with its peers."""

    def __init__(self, url: str, log: PostgresLog, writer: Writer, seconds: float) -> None:
        self._url, self._log, self._writer, self._seconds = url, log, writer, seconds
        group = writer._group
        assert group is not None
        self._desk = Desk(url, log, group)
        self._slices = 0
        with connect(url, Role.AUDITOR) as connection:
            server = connection.info.server_version // 10_000
        self._versions = (
            f"PostgreSQL {server}, eventsourcing {version('eventsourcing')}, Python {sys.version.split()[0]}"
        )
        self._rate(1, seconds=0.2)
        self._payload = len(log.stored(after=log.head().seq - 1)[0].state)

    def _rate(self, clients: int, size: int = 1, seconds: float = 0) -> tuple[float, float, float]:
        """Measure commands of `size` events each."""
        self._slices += 1
        names = f"{self._slices}-{{}}-{{}}-{{}}"

        def send(client: int, n: int) -> None:
            self._writer.report([evidence(names.format(client, n, k)) for k in range(size)], actor="bench")

        return commands(clients, seconds or self._seconds, send)

    def _print(self, name: str, value: float | None, peers: dict[str, float | None], *, note: str) -> None:
        assert value is not None
        for peer, peer_value in peers.items():
            line(name, value, "events/s", peer=peer, peer_value=peer_value, note=f"{note}; fsync on, {self._versions}")

    def single(self, clients: int, name: str, processes: int) -> None:
        """Measure one event per command, each client sending one at a time."""
        p50s: list[tuple[float, float]] = []

        def ours() -> float:
            rate, p50, p99 = self._rate(clients)
            p50s.append((p50, p99))
            return rate

        uma: list[str] = []

        def theirs() -> float | None:
            rate, version_or_reason = umadb_rate(clients, 1, self._payload, self._seconds)
            uma.append(version_or_reason)
            return rate

        value, peer, umadb, floor = in_turns(
            ours,
            lambda: library_rate(self._url, processes, 1, self._seconds),
            theirs,
            lambda: insert_floor(self._url, self._seconds, clients, self._payload),
        )
        p50, p99 = sorted(p50s)[len(p50s) // 2]
        note = (
            f"one event a command, {clients} client threads, the library in {processes} processes, {uma[-1]}; "
            f"p50 {p50:.2f} ms, p99 {p99:.2f} ms; {self._payload} bytes an event"
        )
        self._print(name, value, {"eventsourcing": peer, "UmaDB": umadb, "bare INSERT": floor}, note=note)

    def orders(self) -> None:
        """Measure orders, each with a pre-trade check of a limit."""

        def send(client: int, n: int) -> None:
            self._writer.request(desk.submitted(n, f"S{self._slices}-{client}-"), actor="bench")

        self._slices += 1
        rate, p50, p99 = commands(CLIENTS, self._seconds, send)
        note = f"orders, two events each, {CLIENTS} client threads; p50 {p50:.2f} ms, p99 {p99:.2f} ms"
        line("append.orders", rate, "commands/s", note=f"{note}; fsync on, {self._versions}")

    def hundreds(self) -> None:
        """Measure commits of about 100 events: 33 fills through the whole domain, and 100 events in 100 streams."""
        sent: list[Bulk] = []

        def fills() -> float:
            sent.append(self._desk.send(self._seconds, FILLS_A_HUNDRED))
            return sent[-1].events_s

        value, peer, umadb, alike = in_turns(
            fills,
            lambda: library_rate(self._url, 1, 100, self._seconds) * 100,
            lambda: _times(umadb_rate(1, 100, self._payload, self._seconds)[0], 100),
            lambda: self._rate(1, 100)[0] * 100,
        )
        peers = {"eventsourcing": peer, "UmaDB": umadb}
        note = f"{FILLS_A_HUNDRED} fills of known orders a command, three events each, {AHEAD_MAX} ahead; {_cpu(sent)}"
        self._print("append.hundreds", value, peers, note=note)
        note = f"100 events of a stream each a command, one client, one after the other; {self._payload} bytes each"
        self._print("append.hundred_streams", alike, peers, note=note)

    def bulk(self) -> None:
        """Measure fills of known orders, as fast as possible."""
        sent: list[Bulk] = []
        floors: list[tuple[float, float]] = []

        def fills() -> float:
            sent.append(self._desk.send(self._seconds, FILLS_A_BATCH))
            return sent[-1].events_s

        def floor() -> float:
            floors.append(copy_floor(self._url, self._log))
            return floors[-1][0]

        value, bare, indexed = in_turns(fills, floor, lambda: floors[-1][1])
        rows = self._log.stored(after=self._log.head().seq - 3_000, limit=3_000)
        size = sum(len(row.state) for row in rows) // len(rows)
        middle = sorted(sent)[len(sent) // 2]
        note = (
            f"{FILLS_A_BATCH} fills of known orders a command, {middle.events_s / middle.fills_s:.2f} events a fill, "
            f"{desk.FILLS_AN_ORDER} fills an order, one position limit; {size} bytes an event; {_cpu(sent)}"
        )
        line("append.bulk", middle.fills_s, "fills/s", note=f"{note}; fsync on, {self._versions}")
        peers = {"bare COPY, same indexes": indexed, "bare COPY, no indexes": bare}
        self._print("append.bulk", value, peers, note=note)


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _cpu(sent: list[Bulk]) -> str:
    writer = statistics.median(one.writer_us for one in sent)
    server = statistics.median(one.server_us for one in sent)
    return f"processor time a fill {writer:.0f} us in the writer's thread, {server:.0f} us in its server process"


def main(seconds: float) -> None:
    """Run all measurements."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    with desk.desk() as (url, log, writer):
        bench = Bench(url, log, writer, seconds)
        bench.single(1, "append.single", 1)
        bench.single(CLIENTS, "append.concurrent", LIBRARY_PROCESSES)
        bench.orders()
        bench.hundreds()
        bench.bulk()


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 2)
