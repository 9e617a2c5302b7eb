"""What is open: working orders with what they still hold, and positions, by account, strategy and instrument."""

from decimal import Decimal
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from domain.immutable import PersistentMap
from domain.order import OrderKey
from domain.risk import HoldAdjusted, HoldExpired, HoldPlaced, HoldPosted, HoldVoided
from domain.values import ZERO, Side, exact

READS = (HoldPlaced, HoldAdjusted, HoldPosted, HoldVoided, HoldExpired)


class Working(Struct, frozen=True):
    """A working order and the quantity it still holds."""

    strategy_id: str
    instrument_id: str
    side: Side
    quantity: Decimal
    asset: str | None


class Open(Struct, frozen=True):
    """Working orders, and signed positions by account, strategy and instrument; flat ones are left out."""

    working: PersistentMap[OrderKey, Working] = PersistentMap()
    positions: PersistentMap[tuple[str, str, str], Decimal] = PersistentMap()


def evolve(state: Open, event: Any) -> Open:
    """What is open after an event. Total: other events change nothing."""
    match event:
        case HoldPlaced() | HoldAdjusted():
            asset = event.contract.base if event.contract else None
            order = Working(event.strategy_id, event.instrument_id, event.side, event.quantity, asset=asset)
            return _working(state, event.key, order)
        case HoldPosted():
            return _posted(state, event)
        case HoldVoided() | HoldExpired():
            return replace(state, working=state.working.drop(event.key))
        case _:
            return state


def _working(state: Open, key: OrderKey, order: Working) -> Open:
    working = state.working.put(key, order) if order.quantity > 0 else state.working.drop(key)
    return replace(state, working=working)


def _posted(state: Open, event: HoldPosted) -> Open:
    at = (event.key.account_id, event.strategy_id, event.instrument_id)
    quantity = exact(state.positions.get(at, ZERO) + event.quantity)
    positions = state.positions.put(at, quantity) if quantity else state.positions.drop(at)
    state = replace(state, positions=positions)
    order: Working | None = state.working.get(event.key)
    if order is None or not event.released:
        return state
    return _working(state, event.key, replace(order, quantity=exact(order.quantity - event.released)))
