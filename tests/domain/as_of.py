"""As of a moment: what we knew then, and what was true then as we know it now. Two pure functions of one history.

`as_recorded` folds what had been recorded by the moment: late fills, busts and corrections that came afterwards are
not in it. `as_occurred` takes everything known, and of that what had happened by the moment; it does not depend on the
order in which the reports arrived. At the end of history both are the current book.
"""

from collections.abc import Iterable
from datetime import datetime
from functools import reduce
from typing import assert_never

from msgspec.structs import replace

from domain import position
from domain.ledger import Recorded
from domain.position import (
    Booking,
    ContractDelivered,
    FundingSettled,
    LotsAssigned,
    Position,
    PositionBroken,
    PositionEvent,
    PositionRestated,
    PositionTransferred,
    TradeBooked,
    TradeReversed,
    costing,
)


def as_recorded(history: Iterable[Recorded], moment: datetime) -> Position | None:
    """The position as the book had it at `moment` of `recorded_at`; None if nothing was on record."""
    known = (recorded.event for recorded in history if recorded.recorded_at <= moment)
    return reduce(position.evolve, known, None)


def as_occurred(history: Iterable[Recorded], moment: datetime) -> Position | None:
    """The position as it was at `moment` of `transact_time`, by all that is known of it; None if there was none."""
    bookings, fundings, assigned = _standing(recorded.event for recorded in history)
    held: Position | None = None
    for booking in sorted(bookings.values(), key=lambda booking: position.entry_of(booking).occurrence):
        if booking.transact_time > moment:
            break
        held = position.evolve(held, _rebooked(booking, held, assigned))
    for funding in fundings:
        if funding.transact_time <= moment:
            held = position.evolve(held, funding)
    return held


def _standing(
    events: Iterable[PositionEvent],
) -> tuple[dict[tuple[str, str], Booking], list[FundingSettled], dict[str, tuple[str, ...]]]:
    """What happened and was not taken back: bookings by their place, funding payments, lots assigned by exec id."""
    bookings: dict[tuple[str, str], Booking] = {}
    fundings: list[FundingSettled] = []
    assigned: dict[str, tuple[str, ...]] = {}
    for event in events:
        match event:
            case TradeBooked() | PositionTransferred():
                bookings[type(event).__name__, position.entry_of(event).occurrence.exec_id] = event
            case TradeReversed():
                bookings.pop(("TradeBooked", event.exec_id), None)
            case FundingSettled():
                fundings.append(event)
            case LotsAssigned():
                assigned[event.exec_id] = event.lot_ids
            case PositionRestated() | PositionBroken() | ContractDelivered():
                pass
            case _:
                assert_never(event)
    return bookings, fundings, assigned


def _rebooked(event: Booking, held: Position | None, assigned: dict[str, tuple[str, ...]]) -> Booking:
    """A booking with the effect it has after all that occurred before it, as if it had come in order."""
    book = held.book if held is not None else costing.empty(event.costing.cost_basis)
    entry = position.entry_of(event)
    entry = replace(entry, lot_ids=assigned.get(entry.occurrence.exec_id, ()))
    return replace(event, effect=costing.effect_of(book, entry, event.costing), is_late=False)
