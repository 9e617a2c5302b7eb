"""Memory of a service under a steady load: `python -m benchmarks.memory [MINUTES] [FILLS_A_SECOND]` (30 and 12).

`daybook serve` runs on a server of its own. One client sends an order, its acceptance and its fill so many times a
second, posts a mark a second, and reads a page of each kind in turn once a second; every half minute it requests
something expensive. Each minute the resident and the private memory of the service, of its worker processes and of
PostgreSQL is written to stderr. A line gives the growth of the service over the second half, in MB a minute: a line
fitted to its samples by least squares. The first half fills caches.
"""

import itertools
import json
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from adapters.postgres.scopes import Scope
from api.daybook import Daybook
from api.settings import Settings
from benchmarks.lines import line
from benchmarks.query import ACCOUNTS, INSTRUMENTS, opened
from benchmarks.servers import server
from benchmarks.starve import Client, served

MINUTES, FILLS_A_SECOND = 30.0, 12.0
SAMPLE_SECONDS = 10.0
FLAT_MB = 0.2  # a minute
TURN = len(ACCOUNTS) * len(INSTRUMENTS)  # fills of one side before as many of the other
READS = (
    "/v1/positions", "/v1/orders?limit=100", "/v1/executions?limit=100", "/v1/pnl", "/v1/exposure", "/v1/balances",
    "/v1/events?limit=100", "/ready", "/metrics", "/v1/limits", "/v1/lots?limit=100", "/v1/breaks",
)  # fmt: skip
EXPENSIVE = ("/v1/positions?method=AVERAGE", "/v1/explain/positions?cell=realized", "/v1/reports/positions?format=csv")


class Sample(NamedTuple):
    """MB at a moment: resident memory of the service, its private part, that of its workers, and of PostgreSQL."""

    minute: float
    service: float
    private: float
    workers: float
    postgres: float


def fills(number: Iterator[int], client: Client) -> None:
    """Send an order, its acceptance and its fill."""
    n = next(number)
    account, instrument = ACCOUNTS[n % len(ACCOUNTS)], INSTRUMENTS[n % len(INSTRUMENTS)]
    side, at = "SELL" if n // TURN % 2 else "BUY", datetime.now(UTC).isoformat()  # so what was bought is sold again
    key = {"account_id": account, "cl_ord_id": f"M{n}"}
    order = key | {"strategy_id": "trend", "instrument_id": instrument, "side": side, "order_qty": "1", "price": "100"}
    client.send("POST", "/v1/orders", order)
    accepted = key | {"type": "accepted", "order_id": f"V{n}", "transact_time": at}
    filled = key | {
        "type": "filled", "order_id": f"V{n}", "strategy_id": "trend", "instrument_id": instrument, "side": side,
        "exec_id": f"E{n}", "trade_seq": n, "last_qty": "1", "last_px": str(100 + n % 50), "liquidity": "TAKER",
        "commission": {"amount": "0.1", "currency": "USDT"}, "transact_time": at,
    }  # fmt: skip
    client.send("POST", "/v1/venue-reports", {"reports": [accepted]})
    if client.send("POST", "/v1/venue-reports", {"reports": [filled]}) != 200:
        raise RuntimeError("a fill was not accepted")


def steadily(work: Iterator[None], a_second: float, stop: threading.Event) -> None:
    """Do a step of the work so many times a second until stopped. Steps that are late are made up for."""
    due = time.monotonic()
    while not stop.is_set():
        due = max(due + 1 / a_second, time.monotonic() - 1)
        stop.wait(max(0.0, due - time.monotonic()))
        next(work)


def trading(client: Client, counted: "itertools.count[int]") -> Iterator[None]:
    """Trade."""
    while True:
        yield fills(counted, client)


