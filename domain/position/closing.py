"""Moves and settlements: the transfers and the trade that close or carry over what a position holds."""

from collections.abc import Sequence
from decimal import Decimal

from msgspec.structs import replace

from domain.errors import ReportUnreadable, RequestRefused
from domain.instrument import AmendInstrument, Kind, RedenominateInstrument
from domain.names import joined
from domain.position import costing
from domain.position.costing import Lot
from domain.position.events import Filled, MovePosition, SettleContract, Transfer, TransferReason
from domain.position.position import Position
from domain.values import ZERO, Liquidity, Money, PositionSide, Side, TradeKind, divide, exact


def check_transfer(position: Position | None, report: Transfer) -> None:
    """Check that the lots a transfer brings are the quantity and cost it states. Raises ReportUnreadable."""
    if not report.lots or (position is not None and report.transfer_id in position.transfers):
        return
    ids = [lot.lot_id for lot in report.lots]
    held = {lot.lot_id for lot in position.book.lots} if position is not None else set()
    if len(set(ids)) < len(ids) or not held.isdisjoint(ids):
        first = next(lot_id for lot_id in ids if lot_id in held or ids.count(lot_id) > 1)
        raise ReportUnreadable("lots", first, "a new lot: each is named once, by an id no open lot of the position has")
    quantity, cost = (exact(sum((getattr(lot, name) for lot in report.lots), ZERO)) for name in ("quantity", "cost"))
    _check_sum("quantity", quantity, exact(report.side.sign * report.quantity))
    _check_sum("cost", cost, report.cost)


def _check_sum(name: str, total: Decimal, stated: Decimal) -> None:
    if total != stated:
        raise ReportUnreadable("lots", f"{total:f}", f"the {name} of the transfer, {stated:f}, which its lots sum to")


def moved(position: Position | None, request: MovePosition, there: Position | None = None) -> tuple[Transfer, ...]:
    """The two transfers, out and in, that a move consists of; () if it is on record. Raises RequestRefused.

    `position` is the one moved from, `there` the one moved to.
    """
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
    if _is_moved(position, there, request):
        return ()
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


def _is_moved(position: Position | None, there: Position | None, request: MovePosition) -> bool:
    """Whether this very move is on record. Raises RequestRefused if its id names something else."""
    left = position.transfers.get(request.transfer_id) if position is not None else None
    if left is not None and (left.counterparty, left.quantity) == (request.to, request.quantity):
        return True
    arrived = there.transfers.get(request.transfer_id) if there is not None else None
    for known in (left, arrived):
        if known is not None:
            raise RequestRefused(
                "one transfer_id names one transfer", transfer_id=request.transfer_id, quantity=known.quantity,
                account_id=known.key.account_id, strategy_id=known.key.strategy_id,
            )  # fmt: skip
    return False


def resized(position: Position, size: Decimal, request: AmendInstrument) -> tuple[Transfer, ...]:
    """The two transfers, out and in, that turn what is held into contracts of another size than `size`, at its cost.

    Raises RequestRefused where that is not exact, or something happened since.
    """
    held, at, new = position.quantity, request.effective_at, request.contract.contract_size
    if position.last is not None and position.last.transact_time >= at:
        raise RequestRefused(
            "a contract size changes after what is on record", effective_at=at, last=position.last.transact_time,
            account_id=position.key.account_id, strategy_id=position.key.strategy_id,
        )  # fmt: skip
    if not held or position.costing is None:
        return ()
    cost, lots = costing.release(position.book, abs(held), position.costing)
    out_side, in_side = (Side.SELL, Side.BUY) if held > 0 else (Side.BUY, Side.SELL)
    name = f"resized-{at:%Y%m%dT%H%M%S}"
    leaving = Transfer(
        position.key, f"{name}-1", side=out_side, quantity=abs(held), cost=exact(-cost), transact_time=at,
        reason=TransferReason.ADJUSTMENT,
    )  # fmt: skip
    arriving = Transfer(
        position.key, f"{name}-2", side=in_side, quantity=_in_size(abs(held), size, new), cost=cost, transact_time=at,
        reason=TransferReason.ADJUSTMENT,
        lots=tuple(
            replace(
                lot, lot_id=f"{lot.lot_id}@{name}", quantity=_in_size(lot.quantity, size, new),
                opened_quantity=_in_size(lot.opened_quantity, size, new),
            )
            for lot in lots
        ),
    )  # fmt: skip
    return leaving, arriving


