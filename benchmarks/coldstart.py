"""Cold starts: `python -m benchmarks.coldstart [EVENTS]` (1,000,000 unless given), on a server of its own, fsync on.

A desk trades until EVENTS events are recorded, through the whole domain by group commit: orders of eight fills, three
positions of which one has more than half of all fills, an account with limits. Then, each time in a new process, the
time is measured from its start until it leads, until a first order is answered, and the first fill of the longest
position; with the snapshots that the writer has stored, and with all of them deleted. Memory is the resident size of
that process, of the writer that made the history at each tenth of it, and of the verifier and an export at the end.
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import psycopg
import structlog

from adapters.log.postgres import PostgresLog
from adapters.proof.sealer import Sealer
from adapters.verify.bundles import export
from adapters.verify.verification import verify
from adapters.writer.writer import Writer
from benchmarks.lines import largest_mb, line
from benchmarks.servers import server
from domain.account import CostBasis, Costing, OpenAccount
from domain.instrument import Contract, Kind, ListInstrument
from domain.ledger import Command
from domain.order import OrderFilled, OrderKey, OrderTerms, OrdType, SubmitOrder
from domain.risk import Measure, Scope, SetLimit
from domain.values import Liquidity, Money, Side

EVENTS = 1_000_000
T0 = datetime(2026, 1, 2, tzinfo=UTC)
BTC = "BTCUSDT.SIM"
STRATEGIES = ("trend", "trend", "trend", "trend", "maker", "hedge")
FILLS_AN_ORDER = 8
ORDERS_A_TURN = 60
ORDERS_KEPT = 100  # the first ones all buy and leave lots open
AHEAD_MAX = 6
ANSWER_SECONDS_MAX = 3600
STORED = "SELECT count(*) || ' snapshots, ' || sum(length(state)) || ' bytes' FROM ledger.snapshots"
LONGEST = "position:main:trend:BTCUSDT.SIM"


def now() -> datetime:
    return datetime.now(UTC)


def side_of(n: int) -> Side:
    """Alternate between buys and sells, so that the position turns over."""
    return Side.SELL if n % 2 and n >= ORDERS_KEPT else Side.BUY


def submitted(n: int) -> SubmitOrder:
    """Return the n-th order."""
    terms = OrderTerms(STRATEGIES[n // 2 % 6], BTC, side_of(n), OrdType.LIMIT, order_qty=D(2), price=D(97_500))
    return SubmitOrder(OrderKey("main", f"O{n}"), terms, T0 + timedelta(milliseconds=n))


def fills(n: int) -> list[OrderFilled]:
    """Return all fills of an order."""
    return [
        OrderFilled(
            key=OrderKey("main", f"O{n}"),
            strategy_id=STRATEGIES[n // 2 % 6],
            instrument_id=BTC,
            order_id=f"V{n}",
            side=side_of(n),
            exec_id=f"E{n}-{k}",
            trade_seq=n * 10 + k,
            last_qty=D("0.25"),
            last_px=D(97_000 + (n * 7 + k) % 1000),
            commission=Money(D("0.02"), "USDT"),
            liquidity=Liquidity.TAKER,
            transact_time=T0 + timedelta(milliseconds=n * 10 + k),
        )
        for k in range(FILLS_AN_ORDER)
    ]


def resident_mb() -> float:
    """Return the current resident size of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def desk(writer: Writer) -> None:
    """Open an account with limits, and list an instrument."""
    costing = Costing(CostBasis.FIFO)
    writer.request(OpenAccount("main", "USDT", costing, T0), actor="bench")
    writer.request(ListInstrument(BTC, Contract(Kind.SPOT, "BTC", "USDT", "USDT"), D("0.01"), D("0.01")), actor="bench")
    for strategy in set(STRATEGIES):
        limit = SetLimit(
            "main", Scope(strategy, BTC), Measure.MAX_POSITION, limit=D(10**6), currency=None, transact_time=T0
        )
        writer.request(limit, actor="bench")


def trade(url: str, events: int) -> None:
    """Run the writer that makes the history; print a line of JSON at each tenth of it."""
    with PostgresLog(url) as log:
        writer = Writer(log, now)
        with writer.leading(url) as group:
            desk(writer)
            n, printed, waiting = 0, 0, list[Future[Any]]()
            while (head := log.head().seq) < events:
                if head * 10 // events > printed:
                    printed = head * 10 // events
                    print(json.dumps({"events": head, "mb": resident_mb()}), flush=True)
                turn = range(n, n + ORDERS_A_TURN)
                waiting += [group.submit(Command(submitted(k), "bench")) for k in turn]
                waiting.append(group.submit(Command(tuple(fill for k in turn for fill in fills(k)), "venue")))
                n += ORDERS_A_TURN
                while len(waiting) > AHEAD_MAX * ORDERS_A_TURN:
                    waiting.pop(0).result()
            for one in waiting:
                one.result()
            log.snapshots.flush(60)
            print(json.dumps({"events": log.head().seq, "mb": resident_mb()}), flush=True)


