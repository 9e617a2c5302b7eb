"""Breaks of an order: which reports break a rule, by the state of their own moment and in any order of arrival."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from functools import reduce
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from domain import order
from domain.order import (
    CancelOrder,
    Changes,
    OrderAccepted,
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
    ReplaceOrder,
    SubmitOrder,
    TimeInForce,
)
from domain.values import ZERO, Liquidity, Money, Side
from tests.given import Given

history = Given(order)
T0 = datetime(2026, 3, 2, 9, tzinfo=UTC)
KEY = OrderKey("main", "A")
BTC = "BTCUSDT.SIM"
TERMS = OrderTerms("trend", BTC, Side.BUY, OrdType.LIMIT, D(10), D(100))
DAY = replace(TERMS, time_in_force=TimeInForce.DAY)
CLOSED, OVERFILL = "a fill is of an open order", "a fill is within leaves_qty"


def at(second):
    return T0 + timedelta(seconds=second)


def fill(exec_id, qty, second, **other):
    whole = OrderFilled(
        KEY, "trend", BTC, "V1", Side.BUY, exec_id, 0, D(qty), D(100), Money(ZERO, "USDT"), Liquidity.TAKER, at(second)
    )
    return replace(whole, **other)


def bust(exec_id, second):
    return OrderFillBusted(KEY, exec_id, "", at(second), exec_id=f"B-{exec_id}")


def correct(exec_id, qty, second):
    return OrderFillCorrected(KEY, exec_id, D(qty), D(100), at(second), exec_id=f"C-{exec_id}-{second}")


SUBMITTED = OrderSubmitted(KEY, TERMS, T0)
SUBMITTED_DAY = OrderSubmitted(KEY, DAY, T0)
ACCEPTED = OrderAccepted(KEY, "V1", at(1))
CANCELED = OrderCanceled(KEY, "", at(5))
EXPIRED = OrderExpired(KEY, "", at(5))
DONE = OrderDoneForDay(KEY, at(5))
CALCULATED = OrderCalculated(KEY, at(5))


def after(*events):
    return reduce(order.evolve, events, None)


def admitted(reports, *history):
    """The order after reports, in the order in which they arrived."""
    state = after(*history)
    for report in reports:
        for event in order.admit(state, report):
            state = order.evolve(state, event)
    return state


def broken(state):
    """The breaks of an order as a set; each is on record once."""
    found = {(each.rule, repr(each.report)) for each in state.breaks}
    assert len(found) == len(state.breaks), "a break is on record once"
    return found


def rules(state):
    return [each.rule for each in state.breaks]


def of(*breaks):
    return {(rule, repr(report)) for rule, report in breaks}


def in_any_order(reports, *history):
    """The breaks of the reports, the same in every order in which they arrive."""
    found = [broken(admitted(arrived, *history)) for arrived in permutations(reports)]
    assert all(each == found[0] for each in found), found
    return found[0]


# A fill in the place of one that was busted


@pytest.mark.parametrize("end", [CANCELED, EXPIRED, DONE], ids=lambda end: type(end).__name__)
@pytest.mark.parametrize(
    ("quantities", "too_many"), [([4], []), ([5], [0]), ([1, 3], []), ([1, 3, 1], [2]), ([2, 3], [1])]
)
def test_a_fill_booked_again_on_an_ended_order_is_within_what_had_been_executed(end, quantities, too_many):
    again = [fill(f"F{number}", qty, 11 + number) for number, qty in enumerate(quantities)]
    reports = [fill("E1", 4, 3), end, bust("E1", 10), *again]
    expected = of(*((CLOSED, again[number]) for number in too_many))
    state = admitted(reports, SUBMITTED_DAY)
    assert broken(state) == expected
    assert broken(admitted(reports[::-1], SUBMITTED_DAY)) == expected
    assert (state.leaves_qty, state.is_open) == (0, False)


def test_a_fill_booked_again_is_no_break_and_says_so_in_one_event():
    again = fill("E2", 4, 11)
    scene = history(SUBMITTED, fill("E1", 4, 3), CANCELED, bust("E1", 10)).reported(again).then(again)
    assert (scene.state.status, scene.state.cum_qty, scene.state.leaves_qty) == (OrdStatus.CANCELED, 4, 0)
    more = fill("E3", 5, 11)
    history(SUBMITTED, fill("E1", 4, 3), CANCELED, bust("E1", 10)).reported(more).then(
        more, OrderBroken(KEY, CLOSED, more)
    )


def test_what_was_busted_before_the_end_had_not_been_executed():
    again = fill("E2", 4, 11)
    assert in_any_order([fill("E1", 4, 2), bust("E1", 3), CANCELED, again], SUBMITTED) == of((CLOSED, again))


def test_a_fill_booked_before_the_bust_it_replaces_is_no_break_once_the_bust_arrives():
    assert in_any_order([fill("E1", 4, 3), CANCELED, fill("E2", 4, 11), bust("E1", 12)], SUBMITTED) == set()


def test_a_fill_booked_again_under_its_own_time_is_no_break():
    assert in_any_order([fill("E1", 10, 3), bust("E1", 6), fill("E2", 10, 3)], SUBMITTED) == set()
    assert in_any_order([fill("E1", 10, 3), bust("E1", 6), fill("E0", 10, 2)], SUBMITTED) == set()


def test_a_fill_that_is_busted_breaks_nothing():
    scene = history(SUBMITTED, CANCELED).reported(fill("E1", 4, 9)).then_some(OrderFilled, OrderBroken)
    scene = scene.reported(bust("E1", 10)).then_some(OrderFillBusted, OrderBreakWithdrawn)
    assert scene.state.breaks == ()
    scene.repeated().then()
    assert in_any_order([fill("E1", 4, 3), CANCELED, fill("E2", 1, 9), bust("E2", 10)], SUBMITTED) == set()


def test_a_refused_order_had_nothing_executed():
    refused = OrderRefused(KEY, TERMS, "MAX_POSITION is not exceeded", {}, T0)
    again = fill("E2", 1, 5)
    assert in_any_order([fill("E1", 1, 3), bust("E1", 4), again], refused) == of((CLOSED, again))


def test_a_calculated_order_takes_a_fill_in_the_place_of_a_busted_one():
    reports = [fill("E1", 10, 3), CALCULATED, bust("E1", 6), fill("E2", 10, 7)]
    assert in_any_order(reports, SUBMITTED) == set()


# Arrival


def test_a_fill_that_happened_before_the_end_is_no_break_whenever_it_arrives():
    assert in_any_order([CANCELED, fill("E1", 4, 3)], SUBMITTED) == set()
    assert in_any_order([ACCEPTED, CANCELED, fill("E1", 4, 5), fill("E2", 3, 4)], SUBMITTED) == set()
    late = fill("E1", 4, 6)
    assert in_any_order([ACCEPTED, CANCELED, late, fill("E2", 3, 4)], SUBMITTED) == of((CLOSED, late))


def test_an_end_that_arrives_late_breaks_the_fill_behind_it():
    later = fill("E1", 4, 6)
    scene = history(SUBMITTED).reported(later).then(later).reported(CANCELED)
    scene.then(CANCELED, OrderBroken(KEY, CLOSED, later))


def test_a_late_fill_that_fills_the_order_breaks_its_cancel():
    whole = fill("E1", 10, 3)
    misfit = "OrderCanceled fits an order that is FILLED"
    scene = history(SUBMITTED, CANCELED).reported(whole).then(whole, OrderBroken(KEY, misfit, CANCELED))
    scene.repeated().then()
    assert in_any_order([CANCELED, whole], SUBMITTED) == of((misfit, CANCELED))


def test_a_late_reduction_breaks_the_fill_that_no_longer_fits_and_not_the_one_before():
    reduced = OrderRestated(KEY, "", at(4), order_qty=D(5))
    first, second = fill("E1", 5, 3), fill("E2", 1, 6)
    assert in_any_order([first, second, reduced], SUBMITTED) == of((CLOSED, second))
    assert in_any_order([fill("E1", 6, 3), reduced], SUBMITTED) == set()


def test_a_late_increase_withdraws_an_overfill():
    over, grown = fill("E1", 12, 6), OrderRestated(KEY, "", at(4), order_qty=D(12))
    scene = history(SUBMITTED).reported(over).then(over, OrderBroken(KEY, OVERFILL, over)).reported(grown)
    scene = scene.then(replace(grown, terms=replace(TERMS, order_qty=D(12))), OrderBreakWithdrawn(KEY, OVERFILL, over))
    scene.repeated().then()
    assert (scene.state.status, scene.state.breaks) == (OrdStatus.FILLED, ())


def test_an_amendment_that_waited_for_its_fill_is_no_break_once_it_is_booked():
    waiting = of(("an amended fill is on record", bust("E1", 6)))
    assert in_any_order([fill("E1", 4, 3), bust("E1", 6)], SUBMITTED) == set()
    assert in_any_order([fill("E2", 4, 3), bust("E1", 6)], SUBMITTED) == waiting
    chained = replace(correct("C-E1-6", 2, 7))
    assert in_any_order([fill("E1", 4, 3), correct("E1", 3, 6), chained], SUBMITTED) == set()


def test_an_order_that_a_report_describes_is_an_order_on_record_whichever_comes_first():
    pending, described = OrderPendingNew(KEY, at(1)), replace(ACCEPTED, terms=TERMS)
    waiting = of(("an amended fill is on record", bust("E1", 6)))
    assert in_any_order([pending, described, fill("E1", 4, 3)]) == set()
    assert in_any_order([pending, fill("E1", 4, 3)]) == set()
    assert in_any_order([pending, ACCEPTED, CANCELED]) == set()
    assert in_any_order([bust("E1", 6), fill("E1", 4, 3), pending]) == set()
    assert in_any_order([bust("E1", 6), pending]) == waiting


def test_what_a_break_says_of_a_known_report_is_not_recorded_twice():
    scene = history().reported(bust("E1", 6)).then(OrderBroken(KEY, "an amended fill is on record", bust("E1", 6)))
    scene.repeated().then()


def test_reports_of_one_moment_are_read_in_the_order_of_an_orders_life():
    reports = [
        replace(ACCEPTED, ord_status=OrdStatus.NEW),
        fill("E1", 4, 1),
        OrderRestated(KEY, "", at(1), ord_status=OrdStatus.PARTIALLY_FILLED),
        fill("E2", 4, 1),
        OrderCanceled(KEY, "", at(1), ord_status=OrdStatus.CANCELED),
    ]
    assert in_any_order(reports, SUBMITTED) == set()


def test_of_fills_of_one_moment_the_last_by_sequence_and_by_number_is_the_one_too_many():
    by_seq = [fill("E9", 6, 3, trade_seq=1), fill("E10", 6, 3, trade_seq=2)]
    by_number = [fill("9", 6, 3), fill("10", 6, 3)]
    assert in_any_order(by_seq, SUBMITTED) == of((OVERFILL, by_seq[1]))
    assert in_any_order(by_number, SUBMITTED) == of((OVERFILL, by_number[1]))


def test_an_answer_that_arrives_before_its_request_is_on_record_is_no_break_any_more():
    pending = OrderPendingCancel(KEY, at(4), requested_as="X")
    broken_of = ("an answer is to a request on record", pending)
    scene = history(SUBMITTED).reported(pending).then(pending, OrderBroken(KEY, *broken_of))
    scene = scene.when(CancelOrder(KEY, "", at(3), "Y")).then_some(OrderCancelRequested)
    other = scene.reported(OrderCancelRejected(KEY, "", at(5), requested_as="Y")).then_some(OrderCancelRejected)
    other.when(CancelOrder(KEY, "", at(3), "X")).then_some(OrderCancelRequested, OrderBreakWithdrawn)


# Statuses


def test_a_late_reports_status_is_compared_with_that_of_its_own_moment():
    rejected = OrderCancelRejected(KEY, "too late", at(4), requested_as="X", ord_status=OrdStatus.PARTIALLY_FILLED)
    request = CancelOrder(KEY, "", at(2), "X")
    history = (SUBMITTED, *order.decide(after(SUBMITTED), request))
    assert in_any_order([fill("E1", 4, 3), rejected, CANCELED], *history) == set()
    assert in_any_order([fill("E1", 4, 3), rejected, fill("E2", 6, 5)], *history) == set()
    assert in_any_order([fill("E1", 4, 3), rejected, bust("E1", 6)], *history) == set()
    wrong = replace(rejected, ord_status=OrdStatus.NEW)
    rule = "an order that the venue has as NEW is so here"
    assert in_any_order([fill("E1", 4, 3), wrong, CANCELED], *history) == of((rule, wrong))


def test_a_status_is_so_here_once_the_fills_that_lead_to_it_have_arrived():
    restated = OrderRestated(KEY, "", at(4), ord_status=OrdStatus.FILLED)
    scene = history(SUBMITTED, ACCEPTED).reported(restated).then_some(OrderRestated, OrderBroken)
    scene = scene.reported(fill("E1", 10, 3)).then_some(OrderFilled, OrderBreakWithdrawn)
    assert scene.state.breaks == ()


def test_an_order_found_at_the_venue_part_filled_is_so_here_once_its_fills_are_known():
    found = replace(ACCEPTED, terms=TERMS, ord_status=OrdStatus.PARTIALLY_FILLED)
    rule = "an order that the venue has as PARTIALLY_FILLED is so here"
    assert in_any_order([found]) == of((rule, found))
    assert in_any_order([found, fill("E1", 4, 0)]) == set()


# Corrections


@pytest.mark.parametrize(
    ("reports", "is_over"),
    [
        ([fill("E1", 4, 3), correct("E1", 12, 6)], True),
        ([fill("E1", 4, 3), correct("E1", 10, 6)], False),
        ([fill("E1", 6, 3), fill("E2", 4, 4), correct("E1", 7, 6)], True),
        ([fill("E1", 6, 3), fill("E2", 4, 4), correct("E1", 5, 6)], False),
        ([fill("E1", 4, 3), correct("E1", 3, 4), correct("C-E1-4", 11, 6)], True),
        ([fill("E1", 4, 3), CANCELED, correct("E1", 6, 6)], False),  # of what had been executed by then
        ([fill("E1", 4, 3), CANCELED, correct("E1", 11, 6)], True),
        ([fill("E1", 4, 3), CANCELED, correct("E1", 3, 6), fill("E2", 1, 7)], False),
        ([fill("E1", 4, 3), CANCELED, bust("E1", 7), fill("E2", 3, 8), correct("E2", 4, 9)], False),
        ([fill("E1", 4, 3), CANCELED, bust("E1", 7), fill("E2", 4, 8), correct("E2", 5, 9)], True),
        ([fill("E1", 4, 3), correct("E1", 12, 6), bust("C-E1-6", 7)], False),
    ],
)
def test_a_correction_that_overfills_is_a_break_like_an_overfill(reports, is_over):
    correction = [report for report in reports if isinstance(report, OrderFillCorrected)][-1]
    assert in_any_order(reports, SUBMITTED) == (of((OVERFILL, correction)) if is_over else set())


def test_a_correction_that_overfills_is_booked_and_broken():
    correction = correct("E1", 12, 6)
    scene = history(SUBMITTED, fill("E1", 4, 3)).reported(correction)
    scene = scene.then(
        replace(correction, was=fill("E1", 4, 3), now=fill("E1", 12, 3)), OrderBroken(KEY, OVERFILL, correction)
    )
    scene.repeated().then()
    assert (scene.state.cum_qty, scene.state.status) == (12, OrdStatus.FILLED)


def test_answers_that_name_no_request_end_alike_in_any_order():
    pending, rejected = OrderPendingCancel(KEY, at(4)), OrderCancelRejected(KEY, "", at(5))
    history = (SUBMITTED, ACCEPTED, *order.decide(after(SUBMITTED, ACCEPTED), CancelOrder(KEY, "", at(3), "X")))
    for arrived in ([pending, rejected], [rejected, pending]):
        state = admitted(arrived, *history)
        assert (state.status, state.is_cancel_requested, state.breaks) == (OrdStatus.NEW, False, ())


# Statuses that pauses and busts lead to


@pytest.mark.parametrize(
    "again",
    [
        OrderAccepted(KEY, "V1", at(6)),
        OrderTriggered(KEY, at(6)),
        OrderRestated(KEY, "", at(6)),
        fill("E1", 4, 6),
        OrderCancelRejected(KEY, "", at(6), ord_status=OrdStatus.NEW),
        OrderReplaceRejected(KEY, "", at(6), ord_status=OrdStatus.PARTIALLY_FILLED),
        OrderReplaced(KEY, at(6), ord_status=OrdStatus.NEW),
    ],
    ids=lambda again: type(again).__name__,
)
def test_a_suspended_order_works_again_by_a_later_report_and_by_no_earlier_one(again):
    suspended = OrderSuspended(KEY, "", at(5))
    works = OrdStatus.PARTIALLY_FILLED if isinstance(again, OrderFilled) else OrdStatus.NEW
    earlier = replace(again, transact_time=at(4))
    for submitted in (SUBMITTED, SUBMITTED_DAY):
        assert after(submitted, ACCEPTED, suspended, again).status is works
        assert after(submitted, ACCEPTED, again, suspended).status is works
        assert after(submitted, ACCEPTED, suspended, earlier).status is OrdStatus.SUSPENDED
        assert after(submitted, ACCEPTED, earlier, suspended).status is OrdStatus.SUSPENDED


@pytest.mark.parametrize("status", [OrdStatus.SUSPENDED, OrdStatus.PENDING_CANCEL, None])
def test_a_suspended_order_stays_so_where_no_report_says_that_it_works(status):
    rejected = OrderCancelRejected(KEY, "", at(6), ord_status=status)
    assert after(SUBMITTED, ACCEPTED, OrderSuspended(KEY, "", at(5)), rejected).status is OrdStatus.SUSPENDED


def test_an_order_that_a_venue_has_as_new_is_accepted():
    assert after(SUBMITTED, OrderCancelRejected(KEY, "", at(4), ord_status=OrdStatus.NEW)).status is OrdStatus.NEW
    assert after(SUBMITTED, OrderCancelRejected(KEY, "", at(4))).status is OrdStatus.PENDING_NEW


def test_an_order_first_reported_as_pending_is_pending():
    pending = OrderPendingNew(KEY, at(1))
    scene = history().reported(pending).then(pending)
    assert (scene.state.status, scene.state.is_open) == (OrdStatus.PENDING_NEW, True)
    scene.repeated().then()
    assert scene.reported(ACCEPTED).then(ACCEPTED).state.status is OrdStatus.NEW
    assert admitted([ACCEPTED, pending]).status is OrdStatus.NEW
    assert admitted([pending, OrderSuspended(KEY, "", at(5)), OrderTriggered(KEY, at(6))]).status is OrdStatus.NEW
    assert admitted([pending, fill("E1", 4, 3), bust("E1", 4)]).status is OrdStatus.NEW
    assert admitted([replace(pending, ord_status=OrdStatus.PENDING_NEW)]).status is OrdStatus.PENDING_NEW


@pytest.mark.parametrize("tif", [TimeInForce.DAY, TimeInForce.IOC])
def test_an_order_done_for_its_day_stays_so_when_a_fill_is_busted_and_booked_again(tif):
    submitted = OrderSubmitted(KEY, replace(TERMS, time_in_force=tif), T0)
    for arrived in permutations([fill("E1", 4, 3), DONE, bust("E1", 6), fill("E2", 4, 7)]):
        state = admitted(arrived, submitted)
        assert (state.status, state.cum_qty, state.leaves_qty) == (OrdStatus.DONE_FOR_DAY, 4, 0)
        assert (state.is_open, state.breaks) == (False, ())
    restated = OrderRestated(KEY, "", at(8))
    assert after(submitted, fill("E1", 4, 3), DONE, restated).status is OrdStatus.PARTIALLY_FILLED


def test_an_order_that_outlives_the_day_works_again_once_it_trades():
    assert after(SUBMITTED, fill("E1", 4, 3), DONE, fill("E2", 4, 7)).status is OrdStatus.PARTIALLY_FILLED
    assert after(SUBMITTED, ACCEPTED, DONE, OrderAccepted(KEY, "V1", at(7))).status is OrdStatus.NEW


# Any reports, in any order


@dataclass
class Arrivals:
    """A history of ours, and reports in the order of their times; several may be of one moment."""

    history: tuple[Any, ...]
    reports: list[Any]


KINDS = [
    lambda when, named: OrderPendingNew(KEY, when, **named),
    lambda when, named: OrderAccepted(KEY, "V1", when, **named),
    lambda when, named: OrderAccepted(KEY, "V1", when, TERMS, **named),
    lambda when, named: OrderTriggered(KEY, when, **named),
    lambda when, named: OrderRestated(KEY, "", when, **named),
    lambda when, named: OrderRestated(KEY, "", when, order_qty=D(6), **named),
    lambda when, named: OrderRestated(KEY, "", when, order_qty=D(14), **named),
    lambda when, named: OrderSuspended(KEY, "", when, **named),
    lambda when, named: OrderDoneForDay(KEY, when, **named),
    lambda when, named: OrderCalculated(KEY, when, **named),
    lambda when, named: OrderRejected(KEY, "", when, **named),
    lambda when, named: OrderCanceled(KEY, "", when, **named),
    lambda when, named: OrderExpired(KEY, "", when, **named),
]
ANSWERS = [
    lambda when, named: OrderPendingCancel(KEY, when, requested_as="X", **named),
    lambda when, named: OrderCancelRejected(KEY, "", when, requested_as="X", **named),
    lambda when, named: OrderPendingReplace(KEY, when, requested_as="B", **named),
    lambda when, named: OrderReplaceRejected(KEY, "", when, requested_as="B", **named),
    lambda when, named: OrderReplaced(KEY, when, requested_as="B", **named),
    lambda when, named: OrderReplaced(KEY, when, requested_as="C", **named),
]
REQUESTS = [
    ReplaceOrder(KEY, "B", Changes(order_qty=D(8)), at(0)),
    ReplaceOrder(KEY, "C", Changes(order_qty=D(12)), at(0)),
    CancelOrder(KEY, "", at(0), "X"),
]


REQUESTED = OrderCancelRequested | OrderReplaceRequested


@st.composite
def arrivals(draw):
    history: tuple[Any, ...] = ()
    if draw(st.booleans()):
        tif = draw(st.sampled_from([TimeInForce.GTC, TimeInForce.DAY]))
        requests: list[Any] = [SubmitOrder(KEY, replace(TERMS, time_in_force=tif), T0)]
        requests += [request for request in REQUESTS if draw(st.booleans())]
        for request in requests:
            history += order.decide(after(*history), request)
    reports: list[Any] = []
    exec_ids: list[str] = []
    second = 1
    for number in range(draw(st.integers(2, 9))):
        second += draw(st.sampled_from([0, 1, 1]))
        kind, exec_id, when = draw(st.sampled_from("fffraak")), f"E{number}", at(second)
        if kind == "f":
            reports.append(fill(exec_id, draw(st.sampled_from([1, 4, 6, 10])), second))
            exec_ids.append(exec_id)
        elif kind == "r" and exec_ids:
            ref, amend_id = draw(st.sampled_from(exec_ids)), draw(st.sampled_from([exec_id, ""]))
            if draw(st.booleans()):
                reports.append(OrderFillBusted(KEY, ref, "", when, exec_id=amend_id))
            else:
                qty = D(draw(st.sampled_from([2, 5, 9])))
                reports.append(OrderFillCorrected(KEY, ref, qty, D(100), when, exec_id=amend_id))
                exec_ids += [amend_id] if amend_id else []
        else:
            status = draw(st.sampled_from([None, None, None, *OrdStatus]))
            kinds = ANSWERS if kind == "a" and history else KINDS
            named = {"exec_id": exec_id, "ord_status": status}
            report = draw(st.sampled_from(kinds))(when, named)
            names = [each.requested_as for each in history if isinstance(each, REQUESTED)]
            if kinds is ANSWERS and len([name for name in names if name in "BC"]) < 2 and draw(st.booleans()):
                report = replace(report, requested_as="")
            reports.append(report)
    return Arrivals(history, reports)


def shown(state):
    """What must not depend on the order of arrival."""
    return (
        state.status, state.order_qty, state.cum_qty, state.cum_cost, state.leaves_qty, state.held_qty, state.is_open,
        state.is_accepted, state.terms, state.cl_ord_id, dict(state.fills), state.ended, state.pending,
        set(state.unanswered), state.amendments, state.order_ids,
    )  # fmt: skip


@settings(max_examples=max(1000, settings.default.max_examples), deadline=None)
@given(day=arrivals(), shuffled=st.randoms(use_true_random=False))
def test_the_same_reports_have_the_same_state_and_breaks_in_any_order(day, shuffled):
    expected = admitted(day.reports, *day.history)
    reports = day.reports + shuffled.sample(day.reports, shuffled.randint(0, len(day.reports)))
    shuffled.shuffle(reports)
    state = admitted(reports, *day.history)
    assert broken(state) == broken(expected)
    assert shown(state) == shown(expected)
    for report in day.reports:
        assert order.admit(state, report) == (), "a known report adds nothing"
    assert set(order.breaks.changed(state)) == set()


@settings(max_examples=max(300, settings.default.max_examples), deadline=None)
@given(day=arrivals())
def test_a_report_later_than_all_others_breaks_what_a_replay_of_all_says(day):
    state = after(*day.history)
    for report in day.reports:
        for event in order.admit(state, report):
            state = order.evolve(state, event)
        assert order.breaks.changed(state) == (), f"after {report}"
