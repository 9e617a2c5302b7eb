"""Pre-trade check: an order, or its replacement, against every limit and kill switch that covers it."""

from typing import NamedTuple

from domain.errors import RequestRefused
from domain.instrument import Contract, Kind
from domain.marks import Prices
from domain.order import ExecInst
from domain.risk.buying_power import BuyingPower, Cash
from domain.risk.capital import EquityUsed
from domain.risk.coins import by_account
from domain.risk.events import DayOpened, HoldAdjusted, HoldPlaced, HoldRefused, LimitCheck, LimitSet, Mode, RiskEvent
from domain.risk.exposure import Hold, day_of
from domain.risk.intent import Intent
from domain.risk.measures import Measure
from domain.risk.monitoring import after, age_allowed, day_opened
from domain.risk.requests import AdjustHold, PlaceHold
from domain.risk.state import Risk
from domain.risk.usage import Meter
from domain.values import ZERO, exact, stated_leg


class _Result(NamedTuple):
    """The result of a pre-trade check: the limits that passed, and the refusal if one did not."""

    passed: tuple[LimitCheck, ...]
    refusal: RequestRefused | None = None
    failed: LimitCheck | None = None


def checked(risk: Risk, request: PlaceHold | AdjustHold) -> tuple[RiskEvent, ...]:
    """The events of a pre-trade check: the trading day's opening if it is not on record, then the hold or refusal."""
    hold: Hold | None = risk.exposure.holds.get(request.key)
    order = _intent(request, hold)
    limits = _sorted_limits(risk, order)
    own = [request.mark] if isinstance(request, PlaceHold) and request.mark is not None else []
    marks = (*request.marks, *own)
    age_max = age_allowed(limit for limit in limits if limit.measure is Measure.MAX_MARK_AGE)
    day_from = day_of(request.transact_time, risk.starts_at_hour)

    def pairs() -> dict[str, Contract]:
        own = {order.instrument_id: order.contract} if order.contract.kind is Kind.SPOT else {}
        return risk.traded_pairs(request.funds, request.wallets) | own

    def fresh() -> Prices:
        return Prices(marks, request.transact_time, age_max, risk.conversions, others=pairs)

    opened: tuple[DayOpened, ...] = ()
    if any(limit.measure is Measure.MAX_DAILY_LOSS for limit in limits):
        opened = day_opened(risk, request.key.account_id, fresh(), request.transact_time)
        risk = after(risk, opened)
    prices = fresh()
    meter = Meter(
        risk.exposure, prices, risk.capital(request.funds), day_from, opening_marks=risk.opening_marks,
        at=request.transact_time, wallets=by_account(request.wallets),
    )  # fmt: skip
    result = _check(risk, meter, order, request=request, limits=limits)
    return (*opened, _decision(order, request, meter, result=result, hold=hold))


def _intent(request: PlaceHold | AdjustHold, hold: Hold | None) -> Intent:
    terms = request.terms
    quantity = request.quantity if isinstance(request, AdjustHold) else terms.order_qty
    return Intent(
        request.key, terms, request.contract, quantity, holding=hold.quantity if hold else ZERO,
        is_new=isinstance(request, PlaceHold),
    )  # fmt: skip


def _sorted_limits(risk: Risk, order: Intent) -> list[LimitSet]:
    """The limits that cover an order, as they were set, those of a mark's age last, when all used marks are known."""
    contract = order.contract
    limits = list(risk.limits_over(order.strategy_id, order.instrument_id, contract.base))
    if contract.kind is Kind.SPOT:
        limits += risk.limits_of_payment(order.strategy_id, order.instrument_id, contract.base, contract.quote)
    return sorted(limits, key=lambda limit: limit.measure is Measure.MAX_MARK_AGE)


