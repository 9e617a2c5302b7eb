"""Breaks of an order: the reports on record that break a rule, each by the state of its own moment.

Which reports break a rule follows from the set of reports, not from the order in which they arrived. All reports on
record are replayed by their own times (within one moment in the order of `_rank`, then by venue sequence and exec id),
and each is checked against the state that those before it lead to: a fill that happened before an end is within the
order even if it arrives after it, and a late report's OrdStatus is compared with what the order was then. Where a
report that arrives late changes what an earlier one on record is, `OrderBroken` adds the break and
`OrderBreakWithdrawn` withdraws it. A report later than all others, the usual case, changes none but its own.

Quantities: a fill may not raise CumQty above OrderQty or, once the order is over, above what had been executed when it
ended; so a fill may take the place of one that was busted. Fills that were busted count for nothing, and break no rule
themselves. A correction is a break where it raises CumQty above the same bounds; one of a fill from before the end
restates what had been executed by then, and is bounded by OrderQty alone.

An order that we never sent is canceled and replaced by others too: an answer to a request of theirs is no break.

Breaks that depend on what was booked first (two contents of one exec id, an execution of two orders) are not found
here, nor fees that wait for their fill, which change nothing until it arrives.
"""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple, assert_never

from domain.order import amendments, carrying
from domain.order.amendments import Origin
from domain.order.events import (
    Amendment,
    OrderAccepted,
    OrderBreakWithdrawn,
    OrderBroken,
    OrderCalculated,
    OrderCanceled,
    OrderCancelRejected,
    OrderCancelRequested,
    OrderDoneForDay,
    OrderExpired,
    OrderFillBusted,
    OrderFillCorrected,
    OrderFilled,
    OrderPendingCancel,
    OrderPendingNew,
    OrderPendingReplace,
    OrderRejected,
    OrderReplaced,
    OrderReplaceRejected,
    OrderReplaceRequested,
    OrderRestated,
    OrderSuspended,
    OrderTriggered,
    OrdStatus,
    StateReport,
)
from domain.order.state import CANCEL, Order, answers_to, as_at_venue, evolve, unreported
from domain.order.terms import OrderTerms
from domain.values import ZERO, exact

Break = OrderBroken | OrderBreakWithdrawn
Replayed = OrderFilled | StateReport

UNKNOWN_ORDER = "a report of an order on record"  # of earlier releases: an order that is reported on is adopted now
UNKNOWN_FILL = "an amended fill is on record"
UNKNOWN_COMMISSION = "the fill of a commission is on record"
ONE_CONTENT = "one exec_id has one content"
NO_REQUEST = "an answer is to a request on record"
_OTHER_INSTRUMENT = "a fill has its order's instrument and side"
_OTHER_ORDER = "an order is accepted with its instrument and side"
_CLOSED = "a fill is of an open order"
_OVERFILL = "a fill is within leaves_qty"
_MISFIT = "{} fits an order that is {}"
_OTHER_STATUS = "an order that the venue has as {} is so here"
_RULES = {UNKNOWN_ORDER, UNKNOWN_FILL, NO_REQUEST, _OTHER_INSTRUMENT, _OTHER_ORDER, _CLOSED, _OVERFILL}


def surely_fits(order: Order, fill: OrderFilled) -> bool:
    """Whether a fill surely breaks no rule and changes no break on record. Cheap, and true of almost every fill.

    So it is where all other reports than fills are of earlier moments, and all fills together are within an open order.
    """
    return (
        order.is_open
        and (order.reported_at is None or fill.transact_time > order.reported_at)
        and (order.order_qty is None or fill.last_qty <= order.leaves_qty)
        and (fill.instrument_id, fill.side) == (order.instrument_id, order.side)
        and not order.amendments.waiting
        and not order.commissions
    )


