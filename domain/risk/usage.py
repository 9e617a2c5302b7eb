"""Usage of a limit, without an order and with it: the arithmetic of every measure.

It is computed from the exposure (positions and working orders), prices and equity. Notionals are in quote currency, of
an option its premium in settlement currency. Positions are valued at marks; each working order at the worse of its own
price and the mark, of inverse contracts at the mark; an order as `domain.risk.valuing` says.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from functools import partial
from types import MappingProxyType
from typing import NamedTuple, assert_never

from domain.errors import RequestRefused
from domain.instrument import Contract, Kind
from domain.marks import Prices
from domain.risk.capital import Capital, EquityUsed
from domain.risk.coins import (
    NOTHING,
    Held,
    Part,
    Sum,
    Wallet,
    by_holding,
    cash_parts,
    coin_part,
    moved,
    of_asset,
    paid,
)
from domain.risk.exposure import Cell, Desk, Exposure, Hold
from domain.risk.intent import Intent
from domain.risk.measures import ANYWHERE, WINDOWS, Measure, Scope
from domain.risk.valuing import VALUING_MARK_AGE_MAX, Valuation, own_price, valuation
from domain.values import ONE, ZERO, Side, divide, exact

NO_WALLETS: Mapping[str, Wallet] = MappingProxyType({})
Pairs = Mapping[tuple[str, str], tuple[str, str]]  # of an account and coin: the pair that prices it, and its quote
MARKET_ORDER_RULE = "a market order has a mark to value it by"


class Usage(NamedTuple):
    """The usage of a limit without the order, and with it. Signed where the measure has sides."""

    used: Decimal
    with_order: Decimal
    is_signed: bool = False

    @property
    def is_falling(self) -> bool:
        """Whether the order brings a signed usage towards zero, not through."""
        return self.is_signed and abs(self.with_order) <= abs(self.used) and self.with_order * self.used >= 0


def _every_desk(desk: Desk) -> bool:
    return True


def _widest(sides: tuple[Decimal, Decimal]) -> Decimal:
    return max(abs(sides[0]), abs(sides[1]))


class Meter(NamedTuple):
    """The inputs of usage, `at` a moment of the trading day that began at `day_from`.

    `opening_marks` has the first price on record of a day, by instrument.
    """

    exposure: Exposure
    prices: Prices
    capital: Capital
    day_from: datetime
    opening_marks: Mapping[str, tuple[datetime, Decimal]]
    at: datetime
    wallets: Mapping[str, Wallet] = NO_WALLETS

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
                return self._coin_position(scope, order) if scope.is_of_coin else self._position(scope, order)
            case Measure.MAX_POSITION_NOTIONAL:
                return self._position_notional(scope, currency, order)
            case Measure.MAX_NET_EXPOSURE:
                return self._net_exposure(scope, currency or "", order)
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
        if measure is Measure.MAX_POSITION_NOTIONAL or (measure is Measure.MAX_POSITION and not scope.is_of_coin):
            return self._position(scope, order).is_falling
        return measure.lets_closing_through and order.is_reducing(self.exposure)

    def held(self, measure: Measure, scope: Scope, currency: str | None) -> dict[str, Decimal]:
        """The usage now, without an order, by what it is measured of (an instrument, an asset or ""); unsigned.

        Raises RequestRefused where a price or the equity is missing.
        """
        match measure:
            case Measure.MAX_POSITION if scope.is_of_coin and scope.asset is not None:
                held = self._coins(scope)
                return {scope.asset: held.widest(held.units)}
            case Measure.MAX_POSITION:
                return {name: self.exposure.widest(scope.strategy_id, name)[0] for name in self._instruments(scope)}
            case Measure.MAX_POSITION_NOTIONAL:
                return {
                    name: self._widest_position(scope.of_instrument(name), currency or "")
                    for name in self._instruments(scope)
                }
            case Measure.MAX_NET_EXPOSURE:
                return {"": _widest(self._net_sides(scope, currency or ""))}
            case Measure.MAX_GROSS_EXPOSURE:
                return {"": sum(self._gross(scope, currency or "").values(), ZERO)}
            case Measure.MAX_LEVERAGE:
                equity = self.equity()
                return {"": equity.fraction(sum(self._gross(scope, equity.currency).values(), ZERO))}
            case Measure.MAX_CONCENTRATION:
                equity = self.equity()
                sizes = self._gross(scope, equity.currency)
                assets = sorted({held.asset for held in sizes})
                return {asset: equity.fraction(of_asset(asset, sizes)) for asset in assets}
            case Measure.MAX_DAILY_LOSS:
                return {"": max(-self.day_gain(scope, currency or ""), ZERO)}
            case Measure.MAX_DRAWDOWN:
                return {"": self.drawdown(scope)}
            case _:
                return {}

    def shown(
        self, measure: Measure, scope: Scope, currency: str | None, window: tuple[datetime, ...] = ()
    ) -> dict[str, Decimal]:
        """The usage now of any measure, as `held` has it; of an order by itself none is used yet.

        Of a rate it is what was sent in the second or minute up to now, of MAX_MARK_AGE the age of the oldest mark of
        what is held. Raises RequestRefused where a price or the equity is missing.
        """
        if measure.is_held:
            return self.held(measure, scope, currency)
        if measure is Measure.MAX_OPEN_ORDERS:
            return {"": Decimal(sum(cell.orders for _, _, cell in self._cells(scope)))}
        if measure in WINDOWS:
            since = self.at - WINDOWS[measure]
            return {"": Decimal(sum(1 for moment in window if moment > since))}
        if measure is Measure.MAX_MARK_AGE:
            for instrument_id, _, cell in self._cells(scope):
                if cell.orders or cell.now.quantity:
                    self.prices.mark(instrument_id)
            return {"": Decimal(self.prices.oldest_ms).scaleb(-3)}
        return {"": ZERO}

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

    def equity(self) -> EquityUsed:
        """The equity of the account, or of the firm. Raises RequestRefused where it, or a price, is not known."""
        return self.capital.equity(self.gain(ANYWHERE, self.capital.currency), self.prices.convert)

    def scope_gain(self, scope: Scope, equity: EquityUsed) -> Decimal:
        """The gain that a drawdown of a scope is measured by, in the currency of the equity."""
        return equity.gain if scope == ANYWHERE else self.gain(scope, equity.currency)

    def drawdown(self, scope: Scope) -> Decimal:
        """The fall of gains since their highest, as a fraction of the equity at that time."""
        equity = self.equity()
        gain, known = self.scope_gain(scope, equity), self.capital.high_of(scope)
        high = gain if known is None else max(known, gain)
        if high == gain:
            return ZERO
        if equity.capital + high <= 0:
            raise RequestRefused(
                "equity above zero at its highest", equity=exact(equity.capital + high), currency=equity.currency
            )
        return divide(high - gain, equity.capital + high)

    def valuation(self, order: Intent) -> Valuation | None:
        """The price that an order is valued at; None where it has none and no mark of it is fresh."""
        is_at_market = order.is_at_market
        mark: Decimal | None = None
        if not is_at_market:
            compared = self.prices.compare(order.instrument_id, VALUING_MARK_AGE_MAX)
            mark = compared.price if compared is not None else None
        elif self.prices.has_fresh(order.instrument_id):
            mark = self.prices.price(order.instrument_id)
        return valuation(order.terms, mark, is_lowest=order.contract.kind is Kind.INVERSE)

    def own_price(self, order: Intent) -> Decimal | None:
        """The price that an order is held at: its own, or where it has none the one that it is valued at.

        Of a replacement it is the higher of those before and after: until it is answered, it may be filled at either.
        """
        price = own_price(order.terms)
        if price is None and (valued := self.valuation(order)) is not None:
            price = valued.price
        known: Hold | None = self.exposure.holds.get(order.key)
        was = known.price if known is not None else None
        return max((each for each in (price, was) if each is not None), key=abs, default=None)

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
        if order.is_at_market:
            self.prices.mark(order.instrument_id, MARKET_ORDER_RULE)
        valued = self.valuation(order)
        assert valued is not None, "an order has a price, a trigger or a mark"
        contract, notional = order.contract, order.contract.notional(order.order_qty, valued.price)
        if contract.kind is Kind.INVERSE and currency == contract.base:
            return divide(notional, valued.price)
        return exact(self._converted(notional, order.instrument_id, contract, currency or ""))

    def _slack(self, order: Intent) -> Decimal:
        if order.price is None:
            if order.stop_px is None:
                self.prices.mark(order.instrument_id, MARKET_ORDER_RULE)
            return ZERO
        reference = order.stop_px
        if reference is None:
            reference = self.prices.mark(order.instrument_id, "a mark to hold a price against").price
        if not reference:
            raise RequestRefused("a reference other than zero to hold a price against", price=order.price)
        return divide(max(order.side.sign * (order.price - reference), ZERO), abs(reference))

    def _position(self, scope: Scope, order: Intent) -> Usage:
        sign = order.side.sign
        used = ZERO
        for desk, cell in self.exposure.of(order.instrument_id):
            if scope.strategy_id in (None, desk.strategy_id) and order.counts(desk):
                used += cell.now.quantity + sign * cell.held(order.side)
        return Usage(exact(used), exact(used + sign * order.added), is_signed=True)

    def _coins(self, scope: Scope) -> Sum:
        """What is held of the coin of a scope, in units of it, and what working orders may add."""
        total, asset = Sum(), scope.asset or ""
        for name, desk, cell in self._cells(Scope(scope.strategy_id, None, scope.venue)):
            total = total.plus(self._coin_part(asset, name, desk, cell))
        if scope.strategy_id is None and scope.venue is None:
            for part in cash_parts(self.wallets):
                total = total.plus(part) if part.held.asset == asset else total
        return total

    def _coin_part(self, asset: str, name: str, desk: Desk, cell: Cell) -> Part:
        return coin_part(asset, desk, cell, partial(self.prices.price, name))

    def _coin_position(self, scope: Scope, order: Intent) -> Usage:
        """As `_position` by coin; an order in a pair that is paid with the coin moves it as well."""
        total, asset, then = self._coins(scope), scope.asset or "", self._with_order(order)
        place = (order.desk, order.instrument_id)
        before, after = (
            self._coin_part(asset, order.instrument_id, order.desk, each.exposure.cell(*place)).moved(order.side)
            for each in (self, then)
        )
        change = exact(after - before)
        used = total.units + (total.down if change < 0 else total.up)
        return Usage(exact(used), exact(used + change), is_signed=True)

    def _position_notional(self, scope: Scope, currency: str | None, order: Intent) -> Usage:
        """As `_position` in money: the other leg of hedge mode gives no room."""
        sides = self._sides(scope.of_instrument(order.instrument_id), currency or "", order.counts)
        used = self._side(sides, order)
        added = self._added(order, currency or "")
        return Usage(used, exact(used + self._side(added[1], order) - self._side(added[0], order)), is_signed=True)

    def _widest_position(self, scope: Scope, currency: str) -> Decimal:
        """As `Exposure.widest` in money, of one instrument."""
        longest = shortest = ZERO
        for name, desk, cell in self._cells(scope):
            directions = desk.directions(*self._sides_of(name, desk, cell, currency))
            longest, shortest = longest + directions[0], shortest + directions[1]
        return exact(_widest((longest, shortest)))

    def _net_exposure(self, scope: Scope, currency: str, order: Intent) -> Usage:
        """The net exposure with all working orders filled that move it the way the order does."""
        before, after = self._order_parts(scope, order, currency)
        change = exact(moved(after, order.side) - moved(before, order.side))
        up, down = self._net_sides(scope, currency)
        used = down if change < 0 or (not change and order.side is Side.SELL) else up
        return Usage(used, exact(used + change), is_signed=True)

    def _gross_usage(self, measure: Measure, scope: Scope, currency: str | None, order: Intent) -> Usage:
        equity = None if measure is Measure.MAX_GROSS_EXPOSURE else self.equity()
        wanted = currency or "" if equity is None else equity.currency
        sums = by_holding(self._parts(scope, wanted))
        pairs = self._pairs(wanted)
        sizes = self._sizes(sums, wanted, pairs)
        before, after = self._order_parts(scope, order, wanted)
        for part in before:
            sums[part.held] = sums.get(part.held, NOTHING).plus(part, -1)
        for part in after:
            sums[part.held] = sums.get(part.held, NOTHING).plus(part)
        changed = {part.held for part in (*before, *after)}
        then = sizes | self._sizes({held: sums[held] for held in changed}, wanted, pairs)
        if measure is Measure.MAX_CONCENTRATION:
            assets = sorted({held.asset for held in changed} or {order.contract.base})
            changes = [(of_asset(asset, sizes), of_asset(asset, then)) for asset in assets]
            grown = [change for change in changes if change[1] > change[0]] or changes
            used, with_order = max(grown, key=lambda pair: pair[1])
        else:
            used, with_order = (exact(sum(each.values(), ZERO)) for each in (sizes, then))
        if equity is None:
            return Usage(used, with_order)
        return Usage(equity.fraction(used), equity.fraction(with_order))

    def _side(self, sides: tuple[Decimal, Decimal], order: Intent) -> Decimal:
        return sides[0] if order.side is Side.BUY else sides[1]

    def _with_order(self, order: Intent) -> "Meter":
        hold = Hold(order.strategy_id, order.instrument_id, order.side, order.quantity, price=self.own_price(order))
        return self._replace(exposure=self.exposure.with_hold(order.key, hold, order.contract))

    def _added(self, order: Intent, currency: str) -> tuple[tuple[Decimal, Decimal], tuple[Decimal, Decimal]]:
        """Both sides of the order's cell, without the order and with it."""
        name, desk, then = order.instrument_id, order.desk, self._with_order(order)
        return (
            self._sides_of(name, desk, self.exposure.cell(desk, name), currency),
            then._sides_of(name, desk, then.exposure.cell(desk, name), currency),
        )

    def _order_parts(self, scope: Scope, order: Intent, currency: str) -> tuple[list[Part], list[Part]]:
        """The parts of the order's cell, without the order and with it."""
        name, desk, then = order.instrument_id, order.desk, self._with_order(order)
        cells = (self.exposure.cell(desk, name), then.exposure.cell(desk, name))
        before, after = (
            [*meter._parts_of(name, desk, cell, currency)] for meter, cell in zip((self, then), cells, strict=True)
        )
        return [each for each in before if each.is_of(scope.asset)], [each for each in after if each.is_of(scope.asset)]

    def _parts(self, scope: Scope, currency: str) -> Iterator[Part]:
        """What is held in a scope, by cell and coin; of whole accounts their cash too."""
        for name, desk, cell in self._cells(Scope(scope.strategy_id, scope.instrument_id, scope.venue)):
            yield from (each for each in self._parts_of(name, desk, cell, currency) if each.is_of(scope.asset))
        if scope.strategy_id is None and scope.instrument_id is None and scope.venue is None:
            for part in cash_parts(self.wallets):
                if part.is_of(scope.asset) and not self._is_cash(part.held.account_id, part.held.asset, currency):
                    yield part

    def _parts_of(self, name: str, desk: Desk, cell: Cell, currency: str) -> Iterator[Part]:
        """What one cell holds: its coins, with what its working orders would move of both, or its contract."""
        contract, account_id = cell.contract, desk.account_id
        bought = sold = ZERO
        if contract is None or contract.kind is not Kind.SPOT:
            value = self._worth(cell.now.quantity, name, contract, currency)
            longest, shortest = self._sides_of(name, desk, cell, currency)
            if contract is not None:
                held = Held(account_id, contract.base, name, desk.position_side)
                yield Part(held, ZERO, value, if_bought=exact(longest - value), if_sold=exact(shortest - value))
        else:
            if cell.orders:
                flat = cell.flat
                bought, sold = self._sides_of(name, desk, flat, currency)
            if not self._is_cash(account_id, contract.base, currency):
                yield Part(Held(account_id, contract.base), cell.now.quantity, if_bought=bought, if_sold=sold)
            if cell.orders and not self._is_cash(account_id, contract.quote, currency, is_paid=True):
                yield Part(Held(account_id, contract.quote), if_bought=-bought, if_sold=-sold)
        if (wallet := self.wallets.get(account_id)) is not None:
            for money in paid(cell, (currency, wallet.base_currency)):
                yield Part(Held(account_id, money.currency), money.amount)

    def _is_cash(self, account_id: str, coin: str, currency: str, *, is_paid: bool = False) -> bool:
        """Whether a coin is no exposure; where an account's base currency is not known, what it pays with is none."""
        wallet = self.wallets.get(account_id)
        return coin == currency or (is_paid if wallet is None else coin == wallet.base_currency)

    def _gross(self, scope: Scope, currency: str) -> dict[Held, Decimal]:
        return self._sizes(by_holding(self._parts(scope, currency)), currency, self._pairs(currency))

    def _sizes(self, sums: Mapping[Held, Sum], currency: str, pairs: Pairs) -> dict[Held, Decimal]:
        """The size of each holding, unsigned, with the working orders that widen it most."""
        return {held: each.widest(self._coin_worth(held, each.units, pairs, currency)) for held, each in sums.items()}

    def _net_sides(self, scope: Scope, currency: str) -> tuple[Decimal, Decimal]:
        """The net exposure with the working orders that raise it, and with those that lower it."""
        pairs = self._pairs(currency)
        net = ZERO
        for held, each in by_holding(self._parts(scope, currency)).items():
            net += each.value + self._coin_worth(held, each.units, pairs, currency)
        up = down = ZERO
        for name, desk, cell in self._cells(Scope(scope.strategy_id, scope.instrument_id, scope.venue)):
            own = [each for each in self._parts_of(name, desk, cell, currency) if each.is_of(scope.asset)]
            for side in Side if cell.orders else ():
                change = moved(own, side)
                up, down = up + max(change, ZERO), down + min(change, ZERO)
        return exact(net + up), exact(net + down)

    def _pairs(self, currency: str) -> Pairs:
        """The pair that prices each coin of an account, and its quote: with a fresh mark, rather in the currency."""
        found: dict[tuple[str, str], tuple[bool, bool, str, str]] = {}
        for name, desk, cell in self.exposure.all():
            contract = cell.contract
            if contract is not None and contract.kind is Kind.SPOT:
                rank = (not self.prices.has_fresh(name), contract.quote != currency, name, contract.quote)
                at = (desk.account_id, contract.base)
                found[at] = min(found.get(at, rank), rank)
        return {at: (name, quote) for at, (_, _, name, quote) in found.items()}

    def _coin_worth(self, held: Held, units: Decimal, pairs: Pairs, currency: str) -> Decimal:
        if not units:
            return ZERO
        pair = pairs.get((held.account_id, held.asset))
        if pair is None:
            return self.prices.convert(units, held.asset, currency)
        name, quote = pair
        return self.prices.convert(exact(units * self.prices.price(name)), quote, currency)

    def _sides(
        self, scope: Scope, currency: str, counts: Callable[[Desk], bool] = _every_desk
    ) -> tuple[Decimal, Decimal]:
        """What is held with all working buys filled and no sell, and the other way round; the sum, signed."""
        longest = shortest = ZERO
        for name, desk, cell in self._cells(scope):
            if counts(desk):
                sides = self._sides_of(name, desk, cell, currency)
                longest, shortest = longest + sides[0], shortest + sides[1]
        return exact(longest), exact(shortest)

    def _sides_of(self, instrument_id: str, desk: Desk, cell: Cell, currency: str) -> tuple[Decimal, Decimal]:
        """The same of one cell."""
        longest = self._worth(cell.longest, instrument_id, cell.contract, currency)
        shortest = self._worth(cell.shortest, instrument_id, cell.contract, currency)
        contract = cell.contract
        if contract is None or contract.kind is Kind.INVERSE or not cell.orders:
            return longest, shortest
        sides = [self._dearer(instrument_id, desk, cell, side) for side in Side]
        dearer, cheaper = (
            self._converted(contract.notional(each, ONE), instrument_id, contract, currency) for each in sides
        )
        return exact(longest + dearer), exact(shortest - cheaper)

    def _dearer(self, instrument_id: str, desk: Desk, cell: Cell, side: Side) -> Decimal:
        """What the working orders of one side hold, times by how much the size of each price is above the mark's."""
        is_buy = side is Side.BUY
        held, prices = cell.held(side), cell.buy_prices if is_buy else cell.sell_prices
        if not held or prices is None or not prices[1]:
            return ZERO
        mark = abs(self.prices.price(instrument_id))
        if prices[1] <= mark:
            return ZERO
        if prices[0] >= mark:
            return exact((cell.buying_at if is_buy else cell.selling_at) - held * mark)
        holds = self.exposure.held_by(desk, instrument_id, side)
        above = (
            hold.quantity * (abs(hold.price) - mark)
            for hold in holds
            if hold.price is not None and abs(hold.price) > mark
        )
        return exact(sum(above, ZERO))

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
        if contract.kind is Kind.INVERSE and currency == contract.base:
            return divide(notional, self.prices.price(instrument_id))
        return self.prices.convert(notional, contract.notional_currency, currency)

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
