"""Order events: our requests and the venue's execution reports, as they are stored.

Names and tags follow FIX 5.0 SP2; a tag is given beside each field that has one. A venue report is the event it
becomes; fields marked *added* are empty in the report and filled in when it is admitted, so that the event reads alone.
"""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from domain.order.terms import Changes, OrderKey, OrderTerms
from domain.values import Liquidity, Money, PositionSide, Side, TradeKind


class OrdStatus(StrEnum):
    """FIX OrdStatus(39). STOPPED and ACCEPTED_FOR_BIDDING belong to trading floors and have no use here."""

    PENDING_NEW = "PENDING_NEW"
    NEW = "NEW"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    FILLED = "FILLED"
    DONE_FOR_DAY = "DONE_FOR_DAY"
    CALCULATED = "CALCULATED"
    SUSPENDED = "SUSPENDED"
    PENDING_CANCEL = "PENDING_CANCEL"
    PENDING_REPLACE = "PENDING_REPLACE"
    CANCELED = "CANCELED"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"

    @property
    def is_open(self) -> bool:
        """Whether an order of this status can be filled by right; `Order.is_open` also considers its other facts."""
        return self in _OPEN


_OPEN = {
    OrdStatus.PENDING_NEW, OrdStatus.NEW, OrdStatus.PARTIALLY_FILLED, OrdStatus.DONE_FOR_DAY, OrdStatus.SUSPENDED,
    OrdStatus.PENDING_CANCEL, OrdStatus.PENDING_REPLACE,
}  # fmt: skip


# Events: the stored format. A name or a field here outlives this code; change one only with an upcast.
class OrderSubmitted(Struct, frozen=True, gc=False, tag="OrderSubmitted"):
    """We sent the order: NewOrderSingle(D). Its quantity is held against the limits from here on."""

    key: OrderKey  # 1, 11
    terms: OrderTerms
    transact_time: datetime  # 60


class OrderRefused(Struct, frozen=True, tag="OrderRefused"):
    """The pre-trade check refused the order; it was never sent. `facts` are the numbers of the decision, as text."""

    key: OrderKey
    terms: OrderTerms
    rule: str
    facts: dict[str, str]
    transact_time: datetime


class OrderAdopted(Struct, frozen=True, gc=False, tag="OrderAdopted"):
    """The venue has an order we never sent. Its quantity is unknown until the venue states it."""

    key: OrderKey
    order_id: str  # 37
    strategy_id: str
    instrument_id: str  # 48
    side: Side  # 54
    transact_time: datetime
    terms: OrderTerms | None = None  # as the venue describes the order


class OrderAliased(Struct, frozen=True, tag="OrderAliased"):
    """`key` is the ClOrdID of a later request about an order that keeps its first one; the only event of its stream."""

    key: OrderKey  # 11
    cl_ord_id: str  # the order's first ClOrdID, at the root of the chain of OrigClOrdIDs (41)
    transact_time: datetime


class OrderCancelRequested(Struct, frozen=True, tag="OrderCancelRequested", omit_defaults=True):
    """We requested to cancel the order: OrderCancelRequest(F)."""

    key: OrderKey
    reason: str  # 58
    transact_time: datetime
    requested_as: str = ""  # 11 of the request


class OrderReplaceRequested(Struct, frozen=True, tag="OrderReplaceRequested"):
    """We requested other terms: OrderCancelReplaceRequest(G). They hold once the venue confirms them."""

    key: OrderKey
    requested_as: str  # 11 of the request
    orig_cl_ord_id: str  # 41: the order's own ClOrdID, or that of the replacement this one follows
    changes: Changes
    terms: OrderTerms  # the terms with the changes
    transact_time: datetime


