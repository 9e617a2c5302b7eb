"""The state of an order, folded from its events.

The state follows from the set of facts the venue has reported, by their own times, not from the order in which they
arrived: the same reports end in the same status, quantities and fills in any order. Of several values for one fact (an
end, a quantity, a price) the one that holds is chosen by time. The status is the first that applies in FIX's
precedence; our own request shows as pending until the venue's next report on the order, then the venue's status counts.

A suspended order works again once a later report shows it: New, Triggered, Restated, a fill, or an OrdStatus of NEW or
PARTIALLY_FILLED. So does an order that is done for the day, if it outlives the day; one that does not is over, and only
a restatement reopens it: a fill after its end, such as one booked again after a bust, does not.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple, assert_never

from msgspec import Struct
from msgspec.structs import replace

from domain.immutable import AppendMap
from domain.order import amendments
from domain.order.amendments import Amendments
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
    OrderRestated,
    OrderSubmitted,
    OrderSuspended,
    OrderTriggered,
    OrdStatus,
    StateReport,
    as_reported,
)
from domain.order.terms import OrderKey, OrderTerms
from domain.values import ZERO, PositionSide, Side, exact

CANCEL, REPLACE = "CANCEL", "REPLACE"


class NumberedRequest(NamedTuple):
    """A request about an order, and its number among all of them from 1."""

    number: int
    request: OrderCancelRequested | OrderReplaceRequested


class Stated(NamedTuple):
    """A quantity or price that a venue stated, when, for which of our replacements (0: none). The greatest holds."""

    at: datetime
    number: int
    value: Decimal


class Order(Struct, frozen=True, gc=False):
    """The state of an order. `order_qty` is None for an adopted order of unknown quantity.

    `fills` are those that stand, by their id on record. `late` counts the reports that arrived behind later ones;
    `last_at` is the time of the last report, `reported_at` that of the last one other than a fill. `commissions` are
    those that wait for their fill, by its exec id. `carried_from` is its first instrument, where it was carried into
    another one, last at `carried_at`.
    """

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
    fills: AppendMap[str, OrderFilled] = AppendMap()
    breaks: tuple[OrderBroken, ...] = ()
    reports: AppendMap[str | StateReport, StateReport] = AppendMap()
    refusal: OrderRefused | None = None
    amendments: Amendments = Amendments()
    submitted: OrderTerms | None = None
    alias_of: str = ""
    order_ids: frozenset[str] = frozenset()
    is_accepted: bool = False
    ended: tuple[datetime, OrdStatus] | None = None
    done_for_day_at: datetime | None = None
    suspended_at: datetime | None = None
    calculated_at: datetime | None = None
    restated_at: datetime | None = None
    traded_at: datetime | None = None
    requested: OrdStatus | None = None
    requests: AppendMap[str, NumberedRequest] = AppendMap()
    unanswered: dict[tuple[str, str], OrderCancelRequested | OrderReplaceRequested] = {}
    pending: dict[tuple[str, str], datetime] = {}
    answers: AppendMap[tuple[str, str], datetime] = AppendMap()
    terms_as: str = ""
    terms_since: tuple[datetime, int] | None = None
    qty_stated: Stated | None = None
    price_stated: Stated | None = None
    request_count: int = 0
    last_at: datetime | None = None
    late: int = 0
    reported_at: datetime | None = None
    resumed_at: datetime | None = None
    last_requested: dict[str, str] = {}
    filled_leg: PositionSide = PositionSide.BOTH
    commissions: dict[str, OrderCommissionReported] = {}
    carried_at: datetime | None = None
    carried_from: str = ""

    @property
    def leaves_qty(self) -> Decimal:
        """The quantity that may still be filled; zero once the order is closed or when its quantity is unknown."""
        if self.order_qty is None or self._is_over:
            return ZERO
        return max(exact(self.order_qty - self.cum_qty), ZERO)

    @property
    def held_qty(self) -> Decimal:
        """The quantity that may yet be filled if every replacement under way is accepted: its hold of the limits."""
        requested = [r.terms.order_qty for r in self.unanswered.values() if isinstance(r, OrderReplaceRequested)]
        return max(self.leaves_qty, exact(max(requested) - self.cum_qty)) if requested else self.leaves_qty

    @property
    def is_open(self) -> bool:
        """Whether the order can still be filled by right."""
        return not self._is_over and (self.order_qty is None or self.cum_qty < self.order_qty)

    @property
    def leg(self) -> PositionSide:
        """The leg of the position that the order trades, by its terms."""
        return self.terms.leg if self.terms is not None else PositionSide.BOTH

    @property
    def shown_leg(self) -> PositionSide:
        """The leg by its terms, or of an order known by its fills alone the one that they state."""
        return self.filled_leg if self.terms is None else self.leg

    def leg_of(self, fill: OrderFilled) -> PositionSide:
        """The leg that a fill is booked in: the one it states, else the order's."""
        return fill.position_side if fill.position_side is not PositionSide.BOTH else self.leg

    @property
    def cl_ord_id(self) -> str:
        """The ClOrdID whose terms hold: the order's first, or that of its last replacement."""
        return self.terms_as or self.key.cl_ord_id

    def reported_fill(self, entry_id: str) -> OrderFilled | None:
        """The fill under an id on record, before any amendment, whether it stands or not."""
        amended = self.amendments.fills.get(entry_id)
        return amended.reported if amended is not None else self.fills.get(entry_id)

    @property
    def is_cancel_requested(self) -> bool:
        """Whether a cancel request of ours has no answer yet."""
        return any(kind == CANCEL for kind, _ in self.unanswered)

    @property
    def _is_over(self) -> bool:
        if self.ended is not None or self.refusal is not None or self.calculated_at is not None:
            return True
        return self.done_for_day_at is not None and self._ends_with_day and self._is_done_for_day

    @property
    def _ends_with_day(self) -> bool:
        return self.terms is not None and not self.terms.time_in_force.outlives_day

    @property
    def _is_done_for_day(self) -> bool:
        done_at = self.done_for_day_at
        if done_at is None or not self._ends_with_day:
            return self._holds(done_at)
        return self.restated_at is None or done_at > self.restated_at

    def _holds(self, paused_at: datetime | None) -> bool:
        """Whether no later report shows that the order works again. At the same moment only a restatement does."""
        return (
            paused_at is not None
            and (self.traded_at is None or paused_at >= self.traded_at)
            and (self.resumed_at is None or paused_at >= self.resumed_at)
            and (self.restated_at is None or paused_at > self.restated_at)
        )


