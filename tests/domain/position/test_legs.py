"""Hedge mode: the long and the short leg of one contract are positions of their own, beside a one-way one."""

from datetime import timedelta
from decimal import Decimal as D
from itertools import permutations
from typing import Any

import pytest
from msgspec.structs import replace

from domain import risk
from domain.account import BalanceLine
from domain.holdings.holdings import holdings_of
from domain.instrument import Contract, Kind, ListInstrument
from domain.ledger import schema
from domain.marks import Prices
from domain.order import OrderKey, OrderTerms, OrdType, SubmitOrder
from domain.position import MovePosition, PositionBroken, PositionKey, SettleFunding
from domain.position import stream as stream_of
from domain.risk import Measure, Meter, Scope, SetLimit
from domain.values import Money, PositionSide, Side, stated_leg
from tests.derived import derived
from tests.desk import T0, Desk, fill, mark
from tests.domain.ledger.test_derivation import history

NAME = "BTC-PERP.SIM"
LONG, SHORT, BOTH = PositionSide.LONG, PositionSide.SHORT, PositionSide.BOTH


@pytest.fixture
def desk() -> Desk:
    made = Desk()
    made.request(ListInstrument(NAME, Contract(Kind.LINEAR, "BTC", "USDT", "USDT"), D("0.1"), D("0.001")))
    return made


def traded(exec_id: str, side: Side, quantity: str, price: str, leg: PositionSide, minute: int = 0) -> Any:
    return replace(fill(exec_id, side, quantity, price, minute, instrument_id=NAME), position_side=leg)


def at(leg: PositionSide) -> str:
    return stream_of(PositionKey("main", "trend", NAME, leg))


def order(cl_ord_id: str, side: Side, quantity: str, leg: PositionSide) -> SubmitOrder:
    terms = OrderTerms("trend", NAME, side, OrdType.LIMIT, D(quantity), D(100), position_side=stated_leg(leg))
    return SubmitOrder(OrderKey("main", cl_ord_id), terms, T0)


def test_legs_are_held_side_by_side_and_nothing_is_realized_between_them(desk: Desk) -> None:
    fills = [
        traded("E1", Side.BUY, "2", "100", LONG, 1), traded("E2", Side.SELL, "1", "110", SHORT, 2),
        traded("E3", Side.SELL, "0.5", "120", LONG, 3), traded("E4", Side.BUY, "0.25", "90", SHORT, 4),
        traded("E5", Side.BUY, "3", "100", BOTH, 5),
    ]  # fmt: skip
    books = set()
    for arriving in list(permutations(fills))[::31]:
        fresh = Desk()
        fresh.request(ListInstrument(NAME, Contract(Kind.LINEAR, "BTC", "USDT", "USDT"), D("0.1"), D("0.001")))
        for each in arriving:
            fresh.report(each)
        states = fresh.states("position")
        books.add(tuple((leg, states[at(leg)].quantity, states[at(leg)].realized) for leg in PositionSide))
        assert not derived(history(fresh)).faults
    assert books == {((BOTH, D(3), D(0)), (LONG, D("1.5"), D(10)), (SHORT, D("-0.75"), D(5)))}


def test_one_way_trading_is_stored_as_it_was_without_a_leg(desk: Desk) -> None:
    desk.report(traded("E1", Side.BUY, "2", "100", BOTH, 1), traded("E2", Side.BUY, "2", "100", LONG, 1))
    desk.request(order("A", Side.BUY, "1", BOTH))
    stored = {each.stream: schema.encode(each) for each in history(desk)}
    assert b"position_side" not in stored[at(BOTH)]
    assert b"position_side" not in stored["order:main:A"]
    assert at(LONG) == f"{at(BOTH)}:LONG"
    assert b'"position_side":"LONG"' in stored[at(LONG)]


def test_selling_more_of_a_leg_than_is_held_is_booked_with_a_break_and_flips_nothing(desk: Desk) -> None:
    desk.report(traded("E1", Side.BUY, "1", "100", LONG, 1), traded("E2", Side.SELL, "1", "100", SHORT, 1))
    desk.report(traded("E3", Side.SELL, "3", "110", LONG, 2), traded("E4", Side.BUY, "2", "110", SHORT, 2))
    states = desk.states("position")
    assert (states[at(LONG)].quantity, states[at(SHORT)].quantity) == (D(-2), D(1))
    rules = [event.rule for event in desk.events("position") if isinstance(event, PositionBroken)]
    assert rules == ["a LONG leg is not below zero", "a SHORT leg is not above zero"]


