"""Why an order was accepted or refused: as recorded, with the version, usage and headroom of each limit, and marks."""

import json
from datetime import timedelta
from decimal import Decimal as D
from typing import Any

import httpx

from api.daybook import Daybook
from api.explain.orders import why
from domain.order import Changes, ReplaceOrder
from domain.risk import FIRM, EngageSwitch, Measure, Mode, Scope, SetLimit
from tests.api.client import BTC, fill, order, trade
from tests.api.command_line import Run
from tests.desk import BTC as SIM_BTC
from tests.desk import T0, Desk


def limited(desk: httpx.Client, measure: str, limit: str, **other: Any) -> None:
    body = {"account_id": "main", "measure": measure, "limit": limit, **other}
    answer = desk.post("/v1/limits", json=body)
    assert answer.status_code == 201, answer.text


def explained(desk: httpx.Client, cl_ord_id: str = "A-1") -> list[dict[str, Any]]:
    answer = desk.get(f"/v1/orders/main/{cl_ord_id}/why")
    assert answer.status_code == 200, answer.text
    return answer.json()["decisions"]


def numbers(check: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(check[name] for name in ("measure", "version", "limit", "used", "with_order", "headroom", "outcome"))


def test_an_accepted_order_shows_each_limit_it_kept_at_which_version(desk: httpx.Client) -> None:
    limited(desk, "MAX_POSITION", "9")
    limited(desk, "MAX_POSITION", "5")
    set_seq = desk.get("/v1/events", params={"topic": "LimitSet"}).json()["items"][-1]["seq"]
    limited(desk, "MAX_ORDER_NOTIONAL", "500", currency="USDT")
    desk.post("/v1/orders", json=order("A-1", order_qty="2"))
    limited(desk, "MAX_POSITION", "1")  # what is set later is not what decided
    (decision,) = explained(desk)
    assert (decision["about"], decision["outcome"], decision["quantity"]) == ("SUBMIT", "ACCEPTED", "2")
    checks = {check["measure"]: check for check in decision["checks"]}
    assert numbers(checks["MAX_POSITION"]) == ("MAX_POSITION", 2, "5", "0", "2", "3", "PASSED")
    assert checks["MAX_POSITION"]["set_seq"] == set_seq
    assert numbers(checks["MAX_ORDER_NOTIONAL"]) == ("MAX_ORDER_NOTIONAL", 1, "500", "0", "200", "300", "PASSED")
    assert decision["without_numbers"] == []


def test_a_refused_order_shows_what_failed_by_how_much_and_what_was_not_reached(desk: httpx.Client) -> None:
    limited(desk, "MAX_ORDER_NOTIONAL", "150", currency="USDT")
    limited(desk, "MAX_POSITION", "5")
    refused = desk.post("/v1/orders", json=order("A-1", order_qty="2"))
    assert refused.status_code == 409
    (decision,) = explained(desk)
    assert (decision["outcome"], decision["rule"]) == ("REFUSED", "MAX_ORDER_NOTIONAL is not exceeded")
    (check,) = decision["checks"]
    assert numbers(check) == ("MAX_ORDER_NOTIONAL", 1, "150", "0", "200", "-50", "FAILED")
    assert check["reason"] == "200 USDT with the order exceeds 150 USDT by 50 USDT"
    assert [(row["measure"], row["reason"]) for row in decision["without_numbers"]] == [
        ("MAX_POSITION", "not reached: the check ended at the limit that failed")
    ]


def test_the_marks_used_are_shown_with_their_age_and_source(desk: httpx.Client, run: Run) -> None:
    limited(desk, "MAX_ORDER_NOTIONAL", "500", currency="USDT")
    assert desk.post("/v1/marks", json={"marks": [{"instrument_id": BTC, "price": "240"}]}).status_code == 201
    assert desk.post("/v1/orders", json=order("A-1", ord_type="MARKET", price=None)).status_code == 201
    refused = desk.post("/v1/orders", json=order("A-2", ord_type="MARKET", price=None, order_qty="3"))
    assert refused.status_code == 409
    for cl_ord_id, headroom in (("A-1", "260"), ("A-2", "-220")):
        (decision,) = explained(desk, cl_ord_id)
        (mark,) = decision["marks"]
        assert (mark["instrument_id"], mark["price"]) == (BTC, "240")
        assert mark["age_ms"] >= 0
        assert decision["checks"][0]["headroom"] == headroom
    table = run("why", "A-2").stdout
    assert "SUBMIT REFUSED" in table and "-220" in table and "240" in table
    assert json.loads(run("why", "A-2", "--json").stdout)["decisions"][0]["outcome"] == "REFUSED"


def test_a_cancel_and_an_order_without_limits_are_said_to_be_unchecked(desk: httpx.Client) -> None:
    desk.post("/v1/orders", json=order("A-1"))
    desk.post("/v1/orders/main/A-1/cancel", json={})
    submitted, canceled = explained(desk)
    assert (submitted["outcome"], submitted["checks"]) == ("ACCEPTED", [])
    assert (canceled["about"], canceled["outcome"]) == ("CANCEL", "NOT_CHECKED")
    assert "not checked against limits" in canceled["rule"]


def test_an_order_that_the_venue_had_already_was_not_checked(desk: httpx.Client) -> None:
    trade(desk, fill("E-1", cl_ord_id="X-9"))
    decision = explained(desk, "X-9")[0]
    assert (decision["about"], decision["outcome"]) == ("ADOPT", "NOT_CHECKED")


def test_an_order_that_is_not_on_record_is_not_found(desk: httpx.Client, run: Run) -> None:
    assert desk.get("/v1/orders/main/none/why").status_code == 404
    said = run("why", "none")
    assert said.returncode == 1 and "none" in said.stderr


def of_domain(daybook: Daybook, log: Any) -> Desk:
    """A desk with limits of the account and the firm, whose order was replaced once and refused another change."""
    book = Desk(log)
    book.request(SetLimit("main", Scope(), Measure.MAX_POSITION, D(5), None, T0))
    book.request(SetLimit(FIRM, Scope(), Measure.MAX_POSITION, D(4), None, T0))
    return book


def test_replacements_are_explained_also_refused_ones_and_by_their_own_id(daybook: Daybook, log: Any) -> None:
    from domain.order import OrderAccepted, OrderKey, OrderReplaced, OrderTerms, OrdType, SubmitOrder, TimeInForce
    from domain.values import Side

    book = of_domain(daybook, log)
    key = OrderKey("main", "A")
    terms = OrderTerms("trend", SIM_BTC, Side.BUY, OrdType.LIMIT, D(1), price=D(100), time_in_force=TimeInForce.GTC)
    book.request(SubmitOrder(key, terms, T0))
    book.report(OrderAccepted(key, "V-1", T0 + timedelta(seconds=1)))
    book.request(ReplaceOrder(key, "A2", Changes(order_qty=D(3)), T0 + timedelta(seconds=2)))
    book.report(OrderReplaced(key, T0 + timedelta(seconds=3), requested_as="A2"))
    book.request(ReplaceOrder(key, "A3", Changes(order_qty=D("4.5")), T0 + timedelta(seconds=4)))
    found = why(daybook, "main", "A")
    assert [(one["about"], one["requested_as"], one["outcome"]) for one in found["decisions"]] == [
        ("SUBMIT", None, "ACCEPTED"),
        ("REPLACE", "A2", "ACCEPTED"),
        ("REPLACE", "A3", "REFUSED"),
    ]
    first, changed, refused = found["decisions"]
    assert {check["account_id"]: check["headroom"] for check in first["checks"]} == {"main": 4, FIRM: 3}
    assert (changed["was"], changed["quantity"]) == (1, 3)
    assert [(check["account_id"], check["outcome"], check["headroom"]) for check in refused["checks"]] == [
        (FIRM, "FAILED", D("-0.5"))
    ]
    assert [row["account_id"] for row in refused["without_numbers"]] == ["main"]
    assert why(daybook, "main", "A2")["cl_ord_id"] == "A"


def test_a_kill_switch_that_refused_is_named_with_who_engaged_it(daybook: Daybook, log: Any) -> None:
    from domain.order import OrderKey, OrderTerms, OrdType, SubmitOrder
    from domain.values import Side

    book = of_domain(daybook, log)
    book.request(EngageSwitch("main", Scope(), Mode.HALT, "fire", T0), actor="ops")
    terms = OrderTerms("trend", SIM_BTC, Side.BUY, OrdType.LIMIT, D(1), price=D(100))
    book.request(SubmitOrder(OrderKey("main", "A"), terms, T0))
    (decision,) = why(daybook, "main", "A")["decisions"]
    assert (decision["outcome"], decision["rule"]) == ("REFUSED", "the kill switch is not engaged")
    assert (decision["facts"]["engaged_by"], decision["facts"]["reason"]) == ("ops", "fire")
    assert {row["account_id"] for row in decision["without_numbers"]} == {"main"}
