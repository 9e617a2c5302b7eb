"""Sums in whole numbers are those of the costing they stand for, to the last digit."""

from decimal import Decimal as D

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.account import CostBasis, Costing, FeePolicy
from domain.instrument import Contract, Kind
from domain.position import Entry, Lot, Transfer, costing
from domain.position.entries import entry_of_report
from domain.position.whole_numbers import (
    MONEY_PLACES,
    UNITS,
    State,
    TooFine,
    Totals,
    book_of,
    decimal_of,
    replayed,
    rows_of,
    state_of,
)
from domain.values import ZERO, Occurrence, Side
from tests.domain.position.booking import INVERSE, KEY, LINEAR, SPOT, T0, fill

fine = st.tuples(st.integers(1, 10**9), st.sampled_from((9, 17))).map(lambda drawn: D(drawn[0]).scaleb(-drawn[1]))
numbers = st.integers(1, 500).map(lambda n: D(n).scaleb(-2)) | fine
fees = st.tuples(st.integers(0, 300).map(lambda n: D(n).scaleb(-2)), st.sampled_from(["USDT", "BTC", "BNB", "USDT"]))
conventions = st.builds(Costing, st.sampled_from(CostBasis), st.sampled_from(FeePolicy), st.sampled_from([2, 8, 18]))
contracts = st.sampled_from([SPOT, LINEAR, INVERSE, Contract(Kind.SPOT, "BTC", "USDT", "USDT", D(1))])
entries = st.lists(
    st.tuples(st.sampled_from(["BUY", "SELL"]), numbers, numbers, fees, st.integers(0, 9), st.integers(0, 30)),
    max_size=30,
)


def entry(n: int, contract: Contract, side: str, qty: D, px: D, fee: tuple[D, str], kind: int, at: int) -> Entry:
    trade = replace(fill(n, side, str(qty), str(px), str(fee[0]), fee[1], at=at), contract=contract)
    if kind:
        ordered, named = entry_of_report(trade), dict.fromkeys((f"E{at:05}", f"E{n - 1:05}"))  # each once
        return replace(ordered, lot_ids=tuple(named)) if kind == 1 else ordered
    sign = Side(side).sign
    moved = Transfer(KEY, f"T{n}", Side(side), qty, contract.value(sign * qty, px), trade.transact_time)
    if at % 2:
        half = qty / 2
        lots = tuple(Lot(f"L{n}-{m}", Occurrence(T0, m, f"L{n}"), sign * half, D(m), sign * half, D(m)) for m in (1, 2))
        moved = replace(moved, lots=lots, cost=D(3))
    return entry_of_report(replace(moved, contract=contract))


@given(entries, contracts, conventions, st.integers(1, 8))
@settings(max_examples=1500, deadline=None)
def test_sums_and_books_are_those_of_the_costing(drawn, contract, kept_by, size):
    ordered = sorted((entry(n, contract, *row) for n, row in enumerate(drawn, 1)), key=lambda one: one.occurrence)
    for units in UNITS:
        try:
            replay(ordered, kept_by, size, units)
        except TooFine:
            assert units is not UNITS[-1]
        else:
            break


def replay(ordered, kept_by, size, units):
    state, total = State(0, 0), Totals()
    for at in range(0, len(ordered), size):
        rows = rows_of(ordered[at : at + size], kept_by, units)
        state, more = replayed(state, rows, kept_by, units)
        total = total.plus(more)
        effects, book = costing.replay(ordered[: at + size], kept_by)
        assert book_of(state, kept_by.cost_basis, units) == book
        assert state_of(book, units) == state
        sums = (
            sum((effect.cost for effect in effects), ZERO),
            sum((effect.realized for effect in effects), ZERO),
            sum((effect.realized + effect.rounding for effect in effects), ZERO),
            sum((effect.fee_cost for effect in effects), ZERO),
        )
        assert tuple(decimal_of(count, MONEY_PLACES) for count in total) == sums