def _check(
    risk: Risk, meter: Meter, order: Intent, *, request: PlaceHold | AdjustHold, limits: list[LimitSet]
) -> _Result:
    is_reducing = order.is_reducing(risk.exposure)
    refusal = _switched_off(risk, order, is_reducing=is_reducing)
    is_reduce_only = ExecInst.REDUCE_ONLY in request.terms.exec_inst
    if refusal is None and (is_reduce_only or order.is_closing) and not is_reducing:
        cell = risk.exposure.cell(order.desk, order.instrument_id)
        rule = "a reduce-only order reduces its strategy's position"
        if order.is_closing:
            rule = f"a {order.side} of a {order.position_side} leg closes no more than it holds"
        refusal = RequestRefused(
            rule, instrument_id=order.instrument_id, position=cell.now.quantity, held=cell.held(order.side),
            order_qty=order.quantity,
        )  # fmt: skip
    if refusal is not None:
        return _Result((), refusal)
    passed: list[LimitCheck] = []
    for limit in limits:
        assert limit.limit is not None, "a limit that is lifted is not active"
        is_let_through = meter.lets_through(limit.measure, limit.scope, order)
        window = risk.windows.get((limit.scope, limit.measure), ())
        if limit.measure is Measure.BUYING_POWER:
            checked_ = _buying_power(risk, meter, order, request=request, limit=limit)
            if checked_ is None:
                continue
            if checked_.refusal is not None:
                return _Result(tuple(passed), checked_.refusal, checked_.failed)
            passed += checked_.passed
            continue
        try:
            usage = meter.usage(limit.measure, limit.scope, limit.currency, order, window=window)
        except RequestRefused as missing:
            if is_let_through or (is_reducing and limit.measure.is_held):
                continue
            return _Result(tuple(passed), missing)
        limit_check = LimitCheck(
            limit.measure, limit.scope, limit.version, limit.limit, used=usage.used, asked=usage.with_order,
            currency=limit.currency, account_id=limit.account_id,
        )  # fmt: skip
        if abs(usage.with_order) > limit.limit and not (is_let_through or usage.is_falling):
            return _Result(tuple(passed), RequestRefused(f"{limit.measure} is not exceeded"), limit_check)
        passed.append(limit_check)
    return _Result(tuple(passed))


def _buying_power(
    risk: Risk, meter: Meter, order: Intent, *, request: PlaceHold | AdjustHold, limit: LimitSet
) -> _Result | None:
    """The check of an order against an account's buying power; None if another limit counts for its instrument."""
    power = BuyingPower(meter.exposure, meter.prices, risk.active, request.cash or Cash())
    if not power.is_of(limit, order):
        return None
    try:
        need = power.need(order)
    except RequestRefused as missing:
        return _Result((), missing)
    if need.is_met:
        return _Result((need.check(limit),))
    return _Result((), need.refusal, need.check(limit))


def _switched_off(risk: Risk, order: Intent, *, is_reducing: bool) -> RequestRefused | None:
    for switch in risk.switches.values():
        if not switch.scope.covers(order.strategy_id, order.instrument_id, order.contract.base):
            continue
        if switch.mode is Mode.REDUCE_ONLY and is_reducing:
            continue
        rule = "the kill switch is not engaged"
        if switch.mode is Mode.REDUCE_ONLY:
            rule = "an order reduces a position while the kill switch is at REDUCE_ONLY"
        return RequestRefused(
            rule, kill_switch=switch.mode, whose=switch.account_id, reason=switch.reason, engaged_by=switch.actor,
            engaged_at=switch.transact_time.isoformat(), version=switch.version,
        )  # fmt: skip
    return None


def _decision(
    order: Intent, request: PlaceHold | AdjustHold, meter: Meter, *, result: _Result, hold: Hold | None
) -> HoldPlaced | HoldRefused | HoldAdjusted:
    change_id = request.change_id if isinstance(request, AdjustHold) else ""
    leg, prices = stated_leg(order.position_side), meter.prices
    mark = prices.mark(order.instrument_id) if order.is_at_market and prices.has_fresh(order.instrument_id) else None
    valued = meter.valuation(order)
    notional = None if valued is None else exact(order.contract.notional(order.order_qty, valued.price))
    equity = _equity_used(meter, result)
    if result.refusal is not None:
        facts = {name: str(fact) for name, fact in result.refusal.facts.items() if fact is not None}
        return HoldRefused(
            order.key, order.strategy_id, order.instrument_id, order.side, quantity=order.quantity, notional=notional,
            mark=mark, rule=result.refusal.rule, failed=result.failed, transact_time=request.transact_time, facts=facts,
            judged=result.passed, marks=prices.seen, change_id=change_id, valuation=valued, equity=equity,
            position_side=leg,
        )  # fmt: skip
    price = meter.own_price(order)
    if isinstance(request, PlaceHold):
        return HoldPlaced(
            order.key, order.strategy_id, order.instrument_id, order.side, quantity=order.quantity, notional=notional,
            mark=mark, judged=result.passed, transact_time=request.transact_time, contract=order.contract,
            marks=prices.seen, price=price, valuation=valued, equity=equity, position_side=leg,
        )  # fmt: skip
    return HoldAdjusted(
        order.key, order.strategy_id, order.instrument_id, order.side, was=hold.quantity if hold else ZERO,
        quantity=order.quantity, contract=order.contract, transact_time=request.transact_time,
        change_id=request.change_id, notional=notional, mark=mark, judged=result.passed, marks=prices.seen,
        price=price, valuation=valued, equity=equity, position_side=leg,
    )  # fmt: skip


def _equity_used(meter: Meter, result: _Result) -> EquityUsed | None:
    """The equity that a limit was measured by; None if none was."""
    checks = result.passed if result.failed is None else (*result.passed, result.failed)
    return meter.equity() if any(each.measure.is_of_equity for each in checks) else None
