"""Order decisions: the events that carry out a request about an order, and those that a venue report adds.

Names follow FIX: OrdStatus(39), ExecID(17), LastQty(32), LastPx(31), CumQty(14), LeavesQty(151). Quantities are in base
units (spot) or contracts, prices in quote units. Sums are exact; the average price is derived where it is shown.

The terms are in `domain.order.terms`, the events in `domain.order.events`, the state and its fold in
`domain.order.state`. An order keeps the stream of its first ClOrdID through all replacements. One we never sent is
adopted by any venue report on it: `OrderAdopted` and then the report where that names the instrument, the report alone
where it does not. The quantity is unknown until the venue states it.
"""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from functools import partial, reduce
from typing import assert_never

from msgspec import Struct
from msgspec.structs import replace

from domain import names
from domain.errors import ReportUnreadable, RequestRefused
from domain.order import amendments, breaks
from domain.order.events import (
    Amendment,
    OrderAccepted,
    OrderAdopted,
    OrderAliased,
    OrderBreakWithdrawn,
    OrderBroken,
    OrderCalculated,
    OrderCanceled,
    OrderCancelRejected,
    OrderCancelRequested,
    OrderCommissionReported,
    OrderDoneForDay,
    OrderEvent,
    OrderExpired,
    OrderFillBusted,
    OrderFillCompleted,
    OrderFillCorrected,
    OrderFilled,
    OrderPendingCancel,
    OrderPendingNew,
    OrderPendingReplace,
    OrderRefused,
    OrderRejected,
    OrderReplaced,
    OrderReplaceRejected,
    OrderReplaceRequested,
    OrderReport,
    OrderRestated,
    OrderSubmitted,
    OrderSuspended,
    OrderTriggered,
    OrdStatus,
    StateReport,
    as_reported,
)
from domain.order.identity import (
    Identified,
    Names,
    OnRecord,
    Relation,
    completed,
    finer_commissions,
    identify,
    is_adopted_id,
)
from domain.order.state import Order, evolve
from domain.order.terms import (
    Changes,
    ExecInst,
    OrderKey,
    OrderTerms,
    OrdType,
    PegOffset,
    TimeInForce,
    TriggerPrice,
    check,
    check_id,
    check_terms_fields,
    check_time,
)
from domain.values import ZERO, Money

__all__ = [
    "CancelOrder",
    "CancelOrders",
    "Changes",
    "ExecInst",
    "OrdStatus",
    "OrdType",
    "Order",
    "OrderAccepted",
    "OrderAdopted",
    "OrderAliased",
    "OrderBreakWithdrawn",
    "OrderBroken",
    "OrderCalculated",
    "OrderCancelRejected",
    "OrderCancelRequested",
    "OrderCanceled",
    "OrderDoneForDay",
    "OrderEvent",
    "OrderExpired",
    "OrderFillBusted",
    "OrderFillCorrected",
    "OrderFilled",
    "OrderKey",
    "OrderPendingCancel",
    "OrderPendingNew",
    "OrderPendingReplace",
    "OrderRefused",
    "OrderRejected",
    "OrderReplaceRejected",
    "OrderReplaceRequested",
    "OrderReplaced",
    "OrderReport",
    "OrderRequest",
    "OrderRestated",
    "OrderSubmitted",
    "OrderSuspended",
    "OrderTerms",
    "OrderTriggered",
    "PegOffset",
    "ReplaceOrder",
    "SubmitOrder",
    "TimeInForce",
    "TriggerPrice",
    "admit",
    "as_reported",
    "check",
    "check_fields",
    "check_report",
    "decide",
    "evolve",
    "misfiled",
    "refused",
    "stream",
]


class SubmitOrder(Struct, frozen=True):
    """Send an order. The same `key` with the same `terms` is the same order."""

    key: OrderKey
    terms: OrderTerms
    transact_time: datetime


class CancelOrder(Struct, frozen=True):
    """Cancel an order at the venue. `requested_as` is the request's own ClOrdID, where the venue accepts one."""

    key: OrderKey
    reason: str
    transact_time: datetime
    requested_as: str = ""


class CancelOrders(Struct, frozen=True):
    """Cancel each of these orders of an account that is open, all at once. None of them is refused."""

    account_id: str
    cl_ord_ids: tuple[str, ...]
    reason: str
    transact_time: datetime

    def each(self) -> Iterator[CancelOrder]:
        """The request to cancel each order."""
        for cl_ord_id in self.cl_ord_ids:
            yield CancelOrder(OrderKey(self.account_id, cl_ord_id), self.reason, self.transact_time)


