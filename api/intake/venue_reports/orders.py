"""Schemas of venue reports on orders other than fills: FIX ExecutionReport(8) by ExecType(150), OrderCancelReject(9).

A report on an order that was never sent from here adopts the order. One that comes before the fill it corrects or
busts waits for it. What a venue says is recorded in any case, in any order of arrival.
"""

from typing import Any, Literal, Self, get_args

from pydantic import Field, model_validator

from api.http.fields import CurrencyCode, InstrumentId, Name, Number, Positive, Text, unreadable
from api.intake.venue_reports.fields import MAIN, Amount, Amounts, OrderReportFields, example
from domain.errors import RequestRefused
from domain.order import (
    OrderAccepted,
    OrderCalculated,
    OrderCanceled,
    OrderCancelRejected,
    OrderDoneForDay,
    OrderExpired,
    OrderFillBusted,
    OrderFillCorrected,
    OrderKey,
    OrderPendingCancel,
    OrderPendingNew,
    OrderPendingReplace,
    OrderRejected,
    OrderReplaced,
    OrderReplaceRejected,
    OrderReport,
    OrderRestated,
    OrderSuspended,
    OrderTerms,
    OrderTriggered,
    OrdStatus,
    OrdType,
    TimeInForce,
    check,
)
from domain.values import DEFAULT_STRATEGY, Side

NO_ID = Literal[""]
OF_ORDER = {"account_id": MAIN, "cl_ord_id": "A-17"}


def _example(type_: str, second: int, **fields: Any) -> Any:
    return example(type=type_, **OF_ORDER | fields, transact_time=f"2026-01-02T03:04:{second:02}.250Z")


class StateReportFields(OrderReportFields):
    """What every report on an order may say beside its own: FIX tags in brackets.

    The order is found by `cl_ord_id`, by the ClOrdID of a request about it, or by the venue's `order_id`.
    """

    cl_ord_id: Name | NO_ID = Field("", description="the order's ClOrdID [11]; it may be left out if order_id is given")
    orig_cl_ord_id: Name | NO_ID = Field(
        "", description="ClOrdID of the order [41], where cl_ord_id is that of a request to cancel or replace it"
    )
    requested_as: Name | NO_ID = Field("", description="ClOrdID of the request that it answers")
    order_id: Name | NO_ID = Field("", description="the venue's own id of the order [37]")
    venue: CurrencyCode | NO_ID = Field("", description="whose order_id it is; needed where only that is given")
    exec_id: Name | NO_ID = Field("", description="the venue's id of the report [17]")
    ord_status: OrdStatus | None = Field(None, description="the order's status at the venue [39]")
    order_qty: Positive | None = Field(None, description="the order's quantity at the venue from here on [38]")

    @property
    def key(self) -> OrderKey:
        """The key of the order."""
        return OrderKey(self.account_id, self.orig_cl_ord_id or self.cl_ord_id)

    @property
    def shared(self) -> dict[str, Any]:
        """The fields of the domain's event that all reports have."""
        named = self.cl_ord_id if self.orig_cl_ord_id and self.orig_cl_ord_id != self.cl_ord_id else ""
        return {
            "order_id": self.order_id, "venue": self.venue, "exec_id": self.exec_id, "ord_status": self.ord_status,
            "order_qty": self.order_qty, "requested_as": self.requested_as or named,
            "nanos": self.transact_time.nanos,
        }  # fmt: skip


class _Reasoned(StateReportFields):
    reason: Text = Field("", description="the venue's text [58]")


class PendingNew(StateReportFields):
    """[150=A] The venue has received the order and not accepted it yet."""

    model_config = _example("pending_new", 1, order_id="V-901")
    type: Literal["pending_new"]

    def report(self) -> OrderReport:
        """Return the event of the domain."""
        return OrderPendingNew(self.key, self.transact_time.at, **self.shared)


