"""Exposure: positions, holds of working orders and gains (today's and total), by instrument and desk.

A desk is one strategy of one account; its cell in an instrument keeps the position (posted), what its working orders
hold of either side, and the position at the start of the trading day. All are sums of changes: quantities are signed as
the position is, cost is in settlement currency, gains (realized, funding, minus fees) are by currency. The trading day
of a booking is that of its `transact_time`, so a late booking changes the day it belongs to.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from domain.immutable import PersistentMap
from domain.instrument import Contract
from domain.order import OrderKey
from domain.values import ZERO, Money, PositionSide, Side, exact

HOUR = timedelta(hours=1)
HOURS_MAX = 256  # cached


class Desk(NamedTuple):
    """A holder of positions: one strategy of one account; in hedge mode one for each leg."""

    account_id: str
    strategy_id: str
    position_side: PositionSide = PositionSide.BOTH

    def directions(self, longest: Decimal, shortest: Decimal) -> tuple[Decimal, Decimal]:
        """What it adds to the long and to the short direction: a leg of hedge mode adds to its own alone."""
        if self.position_side is PositionSide.BOTH:
            return longest, shortest
        return max(longest, ZERO), min(shortest, ZERO)


class Hold(Struct, frozen=True, gc=False):
    """The quantity a working order still holds. `change_id` names the last replacement that was checked.

    `price` is the order's own, its limit or trigger; of a market order the mark it was valued at; None if unknown.
    """

    strategy_id: str
    instrument_id: str
    side: Side
    quantity: Decimal
    change_id: str = ""
    position_side: PositionSide = PositionSide.BOTH
    price: Decimal | None = None

    def desk(self, account_id: str) -> Desk:
        """The desk of the order."""
        return Desk(account_id, self.strategy_id, self.position_side)

    @property
    def at_price(self) -> Decimal:
        """Its quantity times the size of its own price, 0 if that is unknown."""
        return ZERO if self.price is None else self.quantity * abs(self.price)

    def less(self, released: Decimal) -> "Hold":
        """The hold with `released` less."""
        left = exact(self.quantity - released)
        return Hold(
            self.strategy_id, self.instrument_id, self.side, quantity=left, change_id=self.change_id,
            position_side=self.position_side, price=self.price,
        )  # fmt: skip


class Change(Struct, frozen=True, gc=False):
    """The change by a booking, at the time it belongs to: signed quantity, cost, net gains by currency; the cost of
    what was transferred in without being paid for.
    """

    at: datetime
    quantity: Decimal = ZERO
    cost: Decimal = ZERO
    gains: tuple[Money, ...] = ()
    transferred: Decimal | UnsetType = UNSET


class Holding(Struct, frozen=True, gc=False):
    """A position as limits measure it: signed quantity, its cost, and its total gains, by currency (no zeros)."""

    quantity: Decimal = ZERO
    cost: Decimal = ZERO
    gains: Mapping[str, Decimal] = {}
    transferred: Decimal | UnsetType = UNSET  # at its cost, not paid for; not set: nothing

    @property
    def moved_in(self) -> Decimal:
        """The cost of what was transferred in less out."""
        return ZERO if self.transferred is UNSET else self.transferred

    def plus(self, change: Change) -> "Holding":
        """The holding with a change added."""
        gains = self.gains
        if change.gains:
            summed = dict(gains)
            for gain in change.gains:
                amount = exact(summed.get(gain.currency, ZERO) + gain.amount)
                if amount:
                    summed[gain.currency] = amount
                else:
                    summed.pop(gain.currency, None)
            gains = summed
        transferred = self.transferred
        if change.transferred is not UNSET:
            transferred = exact(self.moved_in + change.transferred)
        return Holding(exact(self.quantity + change.quantity), exact(self.cost + change.cost), gains, transferred)


FLAT = Holding()
NEVER = datetime.min.replace(tzinfo=UTC)


PriceRange = tuple[Decimal, Decimal]


def _widened(prices: PriceRange | None, price: Decimal | None) -> PriceRange | None:
    """The range with a price in it; it stays as wide when an order ends, until the last of its side does."""
    if price is None:
        return prices
    return (price, price) if prices is None else (min(prices[0], price), max(prices[1], price))


class Cell(Struct, frozen=True, gc=False):
    """One desk in one instrument. `opening` is its holding at the start, `day_from`, of the trading day.

    `buying` and `selling` are the unsigned quantities that its `orders` working orders hold, `buying_at` and
    `selling_at` the sums of these times the sizes of the own prices, which lie between the two `buy_prices` or
    `sell_prices`.
    """

    contract: Contract | None = None
    now: Holding = FLAT
    opening: Holding = FLAT
    day_from: datetime = NEVER
    buying: Decimal = ZERO
    selling: Decimal = ZERO
    orders: int = 0
    buying_at: Decimal = ZERO
    selling_at: Decimal = ZERO
    buy_prices: PriceRange | None = None
    sell_prices: PriceRange | None = None

    @property
    def is_blank(self) -> bool:
        """Whether no order works and nothing was ever booked."""
        return not self.orders and self.day_from == NEVER

    def held(self, side: Side) -> Decimal:
        """The quantity that working orders of one side hold, unsigned."""
        return self.buying if side is Side.BUY else self.selling

    @property
    def longest(self) -> Decimal:
        """The position if every working buy is filled and no sell."""
        return self.now.quantity + self.buying

    @property
    def shortest(self) -> Decimal:
        """The position if every working sell is filled and no buy."""
        return self.now.quantity - self.selling

    @property
    def widest(self) -> Decimal:
        """The larger of the two, unsigned."""
        return max(abs(self.longest), abs(self.shortest))

    @property
    def flat(self) -> "Cell":
        """The cell with its working orders, and nothing held."""
        return replace(self, now=FLAT, opening=FLAT)

    def with_held(
        self, side: Side, added: Decimal, orders: int, contract: Contract | None = None, *, at_price: Decimal = ZERO,
        price: Decimal | None = None,
    ) -> "Cell":  # fmt: skip
        """The cell with `added` more held by working orders of one side, and `orders` more of them.

        `at_price` is what is added times the order's own `price`, of a quantity that has one.
        """
        buying, selling, buying_at, selling_at = self.buying, self.selling, self.buying_at, self.selling_at
        buy_prices, sell_prices = self.buy_prices, self.sell_prices
        if side is Side.BUY:
            buying, buying_at = exact(buying + added), exact(buying_at + at_price)
            buy_prices = _widened(buy_prices, price) if buying else None
        else:
            selling, selling_at = exact(selling + added), exact(selling_at + at_price)
            sell_prices = _widened(sell_prices, price) if selling else None
        return Cell(
            contract=contract or self.contract,
            now=self.now,
            opening=self.opening,
            day_from=self.day_from,
            buying=buying,
            selling=selling,
            orders=self.orders + orders,
            buying_at=buying_at,
            selling_at=selling_at,
            buy_prices=buy_prices,
            sell_prices=sell_prices,
        )

    def with_change(self, contract: Contract | None, change: Change, starts_at_hour: int) -> "Cell":
        """The cell with a booking added to the position, and to the day's opening if it belongs to an earlier day."""
        opening, day_from = self.opening, self.day_from
        if change.at < day_from:
            opening = opening.plus(change)
        elif (start := day_of(change.at, starts_at_hour)) > day_from:
            opening, day_from = self.now, start
        now = self.now.plus(change)
        return Cell(
            contract=contract or self.contract,
            now=now,
            opening=opening,
            day_from=day_from,
            buying=self.buying,
            selling=self.selling,
            orders=self.orders,
            buying_at=self.buying_at,
            selling_at=self.selling_at,
            buy_prices=self.buy_prices,
            sell_prices=self.sell_prices,
        )

    def opened(self, day_from: datetime) -> Holding:
        """The holding at the start, `day_from`, of a trading day."""
        return self.now if day_from > self.day_from else self.opening