def evolve(order: Order | None, event: OrderEvent) -> Order:
    """The order after an event. Total and unconditional: history is not argued with."""
    if order is None:
        order = _first(event)
    match event:
        case OrderFilled():
            return _with_fill(order, event)
        case OrderSubmitted() | OrderRefused() | OrderAdopted() | OrderAliased():
            return order
        case OrderCancelRequested():
            return _with_request(order, event, CANCEL, OrdStatus.PENDING_CANCEL)
        case OrderReplaceRequested():
            return _with_request(order, event, REPLACE, OrdStatus.PENDING_REPLACE)
        case OrderBroken(report=(OrderFillBusted() | OrderFillCorrected()) as report):
            waiting = order.amendments
            if amendments.origin_of(waiting, order.fills, report.exec_ref_id, report.transact_time) is None:
                waiting = amendments.kept_waiting(waiting, report)
            is_accepted = order.is_accepted or order.submitted is None
            return _settled(replace(order, breaks=(*order.breaks, event), amendments=waiting, is_accepted=is_accepted))
        case OrderBroken():
            return replace(order, breaks=(*order.breaks, event))
        case OrderCommissionReported():
            is_accepted = order.is_accepted or order.submitted is None
            commissions = order.commissions | {event.exec_ref_id: event}
            return _settled(replace(order, commissions=commissions, is_accepted=is_accepted))
        case OrderFillCompleted():
            return _with_completed(order, event)
        case OrderBreakWithdrawn(key, rule, report):
            kept = tuple(
                other for other in order.breaks if (other.key, other.rule, other.report) != (key, rule, report)
            )
            fees = order.commissions
            if isinstance(report, OrderCommissionReported):
                fees = {exec_id: known for exec_id, known in fees.items() if exec_id != report.exec_ref_id}
            return replace(order, breaks=kept, commissions=fees)
        case _:
            return _settled(_with_report(order, event))


