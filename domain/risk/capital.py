"""Capital and equity: what was paid into an account, or was stated as its capital, and what it is worth with its gains.

Capital comes from the book: the cash entries of the account (deposits, withdrawals, fees, interest; not what trades
moved) and the cost of what was transferred in, at the marks of now. A statement of capital replaces it until it is
withdrawn. Equity = capital + gains: realized, funding and unrealized, less fees. Of the book, what was paid in keeps
the worth it had when it was first assessed; its change since then is a gain as well.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from msgspec import Struct

from domain.errors import RequestRefused
from domain.risk.measures import Scope
from domain.values import ZERO, Money, divide, exact

UNKNOWN_RULE = "a capital to measure by"
MISSING = "a capital: record a deposit or an opening balance of the account, or state its capital"


class CapitalBasis(StrEnum):
    """The source of a capital. BOOK: deposits, entries and transfers on record. STATED: a person has stated it."""

    BOOK = "BOOK"
    STATED = "STATED"


class Funds(Struct, frozen=True):
    """What was paid into an account, or into all accounts of the firm, by currency, and the currency it is counted in.

    None of it is on record where `paid_in` is empty and nothing `is_on_record`.
    """

    currency: str
    paid_in: tuple[Money, ...] = ()
    is_on_record: bool = False


class Statement(Struct, frozen=True):
    """A capital that was stated, and when."""

    capital: Money
    stated_at: datetime


class ScopeHigh(Struct, frozen=True):
    """The highest gain of a scope so far, in the currency of the equity."""

    scope: Scope
    high: Decimal


class EquityUsed(Struct, frozen=True, omit_defaults=True):
    """The equity that a decision measured by: capital + gain, both in `currency`.

    `stated_at` is when a STATED capital was stated.
    """

    currency: str
    capital: Decimal
    gain: Decimal
    basis: CapitalBasis
    stated_at: datetime | None = None

    @property
    def total(self) -> Decimal:
        """Capital and gain together."""
        return exact(self.capital + self.gain)

    def fraction(self, amount: Decimal) -> Decimal:
        """Return an amount as a fraction of it. Raises RequestRefused where it is not above zero."""
        if not amount:
            return ZERO
        if self.total <= 0:
            raise RequestRefused(
                "equity above zero", equity=self.total, capital=self.capital, gain=self.gain, currency=self.currency,
                capital_basis=self.basis,
            )  # fmt: skip
        return divide(amount, self.total)


class Equity(Struct, frozen=True):
    """Capital when it was last assessed, and the highest gains on top of it: of the whole, and of other scopes.

    `paid_in` is what a capital of the BOOK consists of.
    """

    currency: str
    capital: Decimal
    high: Decimal | None = None
    basis: CapitalBasis = CapitalBasis.STATED
    paid_in: tuple[Money, ...] = ()
    highs: tuple[ScopeHigh, ...] = ()

    def high_of(self, scope: Scope) -> Decimal | None:
        """The highest gain of a scope; None if none was assessed."""
        if scope == Scope():
            return self.high
        return next((each.high for each in self.highs if each.scope == scope), None)


class Capital(NamedTuple):
    """The sources of a capital: a statement if there is one, else `funds`; and the equity as it was last assessed."""

    statement: Statement | None = None
    funds: Funds | None = None
    known: Equity | None = None

    @property
    def currency(self) -> str:
        """The currency that equity is counted in. Raises RequestRefused where no capital is known."""
        if self.statement is not None:
            return self.statement.capital.currency
        if self.funds is None or not self.funds.is_on_record:
            raise RequestRefused(UNKNOWN_RULE, missing=MISSING)
        return self.funds.currency

    @property
    def before(self) -> Equity | None:
        """The equity as it was last assessed, if that was in the present currency and of the present basis."""
        known = self.known
        basis = CapitalBasis.BOOK if self.statement is None else CapitalBasis.STATED
        return known if known is not None and (known.currency, known.basis) == (self.currency, basis) else None

    def high_of(self, scope: Scope) -> Decimal | None:
        """The highest gain of a scope so far."""
        before = self.before
        return before.high_of(scope) if before is not None else None

    def equity(self, gain: Decimal, convert: Callable[[Decimal, str, str], Decimal]) -> EquityUsed:
        """The equity at a trading gain. `convert` converts an amount between currencies. Raises RequestRefused."""
        currency = self.currency
        if self.statement is not None:
            stated = self.statement
            return EquityUsed(
                currency, stated.capital.amount, gain, basis=CapitalBasis.STATED, stated_at=stated.stated_at
            )
        assert self.funds is not None, "there is a statement or there are funds"
        paid_in = by_currency(self.funds.paid_in)
        worth = _worth(paid_in, currency, convert)
        capital, before = worth, self.before
        if before is not None:
            was = by_currency(before.paid_in)
            changed = {name: paid_in.get(name, ZERO) - was.get(name, ZERO) for name in paid_in.keys() | was}
            capital = exact(before.capital + _worth(changed, currency, convert))
        return EquityUsed(currency, capital, exact(worth + gain - capital), basis=CapitalBasis.BOOK)


def by_currency(amounts: tuple[Money, ...]) -> dict[str, Decimal]:
    """Amounts by currency."""
    return {money.currency: money.amount for money in amounts}


def summed(amounts: Mapping[str, Decimal]) -> tuple[Money, ...]:
    """Amounts in the sequence of their currencies, zeros left out."""
    return tuple(Money(exact(amounts[name]), name) for name in sorted(amounts) if amounts[name])


def _worth(amounts: Mapping[str, Decimal], currency: str, convert: Callable[[Decimal, str, str], Decimal]) -> Decimal:
    return exact(sum((convert(amounts[name], name, currency) for name in sorted(amounts)), ZERO))
