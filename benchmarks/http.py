"""Orders over HTTP beside a no-op of the same server: `python -m benchmarks.http [SECONDS] [ROUNDS]` (2 and 10).

`daybook serve`'s application runs in a process of its own, on a server of its own with fsync on, with one more route:
`POST /v1/no-op` takes the same body through the same middleware, and records nothing. A client in another process keeps
64 connections busy, or one, and sends orders and no-ops in turns. A line gives the orders' figure; the peer is that of
the no-op. For one client the note has the time of one durable commit, measured in the same run: the target is twice the
no-op and one commit.
"""

import asyncio
import contextlib
import itertools
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.lines import line

SECONDS, ROUNDS = 2.0, 10
CLIENTS = 64
COMMITS = 300  # a round
WARM_SECONDS = 4.0  # by then the companion is ready
SETTLE_SECONDS = 0.3  # between turns, not measured
ORDERS, NO_OP = "/v1/orders", "/v1/no-op"
ACCOUNTS = ("north", "south", "east", "west")
INSTRUMENT = "BTCUSDT.BINANCE"


class Sender:
    """Connections that each send one request after the other."""

    def __init__(self, url: str, key: str) -> None:
        place = urlsplit(url)
        self._host, self._port = place.hostname or "", place.port or 80
        head = f"Host: {place.netloc}\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"
        self._heads = {path: f"POST {path} HTTP/1.1\r\n{head}Content-Length: " for path in (ORDERS, NO_OP)}
        self._numbers = itertools.count()

    async def turn(self, path: str, clients: int, seconds: float) -> list[float]:
        """Send for so long; return the latency of each answer in seconds. Raises OSError for one that is no 2xx."""
        until = time.perf_counter() + seconds
        took = await asyncio.gather(*(self._client(path, until) for _ in range(clients)))
        return list(itertools.chain.from_iterable(took))

    async def _client(self, path: str, until: float) -> list[float]:
        reader, writer = await asyncio.open_connection(self._host, self._port)
        took = []
        while (began := time.perf_counter()) < until:
            writer.write(self._request(path))
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.lower().partition(b"content-length:")[2].partition(b"\r")[0]))
            if head[9:10] != b"2":
                raise OSError(head.decode())
            took.append(time.perf_counter() - began)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return took

    def _request(self, path: str) -> bytes:
        number = next(self._numbers)
        body = json.dumps({
            "account_id": ACCOUNTS[number % len(ACCOUNTS)], "cl_ord_id": f"O{os.getpid()}-{number}", "side": "BUY",
            "strategy_id": "trend", "instrument_id": INSTRUMENT, "order_qty": "0.25", "price": "97500.10",
        })  # fmt: skip
        return f"{self._heads[path]}{len(body)}\r\n\r\n{body}".encode()


async def send(url: str, key: str) -> None:
    """Take turns as lines on stdin name them; write the latencies of each in ms, as JSON."""
    sender = Sender(url, key)
    loop = asyncio.get_running_loop()
    while line_in := await loop.run_in_executor(None, sys.stdin.readline):
        path, clients, seconds = json.loads(line_in)
        print(json.dumps([round(each * 1000, 3) for each in await sender.turn(path, clients, seconds)]), flush=True)


def serve() -> None:
    """Serve the application with the no-op; write URL and API key as JSON."""
    import uvicorn

    from adapters.postgres.scopes import Scope
    from api.daybook import Daybook
    from api.http.auth import Trader
    from api.http.dependencies import answer
    from api.http.server import configured
    from api.intake import requests_http
    from api.intake.requests import Listing, opening
    from api.main import create_app
    from api.settings import Settings
    from api.terminal.logs import log_to_stderr
    from domain.access import Part
    from domain.account import Costing
    from domain.instrument import Kind

    @requests_http.router.post(NO_OP.removeprefix("/v1"), status_code=201)
    async def no_op(body: requests_http.OrderSubmission, caller: Trader) -> Any:
        return answer({"cl_ord_id": body.cl_ord_id, "actor": caller.actor}, seq=0, status=201)

    settings = Settings()
    log_to_stderr(settings)
    with Daybook.open(settings) as daybook, socket.create_server(("127.0.0.1", 0), backlog=2048) as listening:
        me = Part("benchmark")
        tick = Decimal("0.01")
        listed = Listing(INSTRUMENT, Kind.SPOT, "BTC", "USDT", tick, tick).request()
        daybook.writer.request(listed, actor=me)
        for account in ACCOUNTS:
            daybook.writer.request(opening(daybook, account, "USDT", Costing()), actor=me)
        key = daybook.keys.issue("client", [Scope.TRADE])
        app = create_app(daybook, is_accompanied=True)
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        print(json.dumps({"url": url, "key": key}), flush=True)
        uvicorn.Server(configured(app, settings)).run(sockets=[listening])


