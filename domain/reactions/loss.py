"""LOSS: a breached daily loss or drawdown engages the kill switch of its scope.

A switch that already lets through less stays as it is. Once released by a person it is not engaged again before the
limit has been met again: a breach is one event.
"""

from msgspec import Struct

from domain.immutable import PersistentMap
from domain.ledger import Logged
from domain.policies import Policy, PolicySet, Setting, effective, setting_of
from domain.reactions.process import Process, Reaction, Reactions, cause_of
from domain.risk import EngageSwitch, LimitBreached, Measure

MEASURES = (Measure.MAX_DAILY_LOSS, Measure.MAX_DRAWDOWN)


class State(Struct, frozen=True):
    """The settings by account."""

    settings: PersistentMap[str, Setting] = PersistentMap()


def react(state: State, logged: Logged) -> tuple[State, Reactions]:
    """The state after an event, and the requests it causes."""
    match logged.recorded.event:
        case PolicySet(policy=Policy.LOSS) as event:
            return State(state.settings.put(event.account_id, setting_of(event))), ()
        case LimitBreached() as event if event.measure in MEASURES:
            setting = effective(state.settings, Policy.LOSS, event.account_id)
            if not setting.is_on or setting.mode is None:
                return state, ()
            reason = f"{event.measure} of {event.limit:f} exceeded: {event.used:f}, limit version {event.version}"
            request = EngageSwitch(
                event.account_id, event.scope, setting.mode, reason, transact_time=logged.recorded.recorded_at,
                only_tightens=True,
            )  # fmt: skip
            return state, (Reaction(Policy.LOSS, request, f"loss-{logged.seq}", cause_of(logged.seq)),)
        case _:
            return state, ()


READS = frozenset((PolicySet, LimitBreached))
PROCESS = Process("loss", version=1, reads=READS, state=State, react=react)
