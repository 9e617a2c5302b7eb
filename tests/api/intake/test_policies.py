"""Policies that act by themselves, over HTTP and the command line."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from api.daybook import Daybook
from tests.api.client import BTC, fill, listing, order
from tests.api.command_line import Run, parsed

SECONDS_MAX = 60
PERP = "BTCPERP.BINANCE"


@pytest.fixture
def reacts() -> bool:
    return True


def until(found: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + SECONDS_MAX
    while not (what := found()):
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.1)
    return what


def mark(client: httpx.Client, price: str) -> None:
    body = {"marks": [{"instrument_id": BTC, "price": price, "source": "sim"}]}
    assert client.post("/v1/marks", json=body).status_code == 201


def events(client: httpx.Client, **query: str) -> list[dict[str, Any]]:
    answer = client.get("/v1/reactions", params=query)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


@pytest.mark.slow
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


def test_settings_are_on_record_and_what_loosens_may_need_a_second_person(
    desk: httpx.Client, client_for: Callable[..., httpx.Client]
) -> None:
    assert [each["set_for"] for each in desk.get("/v1/policies").json()["policies"]] == [None] * 5
    stricter = {"policy": "LOSS", "mode": "HALT", "reason": "strict"}
    first = desk.post("/v1/policies", json=stricter, headers={"Idempotency-Key": "P-1"})
    assert (first.status_code, first.json()["mode"], first.json()["version"]) == (201, "HALT", 1)
    assert desk.post("/v1/policies", json=stricter, headers={"Idempotency-Key": "P-1"}).content == first.content
    assert desk.post("/v1/policies", json=stricter).status_code == 200
    ages = {"account_id": "main", "policy": "BREAKS", "ages_seconds": [3600, 60]}
    assert desk.post("/v1/policies", json=ages).json()["ages_seconds"] == [60, 3600]
    of_accounts = [each for each in desk.get("/v1/policies").json()["policies"] if each["account_id"] == "main"]
    assert [(each["policy"], each["is_on"]) for each in of_accounts] == [("BREAKS", True)]

    paused = desk.post("/v1/policies/expiry/pause", json={"reason": "the venue expires them"})
    assert (paused.status_code, paused.json()["is_on"], paused.json()["account_id"]) == (201, False, "firm")
    for account, is_on in (("main", False), ("firm", False)):
        rows = desk.get("/v1/policies", params={"account_id": account}).json()["policies"]
        assert [each["is_on"] for each in rows if each["policy"] == "EXPIRY"] == [is_on]
    assert desk.post("/v1/policies/EXPIRY/resume").json()["is_on"] is True
    assert desk.post("/v1/policies/EXPIRY/resume").status_code == 200

    body = {"actions": ["policy"]}
    assert desk.post("/v1/approval-policy", json=body).status_code == 201
    proposed = desk.post("/v1/policies/LOSS/pause")
    assert (proposed.status_code, proposed.json()["action"]) == (202, "policy")
    other = client_for("admin", actor="second")
    assert other.post(f"/v1/approvals/{proposed.json()['proposal_id']}").status_code in (200, 201)
    loss = [each for each in desk.get("/v1/policies").json()["policies"] if each["policy"] == "LOSS"]
    assert [(each["is_on"], each["mode"]) for each in loss] == [(False, "HALT")]


SENSELESS: list[tuple[dict[str, Any], int, str]] = [
    ({"policy": "LUCK"}, 422, "policy"),
    ({"policy": "LOSS", "mode": "STOP"}, 422, "mode"),
    ({"policy": "LOSS", "interval_seconds": 5}, 409, "interval_seconds"),
    ({"policy": "MARKS", "interval_seconds": 0}, 422, "interval_seconds"),
    ({"policy": "HEDGE", "account_id": "main", "asset": "BTC", "band": "1"}, 422, "instrument_id"),
    ({"policy": "HEDGE", "account_id": "main"}, 409, "band"),
    ({"policy": "LOSS", "account_id": "unknown"}, 409, "unknown"),
    ({"policy": "LOSS", "is_on": "yes"}, 422, "is_on"),
]


def test_a_setting_that_makes_no_sense_names_what_is_wrong(desk: httpx.Client) -> None:
    for body, status, word in SENSELESS:
        refused = desk.post("/v1/policies", json=body)
        assert refused.status_code == status, body
        assert word in refused.text, body
    assert desk.post("/v1/policies/LOSS/resume", json={"asset": "BTC"}).status_code == 409
    assert all(each["version"] == 0 for each in desk.get("/v1/policies").json()["policies"])


def test_a_policy_is_set_paused_and_resumed_by_command(book: Run) -> None:
    done = parsed(book("policy", "set", "loss", "--mode", "HALT", "--account", "main", "--json"))
    assert (done["policy"], done["mode"], done["set_for"]) == ("LOSS", "HALT", "main")
    hedge = ("--asset", "BTC", "--instrument", BTC, "--band", "0.5")
    assert parsed(book("policy", "set", "HEDGE", *hedge, "--json"))["band"] == "0.5"
    assert parsed(book("policy", "pause", "HEDGE", "--json"))["is_on"] is False
    assert "HEDGE in BTC of main is on." in book("policy", "resume", "HEDGE", "--asset", "BTC").stdout
    ages = book("policy", "set", "BREAKS", "--age-seconds", "60", "--age-seconds", "3600", "--json")
    assert parsed(ages)["ages_seconds"] == [60, 3600]
    listed = parsed(book("policy", "list", "--account", "main", "--json"))
    assert {each["policy"]: each["is_on"] for each in listed["policies"]} == dict.fromkeys(
        ("LOSS", "SWITCH", "EXPIRY", "MARKS", "BREAKS", "HEDGE"), True
    )
    assert [each["reaction"] for each in listed["reactions"]] == [
        "LOSS",
        "SWITCH",
        "EXPIRY",
        "HEDGE",
        "MARKS",
        "BREAKS",
    ]
    refused = book("policy", "set", "LOSS", "--interval-seconds", "5")
    assert refused.returncode == 1 and "LOSS has no interval_seconds, which is of MARKS" in refused.stderr
    assert "REDUCE_ONLY" in book("policy", "list").stdout
    assert len(parsed(book("log", "--topic", "PolicySet", "--account", "main", "--json"))["events"]) == 4
    assert "Policies" in book("status").stdout
