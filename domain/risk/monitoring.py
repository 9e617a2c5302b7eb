"""Monitoring: what is held, without an order, against every limit; the trading day's opening; the equity's high."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial

from domain.errors import RequestRefused
from domain.marks import MARK_AGE_MAX, MILLISECOND, MarkSeen, Prices
from domain.risk.capital import CapitalBasis, Equity, EquityUsed, ScopeHigh
from domain.risk.coins import by_account
from domain.risk.events import (
    AssessmentMissed,
    AssessmentResumed,
    BreachCleared,
    CapitalStated,
    DayOpened,
    EquityAssessed,
    LimitBreached,
    LimitSet,
    RiskEvent,
)
from domain.risk.exposure import day_of
from domain.risk.measures import ANYWHERE, Measure
from domain.risk.requests import AssessMarks, StateCapital
from domain.risk.state import Risk, evolve
from domain.risk.usage import Meter
from domain.values import ZERO, Money, exact

SECONDS_MAX = Decimal(10**9)


def after(risk: Risk, events: Iterable[RiskEvent]) -> Risk:
    """The state after events."""
    for event in events:
        risk = evolve(risk, event)
    return risk


def age_allowed(limits: Iterable[LimitSet]) -> timedelta:
    """The greatest age of a fresh mark: that of the tightest MAX_MARK_AGE limit among these, else a minute."""
    seconds = [limit.limit for limit in limits if limit.measure is Measure.MAX_MARK_AGE and limit.limit is not None]
    if not seconds:
        return MARK_AGE_MAX
    return int(min(*seconds, SECONDS_MAX).scaleb(3)) * MILLISECOND


def day_opened(risk: Risk, account_id: str, prices: Prices, at: datetime) -> tuple[DayOpened, ...]:
    """The first marks of the trading day for the positions at its start, as far as they are known now."""
    start = day_of(at, risk.starts_at_hour)
    seen: dict[str, MarkSeen] = {}
    for instrument_id, _, cell in risk.exposure.all():
        known = risk.opening_marks.get(instrument_id)
        is_open = known is not None and known[0] >= start
        if (
            not is_open
            and instrument_id not in seen
            and cell.opened(start).quantity
            and prices.has_fresh(instrument_id)
        ):
            seen[instrument_id] = prices.see(instrument_id)
    if not seen:
        return ()
    return (DayOpened(account_id, start, tuple(seen[name] for name in sorted(seen)), at),)


def assessed(risk: Risk, request: AssessMarks) -> tuple[RiskEvent, ...]:
    """The events of monitoring what is held at new marks; only changes are events."""
    age_max = age_allowed(limit for limit in risk.active if limit.scope == ANYWHERE)
    day_from = day_of(request.transact_time, risk.starts_at_hour)

    def meter(state: Risk) -> Meter:
        at = request.transact_time
        prices = Prices(
            request.marks, at, age_max, state.conversions,
            others=partial(state.traded_pairs, request.funds, request.wallets),
        )  # fmt: skip
        capital, wallets = state.capital(request.funds), by_account(request.wallets)
        return Meter(
            state.exposure, prices, capital, day_from, opening_marks=state.opening_marks, at=at, wallets=wallets
        )

    events: list[RiskEvent] = []
    if request.capital is not None:
        events += stated(risk, StateCapital(request.account_id, request.capital, request.transact_time))
    events += day_opened(risk, request.account_id, meter(risk).prices, request.transact_time)
    state = after(risk, events)
    capitalised = _equity_assessed(state, request, meter(state))
    events += capitalised
    state = after(state, capitalised)
    for limit in state.active:
        if limit.measure.is_held:
            events += _limit_assessed(state, limit, meter(state), request)
    return tuple(events)


def stated(risk: Risk, request: StateCapital) -> tuple[CapitalStated, ...]:
    """The statement of a capital, or its withdrawal; () if it is in effect."""
    capital = None if request.capital is None else Money(exact(request.capital.amount), request.capital.currency)
    if capital == (risk.statement.capital if risk.statement is not None else None):
        return ()
    return (CapitalStated(request.account_id, capital, request.transact_time),)


def _equity_assessed(risk: Risk, request: AssessMarks, meter: Meter) -> tuple[EquityAssessed, ...]:
    """The capital and the highest gains, if either has changed, as far as they can be measured.

    Where they cannot, AssessmentMissed of the limits that need them records why.
    """
    known, statement = risk.equity, risk.statement
    try:
        currency = meter.capital.currency
    except RequestRefused:
        return ()
    basis = CapitalBasis.BOOK if statement is None else CapitalBasis.STATED
    before = meter.capital.before
    high = before.high if before is not None else None
    used: EquityUsed | None = None
    try:
        used = meter.equity()
    except RequestRefused:
        if statement is None:
            return ()
    if used is not None and (high is None or used.gain > high):
        high = used.gain
    assert used is not None or statement is not None, "one of them has the capital"
    capital = used.capital if used is not None else statement.capital.amount if statement is not None else ZERO
    paid_in = meter.capital.funds.paid_in if basis is CapitalBasis.BOOK and meter.capital.funds is not None else ()
    highs = _highs(risk, meter, before, used)
    now = Equity(currency, exact(capital), high, basis=basis, paid_in=paid_in, highs=highs)
    if known == now:
        return ()
    return (
        EquityAssessed(
            request.account_id, currency, capital=now.capital, gain=used.gain if used is not None else None, high=high,
            marks=meter.prices.seen, transact_time=request.transact_time, basis=basis, paid_in=paid_in, highs=highs,
        ),
    )  # fmt: skip


def _highs(risk: Risk, meter: Meter, before: Equity | None, used: EquityUsed | None) -> tuple[ScopeHigh, ...]:
    """The highest gains of the scopes, other than the whole, that have a limit of drawdown."""
    drawdowns = [limit for limit in risk.checked if limit.measure is Measure.MAX_DRAWDOWN and limit.scope != ANYWHERE]
    found = []
    for scope in dict.fromkeys(limit.scope for limit in drawdowns):
        high = before.high_of(scope) if before is not None else None
        if used is not None:
            gain = meter.scope_gain(scope, used)
            high = gain if high is None else max(high, gain)
        if high is not None:
            found.append(ScopeHigh(scope, high))
    return tuple(found)


def _limit_assessed(risk: Risk, limit: LimitSet, meter: Meter, request: AssessMarks) -> list[RiskEvent]:
    at = (limit.scope, limit.measure)
    try:
        held = meter.held(limit.measure, limit.scope, limit.currency)
    except RequestRefused as missing:
        if at in risk.missed:
            return []
        facts = {name: str(fact) for name, fact in missing.facts.items()}
        return [
            AssessmentMissed(limit.account_id, *at, rule=missing.rule, facts=facts, transact_time=request.transact_time)
        ]
    events: list[RiskEvent] = []
    if at in risk.missed:
        events.append(AssessmentResumed(limit.account_id, *at, request.transact_time))
    gone = [known[2] for known in risk.breaches if known[:2] == at and known[2] not in held]
    for subject, used in (held | dict.fromkeys(sorted(gone), ZERO)).items():
        events += breaches(risk, limit, subject, used, seen=meter.prices.seen, at=request.transact_time)
    return events


def positions_assessed(risk: Risk, strategy_id: str, instrument_id: str, at: datetime) -> list[RiskEvent]:
    """The breaches and ends of breaches of position limits in one instrument, after a change that was not an order."""
    events: list[RiskEvent] = []
    for limit in risk.active:
        if limit.measure is not Measure.MAX_POSITION or limit.scope.is_of_coin:
            continue  # what is held by coin is measured when marks arrive
        cell_assets = {cell.contract.base for _, cell in risk.exposure.of(instrument_id) if cell.contract}
        if limit.scope.covers(strategy_id, instrument_id, next(iter(cell_assets), None)):
            used, _ = risk.exposure.widest(limit.scope.strategy_id, instrument_id)
            events += breaches(risk, limit, subject=instrument_id, used=used, seen=(), at=at)
    return events


def stays_within(risk: Risk, strategy_id: str, instrument_id: str, wider: Decimal) -> bool:
    """Whether a position in one instrument that widens by at most `wider` can neither breach a limit nor end a breach;
    False also where that needs a full check.
    """
    for limit in risk.active:
        scope = limit.scope
        if limit.measure is not Measure.MAX_POSITION or scope.is_of_coin:
            continue
        if not scope.covers(strategy_id, instrument_id, scope.asset):
            continue
        if (scope, limit.measure, instrument_id) in risk.breaches:
            return False
        used, _ = risk.exposure.widest(scope.strategy_id, instrument_id)
        if limit.limit is None or used + wider > limit.limit:
            return False
    return True


def breaches(
    risk: Risk, limit: LimitSet, subject: str, used: Decimal, seen: tuple[MarkSeen, ...], at: datetime
) -> list[RiskEvent]:
    """The event of a new breach, or of the end of one."""
    assert limit.limit is not None, "a limit that is lifted is not active"
    is_known = (limit.scope, limit.measure, subject) in risk.breaches
    is_breached = used > limit.limit
    if is_known == is_breached:
        return []
    event = LimitBreached if is_breached else BreachCleared
    return [
        event(
            limit.account_id, limit.scope, limit.measure, subject, version=limit.version, limit=limit.limit,
            currency=limit.currency, used=used, marks=seen, transact_time=at,
        )
    ]  # fmt: skip
