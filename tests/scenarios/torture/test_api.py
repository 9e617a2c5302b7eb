"""Promise 1 at the front door: an API killed under load, and clients who send again under their keys."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest

from adapters.log.postgres import PostgresLog
from adapters.postgres import embedded
from adapters.postgres.connections import Role, connect
from adapters.postgres.migrations import migrate
from adapters.postgres.scopes import Scope
from adapters.proof import tiles
from adapters.proof.checkpoints import Note
from adapters.proof.sealer import Sealer
from adapters.verify.derivation import derive
from adapters.verify.verification import VerifyRequest, verify
from domain.ledger import Ledger, scan
from domain.order import OrderFilled
from tests import CHECKOUT
from tests.api.client import BTC, fill, listing, order
from tests.desk import T0
from tests.keys import issue
from tests.ports import free_port

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("DAYBOOK_TORTURE_KILLS", "12")) // 3
SEED = int(os.environ.get("DAYBOOK_TORTURE_SEED", "20261123"))
CLIENTS = 4


class Served:
    """`daybook serve` on one port, killed and started again."""

    def __init__(self, home: Path) -> None:
        self.port = free_port()
        self.home = home
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        environment = os.environ | {"DAYBOOK_HOME": str(self.home), "DAYBOOK_LOG_LEVEL": "error", "PYTHONPATH": "."}
        environment.pop("DAYBOOK_DATABASE_URL", None)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "api.cli", "serve", "--port", str(self.port)],
            cwd=CHECKOUT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


class Client:
    """Sends each request under a key of its own until it has an answer."""

    def __init__(self, url: str, key: str, number: int) -> None:
        self.number, self.stopping = number, threading.Event()
        self.answers: dict[str, bytes] = {}
        self.filled: list[str] = []
        self._http = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=10)

    def run(self) -> None:
        n = 0
        while not self.stopping.is_set():
            name = f"C{self.number}-{n}"
            self.send("/v1/orders", order(name), f"order-{name}")
            taken = self.send("/v1/venue-reports", {"reports": [fill(f"E-{name}", cl_ord_id=name)]}, f"fill-{name}")
            if taken is not None:
                self.filled.append(f"E-{name}")
            n += 1

    def send(self, path: str, body: Any, key: str) -> httpx.Response | None:
        """The answer, once it is one that is kept; None if the test ended first."""
        while not self.stopping.is_set():
            try:
                answer = self._http.post(path, json=body, headers={"Idempotency-Key": key})
            except httpx.HTTPError:
                time.sleep(0.05)
                continue
            if answer.status_code not in (429, 503):
                assert answer.status_code in (200, 201), answer.text
                self.answers[key] = answer.content
                return answer
            time.sleep(0.05)
        return None


@pytest.fixture(name="served")
def service_on_a_durable_server(home: Path) -> Iterator[Served]:
    migrate(embedded.start(home))
    served = Served(home)
    try:
        yield served
    finally:
        served.kill()


def test_an_api_killed_under_load_loses_and_doubles_nothing(served: Served, home: Path) -> None:
    random, url = Random(SEED), embedded.start(home)
    sys.stdout.write(f"torture of the API: seed {SEED}, {KILLS} kills\n")
    secret = issue(url, "bot", list(Scope))
    admin = Client(served.url, secret, 0)
    account = {"account_id": "main", "base_currency": "USDT", "cost_basis": "FIFO"}
    assert admin.send("/v1/accounts", account, "account") and admin.send("/v1/instruments", listing(), "btc")
    clients = [Client(served.url, secret, number) for number in range(1, CLIENTS + 1)]
    threads = [threading.Thread(target=client.run) for client in clients]
    kept: list[Note] = []
    for thread in threads:
        thread.start()
    try:
        for _ in range(KILLS):
            done = sum(len(client.filled) for client in clients)
            deadline = time.monotonic() + 60
            while sum(len(client.filled) for client in clients) < done + 3 and time.monotonic() < deadline:
                time.sleep(0.01)
            time.sleep(random.uniform(0, 0.3))
            served.kill()
            with connect(url, Role.AUDITOR) as connection:
                kept += [note for note in [tiles.latest(connection)] if note is not None]
            served.start()
        done = sum(len(client.filled) for client in clients)
        deadline = time.monotonic() + 60
        while sum(len(client.filled) for client in clients) < done + 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        for client in clients:  # what was answered before a kill is answered alike after it
            key = f"order-C{client.number}-0"
            again = client._http.post("/v1/orders", json=order(f"C{client.number}-0"), headers={"Idempotency-Key": key})
            assert again.content == client.answers[key]
    finally:
        for client in clients:
            client.stopping.set()
        for thread in threads:
            thread.join(60)
        for client in [admin, *clients]:
            client._http.close()
    served.kill()
    Sealer(url, home).seal()
    found = verify(url, VerifyRequest(against=kept))
    assert found.finding is None and kept, f"{found.finding} (seed {SEED})"
    assert not derive(url).faults, f"(seed {SEED})"
    with PostgresLog(url) as log:
        fills = [recorded.event for _, recorded in scan(log) if isinstance(recorded.event, OrderFilled)]
        executed = Counter(each.exec_id for each in fills)
        acknowledged = [exec_id for client in clients for exec_id in client.filled]
        assert set(executed.values()) == {1}, f"a fill twice (seed {SEED})"
        assert set(acknowledged) <= set(executed), f"acknowledged and lost (seed {SEED})"
        assert len(acknowledged) > 3 * KILLS
        position = Ledger(log, lambda: T0).state(f"position:main:main:{BTC}")
        assert position.quantity == sum((each.last_qty for each in fills), Decimal(0))
