"""Tamper evidence: how fast a log is sealed and verified, how long a proof takes, and what sealing costs the writer.

Run as `python -m benchmarks.verify [EVENTS]` (1,000,000 by default), on a server of its own with fsync on. The peer of
verification is a bare binary COPY of the same rows out of the same table: the upper bound. Memory is the largest
resident size of any verifying process.
"""

import os
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from time import perf_counter, process_time

import psycopg
from msgspec.structs import replace

from adapters.log.postgres import PostgresLog
from adapters.postgres import connections
from adapters.postgres.connections import Role
from adapters.proof.proofs import Proofs
from adapters.proof.sealer import Sealer
from adapters.verify.range_check import COPY, copied
from adapters.verify.verification import verify
from benchmarks.domain import order_fills
from benchmarks.lines import largest_mb, line
from benchmarks.servers import server
from domain.ledger import Recorded
from domain.order import OrderFilled, OrderKey, stream

EVENTS = 1_000_000
BATCH = 5_000
APPENDS_FOR_COST = 60
T0 = datetime(2026, 1, 2, tzinfo=UTC)


def batch(template: OrderFilled, first: int) -> list[Recorded]:
    """Return a batch of fills, four per order."""
    records = []
    for n in range(first, first + BATCH):
        key = OrderKey("main", f"A-{n // 4}")
        event = replace(template, key=key, exec_id=f"E{n:08}", trade_seq=n)
        at = T0 + timedelta(milliseconds=n // 20)
        records.append(Recorded(stream(key), n % 4 + 1, at, "venue", request_id="r1", event=event))
    return records


def fill(log: PostgresLog, upto: int) -> None:
    """Append until the log has `upto` events."""
    template = order_fills(1)[0]
    for first in range(log.head().seq, upto, BATCH):
        log.append(batch(template, first))


def cost_of_sealing(log: PostgresLog, url: str, home: Path) -> None:
    """Measure the same appends without and with a running sealer, alternating."""
    template = order_fills(1)[0]
    seconds = {False: 0.0, True: 0.0}
    late: list[float] = []
    for turn in range(APPENDS_FOR_COST):
        is_sealed = turn % 6 >= 3
        stop = threading.Event()
        thread = threading.Thread(target=Sealer(url, home).follow, args=[stop])
        if is_sealed:
            thread.start()
            _sealed_after(url, log.head().seq)
            threading.Event().wait(0.2)
        records = batch(template, log.head().seq)
        began = perf_counter()
        log.append(records)
        seconds[is_sealed] += perf_counter() - began
        if is_sealed:
            late.append(_sealed_after(url, log.head().seq))
            stop.set()
            thread.join()
    rates = {how: APPENDS_FOR_COST / 2 * BATCH / taken for how, taken in seconds.items()}
    line("append with sealing", rates[True], "events/s", peer="append without", peer_value=rates[False],
         note=f"batches of {BATCH}, in one process")  # fmt: skip
    line("checkpoint after commit", max(late) * 1000, "ms", note=f"the latest of {len(late)}")


def _sealed_after(url: str, size: int) -> float:
    began = perf_counter()
    with psycopg.connect(url, autocommit=True) as connection:
        while not connection.execute("SELECT 1 FROM ledger.checkpoints WHERE size >= %s", [size]).fetchone():
            if perf_counter() - began > 30:
                return perf_counter() - began
            threading.Event().wait(0.005)
    return perf_counter() - began


def sealing(url: str, home: Path, events: int) -> None:
    """Measure sealing a log that was not sealed before."""
    began, cpu = perf_counter(), process_time()
    Sealer(url, home).seal()
    taken, used = perf_counter() - began, process_time() - cpu
    line("seal", events / taken, "events/s", note=f"{used / events * 1e6:.2f} µs of our own core an event")


def verifying(url: str, events: int) -> None:
    """Measure verifying the whole log, and the bare COPY."""
    with connections.connect(url, Role.AUDITOR, statement_seconds_max=3600) as connection:
        began = perf_counter()
        rows = sum(1 for _ in copied(connection, COPY.format(0, events)))
        floor = rows / (perf_counter() - began)
    began, before = perf_counter(), os.times()
    found = verify(url)
    taken, after = perf_counter() - began, os.times()
    used = sum(after[:4]) - sum(before[:4])
    assert found.finding is None, found.finding
    note = (
        f"{found.last:,} events, {found.checkpoints} checkpoints; {used / found.last * 1e6:.2f} µs of our own cores an "
        f"event; {largest_mb():.0f} MB the largest process"
    )
    line("verify", found.last / taken, "events/s", peer="binary COPY out, one core", peer_value=floor, note=note)


def proving(log: PostgresLog) -> None:
    """Measure one proof at a time, of random events, with nothing cached between them."""
    proofs, draw, size = Proofs(log.recorder.datastore.connections), Random(1), log.head().seq
    for name, prove in (
        ("inclusion proof", lambda: proofs.inclusion(draw.randint(1, size))),
        ("consistency proof", lambda: proofs.consistency(draw.randint(1, size))),
    ):
        taken = []
        for _ in range(200):
            began = perf_counter()
            prove()
            taken.append((perf_counter() - began) * 1000)
        taken.sort()
        line(name, taken[99], "ms", note=f"p50 of 200 at {size:,} events; p99 {taken[197]:.2f} ms")


def main(events: int) -> None:
    """Run all measurements."""
    with server() as (url, home), PostgresLog(url) as log:
        cost_of_sealing(log, url, home)
        before = log.head().seq
        fill(log, max(events, before + 10 * BATCH))
        sealing(url, home, log.head().seq - before)
        verifying(url, log.head().seq)
        proving(log)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else EVENTS)
