"""RiskLimit: what an account may hold and send, judged at once with everything that is already held and sent.

One stream an account: it knows the position of every strategy in every instrument and every working order, so that two
orders racing for the same room are judged one after the other. An order that passes holds its quantity (pending) until
it is filled (posted) or closed (voided).

A limit applies to a scope of the account: one strategy or all (`None`), one instrument or each (`None`).
Quantities are signed as the position is; notionals are in the instrument's quote currency.
"""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import assert_never

from msgspec import Struct
from msgspec.structs import replace

from domain.errors import RequestRefused
from domain.instrument import Contract
from domain.order import OrderKey, OrderTerms
from domain.values import ZERO, Mark, Side, exact


class Measure(StrEnum):
    """What a limit measures.

    MAX_POSITION: units of base or contracts. The position, with all working orders of the order's side filled, must not
    exceed it in absolute value; all strategies count together where the scope names none.
    MAX_ORDER_NOTIONAL: quote currency. Quantity x price; a market order is valued at the mark.
    """

    MAX_POSITION = "MAX_POSITION"
    MAX_ORDER_NOTIONAL = "MAX_ORDER_NOTIONAL"


class Scope(Struct, frozen=True):
    """The part of an account that a limit covers."""

    strategy_id: str | None = None
    instrument_id: str | None = None

    def covers(self, strategy_id: str, instrument_id: str) -> bool:
        """Whether an order of this strategy in this instrument falls under the limit."""
        return self.strategy_id in (None, strategy_id) and self.instrument_id in (None, instrument_id)


class Judgement(Struct, frozen=True):
    """One limit as an order met it: the limit's version and value, what was used before, what with the order."""

    measure: Measure
    scope: Scope
    version: int
    limit: Decimal
    used: Decimal
    asked: Decimal


# Events: the stored format. A name or a field here outlives this code; change one only with an upcast.
class LimitSet(Struct, frozen=True, tag="LimitSet"):
    """`limit` None lifts it. `currency` is the notional's currency, None for quantities."""

    account_id: str
    scope: Scope
    measure: Measure
    limit: Decimal | None
    currency: str | None
    version: int
    transact_time: datetime


class HoldPlaced(Struct, frozen=True, tag="HoldPlaced"):
    """An order passed: its quantity is held. `mark` is what a market order was valued at."""

    key: OrderKey
    strategy_id: str
    instrument_id: str
    side: Side
    quantity: Decimal
    notional: Decimal | None
    mark: Mark | None
    judged: tuple[Judgement, ...]
    transact_time: datetime


class HoldRefused(Struct, frozen=True, tag="HoldRefused"):
    """An order did not pass: the rule, and the judgement that failed if it was one of numbers."""

    key: OrderKey
    strategy_id: str
    instrument_id: str
    side: Side
    quantity: Decimal
    notional: Decimal | None
    mark: Mark | None
    rule: str
    failed: Judgement | None
    transact_time: datetime


class HoldPosted(Struct, frozen=True, tag="HoldPosted"):
    """A booking changed the position by `quantity` (signed); `released` of the order's hold became position.

    Of a booking that no order stands behind (a transfer, an adopted order) nothing is released.
    """

    key: OrderKey
    strategy_id: str
    instrument_id: str
    exec_id: str
    quantity: Decimal
    released: Decimal
    transact_time: datetime


class HoldVoided(Struct, frozen=True, tag="HoldVoided"):
    """The order is closed: what was still held is free."""

    key: OrderKey
    strategy_id: str
    instrument_id: str
    released: Decimal
    transact_time: datetime


RiskEvent = LimitSet | HoldPlaced | HoldRefused | HoldPosted | HoldVoided


class SetLimit(Struct, frozen=True):
    """Set, change or (with None) lift a limit."""

    account_id: str
    scope: Scope
    measure: Measure
    limit: Decimal | None
    currency: str | None
    transact_time: datetime


class PlaceHold(Struct, frozen=True):
    """Judge an order and hold its quantity. `mark` is the newest known, for orders without a price."""

    key: OrderKey
    terms: OrderTerms
    contract: Contract
    mark: Mark | None
    transact_time: datetime


