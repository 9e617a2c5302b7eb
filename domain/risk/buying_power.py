"""Buying power: whether the cash and coins of an account suffice for an order, beside its other orders and positions.

A spot order needs what it pays with: a buy its quote currency, at its own price, a sell its base. Linear and inverse
contracts need initial margin in their settlement currency: of what is open its cost, of working orders their value at
their own price (of inverse ones at their average), divided by the leverage. What only closes a position needs none; of
buys and sells in one contract the side counts that needs more. All strategies of an account are netted, as its venue
does; the legs of hedge mode are not, each needs the margin of its own position and orders. An option that is bought
needs its premium. Fees and unrealized gains are not counted.

The limit is the leverage: of the account as a whole, or of one instrument, where that is set. Spot has none.
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import NamedTuple

from msgspec import Struct

from domain.errors import RequestRefused
from domain.instrument import Contract, Kind
from domain.marks import Prices
from domain.risk.events import LimitCheck, LimitSet
from domain.risk.exposure import Cell, Exposure, Hold
from domain.risk.intent import Intent
from domain.risk.measures import Measure
from domain.risk.usage import MARKET_ORDER_RULE
from domain.values import ONE, ZERO, PositionSide, Side, divide, exact

RULE = f"{Measure.BUYING_POWER} is not exceeded"
SHORTAGE = ("required", "available", "balance", "committed")  # the numbers of a refusal, as facts


class Cash(Struct, frozen=True):
    """The balances of an account by currency, signed, less what pending transfers will take."""

    available: Mapping[str, Decimal] = {}


class Need(NamedTuple):
    """What an order needs of one currency, and what is left there for it: the balance less what is committed."""

    currency: str
    required: Decimal
    balance: Decimal
    committed: Decimal

    @property
    def available(self) -> Decimal:
        """What is left of the balance."""
        return exact(self.balance - self.committed)

    @property
    def is_met(self) -> bool:
        """Whether it suffices; an order that needs nothing always passes."""
        return self.required <= 0 or self.required <= self.available

    @property
    def refusal(self) -> RequestRefused:
        """The refusal of an order that needs more than there is."""
        return RequestRefused(
            RULE, required=f"{self.required:f}", available=f"{self.available:f}", balance=f"{self.balance:f}",
            committed=f"{self.committed:f}", currency=self.currency,
        )  # fmt: skip

    def check(self, limit: LimitSet) -> LimitCheck:
        """The check as it is recorded: the usage is what is committed, without the order and with it."""
        assert limit.limit is not None, "a limit that is lifted is not active"
        return LimitCheck(
            limit.measure, limit.scope, limit.version, limit.limit, used=self.committed,
            asked=exact(self.committed + self.required), currency=self.currency, account_id=limit.account_id,
        )  # fmt: skip


class _Working(NamedTuple):
    """What works of one side of a contract: its quantity, and the sum of that times the sizes of the orders' prices."""

    quantity: Decimal = ZERO
    at_price: Decimal = ZERO

    def plus(self, quantity: Decimal, at_price: Decimal) -> "_Working":
        return _Working(exact(self.quantity + quantity), exact(self.at_price + at_price))


_Sides = dict[Side, _Working]


class _Place(NamedTuple):
    """One contract; in hedge mode one leg of it, which is margined by itself."""

    instrument_id: str
    position_side: PositionSide
    contract: Contract


