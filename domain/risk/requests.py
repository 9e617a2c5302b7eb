"""Requests to risk, and the reports of orders and positions to it."""

from datetime import datetime
from decimal import Decimal

from msgspec import Struct

from domain.instrument import Contract
from domain.order import OrderKey, OrderTerms
from domain.risk.buying_power import Cash
from domain.risk.capital import Funds
from domain.risk.coins import Wallet
from domain.risk.dead_man import ArmDeadManSwitch, DisarmDeadManSwitch, FireDeadManSwitch
from domain.risk.events import LimitStatus, Mode
from domain.risk.exposure import Change
from domain.risk.measures import Measure, Scope
from domain.values import ZERO, Mark, Money, PositionSide, Side


# A request that has a tag may be stored in a proposal (`domain.access`): add fields to it with defaults only.
class SetLimit(Struct, frozen=True, tag="SetLimit", omit_defaults=True):
    """Set, change or (with None) lift a limit of an account, or of the `firm`.

    A limit of the same number and currency that has another status is moved to `status`.
    """

    account_id: str
    scope: Scope
    measure: Measure
    limit: Decimal | None
    currency: str | None
    transact_time: datetime
    status: LimitStatus = LimitStatus.ACTIVE


class EngageSwitch(Struct, frozen=True, tag="EngageSwitch"):
    """Engage the kill switch of a scope, or change its mode. The ledger fills in `actor`, who requests it.

    With `only_tightens` a switch that lets through less already stays as it is.
    """

    account_id: str
    scope: Scope
    mode: Mode
    reason: str
    transact_time: datetime
    actor: str = ""
    only_tightens: bool = False


class ReleaseSwitch(Struct, frozen=True, tag="ReleaseSwitch"):
    """Release the kill switch of a scope. Requires another actor than the one that engaged it."""

    account_id: str
    scope: Scope
    reason: str
    transact_time: datetime
    actor: str = ""


class SetTradingDay(Struct, frozen=True, tag="SetTradingDay"):
    """Set the full hour, UTC, at which trading days start; the current day ends when the next one starts."""

    account_id: str
    starts_at_hour: int
    transact_time: datetime


class SetConversion(Struct, frozen=True, tag="SetConversion"):
    """Convert between an instrument's base and quote currency at its mark, or (`is_used` False) no longer.

    `contract` is the instrument's; the ledger fills it in.
    """

    account_id: str
    instrument_id: str
    transact_time: datetime
    is_used: bool = True
    contract: Contract | None = None


class StateCapital(Struct, frozen=True, tag="StateCapital"):
    """State the capital of an account, or of the `firm`: the total paid in less withdrawals, without gains.

    It replaces the capital on record until it is withdrawn (`capital` None).
    """

    account_id: str
    capital: Money | None
    transact_time: datetime


class AssessMarks(Struct, frozen=True):
    """Check what is held at new marks, without an order. A `capital` is stated first, as `StateCapital` does.

    The ledger fills in `funds`, the capital on record, and `wallets`, the cash of the accounts, where a limit measures
    by them.
    """

    account_id: str
    marks: tuple[Mark, ...]
    transact_time: datetime
    capital: Money | None = None
    funds: Funds | None = None
    wallets: tuple[Wallet, ...] = ()


class PlaceHold(Struct, frozen=True):
    """Check an order and hold its quantity. `mark` is the newest of its instrument, `marks` those of others.

    The ledger fills in `cash`, the account's balances, and `wallets`, its cash, where a limit is of them.
    """

    key: OrderKey
    terms: OrderTerms
    contract: Contract
    mark: Mark | None
    transact_time: datetime
    marks: tuple[Mark, ...] = ()
    funds: Funds | None = None
    cash: Cash | None = None
    wallets: tuple[Wallet, ...] = ()


class AdjustHold(Struct, frozen=True):
    """Check a replacement: `terms` as they would be, `quantity` what the order may still fill until it is answered."""

    key: OrderKey
    change_id: str
    terms: OrderTerms
    quantity: Decimal
    contract: Contract
    transact_time: datetime
    marks: tuple[Mark, ...] = ()
    funds: Funds | None = None
    cash: Cash | None = None
    wallets: tuple[Wallet, ...] = ()


class PostHold(Struct, frozen=True, gc=False):
    """A fill or transfer was booked: `quantity` moved the position, `last_qty` came off the order."""

    key: OrderKey
    strategy_id: str
    instrument_id: str
    exec_id: str
    quantity: Decimal
    last_qty: Decimal
    transact_time: datetime
    cost: Decimal = ZERO
    gains: tuple[Money, ...] = ()
    contract: Contract | None = None
    position_side: PositionSide = PositionSide.BOTH
    transferred: Decimal = ZERO


class PostGains(Struct, frozen=True):
    """Funding was settled, or late trades changed earlier bookings."""

    account_id: str
    strategy_id: str
    instrument_id: str
    source: str
    changes: tuple[Change, ...]
    position_side: PositionSide = PositionSide.BOTH


class RestateHold(Struct, frozen=True):
    """The quantity the order may still fill at its venue: after a replacement, a bust, or when it was found there.

    `price` is the order's own now, its limit or trigger.
    """

    key: OrderKey
    strategy_id: str
    instrument_id: str
    side: Side
    quantity: Decimal
    contract: Contract | None
    transact_time: datetime
    position_side: PositionSide = PositionSide.BOTH
    price: Decimal | None = None


class VoidHold(Struct, frozen=True):
    """The order is closed."""

    key: OrderKey
    transact_time: datetime


class ExpireHold(Struct, frozen=True):
    """The order has expired."""

    key: OrderKey
    transact_time: datetime


SettingRequest = (
    SetLimit
    | EngageSwitch
    | ReleaseSwitch
    | SetTradingDay
    | SetConversion
    | StateCapital
    | AssessMarks
    | ArmDeadManSwitch
    | DisarmDeadManSwitch
)
RiskRequest = SettingRequest | FireDeadManSwitch | PlaceHold | AdjustHold
RiskReport = PostHold | PostGains | RestateHold | VoidHold | ExpireHold
