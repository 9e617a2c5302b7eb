"""Routing to orders: finding an order by its ids, and what follows for positions, limits and parent orders.

A report is recorded in the stream of the order it is about, under any of its ids. Once all orders of a unit of work
have recorded theirs, fills are booked, and busts and corrections reversed or booked again.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime

from msgspec.structs import replace

from domain import order
from domain.errors import RequestRefused
from domain.instrument import Contract
from domain.ledger import schema
from domain.ledger.log import Recorded
from domain.ledger.unit_of_work import UnitOfWork
from domain.order import (
    CancelOrders,
    Identified,
    Names,
    OnRecord,
    Order,
    OrderAliased,
    OrderBroken,
    OrderCancelRequested,
    OrderCommissionReported,
    OrderEvent,
    OrderFillBusted,
    OrderFillCompleted,
    OrderFillCorrected,
    OrderFilled,
    OrderKey,
    OrderReplaceRequested,
    OrderReport,
    ParentOrder,
    StateReport,
    venue_ids,
)
from domain.order import parent as parents
from domain.position import Filled, PositionKey, PositionReport, Reverse
from domain.values import by_currency

Facts = Callable[[str, datetime], Contract]


class Due:
    """The bookings and reversals of one unit of work that are due once all orders have recorded their reports.

    `touched` are the orders whose hold may have to change by more than their fills, and since when. The positions
    `booked_first` are booked in this order, before others; else in the order of their first report.
    """

    def __init__(self, booked_first: Sequence[PositionKey] = ()) -> None:
        self.reversals: dict[PositionKey, list[PositionReport]] = {}
        self.bookings: dict[PositionKey, list[PositionReport]] = {key: [] for key in booked_first}
        self.touched: dict[OrderKey, datetime] = {}


def record_request(work: UnitOfWork, key: OrderKey, events: Sequence[OrderEvent], at: datetime) -> None:
    """Record a request about an order. Its own ClOrdID, if it has one, becomes an alias of the order."""
    for event in events:
        if isinstance(event, OrderCancelRequested | OrderReplaceRequested) and event.requested_as:
            alias = OrderKey(key.account_id, event.requested_as)
            if work.state(order.stream(alias)) is not None:
                raise RequestRefused("one cl_ord_id names one order or request", requested_as=event.requested_as)
            work.record(order.stream(alias), (OrderAliased(alias, key.cl_ord_id, event.transact_time),))
    work.record(order.stream(key), events)
    if events:
        report_to_parent(work, key, at)


def cancel_each(work: UnitOfWork, request: CancelOrders) -> None:
    """Request to cancel each order that is open and not to be canceled already; leave the others as they are."""
    for cancel in request.each():
        named = venue_ids.requested_of(work.state, cancel)
        with suppress(RequestRefused):
            requested = order.decide(work.state(order.stream(named.key)), named)
            record_request(work, named.key, requested, named.transact_time)


def check_child(work: UnitOfWork, child: Order, contract: Contract) -> None:
    """Check that a child order is part of its parent's intent. Raises RequestRefused."""
    if child.terms is not None and child.terms.parent:
        parent = work.state(parents.stream(OrderKey(child.key.account_id, child.terms.parent)))
        parents.check_child(parent, child, contract)


def report_to_parent(work: UnitOfWork, key: OrderKey, at: datetime) -> None:
    """Record a child's progress at its parent, if it has one."""
    child: Order = work.state(order.stream(key))
    if child.terms is None or not child.terms.parent:
        return
    stream = parents.stream(OrderKey(key.account_id, child.terms.parent))
    parent: ParentOrder | None = work.state(stream)
    if parent is not None:
        work.record(stream, parents.progressed(parent, child, at))


