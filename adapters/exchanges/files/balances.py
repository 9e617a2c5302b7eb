"""Balances of a file beside those that follow from what is booked of it: equal at every row, or where they part."""

from decimal import Decimal

from msgspec import Struct

from adapters.exchanges.files.facts import Converted, Fact, Funded, Moved, Traded
from domain.instrument import Kind
from domain.values import ZERO, Side, exact


class Parted(Struct, frozen=True):
    """The first row whose balance in the file is not what the rows up to it give."""

    line: int
    asset: str
    file: Decimal
    book: Decimal


class Balances:
    """The balances of one file, row by row in order of occurrence, and what the file changes in all."""

    def __init__(self) -> None:
        self.changes: dict[str, Decimal] = {}
        self.compared = 0
        self.parted: Parted | None = None
        self._running: dict[tuple[str, str], Decimal] = {}

    def add(self, fact: Fact) -> None:
        """Count a fact, as it is in the file."""
        for asset, amount in changes_of(fact).items():
            self.changes[asset] = exact(self.changes.get(asset, ZERO) + amount)
        if isinstance(fact, Moved):
            self._compare(fact)

    def _compare(self, fact: Moved) -> None:
        place = (fact.wallet, fact.asset)
        net = changes_of(fact).get(fact.asset, ZERO)
        before = self._running.get(place)
        if fact.balance is None:
            if before is not None:
                self._running[place] = exact(before + net)
            return
        self._running[place] = fact.balance
        if before is None:
            return
        self.compared += 1
        book = exact(before + net)
        if book != fact.balance and self.parted is None:
            self.parted = Parted(fact.source.line, fact.asset, fact.balance, book)


def changes_of(fact: Fact) -> dict[str, Decimal]:
    """Return what a fact changes of each balance; of a derivative's fill only the fees, as its profit is not known."""
    found: dict[str, Decimal] = {}

    def add(asset: str, amount: Decimal) -> None:
        found[asset] = exact(found.get(asset, ZERO) + amount)

    match fact:
        case Moved():
            add(fact.asset, fact.amount)
            if fact.fee is not None:
                add(fact.fee.currency, -fact.fee.amount)
        case Funded():
            add(fact.amount.currency, fact.amount.amount)
        case Converted():
            add(fact.sold.currency, -fact.sold.amount)
            add(fact.bought.currency, fact.bought.amount)
            if fact.fee is not None:
                add(fact.fee.currency, -fact.fee.amount)
        case Traded():
            if fact.contract.kind is Kind.SPOT:
                sign = 1 if fact.side is Side.BUY else -1
                add(fact.contract.base, sign * fact.quantity)
                add(fact.contract.quote, exact(-sign * fact.quantity * fact.price))
            for fee in fact.fees:
                add(fee.currency, -fee.amount)
        case _:
            pass
    return found