def added(order: Order, report: Replayed, after: Order) -> tuple[Break, ...]:
    """The breaks that a report adds and withdraws. `after` is the order with the report and all that waited for it."""
    is_latest = order.last_at is None or report.transact_time > order.last_at
    if (
        not is_latest
        or after.amendments.fills
        or order.amendments.waiting
        or order.instrument_id != after.instrument_id
    ):
        return changed(after)
    before = as_at_venue(order)
    if isinstance(report, OrderFilled):
        return tuple(OrderBroken(order.key, rule, report) for _, rule in _Replay(order, before).moment([report]))
    rule = _rule_of_state(report, before) or _rule_of_status(report, after)
    return (OrderBroken(order.key, rule, report),) if rule is not None else ()


def changed(order: Order) -> tuple[Break, ...]:
    """What makes the breaks on record those that follow from the reports on record."""
    found = tuple(OrderBroken(order.key, rule, report) for report, rule in _found(order))
    known = [broken for broken in order.breaks if _is_found_here(broken.rule)]
    withdrawn = [broken for broken in known if broken not in found]
    return (
        *(OrderBreakWithdrawn(broken.key, broken.rule, broken.report) for broken in withdrawn),
        *(broken for broken in found if broken not in known),
    )


def _is_found_here(rule: str) -> bool:
    return rule in _RULES or _MISFIT.format("", "") in rule or rule.startswith(_OTHER_STATUS.partition("{}")[0])


Found = tuple[Replayed, str]


def _found(order: Order) -> Iterator[Found]:
    """Every report that breaks a rule, with the rule."""
    replay = _Replay(order, unreported(order))
    timeline = _timeline(order)
    waiting = sorted(
        (report for reports in order.amendments.waiting.values() for report in reports),
        key=lambda report: (report.transact_time, report.exec_ref_id, repr(report)),
    )
    for _, moment in groupby(timeline, key=lambda placed: placed[0].at):
        yield from replay.moment([report for _, report in moment])
    for report in waiting:
        yield report, UNKNOWN_FILL


class _Place(NamedTuple):
    """The place of a report among all of its order."""

    at: datetime
    rank: int
    depth: int
    trade_seq: int
    exec_id: tuple[int, int, str]
    content: str


# within one moment: what opens an order, then its fills and their amendments, then what pauses and ends it
_RANKS: dict[type, int] = {
    kind: rank
    for rank, kinds in enumerate(
        (
            (OrderPendingNew,),
            (OrderAccepted,),
            (OrderTriggered,),
            (OrderPendingCancel, OrderPendingReplace),
            (OrderReplaced, OrderCancelRejected, OrderReplaceRejected),
            (OrderFilled,),
            (OrderFillBusted, OrderFillCorrected),
            (OrderSuspended, OrderDoneForDay),
            (OrderRestated,),
            (OrderCalculated,),
            (OrderRejected, OrderCanceled, OrderExpired),
        )
    )
    for kind in kinds
}


def _timeline(order: Order) -> list[tuple[_Place, Replayed]]:
    """All reports of an order that are booked, as first reported, by time."""
    known = order.amendments
    fills = {exec_id: fill for exec_id, fill in order.fills.items() if exec_id not in known.fills}
    fills |= {exec_id: amended.reported for exec_id, amended in known.fills.items()}
    by_ref = {fill.exec_id: fill for fill in fills.values()} | fills
    placed: list[tuple[_Place, Replayed]] = [
        (
            _Place(
                fill.transact_time,
                _RANKS[OrderFilled],
                0,
                fill.trade_seq,
                exec_id=_by_number(fill.exec_id),
                content=fill.entry_id,
            ),
            fill,
        )
        for fill in fills.values()
    ]
    for report in order.reports.values():
        at, depth = report.transact_time, 0
        if isinstance(report, Amendment):
            at, depth = _after_its_fill(order, by_ref, report)
        place = _Place(at, _RANKS[type(report)], depth, 0, exec_id=_by_number(report.exec_id), content=repr(report))
        placed.append((place, report))
    placed.sort(key=itemgetter(0))
    return placed


