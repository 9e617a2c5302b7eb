"""Exact decimals, money, ids and times, and the parsing of outside text into them.

Numbers are `decimal.Decimal` in a context that traps inexact results: arithmetic here is exact or it stops. The one
exception is `divide`, which rounds ROUND_HALF_EVEN at 18 places. Numbers from outside lie below 1e18 and carry at most
18 decimal places, so that products of three of them, and any sum of such products, fit the context's 120 digits.
Times are UTC with microseconds.
"""

import decimal
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import ROUND_05UP, ROUND_HALF_EVEN, Context, Decimal
from enum import StrEnum
from functools import lru_cache
from typing import Any, NamedTuple

from msgspec import UNSET, Struct, UnsetType

from domain import names
from domain.errors import InvalidInput

# Names are parsed by `domain.names`; its parsers are here too, beside those of numbers and times.
NAME_MAX, NAME_BYTES_MAX, VENUE_MAX = names.NAME_MAX, names.NAME_BYTES_MAX, names.VENUE_MAX
name, execution_id, plain_name = names.name, names.execution_id, names.plain_name
currency, venue, instrument_id = names.currency, names.venue, names.instrument_id
venue_of, symbol_of = names.venue_of, names.symbol_of

PLACES_MAX = 18
MAGNITUDE_MAX = 18
PRECISION = 120
DEFAULT_STRATEGY = "main"  # of what names none
ZERO = Decimal(0)
ONE = Decimal(1)
TEN = Decimal(10)

EXACT = Context(prec=PRECISION, rounding=ROUND_HALF_EVEN, traps=[
    decimal.Inexact, decimal.InvalidOperation, decimal.DivisionByZero, decimal.Overflow,
])  # fmt: skip
# New threads copy DefaultContext; this thread is set here. Import the domain before starting threads.
decimal.DefaultContext.prec = EXACT.prec
decimal.DefaultContext.rounding = EXACT.rounding
decimal.DefaultContext.traps = EXACT.traps
decimal.setcontext(EXACT.copy())

_DIVISION = Context(prec=PRECISION, rounding=ROUND_05UP, traps=[decimal.InvalidOperation, decimal.DivisionByZero])
_ROUNDING = Context(prec=PRECISION, rounding=ROUND_HALF_EVEN, traps=[decimal.InvalidOperation])
_QUANTA = tuple(ONE.scaleb(-places) for places in range(PLACES_MAX + 1))


def exact(value: Decimal) -> Decimal:
    """The same number in its one canonical form: no trailing zeros, no exponent, no negative zero."""
    if not value:
        return ZERO
    normal = value.normalize(EXACT)
    return normal if normal % TEN else normal.quantize(ONE, EXACT.rounding, EXACT)


def rounded(value: Decimal, places: int) -> Decimal:
    """Round `value` to `places` decimal places (0 to 18), ROUND_HALF_EVEN, canonical."""
    return exact(value.quantize(_QUANTA[places], context=_ROUNDING))


def divide(dividend: Decimal, divisor: Decimal, places: int = PLACES_MAX) -> Decimal:
    """dividend / divisor, correctly rounded ROUND_HALF_EVEN at `places`: the only inexact operation there is.

    The quotient is first taken to 120 digits with ROUND_05UP, which cannot make a false tie for the second rounding.
    """
    return rounded(_DIVISION.divide(dividend, divisor), places)


class Side(StrEnum):
    """FIX Side(54)."""

    BUY = "BUY"
    SELL = "SELL"

    @property
    def sign(self) -> int:
        """+1 for BUY, -1 for SELL."""
        return 1 if self is Side.BUY else -1


class TradeKind(StrEnum):
    """The cause of a trade: LIQUIDATION and AUTO_DELEVERAGE by the venue, SETTLEMENT and EXERCISE in cash at expiry.

    DELIVERY closes an option or future, and opens what was delivered for it. FRACTION is what a redenomination paid in
    cash.
    """

    TRADE = "TRADE"
    LIQUIDATION = "LIQUIDATION"
    AUTO_DELEVERAGE = "AUTO_DELEVERAGE"
    SETTLEMENT = "SETTLEMENT"
    EXERCISE = "EXERCISE"
    DELIVERY = "DELIVERY"
    FRACTION = "FRACTION"


class PositionSide(StrEnum):
    """The leg of a position: BOTH of one-way mode; in hedge mode a venue holds a LONG and a SHORT one side by side.

    Binance names it `positionSide`, OKX `posSide` (net, long, short).
    """

    BOTH = "BOTH"
    LONG = "LONG"
    SHORT = "SHORT"

    @property
    def opening(self) -> Side | None:
        """The side whose fills add to the leg; None where both may."""
        return {PositionSide.LONG: Side.BUY, PositionSide.SHORT: Side.SELL}.get(self)


