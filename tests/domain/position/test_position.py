"""The position: right by hand, exact by identity, and the same in any order of arrival."""

from decimal import Decimal as D
from functools import reduce

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from domain import position
from domain.account import CostBasis, Costing, FeePolicy
from domain.instrument import Kind
from domain.position import (
    FundingSettled,
    PositionRestated,
    SettleFunding,
    TradeBooked,
    Transfer,
    costing,
)
from domain.values import ZERO, Money, Side
from tests.domain.position.booking import (
    INVERSE,
    KEY,
    LINEAR,
    SPOT,
    T0,
    booked,
    contracts,
    conventions,
    current,
    fill,
    trades,
)


def test_a_round_trip_realizes_its_gain_and_leaves_nothing():
    state, _ = booked([fill(1, "BUY", "2", "100"), fill(2, "SELL", "2", "110")])
    assert (state.quantity, state.book.cost, state.realized, state.rounding) == (0, 0, 20, 0)


def test_a_partial_close_releases_its_share_of_cost_rounded_once():
    state, _ = booked([fill(1, "BUY", "3", "100"), fill(2, "BUY", "3", "101"), fill(3, "SELL", "1", "110")])
    assert state.book.cost == D(603) - D("100.5")
    assert state.realized == D("9.5")


def test_a_fill_through_zero_closes_then_opens_the_other_way():
    state, _ = booked([fill(1, "BUY", "1", "100"), fill(2, "SELL", "3", "110")])
    assert (state.quantity, state.book.cost, state.realized) == (-2, -220, 10)


def test_a_linear_contract_counts_its_size_and_an_inverse_one_settles_in_base():
    state, _ = booked([fill(1, "BUY", "10", "100"), fill(2, "SELL", "10", "90")], LINEAR)
    assert state.realized == D(-10)
    state, _ = booked(
        [fill(1, "SELL", "100", "50000", paid_in="BTC"), fill(2, "BUY", "100", "40000", paid_in="BTC")], INVERSE
    )
    assert state.realized == D("0.05")  # 100 x 100 USD x (1/40000 - 1/50000)


@pytest.mark.parametrize(
    ("policy", "quantity", "cost", "fees", "fee_cost"),
    [(FeePolicy.EXPENSED, "0.999", "99.9", "0.001", "0.1"), (FeePolicy.CAPITALISED, "0.999", "100", None, "0")],
)
def test_a_fee_in_the_base_currency_leaves_the_position(policy, quantity, cost, fees, fee_cost):
    state, _ = booked([fill(1, "BUY", "1", "100", "0.001", "BTC")], SPOT, Costing(fee_policy=policy))
    assert (state.quantity, state.book.cost, state.fee_cost) == (D(quantity), D(cost), D(fee_cost))
    assert state.fees == ({"BTC": D(fees)} if fees else {})


def test_a_fee_in_a_third_currency_touches_no_cost():
    state, _ = booked([fill(1, "BUY", "1", "100", "0.5", "BNB")])
    assert (state.quantity, state.book.cost, state.fees) == (1, 100, {"BNB": D("0.5")})


@pytest.mark.parametrize(
    ("basis", "used"),
    [(CostBasis.FIFO, ["E00001"]), (CostBasis.LIFO, ["E00003"]), (CostBasis.HIFO, ["E00002"])],
)
def test_a_cost_basis_chooses_the_lot(basis, used):
    buys = [fill(1, "BUY", "1", "100"), fill(2, "BUY", "1", "300"), fill(3, "BUY", "1", "200")]
    _, events = booked([*buys, fill(4, "SELL", "1", "250")], conventions=Costing(basis))
    assert [match.lot_id for match in events[-1].effect.closed] == used


def test_of_lots_at_one_price_hifo_uses_the_oldest_and_of_one_moment_the_venues_sequence_decides():
    buys = [fill(1, "BUY", "1", "100", at=0), fill(2, "BUY", "1", "100", at=0)]
    _, events = booked([*buys, fill(4, "SELL", "1", "250")], conventions=Costing(CostBasis.HIFO))
    assert [match.lot_id for match in events[-1].effect.closed] == ["E00001"]
    _, events = booked([*buys, fill(4, "SELL", "1", "250")], conventions=Costing(CostBasis.LIFO))
    assert [match.lot_id for match in events[-1].effect.closed] == ["E00002"]


