"""Draft and shadow limits: they change no decision, and what a shadow limit records is what it would have decided."""

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from functools import reduce
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from domain import risk
from domain.errors import RequestRefused
from domain.instrument import Contract, Kind
from domain.ledger import Recorded, schema
from domain.order import OrderKey, OrderTerms, OrdType
from domain.risk import (
    AdjustHold,
    AssessMarks,
    BreachCleared,
    HoldAdjusted,
    HoldPlaced,
    HoldRefused,
    LimitBreached,
    LimitSet,
    LimitStatus,
    Measure,
    PlaceHold,
    PostHold,
    Risk,
    RiskReport,
    Scope,
    SetLimit,
    ShadowDecided,
    VoidHold,
)
from domain.values import Mark, Money, Side
from tests.given import Given

T0 = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
BTC, ETH = "BTCUSDT.SIM", "ETHUSDT.SIM"
CONTRACTS = {
    BTC: Contract(Kind.SPOT, "BTC", "USDT", "USDT"),
    ETH: Contract(Kind.LINEAR, "ETH", "USDT", "USDT"),
}
DRAFT, SHADOW, ACTIVE = LimitStatus
DECIDED = (HoldPlaced, HoldRefused, HoldAdjusted)
REPORTED = (HoldRefused, LimitBreached, BreachCleared)
after = Given(risk)


def limit(value: Any, status: LimitStatus = ACTIVE, measure: Measure = Measure.MAX_POSITION, **scope: str) -> SetLimit:
    currency = "USDT" if measure.is_money else None
    number = None if value is None else D(value)
    return SetLimit("main", Scope(**scope), measure, number, currency, T0, status)


def limit_set(value: Any, status: LimitStatus, version: int, moved_from: LimitStatus | None = None) -> LimitSet:
    number = None if value is None else D(value)
    return LimitSet("main", Scope(), Measure.MAX_POSITION, number, None, version, T0, status, moved_from)


# A limit is set in a status, and moved to another one.


def test_a_limit_is_moved_through_the_statuses_and_back_by_the_same_request():
    drafted = limit_set(5, DRAFT, 1)
    shadowed, activated = limit_set(5, SHADOW, 1, DRAFT), limit_set(5, ACTIVE, 1, SHADOW)
    scene = after().when(limit(5, DRAFT)).then(drafted).repeated().then()
    scene = after(drafted).when(limit(5, SHADOW)).then(shadowed).repeated().then()
    state = after(drafted, shadowed).state
    assert not state.active and [each.limit.limit for each in state.shadows.values()] == [5]
    scene = after(drafted, shadowed).when(limit(5)).then(activated).repeated().then()
    assert [each.limit for each in scene.state.active] == [5] and not scene.state.shadows
    back = after(drafted, shadowed, activated).when(limit(5, DRAFT)).then(limit_set(5, DRAFT, 2, ACTIVE))
    assert not back.state.active


def test_limits_of_one_scope_and_measure_exist_side_by_side_in_each_status():
    shadowed, active, drafted = limit_set(5, SHADOW, 1), limit_set(10, ACTIVE, 1), limit_set(7, DRAFT, 1)
    state = after(shadowed).when(limit(10)).then(active).state
    assert [each.limit for each in state.active] == [10] and len(state.shadows) == 1
    scene = after(shadowed, active).when(limit(7, DRAFT)).then(drafted)
    lifted = scene.when(limit(None, SHADOW)).then(limit_set(None, SHADOW, 2))
    assert [each.limit for each in lifted.state.active] == [10] and not lifted.state.shadows
    assert lifted.state.limit_set(Scope(), Measure.MAX_POSITION, DRAFT).limit == 7


def test_an_active_limit_is_stored_as_it_always_was_and_another_status_is_read_back():
    for event in (limit_set(5, ACTIVE, 1), limit_set(5, SHADOW, 2, DRAFT)):
        recorded = Recorded("limit:main", 1, T0, "alice", "", event)
        stored = schema.encode(recorded)
        assert schema.decode("LimitSet", stored) == recorded
        assert (b"status" in stored) is (b"moved_from" in stored) is (event.status is SHADOW)