class ReplaceOrder(Struct, frozen=True):
    """Request other terms, under a ClOrdID of the request's own. It follows the last replacement, or what it names."""

    key: OrderKey
    requested_as: str
    changes: Changes
    transact_time: datetime
    orig_cl_ord_id: str = ""


OrderRequest = SubmitOrder | CancelOrder | ReplaceOrder


def stream(key: OrderKey) -> str:
    """The stream of one order."""
    return names.stream("order", key.account_id, key.cl_ord_id)


def decide(order: Order | None, request: OrderRequest) -> tuple[OrderEvent, ...]:
    """The events that carry out a request; () if already in effect. Raises RequestRefused."""
    key = request.key
    if order is not None and order.alias_of:
        raise RequestRefused("one cl_ord_id names one order", cl_ord_id=key.cl_ord_id, order=order.alias_of)
    match order, request:
        case None, SubmitOrder(key, terms, at):
            check_fields(request)
            check(terms, at)
            return (OrderSubmitted(key, terms, at),)
        case None, _:
            raise RequestRefused("an order on record", cl_ord_id=key.cl_ord_id, account_id=key.account_id)
        case Order(refusal=OrderRefused() as refusal), SubmitOrder(terms=terms) if refusal.terms == terms:
            raise RequestRefused(refusal.rule, **refusal.facts)
        case Order(submitted=known), SubmitOrder(terms=terms) if known == terms:
            return ()
        case _, SubmitOrder():
            raise RequestRefused("one cl_ord_id names one order", cl_ord_id=key.cl_ord_id, account_id=key.account_id)
        case Order(), CancelOrder():
            return _answered(order, _decide_cancel(order, request))
        case Order(), ReplaceOrder():
            return _answered(order, _decide_replace(order, request))
        case _:
            assert_never((order, request))


def check_fields(request: SubmitOrder) -> None:
    """Check the ids, numbers and times of an order, without which it cannot be put on record. Raises RequestRefused."""
    check_id("account_id", request.key.account_id)
    check_id("cl_ord_id", request.key.cl_ord_id)
    check_time("transact_time", request.transact_time)
    check_terms_fields(request.terms)


def _answered(order: Order, events: tuple[OrderEvent, ...]) -> tuple[OrderEvent, ...]:
    """The events of a request; an answer that is on record before it is none to an unknown request any more."""
    if not events or all(broken.rule != breaks.NO_REQUEST for broken in order.breaks):
        return events
    return events + breaks.changed(reduce(evolve, events, order))


def _decide_cancel(order: Order, request: CancelOrder) -> tuple[OrderEvent, ...]:
    requested = OrderCancelRequested(request.key, request.reason, request.transact_time, request.requested_as)
    known = order.requests.get(request.requested_as)
    if (known is not None and known.request == requested) or order.is_cancel_requested:
        return ()
    if order.status is OrdStatus.CANCELED:
        return ()
    if request.requested_as:
        check_id("requested_as", request.requested_as)
    _check_new_id(order, request.requested_as)
    check_time("transact_time", request.transact_time)
    if not order.is_open:
        raise RequestRefused("an open order", cl_ord_id=request.key.cl_ord_id, status=order.status)
    return (requested,)


def _decide_replace(order: Order, request: ReplaceOrder) -> tuple[OrderEvent, ...]:
    known = order.requests.get(request.requested_as)
    if known is not None and isinstance(known.request, OrderReplaceRequested):
        orig = request.orig_cl_ord_id or known.request.orig_cl_ord_id
        if (known.request.changes, known.request.orig_cl_ord_id) == (request.changes, orig):
            return ()
    check_id("requested_as", request.requested_as)
    _check_new_id(order, request.requested_as)
    check_time("transact_time", request.transact_time)
    if order.terms is None:
        raise RequestRefused("an order whose terms are on record", cl_ord_id=request.key.cl_ord_id)
    if order._is_over:
        raise RequestRefused("an order that is not closed", cl_ord_id=request.key.cl_ord_id, status=order.status)
    orig, base = _replaced_by(order, order.terms, request)
    terms = request.changes.of(base)
    if terms == base:
        raise RequestRefused("a replacement changes something", cl_ord_id=request.key.cl_ord_id)
    check(terms, request.transact_time)
    if not order.is_open and terms.order_qty <= order.cum_qty:
        raise RequestRefused(
            "a filled order can only grow", order_qty=terms.order_qty, cum_qty=order.cum_qty, status=order.status
        )
    return (
        OrderReplaceRequested(
            request.key, request.requested_as, orig_cl_ord_id=orig, changes=request.changes, terms=terms,
            transact_time=request.transact_time,
        ),
    )  # fmt: skip