class Accepted(StateReportFields):
    """[150=0] The venue accepted the order.

    Of an order that was not sent from here it may state the terms: `instrument_id`, `side` and `order_qty` together,
    with `price` and more. The order then shows them, and counts against the limits as a working order.
    """

    model_config = _example(
        "accepted", 2, order_id="V-901", instrument_id="BTCUSDT.BINANCE", side="BUY", order_qty="2", price="97500",
    )  # fmt: skip
    type: Literal["accepted"]
    strategy_id: Name = DEFAULT_STRATEGY
    instrument_id: InstrumentId | None = None
    side: Side | None = None
    price: Number | None = Field(None, description="[44]; null for a market order")
    ord_type: OrdType | None = Field(None, description="[40]; by default LIMIT with a price, MARKET without")
    time_in_force: TimeInForce = TimeInForce.GTC

    @model_validator(mode="after")
    def _is_described(self) -> "Accepted":
        """Check that terms are complete, and are terms."""
        given = {"instrument_id": self.instrument_id, "side": self.side}
        if all(value is None for value in given.values()):
            if self.price is not None:
                raise unreadable("complete: price is given with instrument_id, side and order_qty, or without all")
            return self
        missing = [name for name, value in (given | {"order_qty": self.order_qty}).items() if value is None]
        if missing:
            raise unreadable(f"complete: terms have instrument_id, side and order_qty; {', '.join(missing)} is missing")
        try:
            check(self.terms)
        except RequestRefused as error:
            raise unreadable(error.rule) from error
        return self

    @property
    def terms(self) -> Any:
        """The terms of the order; None where they are not stated."""
        if self.instrument_id is None or self.side is None or self.order_qty is None:
            return None
        ord_type = self.ord_type or (OrdType.MARKET if self.price is None else OrdType.LIMIT)
        return OrderTerms(
            self.strategy_id, self.instrument_id, self.side, ord_type, order_qty=self.order_qty, price=self.price,
            time_in_force=self.time_in_force,
        )  # fmt: skip

    def report(self) -> OrderReport:
        """Return the event of the domain."""
        terms = self.terms
        shared = self.shared | ({"order_qty": None} if terms is not None else {})
        return OrderAccepted(self.key, transact_time=self.transact_time.at, terms=terms, **shared)


class Rejected(_Reasoned):
    """[150=8] The venue rejected the order."""

    model_config = _example("rejected", 3, cl_ord_id="A-18", reason="insufficient balance")
    type: Literal["rejected"]

    def report(self) -> OrderReport:
        """Return the event of the domain."""
        return OrderRejected(self.key, self.reason, self.transact_time.at, **self.shared)


class Triggered(StateReportFields):
    """[150=L] A stop or take-profit was triggered and works in the market."""

    model_config = _example("triggered", 4, cl_ord_id="A-19")
    type: Literal["triggered"]

    def report(self) -> OrderReport:
        """Return the event of the domain."""
        return OrderTriggered(self.key, self.transact_time.at, **self.shared)


class Corrected(StateReportFields):
    """[150=G] Trade correct: a fill was of another quantity or price. It keeps its place and its first exec id.

    `exec_ref_id` names the fill, or its last correction. One that comes before its fill waits for it.
    """

    model_config = _example(
        "corrected", 12, exec_id="E-2", exec_ref_id="E-1", last_qty="0.4", last_px="97400",
        commission={"amount": "15.58", "currency": "USDT"},
    )  # fmt: skip
    type: Literal["corrected", "trade_correct"]
    exec_ref_id: Name = Field(description="[19]: the fill, or the last correction of it")
    last_qty: Positive = Field(description="[32] as it should have been")
    last_px: Number = Field(description="[31] as it should have been")
    commission: Amount | None = Field(None, description="[12] as it should have been; null leaves all fees")
    commissions: Amounts | None = Field(None, description="all fees as they should have been, instead of one")

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.commission is not None and self.commissions is not None:
            raise unreadable("given once: commission, or commissions where there are several")
        return self

    def report(self) -> OrderReport:
        """Return the event of the domain."""
        one = [self.commission] if self.commission is not None else []
        paid = [amount.money() for amount in self.commissions or one]
        return OrderFillCorrected(
            self.key, self.exec_ref_id, self.last_qty, self.last_px, transact_time=self.transact_time.at,
            commission=paid[0] if paid else None, further_commissions=tuple(paid[1:]), **self.shared,
        )  # fmt: skip


class Busted(_Reasoned):
    """[150=H] Trade cancel: a fill is void, and with it all corrections of it. One before its fill waits for it."""

    model_config = _example("busted", 13, exec_id="E-3", exec_ref_id="E-1", reason="off-market price")
    type: Literal["busted", "trade_cancel"]
    exec_ref_id: Name = Field(description="[19]: the fill, or the last correction of it")

    def report(self) -> OrderReport:
        """Return the event of the domain."""
        return OrderFillBusted(self.key, self.exec_ref_id, self.reason, self.transact_time.at, **self.shared)


class PendingCancel(StateReportFields):
    """[150=6] The venue works on a cancel request."""

    model_config = _example("pending_cancel", 14)
    type: Literal["pending_cancel"]

    def report(self) -> OrderReport:
        """Return the event of the domain."""
        return OrderPendingCancel(self.key, self.transact_time.at, **self.shared)