def _by_number(exec_id: str) -> tuple[int, int, str]:
    """An id by which ids that are numbers sort as numbers, before all others."""
    is_number = exec_id.isascii() and exec_id.isdecimal()
    return (0, int(exec_id), exec_id) if is_number else (1, 0, exec_id)


def _after_its_fill(order: Order, fills: dict[str, OrderFilled], report: Amendment) -> tuple[datetime, int]:
    """When an amendment holds from: its own time, but not before the fill or correction that it amends."""
    at, depth = report.transact_time, 1
    amended: Replayed | None = report
    seen = {report.exec_id}
    while isinstance(amended, Amendment) and (ref := amended.exec_ref_id) not in fills:
        amended = order.reports.get(ref)
        if amended is None or ref in seen:
            return at, depth
        seen.add(ref)
        at, depth = max(at, amended.transact_time), depth + 1
    return (max(at, fills[amended.exec_ref_id].transact_time) if isinstance(amended, Amendment) else at), depth


class _Replay:
    """A replay of an order's reports, moment by moment, from a state of it.

    `executed` is what had been executed when the order ended, at `ended_at`; None while it is not over.
    """

    def __init__(self, order: Order, state: Order) -> None:
        self.order = order
        self.state = state
        self.busted = {exec_id for exec_id, amended in order.amendments.fills.items() if amended.is_busted}
        self.void: dict[str, Decimal] = {}  # the quantities of fills that stand in `state` and are busted later
        self.executed: Decimal | None = None
        self.ended_at: datetime | None = None
        self._close(state.cum_qty, None)

    def moment(self, reports: list[Replayed]) -> list[Found]:
        """Replay the reports of one moment; those that break a rule, with the rule."""
        began, first = self.state, reports[0]
        if len(reports) == 1 and isinstance(first, OrderFilled) and not self.busted and surely_fits(began, first):
            self.state = evolve(began, first)
            return []
        states = [began]
        for report in reports:
            states.append(evolve(states[-1], report))
        quantities = [state.order_qty for state in states]
        order_qty = None if None in quantities else max(quantity for quantity in quantities if quantity is not None)
        most = max(state.cum_qty for state in states)
        statuses = {None, *(state.status for state in states[1:])}
        found: list[Found] = []
        for report, before, after in zip(reports, states, states[1:], strict=False):
            self.state = after
            rule = self._rule(report, before, after, order_qty)
            if rule is None and not isinstance(report, OrderFilled) and report.ord_status not in statuses:
                rule = _rule_of_status(report, evolve(began, report))
            if rule is not None:
                found.append((report, rule))
            self._close(most, report.transact_time)
        return found

    def _close(self, executed: Decimal, at: datetime | None) -> None:
        if not self.state._is_over:
            self.executed, self.ended_at = None, None
        elif self.executed is None:
            self.executed, self.ended_at = executed, at

    def _rule(self, report: Replayed, before: Order, after: Order, order_qty: Decimal | None) -> str | None:
        match report:
            case OrderFilled():
                return self._rule_of_fill(report, before, order_qty)
            case OrderFillBusted() | OrderFillCorrected():
                return self._rule_of_amendment(report, before, after, order_qty)
            case _:
                return _rule_of_state(report, before)

    def _rule_of_fill(self, fill: OrderFilled, before: Order, order_qty: Decimal | None) -> str | None:
        if fill.id_on_record in self.busted:
            self.void[fill.id_on_record] = fill.last_qty
            return None
        known = self.order
        name = before.instrument_id or known.instrument_id  # it may be carried into another one later
        if name and (fill.instrument_id, fill.side) != (name, known.side):
            return _OTHER_INSTRUMENT
        standing = self._standing(before)
        if self.executed is not None:
            return _CLOSED if standing + fill.last_qty > self.executed else None
        if order_qty is None or standing + fill.last_qty <= order_qty:
            return None
        return _CLOSED if standing >= order_qty else _OVERFILL

    def _rule_of_amendment(
        self, report: Amendment, before: Order, after: Order, order_qty: Decimal | None
    ) -> str | None:
        origin: Origin | None = amendments.origin_of(
            before.amendments, before.fills, report.exec_ref_id, report.transact_time
        )
        if origin is None:
            return None
        if origin.exec_id in self.busted:
            stands = after.fills.get(origin.exec_id)
            self.void.pop(origin.exec_id, None)
            if stands is not None:
                self.void[origin.exec_id] = stands.last_qty
            return None
        standing = self._standing(after)
        if standing <= self._standing(before):
            return None
        bound = order_qty
        if self.executed is not None:
            fill = before.reported_fill(origin.exec_id)
            assert fill is not None, "what is amended is on record"
            if self.ended_at is None or fill.transact_time > self.ended_at:
                bound = self.executed
        if bound is not None and standing > bound:
            return _OVERFILL
        if self.executed is not None:
            self.executed = max(self.executed, after.cum_qty)
        return None

    def _standing(self, state: Order) -> Decimal:
        """The quantity of the fills that stand and are not busted later."""
        return exact(state.cum_qty - sum(self.void.values(), ZERO))