class PostHold(Struct, frozen=True):
    """A fill or transfer was booked: `quantity` moved the position, `last_qty` came off the order."""

    key: OrderKey
    strategy_id: str
    instrument_id: str
    exec_id: str
    quantity: Decimal
    last_qty: Decimal
    transact_time: datetime


class VoidHold(Struct, frozen=True):
    """The order is closed."""

    key: OrderKey
    transact_time: datetime


RiskRequest = SetLimit | PlaceHold
RiskReport = PostHold | VoidHold


class Hold(Struct, frozen=True):
    """What a working order still holds."""

    strategy_id: str
    instrument_id: str
    side: Side
    quantity: Decimal


class Risk(Struct, frozen=True):
    """Limits by (scope, measure); positions by (strategy, instrument); holds by cl_ord_id."""

    limits: dict[tuple[Scope, Measure], LimitSet] = {}
    positions: dict[tuple[str, str], Decimal] = {}
    holds: dict[str, Hold] = {}

    def position(self, scope: Scope, instrument_id: str) -> Decimal:
        """The signed position in one instrument, of the scope's strategy or of all."""
        if scope.strategy_id is not None:
            return self.positions.get((scope.strategy_id, instrument_id), ZERO)
        return sum((qty for (_, held), qty in self.positions.items() if held == instrument_id), ZERO)

    def held(self, scope: Scope, instrument_id: str, side: Side) -> Decimal:
        """What working orders of one side still hold in one instrument, unsigned."""
        return sum(
            (
                hold.quantity
                for hold in self.holds.values()
                if hold.side is side
                and hold.instrument_id == instrument_id
                and scope.covers(hold.strategy_id, instrument_id)
            ),
            ZERO,
        )


def stream(account_id: str) -> str:
    """The stream of one account's limits."""
    return f"limit:{account_id}"


def decide(risk: Risk | None, request: RiskRequest) -> tuple[RiskEvent, ...]:
    """The events that carry out a request; () if already in effect. Raises RequestRefused.

    An order that does not pass is an event too, `HoldRefused`: the caller records it and then refuses.
    """
    risk = risk or Risk()
    match request:
        case SetLimit():
            return _set(risk, request)
        case PlaceHold():
            return (_judged(risk, request),)
        case _:
            assert_never(request)


def _set(risk: Risk, request: SetLimit) -> tuple[RiskEvent, ...]:
    if request.limit is not None and (not request.limit.is_finite() or request.limit < 0):
        raise RequestRefused("a limit of zero or more", limit=request.limit)
    if (request.measure is Measure.MAX_ORDER_NOTIONAL) != (request.currency is not None):
        raise RequestRefused("a notional limit has a currency, a quantity limit none", currency=request.currency)
    known = risk.limits.get((request.scope, request.measure))
    if known is None and request.limit is None:
        return ()
    if known is not None and (known.limit, known.currency) == (request.limit, request.currency):
        return ()
    version = known.version + 1 if known else 1
    return (
        LimitSet(
            request.account_id, request.scope, request.measure, request.limit, request.currency, version,
            request.transact_time,
        ),
    )  # fmt: skip


def _judged(risk: Risk, request: PlaceHold) -> HoldPlaced | HoldRefused:
    terms, contract = request.terms, request.contract
    mark = request.mark if terms.price is None else None
    price = mark.price if mark is not None else terms.price
    notional = exact(contract.notional(terms.order_qty, price)) if price is not None else None

    def refused(rule: str, failed: Judgement | None = None) -> HoldRefused:
        return HoldRefused(
            request.key, terms.strategy_id, terms.instrument_id, terms.side, terms.order_qty, notional, mark,
            rule, failed, request.transact_time,
        )  # fmt: skip

    judged = []
    for limit in _limits_over(risk, terms):
        assert limit.limit is not None
        if limit.measure is Measure.MAX_POSITION:
            used, asked = _position_with(risk, limit.scope, terms)
            is_reducing = abs(asked) < abs(used) and asked * used >= 0
        else:
            if notional is None:
                return refused("a market order has a mark to value it by")
            if limit.currency != contract.quote:
                return refused(f"an order under a limit in {limit.currency} is quoted in {limit.currency}")
            used, asked, is_reducing = ZERO, notional, False
        judgement = Judgement(limit.measure, limit.scope, limit.version, limit.limit, exact(used), exact(asked))
        if abs(asked) > limit.limit and not is_reducing:
            return refused(f"{limit.measure} is not exceeded", judgement)
        judged.append(judgement)
    return HoldPlaced(
        request.key, terms.strategy_id, terms.instrument_id, terms.side, terms.order_qty, notional, mark, tuple(judged),
        request.transact_time,
    )  # fmt: skip


