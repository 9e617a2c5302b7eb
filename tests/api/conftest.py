"""A real server for tests: uvicorn on a free port, over a database of the test's own, and a client for each scope."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import uvicorn

from adapters.postgres.scopes import Scope
from api.daybook import Daybook
from api.main import create_app
from api.settings import Settings
from api.terminal.logs import log_to_stderr

START_SECONDS_MAX = 20
BTC = "BTCUSDT.BINANCE"


class ThreadedServer(uvicorn.Server):
    """uvicorn in a thread, which tells the port it got."""

    def install_signal_handlers(self) -> None:
        """None: the thread is told to stop."""

    @contextmanager
    def running(self) -> Iterator[str]:
        thread = threading.Thread(target=self.run)
        thread.start()
        try:
            for _ in range(START_SECONDS_MAX * 100):
                if self.started or not thread.is_alive():
                    break
                threading.Event().wait(0.01)
            assert self.started, "the server did not start"
            port = self.servers[0].sockets[0].getsockname()[1]
            yield f"http://127.0.0.1:{port}"
        finally:
            self.should_exit = True
            thread.join(START_SECONDS_MAX)


@contextmanager
def serving(daybook: Daybook, *, demo: bool = False) -> Iterator[str]:
    """The URL of a server over `daybook`."""
    app = create_app(daybook, demo=demo)
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, access_log=False, ws="none")
    with ThreadedServer(config).running() as url:
        yield url


@pytest.fixture
def settings(database_url: str) -> Settings:
    return Settings(database_url=database_url, key_cache_seconds=0.2, wait_seconds_max=5, log_level="error")


@pytest.fixture
def daybook(settings: Settings) -> Iterator[Daybook]:
    log_to_stderr(settings)
    with Daybook.open(settings) as daybook:
        yield daybook


@pytest.fixture
def server(daybook: Daybook) -> Iterator[str]:
    with serving(daybook) as url:
        yield url


@pytest.fixture
def client_for(server: str, daybook: Daybook) -> Iterator[Callable[..., httpx.Client]]:
    """Makes clients whose key has the scopes named."""
    clients: list[httpx.Client] = []

    def made(*scopes: str, actor: str = "tester") -> httpx.Client:
        headers = {}
        if scopes:
            headers["Authorization"] = f"Bearer {daybook.keys.issue(actor, [Scope(scope) for scope in scopes])}"
        clients.append(httpx.Client(base_url=server, headers=headers, timeout=30))
        return clients[-1]

    yield made
    for client in clients:
        client.close()


@pytest.fixture
def client(client_for: Callable[..., httpx.Client]) -> httpx.Client:
    """May do everything."""
    return client_for("trade", "report", "audit", "admin", actor="desk")


@pytest.fixture
def desk(client: httpx.Client) -> httpx.Client:
    """The same, on a book with an account and an instrument."""
    open_book(client)
    return client


def open_book(client: httpx.Client) -> None:
    """An account and an instrument."""
    account = {"account_id": "main", "base_currency": "USDT", "cost_basis": "FIFO"}
    assert client.post("/v1/accounts", json=account).status_code == 201
    assert client.post("/v1/instruments", json=listing()).status_code == 201


def listing(**other: Any) -> dict[str, Any]:
    """An instrument."""
    return {
        "instrument_id": BTC,
        "kind": "SPOT",
        "base": "BTC",
        "quote": "USDT",
        "tick_size": "0.01",
        "lot_size": "0.001",
    } | other


def order(cl_ord_id: str = "A-1", **other: Any) -> dict[str, Any]:
    """An order to buy one at 100."""
    return {
        "account_id": "main",
        "cl_ord_id": cl_ord_id,
        "instrument_id": BTC,
        "side": "BUY",
        "order_qty": "1",
        "price": "100",
    } | other


def fill(exec_id: str = "E-1", **other: Any) -> dict[str, Any]:
    """A fill of that order, or of another, under the id the venue has for it."""
    cl_ord_id = other.get("cl_ord_id", "A-1")
    return {
        "type": "filled",
        "account_id": "main",
        "cl_ord_id": cl_ord_id,
        "instrument_id": BTC,
        "order_id": f"V-{cl_ord_id.rpartition('-')[2]}",
        "side": "BUY",
        "exec_id": exec_id,
        "trade_seq": 1,
        "last_qty": "1",
        "last_px": "100",
        "commission": {"amount": "0.1", "currency": "USDT"},
        "liquidity": "TAKER",
        "transact_time": "2026-01-02T03:04:05.678Z",
    } | other
