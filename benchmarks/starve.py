"""Orders and cheap reads beside expensive ones: `python -m benchmarks.starve [FILLS] [ROUNDS]` (30,000 and 8).

`daybook serve` runs over a log of so many fills, on a server of its own. One client sends orders and one reads
positions, each at a steady rate. In turns of some seconds they are alone, and beside 8 clients with a key each that
send expensive reads all the time: what-if, recosting, explanations, restatements, reports in Parquet, analytics. At the
end of a turn those hang up. A line gives the p99 beside them in ms; the peer is the p99 of the same requests alone.
"""

import http.client
import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from adapters.postgres.scopes import Scope
from api.daybook import Daybook
from api.settings import Settings
from benchmarks.lines import line
from benchmarks.query import ACCOUNTS, INSTRUMENTS, grow, opened
from benchmarks.servers import server

FILLS, ROUNDS = 30_000, 8
GREEDY = 8
TURN_SECONDS = 6.0
SETTLE_SECONDS = 1.0  # between turns, not measured
ORDERS_A_SECOND, READS_A_SECOND = 60, 30
ANSWER_SECONDS_MAX = 90
EXPENSIVE = (
    ("POST", "/v1/what-if", {"method": "AVERAGE"}),
    ("GET", "/v1/positions?method=AVERAGE", None),
    ("GET", "/v1/reports/executions?format=parquet", None),
    ("GET", "/v1/pnl?method=AVERAGE", None),
    ("GET", "/v1/explain/positions?cell=realized", None),
    ("GET", "/v1/pnl/restatement?day=2026-01-02", None),
    ("GET", "/v1/reports/lots?format=csv&method=LIFO", None),
    ("GET", "/v1/statistics", None),
)


class Client:
    """One connection with one key."""

    def __init__(self, url: str, key: str) -> None:
        place = urlsplit(url)
        self._connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=ANSWER_SECONDS_MAX)
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    def send(self, method: str, path: str, body: object = None) -> int:
        """Send a request, read the answer, and return its status."""
        self._connection.request(method, path, None if body is None else json.dumps(body), self._headers)
        answer = self._connection.getresponse()
        answer.read()
        return answer.status

    def close(self) -> None:
        """Hang up, also in the middle of an answer."""
        if (connected := self._connection.sock) is not None:
            connected.shutdown(2)
        self._connection.close()


def greedy(url: str, keys: list[str]) -> None:
    """Send expensive reads over all keys from each line on stdin to the next; at the end write counts by status."""
    counts: dict[str, int] = {}
    for _ in sys.stdin:
        stop = threading.Event()
        clients = [Client(url, key) for key in keys]
        threads = [threading.Thread(target=_send_all, args=(*each, stop, counts)) for each in enumerate(clients)]
        for thread in threads:
            thread.start()
        if not sys.stdin.readline():
            stop.set()
        stop.set()
        for client in clients:
            client.close()
        for thread in threads:
            thread.join()
    print(json.dumps(counts), flush=True)


def _send_all(number: int, client: Client, stop: threading.Event, counts: dict[str, int]) -> None:
    for method, path, body in itertools.cycle(EXPENSIVE[number:] + EXPENSIVE[:number]):
        if stop.is_set():
            return
        try:
            status = client.send(method, path, body)
        except (OSError, http.client.HTTPException):
            if stop.is_set():
                return
            status = 0
        counts[str(status)] = counts.get(str(status), 0) + 1
        if status in (0, 429, 503):
            stop.wait(0.2)


class Steady(threading.Thread):
    """Sends a request at a steady rate while it `is_on`, and keeps the latencies of each kind of turn."""

    def __init__(self, client: Client, a_second: float, requests: Iterator[tuple[str, str, object]]) -> None:
        super().__init__(daemon=True)
        self._client = client
        self._seconds = 1 / a_second
        self._requests = requests
        self.took: list[float] | None = None
        self.is_over = False
        self.failed = 0

    def run(self) -> None:
        """Send until it is over."""
        due = time.perf_counter()
        while not self.is_over:
            due = max(due + self._seconds, time.perf_counter() - self._seconds)
            time.sleep(max(0.0, due - time.perf_counter()))
            began, took = time.perf_counter(), self.took
            status = self._client.send(*next(self._requests))
            self.failed += status >= 400
            if took is not None:
                took.append(time.perf_counter() - began)


