"""Histories that arrive late: `python -m benchmarks.backfill [FILLS]` (40,000 unless given).

A desk's fills of one position, a second apart, through the whole domain into a server of its own with fsync on, by
batches as an import sends them: in order; the older half after the newer one; back to front. Then ten late fills, one
after the other, of a position of `DEEP` fills, and a hundred more: how long ten take, and by how much the log and the
database grow while read models follow; ten fills in order beside them. Peer of the rates: the same fills in order, in
the same run.
"""

import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from decimal import Decimal as D
from functools import cache

import psycopg
import structlog

from adapters.log.postgres import PostgresLog
from adapters.writer.writer import Writer
from api.daybook import projecting
from benchmarks import desk
from benchmarks.lines import line
from benchmarks.servers import server
from domain.account import CostBasis, Costing, OpenAccount
from domain.instrument import Contract, Kind, ListInstrument
from domain.ledger import Command
from domain.order import OrderFilled, OrderKey
from domain.values import Liquidity, Money, Side
from projections.runner.gc_pauses import short_pauses
from projections.runner.runner import Runner

FILLS = 40_000
DEEP = 100_000
LATE = 10
MORE = 100
SIZE = 500
AHEAD_MAX = 4
SECONDS_APART = 1
BTC = "BTCUSDT.SIM"
BASES = (CostBasis.AVERAGE, CostBasis.FIFO)


@cache
def drawn(count: int) -> tuple[tuple[Side, D, D], ...]:
    """Sides, quantities and prices of a desk that trades both ways."""
    rng = random.Random(7)
    return tuple(
        (
            rng.choice((Side.BUY, Side.BUY, Side.SELL, Side.SELL)),
            D(rng.randint(1, 400)) / 100,
            D(rng.randint(9_500_000, 9_900_000)) / 100,
        )
        for _ in range(count)
    )


def fill(account_id: str, n: int, count: int, at: datetime | None = None, prefix: str = "E") -> OrderFilled:
    """The n-th fill of a history."""
    side, quantity, price = drawn(count)[n]
    return OrderFilled(
        OrderKey(account_id, f"{prefix}{n}"), "trend", BTC, "", side, f"{prefix}{n}", n, quantity, price,
        Money(D("0.02"), "USDT"), Liquidity.TAKER, at or desk.T0 + timedelta(seconds=n * SECONDS_APART),
    )  # fmt: skip


class Desk:
    """Sends histories, each of an account of its own."""

    def __init__(self, url: str, log: PostgresLog, writer: Writer) -> None:
        self._url, self.log, self._writer = url, log, writer
        self._accounts = 0
        spot = Contract(Kind.SPOT, "BTC", "USDT", "USDT")
        writer.request(ListInstrument(BTC, spot, D("0.01"), D("0.001")), actor="bench")

    def account(self, basis: CostBasis) -> str:
        """A new account."""
        self._accounts += 1
        name = f"desk{self._accounts}"
        self._writer.request(OpenAccount(name, "USDT", Costing(basis), desk.T0), actor="bench")
        return name

    def send(self, account_id: str, order: Sequence[int], size: int = SIZE) -> float:
        """Report fills in the order of their numbers; the seconds it takes until all are on record."""
        count = max(order) + 1
        group = self._writer._group
        assert group is not None
        commands = [
            Command(tuple(fill(account_id, n, count) for n in order[at : at + size]), "venue")
            for at in range(0, len(order), size)
        ]
        began = time.perf_counter()
        waiting = []
        for command in commands:
            waiting.append(group.submit(command))
            if len(waiting) > AHEAD_MAX:
                waiting.pop(0).result()
        for one in waiting:
            one.result()
        return time.perf_counter() - began

    def sizes(self) -> tuple[int, int]:
        """Bytes of events in the log, and of the database on disk."""
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute("CHECKPOINT")
            row = connection.execute(
                "SELECT coalesce(sum(length(state)), 0), pg_database_size(current_database()) FROM ledger.events"
            ).fetchone()
        assert row is not None
        return int(row[0]), int(row[1])

    def one_by_one(self, fills: Sequence[OrderFilled]) -> float:
        """Report fills, each by itself; the seconds it takes."""
        began = time.perf_counter()
        for one in fills:
            (answer,) = self._writer.report([one], actor="venue")
            assert answer.error is None
        return time.perf_counter() - began


