"""SWITCH: an engaged kill switch cancels the working orders of its scope.

At HALT all of them, at REDUCE_ONLY those that do not only close their strategy's position.
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal

from msgspec import Struct
from msgspec.structs import replace

from domain.immutable import PersistentMap
from domain.ledger import Logged
from domain.order import CancelOrder, OrderKey
from domain.policies import Policy, PolicySet, Setting, effective, setting_of
from domain.reactions import open_orders
from domain.reactions.open_orders import Open, Working
from domain.reactions.process import Process, Reaction, Reactions, cause_of
from domain.risk import FIRM, Mode, SwitchEngaged
from domain.values import ZERO, Side

Desk = tuple[str, str, str, Side]  # account, strategy, instrument, and the side of its orders


class State(Struct, frozen=True):
    """The settings by account, and what is open."""

    settings: PersistentMap[str, Setting] = PersistentMap()
    open: Open = Open()


def react(state: State, logged: Logged) -> tuple[State, Reactions]:
    """The state after an event, and the requests it causes."""
    match logged.recorded.event:
        case PolicySet(policy=Policy.SWITCH) as event:
            return replace(state, settings=state.settings.put(event.account_id, setting_of(event))), ()
        case SwitchEngaged():
            return state, tuple(_cancels(state, logged))
        case event:
            return replace(state, open=open_orders.evolve(state.open, event)), ()


def _cancels(state: State, logged: Logged) -> Iterator[Reaction]:
    event, working = logged.recorded.event, state.open.working
    by_side = _by_side(state.open) if event.mode is Mode.REDUCE_ONLY else {}
    for key in sorted(working, key=lambda key: (key.account_id, key.cl_ord_id)):
        order = working[key]
        is_covered = event.account_id in (FIRM, key.account_id)
        if not is_covered or not event.scope.covers(order.strategy_id, order.instrument_id, order.asset):
            continue
        if event.mode is Mode.REDUCE_ONLY and _is_closing(state.open, key, order, by_side):
            continue
        if not effective(state.settings, Policy.SWITCH, key.account_id).is_on:
            continue
        cancel = CancelOrder(key, f"kill switch {event.mode}: {event.reason}", logged.recorded.recorded_at)
        request_id = f"switch-{logged.seq}-{key.account_id}-{key.cl_ord_id}"
        yield Reaction(Policy.SWITCH, cancel, request_id, cause_of(logged.seq))


def _by_side(known: Open) -> dict[Desk, Decimal]:
    """What working orders hold, by desk and side."""
    sums: dict[Desk, Decimal] = {}
    for key, order in known.working.items():
        desk = (key.account_id, order.strategy_id, order.instrument_id, order.side)
        sums[desk] = sums.get(desk, ZERO) + order.quantity
    return sums


def _is_closing(known: Open, key: OrderKey, order: Working, by_side: Mapping[Desk, Decimal]) -> bool:
    """Whether all working orders of its side together only close its strategy's position."""
    held = known.positions.get((key.account_id, order.strategy_id, order.instrument_id), ZERO)
    if held * order.side.sign >= 0:
        return False
    return bool(by_side[key.account_id, order.strategy_id, order.instrument_id, order.side] <= abs(held))


READS = frozenset((PolicySet, SwitchEngaged, *open_orders.READS))
PROCESS = Process("switch", version=1, reads=READS, state=State, react=react)
