"""Movements of coins: acquisitions, disposals and all that carries lots, each valued in one currency.

Quantities are unsigned, in units of the coin. A worth is in the currency of the gains, rounded once at 18 places, with
the rate it was made by; it has no amount where that rate is not on record, and says what is lacking.
"""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction

from msgspec import Struct

from domain.values import ONE, PLACES_MAX, ZERO, exact

_SCALE = 10**PLACES_MAX


class Kind(StrEnum):
    """The reason of a movement.

    PURCHASE: acquired by a trade. SALE: what was traded. PAYMENT: a coin paid for another. DISPOSAL: spent or given
    away at a stated value. REALIZED and PREMIUM: the result of futures and the premium of options that settle in a
    coin. UNKNOWN: a lot whose acquisition is not on record.
    """

    PURCHASE = "PURCHASE"
    SALE = "SALE"
    PAYMENT = "PAYMENT"
    CONVERSION = "CONVERSION"
    DISPOSAL = "DISPOSAL"
    FEE = "FEE"
    REBATE = "REBATE"
    REALIZED = "REALIZED"
    PREMIUM = "PREMIUM"
    FUNDING = "FUNDING"
    INTEREST = "INTEREST"
    STAKING = "STAKING"
    AIRDROP = "AIRDROP"
    INCOME = "INCOME"
    DEPOSIT = "DEPOSIT"
    WITHDRAWAL = "WITHDRAWAL"
    OPENING = "OPENING"
    ADJUSTMENT = "ADJUSTMENT"
    LOAN = "LOAN"
    TRANSFER = "TRANSFER"
    REDENOMINATION = "REDENOMINATION"
    UNKNOWN = "UNKNOWN"


class Rate(Struct, frozen=True, gc=False):
    """Units of the currency of the gains for a unit of `currency` at one moment; no `factor` where it is `lacking`.

    `source` names each pair used with its price, source and time; it is empty of the currency itself. `rate_at` is the
    time of the oldest mark among them.
    """

    currency: str
    factor: Fraction | None
    source: str = ""
    rate_at: datetime | None = None
    lacking: str = ""

    @property
    def is_exact(self) -> bool:
        """Whether amounts need no conversion."""
        return self.factor == 1 and not self.source

    @property
    def value(self) -> Decimal | None:
        """The rate to 18 places."""
        return None if self.factor is None else rounded_once(self.factor)

    def worth(self, amount: Decimal) -> "Worth":
        """The worth of an amount, unsigned or signed alike, rounded once."""
        if self.factor is None:
            return Worth(None, self, self.lacking)
        return Worth(amount if self.is_exact else rounded_once(Fraction(amount) * self.factor), self)


def exact_rate(currency: str) -> Rate:
    """The rate of a currency in itself."""
    return Rate(currency, Fraction(1))


class Worth(Struct, frozen=True, gc=False):
    """An amount of the currency of the gains, the rate it was made by, and what is lacking where there is none."""

    amount: Decimal | None
    rate: Rate
    lacking: str = ""

    def plus(self, other: "Worth", sign: int = 1) -> "Worth":
        """The sum with another worth, by this one's rate; unknown where either is."""
        if self.amount is None or other.amount is None:
            return Worth(None, self.rate, self.lacking or other.lacking)
        return Worth(exact(self.amount + sign * other.amount), self.rate)

    def part(self, numerator: Decimal, denominator: Decimal) -> "Worth":
        """The share numerator / denominator, rounded once."""
        if self.amount is None or numerator == denominator:
            return self
        return Worth(rounded_once(Fraction(self.amount) * Fraction(numerator) / Fraction(denominator)), self.rate)


def rounded_once(value: Fraction) -> Decimal:
    """A fraction rounded at 18 places, half to even."""
    return exact(Decimal(round(value * _SCALE)).scaleb(-PLACES_MAX))


class What(Struct, frozen=True, gc=False):
    """What moved a coin, where and when: the account, the id of the report, and of a trade its instrument."""

    account_id: str
    reference: str
    at: datetime
    kind: Kind
    instrument_id: str = ""


class Acquired(Struct, frozen=True, gc=False):
    """A quantity acquired at a cost. `acquired_at` is earlier than what.at where it was held before it came in."""

    what: What
    coin: str
    quantity: Decimal
    cost: Worth
    is_income: bool = False
    acquired_at: datetime | None = None


class Disposed(Struct, frozen=True, gc=False):
    """A quantity disposed of for its proceeds. `lot_ids` name the acquisitions to use up first (SPECIFIC)."""

    what: What
    coin: str
    quantity: Decimal
    proceeds: Worth
    lot_ids: tuple[str, ...] = ()


class Removed(Struct, frozen=True, gc=False):
    """A quantity that left the book with its lots and was not disposed of: a withdrawal."""

    what: What
    coin: str
    quantity: Decimal


class Departed(Struct, frozen=True, gc=False):
    """A quantity on its way to another account of ours, with its lots; `route` names the transfer."""

    what: What
    coin: str
    quantity: Decimal
    route: str


class Arrived(Struct, frozen=True, gc=False):
    """What departed by a route has arrived, whole."""

    what: What
    coin: str
    route: str


class Borrowed(Struct, frozen=True, gc=False):
    """A quantity borrowed: acquired at its worth, and owed at it."""

    what: What
    coin: str
    quantity: Decimal
    worth: Worth


class Repaid(Struct, frozen=True, gc=False):
    """A quantity of a loan repaid: disposed of for what is owed no longer; beyond what is owed, for its own worth."""

    what: What
    coin: str
    quantity: Decimal
    worth: Worth


class Redenominated(Struct, frozen=True, gc=False):
    """A coin has become another one: `ratio` units of `new_coin` for each, in all accounts; lots keep cost and date.

    A renamed coin has the ratio 1. Nothing is disposed of.
    """

    what: What
    coin: str
    new_coin: str
    ratio: Decimal = ONE


class Received(Struct, frozen=True, gc=False):
    """Income in the currency of the gains itself: money, so no lot."""

    what: What
    currency: str
    worth: Worth


class Earned(Struct, frozen=True, gc=False):
    """What a derivative gained (above zero) or cost: realized, its funding, premium or fees, in what it settles in.

    The coin that it settles in is acquired or disposed of besides.
    """

    what: What
    settle: str
    amount: Decimal
    worth: Worth


class Charged(Struct, frozen=True, gc=False):
    """A fee that is an expense of its own: part of no cost and no proceeds. Negative: a rebate."""

    what: What
    paid_in: str
    worth: Worth


Movement = (
    Acquired | Disposed | Removed | Departed | Arrived | Borrowed | Repaid | Redenominated | Received | Earned | Charged
)
NOTHING = Worth(ZERO, exact_rate(""))