def _check_new_id(order: Order, requested_as: str) -> None:
    if requested_as and (requested_as == order.key.cl_ord_id or requested_as in order.requests):
        raise RequestRefused("one cl_ord_id names one request", requested_as=requested_as)


def _replaced_by(order: Order, terms: OrderTerms, request: ReplaceOrder) -> tuple[str, OrderTerms]:
    """The ClOrdID and terms that a replacement follows: the order's own, or those of a replacement still under way."""
    under_way = {request.requested_as: request for request in order.unanswered.values()}
    replacing = [name for name, request in under_way.items() if isinstance(request, OrderReplaceRequested)]
    orig = request.orig_cl_ord_id or (replacing[-1] if replacing else order.cl_ord_id)
    if orig == order.cl_ord_id:
        return orig, terms
    followed = under_way.get(orig)
    if not isinstance(followed, OrderReplaceRequested):
        raise RequestRefused("orig_cl_ord_id names the order, or a replacement of it under way", orig_cl_ord_id=orig)
    return orig, followed.terms


def refused(request: SubmitOrder, refusal: RequestRefused) -> OrderRefused:
    """The record of an order that pre-trade risk refused."""
    facts = {
        name: format(value, "f") if isinstance(value, Decimal) else str(value)
        for name, value in refusal.facts.items()
        if value is not None
    }
    return OrderRefused(request.key, request.terms, refusal.rule, facts, transact_time=request.transact_time)


_EXECUTIONS = (OrderFilled, OrderFillCorrected)
_PRICED = (OrderFilled, OrderFillCorrected, OrderCommissionReported)


def check_report(report: OrderReport) -> None:
    """Check the numbers, ids and times of a venue report. Raises ReportUnreadable naming field, value and rule."""
    if report.transact_time.tzinfo is None:
        raise ReportUnreadable("transact_time", report.transact_time.isoformat(), "a time with its zone")
    if isinstance(report, _EXECUTIONS):
        if not (report.last_qty.is_finite() and report.last_qty > 0):
            raise ReportUnreadable("last_qty", str(report.last_qty), "above zero")
        if not report.last_px.is_finite():
            raise ReportUnreadable("last_px", str(report.last_px), "a number")
    if isinstance(report, _PRICED):
        for paid in (report.commission, *report.further_commissions):
            if paid is not None and not paid.amount.is_finite():
                raise ReportUnreadable("commission", str(paid.amount), "a finite number")
    if isinstance(report, OrderCommissionReported) and not report.exec_ref_id:
        raise ReportUnreadable("exec_ref_id", report.exec_ref_id, "the id of the fill that the commission is of")
    if isinstance(report, OrderFilled):
        if not report.exec_id:
            raise ReportUnreadable("exec_id", report.exec_id, "the id of an execution")
        if report.insurance is not None and not (report.insurance.amount.is_finite() and report.insurance.amount >= 0):
            raise ReportUnreadable("insurance", str(report.insurance.amount), "a charge, not below zero")
        return
    order_qty, price = getattr(report, "order_qty", None), getattr(report, "price", None)
    if order_qty is not None and not (order_qty.is_finite() and order_qty > 0):
        raise ReportUnreadable("order_qty", str(order_qty), "above zero")
    if price is not None and not price.is_finite():
        raise ReportUnreadable("price", str(price), "a number")


