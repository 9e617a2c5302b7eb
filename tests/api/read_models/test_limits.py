"""Limits over HTTP, in reports and at the command line: set, met from both sides, and read wherever they are shown."""

import json
from datetime import UTC, datetime
from decimal import Decimal as D
from typing import Any

import httpx
import pytest

from api.daybook import Daybook
from domain.risk import Measure, Scope, SetLimit
from tests.api.client import BTC, fill, order
from tests.api.command_line import Run

pytestmark = pytest.mark.slow

T0 = datetime(2026, 1, 2, tzinfo=UTC)
SCOPES: dict[str, dict[str, Any]] = {
    "firm": {"account_id": None},
    "account": {"account_id": "main"},
    "strategy": {"account_id": "main", "strategy_id": "main"},
    "instrument": {"account_id": "main", "instrument_id": BTC},
    "venue": {"account_id": "main", "venue": "BINANCE"},
    "asset": {"account_id": "main", "asset": "BTC"},
}
# Of a book with 10,000 of capital, 2 BTC bought at 100 and a mark of 80: what is used of each measure.
USED = {
    "MAX_POSITION": "2", "MAX_ORDER_QTY": "0", "MAX_ORDER_NOTIONAL": "0", "PRICE_COLLAR": "0", "MAX_MARK_AGE": None,
    "MAX_POSITION_NOTIONAL": "160", "MAX_NET_EXPOSURE": "160", "MAX_GROSS_EXPOSURE": "160",
    "MAX_LEVERAGE": "0.016064257028112450", "MAX_CONCENTRATION": "0.016064257028112450", "MAX_OPEN_ORDERS": "0",
    "MAX_ORDERS_PER_SECOND": "0", "MAX_ORDERS_PER_MINUTE": None, "MAX_DAILY_LOSS": "40", "MAX_DRAWDOWN": "0.004",
}  # fmt: skip
MONEY = ("MAX_ORDER_NOTIONAL", "MAX_POSITION_NOTIONAL", "MAX_NET_EXPOSURE", "MAX_GROSS_EXPOSURE", "MAX_DAILY_LOSS")


def mark(desk: httpx.Client, price: str) -> str:
    answer = desk.post("/v1/marks", json={"marks": [{"instrument_id": BTC, "price": price}]})
    assert answer.status_code == 201, answer.text
    return answer.headers["Daybook-Seq"]


def test_every_measure_at_every_scope_is_set_and_read_wherever_it_is_shown(
    desk: httpx.Client, daybook: Daybook, run: Run
):
    desk.post("/v1/capital", json={"account_id": "main", "amount": "10000", "currency": "USDT"})
    desk.post("/v1/capital", json={"account_id": None, "amount": "10000", "currency": "USDT"})
    bought = fill(last_qty="2", commission={"amount": "0", "currency": "USDT"})
    desk.post("/v1/venue-reports", json={"reports": [bought]})
    for measure in USED:
        for name, scope in SCOPES.items():
            limit, currency = "1" if measure == "MAX_DRAWDOWN" else "1000", "USDT" if measure in MONEY else None
            if name not in ("firm", "account") and measure != "MAX_LEVERAGE":
                covers = Scope(*(scope.get(part) for part in ("strategy_id", "instrument_id", "venue", "asset")))
                daybook.writer.request(SetLimit("main", covers, Measure(measure), D(limit), currency, T0), actor="desk")
                continue  # in the same way, and faster
            body = {"measure": measure, "limit": limit, "currency": currency, **scope}
            answer = desk.post("/v1/limits", json=body)
            assert answer.status_code == 201, (body, answer.text)
            assert answer.json()["account_id"] == (scope["account_id"] or "firm")
    mark(desk, "100")
    seq = mark(desk, "80")
    shown = desk.get("/v1/limits", params={"min_seq": seq}).json()["items"]
    risk = desk.get("/v1/risk", params={"min_seq": seq}).json()["limits"]
    listed = json.loads(run("limit", "list", "--json").stdout)["limits"]
    report = json.loads(run("report", "risk", "--json").stdout)["items"]
    assert len(shown) == len(USED) * len(SCOPES)
    for rows in (shown, risk, listed, report):
        found = {place(row): row for row in rows}
        assert len(found) == len(rows) == len(shown)
        for measure, used in USED.items():
            for name, scope in SCOPES.items():
                row = found[scope["account_id"] or "firm", name, measure]
                assert {column: row[column] for column in scope if column != "account_id"}.items() <= scope.items()
                assert row["used"] is not None, row
                if used is not None:
                    assert float(row["used"]) == pytest.approx(float(used)), row
                assert float(row["headroom"]) == pytest.approx(float(row["limit"]) - float(row["used"]))
                assert row["is_breached"] is False, row
                assert row["unassessed"] is None, row
                assert row["currency"] == ("USDT" if measure in MONEY else None)
    printed = run("limit", "list").stdout
    assert all(text in printed for text in ("firm", "MAX_DRAWDOWN", "MAX_ORDERS_PER_SECOND"))


def place(row: Any) -> tuple[str, str, str]:
    return (row["account_id"], row["scope"], row["measure"])