def stated_leg(position_side: PositionSide) -> PositionSide | UnsetType:
    """A leg as events store it whose other defaults are stored: BOTH is left out."""
    return UNSET if position_side is PositionSide.BOTH else position_side


def leg_of(stated: PositionSide | UnsetType) -> PositionSide:
    """The leg that an event states; BOTH where it states none."""
    return PositionSide.BOTH if stated is UNSET else stated


class Liquidity(StrEnum):
    """FIX LastLiquidityInd(851)."""

    MAKER = "MAKER"
    TAKER = "TAKER"
    UNKNOWN = "UNKNOWN"


class Money(Struct, frozen=True, gc=False):
    """An amount of one currency or asset; negative only where the field's description allows it."""

    amount: Decimal
    currency: str


def by_currency(amounts: Sequence[Money]) -> tuple[Money, ...]:
    """The sums of amounts by currency, as the currencies first appear; zeros are left out, but for the last one."""
    if len(amounts) == 1:
        return (amounts[0],)
    sums: dict[str, Decimal] = {}
    for amount in amounts:
        sums[amount.currency] = exact(sums.get(amount.currency, ZERO) + amount.amount)
    kept = tuple(Money(amount, currency) for currency, amount in sums.items() if amount)
    return kept or tuple(Money(ZERO, amount.currency) for amount in amounts[:1])


class Mark(Struct, frozen=True):
    """A price of an instrument: quote units a base unit, its source, and when it was observed."""

    instrument_id: str
    price: Decimal
    source: str
    mark_at: datetime


class Occurrence(NamedTuple):
    """The time and tie-breakers of a trade at the venue: compares in order of occurrence, not of arrival.

    Time to the nanosecond decides, then the venue's trade sequence, then the exec ids: runs of digits in them compare
    as numbers (999 before 1000). Executions under one exec id are ordered by `tie`, their side and order.
    """

    transact_time: datetime
    trade_seq: int
    exec_id: str
    nanos: int = 0  # nanoseconds beyond the microsecond; of a leap second the whole of it
    tie: str = ""

    def __lt__(self, other: tuple[Any, ...]) -> bool:
        """Whether this one occurred before `other`, an Occurrence."""
        return _is_before(self, other)

    def __gt__(self, other: tuple[Any, ...]) -> bool:
        """Whether this one occurred after `other`."""
        return _is_before(other, self)

    def __le__(self, other: tuple[Any, ...]) -> bool:
        """Whether this one occurred before `other`, or is it."""
        return not _is_before(other, self)

    def __ge__(self, other: tuple[Any, ...]) -> bool:
        """Whether this one occurred after `other`, or is it."""
        return not _is_before(self, other)


def _is_before(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    if one[0] != other[0]:
        return bool(one[0] < other[0])
    if (one[1], one[3]) != (other[1], other[3]):
        return bool((one[3], one[1]) < (other[3], other[1]))
    return _after_time(one) < _after_time(other)


class OpenedAt(NamedTuple):
    """When a lot was opened: the part of its entry's Occurrence that is stored with it."""

    transact_time: datetime
    trade_seq: int
    exec_id: str


def _after_time(at: tuple[Any, ...]) -> tuple[Any, ...]:
    _, trade_seq, exec_id, nanos, tie = at
    base, _, suffix = exec_id.partition(SHARED_ID)
    return nanos, trade_seq, natural(base), tie, natural(suffix)


SHARED_ID = "#"  # separates a shared exec id from what distinguishes its executions


@lru_cache(maxsize=1 << 12)
def natural(text: str) -> tuple[str | int, ...]:
    """The key by which ids are put in order: runs of digits as numbers, everything else as text."""
    parts: list[str | int] = list(_DIGITS.split(text))
    parts[1::2] = map(int, parts[1::2])
    return tuple(parts)


_DIGITS = re.compile(r"(\d+)", re.ASCII)


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EARLIEST = datetime(2009, 1, 3, tzinfo=UTC)  # the first Bitcoin block: nothing here is older
FUTURE_MAX = timedelta(seconds=30)  # how far a venue's clock may run ahead of ours

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:?\d\d)?", re.ASCII)