def _first(event: OrderEvent) -> Order:
    match event:
        case OrderSubmitted(key, terms):
            return _sent(key, terms, OrdStatus.PENDING_NEW, None)
        case OrderRefused(key, terms):
            return _sent(key, terms, OrdStatus.REJECTED, event)
        case OrderAdopted(terms=terms):
            order_qty = terms.order_qty if terms is not None else None
            return Order(
                event.key, event.strategy_id, event.instrument_id, event.side, order_qty=order_qty, terms=terms,
                status=OrdStatus.NEW, order_id=event.order_id, is_accepted=True, order_ids=_ids(event.order_id),
            )  # fmt: skip
        case OrderAliased(key, cl_ord_id):
            return Order(
                key, strategy_id="", instrument_id="", side=Side.BUY, order_qty=None, terms=None,
                status=OrdStatus.REJECTED, alias_of=cl_ord_id,
            )  # fmt: skip
        case _:
            # a report of an unknown order that does not name its instrument
            return Order(
                event.key, strategy_id="", instrument_id="", side=Side.BUY, order_qty=None, terms=None,
                status=OrdStatus.PENDING_NEW,
            )  # fmt: skip


def _sent(key: OrderKey, terms: OrderTerms, status: OrdStatus, refusal: OrderRefused | None) -> Order:
    return Order(
        key, terms.strategy_id, terms.instrument_id, terms.side, order_qty=terms.order_qty, terms=terms, status=status,
        refusal=refusal, submitted=terms,
    )  # fmt: skip


def unreported(order: Order) -> Order:
    """The order as it was before the first venue report, with all our requests about it on record."""
    requests = sorted(order.requests.values(), key=lambda known: known.number)
    return Order(
        order.key, order.strategy_id, order.carried_from or order.instrument_id, order.side, terms=order.submitted,
        order_qty=order.submitted.order_qty if order.submitted is not None else None,
        status=OrdStatus.PENDING_NEW if order.refusal is None else OrdStatus.REJECTED, refusal=order.refusal,
        submitted=order.submitted, requests=order.requests, request_count=order.request_count,
        unanswered={(_kind(request), request.requested_as): request for _, request in requests},
        last_requested=order.last_requested,
    )  # fmt: skip


def as_at_venue(order: Order) -> Order:
    """The order without the status of our own request that no report has answered yet."""
    return order if order.requested is None else _settled(replace(order, requested=None))


def _kind(request: OrderCancelRequested | OrderReplaceRequested) -> str:
    return CANCEL if isinstance(request, OrderCancelRequested) else REPLACE


def _ids(order_id: str) -> frozenset[str]:
    return frozenset((order_id,)) if order_id else frozenset()


def _settled(order: Order) -> Order:
    status = _status(order)
    return order if status is order.status else replace(order, status=status)


def _status(order: Order) -> OrdStatus:
    """The status of highest FIX precedence among those that the order's facts put it in."""
    is_filled = order.order_qty is not None and order.cum_qty >= order.order_qty
    if order.refusal is not None:
        return OrdStatus.REJECTED
    if order.ended is None:
        if order.requested is not None or order.pending:
            is_cancel = order.requested is OrdStatus.PENDING_CANCEL or any(kind == CANCEL for kind, _ in order.pending)
            return OrdStatus.PENDING_CANCEL if is_cancel else OrdStatus.PENDING_REPLACE
        if order._is_done_for_day:
            return OrdStatus.DONE_FOR_DAY
        if order.calculated_at is not None:
            return OrdStatus.CALCULATED
    if is_filled:
        return OrdStatus.FILLED
    if order.ended is not None:
        return order.ended[1]
    if order._holds(order.suspended_at):
        return OrdStatus.SUSPENDED
    if order.cum_qty > 0:
        return OrdStatus.PARTIALLY_FILLED
    return OrdStatus.NEW if order.is_accepted else OrdStatus.PENDING_NEW