def test_a_mark_alone_breaches_and_it_is_shown(desk: httpx.Client, run: Run):
    desk.post("/v1/capital", json={"account_id": "main", "amount": "1000", "currency": "USDT"})
    desk.post("/v1/venue-reports", json={"reports": [fill(commission={"amount": "0", "currency": "USDT"})]})
    for measure, limit, currency in (("MAX_DAILY_LOSS", "50", "USDT"), ("MAX_DRAWDOWN", "0.05", None)):
        body = {"account_id": "main", "measure": measure, "limit": limit, "currency": currency}
        assert desk.post("/v1/limits", json=body).status_code == 201
    assert desk.post("/v1/policies/LOSS/pause", json={"account_id": "firm", "reason": "limits alone"}).is_success
    mark(desk, "100")
    seq = mark(desk, "49")
    events = desk.get("/v1/events", params={"topic": "LimitBreached"}).json()["items"]
    assert [event["record"]["event"]["measure"] for event in events] == ["MAX_DAILY_LOSS", "MAX_DRAWDOWN"]
    for url in ("/v1/limits", "/v1/risk"):
        answer = desk.get(url, params={"min_seq": seq}).json()
        rows = answer.get("items") or answer["limits"]
        assert [(row["is_breached"], row["used"], row["headroom"]) for row in rows] == [
            (True, "51", "-1"),
            (True, "0.051", "-0.001"),
        ]
        assert all(row["breached_at"] for row in rows)
    refused = desk.post("/v1/orders", json=order("A-9", price="49"))
    assert refused.status_code == 409
    assert refused.json()["measure"] == "MAX_DAILY_LOSS"
    assert desk.post("/v1/orders", json=order("A-10", price="49", side="SELL")).status_code == 201
    assert run("verify", "--derivation").returncode == 0


def test_a_sell_far_below_the_market_counts_at_the_market(desk: httpx.Client):
    limit = {"account_id": "main", "measure": "MAX_ORDER_NOTIONAL", "limit": "200", "currency": "USDT"}
    desk.post("/v1/limits", json=limit)
    mark(desk, "1000")
    refused = desk.post("/v1/orders", json=order("A-1", side="SELL", price="0.01"))
    assert refused.status_code == 409
    body = refused.json()
    assert (body["measure"], body["asked"], body["price_used"], body["priced_by"]) == (
        "MAX_ORDER_NOTIONAL", "1000", "1000", "MARK",
    )  # fmt: skip
    assert desk.post("/v1/orders", json=order("A-2", side="SELL", price="0.01", order_qty="0.2")).status_code == 201


def test_capital_is_stated_shown_and_withdrawn(desk: httpx.Client, run: Run):
    desk.post("/v1/limits", json={"account_id": "main", "measure": "MAX_LEVERAGE", "limit": "2"})
    mark(desk, "100")
    refused = desk.post("/v1/orders", json=order("A-1"))
    assert refused.status_code == 409
    assert "state its capital" in refused.json()["missing"]
    assert desk.get("/v1/capital", params={"account_id": "main"}).json()["basis"] is None
    stated = desk.post("/v1/capital", json={"account_id": "main", "amount": "100", "currency": "USDT"})
    assert stated.status_code == 201
    again = desk.post("/v1/capital", json={"account_id": "main", "amount": "100", "currency": "USDT"})
    assert (again.status_code, again.json()) == (200, stated.json())
    shown = desk.get("/v1/capital", params={"account_id": "main", "min_seq": stated.headers["Daybook-Seq"]}).json()
    assert (shown["basis"], shown["equity"], shown["stated_at"]) == ("STATED", "100", stated.json()["stated_at"])
    assert desk.post("/v1/orders", json=order("A-2", order_qty="2")).status_code == 201
    beyond = desk.post("/v1/orders", json=order("A-3", order_qty="0.001")).json()
    assert (beyond["measure"], beyond["equity"], beyond["capital_basis"]) == ("MAX_LEVERAGE", "100", "STATED")
    assert json.loads(run("capital", "show", "--json").stdout)["capital"] == "100"
    assert "is that on record again" in run("capital", "withdraw").stdout
    assert json.loads(run("capital", "state", "250", "USDT", "--account", "firm", "--json").stdout)["is_changed"]
    assert desk.post("/v1/capital/withdraw", json={"account_id": None}).json()["amount"] is None


def test_a_position_limit_of_an_asset_counts_the_coin_in_pairs_and_cash(desk: httpx.Client):
    paid_in = {"account_id": "main", "transfer_id": "T1", "indicator": "CREDIT"}
    desk.post("/v1/cash-transfers", json={**paid_in, "amount": {"amount": "1.5", "currency": "BTC"}})
    assert desk.post("/v1/cash-transfers/main/T1/settle", json={}).status_code == 201
    bought = fill(last_qty="2", commission={"amount": "0", "currency": "USDT"})
    desk.post("/v1/venue-reports", json={"reports": [bought]})
    limit = {"account_id": "main", "measure": "MAX_POSITION", "asset": "BTC", "limit": "4"}
    seq = desk.post("/v1/limits", json=limit).headers["Daybook-Seq"]
    (row,) = desk.get("/v1/limits", params={"min_seq": seq}).json()["items"]
    assert (row["subject"], row["used"], row["utilisation"]) == ("BTC", "3.5", "0.875")
    refused = desk.post("/v1/orders", json=order(cl_ord_id="N", order_qty="0.6"))
    assert (refused.status_code, refused.json()["code"]) == (409, "MAX_POSITION")
    assert refused.json()["detail"] == "MAX_POSITION exceeded: 4.1 of 4 BTC"
    assert desk.post("/v1/orders", json=order(cl_ord_id="W", order_qty="0.5")).status_code == 201
