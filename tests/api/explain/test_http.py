"""Explain: what is shown beside a cell adds up to it, from the venue's report to the mark."""

from decimal import Decimal as D
from typing import Any

import httpx
import psycopg
import pytest

from api.daybook import Daybook
from tests.api.client import BTC, fill, listing, open_book, order

pytestmark = pytest.mark.slow

ONE = {"account_id": "main", "instrument_id": BTC}
SUMMED = ("quantity", "cost", "realized", "rounding", "fee_cost", "funding", "income", "transferred", "fees_settle")
INVERSE = "XBTUSD.SIM"


def explained(desk: httpx.Client, model: str, cell: str, **params: Any) -> dict[str, Any]:
    response = desk.get(f"/v1/explain/{model}", params={"cell": cell} | params)
    assert response.status_code == 200, response.text
    return dict(response.json())


def total(parts: list[dict[str, Any]], name: str) -> D:
    return sum((D(part[name]) for part in parts), D(0))


@pytest.fixture(name="traded")
def a_desk_that_traded(client: httpx.Client) -> httpx.Client:
    """Fills, one of them late so that it moves what came after it, a fee in kind, an inverse contract."""
    open_book(client)
    inverse = listing(instrument_id=INVERSE, kind="INVERSE", quote="USD", tick_size="0.5", lot_size="1")
    listed = client.post("/v1/instruments", json=inverse)
    assert listed.status_code == 201, listed.text
    for n in range(1, 6):
        client.post("/v1/orders", json=order(f"A-{n}", order_qty="3", price="400"))
    at = "2026-01-02T03:0{}:00Z".format
    in_btc = {"amount": "0.001", "currency": "BTC"}
    contracts = {"instrument_id": INVERSE, "cl_ord_id": "X-1"}
    reports = [
        [fill("E-1", cl_ord_id="A-1", transact_time=at(1), last_qty="3", last_px="100.01")],
        [fill("E-3", cl_ord_id="A-2", transact_time=at(3), last_qty="2", last_px="300.7", side="SELL")],
        [fill("E-2", cl_ord_id="A-3", transact_time=at(0), last_qty="1", last_px="200.3")],  # late: E-3 is restated
        [fill("E-4", cl_ord_id="A-4", transact_time=at(4), last_qty="0.7", last_px="250", side="SELL")],
        [fill("E-5", cl_ord_id="A-5", transact_time=at(5), last_px="261", commission=in_btc)],
        [
            fill("I-1", **contracts, last_qty="300", last_px="97000.5", transact_time=at(1)),
            fill("I-2", **contracts, last_qty="100", last_px="98000", side="SELL", transact_time=at(2)),
        ],
    ]
    for batch in reports:
        answer = client.post("/v1/venue-reports", json={"reports": batch})
        assert answer.status_code == 200 and not answer.json()["unreadable"], answer.text
    client.params = {"min_seq": answer.headers["Daybook-Seq"]}
    return client


@pytest.mark.parametrize("instrument_id", [BTC, INVERSE])
@pytest.mark.parametrize("limit", [1, 2, 100])
def test_a_summed_cell_is_its_opening_and_its_events_on_every_page(
    traded: httpx.Client, instrument_id: str, limit: int
) -> None:
    where = ONE | {"instrument_id": instrument_id}
    (row,) = traded.get("/v1/pnl", params=where).json()["items"]
    for cell in SUMMED if limit == 2 else ("realized", "cost"):
        params: dict[str, Any] = where | {"limit": limit}
        first = page = explained(traded, "pnl", cell, **params)
        assert first["value"] == row[cell]
        events = list(page["events"])
        while page["next"]:
            older = explained(traded, "pnl", cell, **params, cursor=page["next"])
            assert D(page["opening"]["value"]) == D(older["opening"]["value"]) + total(older["events"], "amount")
            page = older
            events += page["events"]
        assert page["opening"]["value"] == "0"
        assert total(events, "amount") == D(first["value"])
        assert [event["seq"] for event in events] == sorted({event["seq"] for event in events}, reverse=True)