def admit(order: Order | None, report: OrderReport) -> tuple[OrderEvent, ...]:
    """The events a venue report adds; () if known. Never refuses: the venue has already done it.

    A report that breaks a rule is recorded all the same, with a break beside it; where a late report changes what
    others break, `domain.order.breaks` says how. Only two are not booked, but kept whole in the break: a report that
    contradicts one on record under the same exec id, and an amendment of a fill that is not on record; the latter is
    booked when its fill arrives.
    """
    if isinstance(report, OrderCommissionReported):
        return admit_commission(order, report)
    if order is None:
        return _adopted(report)
    if isinstance(report, OrderFilled):
        return admit_fill(order, report, identified(order, report))
    report = as_reported(report)
    known = order.reports.get(report.exec_id or report)
    if known is not None:
        return () if known == report else _unbooked(order, breaks.ONE_CONTENT, report)
    if isinstance(report, OrderFillBusted | OrderFillCorrected):
        return _admit_amendment(order, report)
    after = evolve(order, report)
    if isinstance(report, OrderReplaced | OrderRestated):
        return (replace(report, terms=after.terms), *breaks.added(order, report, after))
    return (report, *breaks.added(order, report, after))


def _admit_amendment(order: Order, report: Amendment) -> tuple[OrderEvent, ...]:
    if amendments.origin_of(order.amendments, order.fills, report.exec_ref_id, report.transact_time) is not None:
        return _with_breaks(order, report, _with_waiting(order, _completed(order, report)))
    waiting = amendments.kept_waiting(order.amendments, report)
    return breaks.changed(replace(order, amendments=waiting)) if waiting is not order.amendments else ()


def _with_breaks(
    order: Order, report: OrderFilled | StateReport, events: tuple[OrderEvent, ...]
) -> tuple[OrderEvent, ...]:
    """The events of a report, and the breaks that they add and withdraw."""
    return events + breaks.added(order, report, reduce(evolve, events, order))


def admit_commission(order: Order | None, report: OrderCommissionReported) -> tuple[OrderEvent, ...]:
    """The events that add fees reported apart from their fill; () if known.

    They complete a fill on record as a report of the same fill with its fees would. Before the fill they wait for it,
    with a break beside them that is withdrawn when it arrives.
    """
    fill = _filled_as(order, report) if order is not None else None
    if order is not None and fill is not None:
        commission, *further = report.commissions
        again = replace(fill, commission=commission, further_commissions=tuple(further))
        what = compared(order, fill, again)
        if what.relation is Relation.CONTRADICTS:
            return _unbooked(order, breaks.ONE_CONTENT, report, fill)
        return admit_fill(order, again, what)
    waiting = order.commissions.get(report.exec_ref_id) if order is not None else None
    if order is None or waiting is None:
        return (report, OrderBroken(report.key, breaks.UNKNOWN_COMMISSION, report))
    found = finer_commissions(waiting.commissions, report.commissions)
    if found is None:
        return _unbooked(order, breaks.ONE_CONTENT, report, waiting)
    if found == waiting.commissions:
        return ()
    known = replace(waiting, commission=found[0], further_commissions=found[1:])
    withdrawn = OrderBreakWithdrawn(order.key, breaks.UNKNOWN_COMMISSION, waiting)
    return (withdrawn, known, OrderBroken(order.key, breaks.UNKNOWN_COMMISSION, known))


def _filled_as(order: Order, report: OrderCommissionReported) -> OrderFilled | None:
    """The fill on record, as it was reported, that fees are of."""
    origin = amendments.origin_of(order.amendments, order.fills, report.exec_ref_id, report.transact_time)
    return order.reported_fill(origin.exec_id) if origin is not None else None


def compared(order: Order, fill: OrderFilled, again: OrderFilled) -> Identified:
    """What a report of a fill on record is to it."""
    now = completed(fill, again)
    on_record_ = OnRecord(fill, names_of(order.key, order, fill))
    relation = Relation.CONTRADICTS if now is None else Relation.SAME if now == fill else Relation.COMPLETES
    return Identified(relation, on_record_, now, fill.id_on_record)


def _adopted(report: OrderFilled | StateReport) -> tuple[OrderEvent, ...]:
    match report:
        case OrderFilled():
            adopted = OrderAdopted(
                report.key,
                report.order_id,
                report.strategy_id,
                report.instrument_id,
                side=report.side,
                transact_time=report.transact_time,
            )
        case OrderAccepted(terms=OrderTerms() as terms):
            adopted = OrderAdopted(
                report.key, report.order_id, terms.strategy_id, terms.instrument_id, side=terms.side,
                transact_time=report.transact_time, terms=terms,
            )  # fmt: skip
        case OrderFillBusted() | OrderFillCorrected():
            return (OrderBroken(report.key, breaks.UNKNOWN_FILL, as_reported(report)),)
        case _:
            report = as_reported(report)
            return (report, *breaks.changed(evolve(None, report)))
    if isinstance(report, OrderFilled) or report.ord_status is None:
        return (adopted, report)
    return _with_breaks(evolve(None, adopted), report, (adopted, report))


