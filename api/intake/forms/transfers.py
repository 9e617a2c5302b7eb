"""Quantity that was transferred in or out, with its cost and its lots."""

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated

from msgspec.structs import replace

from api.intake.forms.fields import LOT, NAME, NUMBER, POSITIVE, TIME, Field
from api.intake.forms.form import Look, Operation, Record
from api.intake.forms.positions import OfPosition, lot_records
from domain import instrument, position
from domain.access import Scope
from domain.errors import InvalidInput, RequestRefused
from domain.instrument import Kind
from domain.position import Lot, Transfer, TransferReason
from domain.values import ZERO, Side, exact

if TYPE_CHECKING:
    from api.daybook import Daybook

WHY = (
    "why it moved. AIRDROP, STAKING, INTEREST and REBATE are income of the cost, in income and net of the PnL; all"
    " others are flows of capital and no gain"
)


def check_cost(look: Look, transfer: Transfer) -> None:
    """Check that a transfer without a stated cost has one of its own: it sends what is held. Raises InvalidInput."""
    if transfer.reason is TransferReason.NETWORK_FEE:
        return
    if transfer.reason.is_disposal:
        raise InvalidInput("cost", None, f"stated for {transfer.reason}")
    if transfer.side is Side.SELL and is_spot(look, transfer.key.instrument_id):
        return
    held = look(position.stream(transfer.key))
    if held is None or held.quantity * transfer.side.sign >= 0:
        raise InvalidInput("cost", None, "stated for what is received; between accounts of yours, move the position")


def is_spot(look: Look, instrument_id: str) -> bool:
    """Whether an instrument is spot, as one is that is not listed."""
    listed = look(instrument.stream(instrument_id))
    return listed is None or listed.contract.kind is Kind.SPOT


class TransferForm(OfPosition, frozen=True, kw_only=True):
    """Book a quantity transferred in (SELL: out): an opening balance, a deposit or withdrawal in kind, income.

    The cost is in settlement currency, signed as the value is: above zero for spot received. What is sent leaves at its
    own cost and realizes nothing, with any stated cost or none: moving is no disposal; late fills correct it. Only
    a DISPOSAL realizes the difference between the stated value (below zero for spot) and the cost, and a NETWORK_FEE a
    loss of the cost. The lots that a transfer brings sum to its quantity and cost, and keep their age; without any it
    opens one of its own. Between two accounts of yours, move the position: cost and lots arrive with it.
    """

    transfer_id: Annotated[str, Field(NAME, "your own id of the transfer")]
    side: Annotated[Side, Field(None, "BUY: received; SELL: sent")] = Side.BUY
    quantity: Annotated[Decimal, Field(POSITIVE, "how much", "--qty")]
    cost: Annotated[
        Decimal | None, Field(NUMBER, "of what is received, signed as its value is; what is sent has its own")
    ] = None  # fmt: skip
    transact_time: Annotated[datetime, Field(TIME, "when it was transferred", "--at")]
    reason: Annotated[TransferReason, Field(None, WHY)] = TransferReason.OPENING
    lots: Annotated[tuple[Lot, ...], Field(LOT, "a lot it brings; may be repeated", "--lot")] = ()

    def transfer(self) -> Transfer:
        """Return the transfer as a report of the domain: lots sent are below zero, as the quantity is."""
        lots = self.lots
        if self.side is Side.SELL:
            lots = tuple(
                replace(lot, quantity=exact(-lot.quantity), opened_quantity=exact(-lot.opened_quantity)) for lot in lots
            )
        return Transfer(
            self.key, transfer_id=self.transfer_id, side=self.side, quantity=self.quantity, cost=self.cost or ZERO,
            transact_time=self.transact_time, reason=self.reason, lots=lots, is_at_cost=not self.reason.is_disposal,
        )  # fmt: skip

    def request(self, daybook: "Daybook", at: datetime) -> Transfer:  # noqa: ARG002
        """Return the report. Raises InvalidInput if it needs a cost and has none."""
        if self.cost is None:
            check_cost(daybook.writer.state, self.transfer())
        elif self.reason is TransferReason.NETWORK_FEE and self.cost:
            raise InvalidInput("cost", self.cost, "absent, or zero: nothing is received for a NETWORK_FEE")
        return self.transfer()

    def record(self, look: Look) -> Record:
        """Return the transfer on record. Raises RequestRefused if that is another one under the same id."""
        wanted = self.transfer()
        booked = look(position.stream(self.key)).transfers[self.transfer_id]
        shared = ["side", "quantity", "transact_time", "reason", "lots"]
        shared += [] if booked.is_at_cost else ["cost"]
        if any(getattr(booked, name) != getattr(wanted, name) for name in shared) or booked.counterparty is not None:
            raise RequestRefused(
                "one transfer_id names one transfer", transfer_id=self.transfer_id, quantity=booked.quantity,
                cost=booked.cost,
            )  # fmt: skip
        return {
            "account_id": self.account_id, "strategy_id": self.strategy_id, "instrument_id": self.instrument_id,
            "transfer_id": self.transfer_id, "side": self.side, "quantity": self.quantity, "cost": booked.cost,
            "transact_time": self.transact_time,
            "position_side": self.position_side, "reason": self.reason, "lots": lot_records(booked.lots),
        }  # fmt: skip


OPERATIONS = (
    Operation(
        "record_transfer", TransferForm, "/transfers", "transfer book", scope=Scope.RECORD,
        answer="TransferAnswer", arguments=("transfer_id",), schema="TransferSubmission",
        said="Transfer {transfer_id} is booked: {side} {quantity} {instrument_id} at a cost of {cost}.",
        example={
            "account_id": "main", "instrument_id": "BTCUSDT.BINANCE", "transfer_id": "T-1", "quantity": "1.5",
            "cost": "97500", "transact_time": "2026-01-01T00:00:00Z", "reason": "DEPOSIT",
            "lots": [
                {"lot_id": "2024-A", "quantity": "1", "cost": "62500", "opened_at": "2024-09-10T12:00:00Z"},
                {"lot_id": "2025-B", "quantity": "0.5", "cost": "35000", "opened_at": "2025-03-02T08:30:00Z"},
            ],
        },
        usage="transfer book T-2 --instrument BTCUSDT.BINANCE --qty 0.5 --cost 45000 --at 2026-01-01T00:00:00Z"
        " --lot 2025-C:0.5:45000:2025-11-20T10:00:00Z",
    ),
)  # fmt: skip
