"""Days, equity, statistics, execution quality and risk over HTTP: as of any moment, with nothing guessed."""

from datetime import datetime
from decimal import Decimal
from typing import Any

import httpx
import pytest

from api.analytics import schemas as shapes
from api.clock import now
from api.daybook import Daybook
from domain.order import OrderKey, OrderTerms, OrdType, SubmitOrder
from domain.values import Side
from tests.api.client import BTC, fill, listing, order

EUR = "BTCEUR.KRAKEN"
SHAPES = {
    "/v1/pnl/daily": shapes.DailyPnlAnswer,
    "/v1/equity": shapes.EquityAnswer,
    "/v1/equity/reconciliation": shapes.ReconciliationAnswer,
    "/v1/statistics": shapes.StatisticsAnswer,
    "/v1/execution-quality": shapes.QualityAnswer,
    "/v1/risk": shapes.RiskAnswer,
}
SPAN = {"from": "2026-01-02", "to": "2026-01-03"}


def reported(desk: httpx.Client, *reports: dict[str, Any]) -> str:
    answer = desk.post("/v1/venue-reports", json={"reports": list(reports)})
    assert answer.status_code == 200, answer.text
    assert answer.json()["unreadable"] == 0, answer.text
    return answer.headers["Daybook-Seq"]


def marked(desk: httpx.Client, *marks: tuple[str, str, str]) -> None:
    shown = [{"instrument_id": name, "price": price, "mark_at": at} for name, price, at in marks]
    answer = desk.post("/v1/marks", json={"marks": shown})
    assert answer.status_code == 201, answer.text


def got(desk: httpx.Client, path: str, **params: Any) -> Any:
    answer = desk.get(path, params=params)
    assert answer.status_code == 200, answer.text
    if path in SHAPES:
        SHAPES[path].model_validate(answer.json())
    return answer.json()


@pytest.fixture
def traded(desk: httpx.Client) -> str:
    """2 bought at 100 on the 2nd, 1 sold at 130 on the 3rd, with marks at both closes; the seq that covers it."""
    desk.post("/v1/instruments", json=listing(instrument_id=EUR, quote="EUR"))
    seq = reported(
        desk,
        fill("E-1", last_qty="2", transact_time="2026-01-02T10:00:00Z"),
        fill("E-2", side="SELL", last_px="130", cl_ord_id="A-2", transact_time="2026-01-03T10:00:00Z"),
    )
    marked(
        desk, (BTC, "110", "2026-01-02T23:59:00Z"), (BTC, "120", "2026-01-03T23:59:00Z"),
        (EUR, "88", "2026-01-02T23:59:00Z"), (EUR, "90", "2026-01-03T23:59:00Z"),
    )  # fmt: skip
    return seq


def test_pnl_of_a_day_is_of_what_occurred_in_it(desk: httpx.Client, traded: str):
    shown = got(desk, "/v1/pnl/daily", min_seq=traded, **SPAN)
    first, second = shown["items"]
    assert (first["day"], first["close_at"], first["unrealized"]) == ("2026-01-02", "2026-01-03T00:00:00Z", "20")
    assert (first["net"], first["turnover"], first["fills"]) == ("19.9", "200", 1)
    assert (second["realized"], second["unrealized"], second["unrealized_change"]) == ("30", "20", "0")
    assert (second["net"], second["in_base"]["net"], second["base_currency"]) == ("29.9", "29.9", "USDT")
    assert [(total["net"], total["fills"], total["unrealized"]) for total in shown["totals"]] == [("49.8", 2, "20")]
    assert shown["rates"] == []
    # 10:00 UTC is 05:00 in New York: what happens at the close is of the next day
    cut = got(desk, "/v1/pnl/daily", by="venue", close="05:00 America/New_York", mark_age_max=10**6, **SPAN)
    assert [(row["day"], row["close_at"], row["venue"], row["fills"]) for row in cut["items"]] == [
        ("2026-01-03", "2026-01-03T10:00:00Z", "BINANCE", 1)
    ]
    for path, header in (
        ("pnl/daily", "day,close_at"),
        ("equity", "account_id,day"),
        ("execution-quality", "account_id"),
    ):
        answer = desk.get(f"/v1/{path}", params={"format": "csv", **SPAN})
        assert answer.headers["content-type"].startswith("text/csv")
        assert answer.text.startswith(header), answer.text
        assert int(answer.headers["Daybook-Seq"]) >= int(traded)