class CancelRejected(_Reasoned):
    """[35=9, 434=1] The venue rejected the request to cancel the order."""

    model_config = _example("cancel_rejected", 15, reason="too late to cancel")
    type: Literal["cancel_rejected"]

    def report(self) -> OrderReport:
        """Return the event of the domain."""
        return OrderCancelRejected(self.key, self.reason, self.transact_time.at, **self.shared)


class PendingReplace(StateReportFields):
    """[150=E] The venue works on a replace request; until it is done the old terms hold."""

    model_config = _example("pending_replace", 16, requested_as="A-17b")
    type: Literal["pending_replace"]

    def report(self) -> OrderReport:
        """Return the event of the domain."""
        return OrderPendingReplace(self.key, self.transact_time.at, **self.shared)


class ReplaceRejected(_Reasoned):
    """[35=9, 434=2] The venue rejected the request to replace the order: the old terms stay."""

    model_config = _example("replace_rejected", 17, requested_as="A-17b", reason="too late to replace")
    type: Literal["replace_rejected"]

    def report(self) -> OrderReport:
        """Return the event of the domain."""
        return OrderReplaceRejected(self.key, self.reason, self.transact_time.at, **self.shared)


class Replaced(StateReportFields):
    """[150=5] The requested terms hold, except where the venue states another `order_qty` or `price`.

    The order goes on under the ClOrdID of the request, `requested_as`: fills under it are fills of this order.
    """

    model_config = _example("replaced", 18, requested_as="A-17c", order_qty="3", price="97450")
    type: Literal["replaced"]
    price: Number | None = Field(None, description="[44] from here on")

    def report(self) -> OrderReport:
        """Return the event of the domain."""
        return OrderReplaced(self.key, self.transact_time.at, self.price, **self.shared)


class Restated(_Reasoned):
    """[150=D] The venue restates the order unsolicited: the next day, or with a new `order_qty` or `price`.

    With an `instrument_id` the order is in that instrument from here on, as after a renaming.
    """

    model_config = _example("restated", 22, order_qty="2.5", reason="exchange option")
    type: Literal["restated"]
    price: Number | None = Field(None, description="[44] from here on")
    stop_px: Number | None = Field(None, description="[99] from here on")
    instrument_id: InstrumentId | NO_ID = Field("", description="[48] from here on, where it is another one")

    def report(self) -> OrderReport:
        """Return the event of the domain."""
        return OrderRestated(
            self.key, self.reason, self.transact_time.at, self.price, instrument_id=self.instrument_id,
            stop_px=self.stop_px, **self.shared,
        )  # fmt: skip


class Suspended(_Reasoned):
    """[150=9] The order rests outside the market until a later report shows that it works again."""

    model_config = _example("suspended", 20, reason="trading halt")
    type: Literal["suspended"]

    def report(self) -> OrderReport:
        """Return the event of the domain."""
        return OrderSuspended(self.key, self.reason, self.transact_time.at, **self.shared)


class DoneForDay(StateReportFields):
    """[150=3] No more today. An order good beyond the day stays open until the venue restates it."""

    model_config = _example("done_for_day", 21)
    type: Literal["done_for_day"]

    def report(self) -> OrderReport:
        """Return the event of the domain."""
        return OrderDoneForDay(self.key, self.transact_time.at, **self.shared)


class Canceled(_Reasoned):
    """[150=4] The rest of the order is canceled, requested or not."""

    model_config = _example("canceled", 24, reason="as requested")
    type: Literal["canceled"]

    def report(self) -> OrderReport:
        """Return the event of the domain."""
        return OrderCanceled(self.key, self.reason, self.transact_time.at, **self.shared)


class Expired(_Reasoned):
    """[150=C] The rest of the order has run out of time."""

    model_config = _example("expired", 25, cl_ord_id="A-20", reason="end of day")
    type: Literal["expired"]

    def report(self) -> OrderReport:
        """Return the event of the domain."""
        return OrderExpired(self.key, self.reason, self.transact_time.at, **self.shared)


class Calculated(StateReportFields):
    """[150=B] The order is complete and its charges are computed."""

    model_config = _example("calculated", 26, cl_ord_id="A-21")
    type: Literal["calculated"]

    def report(self) -> OrderReport:
        """Return the event of the domain."""
        return OrderCalculated(self.key, self.transact_time.at, **self.shared)


OfOrder = (
    PendingNew | Accepted | Rejected | Triggered | Corrected | Busted | PendingCancel | CancelRejected | PendingReplace
    | ReplaceRejected | Replaced | Restated | Suspended | DoneForDay | Canceled | Expired | Calculated
)  # fmt: skip
OF_ORDERS: tuple[type[StateReportFields], ...] = get_args(OfOrder)
