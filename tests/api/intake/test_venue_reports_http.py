"""Venue reports: recorded in any case, each with its own answer, known when seen again."""

import json
from typing import Any

import httpx

from tests.api.client import BTC, fill, order

AT = "2026-01-02T03:04:05Z"


def statuses(answer: httpx.Response) -> list[str]:
    return [each["status"] for each in answer.json()["answers"]]


def of(type_: str, **other: str) -> dict[str, str]:
    return {"type": type_, "account_id": "main", "cl_ord_id": "A-1", "transact_time": AT} | other


def test_an_order_lives_through_its_reports_and_a_repeated_report_adds_nothing(desk: httpx.Client):
    desk.post("/v1/orders", json=order(order_qty="3"))
    desk.post("/v1/orders/main/A-1/cancel")
    reports = [
        of("accepted", order_id="V-1"),
        fill("E-1"),
        of("cancel_rejected", reason="too late"),
        fill("E-2", trade_seq=2),
        of("canceled", reason="requested"),
    ]
    first = desk.post("/v1/venue-reports", json={"reports": reports})
    assert (first.status_code, statuses(first)) == (200, ["recorded"] * 5)
    again = desk.post("/v1/venue-reports", json={"reports": reports})
    assert (again.status_code, statuses(again)) == (200, ["known"] * 5)
    assert first.headers["Daybook-Seq"] == again.headers["Daybook-Seq"]
    shown = desk.get("/v1/orders/main/A-1", params={"min_seq": first.headers["Daybook-Seq"]}).json()
    assert (shown["status"], shown["cum_qty"], shown["avg_px"]) == ("CANCELED", "2", "100")


def test_a_fill_after_the_cancel_is_booked_and_broken(desk: httpx.Client):
    desk.post("/v1/orders", json=order())
    desk.post("/v1/venue-reports", json={"reports": [of("canceled")]})
    late = desk.post("/v1/venue-reports", json={"reports": [fill()]})
    assert late.json()["answers"][0]["status"] == "broken"
    assert late.json()["answers"][0]["rule"] == "a fill is of an open order"
    seq = late.headers["Daybook-Seq"]
    assert desk.get("/v1/positions", params={"min_seq": seq}).json()["items"][0]["quantity"] == "1"
    assert [row["kind"] for row in desk.get("/v1/breaks", params={"min_seq": seq}).json()["items"]] == ["ORDER"]


def outcomes(answer: httpx.Response) -> list[tuple[Any, ...]]:
    return [(each["status"], each["booked"], each["code"]) for each in answer.json()["answers"]]


def test_booked_with_a_break_and_not_booked_have_answers_of_their_own_also_when_sent_again(desk: httpx.Client):
    desk.post("/v1/orders", json=order())
    payment = {
        "type": "funding", "account_id": "main", "instrument_id": BTC, "funding_id": "F-1",
        "amount": {"amount": "1", "currency": "USDT"}, "transact_time": "2026-01-02T04:00:00Z",
    }  # fmt: skip
    other = payment | {"amount": {"amount": "2", "currency": "USDT"}}
    reports = [fill("E-1"), fill("E-1", last_px="101"), fill("E-2", last_qty="3"), payment, other]
    first, again = (desk.post("/v1/venue-reports", json={"reports": reports}) for _ in range(2))
    assert outcomes(first) == [
        ("recorded", True, None), ("not_booked", False, "EXEC_ID_CONFLICT"), ("broken", True, "FILL_OF_CLOSED_ORDER"),
        ("recorded", True, None), ("not_booked", False, "ID_CONFLICT"),
    ]  # fmt: skip
    assert outcomes(again) == [
        ("known", True, None), ("not_booked", False, "EXEC_ID_CONFLICT"), ("known", True, None),
        ("known", True, None), ("not_booked", False, "ID_CONFLICT"),
    ]  # fmt: skip
    assert [first.json()[status] for status in ("recorded", "known", "broken", "not_booked")] == [2, 0, 1, 2]
    assert first.json()["answers"][1]["rule"] == "one exec_id has one content"
    seq = first.headers["Daybook-Seq"]
    (position,) = desk.get("/v1/positions", params={"min_seq": seq}).json()["items"]
    assert (position["quantity"], position["cost"]) == ("4", "400"), "what is booked is, what is not is not"
    found = desk.get("/v1/breaks", params={"min_seq": seq}).json()["items"]
    assert {each["code"] for each in found} == {"EXEC_ID_CONFLICT", "FILL_OF_CLOSED_ORDER", "ID_CONFLICT"}


