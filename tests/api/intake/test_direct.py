"""Orders over HTTP: on the event loop, answered alike whether their arguments are found directly or not."""

import itertools
from collections.abc import Callable
from typing import Any

import httpx

from tests.api.client import BTC

ORDER = {
    "account_id": "main", "cl_ord_id": "A-1", "instrument_id": BTC, "side": "BUY", "order_qty": "1", "price": "100",
}  # fmt: skip


def test_a_bad_field_is_named_at_once(desk: httpx.Client) -> None:
    changes: list[dict[str, Any]] = [{"side": "LEND"}, {"price": 1.5}, {"order_qty": None}, {"x": 1}]
    for change, key in itertools.product(changes, ({}, {"Idempotency-Key": "k-1"})):
        answer = desk.post("/v1/orders", json=ORDER | change, headers=key, timeout=5)
        assert answer.status_code == 422
        assert [each["field"] for each in answer.json()["errors"]] == list(change)


def test_what_is_no_order_or_has_no_possible_key_is_refused(desk: httpx.Client) -> None:
    for body in (b"", b"null", b"[]", b'"order"'):
        answer = desk.post("/v1/orders", content=body, headers={"Content-Type": "application/json"}, timeout=5)
        assert answer.status_code == 422
    for key in ("", "k" * 256, "with blank", "\xe9"):
        headers = {b"Idempotency-Key": key.encode("latin-1")}
        answer = desk.post("/v1/orders", json=ORDER, headers=headers, timeout=5)  # type: ignore[arg-type]
        assert answer.status_code == 422
        assert "idempotency-key" in answer.text.lower()
    assert desk.get("/v1/orders/main/A-1").status_code == 404


def test_a_key_without_the_scope_is_refused(desk: httpx.Client, client_for: Callable[..., httpx.Client]) -> None:
    answer = client_for("read").post("/v1/orders", json=ORDER)
    assert answer.status_code == 403
    assert answer.json()["scope"] == "trade"


def test_an_order_again_is_answered_alike_with_and_without_a_key(desk: httpx.Client) -> None:
    first = desk.post("/v1/orders", json=ORDER)
    again = desk.post("/v1/orders", json=ORDER)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    keyed = [desk.post("/v1/orders", json=ORDER, headers={"Idempotency-Key": "k-2"}) for _ in range(2)]
    assert [each.status_code for each in keyed] == [200, 200]
    assert keyed[0].content == keyed[1].content == again.content
