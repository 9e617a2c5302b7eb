"""Parent order: one intent to trade, routed to several venues as child orders.

A parent is sent nowhere itself: it holds no limit and books no fill; its children do. Its CumQty and cost are the sums
of what its children have filled, carried over with every report that moves one of them, so they agree at every seq.
Children trade the same contract (base, quote, settlement, size) at any venue, so that quantities and costs add up.
"""

from datetime import datetime
from decimal import Decimal
from typing import assert_never

from msgspec import Struct
from msgspec.structs import replace

from domain import names
from domain.errors import RequestRefused
from domain.instrument import Contract
from domain.order.events import OrdStatus
from domain.order.state import Order
from domain.order.terms import OrderKey, check_amount, check_id, check_number, check_time
from domain.values import ZERO, Side, exact


class Progress(Struct, frozen=True):
    """The progress of a child order: in the parent's units, sums over its fills as they stand."""

    status: OrdStatus  # 39
    order_qty: Decimal | None  # 38
    cum_qty: Decimal  # 14
    cum_cost: Decimal  # the sum of LastQty x LastPx
    leaves_qty: Decimal  # 151
    held_qty: Decimal  # what it may yet fill if every replacement under way is accepted


# Events: the stored format. A name or a field here outlives this code; change one only with an upcast.
class ParentOpened(Struct, frozen=True, tag="ParentOpened"):
    """An intent to trade, to be worked in children."""

    key: OrderKey  # 1, 11
    strategy_id: str
    contract: Contract
    side: Side  # 54
    order_qty: Decimal  # 38
    price: Decimal | None  # 44: no child pays more, or sells for less
    transact_time: datetime  # 60


class ChildProgressed(Struct, frozen=True, tag="ChildProgressed"):
    """A child was sent, or a venue report has changed its progress."""

    key: OrderKey
    child: str  # its ClOrdID, in the same account
    progress: Progress
    transact_time: datetime


class ParentClosed(Struct, frozen=True, tag="ParentClosed"):
    """No more children will be sent. Those at work go on until they are canceled themselves."""

    key: OrderKey
    reason: str  # 58
    transact_time: datetime


ParentEvent = ParentOpened | ChildProgressed | ParentClosed


class OpenParent(Struct, frozen=True):
    """Open an intent to trade. The same `key` with the same terms is the same intent."""

    key: OrderKey
    strategy_id: str
    contract: Contract
    side: Side
    order_qty: Decimal
    price: Decimal | None
    transact_time: datetime


class CloseParent(Struct, frozen=True):
    """Send no more children."""

    key: OrderKey
    reason: str
    transact_time: datetime


ParentRequest = OpenParent | CloseParent


class ParentOrder(Struct, frozen=True):
    """A parent order and the progress of each child, by its ClOrdID."""

    opened: ParentOpened
    children: dict[str, Progress] = {}
    is_closed: bool = False

    @property
    def cum_qty(self) -> Decimal:
        """The quantity that all children have filled."""
        return exact(sum((child.cum_qty for child in self.children.values()), ZERO))

    @property
    def cum_cost(self) -> Decimal:
        """The amount that all children have paid or received for it."""
        return exact(sum((child.cum_cost for child in self.children.values()), ZERO))

    @property
    def working_qty(self) -> Decimal:
        """The quantity that working children may still fill."""
        return exact(sum((child.leaves_qty for child in self.children.values()), ZERO))

    @property
    def leaves_qty(self) -> Decimal:
        """The quantity still to be filled, by working children and, unless it is closed, by further ones."""
        if self.is_closed:
            return self.working_qty
        return max(exact(self.opened.order_qty - self.cum_qty), ZERO)

    @property
    def status(self) -> OrdStatus:
        """FIX OrdStatus(39) of the intent: a closed parent is pending until its last child has ended."""
        if self.cum_qty >= self.opened.order_qty:
            return OrdStatus.FILLED
        if self.is_closed:
            return OrdStatus.PENDING_CANCEL if self.working_qty else OrdStatus.CANCELED
        return OrdStatus.PARTIALLY_FILLED if self.cum_qty else OrdStatus.NEW