@contextmanager
def opened() -> Iterator[tuple[str, Desk]]:
    """A durable server, and a desk."""
    with server() as (url, _), PostgresLog(url) as log:
        writer = Writer(log, desk.now)
        with short_pauses(), writer.leading(url):  # as `daybook serve` leads
            yield url, Desk(url, log, writer)


def rates(trader: Desk, fills: int, basis: CostBasis) -> None:
    """The same fills in order, the older half after the newer one, and back to front."""
    half, numbers = fills // 2, list(range(fills))
    backwards = [n for at in range(fills - SIZE, -1, -SIZE) for n in numbers[at : at + SIZE]]
    ways = {"in_order": numbers, "late_half": numbers[half:] + numbers[:half], "back_to_front": backwards}
    found = {way: fills / trader.send(trader.account(basis), order) for way, order in ways.items()}
    for way, rate in found.items():
        line(
            f"backfill.{way}.{basis.value}", rate, "fills/s", peer="in order", peer_value=found["in_order"],
            note=f"{fills} fills of one position, {SECONDS_APART} s apart, {SIZE} a report, fsync on",
        )  # fmt: skip


def deep(url: str, trader: Desk, count: int, basis: CostBasis) -> None:
    """Ten late fills of a position of so many, one after the other, beside ten in order."""
    account_id = trader.account(basis)
    trader.send(account_id, list(range(count)))
    with projecting(url) as (log, projector):
        runner = Runner(log, projector)
        runner.catch_up()

        def measured(name: str, fills: Sequence[OrderFilled], note: str) -> None:
            tens = len(fills) / LATE
            before = trader.sizes()
            cpu = time.process_time()
            seconds = trader.one_by_one(fills)
            cpu = time.process_time() - cpu
            began = time.perf_counter()
            runner.catch_up()
            following = time.perf_counter() - began
            after = trader.sizes()
            note = f"ten of {len(fills)} fills, one a report, {note} of a position of {count}"
            note += f"; processor {cpu / tens:.2f} s; read models {following / tens:.2f} s"
            log_kb, disk_kb = ((now - then) / 1000 / tens for then, now in zip(before, after, strict=True))
            line(f"backfill.{name}.{basis.value}.seconds", seconds / tens, "s", note=note)
            line(f"backfill.{name}.{basis.value}.log", log_kb, "kB", note="bytes of events")
            line(f"backfill.{name}.{basis.value}.disk", disk_kb, "kB", note="growth of the database")

        last = desk.T0 + timedelta(seconds=count * SECONDS_APART)
        in_order = [fill(account_id, n, count, last + timedelta(seconds=n), "N") for n in range(LATE)]
        late = [fill(account_id, n, count, desk.T0 + timedelta(seconds=n + 0.5), "L") for n in range(LATE)]
        measured("ten_in_order", in_order, "behind the last")
        more = [fill(account_id, n, count, desk.T0 + timedelta(seconds=n + 0.5), "M") for n in range(LATE, MORE + LATE)]
        measured("ten_late", late, "before nearly all")
        measured("more_late", more, "before nearly all, after the first ten,")


def main(fills: int, count: int) -> None:
    """All of it."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    works: list[Callable[[str, Desk], None]] = []
    works += [lambda _, trader, basis=basis: rates(trader, fills, basis) for basis in BASES]  # type: ignore[misc]
    works += [lambda url, trader, basis=basis: deep(url, trader, count, basis) for basis in BASES]  # type: ignore[misc]
    for work in works:
        with opened() as (url, trader):
            work(url, trader)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else FILLS, int(sys.argv[2]) if len(sys.argv) > 2 else DEEP)