_PART = OrdStatus.PARTIALLY_FILLED


def _with_fill(order: Order, fill: OrderFilled) -> Order:
    at, last_at = fill.transact_time, order.last_at
    is_late = last_at is not None and at < last_at
    cum_qty = order.cum_qty + fill.last_qty
    cum_cost = order.cum_cost + fill.last_qty * fill.last_px
    fills = order.fills.added(fill.id_on_record, fill)
    is_within = order.order_qty is None or cum_qty < order.order_qty
    if order.status is _PART and is_within and not is_late and fill.order_id == order.order_id:
        # one more of many: only the sums and the time change
        return replace(order, cum_qty=cum_qty, cum_cost=cum_cost, fills=fills, traded_at=at, last_at=at)
    filled = replace(
        order,
        strategy_id=order.strategy_id or fill.strategy_id,
        instrument_id=order.instrument_id or fill.instrument_id,
        side=order.side if order.instrument_id else fill.side,
        is_accepted=order.is_accepted or order.submitted is None,
        order_id=order.order_id or fill.order_id,
        order_ids=order.order_ids if fill.order_id in order.order_ids else order.order_ids | _ids(fill.order_id),
        cum_qty=cum_qty,
        cum_cost=cum_cost,
        fills=fills,
        traded_at=at if order.traded_at is None else max(order.traded_at, at),
        requested=None,
        last_at=last_at if is_late else at,
        late=order.late + is_late,
        filled_leg=order.leg_of(fill),
    )
    return _settled(filled)


def _with_completed(order: Order, event: OrderFillCompleted) -> Order:
    """The order with a fill as it is known now; where it was amended, the amendment stays."""
    known, was, now = event.known, event.was, event.now
    amended = order.amendments.fills.get(known.id_on_record)
    if amended is not None:
        fills = order.amendments.fills | {known.id_on_record: replace(amended, reported=known)}
        order = replace(order, amendments=replace(order.amendments, fills=fills))
    if was is not None and now is not None:
        moved = now.last_qty * now.last_px - was.last_qty * was.last_px
        order = replace(order, fills=order.fills.added(now.id_on_record, now), cum_cost=exact(order.cum_cost + moved))
    at = known.transact_time
    return _settled(
        replace(
            order, order_id=order.order_id or known.order_id, order_ids=order.order_ids | _ids(known.order_id),
            traded_at=at if order.traded_at is None else max(order.traded_at, at),
            filled_leg=order.leg_of(known),
        )
    )  # fmt: skip


def _with_request(
    order: Order, event: OrderCancelRequested | OrderReplaceRequested, kind: str, shown: OrdStatus
) -> Order:
    return _settled(
        replace(
            order,
            requested=shown if order.requested is not OrdStatus.PENDING_CANCEL else order.requested,
            requests=order.requests.added(event.requested_as, NumberedRequest(order.request_count + 1, event)),
            request_count=order.request_count + 1,
            last_requested=order.last_requested | {kind: event.requested_as},
            unanswered=order.unanswered | {(kind, event.requested_as): event},
        )
    )


_WORKING = (OrderAccepted, OrderTriggered, OrderRestated)
_WORKING_STATUSES = {OrdStatus.NEW, OrdStatus.PARTIALLY_FILLED}


