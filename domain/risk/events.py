"""Risk events: limits, holds, breaches, monitoring and the kill switch, and the parts they consist of."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from msgspec import UNSET, Struct, UnsetType

from domain.instrument import Contract
from domain.marks import MarkSeen
from domain.order import OrderKey
from domain.risk.capital import CapitalBasis, EquityUsed, ScopeHigh
from domain.risk.exposure import Change, Holding
from domain.risk.measures import Measure, Scope
from domain.risk.valuing import Valuation
from domain.values import ZERO, Mark, Money, PositionSide, Side

FIRM = "firm"


class Mode(StrEnum):
    """The orders an engaged kill switch lets through. HALT: none; REDUCE_ONLY: those that reduce a position.

    Cancels and venue reports always go through.
    """

    HALT = "HALT"
    REDUCE_ONLY = "REDUCE_ONLY"


class LimitStatus(StrEnum):
    """The effect of a limit. DRAFT: on record, and not checked. ACTIVE: it refuses, and monitoring reports it.

    SHADOW: checked as if it were active; what it would have refused or reported is recorded, and the order passes.
    """

    DRAFT = "DRAFT"
    SHADOW = "SHADOW"
    ACTIVE = "ACTIVE"


class LimitCheck(Struct, frozen=True, gc=False):
    """The check of an order against one limit: the limit's version and value, the usage before and with the order.

    `account_id` is the limit's: the account, or the firm.
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
    """The usage of one strategy in one instrument, carried over to the firm."""

    strategy_id: str
    instrument_id: str
    contract: Contract | None
    now: Holding
    opening: Holding
    day_from: datetime
    position_side: PositionSide | UnsetType = UNSET  # the leg of hedge mode; not set: BOTH


class CarriedHold(Struct, frozen=True, omit_defaults=True):
    """The hold of one working order, carried over to the firm, and its own price if that is known."""

    key: OrderKey
    strategy_id: str
    instrument_id: str
    side: Side
    quantity: Decimal
    change_id: str
    contract: Contract | None
    price: Decimal | None = None
    position_side: PositionSide | UnsetType = UNSET  # the leg of hedge mode; not set: BOTH


# Events: the stored format. A name or a field here outlives this code; change one only with an upcast.
class LimitSet(Struct, frozen=True, tag="LimitSet", omit_defaults=True):
    """A limit was set, or lifted (`limit` None). `currency` is None for quantities, fractions and counts.

    A scope has at most one limit of a measure in each status, and `version` counts those of one status. `moved_from` is
    the status that the same limit had before, and no longer has.
    """

    account_id: str
    scope: Scope
    measure: Measure
    limit: Decimal | None
    currency: str | None
    version: int
    transact_time: datetime
    status: LimitStatus = LimitStatus.ACTIVE
    moved_from: LimitStatus | None = None


class HoldPlaced(Struct, frozen=True, gc=False, tag="HoldPlaced.v2", omit_defaults=True):
    """An order passed the pre-trade check: its quantity is held.

    `mark` is the one a market order was valued at, `marks` are all that were used, `notional` is the order's own, in
    its quote currency, at the price of its `valuation`. `price` is the order's own, its limit or trigger, at which its
    hold counts where the mark is lower; of a market order the mark. `equity` is what limits measured by, if any did.
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
    price: Decimal | None = None
    valuation: Valuation | None = None
    equity: EquityUsed | None = None
    position_side: PositionSide | UnsetType = UNSET  # the leg of hedge mode; not set: BOTH


class HoldRefused(Struct, frozen=True, tag="HoldRefused.v2", omit_defaults=True):
    """An order did not pass the pre-trade check: the rule, and the limit that failed if it was one.

    `facts` are the other facts of the rule, as text; `judged` the limits that passed before; `change_id` is set when it
    was a replacement. `valuation` is the price its notional is at, `equity` what its limits measured by, if any did.
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
    valuation: Valuation | None = None
    equity: EquityUsed | None = None
    position_side: PositionSide | UnsetType = UNSET  # the leg of hedge mode; not set: BOTH


