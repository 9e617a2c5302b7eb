"""Venue order ids: the index from a venue's id of an order to its ClOrdID, so that a report finds its order.

A venue gives an order an id of its own, and some reports carry no other. Each such id leads to the ClOrdID of the
order's stream. Ids are unique in a venue and account, at some venues only within an instrument.

An order that was replaced or canceled has the ClOrdIDs of those requests too; their streams hold `OrderAliased` and
lead to the order's own.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar, assert_never

from msgspec import Struct
from msgspec.structs import replace

from domain import names, values
from domain.errors import ReportUnreadable
from domain.order import decisions, identity
from domain.order.decisions import CancelOrder, ReplaceOrder
from domain.order.events import (
    OrderAccepted,
    OrderCommissionReported,
    OrderFilled,
    OrderReplaced,
    OrderReplaceRequested,
    OrderReport,
    OrderRestated,
)
from domain.order.state import Order
from domain.order.terms import OrderKey


# Events: the stored format. A name or a field here outlives this code; change one only with an upcast.
class VenueOrderLinked(Struct, frozen=True, gc=False, tag="VenueOrderLinked"):
    """The venue's `order_id` is the order of this ClOrdID."""

    venue: str  # 207
    account_id: str  # 1
    order_id: str  # 37
    instrument_id: str  # 48, "" where it is not known
    cl_ord_id: str  # 11, the order's first
    transact_time: datetime  # 60 of the report that named it


VenueOrderEvent = VenueOrderLinked


class VenueOrder(Struct, frozen=True, gc=False):
    """The orders that a venue names by one id."""

    links: tuple[VenueOrderLinked, ...] = ()

    def cl_ord_id(self, instrument_id: str, at: datetime, *, is_of_day: bool = False) -> str:
        """The order of this instrument, or the only one if either is unknown; "" if there is none or several.

        Where the venue's ids restart daily, the order of the last day up to `at` that has one; of its own day only, if
        `is_of_day`.
        """
        links = [link for link in self.links if link.instrument_id == instrument_id]
        links = links or [link for link in self.links if not (link.instrument_id and instrument_id)]
        if links and identity.policy_at(links[0].venue).restart is identity.Restart.DAILY:
            days = {link.transact_time.date() for link in links}
            day = max((day for day in days if day <= at.date()), default=None if is_of_day else min(days))
            day = at.date() if is_of_day else day
            links = [link for link in links if link.transact_time.date() == day]
        found = {link.cl_ord_id for link in links}
        return next(iter(found)) if len(found) == 1 else ""


def stream(venue: str, account_id: str, order_id: str) -> str:
    """The stream of one venue's order id."""
    return names.stream("venueorder", venue, account_id, order_id)


def stream_of(report: OrderReport) -> str | None:
    """The stream of the venue's order id in a report; None if it has no order id, or no venue is known."""
    venue, _ = _venue_of(report)
    return stream(venue, report.key.account_id, report.order_id) if report.order_id and venue else None


def admit(index: VenueOrder | None, link: VenueOrderLinked) -> tuple[VenueOrderEvent, ...]:
    """The link, if it is new. The first to an instrument stands: see `contradicts`."""
    return () if index is not None and _of_day(index, link) else (link,)


def contradicts(index: VenueOrder | None, link: VenueOrderLinked) -> bool:
    """Whether the id already leads to another order."""
    return index is not None and _of_day(index, link) not in ("", link.cl_ord_id)


def _of_day(index: VenueOrder, link: VenueOrderLinked) -> str:
    return index.cl_ord_id(link.instrument_id, link.transact_time, is_of_day=True)


def evolve(index: VenueOrder | None, event: VenueOrderEvent) -> VenueOrder:
    """The orders of an id after an event. Total and unconditional."""
    match event:
        case VenueOrderLinked():
            return VenueOrder((*(index.links if index is not None else ()), event))
        case _:
            assert_never(event)


Named = TypeVar("Named", CancelOrder, ReplaceOrder)


def requested_of(state: Callable[[str], Any], request: Named) -> Named:
    """The request with the order's own key where it names a later ClOrdID. `state` gives the state of a stream."""
    known: Order | None = state(decisions.stream(request.key))
    if known is None or not known.alias_of:
        return request
    key = OrderKey(request.key.account_id, known.alias_of)
    if isinstance(request, ReplaceOrder):
        return replace(request, key=key, orig_cl_ord_id=request.orig_cl_ord_id or request.key.cl_ord_id)
    return replace(request, key=key)