def test_a_restatement_is_a_step_of_its_own_and_a_trade_leads_to_its_report(traded: httpx.Client) -> None:
    events = explained(traded, "positions", "realized", **ONE)["events"]
    (restated,) = [event for event in events if event["topic"].startswith("PositionRestated")]
    assert restated["facts"]["late_exec_ids"] == ["E-2"]
    assert {moved["exec_id"] for moved in restated["facts"]["moved"]} <= {"E-3"}
    (sold,) = [event for event in events if event["facts"].get("exec_id") == "E-4"]
    assert sold["report"]["stream"] == "order:main:A-4" and '"E-4"' in sold["report"]["state"]
    stored = traded.get(f"/v1/events/{sold['report']['seq']}").json()
    assert stored["state"] == sold["report"]["state"]


@pytest.mark.parametrize(("instrument_id", "mark"), [(BTC, "333.33"), (INVERSE, "91234.5")])
def test_a_value_is_its_lots_at_the_mark_and_what_rounding_leaves(
    traded: httpx.Client, instrument_id: str, mark: str
) -> None:
    params = ONE | {"instrument_id": instrument_id, "mark": f"{instrument_id}={mark}"}
    (row,) = traded.get("/v1/pnl", params=params).json()["items"]
    shown = explained(traded, "pnl", "value", **params)
    parts = shown["valuation"]["lots"] + ([shown["valuation"]["pooled"]] if shown["valuation"]["pooled"] else [])
    assert parts and total(parts, "quantity") == D(row["quantity"]) and total(parts, "cost") == D(row["cost"])
    assert total(parts, "value") + D(shown["valuation"]["rounding"]) == D(shown["value"]) == D(row["value"])
    assert (shown["valuation"]["mark"], shown["valuation"]["mark_source"]) == (mark, "given")
    for cell in ("net", "unrealized"):
        terms = explained(traded, "pnl", cell, **params)
        assert sum(term["sign"] * D(term["value"]) for term in terms["terms"]) == D(row[cell]) == D(terms["value"])
        for term in terms["terms"]:
            assert explained(traded, "pnl", term["cell"], **params)["value"] == term["value"]
    (sized,) = traded.get("/v1/exposure", params=params).json()["items"]
    assert explained(traded, "exposure", "notional", **params)["value"] == sized["notional"]


def test_several_positions_are_explained_by_each_and_added_only_in_one_unit(traded: httpx.Client) -> None:
    shown = explained(traded, "positions", "realized", account_id="main")
    assert (shown["value"], shown["unit"], len(shown["positions"])) == (None, None, 2)
    assert {part["unit"] for part in shown["positions"]} == {"USDT", "BTC"}
    one = traded.post(
        "/v1/venue-reports", json={"reports": [fill("T-1", cl_ord_id="T-1", order_id="V-T", strategy_id="trend")]}
    )
    shown = explained(
        traded, "positions", "cost", account_id="main", instrument_id=BTC, min_seq=one.headers["Daybook-Seq"]
    )
    assert D(shown["value"]) == total(shown["positions"], "value") and shown["unit"] == "USDT"


def test_what_cash_earned_is_a_part_of_what_an_account_gained(traded: httpx.Client) -> None:
    at = {"account_id": "main", "transact_time": "2026-01-02T10:00:00Z"}
    paid = {"type": "interest", "entry_id": "I-1", "amount": {"amount": "3", "currency": "EUR"}, **at}
    seq = traded.post("/v1/venue-reports", json={"reports": [paid]}).headers["Daybook-Seq"]
    shown = explained(traded, "pnl", "income", account_id="main", min_seq=seq)
    (part,) = [each for each in shown["positions"] if not each["instrument_id"]]
    assert (part["unit"], part["value"], part["strategy_id"]) == ("EUR", "3", "")
    assert len(explained(traded, "pnl", "net", account_id="main", min_seq=seq)["positions"]) == 3
    assert len(explained(traded, "pnl", "realized", account_id="main", min_seq=seq)["positions"]) == 2