def test_a_late_cancel_is_recorded_and_breaks_the_fill_behind_it_and_not_the_one_before(desk: httpx.Client):
    desk.post("/v1/orders", json=order(order_qty="3"))
    at = ["2026-01-02T03:04:04Z", AT, "2026-01-02T03:04:06Z"]
    reports = [fill("E-1", transact_time=at[0]), fill("E-3", transact_time=at[2], trade_seq=2), of("canceled")]
    answer = desk.post("/v1/venue-reports", json={"reports": reports})
    assert statuses(answer) == ["recorded", "recorded", "recorded"]
    (row,) = desk.get("/v1/breaks", params={"min_seq": answer.headers["Daybook-Seq"]}).json()["items"]
    assert (row["rule"], row["report"]["exec_id"]) == ("a fill is of an open order", "E-3")


def test_reports_of_an_unknown_order_adopt_it(desk: httpx.Client):
    answer = desk.post("/v1/venue-reports", json={"reports": [fill(cl_ord_id="THEIRS")]})
    shown = desk.get("/v1/orders/main/THEIRS", params={"min_seq": answer.headers["Daybook-Seq"]}).json()
    assert (shown["order_qty"], shown["cum_qty"], shown["side"]) == (None, "1", "BUY")


def test_rejections_and_expiries_close_the_order(desk: httpx.Client):
    for type_ in ("rejected", "expired"):
        desk.post("/v1/orders", json=order(type_))
        answer = desk.post("/v1/venue-reports", json={"reports": [of(type_, reason="no", cl_ord_id=type_)]})
        shown = desk.get(f"/v1/orders/main/{type_}", params={"min_seq": answer.headers["Daybook-Seq"]}).json()
        assert (shown["status"], shown["reason"]) == (type_.upper(), "no")


def test_funding_is_booked_once_even_within_one_batch(desk: httpx.Client):
    payment = {
        "type": "funding", "account_id": "main", "instrument_id": BTC, "funding_id": "F-1",
        "amount": {"amount": "-1.25", "currency": "USDT"}, "transact_time": AT,
    }  # fmt: skip
    answer = desk.post("/v1/venue-reports", json={"reports": [payment, payment]})
    assert statuses(answer) == ["recorded", "known"]
    assert statuses(desk.post("/v1/venue-reports", json={"reports": [payment]})) == ["known"]
    rows = desk.get("/v1/pnl", params={"min_seq": answer.headers["Daybook-Seq"]}).json()["items"]
    assert [row["funding"] for row in rows] == ["-1.25"]


def test_an_unreadable_report_is_kept_word_for_word_and_its_neighbours_are_taken(desk: httpx.Client):
    bad = '{"type":"filled",  "account_id":"main","instrument_id":"BTCUSDT.BINANCE","last_qty":1.50}'
    body = f'{{"reports":[{json.dumps(fill())},{bad}]}}'
    answer = desk.post("/v1/venue-reports", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, statuses(answer)) == (207, ["recorded", "unreadable"])
    fields = {error["field"] for error in answer.json()["answers"][1]["errors"]}
    assert {"last_qty", "cl_ord_id", "exec_id"} <= fields
    (kept,) = desk.get("/v1/breaks", params={"min_seq": answer.headers["Daybook-Seq"]}).json()["items"]
    assert (kept["kind"], kept["raw"], kept["venue"], kept["account_id"]) == ("UNREADABLE", bad, "BINANCE", "main")
    desk.post("/v1/venue-reports", content=body, headers={"Content-Type": "application/json"})
    assert len(desk.get("/v1/events", params={"stream": "evidence:"}).json()["items"]) == 1


