"""Moves and settlements: the transfers and the trade that close or carry over what a position holds."""

from msgspec.structs import replace

from domain.errors import RequestRefused
from domain.instrument import Kind
from domain.names import joined
from domain.position import costing
from domain.position.events import Filled, MovePosition, SettleContract, TradeKind, Transfer, TransferReason
from domain.position.position import Position
from domain.values import ZERO, Liquidity, Money, PositionSide, Side, exact


def moved(position: Position | None, request: MovePosition) -> tuple[Transfer, Transfer]:
    """The two transfers, out and in, that a move consists of. Raises RequestRefused."""
    held = position.quantity if position else ZERO
    if not request.quantity.is_finite() or request.quantity <= 0:
        raise RequestRefused("a quantity above zero", quantity=request.quantity)
    if request.key == request.to or request.key.instrument_id != request.to.instrument_id:
        raise RequestRefused(
            "a move is to another holder of the same instrument", instrument_id=request.to.instrument_id
        )
    legs = {request.key.position_side, request.to.position_side}
    if legs == {PositionSide.LONG, PositionSide.SHORT}:
        raise RequestRefused("a move is not from one leg to the other", position_side=request.to.position_side)
    if position is None or position.costing is None or request.quantity > abs(held):
        raise RequestRefused("no more is moved than is held", quantity=request.quantity, held=held)
    if position.last is not None and request.transact_time < position.last.transact_time:
        raise RequestRefused(
            "a move comes after what is on record",
            transact_time=request.transact_time,
            last=position.last.transact_time,
        )
    cost, lots = costing.release(position.book, request.quantity, position.costing)
    carried = tuple(replace(lot, lot_id=joined(lot.lot_id, request.transfer_id, by="@")) for lot in lots)
    out_side, in_side = (Side.SELL, Side.BUY) if held > 0 else (Side.BUY, Side.SELL)
    leaving = Transfer(
        request.key, request.transfer_id, side=out_side, quantity=request.quantity, cost=exact(-cost),
        transact_time=request.transact_time, reason=TransferReason.INTERNAL, counterparty=request.to,
    )  # fmt: skip
    arriving = Transfer(
        key=request.to, transfer_id=request.transfer_id, side=in_side, quantity=request.quantity, cost=cost,
        transact_time=request.transact_time, reason=TransferReason.INTERNAL, counterparty=request.key, lots=carried,
    )  # fmt: skip
    return leaving, arriving


def settled(position: Position | None, request: SettleContract) -> Filled | None:
    """The trade that closes what is held of an expired contract; None if nothing is. Raises RequestRefused."""
    if position is None or position.contract is None or not position.quantity:
        return None
    contract = position.contract
    if contract.expiry is None or request.transact_time < contract.expiry:
        raise RequestRefused("a contract is settled at its expiry", expiry=contract.expiry, at=request.transact_time)
    if not request.underlying_px.is_finite() or request.underlying_px <= 0:
        raise RequestRefused("an underlying price above zero", underlying_px=request.underlying_px)
    if request.settlement_id in position.settlement_ids:
        raise RequestRefused("one settlement_id names one settlement", settlement_id=request.settlement_id)
    return Filled(
        request.key, contract, cl_ord_id="", exec_id=request.settlement_id, trade_seq=0,
        side=Side.SELL if position.quantity > 0 else Side.BUY, last_qty=abs(position.quantity),
        last_px=contract.settlement_price(request.underlying_px), commission=Money(ZERO, contract.settle),
        liquidity=Liquidity.UNKNOWN, transact_time=request.transact_time,
        kind=TradeKind.EXERCISE if contract.kind is Kind.OPTION else TradeKind.SETTLEMENT,
    )  # fmt: skip
