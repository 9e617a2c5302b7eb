"""Shadow limits: what each would have led to, had it been active, decided by the same rules as if it were.

A shadow limit is decided on the state with the limit active, instead of the active one of its scope and measure. What
it would have recorded is wrapped in `ShadowDecided`, and has no other effect: no order is refused, no policy reacts.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime

from domain.risk.events import (
    AssessmentMissed,
    AssessmentResumed,
    BreachCleared,
    DayOpened,
    HoldRefused,
    LimitBreached,
    RiskEvent,
    ShadowDecided,
    ShadowEvent,
)
from domain.risk.measures import Measure
from domain.risk.monitoring import after, assessed, positions_assessed
from domain.risk.pre_trade import checked
from domain.risk.requests import AdjustHold, AssessMarks, PlaceHold
from domain.risk.state import Risk, Shadow

_REPORTED = (LimitBreached, BreachCleared, AssessmentMissed, AssessmentResumed)


def with_shadows_checked(
    risk: Risk, request: PlaceHold | AdjustHold, events: tuple[RiskEvent, ...]
) -> tuple[RiskEvent, ...]:
    """The events of a pre-trade check, with what the shadow limits would have led to before the last, the decision.

    An order that is refused anyway has no refusal by a shadow limit on record.
    """
    terms = request.terms
    shadows = risk.shadows_over(terms.strategy_id, terms.instrument_id, request.contract.base)
    if not shadows:
        return events
    *opened, decision = events
    state = after(risk, opened)
    decided: list[RiskEvent] = []
    for shadow in shadows:
        for event in checked(state.as_if_active(shadow), request):
            is_opening = isinstance(event, DayOpened) and shadow.limit.measure is Measure.MAX_DAILY_LOSS
            if is_opening or (isinstance(event, HoldRefused) and not isinstance(decision, HoldRefused)):
                assert isinstance(event, ShadowEvent)
                decided.append(_decided(shadow, event))
    return (*opened, *decided, decision)


def without_refusals(events: Iterable[RiskEvent]) -> tuple[RiskEvent, ...]:
    """The events but the refusals by shadow limits: of an order that another check refuses."""
    return tuple(
        event for event in events if not (isinstance(event, ShadowDecided) and isinstance(event.decided, HoldRefused))
    )


def with_shadows_assessed(risk: Risk, request: AssessMarks, events: tuple[RiskEvent, ...]) -> tuple[RiskEvent, ...]:
    """The events of monitoring, and behind them those of every shadow limit."""
    if not risk.shadows:
        return events
    state = after(risk, events)
    decided: list[RiskEvent] = []
    for shadow in state.shadows.values():
        if shadow.limit.measure.is_held:
            decided += _wrapped(shadow, assessed(state.as_if_active(shadow), request))
    return (*events, *decided)


def shadow_positions_assessed(risk: Risk, strategy_id: str, instrument_id: str, at: datetime) -> list[RiskEvent]:
    """What shadow limits would have recorded of positions in one instrument, after a change that was not an order."""
    decided: list[RiskEvent] = []
    for shadow in risk.shadows.values():
        if shadow.limit.measure is Measure.MAX_POSITION and not shadow.limit.scope.is_of_coin:
            state = risk.as_if_active(shadow)
            decided += _wrapped(shadow, positions_assessed(state, strategy_id, instrument_id, at))
    return decided


def _wrapped(shadow: Shadow, events: Iterable[RiskEvent]) -> Iterator[RiskEvent]:
    for event in events:
        is_opening = isinstance(event, DayOpened) and shadow.limit.measure is Measure.MAX_DAILY_LOSS
        if is_opening or isinstance(event, _REPORTED):
            assert isinstance(event, ShadowEvent)
            yield _decided(shadow, event)


def _decided(shadow: Shadow, event: ShadowEvent) -> ShadowDecided:
    limit = shadow.limit
    return ShadowDecided(limit.account_id, limit.scope, limit.measure, limit.version, decided=event)
