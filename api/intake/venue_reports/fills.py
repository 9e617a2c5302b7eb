"""Schemas of venue reports on fills and their fees."""

from typing import Literal, Self

from msgspec.structs import replace
from pydantic import Field, StrictInt, model_validator

from api.http.fields import ExecutionId, InstrumentId, Leg, Name, Number, Positive, RequestBody, VenueTime, unreadable
from api.intake.venue_reports.fields import MAIN, Amount, Amounts, OrderReportFields, example
from domain.order import OrderCommissionReported, OrderFilled, OrderKey, OrderReport, adopted_id
from domain.values import ZERO, Liquidity, Money, PositionSide, Side, TradeKind, by_currency


class Commissioned(RequestBody):
    """The fees of a fill: `commission`, or `commissions` where there are several; both if they agree."""

    commission: Amount | None = Field(
        None,
        description="the fee: positive is paid by you, negative is a rebate. Venues that write what you pay as a"
        " negative number need their sign turned. Zero or absent: not known yet; a later report completes it",
    )
    commissions: Amounts | None = Field(
        None,
        description="all fees of the fill, in any currencies: a commission and a tax, or one fee taken from two coins."
        " Signs as for `commission`; several in one currency are summed",
    )

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.commission is not None and self.commissions is not None:
            one = self.commission.money()
            if one.amount and one not in (*self.paid, *by_currency(self.paid)):
                raise unreadable("given with a commission that is among commissions")
        return self

    @property
    def paid(self) -> tuple[Money, ...]:
        """Return the fees, at least one: of zero in no currency where none is known."""
        stated = self.commissions or ([self.commission] if self.commission is not None else [])
        return tuple(amount.money() for amount in stated) or (Money(ZERO, ""),)


class _Executed(Commissioned):
    """The fields of every execution. `trade_seq` is the venue's own trade sequence."""

    instrument_id: InstrumentId
    order_id: Name | Literal[""] = ""
    exec_id: ExecutionId
    trade_seq: StrictInt = Field(0, ge=0, lt=2**63)
    last_qty: Positive
    last_px: Number
    liquidity: Liquidity = Liquidity.UNKNOWN
    position_side: Leg = PositionSide.BOTH
    transact_time: VenueTime

    def _executed(self, key: OrderKey, strategy_id: str, side: Side) -> OrderFilled:
        """Return the fill of an order."""
        commission, *further = self.paid
        return OrderFilled(
            key, strategy_id=strategy_id, instrument_id=self.instrument_id, order_id=self.order_id,
            side=side, exec_id=self.exec_id, trade_seq=self.trade_seq, last_qty=self.last_qty,
            last_px=self.last_px, commission=commission, further_commissions=tuple(further), liquidity=self.liquidity,
            transact_time=self.transact_time.at, nanos=self.transact_time.nanos, position_side=self.position_side,
        )  # fmt: skip


class FilledReport(OrderReportFields, _Executed):
    """A fill. `trade_seq` is the venue's own trade sequence: it decides between fills of one moment."""

    model_config = example(
        type="filled", account_id="main", cl_ord_id="A-17", instrument_id="BTCUSDT.BINANCE", order_id="V-901",
        side="BUY", exec_id="E-1", trade_seq=1, last_qty="0.5", last_px="97500",
        commission={"amount": "19.5", "currency": "USDT"}, transact_time="2026-01-02T03:04:11.250Z",
    )  # fmt: skip
    type: Literal["filled"]
    strategy_id: Name = MAIN
    side: Side

    def report(self) -> OrderReport:
        """Return the event of the domain."""
        return self._executed(self.key, self.strategy_id, self.side)


class LiquidatedReport(_Executed):
    """A position, or a part of it, was liquidated by its venue: a fill of an order of the venue's own.

    The fill of the same `exec_id`, reported before or after it, is the same execution, and booked once.
    """

    model_config = example(
        type="liquidated", account_id="main", instrument_id="BTCUSDT.BINANCE", side="SELL", exec_id="L-1",
        last_qty="0.5", last_px="61250", commission={"amount": "15.31", "currency": "USDT"},
        insurance={"amount": "91.88", "currency": "USDT"}, transact_time="2026-01-02T03:04:11.250Z",
    )  # fmt: skip
    type: Literal["liquidated", "liquidation"]
    account_id: Name
    cl_ord_id: Name | Literal[""] = Field("", description="of the venue's order, where it has one")
    strategy_id: Name | Literal[""] = Field(
        "", description="by default the only one that holds what is closed; main where several do, or none"
    )
    side: Side | None = Field(None, description="SELL closes a long position; not needed with `position_side`")
    kind: Literal[TradeKind.LIQUIDATION, TradeKind.AUTO_DELEVERAGE] = TradeKind.LIQUIDATION
    insurance: Amount | None = Field(
        None, description="what the venue's insurance fund took beside the commissions; a fee, above zero"
    )

    @model_validator(mode="after")
    def _has_side(self) -> Self:
        if self.side is None and self.position_side is PositionSide.BOTH:
            raise unreadable("given: side, or position_side of a leg")
        return self

    def report(self) -> OrderReport:
        """Return the event of the domain."""
        closing = Side.SELL if self.position_side is PositionSide.LONG else Side.BUY
        cl_ord_id = self.cl_ord_id or ("" if self.order_id else adopted_id(self.instrument_id, "", self.exec_id))
        fill = self._executed(OrderKey(self.account_id, cl_ord_id), self.strategy_id, self.side or closing)
        return replace(fill, kind=self.kind, insurance=self.insurance.money() if self.insurance is not None else None)


class CommissionReport(Commissioned):
    """The fees of a fill, reported apart from it, before or after it. They are booked once.

    The same fees again are known; other ones are a break that shows both, and change nothing.
    """

    model_config = example(
        type="commission", account_id="main", cl_ord_id="A-17", exec_ref_id="E-1",
        commission={"amount": "19.5", "currency": "USDT"}, transact_time="2026-01-02T03:04:11.250Z",
    )  # fmt: skip
    type: Literal["commission"]
    account_id: Name
    cl_ord_id: Name | Literal[""] = Field("", description="may be left out once the fill is on record")
    order_id: Name | Literal[""] = ""
    instrument_id: InstrumentId | Literal[""] = Field(
        "", description="finds the fill where `cl_ord_id` is left out, or is not that of its order"
    )
    exec_ref_id: Name = Field(description="FIX ExecRefID(19): the `exec_id` of the fill")
    transact_time: VenueTime

    @model_validator(mode="after")
    def _has_fees(self) -> Self:
        if self.commission is None and self.commissions is None:
            raise unreadable("given: commission, or commissions where there are several")
        return self

    def report(self) -> OrderReport:
        """Return the event of the domain."""
        commission, *further = self.paid
        at, nanos = self.transact_time
        return OrderCommissionReported(
            OrderKey(self.account_id, self.cl_ord_id), self.exec_ref_id, commission, at, nanos=nanos,
            instrument_id=self.instrument_id, order_id=self.order_id, further_commissions=tuple(further),
        )  # fmt: skip
