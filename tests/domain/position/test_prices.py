"""Prices at and below zero: a linear contract may trade below zero, spot and options are given away."""

from decimal import Decimal as D
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from domain import instrument
from domain.account import CostBasis, Costing
from domain.errors import RequestRefused
from domain.instrument import Contract, Kind, PutOrCall
from domain.order import OrderTerms, OrdType
from domain.risk.valuing import PriceBasis, valuation
from domain.values import Side
from tests.domain.position.booking import INVERSE, LINEAR, SPOT, T0, booked, conventions, current, fill

OPTION = Contract(Kind.OPTION, "BTC", "USD", "BTC", expiry=T0, strike=D(50_000), put_or_call=PutOrCall.CALL)
whole = st.integers(1, 400).map(D)
signed = st.integers(-500, 500).map(lambda n: D(n).scaleb(-1))
rows = st.lists(st.tuples(st.sampled_from(["BUY", "SELL"]), whole, signed, st.integers(0, 9)), min_size=1, max_size=16)


@pytest.mark.parametrize(
    ("contract", "below", "zero"),
    [(SPOT, False, True), (LINEAR, True, True), (INVERSE, False, False), (OPTION, False, True)],
)
def test_the_kind_of_an_instrument_decides_which_prices_it_may_have(contract, below, zero):
    assert (contract.has_price(D(-1)), contract.has_price(D(0)), contract.has_price(D(1))) == (below, zero, True)


def test_an_order_below_zero_is_one_of_a_linear_contract_alone():
    instrument.check_prices(LINEAR, D(-17), D(0))
    for contract in (SPOT, INVERSE, OPTION):
        with pytest.raises(RequestRefused, match="stop_px above zero") as refused:
            instrument.check_prices(contract, None, D(-1))
        assert refused.value.facts == {"stop_px": D(-1)}


@settings(max_examples=60, deadline=None)
@given(rows, conventions, st.data())
def test_any_arrival_of_fills_at_signed_prices_ends_in_one_book_and_the_cash_that_moved(drawn, convention, data):
    fills = [fill(n, side, qty, px, at=at) for n, (side, qty, px, at) in enumerate(drawn, 1)]
    if data.draw(st.booleans(), "spot"):
        contract, fills = SPOT, [replace(each, last_px=abs(each.last_px)) for each in fills]
    else:
        contract = LINEAR
    in_order = sorted(fills, key=lambda each: (each.transact_time, each.trade_seq))
    state, _ = booked(in_order, contract, convention)
    paid = sum((contract.value(each.side.sign * each.last_qty, each.last_px) for each in fills), D(0))
    assert state.realized + state.rounding - state.book.cost == -paid
    shuffled, _ = booked(data.draw(st.permutations(fills)), contract, convention, tail_max=2)
    assert current(shuffled) == current(state)


def test_what_is_given_away_has_an_average_of_zero_and_a_flat_position_none():
    state, _ = booked([fill(1, "BUY", "100", "0")], SPOT, Costing(CostBasis.FIFO))
    assert (state.book.cost, SPOT.average_price(state.quantity, state.book.cost)) == (0, 0)
    assert SPOT.average_price(D(0), D(0)) is None
    spread, _ = booked([fill(1, "BUY", "2", "-17"), fill(2, "SELL", "2", "-12.5")], replace(LINEAR, contract_size=D(1)))
    assert (spread.realized, spread.book.cost) == (9, 0)


def test_a_price_below_zero_counts_by_its_size():
    terms = OrderTerms("main", "CL.SIM", Side.BUY, OrdType.LIMIT, order_qty=D(1), price=D(-5))
    valued = valuation(terms, D(-13))
    assert valued is not None
    assert (valued.price, valued.basis) == (-13, PriceBasis.MARK)
    assert LINEAR.notional(D(-2), D(-13)) == D("2.6")


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 50_000), st.integers(1, 5)), min_size=1, max_size=30),
    st.integers(2, 2_000_000).map(lambda n: D(n) / 2),
    st.sampled_from([CostBasis.AVERAGE, CostBasis.FIFO]),
)
def test_an_inverse_price_that_came_in_is_shown_as_it_came(fills, price, basis):
    contract = replace(INVERSE, contract_size=D(1))
    reports = [fill(n, "BUY", str(quantity), str(price)) for n, (quantity, _) in enumerate(fills, 1)]
    reports += [fill(99, "SELL", str(max(1, fills[0][0] // fills[0][1])), str(price + 1))]
    state, _ = booked(reports, contract, Costing(basis))
    assert not state.quantity or contract.average_price(state.quantity, state.book.cost) == price


def test_the_average_of_an_inverse_position_has_the_digits_that_its_cost_has():
    state, _ = booked(
        [fill(1, "BUY", "3000", "16704"), fill(2, "BUY", "2000", "17000")], replace(INVERSE, contract_size=D(1))
    )
    exact = Fraction(5000) / (Fraction(3000, 16704) + Fraction(2000, 17000))
    shown = INVERSE.average_price(state.quantity / 100, state.book.cost)
    assert shown is not None
    assert abs(Fraction(shown) - exact) < Fraction(1, 10**11)
