"""FIX codes of execution reports, as this ledger reads them: OrdStatus(39) and ExecType(150).

A venue that speaks FIX, or a dialect of it, has its codes read here and nowhere else, so that a code without a meaning
in this ledger makes an unreadable report, never a guess. Such are, of OrdStatus, 7 Stopped and D Accepted for Bidding
(of trading floors) and 5 Replaced (of FIX 4.2 and before, where a replaced order shows as what it is since); of
ExecType, 7 Stopped, I Order Status, which reports no event, and J and K, of clearing.
"""

from domain.errors import ReportUnreadable
from domain.order.events import (
    OrderAccepted,
    OrderCalculated,
    OrderCanceled,
    OrderDoneForDay,
    OrderExpired,
    OrderFillBusted,
    OrderFillCorrected,
    OrderFilled,
    OrderPendingCancel,
    OrderPendingNew,
    OrderPendingReplace,
    OrderRejected,
    OrderReplaced,
    OrderReport,
    OrderRestated,
    OrderSuspended,
    OrderTriggered,
    OrdStatus,
)

_STATUSES = {
    "0": OrdStatus.NEW,
    "1": OrdStatus.PARTIALLY_FILLED,
    "2": OrdStatus.FILLED,
    "3": OrdStatus.DONE_FOR_DAY,
    "4": OrdStatus.CANCELED,
    "6": OrdStatus.PENDING_CANCEL,
    "8": OrdStatus.REJECTED,
    "9": OrdStatus.SUSPENDED,
    "A": OrdStatus.PENDING_NEW,
    "B": OrdStatus.CALCULATED,
    "C": OrdStatus.EXPIRED,
    "E": OrdStatus.PENDING_REPLACE,
}
_REPORTS: dict[str, type[OrderReport]] = {
    "0": OrderAccepted,
    "1": OrderFilled,  # FIX 4.2 and before, as is 2
    "2": OrderFilled,
    "3": OrderDoneForDay,
    "4": OrderCanceled,
    "5": OrderReplaced,
    "6": OrderPendingCancel,
    "8": OrderRejected,
    "9": OrderSuspended,
    "A": OrderPendingNew,
    "B": OrderCalculated,
    "C": OrderExpired,
    "D": OrderRestated,
    "E": OrderPendingReplace,
    "F": OrderFilled,
    "G": OrderFillCorrected,
    "H": OrderFillBusted,
    "L": OrderTriggered,
}


def ord_status_of(code: str) -> OrdStatus:
    """The status of an OrdStatus(39). Raises ReportUnreadable for a code that has no meaning here."""
    if (status := _STATUSES.get(code)) is None:
        raise ReportUnreadable("ord_status", code, f"an OrdStatus(39) of {' '.join(_STATUSES)}")
    return status


def report_type_of(code: str) -> type[OrderReport]:
    """The report of an ExecType(150). Raises ReportUnreadable for a code that has no meaning here."""
    if (report := _REPORTS.get(code)) is None:
        raise ReportUnreadable("exec_type", code, f"an ExecType(150) of {' '.join(_REPORTS)}")
    return report
