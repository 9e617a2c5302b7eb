"""Idempotency-Key: carried out once, answered alike for ever; and who writes when two processes serve one book."""

import hashlib
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import psycopg
import pytest
from starlette.responses import Response

from adapters.postgres.scopes import Scope
from adapters.writer.batch import Keyed
from api.daybook import Daybook
from api.http.idempotency import decimals_of, packed
from api.intake import controls_http, requests_http
from api.intake.venue_reports.parsing import VenueReportSubmission
from api.main import body_of
from api.settings import Settings
from api.what_if import http as what_if_http
from domain.errors import RequestRefused
from domain.ledger import Command
from domain.order import CancelOrder, OrderKey
from tests.api.client import BTC, fill, listing, open_book, order, serving
from tests.api.own_writes import Client
from tests.desk import T0

PROBLEM = "application/problem+json"


def same(first: httpx.Response, again: httpx.Response) -> bool:
    """Whether it is the same answer, byte for byte."""
    shown = [
        (each.status_code, each.content, each.headers["content-type"], each.headers.get("daybook-seq"))
        for each in (first, again)
    ]
    return shown[0] == shown[1]


def seq(client: httpx.Client) -> int:
    head: int = client.get("/v1/events").json()["seq"]
    return head


KEYED: list[tuple[str, Any, int]] = [
    ("/v1/accounts", {"account_id": "second", "base_currency": "USDT"}, 201),
    ("/v1/instruments", listing(instrument_id="ETHUSDT.BINANCE", base="ETH"), 201),
    ("/v1/limits", {"account_id": "main", "measure": "MAX_POSITION", "limit": "5"}, 201),
    ("/v1/orders", order(), 201),
    ("/v1/orders", order("A-2", instrument_id="NOPE.BINANCE"), 409),
    ("/v1/venue-reports", {"reports": [fill()]}, 200),
    ("/v1/venue-reports", {"reports": [fill("E-2"), fill("E-3", instrument_id="NOPE.BINANCE")]}, 207),
    ("/v1/venue-reports", {"reports": [{"type": "filled"}]}, 422),
    (
        "/v1/transfers",
        {
            "account_id": "main", "instrument_id": BTC, "transfer_id": "T-1", "quantity": "1", "cost": "100",
            "transact_time": "2026-01-02T00:00:00Z",
        },
        201,
    ),
    ("/v1/marks", {"marks": [{"instrument_id": BTC, "price": "100", "quality": "MID"}]}, 201),
]  # fmt: skip


@pytest.mark.parametrize(("path", "body", "status"), KEYED)
def test_a_request_sent_again_under_its_key_gets_the_first_answer_and_adds_nothing(
    desk: httpx.Client, path: str, body: Any, status: int
) -> None:
    headers = {"Idempotency-Key": "k-1"}
    first = desk.post(path, json=body, headers=headers)
    assert first.status_code == status
    after = seq(desk)
    for _ in range(2):
        assert same(first, desk.post(path, json=body, headers=headers))
    assert seq(desk) == after
    other = desk.post(path, json=body, headers={"Idempotency-Key": "k-2"})
    assert other.status_code != 422 or status == 422


def test_a_repetition_says_that_it_is_one(desk: httpx.Client) -> None:
    keyed = {"Idempotency-Key": "k"}
    first, again = (desk.post("/v1/orders", json=order(), headers=keyed) for _ in range(2))
    assert "idempotency-replayed" not in first.headers
    assert (again.status_code, again.headers["idempotency-replayed"]) == (201, "true")
    refused = {"Idempotency-Key": "refused"}
    first, again = (desk.post("/v1/orders", json=order("A-2", price="0.001"), headers=refused) for _ in range(2))
    assert (first.status_code, again.status_code, again.headers["idempotency-replayed"]) == (409, 409, "true")
    assert first.json()["code"] == again.json()["code"] == "TICK_SIZE"
    described = desk.get("/openapi.json").json()["paths"]["/v1/orders"]["post"]["responses"]
    assert (
        "Idempotency-Replayed" in described["201"]["headers"] and "Idempotency-Replayed" in described["409"]["headers"]
    )


