"""A server over a real database, and the bodies that its clients send."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI
from starlette.routing import BaseRoute

from api.daybook import Daybook
from api.http.server import configured
from api.main import create_app
from tests.api.own_writes import known

START_SECONDS_MAX = 60
BTC = "BTCUSDT.BINANCE"


class ThreadedServer(uvicorn.Server):
    """uvicorn in a thread; its port is known once it has started."""

    def install_signal_handlers(self) -> None:
        """None: the thread is stopped by a flag."""

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
def serving(daybook: Daybook, *, demo: bool = False, reacts: bool = False) -> Iterator[str]:
    """The URL of a server over `daybook`. Unless it `reacts`, no policy acts: what a test compares stays as it is."""
    vars(daybook)["reacting"] = type(daybook).reacting.__get__(daybook) if reacts else nullcontext
    app = with_operations(create_app(daybook, demo=demo))
    config = configured(app, daybook.settings, host="127.0.0.1", port=0, timeout_graceful_shutdown=3)
    with ThreadedServer(config).running() as url, known(url, daybook.url):
        yield url


_included: dict[int, BaseRoute] = {}


def with_operations(app: FastAPI) -> FastAPI:
    """The app with the operations of the first one of this process, which are the same.

    FastAPI derives what it needs to know of all of them at an app's first request, and that takes longer than most
    tests do.
    """
    routes = app.router.routes
    for place, route in enumerate(routes):
        if (router := getattr(route, "original_router", None)) is not None:
            routes[place] = _included.setdefault(id(router), route)
    return app


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


def trade(desk: httpx.Client, *fills: dict[str, object]) -> str:
    """Reports fills; the seq that covers them."""
    answer = desk.post("/v1/venue-reports", json={"reports": list(fills)})
    assert answer.status_code == 200, answer.text
    return answer.headers["Daybook-Seq"]


def bought_and_sold(desk: httpx.Client) -> str:
    """1 at 100, 1 at 200, then 1 sold at 300; each for a fee of 0.1 USDT."""
    desk.post("/v1/orders", json=order("A-1", order_qty="2", price="200"))
    desk.post("/v1/orders", json=order("A-2", side="SELL", price="300"))
    return trade(
        desk,
        fill("E-1", trade_seq=1),
        fill("E-2", trade_seq=2, last_px="200"),
        fill("E-3", trade_seq=3, last_px="300", side="SELL", cl_ord_id="A-2"),
    )
