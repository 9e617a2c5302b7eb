"""Cancel all: every working order of a selection, once, with orders submitted meanwhile."""

import threading
from typing import Any

import httpx

from api.intake.stopping import cancel_all
from tests.api.client import BTC, listing, order
from tests.api.command_line import Run, parsed

ETH = "ETHUSDT.BINANCE"


def sent(desk: httpx.Client, **selection: Any) -> dict[str, str]:
    """What happened to each order."""
    body = {"account_id": "main"} | selection
    answer = desk.post("/v1/orders/cancel-all", json=body)
    assert answer.status_code in (200, 201), answer.text
    return {each["cl_ord_id"]: each["result"] for each in answer.json()["orders"]}


def test_working_orders_of_a_selection_are_canceled_once(desk: httpx.Client, run: Run, monkeypatch: Any):
    monkeypatch.setattr(cancel_all, "BATCH_MAX", 2)
    desk.post("/v1/instruments", json=listing(instrument_id=ETH, base="ETH"))
    orders = (
        order("B-1"), order("B-2", strategy_id="maker"), order("S-1", side="SELL", price="200"),
        order("E-1", instrument_id=ETH), order("E-2", instrument_id=ETH, side="SELL", price="200"),
    )  # fmt: skip
    for each in orders:
        assert desk.post("/v1/orders", json=each).status_code == 201
    canceled = {"type": "canceled", "account_id": "main", "cl_ord_id": "E-2", "transact_time": "2026-01-02T03:04:05Z"}
    desk.post("/v1/venue-reports", json={"reports": [canceled | {"reason": "by hand"}]})
    assert sent(desk, strategy_id="maker") == {"B-2": "REQUESTED"}
    assert sent(desk, symbol="BTCUSDT", side="BUY") == {"B-1": "REQUESTED", "B-2": "PENDING"}
    assert sent(desk, instrument_id=BTC, venue="BINANCE", side="SELL") == {"S-1": "REQUESTED"}
    assert sent(desk, venue="OTHER") == {}

    key = {"Idempotency-Key": "stop-1"}
    body = {"account_id": "main", "reason": "the feed is down"}
    first = desk.post("/v1/orders/cancel-all", json=body, headers=key)
    assert first.status_code == 201
    assert (first.json()["requested"], first.json()["pending"]) == (1, 3), "E-1; E-2 is closed"
    later = desk.post("/v1/orders", json=order("B-3"))
    assert later.status_code == 201
    again = desk.post("/v1/orders/cancel-all", json=body, headers=key)
    assert again.json() == first.json() and again.status_code == 201
    newest = desk.get("/v1/orders/main/B-3", params={"min_seq": later.headers["Daybook-Seq"]}).json()
    assert newest["status"] == "PENDING_NEW"
    assert desk.post("/v1/orders/cancel-all", json={"account_id": "main"}, headers=key).status_code == 422

    done = parsed(run("order", "cancel-all", "--json"))
    assert (done["requested"], done["pending"]) == (1, 4), "the same again cancels what is new"
    assert "B-3" in run("order", "cancel-all").stdout
    rest = desk.post("/v1/orders/cancel-all", json={"account_id": "main"})
    assert (rest.status_code, rest.json()["requested"]) == (200, 0)
    assert desk.post("/v1/orders/cancel-all", json={"account_id": "other"}).status_code == 409
    events = desk.get("/v1/events", params={"stream": "order:main:E-1"}).json()["items"]
    assert events[-1]["topic"] == "OrderCancelRequested"
    assert events[-1]["record"]["cause"].startswith("cancel-all:")
    assert run("verify", "--derivation").returncode == 0


def test_an_order_on_record_before_the_call_is_canceled_and_others_go_on_meanwhile(
    desk: httpx.Client, monkeypatch: Any
):
    monkeypatch.setattr(cancel_all, "BATCH_MAX", 3)
    answered: list[str] = []
    is_over = threading.Event()

    def submit() -> None:
        while not is_over.is_set() and len(answered) < 400:
            name = f"N-{len(answered)}"
            assert desk.post("/v1/orders", json=order(name)).status_code == 201
            answered.append(name)

    thread = threading.Thread(target=submit)
    thread.start()
    while len(answered) < 20:
        is_over.wait(0.01)
    before = answered[:]
    found = sent(desk)
    is_over.set()
    thread.join()
    assert {name: found[name] for name in before} == dict.fromkeys(before, "REQUESTED")
    assert set(found.values()) == {"REQUESTED"}
    rest = sent(desk)
    assert set(rest) == set(answered)
    assert {name for name, result in rest.items() if result == "PENDING"} == set(found)