class BuyingPower:
    """The buying power of one account, under its limits of this measure."""

    def __init__(self, exposure: Exposure, prices: Prices, limits: tuple[LimitSet, ...], cash: Cash) -> None:
        self._exposure = exposure
        self._prices = prices
        self._limits = {limit.scope.instrument_id: limit for limit in limits if limit.measure is Measure.BUYING_POWER}
        self._cash = cash

    def is_of(self, limit: LimitSet, order: Intent) -> bool:
        """Whether a limit is the one that counts for an order: that of its instrument, if there is one."""
        return self._limits.get(order.instrument_id, self._limits.get(None)) == limit

    def need(self, order: Intent) -> Need:
        """What an order needs, and what is there. Raises RequestRefused where a price is missing."""
        contract, side = order.contract, order.side
        own: Hold | None = self._exposure.holds.get(order.key)
        committed = [(place, self._working(place, own)) for place in self._places()]
        here = _Place(order.instrument_id, order.position_side, contract)
        works = next((each for place, each in committed if place[:2] == here[:2]), _no_orders())
        currency = contract.settle
        if contract.kind in (Kind.LINEAR, Kind.INVERSE):
            added = works | {side: works[side].plus(order.quantity, order.quantity * abs(self._price(order)))}
            margins = (self._margin(here, each) for each in (works, added))
            without, with_order = margins
            required = exact(with_order - without)
        elif contract.kind is Kind.SPOT and side is Side.SELL:
            currency, required = contract.base, order.quantity
        elif side is Side.BUY:
            required = abs(exact(contract.value(order.quantity, self._price(order))))
        else:
            required = self._sold_option(order)
        total = exact(sum((self._needed(*each, currency) for each in committed), ZERO))
        return Need(currency, required, self._cash.available.get(currency, ZERO), total)

    def left(self) -> list[Need]:
        """What is left of each currency that the account has, or that its orders and positions need; none is required.

        Raises RequestRefused where a price is missing.
        """
        committed = [(place, self._working(place, None)) for place in self._places()]
        found = {currency for place, _ in committed for currency in (place.contract.settle, place.contract.base)}
        needs = []
        for currency in sorted(found | self._cash.available.keys()):
            total = exact(sum((self._needed(*each, currency) for each in committed), ZERO))
            balance = self._cash.available.get(currency, ZERO)
            if total or balance:
                needs.append(Need(currency, ZERO, balance, total))
        return needs

    def _sold_option(self, order: Intent) -> Decimal:
        """Nothing for an option that is held; what a short one needs is the venue's to say."""
        held = sum((cell.now.quantity for cell in self._cells(order.instrument_id, order.position_side)), ZERO)
        if order.quantity > held:
            raise RequestRefused(
                "the margin of options sold short is not measured", instrument_id=order.instrument_id, held=held,
                order_qty=order.quantity,
            )  # fmt: skip
        return ZERO

    def _price(self, order: Intent) -> Decimal:
        price = order.price if order.price is not None else order.stop_px
        return self._prices.mark(order.instrument_id, MARKET_ORDER_RULE).price if price is None else price

    def _places(self) -> Iterator[_Place]:
        found = {
            (name, desk.position_side): cell.contract
            for name, desk, cell in self._exposure.all()
            if cell.contract is not None
        }
        yield from (_Place(*each, contract) for each, contract in sorted(found.items(), key=lambda item: item[0]))

    def _cells(self, instrument_id: str, position_side: PositionSide) -> list[Cell]:
        return [cell for desk, cell in self._exposure.of(instrument_id) if desk.position_side is position_side]

    def _working(self, place: _Place, own: Hold | None) -> _Sides:
        """What works in a place, without what the order holds that is checked, its `own`."""
        works = _no_orders()
        for cell in self._cells(place.instrument_id, place.position_side):
            works[Side.BUY] = works[Side.BUY].plus(cell.buying, cell.buying_at)
            works[Side.SELL] = works[Side.SELL].plus(cell.selling, cell.selling_at)
        if own is not None and (own.instrument_id, own.position_side) == place[:2]:
            works[own.side] = works[own.side].plus(-own.quantity, -own.at_price)
        return works

    def _needed(self, place: _Place, works: _Sides, currency: str) -> Decimal:
        """What working orders and the open position in a place need of a currency."""
        instrument_id, _, contract = place
        if contract.kind in (Kind.LINEAR, Kind.INVERSE):
            return self._margin(place, works) if contract.settle == currency else ZERO
        needed = ZERO
        if contract.settle == currency:
            needed += self._value(instrument_id, contract, works[Side.BUY])
        if contract.kind is Kind.SPOT and contract.base == currency:
            needed += works[Side.SELL].quantity
        return needed

    def _margin(self, place: _Place, works: _Sides) -> Decimal:
        """The initial margin of a contract: of what is open, and of the side of working orders that needs more."""
        instrument_id, position_side, contract = place
        cells = self._cells(instrument_id, position_side)
        position = sum((cell.now.quantity for cell in cells), ZERO)
        cost = abs(sum((cell.now.cost for cell in cells), ZERO)) if position else ZERO
        adding, closing = (Side.BUY, Side.SELL) if position >= 0 else (Side.SELL, Side.BUY)
        beyond = max(works[closing].quantity - abs(position), ZERO)
        turned = ZERO
        if beyond:
            turned = divide(self._value(instrument_id, contract, works[closing]) * beyond, works[closing].quantity)
        with_added = exact(cost + self._value(instrument_id, contract, works[adding]))
        return divide(max(with_added, turned), self._leverage(instrument_id))

    def _value(self, instrument_id: str, contract: Contract, working: _Working) -> Decimal:
        """The unsigned value in settlement currency, at the orders' average price, or at the mark if it is unknown."""
        if not working.quantity:
            return ZERO
        if not working.at_price:
            price = self._prices.price(instrument_id)
        elif contract.kind is Kind.INVERSE:
            price = divide(working.at_price, working.quantity)
        else:
            return exact(working.at_price * contract.contract_size)
        return abs(exact(contract.value(working.quantity, price)))

    def _leverage(self, instrument_id: str) -> Decimal:
        limit = self._limits.get(instrument_id, self._limits.get(None))
        return limit.limit if limit is not None and limit.limit else ONE


def _no_orders() -> _Sides:
    return {Side.BUY: _Working(), Side.SELL: _Working()}
