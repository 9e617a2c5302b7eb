"""Draft and shadow limits by HTTP and command: set, moved, shown, and what they would have refused."""

from collections.abc import Callable
from typing import Any

import httpx

from tests.api.client import order
from tests.api.command_line import Run, parsed


def limit(value: str | None, **more: Any) -> dict[str, Any]:
    return {"account_id": "main", "measure": "MAX_POSITION", "limit": value} | more


def shown(desk: httpx.Client, seq: str, **query: str) -> list[tuple[str, str, int | None]]:
    rows = desk.get("/v1/limits", params={"min_seq": seq, **query}).json()["items"]
    return [(row["status"], row["limit"], row["would_refuse"]) for row in rows]


def test_a_tighter_shadow_beside_an_active_limit_records_what_it_would_refuse(desk: httpx.Client, run: Run):
    assert desk.post("/v1/limits", json=limit("10")).json()["status"] == "ACTIVE"
    draft = desk.post("/v1/limits", json=limit("2", status="DRAFT"))
    assert (draft.status_code, draft.json()["status"], draft.json()["version"]) == (201, "DRAFT", 1)
    assert shown(desk, draft.headers["Daybook-Seq"]) == [("ACTIVE", "10", None), ("DRAFT", "2", None)]
    moved = desk.post("/v1/limits", json=limit("2", status="SHADOW"))
    assert desk.post("/v1/limits", json=limit("2", status="SHADOW")).status_code == 200
    assert shown(desk, moved.headers["Daybook-Seq"]) == [("ACTIVE", "10", None), ("SHADOW", "2", 0)]

    assert desk.post("/v1/orders", json=order("A-1", order_qty="2")).status_code == 201
    assert desk.post("/v1/orders", json=order("A-2", order_qty="1")).status_code == 201, "it passes"
    refused = desk.post("/v1/orders", json=order("A-3", order_qty="9"))
    assert refused.status_code == 409, "beyond the active limit"
    seq = refused.headers["Daybook-Seq"]

    assert shown(desk, seq) == [("ACTIVE", "10", None), ("SHADOW", "2", 1)]
    assert shown(desk, seq, status="SHADOW") == [("SHADOW", "2", 1)]
    found = desk.get("/v1/limits/would-refuse", params={"min_seq": seq}).json()
    (row,) = found["items"]
    numbers = tuple(
        row[name] for name in ("account_id", "measure", "limit", "used", "with_order", "cl_ord_id", "order_qty")
    )
    assert numbers == ("main", "MAX_POSITION", "2", "2", "3", "A-2", "1")
    (count,) = found["totals"]
    assert (count["orders"], count["limit"], count["with_order_max"]) == (1, "2", "3")
    other = {"min_seq": seq, "instrument_id": "ETHUSDT.BINANCE"}
    assert desk.get("/v1/limits/would-refuse", params=other).json()["items"] == []
    for leg, count in (("BOTH", 1), ("SHORT", 0)):
        of_leg = desk.get("/v1/limits/would-refuse", params={"min_seq": seq, "position_side": leg}).json()["items"]
        assert [each["position_side"] for each in of_leg] == [leg] * count
    rows = desk.get("/v1/limits/would-refuse", params={"format": "csv"}).text.splitlines()
    assert len(rows) == 2 and "A-2" in rows[1]

    by_command = parsed(run("limit", "would-refuse", "--json"))
    assert [each["cl_ord_id"] for each in by_command["items"]] == ["A-2"]
    assert "A-2" in run("limit", "would-refuse").stdout
    assert "1" in run("limit", "list", "--status", "shadow").stdout
    assert [each["status"] for each in parsed(run("limit", "list", "--json"))["items"]] == ["ACTIVE", "SHADOW"]
    tried = {"activate": ["SHADOW"]}
    assert [each["cl_ord_id"] for each in desk.post("/v1/what-if", json=tried).json()["verdicts"]] == ["A-2"]
    assert [each["cl_ord_id"] for each in parsed(run("what-if", "--activate", "shadow", "--json"))["verdicts"]] == [
        "A-2"
    ]
    assert desk.post("/v1/what-if", json={"activate": ["DRAFT"]}).status_code == 422, "no draft is set"
    assert run("verify", "--derivation").returncode == 0


def test_a_limit_is_moved_and_lifted_by_command(book: Run):
    base = ("limit", "set", "--measure", "MAX_POSITION")
    assert parsed(book(*base, "--limit", "5", "--status", "draft", "--json"))["status"] == "DRAFT"
    assert "SHADOW MAX_POSITION" in book(*base, "--limit", "5", "--status", "SHADOW").stdout
    assert parsed(book(*base, "--limit", "5", "--json"))["is_changed"]
    assert [each["status"] for each in parsed(book("limit", "list", "--json"))["items"]] == ["ACTIVE"]
    assert parsed(book(*base, "--json"))["is_changed"], "lifted"
    assert parsed(book("limit", "list", "--json"))["items"] == []


def test_to_take_an_active_limit_out_of_force_needs_a_second_person(
    desk: httpx.Client, client_for: Callable[..., httpx.Client]
):
    desk.post("/v1/limits", json=limit("10"))
    assert desk.post("/v1/approval-policy", json={"actions": ["limit"], "valid_hours": 24}).status_code < 300
    assert desk.post("/v1/limits", json=limit("5", status="SHADOW")).status_code == 201, "one beside loosens nothing"
    proposed = desk.post("/v1/limits", json=limit("10", status="SHADOW"))
    assert (proposed.status_code, proposed.json()["action"]) == (202, "limit")
    other = client_for("admin", actor="second")
    done = other.post(f"/v1/approvals/{proposed.json()['proposal_id']}")
    assert done.status_code in (200, 201), done.text
    assert shown(desk, done.headers["Daybook-Seq"]) == [("SHADOW", "10", 0)]
    assert desk.post("/v1/limits", json=limit("10")).status_code == 201, "to put it in force again loosens nothing"
