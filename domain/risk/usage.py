"""Usage of a limit, without an order and with it: the arithmetic of every measure.

It is computed from the exposure (positions and working orders), prices and equity. Notionals are in quote currency, of
an option its premium in settlement currency; what is held is valued at marks.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple, assert_never

from msgspec import Struct

from domain.errors import RequestRefused
from domain.instrument import Contract, Kind
from domain.marks import Prices
from domain.order import OrderKey
from domain.risk.exposure import Cell, Desk, Exposure
from domain.risk.measures import ANYWHERE, WINDOWS, Measure, Scope
from domain.values import ONE, ZERO, Side, divide, exact

MARKET_ORDER_RULE = "a market order has a mark to value it by"


class Intent(NamedTuple):
    """An order to be checked: it is to hold `quantity`, of which it already holds `holding` (a replacement)."""

    key: OrderKey
    strategy_id: str
    instrument_id: str
    side: Side
    order_qty: Decimal
    price: Decimal | None
    stop_px: Decimal | None
    contract: Contract
    quantity: Decimal
    holding: Decimal
    is_new: bool

    @property
    def desk(self) -> Desk:
        """The desk of the order."""
        return Desk(self.key.account_id, self.strategy_id)

    @property
    def is_at_market(self) -> bool:
        """Whether it has neither price nor trigger."""
        return self.price is None and self.stop_px is None

    @property
    def added(self) -> Decimal:
        """The quantity that is to be held in addition, unsigned; below zero if less is to be held."""
        return self.quantity - self.holding

    def is_reducing(self, exposure: Exposure) -> bool:
        """Whether it brings its strategy's position towards zero and not through, with all other working orders.

        A replacement that holds no more than before reduces as well.
        """
        if not self.is_new and self.added <= 0:
            return True
        cell = exposure.cell(self.desk, self.instrument_id)
        working = cell.held(self.side) + self.added
        return cell.now.quantity * self.side.sign < 0 and working <= abs(cell.now.quantity)


class Usage(NamedTuple):
    """The usage of a limit without the order, and with it. Signed where the measure has sides."""

    used: Decimal
    with_order: Decimal
    is_signed: bool = False

    @property
    def is_falling(self) -> bool:
        """Whether the order brings a signed usage towards zero, not through."""
        return self.is_signed and abs(self.with_order) <= abs(self.used) and self.with_order * self.used >= 0


class Equity(Struct, frozen=True):
    """Capital paid in, and the highest gains on top of it."""

    currency: str
    capital: Decimal
    high: Decimal | None = None


def _with_asset(scope: Scope, asset: str) -> Scope:
    return Scope(scope.strategy_id, scope.instrument_id, scope.venue, asset)


class Meter(NamedTuple):
    """The inputs of usage, `at` a moment of the trading day that began at `day_from`.

    `opening_marks` has the first price on record of a day, by instrument.
    """

    exposure: Exposure
    prices: Prices
    equity: Equity | None
    day_from: datetime
    opening_marks: Mapping[str, tuple[datetime, Decimal]]
    at: datetime

    def usage(
        self, measure: Measure, scope: Scope, currency: str | None, order: Intent, window: tuple[datetime, ...] = ()
    ) -> Usage:
        """The usage without and with an order. Raises RequestRefused where a price or the equity is missing."""
        match measure:
            case Measure.MAX_ORDER_QTY:
                return Usage(ZERO, order.order_qty)
            case Measure.MAX_ORDER_NOTIONAL:
                return Usage(ZERO, self._order_notional(order, currency))
            case Measure.PRICE_COLLAR:
                return Usage(ZERO, self._slack(order))
            case Measure.MAX_MARK_AGE:
                if order.is_at_market:
                    self.prices.mark(order.instrument_id, MARKET_ORDER_RULE)
                return Usage(ZERO, Decimal(self.prices.oldest_ms).scaleb(-3))
            case Measure.MAX_OPEN_ORDERS:
                working = Decimal(sum(cell.orders for _, _, cell in self._cells(scope)))
                return Usage(working, working + order.is_new)
            case Measure.MAX_ORDERS_PER_SECOND | Measure.MAX_ORDERS_PER_MINUTE:
                since = self.at - WINDOWS[measure]
                sent = Decimal(sum(1 for moment in window if moment > since))
                return Usage(sent, sent + 1)
            case Measure.MAX_POSITION:
                return self._position(scope, order)
            case Measure.MAX_POSITION_NOTIONAL:
                return self._position_notional(scope, currency, order)
            case Measure.MAX_NET_EXPOSURE:
                return self._net(scope, currency, order)
            case Measure.MAX_GROSS_EXPOSURE | Measure.MAX_LEVERAGE | Measure.MAX_CONCENTRATION:
                return self._gross_usage(measure, scope, currency, order)
            case Measure.MAX_DAILY_LOSS:
                loss = max(-self.day_gain(scope, currency or ""), ZERO)
                return Usage(loss, loss)
            case Measure.MAX_DRAWDOWN:
                drawdown = self.drawdown(scope)
                return Usage(drawdown, drawdown)
            case Measure.BUYING_POWER:
                raise AssertionError("it is checked by domain.risk.buying_power")
            case _:
                assert_never(measure)

    def lets_through(self, measure: Measure, scope: Scope, order: Intent) -> bool:
        """Whether an order only reduces what is measured, as far as that is known without marks."""
        if measure in (Measure.MAX_POSITION, Measure.MAX_POSITION_NOTIONAL):
            return self._position(scope, order).is_falling
        return measure.lets_closing_through and order.is_reducing(self.exposure)

    def held(self, measure: Measure, scope: Scope, currency: str | None) -> dict[str, Decimal]:
        """The usage now, without an order, by what it is measured of (an instrument, an asset or ""); unsigned.

        Raises RequestRefused where a price or the equity is missing.
        """
        match measure:
            case Measure.MAX_POSITION:
                return {name: self.exposure.widest(scope.strategy_id, name)[0] for name in self._instruments(scope)}
            case Measure.MAX_POSITION_NOTIONAL:
                used = {}
                for name in self._instruments(scope):
                    widest, contract = self.exposure.widest(scope.strategy_id, name)
                    used[name] = self._worth(widest, name, contract, currency or "")
                return used
            case Measure.MAX_NET_EXPOSURE:
                longest = self._sum(scope, currency or "", lambda cell: cell.longest)
                shortest = self._sum(scope, currency or "", lambda cell: cell.shortest)
                return {"": max(abs(longest), abs(shortest))}
            case Measure.MAX_GROSS_EXPOSURE:
                return {"": self._sum(scope, currency or "", lambda cell: cell.widest)}
            case Measure.MAX_LEVERAGE:
                equity = self._equity()
                return {"": self._of_equity(self._sum(scope, equity.currency, lambda cell: cell.widest))}
            case Measure.MAX_CONCENTRATION:
                equity = self._equity()
                assets = {cell.contract.base for _, _, cell in self._cells(scope) if cell.contract}
                return {
                    asset: self._of_equity(self._sum(_with_asset(scope, asset), equity.currency, lambda c: c.widest))
                    for asset in sorted(assets)
                }
            case Measure.MAX_DAILY_LOSS:
                return {"": max(-self.day_gain(scope, currency or ""), ZERO)}
            case Measure.MAX_DRAWDOWN:
                return {"": self.drawdown(scope)}
            case _:
                return {}

    def gain(self, scope: Scope, currency: str) -> Decimal:
        """The total gain: realized, funding, minus fees, and unrealized at the marks."""
        total = ZERO
        for instrument_id, _, cell in self._cells(scope):
            total += self._gained(cell.now.gains, currency)
            total += self._unrealized(
                cell.contract, cell.now.quantity, cell.now.cost, instrument_id, price=None, currency=currency
            )
        return exact(total)

    def day_gain(self, scope: Scope, currency: str) -> Decimal:
        """The gain since the trading day began, including the change in unrealized."""
        total = ZERO
        for instrument_id, _, cell in self._cells(scope):
            opening = cell.opened(self.day_from)
            total += self._gained(cell.now.gains, currency) - self._gained(opening.gains, currency)
            total += self._unrealized(
                cell.contract, cell.now.quantity, cell.now.cost, instrument_id, price=None, currency=currency
            )
            if opening.quantity or opening.cost:
                price = self.opening_price(instrument_id) if opening.quantity else ONE
                total -= self._unrealized(
                    cell.contract, opening.quantity, opening.cost, instrument_id, price=price, currency=currency
                )
        return exact(total)

    def opening_price(self, instrument_id: str) -> Decimal:
        """The price at the opening of the trading day: its first on record, else the current one."""
        opened = self.opening_marks.get(instrument_id)
        if opened is not None and opened[0] >= self.day_from:
            return opened[1]
        return self.prices.price(instrument_id)

    def drawdown(self, scope: Scope) -> Decimal:
        """The fall of gains since their highest, as a fraction of the equity at that time."""
        equity = self._equity()
        gain = self.gain(scope, equity.currency)
        high = gain if equity.high is None else max(equity.high, gain)
        if high == gain:
            return ZERO
        if equity.capital + high <= 0:
            raise RequestRefused("equity above zero at its highest", equity=exact(equity.capital + high))
        return divide(high - gain, equity.capital + high)

    def _cells(self, scope: Scope) -> Iterator[tuple[str, Desk, Cell]]:
        if scope.instrument_id is None:
            found = self.exposure.all()
        else:
            name = scope.instrument_id
            found = ((name, desk, cell) for desk, cell in self.exposure.of(name))
        for instrument_id, desk, cell in found:
            if scope.covers(desk.strategy_id, instrument_id, cell.contract.base if cell.contract else None):
                yield instrument_id, desk, cell

    def _instruments(self, scope: Scope) -> list[str]:
        return sorted({instrument_id for instrument_id, _, _ in self._cells(scope)})

    def _order_notional(self, order: Intent, currency: str | None) -> Decimal:
        price = order.price if order.price is not None else order.stop_px
        if price is None:
            price = self.prices.mark(order.instrument_id, MARKET_ORDER_RULE).price
        notional = order.contract.notional(order.order_qty, price)
        return exact(self._converted(notional, order.instrument_id, order.contract, currency or ""))

    def _slack(self, order: Intent) -> Decimal:
        if order.price is None:
            if order.stop_px is None:
                self.prices.mark(order.instrument_id, MARKET_ORDER_RULE)
            return ZERO
        reference = order.stop_px
        if reference is None:
            reference = self.prices.mark(order.instrument_id, "a mark to hold a price against").price
        return divide(max(order.side.sign * (order.price - reference), ZERO), reference)

    def _position(self, scope: Scope, order: Intent) -> Usage:
        sign = order.side.sign
        used = ZERO
        for desk, cell in self.exposure.of(order.instrument_id):
            if scope.strategy_id in (None, desk.strategy_id):
                used += cell.now.quantity + sign * cell.held(order.side)
        return Usage(exact(used), exact(used + sign * order.added), is_signed=True)

    def _position_notional(self, scope: Scope, currency: str | None, order: Intent) -> Usage:
        units = self._position(scope, order)
        worth = [
            self._worth(quantity, order.instrument_id, order.contract, currency or "")
            for quantity in (units.used, units.with_order)
        ]
        return Usage(worth[0], worth[1], is_signed=True)

    def _net(self, scope: Scope, currency: str | None, order: Intent) -> Usage:
        sign = order.side.sign
        used = self._sum(scope, currency or "", lambda cell: cell.now.quantity + sign * cell.held(order.side))
        added = self._worth(sign * order.added, order.instrument_id, order.contract, currency or "")
        return Usage(used, exact(used + added), is_signed=True)

    def _gross_usage(self, measure: Measure, scope: Scope, currency: str | None, order: Intent) -> Usage:
        if measure is Measure.MAX_CONCENTRATION:
            scope = _with_asset(scope, order.contract.base)
        is_ratio = measure is not Measure.MAX_GROSS_EXPOSURE
        wanted = self._equity().currency if is_ratio else currency or ""
        used = self._sum(scope, wanted, lambda cell: cell.widest)
        cell = self.exposure.cell(order.desk, order.instrument_id)
        longest, shortest = cell.longest, cell.shortest
        if order.side is Side.BUY:
            longest += order.added
        else:
            shortest -= order.added
        wider = max(abs(longest), abs(shortest)) - cell.widest
        with_order = exact(used + self._worth(wider, order.instrument_id, order.contract, wanted))
        return Usage(self._of_equity(used), self._of_equity(with_order)) if is_ratio else Usage(used, with_order)

    def _sum(self, scope: Scope, currency: str, quantity_of: Callable[[Cell], Decimal]) -> Decimal:
        total = ZERO
        for instrument_id, _, cell in self._cells(scope):
            total += self._worth(quantity_of(cell), instrument_id, cell.contract, currency)
        return exact(total)

    def _worth(self, quantity: Decimal, instrument_id: str, contract: Contract | None, currency: str) -> Decimal:
        """The notional of a quantity at the mark, signed as the quantity is."""
        if not quantity:
            return ZERO
        if contract is None:
            raise RequestRefused("an instrument whose contract is on record", instrument_id=instrument_id)
        price = ONE if contract.kind is Kind.INVERSE else self.prices.price(instrument_id)
        notional = contract.notional(quantity, price).copy_sign(quantity)
        return exact(self._converted(notional, instrument_id, contract, currency))

    def _converted(self, notional: Decimal, instrument_id: str, contract: Contract, currency: str) -> Decimal:
        held_in = contract.settle if contract.kind is Kind.OPTION else contract.quote
        if contract.kind is Kind.INVERSE and currency == contract.base:
            return divide(notional, self.prices.price(instrument_id))
        return self.prices.convert(notional, held_in, currency)

    def _gained(self, gains: Mapping[str, Decimal], currency: str) -> Decimal:
        return sum((self.prices.convert(amount, held_in, currency) for held_in, amount in gains.items()), ZERO)

    def _unrealized(
        self, contract: Contract | None, quantity: Decimal, cost: Decimal, instrument_id: str, price: Decimal | None,
        currency: str,
    ) -> Decimal:  # fmt: skip
        if not quantity and not cost:
            return ZERO
        if contract is None:
            raise RequestRefused("an instrument whose contract is on record", instrument_id=instrument_id)
        value = ZERO
        if quantity:
            value = contract.value(quantity, self.prices.price(instrument_id) if price is None else price)
        return self._settled(exact(value - cost), instrument_id, contract, currency)

    def _settled(self, amount: Decimal, instrument_id: str, contract: Contract, currency: str) -> Decimal:
        if contract.kind is Kind.INVERSE and contract.settle != currency:
            amount = exact(amount * self.prices.price(instrument_id))
            return self.prices.convert(amount, contract.quote, currency)
        return self.prices.convert(amount, contract.settle, currency)

    def _equity(self) -> Equity:
        if self.equity is None:
            raise RequestRefused("a capital on record; assess the account with its capital first")
        return self.equity

    def _of_equity(self, amount: Decimal) -> Decimal:
        equity = self._equity()
        total = exact(equity.capital + self.gain(ANYWHERE, equity.currency))
        if not amount:
            return ZERO
        if total <= 0:
            raise RequestRefused("equity above zero", equity=total, currency=equity.currency)
        return divide(amount, total)
