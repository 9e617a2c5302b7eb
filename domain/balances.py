"""Balances: how much of each currency an account holds, exactly, from what positions and transfers have on record.

Spot and options move money as they trade: a buy takes the quote (the premium) and brings the base, at once. A future
moves none until it is closed: its wallet gains what the position realizes, funding, and loses fees. Every effect of a
trade satisfies, whatever cost basis it was booked under and however often it was restated,

    realized + rounding - change of cost - fee_cost = what was paid or received for the quantity

so the sums below need no history (`moved_by` a position's state, `moved` by one event) and know no order of arrival.
Of a future that is `flow`: minus the value of what was traded, less fees, plus funding. The wallet is flow plus the
cost of what is open. Which cost is a convention, and a venue has its own: it nets what our strategies hold of one
contract and keeps that at average cost. `Wallets` therefore replays an account's futures trades in that way, so that
an account kept by FIFO, or with two strategies on two sides, still agrees with the venue's statement.
"""

from collections.abc import Iterator
from decimal import Decimal

from domain import costing
from domain.account import CostBasis, Costing
from domain.costing import Effect, Entry
from domain.instrument import Contract, Kind
from domain.position import (
    FundingSettled,
    Position,
    PositionEvent,
    PositionTransferred,
    TradeBooked,
    TradeReversed,
    entry_of,
)
from domain.values import ZERO, Money, exact

VENUE_COSTING = Costing(CostBasis.AVERAGE)


def is_future(contract: Contract) -> bool:
    """Whether trading it moves no money but fees until it is closed."""
    return contract.kind in (Kind.LINEAR, Kind.INVERSE)


def moved_by(position: Position) -> dict[str, Decimal]:
    """What a position's trades, fees and funding did to balances, a future's wallet by the account's own costing."""
    sums: dict[str, Decimal] = {}
    contract = position.contract
    if contract is None:
        return sums
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
    """What one event did to balances, signed; of a future its flow. The sum is the same in any order of arrival."""
    match event:
        case TradeBooked():
            yield from _moved_by_effect(event.effect, event.contract, event.commission.currency)
        case TradeReversed():
            for money in _moved_by_effect(event.effect, event.contract, event.commission.currency):
                yield Money(-money.amount, money.currency)
        case PositionTransferred():
            # at its own cost, for which nobody paid: of a future only the cost is carried over
            yield from _moved_by_effect(event.effect, event.contract, "")
            if not is_future(event.contract):
                yield Money(event.cost, event.contract.settle)
        case FundingSettled():
            yield event.amount
        case _:
            return


def _moved_by_effect(effect: Effect, contract: Contract, paid_in: str) -> Iterator[Money]:
    yield Money(effect.realized + effect.rounding - effect.cost - effect.fee_cost, contract.settle)
    if contract.kind is Kind.SPOT:
        yield Money(effect.quantity, contract.base)
    if effect.fee and not (contract.kind is Kind.SPOT and paid_in == contract.base):
        yield Money(-effect.fee, paid_in)


class Wallets:
    """An account's balances as its venue keeps them, from position events in any order. Grows with futures trades."""

    def __init__(self) -> None:
        self.flow: dict[str, Decimal] = {}
        self._futures: dict[str, dict[tuple[str, str], Entry]] = {}

    def add(self, event: PositionEvent) -> None:
        """Take an event of a position of the account."""
        for money in moved(event):
            self.pay(money)
        match event:
            case TradeBooked() | PositionTransferred() if is_future(event.contract):
                is_inside = (
                    isinstance(event, PositionTransferred)
                    and event.counterparty is not None
                    and event.counterparty.account_id == event.key.account_id
                )
                if not is_inside:
                    entry = entry_of(event)
                    place = (event.key.strategy_id, entry.occurrence.exec_id)
                    self._futures.setdefault(event.key.instrument_id, {})[place] = entry
            case TradeReversed() if is_future(event.contract):
                del self._futures[event.key.instrument_id][event.key.strategy_id, event.exec_id]
            case _:
                pass

    def pay(self, money: Money) -> None:
        """Add money that moved."""
        _add(self.flow, money)

    def open_costs(self) -> dict[str, Decimal]:
        """What is open of each future, netted, at average cost, by settlement currency."""
        costs: dict[str, Decimal] = {}
        for trades in self._futures.values():
            for entry in trades.values():
                _, book = costing.replay(trades.values(), VENUE_COSTING)
                _add(costs, Money(book.cost, entry.contract.settle))
                break
        return costs

    def balances(self) -> dict[str, Decimal]:
        """By currency, zeros left out."""
        return total(self.flow, self.open_costs())


def total(*sums: dict[str, Decimal]) -> dict[str, Decimal]:
    """Balances added up, zeros left out."""
    added: dict[str, Decimal] = {}
    for part in sums:
        for currency, amount in part.items():
            _add(added, Money(amount, currency))
    return {currency: amount for currency, amount in added.items() if amount}


def _add(sums: dict[str, Decimal], money: Money) -> None:
    sums[money.currency] = exact(sums.get(money.currency, ZERO) + money.amount)