class Exposure(Struct, frozen=True, gc=False):
    """Cells by instrument and desk, holds by order."""

    cells: PersistentMap[str, dict[Desk, Cell]] = PersistentMap()
    holds: PersistentMap[OrderKey, Hold] = PersistentMap()

    def cell(self, desk: Desk, instrument_id: str) -> Cell:
        """One desk in one instrument; blank if it was never there."""
        return self._of(instrument_id).get(desk, BLANK)

    def of(self, instrument_id: str) -> Iterator[tuple[Desk, Cell]]:
        """All desks in one instrument."""
        return iter(self._of(instrument_id).items())

    def all(self) -> Iterator[tuple[str, Desk, Cell]]:
        """All desks in all instruments."""
        for instrument_id, desks in self.cells.items():
            for desk, cell in desks.items():
                yield instrument_id, desk, cell

    def widest(self, strategy_id: str | None, instrument_id: str) -> tuple[Decimal, Contract | None]:
        """The largest position, unsigned, that working orders can lead to, of one strategy or of all of them net.

        A leg of hedge mode is not netted with the other one: a SHORT leg gives no room to a LONG one.
        """
        longest = shortest = ZERO
        contract = None
        for desk, cell in self.of(instrument_id):
            if strategy_id in (None, desk.strategy_id):
                directions = desk.directions(cell.longest, cell.shortest)
                longest, shortest = longest + directions[0], shortest + directions[1]
                contract = cell.contract or contract
        return exact(max(abs(longest), abs(shortest))), contract

    def held_by(self, desk: Desk, instrument_id: str, side: Side) -> Iterator[Hold]:
        """The holds of the working orders of one desk in one instrument, of one side."""
        for key, hold in self.holds.items():
            is_its = key.account_id == desk.account_id and hold.strategy_id == desk.strategy_id
            if is_its and hold.instrument_id == instrument_id and hold.side is side:
                yield hold

    def with_hold(self, key: OrderKey, hold: Hold, contract: Contract | None = None) -> "Exposure":
        """The exposure with an order's hold replaced by `hold`; one of quantity zero is removed."""
        known: Hold | None = self.holds.get(key)
        is_held = hold.quantity > 0
        if known is None and not is_held:
            return self
        desk = hold.desk(key.account_id)
        cell = self.cell(desk, hold.instrument_id)
        added = hold.quantity - (known.quantity if known else ZERO)
        at_price = hold.at_price - (known.at_price if known else ZERO)
        orders = is_held - (known is not None)
        cell = cell.with_held(hold.side, added, orders, contract, at_price=at_price, price=abs(hold.price or ZERO))
        holds = self.holds.put(key, hold) if is_held else self.holds.drop(key)
        return Exposure(self._with_cell(desk, hold.instrument_id, cell), holds)

    def with_change(
        self, desk: Desk, instrument_id: str, contract: Contract | None, change: Change, starts_at_hour: int
    ) -> "Exposure":
        """The exposure with a booking added to the position, and to the opening if it belongs to an earlier day."""
        cell = self.cell(desk, instrument_id).with_change(contract, change, starts_at_hour)
        return Exposure(self._with_cell(desk, instrument_id, cell), self.holds)

    def with_released(self, key: OrderKey, released: Decimal) -> "Exposure":
        """The exposure with `released` less held by an order, if it holds anything."""
        hold: Hold | None = self.holds.get(key)
        return self if hold is None else self.with_hold(key, hold.less(released))

    def with_posting(
        self, key: OrderKey, released: Decimal, desk: Desk, instrument_id: str, contract: Contract | None,
        change: Change, starts_at_hour: int,
    ) -> "Exposure":  # fmt: skip
        """The exposure with a booking added, and `released` less held by its order."""
        hold: Hold | None = self.holds.get(key) if released else None
        if hold is None:
            return self.with_change(desk, instrument_id, contract, change, starts_at_hour=starts_at_hour)
        if hold.desk(desk.account_id) != desk or hold.instrument_id != instrument_id:  # filled in something else
            left = self.with_hold(key, hold.less(released))
            return left.with_change(desk, instrument_id, contract, change, starts_at_hour=starts_at_hour)
        was_at, hold = hold.at_price, hold.less(released)
        is_held = hold.quantity > 0
        cell = self.cell(desk, instrument_id).with_change(contract, change, starts_at_hour)
        cell = cell.with_held(hold.side, -released, 0 if is_held else -1, at_price=hold.at_price - was_at)
        holds = self.holds.put(key, hold) if is_held else self.holds.drop(key)
        return Exposure(self._with_cell(desk, instrument_id, cell), holds)

    def with_cell(self, desk: Desk, instrument_id: str, cell: Cell) -> "Exposure":
        """The exposure with one cell replaced."""
        return Exposure(self._with_cell(desk, instrument_id, cell), self.holds)

    def _of(self, instrument_id: str) -> dict[Desk, Cell]:
        return self.cells.get(instrument_id, _NO_DESKS)  # type: ignore[no-any-return]

    def _with_cell(self, desk: Desk, instrument_id: str, cell: Cell) -> PersistentMap[str, dict[Desk, Cell]]:
        desks = self._of(instrument_id)
        if not cell.is_blank:
            return self.cells.put(instrument_id, {**desks, desk: cell})
        left = {other: kept for other, kept in desks.items() if other != desk}
        return self.cells.put(instrument_id, left) if left else self.cells.drop(instrument_id)


BLANK = Cell()
_NO_DESKS: dict[Desk, Cell] = {}


def day_of(at: datetime, starts_at_hour: int) -> datetime:
    """The start of the trading day that a moment falls in: the latest full UTC hour `starts_at_hour` up to it."""
    if at.tzinfo is not UTC:
        at = at.astimezone(UTC)
    return _day_of_hour((at.year, at.month, at.day), at.hour, starts_at_hour)


@lru_cache(maxsize=HOURS_MAX)
def _day_of_hour(day: tuple[int, int, int], hour: int, starts_at_hour: int) -> datetime:
    start = datetime(*day, starts_at_hour, tzinfo=UTC)
    return start if starts_at_hour <= hour else start - 24 * HOUR
