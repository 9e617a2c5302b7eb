"""Fills of one position, booked one by one or in batches, and random ones."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from functools import reduce

from hypothesis import strategies as st
from msgspec.structs import replace

from domain import position
from domain.account import CostBasis, Costing, FeePolicy
from domain.instrument import Contract, Kind
from domain.position import (
    Filled,
    PositionKey,
)
from domain.values import Liquidity, Money, Side

T0 = datetime(2026, 1, 2, tzinfo=UTC)
KEY = PositionKey("main", "trend", "BTCUSDT.SIM")
SPOT = Contract(Kind.SPOT, "BTC", "USDT", "USDT")
LINEAR = Contract(Kind.LINEAR, "BTC", "USDT", "USDT", D("0.1"))
INVERSE = Contract(Kind.INVERSE, "BTC", "USD", "BTC", D(100))
AVERAGE = Costing()


def fill(n, side, qty, px, fee="0", paid_in="USDT", at=None):
    at = T0 + timedelta(seconds=n if at is None else at)
    return Filled(
        KEY, SPOT, f"O{n}", f"E{n:05}", n, Side(side), D(qty), D(px), Money(D(fee), paid_in), Liquidity.TAKER, at
    )


def booked(reports, contract=SPOT, conventions=AVERAGE, batches=None, tail_max=position.TAIL_MAX):
    """The position and its events after reports arrive in batches of the given sizes (one each by default)."""
    state, history = None, []
    sizes = iter(batches or [1] * len(reports))
    while reports:
        batch, reports = reports[: (size := next(sizes, len(reports)))], reports[size:]
        state = position.unfold(history) if position.needs_history(state, batch) else state
        known = state
        events = position.admit(
            known, [replace(r, contract=contract) if hasattr(r, "contract") else r for r in batch], conventions
        )
        history += events
        state = reduce(lambda s, e: position.evolve(s, e, tail_max=tail_max), events, state)
    return state, history


def current(state):
    """The current book: all that must not depend on the order of arrival."""
    book = state.book
    return (
        book.quantity,
        book.cost,
        tuple(book.lots),
        state.realized,
        state.rounding,
        state.fee_cost,
        state.fees,
        state.funding,
    )


quantities = st.integers(1, 400).map(lambda n: D(n).scaleb(-2))
prices = st.integers(100, 99999).map(lambda n: D(n).scaleb(-2))
fees = st.tuples(st.integers(0, 99).map(lambda n: D(n).scaleb(-4)), st.sampled_from(["USDT", "BTC", "BNB"]))
trades = st.lists(
    st.tuples(st.sampled_from(["BUY", "SELL"]), quantities, prices, fees, st.integers(0, 20)), max_size=25
).map(lambda rows: [fill(n, side, qty, px, *fee, at=at) for n, (side, qty, px, fee, at) in enumerate(rows, 1)])
contracts = st.sampled_from([SPOT, LINEAR, INVERSE])
conventions = st.builds(Costing, st.sampled_from(CostBasis), st.sampled_from(FeePolicy), st.sampled_from([2, 8, 18]))
