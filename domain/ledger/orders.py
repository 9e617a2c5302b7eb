"""Orders on the way of a command: under which names they are found, and what follows for positions, limits and parents.

A report is taken down by the order it is about, whatever it calls it. Only then, once all orders of a unit have taken
theirs, is booked what they come to: fills, and what busts and corrections take back or book anew.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from msgspec.structs import replace

from domain import order
from domain.errors import RequestRefused
from domain.instrument import Contract
from domain.ledger.log import Recorded
from domain.ledger.unit_of_work import Work
from domain.order import (
    Order,
    OrderAliased,
    OrderBroken,
    OrderCancelRequested,
    OrderEvent,
    OrderFillBusted,
    OrderFillCorrected,
    OrderFilled,
    OrderKey,
    OrderReplaceRequested,
    OrderReport,
    ParentOrder,
    venue_ids,
)
from domain.order import parent as parents
from domain.position import Filled, PositionKey, PositionReport, Reverse

Facts = Callable[[str, datetime], Contract]


class Due:
    """What the reports of one unit mean for positions and limits, once all orders have taken theirs.

    `touched` orders may hold another quantity of their limits than fills explain, since when.
    """

    def __init__(self) -> None:
        self.reversals: dict[PositionKey, list[PositionReport]] = {}
        self.bookings: dict[PositionKey, list[PositionReport]] = {}
        self.touched: dict[OrderKey, datetime] = {}


def ask(work: Work, key: OrderKey, events: Sequence[OrderEvent], at: datetime) -> None:
    """Record a request about an order; its own ClOrdID, if it has one, leads to the order from then on."""
    for event in events:
        if isinstance(event, OrderCancelRequested | OrderReplaceRequested) and event.requested_as:
            alias = OrderKey(key.account_id, event.requested_as)
            if work.state(order.stream(alias)) is not None:
                raise RequestRefused("one cl_ord_id names one order or request", requested_as=event.requested_as)
            work.record(order.stream(alias), (OrderAliased(alias, key.cl_ord_id, event.transact_time),))
    work.record(order.stream(key), events)
    if events:
        tell_parent(work, key, at)


def check_child(work: Work, child: Order, contract: Contract) -> None:
    """Refuses a child order that is not part of its parent's intent. Raises RequestRefused."""
    if child.terms is not None and child.terms.parent:
        parent = work.state(parents.stream(OrderKey(child.key.account_id, child.terms.parent)))
        parents.check_child(parent, child, contract)


def tell_parent(work: Work, key: OrderKey, at: datetime) -> None:
    """Carry over to a child's parent how far it has come."""
    child: Order = work.state(order.stream(key))
    if child.terms is None or not child.terms.parent:
        return
    stream = parents.stream(OrderKey(key.account_id, child.terms.parent))
    parent: ParentOrder | None = work.state(stream)
    if parent is not None:
        work.record(stream, parents.progressed(parent, child, at))


def report(work: Work, told: OrderReport, facts: Facts, due: Due) -> tuple[Recorded, ...]:
    """Take down what a venue says of an order, under whichever of its names, and note what is due in its wake."""
    told = venue_ids.reported_of(work.state, told)
    misfiled: tuple[Recorded, ...] = ()
    if (owner := _owner(work, told)) is not None:  # an execution that is booked under another order
        named = order.stream(told.key)
        misfiled = work.record(named, order.misfiled(work.state(named), told))
        told = replace(told, key=owner.key)
    stream = order.stream(told.key)
    before: Order | None = work.state(stream)
    records = misfiled + work.record(stream, order.admit(before, told))
    if not records:
        return records
    state: Order = work.state(stream)
    if told.order_id and (before is None or told.order_id not in before.order_ids):
        records += _link(work, told, state)
    is_filled_only = True
    for recorded in records:
        match recorded.event:
            case OrderFilled() as fill:
                _book(due, state, fill, facts)
                continue
            case OrderFillBusted(was=OrderFilled() as was, reason=reason):
                _take_back(due, state, was, reason or "busted")
            case OrderFillCorrected(was=OrderFilled() as was, now=now) if was != now:
                _take_back(due, state, was, "corrected")
                if now is not None:
                    _book(due, state, now, facts)
        is_filled_only = False
    if state.terms is not None and state.terms.parent:
        tell_parent(work, told.key, told.transact_time)
    if not (is_filled_only and state.is_open):
        due.touched[told.key] = told.transact_time
    return records


def _owner(work: Work, told: OrderReport) -> Order | None:
    """The other order that a fill is on record under; None if it is on record nowhere, or under the one it names."""
    stream = work.executed(told) if isinstance(told, OrderFilled) else None
    return work.state(stream) if stream is not None and stream != order.stream(told.key) else None


def on_record(work: Work, told: OrderReport, added: Iterable[Recorded]) -> OrderFilled | None:
    """What the book has under a fill's exec id, once it is taken down by what was `added`."""
    if not isinstance(told, OrderFilled):
        return None
    for recorded in added:
        if isinstance(recorded.event, OrderFilled) and recorded.event.exec_id == told.exec_id:
            return recorded.event
    named = venue_ids.reported_of(work.state, told).key
    state: Order | None = work.state(work.executed(told) or order.stream(named))
    return state.reported_fill(told.exec_id) if state is not None else None


def _link(work: Work, told: OrderReport, state: Order) -> tuple[Recorded, ...]:
    """Let the venue's id lead to the order; a break if it leads to another already."""
    link = venue_ids.link_of(told, state)
    if link is None:
        return ()
    stream = venue_ids.stream(link.venue, link.account_id, link.order_id)
    index = work.likely_new(stream)
    if venue_ids.contradicts(index, link):
        return work.record(order.stream(state.key), (OrderBroken(state.key, "one order_id names one order", told),))
    work.record(stream, venue_ids.admit(index, link))
    return ()


def _book(due: Due, state: Order, fill: OrderFilled, facts: Facts) -> None:
    """A fill is to be booked, under the order's own strategy."""
    key = PositionKey(fill.key.account_id, state.strategy_id, fill.instrument_id)
    due.bookings.setdefault(key, []).append(
        Filled(
            key, facts(fill.instrument_id, fill.transact_time), fill.key.cl_ord_id, fill.exec_id, fill.trade_seq,
            fill.side, fill.last_qty, fill.last_px, fill.commission, fill.liquidity, fill.transact_time,
        )
    )  # fmt: skip


def _take_back(due: Due, state: Order, was: OrderFilled, reason: str) -> None:
    """A fill is to be reversed in its place in time; one of this very unit is just not booked."""
    key = PositionKey(was.key.account_id, state.strategy_id, was.instrument_id)
    unbooked = due.bookings.get(key, [])
    kept = [told for told in unbooked if not (isinstance(told, Filled) and told.exec_id == was.exec_id)]
    if len(kept) < len(unbooked):
        due.bookings[key] = kept
        return
    back = Reverse(key, was.exec_id, was.trade_seq, was.transact_time, reason)
    due.reversals.setdefault(key, []).append(back)