def redenominated(position: Position, there: Position | None, request: RedenominateInstrument) -> tuple[Transfer, ...]:
    """The two transfers, out and in, that turn what is held into another instrument, at its cost and with its lots.

    Quantities that are no decimal are rounded at 18 places, their sum first; the last lot has the rest. Cost is kept to
    the last digit. Raises RequestRefused where something happened since, or the id names another transfer.
    """
    held, at = position.quantity, request.effective_at
    if not held or position.costing is None:
        return ()
    if position.last is not None and position.last.transact_time > at:
        raise RequestRefused(
            "a redenomination comes after what is on record", effective_at=at, last=position.last.transact_time,
            account_id=position.key.account_id, strategy_id=position.key.strategy_id,
        )  # fmt: skip
    new_key = replace(position.key, instrument_id=request.to_instrument_id)
    name = request.redenomination_id
    is_same = new_key == position.key
    for known in (position, there):
        if known is not None and (name in known.transfers or f"{name}-2" in known.transfers):
            raise RequestRefused("one transfer_id names one transfer", transfer_id=name, quantity=known.quantity)
    cost, lots = costing.release(position.book, abs(held), position.costing)
    out_side, in_side = (Side.SELL, Side.BUY) if held > 0 else (Side.BUY, Side.SELL)
    quantity = divide(abs(held) * request.units, request.per)
    leaving = Transfer(
        position.key, name, side=out_side, quantity=abs(held), cost=exact(-cost), transact_time=at,
        reason=TransferReason.REDENOMINATION, counterparty=new_key,
    )  # fmt: skip
    arriving = Transfer(
        new_key, f"{name}-2" if is_same else name, side=in_side, quantity=quantity, cost=cost, transact_time=at,
        reason=TransferReason.REDENOMINATION, counterparty=position.key,
        lots=_lots_in(lots, quantity.copy_sign(held), request),
    )  # fmt: skip
    return leaving, arriving


def _lots_in(lots: Sequence[Lot], whole: Decimal, request: RedenominateInstrument) -> tuple[Lot, ...]:
    """Lots in other units, which sum to `whole`. They keep cost and age."""
    made, left = [], whole
    for number, lot in enumerate(lots, 1):
        quantity = left if number == len(lots) else divide(lot.quantity * request.units, request.per)
        left = exact(left - quantity)
        name = joined(lot.lot_id, request.redenomination_id, by="@")
        made.append(replace(lot, lot_id=name, quantity=quantity, opened_quantity=quantity))
    return tuple(made)


def _in_size(quantity: Decimal, size: Decimal, new: Decimal) -> Decimal:
    """A quantity of contracts in contracts of another size. Raises RequestRefused where that is not exact."""
    found = divide(quantity * size, new)
    if exact(found * new) != exact(quantity * size):
        raise RequestRefused("what is held is a number of the new contracts", quantity=quantity, contract_size=new)
    return found


def settled(position: Position | None, request: SettleContract) -> Filled | None:
    """The trade that closes what is held of an expired contract; None if it is on record. Raises RequestRefused."""
    if position is not None and request.settlement_id in position.settlement_ids:
        if not position.quantity and _is_settled_at(position, request):
            return None
        raise RequestRefused("one settlement_id names one settlement", settlement_id=request.settlement_id)
    if position is None or position.contract is None or not position.quantity:
        raise RequestRefused(
            "an open position to settle", instrument_id=request.key.instrument_id, account_id=request.key.account_id,
            strategy_id=request.key.strategy_id,
        )  # fmt: skip
    contract = position.contract
    if contract.expiry is None:
        raise RequestRefused("only what expires is settled", instrument_id=request.key.instrument_id, expiry=None)
    if request.transact_time < contract.expiry:
        raise RequestRefused("a contract is settled at its expiry", expiry=contract.expiry, at=request.transact_time)
    is_any_number = contract.kind is Kind.LINEAR  # of an option or inverse contract the underlying is above zero
    if not request.underlying_px.is_finite() or (request.underlying_px <= 0 and not is_any_number):
        raise RequestRefused("an underlying price above zero", underlying_px=request.underlying_px)
    return Filled(
        request.key, contract, cl_ord_id="", exec_id=request.settlement_id, trade_seq=0,
        side=Side.SELL if position.quantity > 0 else Side.BUY, last_qty=abs(position.quantity),
        last_px=contract.settlement_price(request.underlying_px), commission=Money(ZERO, contract.settle),
        liquidity=Liquidity.UNKNOWN, transact_time=request.transact_time,
        kind=TradeKind.EXERCISE if contract.kind is Kind.OPTION else TradeKind.SETTLEMENT,
    )  # fmt: skip


def _is_settled_at(position: Position, request: SettleContract) -> bool:
    """Whether the settlement on record, where it is among the latest entries, was at this underlying price."""
    price = position.contract.settlement_price(request.underlying_px) if position.contract else None
    booked = (item.entry for item in position.tail if item.entry.occurrence.exec_id == request.settlement_id)
    return all(entry.price == price for entry in booked)