@contextmanager
def served(url: str, home: Path) -> Iterator[tuple[str, str, int]]:
    """Yield URL, API key and process id of the service."""
    environment = os.environ | {
        "DAYBOOK_DATABASE_URL": url, "DAYBOOK_HOME": str(home), "DAYBOOK_KEY_CACHE_SECONDS": "60",
    }  # fmt: skip
    command = [sys.executable, "-m", "benchmarks.http", "serve"]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as serving:
        assert serving.stdout is not None
        try:
            place = json.loads(serving.stdout.readline())
            yield place["url"], place["key"], serving.pid
        finally:
            serving.terminate()


class Client:
    """A process that sends: its turns, rates and latencies, and the processor time of the service's own process."""

    def __init__(self, url: str, key: str, pid: int) -> None:
        command = [sys.executable, "-m", "benchmarks.http", "send", url, key]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._pid = pid
        self.took: dict[tuple[str, int], list[float]] = {}
        self.rates: dict[tuple[str, int], list[float]] = {}
        self.used: dict[tuple[str, int], list[float]] = {}

    def turn(self, path: str, clients: int, seconds: float, *, is_kept: bool = True) -> None:
        """Send for so long."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        before = _used(self._pid)
        print(json.dumps([path, clients, seconds]), file=self._process.stdin, flush=True)
        took = json.loads(self._process.stdout.readline())
        if is_kept:
            self.took.setdefault((path, clients), []).extend(took)
            self.rates.setdefault((path, clients), []).append(len(took) / seconds)
            self.used.setdefault((path, clients), []).append((_used(self._pid) - before) / len(took))
        time.sleep(SETTLE_SECONDS)

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def _used(pid: int) -> float:
    """Return the processor time of a process so far, in ms."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * 1000 / os.sysconf("SC_CLK_TCK")


def commits_ms(url: str) -> list[float]:
    """Return the times of durable commits of one small row, in ms."""
    import psycopg

    took = []
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS public.commits (n bigint)")
        for n in range(COMMITS):
            began = time.perf_counter()
            connection.execute("INSERT INTO public.commits VALUES (%s)", [n])
            took.append((time.perf_counter() - began) * 1000)
    return took


def main(seconds: float, rounds: int) -> None:
    """Measure, and print a line for 64 clients and one for one client."""
    from benchmarks.servers import server

    with server() as (url, home), served(url, home) as (place, key, pid):
        client = Client(place, key, pid)
        for path in (ORDERS, NO_OP):
            client.turn(path, CLIENTS, max(seconds, WARM_SECONDS), is_kept=False)
        commits = []
        for _ in range(rounds):
            for clients, path in itertools.product((CLIENTS, 1), (NO_OP, ORDERS)):
                client.turn(path, clients, seconds)
            commits += commits_ms(url)
        client.close()
    commit = statistics.median(commits)
    rate, no_op = (statistics.median(client.rates[path, CLIENTS]) for path in (ORDERS, NO_OP))
    used = [statistics.median(client.used[path, CLIENTS]) for path in (ORDERS, NO_OP)]
    p99 = [statistics.quantiles(client.took[path, CLIENTS], n=100)[-1] for path in (ORDERS, NO_OP)]
    note = (
        f"p99 {p99[0]:.1f} and {p99[1]:.1f} ms; the service's own process used {used[0]:.2f} and {used[1]:.2f} ms each"
    )
    line(f"orders over HTTP, {CLIENTS} clients", rate, "1/s", peer="no-op", peer_value=no_op, note=note)
    p50, quick = (statistics.median(client.took[path, 1]) for path in (ORDERS, NO_OP))
    note = f"a commit {commit:.2f} ms: the target is {2 * quick + commit:.2f} ms"
    line("an order over HTTP, one client, p50", p50, "ms", peer="no-op", peer_value=quick, note=note)


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve()
    elif sys.argv[1:2] == ["send"]:
        asyncio.run(send(*sys.argv[2:4]))
    else:
        given = [float(text) for text in sys.argv[1:]]
        main(*(given[:1] or [SECONDS]), *([int(each) for each in given[1:2]] or [ROUNDS]))