def reading(client: Client) -> Iterator[None]:
    """Post a mark and read a page each time; something expensive every thirtieth."""
    for n, path in enumerate(itertools.cycle(READS)):
        price, at = str(100 + n % 50), datetime.now(UTC).isoformat()
        marks = [{"instrument_id": name, "price": price, "mark_at": at, "source": "bench"} for name in INSTRUMENTS]
        answers = {"marks": client.send("POST", "/v1/marks", {"marks": marks}), path: client.send("GET", path)}
        if n % 30 == 29:
            expensive = EXPENSIVE[n // 30 % len(EXPENSIVE)]
            answers[expensive] = client.send("GET", expensive)
        if wrong := {place: status for place, status in answers.items() if 400 <= status < 500}:
            raise RuntimeError(f"not answered: {wrong}")
        yield


def sampled(pid: int, postmaster: int, began: float) -> Sample:
    """Return the memory of the service, of what it has started, and of PostgreSQL."""
    minute = (time.monotonic() - began) / 60
    workers, postgres = sum(map(_private_mb, _below(pid))), sum(map(_private_mb, [postmaster, *_below(postmaster)]))
    return Sample(minute, _kb(pid, "status", "VmRSS:") / 1024, _private_mb(pid), workers, postgres)


def _kb(pid: int, file: str, name: str) -> int:
    try:
        found = Path(f"/proc/{pid}/{file}").read_text().partition(name)[2].split()
    except OSError:
        return 0
    return int(found[0]) if found else 0


def _private_mb(pid: int) -> float:
    return sum(_kb(pid, "smaps_rollup", name) for name in ("Private_Clean:", "Private_Dirty:")) / 1024


def _below(pid: int) -> list[int]:
    found = []
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(place.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == pid:
            found += [int(place.parent.name), *_below(int(place.parent.name))]
    return found


def slope(samples: list[Sample]) -> float:
    """Return the growth of the service in MB a minute."""
    return statistics.linear_regression([one.minute for one in samples], [one.service for one in samples]).slope


def measured(service: str, key: str, pid: int, postmaster: int, *, minutes: float, a_second: float) -> list[Sample]:
    """Trade and read for so many minutes. Return the samples."""
    stop, counted, began = threading.Event(), itertools.count(), time.monotonic()
    work = [(trading(Client(service, key), counted), a_second), (reading(Client(service, key)), 1.0)]
    threads = [threading.Thread(target=steadily, args=(*each, stop), daemon=True) for each in work]
    for thread in threads:
        thread.start()
    samples: list[Sample] = []
    while time.monotonic() < began + minutes * 60 and all(thread.is_alive() for thread in threads):
        time.sleep(SAMPLE_SECONDS)
        samples.append(one := sampled(pid, postmaster, began))
        if len(samples) % round(60 / SAMPLE_SECONDS) == 0:
            print(
                f"minute {one.minute:.0f}: service {one.service:.1f} MB, private {one.private:.1f}, workers "
                f"{one.workers:.1f}, PostgreSQL {one.postgres:.1f}", file=sys.stderr, flush=True,
            )  # fmt: skip
    stop.set()
    for thread in threads:
        thread.join()
    print(f"{next(counted)} fills", file=sys.stderr)
    return samples


def main(minutes: float, a_second: float) -> None:
    """Measure, and print a line."""
    with server() as (url, home):
        settings = Settings(database_url=url, home=Path(home))  # type: ignore[arg-type]
        with Daybook.open(settings) as book:
            with opened(book):
                pass
            key = book.keys.issue("client", [Scope.TRADE, Scope.AUDIT, Scope.REPORT])
        postmaster = int((home / "postgres" / "data" / "postmaster.pid").read_text().split()[0])
        with served(settings) as (service, pid):
            samples = measured(service, key, pid, postmaster, minutes=minutes, a_second=a_second)
    half = samples[len(samples) // 2 :]
    line(
        f"growth of serve at {a_second:g} fills/s, from minute {half[0].minute:.0f} to {half[-1].minute:.0f}",
        slope(half), "MB/min", peer="flat", peer_value=FLAT_MB,
        note=json.dumps({"first": samples[0]._asdict(), "half": half[0]._asdict(), "last": half[-1]._asdict()}),
    )  # fmt: skip


if __name__ == "__main__":
    given = [float(text) for text in sys.argv[1:]]
    main(*(given + [MINUTES, FILLS_A_SECOND][len(given) :]))