def test_a_late_fill_is_booked_in_its_place_with_a_restatement_of_what_it_moved():
    in_order = [fill(1, "BUY", "1", "100"), fill(3, "SELL", "1", "110")]
    state, events = booked([*in_order, fill(2, "BUY", "1", "102")])
    late, restated = events[-2:]
    assert isinstance(late, TradeBooked)
    assert late.is_late
    assert isinstance(restated, PositionRestated)
    (item,) = restated.items
    assert (item.exec_id, item.was.realized, item.now.realized) == ("E00003", 10, 9)
    assert (state.quantity, state.book.cost, state.realized) == (1, 101, 9)


def test_fills_in_order_are_never_restated():
    _, events = booked([fill(n, "BUY" if n % 3 else "SELL", "1", str(100 + n)) for n in range(1, 400)])
    assert not any(isinstance(event, PositionRestated) or event.is_late for event in events)


def test_funding_and_transfers_are_taken_once():
    paid = SettleFunding(KEY, "F1", Money(D("-1.5"), "USDT"), T0)
    moved = Transfer(KEY, "opening", Side.BUY, D(1), D(90), T0)
    state, events = booked([moved, paid, moved, paid])
    assert (state.quantity, state.book.cost, state.funding) == (1, 90, D("-1.5"))
    assert sum(isinstance(event, FundingSettled) for event in events) == 1


@given(trades, contracts, conventions, st.data())
@settings(max_examples=300)
def test_any_order_of_arrival_ends_in_the_same_current_book(reports, contract, kept_by, data):
    in_order = sorted(reports, key=position.occurrence_of)
    expected, _ = booked(in_order, contract, kept_by) if reports else (None, [])
    shuffled = data.draw(st.permutations(reports))
    batches = data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=25))
    tail_max = data.draw(st.sampled_from([1, 2, 5, 128]))
    state, history = booked(shuffled, contract, kept_by, batches, tail_max)
    assert (state and current(state)) == (expected and current(expected))
    if state:
        unfolded = position.unfold(history)
        assert current(unfolded) == current(state)
        assert reduce(costing.book_with, (item.effect for item in state.tail), state.anchor) == state.book
        again = reduce(lambda s, e: position.evolve(s, e, tail_max=tail_max), history, None)
        assert again == state


@given(trades, contracts, conventions)
@example([fill(1, "SELL", "1", "100", "0.5", "BTC"), fill(2, "BUY", "1.5", "90")], SPOT, Costing(CostBasis.FIFO))
@example(
    [fill(1, "BUY", "0.01", "100", "0.02", "BTC"), fill(2, "BUY", "1", "90", "1", "BTC")], SPOT, Costing(CostBasis.LIFO)
)
@settings(max_examples=300)
def test_cash_paid_equals_the_cost_in_the_book_exactly(reports, contract, kept_by):
    """realized + rounding - change of cost - fees in cost = cash, after every fill; lots sum to the book."""
    state = None
    cash = signed = ZERO
    for report in sorted(reports, key=position.occurrence_of):
        for event in position.admit(state, [replace(report, contract=contract)], kept_by):
            state = position.evolve(state, event)
        cash -= contract.value(report.side.sign * report.last_qty, report.last_px)
        signed += report.side.sign * report.last_qty
        fee, paid_in = report.commission.amount, report.commission.currency
        is_base = contract.kind is Kind.SPOT and paid_in == contract.base
        if is_base:
            signed -= fee
        elif kept_by.fee_policy is FeePolicy.CAPITALISED and paid_in == contract.settle:
            cash -= fee
        assert state.quantity == signed
        assert state.realized + state.rounding - state.book.cost - state.fee_cost == cash
        if kept_by.cost_basis is not CostBasis.AVERAGE:
            assert sum((lot.quantity for lot in state.book.lots), ZERO) == state.quantity
            assert sum((lot.cost for lot in state.book.lots), ZERO) == state.book.cost
        if not state.quantity:
            assert state.book.cost == 0