def test_amounts_are_converted_at_the_close_and_the_path_is_shown(desk: httpx.Client, traded: str):
    account = {"account_id": "euro", "base_currency": "EUR"}
    assert desk.post("/v1/accounts", json=account).status_code == 201
    seq = reported(desk, fill("E-9", account_id="euro", cl_ord_id="X-1", transact_time="2026-01-03T10:00:00Z"))
    shown = got(desk, "/v1/pnl/daily", account_id="euro", min_seq=seq, **SPAN)
    (row,) = shown["items"]
    assert (row["unrealized"], row["net"]) == ("20", "19.9")
    assert row["in_base"]["net"] == "14.925"  # x 90 / 120
    (rate,) = shown["rates"]
    assert (rate["from_currency"], rate["to_currency"], rate["rate"]) == ("USDT", "EUR", "0.75")
    assert [(step["instrument_id"], step["is_inverse"], step["mark_at"]) for step in rate["path"]] == [
        (BTC, True, "2026-01-03T23:59:00Z"), (EUR, False, "2026-01-03T23:59:00Z"),
    ]  # fmt: skip
    stale = got(desk, "/v1/pnl/daily", account_id="euro", mark_age_max=30, **SPAN)
    assert (stale["items"][0]["net"], stale["items"][0]["missing_marks"]) == (None, [BTC])
    assert sorted(stale["rates"][0]["stale"]) == [EUR, BTC]


def test_late_fills_restate_their_day(desk: httpx.Client, traded: str):
    seq = reported(desk, fill("E-0", last_px="90", trade_seq=0, transact_time="2026-01-02T09:00:00Z"))
    then = got(desk, "/v1/pnl/daily", as_of_seq=traded, **SPAN)
    now = got(desk, "/v1/pnl/daily", min_seq=seq, **SPAN)
    assert (then["items"][1]["realized"], now["items"][1]["realized"]) == ("30", "40")  # FIFO: the lot at 90 first
    page = got(desk, "/v1/pnl/daily/restatements", limit=1)
    rest = got(desk, "/v1/pnl/daily/restatements", cursor=page["next"])
    rows = page["items"] + rest["items"]
    assert sorted((row["occurred_from"], row["realized"], row["fills"]) for row in rows) == [
        ("2026-01-02T09:00:00Z", "0", 1), ("2026-01-03T10:00:00Z", "10", 0),
    ]  # fmt: skip


def test_equity_is_cash_and_positions_and_statistics_name_what_they_lack(desk: httpx.Client, traded: str):
    shown = got(desk, "/v1/equity", min_seq=traded, capital="1000", **SPAN)
    first, second = shown["items"]
    assert (first["equity"], first["cash"], first["positions"]) == ("1019.9", "799.9", "220")
    assert (first["return"], second["pnl"], second["is_closed"]) == ("0.0199", "29.9", True)
    assert second["index"] == "1.0498"
    bare = got(desk, "/v1/equity", **SPAN)["items"]
    assert (bare[0]["equity"], bare[0]["return"], bare[0]["reason"]) == (
        "19.9",
        None,
        "no capital is on record; name some",
    )
    figures = got(desk, "/v1/statistics", capital="1000", **SPAN)
    assert (figures["days"], figures["total_return"], figures["hit_rate"]) == (2, "0.0498", "1")
    assert (figures["sortino"], figures["losses"][0]["historical_var"]) == (None, None)
    assert figures["reasons"]["sortino"] == "no day fell short of the target"
    assert figures["max_drawdown"]["depth"] == "0"
    answer = desk.get("/v1/equity", params={"strategy_id": "maker"})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "strategy_id")
    unknown = desk.get("/v1/statistics", params={"account_id": "unknown"})
    assert (unknown.status_code, unknown.json()["errors"][0]["rule"]) == (422, "an account on record")


