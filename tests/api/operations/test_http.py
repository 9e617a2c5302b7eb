"""Is it alive, is it ready, how is it doing; the log over HTTP; unexpected errors."""

import hashlib
import json
from collections.abc import Callable

import httpx
import psycopg

from api.daybook import Daybook
from tests.api.client import fill, order


def test_health_readiness_and_measures_need_no_key(client_for: Callable[..., httpx.Client], desk: httpx.Client):
    anonymous = client_for()
    head = desk.post("/v1/orders", json=order()).headers["Daybook-Seq"]
    desk.get("/v1/orders", params={"min_seq": head})
    assert anonymous.get("/health").json() == {"status": "ok"}
    for path in ("/ready", "/ready/read", "/ready/write"):
        assert anonymous.get(path).json() == {"status": "ready"}, "strangers see nothing else"
    ready = desk.get("/ready").json()
    assert (ready["status"], ready["seq"]) == ("ready", int(head))
    assert {"orders", "positions", "lots"} <= {each["projection"] for each in ready["projections"]}
    measures = anonymous.get("/metrics").text
    assert f"daybook_log_seq {float(head)}" in measures
    assert 'daybook_http_requests_total{method="POST",route="/v1/orders",status="201"} 1.0' in measures
    assert 'daybook_projection_lag_events{projection="orders"}' in measures
    assert "daybook_database_up 1.0" in measures


def test_unknown_pages_and_methods_are_problems(client: httpx.Client):
    for method, path, status in [
        ("GET", "/nope", 404), ("GET", "/v1/nope", 404), ("DELETE", "/v1/orders", 405), ("GET", "/v1/events/9", 404),
        ("GET", "/v1/events/x", 422), ("GET", "/v1/events/0", 422), ("GET", "/v1/orders/main/A-1", 404),
        ("GET", "/v1/accounts/unknown", 404), ("GET", "/v1/instruments/X.Y", 404), ("POST", "/v1/events", 405),
    ]:  # fmt: skip
        answer = client.request(method, path)
        assert (path, answer.status_code) == (path, status)
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json().keys() >= {"type", "title", "status", "detail", "instance"}
        assert answer.json()["status"] == status
        assert answer.headers["x-request-id"]


def test_events_are_the_stored_bytes_and_their_hash(desk: httpx.Client, daybook: Daybook):
    desk.post("/v1/orders", json=order())
    desk.post("/v1/venue-reports", json={"reports": [fill()]})
    shown = desk.get("/v1/events").json()
    with psycopg.connect(daybook.url) as connection:
        stored = connection.execute("SELECT state FROM ledger.events ORDER BY notification_id").fetchall()
    assert [event["state"].encode() for event in shown["items"]] == [bytes(state) for (state,) in stored]
    assert [event["seq"] for event in shown["items"]] == list(range(1, shown["seq"] + 1))
    for event, (state,) in zip(shown["items"], stored, strict=True):
        assert event["sha256"] == hashlib.sha256(state).hexdigest()
        assert event["record"] == json.loads(state)
        assert desk.get(f"/v1/events/{event['seq']}").json() == event


def test_the_log_is_paged_and_filtered_by_stream(desk: httpx.Client):
    for number in range(5):
        desk.post("/v1/orders", json=order(f"A-{number}"))
    whole = desk.get("/v1/events", params={"limit": 1000}).json()
    assert whole["next"] is None
    seen, after = [], 0
    while after is not None:
        page = desk.get("/v1/events", params={"after": after, "limit": 3}).json()
        seen += page["items"]
        after = page["next"]
    assert seen == whole["items"]
    orders = desk.get("/v1/events", params={"stream": "order:main:A-3"}).json()["items"]
    assert [event["stream"] for event in orders] == ["order:main:A-3"]


def test_a_stopped_read_model_is_shown_as_stopped(desk: httpx.Client, daybook: Daybook):
    head = desk.post("/v1/orders", json=order()).headers["Daybook-Seq"]
    desk.get("/v1/orders", params={"min_seq": head})
    with psycopg.connect(daybook.url, autocommit=True) as connection:
        connection.execute("UPDATE read.progress SET error = 'stopped at seq 9' WHERE projection = 'orders'")
    ready = desk.get("/ready")
    assert (ready.status_code, "orders" in ready.json()["detail"]) == (503, True)
    with psycopg.connect(daybook.url, autocommit=True) as connection:
        connection.execute("UPDATE read.progress SET seq = 1 WHERE projection = 'orders'")
    behind = desk.get("/v1/orders", params={"min_seq": head})
    assert (behind.status_code, "stopped at seq 9" in behind.json()["detail"]) == (503, True)
    assert desk.get("/v1/positions", params={"min_seq": head}).status_code == 200
