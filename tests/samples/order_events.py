"""One of every event of orders, their index and their parents, with every field filled."""

from datetime import UTC, datetime
from decimal import Decimal as D

from msgspec.structs import replace

from domain.instrument import Contract, Kind
from domain.order import (
    Changes,
    ChildProgressed,
    ExecInst,
    OrderAccepted,
    OrderAdopted,
    OrderAliased,
    OrderBreakWithdrawn,
    OrderBroken,
    OrderCalculated,
    OrderCanceled,
    OrderCancelRejected,
    OrderCancelRequested,
    OrderCommissionReported,
    OrderDoneForDay,
    OrderExpired,
    OrderFillBusted,
    OrderFillCompleted,
    OrderFillCorrected,
    OrderFilled,
    OrderKey,
    OrderPendingCancel,
    OrderPendingNew,
    OrderPendingReplace,
    OrderRefused,
    OrderRejected,
    OrderReplaced,
    OrderReplaceRejected,
    OrderReplaceRequested,
    OrderRestated,
    OrderSubmitted,
    OrderSuspended,
    OrderTerms,
    OrderTriggered,
    OrdStatus,
    OrdType,
    ParentClosed,
    ParentOpened,
    PegOffset,
    Progress,
    TimeInForce,
    TriggerPrice,
    VenueOrderLinked,
)
from domain.values import Liquidity, Money, Side

AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
LATER = datetime(2026, 1, 2, 20, 0, tzinfo=UTC)
BTC = "BTCUSDT.SIM"
ORDER = OrderKey("main", "A-1")
SPOT = Contract(Kind.SPOT, "BTC", "USDT", "USDT", D(1))
TERMS = OrderTerms(
    "trend", BTC, Side.BUY, OrdType.STOP_LIMIT, D("0.5"), D("97500.25"), TimeInForce.GTD, LATER, D(97400),
    TriggerPrice.MARK, D(25), PegOffset.BASIS_POINTS, frozenset(ExecInst), D("0.1"), "P-1",
)  # fmt: skip
FILLED = OrderFilled(
    ORDER, "trend", BTC, "V-9", Side.BUY, "E7", 7, D("0.5"), D("97500.25"), Money(D("0.02"), "USDT"), Liquidity.MAKER,
    AT,
)  # fmt: skip
KNOWN_BETTER = replace(FILLED, commission=Money(D("0.0195"), "USDT"), nanos=789)
CORRECTED = replace(FILLED, last_qty=D("0.4"), last_px=D(97500), commission=Money(D("0.01"), "USDT"))
STATED = {
    "exec_id": "E9",
    "requested_as": "A-2",
    "ord_status": OrdStatus.PARTIALLY_FILLED,
    "order_qty": D("0.5"),
    "venue": "SIM",
}
NAMED = {**STATED, "order_id": "V-9"}
CHANGES = Changes(D("0.6"), D(97600), D(97500), D(30), None, LATER)

EVENTS = (
    OrderSubmitted(ORDER, TERMS, AT),
    OrderRefused(ORDER, TERMS, "MAX_POSITION is not exceeded", {"limit": "5"}, AT),
    OrderAdopted(ORDER, "V-9", "trend", BTC, Side.BUY, AT, TERMS),
    OrderAliased(OrderKey("main", "A-2"), "A-1", AT),
    OrderPendingNew(ORDER, AT, **NAMED),
    OrderAccepted(ORDER, "V-9", AT, TERMS, **STATED),
    OrderRejected(ORDER, "post only would cross", AT, **NAMED),
    OrderTriggered(ORDER, AT, **NAMED),
    FILLED,
    OrderFillBusted(ORDER, "E7", "off market", AT, FILLED, **NAMED),
    OrderFillCorrected(ORDER, "E7", D("0.4"), D(97500), AT, Money(D("0.01"), "USDT"), FILLED, CORRECTED, **NAMED),
    OrderCancelRequested(ORDER, "user", AT, "A-2"),
    OrderPendingCancel(ORDER, AT, **NAMED),
    OrderCancelRejected(ORDER, "too late", AT, **NAMED),
    OrderCanceled(ORDER, "user", AT, **NAMED),
    OrderExpired(ORDER, "end of day", AT, **NAMED),
    OrderReplaceRequested(ORDER, "A-2", "A-1", CHANGES, CHANGES.of(TERMS), AT),
    OrderPendingReplace(ORDER, AT, **NAMED),
    OrderReplaceRejected(ORDER, "too late", AT, **NAMED),
    OrderReplaced(ORDER, AT, D(97600), CHANGES.of(TERMS), **NAMED),
    OrderRestated(ORDER, "GT_CORPORATE_ACTION", AT, D(97600), TERMS, **NAMED),
    OrderDoneForDay(ORDER, AT, **NAMED),
    OrderSuspended(ORDER, "halted", AT, **NAMED),
    OrderCalculated(ORDER, AT, **NAMED),
    OrderBroken(ORDER, "a fill is of an open order", FILLED),
    OrderCommissionReported(
        key=ORDER, exec_ref_id="E1", commission=Money(D("1.24"), "USD"), transact_time=AT, instrument_id=BTC,
        further_commissions=(Money(D("-0.01"), "BNB"),),
    ),
    OrderFillCompleted(ORDER, KNOWN_BETTER, KNOWN_BETTER, AT, FILLED, KNOWN_BETTER),
    OrderBreakWithdrawn(ORDER, "a fill is of an open order", FILLED),
    VenueOrderLinked("SIM", "main", "V-9", BTC, "A-1", AT),
    ParentOpened(OrderKey("main", "P-1"), "trend", SPOT, Side.BUY, D(2), D(97600), AT),
    ChildProgressed(
        OrderKey("main", "P-1"), "A-1",
        Progress(OrdStatus.PARTIALLY_FILLED, D("0.5"), D("0.1"), D("9750.025"), D("0.4"), D("0.5")), AT,
    ),
    ParentClosed(OrderKey("main", "P-1"), "done", AT),
)  # fmt: skip
