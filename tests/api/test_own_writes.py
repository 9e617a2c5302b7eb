"""The client of these tests reads what was written before, however late read models are."""

import re
import threading

import httpx
import pytest

from api.daybook import Daybook
from tests import CHECKOUT
from tests.api.client import BTC, order
from tests.api.command_line import Run
from tests.api.own_writes import takes_min_seq

OTHERS = {"tests/api/own_writes.py", "tests/scenarios/torture/test_api.py"}  # itself, and one that reads nothing


def test_it_waits_wherever_an_operation_can(client: httpx.Client) -> None:
    for path, operations in client.get("/openapi.json").json()["paths"].items():
        names = {each["name"] for each in operations.get("get", {}).get("parameters", ())}
        assert takes_min_seq(re.sub(r"{\w+}", "x", path)) is ("min_seq" in names), path


def test_what_was_written_is_read_even_if_read_models_are_late(
    desk: httpx.Client, daybook: Daybook, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also what a command wrote; a test that passes its own `min_seq` reads what there is."""
    assert desk.get("/v1/orders").json()["items"] == []
    goes_on, advance = threading.Event(), daybook.runner._advance
    monkeypatch.setattr(daybook.runner, "_advance", lambda follower: goes_on.wait(60) and advance(follower))
    submitted = run("order", "submit", "A-1", "--instrument", BTC, "--side", "BUY", "--qty", "1", "--price", "100")
    assert submitted.returncode == 0, submitted.stderr
    assert desk.post("/v1/orders", json=order("A-2")).status_code == 201
    assert desk.get("/v1/orders", params={"min_seq": 0}).json()["items"] == []
    threading.Timer(0.2, goes_on.set).start()
    assert {row["cl_ord_id"] for row in desk.get("/v1/orders").json()["items"]} == {"A-1", "A-2"}


def test_tests_read_through_it() -> None:
    modules = [path for path in (CHECKOUT / "tests").rglob("*.py") if "httpx.Client(" in path.read_text()]
    found = {path.relative_to(CHECKOUT).as_posix() for path in modules} - {"tests/api/test_own_writes.py"}
    assert found <= OTHERS, "make a tests.api.own_writes.Client: a read would see a book that has not followed yet"
