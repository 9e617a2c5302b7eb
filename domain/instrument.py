"""Instrument: a tradable contract at a venue, with the facts that value it and since when they hold.

Quantities of spot are in base units; of derivatives in contracts, each `contract_size` of base (linear, option) or
of quote (inverse). Prices are quote units a base unit; an option's price is its premium in settlement currency a
base unit. A linear contract may have any price (spreads and futures trade below zero), spot and options prices of zero
(what is given away, what expired worthless), an inverse contract only prices above zero. Cost, PnL and funding are in
the settlement currency: quote for spot and linear, base for inverse, either for an option. A linear contract that
settles in a third currency is a quanto: its size is that currency for each contract and quote unit of price, such as
0.000001 XBT.

FIX: MinPriceIncrement(969), RoundLot(561), ContractMultiplier(231), SettlCurrency(120), StrikePrice(202),
PutOrCall(201), ExerciseStyle(1194), MaturityDate(541).

Facts change in time: an amendment has the moment from which it holds, and an old fill is valued with the facts of its
day (`Instrument.facts_at`). Another contract size turns what is held into contracts of that size
(`domain.position.closing`).
"""

from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from typing import assert_never

from msgspec import Struct
from msgspec.structs import asdict, replace

from domain import names
from domain.account import RedenominateAsset
from domain.errors import RequestRefused
from domain.values import EARLIEST, ONE, PLACES_MAX, ZERO, divide, exact, rounded

ROUNDED_DIGITS = 2  # the last digits of a cost, which may differ by as many roundings as booked it
UNKNOWN_STEP = ONE.scaleb(-PLACES_MAX)  # tick and lot of what a file listed, which states none: any fits
STATED_FROM = EARLIEST + timedelta(microseconds=1)  # since when steps hold that were stated after such a listing
STREAM_NAMES_MAX = 4096  # cached: every fill needs its instrument's


class Kind(StrEnum):
    """The kind of contract. LINEAR and INVERSE with an expiry are dated futures, without one perpetuals."""

    SPOT = "SPOT"
    LINEAR = "LINEAR"
    INVERSE = "INVERSE"
    OPTION = "OPTION"


class PutOrCall(StrEnum):
    """FIX PutOrCall(201)."""

    PUT = "PUT"
    CALL = "CALL"


class ExerciseStyle(StrEnum):
    """FIX ExerciseStyle(1194): an option of EUROPEAN style is exercised at its expiry, of AMERICAN at any time."""

    EUROPEAN = "EUROPEAN"
    AMERICAN = "AMERICAN"


