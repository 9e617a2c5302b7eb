"""Risk decisions: an account's limits, kill switch and holds, checked together with all that it holds and has working.

One stream an account: it has the position of every strategy in every instrument and every working order, so that two
orders racing for the same room are checked one after the other. An order that passes holds its quantity (pending) until
it is filled (posted) or closed (voided, expired); a replacement adjusts the hold. The firm has a stream of the same
kind, `limit:firm`: while it has limits, every event of usage in an account's stream is recorded there too, in the same
append. `FirmWatchStarted` in an account's stream switches that on, so that no append decided on older state passes.

A limit applies to a scope: one strategy or all (`None`), one instrument or each (`None`), a venue, an asset. Quantities
are signed as the position is; `domain.risk.measures` describes each measure. Every decision is evidence: which limits
in which version, the usage before and with the order, by which marks of which age. Events are in `domain.risk.events`,
requests and reports in `domain.risk.requests`, the state in `domain.risk.state`.
"""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from functools import reduce
from typing import assert_never

from msgspec import UNSET

from domain import names, values
from domain.errors import InvalidInput, RequestRefused
from domain.instrument import Kind
from domain.order import check_amount, check_id, check_time
from domain.risk import dead_man
from domain.risk.buying_power import SHORTAGE
from domain.risk.dead_man import ArmDeadManSwitch, DisarmDeadManSwitch, FireDeadManSwitch
from domain.risk.events import (
    FIRM,
    CarriedCell,
    CarriedHold,
    ConversionSet,
    GainsPosted,
    HoldAdjusted,
    HoldExpired,
    HoldPlaced,
    HoldPosted,
    HoldRefused,
    HoldVoided,
    LimitCheck,
    LimitSet,
    LimitStatus,
    Mode,
    RiskEvent,
    SwitchEngaged,
    SwitchReleased,
    TradingDaySet,
    UsageCarried,
)
from domain.risk.exposure import Change, Desk, Hold, Holding
from domain.risk.measures import Measure, Scope
from domain.risk.monitoring import assessed, positions_assessed, stated, stays_within
from domain.risk.pre_trade import checked
from domain.risk.requests import (
    AdjustHold,
    AssessMarks,
    EngageSwitch,
    ExpireHold,
    PlaceHold,
    PostGains,
    PostHold,
    ReleaseSwitch,
    RestateHold,
    RiskReport,
    RiskRequest,
    SetConversion,
    SetLimit,
    SetTradingDay,
    StateCapital,
    VoidHold,
)
from domain.risk.shadows import shadow_positions_assessed, with_shadows_assessed, with_shadows_checked
from domain.risk.state import Risk, evolve
from domain.values import ZERO, Mark, Money, exact, leg_of, stated_leg

__all__ = [
    "FIRM",
    "AdjustHold",
    "AssessMarks",
    "EngageSwitch",
    "ExpireHold",
    "Hold",
    "HoldAdjusted",
    "HoldExpired",
    "HoldPlaced",
    "HoldPosted",
    "HoldRefused",
    "HoldVoided",
    "LimitCheck",
    "LimitSet",
    "Measure",
    "Mode",
    "PlaceHold",
    "PostGains",
    "PostHold",
    "ReleaseSwitch",
    "RestateHold",
    "Risk",
    "RiskEvent",
    "RiskReport",
    "RiskRequest",
    "Scope",
    "SetConversion",
    "SetLimit",
    "SetTradingDay",
    "VoidHold",
    "admit",
    "carried",
    "decide",
    "evolve",
    "refusal",
    "stream",
]
RATE_MAX = 10_000
CARRIED_MAX = 500
REASON_MAX = 500


def stream(account_id: str) -> str:
    """The stream of one account's limits; of the firm's, for the account id `firm`."""
    return names.stream("limit", account_id)


