"""Orders through the ledger: found by any of their names, booked as their fills stand, worked for a parent."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from itertools import permutations

import pytest
from msgspec.structs import replace

from adapters.log.memory import MemoryLog
from domain import order, position, risk
from domain.account import Costing, OpenAccount
from domain.errors import InvalidInput, RequestRefused
from domain.instrument import Contract, Kind, ListInstrument
from domain.ledger import Ledger
from domain.order import (
    CancelOrder,
    Changes,
    ChildProgressed,
    CloseParent,
    OpenParent,
    OrderAccepted,
    OrderAliased,
    OrderBroken,
    OrderCanceled,
    OrderCancelRejected,
    OrderFillBusted,
    OrderFillCorrected,
    OrderFilled,
    OrderKey,
    OrderReplaced,
    OrderTerms,
    OrdStatus,
    OrdType,
    ParentClosed,
    ParentOpened,
    ReplaceOrder,
    SubmitOrder,
    VenueOrderLinked,
    venue_ids,
)
from domain.order import parent as parentorder
from domain.position import PositionKey
from domain.risk import Measure, Scope, SetLimit
from domain.values import ZERO, Liquidity, Money, Side
from tests.given import Given

T0 = datetime(2026, 1, 2, tzinfo=UTC)
BTC, THERE = "BTCUSDT.SIM", "BTC-USDT.OTHER"
SPOT = Contract(Kind.SPOT, "BTC", "USDT", "USDT")
A = OrderKey("main", "A")
PARENT = OrderKey("main", "P")


def at(second):
    return T0 + timedelta(seconds=second)


@pytest.fixture
def ledger():
    ledger = Ledger(MemoryLog(), lambda: T0)
    ledger.request(OpenAccount("main", "USDT", Costing(), T0), actor="alice")
    for instrument_id in (BTC, THERE):
        ledger.request(ListInstrument(instrument_id, SPOT, D("0.01"), D("0.001")), actor="alice")
    return ledger


def submit(name, qty="10", price="100", instrument_id=BTC, **more):
    terms = OrderTerms("trend", instrument_id, Side.BUY, OrdType.LIMIT, D(qty), D(price), **more)
    return SubmitOrder(OrderKey("main", name), terms, T0)


def fill(name, exec_id, qty="1", price="100", second=5, order_id="V1", instrument_id=BTC):
    return OrderFilled(
        OrderKey("main", name), "trend", instrument_id, order_id, Side.BUY, exec_id, second, D(qty), D(price),
        Money(ZERO, "USDT"), Liquidity.TAKER, at(second),
    )  # fmt: skip


def request(ledger, request):
    return ledger.request(request, actor="bot")


def reported(ledger, *reports):
    return ledger.report(reports, actor="venue")


def state_of(ledger, name):
    return ledger.state(order.stream(OrderKey("main", name)))


def held_of(ledger, name):
    hold = ledger.state(risk.stream("main")).holds.get(OrderKey("main", name))
    return hold.quantity if hold else ZERO


def position_of(ledger, instrument_id=BTC):
    return ledger.state(position.stream(PositionKey("main", "trend", instrument_id)))


# Names


def test_a_later_cl_ord_id_leads_to_the_order(ledger):
    request(ledger, submit("A"))
    request(ledger, ReplaceOrder(A, "B", Changes(order_qty=D(12)), at(1)))
    reported(ledger, OrderReplaced(OrderKey("main", "B"), at(2)), fill("B", "E1", "12"))
    assert (state_of(ledger, "A").cl_ord_id, state_of(ledger, "A").status) == ("B", OrdStatus.FILLED)
    assert state_of(ledger, "B").alias_of == "A"
    with pytest.raises(RequestRefused, match="one cl_ord_id names one order"):
        request(ledger, submit("B"))


def test_a_request_may_name_the_replacement_it_follows(ledger):
    request(ledger, submit("A"))
    request(ledger, ReplaceOrder(A, "B", Changes(price=D(99)), at(1)))
    request(ledger, ReplaceOrder(OrderKey("main", "B"), "C", Changes(order_qty=D(7)), at(2)))
    requested = state_of(ledger, "A").requests["C"].request
    assert (requested.key, requested.orig_cl_ord_id, requested.terms.price) == (A, "B", D(99))
    request(ledger, CancelOrder(OrderKey("main", "C"), "", at(3), "D"))
    reported(ledger, OrderCancelRejected(OrderKey("main", "D"), "too late", at(4)))
    assert not state_of(ledger, "A").is_cancel_requested


def test_a_request_needs_a_cl_ord_id_that_is_free(ledger):
    request(ledger, submit("A"))
    request(ledger, submit("B"))
    with pytest.raises(RequestRefused, match="one cl_ord_id names one order or request"):
        request(ledger, ReplaceOrder(A, "B", Changes(price=D(99)), at(1)))
    assert state_of(ledger, "A").unanswered == {}
    assert held_of(ledger, "A") == 10


def test_a_report_that_knows_only_the_venues_id_finds_its_order(ledger):
    request(ledger, submit("A"))
    reported(ledger, OrderAccepted(A, "V1", at(1), venue="SIM"))
    reported(ledger, fill("", "E1"), OrderCanceled(OrderKey("main", ""), "", at(9), order_id="V1", venue="SIM"))
    state = state_of(ledger, "A")
    assert (state.cum_qty, state.status) == (1, OrdStatus.CANCELED)
    assert state.breaks == ()


def test_a_name_of_the_adapters_own_making_gives_way_to_the_one_that_is_known(ledger):
    request(ledger, submit("A"))
    reported(ledger, OrderAccepted(A, "V1", at(1)))
    reported(ledger, fill("V1", "E1"))
    assert state_of(ledger, "A").cum_qty == 1
    assert state_of(ledger, "V1") is None


def test_an_order_only_the_venue_knows_is_called_by_its_id(ledger):
    reported(ledger, fill("", "E1", order_id="V7"), fill("", "E2", order_id="V7"))
    assert state_of(ledger, "SIM-V7").cum_qty == 2


def test_an_order_id_may_be_used_again_for_another_instrument(ledger):
    request(ledger, submit("A"))
    request(ledger, submit("B", instrument_id="BTC-USDT.OTHER"))
    other = "ETHUSDT.SIM"
    ledger.request(ListInstrument(other, replace(SPOT, base="ETH"), D("0.01"), D("0.001")), actor="alice")
    request(ledger, submit("C", instrument_id=other))
    reported(ledger, fill("A", "E1"), fill("C", "E1", instrument_id=other))
    reported(ledger, fill("", "E2"), fill("", "E2", instrument_id=other))
    assert [state_of(ledger, name).cum_qty for name in "AC"] == [2, 2]


def test_two_orders_under_one_order_id_are_a_break(ledger):
    request(ledger, submit("A"))
    request(ledger, submit("B"))
    (first, second) = reported(ledger, fill("A", "E1"), fill("B", "E2"))
    assert first.records[-1].event == fill("A", "E1")
    assert second.records[-1].event == OrderBroken(
        OrderKey("main", "B"), "one order_id names one order", fill("B", "E2")
    )
    assert reported(ledger, fill("B", "E2"))[0].records == ()


@pytest.mark.parametrize(
    ("report", "field"),
    [
        (fill("", "E1", order_id=""), "cl_ord_id"),
        (OrderCanceled(OrderKey("main", ""), "", at(1), order_id="V1"), "venue"),
        (OrderCanceled(OrderKey("unknown", "A"), "", at(1)), "account_id"),
        (fill("A", "E1", instrument_id="ETHUSDT.SIM"), "instrument_id"),
        (fill("A", "E1", "-1"), "last_qty"),
    ],
)
def test_a_report_of_no_order_is_unreadable_and_adds_nothing(ledger, report, field):
    (answer,) = reported(ledger, report)
    assert isinstance(answer.error, InvalidInput)
    assert (answer.error.field, answer.records) == (field, ())


def test_the_index_keeps_its_first_link():
    after = Given(venue_ids)
    link = VenueOrderLinked("SIM", "main", "V1", BTC, "A", T0)
    after().reported(link).then(link).repeated().then()
    after(link).reported(replace(link, cl_ord_id="B")).then()
    other = replace(link, instrument_id=THERE, cl_ord_id="B")
    index = after(link).reported(other).then(other).state
    assert [index.cl_ord_id(name, T0) for name in (BTC, THERE, "", "ETHUSDT.SIM")] == ["A", "B", "", ""]
    assert venue_ids.contradicts(index, replace(link, cl_ord_id="C"))
    assert not venue_ids.contradicts(index, link)


# Positions and holds


def test_a_bust_takes_its_fill_out_of_the_position_and_is_held_again(ledger):
    request(ledger, submit("A"))
    reported(ledger, fill("A", "E1", "4"), fill("A", "E2", "6", "110", 6))
    assert (position_of(ledger).quantity, held_of(ledger, "A")) == (10, 0)
    bust = OrderFillBusted(A, "E1", "off market", at(9), exec_id="X1")
    reported(ledger, bust)
    assert (position_of(ledger).quantity, position_of(ledger).book.cost) == (6, 660)
    assert (state_of(ledger, "A").leaves_qty, held_of(ledger, "A")) == (4, 4)
    assert reported(ledger, bust)[0].records == ()


def test_a_correction_books_its_fill_again_in_its_place(ledger):
    request(ledger, submit("A"))
    reported(ledger, fill("A", "E1", "4"), fill("A", "E2", "4", "110", 6))
    reported(ledger, OrderFillCorrected(A, "E1", D(3), D(90), at(9), exec_id="X1"))
    held = position_of(ledger)
    assert (held.quantity, held.book.cost) == (7, 3 * 90 + 4 * 110)
    assert held_of(ledger, "A") == 3


def test_amendments_in_any_order_of_arrival_end_in_the_same_position():
    reports = [
        fill("A", "E1", "4"),
        fill("A", "E2", "3", "110", 6),
        OrderFillCorrected(A, "E1", D(3), D(90), at(7), exec_id="X1"),
        OrderFillCorrected(A, "X1", D(5), D(95), at(8), exec_id="X2"),
        OrderFillBusted(A, "E2", "", at(9), exec_id="X3"),
    ]
    for arrival in permutations(reports):
        for batch in (1, len(arrival)):
            book = Ledger(MemoryLog(), lambda: T0)
            book.request(OpenAccount("main", "USDT", Costing(), T0), actor="alice")
            book.request(ListInstrument(BTC, SPOT, D("0.01"), D("0.001")), actor="alice")
            request(book, submit("A"))
            for first in range(0, len(arrival), batch):
                reported(book, *arrival[first : first + batch])
            held = position_of(book)
            assert (held.quantity, held.book.cost, state_of(book, "A").cum_qty) == (5, 475, 5)
            assert held_of(book, "A") == 5


def test_a_replacement_holds_the_larger_until_it_is_answered(ledger):
    ledger.request(SetLimit("main", Scope(None, BTC), Measure.MAX_POSITION, D(15), None, T0), actor="alice")
    request(ledger, submit("A"))
    with pytest.raises(RequestRefused, match="MAX_POSITION"):
        request(ledger, ReplaceOrder(A, "B", Changes(order_qty=D(16)), at(1)))
    assert (held_of(ledger, "A"), state_of(ledger, "A").unanswered) == (10, {})
    request(ledger, ReplaceOrder(A, "C", Changes(order_qty=D(15)), at(2)))
    assert held_of(ledger, "A") == 15
    reported(ledger, OrderReplaced(A, at(3), requested_as="C", order_qty=D(12)))
    assert held_of(ledger, "A") == 12
    request(ledger, ReplaceOrder(A, "D", Changes(order_qty=D(5)), at(4)))
    assert held_of(ledger, "A") == 12
    reported(ledger, OrderReplaced(A, at(5), requested_as="D"))
    assert held_of(ledger, "A") == 5


def test_a_replacement_keeps_to_tick_and_lot(ledger):
    request(ledger, submit("A"))
    with pytest.raises(RequestRefused, match="tick"):
        request(ledger, ReplaceOrder(A, "B", Changes(price=D("99.001")), at(1)))
    assert state_of(ledger, "B") is None


# Parents and children


def open_parent(ledger, qty="10", price="100"):
    return request(ledger, OpenParent(PARENT, "trend", SPOT, Side.BUY, D(qty), D(price), T0))


def parent_of(ledger):
    return ledger.state(parentorder.stream(PARENT))


def test_a_parent_is_the_sum_of_its_children_at_every_seq(ledger):
    open_parent(ledger)
    request(ledger, submit("A", "6", parent="P"))
    request(ledger, submit("B", "4", instrument_id=THERE, parent="P"))
    assert (parent_of(ledger).working_qty, parent_of(ledger).status) == (10, OrdStatus.NEW)
    reported(ledger, fill("A", "E1", "2"), fill("B", "E1", "4", "99", 6, "W1", THERE))
    parent = parent_of(ledger)
    assert (parent.cum_qty, parent.cum_cost, parent.leaves_qty) == (6, 596, 4)
    assert parent.status is OrdStatus.PARTIALLY_FILLED
    reported(ledger, OrderFillBusted(A, "E1", "", at(8), exec_id="X1"))
    assert (parent_of(ledger).cum_qty, parent_of(ledger).working_qty) == (4, 6)
    reported(ledger, fill("A", "E2", "6", second=9))
    assert (parent_of(ledger).status, parent_of(ledger).leaves_qty) == (OrdStatus.FILLED, 0)
    assert position_of(ledger).quantity == 6
    assert position_of(ledger, THERE).quantity == 4


def test_a_child_is_part_of_its_parents_intent(ledger):
    with pytest.raises(RequestRefused, match="a child's parent is on record"):
        request(ledger, submit("A0", parent="P"))
    open_parent(ledger)
    with pytest.raises(RequestRefused, match="children do not exceed their parent"):
        request(ledger, submit("A11", "11", parent="P"))
    with pytest.raises(RequestRefused, match="a child keeps to its parent's price"):
        request(ledger, submit("A12", price="101", parent="P"))
    request(ledger, submit("A", "6", parent="P"))
    with pytest.raises(RequestRefused, match="children do not exceed their parent"):
        request(ledger, ReplaceOrder(A, "A2", Changes(order_qty=D(11)), at(1)))
    request(ledger, ReplaceOrder(A, "A3", Changes(order_qty=D(9)), at(1)))
    with pytest.raises(RequestRefused, match="children do not exceed their parent"):
        request(ledger, submit("B2", "2", parent="P"))
    reported(ledger, OrderCanceled(A, "", at(2)))
    request(ledger, submit("B", "10", parent="P"))
    request(ledger, CloseParent(PARENT, "", at(3)))
    with pytest.raises(RequestRefused, match="a child's parent is open"):
        request(ledger, submit("C", parent="P"))
    assert parent_of(ledger).status is OrdStatus.PENDING_CANCEL
    reported(ledger, OrderCanceled(OrderKey("main", "B"), "", at(4)))
    assert (parent_of(ledger).status, parent_of(ledger).leaves_qty) == (OrdStatus.CANCELED, 0)


def test_a_child_of_another_contract_or_strategy_is_refused(ledger):
    inverse = Contract(Kind.INVERSE, "BTC", "USD", "BTC", D(1))
    ledger.request(ListInstrument("XBTUSD.SIM", inverse, D("0.5"), D(1)), actor="alice")
    open_parent(ledger)
    for child in (submit("A", "1", instrument_id="XBTUSD.SIM", parent="P"), submit("B", "1", parent="P")):
        terms = child.terms if child.terms.instrument_id != BTC else replace(child.terms, strategy_id="other")
        with pytest.raises(RequestRefused, match="a child has its parent's side, strategy and contract"):
            request(ledger, replace(child, terms=terms))


def test_a_parent_is_opened_and_closed_once():
    after = Given(parentorder)
    requested = OpenParent(PARENT, "trend", SPOT, Side.BUY, D(10), D(100), T0)
    opened = ParentOpened(PARENT, "trend", SPOT, Side.BUY, D(10), D(100), T0)
    closed = ParentClosed(PARENT, "", at(1))
    scene = after().when(requested).then(opened)
    scene.repeated().then()
    scene.when(replace(requested, order_qty=D(9))).refused("one cl_ord_id names one parent order", cl_ord_id="P")
    scene.when(CloseParent(PARENT, "", at(1))).then(closed).repeated().then()
    after().when(CloseParent(PARENT, "", at(1))).refused("a parent order on record", cl_ord_id="P")
    after().when(replace(requested, order_qty=D(0))).refused("order_qty above zero", order_qty=D(0))
    after().when(replace(requested, price=D("NaN"))).refused("price is a finite decimal number")


def test_what_a_child_adds_is_recorded_in_the_same_append(ledger):
    open_parent(ledger)
    answer = request(ledger, submit("A", parent="P"))
    assert ChildProgressed in {type(recorded.event) for recorded in answer.records}
    requested = request(ledger, ReplaceOrder(A, "B", Changes(order_qty=D(5)), at(1)))
    assert OrderAliased in {type(recorded.event) for recorded in requested.records}
