"""Balances, journal and trial balance over HTTP."""

from decimal import Decimal as D

import httpx

from tests.api.client import BTC, bought_and_sold, fill, trade


def test_the_books_of_a_day_balance_and_are_paged(desk: httpx.Client):
    seq = bought_and_sold(desk)
    requested = {"min_seq": seq, "account_id": "main"}
    balances = {row["asset"]: row for row in desk.get("/v1/balances", params=requested).json()["items"]}
    assert (balances["BTC"]["total"], balances["USDT"]["total"]) == ("1", "-0.3")
    assert (balances["BTC"]["venue"], balances["BTC"]["held"], balances["BTC"]["available"]) == ("BINANCE", "0", "1")
    trial = desk.get("/v1/trial-balance", params=requested).json()
    assert {row["asset"]: row["balance"] for row in trial["totals"]} == {"BTC": "0", "USDT": "0"}
    found = {(row["account"], row["asset"]): row["balance"] for row in trial["items"]}
    assert (found["Income:Realized", "USDT"], found["Equity:Trading", "USDT"]) == ("-200", "200")
    (first,) = desk.get("/v1/journal", params=requested | {"limit": 1}).json()["items"]
    assert (first["reference"], first["narrative"], first["value_date"]) == ("E-3", "SELL 1 at 300", "2026-01-02")
    shown, cursor = [], None
    while True:
        page = desk.get("/v1/journal", params=requested | {"limit": 1} | ({"cursor": cursor} if cursor else {})).json()
        shown += [row["reference"] for row in page["items"]]
        if not (cursor := page["next"]):
            break
    assert shown == ["E-3", "E-2", "E-1"]
    sums: dict[str, D] = {}
    for line in first["lines"]:
        sums[line["asset"]] = sums.get(line["asset"], D(0)) + D(line["amount"])
    assert set(sums.values()) == {D(0)}


def test_entries_are_of_an_asset_a_day_a_strategy_or_of_what_was_known(desk: httpx.Client):
    first = trade(desk, fill("E-1", cl_ord_id="O-1", strategy_id="trend"))
    later = {
        "cl_ord_id": "O-2",
        "transact_time": "2026-01-03T01:00:00Z",
        "commission": {"amount": "1", "currency": "BNB"},
    }
    seq = trade(desk, fill("E-2", **later))

    def shown(**requested: object) -> list[str]:
        answer = desk.get("/v1/journal", params={"min_seq": seq, **requested})
        assert answer.status_code == 200, answer.text
        return [row["reference"] for row in answer.json()["items"]]

    assert shown() == ["E-2", "E-1"]
    assert shown(asset="BNB") == ["E-2"]
    assert shown(day="2026-01-02") == ["E-1"]
    assert shown(strategy_id="trend", instrument_id=BTC) == ["E-1"]
    assert shown(as_of_seq=first, min_seq=0) == ["E-1"]
    trial = desk.get("/v1/trial-balance", params={"day": "2026-01-02", "asset": "BTC"}).json()["items"]
    assert [(row["account"], row["balance"]) for row in trial] == [("Assets:BINANCE", "1"), ("Equity:Trading", "-1")]
    balance = desk.get("/v1/balances", params={"asset": "BTC", "as_of_seq": first}).json()["items"]
    assert [row["total"] for row in balance] == ["1"]


def test_a_bad_parameter_of_the_journal_is_named_by_field(desk: httpx.Client):
    for path, query, field in [
        ("journal", {"day": "yesterday"}, "day"), ("journal", {"day": "2026-02-30"}, "day"),
        ("journal", {"asset": "B TC\n"}, "asset"), ("balances", {"strategy_id": "trend"}, "strategy_id"),
        ("trial-balance", {"day": "2026-01-02T00:00:00Z"}, "day"),
        ("trial-balance", {"instrument_id": BTC}, "instrument_id"),
    ]:  # fmt: skip
        answer = desk.get(f"/v1/{path}", params=query)
        assert (path, query, answer.status_code) == (path, query, 422)
        assert answer.json()["errors"][0]["field"] == field
