"""What RiskLimit puts on record: the events of `domain.risk`, and the parts they are made of."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from msgspec import Struct

from domain.instrument import Contract
from domain.marks import MarkSeen
from domain.order import OrderKey
from domain.risk.exposure import Change, Holding
from domain.risk.measures import Measure, Scope
from domain.values import ZERO, Mark, Money, Side

FIRM = "firm"


class Mode(StrEnum):
    """What an engaged kill switch lets through. HALT: nothing; REDUCE_ONLY: orders that reduce a position.

    Cancels and everything a venue reports go through always.
    """

    HALT = "HALT"
    REDUCE_ONLY = "REDUCE_ONLY"


class LimitCheck(Struct, frozen=True, gc=False):
    """One limit as an order met it: the limit's version and value, what was used before, what with the order.

    `account_id` is whose limit it is: the account's, or the firm's.
    """

    measure: Measure
    scope: Scope
    version: int
    limit: Decimal
    used: Decimal
    asked: Decimal
    currency: str | None = None
    account_id: str = ""


class CarriedCell(Struct, frozen=True):
    """One strategy in one instrument, as it is carried over to the firm."""

    strategy_id: str
    instrument_id: str
    contract: Contract | None
    now: Holding
    opening: Holding
    day_from: datetime


class CarriedHold(Struct, frozen=True):
    """One working order, as it is carried over to the firm."""

    key: OrderKey
    strategy_id: str
    instrument_id: str
    side: Side
    quantity: Decimal
    change_id: str
    contract: Contract | None


# Events: the stored format. A name or a field here outlives this code; change one only with an upcast.
class LimitSet(Struct, frozen=True, tag="LimitSet"):
    """`limit` None lifts it. `currency` is that of an amount of money, None for quantities, fractions and counts."""

    account_id: str
    scope: Scope
    measure: Measure
    limit: Decimal | None
    currency: str | None
    version: int
    transact_time: datetime


class HoldPlaced(Struct, frozen=True, gc=False, tag="HoldPlaced"):
    """An order passed: its quantity is held. `mark` is what a market order was valued at; `marks` is all that was used.

    `notional` is the order's own, in its quote currency.
    """

    key: OrderKey
    strategy_id: str
    instrument_id: str
    side: Side
    quantity: Decimal
    notional: Decimal | None
    mark: Mark | None
    judged: tuple[LimitCheck, ...]
    transact_time: datetime
    contract: Contract | None = None
    marks: tuple[MarkSeen, ...] = ()


class HoldRefused(Struct, frozen=True, tag="HoldRefused"):
    """An order did not pass: the rule, and the judgement that failed if it was one of numbers.

    `facts` are what else the rule was judged by, as text; `judged` the limits that it fitted before; `change_id` is set
    when it was a replacement.
    """

    key: OrderKey
    strategy_id: str
    instrument_id: str
    side: Side
    quantity: Decimal
    notional: Decimal | None
    mark: Mark | None
    rule: str
    failed: LimitCheck | None
    transact_time: datetime
    facts: dict[str, str] = {}
    judged: tuple[LimitCheck, ...] = ()
    marks: tuple[MarkSeen, ...] = ()
    change_id: str = ""


class HoldAdjusted(Struct, frozen=True, gc=False, tag="HoldAdjusted"):
    """A working order holds `quantity` now, where it held `was`.

    A replacement that is asked for is judged and names its `change_id`: until the venue has answered, the order holds
    the larger of what it was and what it would be. What follows from the venue's answer, or from an order found at the
    venue, is not judged: it has happened.
    """

    key: OrderKey
    strategy_id: str
    instrument_id: str
    side: Side
    was: Decimal
    quantity: Decimal
    contract: Contract | None
    transact_time: datetime
    change_id: str = ""
    notional: Decimal | None = None
    mark: Mark | None = None
    judged: tuple[LimitCheck, ...] = ()
    marks: tuple[MarkSeen, ...] = ()


class HoldPosted(Struct, frozen=True, gc=False, tag="HoldPosted"):
    """A booking changed the position by `quantity` (signed); `released` of the order's hold became position.

    Of a booking that no order stands behind (a transfer, an adopted order) nothing is released. `cost` is the change of
    the position's cost in settlement currency, `gains` what was realized less fees, by currency.
    """

    key: OrderKey
    strategy_id: str
    instrument_id: str
    exec_id: str
    quantity: Decimal
    released: Decimal
    transact_time: datetime
    cost: Decimal = ZERO
    gains: tuple[Money, ...] = ()
    contract: Contract | None = None


class GainsPosted(Struct, frozen=True, gc=False, tag="GainsPosted"):
    """Cost and gains changed and no quantity with them: funding, or a restatement of what was booked before.

    `source` names the funding payment or the late trades; each change counts for the day it belongs to.
    """

    account_id: str
    strategy_id: str
    instrument_id: str
    source: str
    changes: tuple[Change, ...]


class HoldVoided(Struct, frozen=True, gc=False, tag="HoldVoided"):
    """The order is closed: what was still held is free."""

    key: OrderKey
    strategy_id: str
    instrument_id: str
    released: Decimal
    transact_time: datetime


class HoldExpired(Struct, frozen=True, gc=False, tag="HoldExpired"):
    """The order's time is up: what was still held is free."""

    key: OrderKey
    strategy_id: str
    instrument_id: str
    released: Decimal
    transact_time: datetime