def decide(risk: Risk | None, request: RiskRequest) -> tuple[RiskEvent, ...]:
    """The events that carry out a request; () if already in effect. Raises RequestRefused.

    An order that does not pass is an event too, `HoldRefused`: the caller records it and then refuses.
    """
    risk = risk or Risk()
    check_time("transact_time", request.transact_time)
    match request:
        case PlaceHold():
            _check_marks(request.marks if request.mark is None else (*request.marks, request.mark))
            known = risk.holds.get(request.key)
            return _same(known, request) if known else with_shadows_checked(risk, request, checked(risk, request))
        case AdjustHold():
            _check_marks(request.marks)
            check_id("change_id", request.change_id)
            check_amount("quantity", request.quantity)
            was = risk.refused.get(request.key)
            if was is not None and was.change_id == request.change_id:
                raise refusal(was)
            known = risk.holds.get(request.key)
            if known and known.change_id == request.change_id:
                return ()
            return with_shadows_checked(risk, request, checked(risk, request))
        case SetLimit():
            return _set(risk, request)
        case EngageSwitch():
            return _engaged(risk, request)
        case ReleaseSwitch():
            return _released(risk, request)
        case SetTradingDay():
            return _day_set(risk, request)
        case SetConversion():
            return _conversion_set(risk, request)
        case StateCapital():
            check_id("account_id", request.account_id)
            _check_capital(request.capital)
            return stated(risk, request)
        case AssessMarks():
            _check_marks(request.marks)
            _check_capital(request.capital)
            return with_shadows_assessed(risk, request, assessed(risk, request))
        case ArmDeadManSwitch() | DisarmDeadManSwitch() | FireDeadManSwitch():
            return dead_man.decide(risk.dead_man, request)
        case _:
            assert_never(request)


def _same(hold: Hold, request: PlaceHold) -> tuple[RiskEvent, ...]:
    terms = request.terms
    known = (hold.strategy_id, hold.instrument_id, hold.side, hold.position_side)
    if known != (terms.strategy_id, terms.instrument_id, terms.side, terms.leg):
        raise RequestRefused(
            "one cl_ord_id names one order", cl_ord_id=request.key.cl_ord_id, account_id=request.key.account_id
        )
    return ()


def _set(risk: Risk, request: SetLimit) -> tuple[RiskEvent, ...]:
    _check_limit(request)
    _check_scope(request.account_id, request.scope)
    limit = None if request.limit is None else exact(request.limit)
    known = risk.limit_set(request.scope, request.measure, request.status)
    if known is None and limit is None:
        return ()
    moved_from = moved(risk, request)
    if known is not None and (known.limit, known.currency) == (limit, request.currency) and moved_from is None:
        return ()
    version = known.version + 1 if known else 1
    return (
        LimitSet(
            request.account_id,
            request.scope,
            request.measure,
            limit,
            currency=request.currency,
            version=version,
            transact_time=request.transact_time,
            status=request.status,
            moved_from=moved_from,
        ),
    )


def moved(risk: Risk, request: SetLimit) -> LimitStatus | None:
    """The other status in which the limit of a request is now, and which it leaves; None if it is in none."""
    if request.limit is None:
        return None
    for status in LimitStatus:
        known = risk.limit_set(request.scope, request.measure, status)
        is_same = known is not None and (known.limit, known.currency) == (request.limit, request.currency)
        if is_same and status is not request.status:
            return status
    return None


def _check_limit(request: SetLimit) -> None:
    limit, measure = request.limit, request.measure
    if limit is not None and (not limit.is_finite() or limit < 0):
        raise RequestRefused("a limit of zero or more", limit=limit)
    if limit is not None:
        _check_number("limit", limit)
    if measure.is_money != (request.currency is not None):
        rule = "a notional limit has a currency, a quantity limit none"
        raise RequestRefused(rule, currency=request.currency, measure=measure)
    if request.currency is not None:
        _check_currency("currency", request.currency)
    if measure.is_count and limit is not None and (limit % 1 or limit > RATE_MAX):
        raise RequestRefused(f"a count of orders is a whole number of at most {RATE_MAX}", limit=limit)
    if measure is Measure.BUYING_POWER:
        _check_leverage(request)
    if measure is Measure.MAX_DRAWDOWN and limit is not None and limit > 1:
        raise RequestRefused("a drawdown is a fraction of equity, from 0 to 1", limit=limit)


