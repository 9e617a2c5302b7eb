"""What is sent leaves at its cost: moving is no disposal, and late fills correct what it took."""

from datetime import timedelta
from decimal import Decimal as D

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from domain import position
from domain.account import CostBasis, Costing
from domain.position import AssignLots, PositionTransferred, Reverse, Transfer, TransferReason
from domain.values import ZERO, Side
from tests.domain.position.booking import AVERAGE, KEY, SPOT, T0, booked, conventions, current, fill

FIFO = Costing(CostBasis.FIFO)


def sent(transfer_id, quantity, at, cost="0", reason=TransferReason.WITHDRAWAL):
    return Transfer(
        KEY, transfer_id, Side.SELL, D(quantity), D(cost), T0 + timedelta(seconds=at), reason, is_at_cost=True
    )  # fmt: skip


def of_transfers(history):
    return [event for event in history if isinstance(event, PositionTransferred)]


@pytest.mark.parametrize("cost", ["0", "-1991.565", "-1979.98966878"])
@pytest.mark.parametrize("basis", list(CostBasis))
def test_nothing_is_realized_by_sending_at_any_stated_cost(basis, cost):
    reports = [fill(1, "BUY", "1", "1980.78"), sent("W1", "0.999601", at=2, cost=cost)]
    state, history = booked(reports, conventions=Costing(basis))
    assert (state.realized, state.rounding, state.quantity) == (0, 0, D("0.000399"))
    assert history[-1].cost == state.transferred == D("-1979.98966878")
    assert not any(match.gain for match in history[-1].effect.closed)


def test_every_lot_leaves_at_its_own_cost():
    buys = [fill(1, "BUY", "1", "100"), fill(2, "BUY", "1", "300")]
    _, history = booked([*buys, sent("W1", "1.5", at=3)], conventions=FIFO)
    assert [(match.lot_id, match.cost, match.gain) for match in history[-1].effect.closed] == [
        ("E00001", 100, 0),
        ("E00002", 150, 0),
    ]


def test_a_late_fill_corrects_the_cost_of_what_was_sent_and_nothing_is_realized():
    state, history = booked([fill(2, "BUY", "1", "300"), sent("W1", "1", at=3), fill(1, "BUY", "1", "100")])
    assert (state.realized, state.book.cost, state.transferred) == (0, 200, -200)
    first, correction = of_transfers(history)
    assert (first.cost, correction.transfer_id, correction.quantity, correction.cost) == (-300, "W1~2", 0, 100)


def test_a_withdrawal_that_arrives_before_its_purchases_takes_their_cost():
    state, history = booked([sent("W1", "1", at=3), fill(1, "BUY", "0.4", "100"), fill(2, "BUY", "0.6", "200")])
    assert (state.quantity, state.realized, state.book.cost, state.transferred) == (0, 0, 0, -160)
    assert sum((event.cost for event in of_transfers(history)), ZERO) == -160


def test_a_bust_corrects_what_was_sent_as_a_late_fill_does():
    bought = [fill(1, "BUY", "1", "100"), fill(2, "BUY", "1", "300")]
    bust = Reverse(KEY, "E00002", 2, T0 + timedelta(seconds=2), "BUST")
    state, _ = booked([*bought, sent("W1", "1", at=3), bust])
    assert (state.quantity, state.realized, state.book.cost, state.transferred) == (0, 0, 0, -100)


def test_lots_assigned_to_what_was_sent_leave_at_their_cost():
    specific = Costing(CostBasis.SPECIFIC)
    bought = [fill(1, "BUY", "1", "100"), fill(2, "BUY", "1", "300")]
    state, _ = booked([*bought, sent("W1", "1", at=3)], conventions=specific)
    for event in position.decide(state, AssignLots(KEY, "W1", 0, ("E00002",), T0 + timedelta(seconds=3))):
        state = position.evolve(state, event)
    assert (state.realized, state.book.cost, state.transferred) == (0, 100, -300)


def test_a_disposal_realizes_and_a_network_fee_is_a_loss_of_its_cost():
    spent = replace(sent("D1", "0.5", at=2, cost="-75", reason=TransferReason.DISPOSAL), is_at_cost=False)
    paid = replace(sent("N1", "0.1", at=3, reason=TransferReason.NETWORK_FEE), is_at_cost=False)
    state, _ = booked([fill(1, "BUY", "1", "100"), spent, paid])
    assert (state.realized, state.book.cost) == (25 - 10, 40)


def test_the_same_transfer_again_is_known_at_any_stated_cost():
    state, _ = booked([fill(1, "BUY", "1", "100"), sent("W1", "1", at=2)])
    assert position.admit(state, [replace(sent("W1", "1", at=2, cost="-5"), contract=SPOT)], AVERAGE) == ()


amounts = st.integers(1, 40).map(lambda n: str(D(n).scaleb(-1)))
rows = st.lists(
    st.tuples(st.sampled_from(["BUY", "BUY", "SELL", "SEND"]), amounts, st.integers(1, 300).map(str)),
    min_size=2,
    max_size=14,
)


@settings(max_examples=80, deadline=None)
@given(rows, conventions, st.data())
def test_any_arrival_ends_in_one_book_and_cost_is_conserved(drawn, convention, data):
    reports, held = [], ZERO
    for n, (kind, quantity, price) in enumerate(drawn, 1):
        if kind == "BUY":
            reports.append(fill(n, "BUY", quantity, price))
        elif held >= D(quantity):
            reports.append(fill(n, "SELL", quantity, price) if kind == "SELL" else sent(f"W{n}", quantity, at=n))
        else:
            continue
        held += D(quantity) if kind == "BUY" else -D(quantity)
    assume(reports)
    state, history = booked(reports, conventions=convention)
    in_order = of_transfers(history)
    assert all(event.effect.realized == event.effect.rounding == 0 for event in in_order)
    shuffled = data.draw(st.permutations(reports))
    sizes = data.draw(st.lists(st.integers(1, 4), max_size=6))
    other, others = booked(shuffled, conventions=convention, batches=sizes or None, tail_max=3)
    assert (current(other), other.transferred) == (current(state), state.transferred)
    bought = sum((f.side.sign * f.last_qty * f.last_px for f in reports if not isinstance(f, Transfer)), ZERO)
    assert state.book.cost - state.realized - state.rounding == bought + state.transferred
    assert sum((event.quantity for event in of_transfers(others)), ZERO) == sum((e.quantity for e in in_order), ZERO)