class Contract(Struct, frozen=True, gc=False, omit_defaults=True):
    """The facts that turn quantity and price into money; carried by every event that needs them."""

    kind: Kind
    base: str
    quote: str
    settle: str
    contract_size: Decimal = ONE
    expiry: datetime | None = None
    strike: Decimal | None = None
    put_or_call: PutOrCall | None = None
    exercise_style: ExerciseStyle = ExerciseStyle.EUROPEAN

    @property
    def unit(self) -> str:
        """The unit of quantities: the base currency where one is one of it, else `contracts`."""
        is_in_base = self.kind in (Kind.SPOT, Kind.LINEAR) and self.contract_size == 1
        return self.base if is_in_base else "contracts"

    def value(self, quantity: Decimal, price: Decimal) -> Decimal:
        """The value of `quantity` (signed) at `price` in settlement currency, signed so that it rises as a long gains.

        Spot, linear, option: quantity x size x price, exact. Inverse: -quantity x size / price, rounded once at 18
        places. PnL from a to b is value(quantity, b) - value(quantity, a) for all of them.
        """
        if self.kind is Kind.INVERSE:
            return divide(-quantity * self.contract_size, price)
        return quantity * self.contract_size * price

    def notional(self, quantity: Decimal, price: Decimal) -> Decimal:
        """The size of an order in `notional_currency`, unsigned: quantity x size (x price, unless inverse).

        A price below zero counts by its size.
        Of an option it is the premium.
        """
        size = abs(quantity) * self.contract_size
        return size if self.kind is Kind.INVERSE else size * abs(price)

    @property
    def is_quanto(self) -> bool:
        """Whether it is linear in a price, and settles in a currency that the price is not in."""
        return self.kind is Kind.LINEAR and self.settle not in (self.base, self.quote)

    @property
    def notional_currency(self) -> str:
        """The currency that `notional` is in: quote, but of an option and a quanto the settlement currency."""
        return self.settle if self.kind in (Kind.OPTION, Kind.LINEAR) else self.quote

    @property
    def price_rule(self) -> str:
        """What a price of it is: `a number` of a linear contract, which may trade below zero as spreads and futures do;
        `zero or above` of spot and options, which are given away; `above zero` of an inverse contract.
        """
        return _PRICE_RULES[self.kind]

    def has_price(self, price: Decimal) -> bool:
        """Whether a fill or mark may have this price."""
        return self.kind is Kind.LINEAR or price > 0 or (not price and self.kind is not Kind.INVERSE)

    def average_price(self, quantity: Decimal, cost: Decimal) -> Decimal | None:
        """The price at which `quantity` is worth `cost`, to 18 places; None when flat.

        The parts of an inverse contract's cost are rounded at 18 places. Where one was, the average is known to as many
        digits as the cost and no more: it is rounded to those, so that a price that came in is shown as it came.
        """
        if not quantity or (self.kind is Kind.INVERSE and not cost):
            return None
        if self.kind is not Kind.INVERSE:
            return divide(cost, quantity * self.contract_size)
        average = divide(-quantity * self.contract_size, cost)
        digits = cost.adjusted() + PLACES_MAX - ROUNDED_DIGITS
        known = rounded(average, min(max(digits - average.adjusted(), 0), PLACES_MAX))
        is_rounded = cost.as_tuple().exponent <= ROUNDED_DIGITS - PLACES_MAX  # type: ignore[operator]
        return known if is_rounded or (known and self.value(quantity, known) == cost) else average

    def funding(self, quantity: Decimal, mark_price: Decimal, rate: Decimal) -> Decimal:
        """The funding a holder of `quantity` receives at `rate`: longs pay shorts when the rate is above zero.

        In settlement currency: -(quantity x size x mark x rate), or for inverse -(quantity x size / mark x rate).
        """
        if self.kind is Kind.INVERSE:
            return divide(-quantity * self.contract_size * rate, mark_price)
        return exact(-quantity * self.contract_size * mark_price * rate)

    def settlement_price(self, underlying: Decimal) -> Decimal:
        """The price a contract settles at when it expires with the underlying at `underlying` (quote a base unit).

        A future settles at the underlying, an option at its intrinsic value; one settled in base is divided by the
        underlying, rounded at 18 places.
        """
        if self.kind is not Kind.OPTION:
            return underlying
        assert self.strike is not None, "an option has a strike"
        ahead = underlying - self.strike if self.put_or_call is PutOrCall.CALL else self.strike - underlying
        intrinsic = max(ahead, ZERO)
        return divide(intrinsic, underlying) if self.settle == self.base else exact(intrinsic)


_PRICE_RULES = {
    Kind.SPOT: "zero or above",
    Kind.LINEAR: "a number",
    Kind.INVERSE: "above zero",
    Kind.OPTION: "zero or above",
}


class Facts(Struct, frozen=True):
    """The facts of an instrument that hold from `effective_at` until the next ones."""

    contract: Contract
    tick_size: Decimal
    lot_size: Decimal
    effective_at: datetime = EARLIEST


# Events: the stored format. A name or a field here outlives this code; change one only with an upcast.
class InstrumentListed(Struct, frozen=True, tag="InstrumentListed"):
    """An instrument was listed, with facts that hold from the beginning of time."""

    instrument_id: str
    contract: Contract
    tick_size: Decimal
    lot_size: Decimal


class InstrumentAmended(Struct, frozen=True, tag="InstrumentAmended"):
    """Other facts hold from `effective_at` on; what happened before keeps the facts of its day."""

    instrument_id: str
    contract: Contract
    tick_size: Decimal
    lot_size: Decimal
    effective_at: datetime


class InstrumentDelisted(Struct, frozen=True, tag="InstrumentDelisted", omit_defaults=True):
    """No order is accepted from `effective_at` on; venue reports still are.

    Unless that is ahead, open orders end by it, and what is held of a derivative is closed at `settlement_px`.
    """

    instrument_id: str
    effective_at: datetime
    settlement_px: Decimal | None = None


class InstrumentRedenominated(Struct, frozen=True, tag="InstrumentRedenominated", omit_defaults=True):
    """What is held of an instrument became another one: `units` of it for every `per` of this one, at `effective_at`.

    A redenomination, a renaming (1 for 1), a split, a merger into another coin: no disposal. The position transfers
    beside it have the reason REDENOMINATION, the other position as counterparty, and the lots with their ages. Open
    orders are carried. Fractions of the new lot size are sold at `fraction_px`, if it is given.
    """

    instrument_id: str
    redenomination_id: str
    to_instrument_id: str
    units: Decimal
    per: Decimal
    effective_at: datetime
    account_id: str = ""  # "": of all accounts
    fraction_px: Decimal | None = None
    is_renaming: bool = False  # the other one is listed as this one was, and this one takes no more orders