def _rule_of_state(report: StateReport, order: Order) -> str | None:
    """The rule that a report breaks of an order in this state; None if it fits."""
    status, is_closed = order.status, order.ended is not None or order.refusal is not None
    match report:
        case OrderAccepted(terms=OrderTerms() as terms) if order.terms is not None and (
            terms.instrument_id,
            terms.side,
        ) != (order.terms.instrument_id, order.terms.side):
            return _OTHER_ORDER
        case OrderPendingNew() | OrderAccepted():
            is_fitting = status is not OrdStatus.REJECTED
        case OrderRejected():
            is_fitting = not is_closed and not order.cum_qty and status in _REJECTABLE
        case OrderCanceled() | OrderExpired():
            is_fitting = not is_closed and (order.is_open or status in (OrdStatus.DONE_FOR_DAY, OrdStatus.CALCULATED))
            is_fitting = is_fitting or _is_of_delisting(order, report)
        case OrderCalculated():
            is_fitting = status in (OrdStatus.FILLED, OrdStatus.DONE_FOR_DAY) or _is_of_unknown_quantity(order)
        case OrderDoneForDay() | OrderSuspended() | OrderTriggered() | OrderRestated():
            is_fitting = not is_closed
        case OrderPendingCancel() | OrderPendingReplace() | OrderReplaced():
            is_fitting = not is_closed
            if order.submitted is not None and not _is_answer(order, report):
                return NO_REQUEST
        case OrderCancelRejected() | OrderReplaceRejected():
            return None if order.submitted is None or _is_answer(order, report) else NO_REQUEST
        case OrderFillBusted() | OrderFillCorrected():
            return None
        case _:
            assert_never(report)
    return None if is_fitting else _MISFIT.format(type(report).__name__, status)


def _rule_of_status(report: StateReport, after: Order) -> str | None:
    is_so = report.ord_status in (None, after.status)
    return None if is_so else _OTHER_STATUS.format(report.ord_status)


_REJECTABLE = {OrdStatus.PENDING_NEW, OrdStatus.NEW, OrdStatus.PENDING_CANCEL, OrdStatus.PENDING_REPLACE}


def _is_of_delisting(order: Order, report: OrderCanceled | OrderExpired) -> bool:
    """Whether an order has one end by its delisting and one that the venue reports: they are of the same fact."""
    ends = [known for known in order.reports.values() if isinstance(known, OrderCanceled | OrderExpired)]
    return order.ended is not None and any(end.reason == carrying.DELISTED for end in (report, *ends))


def _is_of_unknown_quantity(order: Order) -> bool:
    return order.submitted is None and order.order_qty is None


def _is_answer(order: Order, report: StateReport) -> bool:
    kind, requested_as = answers_to(order, report)
    if requested_as:
        return requested_as in order.requests
    kinds = OrderCancelRequested if kind == CANCEL else OrderReplaceRequested
    return any(isinstance(known.request, kinds) for known in order.requests.values())