# What shadow limits lead to.


def order(qty: Any, name: str = "A", side: Side = Side.BUY, instrument: str = BTC, price: Any = 100) -> PlaceHold:
    terms = OrderTerms("trend", instrument, side, OrdType.LIMIT, D(qty), D(price))
    return PlaceHold(OrderKey("main", name), terms, CONTRACTS[instrument], None, T0)


def story(*requests: Any) -> tuple[Risk | None, list[Any]]:
    """The state after requests and reports, and the events they led to."""
    state: Risk | None = None
    events: list[Any] = []
    for request in requests:
        rule: Any = risk.admit if isinstance(request, RiskReport) else risk.decide
        new = rule(state, request)
        state = reduce(risk.evolve, new, state)
        events += new
    return state, events


def test_an_order_beyond_a_shadow_limit_passes_and_the_refusal_is_on_record_with_its_numbers():
    state, events = story(limit(10), limit(5, SHADOW), order(4), order(3, "B"))
    (would,) = (event for event in events if isinstance(event, ShadowDecided))
    assert (would.account_id, would.scope, would.measure, would.version) == ("main", Scope(), Measure.MAX_POSITION, 1)
    assert isinstance(would.decided, HoldRefused)
    assert would.decided.key == OrderKey("main", "B") and would.decided.failed is not None
    assert (would.decided.failed.limit, would.decided.failed.used, would.decided.failed.asked) == (5, 4, 7)
    assert isinstance(events[-1], HoldPlaced) and len(state.holds) == 2


def test_an_order_that_is_refused_anyway_is_no_refusal_of_a_shadow_limit():
    _, events = story(limit(10), limit(5, SHADOW), order(11))
    assert isinstance(events[-1], HoldRefused) and not any(isinstance(event, ShadowDecided) for event in events)


def test_a_draft_is_not_checked():
    _, events = story(limit(5, DRAFT), order(11))
    assert [type(event) for event in events] == [LimitSet, HoldPlaced]


def test_a_shadow_limit_that_a_fill_exceeds_is_on_record_and_no_breach():
    filled = PostHold(OrderKey("main", ""), "trend", BTC, "E", D(7), D(7), T0, contract=CONTRACTS[BTC])
    back = replace(filled, exec_id="F", quantity=D(-3))
    state, events = story(limit(10), limit(5, SHADOW), filled, back)
    decided = [event.decided for event in events if isinstance(event, ShadowDecided)]
    assert [(type(event), event.used) for event in decided] == [(LimitBreached, 7), (BreachCleared, 4)]
    assert not state.breaches


def test_a_shadow_limit_is_exceeded_by_marks_alone():
    filled = PostHold(
        OrderKey("main", ""), "trend", BTC, "E", D(1), D(1), T0, cost=D(100), contract=CONTRACTS[BTC]
    )  # fmt: skip
    watched = [
        AssessMarks("main", (Mark(BTC, D(price), "SIM", T0 + timedelta(seconds=s)),), T0 + timedelta(seconds=s))
        for s, price in ((1, 100), (2, 80), (3, 120))
    ]
    _, events = story(limit(15, SHADOW, Measure.MAX_DAILY_LOSS), filled, *watched)
    decided = [event.decided for event in events if isinstance(event, ShadowDecided)]
    assert [(type(event), event.used) for event in decided] == [(LimitBreached, 20), (BreachCleared, 0)]


# Properties, over any day.

OPENS_AT = datetime(2026, 3, 3, tzinfo=UTC)
STEP, STEPS = timedelta(milliseconds=300), 80
seeds = st.integers(0, 2**32)
measures = st.sampled_from(list(Measure))