InstrumentEvent = InstrumentListed | InstrumentAmended | InstrumentDelisted | InstrumentRedenominated


class ListInstrument(Struct, frozen=True):
    """List an instrument."""

    instrument_id: str
    contract: Contract
    tick_size: Decimal
    lot_size: Decimal


class AmendInstrument(Struct, frozen=True):
    """Change an instrument's facts from a moment on."""

    instrument_id: str
    contract: Contract
    tick_size: Decimal
    lot_size: Decimal
    effective_at: datetime


class DelistInstrument(Struct, frozen=True):
    """Accept no more orders from a moment on; unless that is ahead, end open ones.

    With a `settlement_px` close what all accounts hold of a derivative at this price of it.
    """

    instrument_id: str
    effective_at: datetime
    settlement_px: Decimal | None = None


class RedenominateInstrument(Struct, frozen=True):
    """Turn what is held of an instrument into another one, at its cost, with its lots and their ages.

    What is less than a lot of the other one is sold at `fraction_px`, if that is given. A renaming lists the other
    instrument as this one is, unless it is listed, and delists this one.
    """

    instrument_id: str
    redenomination_id: str
    to_instrument_id: str
    units: Decimal
    per: Decimal
    effective_at: datetime
    account_id: str = ""
    fraction_px: Decimal | None = None
    is_renaming: bool = False


InstrumentRequest = ListInstrument | AmendInstrument | DelistInstrument | RedenominateInstrument


class Instrument(Struct, frozen=True):
    """A listed instrument. `history` is sorted by the moment from which facts hold; the first hold from the start."""

    instrument_id: str
    history: tuple[Facts, ...]
    delisted_at: datetime | None = None
    redenominations: tuple[InstrumentRedenominated, ...] = ()
    settlement_px: Decimal | None = None

    def redenominated(self, redenomination_id: str) -> InstrumentRedenominated | None:
        """The redenomination of an id, if there was one."""
        found = (each for each in self.redenominations if each.redenomination_id == redenomination_id)
        return next(found, None)

    @property
    def contract(self) -> Contract:
        """The newest facts' contract."""
        return self.history[-1].contract

    @property
    def tick_size(self) -> Decimal:
        """The newest facts' price step."""
        return self.history[-1].tick_size

    @property
    def lot_size(self) -> Decimal:
        """The newest facts' quantity step."""
        return self.history[-1].lot_size

    def facts_at(self, moment: datetime) -> Facts:
        """The facts that held at a moment."""
        if (newest := self.history[-1]).effective_at <= moment:
            return newest
        return next((facts for facts in reversed(self.history) if facts.effective_at <= moment), self.history[0])


@lru_cache(maxsize=STREAM_NAMES_MAX)
def stream(instrument_id: str) -> str:
    """The stream of one instrument."""
    return names.stream("instrument", names.venue_of(instrument_id), names.symbol_of(instrument_id))


def decide(instrument: Instrument | None, request: InstrumentRequest) -> tuple[InstrumentEvent, ...]:
    """The events that carry out a request; () if already in effect. Raises RequestRefused."""
    match request:
        case ListInstrument():
            _check_facts(request)
            listed = InstrumentListed(request.instrument_id, request.contract, request.tick_size, request.lot_size)
            if instrument is None:
                return (listed,)
            if evolve(None, listed).history[0] == instrument.history[0]:
                return ()
            return _with_steps(instrument, request)
        case AmendInstrument():
            return _amended(_known(instrument, request.instrument_id), request)
        case DelistInstrument():
            return _delisted(_known(instrument, request.instrument_id), request)
        case RedenominateInstrument():
            return _redenominated(_known(instrument, request.instrument_id), request)
        case _:
            assert_never(request)


def _known(instrument: Instrument | None, instrument_id: str) -> Instrument:
    if instrument is None:
        raise RequestRefused("the instrument is listed; list it first", instrument_id=instrument_id)
    return instrument


def _delisted(instrument: Instrument, request: DelistInstrument) -> tuple[InstrumentEvent, ...]:
    price, settled = request.settlement_px, instrument.settlement_px
    if price is not None:
        contract = instrument.contract
        if contract.kind is Kind.SPOT:
            raise RequestRefused("spot is not settled when it is delisted", instrument_id=request.instrument_id)
        if not (price.is_finite() and contract.has_price(price)):
            raise RequestRefused(
                "a price that the underlying may have", price=price, instrument_id=request.instrument_id
            )
        if settled not in (None, price):
            raise RequestRefused("a delisted contract is settled at one price", price=price, settled=settled)
    is_delisted = instrument.delisted_at is not None and instrument.delisted_at <= request.effective_at
    if is_delisted and price in (None, settled):
        return ()
    return (InstrumentDelisted(request.instrument_id, request.effective_at, price),)


