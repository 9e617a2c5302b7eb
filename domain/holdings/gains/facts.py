"""Facts that move coins, as the book has them, and the movements that follow from each at the rates of its moment.

Both legs of a trade have one value: what was paid or received, exactly where a leg is in the currency of the gains,
else by the rate of the quote leg, and where that is lacking, of the base leg. A fee in a coin disposes of that coin at
its market value. CAPITALISED, its value is part of the cost of what the trade bought, or taken from the proceeds of
what it sold; EXPENSED, it is an expense of its own.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from decimal import Decimal
from typing import assert_never

from msgspec import Struct
from msgspec.structs import replace

from domain.account import FeePolicy
from domain.holdings.gains.movements import (
    NOTHING,
    Acquired,
    Arrived,
    Borrowed,
    Charged,
    Departed,
    Disposed,
    Earned,
    Kind,
    Movement,
    Rate,
    Received,
    Redenominated,
    Removed,
    Repaid,
    What,
    Worth,
)
from domain.values import ONE, Money, Side


class Exchange(Struct, frozen=True, gc=False):
    """A spot trade or a conversion: `base` was bought for `quote`, or sold for it; fees are negative where rebates."""

    what: What
    side: Side
    base: Money
    quote: Money
    fees: tuple[Money, ...] = ()
    lot_ids: tuple[str, ...] = ()


class Receipt(Struct, frozen=True, gc=False):
    """A quantity received other than by a trade, at its stated cost, or else at its market value.

    `acquired_at` is when it was acquired, where it brings a lot of its own.
    """

    what: What
    amount: Money
    stated: Money | None = None
    is_income: bool = False
    acquired_at: datetime | None = None


class Payment(Struct, frozen=True, gc=False):
    """A quantity paid, at its stated value, or else at its market value: a disposal.

    What `is_charge` is an expense: a fee, or a loss in a coin.
    """

    what: What
    amount: Money
    is_charge: bool = False
    stated: Money | None = None


class Settlement(Struct, frozen=True, gc=False):
    """What a derivative gained (above zero) or cost: realized, its funding, premium or fees, in what it settles in."""

    what: What
    amount: Money


class Removal(Struct, frozen=True, gc=False):
    """A quantity that left the book and is not known to be disposed of."""

    what: What
    amount: Money


class Departure(Struct, frozen=True, gc=False):
    """A quantity on its way to another account of ours; `route` is that of its arrival."""

    what: What
    amount: Money
    route: str


class Arrival(Struct, frozen=True, gc=False):
    """What departed by a route has arrived."""

    what: What
    currency: str
    route: str


class Loan(Struct, frozen=True, gc=False):
    """A quantity borrowed."""

    what: What
    amount: Money


class Repayment(Struct, frozen=True, gc=False):
    """A quantity of a loan repaid."""

    what: What
    amount: Money


class Redenomination(Struct, frozen=True, gc=False):
    """A coin has become another: `ratio` of the new one for each of the old, in all accounts; 1 where only renamed."""

    what: What
    currency: str
    new_currency: str
    ratio: Decimal = ONE


Fact = Exchange | Receipt | Payment | Settlement | Removal | Departure | Arrival | Loan | Repayment | Redenomination
Rates = Callable[[str], Rate]


def amounts_rated(fact: Fact, currency: str) -> tuple[str, ...]:
    """The currencies whose rates value a fact at `moment_rated`; that of the gains itself needs none."""
    found: tuple[str, ...]
    match fact:
        case Exchange(base=base, quote=quote, fees=fees):
            legs = (quote.currency, base.currency)
            paid = tuple(fee.currency for fee in fees if fee.currency not in legs and fee.amount)
            found = paid if currency in legs else (*legs, *paid)
        case Receipt(amount=amount, stated=stated) | Payment(amount=amount, stated=stated):
            found = ((stated or amount).currency,)
        case Settlement(amount=amount) | Loan(amount=amount) | Repayment(amount=amount):
            found = (amount.currency,)
        case Removal() | Departure() | Arrival() | Redenomination():
            found = ()
        case _:
            assert_never(fact)
    return tuple(each for each in found if each != currency)


def moment_rated(fact: Fact) -> datetime:
    """The moment whose rates value a fact."""
    return (fact.acquired_at if isinstance(fact, Receipt) else None) or fact.what.at


def movements_of(fact: Fact, currency: str, rates: Rates, policy: FeePolicy) -> Iterator[Movement]:
    """Yield the movements of coins that follow from a fact; money in the currency of the gains is no coin."""
    what = fact.what
    match fact:
        case Exchange():
            yield from _exchanged(fact, currency, rates, policy)
        case Receipt(amount=amount, stated=stated):
            cost = rates((stated or amount).currency).worth((stated or amount).amount)
            if amount.currency != currency:
                yield Acquired(
                    what, amount.currency, amount.amount, cost, is_income=fact.is_income, acquired_at=fact.acquired_at
                )
            elif fact.is_income:
                yield Received(what, currency, cost)
        case Payment(amount=amount, stated=stated):
            worth = rates((stated or amount).currency).worth((stated or amount).amount)
            if amount.currency != currency:
                yield Disposed(what, amount.currency, amount.amount, worth)
            if fact.is_charge:
                yield Charged(what, amount.currency, worth)
        case Settlement(amount=amount):
            worth = rates(amount.currency).worth(amount.amount)
            yield Earned(what, amount.currency, amount.amount, worth)
            if amount.currency != currency and amount.amount > 0:
                yield Acquired(what, amount.currency, amount.amount, worth)
            elif amount.currency != currency:
                paid = rates(amount.currency).worth(-amount.amount)
                yield Disposed(what, amount.currency, -amount.amount, paid)
        case Loan(amount=amount) | Repayment(amount=amount) if amount.currency != currency:
            made = Borrowed if isinstance(fact, Loan) else Repaid
            yield made(what, amount.currency, amount.amount, rates(amount.currency).worth(amount.amount))
        case Removal(amount=amount) if amount.currency != currency:
            yield Removed(what, amount.currency, amount.amount)
        case Departure(amount=amount, route=route) if amount.currency != currency:
            yield Departed(what, amount.currency, amount.amount, route)
        case Arrival(currency=moved, route=route) if moved != currency:
            yield Arrived(what, moved, route)
        case Redenomination(currency=old, new_currency=new, ratio=ratio):
            yield Redenominated(what, old, new, ratio)
        case _:
            pass


def _exchanged(fact: Exchange, currency: str, rates: Rates, policy: FeePolicy) -> Iterator[Movement]:
    """Yield what was acquired, then what was disposed of, then the fees."""
    what, base, quote, is_bought = fact.what, fact.base, fact.quote, fact.side is Side.BUY
    value = _value(fact, currency, rates)
    fees = [(fee, _fee_worth(fact, fee, value, rates)) for fee in fact.fees if fee.amount]
    borne = NOTHING
    if policy is FeePolicy.CAPITALISED:
        for _, worth in fees:
            borne = borne.plus(worth)
    is_conversion = what.kind is Kind.CONVERSION
    bought = what if is_conversion else replace(what, kind=Kind.PURCHASE)
    sold = what if is_conversion else replace(what, kind=Kind.PAYMENT if is_bought else Kind.SALE)
    if is_bought:
        if base.currency != currency:
            yield Acquired(bought, base.currency, base.amount, value.plus(borne))
        if quote.currency != currency:
            proceeds = value if base.currency != currency else value.plus(borne, -1)
            yield Disposed(sold, quote.currency, quote.amount, proceeds, lot_ids=fact.lot_ids)
    else:
        if quote.currency != currency:
            cost = value if base.currency != currency else value.plus(borne)
            yield Acquired(bought, quote.currency, quote.amount, cost)
        if base.currency != currency:
            yield Disposed(sold, base.currency, base.amount, value.plus(borne, -1), lot_ids=fact.lot_ids)
    yield from _paid(what, fees, currency, policy)


def _paid(what: What, fees: list[tuple[Money, Worth]], currency: str, policy: FeePolicy) -> Iterator[Movement]:
    """Yield the disposals of coins that paid fees, the acquisitions of rebates, and expenses."""
    for fee, worth in fees:
        if fee.currency != currency and fee.amount > 0:
            yield Disposed(replace(what, kind=Kind.FEE), fee.currency, fee.amount, worth)
        elif fee.currency != currency:
            received = NOTHING.plus(worth, -1)
            cost = Worth(received.amount, worth.rate, worth.lacking)
            yield Acquired(replace(what, kind=Kind.REBATE), fee.currency, -fee.amount, cost)
        if policy is FeePolicy.EXPENSED:
            yield Charged(replace(what, kind=Kind.FEE), fee.currency, worth)


def _value(fact: Exchange, currency: str, rates: Rates) -> Worth:
    """The value of both legs: exact where one is in the currency, else by the rate of the quote or the base leg."""
    quote, base = fact.quote, fact.base
    if quote.currency == currency or base.currency != currency:
        found = rates(quote.currency).worth(quote.amount)
        if found.amount is not None:
            return found
        other = rates(base.currency).worth(base.amount)
        return other if other.amount is not None else found
    return rates(base.currency).worth(base.amount)


def _fee_worth(fact: Exchange, fee: Money, value: Worth, rates: Rates) -> Worth:
    """The worth of a fee: of one in a leg's currency its share of the trade's value, else by its own rate."""
    for leg in (fact.quote, fact.base):
        if fee.currency == leg.currency and leg.amount:
            return value.part(fee.amount, leg.amount)
    return rates(fee.currency).worth(fee.amount)