def _with_report(order: Order, event: StateReport) -> Order:
    """The order after a report: the fields that any report has, then those of its kind."""
    event, at = as_reported(event), event.transact_time
    is_late = order.last_at is not None and at < order.last_at
    changes: dict[str, Any] = {
        "reports": order.reports.added(event.exec_id or event, event),
        "requested": None,
        "last_at": order.last_at if is_late else at,
        "late": order.late + is_late,
        "reported_at": _later(order.reported_at, at),
    }
    if event.order_id:
        changes["order_ids"] = order.order_ids | {event.order_id}
        is_new = isinstance(event, OrderAccepted | OrderReplaced) or not order.order_id
        changes["order_id"] = event.order_id if is_new else order.order_id
    order = _working(replace(order, **changes), event)
    if not isinstance(event, OrderReplaced):
        price = event.price if isinstance(event, OrderRestated) else None
        order = _with_stated(order, at, number=0, order_qty=event.order_qty, price=price)
    match event:
        case OrderAccepted(terms=terms):
            return _described(order, at, terms)
        case OrderRejected():
            return _ended(order, at, OrdStatus.REJECTED)
        case OrderCanceled():
            return _ended(order, at, OrdStatus.CANCELED)
        case OrderExpired():
            return _ended(order, at, OrdStatus.EXPIRED)
        case OrderDoneForDay():
            return replace(order, done_for_day_at=_later(order.done_for_day_at, at))
        case OrderSuspended():
            return replace(order, suspended_at=_later(order.suspended_at, at))
        case OrderCalculated():
            return replace(order, calculated_at=_later(order.calculated_at, at))
        case OrderRestated():
            return _carried(replace(order, restated_at=_later(order.restated_at, at)), event)
        case OrderPendingCancel() | OrderPendingReplace():
            return _pending(order, event)
        case OrderCancelRejected() | OrderReplaceRejected():
            return _answered(order, event)
        case OrderReplaced():
            return _replaced(order, event)
        case OrderFillBusted() | OrderFillCorrected():
            return _amended(order, event)
        case OrderPendingNew() | OrderTriggered():
            return order
        case _:
            assert_never(event)


def _working(order: Order, event: StateReport) -> Order:
    """The order with what a report shows of its working: that the venue has accepted it, that it works again."""
    if isinstance(event, _WORKING) or event.ord_status in _WORKING_STATUSES:
        return replace(order, is_accepted=True, resumed_at=_later(order.resumed_at, event.transact_time))
    if order.is_accepted or order.submitted is not None or isinstance(event, OrderPendingNew):
        return order
    return replace(order, is_accepted=True)  # it is none of ours: the venue reports on what it has


def _later(known: datetime | None, at: datetime) -> datetime:
    return at if known is None else max(known, at)


def _described(order: Order, at: datetime, terms: OrderTerms | None) -> Order:
    """The order with the terms that the venue states, if it is none of ours."""
    if terms is None or order.submitted is not None:
        return order
    if order.terms is None:
        order_qty = terms.order_qty if order.order_qty is None else order.order_qty
        price = order.price_stated.value if order.price_stated is not None else terms.price
        order = replace(
            order, strategy_id=order.strategy_id or terms.strategy_id, instrument_id=terms.instrument_id,
            side=terms.side, order_qty=order_qty, terms=replace(terms, order_qty=order_qty, price=price),
        )  # fmt: skip
    return _with_stated(order, at, number=0, order_qty=terms.order_qty, price=terms.price)


def _carried(order: Order, event: OrderRestated) -> Order:
    """The order in another instrument, or with another trigger, unless a later restatement has stated these."""
    at = event.transact_time
    if not (event.instrument_id or event.stop_px is not None) or (
        order.carried_at is not None and at < order.carried_at
    ):
        return order
    name = event.instrument_id or order.instrument_id
    terms = order.terms
    if terms is not None:
        stop_px = event.stop_px if event.stop_px is not None else terms.stop_px
        terms = replace(terms, instrument_id=name, stop_px=stop_px)
    first = order.carried_from or order.instrument_id
    return replace(order, instrument_id=name, terms=terms, carried_at=at, carried_from=first)


def _ended(order: Order, at: datetime, status: OrdStatus) -> Order:
    """The order after an end. The first end counts: a later one is an echo."""
    ended = (at, status)
    return replace(order, ended=ended if order.ended is None else min(order.ended, ended), unanswered={}, pending={})


