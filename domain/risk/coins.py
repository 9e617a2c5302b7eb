"""Coins: what an account holds by coin, from positions, payments, fees and cash, and what working orders may add.

A trade moves two coins: its base, and the one it is paid with; a fee and a gain move a third one. What is held of a
coin is their sum over an account, with its cash less what is borrowed. A derivative is held for itself, in each leg.
The base currency of the account and the currency of the measure are cash, and no exposure.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from typing import NamedTuple

from msgspec import Struct

from domain.instrument import Kind, PutOrCall
from domain.risk.exposure import Cell, Desk
from domain.values import ZERO, Money, Side, divide, exact


class Wallet(Struct, frozen=True):
    """An account's base currency, and its cash that no position moved, signed, less what is borrowed."""

    account_id: str
    base_currency: str
    coins: tuple[Money, ...] = ()


def by_account(wallets: Iterable[Wallet]) -> dict[str, Wallet]:
    """Wallets by their accounts."""
    return {wallet.account_id: wallet for wallet in wallets}


class Held(NamedTuple):
    """One thing that is held: a coin of an account (no instrument), or a leg of a contract."""

    account_id: str
    asset: str
    instrument_id: str = ""
    position_side: str = ""


class Part(NamedTuple):
    """A part of what is held: `units` of a coin or the `value` of a contract; the change of its value if all buys, and
    if all sells, of one cell are filled.
    """

    held: Held
    units: Decimal = ZERO
    value: Decimal = ZERO
    if_bought: Decimal = ZERO
    if_sold: Decimal = ZERO

    def is_of(self, asset: str | None) -> bool:
        """Whether it is of an asset; of None, any is."""
        return asset in (None, self.held.asset)

    def moved(self, side: Side) -> Decimal:
        """The change of its value if all orders of one side are filled."""
        return self.if_bought if side is Side.BUY else self.if_sold


class Sum(NamedTuple):
    """The sum of parts: `up` and `down` are the changes by working orders, each as far as orders go one way."""

    units: Decimal = ZERO
    value: Decimal = ZERO
    up: Decimal = ZERO
    down: Decimal = ZERO

    def plus(self, part: Part, sign: int = 1) -> "Sum":
        """The sum with a part added, or with `sign` -1 removed."""
        if sign == 1 and self is NOTHING and not part.if_bought and not part.if_sold:
            return Sum(part.units, part.value)  # the usual case: a coin that is in one cell, without working orders
        up = max(part.if_bought, ZERO) + max(part.if_sold, ZERO)
        down = min(part.if_bought, ZERO) + min(part.if_sold, ZERO)
        return Sum(
            exact(self.units + sign * part.units), exact(self.value + sign * part.value), exact(self.up + sign * up),
            exact(self.down + sign * down),
        )  # fmt: skip

    def widest(self, worth: Decimal) -> Decimal:
        """The largest size, unsigned, that working orders can lead to. `worth` is that of the units."""
        now = self.value + worth
        if not self.up and not self.down:
            return exact(abs(now))
        return exact(max(abs(now + self.up), abs(now + self.down)))


NOTHING = Sum()


def moved(parts: Iterable[Part], side: Side) -> Decimal:
    """The change of the net value of parts if all orders of one side are filled."""
    return sum((part.moved(side) for part in parts), ZERO)


def of_asset(asset: str, sizes: Mapping[Held, Decimal]) -> Decimal:
    """The sum of the sizes of what is held of one asset."""
    return exact(sum((size for held, size in sizes.items() if held.asset == asset), ZERO))


def by_holding(parts: Iterable[Part]) -> dict[Held, Sum]:
    """Parts summed by what is held."""
    sums: dict[Held, Sum] = {}
    for part in parts:
        sums[part.held] = sums.get(part.held, NOTHING).plus(part)
    return sums


def paid(cell: Cell, cash: tuple[str, ...] = ()) -> Iterator[Money]:
    """What a cell's bookings have received less what they paid, by coin, without the quantity of spot and `cash`."""
    contract, now = cell.contract, cell.now
    amounts = {coin: gained for coin, gained in now.gains.items() if coin not in cash}
    if contract is not None and contract.kind in (Kind.SPOT, Kind.OPTION) and contract.settle not in cash:
        amounts[contract.settle] = exact(amounts.get(contract.settle, ZERO) - now.cost + now.moved_in)
    for coin, amount in amounts.items():
        if amount:
            yield Money(amount, coin)


def coin_part(asset: str, desk: Desk, cell: Cell, price: Callable[[], Decimal]) -> Part:
    """What one cell holds of a coin, in units of it: its quantity, what it paid, and what its orders would move.

    Linear contracts count their size, options too, puts the other way round; inverse contracts their size by `price`.
    """
    contract, now, bought, sold = cell.contract, ZERO, ZERO, ZERO
    if contract is not None and contract.base == asset and not contract.is_quanto:
        size = contract.contract_size
        if contract.kind is Kind.INVERSE and (cell.orders or cell.now.quantity):
            size = divide(size, price())
        if contract.put_or_call is PutOrCall.PUT:
            size = -size
        now, bought, sold = (exact(size * each) for each in (cell.now.quantity, cell.buying, -cell.selling))
    elif contract is not None and contract.quote == asset and contract.kind is Kind.SPOT:
        bought, sold = -cell.buying_at, cell.selling_at
    now += sum((money.amount for money in paid(cell) if money.currency == asset), ZERO)
    return Part(Held(desk.account_id, asset), exact(now), if_bought=bought, if_sold=sold)


def cash_parts(wallets: Mapping[str, Wallet]) -> Iterator[Part]:
    """The cash of accounts."""
    for wallet in wallets.values():
        for money in wallet.coins:
            yield Part(Held(wallet.account_id, money.currency), money.amount)
