"""Balances of an account by currency, exact, from its positions and transfers on record.

Spot and options move money as they trade: a buy debits the quote (the premium) and credits the base, at once. A future
moves none until it is closed: its wallet gains what the position realizes and funding, and loses fees. Every effect of
a trade satisfies, under any cost basis and however often it was restated,

    realized + rounding - change of cost - fee_cost = what was paid or received for the quantity

so the sums below need no history (`moved_by` a position's state, `moved` by one event) and no order of arrival.
Of a future that is `flow`: minus the value of what was traded, less fees, plus funding. The wallet is flow plus the
cost of what is open. Which cost is a convention, and a venue has its own: it nets what our strategies hold of one
contract and keeps that at average cost. `Wallets` therefore replays an account's futures trades in that way, so that
an account kept by FIFO, or with two strategies on two sides, still agrees with the venue's statement.
"""

from collections.abc import Iterator, Sequence
from decimal import Decimal

from domain.account import CostBasis, Costing
from domain.instrument import Contract, Kind
from domain.position import (
    Effect,
    Entry,
    FundingSettled,
    Position,
    PositionEvent,
    PositionKey,
    PositionTransferred,
    TradeBooked,
    TradeReversed,
    costing,
    entry_of,
    expensed,
    paid_in_base,
)
from domain.values import ZERO, Money, PositionSide, exact

VENUE_COSTING = Costing(CostBasis.AVERAGE)


def is_future(contract: Contract) -> bool:
    """Whether trading it moves no money but fees until it is closed."""
    return contract.kind in (Kind.LINEAR, Kind.INVERSE)


def moved_by(position: Position) -> dict[str, Decimal]:
    """The balance changes of a position's trades, fees and funding, a future's wallet by the account's own costing."""
    sums: dict[str, Decimal] = {}
    contract = position.contract
    if contract is None:
        return {position.funded_in: position.funding} if position.funding else sums
    settled = position.realized + position.rounding - position.fee_cost + position.funding
    if not is_future(contract):
        settled += position.transferred + position.income - position.book.cost
    _add(sums, Money(settled, contract.settle))
    if contract.kind is Kind.SPOT:
        _add(sums, Money(position.quantity, contract.base))
    for currency, fee in position.fees.items():
        if not (contract.kind is Kind.SPOT and currency == contract.base):
            _add(sums, Money(-fee, currency))
    return sums


def moved(event: PositionEvent) -> Iterator[Money]:
    """The balance changes of one event, signed; of a future its flow. The sum is the same in any order of arrival."""
    match event:
        case TradeBooked():
            yield from _moved_by_effect(event.effect, event.contract, expensed(event.effect, event.commission))
        case TradeReversed():
            for money in _moved_by_effect(event.effect, event.contract, expensed(event.effect, event.commission)):
                yield Money(-money.amount, money.currency)
        case PositionTransferred():
            # at its own cost, which was not paid for: of a future only the cost is carried over
            yield from _moved_by_effect(event.effect, event.contract, ())
            if not is_future(event.contract):
                yield Money(event.cost, event.contract.settle)
        case FundingSettled():
            yield event.amount
        case _:
            return


def _moved_by_effect(effect: Effect, contract: Contract, fees: Sequence[Money]) -> Iterator[Money]:
    yield Money(effect.realized + effect.rounding - effect.cost - effect.fee_cost, contract.settle)
    if contract.kind is Kind.SPOT:
        yield Money(effect.quantity, contract.base)
    in_base = paid_in_base(contract, fees)
    yield from (Money(-fee.amount, fee.currency) for fee in fees if fee is not in_base)


class Wallets:
    """An account's balances as its venue keeps them, from position events in any order. Grows with futures trades."""

    def __init__(self) -> None:
        self.flow: dict[str, Decimal] = {}
        self._futures: dict[tuple[str, PositionSide], dict[tuple[str, str], Entry]] = {}

    def pay(self, money: Money) -> None:
        """Add money that moved, signed."""
        _add(self.flow, money)

    def add(self, event: PositionEvent) -> None:
        """Add an event of a position of the account."""
        for money in moved(event):
            self.pay(money)
        match event:
            case TradeBooked() | PositionTransferred() if is_future(event.contract) and not is_inside(event):
                self._open(event.key, entry_of(event))
            case TradeReversed() if is_future(event.contract):
                self._drop(event.key, event.exec_id)
            case _:
                pass

    def book(self, key: PositionKey, entry: Entry) -> None:
        """Add a trade or transfer that is not booked yet, as `add` would add its event."""
        self._pay_for(entry, 1)
        if is_future(entry.contract):
            self._open(key, entry)

    def unbook(self, key: PositionKey, entry: Entry) -> None:
        """Remove a trade."""
        self._pay_for(entry, -1)
        self._drop(key, entry.occurrence.exec_id)

    def _pay_for(self, entry: Entry, sign: int) -> None:
        contract, signed = entry.contract, entry.side.sign * entry.quantity
        if entry.price is not None:
            self.pay(Money(-sign * contract.value(signed, entry.price), contract.settle))
        elif entry.cost is not None and is_future(contract):
            self.pay(Money(-sign * entry.cost, contract.settle))
        if contract.kind is Kind.SPOT:
            self.pay(Money(sign * signed, contract.base))
        for fee in entry.commissions:
            self.pay(Money(-sign * fee.amount, fee.currency))

    def _open(self, key: PositionKey, entry: Entry) -> None:
        leg = (key.instrument_id, key.position_side)
        self._futures.setdefault(leg, {})[key.strategy_id, entry.occurrence.exec_id] = entry

    def _drop(self, key: PositionKey, exec_id: str) -> None:
        self._futures.get((key.instrument_id, key.position_side), {}).pop((key.strategy_id, exec_id), None)

    def open_cost(self, instrument_id: str, *legs: PositionSide) -> Decimal:
        """The cost of what is open of one future, of all or some legs, each at the average cost of all strategies."""
        places = ((instrument_id, position_side) for position_side in legs or PositionSide)
        return exact(sum((self._open_cost(place) for place in places), ZERO))

    def _open_cost(self, leg: tuple[str, PositionSide]) -> Decimal:
        _, book = costing.replay(self._futures.get(leg, {}).values(), VENUE_COSTING)
        return book.cost

    def balances(self) -> dict[str, Decimal]:
        """The balances by currency, zeros left out."""
        open_costs = (
            {next(iter(trades.values())).contract.settle: self._open_cost(leg)}
            for leg, trades in self._futures.items()
            if trades
        )
        return total(self.flow, *open_costs)


def is_inside(event: TradeBooked | PositionTransferred) -> bool:
    """Whether it moves quantity between two strategies of one account, which the venue does not see."""
    other = event.counterparty if isinstance(event, PositionTransferred) else None
    return other is not None and other.account_id == event.key.account_id


def total(*sums: dict[str, Decimal]) -> dict[str, Decimal]:
    """The sum of balances, zeros left out."""
    added: dict[str, Decimal] = {}
    for part in sums:
        for currency, amount in part.items():
            _add(added, Money(amount, currency))
    return {currency: amount for currency, amount in added.items() if amount}


def _add(sums: dict[str, Decimal], money: Money) -> None:
    sums[money.currency] = exact(sums.get(money.currency, ZERO) + money.amount)
