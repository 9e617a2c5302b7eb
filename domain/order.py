"""Order: one instruction to trade, from submission to its last fill.

Names follow FIX: OrdStatus(39), ExecID(17), LastQty(32), LastPx(31), CumQty(14), LeavesQty(151). Quantities are in base
units (spot) or contracts, prices in quote units. Sums are exact; the average price is derived by whoever shows it.

An order we never sent is adopted when a venue reports on it: `OrderAdopted`, of unknown quantity, then the report.
"""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import assert_never

from msgspec import Struct
from msgspec.structs import replace

from domain.errors import RequestRefused
from domain.values import ZERO, Liquidity, Money, Side, exact


class OrdType(StrEnum):
    """FIX OrdType(40)."""

    MARKET = "MARKET"
    LIMIT = "LIMIT"


class TimeInForce(StrEnum):
    """FIX TimeInForce(59)."""

    GTC = "GTC"
    IOC = "IOC"
    FOK = "FOK"


class OrdStatus(StrEnum):
    """FIX OrdStatus(39)."""

    PENDING_NEW = "PENDING_NEW"
    NEW = "NEW"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    FILLED = "FILLED"
    PENDING_CANCEL = "PENDING_CANCEL"
    CANCELED = "CANCELED"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"

    @property
    def is_open(self) -> bool:
        """Whether the order can still be filled by right."""
        return self in _OPEN


_OPEN = {OrdStatus.PENDING_NEW, OrdStatus.NEW, OrdStatus.PARTIALLY_FILLED, OrdStatus.PENDING_CANCEL}


class OrderKey(Struct, frozen=True):
    """Which order: ClOrdID(11) is ours and unique in its account."""

    account_id: str
    cl_ord_id: str


class OrderTerms(Struct, frozen=True):
    """What was asked for; carried by every event of the order that a projector needs it for."""

    strategy_id: str
    instrument_id: str
    side: Side
    ord_type: OrdType
    order_qty: Decimal
    price: Decimal | None = None
    time_in_force: TimeInForce = TimeInForce.GTC


# Events: the stored format. A name or a field here outlives this code; change one only with an upcast.
class OrderSubmitted(Struct, frozen=True, tag="OrderSubmitted"):
    key: OrderKey
    terms: OrderTerms
    transact_time: datetime


class OrderRefused(Struct, frozen=True, tag="OrderRefused"):
    """Pre-trade risk said no; the order never left. `facts` are the numbers of the decision, as text."""

    key: OrderKey
    terms: OrderTerms
    rule: str
    facts: dict[str, str]
    transact_time: datetime


class OrderAdopted(Struct, frozen=True, tag="OrderAdopted"):
    """The venue knows an order we never sent. Its quantity is not known until the venue says so."""

    key: OrderKey
    order_id: str
    strategy_id: str
    instrument_id: str
    side: Side
    transact_time: datetime


class OrderAccepted(Struct, frozen=True, tag="OrderAccepted"):
    key: OrderKey
    order_id: str
    transact_time: datetime


class OrderRejected(Struct, frozen=True, tag="OrderRejected"):
    key: OrderKey
    reason: str
    transact_time: datetime


class OrderFilled(Struct, frozen=True, tag="OrderFilled"):
    """A fill as the venue reports it. `trade_seq` is the venue's own trade sequence, 0 if it has none."""

    key: OrderKey
    strategy_id: str
    instrument_id: str
    order_id: str
    side: Side
    exec_id: str
    trade_seq: int
    last_qty: Decimal
    last_px: Decimal
    commission: Money
    liquidity: Liquidity
    transact_time: datetime


class OrderCancelRequested(Struct, frozen=True, tag="OrderCancelRequested"):
    key: OrderKey
    reason: str
    transact_time: datetime


class OrderCancelRejected(Struct, frozen=True, tag="OrderCancelRejected"):
    key: OrderKey
    reason: str
    transact_time: datetime


class OrderCanceled(Struct, frozen=True, tag="OrderCanceled"):
    key: OrderKey
    reason: str
    transact_time: datetime


class OrderExpired(Struct, frozen=True, tag="OrderExpired"):
    key: OrderKey
    reason: str
    transact_time: datetime


class OrderBroken(Struct, frozen=True, tag="OrderBroken"):
    """A venue report that the rules call impossible, word for word. Reconciliation owns what happens next."""

    key: OrderKey
    rule: str
    report: "OrderReport"


class SubmitOrder(Struct, frozen=True):
    """Send an order. The same `key` with the same `terms` is the same order."""

    key: OrderKey
    terms: OrderTerms
    transact_time: datetime