def test_reports_of_what_is_not_on_record_are_unreadable_and_kept(desk: httpx.Client):
    answer = desk.post(
        "/v1/venue-reports", json={"reports": [fill(instrument_id="ETHUSDT.BINANCE"), fill(account_id="no")]}
    )
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert [error["field"] for error in answer.json()["errors"]] == ["reports.0.instrument_id", "reports.1.account_id"]
    assert len(desk.get("/v1/events", params={"stream": "evidence:"}).json()["items"]) == 2


NO_BATCHES = [{}, {"reports": []}, {"reports": {}}, {"reports": [], "more": 1}, [], {"reports": [fill()] * 1001}]


def test_a_batch_that_is_none_is_refused_whole(desk: httpx.Client):
    before = desk.get("/v1/events").json()["seq"]
    for body in NO_BATCHES:
        answer = desk.post("/v1/venue-reports", json=body)
        found = (str(body)[:30], answer.status_code, answer.json()["type"])
        assert found == (str(body)[:30], 422, "urn:daybook:problem:unreadable")
    assert desk.post("/v1/venue-reports", content="{}", headers={"Content-Type": "text/plain"}).status_code == 415
    assert desk.get("/v1/events").json()["seq"] == before


def test_a_report_has_a_time_that_has_come(desk: httpx.Client):
    for bad in ["2008-01-01T00:00:00Z", "2199-01-01T00:00:00Z", "yesterday", 5, None, "2026-02-30T00:00:00Z"]:
        answer = desk.post("/v1/venue-reports", json={"reports": [fill(transact_time=bad)]})
        found = (bad, answer.status_code, answer.json()["errors"][0]["field"])
        assert found == (bad, 422, "reports.0.transact_time")


def test_fills_in_any_order_end_in_the_same_book(desk: httpx.Client):
    fills = [fill(f"E-{n}", trade_seq=n, last_px=str(100 + n), cl_ord_id=f"O-{n}",
                  side="SELL" if n % 3 == 0 else "BUY") for n in range(1, 31)]  # fmt: skip
    for at in range(0, 30, 7):
        answer = desk.post("/v1/venue-reports", json={"reports": list(reversed(fills[at : at + 7]))})
    seq = answer.headers["Daybook-Seq"]
    forward = desk.get("/v1/pnl", params={"min_seq": seq, "mark": f"{BTC}=120"}).json()["totals"]
    desk.post("/v1/accounts", json={"account_id": "other", "base_currency": "USDT", "cost_basis": "FIFO"})
    answer = desk.post("/v1/venue-reports", json={"reports": [one | {"account_id": "other"} for one in fills]})
    query = {"min_seq": answer.headers["Daybook-Seq"], "mark": f"{BTC}=120", "account_id": "other"}
    assert desk.get("/v1/pnl", params=query).json()["totals"] == forward


def test_the_old_path_is_a_deprecated_alias(desk: httpx.Client):
    desk.post("/v1/orders", json=order(order_qty="3"))
    old = desk.post("/v1/reports", json={"reports": [fill()]})
    assert (old.status_code, statuses(old)) == (200, ["recorded"])
    assert old.headers["Deprecation"].startswith("@")
    assert old.headers["Link"] == '</v1/venue-reports>; rel="successor-version"'
    new = desk.post("/v1/venue-reports", json={"reports": [fill()]})
    assert (new.status_code, statuses(new)) == (200, ["known"])
    assert "Deprecation" not in new.headers
    paths = desk.get("/openapi.json").json()["paths"]
    alias, route = paths["/v1/reports"]["post"], paths["/v1/venue-reports"]["post"]
    assert alias["deprecated"] and "deprecated" not in route
    assert alias["requestBody"] == route["requestBody"]
    assert alias["responses"] == route["responses"]
