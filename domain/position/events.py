"""Position events, and the requests and reports of a position."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from msgspec import Struct

from domain.account import Costing
from domain.instrument import Contract
from domain.position.costing import Effect, Lot, LotChange
from domain.position.rebooking import Moved, Restated
from domain.values import Liquidity, Money, Occurrence, PositionSide, Side, TradeKind


class PositionKey(Struct, frozen=True, gc=False, omit_defaults=True):
    """The holder, instrument and leg of a position; carried by every event, so that each reads alone."""

    account_id: str
    strategy_id: str
    instrument_id: str
    position_side: PositionSide = PositionSide.BOTH


class TransferReason(StrEnum):
    """Why quantity moved without a trade. Income is booked at its fair value, which is then its cost.

    DISPOSAL is what was spent or given away at a value: it realizes a gain. NETWORK_FEE is what a network took: a loss
    of its cost. All others but income are no disposal: what is sent leaves at its cost.
    """

    OPENING = "OPENING"
    DEPOSIT = "DEPOSIT"
    WITHDRAWAL = "WITHDRAWAL"
    INTERNAL = "INTERNAL"
    ADJUSTMENT = "ADJUSTMENT"
    AIRDROP = "AIRDROP"
    STAKING = "STAKING"
    INTEREST = "INTEREST"
    REBATE = "REBATE"
    DISPOSAL = "DISPOSAL"
    NETWORK_FEE = "NETWORK_FEE"
    REDENOMINATION = "REDENOMINATION"

    @property
    def is_disposal(self) -> bool:
        """Whether what is sent realizes the difference between what it is given for and its cost."""
        return self.is_income or self in (TransferReason.DISPOSAL, TransferReason.NETWORK_FEE)

    @property
    def is_income(self) -> bool:
        """Whether the quantity received is earned."""
        return self in _INCOME


_INCOME = {TransferReason.AIRDROP, TransferReason.STAKING, TransferReason.INTEREST, TransferReason.REBATE}


# Events: the stored format. A name or a field here outlives this code; change one only with an upcast.
class TradeBooked(Struct, frozen=True, gc=False, tag="TradeBooked.v3", omit_defaults=True):
    """A fill was booked: what the venue reported, the facts and conventions it was booked by, and its effect.

    `exec_id` is the id the execution is on record under: the venue's, or one made from it where executions share it.
    """

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
    nanos: int = 0  # of transact_time, beyond its microsecond
    further_commissions: tuple[Money, ...] = ()  # beside `commission`, one a currency

    @property
    def commissions(self) -> tuple[Money, ...]:
        """All fees of the trade, one a currency: positive paid, negative a rebate."""
        return (self.commission, *self.further_commissions)


class TradeReversed(Struct, frozen=True, gc=False, tag="TradeReversed", omit_defaults=True):
    """A booked fill was reversed: the venue busted it or corrected it. `effect` is what it had on record."""

    key: PositionKey
    contract: Contract
    exec_id: str
    trade_seq: int
    transact_time: datetime
    commission: Money
    effect: Effect
    reason: str
    further_commissions: tuple[Money, ...] = ()  # beside `commission`, one a currency

    @property
    def commissions(self) -> tuple[Money, ...]:
        """All fees of the trade, one a currency: positive paid, negative a rebate."""
        return (self.commission, *self.further_commissions)


class PositionTransferred(Struct, frozen=True, gc=False, tag="PositionTransferred.v3"):
    """Quantity was received or sent at a cost: an opening balance, a deposit in kind, a move, income.

    What was sent `is_at_cost` left at the cost that it had then. Where an entry from before it arrives later and
    changes that, a transfer of no quantity corrects the cost, so that nothing is realized.
    """

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
    is_at_cost: bool = False


class FundingSettled(Struct, frozen=True, gc=False, tag="FundingSettled", omit_defaults=True):
    """A funding payment of a perpetual: positive received, negative paid, in settlement currency."""

    key: PositionKey
    funding_id: str
    amount: Money
    transact_time: datetime
    nanos: int = 0  # of transact_time, beyond its microsecond


class LotsAssigned(Struct, frozen=True, tag="LotsAssigned"):
    """Specific identification: the lots a disposal uses up, one after the other, before the oldest."""

    key: PositionKey
    exec_id: str
    lot_ids: tuple[str, ...]
    transact_time: datetime


class ContractDelivered(Struct, frozen=True, tag="ContractDelivered", omit_defaults=True):
    """`quantity` of an option was exercised or assigned, or of a future settled, by delivery into the position `to`.

    The two trades beside it close the contract and open what was delivered, at the strike or `settlement_px`.
    """

    key: PositionKey
    delivery_id: str
    to: PositionKey
    quantity: Decimal
    transact_time: datetime
    settlement_px: Decimal | None = None  # of a future
    is_premium_in_cost: bool = False


class PositionRestated(Struct, frozen=True, gc=False, omit_defaults=True, tag="PositionRestated.v3"):
    """Late entries, reversals or assignments changed effects of entries on record.

    A few entries are restated one by one (`items`); of many the sums are, by the half hour of their occurrence
    (`moved`): each effect from `since` on is then the one that a replay of the entries gives. `lots` are the changes of
    open lots. `part` of `parts` are of restatements of before, which named every entry.
    """

    key: PositionKey
    late_exec_ids: tuple[str, ...]
    items: tuple[Restated, ...] = ()
    lots: tuple[LotChange, ...] = ()
    part: int = 1
    parts: int = 1
    since: Occurrence | None = None
    moved: tuple[Moved, ...] = ()


class PositionBroken(Struct, frozen=True, gc=False, tag="PositionBroken", omit_defaults=True):
    """The position as reported by the venue breaks a rule: a report must be missing."""

    key: PositionKey
    rule: str
    exec_id: str
    quantity: Decimal
    transact_time: datetime
    report: "SettleFunding | Transfer | None" = None  # what was reported and is not booked
    on_record: FundingSettled | PositionTransferred | None = None  # what it contradicts


PositionEvent = (
    TradeBooked
    | TradeReversed
    | PositionTransferred
    | FundingSettled
    | LotsAssigned
    | ContractDelivered
    | PositionRestated
    | PositionBroken
)
Booking = TradeBooked | PositionTransferred


class Filled(Struct, frozen=True, gc=False):
    """A fill to be booked, as its order has it, with the instrument's facts of its day."""

    key: PositionKey
    contract: Contract
    cl_ord_id: str
    exec_id: str
    trade_seq: int
    side: Side
    last_qty: Decimal
    last_px: Decimal
    commission: Money
    liquidity: Liquidity
    transact_time: datetime
    kind: TradeKind = TradeKind.TRADE
    nanos: int = 0
    further_commissions: tuple[Money, ...] = ()


