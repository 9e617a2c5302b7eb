"""A client's requests: carried out once, answered alike, refused with reasons."""

from datetime import timedelta

import httpx
from msgspec.structs import replace

from api.clock import now
from api.daybook import Daybook
from tests.api.client import BTC, fill, listing, order
from tests.records import record

PROBLEM = "application/problem+json"


def test_an_account_is_opened_once_and_the_same_request_gets_the_same_answer(client: httpx.Client):
    query = {"account_id": "main", "base_currency": "USDT", "cost_basis": "FIFO"}
    first, again = client.post("/v1/accounts", json=query), client.post("/v1/accounts", json=query)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    assert first.json()["fee_policy"] == "EXPENSED"
    other = client.post("/v1/accounts", json=query | {"cost_basis": "LIFO"})
    assert other.status_code == 409
    assert other.json()["rule"] == "an account is opened once, by one set of conventions"
    assert client.get("/v1/accounts/main").json() == first.json()
    assert client.get("/v1/accounts").json()["items"] == [first.json()]


def test_an_instrument_is_listed_once_and_settles_by_its_kind(client: httpx.Client):
    assert client.post("/v1/instruments", json=listing()).status_code == 201
    assert client.post("/v1/instruments", json=listing()).status_code == 200
    assert client.post("/v1/instruments", json=listing(lot_size="0.1")).status_code == 409
    inverse = listing(instrument_id="XBTUSD.BITMEX", kind="INVERSE", quote="USD", contract_size="1")
    assert client.post("/v1/instruments", json=inverse).json()["settle"] == "BTC"
    assert client.get("/v1/instruments/XBTUSD.BITMEX").json()["settle"] == "BTC"
    assert [each["instrument_id"] for each in client.get("/v1/instruments").json()["items"]] == [BTC, "XBTUSD.BITMEX"]


def test_an_order_sent_twice_is_one_order(desk: httpx.Client):
    first, again = desk.post("/v1/orders", json=order()), desk.post("/v1/orders", json=order())
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    assert first.json()["actor"] == "desk"
    assert int(again.headers["Daybook-Seq"]) >= int(first.headers["Daybook-Seq"])
    events = desk.get("/v1/events", params={"stream": "order:"}).json()["items"]
    assert [event["topic"] for event in events] == ["OrderSubmitted"]


def test_an_answered_order_stays_the_same_answer_after_a_fill(desk: httpx.Client):
    first = desk.post("/v1/orders", json=order())
    desk.post("/v1/venue-reports", json={"reports": [fill()]})
    assert desk.post("/v1/orders", json=order()).json() == first.json()


def test_the_same_cl_ord_id_with_other_terms_is_a_conflict(desk: httpx.Client):
    desk.post("/v1/orders", json=order())
    other = desk.post("/v1/orders", json=order(price="101"))
    assert other.status_code == 409
    assert other.headers["content-type"] == PROBLEM
    assert other.json()["type"] == "urn:daybook:problem:refused"
    assert other.json()["rule"] == "one cl_ord_id names one order"


def test_a_refused_order_names_rule_and_numbers_and_is_refused_alike_again(desk: httpx.Client):
    limit = {"account_id": "main", "measure": "MAX_POSITION", "limit": "0.5", "instrument_id": BTC}
    assert desk.post("/v1/limits", json=limit).status_code == 201
    first, again = desk.post("/v1/orders", json=order()), desk.post("/v1/orders", json=order())
    stated = first.json()
    assert (stated["rule"], stated["limit"], stated["used"], stated["asked"]) == (
        "MAX_POSITION is not exceeded",
        "0.5",
        "0",
        "1",
    )
    assert (stated["code"], stated["detail"]) == ("MAX_POSITION", "MAX_POSITION exceeded: 1 of 0.5 BTC")
    assert (stated["would_be"], stated["unit"]) == ("1", "BTC")
    assert stated["scope"] == {
        "account_id": "main", "strategy_id": None, "instrument_id": BTC, "venue": None, "asset": None,
    }  # fmt: skip
    assert (again.status_code, again.json()) == (409, stated)
    shown = desk.get("/v1/orders/main/A-1", params={"min_seq": first.headers["Daybook-Seq"]}).json()
    assert (shown["status"], shown["rule"]) == ("REJECTED", "MAX_POSITION is not exceeded")