class CancelOrder(Struct, frozen=True):
    """Ask the venue to take an order back."""

    key: OrderKey
    reason: str
    transact_time: datetime


OrderReport = OrderAccepted | OrderRejected | OrderFilled | OrderCancelRejected | OrderCanceled | OrderExpired
OrderEvent = OrderSubmitted | OrderRefused | OrderAdopted | OrderCancelRequested | OrderBroken | OrderReport
OrderRequest = SubmitOrder | CancelOrder


class Order(Struct, frozen=True):
    """`order_qty` is None for an adopted order of unknown quantity."""

    key: OrderKey
    strategy_id: str
    instrument_id: str
    side: Side
    order_qty: Decimal | None
    terms: OrderTerms | None
    status: OrdStatus
    order_id: str = ""
    cum_qty: Decimal = ZERO
    cum_cost: Decimal = ZERO
    fills: dict[str, OrderFilled] = {}
    breaks: tuple[OrderBroken, ...] = ()
    reports: frozenset[OrderReport] = frozenset()
    refusal: OrderRefused | None = None

    @property
    def leaves_qty(self) -> Decimal:
        """What may still be filled; zero once the order is closed or when its quantity is unknown."""
        if self.order_qty is None or not self.status.is_open:
            return ZERO
        return max(self.order_qty - self.cum_qty, ZERO)


def stream(key: OrderKey) -> str:
    """The stream of one order."""
    return f"order:{key.account_id}:{key.cl_ord_id}"


def check(terms: OrderTerms) -> None:
    """Refuses terms that make no order by themselves. Raises RequestRefused."""
    if not terms.order_qty.is_finite() or terms.order_qty <= 0:
        raise RequestRefused("order_qty above zero", order_qty=terms.order_qty)
    if terms.ord_type is OrdType.LIMIT and (terms.price is None or not terms.price.is_finite() or terms.price <= 0):
        raise RequestRefused("a limit order has a price above zero", price=terms.price)
    if terms.ord_type is OrdType.MARKET and terms.price is not None:
        raise RequestRefused("a market order has no price", price=terms.price)


def decide(order: Order | None, request: OrderRequest) -> tuple[OrderEvent, ...]:
    """The events that carry out a request; () if already in effect. Raises RequestRefused."""
    match order, request:
        case None, SubmitOrder(key, terms, at):
            check(terms)
            return (OrderSubmitted(key, terms, at),)
        case Order(refusal=OrderRefused() as refusal), SubmitOrder(terms=terms) if refusal.terms == terms:
            raise RequestRefused(refusal.rule, **refusal.facts)
        case Order(terms=known), SubmitOrder(key, terms) if known == terms:
            return ()
        case Order(), SubmitOrder(key):
            raise RequestRefused("one cl_ord_id names one order", cl_ord_id=key.cl_ord_id, account_id=key.account_id)
        case Order(status=OrdStatus.PENDING_CANCEL | OrdStatus.CANCELED), CancelOrder():
            return ()
        case Order(status=status), CancelOrder(key, reason, at) if status.is_open:
            return (OrderCancelRequested(key, reason, at),)
        case None, CancelOrder(key):
            raise RequestRefused("an order on record", cl_ord_id=key.cl_ord_id, account_id=key.account_id)
        case _:
            raise RequestRefused("an open order", cl_ord_id=request.key.cl_ord_id, status=order and order.status)


def refused(request: SubmitOrder, refusal: RequestRefused) -> OrderRefused:
    """The record of an order that pre-trade risk refused."""
    facts = {
        name: format(value, "f") if isinstance(value, Decimal) else str(value)
        for name, value in refusal.facts.items()
        if value is not None
    }
    return OrderRefused(request.key, request.terms, refusal.rule, facts, request.transact_time)


def admit(order: Order | None, report: OrderReport) -> tuple[OrderEvent, ...]:
    """The events a venue report adds; () if known. Never refuses: the venue has already done it.

    What the rules call impossible is taken down all the same, with a break beside it. Only a report that contradicts
    one already on record under the same exec id is not booked: it is kept whole in the break.
    """
    if order is None:
        return _adopted(report)
    if isinstance(report, OrderFilled):
        return _admit_fill(order, report)
    if report in order.reports:
        return ()
    match report, order.status:
        case OrderAccepted(), _:
            broken = order.status is OrdStatus.REJECTED
        case OrderCancelRejected(), _:
            broken = False
        case OrderRejected(), status:
            broken = order.cum_qty > 0 or status not in (OrdStatus.PENDING_NEW, OrdStatus.PENDING_CANCEL)
        case ((OrderCanceled() | OrderExpired()), status):
            broken = not status.is_open
        case _:
            assert_never(report)
    if broken:
        return _broken(order, f"{type(report).__name__} fits an order that is {order.status}", report, booked=False)
    return (report,)


