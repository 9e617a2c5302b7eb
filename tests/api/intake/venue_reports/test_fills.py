"""Fills over HTTP: several fees, fees reported apart, and the legs of hedge mode; in one book, read everywhere."""

from typing import Any

import httpx
import pytest

PERP = "BTC-PERP.BINANCE"
AT = "2026-01-02T03:04:05Z"
_FILLED: dict[str, Any] = {
    "type": "filled", "account_id": "main", "cl_ord_id": "A-1", "instrument_id": "BTCUSDT.BINANCE", "side": "BUY",
    "exec_id": "E-1", "last_qty": "0.5", "last_px": "97500.25", "commission": {"amount": "0.02", "currency": "USDT"},
    "transact_time": "2026-01-02T03:04:05.678Z",
}  # fmt: skip
_SEVERAL = [{"amount": "0.0005", "currency": "BTC"}, {"amount": "0.0000002", "currency": "BNB"}]
EXAMPLES: dict[str, dict[str, Any]] = {
    "a fill": _FILLED,
    "a fill with several fees": {name: value for name, value in _FILLED.items() if name != "commission"}
    | {"cl_ord_id": "A-2", "exec_id": "E-2", "commissions": _SEVERAL},
    "a fill of the long leg in hedge mode": _FILLED
    | {"cl_ord_id": "A-3", "exec_id": "E-3", "instrument_id": PERP, "position_side": "LONG"},
    "the fee of a fill, reported apart from it": {
        "type": "commission",
        "account_id": "main",
        "cl_ord_id": "A-4",
        "exec_ref_id": "E-4",
        "commission": {"amount": "1.24", "currency": "USDT"},
        "transact_time": "2026-01-02T03:04:06Z",
    },
}


def money(amount: str, currency: str) -> dict[str, str]:
    return {"amount": amount, "currency": currency}


def filled(exec_id: str, side: str, last_qty: str, last_px: str, **more: Any) -> dict[str, Any]:
    return {
        "type": "filled", "account_id": "main", "cl_ord_id": f"O-{exec_id}", "instrument_id": PERP, "side": side,
        "exec_id": exec_id, "last_qty": last_qty, "last_px": last_px, "transact_time": AT,
    } | more  # fmt: skip


def reported(client: httpx.Client, *reports: dict[str, Any]) -> list[tuple[str, str | None]]:
    done = client.post("/v1/venue-reports", json={"reports": reports})
    return [(each["status"], each["rule"]) for each in done.json()["answers"]]


def items(client: httpx.Client, path: str, **query: Any) -> list[dict[str, Any]]:
    seq = client.get("/ready").json()["seq"]
    found = client.get(f"/v1/{path}", params={"min_seq": seq, "account_id": "main"} | query)
    assert found.status_code == 200, found.text
    rows: list[dict[str, Any]] = found.json()["items"]
    return rows


@pytest.fixture
def hedged(desk: httpx.Client) -> httpx.Client:
    listed = {"instrument_id": PERP, "kind": "LINEAR", "base": "BTC", "quote": "USDT", "tick_size": "0.1",
              "lot_size": "0.001"}  # fmt: skip
    assert desk.post("/v1/instruments", json=listed).status_code == 201
    return desk