class HoldAdjusted(Struct, frozen=True, gc=False, tag="HoldAdjusted.v2", omit_defaults=True):
    """A working order holds `quantity` now, where it held `was`.

    A requested replacement is checked and has a `change_id`: until the venue has answered, the order holds the larger
    of what it was and what it would be. What follows from the venue's answer, or from an order found at the venue, is
    not checked: it has happened. `price` is the order's own from here on, None if it stays what it was.
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
    price: Decimal | None = None
    valuation: Valuation | None = None
    equity: EquityUsed | None = None
    position_side: PositionSide | UnsetType = UNSET  # the leg of hedge mode; not set: BOTH


class HoldPosted(Struct, frozen=True, gc=False, tag="HoldPosted"):
    """A booking changed the position by `quantity` (signed); `released` of the order's hold became position.

    A booking without an order's hold (a transfer, an adopted order) releases nothing. `cost` is the change of the
    position's cost in settlement currency, `gains` what was realized less fees, by currency.
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
    position_side: PositionSide | UnsetType = UNSET  # the leg of hedge mode; not set: BOTH
    transferred: Decimal | UnsetType = UNSET  # of a transfer other than income: its cost, which is not paid


class GainsPosted(Struct, frozen=True, gc=False, tag="GainsPosted"):
    """Cost and gains changed, but no quantity: funding, or a restatement of earlier bookings.

    `source` names the funding payment or the late trades; each change counts for the day it belongs to.
    """

    account_id: str
    strategy_id: str
    instrument_id: str
    source: str
    changes: tuple[Change, ...]
    position_side: PositionSide | UnsetType = UNSET  # the leg of hedge mode; not set: BOTH


class HoldVoided(Struct, frozen=True, gc=False, tag="HoldVoided"):
    """The order is closed: what it still held is released."""

    key: OrderKey
    strategy_id: str
    instrument_id: str
    released: Decimal
    transact_time: datetime


class HoldExpired(Struct, frozen=True, gc=False, tag="HoldExpired"):
    """The order has expired: what it still held is released."""

    key: OrderKey
    strategy_id: str
    instrument_id: str
    released: Decimal
    transact_time: datetime


class SwitchEngaged(Struct, frozen=True, tag="SwitchEngaged"):
    """The kill switch of a scope was engaged: by whom, why, when. `version` counts the changes of this switch."""

    account_id: str
    scope: Scope
    mode: Mode
    reason: str
    actor: str
    version: int
    transact_time: datetime


class SwitchReleased(Struct, frozen=True, tag="SwitchReleased"):
    """The kill switch of a scope was released; `actor` is another than the one that engaged it."""

    account_id: str
    scope: Scope
    reason: str
    actor: str
    version: int
    transact_time: datetime


