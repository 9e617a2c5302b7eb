"""Read models: `python -m benchmarks.follow [EVENTS]` (200,000 by default).

On a server of its own with fsync on, with a log of orders, fills and holds through the whole domain, this measures:
following the log, a rebuild of all read models (built beside, compared, swapped in), verification of the digests, the
delay from a commit until its rows are visible while a writer goes on, and memory with a log five times as long. Peer in
the same run: the eventsourcing library's ProjectionRunner over the same events, into a table like one of ours.
"""

import gc
import json
import os
import resource
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from functools import partial
from importlib.metadata import version

import psycopg
import structlog

from adapters.log.postgres import PostgresLog
from adapters.postgres.connections import Role
from adapters.postgres.engine import engine
from adapters.writer.writer import Writer
from api.daybook import projecting
from benchmarks.lines import largest_mb, line
from benchmarks.servers import server
from domain.account import CostBasis, Costing, OpenAccount
from domain.instrument import Contract, Kind, ListInstrument
from domain.ledger import Command
from domain.order import OrderAccepted, OrderFilled, OrderKey, OrderTerms, OrdType, SubmitOrder
from domain.values import Liquidity, Money, Side
from projections.catalog import PROJECTIONS
from projections.runner.build import Goal, begun
from projections.runner.runner import Runner
from projections.storage.copy_lines import Lines

T0 = datetime(2026, 1, 2, tzinfo=UTC)
ACCOUNTS = {
    f"desk{n}": basis for n, basis in enumerate((CostBasis.AVERAGE, CostBasis.FIFO, CostBasis.LIFO, CostBasis.HIFO))
}
COINS = ("BTC", "ETH", "SOL", "XRP", "ADA", "DOT")
STRATEGIES = ("trend", "maker", "hedge")
ORDERS_A_COMMAND = 50
ATTESTED_EVENTS_MAX = 50_000
EQUAL = "executions"  # the table that the peer writes
PEER_EVENTS_MAX = 20_000
PEER_SECONDS = 15.0
VISIBLE_EVENTS_S = 2_000
VISIBLE_SECONDS = 15.0
VISIBLE_ORDERS = 4  # per commit
AHEAD_MAX = 4


def open_desk(writer: Writer) -> None:
    """Open four accounts, one of each cost basis, and list six instruments."""
    for account_id, basis in ACCOUNTS.items():
        writer.request(OpenAccount(account_id, "USDT", Costing(basis), T0), actor="bench")
    for coin in COINS:
        spot = Contract(Kind.SPOT, coin, "USDT", "USDT")
        writer.request(ListInstrument(f"{coin}USDT.SIM", spot, D("0.01"), D("0.001")), actor="bench")


