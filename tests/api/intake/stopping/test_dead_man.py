"""Dead man's switches by HTTP and command: armed, extended beside the log, listed; and what fires them from the log."""

import time
from datetime import timedelta
from typing import Any

import httpx
import pytest

from api.clock import now
from api.daybook import Daybook
from api.intake.stopping import cancel_all, countdown
from api.intake.stopping.countdown import Firing
from tests.api.client import order
from tests.api.command_line import Run, parsed

SECONDS_MAX = 60


@pytest.fixture(autouse=True)
def still(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """The server fires nothing by itself, but where that is what is tested."""
    if "by_the_server" not in request.node.name:
        monkeypatch.setattr(countdown, "STEP_SECONDS", 3600)


def arm(desk: httpx.Client, countdown_ms: int = 30_000, **more: Any) -> httpx.Response:
    return desk.post("/v1/dead-man-switches", json={"account_id": "main", "countdown_ms": countdown_ms} | more)


@pytest.mark.slow
def test_a_switch_is_armed_extended_listed_and_disarmed(desk: httpx.Client, run: Run):
    first = arm(desk)
    assert (first.status_code, first.json()["status"], first.json()["version"]) == (201, "ARMED", 1)
    head = desk.get("/v1/events", params={"stream": "limit:main"}).json()["items"][-1]["seq"]
    again = arm(desk)
    assert (again.status_code, again.json()["version"]) == (200, 1)
    assert again.json()["deadline"] > first.json()["deadline"]
    assert 25_000 < again.json()["time_left_ms"] <= 30_000
    assert desk.get("/v1/events", params={"stream": "limit:main"}).json()["items"][-1]["seq"] == head, "not recorded"
    assert arm(desk, 20_000, strategy_id="maker", halts=True).status_code == 201
    assert arm(desk, 10_000).json()["version"] == 2, "another countdown"
    rows = desk.get("/v1/dead-man-switches", params={"account_id": "main"}).json()["switches"]
    assert [(row["strategy_id"], row["status"], row["countdown_ms"]) for row in rows] == [
        (None, "ARMED", 10_000), ("maker", "ARMED", 20_000),
    ]  # fmt: skip
    assert [row["strategy_id"] for row in parsed(run("dead-man-switch", "list", "--json"))["switches"]] == [
        None,
        "maker",
    ]
    off = arm(desk, 0)
    assert (off.status_code, off.json()["status"], off.json()["time_left_ms"]) == (201, "DISARMED", None)
    assert arm(desk, 0).status_code == 200
    assert "armed: 60 s" in run("dead-man-switch", "arm", "--seconds", "60").stdout
    assert "extended: 60 s" in run("dead-man-switch", "arm", "--seconds", "60").stdout
    assert parsed(run("dead-man-switch", "disarm", "--json"))["is_changed"]
    assert arm(desk, 500).status_code == 409
    assert arm(desk, account_id="other").status_code == 409
    key = {"Idempotency-Key": "k-1"}
    body = {"account_id": "main", "countdown_ms": 30_000}
    kept = [desk.post("/v1/dead-man-switches", json=body, headers=key) for _ in range(2)]
    assert kept[0].content == kept[1].content and kept[0].status_code == 201
    assert run("verify", "--derivation").returncode == 0


def status(desk: httpx.Client, name: str) -> str:
    seq = desk.get("/v1/events", params={"stream": f"order:main:{name}"}).json()["items"][-1]["seq"]
    return desk.get(f"/v1/orders/main/{name}", params={"min_seq": seq}).json()["status"]


def test_a_countdown_that_passes_cancels_the_orders_and_one_that_is_extended_does_not(
    desk: httpx.Client, daybook: Daybook
):
    firing = Firing(daybook)
    desk.post("/v1/orders", json=order("A-1", strategy_id="maker"))
    desk.post("/v1/orders", json=order("A-2"))
    arm(desk, 60_000, strategy_id="maker")
    assert firing.step(now() + timedelta(seconds=50)) == 0
    arm(desk, 60_000, strategy_id="maker")
    assert firing.step(now() + timedelta(seconds=55)) == 0, "extended a moment ago"
    assert firing.step(now() + timedelta(seconds=61)) == 1
    assert (status(desk, "A-1"), status(desk, "A-2")) == ("PENDING_CANCEL", "PENDING_NEW")
    assert firing.step(now() + timedelta(seconds=61)) == Firing(daybook).step(now() + timedelta(seconds=61)) == 0
    late = arm(desk, 60_000, strategy_id="maker")
    assert late.status_code == 201 and late.json()["version"] == 2, "armed again: it has fired"
    (row,) = desk.get("/v1/dead-man-switches").json()["switches"]
    assert row["status"] == "ARMED" and row["fired_at"] is not None


def test_a_switch_is_fired_by_the_server_itself(desk: httpx.Client):
    desk.post("/v1/orders", json=order("A-1"))
    assert arm(desk, 1000).status_code == 201
    until = time.monotonic() + SECONDS_MAX
    while status(desk, "A-1") != "PENDING_CANCEL" and time.monotonic() < until:
        time.sleep(0.1)
    assert status(desk, "A-1") == "PENDING_CANCEL"
    events = desk.get("/v1/events", params={"stream": "order:main:A-1"}).json()["items"]
    assert events[-1]["record"]["cause"] == "timer" and events[-1]["record"]["actor"] == "policy:DEAD_MAN"


def test_many_orders_are_canceled_in_batches_before_the_switch_fires(
    desk: httpx.Client, daybook: Daybook, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(countdown, "BATCH_MAX", 2)
    monkeypatch.setattr(cancel_all, "BATCH_MAX", 2)
    for number in range(5):
        desk.post("/v1/orders", json=order(f"A-{number}"))
    arm(desk, 60_000, halts=True)
    assert Firing(daybook).step(now() + timedelta(seconds=61)) == 1
    assert {status(desk, f"A-{number}") for number in range(5)} == {"PENDING_CANCEL"}
    assert desk.post("/v1/orders", json=order("B-1")).status_code == 409
    switches = desk.get("/v1/kill-switches", params={"account_id": "main"}).json()["switches"]
    assert [each["engaged_by"] for each in switches] == ["policy:DEAD_MAN"]


def test_an_extension_after_the_deadline_is_refused_until_the_switch_has_fired(desk: httpx.Client, daybook: Daybook):
    arm(desk, 60_000)
    assert daybook.countdowns.passed(now() + timedelta(seconds=61)), "found to be over, and not fired yet"
    late = arm(desk, 60_000)
    assert late.status_code == 409 and "being fired" in late.json()["detail"]
    assert Firing(daybook).step(now() + timedelta(seconds=61)) == 1, "also after a crash in between"
    assert arm(desk, 30_000).status_code == 201


def test_a_switch_whose_countdown_is_lost_with_the_server_counts_down_in_full_again(
    desk: httpx.Client, daybook: Daybook
):
    arm(desk, 60_000)
    with daybook.countdowns._pool.connection() as connection:
        connection.execute("UPDATE ledger.countdowns SET version = 0")  # a crash leaves none
    firing = Firing(daybook)
    firing.begin(now() + timedelta(seconds=100))
    assert firing.step(now() + timedelta(seconds=155)) == 0
    assert firing.step(now() + timedelta(seconds=161)) == 1


def test_a_switch_is_fired_by_hand(desk: httpx.Client, run: Run):
    desk.post("/v1/orders", json=order("A-1"))
    arm(desk)
    fired = desk.post("/v1/dead-man-switches/fire", json={"account_id": "main"})
    assert (fired.status_code, fired.json()["status"]) == (201, "FIRED")
    assert status(desk, "A-1") == "PENDING_CANCEL"
    assert desk.post("/v1/dead-man-switches/fire", json={"account_id": "main"}).status_code == 409
    arm(desk)
    assert "has fired" in run("dead-man-switch", "fire").stdout
    assert run("verify", "--derivation").returncode == 0