def test_a_liquidation_is_one_execution_with_its_fill_and_shown_with_its_reason(hedged: httpx.Client):
    assert reported(hedged, filled("O1", "BUY", "1", "100", strategy_id="grid", position_side="LONG")) == [
        ("recorded", None)
    ]
    closed = {
        "type": "liquidated", "account_id": "main", "instrument_id": PERP, "position_side": "LONG", "exec_id": "L1",
        "last_qty": "1", "last_px": "60", "insurance": money("2", "USDT"), "transact_time": AT,
    }  # fmt: skip
    as_fill = filled("L1", "SELL", "1", "60", cl_ord_id="autoclose-1", order_id="V-1", position_side="LONG")
    assert reported(hedged, closed, as_fill | {"commission": money("0.5", "USDT")}, closed) == [
        ("recorded", None), ("recorded", None), ("known", None),
    ]  # fmt: skip
    (row,) = [each for each in items(hedged, "executions") if each["exec_id"] == "L1"]
    assert (row["strategy_id"], row["reason"], row["side"]) == ("grid", "LIQUIDATION", "SELL")
    assert row["fees"] == {"USDT": "2.5"}
    (position,) = items(hedged, "positions", strategy_id="grid")
    assert (position["quantity"], position["realized"]) == ("0", "-40")
    assert reported(hedged, closed | {"insurance": money("3", "USDT")})[0][0] == "broken"
    assert reported(hedged, {name: value for name, value in closed.items() if name != "position_side"}) == [
        ("unreadable", None)
    ]


def test_fees_and_legs_are_in_every_answer(hedged: httpx.Client) -> None:
    assert reported(hedged, *EXAMPLES.values()) == [
        ("recorded", None), ("recorded", None), ("recorded", None),
        ("recorded", "the fill of a commission is on record"),
    ]  # fmt: skip
    assert reported(hedged, *EXAMPLES.values()) == [("known", None)] * 4
    several = {each["exec_id"]: each for each in items(hedged, "executions")}["E-2"]
    assert several["commissions"] == [money("0.0005", "BTC"), money("0.0000002", "BNB")]
    assert several["fees"] == {"BTC": "0.0005", "BNB": "0.0000002"}
    assert [each["total"] for each in items(hedged, "balances", asset="BNB")] == ["-0.0000002"]
    short = filled("S1", "SELL", "0.25", "98000", position_side="SHORT", commissions=[money("1", "USDT")])
    assert reported(hedged, short, filled("S1", "SELL", "0.25", "98000")) == [("recorded", None), ("known", None)]
    for path in ("positions", "pnl", "lots", "executions", "exposure", "journal"):
        rows = items(hedged, path, instrument_id=PERP)
        assert {row["position_side"] for row in rows} == {"LONG", "SHORT"}, path
        assert {row["position_side"] for row in items(hedged, path, instrument_id=PERP, position_side="SHORT")} == {
            "SHORT"
        }
    assert {row["realized"] for row in items(hedged, "positions", instrument_id=PERP)} == {"0"}
    sums = hedged.get("/v1/exposure", params={"instrument_id": PERP, "mark": f"{PERP}=100000"}).json()["totals"]
    assert [(each["gross"], each["net"]) for each in sums] == [("75000", "25000")]
    assert [row["position_side"] for row in items(hedged, "orders", position_side="SHORT")] == ["SHORT"]


def test_both_legs_count_gross_and_their_difference_net_wherever_exposure_is_shown(hedged: httpx.Client) -> None:
    measures = ("MAX_GROSS_EXPOSURE", "MAX_NET_EXPOSURE", "MAX_POSITION_NOTIONAL")
    for measure in measures:
        limit = {"account_id": "main", "measure": measure, "limit": "1000", "currency": "USDT"}
        assert hedged.post("/v1/limits", json=limit).status_code == 201
    long = filled("L1", "BUY", "0.002", "80000", position_side="LONG")
    short = filled("S1", "SELL", "0.001", "81000", position_side="SHORT")
    assert reported(hedged, long, short) == [("recorded", None)] * 2
    marked = hedged.post("/v1/marks", json={"marks": [{"instrument_id": PERP, "price": "80000"}]})
    query = {"account_id": "main", "min_seq": marked.headers["Daybook-Seq"]}
    (total,) = hedged.get("/v1/exposure", params=query).json()["totals"]
    assert (total["gross"], total["net"]) == ("240", "80")
    by_leg = hedged.get("/v1/exposure", params=query | {"by": "position_side"}).json()["totals"]
    assert [(each["position_side"], each["net"]) for each in by_leg] == [("LONG", "160"), ("SHORT", "-80")]
    risk = hedged.get("/v1/risk", params=query | {"currency": "USDT"}).json()
    assert {(each["gross"], each["net"]) for each in risk["exposure"]} == {("240", "80")}
    for rows in (risk["limits"], hedged.get("/v1/limits", params=query).json()["items"]):
        assert {row["measure"]: row["used"] for row in rows} == dict(zip(measures, ("240", "80", "160"), strict=True))


