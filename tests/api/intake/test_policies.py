"""Policies that act by themselves, over HTTP and the command line."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from api.daybook import Daybook
from tests.api.client import BTC, fill, listing, order

SECONDS_MAX = 20
PERP = "BTCPERP.BINANCE"


def until(found: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + SECONDS_MAX
    while not (what := found()):
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.02)
    return what


def mark(client: httpx.Client, price: str) -> None:
    body = {"marks": [{"instrument_id": BTC, "price": price, "source": "sim"}]}
    assert client.post("/v1/marks", json=body).status_code == 201


def events(client: httpx.Client, **query: str) -> list[dict[str, Any]]:
    answer = client.get("/v1/reactions", params=query)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


def test_policies_act_on_what_is_recorded(client_for: Callable[..., httpx.Client], daybook: Daybook) -> None:
    desk = client_for("admin", "trade", "record", "audit", "read")
    account = {"account_id": "main", "base_currency": "USDT"}
    assert desk.post("/v1/accounts", json=account).status_code == 201
    assert desk.post("/v1/instruments", json=listing()).status_code == 201
    limit = {"account_id": "main", "measure": "MAX_DAILY_LOSS", "limit": "50", "currency": "USDT"}
    assert desk.post("/v1/limits", json=limit).status_code == 201
    mark(desk, "100")

    # An order whose date passes is canceled.
    soon = (datetime.now(UTC) + timedelta(seconds=1)).isoformat()
    timed = order("G-1", price="10", time_in_force="GTD", expire_time=soon)
    assert desk.post("/v1/orders", json=timed).status_code == 201
    (expired,) = until(lambda: events(desk, policy="EXPIRY"))
    assert (expired["topic"], expired["actor"]) == ("OrderCancelRequested", "policy:EXPIRY")
    assert expired["cause"].startswith("event:")

    # A loss by a mark alone engages the kill switch, which cancels what would add to it.
    for number in ("A-1", "A-2"):
        assert desk.post("/v1/orders", json=order(number, order_qty="3")).status_code == 201
    bought = fill("E-1", last_qty="3", transact_time=datetime.now(UTC).isoformat())
    desk.post("/v1/venue-reports", json={"reports": [bought]})
    mark(desk, "80")
    (engaged,) = until(lambda: events(desk, policy="LOSS"))
    assert engaged["record"]["event"]["mode"] == "REDUCE_ONLY"
    (canceled,) = until(lambda: events(desk, policy="SWITCH"))
    assert canceled["stream"] == "order:main:A-2" and canceled["cause"] == f"event:{engaged['seq']}"
    refused = desk.post("/v1/orders", json=order("A-3"))
    assert refused.status_code == 409 and "REDUCE_ONLY" in refused.text
    switches = desk.get("/v1/kill-switches", params={"account_id": "main"}).json()["switches"]
    assert [each["engaged_by"] for each in switches] == ["policy:LOSS"]

    # A delta out of its band is hedged.
    perp = listing(instrument_id=PERP, kind="LINEAR", contract_size="0.1", lot_size="1")
    assert desk.post("/v1/instruments", json=perp).status_code == 201
    body = {"account_id": "main", "policy": "HEDGE", "asset": "BTC", "instrument_id": PERP, "band": "1"}
    assert desk.post("/v1/policies", json=body).status_code == 201
    (hedge,) = until(lambda: [each for each in events(desk, policy="HEDGE") if each["topic"].startswith("Order")])
    terms = hedge["record"]["event"]["terms"]
    assert (terms["side"], terms["order_qty"], terms["strategy_id"]) == ("SELL", "30", "hedge")

    policies = desk.get("/v1/policies", params={"account_id": "main"}).json()
    assert [each["policy"] for each in policies["policies"]] == ["LOSS", "SWITCH", "EXPIRY", "MARKS", "BREAKS", "HEDGE"]
    assert all(each["error"] is None for each in policies["reactions"])

    def ready() -> dict[str, Any]:
        return {each["reaction"]: each for each in desk.get("/ready").json()["reactions"]}

    until(lambda: all(each["lag"] == 0 for each in ready().values()))
    assert ready()["LOSS"]["carried_out"] == 1
    assert "daybook_policy_requests_total" in desk.get("/metrics").text
