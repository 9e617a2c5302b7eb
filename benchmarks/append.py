"""Durable appends: `python -m benchmarks.append [SECONDS]` (of each measurement; 5 unless given).

Everything on one server of its own with fsync on, through the whole domain, by group commit. Peers in the same run: the
eventsourcing library's own application (in as many processes as the note says), UmaDB as a server on loopback (where
the `umadb` wheel is at hand: in this environment, or in that of the Python named by DAYBOOK_BENCH_UMADB), and as the
floor a bare INSERT a commit and a bare binary COPY of the same rows.
"""

import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psycopg
import structlog

from adapters.store import database, embedded
from adapters.store.database import Role
from adapters.store.log import COLUMNS, COPY_TYPES, PostgresLog
from adapters.store.migrations import migrate
from adapters.store.writer import Writer
from benchmarks.lines import line
from benchmarks.peers import library
from domain.account import Costing, OpenAccount
from domain.evidence import RawReportKept
from domain.instrument import Contract, Kind, ListInstrument
from domain.ledger import Command
from domain.order import OrderFilled, OrderKey, OrderTerms, OrdType, SubmitOrder
from domain.values import ZERO, Liquidity, Money, Side

T0 = datetime(2026, 1, 2, tzinfo=UTC)
BTC = "BTCUSDT.SIM"
FILLS_A_BATCH = 500
AHEAD_MAX = 4  # batches a bulk client has on the queue
CLIENTS = 16
LIBRARY_PROCESSES = 8


def now() -> datetime:
    return datetime.now(UTC)


def evidence(name: str) -> RawReportKept:
    """One event."""
    return RawReportKept(
        "main", "SIM", name, f"{name}," + "a,b,c,d,1.25,97500.10" * 5, "price: 'b' is not a finite decimal number"
    )


def submitted(name: str) -> SubmitOrder:
    """Two events: the order and its hold."""
    return SubmitOrder(OrderKey("main", name), OrderTerms("trend", BTC, Side.BUY, OrdType.LIMIT, D(1), D(100)), T0)


def filled(n: int) -> OrderFilled:
    """An order's only fill."""
    return OrderFilled(
        OrderKey("main", f"O{n}"), "trend", BTC, f"V{n}", Side.BUY if n % 2 else Side.SELL, f"E{n}", n, D("0.25"),
        D("97500.10"), Money(ZERO, "USDT"), Liquidity.TAKER, T0 + timedelta(milliseconds=n),
    )  # fmt: skip


@contextmanager
def desk() -> Iterator[tuple[str, PostgresLog, Writer]]:
    """A durable server, an open account, a writer that leads."""
    home = Path(tempfile.mkdtemp(prefix="daybook-bench-"))
    home.chmod(0o711)
    try:
        url = embedded.start(home)
        migrate(url)
        with PostgresLog(url) as log:
            writer = Writer(log, now)
            with writer.leading(url):
                writer.request(OpenAccount("main", "USDT", Costing(), T0), actor="bench")
                spot = Contract(Kind.SPOT, "BTC", "USDT", "USDT")
                writer.request(ListInstrument(BTC, spot, D("0.01"), D("0.001")), actor="bench")
                yield url, log, writer
    finally:
        embedded.stop(home)
        shutil.rmtree(home, ignore_errors=True)


def commands(clients: int, seconds: float, send: Callable[[int, int], object]) -> tuple[float, float, float]:
    """Commands a second of so many clients, each sending one after the other; p50 and p99 in ms."""
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


def bulk(writer: Writer, log: PostgresLog, seconds: float, size: int, first: int) -> tuple[float, float, int]:
    """Fills and events a second in batches of `size`, one client that keeps a few batches ahead; the next number."""
    group = writer._group
    assert group is not None
    head, n, waiting = log.head().seq, first, list[Future[Any]]()
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        waiting.append(group.submit(Command(tuple(filled(k) for k in range(n, n + size)), "venue")))
        n += size
        if len(waiting) > AHEAD_MAX:
            waiting.pop(0).result()
    for one in waiting:
        one.result()
    taken = time.perf_counter() - began
    return (n - first) / taken, (log.head().seq - head) / taken, n


def copy_floor(url: str, log: PostgresLog, rows_max: int = 100_000) -> tuple[float, float]:
    """Rows a second of a bare binary COPY of the log's own rows in one transaction: without and with its indexes."""
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
    """Commits a second of one bare INSERT each, over a connection each."""
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute("CREATE TABLE floor (n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, state bytea)")
    connections = [database.connect(url) for _ in range(clients)]
    state = b"x" * payload
    insert = "INSERT INTO floor (state) VALUES (%s)"
    rate, _, _ = commands(clients, seconds, lambda c, n: connections[c].execute(insert, [state], prepare=True))
    for connection in connections:
        connection.close()
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute("DROP TABLE floor")
    return rate