def admit(work: UnitOfWork, report: OrderReport, facts: Facts, due: Due) -> tuple[Recorded, ...]:
    """Record a venue report on an order, under any of its ids, and add to `due` what follows from it."""
    if isinstance(report, OrderCommissionReported) and report.instrument_id:
        report = _of_its_fill(work, report)
    report = venue_ids.reported_of(work.state, report)
    elsewhere: tuple[Recorded, ...] = ()
    if isinstance(report, OrderFilled):
        report = replace(report, entry_id="") if report.entry_id else report
        what = _identified(work, report)
        if what.on_record is not None and what.on_record.names.key != report.key:
            elsewhere = _named_otherwise(work, report, what.on_record.names)
            report = replace(report, key=what.on_record.names.key)
        before: Order | None = work.state(order.stream(report.key))
        added = order.admit_fill(before, report, what)
    else:
        before = work.state(order.stream(report.key))
        added = order.admit(before, report)
    stream = order.stream(report.key)
    records = elsewhere + work.record(stream, added)
    if not records:
        return records
    state: Order = work.state(stream)
    if isinstance(report, StateReport) and state.submitted is None:
        _name_request(work, report, state)
    if report.order_id and (before is None or report.order_id not in before.order_ids):
        records += _link(work, report, state)
    is_filled_only = True
    for recorded in records:
        match recorded.event:
            case OrderFilled() as fill:
                _book(due, state, fill, facts)
                continue
            case OrderFillBusted(was=OrderFilled() as was, reason=reason):
                _reverse(due, state, was, reason or "busted")
            case OrderFillCompleted(was=OrderFilled() as was, now=OrderFilled() as now):
                if _is_booked_otherwise(was, now):
                    _reverse(due, state, was, "known better")
                    _book(due, state, now, facts)
            case OrderFillCorrected(was=OrderFilled() as was, now=now) if was != now:
                _reverse(due, state, was, "corrected")
                if now is not None:
                    _book(due, state, now, facts)
        is_filled_only = False
    if state.terms is not None and state.terms.parent:
        report_to_parent(work, report.key, report.transact_time)
    if not (is_filled_only and state.is_open):
        due.touched[report.key] = report.transact_time
    return records


def _of_its_fill(work: UnitOfWork, report: OrderCommissionReported) -> OrderCommissionReported:
    """The fees under the key of the order whose fill they are of, where it is on record in their instrument."""
    account_id, exec_id = report.key.account_id, report.exec_ref_id
    entry_ids = (exec_id, next(order.entry_ids(exec_id, report.transact_time.date())))
    named: Order | None = work.state(order.stream(report.key)) if report.key.cl_ord_id else None
    if named is not None and any(named.reported_fill(entry_id) is not None for entry_id in entry_ids):
        return report
    keys = [schema.execution_key_of(account_id, report.instrument_id, entry_id) for entry_id in entry_ids]
    work.look_up(keys)
    stream = next((found for found in map(work.stream_of_execution, keys) if found is not None), None)
    if stream is None:
        return report
    known: Order = work.state(stream)
    return replace(report, key=known.key)


def _name_request(work: UnitOfWork, report: StateReport, state: Order) -> None:
    """Make the ClOrdID of a request that others made about an order we never sent an alias of the order."""
    if not report.requested_as or report.requested_as == state.key.cl_ord_id:
        return
    alias = OrderKey(state.key.account_id, report.requested_as)
    if work.state(order.stream(alias)) is None:
        work.record(order.stream(alias), (OrderAliased(alias, state.key.cl_ord_id, report.transact_time),))


def _identified(work: UnitOfWork, report: OrderFilled) -> Identified:
    """What a reported fill is to the executions on record, of its own order and of others."""
    own: Order | None = work.state(order.stream(report.key))

    def find(entry_id: str) -> OnRecord | None:
        if own is not None and (found := order.on_record(own, entry_id)) is not None:
            return found
        key = schema.execution_key_of(report.key.account_id, report.instrument_id, entry_id)
        stream = work.stream_of_execution(key)
        other: Order | None = work.state(stream) if stream is not None else None
        return order.on_record(other, entry_id) if other is not None else None

    return order.identify(report, order.names_of(report.key, own, report), find)


