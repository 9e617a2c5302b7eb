"""Orders under attack: `python -m benchmarks.attack [ROUNDS]` (8 by default), on a server of its own, fsync on.

`daybook serve` runs in a process of its own. Two clients send orders over HTTP, each one after the other, and every
answer is timed. Slices without an attack alternate with slices beside each one, in one run. Attackers run in a third
process: 60 half-sent bodies, without a key and with one; 16 scrapers of `/metrics` in a loop; 16 clients without a key
that send bodies of 8 MiB, and JSON nested 1,000 deep, in a loop. A line gives the p99 in ms beside an attack, its peer
is the p99 without, and its note has the medians and the numbers of orders and of answers to attackers.
"""

import asyncio
import contextlib
import http.client
import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from pydantic import SecretStr

from adapters.postgres.scopes import Scope
from api.daybook import Daybook
from api.settings import Settings
from benchmarks.lines import line
from benchmarks.servers import server

ROUNDS = 8
SLICE_SECONDS = 2.0
CLIENTS = 2
HALF_SENT = 60
LOOPING = 16
LARGE_BYTES = 8 * 2**20
DEEP = b"[" * 1000 + b"]" * 1000
BTC = "BTCUSDT.SIM"
PERCENT = 100

# The attackers, in a process of their own: a line on stdin names the attack, an empty one ends it.

answers = itertools.count()


class Target(NamedTuple):
    host: str
    port: int
    key: str

    def head(self, method: str, path: str, length: int = 0, key: str = "") -> bytes:
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self.host}", f"Content-Length: {length}"]
        lines += ["Content-Type: application/json"] + ([f"Authorization: Bearer {key}"] if key else [])
        return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def half_sent(target: Target, key: str) -> None:
    reader, writer = await asyncio.open_connection(target.host, target.port)
    with contextlib.closing(writer):
        writer.write(target.head("POST", "/v1/orders", 2000, key) + b" " * 1000)
        while await reader.read(65_536):  # until the server closes it
            next(answers)


async def looping(target: Target, request: bytes) -> None:
    reader, writer = await asyncio.open_connection(target.host, target.port)
    with contextlib.closing(writer):
        while True:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
            await reader.readexactly(length)
            next(answers)
            await writer.drain()


async def forever(attack: Callable[[], Coroutine[Any, Any, None]]) -> None:
    while True:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await attack()
        await asyncio.sleep(0)


def attackers(name: str, target: Target) -> list[Callable[[], Coroutine[Any, Any, None]]]:
    large = target.head("POST", "/v1/venue-reports", LARGE_BYTES) + b" " * LARGE_BYTES
    deep = target.head("POST", "/v1/orders", len(DEEP)) + DEEP
    return {
        "half": [lambda: half_sent(target, "")] * HALF_SENT,
        "half_keyed": [lambda: half_sent(target, target.key)] * HALF_SENT,
        "metrics": [lambda: looping(target, target.head("GET", "/metrics"))] * LOOPING,
        "large": [lambda: looping(target, large)] * LOOPING,
        "deep": [lambda: looping(target, deep)] * LOOPING,
    }[name]


async def attack(target: Target) -> None:
    lines = asyncio.Queue[str]()
    loop = asyncio.get_running_loop()
    reading = threading.Thread(
        target=lambda: [loop.call_soon_threadsafe(lines.put_nowait, each.strip()) for each in sys.stdin], daemon=True
    )
    reading.start()
    tasks: list[asyncio.Task[None]] = []
    while True:
        name = await lines.get()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        tasks = [asyncio.create_task(forever(each)) for each in attackers(name, target)] if name else []
        print(next(answers), flush=True)


# The orders


def post(client: http.client.HTTPConnection, path: str, body: Any, key: str) -> int:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    client.request("POST", path, json.dumps(body), headers)
    answer = client.getresponse()
    answer.read()
    return answer.status


def order(number: int) -> dict[str, str]:
    side = "SELL" if number % 2 else "BUY"
    return {
        "account_id": "main", "cl_ord_id": f"O-{number}", "instrument_id": BTC, "side": side, "order_qty": "1",
        "price": "97500.10",
    }  # fmt: skip