class SwitchEngaged(Struct, frozen=True, tag="SwitchEngaged"):
    """The kill switch of a scope is on: who, why, when. `version` counts what was done to this scope's switch."""

    account_id: str
    scope: Scope
    mode: Mode
    reason: str
    actor: str
    version: int
    transact_time: datetime


class SwitchReleased(Struct, frozen=True, tag="SwitchReleased"):
    """The kill switch of a scope is off again; `actor` is another than who engaged it."""

    account_id: str
    scope: Scope
    reason: str
    actor: str
    version: int
    transact_time: datetime


class LimitBreached(Struct, frozen=True, tag="LimitBreached"):
    """More is used than a limit allows, and no order did it: the market moved, a venue filled, a limit was lowered.

    `subject` is the instrument or asset it is measured of, "" where it is measured of the scope as a whole.
    """

    account_id: str
    scope: Scope
    measure: Measure
    subject: str
    version: int
    limit: Decimal
    currency: str | None
    used: Decimal
    marks: tuple[MarkSeen, ...]
    transact_time: datetime


class BreachCleared(Struct, frozen=True, tag="BreachCleared"):
    """The limit is kept again."""

    account_id: str
    scope: Scope
    measure: Measure
    subject: str
    version: int
    limit: Decimal
    currency: str | None
    used: Decimal
    marks: tuple[MarkSeen, ...]
    transact_time: datetime


class AssessmentMissed(Struct, frozen=True, tag="AssessmentMissed"):
    """From here on nobody can say how much of a limit is used: what was needed, and lacked."""

    account_id: str
    scope: Scope
    measure: Measure
    rule: str
    facts: dict[str, str]
    transact_time: datetime


class AssessmentResumed(Struct, frozen=True, tag="AssessmentResumed"):
    """How much of a limit is used can be said again."""

    account_id: str
    scope: Scope
    measure: Measure
    transact_time: datetime


class EquityAssessed(Struct, frozen=True, tag="EquityAssessed"):
    """Capital was put in or taken out, or gains rose to a new high; equity = capital + gains.

    `gain` is all that was gained so far at the marks, None if it could not be said; `high` the highest it has been.
    """

    account_id: str
    currency: str
    capital: Decimal
    gain: Decimal | None
    high: Decimal | None
    marks: tuple[MarkSeen, ...]
    transact_time: datetime


class DayOpened(Struct, frozen=True, tag="DayOpened"):
    """The first marks of a trading day for instruments that it began with a position in."""

    account_id: str
    day_from: datetime
    marks: tuple[MarkSeen, ...]
    transact_time: datetime


class TradingDaySet(Struct, frozen=True, tag="TradingDaySet"):
    """Trading days start at this full hour, UTC."""

    account_id: str
    starts_at_hour: int
    transact_time: datetime


class ConversionSet(Struct, frozen=True, tag="ConversionSet"):
    """Base and quote currency of an instrument are converted at its mark; no longer if `contract` is None."""

    account_id: str
    instrument_id: str
    contract: Contract | None
    transact_time: datetime


class AccountRegistered(Struct, frozen=True, tag="AccountRegistered"):
    """In the firm's stream: an account belongs to it."""

    account_id: str
    transact_time: datetime


class FirmWatchStarted(Struct, frozen=True, tag="FirmWatchStarted"):
    """In an account's stream: from here on, what it holds and posts is judged and taken down at the firm as well."""

    account_id: str
    transact_time: datetime


class FirmWatchEnded(Struct, frozen=True, tag="FirmWatchEnded"):
    """In an account's stream and the firm's: the firm has no limit and no kill switch any more."""

    account_id: str
    transact_time: datetime


class UsageCarried(Struct, frozen=True, tag="UsageCarried"):
    """In the firm's stream: what an account held when the watch started; a large one in parts."""

    account_id: str
    cells: tuple[CarriedCell, ...]
    holds: tuple[CarriedHold, ...]
    transact_time: datetime
    part: int = 1
    parts: int = 1


HoldEvent = HoldPlaced | HoldRefused | HoldAdjusted | HoldPosted | GainsPosted | HoldVoided | HoldExpired


class FirmUsageChanged(Struct, frozen=True, tag="FirmUsageChanged"):
    """In the firm's stream: what an account's stream has taken down in the same append, and how the firm judged it."""

    account_id: str
    change: HoldEvent


AssessmentEvent = LimitBreached | BreachCleared | AssessmentMissed | AssessmentResumed | EquityAssessed | DayOpened
SettingEvent = LimitSet | SwitchEngaged | SwitchReleased | TradingDaySet | ConversionSet
FirmEvent = AccountRegistered | FirmWatchStarted | FirmWatchEnded | UsageCarried | FirmUsageChanged
RiskEvent = SettingEvent | HoldEvent | AssessmentEvent | FirmEvent