def order_events(n: int) -> tuple[SubmitOrder, list[object]]:
    """Return the n-th order and the venue's reports of it: accepted, one or two fills."""
    accounts = list(ACCOUNTS)
    key = OrderKey(accounts[n % len(accounts)], f"O{n}")
    instrument_id = f"{COINS[n % len(COINS)]}USDT.SIM"
    strategy = STRATEGIES[n % len(STRATEGIES)]
    side = Side.BUY if (n // 24) % 2 else Side.SELL
    price = D(10_000 + n * 37 % 997) / 100
    at = T0 + timedelta(milliseconds=10 * n)
    terms = OrderTerms(strategy, instrument_id, side, OrdType.LIMIT, order_qty=D("0.5"), price=price)
    submit = SubmitOrder(key, terms, at)
    reports: list[object] = [OrderAccepted(key, f"V{n}", at + timedelta(milliseconds=1))]
    fills = 1 + n % 2
    for k in range(fills):
        reports.append(
            OrderFilled(
                key=key,
                strategy_id=strategy,
                instrument_id=instrument_id,
                order_id=f"V{n}",
                side=side,
                exec_id=f"E{n}-{k}",
                trade_seq=2 * n + k,
                last_qty=D("0.5") / fills,
                last_px=price,
                commission=Money(D("0.0125"), "USDT"),
                liquidity=Liquidity.TAKER,
                transact_time=at + timedelta(milliseconds=2 + k),
            )
        )
    return submit, reports


def trade(writer: Writer, log: PostgresLog, events: int) -> int:
    """Send orders and their fills until the log has `events` events. Return its length."""
    group = writer._group
    assert group is not None
    n = log.head().seq  # more than there are orders
    waiting: list[object] = []
    while log.head().seq < events:
        for _ in range(4):
            executed: list[object] = []
            submitted = []
            for k in range(n, n + ORDERS_A_COMMAND):
                submit, reports = order_events(k)
                submitted.append(group.submit(Command(submit, "bench")))
                executed += reports
            n += ORDERS_A_COMMAND
            waiting += submitted
            waiting.append(group.submit(Command(tuple(executed), "venue")))
            if len(waiting) > AHEAD_MAX * ORDERS_A_COMMAND:
                for one in waiting:
                    one.result()
                waiting = []
    for one in waiting:
        one.result()
    return log.head().seq


@contextmanager
def desk() -> Iterator[tuple[str, PostgresLog, Writer]]:
    """Yield a durable server, its log with open accounts, and a leading writer."""
    with server() as (url, _), PostgresLog(url) as log:
        writer = Writer(log, lambda: datetime.now(UTC))
        with writer.leading(url):
            open_desk(writer)
            yield url, log, writer


def measured(what: str, url: str) -> dict[str, float]:
    """Measure in a process of its own: seconds, and the peak memory of it and its children, in MB."""
    finished = subprocess.run(
        [sys.executable, "-m", "benchmarks.follow", "--measure", what, url], check=True, capture_output=True, text=True
    )
    answer: dict[str, float] = json.loads(finished.stdout.splitlines()[-1])
    return answer


def measure(what: str, url: str) -> None:
    """Run one measurement and print it."""
    with projecting(url) as (log, engine):
        runner = Runner(log, engine, opener=partial(projecting, url))
        began, cpu = time.perf_counter(), time.process_time()
        match what:
            case "follow":
                runner.catch_up()
            case "rebuild":
                results = runner.rebuild()
                assert all(one.is_identical for one in results), results
            case "rebuild equal":
                assert all(one.is_identical for one in runner.rebuild([EQUAL]))
            case "verify":
                assert all(one.is_right for one in runner.verify())
        taken, used = time.perf_counter() - began, time.process_time() - cpu
    started = resource.getrusage(resource.RUSAGE_CHILDREN)
    used += started.ru_utime + started.ru_stime
    print(json.dumps({"seconds": taken, "cpu": used, "mb": round(largest_mb())}))


def rebuilding(url: str, log: PostgresLog) -> None:
    """Measure following from the first event, rebuilding and verifying, and the library's runner."""
    head = log.head().seq
    with psycopg.connect(url) as connection:
        server = connection.info.server_version // 10_000
    versions = f"PostgreSQL {server}, eventsourcing {version('eventsourcing')}, Python {sys.version.split()[0]}"
    followed = measured("follow", url)
    rebuilt = measured("rebuild", url)
    arguments = [sys.executable, "-m", "benchmarks.peers.projecting", url, str(PEER_EVENTS_MAX), str(PEER_SECONDS)]
    found = json.loads(subprocess.run(arguments, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
    peer = {"peer": "eventsourcing ProjectionRunner", "peer_value": found["events_s"]}
    beside = f"the peer folds {found['events']:,} of the same events into one of the tables; {versions}"
    note = f"{head:,} events, {len(PROJECTIONS)} projections, one process, {followed['mb']} MB; {beside}"
    line("follow.catch_up", head / followed["seconds"], "events/s", **peer, note=note)
    note = f"{head:,} events, compared and swapped in; {rebuilt['cpu'] / head * 1e6:.1f} µs of our own cores an event, "
    line("rebuild.all", head / rebuilt["seconds"], "events/s", **peer, note=f"{note}{rebuilt['mb']} MB; {beside}")
    equal = measured("rebuild equal", url)
    note = f"{EQUAL} alone, with its history, compared and swapped in; {equal['mb']} MB; {beside}"
    line("rebuild.equal_table", head / equal["seconds"], "events/s", **peer, note=note)
    verified = measured("verify", url)
    line("verify.projections", head / verified["seconds"], "events/s", note=f"{verified['mb']} MB the largest process")
    attesting(url, head)


def attesting(url: str, head: int) -> None:
    """Measure the cost of digests: the same rows built with and without, alternating; the least CPU time of each."""
    used: dict[bool, list[float]] = {True: [], False: []}
    hashing = Lines.hash
    goals = {projection.name: Goal(min(head, ATTESTED_EVENTS_MAX)) for projection in PROJECTIONS}
    gc.disable()
    with projecting(url) as (log, made):
        for turn in range(6):
            Lines.hash = hashing if turn % 2 else lambda self, row: 0  # type: ignore[method-assign]
            with made.connect() as connection:
                builder = begun(log, connection, PROJECTIONS)
                cpu = time.process_time()
                builder.build(goals)
                used[bool(turn % 2)].append(time.process_time() - cpu)
                with connection.begin():
                    for projection in PROJECTIONS:
                        projection.drop(connection, builder.schemas[projection.name])
    Lines.hash = hashing  # type: ignore[method-assign]
    gc.enable()
    events = next(iter(goals.values())).seq
    costs = {how: min(taken) / events * 1e6 for how, taken in used.items()}
    share = (costs[True] / costs[False] - 1) * 100
    line(
        "attestation",
        share,
        "% more CPU",
        note=f"{costs[True]:.2f} µs an event to build with digests, {events:,} events",
    )


def orders_sent(writer: Writer, n: int) -> tuple[int, float]:
    """Send orders from the n-th on, and the venue's reports of them. Return the last seq, and when it was committed."""
    group = writer._group
    assert group is not None
    orders = [order_events(k) for k in range(n, n + VISIBLE_ORDERS)]
    for submitted in [group.submit(Command(submit, "bench")) for submit, _ in orders]:
        submitted.result()
    executed = tuple(report for _, reports in orders for report in reports)
    answers = group.submit(Command(executed, "venue")).result()
    return answers[-1].seq, time.perf_counter()


def visibility(url: str, log: PostgresLog, writer: Writer) -> None:
    """Measure from the return of a commit until the read models have it: a writer here, a follower in another process.

    The first commit, when the follower has just started, is reported separately.
    """
    environment = os.environ | {"DAYBOOK_DATABASE_URL": url}
    follower = subprocess.Popen(
        [sys.executable, "-m", "api.cli", "follow"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    commits: deque[tuple[int, float]] = deque()
    delays: list[float] = []
    is_done = threading.Event()

    def look() -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            while not is_done.is_set() or commits:
                row = connection.execute("SELECT min(seq) FROM read.progress", prepare=True).fetchone()
                seen, now = row[0] if row else 0, time.perf_counter()
                while commits and commits[0][0] <= seen:
                    delays.append((now - commits.popleft()[1]) * 1000)
                time.sleep(0.001)

    runner = Runner(log, engine(url, Role.AUDITOR))
    while not (runner.followers() and runner.wait_for(log.head().seq, 1)):
        time.sleep(0.1)
    looker = threading.Thread(target=look)
    looker.start()
    n = log.head().seq  # more than there are orders
    head, at = orders_sent(writer, n)
    commits.append((head, at))
    while not delays:
        time.sleep(0.01)
    first = delays.pop()
    log_seq, began = head, time.perf_counter()
    while (elapsed := time.perf_counter() - began) < VISIBLE_SECONDS:
        n += VISIBLE_ORDERS
        log_seq, at = orders_sent(writer, n)
        commits.append((log_seq, at))
        time.sleep(max((log_seq - head) / VISIBLE_EVENTS_S - elapsed, 0))
    rate = (log_seq - head) / (time.perf_counter() - began)
    is_done.set()
    looker.join()
    follower.terminate()
    follower.wait()
    delays.sort()
    note = (
        f"p50 {delays[len(delays) // 2]:.1f} ms, worst {delays[-1]:.1f} ms of {len(delays):,} commits "
        f"at {rate:,.0f} events/s, all {len(PROJECTIONS)} projections there; "
        f"{first:.1f} ms the first after the follower's start"
    )
    line("visible.p99", delays[int(len(delays) * 0.99)], "ms", note=note)


def memory(url: str, log: PostgresLog, writer: Writer, events: int) -> None:
    """Measure the largest process of a rebuild, with a log five times as long."""
    before = measured("rebuild", url)["mb"]
    short = log.head().seq
    trade(writer, log, 5 * events)
    measured("follow", url)
    after = measured("rebuild", url)
    long = log.head().seq
    note = f"the largest process; {long:,} events at {long / after['seconds']:,.0f}/s"
    line("memory.rebuild", after["mb"], "MB", peer=f"ours at {short:,} events", peer_value=before, note=note)


def main(events: int) -> None:
    """Run all measurements."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    with desk() as (url, log, writer):
        trade(writer, log, events)
        rebuilding(url, log)
        visibility(url, log, writer)
        memory(url, log, writer, events)


if __name__ == "__main__":
    if "--measure" in sys.argv:
        measure(*sys.argv[2:4])
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 200_000)