def slice_of_orders(target: Target, numbers: Iterator[int]) -> list[float]:
    """Return the seconds that each order took, of all clients, in one slice."""
    took: list[float] = []

    def send() -> None:
        client = http.client.HTTPConnection(target.host, target.port, timeout=60)
        end = time.perf_counter() + SLICE_SECONDS
        while (began := time.perf_counter()) < end:
            status = post(client, "/v1/orders", order(next(numbers)), target.key)
            took.append(time.perf_counter() - began)
            assert status == 201, status
        client.close()

    threads = [threading.Thread(target=send) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return took


@contextmanager
def serving(url: str) -> Iterator[Target]:
    """Run `daybook serve` in a process of its own, with an account and an instrument."""
    with Daybook.open(Settings(database_url=SecretStr(url))) as daybook:
        key = daybook.keys.issue("desk", list(Scope))
    environment = os.environ | {"DAYBOOK_DATABASE_URL": url, "DAYBOOK_LOG_LEVEL": "warning"}
    command = [sys.executable, "-m", "api.cli", "serve", "--port", "0", "--json"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            place = urlsplit(json.loads("".join(iter(process.stdout.readline, "}\n")) + "}")["url"])
            assert place.hostname
            assert place.port
            target = Target(place.hostname, place.port, key)
            client = http.client.HTTPConnection(target.host, target.port, timeout=60)
            for _ in range(100):
                with contextlib.suppress(ConnectionError):
                    account = {"account_id": "main", "base_currency": "USDT"}
                    if post(client, "/v1/accounts", account, key) in (200, 201):
                        break
                client.close()
                time.sleep(0.1)
            listed = {"instrument_id": BTC, "kind": "SPOT", "base": "BTC", "quote": "USDT"}
            assert post(client, "/v1/instruments", listed | {"tick_size": "0.01", "lot_size": "0.001"}, key) == 201
            yield target
        finally:
            process.terminate()


def percentile(took: list[float], percent: int) -> float:
    """Return it in ms."""
    return sorted(took)[min(len(took) - 1, len(took) * percent // PERCENT)] * 1000


ATTACKS = {
    "half": "60 half-sent bodies without a key",
    "half_keyed": "60 half-sent bodies with a key",
    "metrics": "16 scrapers of /metrics",
    "large": "16 senders of 8 MiB without a key",
    "deep": "16 senders of JSON nested 1,000 deep without a key",
}


def run(rounds: int) -> None:
    plain, beside = defaultdict(list), defaultdict(list)
    replies = defaultdict(int)
    numbers = itertools.count()
    with server() as (url, _), serving(url) as target:
        command = [sys.executable, "-m", "benchmarks.attack", "attack", target.host, str(target.port), target.key]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

            def now_attacked(by: str) -> int:
                assert process.stdin is not None
                assert process.stdout is not None
                print(by, file=process.stdin, flush=True)
                return int(process.stdout.readline())

            try:
                slice_of_orders(target, numbers)  # warm
                for _ in range(rounds):
                    for name in ATTACKS:
                        plain[name] += slice_of_orders(target, numbers)
                        before = now_attacked(name)
                        beside[name] += slice_of_orders(target, numbers)
                        replies[name] += now_attacked("") - before
            finally:
                process.terminate()
    for name, text in ATTACKS.items():
        with_, without = beside[name], plain[name]
        note = (
            f"p50 {percentile(with_, 50):.2f} ms, without {percentile(without, 50):.2f} ms; {len(with_)} orders,"
            f" without {len(without)}; {replies[name] / rounds / SLICE_SECONDS:.0f} answers a second to attackers"
        )
        line(
            f"p99 of an order beside {text}", percentile(with_, 99), "ms",
            peer="without", peer_value=percentile(without, 99), note=note,
        )  # fmt: skip


if __name__ == "__main__":
    if sys.argv[1:2] == ["attack"]:
        asyncio.run(attack(Target(sys.argv[2], int(sys.argv[3]), sys.argv[4])))
    else:
        run(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS)