def stream(key: OrderKey) -> str:
    """The stream of one parent."""
    return names.stream("parentorder", key.account_id, key.cl_ord_id)


def decide(parent: ParentOrder | None, request: ParentRequest) -> tuple[ParentEvent, ...]:
    """The events that carry out a request; () if already in effect. Raises RequestRefused."""
    match parent, request:
        case None, OpenParent(key, strategy_id, contract, side, order_qty, price, at):
            for field, value in (("cl_ord_id", key.cl_ord_id), ("strategy_id", strategy_id)):
                check_id(field, value)
            check_time("transact_time", at)
            check_amount("order_qty", order_qty)
            check_number("price", price)
            return (ParentOpened(key, strategy_id, contract, side, order_qty=order_qty, price=price, transact_time=at),)
        case ParentOrder(opened=opened), OpenParent():
            requested = ParentOpened(
                request.key, request.strategy_id, request.contract, request.side, order_qty=request.order_qty,
                price=request.price, transact_time=opened.transact_time,
            )  # fmt: skip
            if requested == opened:
                return ()
            raise RequestRefused("one cl_ord_id names one parent order", cl_ord_id=request.key.cl_ord_id)
        case None, CloseParent():
            raise RequestRefused("a parent order on record", cl_ord_id=request.key.cl_ord_id)
        case ParentOrder(is_closed=is_closed), CloseParent(key, reason, at):
            return () if is_closed else (ParentClosed(key, reason, at),)
    raise AssertionError("all pairs are above")


def check_child(parent: ParentOrder | None, child: Order, contract: Contract) -> None:
    """Check that a child, new or with new terms, is part of its parent's intent. Raises RequestRefused."""
    terms = child.terms
    assert terms is not None, "a child is one of ours"
    if parent is None:
        raise RequestRefused("a child's parent is on record", parent=terms.parent)
    opened = parent.opened
    if parent.is_closed:
        raise RequestRefused("a child's parent is open", parent=terms.parent)
    if (terms.side, terms.strategy_id, contract) != (opened.side, opened.strategy_id, opened.contract):
        raise RequestRefused(
            "a child has its parent's side, strategy and contract", parent=terms.parent, side=terms.side,
            strategy_id=terms.strategy_id, instrument_id=terms.instrument_id,
        )  # fmt: skip
    if opened.price is not None and (terms.price is None or (terms.price - opened.price) * opened.side.sign > 0):
        raise RequestRefused("a child keeps to its parent's price", price=terms.price, limit=opened.price)
    others = [progress for key, progress in parent.children.items() if key != child.key.cl_ord_id]
    taken = exact(sum((other.cum_qty + other.held_qty for other in others), ZERO))
    requested = max(terms.order_qty, child.cum_qty)
    if taken + requested > opened.order_qty:
        raise RequestRefused(
            "children do not exceed their parent", order_qty=requested, taken=taken, parent_qty=opened.order_qty
        )


def progressed(parent: ParentOrder, child: Order, at: datetime) -> tuple[ParentEvent, ...]:
    """The parent's events after an event of a child; () if its progress is unchanged."""
    progress = Progress(
        child.status, child.order_qty, child.cum_qty, child.cum_cost, leaves_qty=child.leaves_qty,
        held_qty=child.held_qty,
    )  # fmt: skip
    if parent.children.get(child.key.cl_ord_id) == progress:
        return ()
    return (ChildProgressed(parent.opened.key, child.key.cl_ord_id, progress, at),)


def evolve(parent: ParentOrder | None, event: ParentEvent) -> ParentOrder:
    """The parent after an event. Total and unconditional."""
    match event:
        case ParentOpened():
            return ParentOrder(event)
        case ChildProgressed(child=child, progress=progress):
            assert parent is not None, "a parent's history starts with its opening"
            return replace(parent, children=parent.children | {child: progress})
        case ParentClosed():
            assert parent is not None, "a parent's history starts with its opening"
            return replace(parent, is_closed=True)
        case _:
            assert_never(event)