def reported_of(state: Callable[[str], Any], report: OrderReport) -> OrderReport:
    """The report with the key of the order it is about. `state` gives the state of a stream.

    An order is found by its ClOrdID, by that of a request about it, or by the venue's id. One that is not found keeps
    the ClOrdID of the report or, where it has none, gets one from venue and order id; where its ClOrdID was used before
    for another order of the venue, one from both ids. Raises ReportUnreadable if it has neither.
    """
    account_id, cl_ord_id = report.key.account_id, report.key.cl_ord_id
    is_reused = False
    if cl_ord_id:
        known: Order | None = state(decisions.stream(report.key))
        if known is not None:
            if known.alias_of:
                return _answering(report, known.alias_of)
            is_reused = _is_of_another_order(known, report)
            if not is_reused:
                return report
    venue, instrument_id = _venue_of(report)
    if report.order_id and venue:
        index: VenueOrder | None = state(stream(venue, account_id, report.order_id))
        is_of_day = bool(cl_ord_id) and cl_ord_id != identity.adopted_id(f".{venue}", report.order_id)
        linked = index.cl_ord_id(instrument_id, report.transact_time, is_of_day=is_of_day) if index is not None else ""
        if linked and not (is_reused and linked == cl_ord_id):
            return replace(report, key=OrderKey(account_id, linked))
    if is_reused:
        apart = report.order_id or (report.side if isinstance(report, OrderFilled) else "")
        return replace(report, key=OrderKey(account_id, f"{cl_ord_id}-{apart}"))
    if cl_ord_id:
        return report
    if not report.order_id:
        raise ReportUnreadable("cl_ord_id", cl_ord_id, "the id of an order, and no order_id is given")
    if not venue:
        raise ReportUnreadable("venue", venue, "the venue whose order_id it is, and no cl_ord_id is given")
    return replace(report, key=OrderKey(account_id, identity.adopted_id(f".{venue}", report.order_id)))


def _is_of_another_order(known: Order, report: OrderReport) -> bool:
    """Whether a report names the ClOrdID of an order on record, and is of another order of the venue.

    Venues want unique ClOrdIDs among open orders only. The venue's own order id distinguishes two uses, unless the
    order was replaced, which may give it another one.
    """
    if not isinstance(report, OrderFilled | OrderAccepted):
        return False
    if isinstance(report, OrderFilled) and not report.order_id:
        is_made_up = identity.is_adopted_id(known.key.cl_ord_id, report)
        return is_made_up and bool(known.instrument_id) and known.side is not report.side
    if not report.order_id or not known.order_ids or report.order_id in known.order_ids:
        return False
    if isinstance(report, OrderFilled) and known.instrument_id not in ("", report.instrument_id):
        return True
    if isinstance(report, OrderFilled) and known.instrument_id and known.side is not report.side:
        return True
    if any(isinstance(each.request, OrderReplaceRequested) for each in known.requests.values()):
        return False
    if any(isinstance(each, OrderReplaced | OrderRestated) for each in known.reports.values()):
        return False
    return known.submitted is None or not known.is_open


def link_of(report: OrderReport, state: Order) -> VenueOrderLinked | None:
    """The link between ids that a report shows; None if it has no order id, or no venue is known."""
    venue, instrument_id = _venue_of(report)
    instrument_id = instrument_id or state.instrument_id
    venue = venue or values.venue_of(instrument_id)
    if not report.order_id or not venue:
        return None
    key = state.key
    return VenueOrderLinked(
        venue,
        key.account_id,
        report.order_id,
        instrument_id,
        cl_ord_id=key.cl_ord_id,
        transact_time=report.transact_time,
    )


def _venue_of(report: OrderReport) -> tuple[str, str]:
    """The venue and instrument of a report; "" for one that it does not name."""
    if isinstance(report, OrderFilled):
        return values.venue_of(report.instrument_id), report.instrument_id
    if isinstance(report, OrderCommissionReported):
        return report.venue or values.venue_of(report.instrument_id), report.instrument_id
    instrument_id = report.terms.instrument_id if isinstance(report, OrderAccepted) and report.terms is not None else ""
    return report.venue or values.venue_of(instrument_id), instrument_id


def _answering(report: OrderReport, cl_ord_id: str) -> OrderReport:
    """A report under a request's ClOrdID: about the order and, unless it names another request, an answer to it."""
    key = OrderKey(report.key.account_id, cl_ord_id)
    if isinstance(report, OrderFilled):
        return replace(report, key=key)
    return replace(report, key=key, requested_as=report.requested_as or report.key.cl_ord_id)