UNRECORDED = [
    ({"instrument_id": "ETHUSDT.BINANCE"}, "UNKNOWN_INSTRUMENT", "the instrument is listed; list it first"),
    ({"account_id": "unknown"}, "UNKNOWN_ACCOUNT", "the account is open; open it first"),
]
BROKEN_RULES = [
    ({"order_qty": "0.0001"}, "LOT_SIZE", "order_qty in steps of the lot size",
     {"requested": "0.0001", "limit": "0.001", "detail": "order_qty 0.0001 is no multiple of the lot size 0.001"}),
    ({"price": "100.001"}, "TICK_SIZE", "price in steps of the tick size",
     {"requested": "100.001", "limit": "0.01", "detail": "price 100.001 is no multiple of the tick size 0.01"}),
    ({"price": None}, "PRICE_REQUIRED", "a limit order has a price above zero",
     {"detail": "a limit order needs a price above zero"}),
    ({"ord_type": "MARKET"}, "PRICE_NOT_ALLOWED", "a market order has no price", {"price": "100"}),
    ({"time_in_force": "GTD"}, "EXPIRE_TIME", "a GTD order, and no other, has an expire_time", {}),
    ({"display_qty": "2"}, "DISPLAY_QTY", "display_qty at most order_qty", {"requested": "2", "limit": "1"}),
]  # fmt: skip


def test_an_order_of_an_unknown_account_or_instrument_is_refused_and_not_on_record(desk: httpx.Client):
    before = desk.get("/v1/events").json()["seq"]
    for other, code, rule in UNRECORDED:
        refused = desk.post("/v1/orders", json=order(**other))
        assert (other, refused.status_code, refused.json()["rule"]) == (other, 409, rule)
        assert refused.json()["code"] == code
    assert desk.get("/v1/events").json()["seq"] == before


def test_every_rule_that_refuses_an_order_is_on_record_and_refuses_it_alike_again(desk: httpx.Client):
    for number, (other, code, rule, facts) in enumerate(BROKEN_RULES):
        first, again = (desk.post("/v1/orders", json=order(f"R-{number}", **other)) for _ in range(2))
        stated = first.json()
        assert (other, first.status_code, stated["rule"], stated["code"]) == (other, 409, rule, code)
        assert facts.items() <= stated.items()
        assert (again.status_code, again.json()) == (409, stated)
        shown = desk.get(f"/v1/orders/main/R-{number}", params={"min_seq": first.headers["Daybook-Seq"]}).json()
        assert (shown["status"], shown["rule"], shown["code"]) == ("REJECTED", rule, code)
        why = desk.get(f"/v1/orders/main/R-{number}/why").json()["decisions"]
        assert [(one["outcome"], one["code"], one["detail"]) for one in why] == [("REFUSED", code, stated["detail"])]
        (event,) = desk.get(f"/v1/events?stream=order:main:R-{number}").json()["items"]
        assert (event["topic"], event["code"]) == ("OrderRefused", code)


def test_limits_are_set_lifted_and_versioned(desk: httpx.Client):
    limit = {"account_id": "main", "measure": "MAX_ORDER_NOTIONAL", "limit": "1000", "currency": "USDT"}
    assert desk.post("/v1/limits", json=limit).status_code == 201
    assert desk.post("/v1/limits", json=limit).status_code == 200
    lifted = desk.post("/v1/limits", json=limit | {"limit": None})
    assert (lifted.status_code, lifted.json()["version"]) == (201, 2)
    assert desk.post("/v1/limits", json=limit | {"currency": None}).status_code == 409
    assert desk.post("/v1/limits", json=limit | {"account_id": "unknown"}).status_code == 409


def test_an_order_is_taken_with_all_its_terms_and_shown_with_them(desk: httpx.Client):
    terms = {
        "ord_type": "STOP_LIMIT", "stop_px": "99", "trigger_price": "MARK", "time_in_force": "GTD",
        "expire_time": "2999-01-01T00:00:00Z", "exec_inst": ["REDUCE_ONLY", "POST_ONLY"], "display_qty": "0.5",
    }  # fmt: skip
    fills = [fill(cl_ord_id="THEIRS", side="SELL")]
    desk.post("/v1/venue-reports", json={"reports": fills})
    first, again = (desk.post("/v1/orders", json=order(**terms)) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 200), first.text
    taken = terms | {"exec_inst": ["POST_ONLY", "REDUCE_ONLY"], "peg_offset_value": None, "parent": ""}
    assert {name: first.json()[name] for name in taken} == taken
    shown = desk.get("/v1/orders/main/A-1", params={"min_seq": first.headers["Daybook-Seq"]}).json()
    assert {name: shown[name] for name in terms} == terms | {"exec_inst": "POST_ONLY REDUCE_ONLY"}
    refused = desk.post("/v1/orders", json=order("A-2", ord_type="STOP"))
    assert (refused.status_code, refused.json()["rule"]) == (409, "a stop order has no price")