def names_of(key: OrderKey, order: Order | None, fill: OrderFilled) -> Names:
    """What an order is known by, on record and in a fill of it."""
    order_ids = order.order_ids if order is not None else frozenset()
    if fill.order_id:
        order_ids = frozenset((fill.order_id,))
    return Names(key, "" if is_adopted_id(key.cl_ord_id, fill) else key.cl_ord_id, order_ids)


def on_record(order: Order, entry_id: str) -> OnRecord | None:
    """The execution that an order has on record under an id, as it was reported."""
    fill = order.reported_fill(entry_id)
    return None if fill is None else OnRecord(fill, names_of(order.key, order, fill))


def identified(order: Order, report: OrderFilled) -> Identified:
    """What a reported fill is to the executions of its own order."""
    return identify(report, names_of(order.key, order, report), partial(on_record, order))


def admit_fill(order: Order | None, report: OrderFilled, what: Identified) -> tuple[OrderEvent, ...]:
    """The events a reported fill adds to the order it is on record under, or to its own if it is new; () if known."""
    match what:
        case Identified(Relation.OTHER):
            new = replace(report, entry_id="" if what.entry_id == report.exec_id else what.entry_id)
            return _adopted(new) if order is None else _with_new_fill(order, new)
        case Identified(Relation.SAME):
            return ()
        case _ if order is None:
            raise AssertionError(f"{what} without an order")
        case Identified(Relation.COMPLETES, OnRecord(), OrderFilled() as known):
            was, amended = order.fills.get(known.id_on_record), order.amendments.fills.get(known.id_on_record)
            now = known if amended is None else replace(amended, reported=known).standing
            event = OrderFillCompleted(order.key, report, known, known.transact_time, was=was, now=now)
            if was is not None and now is not None and _without_fees(was) == _without_fees(now):
                return (event,)  # fees break no rule
            return (event, *breaks.changed(evolve(order, event)))
        case Identified(Relation.CONTRADICTS, OnRecord(known)):
            return _unbooked(order, breaks.ONE_CONTENT, replace(report, key=order.key), known)
        case _:
            raise AssertionError(f"{what} of {report}")


def _with_new_fill(order: Order, report: OrderFilled) -> tuple[OrderEvent, ...]:
    if breaks.surely_fits(order, report):
        return (report,)
    events = _with_breaks(order, report, _with_waiting(order, report))
    waiting = order.commissions.get(report.exec_id)
    if waiting is None:
        return events
    completing = admit_commission(reduce(evolve, events, order), waiting)
    return (*events, *completing, OrderBreakWithdrawn(order.key, breaks.UNKNOWN_COMMISSION, waiting))


def _without_fees(fill: OrderFilled) -> OrderFilled:
    return replace(fill, commission=_NO_FEE, further_commissions=())


_NO_FEE = Money(ZERO, "")


def _with_waiting(order: Order, event: OrderFilled | Amendment) -> tuple[OrderEvent, ...]:
    """The event, and the amendments that were waiting for it."""
    events: list[OrderEvent] = []
    ready: list[OrderFilled | Amendment] = [event]
    while ready:
        event = ready.pop(0)
        if not isinstance(event, OrderFilled):
            event = _completed(order, event)
        events.append(event)
        order = evolve(order, event)
        ready += order.amendments.waiting.get(event.exec_id, ()) if event.exec_id else ()
    return tuple(events)


def _completed(order: Order, report: Amendment) -> Amendment:
    _, was, now = amendments.amended(order.amendments, order.fills, report)
    return replace(report, was=was) if isinstance(report, OrderFillBusted) else replace(report, was=was, now=now)


def _unbooked(
    order: Order, rule: str, report: OrderReport, known: OrderFilled | OrderCommissionReported | None = None
) -> tuple[OrderEvent, ...]:
    is_on_record = any((broken.rule, broken.report) == (rule, report) for broken in order.breaks)
    return () if is_on_record else (OrderBroken(order.key, rule, report, known),)


def misfiled(order: Order | None, report: OrderReport) -> tuple[OrderEvent, ...]:
    """The break of an order on record when an execution is reported of it that is booked under another order."""
    return _unbooked(order, "an execution is on record under one order", report) if order is not None else ()