def _adopted(report: OrderReport) -> tuple[OrderEvent, ...]:
    if isinstance(report, OrderFilled):
        adopted = OrderAdopted(
            report.key, report.order_id, report.strategy_id, report.instrument_id, report.side, report.transact_time
        )
        return (adopted, report)
    return (OrderBroken(report.key, "a report of an order on record", report),)


def _admit_fill(order: Order, report: OrderFilled) -> tuple[OrderEvent, ...]:
    known = order.fills.get(report.exec_id)
    if known is not None:
        if same_fill(known, report):
            return ()
        return _broken(order, "one exec_id has one content", report, booked=False)
    if (report.instrument_id, report.side) != (order.instrument_id, order.side) and order.instrument_id:
        return _broken(order, "a fill has its order's instrument and side", report, booked=True)
    if not order.status.is_open:
        return _broken(order, "a fill is of an open order", report, booked=True)
    if order.order_qty is not None and report.last_qty > order.leaves_qty:
        return _broken(order, "a fill is within leaves_qty", report, booked=True)
    return (report,)


def _broken(order: Order, rule: str, report: OrderReport, *, booked: bool) -> tuple[OrderEvent, ...]:
    broken = OrderBroken(order.key, rule, report)
    if booked:
        return (report, broken)
    return () if broken in order.breaks else (broken,)


def same_fill(a: OrderFilled, b: OrderFilled) -> bool:
    """Whether two reports tell of one fill in the same words: all but what only we add to it."""
    return replace(a, strategy_id=b.strategy_id, order_id=b.order_id) == b


def evolve(order: Order | None, event: OrderEvent) -> Order:
    """The order after an event. Total and unconditional: history is not argued with."""
    if order is None:
        order = _first(event)
    match event:
        case OrderSubmitted() | OrderRefused() | OrderAdopted():
            return order
        case OrderAccepted():
            accepted = OrdStatus.NEW if order.status is OrdStatus.PENDING_NEW else order.status
            return replace(order, status=accepted, order_id=event.order_id, reports=order.reports | {event})
        case OrderRejected():
            return replace(order, status=OrdStatus.REJECTED, reports=order.reports | {event})
        case OrderFilled():
            return _with_fill(order, event)
        case OrderCancelRequested():
            return replace(order, status=OrdStatus.PENDING_CANCEL)
        case OrderCancelRejected():
            reopened = OrdStatus.PARTIALLY_FILLED if order.cum_qty else OrdStatus.NEW
            status = reopened if order.status is OrdStatus.PENDING_CANCEL else order.status
            return replace(order, status=status, reports=order.reports | {event})
        case OrderCanceled():
            return replace(order, status=OrdStatus.CANCELED, reports=order.reports | {event})
        case OrderExpired():
            return replace(order, status=OrdStatus.EXPIRED, reports=order.reports | {event})
        case OrderBroken():
            return replace(order, breaks=(*order.breaks, event))
        case _:
            assert_never(event)


def _first(event: OrderEvent) -> Order:
    match event:
        case OrderSubmitted(key, terms):
            status, refusal = OrdStatus.PENDING_NEW, None
        case OrderRefused(key, terms):
            status, refusal = OrdStatus.REJECTED, event
        case OrderAdopted():
            return Order(
                event.key, event.strategy_id, event.instrument_id, event.side, None, None, OrdStatus.NEW, event.order_id
            )
        case _:
            # a report of an order nobody knows and whose instrument it does not tell
            return Order(event.key, "", "", Side.BUY, None, None, OrdStatus.NEW)
    return Order(
        key, terms.strategy_id, terms.instrument_id, terms.side, terms.order_qty, terms, status, refusal=refusal
    )


def _with_fill(order: Order, fill: OrderFilled) -> Order:
    cum_qty = exact(order.cum_qty + fill.last_qty)
    status = order.status
    if status.is_open:
        if order.order_qty is not None and cum_qty >= order.order_qty:
            status = OrdStatus.FILLED
        elif status is not OrdStatus.PENDING_CANCEL:
            status = OrdStatus.PARTIALLY_FILLED
    return replace(
        order,
        strategy_id=order.strategy_id or fill.strategy_id,
        instrument_id=order.instrument_id or fill.instrument_id,
        side=order.side if order.instrument_id else fill.side,
        status=status,
        order_id=order.order_id or fill.order_id,
        cum_qty=cum_qty,
        cum_cost=exact(order.cum_cost + fill.last_qty * fill.last_px),
        fills=order.fills | {fill.exec_id: fill},
    )