def _check_leverage(request: SetLimit) -> None:
    if request.account_id == FIRM or request.scope != Scope(instrument_id=request.scope.instrument_id):
        raise RequestRefused(
            "a buying power is that of a whole account, or of one instrument of it", account_id=request.account_id,
            scope=request.scope,
        )  # fmt: skip
    if request.limit is not None and request.limit <= 0:
        raise RequestRefused("a leverage above 0; 1 is none", limit=request.limit)


def _engaged(risk: Risk, request: EngageSwitch) -> tuple[RiskEvent, ...]:
    _check_switch(request)
    known = risk.switches.get(request.scope)
    if known is not None and (known.mode is request.mode or (request.only_tightens and known.mode is Mode.HALT)):
        return ()
    if known is not None and known.mode is Mode.HALT:
        _check_second(known, request.actor)
    version = risk.switch_versions.get(request.scope, 0) + 1
    return (
        SwitchEngaged(
            request.account_id, request.scope, request.mode, request.reason, actor=request.actor, version=version,
            transact_time=request.transact_time,
        ),
    )  # fmt: skip


def _released(risk: Risk, request: ReleaseSwitch) -> tuple[RiskEvent, ...]:
    _check_switch(request)
    known = risk.switches.get(request.scope)
    if known is None:
        return ()
    _check_second(known, request.actor)
    version = risk.switch_versions.get(request.scope, 0) + 1
    return (
        SwitchReleased(
            request.account_id,
            request.scope,
            request.reason,
            request.actor,
            version=version,
            transact_time=request.transact_time,
        ),
    )


def _check_second(known: SwitchEngaged, actor: str) -> None:
    if known.actor == actor:
        raise RequestRefused(
            "a kill switch is released by another actor than who engaged it", actor=actor, engaged_by=known.actor
        )


def _check_switch(request: EngageSwitch | ReleaseSwitch) -> None:
    _check_scope(request.account_id, request.scope)
    if not request.actor.strip():
        raise RequestRefused("an actor is named", actor=request.actor)
    if not request.reason.strip() or len(request.reason) > REASON_MAX:
        raise RequestRefused(f"a reason of 1 to {REASON_MAX} characters", reason=request.reason)


def _day_set(risk: Risk, request: SetTradingDay) -> tuple[RiskEvent, ...]:
    check_id("account_id", request.account_id)
    hour = request.starts_at_hour
    if not 0 <= hour <= 23:
        raise RequestRefused("starts_at_hour from 0 to 23", starts_at_hour=hour)
    if hour == risk.starts_at_hour:
        return ()
    return (TradingDaySet(request.account_id, hour, request.transact_time),)


def _conversion_set(risk: Risk, request: SetConversion) -> tuple[RiskEvent, ...]:
    check_id("account_id", request.account_id)
    contract = request.contract if request.is_used else None
    if request.is_used and (contract is None or contract.kind is Kind.OPTION or contract.expiry is not None):
        raise RequestRefused(
            "currencies are converted by spot or a perpetual", instrument_id=request.instrument_id,
            kind=contract.kind if contract else None,
        )  # fmt: skip
    if risk.conversions.get(request.instrument_id) == contract:
        return ()
    return (ConversionSet(request.account_id, request.instrument_id, contract, request.transact_time),)


def _check_scope(account_id: str, scope: Scope) -> None:
    check_id("account_id", account_id)
    if scope.strategy_id is not None:
        check_id("strategy_id", scope.strategy_id)
    if scope.asset is not None:
        _check_currency("asset", scope.asset)
    if scope.venue is not None:
        _check_venue("venue", scope.venue)
    if scope.instrument_id is None:
        return
    try:
        values.instrument_id(scope.instrument_id)
    except InvalidInput as error:
        raise RequestRefused(f"instrument_id is {error.rule}", instrument_id=scope.instrument_id) from error
    if scope.venue not in (None, values.venue_of(scope.instrument_id)):
        raise RequestRefused(
            "an instrument is of the scope's venue", venue=scope.venue, instrument_id=scope.instrument_id
        )