def test_a_cancel_is_requested_once_and_an_unknown_order_is_not_found(desk: httpx.Client):
    desk.post("/v1/orders", json=order())
    first = desk.post("/v1/orders/main/A-1/cancel", json={"reason": "enough"})
    again = desk.post("/v1/orders/main/A-1/cancel")
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json() == {"account_id": "main", "cl_ord_id": "A-1", "status": "PENDING_CANCEL"}
    unknown = desk.post("/v1/orders/main/A-9/cancel")
    assert (unknown.status_code, unknown.json()["type"]) == (404, "urn:daybook:problem:not-found")


def test_a_filled_order_cannot_be_canceled(desk: httpx.Client):
    desk.post("/v1/orders", json=order())
    desk.post("/v1/venue-reports", json={"reports": [fill()]})
    refused = desk.post("/v1/orders/main/A-1/cancel")
    assert (refused.status_code, refused.json()["rule"], refused.json()["ord_status"]) == (
        409,
        "an open order",
        "FILLED",
    )


def test_a_transfer_is_booked_once_and_one_id_has_one_content(desk: httpx.Client):
    transfer = {
        "account_id": "main", "instrument_id": BTC, "transfer_id": "T-1", "quantity": "2", "cost": "180",
        "transact_time": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    first, again = desk.post("/v1/transfers", json=transfer), desk.post("/v1/transfers", json=transfer)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    assert desk.post("/v1/transfers", json=transfer | {"cost": "181"}).status_code == 409
    unlisted = desk.post("/v1/transfers", json=transfer | {"instrument_id": "ETHUSDT.BINANCE"})
    assert (unlisted.status_code, unlisted.json()["errors"][0]["field"]) == (422, "instrument_id")
    held = desk.get("/v1/positions", params={"min_seq": first.headers["Daybook-Seq"]}).json()["items"]
    assert [(row["quantity"], row["cost"]) for row in held] == [("2", "180")]


def test_a_market_order_is_valued_at_the_newest_mark(desk: httpx.Client):
    desk.post("/v1/limits", json={"account_id": "main", "measure": "MAX_ORDER_NOTIONAL", "limit": "150",
                                  "currency": "USDT"})  # fmt: skip
    market = order(ord_type="MARKET", price=None)
    blind = desk.post("/v1/orders", json=market)
    assert blind.json()["rule"] == "a market order has a mark to value it by"
    marks = {"marks": [{"instrument_id": BTC, "price": "100"}, {"instrument_id": BTC, "price": "200"}]}
    assert desk.post("/v1/marks", json=marks).json() == {"recorded": 2}
    dear = desk.post("/v1/orders", json=market | {"cl_ord_id": "A-2"})
    assert (dear.status_code, dear.json()["asked"]) == (409, "200")


def test_marks_are_events_of_the_caller_once_per_key_and_not_by_a_clock_in_doubt(desk: httpx.Client, daybook: Daybook):
    marks = {"marks": [{"instrument_id": BTC, "price": "100"}, {"instrument_id": BTC, "price": "7", "source": "other"}]}
    headers = {"X-Request-Id": "R-78", "Idempotency-Key": "k-1"}
    first, again = (desk.post("/v1/marks", json=marks, headers=headers) for _ in range(2))
    assert (first.content, first.headers["Daybook-Seq"]) == (again.content, again.headers["Daybook-Seq"])
    events = desk.get("/v1/events", params={"stream": "marks:"}).json()["items"]
    assert [(each["stream"], each["actor"], each["request_id"]) for each in events] == [
        ("marks:api", "desk", "R-78"), ("marks:other", "desk", "R-78"),
    ]  # fmt: skip
    assert int(first.headers["Daybook-Seq"]) == events[-1]["seq"]
    reused = desk.post("/v1/marks", json={"marks": marks["marks"][:1]}, headers=headers)
    assert reused.status_code == 422

    daybook.log.append([replace(record("account:x", 1), recorded_at=now() + timedelta(hours=1))])
    assert daybook.clock_doubt() is not None
    refused = desk.post("/v1/marks", json=marks)
    assert (refused.status_code, refused.json()["type"]) == (503, "urn:daybook:problem:clock")


def test_the_request_id_comes_back_and_lands_in_the_events(desk: httpx.Client):
    answer = desk.post("/v1/orders", json=order(), headers={"X-Request-Id": "R-77"})
    assert answer.headers["X-Request-Id"] == "R-77"
    event = desk.get("/v1/events", params={"stream": "order:main:A-1"}).json()["items"][0]
    assert (event["request_id"], event["actor"]) == ("R-77", "desk")
    made = desk.get("/health", headers={"X-Request-Id": "no good id"}).headers["X-Request-Id"]
    assert len(made) == 32


BAD = [
    ({"order_qty": 0.1}, "order_qty"),
    ({"order_qty": 1.0}, "order_qty"),
    ({"order_qty": "1e18"}, "order_qty"),
    ({"order_qty": "1e-19"}, "order_qty"),
    ({"order_qty": "1e"}, "order_qty"),
    ({"order_qty": "NaN"}, "order_qty"),
    ({"order_qty": "Infinity"}, "order_qty"),
    ({"order_qty": "-1"}, "order_qty"),
    ({"order_qty": "0"}, "order_qty"),
    ({"order_qty": " 1"}, "order_qty"),
    ({"order_qty": "1\n"}, "order_qty"),
    ({"order_qty": "1,5"}, "order_qty"),
    ({"order_qty": "\u0661"}, "order_qty"),
    ({"order_qty": True}, "order_qty"),
    ({"order_qty": None}, "order_qty"),
    ({"order_qty": []}, "order_qty"),
    ({"order_qty": "1234567890123456789"}, "order_qty"),
    ({"order_qty": "0.1234567890123456789"}, "order_qty"),
    ({"order_qty": 10**30}, "order_qty"),
    ({"price": {}}, "price"),
    ({"side": "buy"}, "side"),
    ({"ord_type": "PEGGED"}, "ord_type"),
    ({"time_in_force": ""}, "time_in_force"),
    ({"cl_ord_id": ""}, "cl_ord_id"),
    ({"cl_ord_id": "a;b"}, "cl_ord_id"),
    ({"cl_ord_id": "a\u202eb"}, "cl_ord_id"),
    ({"cl_ord_id": "a\u0000"}, "cl_ord_id"),
    ({"cl_ord_id": "x" * 201}, "cl_ord_id"),
    ({"cl_ord_id": 7}, "cl_ord_id"),
    ({"account_id": ".."}, "account_id"),
    ({"instrument_id": "BTCUSDT"}, "instrument_id"),
    ({"stop_px": "0"}, "stop_px"),
    ({"exec_inst": ["HIDDEN"]}, "exec_inst.0"),
    ({"expire_time": "tomorrow"}, "expire_time"),
    ({"stop": "1"}, "stop"),
]


def test_bad_input_names_field_value_and_rule_and_changes_nothing(desk: httpx.Client):
    before = desk.get("/v1/events").json()["seq"]
    for other, field in BAD:
        answer = desk.post("/v1/orders", json=order(**other))
        stated = answer.json()
        assert (other, answer.status_code, answer.headers["content-type"]) == (other, 422, PROBLEM)
        assert stated["type"] == "urn:daybook:problem:unreadable"
        assert {"title", "status", "detail", "instance"} <= stated.keys()
        assert (other, [error["field"] for error in stated["errors"]]) == (other, [field])
        assert stated["errors"][0].keys() == {"field", "value", "rule", "code", "message"}
        assert stated["errors"][0]["rule"]
    assert desk.get("/v1/events").json()["seq"] == before


BODIES = [
    b"", b"{", b"[]", b"null", b'"x"', b'{"order_qty": NaN}', b"\xff\xfe", b'{"a":' * 3000, b'{"cl_ord_id": "\\ud800"}',
    b'{"order_qty": ' + b"9" * 5000 + b"}",
]  # fmt: skip


def test_bodies_that_are_no_request_are_unreadable(desk: httpx.Client):
    for body in BODIES:
        for path in ("/v1/orders", "/v1/venue-reports", "/v1/accounts"):
            answer = desk.post(path, content=body, headers={"Content-Type": "application/json"})
            found = (path, body[:20], answer.status_code, answer.headers["content-type"])
            assert found == (path, body[:20], 422, PROBLEM)


def test_a_body_too_large_is_refused_before_it_is_read(desk: httpx.Client):
    body = b" " * (9 * 2**20)
    for path in ("/v1/orders", "/v1/venue-reports"):
        for content in (body, iter([body])):  # with a Content-Length, and in chunks without
            answer = desk.post(path, content=content, headers={"Content-Type": "application/json"})
            assert (path, answer.status_code, answer.headers["content-type"]) == (path, 413, PROBLEM)
