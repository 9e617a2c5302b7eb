"""Upcasts: older shapes of events, as they were once stored, and their conversion to the present ones.

A shape stays here for ever under the topic it had, with the upcast that reads it as the next newer one. Version 1 of
the bookings had one opened lot where there may now be several, carried by a transfer. Version 1 of the holds was
decided when an order counted at its own price alone, and equity only at a capital that was stated.
"""

from datetime import datetime
from decimal import Decimal

from msgspec import Struct
from msgspec.structs import asdict

from domain.account import Costing
from domain.instrument import Contract
from domain.marks import MarkSeen
from domain.order import OrderKey
from domain.position import (
    Effect,
    Lot,
    LotChange,
    LotMatch,
    PositionKey,
    PositionRestated,
    PositionTransferred,
    Restated,
    Sums,
    TradeBooked,
    TransferReason,
)
from domain.risk import (
    CapitalBasis,
    EquityAssessed,
    FirmUsageChanged,
    GainsPosted,
    HoldAdjusted,
    HoldExpired,
    HoldPlaced,
    HoldPosted,
    HoldRefused,
    HoldVoided,
    LimitCheck,
)
from domain.values import ZERO, Liquidity, Mark, Money, Side, TradeKind


class EffectV1(Struct, frozen=True):
    """An effect that opens one lot at most."""

    quantity: Decimal
    cost: Decimal
    realized: Decimal = ZERO
    rounding: Decimal = ZERO
    fee: Decimal = ZERO
    fee_cost: Decimal = ZERO
    opened: Lot | None = None
    closed: tuple[LotMatch, ...] = ()

    def newer(self) -> Effect:
        """The same effect, with its lots in a tuple."""
        opened = (self.opened,) if self.opened is not None else ()
        return Effect(
            self.quantity,
            self.cost,
            self.realized,
            self.rounding,
            fee=self.fee,
            fee_cost=self.fee_cost,
            opened=opened,
            closed=self.closed,
        )


class TradeBookedV1(Struct, frozen=True, tag="TradeBooked"):
    """A booked trade, before trades had a kind."""

    key: PositionKey
    contract: Contract
    costing: Costing
    cl_ord_id: str
    exec_id: str
    trade_seq: int
    side: Side
    last_qty: Decimal
    last_px: Decimal
    commission: Money
    liquidity: Liquidity
    transact_time: datetime
    effect: EffectV1
    is_late: bool = False


class TradeBookedV2(Struct, frozen=True, gc=False, tag="TradeBooked.v2"):
    """A booked trade, before its time had nanoseconds."""

    key: PositionKey
    contract: Contract
    costing: Costing
    cl_ord_id: str
    exec_id: str
    trade_seq: int
    side: Side
    last_qty: Decimal
    last_px: Decimal
    commission: Money
    liquidity: Liquidity
    transact_time: datetime
    effect: Effect
    is_late: bool = False
    kind: TradeKind = TradeKind.TRADE


class PositionTransferredV1(Struct, frozen=True, tag="PositionTransferred"):
    """A booked transfer, before transfers had a reason, a counterparty and lots."""

    key: PositionKey
    contract: Contract
    costing: Costing
    transfer_id: str
    side: Side
    quantity: Decimal
    cost: Decimal
    transact_time: datetime
    effect: EffectV1
    is_late: bool = False


class RestatedV1(Struct, frozen=True):
    """One entry whose effect a late arrival changed."""

    exec_id: str
    trade_seq: int
    transact_time: datetime
    was: Sums
    now: EffectV1


class PositionRestatedV1(Struct, frozen=True, tag="PositionRestated"):
    """A restatement with effects of one opened lot."""

    key: PositionKey
    late_exec_ids: tuple[str, ...]
    items: tuple[RestatedV1, ...]
    lots: tuple[LotChange, ...]
    part: int = 1
    parts: int = 1


class PositionRestatedV2(Struct, frozen=True, tag="PositionRestated.v2"):
    """A restatement of every entry that was changed, in parts of at most 500."""

    key: PositionKey
    late_exec_ids: tuple[str, ...]
    items: tuple[Restated, ...]
    lots: tuple[LotChange, ...]
    part: int = 1
    parts: int = 1


class HoldPlacedV1(Struct, frozen=True, gc=False, tag="HoldPlaced"):
    """An order that passed, valued at its own price."""

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


class HoldRefusedV1(Struct, frozen=True, tag="HoldRefused"):
    """An order that did not pass, valued at its own price."""

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


class HoldAdjustedV1(Struct, frozen=True, gc=False, tag="HoldAdjusted"):
    """A replaced or found order, valued at its own price."""

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


HoldEventV1 = HoldPlacedV1 | HoldRefusedV1 | HoldAdjustedV1 | HoldPosted | GainsPosted | HoldVoided | HoldExpired


class FirmUsageChangedV1(Struct, frozen=True, tag="FirmUsageChanged"):
    """The firm's usage, with holds of version 1."""

    account_id: str
    change: HoldEventV1


