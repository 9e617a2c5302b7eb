"""Dead man's switches by HTTP and command: armed, extended beside the log, listed; and what fires them from the log."""

import time
from datetime import timedelta
from typing import Any

import httpx
import pytest

from api.clock import now
from api.daybook import Daybook
from api.intake.stopping import dead_man as switches
from domain import dead_man
from domain.dead_man import State
from domain.ledger import scan
from tests.api.client import order
from tests.api.command_line import Run, parsed

SECONDS_MAX = 30


def arm(desk: httpx.Client, countdown_ms: int = 30_000, **more: Any) -> httpx.Response:
    return desk.post("/v1/dead-man-switches", json={"account_id": "main", "countdown_ms": countdown_ms} | more)


class Follower:
    """The process manager over the log of a running server, a step at a time."""

    def __init__(self, daybook: Daybook) -> None:
        self._daybook = daybook
        self._state, self._seq = State(), 0

    def step(self, later: timedelta = timedelta()) -> list[str]:
        """Follow the log to its end, then what is due `later` than now; the ids of the requests that were sent."""
        found = []
        for logged in scan(self._daybook.history, after=self._seq):
            self._state, reactions = dead_man.react(self._state, logged)
            found += reactions
            self._seq = logged.seq
        at = now() + later
        self._state, reactions = dead_man.due(switches.passed(self._daybook, self._state, at), at)
        found += reactions
        for each in found:
            self._daybook.writer.request(each.request, actor=each.identity, request_id=each.request_id)
        return [each.request_id for each in found]


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


def test_a_countdown_that_passes_cancels_the_orders_and_one_that_is_extended_does_not(
    desk: httpx.Client, daybook: Daybook
):
    follower = Follower(daybook)
    desk.post("/v1/orders", json=order("A-1", strategy_id="maker"))
    desk.post("/v1/orders", json=order("A-2"))
    arm(desk, 20_000, strategy_id="maker")
    assert follower.step(timedelta(seconds=15)) == []
    arm(desk, 20_000, strategy_id="maker")
    assert follower.step(timedelta(seconds=19)) == [], "extended a moment ago"
    assert follower.step(timedelta(seconds=25)) == ["dead-man-main-maker-1"]
    late = arm(desk, 20_000, strategy_id="maker")
    assert late.status_code == 201 and late.json()["version"] == 2, "armed again: it has fired"
    (canceled,) = follower.step()
    assert canceled.startswith("dead-man-")
    assert follower.step() == [] and Follower(daybook).step() == [canceled], "the same again, which changes nothing"
    seq = desk.get("/v1/events", params={"stream": "order:main:A-1"}).json()["items"][-1]["seq"]
    statuses = [
        desk.get(f"/v1/orders/main/{name}", params={"min_seq": seq}).json()["status"] for name in ("A-1", "A-2")
    ]
    assert statuses == ["PENDING_CANCEL", "PENDING_NEW"]
    fired = [row for row in desk.get("/v1/dead-man-switches").json()["switches"] if row["fired_at"]]
    assert [(row["strategy_id"], row["status"]) for row in fired] == [("maker", "ARMED")]


def test_an_extension_after_the_deadline_is_refused_until_the_switch_has_fired(desk: httpx.Client, daybook: Daybook):
    arm(desk, 1000)
    until = time.monotonic() + SECONDS_MAX
    while (late := arm(desk, 1000)).status_code == 200 and time.monotonic() < until:
        time.sleep(1.05)
    assert late.status_code == 409 and "being fired" in late.json()["detail"]
    follower = Follower(daybook)
    assert follower.step() == ["dead-man-main--1"]
    assert arm(desk, 30_000).status_code == 201


def test_a_switch_whose_countdown_is_lost_with_the_server_counts_down_in_full_again(
    desk: httpx.Client, daybook: Daybook
):
    arm(desk, 20_000)
    with daybook.countdowns._pool.connection() as connection:
        connection.execute("UPDATE ledger.countdowns SET version = 0")  # a crash leaves none
    follower = Follower(daybook)
    assert follower.step(timedelta(seconds=100)) == [], "begun again"
    assert follower.step(timedelta(seconds=119)) == []
    assert follower.step(timedelta(seconds=121)) == ["dead-man-main--1"]


def test_a_switch_is_fired_by_hand(desk: httpx.Client, run: Run):
    arm(desk)
    fired = desk.post("/v1/dead-man-switches/fire", json={"account_id": "main"})
    assert (fired.status_code, fired.json()["status"]) == (201, "FIRED")
    assert desk.post("/v1/dead-man-switches/fire", json={"account_id": "main"}).status_code == 409
    arm(desk)
    assert "has fired" in run("dead-man-switch", "fire").stdout
