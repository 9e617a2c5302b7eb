"""Orders: what a request may change, what a report adds, and what follows from any of them in any order."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from functools import reduce
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET
from msgspec.structs import replace

from domain import order
from domain.errors import InvalidInput, RequestRefused
from domain.immutable import YOUNG_MAX, AppendMap
from domain.order import (
    CancelOrder,
    Changes,
    ExecInst,
    OrderAccepted,
    OrderAdopted,
    OrderBreakWithdrawn,
    OrderBroken,
    OrderCalculated,
    OrderCanceled,
    OrderCancelRejected,
    OrderCancelRequested,
    OrderDoneForDay,
    OrderExpired,
    OrderFillBusted,
    OrderFillCorrected,
    OrderFilled,
    OrderKey,
    OrderPendingCancel,
    OrderPendingNew,
    OrderPendingReplace,
    OrderRefused,
    OrderRejected,
    OrderReplaced,
    OrderReplaceRejected,
    OrderReplaceRequested,
    OrderRestated,
    OrderSubmitted,
    OrderSuspended,
    OrderTerms,
    OrderTriggered,
    OrdStatus,
    OrdType,
    PegOffset,
    ReplaceOrder,
    SubmitOrder,
    TimeInForce,
)
from domain.values import ZERO, Liquidity, Money, Side
from tests.given import Given
from tests.samples import order_events

after = Given(order)
T0 = datetime(2026, 3, 2, 9, tzinfo=UTC)
KEY = OrderKey("main", "A")
BTC = "BTCUSDT.SIM"
TERMS = OrderTerms("trend", BTC, Side.BUY, OrdType.LIMIT, D(10), D(100))
AN_INSTRUMENT = "an instrument id such as BTCUSDT.BINANCE: the venue's symbol, a dot, the venue in capitals"


def at(second):
    return T0 + timedelta(seconds=second)


def fill(exec_id, qty, px="100", second=5, **other):
    whole = OrderFilled(
        KEY, "trend", BTC, "V1", Side.BUY, exec_id, second, D(qty), D(px), Money(ZERO, "USDT"), Liquidity.TAKER,
        at(second),
    )  # fmt: skip
    return replace(whole, **other)


SUBMIT = SubmitOrder(KEY, TERMS, T0)
SUBMITTED = OrderSubmitted(KEY, TERMS, T0)
ACCEPTED = OrderAccepted(KEY, "V1", at(1))
CANCEL = CancelOrder(KEY, "changed my mind", at(3))
CANCEL_REQUESTED = OrderCancelRequested(KEY, "changed my mind", at(3))
CANCELED = OrderCanceled(KEY, "", at(9))


def state_of(*events):
    return reduce(order.evolve, events, None)


def replacing(name, second=3, orig="", **changes):
    return ReplaceOrder(KEY, name, Changes(**changes), at(second), orig)


def requested(name, terms, second=3, orig="A", **changes):
    return OrderReplaceRequested(KEY, name, orig, Changes(**changes), terms, at(second))


# Requests


def test_an_order_is_submitted_once():
    after().when(SUBMIT).then(SUBMITTED).repeated().then()


def test_one_cl_ord_id_names_one_order():
    other = SubmitOrder(KEY, replace(TERMS, order_qty=D(9)), T0)
    after(SUBMITTED).when(other).refused("one cl_ord_id names one order", cl_ord_id="A")
    after(OrderAdopted(KEY, "V1", "trend", BTC, Side.BUY, T0)).when(SUBMIT).refused("one cl_ord_id names one order")


def test_a_refused_order_is_refused_again():
    refused = OrderRefused(KEY, TERMS, "MAX_POSITION is not exceeded", {"limit": "5"}, T0)
    after(refused).when(SUBMIT).refused("MAX_POSITION is not exceeded", limit="5")
    assert state_of(refused).status is OrdStatus.REJECTED
    assert state_of(refused).leaves_qty == 0


def test_an_order_is_canceled_once_until_the_venue_has_answered():
    rejected = OrderCancelRejected(KEY, "too late", at(4))
    again = CancelOrder(KEY, "really", at(6))
    wanted = after(SUBMITTED, ACCEPTED).when(CANCEL).then(CANCEL_REQUESTED).repeated().then()
    wanted.when(again).then()
    shown = wanted.reported(rejected).then(rejected)
    shown.repeated().then()
    shown.when(CANCEL).then()
    shown.when(again).then(OrderCancelRequested(KEY, "really", at(6)))


def test_a_closed_order_is_not_canceled():
    after(SUBMITTED, ACCEPTED, CANCELED).when(CANCEL).then()
    after(SUBMITTED, fill("E1", 10)).when(CANCEL).refused("an open order", status=OrdStatus.FILLED)
    after().when(CANCEL).refused("an order on record", cl_ord_id="A")


def test_our_own_request_shows_until_the_venues_next_word():
    wanted = state_of(SUBMITTED, ACCEPTED, CANCEL_REQUESTED)
    assert wanted.status is OrdStatus.PENDING_CANCEL
    filled = order.evolve(wanted, fill("E1", 4))
    assert (filled.status, filled.is_cancel_requested) == (OrdStatus.PARTIALLY_FILLED, True)


def test_a_replacement_changes_what_it_names_and_keeps_the_rest():
    larger = replace(TERMS, order_qty=D(12), price=D(101))
    wanted = requested("B", larger, order_qty=D(12), price=D(101))
    replaced = OrderReplaced(KEY, at(4), requested_as="B")
    scene = after(SUBMITTED, ACCEPTED).when(replacing("B", order_qty=D(12), price=D(101))).then(wanted)
    scene.repeated().then()
    assert scene.state.order_qty == 10
    scene = scene.reported(replaced).then(replace(replaced, terms=larger))
    scene.repeated().then()
    assert (scene.state.order_qty, scene.state.terms, scene.state.cl_ord_id) == (12, larger, "B")
    assert scene.state.key == KEY


def test_replacements_chain_before_the_first_is_answered():
    cheaper = replace(TERMS, price=D(99))
    smaller = replace(cheaper, order_qty=D(7))
    scene = after(SUBMITTED, ACCEPTED).when(replacing("B", price=D(99))).then(requested("B", cheaper, price=D(99)))
    scene.when(replacing("C", order_qty=D(7))).then(requested("C", smaller, orig="B", order_qty=D(7)))


def test_a_replacement_down_to_what_is_filled_leaves_nothing():
    scene = after(SUBMITTED, fill("E1", 4)).when(replacing("B", order_qty=D(3))).then_some(OrderReplaceRequested)
    scene = scene.reported(OrderReplaced(KEY, at(6), requested_as="B")).then_some(OrderReplaced)
    assert (scene.state.status, scene.state.leaves_qty, scene.state.is_open) == (OrdStatus.FILLED, 0, False)


@pytest.mark.parametrize(
    ("history", "request_", "rule"),
    [
        ((SUBMITTED, CANCELED), replacing("B", price=D(9)), "an order that is not closed"),
        ((SUBMITTED, fill("E1", 10)), replacing("B", order_qty=D(10), price=D(9)), "a filled order can only grow"),
        ((SUBMITTED,), replacing("B"), "a replacement changes something"),
        ((SUBMITTED,), replacing("A", price=D(9)), "one cl_ord_id names one request"),
        ((SUBMITTED,), replacing("B", price=D("NaN")), "price is a finite decimal number"),
        ((SUBMITTED,), replacing("B", price=None), "a limit order has a price above zero"),
        ((SUBMITTED,), replacing("B", display_qty=D(11)), "display_qty at most order_qty"),
        ((SUBMITTED,), replacing("", price=D(9)), "requested_as is an id of 1 to 200 characters"),
        (
            (SUBMITTED,),
            replacing("C", orig="B", price=D(9)),
            "orig_cl_ord_id names the order, or a replacement of it under way",
        ),
        (
            (OrderAdopted(KEY, "V1", "trend", BTC, Side.BUY, T0),),
            replacing("B", price=D(9)),
            "an order whose terms are on record",
        ),
        ((), replacing("B", price=D(9)), "an order on record"),
    ],
)
def test_a_replacement_that_makes_no_sense_is_refused(history, request_, rule):
    after(*history).when(request_).refused(rule)


def test_another_replacement_needs_another_id():
    scene = after(SUBMITTED, ACCEPTED).when(replacing("B", price=D(99))).then_some(OrderReplaceRequested)
    scene.when(replacing("B", price=D(99), second=50)).then()
    scene.when(replacing("B", price=D(98))).refused("one cl_ord_id names one request", requested_as="B")
    scene.when(replace(CANCEL, requested_as="B")).refused("one cl_ord_id names one request", requested_as="B")


GTD = TimeInForce.GTD
POST_ONLY = frozenset({ExecInst.POST_ONLY})
MARKET = {"ord_type": OrdType.MARKET, "price": None}
TRAILING = {"ord_type": OrdType.TRAILING_STOP, "price": None}


@pytest.mark.parametrize(
    ("changes", "rule", "field"),
    [
        ({"order_qty": D(0)}, "order_qty above zero", "order_qty"),
        ({"order_qty": D(-1)}, "order_qty above zero", "order_qty"),
        ({"order_qty": D("NaN")}, "order_qty above zero", "order_qty"),
        ({"order_qty": D("Infinity")}, "order_qty above zero", "order_qty"),
        ({"order_qty": D("1e18")}, "order_qty below 1e18 with at most 18 places", "order_qty"),
        ({"order_qty": D("1e-19")}, "order_qty below 1e18 with at most 18 places", "order_qty"),
        ({"price": None}, "a limit order has a price above zero", "price"),
        ({"price": D("NaN")}, "price is a finite decimal number", "price"),
        ({"ord_type": OrdType.MARKET}, "a market order has no price", "price"),
        ({"stop_px": D(9)}, "a limit order has no stop_px", "stop_px"),
        ({"ord_type": OrdType.STOP_LIMIT}, "a stop-limit order has a stop_px above zero", "stop_px"),
        ({"ord_type": OrdType.STOP, "price": None}, "a stop order has a stop_px above zero", "stop_px"),
        ({"ord_type": OrdType.STOP, "stop_px": D(9)}, "a stop order has no price", "price"),
        ({"ord_type": OrdType.TAKE_PROFIT, "price": None}, "a take-profit order has a stop_px above zero", "stop_px"),
        (TRAILING, "a trailing-stop order, and no other, has a peg_offset_value", "peg_offset_value"),
        ({"peg_offset_value": D(1)}, "a trailing-stop order, and no other, has a peg_offset_value", "peg_offset_value"),
        (
            {**TRAILING, "peg_offset_value": D(10000), "peg_offset": PegOffset.BASIS_POINTS},
            "peg_offset_value below 10000 basis points",
            "peg_offset_value",
        ),
        ({"time_in_force": GTD}, "a GTD order, and no other, has an expire_time", "expire_time"),
        ({"expire_time": at(9)}, "a GTD order, and no other, has an expire_time", "expire_time"),
        ({"time_in_force": GTD, "expire_time": T0}, "expire_time after transact_time", "expire_time"),
        (
            {"time_in_force": GTD, "expire_time": datetime(2026, 4, 1)},  # noqa: DTZ001 (that is the mistake)
            "expire_time is a time with its offset from UTC",
            "expire_time",
        ),
        ({**MARKET, "exec_inst": POST_ONLY}, "a post-only order has a price and may rest", "exec_inst"),
        (
            {"time_in_force": TimeInForce.FOK, "exec_inst": POST_ONLY},
            "a post-only order has a price and may rest",
            "exec_inst",
        ),
        ({"display_qty": D(11)}, "display_qty at most order_qty", "display_qty"),
        ({"display_qty": D(0)}, "display_qty above zero", "display_qty"),
        ({**MARKET, "display_qty": D(1)}, "an order with a display_qty has a price and may rest", "display_qty"),
        (
            {"time_in_force": TimeInForce.IOC, "display_qty": D(1)},
            "an order with a display_qty has a price and may rest",
            "display_qty",
        ),
        (
            {"instrument_id": "BTCUSDT"},
            f"instrument_id is {AN_INSTRUMENT}",
            "instrument_id",
        ),
        ({"strategy_id": ""}, "strategy_id is an id of 1 to 200 characters", "strategy_id"),
    ],
)
def test_terms_that_make_no_order_are_refused(changes, rule, field):
    terms = replace(TERMS, **changes)
    after().when(SubmitOrder(KEY, terms, T0)).refused(rule)
    with pytest.raises(RequestRefused) as caught:
        order.check(terms, T0)
    assert field in caught.value.facts


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("", "of 1 to 200 characters"), ("x" * 201, "of 1 to 200 characters"), ("a;b", "without the character ;"),
        (" a", "without blanks at its beginning or end"),
        ("a\u200b", "without the blank or invisible character U+200B"),
        ("e\u0301", "in the normal form NFC of Unicode"),
    ],
)  # fmt: skip
def test_a_cl_ord_id_is_an_id(name, rule):
    after().when(SubmitOrder(OrderKey("main", name), TERMS, T0)).refused(f"cl_ord_id is an id {rule}", cl_ord_id=name)


@pytest.mark.parametrize("moment", [datetime(2026, 3, 2), datetime(1999, 1, 1, tzinfo=UTC)])  # noqa: DTZ001
def test_a_time_is_one_of_ours(moment):
    with pytest.raises(RequestRefused, match="transact_time"):
        order.decide(None, SubmitOrder(KEY, TERMS, moment))


@pytest.mark.parametrize(
    "changes",
    [
        MARKET,
        {"ord_type": OrdType.STOP, "price": None, "stop_px": D(90)},
        {"ord_type": OrdType.STOP_LIMIT, "stop_px": D(90)},
        {"ord_type": OrdType.TAKE_PROFIT, "price": None, "stop_px": D(110)},
        {"ord_type": OrdType.TAKE_PROFIT_LIMIT, "stop_px": D(110)},
        {**TRAILING, "peg_offset_value": D(5)},
        {**TRAILING, "peg_offset_value": D(50), "peg_offset": PegOffset.BASIS_POINTS, "stop_px": D(95)},
        {"time_in_force": TimeInForce.IOC},
        {"time_in_force": TimeInForce.FOK},
        {"time_in_force": TimeInForce.DAY},
        {"time_in_force": GTD, "expire_time": at(1)},
        {"exec_inst": frozenset(ExecInst)},
        {"display_qty": D(1)},
    ],
)
def test_every_kind_of_order_is_taken(changes):
    terms = replace(TERMS, **changes)
    after().when(SubmitOrder(KEY, terms, T0)).then(OrderSubmitted(KEY, terms, T0)).repeated().then()


# Reports


def test_a_fill_reported_after_a_cancel_is_booked_and_broken():
    late = fill("E1", 4, second=10)
    scene = after(SUBMITTED, CANCELED).reported(late).then(late, OrderBroken(KEY, "a fill is of an open order", late))
    scene.repeated().then()
    assert (scene.state.status, scene.state.cum_qty, scene.state.leaves_qty) == (OrdStatus.CANCELED, 4, 0)


def test_an_overfill_is_booked_and_broken():
    more = fill("E2", 7)
    scene = after(SUBMITTED, fill("E1", 4)).reported(more)
    state = scene.then(more, OrderBroken(KEY, "a fill is within leaves_qty", more)).state
    assert (state.status, state.cum_qty, state.leaves_qty) == (OrdStatus.FILLED, 11, 0)


def test_fills_may_come_before_the_acknowledgement():
    scene = after(SUBMITTED).reported(fill("E1", 4)).then(fill("E1", 4)).reported(ACCEPTED).then(ACCEPTED)
    assert (scene.state.status, scene.state.late) == (OrdStatus.PARTIALLY_FILLED, 1)


def test_another_content_under_a_known_exec_id_is_kept_and_not_booked():
    other = fill("E1", 5)
    scene = after(SUBMITTED, fill("E1", 4)).reported(other)
    scene = scene.then(OrderBroken(KEY, "one exec_id has one content", other, fill("E1", 4)))
    assert scene.state.cum_qty == 4
    scene.repeated().then()


def test_an_execution_booked_under_another_order_is_kept_with_this_one():
    broken = OrderBroken(KEY, "an execution is on record under one order", fill("E1", 4))
    assert order.misfiled(state_of(SUBMITTED), fill("E1", 4)) == (broken,)
    assert order.misfiled(state_of(SUBMITTED, broken), fill("E1", 4)) == ()
    assert order.misfiled(None, fill("E1", 4)) == ()


def test_a_fill_of_another_side_is_booked_and_broken():
    wrong = fill("E1", 4, side=Side.SELL)
    after(SUBMITTED).reported(wrong).then(wrong, OrderBroken(KEY, "a fill has its order's instrument and side", wrong))


def test_a_bust_reopens_a_filled_order():
    bust = OrderFillBusted(KEY, "E1", "off market", at(9), exec_id="E2")
    scene = after(SUBMITTED, fill("E1", 10)).reported(bust).then(replace(bust, was=fill("E1", 10)))
    assert (scene.state.status, scene.state.cum_qty, scene.state.leaves_qty) == (OrdStatus.PENDING_NEW, 0, 10)
    scene.repeated().then()
    scene.reported(fill("E1", 10)).then()


def test_a_correction_keeps_the_first_exec_id_and_the_place_in_time():
    corrected = OrderFillCorrected(KEY, "E1", D(3), D(99), at(9), exec_id="E2")
    was, now = fill("E1", 4), fill("E1", 3, "99")
    scene = after(SUBMITTED, was).reported(corrected).then(replace(corrected, was=was, now=now))
    assert dict(scene.state.fills) == {"E1": now}
    assert (scene.state.cum_qty, scene.state.cum_cost) == (3, 297)


def test_a_bust_that_arrives_before_its_fill_waits_for_it():
    bust = OrderFillBusted(KEY, "E1", "off market", at(9), exec_id="E2")
    broken = OrderBroken(KEY, "an amended fill is on record", bust)
    scene = after(SUBMITTED).reported(bust).then(broken)
    scene.repeated().then()
    withdrawn = OrderBreakWithdrawn(KEY, "an amended fill is on record", bust)
    scene = scene.reported(fill("E1", 4)).then(fill("E1", 4), replace(bust, was=fill("E1", 4)), withdrawn)
    assert scene.state.breaks == ()
    assert (scene.state.cum_qty, dict(scene.state.fills)) == (0, {})
    scene.repeated().then()


def test_a_superseded_correction_changes_nothing():
    first = OrderFillCorrected(KEY, "E1", D(3), D(99), at(8), exec_id="C1")
    second = OrderFillCorrected(KEY, "E1", D(2), D(98), at(9), exec_id="C2")
    now = fill("E1", 2, "98")
    scene = after(SUBMITTED, fill("E1", 4)).reported(second).then_some(OrderFillCorrected)
    scene = scene.reported(first).then(replace(first, was=now, now=now))
    assert dict(scene.state.fills) == {"E1": now}


def test_an_order_we_never_sent_is_adopted_and_its_quantity_known_once_reported():
    adopted = OrderAdopted(KEY, "V1", "trend", BTC, Side.BUY, at(5))
    scene = after().reported(fill("E1", 4)).then(adopted, fill("E1", 4))
    assert (scene.state.status, scene.state.order_qty, scene.state.is_open) == (OrdStatus.PARTIALLY_FILLED, None, True)
    shown = OrderRestated(KEY, "", at(6), order_qty=D(4))
    scene = scene.reported(shown).then(shown)
    assert (scene.state.status, scene.state.order_qty) == (OrdStatus.FILLED, 4)


def test_an_order_found_at_the_venue_is_adopted_as_the_venue_describes_it():
    found = OrderAccepted(KEY, "V1", at(1), TERMS)
    scene = after().reported(found).then(OrderAdopted(KEY, "V1", "trend", BTC, Side.BUY, at(1), TERMS), found)
    assert (scene.state.order_qty, scene.state.leaves_qty, scene.state.terms) == (10, 10, TERMS)


def test_any_report_on_an_order_we_never_sent_adopts_it():
    scene = after().reported(CANCELED).then(CANCELED)
    assert scene.state.status is OrdStatus.CANCELED
    scene.repeated().then()
    for answer in (OrderReplaced(KEY, at(4), D(97), requested_as="B"), OrderCancelRejected(KEY, "no", at(4))):
        after().reported(answer).then_some(type(answer))
    scene = after().reported(OrderReplaced(KEY, at(4), D(97), requested_as="B", order_qty=D(3)))
    state = scene.then_some(OrderReplaced).state
    assert (state.cl_ord_id, state.order_qty) == ("B", 3)
    earlier = OrderReplaced(KEY, at(3), D(96), requested_as="C")
    assert scene.then_some(OrderReplaced).reported(earlier).then_some(OrderReplaced).state.cl_ord_id == "B"


def test_an_answer_to_no_request_is_broken():
    pending = OrderPendingCancel(KEY, at(4), requested_as="B")
    broken = OrderBroken(KEY, "an answer is to a request on record", pending)
    assert after(SUBMITTED).reported(pending).then(pending, broken).state.status is OrdStatus.PENDING_CANCEL


def test_a_status_that_is_not_ours_is_broken():
    shown = OrderCancelRejected(KEY, "too late", at(4), ord_status=OrdStatus.FILLED)
    rule = "an order that the venue has as FILLED is so here"
    after(SUBMITTED, ACCEPTED, CANCEL_REQUESTED).reported(shown).then(shown, OrderBroken(KEY, rule, shown))


def test_an_echo_of_an_end_is_on_record_and_the_first_end_counts():
    echo = OrderExpired(KEY, "", at(10))
    scene = after(SUBMITTED, CANCELED).reported(echo).then_some(OrderExpired, OrderBroken)
    assert scene.state.status is OrdStatus.CANCELED


def test_a_day_order_is_closed_when_done_for_the_day_and_a_gtc_order_is_not():
    done = OrderDoneForDay(KEY, at(9))
    day = OrderSubmitted(KEY, replace(TERMS, time_in_force=TimeInForce.DAY), T0)
    assert (state_of(day, done).status, state_of(day, done).leaves_qty, state_of(day, done).is_open) == (
        "DONE_FOR_DAY",
        0,
        False,
    )
    gtc = state_of(SUBMITTED, done)
    assert (gtc.status, gtc.leaves_qty, gtc.is_open) == ("DONE_FOR_DAY", 10, True)
    after(day, done).reported(OrderExpired(KEY, "", at(10))).then_some(OrderExpired)


def test_a_suspended_order_works_again_once_it_trades_whenever_that_is_reported():
    suspended, before, again = OrderSuspended(KEY, "", at(5)), fill("E1", 1, second=4), fill("E2", 1, second=6)
    assert state_of(SUBMITTED, suspended, before).status is OrdStatus.SUSPENDED
    assert state_of(SUBMITTED, suspended, again).status is OrdStatus.PARTIALLY_FILLED
    assert state_of(SUBMITTED, again, before, suspended).status is OrdStatus.PARTIALLY_FILLED


def test_a_venue_that_names_no_request_answers_the_oldest():
    wanted = after(SUBMITTED, ACCEPTED).when(replacing("B", price=D(99))).then_some(OrderReplaceRequested)
    replaced = wanted.reported(OrderReplaced(KEY, at(4))).then_some(OrderReplaced)
    assert (replaced.state.terms.price, replaced.state.cl_ord_id) == (D(99), "B")


@pytest.mark.parametrize(
    ("report", "field"),
    [
        (fill("E1", 0), "last_qty"),
        (fill("E1", -1), "last_qty"),
        (fill("E1", "NaN"), "last_qty"),
        (fill("E1", 1, "Infinity"), "last_px"),
        (fill("", 1), "exec_id"),
        (fill("E1", 1, commission=Money(D("NaN"), "USDT")), "commission"),
        (fill("E1", 1, transact_time=datetime(2026, 1, 1)), "transact_time"),  # noqa: DTZ001
        (OrderFillCorrected(KEY, "E1", D(0), D(1), T0), "last_qty"),
        (OrderRestated(KEY, "", T0, order_qty=D(-1)), "order_qty"),
        (OrderReplaced(KEY, T0, D("NaN")), "price"),
    ],
)
def test_a_report_no_venue_can_have_meant_is_unreadable(report, field):
    with pytest.raises(InvalidInput) as caught:
        order.check_report(report)
    assert caught.value.field == field


# Any reports, in any order


def answers(name, is_cancel):
    kinds: list[Any] = [OrderPendingCancel, OrderCancelRejected] if is_cancel else [OrderPendingReplace, OrderReplaced]
    return kinds if is_cancel else [*kinds, OrderReplaceRejected]


@dataclass
class Day:
    """Requests, all made before the venue says anything, and what it then says, each at its own time."""

    requests: list[Any]
    reports: list[Any]


@st.composite
def days(draw):
    tif = draw(st.sampled_from([TimeInForce.GTC, TimeInForce.DAY]))
    requests: list[Any] = [SubmitOrder(KEY, replace(TERMS, time_in_force=tif), T0)]
    names: list[tuple[str, bool]] = []
    for name in "BC":
        if draw(st.booleans()):
            requests.append(replacing(name, 1, order_qty=D(draw(st.sampled_from([6, 8, 14]))), price=D(ord(name))))
            names.append((name, False))
    if draw(st.booleans()):
        requests.append(CancelOrder(KEY, "", at(2), "X"))
        names.append(("X", True))
    reports: list[Any] = []
    exec_ids: list[str] = []
    for second in range(10, 10 + draw(st.integers(2, 9))):
        kind = draw(st.sampled_from(["fill", "answer", "answer", "amend", "state"]))
        exec_id, shown = f"E{second}", {"exec_id": f"E{second}"}
        if kind == "answer" and names:
            name, is_cancel = draw(st.sampled_from(names))
            answer = draw(st.sampled_from(answers(name, is_cancel)))
            more = ("too late",) if answer in (OrderCancelRejected, OrderReplaceRejected) else ()
            reports.append(answer(KEY, *more, at(second), requested_as=name, **shown))
        elif kind == "amend" and exec_ids:
            ref = draw(st.sampled_from(exec_ids))
            if draw(st.booleans()):
                reports.append(OrderFillBusted(KEY, ref, "", at(second), **shown))
            else:
                qty, px = draw(st.sampled_from([1, 2, 5])), draw(st.sampled_from([90, 110]))
                reports.append(OrderFillCorrected(KEY, ref, D(qty), D(px), at(second), **shown))
                exec_ids.append(exec_id)
        elif kind == "state":
            reports.append(draw(st.sampled_from(STATES))(second, shown))
        else:
            reports.append(fill(exec_id, draw(st.sampled_from([1, 3, 10])), second=second))
            exec_ids.append(exec_id)
    return Day(requests, reports)


STATES = [
    lambda second, shown: OrderRestated(KEY, "", at(second), D(second), order_qty=D(second), **shown),
    lambda second, shown: OrderDoneForDay(KEY, at(second), **shown),
    lambda second, shown: OrderSuspended(KEY, "", at(second), **shown),
    lambda second, shown: OrderPendingNew(KEY, at(second), **shown),
    lambda second, shown: OrderAccepted(KEY, "V1", at(second), **shown),
    lambda second, shown: OrderTriggered(KEY, at(second), **shown),
    lambda second, shown: OrderRejected(KEY, "", at(second), **shown),
    lambda second, shown: OrderCanceled(KEY, "", at(second), **shown),
    lambda second, shown: OrderExpired(KEY, "", at(second), **shown),
    lambda second, shown: OrderCalculated(KEY, at(second), **shown),
    lambda second, shown: OrderRestated(KEY, "", at(second), **shown),
]


def carried_out(history, command, rule):
    added = rule(reduce(order.evolve, history, None), command)
    return [*history, *added]


def stated_of(state):
    """What does not depend on the order of arrival."""
    return (
        state.status, state.order_qty, state.cum_qty, state.cum_cost, state.leaves_qty, state.is_open, state.terms,
        state.cl_ord_id, dict(state.fills), state.ended, state.pending, set(state.unanswered),
    )  # fmt: skip


@settings(max_examples=max(600, settings.default.max_examples))
@given(day=days(), shuffled=st.randoms(use_true_random=False))
def test_the_same_reports_end_alike_in_any_order_and_however_often(day, shuffled):
    history: list[Any] = []
    for request in day.requests:
        history = carried_out(history, request, order.decide)
    arrived, otherwise = list(history), list(history)
    for report in day.reports:
        arrived = carried_out(arrived, report, order.admit)
    reports = day.reports + shuffled.sample(day.reports, shuffled.randint(0, len(day.reports)))
    shuffled.shuffle(reports)
    for report in reports:
        otherwise = carried_out(otherwise, report, order.admit)
    assert stated_of(state_of(*otherwise)) == stated_of(state_of(*arrived))
    for report in day.reports:
        assert order.admit(state_of(*otherwise), report) == (), "a known report adds nothing"


@given(day=days(), shuffled=st.randoms(use_true_random=False))
def test_what_is_filled_is_the_sum_of_the_fills_that_stand_after_every_event(day, shuffled):
    history: list[Any] = []
    commands = [(request, order.decide) for request in day.requests[1:]]
    commands += [(report, order.admit) for report in day.reports]
    shuffled.shuffle(commands)
    for command, rule in [(day.requests[0], order.decide), *commands]:
        try:
            history = carried_out(history, command, rule)
        except RequestRefused:
            assert rule is order.decide
            continue
        assert rule(state_of(*history), command) == (), "the second time adds nothing"
        state = state_of(*history)
        assert state.cum_qty == sum((shown.last_qty for shown in state.fills.values()), ZERO)
        assert state.cum_cost == sum((shown.last_qty * shown.last_px for shown in state.fills.values()), ZERO)
        assert state.leaves_qty >= 0
        assert state.is_open == (state.leaves_qty > 0)
        assert state.held_qty >= state.leaves_qty
        assert state == reduce(order.evolve, history, None), "the fold is deterministic"


ORDER_EVENTS = [event for event in order_events.EVENTS if type(event).__name__.startswith("Order")]


@pytest.mark.parametrize("event", ORDER_EVENTS, ids=lambda event: type(event).__name__)
def test_evolve_takes_any_event_on_any_history(event):
    for first in [None, *ORDER_EVENTS]:
        state = order.evolve(None if first is None else order.evolve(None, first), event)
        assert state.key in (order_events.ORDER, OrderKey("main", "A-2"))
        assert isinstance(state.status, OrdStatus)


@given(keys=st.lists(st.integers(0, 60), max_size=8 * YOUNG_MAX), gone=st.integers(0, 60))
def test_a_grown_mapping_is_a_dict_that_keeps_its_past(keys, gone):
    grown: AppendMap[int, int] = AppendMap()
    model: dict[int, int] = {}
    past: list[tuple[AppendMap[int, int], dict[int, int]]] = []
    for value, key in enumerate(keys):
        past.append((grown, dict(model)))
        grown = grown.added(key, value)
        model[key] = value
    for mapping, was in [*past, (grown, model)]:
        assert mapping == was
        assert len(mapping) == len(was)
        assert bool(mapping) == bool(was)
        assert all(mapping[key] == value and key in mapping for key, value in was.items())
        assert [mapping.get(key) for key in range(61)] == [was.get(key) for key in range(61)]
    assert list(grown) == list(model)
    model.pop(gone, None)
    assert grown.without(gone) == model


def test_changes_distinguish_what_is_not_named_from_what_is_removed():
    iceberg = replace(TERMS, display_qty=D(1))
    assert Changes().of(iceberg) == iceberg
    assert Changes(display_qty=None).of(iceberg) == TERMS
    assert Changes().price is UNSET