class LimitBreached(Struct, frozen=True, tag="LimitBreached"):
    """The usage exceeds a limit, but not by an order: the market moved, a venue filled, a limit was lowered.

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
    """The usage is within the limit again."""

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
    """The usage of a limit can no longer be measured: what is missing."""

    account_id: str
    scope: Scope
    measure: Measure
    rule: str
    facts: dict[str, str]
    transact_time: datetime


class AssessmentResumed(Struct, frozen=True, tag="AssessmentResumed"):
    """The usage of a limit can be measured again."""

    account_id: str
    scope: Scope
    measure: Measure
    transact_time: datetime


class CapitalStated(Struct, frozen=True, tag="CapitalStated"):
    """A capital was stated, to measure by instead of what is on record, or (None) the statement was withdrawn."""

    account_id: str
    capital: Money | None
    transact_time: datetime


class EquityAssessed(Struct, frozen=True, tag="EquityAssessed.v2", omit_defaults=True):
    """Capital changed, or gains rose to a new high; equity = capital + gains.

    `gain` is the total gain so far at the marks, None if it could not be measured; `high` the highest it has been,
    `highs` those of the scopes with a limit of drawdown. `basis` is where the capital comes from, and `paid_in` what a
    capital of the BOOK consists of.
    """

    account_id: str
    currency: str
    capital: Decimal
    gain: Decimal | None
    high: Decimal | None
    marks: tuple[MarkSeen, ...]
    transact_time: datetime
    basis: CapitalBasis = CapitalBasis.STATED
    paid_in: tuple[Money, ...] = ()
    highs: tuple[ScopeHigh, ...] = ()


class DayOpened(Struct, frozen=True, tag="DayOpened"):
    """The first marks of a trading day, for the instruments with a position at its start."""

    account_id: str
    day_from: datetime
    marks: tuple[MarkSeen, ...]
    transact_time: datetime


ShadowEvent = HoldRefused | LimitBreached | BreachCleared | AssessmentMissed | AssessmentResumed | DayOpened


class ShadowDecided(Struct, frozen=True, tag="ShadowDecided"):
    """What a shadow limit would have led to, had it been active: `decided`, which is not in effect.

    A refusal (`HoldRefused`) is of an order or replacement that passed all limits that are active.
    """

    account_id: str
    scope: Scope
    measure: Measure
    version: int
    decided: ShadowEvent


class DeadManSwitchArmed(Struct, frozen=True, tag="DeadManSwitchArmed"):
    """The switch of an account, or of one of its strategies, was armed. `version` counts how often it was."""

    account_id: str
    strategy_id: str | None
    countdown_ms: int
    halts: bool
    version: int
    transact_time: datetime


class DeadManSwitchDisarmed(Struct, frozen=True, tag="DeadManSwitchDisarmed"):
    """The switch that was armed as `version` was disarmed."""

    account_id: str
    strategy_id: str | None
    version: int
    transact_time: datetime


class DeadManSwitchFired(Struct, frozen=True, tag="DeadManSwitchFired"):
    """The countdown, last extended at `extended_at`, passed at `deadline`.

    The requests to cancel every working order of the scope are in the same append; where it `halts`, the kill switch of
    the scope too.
    """

    account_id: str
    strategy_id: str | None
    countdown_ms: int
    halts: bool
    version: int
    extended_at: datetime
    deadline: datetime
    transact_time: datetime

    @property
    def reason(self) -> str:
        """The reason of what follows from it."""
        return f"dead man's switch: no sign of life for {self.countdown_ms} ms"


DeadManEvent = DeadManSwitchArmed | DeadManSwitchDisarmed | DeadManSwitchFired


class TradingDaySet(Struct, frozen=True, tag="TradingDaySet"):
    """Trading days start at this full hour, UTC."""

    account_id: str
    starts_at_hour: int
    transact_time: datetime


class ConversionSet(Struct, frozen=True, tag="ConversionSet"):
    """Base and quote currency of an instrument are converted at its mark, or no longer (`contract` None)."""

    account_id: str
    instrument_id: str
    contract: Contract | None
    transact_time: datetime


class AccountRegistered(Struct, frozen=True, tag="AccountRegistered"):
    """In the firm's stream: an account belongs to it."""

    account_id: str
    transact_time: datetime


class FirmWatchStarted(Struct, frozen=True, tag="FirmWatchStarted"):
    """In an account's stream: from here on, its holds and postings are checked and recorded at the firm as well."""

    account_id: str
    transact_time: datetime


class FirmWatchEnded(Struct, frozen=True, tag="FirmWatchEnded"):
    """In an account's stream and the firm's: the firm no longer has a limit or kill switch."""

    account_id: str
    transact_time: datetime


class UsageCarried(Struct, frozen=True, tag="UsageCarried"):
    """In the firm's stream: the usage of an account when the watch started; of a large one in parts."""

    account_id: str
    cells: tuple[CarriedCell, ...]
    holds: tuple[CarriedHold, ...]
    transact_time: datetime
    part: int = 1
    parts: int = 1


HoldEvent = HoldPlaced | HoldRefused | HoldAdjusted | HoldPosted | GainsPosted | HoldVoided | HoldExpired


class FirmUsageChanged(Struct, frozen=True, tag="FirmUsageChanged.v2"):
    """In the firm's stream: the event of an account's stream in the same append, with the firm's own checks."""

    account_id: str
    change: HoldEvent


AssessmentEvent = LimitBreached | BreachCleared | AssessmentMissed | AssessmentResumed | EquityAssessed | DayOpened
SettingEvent = LimitSet | SwitchEngaged | SwitchReleased | TradingDaySet | ConversionSet | CapitalStated
FirmEvent = AccountRegistered | FirmWatchStarted | FirmWatchEnded | UsageCarried | FirmUsageChanged
RiskEvent = SettingEvent | HoldEvent | AssessmentEvent | ShadowDecided | DeadManEvent | FirmEvent