def test_a_venue_statement_names_each_leg(hedged: httpx.Client) -> None:
    long = filled("L1", "BUY", "0.002", "80000", position_side="LONG")
    short = filled("S1", "SELL", "0.001", "81000", position_side="SHORT")
    assert reported(hedged, long, short) == [("recorded", None)] * 2

    def stated(number: int, *positions: dict[str, str]) -> list[tuple[str, str, str]]:
        lines = [{"instrument_id": PERP} | each for each in positions]
        at = f"2026-01-02T05:00:{number:02}Z"
        statement = {"type": "statement", "account_id": "main", "statement_id": f"S{number}", "positions": lines}
        (answer,) = hedged.post("/v1/venue-reports", json={"reports": [statement | {"transact_time": at}]}).json()[
            "answers"
        ]
        lines = [(each["break_id"], each["ours"], each["theirs"]) for each in answer["breaks"]]
        return [(name, ours["position_side"], theirs["quantity"]) for name, ours, theirs in lines]

    held = {"position_side": "LONG", "quantity": "0.002"}, {"position_side": "SHORT", "quantity": "-0.001"}
    assert stated(1, *held) == stated(2, {"quantity": "0.001"}) == []
    ((break_id, *differs),) = stated(3, held[0], {"position_side": "SHORT", "quantity": "-0.003"})
    assert differs == ["SHORT", "-0.003"]
    done = hedged.post("/v1/breaks/correct", json={"account_id": "main", "break_id": break_id})
    assert done.json()["recorded"] == ["Transfer"], done.text
    assert {(row["position_side"], row["quantity"]) for row in items(hedged, "positions")} == {
        ("LONG", "0.002"), ("SHORT", "-0.001"), ("SHORT", "-0.002"),
    }  # fmt: skip
    wrong = {"type": "statement", "account_id": "main", "statement_id": "W", "transact_time": AT,
             "positions": [{"instrument_id": PERP, "position_side": "SHORT", "quantity": "1"}]}  # fmt: skip
    assert "below zero of a SHORT one" in hedged.post("/v1/venue-reports", json={"reports": [wrong]}).text


def test_what_is_not_a_fee_or_leg_is_named_and_kept(hedged: httpx.Client) -> None:
    wrong = (
        ({"commission": money("1", "USDT"), "commissions": [money("2", "USDT")]}, "commission that is among"),
        ({"commissions": []}, "commissions"), ({"position_side": "BUY"}, "position_side"),
        ({"commissions": [money("NaN", "USDT")]}, "amount"),
    )  # fmt: skip
    for more, named in wrong:
        answer = hedged.post("/v1/venue-reports", json={"reports": [filled("W", "BUY", "1", "100") | more]})
        assert answer.status_code == 422
        assert named in answer.text
    assert not items(hedged, "positions")
    agreeing = {"commission": money("1", "USDT"), "commissions": [money("1", "USDT"), money("0.1", "BNB")]}
    assert reported(hedged, filled("W", "BUY", "1", "100") | agreeing) == [("recorded", None)]


def test_the_schema_says_what_the_sign_of_a_fee_means(hedged: httpx.Client) -> None:
    schemas = hedged.get("/openapi.json").json()["components"]["schemas"]
    for text in (schemas["FilledReport"]["properties"]["commission"]["description"], schemas["Amount"]["description"]):
        assert "positive" in text
        assert "rebate" in text