class VenueReport(Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """The fields that any ExecutionReport(8) or OrderCancelReject(9) may have beside its own."""

    exec_id: str = ""  # 17
    requested_as: str = ""  # 11 of the request it answers
    ord_status: OrdStatus | None = None  # 39, as the venue has it
    order_qty: Decimal | None = None  # 38, as the venue has it from here on
    venue: str = ""  # needed to find the order of a report that has only an order_id
    nanos: int = 0  # of transact_time, beyond its microsecond


class VenueOrderReport(VenueReport, frozen=True, kw_only=True):
    """A venue report that may name the order by the venue's own id, or only by it."""

    order_id: str = ""  # 37


class OrderPendingNew(VenueOrderReport, frozen=True, tag="OrderPendingNew"):
    """ExecType(150) A: the venue has received the order and not accepted it yet."""

    key: OrderKey
    transact_time: datetime


class OrderAccepted(VenueReport, frozen=True, tag="OrderAccepted"):
    """ExecType(150) 0, New: the order works. `terms` describe an order we may not have sent."""

    key: OrderKey
    order_id: str  # 37
    transact_time: datetime
    terms: OrderTerms | None = None


class OrderRejected(VenueOrderReport, frozen=True, tag="OrderRejected"):
    """ExecType(150) 8: the venue does not accept the order."""

    key: OrderKey
    reason: str  # 58, 103
    transact_time: datetime


class OrderTriggered(VenueOrderReport, frozen=True, tag="OrderTriggered"):
    """ExecType(150) L: a stop or take-profit was triggered and works in the market."""

    key: OrderKey
    transact_time: datetime


class OrderFilled(Struct, frozen=True, gc=False, tag="OrderFilled", omit_defaults=True):
    """ExecType(150) F, Trade: a fill as the venue reports it."""

    key: OrderKey
    strategy_id: str
    instrument_id: str  # 48
    order_id: str  # 37
    side: Side  # 54
    exec_id: str  # 17, or the venue's trade id
    trade_seq: int  # the venue's own trade sequence, 0 if it has none
    last_qty: Decimal  # 32
    last_px: Decimal  # 31
    commission: Money  # 12, 479
    liquidity: Liquidity  # 851
    transact_time: datetime  # 60
    nanos: int = 0  # of transact_time, beyond its microsecond
    entry_id: str = ""  # added: its id on record, where exec_id is that of another execution; see domain.order.identity
    position_side: PositionSide = PositionSide.BOTH  # the leg of hedge mode; BOTH where the report states none
    further_commissions: tuple[Money, ...] = ()  # 136: fees beside `commission`, in its currency or in others
    kind: TradeKind = TradeKind.TRADE  # 828; TRADE where the report states none
    insurance: Money | None = None  # of a liquidation: what the venue's insurance fund took, beside the commissions

    @property
    def fees(self) -> tuple[Money, ...]:
        """All that the fill cost beside its price: the commissions and the insurance charge."""
        return self.commissions if self.insurance is None else (*self.commissions, self.insurance)

    @property
    def commissions(self) -> tuple[Money, ...]:
        """The commissions of the fill: positive paid, negative a rebate."""
        return (self.commission, *self.further_commissions)

    @property
    def id_on_record(self) -> str:
        """What the execution is known by within its account and instrument."""
        return self.entry_id or self.exec_id


class OrderCommissionReported(VenueOrderReport, frozen=True, tag="OrderCommissionReported"):
    """The venue reported the fees of a fill apart from it, and the fill is not on record yet: they wait for it.

    Of a fill on record nothing but `OrderFillCompleted` is stored: the fees complete it.
    """

    key: OrderKey
    exec_ref_id: str  # 19: the fill
    commission: Money  # 12, 479
    transact_time: datetime
    instrument_id: str = ""  # 48, to find the order of a fill on record where the report names none
    further_commissions: tuple[Money, ...] = ()  # 136: fees beside `commission`

    @property
    def commissions(self) -> tuple[Money, ...]:
        """All fees of the fill: positive paid, negative a rebate."""
        return (self.commission, *self.further_commissions)


class OrderFillCompleted(Struct, frozen=True, gc=False, tag="OrderFillCompleted"):
    """A fill on record was reported again and is known better: its commission, more digits, its time, its order id."""

    key: OrderKey
    report: OrderFilled  # as it was reported
    known: OrderFilled  # as all reports together describe it, before any amendment
    transact_time: datetime  # 60 of the fill as it is known now
    was: OrderFilled | None = None  # as it stood; None if it is busted
    now: OrderFilled | None = None  # as it stands


class OrderFillBusted(VenueOrderReport, frozen=True, tag="OrderFillBusted"):
    """ExecType(150) H, Trade Cancel: a fill is void, and with it all corrections of it."""

    key: OrderKey
    exec_ref_id: str  # 19: the fill, or the last correction of it
    reason: str  # 58
    transact_time: datetime
    was: OrderFilled | None = None  # added: the fill as it stood, under its first exec_id; None if it no longer did


class OrderFillCorrected(VenueOrderReport, frozen=True, tag="OrderFillCorrected"):
    """ExecType(150) G, Trade Correct: a fill was of another quantity or price. It keeps its place and first exec_id."""

    key: OrderKey
    exec_ref_id: str  # 19: the fill, or the last correction of it
    last_qty: Decimal  # 32, as it should have been
    last_px: Decimal  # 31, as it should have been
    transact_time: datetime
    commission: Money | None = None  # 12, 479; None leaves all fees
    was: OrderFilled | None = None  # added: the fill as it stood, under its first exec_id; None if busted
    now: OrderFilled | None = None  # added: as it stands; equals `was` where a later correction is already on record
    further_commissions: tuple[Money, ...] = ()  # 136: fees beside `commission`


class OrderPendingCancel(VenueOrderReport, frozen=True, tag="OrderPendingCancel"):
    """ExecType(150) 6: the venue works on a cancel request."""

    key: OrderKey
    transact_time: datetime


class OrderCancelRejected(VenueOrderReport, frozen=True, tag="OrderCancelRejected"):
    """OrderCancelReject(9) to a cancel request (434 = 1)."""

    key: OrderKey
    reason: str  # 58, 102
    transact_time: datetime


class OrderCanceled(VenueOrderReport, frozen=True, tag="OrderCanceled"):
    """ExecType(150) 4: the rest of the order is canceled, requested or not."""

    key: OrderKey
    reason: str  # 58
    transact_time: datetime


class OrderExpired(VenueOrderReport, frozen=True, tag="OrderExpired"):
    """ExecType(150) C: the rest of the order has run out of time."""

    key: OrderKey
    reason: str  # 58
    transact_time: datetime


class OrderPendingReplace(VenueOrderReport, frozen=True, tag="OrderPendingReplace"):
    """ExecType(150) E: the venue works on a replace request; until it is done the old terms hold."""

    key: OrderKey
    transact_time: datetime


class OrderReplaceRejected(VenueOrderReport, frozen=True, tag="OrderReplaceRejected"):
    """OrderCancelReject(9) to a replace request (434 = 2): the old terms stay."""

    key: OrderKey
    reason: str  # 58, 102
    transact_time: datetime


class OrderReplaced(VenueOrderReport, frozen=True, tag="OrderReplaced"):
    """ExecType(150) 5: the requested terms hold, except where the venue states another `order_qty` or `price`."""

    key: OrderKey
    transact_time: datetime
    price: Decimal | None = None  # 44
    terms: OrderTerms | None = None  # added: the terms that hold now


class OrderRestated(VenueOrderReport, frozen=True, tag="OrderRestated"):
    """ExecType(150) D: the venue restates the order unsolicited: the next day, or with a new `order_qty` or `price`."""

    key: OrderKey
    reason: str  # 378
    transact_time: datetime
    price: Decimal | None = None  # 44
    terms: OrderTerms | None = None  # added: the terms that hold now


class OrderDoneForDay(VenueOrderReport, frozen=True, tag="OrderDoneForDay"):
    """ExecType(150) 3: no more today. An order good beyond the day stays open until the venue restates it."""

    key: OrderKey
    transact_time: datetime


class OrderSuspended(VenueOrderReport, frozen=True, tag="OrderSuspended"):
    """ExecType(150) 9: the order rests outside the market until a later report shows that it works again."""

    key: OrderKey
    reason: str  # 58
    transact_time: datetime


class OrderCalculated(VenueOrderReport, frozen=True, tag="OrderCalculated"):
    """ExecType(150) B: the order is complete and its charges are computed."""

    key: OrderKey
    transact_time: datetime


class OrderBreakWithdrawn(Struct, frozen=True, tag="OrderBreakWithdrawn"):
    """A break on record that does not hold: by reports that arrived after it, its report fits its own moment."""

    key: OrderKey
    rule: str
    report: "OrderReport"


class OrderBroken(Struct, frozen=True, tag="OrderBroken", omit_defaults=True):
    """A venue report that breaks a rule, word for word. It holds until `OrderBreakWithdrawn` names it."""

    key: OrderKey
    rule: str
    report: "OrderReport"
    on_record: OrderFilled | OrderCommissionReported | None = None  # what the report contradicts


Amendment = OrderFillBusted | OrderFillCorrected
Answer = OrderPendingCancel | OrderCancelRejected | OrderPendingReplace | OrderReplaceRejected | OrderReplaced
Ending = OrderRejected | OrderCanceled | OrderExpired
StateReport = (
    OrderPendingNew | OrderAccepted | OrderTriggered | OrderRestated | OrderDoneForDay | OrderSuspended
    | OrderCalculated | Amendment | Answer | Ending
)  # fmt: skip
OrderReport = OrderFilled | OrderCommissionReported | StateReport
OrderEvent = (
    OrderSubmitted | OrderRefused | OrderAdopted | OrderAliased | OrderCancelRequested | OrderReplaceRequested
    | OrderBroken | OrderBreakWithdrawn | OrderFillCompleted | OrderReport
)  # fmt: skip


def as_reported(report: StateReport) -> StateReport:
    """The report without what was added when it was admitted."""
    match report:
        case OrderFillCorrected():
            return replace(report, was=None, now=None)
        case OrderFillBusted():
            return replace(report, was=None)
        case OrderReplaced() | OrderRestated():
            return replace(report, terms=None)
        case _:
            return report
