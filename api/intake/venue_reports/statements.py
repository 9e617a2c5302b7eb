"""Schemas of venue statements and of evidence: what a venue says an account has, and what it said word for word."""

from collections.abc import Callable
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from api.http.fields import (
    CurrencyCode,
    InstrumentId,
    Leg,
    Name,
    Number,
    Positive,
    RequestBody,
    Text,
    Time,
    VenueTime,
    unreadable,
)
from api.intake.venue_reports.fields import MAIN, Amount, example
from domain import account
from domain.account import RawReportKept
from domain.errors import InvalidInput
from domain.instrument import Instrument, Kind
from domain.values import ZERO, Liquidity, PositionSide, Side, stated_leg

LINES_MAX = 10_000
RAW_CHARACTERS_MAX = 65_536


class StatedBalance(RequestBody):
    """The total of one currency, held and locked together, without unrealized PnL."""

    currency: CurrencyCode
    amount: Number


class StatedPosition(RequestBody):
    """The net of one derivative: above zero long, below zero short. A spot holding is a balance.

    In hedge mode a line for each leg, with its `position_side`: then the legs are compared, and not their net.
    """

    instrument_id: InstrumentId
    quantity: Number = Field(description="signed, also of a SHORT leg: below zero")
    avg_px: Number | None = Field(None, description="the average entry price")
    position_side: Leg = PositionSide.BOTH

    @model_validator(mode="after")
    def _is_of_its_leg(self) -> Self:
        if (opening := self.position_side.opening) is not None and self.quantity * opening.sign < 0:
            raise unreadable("a quantity above zero of a LONG leg, below zero of a SHORT one")
        return self


class StatedOrder(RequestBody):
    """A working order."""

    order_id: Name
    cl_ord_id: Name | Literal[""] = ""
    instrument_id: InstrumentId
    side: Side
    order_qty: Positive
    cum_qty: Number = ZERO
    price: Number | None = None
    position_side: Leg = PositionSide.BOTH


class StatedFill(RequestBody):
    """A fill, in the words of a `filled` report."""

    exec_id: Name
    trade_seq: int = Field(0, ge=0, lt=2**63, strict=True)
    order_id: Name | Literal[""] = ""
    cl_ord_id: Name | Literal[""] = ""
    instrument_id: InstrumentId
    side: Side
    last_qty: Positive
    last_px: Number
    commission: Amount
    liquidity: Liquidity = Liquidity.UNKNOWN
    transact_time: VenueTime
    position_side: Leg = PositionSide.BOTH


class VenueStatement(RequestBody):
    """What a venue says an account has, as of `transact_time`.

    A section that is left out is not compared; one that is given is complete: what it leaves out is zero there. Each
    difference from our records as of that moment becomes a break of kind RECONCILIATION; one that is no longer found
    is resolved. The newest statement of a section decides: one of before shows its differences and changes none.
    """

    model_config = example(
        type="statement", account_id=MAIN, venue="BINANCE", statement_id="S-20260102-05",
        balances=[{"currency": "USDT", "amount": "10340.5"}],
        open_orders=[
            {
                "order_id": "V-901", "cl_ord_id": "A-17", "instrument_id": "BTCUSDT.BINANCE", "side": "BUY",
                "order_qty": "2", "cum_qty": "0", "price": "97500",
            }
        ],
        transact_time="2026-01-02T05:00:00Z",
    )  # fmt: skip
    type: Literal["statement"]
    account_id: Name
    venue: CurrencyCode | Literal[""] = Field("", description="whose statement it is; without one, of all venues")
    statement_id: Name
    balances: Annotated[list[StatedBalance], Field(max_length=LINES_MAX)] | None = None
    positions: Annotated[list[StatedPosition], Field(max_length=LINES_MAX)] | None = None
    open_orders: Annotated[list[StatedOrder], Field(max_length=LINES_MAX)] | None = None
    fills: Annotated[list[StatedFill], Field(max_length=LINES_MAX)] | None = Field(
        None, description="all since `fills_from`"
    )
    fills_from: Time | None = None
    source: Text = ""
    transact_time: VenueTime

    def check_listed(self, listed: Callable[[str], Instrument | None]) -> None:
        """Check that positions are of derivatives. Raises InvalidInput."""
        for number, line in enumerate(self.positions or ()):
            known = listed(line.instrument_id)
            if known is not None and known.contract.kind is Kind.SPOT:
                rule = "a derivative; a spot holding is a balance"
                raise InvalidInput(f"positions.{number}.instrument_id", line.instrument_id, rule)

    def report(self) -> account.Statement:
        """Return the report of the domain."""
        return account.Statement(
            self.account_id, self.venue, self.statement_id, self.transact_time.at,
            balances=None if self.balances is None else tuple(
                account.BalanceLine(line.currency, line.amount) for line in self.balances
            ),
            positions=None if self.positions is None else tuple(
                account.PositionLine(
                    line.instrument_id, line.quantity, line.avg_px, position_side=stated_leg(line.position_side)
                )
                for line in self.positions
            ),
            open_orders=None if self.open_orders is None else tuple(
                account.OrderLine(
                    line.order_id, line.cl_ord_id, line.instrument_id, line.side, order_qty=line.order_qty,
                    cum_qty=line.cum_qty, price=line.price, position_side=stated_leg(line.position_side),
                )
                for line in self.open_orders
            ),
            fills=None if self.fills is None else tuple(
                account.FillLine(
                    line.exec_id, line.trade_seq, line.order_id, line.cl_ord_id, instrument_id=line.instrument_id,
                    side=line.side, last_qty=line.last_qty, last_px=line.last_px,
                    commission=line.commission.money(), transact_time=line.transact_time.at, liquidity=line.liquidity,
                    position_side=stated_leg(line.position_side),
                )
                for line in self.fills
            ),
            fills_from=self.fills_from, source=self.source,
        )  # fmt: skip


class RawReport(RequestBody):
    """What a venue sent, kept word for word as evidence; it books nothing. Reports that cannot be read are kept so."""

    model_config = example(
        type="raw", account_id=MAIN, venue="BINANCE", source="ws:executionReport", raw='{"e":"balanceUpdate"}',
        reason="no reading for this message yet",
    )  # fmt: skip
    type: Literal["raw"]
    account_id: Name
    venue: CurrencyCode
    source: Text = "api"
    raw: Annotated[str, Field(strict=True, min_length=1, max_length=RAW_CHARACTERS_MAX)]
    reason: Text = "sent as evidence"

    def report(self) -> RawReportKept:
        """Return the report of the domain."""
        return RawReportKept(self.account_id, self.venue, source=self.source, raw=self.raw, reason=self.reason)