def _redenominated(instrument: Instrument, request: RedenominateInstrument) -> tuple[InstrumentEvent, ...]:
    event = InstrumentRedenominated(**asdict(request))
    known = instrument.redenominated(request.redenomination_id)
    if known is not None:
        if known == event:
            return ()
        raise RequestRefused(
            "one redenomination_id names one redenomination", redenomination_id=request.redenomination_id,
            to_instrument_id=known.to_instrument_id, units=known.units, per=known.per,
        )  # fmt: skip
    for field, value in (("units", request.units), ("per", request.per)):
        if not value.is_finite() or value <= 0:
            raise RequestRefused(f"{field} above zero", **{field: value})
    price = request.fraction_px
    if price is not None and not (price.is_finite() and instrument.contract.has_price(price)):
        raise RequestRefused(
            "a price that the underlying may have", price=price, instrument_id=request.to_instrument_id
        )
    is_one_for_one = request.units == request.per and not request.account_id and price is None
    if request.is_renaming and not is_one_for_one:
        raise RequestRefused("a renaming is 1 for 1, of all accounts", units=request.units, per=request.per)
    if instrument.instrument_id == request.to_instrument_id and request.units == request.per:
        raise RequestRefused("a redenomination changes the instrument or the number of units", units=request.units)
    return (event,)


def check_successor(old: Instrument, new: Instrument | None, request: RedenominateInstrument) -> None:
    """Check that what is held of one instrument can become the other one at its cost. Raises RequestRefused."""
    if new is None:
        raise RequestRefused("the instrument is listed; list it first", instrument_id=request.to_instrument_id)
    one, other = old.facts_at(request.effective_at).contract, new.facts_at(request.effective_at).contract
    if (one.kind, one.settle) != (other.kind, other.settle):
        raise RequestRefused(
            "a redenomination keeps kind and settlement currency", kind=other.kind, settle=other.settle,
            to_instrument_id=request.to_instrument_id,
        )  # fmt: skip


def successor(old: Instrument, request: RedenominateAsset) -> tuple[str, ListInstrument]:
    """What an instrument in a coin becomes with it: the id, named alike, and how it is listed.

    Prices and quantities are stepped so that every one of before is one of now. Raises RequestRefused.
    """
    facts, symbol = old.facts_at(request.effective_at), names.symbol_of(old.instrument_id)
    contract = replace(facts.contract, base=request.to_asset)
    named = dict(request.successors).get(old.instrument_id)
    if named is None and not symbol.startswith(request.asset):
        raise RequestRefused(
            "an instrument named otherwise is named with what it becomes", instrument_id=old.instrument_id
        )
    name = named or f"{request.to_asset}{symbol[len(request.asset) :]}.{names.venue_of(old.instrument_id)}"
    tick, lot = divide(facts.tick_size * request.per, request.units), request.converted(facts.lot_size)
    return name, ListInstrument(name, contract, tick, lot)


def _with_steps(instrument: Instrument, request: ListInstrument) -> tuple[InstrumentEvent, ...]:
    """The steps of an instrument that was listed without any, of the same contract. Raises RequestRefused."""
    first, stated = instrument.history[0], Facts(request.contract, request.tick_size, request.lot_size, STATED_FROM)
    is_open = first.contract == request.contract and first.tick_size == first.lot_size == UNKNOWN_STEP
    if is_open and stated in instrument.history:
        return ()
    if not is_open or len(instrument.history) > 1:
        raise RequestRefused(
            "an instrument is listed once with one set of facts; amend it", instrument_id=request.instrument_id
        )
    return (
        InstrumentAmended(
            request.instrument_id, request.contract, request.tick_size, request.lot_size, effective_at=STATED_FROM
        ),
    )


def _amended(instrument: Instrument, request: AmendInstrument) -> tuple[InstrumentEvent, ...]:
    _check_facts(request)
    old, new = instrument.contract, request.contract
    if (old.kind, old.base, old.quote, old.settle) != (new.kind, new.base, new.quote, new.settle):
        raise RequestRefused("an amendment keeps kind and currencies; list another instrument", kind=new.kind)
    facts = Facts(new, request.tick_size, request.lot_size, request.effective_at)
    held = instrument.facts_at(request.effective_at)
    if facts in instrument.history or replace(held, effective_at=request.effective_at) == facts:
        return ()
    if request.effective_at <= instrument.history[-1].effective_at:
        raise RequestRefused(
            "an amendment holds from after the last one",
            effective_at=request.effective_at,
            last=instrument.history[-1].effective_at,
        )
    return (
        InstrumentAmended(
            request.instrument_id,
            contract=new,
            tick_size=request.tick_size,
            lot_size=request.lot_size,
            effective_at=request.effective_at,
        ),
    )


