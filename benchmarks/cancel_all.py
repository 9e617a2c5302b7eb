"""Cancel all: how long it takes for many working orders, and what orders of another account wait meanwhile.

`python -m benchmarks.cancel_all [ORDERS]`, on a database of its own.
"""

import sys
import threading
import time
from collections.abc import Iterator
from decimal import Decimal as D
from statistics import median, quantiles

from api.clock import now
from api.daybook import Daybook
from api.intake.stopping.cancel_all import Selection, begun, carried_out
from api.settings import Settings
from benchmarks.servers import server
from domain.account import Costing, OpenAccount
from domain.instrument import Contract, Kind, ListInstrument
from domain.order import OrderKey, OrderTerms, OrdType, SubmitOrder
from domain.values import Side

BTC = "BTCUSDT.SIM"
THREADS = 32
ACTOR = "benchmark"


def order(account_id: str, name: str) -> SubmitOrder:
    """A small limit order."""
    terms = OrderTerms("main", BTC, Side.BUY, OrdType.LIMIT, D("0.01"), D(100))
    return SubmitOrder(OrderKey(account_id, name), terms, now())


def submitted(daybook: Daybook, count: int) -> None:
    """Submit working orders of the account `main`, from many threads."""

    def part(first: int) -> None:
        for number in range(first, count, THREADS):
            daybook.writer.request(order("main", f"A-{number}"), actor=ACTOR)

    threads = [threading.Thread(target=part, args=(first,)) for first in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def waits(daybook: Daybook, is_over: threading.Event, prefix: str) -> Iterator[float]:
    """Yield how long each order of another account waited, in milliseconds, one after the other."""
    number = 0
    while not is_over.is_set():
        started = time.perf_counter()
        daybook.writer.request(order("other", f"{prefix}-{number}"), actor=ACTOR)
        yield (time.perf_counter() - started) * 1000
        number += 1


def shown(name: str, found: list[float]) -> None:
    """Print a distribution."""
    p99 = quantiles(found, n=100)[98]
    print(f"{name}: {len(found)} orders, p50 {median(found):.1f} ms, p99 {p99:.1f} ms, max {max(found):.1f} ms")


def main(count: int) -> None:
    """Measure."""
    with server() as (url, _), Daybook.open(Settings(database_url=url)) as daybook, daybook.leading():
        for account_id in ("main", "other"):
            daybook.writer.request(OpenAccount(account_id, "USDT", Costing(), now()), actor=ACTOR)
        contract = Contract(Kind.SPOT, "BTC", "USDT", "USDT")
        daybook.writer.request(ListInstrument(BTC, contract, D("0.01"), D("0.001")), actor=ACTOR)
        started = time.perf_counter()
        submitted(daybook, count)
        print(f"{count} orders submitted in {time.perf_counter() - started:.1f} s")
        is_over = threading.Event()
        idle: list[float] = []
        timer = threading.Timer(3, is_over.set)
        timer.start()
        idle.extend(waits(daybook, is_over, "I"))
        shown("alone", idle)
        is_over = threading.Event()
        busy: list[float] = []
        thread = threading.Thread(target=lambda: busy.extend(waits(daybook, is_over, "B")))
        thread.start()
        for turn in ("first", "again"):
            started = time.perf_counter()
            request = begun(daybook, Selection("main"), "benchmark", ACTOR)
            selected = time.perf_counter()
            rows = carried_out(daybook, request)
            ended = time.perf_counter()
            took = f"selected in {selected - started:.2f} s, canceled in {ended - selected:.2f} s"
            print(f"{turn}: {len(rows)} orders, {took}")
            if turn == "first":
                is_over.set()
                thread.join()
                shown("meanwhile", busy)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
