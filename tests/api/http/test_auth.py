"""Who may do what: keys and scopes, revocation, the demo."""

import time
from collections.abc import Callable

import httpx
import psycopg

from adapters.postgres.scopes import Scope
from api.daybook import Daybook
from tests.api.client import open_book, order, serving
from tests.api.own_writes import Client

WRITES = ["/v1/accounts", "/v1/instruments", "/v1/limits", "/v1/orders", "/v1/orders/main/A-1/cancel",
          "/v1/venue-reports", "/v1/reports", "/v1/transfers", "/v1/marks"]  # fmt: skip
READS = ["/v1/orders", "/v1/orders/main/A-1", "/v1/executions", "/v1/positions", "/v1/lots", "/v1/matches", "/v1/pnl",
         "/v1/exposure", "/v1/limits", "/v1/breaks", "/v1/events", "/v1/events/1", "/v1/accounts", "/v1/accounts/main",
         "/v1/instruments"]  # fmt: skip
ClientFor = Callable[..., httpx.Client]


NO_KEYS: list[dict[str, str]] = [
    {},
    {"Authorization": "Bearer nonsense"},
    {"X-API-Key": "dbk_a_b"},
    {"Authorization": "Basic eDp5"},
    {"X-API-Key": "x" * 500},
]


def test_without_a_valid_key_nothing_is_written_or_read(client_for: ClientFor):
    client = client_for()
    for header in NO_KEYS:
        answers = [client.post(path, json={}, headers=header) for path in WRITES]
        answers += [client.get(path, headers=header) for path in READS]
        for answer in answers:
            assert answer.status_code == 401, answer.url
            assert answer.headers["www-authenticate"] == "Bearer"
            assert answer.json()["type"] == "urn:daybook:problem:unauthenticated"


NEEDED = {"/v1/accounts": "admin", "/v1/instruments": "admin", "/v1/limits": "admin", "/v1/orders": "trade",
          "/v1/orders/main/A-1/cancel": "trade", "/v1/venue-reports": "record", "/v1/reports": "record",
          "/v1/transfers": "record", "/v1/marks": "record"}  # fmt: skip


def test_every_write_needs_its_scope_and_no_other_will_do(client_for: ClientFor):
    for path, scope in NEEDED.items():
        others = [other for other in Scope if other not in (scope, Scope.REPORT)]
        answer = client_for(*others).post(path, json={})
        assert (path, answer.status_code, answer.json()["scope"]) == (path, 403, scope)
        assert client_for(scope).post(path, json={}).status_code in (404, 422)


def test_the_log_needs_audit_and_the_read_models_any_key(client_for: ClientFor):
    trader = client_for("trade")
    assert trader.get("/v1/events").status_code == 403
    assert trader.get("/v1/events/1").status_code == 403
    assert trader.get("/v1/positions").status_code == 200
    assert client_for("audit").get("/v1/events").status_code == 200


def test_a_key_works_in_either_header(client_for: ClientFor, daybook: Daybook):
    key = daybook.keys.issue("bot", [Scope.TRADE])
    anonymous = client_for()
    assert anonymous.get("/v1/orders", headers={"X-API-Key": key}).status_code == 200
    assert anonymous.get("/v1/orders", headers={"Authorization": f"Bearer {key}"}).status_code == 200
    tampered = key[:-1] + ("A" if key[-1] != "A" else "B")
    assert anonymous.get("/v1/orders", headers={"X-API-Key": tampered}).status_code == 401


def test_a_revoked_key_stops_working_within_seconds(client_for: ClientFor, daybook: Daybook):
    key = daybook.keys.issue("bot", [Scope.TRADE])
    client = client_for()
    assert client.get("/v1/orders", headers={"X-API-Key": key}).status_code == 200
    assert daybook.keys.revoke(key.split("_")[1]) is True
    assert daybook.keys.revoke(key.split("_")[1]) is False
    deadline = time.monotonic() + 30
    while client.get("/v1/orders", headers={"X-API-Key": key}).status_code == 200:
        assert time.monotonic() < deadline, "a revoked key still works after 30 s"
        time.sleep(0.05)
    assert client.get("/v1/orders", headers={"X-API-Key": key}).status_code == 401


def test_only_a_hash_of_the_key_is_stored(daybook: Daybook):
    key = daybook.keys.issue("bot", [Scope.TRADE])
    with psycopg.connect(daybook.url) as connection:
        stored = connection.execute("SELECT key_id, key_sha256, actor, scopes FROM access.api_keys").fetchall()
    assert len(key.split("_", 2)[2]) >= 43
    assert key.split("_", 2)[2] not in repr(stored)


def test_the_demo_lets_strangers_read_and_trade_and_nothing_else(daybook: Daybook):
    admin = daybook.keys.issue("desk", list(Scope))
    with serving(daybook, demo=True) as url, Client(base_url=url, timeout=30) as stranger:
        with Client(base_url=url, headers={"X-API-Key": admin}, timeout=30) as desk:
            open_book(desk)
        for path in READS:
            assert stranger.get(path).status_code in (200, 404), path
        assert stranger.post("/v1/orders", json=order()).status_code == 201
        event = stranger.get("/v1/events", params={"stream": "order:main:A-1"}).json()["items"][0]
        assert event["actor"] == "demo"
        for path in WRITES:
            if not path.startswith("/v1/orders"):
                assert stranger.post(path, json={}).status_code == 403, path
        assert stranger.get("/v1/orders", headers={"X-API-Key": "dbk_a_b"}).status_code == 401