def _check_venue(field: str, value: str) -> None:
    try:
        values.venue(value, field)
    except InvalidInput as error:
        raise RequestRefused(f"{field} is {error.rule}", **{field: value}) from error


def _check_currency(field: str, value: str) -> None:
    try:
        values.currency(value, field)
    except InvalidInput as error:
        raise RequestRefused(f"{field} is {error.rule}", **{field: value}) from error


def _check_capital(capital: Money | None) -> None:
    if capital is None:
        return
    _check_currency("capital", capital.currency)
    _check_number("capital", capital.amount)
    if capital.amount < 0:
        raise RequestRefused("a capital of zero or more", capital=capital.amount, currency=capital.currency)


def _check_number(field: str, value: object) -> None:
    if isinstance(value, Decimal) and values.is_number(value):
        return
    try:
        values.number(value, field)
    except InvalidInput as error:
        raise RequestRefused(f"{field} is {error.rule}", **{field: value}) from error


def _check_marks(marks: Iterable[Mark]) -> None:
    known: dict[str, Mark] = {}
    for mark in marks:
        _check_number("price", mark.price)
        check_time("mark_at", mark.mark_at)
        if known.setdefault(mark.instrument_id, mark) != mark:
            raise RequestRefused("one mark an instrument", instrument_id=mark.instrument_id, price=mark.price)


def refusal(event: HoldRefused) -> RequestRefused:
    """The error of a refused hold: the rule and its numbers."""
    failed = event.failed
    if failed is None:
        return RequestRefused(event.rule, **({"instrument_id": event.instrument_id} | event.facts))
    scope = failed.scope
    return RequestRefused(
        event.rule, measure=failed.measure, limit=failed.limit, used=failed.used, asked=failed.asked,
        limit_version=failed.version, strategy_id=scope.strategy_id, instrument_id=event.instrument_id,
        currency=failed.currency, whose=failed.account_id or None, venue=scope.venue, asset=scope.asset,
        **_measured_by(event, failed), **{name: fact for name, fact in event.facts.items() if name in SHORTAGE},
    )  # fmt: skip


def _measured_by(event: HoldRefused, failed: LimitCheck) -> dict[str, object]:
    """The price that the order was valued at and the equity, where the limit that failed is measured by them."""
    facts: dict[str, object] = {}
    if event.valuation is not None and (failed.measure.is_money or failed.measure.is_of_equity):
        facts |= {"price_used": event.valuation.price, "priced_by": event.valuation.basis}
    if event.equity is not None and failed.measure.is_of_equity:
        equity = event.equity
        facts |= {
            "equity": equity.total, "equity_currency": equity.currency, "capital": equity.capital, "gain": equity.gain,
            "capital_basis": equity.basis, "capital_stated_at": equity.stated_at,
        }  # fmt: skip
    return facts


def admit(risk: Risk | None, report: RiskReport) -> tuple[RiskEvent, ...]:
    """The events that follow from what has happened to an order or position; () if nothing was held.

    The breach of a position limit, or its end, is recorded at once; limits of money wait for `AssessMarks`.
    """
    risk = risk or Risk()
    match report:
        case PostHold():
            known = risk.holds.get(report.key)
            released = exact(min(known.quantity, report.last_qty)) if known else ZERO
            posted = HoldPosted(
                report.key, report.strategy_id, report.instrument_id, report.exec_id, quantity=report.quantity,
                released=released, transact_time=report.transact_time, cost=report.cost, gains=report.gains,
                contract=report.contract, position_side=stated_leg(report.position_side),
                transferred=report.transferred or UNSET,
            )  # fmt: skip
            return _with_breaches(risk, posted, abs(report.quantity), report.transact_time)
        case PostGains():
            changes = _by_day(risk, report)
            if not changes:
                return ()
            return (
                GainsPosted(
                    report.account_id,
                    report.strategy_id,
                    report.instrument_id,
                    report.source,
                    changes=changes,
                    position_side=stated_leg(report.position_side),
                ),
            )
        case RestateHold():
            return _restated(risk, report)
        case VoidHold() | ExpireHold():
            known = risk.holds.get(report.key)
            if known is None:
                return ()
            event = HoldVoided if isinstance(report, VoidHold) else HoldExpired
            released, at = exact(known.quantity), report.transact_time
            return (event(report.key, known.strategy_id, known.instrument_id, released=released, transact_time=at),)
        case _:
            assert_never(report)