SAME = (
    (
        b'{"account_id":"main","cl_ord_id":"A-1","instrument_id":"BTCUSDT.BINANCE","side":"BUY","order_qty":"1",'
        b'"price":"100"}'
    ),
    (
        b'{ "price": 100, "side": "BUY", "order_qty": "1.00", "instrument_id": "BTCUSDT.BINANCE",\n'
        b'  "cl_ord_id": "A\\u002d1", "account_id": "main" }'
    ),
)


def test_bodies_are_compared_as_parsed(desk: httpx.Client) -> None:
    headers = {"Idempotency-Key": "k", "Content-Type": "application/json"}
    first, again = (desk.post("/v1/orders", content=body, headers=headers) for body in SAME)
    assert first.status_code == 201 and same(first, again), again.text
    for other in (b'"order_qty":"1.01"', b'"order_qty":"1","strategy_id":"main"'):
        body = SAME[0].replace(b'"order_qty":"1"', other)
        refused = desk.post("/v1/orders", content=body, headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")
    reported = b'{"reports":[%s]}' % json.dumps(fill(last_px="100")).encode()
    spaced = json.dumps({"reports": [fill(last_px="100.0")]}, indent=1, sort_keys=True).encode()
    headers["Idempotency-Key"] = "reports"
    assert same(*(desk.post("/v1/venue-reports", content=body, headers=headers) for body in (reported, spaced)))


def test_an_answer_that_an_older_release_stored_stays_valid(desk: httpx.Client, daybook: Daybook) -> None:
    caller = daybook.keys.verify(desk.headers["Authorization"].removeprefix("Bearer "))
    assert caller is not None
    digest = hashlib.sha256(b"POST /v1/orders\n" + SAME[0]).digest()  # of the bytes, as it was until then
    stored = packed(Response(b'{"stored":true}', status_code=201, media_type="application/json"))
    cancel = Command(CancelOrder(OrderKey("main", "unknown"), "", T0), caller.identity)
    daybook.writer.carry_out_once(cancel, Keyed("old", digest, lambda *_: stored))
    headers = {"Idempotency-Key": "old", "Content-Type": "application/json"}
    again, other = (desk.post("/v1/orders", content=body, headers=headers) for body in SAME)
    assert (again.status_code, again.json()) == (201, {"stored": True})
    assert (other.status_code, other.json()["code"]) == (422, "IDEMPOTENCY_KEY_REUSED"), "known by its bytes alone"


def test_no_name_of_a_field_holds_a_decimal_here_and_text_there() -> None:
    routers = (requests_http, controls_http, what_if_http)
    models = [field.field_info.annotation for part in routers for field in map(body_of, part.router.routes) if field]
    shapes = [*models, VenueReportSubmission]
    decimals = decimals_of(shapes)
    assert {"price", "order_qty", "last_qty", "limit", "amount", "stop_px"} <= decimals
    assert not {"cl_ord_id", "account_id", "reason", "exec_id", "name", "note"} & decimals


def test_the_first_answer_is_given_even_when_things_have_changed_since(desk: httpx.Client) -> None:
    desk.post("/v1/orders", json=order())
    keyed = {"Idempotency-Key": "cancel"}
    limit = {"account_id": "main", "measure": "MAX_POSITION", "limit": "5"}
    set_first = desk.post("/v1/limits", json=limit, headers={"Idempotency-Key": "limit"})
    first = desk.post("/v1/orders/main/A-1/cancel", json={}, headers=keyed)
    assert (first.status_code, first.json()["status"]) == (201, "PENDING_CANCEL")
    desk.post("/v1/venue-reports", json={"reports": [fill()]})
    desk.post("/v1/limits", json=limit | {"limit": "9"})
    assert same(first, desk.post("/v1/orders/main/A-1/cancel", json={}, headers=keyed))
    assert same(set_first, desk.post("/v1/limits", json=limit, headers={"Idempotency-Key": "limit"}))


def test_a_key_names_one_request_of_one_caller(desk: httpx.Client, client_for: Callable[..., httpx.Client]) -> None:
    keyed = {"Idempotency-Key": "k"}
    desk.post("/v1/orders", json=order(), headers=keyed)
    before = seq(desk)
    for path, body in [("/v1/orders", order(price="101")), ("/v1/transfers", order())]:
        answer = desk.post(path, json=body, headers=keyed)
        assert answer.status_code == 422
        assert answer.headers["content-type"] == PROBLEM
    assert desk.post("/v1/orders", json=order(price="101"), headers=keyed).json()["type"].endswith("key-reused")
    assert seq(desk) == before
    other = client_for("trade", actor="other")
    assert other.post("/v1/orders", json=order("B-1"), headers=keyed).status_code == 201


@pytest.mark.parametrize("key", ["", "x" * 256, "with space"])
def test_a_key_that_is_none_is_refused(desk: httpx.Client, key: str) -> None:
    assert desk.post("/v1/orders", json=order(), headers={"Idempotency-Key": key}).status_code == 422


def test_the_same_key_at_once_is_carried_out_once(desk: httpx.Client) -> None:
    before = seq(desk)

    def send(n: int) -> httpx.Response:
        return desk.post(
            "/v1/venue-reports", json={"reports": [fill(f"E-{n % 3}")]}, headers={"Idempotency-Key": f"{n % 3}"}
        )

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(send, range(36)))
    for n in range(3):
        assert all(same(answers[n], again) for again in answers[n::3])
        assert answers[n].json()["recorded"] == 1
    fills = [each for each in desk.get(f"/v1/events?after={before}").json()["items"] if each["topic"] == "OrderFilled"]
    assert len(fills) == 3