def library_rate(url: str, processes: int, size: int, seconds: float) -> float:
    """Saves a second of the library's own application."""
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
    """Appends a second of UmaDB, and its version; None and why not where it is not at hand."""
    python = os.environ.get("DAYBOOK_BENCH_UMADB") or (sys.executable if importlib.util.find_spec("umadb") else None)
    if python is None:
        return None, "UmaDB not measured: no umadb wheel (pip install umadb; DAYBOOK_BENCH_UMADB=that python)"
    script = Path(__file__).parent / "peers" / "uma.py"
    told = subprocess.run(
        [python, str(script), str(clients), str(size), str(payload), str(seconds)],
        check=False, capture_output=True, text=True, cwd=script.parents[2],
    )  # fmt: skip
    if told.returncode:
        return None, f"UmaDB not measured: {told.stderr.strip().splitlines()[-1:]}"
    answer = json.loads(told.stdout)
    return answer["commits_s"], f"umadb {answer['version']}"


def against_umadb(name: str, value: float, clients: int, size: int, payload: int, seconds: float, note: str) -> None:
    rate, told = umadb_rate(clients, size, payload, seconds)
    peer_value = rate * size if rate is not None else None
    line(name, value, "events/s", peer="UmaDB" if rate else None, peer_value=peer_value, note=f"{told}; {note}")


def main(seconds: float) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    with desk() as (url, log, writer):
        with database.connect(url, Role.AUDITOR) as connection:
            server = connection.info.server_version // 10_000
        versions = f"PostgreSQL {server}, eventsourcing {version('eventsourcing')}, Python {sys.version.split()[0]}"

        def kept(client: int, n: int) -> None:
            writer.report([evidence(f"{kept.round}-{client}-{n}")], actor="bench")  # type: ignore[attr-defined]

        kept.round = 0  # type: ignore[attr-defined]
        commands(1, 1, kept)
        row = log.stored(after=log.head().seq - 1)[0]
        payload = len(row.state)
        note = f"{payload} bytes an event, fsync on, {versions}"

        kept.round = 1  # type: ignore[attr-defined]
        rate, p50, p99 = commands(1, seconds, kept)
        single = f"one event a commit, 1 client; p50 {p50:.2f} ms, p99 {p99:.2f} ms; {note}"
        peer = library_rate(url, 1, 1, seconds)
        line("append.single", rate, "events/s", peer="eventsourcing", peer_value=peer, note=single)
        against_umadb("append.single", rate, 1, 1, payload, seconds, single)
        floor = insert_floor(url, seconds, 1, payload)
        line("append.single", rate, "events/s", peer="bare INSERT", peer_value=floor, note=single)

        kept.round = 2  # type: ignore[attr-defined]
        rate, p50, p99 = commands(CLIENTS, seconds, kept)
        many = f"one event a command, {CLIENTS} threads; p50 {p50:.2f} ms, p99 {p99:.2f} ms; {note}"
        peer = library_rate(url, LIBRARY_PROCESSES, 1, seconds)
        told = f"the library in {LIBRARY_PROCESSES} processes; {many}"
        line("append.concurrent", rate, "events/s", peer="eventsourcing", peer_value=peer, note=told)
        against_umadb("append.concurrent", rate, CLIENTS, 1, payload, seconds, many)
        floor = insert_floor(url, seconds, CLIENTS, payload)
        line("append.concurrent", rate, "events/s", peer="bare INSERT", peer_value=floor, note=many)
        rate, p50, p99 = commands(CLIENTS, seconds, lambda c, n: writer.request(submitted(f"S{c}-{n}"), actor="bench"))
        orders = f"orders, two events each, {CLIENTS} threads; p50 {p50:.2f} ms, p99 {p99:.2f} ms; {note}"
        line("append.orders", rate, "commands/s", note=orders)

        fills, events, n = bulk(writer, log, seconds, 25, 0)
        hundred = f"25 fills a commit at least, about 100 events, through the whole domain; {note}"
        peer = library_rate(url, 1, 100, seconds) * 100
        line("append.hundreds", events, "events/s", peer="eventsourcing", peer_value=peer, note=hundred)
        against_umadb("append.hundreds", events, 1, 100, payload, seconds, hundred)

        head = log.head().seq

        def hundred_kept(client: int, n: int) -> None:
            writer.report([evidence(f"H{client}-{n}-{k}") for k in range(100)], actor="bench")

        commands(1, seconds, hundred_kept)
        sent = log.head().seq - head
        alike = f"100 events of a stream each a commit, 1 client, one after the other; {note}"
        line("append.hundred_streams", sent / seconds, "events/s", peer="eventsourcing", peer_value=peer, note=alike)
        against_umadb("append.hundred_streams", sent / seconds, 1, 100, payload, seconds, alike)

        fills, events, _ = bulk(writer, log, seconds, FILLS_A_BATCH, n)
        bare, indexed = copy_floor(url, log)
        told = f"batches of {FILLS_A_BATCH} fills, {events / fills:.1f} events a fill; {note}"
        line("append.bulk", fills, "fills/s", note=told)
        line("append.bulk", events, "events/s", peer="bare COPY, no indexes", peer_value=bare, note=told)
        line("append.bulk", events, "events/s", peer="bare COPY, same indexes", peer_value=indexed, note=told)


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 5)
