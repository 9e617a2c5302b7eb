"""Proofs over HTTP: what is answered is checked with the public key and RFC 6962 alone."""

import base64
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import httpx
import pytest

from adapters.proof import checkpoints
from api.daybook import Daybook
from domain.sealed import merkle
from tests import rfc6962
from tests.api.client import order, serving
from tests.api.own_writes import Client

pytestmark = pytest.mark.slow

WAIT_SECONDS_MAX = 60


def get(client: httpx.Client, path: str, **params: Any) -> dict[str, Any]:
    response = client.get(path, params=params)
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


@pytest.fixture
def sealed(desk: httpx.Client) -> dict[str, Any]:
    """The newest checkpoint, of a log with some events in it, all of them sealed."""
    for n in range(5):
        assert desk.post("/v1/orders", json=order(f"A-{n}")).status_code == 201
    head = get(desk, "/v1/events", limit=1)["seq"]
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while time.monotonic() < deadline:
        response = desk.get("/v1/checkpoints/latest")
        if response.status_code == 200 and response.json()["size"] >= head:
            return dict(response.json())
        time.sleep(0.02)
    raise AssertionError("not sealed in time")


def raw(texts: list[str]) -> list[bytes]:
    return [base64.b64decode(text) for text in texts]


def test_a_checkpoint_is_signed_by_the_published_key(desk: httpx.Client, sealed: dict[str, Any]) -> None:
    (key,) = get(desk, "/v1/proofs/keys")["items"]
    note = checkpoints.parse(sealed["note"])
    assert note.is_signed_by(checkpoints.public_key(key["vkey"]))
    assert (note.checkpoint.origin, note.checkpoint.size) == (sealed["origin"], sealed["size"])
    assert base64.b64encode(note.checkpoint.root).decode() == sealed["root"]
    assert desk.get("/v1/checkpoints/latest/note").text == sealed["note"]


def test_every_event_is_proved_by_the_bytes_that_are_shown(desk: httpx.Client, sealed: dict[str, Any]) -> None:
    events = get(desk, "/v1/events", limit=1000)["items"]
    for event in events:
        shown = get(desk, "/v1/proofs/inclusion", seq=event["seq"], size=sealed["size"])
        assert shown["root"] == sealed["root"] and shown["leaf_index"] == event["seq"] - 1
        claimed = rfc6962.root_by_path(event["state"].encode(), shown["leaf_index"], shown["size"], raw(shown["proof"]))
        assert base64.b64encode(claimed).decode() == sealed["root"]


def test_every_checkpoint_is_proved_to_continue_the_one_before(desk: httpx.Client, sealed: dict[str, Any]) -> None:
    found, after = [], 0
    while True:
        page = get(desk, "/v1/checkpoints", after=after, limit=1)
        found += page["items"]
        if page["next"] is None:
            break
        after = page["next"]
    assert found[-1]["size"] >= sealed["size"]
    for old, new in pairwise(found):
        shown = get(desk, "/v1/proofs/consistency", **{"from": old["size"], "to": new["size"]})
        old_root, new_root = raw([old["root"], new["root"]])
        assert merkle.is_consistent(old["size"], new["size"], old_root, new_root, raw(shown["proof"]))
        assert (shown["from_root"], shown["to_root"]) == (old["root"], new["root"])


def test_an_event_is_provable_as_soon_as_it_is_answered(desk: httpx.Client, sealed: dict[str, Any]) -> None:
    for n in range(3):
        seq = int(desk.post("/v1/orders", json=order(f"soon-{n}")).headers["Daybook-Seq"])
        assert seq > sealed["size"]
        assert get(desk, "/v1/proofs/inclusion", seq=seq)["size"] >= seq


def test_what_is_not_in_the_log_has_no_proof(desk: httpx.Client, sealed: dict[str, Any]) -> None:
    for path, query in (
        ("inclusion", {"seq": sealed["size"] + 1000}),
        ("consistency", {"from": sealed["size"] + 1000}),
    ):
        response = desk.get(f"/v1/proofs/{path}", params=query)
        assert response.status_code == 422 and "which ends at" in response.text
    response = desk.get("/v1/proofs/consistency", params={"from": 5, "to": 3})
    assert response.status_code == 409


@pytest.mark.parametrize(
    "path",
    ["/v1/checkpoints/latest", "/v1/checkpoints", "/v1/proofs/inclusion?seq=1", "/v1/proofs/consistency?from=1",
     "/v1/proofs/keys", "/v1/proofs/tlog?seq=1"],
)  # fmt: skip
def test_proofs_are_for_auditors(client_for: Callable[..., httpx.Client], path: str) -> None:
    assert client_for().get(path).status_code == 401
    assert client_for("trade", "report").get(path).status_code == 403


def test_the_first_event_of_a_ledger_is_its_signing_key(daybook: Daybook) -> None:
    """In a demo, which needs no key: issuing one is an event too."""
    with serving(daybook, demo=True) as url, Client(base_url=url, timeout=30) as stranger:
        (key,) = get(stranger, "/v1/proofs/keys")["items"]
        assert (key["since_size"], key["recorded_seq"]) == (0, 1)
        (event,) = get(stranger, "/v1/events")["items"]
        assert event["seq"] == 1 and key["vkey"] in event["state"] and "SigningKeyStarted" in event["state"]
        assert stranger.get("/v1/proofs/inclusion", params={"seq": 2}).status_code == 422