def day_of(seed: int, shadowed: Measure) -> list[Any]:
    """A day of requests and reports around midnight, with positions, capital and marks from before."""
    draw = random.Random(seed)
    at = OPENS_AT - STEP * (STEPS // 2)
    capital = AssessMarks(
        "main", tuple(Mark(name, D(100), "SIM", at) for name in CONTRACTS), at, Money(D(1000), "USDT")
    )
    held = [
        PostHold(
            OrderKey("main", ""), strategy, name, f"E-{strategy}", D(2), D(2), at, cost=D(200), contract=CONTRACTS[name]
        )
        for name, strategy in ((BTC, "trend"), (ETH, "maker"))
    ]
    steps = [(draw.randrange(12), draw.randrange(12), draw.randrange(12), draw.randrange(12)) for _ in range(STEPS)]
    return [*held, capital, *(request_of(step, number, shadowed) for number, step in enumerate(steps))]


def is_shadow_or_draft(event: Any) -> bool:
    return isinstance(event, ShadowDecided) or (isinstance(event, LimitSet) and event.status is not ACTIVE)


def set_of(measure: Measure, a: int, b: int, status: LimitStatus) -> SetLimit:
    scope = Scope() if measure is Measure.MAX_DRAWDOWN else (Scope(), Scope("trend"), Scope(None, BTC))[a % 3]
    number = D(b % 5) if measure.is_count or measure is Measure.MAX_MARK_AGE else D(b) / 2
    if measure.is_money:
        number = D(b * 40)
    if measure in (Measure.MAX_DRAWDOWN, Measure.PRICE_COLLAR, Measure.MAX_LEVERAGE, Measure.MAX_CONCENTRATION):
        number = D(b) / 16
    currency = "USDT" if measure.is_money else None
    return SetLimit("main", scope, measure, number if b else None, currency, T0, status)


def request_of(step: tuple[int, int, int, int], number: int, shadowed: Measure) -> Any:
    """A request or report of a day, chosen by small numbers."""
    kind, a, b, c = step
    at = OPENS_AT + STEP * (number - STEPS // 2)
    instrument, strategy, side = (BTC, ETH)[a % 2], ("trend", "maker")[b % 2], (Side.BUY, Side.SELL)[c % 2]
    marks = tuple(
        Mark(name, D(80 + 4 * each), "SIM", at - timedelta(seconds=age))
        for name, each, age in ((BTC, a, b), (ETH, c, 0))[: 2 if kind % 3 else c % 3]
    )
    key = OrderKey("main", f"N-{max(number - 1 - c % 3, 0)}")
    terms = OrderTerms(
        strategy, instrument, side, OrdType.LIMIT if b % 3 else OrdType.MARKET, D(1 + c) / 2,
        D(85 + 3 * b) if b % 3 else None,
    )  # fmt: skip
    match kind:
        case 0:
            return set_of(tuple(Measure)[(a * 12 + c) % len(Measure)], a, b, ACTIVE)
        case 1:
            return set_of(shadowed, a, b, SHADOW if c % 5 else DRAFT)
        case 2 | 3 | 4 | 5 | 10:
            name = OrderKey("main", f"N-{number}")
            return PlaceHold(name, terms, CONTRACTS[instrument], None, at, marks)
        case 6:
            change = replace(terms, order_qty=terms.order_qty + 1)
            return AdjustHold(key, f"R-{number}", change, change.order_qty, CONTRACTS[instrument], at, marks)
        case 7:
            qty = side.sign * D(1 + b) / 2
            return PostHold(
                key, strategy, instrument, f"E-{number}", qty, abs(qty), at, cost=qty * 100,
                gains=(Money(D(a - 6), "USDT"),), contract=CONTRACTS[instrument],
            )  # fmt: skip
        case 8:
            return VoidHold(key, at)
        case _:
            return AssessMarks("main", marks, at, Money(D(1000), "USDT") if c % 2 else None)


def decided(state: Risk | None, request: Any) -> tuple[Any, ...]:
    rule: Any = risk.admit if isinstance(request, RiskReport) else risk.decide
    try:
        return tuple(rule(state, request))
    except RequestRefused:
        return ()


@given(seed=seeds, measure=measures)
@settings(max_examples=80)
def test_an_active_limit_decides_the_same_with_any_limits_beside_it(seed, measure):
    with_others: Risk | None = None
    alone: Risk | None = None
    for request in day_of(seed, measure):
        events = decided(with_others, request)
        with_others = reduce(risk.evolve, events, with_others)
        if isinstance(request, SetLimit) and request.status is not ACTIVE:
            if any(isinstance(event, LimitSet) and event.moved_from is ACTIVE for event in events):
                lifted = replace(request, status=ACTIVE, limit=None)  # moved away: it is no longer active
                alone = reduce(risk.evolve, decided(alone, lifted), alone)
            continue
        same = decided(alone, request)
        alone = reduce(risk.evolve, same, alone)
        kept = [event for event in events if not is_shadow_or_draft(event)]
        assert [_plain(event) for event in kept] == [_plain(event) for event in same]


def _plain(event: Any) -> Any:
    """An event without what differs where a limit was moved: the versions, and where it came from."""
    if isinstance(event, LimitSet):
        return replace(event, moved_from=None, version=0)
    if isinstance(event, DECIDED):
        checks = tuple(replace(check, version=0) for check in event.judged)
        failed = getattr(event, "failed", None)
        changes: dict[str, Any] = {"judged": checks} | ({"failed": replace(failed, version=0)} if failed else {})
        return replace(event, **changes)
    return replace(event, version=0) if hasattr(event, "version") else event


@pytest.mark.parametrize("measure", list(Measure))
@given(seed=seeds, first=st.tuples(st.integers(0, 11), st.integers(1, 11)))
@settings(max_examples=15)
def test_a_shadow_limit_records_what_it_would_have_decided_had_it_been_active(measure, seed, first):
    """Given the same accepted orders: another state has it active, and goes on with what was decided in fact."""
    shadow = set_of(measure, *first, SHADOW)
    if shadow.limit is None:
        return
    state = reduce(risk.evolve, decided(None, shadow), None)
    active = reduce(risk.evolve, decided(None, replace(shadow, status=ACTIVE)), None)
    at = (shadow.scope, shadow.measure)
    for request in day_of(seed, measure):
        is_beside = isinstance(request, SetLimit) and (request.scope, request.measure) == at
        if is_beside and (request.status is SHADOW or request.limit == shadow.limit):
            continue  # another limit than this one, or a move of it
        events, would = decided(state, request), () if is_beside else decided(active, request)
        state = reduce(risk.evolve, events, state)
        found = [event.decided for event in events if _is_of(event, at)]
        is_refused = bool(events) and isinstance(events[-1], HoldRefused)
        expected = [event for event in would if _is_caused(event, at, is_refused=is_refused)]
        assert [_numbers(event) for event in found if isinstance(event, REPORTED)] == [_numbers(e) for e in expected]
        real = [event for event in events if not isinstance(event, ShadowDecided)]
        active = reduce(risk.evolve, _in_fact(would, real), active)


def _is_of(event: Any, at: tuple[Scope, Measure]) -> bool:
    return isinstance(event, ShadowDecided) and (event.scope, event.measure) == at


def _is_caused(event: Any, at: tuple[Scope, Measure], *, is_refused: bool) -> bool:
    """Whether an event would be there because of the limit alone."""
    if isinstance(event, HoldRefused):
        return not is_refused
    return isinstance(event, LimitBreached | BreachCleared) and (event.scope, event.measure) == at


def _numbers(event: Any) -> Any:
    if not isinstance(event, HoldRefused):
        return replace(event, version=0)
    failed = event.failed and replace(event.failed, version=0)
    return (event.key, event.rule, failed, event.facts, event.quantity, event.notional, event.change_id)


def _in_fact(would: tuple[Any, ...], real: list[Any]) -> list[Any]:
    """What would be recorded, but with the decision on an order that was made in fact."""
    last = real[-1] if real and isinstance(real[-1], DECIDED) else None
    return [last if isinstance(event, DECIDED) and last is not None else event for event in would]


@pytest.mark.parametrize("measure", list(Measure))
def test_every_measure_may_be_in_shadow(measure):
    state, _ = story(set_of(measure, 0, 1, SHADOW))
    assert [each.limit.measure for each in state.shadows.values()] == [measure]
