"""Process manager of dead man's switches: fire those whose countdown has passed, and cancel the orders of their scope.

`react` and `due` are of the shape of `domain.policies`: pure, and the same log causes the same requests under the same
ids. The deadlines are beside the log: the runner gives those that have passed to `with_passed` before `due`.

PASSED    a switch whose countdown has passed is fired, once for each time that it was armed.
FIRED     a switch that has fired cancels every working order of its scope that was on record before; where it halts, it
          engages the kill switch of the scope first.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from domain.access import Part
from domain.immutable import PersistentMap
from domain.ledger import Logged
from domain.order import CancelOrders, OrderKey
from domain.risk import (
    DeadManSwitchArmed,
    DeadManSwitchDisarmed,
    DeadManSwitchFired,
    EngageSwitch,
    FireDeadManSwitch,
    HoldAdjusted,
    HoldExpired,
    HoldPlaced,
    HoldPosted,
    HoldVoided,
    Mode,
    Scope,
)
from domain.values import exact

ACTOR = "policy:DEAD_MAN"
CANCELED_MAX = 250  # orders by one request
SwitchAt = tuple[str, str]  # account, and strategy or ""


class Working(Struct, frozen=True, gc=False):
    """A working order's strategy, and the quantity it still holds."""

    strategy_id: str
    quantity: Decimal


Orders = PersistentMap[str, Working]  # by ClOrdID


class Passed(Struct, frozen=True):
    """A countdown that has passed: of the switch armed as `version`, last extended at `extended_at`."""

    account_id: str
    strategy_id: str | None
    version: int
    extended_at: datetime
    deadline: datetime


class Reaction(Struct, frozen=True):
    """A request that follows, under an id that is the same whenever it is made for the same reason."""

    request: FireDeadManSwitch | EngageSwitch | CancelOrders
    request_id: str

    @property
    def actor(self) -> str:
        """The actor of the request."""
        return ACTOR

    @property
    def identity(self) -> Part:
        """The identity that the request is recorded under."""
        return Part(ACTOR)


class State(Struct, frozen=True):
    """The switches that are armed, the working orders by account with what they hold, and the countdowns passed."""

    armed: PersistentMap[SwitchAt, DeadManSwitchArmed] = PersistentMap()
    working: PersistentMap[str, Orders] = PersistentMap()
    passed: tuple[Passed, ...] = ()


_NO_ORDERS: Orders = PersistentMap()


def with_passed(state: State, passed: Iterable[Passed]) -> State:
    """The state with the countdowns that have passed now."""
    return replace(state, passed=tuple(passed))


def react(state: State, logged: Logged) -> tuple[State, tuple[Reaction, ...]]:
    """The state after an event, and the requests it causes."""
    event = logged.recorded.event
    state = evolve(state, event)
    if isinstance(event, DeadManSwitchFired):
        return state, tuple(_on_fired(state, event, logged.recorded.recorded_at, logged.seq))
    return state, ()


def due(state: State, now: datetime) -> tuple[State, tuple[Reaction, ...]]:
    """The requests that the passing of time causes: each armed switch whose countdown has passed is fired."""
    reactions = []
    for each in state.passed:
        armed: DeadManSwitchArmed | None = state.armed.get((each.account_id, each.strategy_id or ""))
        if armed is None or armed.version != each.version or each.deadline > now:
            continue
        request = FireDeadManSwitch(
            each.account_id, each.strategy_id, each.version, extended_at=each.extended_at, deadline=each.deadline,
            transact_time=now,
        )  # fmt: skip
        name = "-".join(("dead-man", each.account_id, each.strategy_id or "", str(each.version)))
        reactions.append(Reaction(request, name))
    return replace(state, passed=()), tuple(reactions)


def _on_fired(state: State, event: DeadManSwitchFired, at: datetime, seq: int) -> Iterator[Reaction]:
    reason = f"dead man's switch: no sign of life for {event.countdown_ms} ms"
    if event.halts:
        halt = EngageSwitch(event.account_id, Scope(event.strategy_id), Mode.HALT, reason, transact_time=at)
        yield Reaction(halt, f"dead-man-{seq}-halt")
    orders: Orders = state.working.get(event.account_id, _NO_ORDERS)
    names = sorted(name for name, order in orders.items() if event.strategy_id in (None, order.strategy_id))
    for number, first in enumerate(range(0, len(names), CANCELED_MAX)):
        part = tuple(names[first : first + CANCELED_MAX])
        yield Reaction(CancelOrders(event.account_id, part, reason, at), f"dead-man-{seq}-{number}")


def evolve(state: State, event: Any) -> State:
    """The state after an event. Total: events that no switch reads change nothing."""
    match event:
        case DeadManSwitchArmed():
            return replace(state, armed=state.armed.put((event.account_id, event.strategy_id or ""), event))
        case DeadManSwitchDisarmed() | DeadManSwitchFired():
            return replace(state, armed=state.armed.drop((event.account_id, event.strategy_id or "")))
        case HoldPlaced() | HoldAdjusted():
            return _holding(state, event.key, Working(event.strategy_id, event.quantity))
        case HoldPosted() if event.released:
            order: Working | None = state.working.get(event.key.account_id, _NO_ORDERS).get(event.key.cl_ord_id)
            if order is None:
                return state
            return _holding(state, event.key, Working(order.strategy_id, exact(order.quantity - event.released)))
        case HoldVoided() | HoldExpired():
            return _holding(state, event.key, None)
        case _:
            return state


def _holding(state: State, key: OrderKey, order: Working | None) -> State:
    orders: Orders = state.working.get(key.account_id, _NO_ORDERS)
    if order is not None and order.quantity > 0:
        orders = orders.put(key.cl_ord_id, order)
    else:
        orders = orders.drop(key.cl_ord_id)
    return replace(state, working=state.working.put(key.account_id, orders))