def _limits_over(risk: Risk, terms: OrderTerms) -> Iterator[LimitSet]:
    for limit in risk.limits.values():
        if limit.limit is not None and limit.scope.covers(terms.strategy_id, terms.instrument_id):
            yield limit


def _position_with(risk: Risk, scope: Scope, terms: OrderTerms) -> tuple[Decimal, Decimal]:
    """The position if all working orders of the order's side are filled: without the order, and with it."""
    used = risk.position(scope, terms.instrument_id) + terms.side.sign * risk.held(
        scope, terms.instrument_id, terms.side
    )
    return used, used + terms.side.sign * terms.order_qty


def refusal(event: HoldRefused) -> RequestRefused:
    """The error that tells a caller of a refused hold: the rule and its numbers."""
    failed = event.failed
    if failed is None:
        return RequestRefused(event.rule, instrument_id=event.instrument_id)
    return RequestRefused(
        event.rule, measure=failed.measure, limit=failed.limit, used=failed.used, asked=failed.asked,
        limit_version=failed.version, strategy_id=failed.scope.strategy_id, instrument_id=event.instrument_id,
    )  # fmt: skip


def admit(risk: Risk | None, report: RiskReport) -> tuple[RiskEvent, ...]:
    """The events that follow from what has happened to an order; () if nothing was held."""
    hold = risk.holds.get(report.key.cl_ord_id) if risk else None
    match report:
        case PostHold():
            released = min(hold.quantity, report.last_qty) if hold else ZERO
            return (
                HoldPosted(
                    report.key, report.strategy_id, report.instrument_id, report.exec_id, report.quantity,
                    exact(released), report.transact_time,
                ),
            )  # fmt: skip
        case VoidHold():
            if hold is None:
                return ()
            return (
                HoldVoided(
                    report.key, hold.strategy_id, hold.instrument_id, exact(hold.quantity), report.transact_time
                ),
            )
        case _:
            assert_never(report)


def evolve(risk: Risk | None, event: RiskEvent) -> Risk:
    """The account's limits and usage after an event. Total and unconditional."""
    risk = risk or Risk()
    match event:
        case LimitSet():
            return replace(risk, limits=risk.limits | {(event.scope, event.measure): event})
        case HoldRefused():
            return risk
        case HoldPlaced():
            hold = Hold(event.strategy_id, event.instrument_id, event.side, event.quantity)
            return replace(risk, holds=risk.holds | {event.key.cl_ord_id: hold})
        case HoldPosted():
            at = (event.strategy_id, event.instrument_id)
            positions = risk.positions | {at: exact(risk.positions.get(at, ZERO) + event.quantity)}
            return replace(risk, positions=positions, holds=_released(risk, event.key.cl_ord_id, event.released))
        case HoldVoided():
            return replace(risk, holds=_released(risk, event.key.cl_ord_id, event.released))
        case _:
            assert_never(event)


def _released(risk: Risk, cl_ord_id: str, quantity: Decimal) -> dict[str, Hold]:
    hold = risk.holds.get(cl_ord_id)
    if hold is None:
        return risk.holds
    left = exact(hold.quantity - quantity)
    if left > 0:
        return risk.holds | {cl_ord_id: replace(hold, quantity=left)}
    return {key: held for key, held in risk.holds.items() if key != cl_ord_id}
