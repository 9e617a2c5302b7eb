"""Two times: what was known at a moment, and what was true at it, are both functions of the history alone."""

from datetime import timedelta
from decimal import Decimal as D

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from domain import position
from domain.account import CostBasis, Costing
from domain.ledger import Recorded
from domain.position import Reverse, SettleFunding
from domain.values import Money
from tests.domain.as_of import as_occurred, as_recorded
from tests.domain.position.booking import AVERAGE, KEY, SPOT, T0, booked, contracts, conventions, current, fill, trades

FOREVER = T0 + timedelta(days=9999)


def recorded(reports, contract=SPOT, kept_by=AVERAGE, batches=None):
    """The history of reports arriving one batch a minute."""
    history, state = [], None
    sizes, minute = iter(batches or [1] * len(reports)), 0
    while reports:
        batch, reports = reports[: (size := next(sizes, len(reports)))], reports[size:]
        batch = [replace(r, contract=contract) if hasattr(r, "contract") else r for r in batch]
        events = [r.event for r in history]
        known = position.unfold(events) if position.needs_history(state, batch) else state
        minute += 1
        for event in position.admit(known, batch, kept_by):
            history.append(Recorded("s", len(history) + 1, T0 + timedelta(minutes=minute), "venue", "", event))
            state = position.evolve(state, event)
    return history


def test_a_late_fill_changes_what_was_true_then_and_not_what_was_known_then():
    history = recorded([fill(1, "BUY", "1", "100"), fill(3, "SELL", "1", "110"), fill(2, "BUY", "1", "102")])
    known_then = as_recorded(history, T0 + timedelta(minutes=2))
    true_then = as_occurred(history, T0 + timedelta(seconds=3))
    assert (known_then.realized, known_then.quantity) == (10, 0)
    assert (true_then.realized, true_then.quantity) == (9, 1)
    assert as_occurred(history, T0 + timedelta(seconds=2)).quantity == 2
    assert as_occurred(history, T0) is None
    assert as_recorded(history, T0) is None


def test_a_busted_trade_was_never_true_but_was_known_until_it_was_busted():
    bust = Reverse(KEY, "E00002", 2, T0 + timedelta(seconds=2), "busted")
    history = recorded([fill(1, "BUY", "1", "100"), fill(2, "BUY", "1", "102"), bust])
    assert as_recorded(history, T0 + timedelta(minutes=2)).quantity == 2
    assert as_occurred(history, T0 + timedelta(seconds=2)).quantity == 1
    assert as_recorded(history, FOREVER).book == as_occurred(history, FOREVER).book


def test_funding_counts_from_when_it_was_settled():
    paid = SettleFunding(KEY, "F1", Money(D("-1.5"), "USDT"), T0 + timedelta(seconds=5))
    history = recorded([fill(1, "BUY", "1", "100"), paid])
    assert as_occurred(history, T0 + timedelta(seconds=4)).funding == 0
    assert as_occurred(history, T0 + timedelta(seconds=5)).funding == D("-1.5")


@given(trades.filter(bool), contracts, conventions, st.integers(-1, 21), st.data())
@settings(max_examples=200)
def test_what_was_true_is_the_book_of_what_had_happened_in_any_order_of_arrival(
    reports, contract, kept_by, second, data
):
    moment = T0 + timedelta(seconds=second)
    happened = sorted((r for r in reports if r.transact_time <= moment), key=position.occurrence_of)
    batches = data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=25))
    history = recorded(data.draw(st.permutations(reports)), contract, kept_by, batches)
    expected, _ = booked(happened, contract, kept_by) if happened else (None, [])
    was = as_occurred(history, moment)
    assert (was and current(was)) == (expected and current(expected))


@given(trades.filter(bool), contracts, conventions, st.integers(0, 25), st.data())
@settings(max_examples=200)
def test_what_was_known_is_the_book_of_what_had_arrived(reports, contract, kept_by, minute, data):
    arrived = data.draw(st.permutations(reports))
    history = recorded(arrived, contract, kept_by)
    known = as_recorded(history, T0 + timedelta(minutes=minute))
    expected, _ = booked(arrived[:minute], contract, kept_by) if minute else (None, [])
    assert (known and current(known)) == (expected and current(expected))


@given(trades.filter(bool), st.sampled_from(CostBasis), st.data())
@settings(max_examples=200)
def test_taking_trades_back_ends_in_the_book_without_them(reports, basis, data):
    """A bust, early or late, shallow or deep, leaves the book of the trades that stand."""
    kept_by = Costing(basis)
    gone = data.draw(st.lists(st.sampled_from(reports), unique=True))
    backs = [Reverse(r.key, r.exec_id, r.trade_seq, r.transact_time, "busted") for r in gone]
    arrivals = [*reports, *backs]
    tail_max = data.draw(st.sampled_from([1, 2, 128]))
    state, history = booked(arrivals, SPOT, kept_by, [1] * len(arrivals), tail_max)
    standing = sorted((r for r in reports if r not in gone), key=position.occurrence_of)
    expected, _ = booked(standing, SPOT, kept_by) if standing else (None, [])
    ours = current(state)
    if expected is None:
        assert (ours[0], ours[1], ours[2], ours[3], ours[4]) == (0, 0, (), 0, 0)
    else:
        assert without_nothing(ours) == without_nothing(current(expected))
    assert current(position.unfold(history)) == ours


def without_nothing(book):
    """A fee currency with nothing left in it is as good as none."""
    return tuple({k: v for k, v in part.items() if v} if isinstance(part, dict) else part for part in book)