def test_a_fill_without_a_leg_is_of_its_orders_and_one_that_states_it_completes_it(desk: Desk) -> None:
    desk.request(order("A", Side.BUY, "2", LONG))
    desk.report(replace(traded("E1", Side.BUY, "2", "100", BOTH, 1), key=OrderKey("main", "A")))
    assert desk.states("position")[at(LONG)].quantity == 2
    desk.report(traded("E2", Side.SELL, "1", "100", BOTH, 2))
    assert desk.states("position")[at(BOTH)].quantity == -1
    desk.report(traded("E2", Side.SELL, "1", "100", SHORT, 2))
    states = desk.states("position")
    assert (states[at(BOTH)].quantity, states[at(SHORT)].quantity) == (D(0), D(-1)), "the same fill, known better"
    (answer,) = desk.report(traded("E2", Side.SELL, "1", "100", LONG, 2))
    assert answer.on_record is not None
    assert answer.on_record.position_side is SHORT, "another leg contradicts it: a break, and no booking"
    assert desk.states("position")[at(SHORT)].quantity == -1
    assert not derived(history(desk)).faults


def test_an_order_that_closes_a_leg_is_at_most_what_the_leg_holds(desk: Desk) -> None:
    desk.report(traded("E1", Side.SELL, "1", "100", SHORT, 1), traded("E2", Side.BUY, "5", "100", LONG, 1))
    assert desk.request(order("A", Side.BUY, "0.6", SHORT)).records  # type: ignore[union-attr]
    refused = desk.request(order("B", Side.BUY, "0.6", SHORT))
    assert "a BUY of a SHORT leg closes no more than it holds" in str(refused)
    assert desk.request(order("C", Side.BUY, "9", LONG)).records  # type: ignore[union-attr]
    spot = replace(order("D", Side.BUY, "1", LONG).terms, instrument_id="BTCUSDT.SIM")
    assert "spot has no legs" in str(desk.request(SubmitOrder(OrderKey("main", "D"), spot, T0)))


@pytest.mark.parametrize("strategy_id", ["trend", None])
@pytest.mark.parametrize("measure", [Measure.MAX_POSITION, Measure.MAX_POSITION_NOTIONAL])
def test_a_limit_of_position_bounds_each_direction_without_the_other_leg(
    desk: Desk, measure: Measure, strategy_id: str | None
) -> None:
    desk.report(traded("E1", Side.SELL, "5", "100", SHORT, 1))
    limit, currency = (D(500), "USDT") if measure.is_money else (D(5), None)
    desk.request(SetLimit("main", Scope(strategy_id, NAME), measure, limit, currency=currency, transact_time=T0))
    assert "MAX_POSITION" in str(desk.request(order("A", Side.BUY, "6", LONG))), "a short leg gives no room to a long"
    assert desk.request(order("B", Side.BUY, "5", LONG)).records  # type: ignore[union-attr]
    assert "MAX_POSITION" in str(desk.request(order("C", Side.SELL, "1", SHORT)))
    assert desk.request(order("D", Side.BUY, "5", SHORT)).records, "closing goes through"  # type: ignore[union-attr]


def test_exposure_counts_both_legs_gross_and_their_difference_net(desk: Desk) -> None:
    desk.report(traded("E1", Side.BUY, "3", "100", LONG, 1), traded("E2", Side.SELL, "2", "100", SHORT, 1))
    state = desk.states("limit")[risk.stream("main")]
    prices = Prices((mark(NAME, "100"),), T0, timedelta(minutes=1), state.conversions)
    meter = Meter(state.exposure, prices, state.capital(None), T0, opening_marks={}, at=T0)
    used = {
        measure: meter.held(measure, Scope(), "USDT")
        for measure in (
            Measure.MAX_GROSS_EXPOSURE, Measure.MAX_NET_EXPOSURE, Measure.MAX_POSITION, Measure.MAX_POSITION_NOTIONAL
        )
    }  # fmt: skip
    assert list(used.values()) == [{"": D(500)}, {"": D(100)}, {NAME: D(3)}, {NAME: D(300)}]


def test_the_venue_balance_counts_both_legs_and_nets_the_contract(desk: Desk) -> None:
    desk.report(traded("E1", Side.BUY, "2", "100", LONG, 1), traded("E2", Side.SELL, "1", "110", SHORT, 2))
    desk.report(traded("E3", Side.SELL, "2", "130", LONG, 3))
    desk.report(SettleFunding(PositionKey("main", "trend", NAME, SHORT), "F1", Money(D(3), "USDT"), T0))
    found = holdings_of((each.event for each in history(desk)), "main", "SIM", T0.replace(year=2027))
    assert found.balances()["USDT"] == BalanceLine("USDT", D(63))
    assert found.positions()[NAME].quantity == -1
    assert found.wallets.open_cost(NAME) == -110


def test_a_move_is_not_from_one_leg_to_the_other(desk: Desk) -> None:
    desk.report(traded("E1", Side.BUY, "2", "100", LONG, 1))
    held = PositionKey("main", "trend", NAME, LONG)
    move = MovePosition(held, replace(held, position_side=SHORT), "T1", D(1), T0.replace(year=2027))
    assert "from one leg to the other" in str(desk.request(move))
    assert desk.request(replace(move, to=replace(held, strategy_id="maker"))).records  # type: ignore[union-attr]
    assert not derived(history(desk)).faults