def test_the_present_day_is_valued_as_of_now(desk: httpx.Client):
    seq = reported(desk, fill("E-1", transact_time=now().isoformat()))
    desk.post("/v1/marks", json={"marks": [{"instrument_id": BTC, "price": "150"}]})
    shown = got(desk, "/v1/equity", capital="100", min_seq=seq)
    assert len(shown["items"]) == 30
    last = shown["items"][-1]
    assert (last["is_closed"], last["equity"]) == (False, "149.9")
    assert last["day"] in last["close_at"]


def test_orders_are_measured_against_the_mark_at_their_arrival(desk: httpx.Client, daybook: Daybook):
    at = "2026-01-02T10:00:0{}Z"
    marked(desk, (BTC, "100", at.format(0)))
    for cl_ord_id, qty, side in (("A-1", "2", Side.BUY), ("A-2", "1", Side.SELL), ("A-3", "1", Side.BUY)):
        terms = OrderTerms("main", BTC, side, OrdType.MARKET, Decimal(qty))
        sent = datetime.fromisoformat(at.format(1))
        daybook.writer.request(SubmitOrder(OrderKey("main", cl_ord_id), terms, sent), actor="desk")
    seq = reported(
        desk,
        fill("E-1", last_px="100.5", transact_time=at.format(3)),
        fill("E-2", last_px="99", side="SELL", cl_ord_id="A-2", transact_time=at.format(4)),
    )
    shown = got(desk, "/v1/execution-quality", min_seq=seq, by="venue", **SPAN)
    first, second, third = shown["items"]
    assert (first["arrival_px"], first["slippage_bps"], first["shortfall"]) == ("100", "50", "0.5")
    assert (first["fill_ratio"], first["seconds_to_first_fill"]) == ("0.5", "2")
    assert (second["slippage_bps"], second["shortfall"], second["seconds_to_last_fill"]) == ("100", "1", "3")
    assert (third["fills"], third["slippage_bps"], third["fill_ratio"]) == (0, None, "0")
    unfilled, filled = shown["totals"]
    assert (unfilled["orders"], unfilled["quote"], filled["orders"], filled["slippage_bps"]) == (1, "", 2, "75")
    late = got(desk, "/v1/execution-quality", mark_age_max=1, close="00:30", **SPAN)
    assert [total["without_mark"] for total in late["totals"]] == [0, 0]


def test_risk_has_exposure_leverage_concentration_and_headroom(desk: httpx.Client, traded: str):
    limit = {"account_id": "main", "measure": "MAX_POSITION", "limit": "4"}
    assert desk.post("/v1/limits", json=limit).status_code in (200, 201)
    for measure, size in (("MAX_GROSS_EXPOSURE", "100"), ("MAX_NET_EXPOSURE", "1000")):
        limit = {"account_id": "main", "measure": measure, "limit": size, "currency": "USDT"}
        assert desk.post("/v1/limits", json=limit).status_code in (200, 201)
    desk.post("/v1/marks", json={"marks": [{"instrument_id": BTC, "price": "120"}]})
    seq = desk.post("/v1/orders", json=order("A-7", price="100")).headers["Daybook-Seq"]
    shown = got(desk, "/v1/risk", min_seq=seq, by=["asset", "venue"], capital="10")
    assert (shown["gross"], shown["net"], shown["equity"], shown["leverage"]) == (
        "120",
        "120",
        "59.8",
        "2.006688963210702341",
    )
    assert (shown["herfindahl"], shown["largest_asset"]) == ("1", "BTC")
    (cut,) = shown["exposure"]
    assert (cut["asset"], cut["venue"], cut["delta"], cut["share"]) == ("BTC", "BINANCE", "1", "1")
    by_measure = {row["measure"]: row for row in shown["limits"]}
    position, gross = by_measure["MAX_POSITION"], by_measure["MAX_GROSS_EXPOSURE"]
    assert (position["used"], position["headroom"], position["is_exceeded"]) == ("1", "3", False)
    assert (gross["used"], gross["headroom"], gross["is_exceeded"]) == ("120", "-20", True)
    past = got(desk, "/v1/risk", as_of_seq=traded)
    assert (past["limits"], past["seq"]) == ([], int(traded))