def _named_otherwise(work: UnitOfWork, report: OrderFilled, names: Names) -> tuple[Recorded, ...]:
    """What is recorded of the order that a report names, where its execution is on record under another one.

    The ClOrdID of an order that was adopted under the venue's id becomes its alias; a break where both are on record.
    """
    named = order.stream(report.key)
    known: Order | None = work.state(named)
    if known is not None:
        return work.record(named, order.misfiled(known, report))
    if names.cl_ord_id or order.is_adopted_id(report.key.cl_ord_id, report):
        return ()
    return work.record(named, (OrderAliased(report.key, names.key.cl_ord_id, report.transact_time),))


def _is_booked_otherwise(was: OrderFilled, now: OrderFilled) -> bool:
    """Whether a fill that is known better now is to be booked again."""
    return replace(was, order_id="") != replace(now, order_id="")


def on_record(work: UnitOfWork, report: OrderReport, added: Iterable[Recorded]) -> OrderFilled | None:
    """The fill on record that a reported fill is or contradicts, once the records `added` by its report are in."""
    if not isinstance(report, OrderFilled):
        return None
    for recorded in added:
        match recorded.event:
            case OrderFilled() as fill if fill.exec_id == report.exec_id:
                return fill
            case OrderFillCompleted(known=known):
                return known
            case OrderBroken(on_record=OrderFilled() as fill):
                return fill
    found = _identified(work, replace(report, key=venue_ids.reported_of(work.state, report).key)).on_record
    return found.fill if found is not None else None


def _link(work: UnitOfWork, report: OrderReport, state: Order) -> tuple[Recorded, ...]:
    """Index the venue's order id; a break if it already leads to another order."""
    link = venue_ids.link_of(report, state)
    if link is None:
        return ()
    stream = venue_ids.stream(link.venue, link.account_id, link.order_id)
    index = work.state_assuming_new(stream)
    if venue_ids.contradicts(index, link):
        return work.record(order.stream(state.key), (OrderBroken(state.key, "one order_id names one order", report),))
    work.record(stream, venue_ids.admit(index, link))
    return ()


def _position_of(state: Order, fill: OrderFilled) -> PositionKey:
    """The position that a fill of an order is booked in: under the order's own strategy, in the fill's own leg."""
    return PositionKey(fill.key.account_id, state.strategy_id, fill.instrument_id, state.leg_of(fill))


def _book(due: Due, state: Order, fill: OrderFilled, facts: Facts) -> None:
    """Add the booking of a fill; its fees are summed by currency."""
    commission, *further = by_currency(fill.fees)
    key = _position_of(state, fill)
    due.bookings.setdefault(key, []).append(
        Filled(
            key, contract=facts(fill.instrument_id, fill.transact_time), cl_ord_id=fill.key.cl_ord_id,
            exec_id=fill.id_on_record, trade_seq=fill.trade_seq, side=fill.side, last_qty=fill.last_qty,
            last_px=fill.last_px, commission=commission, liquidity=fill.liquidity, kind=fill.kind,
            transact_time=fill.transact_time, nanos=fill.nanos, further_commissions=tuple(further),
        )
    )  # fmt: skip


def _reverse(due: Due, state: Order, was: OrderFilled, reason: str) -> None:
    """Add the reversal of a fill; a fill of the same unit of work is removed from those to be booked."""
    key = _position_of(state, was)
    unbooked = due.bookings.get(key, [])
    entry = (was.id_on_record, was.side, was.key.cl_ord_id)
    kept = [
        other
        for other in unbooked
        if not (isinstance(other, Filled) and (other.exec_id, other.side, other.cl_ord_id) == entry)
    ]
    if len(kept) < len(unbooked):
        due.bookings[key] = kept
        return
    reversal = Reverse(key, was.id_on_record, was.trade_seq, was.transact_time, reason=reason, nanos=was.nanos)
    due.reversals.setdefault(key, []).append(reversal)
