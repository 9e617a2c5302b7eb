"""Entries of a position: reports and bookings as costing sees them, and the events that reports become."""

from collections.abc import Sequence
from decimal import Decimal

from domain.account import Costing
from domain.instrument import Contract, Kind
from domain.position.costing import Effect, Entry
from domain.position.events import (
    AssignLots,
    Booking,
    Filled,
    PositionBroken,
    PositionTransferred,
    Reverse,
    TradeBooked,
    Transfer,
)
from domain.values import Occurrence, PositionSide, exact


def occurrence_of(report: Filled | Reverse | Transfer | AssignLots | Booking) -> Occurrence:
    """The occurrence of the entry that a report or booking is about."""
    if isinstance(report, Filled | TradeBooked):
        return _trade_at(report)
    if isinstance(report, Transfer | PositionTransferred):
        return Occurrence(report.transact_time, 0, report.transfer_id)
    nanos = report.nanos if isinstance(report, Reverse) else 0
    return Occurrence(report.transact_time, report.trade_seq, report.exec_id, nanos)


def _trade_at(trade: Filled | TradeBooked) -> Occurrence:
    tie = f"{trade.side} {trade.cl_ord_id}"
    return Occurrence(trade.transact_time, trade.trade_seq, trade.exec_id, nanos=trade.nanos, tie=tie)


def contract_of(report: Filled | Transfer) -> Contract:
    """The contract of a report; the ledger fills it in."""
    assert report.contract is not None, "the ledger fills in the contract"
    return report.contract


def entry_of_report(report: Filled | Transfer) -> Entry:
    """A report as costing sees it."""
    place, contract = occurrence_of(report), contract_of(report)
    if isinstance(report, Transfer):
        return Entry(
            occurrence=place,
            contract=contract,
            side=report.side,
            quantity=report.quantity,
            price=None,
            commission=None,
            cost=report.cost,
            lots=report.lots,
            is_at_cost=report.is_at_cost or report.counterparty is not None,
        )
    return Entry(
        occurrence=place,
        contract=contract,
        side=report.side,
        quantity=report.last_qty,
        price=report.last_px,
        commission=report.commission,
        further_commissions=report.further_commissions,
    )


def entry_of(event: Booking) -> Entry:
    """A booking as costing sees it."""
    if isinstance(event, PositionTransferred):
        return Entry(
            occurrence=occurrence_of(event),
            contract=event.contract,
            side=event.side,
            quantity=event.quantity,
            price=None,
            commission=None,
            cost=event.cost,
            lots=event.lots,
            is_at_cost=event.is_at_cost or event.counterparty is not None,
        )
    return Entry(
        occurrence=occurrence_of(event),
        contract=event.contract,
        side=event.side,
        quantity=event.last_qty,
        price=event.last_px,
        commission=event.commission,
        further_commissions=event.further_commissions,
    )


def booking(report: Filled | Transfer, costing_: Costing, effect: Effect, *, is_late: bool) -> Booking:
    """The event that books a report with its effect."""
    if isinstance(report, Transfer):
        return PositionTransferred(
            report.key, contract=contract_of(report), costing=costing_, transfer_id=report.transfer_id,
            side=report.side, quantity=report.quantity, cost=report.cost, transact_time=report.transact_time,
            effect=effect, is_late=is_late, reason=report.reason, counterparty=report.counterparty, lots=report.lots,
            is_at_cost=report.is_at_cost,
        )  # fmt: skip
    return TradeBooked(
        report.key, report.contract, costing_, report.cl_ord_id, exec_id=report.exec_id, trade_seq=report.trade_seq,
        side=report.side, last_qty=report.last_qty, last_px=report.last_px, commission=report.commission,
        liquidity=report.liquidity, transact_time=report.transact_time, effect=effect, is_late=is_late,
        kind=report.kind, nanos=report.nanos, further_commissions=report.further_commissions,
    )  # fmt: skip


def oversold(was: Decimal, bookings: Sequence[Filled | Transfer], quantity: Decimal) -> tuple[PositionBroken, ...]:
    """The break of a position of quantity `was` that has just fallen to where it cannot be: no fill opened it.

    A spot position and a LONG leg are not below zero, a SHORT leg is not above it.
    """
    if not bookings:
        return ()
    last = bookings[-1]
    leg = last.key.position_side
    if leg is PositionSide.BOTH and contract_of(last).kind is not Kind.SPOT:
        return ()
    sign = -1 if leg is PositionSide.SHORT else 1
    if sign * quantity >= 0 or sign * was < 0:
        return ()
    below = "below" if sign > 0 else "above"
    rule = "a spot position is not below zero" if leg is PositionSide.BOTH else f"a {leg} leg is not {below} zero"
    exec_id = occurrence_of(last).exec_id
    return (
        PositionBroken(
            last.key,
            rule=rule,
            exec_id=exec_id,
            quantity=exact(quantity),
            transact_time=last.transact_time,
        ),
    )
