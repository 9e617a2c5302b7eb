"""Instrument: what can be traded at a venue, with the facts that value it.

Quantities of spot are in base units; of derivatives in contracts, each `contract_size` of base (linear) or of quote
(inverse). Prices are quote units a base unit. Cost, PnL and funding are in the settlement currency: quote for spot and
linear, base for inverse. FIX: MinPriceIncrement(969), RoundLot(561), ContractMultiplier(231), SettlCurrency(120).
"""

from decimal import Decimal
from enum import StrEnum
from typing import assert_never

from msgspec import Struct

from domain import values
from domain.errors import RequestRefused
from domain.values import ONE, divide


class Kind(StrEnum):
    """How a quantity becomes money."""

    SPOT = "SPOT"
    LINEAR = "LINEAR"
    INVERSE = "INVERSE"


class Contract(Struct, frozen=True):
    """The facts that turn quantity and price into money; carried by every event that needs them."""

    kind: Kind
    base: str
    quote: str
    settle: str
    contract_size: Decimal = ONE

    def value(self, quantity: Decimal, price: Decimal) -> Decimal:
        """What `quantity` (signed) is worth at `price` in settlement currency, signed so that it rises as a long gains.

        Spot and linear: quantity x size x price, exact. Inverse: -quantity x size / price, rounded once at 18 places.
        PnL from a to b is value(quantity, b) - value(quantity, a) for all three.
        """
        if self.kind is Kind.INVERSE:
            return divide(-quantity * self.contract_size, price)
        return quantity * self.contract_size * price

    def notional(self, quantity: Decimal, price: Decimal) -> Decimal:
        """The size of an order in quote currency, unsigned: quantity x size (x price, unless inverse)."""
        size = abs(quantity) * self.contract_size
        return size if self.kind is Kind.INVERSE else size * price

    def average_price(self, quantity: Decimal, cost: Decimal) -> Decimal | None:
        """The price at which `quantity` is worth `cost`, to 18 places; None when flat."""
        if not quantity or not cost:
            return None
        if self.kind is Kind.INVERSE:
            return divide(-quantity * self.contract_size, cost)
        return divide(cost, quantity * self.contract_size)


# Events: the stored format. A name or a field here outlives this code; change one only with an upcast.
class InstrumentListed(Struct, frozen=True, tag="InstrumentListed"):
    instrument_id: str
    contract: Contract
    tick_size: Decimal
    lot_size: Decimal


InstrumentEvent = InstrumentListed


class ListInstrument(Struct, frozen=True):
    """Make an instrument known."""

    instrument_id: str
    contract: Contract
    tick_size: Decimal
    lot_size: Decimal


InstrumentRequest = ListInstrument


class Instrument(Struct, frozen=True):
    instrument_id: str
    contract: Contract
    tick_size: Decimal
    lot_size: Decimal


def stream(instrument_id: str) -> str:
    """The stream of one instrument."""
    return f"instrument:{values.venue_of(instrument_id)}:{values.symbol_of(instrument_id)}"


def decide(instrument: Instrument | None, request: InstrumentRequest) -> tuple[InstrumentEvent, ...]:
    """The events that carry out a request; () if already in effect. Raises RequestRefused."""
    contract = request.contract
    settle = contract.base if contract.kind is Kind.INVERSE else contract.quote
    if contract.settle != settle:
        raise RequestRefused(f"{contract.kind} settles in {settle}", settle=contract.settle)
    if contract.base == contract.quote:
        raise RequestRefused("base and quote are two currencies", base=contract.base, quote=contract.quote)
    if contract.kind is Kind.SPOT and contract.contract_size != 1:
        raise RequestRefused("spot has a contract size of 1", contract_size=contract.contract_size)
    for field, value in (
        ("tick_size", request.tick_size),
        ("lot_size", request.lot_size),
        ("contract_size", contract.contract_size),
    ):
        if not value.is_finite() or value <= 0:
            raise RequestRefused(f"{field} above zero", **{field: value})
    listed = InstrumentListed(request.instrument_id, contract, request.tick_size, request.lot_size)
    match instrument:
        case None:
            return (listed,)
        case _ if evolve(None, listed) == instrument:
            return ()
        case _:
            raise RequestRefused(
                "an instrument is listed once with one set of facts", instrument_id=request.instrument_id
            )


def check_terms(instrument: Instrument, quantity: Decimal, price: Decimal | None) -> None:
    """Refuses a quantity off the lot step or a price off the tick. Raises RequestRefused."""
    if quantity % instrument.lot_size:
        raise RequestRefused("order_qty in steps of the lot size", order_qty=quantity, lot_size=instrument.lot_size)
    if price is not None and price % instrument.tick_size:
        raise RequestRefused("price in steps of the tick size", price=price, tick_size=instrument.tick_size)


def evolve(instrument: Instrument | None, event: InstrumentEvent) -> Instrument:
    """The instrument after an event. Total and unconditional."""
    match event:
        case InstrumentListed():
            return Instrument(event.instrument_id, event.contract, event.tick_size, event.lot_size)
        case _:
            assert_never(event)