def _with_stated(order: Order, at: datetime, *, number: int, order_qty: Decimal | None, price: Decimal | None) -> Order:
    """The order with the quantity and price stated at a time, unless later ones are on record."""
    changes: dict[str, Any] = {}
    named: dict[str, Decimal] = {}
    if order_qty is not None:
        stated = Stated(at, number, order_qty)
        if order.qty_stated is None or stated > order.qty_stated:
            changes |= {"order_qty": order_qty, "qty_stated": stated}
            named["order_qty"] = order_qty
    if price is not None:
        stated = Stated(at, number, price)
        if order.price_stated is None or stated > order.price_stated:
            changes["price_stated"] = stated
            named["price"] = price
    if not changes:
        return order
    if order.terms is not None:
        changes["terms"] = replace(order.terms, **named)
    return replace(order, **changes)


def answers_to(order: Order, report: StateReport) -> tuple[str, str]:
    """The request a report answers. Where the venue names none, the oldest of its kind without an answer; if all have
    one, the last, so that the answers to a single request end alike in any order.
    """
    kind = CANCEL if isinstance(report, OrderPendingCancel | OrderCancelRejected) else REPLACE
    known = order.requests.get(report.requested_as) if report.requested_as else None
    if known is not None:
        return _kind(known.request), report.requested_as
    if report.requested_as:
        return kind, report.requested_as
    last = kind, order.last_requested.get(kind, "")
    return next((request for request in order.unanswered if request[0] == kind), last)


def _pending(order: Order, event: OrderPendingCancel | OrderPendingReplace) -> Order:
    request, at = answers_to(order, event), event.transact_time
    answered_at = order.answers.get(request)
    if order.ended is not None or (answered_at is not None and at <= answered_at):
        return order
    return replace(order, pending=order.pending | {request: _later(order.pending.get(request), at)})


def _answered(order: Order, event: OrderCancelRejected | OrderReplaceRejected | OrderReplaced) -> Order:
    request, at = answers_to(order, event), event.transact_time
    pending_at = order.pending.get(request)
    pending = order.pending
    if pending_at is not None and pending_at <= at:
        pending = {other: since for other, since in pending.items() if other != request}
    return replace(
        order,
        answers=order.answers.added(request, _later(order.answers.get(request), at)),
        unanswered={other: kept for other, kept in order.unanswered.items() if other != request},
        pending=pending,
    )


def _replaced(order: Order, event: OrderReplaced) -> Order:
    _, requested_as = answers_to(order, event)
    order = _answered(order, event)
    known = order.requests.get(requested_as)
    at = event.transact_time
    if known is None or not isinstance(known.request, OrderReplaceRequested):
        order = _renamed(order, at, requested_as)
        number = 1 if order.submitted is None else 0  # of an order of others, after what accepts it at the same moment
        return _with_stated(order, at, number=number, order_qty=event.order_qty, price=event.price)
    terms = known.request.terms
    if order.terms_since is None or (at, known.number) > order.terms_since:
        price = order.terms.price if order.terms is not None else None
        held = replace(terms, order_qty=order.order_qty or terms.order_qty, price=price)
        order = replace(order, terms=held, terms_as=requested_as, terms_since=(at, known.number))
    order_qty, price = event.order_qty or terms.order_qty, event.price or terms.price
    return _with_stated(order, at, number=known.number, order_qty=order_qty, price=price)


def _renamed(order: Order, at: datetime, requested_as: str) -> Order:
    """The order under the ClOrdID of a replacement that others requested, if it is none of ours."""
    if order.submitted is not None or not requested_as:
        return order
    if order.terms_since is not None and (at, 0, requested_as) <= (*order.terms_since, order.terms_as):
        return order
    return replace(order, terms_as=requested_as, terms_since=(at, 0))


def _amended(order: Order, event: Amendment) -> Order:
    after, was, now = amendments.amended(order.amendments, order.fills, event)
    cum_qty, cum_cost, fills = order.cum_qty, order.cum_cost, order.fills
    if was is not None:
        cum_qty, cum_cost = cum_qty - was.last_qty, cum_cost - was.last_qty * was.last_px
    if now is not None:
        cum_qty, cum_cost = cum_qty + now.last_qty, cum_cost + now.last_qty * now.last_px
        fills = fills.added(now.id_on_record, now)
    elif was is not None:
        fills = fills.without(was.id_on_record)
    return replace(order, amendments=after, cum_qty=exact(cum_qty), cum_cost=exact(cum_cost), fills=fills)
