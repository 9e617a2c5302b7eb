"""Carrying: the restatement of an open order whose instrument becomes another one, or whose units change.

In FIX it is OrdStatus restated with ExecRestatementReason(378) 0, a corporate action of an order that is good till
canceled. What was filled keeps its units; what is left is restated: LeavesQty and the prices in units of the other
instrument. OrderQty is CumQty and what is left. An order of which that is no exact number, or no step of the other
instrument, is canceled first.
"""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal

from msgspec import Struct

from domain.errors import RequestRefused
from domain.instrument import Facts, Kind, RedenominateInstrument
from domain.order.events import OrderCanceled, OrderReplaceRequested, OrderRestated
from domain.order.state import Order
from domain.values import divide, exact

REASON = "corporate action"
DELISTED = "the instrument is delisted"


class Scale(Struct, frozen=True):
    """What quantities and prices are multiplied with: `numerator` for every `denominator`."""

    numerator: Decimal
    denominator: Decimal

    @property
    def is_one(self) -> bool:
        """Whether nothing changes."""
        return self.numerator == self.denominator

    def of(self, value: Decimal) -> Decimal | None:
        """The scaled value; None where it is no decimal of 18 places."""
        scaled = divide(value * self.numerator, self.denominator)
        return scaled if exact(scaled * self.denominator) == exact(value * self.numerator) else None


def scales(request: RedenominateInstrument, old: Facts, new: Facts) -> tuple[Scale, Scale]:
    """How the quantities and the prices of orders change with a redenomination, so that their values stay."""
    here, there = old.contract.contract_size * request.per, new.contract.contract_size * request.units
    prices = Scale(there, here) if new.contract.kind is Kind.INVERSE else Scale(here, there)
    return Scale(request.units, request.per), prices


def carried(order: Order, request: RedenominateInstrument, old: Facts, new: Facts) -> OrderRestated:
    """The restatement that carries an open order. Raises RequestRefused."""
    quantities, prices = scales(request, old, new)
    because = next(_faults(order, quantities, prices, new), None)
    if because is not None:
        raise RequestRefused(
            "an open order that cannot be carried is canceled first", cl_ord_id=order.key.cl_ord_id,
            account_id=order.key.account_id, to_instrument_id=request.to_instrument_id, because=because,
        )  # fmt: skip
    terms = order.terms
    assert terms is not None, "an order without terms has a fault"
    leaves = quantities.of(order.leaves_qty)
    assert leaves is not None, "what is no exact number is a fault"
    at = request.effective_at if order.last_at is None else max(request.effective_at, order.last_at)
    return OrderRestated(
        order.key, REASON, at, _scaled(terms.price, prices), order_qty=exact(order.cum_qty + leaves),
        instrument_id=request.to_instrument_id, stop_px=_scaled(terms.stop_px, prices),
    )  # fmt: skip


def delisted(order: Order, at: datetime) -> OrderCanceled:
    """The end of an open order in an instrument that is delisted; the venue may report an end of its own as well."""
    return OrderCanceled(order.key, DELISTED, at if order.last_at is None else max(at, order.last_at))


def _faults(order: Order, quantities: Scale, prices: Scale, new: Facts) -> Iterator[str]:
    """Why an order cannot be carried."""
    terms = order.terms
    if terms is None or order.order_qty is None:
        yield "its terms are not on record"
        return
    if any(isinstance(request, OrderReplaceRequested) for request in order.unanswered.values()):
        yield "a replacement of it is under way"
    if not (quantities.is_one and prices.is_one):
        if terms.parent:
            yield "its parent order is in other units"
        if terms.display_qty is not None or terms.peg_offset_value is not None:
            yield "it has a display_qty or a peg_offset_value"
    leaves = quantities.of(order.leaves_qty)
    if leaves is None or leaves % new.lot_size:
        yield "what is left of it is no multiple of the lot size"
    for price in (terms.price, terms.stop_px):
        scaled = prices.of(price) if price is not None else None
        if price is not None and (scaled is None or scaled % new.tick_size):
            yield "its price is no multiple of the tick size"


def _scaled(price: Decimal | None, scale: Scale) -> Decimal | None:
    return scale.of(price) if price is not None else None
