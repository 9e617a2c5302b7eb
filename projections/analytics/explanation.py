"""Explanation of a cell of a position, its PnL or its exposure by its parts. Pure, over events, lots and a mark.

A cell is either *summed*: every event of the position adds its `share`, or *composed* of other cells by `COMPOSED`, or
*valued*: the quantity at a mark, lot by lot, and the difference between rounding once and rounding each lot. The parts
always sum to the cell, exactly. Units are those of `projections.models.positions` and `projections.analytics.pnl`.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple, TypedDict, assert_never

from domain.position import (
    ContractDelivered,
    Effect,
    FundingSettled,
    Lot,
    LotMatch,
    LotsAssigned,
    PositionBroken,
    PositionEvent,
    PositionRestated,
    PositionTransferred,
    Sums,
    TradeBooked,
    TradeReversed,
    TransferReason,
    expensed,
)
from domain.values import ZERO, Mark, Money, Occurrence, Side, TradeKind, exact
from projections.models.lots import LotRow
from projections.storage.tables import AnyRow, contract_of

EFFECTS = ("quantity", "cost", "realized", "rounding", "fee_cost")
RESTATED = ("cost", "realized", "rounding", "fee_cost")
SUMMED = (*EFFECTS, "fees", "funding", "income", "transferred")
COMPOSED: dict[str, tuple[tuple[int, str], ...]] = {
    "net": (
        (1, "realized"), (1, "rounding"), (1, "unrealized"), (1, "funding"), (1, "income"), (-1, "fee_cost"),
        (-1, "fees_settle"),
    ),
    "unrealized": ((1, "value"), (-1, "cost")),
}  # fmt: skip


def share(event: PositionEvent, cell: str, currency: str | None = None) -> Decimal:
    """Return the amount an event adds to a summed cell; for `fees`, to those in `currency`."""
    match event:
        case TradeBooked():
            return _effect_share(event, cell, currency, 1)
        case TradeReversed():
            return _effect_share(event, cell, currency, -1)
        case PositionTransferred():
            if cell in EFFECTS:
                return Decimal(getattr(event.effect, cell))
            summed_as = "income" if event.reason.is_income else "transferred"
            return event.cost if cell == summed_as else ZERO
        case PositionRestated():
            if cell not in RESTATED:
                return ZERO
            named = sum((getattr(item.now, cell) - getattr(item.was, cell) for item in event.items), ZERO)
            return exact(named + sum((getattr(moved, cell) for moved in event.moved), ZERO))
        case FundingSettled():
            return event.amount.amount if cell == "funding" else ZERO
        case LotsAssigned() | ContractDelivered() | PositionBroken():
            return ZERO
        case _:
            assert_never(event)


def _effect_share(event: TradeBooked | TradeReversed, cell: str, currency: str | None, sign: int) -> Decimal:
    if cell == "fees":
        fees = expensed(event.effect, event.commission)
        return next((sign * fee.amount for fee in fees if fee.currency == currency), ZERO)
    return Decimal(sign * getattr(event.effect, cell)) if cell in EFFECTS else ZERO


class Moved(TypedDict):
    """An entry's effect before and after a restatement."""

    exec_id: str
    was: Sums
    now: Effect


class EventFacts(TypedDict, total=False):
    """Facts of a position's event, as the event has them: which ones depends on its class."""

    exec_id: str
    cl_ord_id: str
    transfer_id: str
    funding_id: str
    side: Side
    last_qty: Decimal
    last_px: Decimal
    commission: Money
    commissions: tuple[Money, ...]
    is_late: bool
    kind: TradeKind
    quantity: Decimal
    cost: Decimal
    reason: str | TransferReason
    closed: tuple[LotMatch, ...]
    opened: tuple[Lot, ...]
    late_exec_ids: tuple[str, ...]
    part: int
    parts: int
    moved: list[Moved]
    since: Occurrence | None
    half_hours: int
    amount: Money
    lot_ids: tuple[str, ...]
    delivery_id: str
    to_instrument_id: str
    settlement_px: Decimal | None
    rule: str


def facts(event: PositionEvent) -> EventFacts:
    """Return the facts of an event: its id at the venue, and the figures of its share."""
    match event:
        case TradeBooked():
            return {
                "exec_id": event.exec_id, "cl_ord_id": event.cl_ord_id, "side": event.side, "last_qty": event.last_qty,
                "last_px": event.last_px, "commission": event.commission, "commissions": event.commissions,
                "is_late": event.is_late, "kind": event.kind,
                "closed": event.effect.closed, "opened": event.effect.opened,
            }  # fmt: skip
        case TradeReversed():
            return {"exec_id": event.exec_id, "reason": event.reason}
        case PositionTransferred():
            return {
                "transfer_id": event.transfer_id, "side": event.side, "quantity": event.quantity, "cost": event.cost,
                "reason": event.reason, "closed": event.effect.closed, "opened": event.effect.opened,
            }  # fmt: skip
        case PositionRestated():
            return {
                "late_exec_ids": event.late_exec_ids, "part": event.part, "parts": event.parts,
                "moved": [{"exec_id": item.exec_id, "was": item.was, "now": item.now} for item in event.items],
                "since": event.since, "half_hours": len(event.moved),
            }  # fmt: skip
        case FundingSettled():
            return {"funding_id": event.funding_id, "amount": event.amount}
        case ContractDelivered():
            return {
                "delivery_id": event.delivery_id, "quantity": event.quantity,
                "to_instrument_id": event.to.instrument_id, "settlement_px": event.settlement_px,
            }  # fmt: skip
        case LotsAssigned():
            return {"exec_id": event.exec_id, "lot_ids": event.lot_ids}
        case PositionBroken():
            return {"exec_id": event.exec_id, "rule": event.rule, "quantity": event.quantity}
        case _:
            assert_never(event)


class ValuedPart(TypedDict):
    """A part of a position: `quantity` in base units or contracts, `cost` and `value` in settlement currency."""

    quantity: Decimal
    cost: Decimal
    value: Decimal


class ValuedLot(ValuedPart):
    """The value of an open lot."""

    lot_id: str
    opened_at: datetime
    seq: int


class Valued(NamedTuple):
    """A position's value: of each open lot, of the `pooled` quantity (held in no lot), and the rounding difference."""

    lots: list[ValuedLot]
    pooled: ValuedPart | None
    rounding: Decimal


def valued(row: AnyRow, opened: Sequence[LotRow], mark: Mark) -> Valued:
    """Value a position at a mark from its open lots. `lots`, `pooled` and `rounding` sum to its value."""
    contract = contract_of(row)
    assert contract is not None, "an open position has a contract"

    def part(quantity: Decimal, cost: Decimal) -> ValuedPart:
        return {"quantity": quantity, "cost": cost, "value": exact(contract.value(quantity, mark.price))}

    lots: list[ValuedLot] = [
        {
            "lot_id": lot["lot_id"],
            "opened_at": lot["opened_at"],
            "seq": lot["seq"],
            **part(lot["quantity"], lot["cost"]),
        }
        for lot in opened
    ]
    quantity = exact(row["quantity"] - sum((lot["quantity"] for lot in lots), ZERO))
    cost = exact(row["cost"] - sum((lot["cost"] for lot in lots), ZERO))
    pooled = part(quantity, cost) if quantity or cost else None
    values = [lot["value"] for lot in lots] + ([pooled["value"]] if pooled else [])
    whole = exact(contract.value(row["quantity"], mark.price))
    return Valued(lots, pooled, exact(whole - sum(values, ZERO)))