def test_bad_parameters_are_named(desk: httpx.Client):
    for path, params, field in (
        ("/v1/pnl/daily", {"close": "25:00"}, "close"),
        ("/v1/pnl/daily", {"from": "2026-13-01"}, "from"),
        ("/v1/pnl/daily", {"from": "2026-01-03", "to": "2026-01-02"}, "from"),
        ("/v1/pnl/daily", {"from": "2999-01-01"}, "from"),
        ("/v1/pnl/daily", {"from": "2010-01-01", "to": "2026-01-01"}, "from"),
        ("/v1/pnl/daily", {"equal": "USDT"}, "equal"),
        ("/v1/equity", {"capital": "1x5"}, "capital"),
        ("/v1/execution-quality", {"mark_age_max": "0"}, "mark_age_max"),
        ("/v1/risk", {"mark": "BTC"}, "mark"),
    ):
        answer = desk.get(path, params=params)
        assert answer.status_code == 422, answer.text
        assert field in answer.json()["errors"][0]["field"], answer.text


def test_the_reconciliation_names_every_line_between_two_closes(desk: httpx.Client, traded: str):
    marked(desk, ("BNBUSDT.BINANCE", "700", "2026-01-02T23:59:00Z"), ("BNBUSDT.BINANCE", "900", "2026-01-03T23:59:00Z"))
    assert desk.post("/v1/instruments", json=listing(instrument_id="BNBUSDT.BINANCE", base="BNB")).status_code == 201
    paid = {"amount": "0.1", "currency": "BNB"}
    reported(desk, fill("E-5", cl_ord_id="A-5", last_qty="1", commission=paid, transact_time="2026-01-02T11:00:00Z"))
    seq = desk.get("/ready").json()["seq"]
    shown = got(desk, "/v1/equity/reconciliation", min_seq=seq, **SPAN)
    first, second = shown["items"]
    assert (second["revaluation"], second["conversion_rounding"]) == ("-20", "0")  # 0.1 BNB went from 700 to 900
    daily = got(desk, "/v1/pnl/daily", min_seq=seq, **SPAN)["items"]
    curve = got(desk, "/v1/equity", min_seq=seq, **SPAN)["items"]
    for line, point in zip((first, second), curve, strict=True):
        gained = sum(Decimal(row["in_base"]["net"]) for row in daily if row["day"] == line["day"])
        assert Decimal(line["trading_pnl"]) + Decimal(line["revaluation"]) == gained == Decimal(point["pnl"])
        assert line["equity"] == point["equity"]
    (whole,) = shown["totals"]
    assert (whole["equity_before"], whole["equity"]) == ("0", second["equity"])
    answer = desk.get("/v1/equity/reconciliation", params={"format": "csv", "min_seq": seq, **SPAN})
    assert answer.text.startswith("day,close_at,currency,equity_before")
    refused = desk.get("/v1/equity/reconciliation", params={"strategy_id": "trend"})
    assert refused.status_code in (404, 422)


def test_totals_count_fees_in_other_currencies_and_name_what_has_no_rate(desk: httpx.Client, traded: str):
    bnb = {"amount": "0.1", "currency": "BNB"}
    seq = reported(desk, fill("E-5", cl_ord_id="A-5", last_qty="1", commission=bnb))
    query = {"min_seq": seq, "mark": [f"{BTC}=100", "BNBUSDT.BINANCE=900"]}
    (without,) = desk.get("/v1/pnl", params=query).json()["totals"]
    assert (without["fees_converted"], without["left_out"]) == ("0", {"BNB": "0.1"})
    listed = desk.post("/v1/instruments", json=listing(instrument_id="BNBUSDT.BINANCE", base="BNB"))
    query["min_seq"] = listed.headers["Daybook-Seq"]
    (total,) = desk.get("/v1/pnl", params=query).json()["totals"]
    assert (total["fees_converted"], total["left_out"], total["other_fees"]) == ("90", {}, {"BNB": "0.1"})
    assert Decimal(total["net"]) == Decimal(without["net"]) - 90
    held = desk.get("/v1/exposure", params=query | {"by": "base"}).json()
    assert {row["base"]: row["net"] for row in held["totals"]} == {"BNB": "-90", "BTC": "200"}
    assert [(row["asset"], row["strategy_id"]) for row in held["uncounted"]] == [("USDT", "main")]