def start(url: str, began: float, n: int) -> None:
    """Run a new process: print the seconds since `began` until it leads, and answers."""
    with PostgresLog(url) as log:
        writer = Writer(log, now)
        with writer.leading(url) as group:
            group._leading.wait(60)
            leads, before = time.time() - began, resident_mb()
            group.submit(Command(submitted(n), "bench")).result(ANSWER_SECONDS_MAX)
            ordered = time.time() - began
            filled = group.submit(Command(tuple(fills(n)[:1]), "venue")).result(ANSWER_SECONDS_MAX)
            answered = time.time() - began
            assert filled[0].records
            times = {"leads": leads, "order": ordered, "fill": answered, "before": before, "after": resident_mb()}
            print(json.dumps(times), flush=True)


def in_process(*arguments: object) -> Iterator[dict[str, float]]:
    """Run this module in another process, and yield the objects that it prints."""
    command = [sys.executable, "-m", "benchmarks.coldstart", *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield from map(json.loads, process.stdout)
    assert process.returncode == 0, f"{command} failed"


def one(connection: psycopg.Connection[Any], query: str, *params: object) -> Any:
    row = connection.execute(query, params).fetchone()  # type: ignore[arg-type]
    return row[0] if row else None


def cold(url: str, how: str, first: int) -> dict[str, float]:
    """Measure and print a start."""
    (found,) = in_process("start", url, time.time(), first)
    note = f"leads after {found['leads']:.2f} s, order answered {found['order']:.2f} s; {how}"
    line("coldstart.first_fill", found["fill"], "s", note=note)
    line("coldstart.memory", found["after"], "MB", note=f"resident, {found['before']:.0f} MB when it leads; {how}")
    return found


def audit(url: str, home: Path, events: int) -> None:
    """Measure the memory of the sealer, the verifier and an export, each in a process of its own."""
    for name in ("seal", "verify", "export"):
        began = time.perf_counter()
        (found,) = in_process(name, url, home)
        taken = time.perf_counter() - began
        line(f"memory.{name}", found["mb"], "MB", note=f"largest resident size, {events:,} events in {taken:.0f} s")


def audited(name: str, url: str, home: Path) -> None:
    match name:
        case "seal":
            Sealer(url, home).seal()
        case "verify":
            assert verify(url).finding is None
        case _:
            export(url, home / "all.bundle")
            (home / "all.bundle").unlink()
    print(json.dumps({"mb": largest_mb()}), flush=True)


def main(events: int) -> None:
    """Run all measurements."""
    with server() as (url, home), psycopg.connect(url, autocommit=True) as connection:
        began = time.perf_counter()
        sizes = [(int(found["events"]), found["mb"]) for found in in_process("trade", url, events)]
        taken = time.perf_counter() - began
        head = sizes[-1][0]
        by_size = ", ".join(f"{mb:.0f} at {at:,}" for at, mb in sizes)
        line("writer.memory", sizes[-1][1], "MB", peer="at a tenth", peer_value=sizes[0][1],
             note=f"resident: {by_size}; {head / taken:,.0f} events/s")  # fmt: skip
        count = "SELECT max(originator_version) FROM ledger.events WHERE originator_id = %s"
        longest, limit = one(connection, count, LONGEST), one(connection, count, "limit:main")
        stored = one(
            connection, "SELECT count(*) || ' snapshots, ' || sum(length(state)) || ' bytes' FROM ledger.snapshots"
        )
        orders = one(connection, "SELECT count(*) FROM ledger.events WHERE topic = 'OrderSubmitted'")
        history = f"{head:,} events, {longest:,} in the position, {limit:,} in the limits"
        cold(url, f"{history}; {stored}", orders)
        cold(url, f"{history}; once more", orders + 1)
        connection.execute("DELETE FROM ledger.snapshots")
        cold(url, f"{history}; all snapshots deleted", orders + 2)
        cold(url, f"{history}; the start after that", orders + 3)
        audit(url, home, head)


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    match sys.argv[1:]:
        case ["trade", url, events]:
            trade(url, int(events))
        case ["start", url, began, n]:
            start(url, float(began), int(n))
        case ["seal" | "verify" | "export" as name, url, home]:
            audited(name, url, Path(home))
        case [events]:
            main(int(events))
        case _:
            main(int(os.environ.get("DAYBOOK_BENCH_EVENTS", EVENTS)))