class EquityAssessedV1(Struct, frozen=True, tag="EquityAssessed"):
    """An equity whose capital was stated with the monitoring."""

    account_id: str
    currency: str
    capital: Decimal
    gain: Decimal | None
    high: Decimal | None
    marks: tuple[MarkSeen, ...]
    transact_time: datetime


class PositionTransferredV2(Struct, frozen=True, tag="PositionTransferred.v2"):
    """A booked transfer, before what was sent left at its cost."""

    key: PositionKey
    contract: Contract
    costing: Costing
    transfer_id: str
    side: Side
    quantity: Decimal
    cost: Decimal
    transact_time: datetime
    effect: Effect
    is_late: bool = False
    reason: TransferReason = TransferReason.OPENING
    counterparty: PositionKey | None = None
    lots: tuple[Lot, ...] = ()


def trade_booked(event: TradeBookedV1) -> TradeBooked:
    """Convert version 1 to version 3: an ordinary trade."""
    return TradeBooked(
        event.key, event.contract, event.costing, event.cl_ord_id, exec_id=event.exec_id, trade_seq=event.trade_seq,
        side=event.side, last_qty=event.last_qty, last_px=event.last_px, commission=event.commission,
        liquidity=event.liquidity, transact_time=event.transact_time, effect=event.effect.newer(),
        is_late=event.is_late,
    )  # fmt: skip


def trade_booked_v2(event: TradeBookedV2) -> TradeBooked:
    """Convert version 2 to version 3: a time in whole microseconds."""
    return TradeBooked(
        event.key, event.contract, event.costing, event.cl_ord_id, exec_id=event.exec_id, trade_seq=event.trade_seq,
        side=event.side, last_qty=event.last_qty, last_px=event.last_px, commission=event.commission,
        liquidity=event.liquidity, transact_time=event.transact_time, effect=event.effect, is_late=event.is_late,
        kind=event.kind,
    )  # fmt: skip


def position_transferred(event: PositionTransferredV1) -> PositionTransferred:
    """Convert version 1 to version 3: an opening balance, which was the only kind."""
    return PositionTransferred(
        event.key, event.contract, event.costing, event.transfer_id, side=event.side, quantity=event.quantity,
        cost=event.cost, transact_time=event.transact_time, effect=event.effect.newer(), is_late=event.is_late,
    )  # fmt: skip


def position_transferred_v2(event: PositionTransferredV2) -> PositionTransferred:
    """Convert version 2 to version 3: at the cost that was stated."""
    return PositionTransferred(
        event.key, event.contract, event.costing, event.transfer_id, side=event.side, quantity=event.quantity,
        cost=event.cost, transact_time=event.transact_time, effect=event.effect, is_late=event.is_late,
        reason=event.reason, counterparty=event.counterparty, lots=event.lots,
    )  # fmt: skip


def position_restated(event: PositionRestatedV1) -> PositionRestatedV2:
    """Convert version 1 to version 2."""
    items = tuple(
        Restated(item.exec_id, item.trade_seq, item.transact_time, item.was, now=item.now.newer())
        for item in event.items
    )
    return PositionRestatedV2(event.key, event.late_exec_ids, items, event.lots, part=event.part, parts=event.parts)


def position_restated_v2(event: PositionRestatedV2) -> PositionRestated:
    """Convert version 2 to version 3: every entry was named."""
    return PositionRestated(event.key, event.late_exec_ids, event.items, event.lots, part=event.part, parts=event.parts)


def hold_placed(event: HoldPlacedV1) -> HoldPlaced:
    """Convert version 1 to version 2: its own price and what it was valued at are not on record."""
    return HoldPlaced(**asdict(event))


def hold_refused(event: HoldRefusedV1) -> HoldRefused:
    """Convert version 1 to version 2: what it was valued at is not on record."""
    return HoldRefused(**asdict(event))


def hold_adjusted(event: HoldAdjustedV1) -> HoldAdjusted:
    """Convert version 1 to version 2: its own price and what it was valued at are not on record."""
    return HoldAdjusted(**asdict(event))


def firm_usage_changed(event: FirmUsageChangedV1) -> FirmUsageChanged:
    """Convert version 1 to version 2: the hold in it."""
    change = event.change
    match change:
        case HoldPlacedV1():
            return FirmUsageChanged(event.account_id, hold_placed(change))
        case HoldRefusedV1():
            return FirmUsageChanged(event.account_id, hold_refused(change))
        case HoldAdjustedV1():
            return FirmUsageChanged(event.account_id, hold_adjusted(change))
        case _:
            return FirmUsageChanged(event.account_id, change)


def equity_assessed(event: EquityAssessedV1) -> EquityAssessed:
    """Convert version 1 to version 2: capital was always stated."""
    return EquityAssessed(**asdict(event), basis=CapitalBasis.STATED)