def test_a_past_cell_is_explained_by_what_was_on_record(traded: httpx.Client) -> None:
    late = next(e for e in explained(traded, "positions", "realized", **ONE)["events"] if "Restated" in e["topic"])
    before = explained(traded, "positions", "realized", **ONE, as_of_seq=late["seq"] - 1)
    after = explained(traded, "positions", "realized", **ONE, as_of_seq=late["seq"])
    assert all(event["seq"] < late["seq"] for event in before["events"])
    assert D(after["value"]) - D(before["value"]) == D(late["amount"])
    assert before["seq"] == late["seq"] - 1


@pytest.mark.parametrize("limit", [1, 3, 100])
def test_a_balance_is_its_journal_entries_on_every_page(traded: httpx.Client, limit: int) -> None:
    rows = traded.get("/v1/balances").json()["items"]
    assert {row["asset"] for row in rows} >= {"BTC", "USDT"}
    for row in rows:
        of = {"account_id": row["account_id"], "venue": row["venue"], "asset": row["asset"]}
        first = page = explained(traded, "balances", "total", **of, limit=limit)
        assert first["value"] == row["total"] and first["unit"] == row["asset"]
        events = list(page["events"])
        while page["next"]:
            older = explained(traded, "balances", "total", **of, limit=limit, cursor=page["next"])
            assert D(page["opening"]["value"]) == D(older["opening"]["value"]) + total(older["events"], "amount")
            page = older
            events += page["events"]
        assert page["opening"]["value"] == "0" and total(events, "amount") == D(row["total"])
        assert all(event["report"]["state"] for event in events)
        for term in explained(traded, "balances", "available", **of)["terms"]:
            assert explained(traded, "balances", term["cell"], **of)["value"] == term["value"]


def test_a_past_balance_is_explained_by_what_was_on_record(traded: httpx.Client) -> None:
    of = {"account_id": "main", "venue": "BINANCE", "asset": "USDT"}
    newest, *_ = explained(traded, "balances", "total", **of)["events"]
    before = explained(traded, "balances", "total", **of, as_of=newest["seq"] - 1)
    assert all(event["seq"] < newest["seq"] for event in before["events"])
    several = explained(traded, "balances", "total", account_id="main")
    assert several["value"] is None and len(several["balances"]) > 1
    assert traded.get("/v1/explain/balances", params={"cell": "luck"}).status_code == 422
    assert traded.get("/v1/explain/balances", params={"cell": "total", "asset": "XYZ"}).status_code == 404


def test_what_cannot_be_explained_is_named(traded: httpx.Client) -> None:
    for path, params, status in (
        ("pnl", {"cell": "luck"}, 422), ("exposure", {"cell": "realized"}, 422), ("positions", {"cell": "fees"}, 422),
        ("positions", {"cell": "cost", "account_id": "unknown"}, 404), ("weather", {"cell": "cost"}, 422),
    ):  # fmt: skip
        assert traded.get(f"/v1/explain/{path}", params=params).status_code == status, path
    fees = explained(traded, "positions", "fees", **ONE, currency="USDT")
    assert D(fees["value"]) == total(fees["events"], "amount") and fees["unit"] == "USDT"
    assert explained(traded, "pnl", "value", **ONE)["value"] is None


def test_an_altered_row_is_not_explained_away(traded: httpx.Client, daybook: Daybook) -> None:
    assert explained(traded, "positions", "realized", **ONE)["events"]
    with psycopg.connect(daybook.url, autocommit=True) as owner:
        owner.execute("UPDATE read_positions.positions SET realized = realized + 1 WHERE instrument_id = %s", [BTC])
        owner.execute("UPDATE read_balances.balances SET total = total + 1 WHERE asset = 'USDT'")
    response = traded.get("/v1/explain/positions", params=ONE | {"cell": "realized"})
    assert response.status_code == 500 and "drifted" in response.json()["detail"]
    params = {"cell": "total", "account_id": "main", "venue": "BINANCE", "asset": "USDT"}
    response = traded.get("/v1/explain/balances", params=params)
    assert response.status_code == 500 and "drifted" in response.json()["detail"]