def orders() -> Iterator[tuple[str, str, object]]:
    """Yield orders that stay open."""
    for n in itertools.count():
        yield "POST", "/v1/orders", {
            "account_id": ACCOUNTS[n % len(ACCOUNTS)], "cl_ord_id": f"S{n}", "strategy_id": "trend",
            "instrument_id": INSTRUMENTS[n % len(INSTRUMENTS)], "side": "BUY", "order_qty": "1", "price": "50",
        }  # fmt: skip


def positions() -> Iterator[tuple[str, str, object]]:
    """Yield the same cheap read again and again."""
    yield from itertools.repeat(("GET", "/v1/positions", None))


@contextmanager
def served(settings: Settings) -> Iterator[tuple[str, int]]:
    """Yield the URL and the process id of `daybook serve` in a process of its own."""
    environment = os.environ | {
        "DAYBOOK_DATABASE_URL": settings.url or "", "DAYBOOK_HOME": str(settings.home), "DAYBOOK_LOG_LEVEL": "error",
        "DAYBOOK_KEY_CACHE_SECONDS": "60",
    }  # fmt: skip
    command = [sys.executable, "-m", "api.cli", "serve", "--port", "0", "--json"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as serving:
        assert serving.stdout is not None
        try:
            yield json.loads("".join(iter(serving.stdout.readline, "}\n")) + "}")["url"], serving.pid
        finally:
            serving.terminate()


def measured(url: str, keys: list[str], rounds: int) -> tuple[dict[str, list[list[float]]], dict[str, int], int]:
    """Return latencies of orders and reads, alone and beside; how the expensive reads were answered; and failures."""
    command = [sys.executable, "-m", "benchmarks.starve", "greedy", url, *keys[1:]]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as crowd:
        assert crowd.stdin is not None
        steady = {
            "order": Steady(Client(url, keys[0]), ORDERS_A_SECOND, orders()),
            "positions": Steady(Client(url, keys[0]), READS_A_SECOND, positions()),
        }
        took: dict[str, list[list[float]]] = {name: [[], []] for name in steady}
        for one in steady.values():
            one.start()
        for turn in range(2 * rounds):
            if turn:
                print(file=crowd.stdin, flush=True)  # on, then off
            time.sleep(SETTLE_SECONDS)
            for name, one in steady.items():
                one.took = took[name][turn % 2]
            time.sleep(TURN_SECONDS)
            for one in steady.values():
                one.took = None
        counts, _ = crowd.communicate()
        for one in steady.values():
            one.is_over = True
            one.join()
    return took, json.loads(counts), sum(one.failed for one in steady.values())


def percentile(took: list[float], part: float) -> float:
    """Return a percentile in ms."""
    return sorted(took)[int(part * (len(took) - 1))] * 1000


def main(fills: int, rounds: int) -> None:
    """Measure, and print a line for orders and one for reads."""
    with server() as (url, home):
        settings = Settings(database_url=url, home=Path(home))  # type: ignore[arg-type]
        with Daybook.open(settings) as book:
            with opened(book):
                grow(book, 0, fills)
            keys = [book.keys.issue(f"client{n}", [Scope.TRADE, Scope.AUDIT]) for n in range(GREEDY + 1)]
        with served(settings) as (service, _):
            took, counts, failed = measured(service, keys, rounds)
    print(f"expensive reads by status: {counts}; failed orders and cheap reads: {failed}", file=sys.stderr)
    for name, (alone, beside) in took.items():
        note = (
            f"p50 {percentile(alone, 0.5):.2f} alone, {percentile(beside, 0.5):.2f} beside; {len(beside)} requests;"
            f" expensive reads {counts}"
        )
        line(
            f"{name}, p99 beside {GREEDY} clients of expensive reads", percentile(beside, 0.99), "ms",
            peer="alone", peer_value=percentile(alone, 0.99), note=note,
        )  # fmt: skip


if __name__ == "__main__":
    if sys.argv[1:2] == ["greedy"]:
        greedy(sys.argv[2], sys.argv[3:])
    else:
        given = [int(text.replace("_", "")) for text in sys.argv[1:]]
        main(*(given + [FILLS, ROUNDS][len(given) :]))