def number(text: object, field: str) -> Decimal:
    """Parse a finite decimal below 1e18 with at most 18 places, canonical. Raises InvalidInput naming `field`."""
    if isinstance(text, bool) or not isinstance(text, str | int | Decimal):
        raise InvalidInput(field, text, "a decimal number given as text")
    written = str(text).strip()
    if not _NUMBER.fullmatch(written) or len(written) > 80:
        raise InvalidInput(field, text, "a finite decimal number")
    value = Decimal(written)
    if value and not (-PLACES_MAX <= value.adjusted() < MAGNITUDE_MAX):
        raise InvalidInput(field, text, f"a number from 1e-{PLACES_MAX} to below 1e{MAGNITUDE_MAX}")
    value = exact(value)
    if value.as_tuple().exponent < -PLACES_MAX:  # type: ignore[operator]
        raise InvalidInput(field, text, f"a number of at most {PLACES_MAX} decimal places")
    return value


def is_number(value: Decimal) -> bool:
    """Whether a decimal is one that `number` takes; False also where only its needless zeros are too many places."""
    if not value:
        return value.is_finite()
    return value.is_finite() and value.adjusted() < MAGNITUDE_MAX and value.as_tuple().exponent >= -PLACES_MAX  # type: ignore[operator]


def positive(text: object, field: str) -> Decimal:
    """Parse a number above zero. Raises InvalidInput naming `field`."""
    value = number(text, field)
    if value <= 0:
        raise InvalidInput(field, text, "above zero")
    return value


def time(text: object, field: str, *, now: datetime | None = None) -> datetime:
    """Parse an ISO 8601 time in UTC (a missing offset means UTC), not before 2009 and, given `now`, not in the future.

    Digits past the microsecond are cut; `instant` keeps them. Raises InvalidInput naming `field`.
    """
    if isinstance(text, datetime):
        moment = text if text.tzinfo else text.replace(tzinfo=UTC)
    else:
        parts = _TIME.fullmatch(text.strip()) if isinstance(text, str) else None
        if parts is None:
            raise InvalidInput(field, text, "an ISO 8601 time such as 2026-01-02T03:04:05.678Z")
        day, clock, fraction, offset = parts.groups()
        try:
            moment = datetime.fromisoformat(f"{day}T{clock}.{(fraction or '0')[:6]:0<6}{offset or '+00:00'}")
        except ValueError as error:
            raise InvalidInput(field, text, "a time that exists") from error
    try:
        moment = EPOCH + (moment - EPOCH)  # plain datetime in UTC, also when a test froze the clock
    except OverflowError as error:
        raise InvalidInput(field, text, "a time that exists in UTC") from error
    if moment < EARLIEST:
        raise InvalidInput(field, text, f"a time since {EARLIEST:%Y-%m-%d}")
    if now is not None and moment > now + FUTURE_MAX:
        raise InvalidInput(field, text, f"a time that has come (it is {now:%Y-%m-%dT%H:%M:%SZ})")
    return moment


def nanoseconds(at: datetime, nanos: int = 0) -> int:
    """Nanoseconds since 1970, of a time and the nanoseconds beyond its microsecond."""
    return (at - EPOCH) // _MICROSECOND * 1000 + nanos


_MICROSECOND = timedelta(microseconds=1)


class Instant(NamedTuple):
    """A venue's time without loss: UTC to the microsecond, and the nanoseconds beyond it.

    A leap second (23:59:60) is the last microsecond before it with up to 1,000,000,999 nanoseconds beyond.
    """

    at: datetime
    nanos: int = 0


def instant(text: object, field: str, *, now: datetime | None = None) -> Instant:
    """Parse a time as `time` does, keeping nanoseconds and leap seconds. Raises InvalidInput naming `field`."""
    if not isinstance(text, str) or (parts := _TIME.fullmatch(text.strip())) is None:
        return Instant(time(text, field, now=now))
    day, clock, fraction, offset = parts.groups()
    nanoseconds = int(f"{fraction or '0':0<9}")
    if not clock.endswith(":60"):
        return Instant(time(text, field, now=now), nanoseconds % 1000)
    at = time(f"{day}T{clock[:-2]}59.999999{offset or ''}", field, now=now)
    if (at + timedelta(microseconds=1)).astimezone(UTC).strftime("%H%M%S%d") != "00000001":
        raise InvalidInput(field, text, "a time that exists (a leap second ends a month, in UTC)")
    return Instant(at, 1000 + nanoseconds)


def zoned(moment: datetime, field: str) -> datetime:
    """Return a time with an offset in UTC, not before 2009. Raises InvalidInput naming `field`."""
    if getattr(moment, "tzinfo", None) is None:
        raise InvalidInput(field, moment, "a time with its offset from UTC")
    return time(moment, field)