def _check_facts(request: ListInstrument | AmendInstrument) -> None:
    contract = request.contract
    settles_in = {
        Kind.SPOT: (contract.quote,),
        Kind.LINEAR: (contract.settle if contract.is_quanto else contract.quote,),
        Kind.INVERSE: (contract.base,),
        Kind.OPTION: (contract.quote, contract.base),
    }[contract.kind]
    if contract.settle not in settles_in:
        raise RequestRefused(f"{contract.kind} settles in {' or '.join(settles_in)}", settle=contract.settle)
    if contract.base == contract.quote:
        raise RequestRefused("base and quote are two currencies", base=contract.base, quote=contract.quote)
    if contract.kind is Kind.SPOT and (contract.contract_size != 1 or contract.expiry is not None):
        raise RequestRefused("spot has a contract size of 1 and no expiry", contract_size=contract.contract_size)
    is_option = contract.kind is Kind.OPTION
    terms = (contract.strike, contract.put_or_call, contract.expiry)
    if is_option and None in terms:
        raise RequestRefused("an option has strike, put_or_call and expiry", strike=contract.strike)
    is_styled = contract.exercise_style is not ExerciseStyle.EUROPEAN
    if not is_option and (contract.strike is not None or contract.put_or_call is not None or is_styled):
        raise RequestRefused("only an option has a strike", strike=contract.strike)
    steps = {"tick_size": request.tick_size, "lot_size": request.lot_size, "contract_size": contract.contract_size}
    if contract.strike is not None:
        steps["strike"] = contract.strike
    for field, value in steps.items():
        if not value.is_finite() or value <= 0:
            raise RequestRefused(f"{field} above zero", **{field: value})


def check_prices(contract: Contract, price: Decimal | None, stop_px: Decimal | None) -> None:
    """Check that an order's prices are above zero where not every number is a price. Raises RequestRefused."""
    if contract.kind is Kind.LINEAR:
        return
    for field, value in (("price", price), ("stop_px", stop_px)):
        if value is not None and value <= 0:
            raise RequestRefused(f"{field} above zero", **{field: value})


def check_terms(instrument: Instrument, quantity: Decimal, price: Decimal | None, at: datetime) -> None:
    """Check lot step, tick size, delisting and expiry of an order's terms. Raises RequestRefused."""
    facts = instrument.facts_at(at)
    if quantity % facts.lot_size:
        raise RequestRefused("order_qty in steps of the lot size", order_qty=quantity, lot_size=facts.lot_size)
    if price is not None and price % facts.tick_size:
        raise RequestRefused("price in steps of the tick size", price=price, tick_size=facts.tick_size)
    if instrument.delisted_at is not None and at >= instrument.delisted_at:
        raise RequestRefused("the instrument is not delisted", delisted_at=instrument.delisted_at)
    if facts.contract.expiry is not None and at >= facts.contract.expiry:
        raise RequestRefused("the instrument is not expired", expiry=facts.contract.expiry)


def evolve(instrument: Instrument | None, event: InstrumentEvent) -> Instrument:
    """The instrument after an event. Total and unconditional."""
    match event:
        case InstrumentListed():
            facts = Facts(event.contract, event.tick_size, event.lot_size)
            return Instrument(event.instrument_id, (facts,))
        case InstrumentAmended():
            facts = Facts(event.contract, event.tick_size, event.lot_size, event.effective_at)
            if instrument is None:
                return Instrument(event.instrument_id, (facts,))
            return replace(instrument, history=(*instrument.history, facts))
        case InstrumentDelisted():
            assert instrument is not None, "a stream starts with InstrumentListed"
            at = (
                event.effective_at
                if instrument.delisted_at is None
                else min(instrument.delisted_at, event.effective_at)
            )
            price = event.settlement_px if event.settlement_px is not None else instrument.settlement_px
            return replace(instrument, delisted_at=at, settlement_px=price)
        case InstrumentRedenominated():
            assert instrument is not None, "a stream starts with InstrumentListed"
            return replace(instrument, redenominations=(*instrument.redenominations, event))
        case _:
            assert_never(event)