def test_key_and_events_are_one_transaction_and_outlive_the_process(
    desk: httpx.Client, settings: Settings, database_url: str
) -> None:
    first = desk.post("/v1/orders", json=order(), headers={"Idempotency-Key": "k"})
    with psycopg.connect(database_url) as owner:
        row = owner.execute("SELECT actor, first_seq, last_seq, recorded_at FROM ledger.requests").fetchone()
        assert row is not None
        stored = owner.execute(
            "SELECT min(notification_id), max(notification_id), max(recorded_at) FROM ledger.events"
            " WHERE notification_id BETWEEN %s AND %s AND state LIKE '%%A-1%%'",
            row[1:3],
        ).fetchone()
        writers = owner.execute(
            "SELECT (SELECT xmin FROM ledger.requests) = ALL (SELECT xmin FROM ledger.events WHERE notification_id"
            " BETWEEN %s AND %s)",
            row[1:3],
        ).fetchone()
    assert (row[0], stored) == ("desk", row[1:])
    assert writers == (True,)
    desk_key = desk.headers["Authorization"]
    with Daybook.open(settings) as again, serving(again) as url:
        standby = httpx.post(
            f"{url}/v1/orders", json=order("B"), headers={"Authorization": desk_key, "Idempotency-Key": "other"}
        )
        assert (standby.status_code, standby.headers["retry-after"]) == (503, "1")
        assert standby.json()["type"].endswith("not-leading")
        assert f"process {os.getpid()}" in standby.json()["detail"]
        assert httpx.get(f"{url}/v1/events", headers={"Authorization": desk_key}).status_code == 200
    assert same(first, desk.post("/v1/orders", json=order(), headers={"Idempotency-Key": "k"}))


def test_a_new_process_knows_the_keys_of_the_old_one(settings: Settings) -> None:
    answers = []
    for _ in range(2):
        with Daybook.open(settings) as book, serving(book) as url:
            key = book.keys.issue("desk", list(Scope))
            with Client(base_url=url, headers={"Authorization": f"Bearer {key}"}) as client:
                if not answers:
                    open_book(client)
                answers.append(client.post("/v1/orders", json=order(), headers={"Idempotency-Key": "k"}))
    assert same(*answers)


def test_a_full_queue_is_429_with_a_time_to_come_back(
    desk: httpx.Client, daybook: Daybook, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = daybook.writer._group
    assert group is not None
    with monkeypatch.context() as patched:
        patched.setattr(group, "_pop", lambda: None)  # the writer takes nothing off its queue
        patched.setattr(group, "_queued_max", 1)
        waiting = group.submit(Command(CancelOrder(OrderKey("main", "unknown"), "", T0), "bot"))
        answer = desk.post("/v1/orders", json=order())
    assert isinstance(waiting.result(60)[0].error, RequestRefused)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
    assert answer.json()["type"].endswith("busy")
    assert desk.post("/v1/orders", json=order()).status_code == 201