def _by_day(risk: Risk, report: PostGains) -> tuple[Change, ...]:
    """The changes that are not zero, those before the trading day of the holding together as one."""
    changes = [change for change in report.changes if change.cost or change.gains]
    desk = Desk(report.account_id, report.strategy_id, report.position_side)
    day_from = risk.exposure.cell(desk, report.instrument_id).day_from
    before = [change for change in changes if change.at < day_from]
    if len(before) < 2:
        return tuple(changes)
    total = reduce(Holding.plus, before, Holding())
    gains = tuple(Money(amount, currency) for currency, amount in sorted(total.gains.items()))
    earlier = (Change(before[-1].at, total.quantity, total.cost, gains),)
    since = tuple(change for change in changes if change.at >= day_from)
    return (*(change for change in earlier if change.cost or change.gains), *since)


def _restated(risk: Risk, report: RestateHold) -> tuple[RiskEvent, ...]:
    known = risk.holds.get(report.key)
    was = known.quantity if known else ZERO
    was_price = known.price if known else None
    is_repriced = report.quantity > 0 and None not in (was_price, report.price) and was_price != report.price
    if was == report.quantity and not is_repriced:
        return ()
    adjusted = HoldAdjusted(
        report.key, report.strategy_id, report.instrument_id, report.side, was=was, quantity=exact(report.quantity),
        contract=report.contract, transact_time=report.transact_time, position_side=stated_leg(report.position_side),
        price=report.price,
    )  # fmt: skip
    return _with_breaches(risk, adjusted, abs(report.quantity - was), report.transact_time)


def _with_breaches(risk: Risk, event: HoldPosted | HoldAdjusted, wider: Decimal, at: datetime) -> tuple[RiskEvent, ...]:
    strategy_id, instrument_id = event.strategy_id, event.instrument_id
    is_within = stays_within(risk, strategy_id, instrument_id, wider)  # nearly always, and cheaper to see
    if is_within and not risk.shadows:
        return (event,)
    state = evolve(risk, event)
    found = [] if is_within else positions_assessed(state, strategy_id, instrument_id, at)
    return (event, *found, *shadow_positions_assessed(state, strategy_id, instrument_id, at))


def carried(risk: Risk | None, account_id: str, at: datetime) -> tuple[UsageCarried, ...]:
    """The usage of an account, carried over to the firm; in parts of at most 500 positions and orders."""
    risk = risk or Risk()
    exposure = risk.exposure
    cells = sorted(
        (
            CarriedCell(
                desk.strategy_id,
                instrument_id=name,
                contract=cell.contract,
                now=cell.now,
                opening=cell.opening,
                day_from=cell.day_from,
                position_side=stated_leg(desk.position_side),
            )
            for name, desk, cell in exposure.all()
        ),
        key=lambda cell: (cell.instrument_id, cell.strategy_id, leg_of(cell.position_side)),
    )
    holds = sorted(
        (
            CarriedHold(
                key, hold.strategy_id, hold.instrument_id, hold.side, quantity=hold.quantity, change_id=hold.change_id,
                contract=exposure.cell(hold.desk(key.account_id), hold.instrument_id).contract,
                position_side=stated_leg(hold.position_side), price=hold.price,
            )
            for key, hold in exposure.holds.items()
        ),
        key=lambda hold: hold.key.cl_ord_id,
    )  # fmt: skip
    parts = max(-(-len(cells) // CARRIED_MAX), -(-len(holds) // CARRIED_MAX), 1)
    return tuple(
        UsageCarried(
            account_id,
            cells=tuple(cells[at_ : at_ + CARRIED_MAX]),
            holds=tuple(holds[at_ : at_ + CARRIED_MAX]),
            transact_time=at,
            part=part,
            parts=parts,
        )
        for part, at_ in enumerate(range(0, parts * CARRIED_MAX, CARRIED_MAX), 1)
    )