class Reverse(Struct, frozen=True):
    """The venue has busted or corrected a fill, or it is known better now: reverse its booking."""

    key: PositionKey
    exec_id: str
    trade_seq: int
    transact_time: datetime
    reason: str
    nanos: int = 0


class Transfer(Struct, frozen=True, tag="Transfer"):
    """Quantity received (BUY) or sent (SELL) without a trade, at a cost signed as its value is (+ in for spot).

    It carries the lots it names, or opens one of its own at `transact_time`. One that `is_at_cost` takes what it sends
    at the cost of that, and not at the `cost` it states; of what it receives `cost` counts.
    """

    key: PositionKey
    transfer_id: str
    side: Side
    quantity: Decimal
    cost: Decimal
    transact_time: datetime
    reason: TransferReason = TransferReason.OPENING
    counterparty: PositionKey | None = None
    lots: tuple[Lot, ...] = ()
    contract: Contract | None = None
    is_at_cost: bool = False


class SettleFunding(Struct, frozen=True, tag="SettleFunding"):
    """The venue has settled funding."""

    key: PositionKey
    funding_id: str
    amount: Money
    transact_time: datetime
    nanos: int = 0


class AssignLots(Struct, frozen=True):
    """Name the lots a disposal on record uses up; `trade_seq` and `transact_time` are the disposal's.

    For accounts that keep cost by specific identification.
    """

    key: PositionKey
    exec_id: str
    trade_seq: int
    lot_ids: tuple[str, ...]
    transact_time: datetime


class MovePosition(Struct, frozen=True):
    """Move quantity to another strategy or account, at its cost and with its lots."""

    key: PositionKey
    to: PositionKey
    transfer_id: str
    quantity: Decimal
    transact_time: datetime


class SettleContract(Struct, frozen=True):
    """A dated future or option has expired with its underlying at `underlying_px`: it is settled in cash."""

    key: PositionKey
    settlement_id: str
    underlying_px: Decimal
    transact_time: datetime


class DeliverContract(Struct, frozen=True):
    """An option is exercised or assigned, or a dated future settles, by delivery of its underlying into `to`.

    `quantity` None: all that is held. `settlement_px` is of a future; an option delivers at its strike. The premium of
    an option is realized, or with `is_premium_in_cost` part of the price of what is delivered.
    """

    key: PositionKey
    delivery_id: str
    to: PositionKey
    transact_time: datetime
    quantity: Decimal | None = None
    settlement_px: Decimal | None = None
    is_premium_in_cost: bool = False


PositionRequest = AssignLots
PositionReport = Filled | Reverse | Transfer | SettleFunding
