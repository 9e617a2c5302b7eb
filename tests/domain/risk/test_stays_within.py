"""What is seen without folding is what folding shows: a booking breaches a position limit, or ends a breach, or not."""

from datetime import UTC, datetime
from decimal import Decimal as D
from functools import reduce
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from domain import risk
from domain.instrument import Contract, Kind
from domain.order import OrderKey
from domain.risk import Measure, PostHold, RestateHold, Risk, Scope, SetLimit, positions_assessed
from domain.values import Side

T0 = datetime(2026, 1, 2, tzinfo=UTC)
SPOT = Contract(Kind.SPOT, "BTC", "USDT", "USDT")
INSTRUMENTS = ("BTCUSDT.SIM", "BTCEUR.SIM")
STRATEGIES = ("trend", "maker")

SCOPES = (
    Scope(), Scope("trend"), Scope(None, INSTRUMENTS[0]), Scope("maker", INSTRUMENTS[1]), Scope(asset="BTC"),
    Scope(asset="ETH"), Scope(venue="SIM"),
)  # fmt: skip
limits = st.builds(  # a limit may be raised over a breach, or lifted
    lambda scope, limit: SetLimit("main", scope, Measure.MAX_POSITION, None if limit is None else D(limit), None, T0),
    st.sampled_from(SCOPES),
    st.none() | st.integers(0, 6),
)
keys = st.builds(OrderKey, st.just("main"), st.sampled_from("ABCD"))
postings = st.builds(
    lambda key, strategy, instrument, quantity: PostHold(
        key, strategy, instrument, "E", D(quantity), D(abs(quantity)), T0, D(0), (), SPOT
    ),
    keys, st.sampled_from(STRATEGIES), st.sampled_from(INSTRUMENTS), st.integers(-4, 4),
)  # fmt: skip
holds = st.builds(
    lambda key, strategy, instrument, side, quantity: RestateHold(
        key, strategy, instrument, side, D(quantity), SPOT, T0
    ),
    keys, st.sampled_from(STRATEGIES), st.sampled_from(INSTRUMENTS), st.sampled_from(Side), st.integers(0, 5),
)  # fmt: skip


@given(st.lists(limits, max_size=4), st.lists(postings | postings | holds | limits, max_size=25))
def test_a_limit_is_breached_when_folding_shows_it(requested: list[SetLimit], shown: list[Any]) -> None:
    state = Risk()
    for step in [*requested, *shown]:
        if isinstance(step, SetLimit):
            events: tuple[Any, ...] = risk.decide(state, step)
        elif events := risk.admit(state, step):
            moved = risk.evolve(state, events[0])
            folded = positions_assessed(moved, step.strategy_id, step.instrument_id, step.transact_time)
            assert list(events[1:]) == folded
        state = reduce(risk.evolve, events, state)


def test_a_breach_under_a_limit_that_was_raised_ends_with_the_next_fill() -> None:
    low, high = (SetLimit("main", Scope(), Measure.MAX_POSITION, D(limit), None, T0) for limit in (1, 9))
    bought = PostHold(OrderKey("main", "A"), "trend", INSTRUMENTS[0], "E", D(2), D(2), T0, D(0), (), SPOT)
    state = reduce(risk.evolve, risk.decide(None, low), Risk())
    breached = risk.admit(state, bought)
    assert [type(event).__name__ for event in breached] == ["HoldPosted", "LimitBreached"]
    state = reduce(risk.evolve, breached, state)
    state = reduce(risk.evolve, risk.decide(state, high), state)
    assert [type(event).__name__ for event in risk.admit(state, bought)] == ["HoldPosted", "BreachCleared"]
