"""Buying power over HTTP and by command: set as a limit, refused with numbers, and shown."""

from decimal import Decimal

import httpx

from api.clock import now
from api.daybook import Daybook
from domain.account import BookEntry, EntryKind, Indicator
from domain.values import Money
from tests.api.client import order
from tests.api.command_line import Run, parsed


def test_an_order_beyond_the_buying_power_is_refused_with_its_numbers(desk: httpx.Client, daybook: Daybook, run: Run):
    leverage = {"account_id": "main", "measure": "BUYING_POWER", "limit": "1"}
    assert desk.post("/v1/limits", json=leverage).status_code == 201
    opening = Money(Decimal(250), "USDT")
    cash = BookEntry("main", "C-1", EntryKind.OPENING, Indicator.CREDIT, opening, "opening", now())
    daybook.writer.report([cash], actor="venue")
    assert desk.post("/v1/orders", json=order("A-1", order_qty="2")).status_code == 201
    refused = desk.post("/v1/orders", json=order("A-2"))
    assert refused.status_code == 409
    facts = refused.json()
    assert (facts["measure"], facts["required"], facts["available"], facts["currency"]) == (
        "BUYING_POWER", "100", "50", "USDT",
    )  # fmt: skip
    shown = desk.get("/v1/buying-power", params={"account_id": "main"}).json()
    assert shown["is_limited"] and shown["items"] == [
        {"currency": "USDT", "balance": "250", "committed": "200", "available": "50"}
    ]
    listed = {"min_seq": refused.headers["Daybook-Seq"]}
    (used,) = desk.get("/v1/limits", params=listed).json()["items"]
    assert [used[name] for name in ("limit", "subject", "currency", "used", "headroom", "utilisation")] == [
        "1", "USDT", "USDT", "200", "50", "0.8",
    ]  # fmt: skip
    assert used["is_breached"] is False
    assert [each["headroom"] for each in desk.get("/v1/risk", params=listed).json()["limits"]] == ["50"]
    assert parsed(run("report", "risk", "--json"))["items"][0]["headroom"] == "50"
    assert parsed(run("limit", "buying-power", "--json"))["items"][0]["available"] == "50"
    assert desk.get("/v1/buying-power", params={"account_id": "other"}).status_code == 404
    row = desk.get("/v1/orders/main/A-2", params={"min_seq": refused.headers["Daybook-Seq"]}).json()
    assert row["facts"]["required"] == "100", "and the refusal is on record"
