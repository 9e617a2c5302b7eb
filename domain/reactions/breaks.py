"""BREAKS: a break that stays open is recorded as older when it passes one of `BREAK_AGES`.

A venue statement that finds the break again ages it too (`domain.holdings.reconciliation`); here time is enough.
"""

from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from domain.account import BREAK_AGES, BreakAged, BreakOpened, BreakResolved, age_steps
from domain.immutable import PersistentMap
from domain.ledger import Logged
from domain.policies import Policy, PolicySet, Setting, effective, setting_of
from domain.reactions.process import Process, Reaction, Reactions, cause_of

Place = tuple[str, str]  # account and break


class Aging(Struct, frozen=True):
    """An open break: since when, how many of `BREAK_AGES` it has passed, and the seq of the event that opened it."""

    opened_at: datetime
    steps: int
    seq: int

    @property
    def due_at(self) -> datetime | None:
        """When it passes the next age; None if it has passed all."""
        return self.opened_at + BREAK_AGES[self.steps] if self.steps < len(BREAK_AGES) else None


class State(Struct, frozen=True):
    """The settings by account, and the open breaks; none of them passes an age before `first_at`."""

    settings: PersistentMap[str, Setting] = PersistentMap()
    open: PersistentMap[Place, Aging] = PersistentMap()
    first_at: datetime | None = None


def react(state: State, logged: Logged) -> tuple[State, Reactions]:
    """The state after an event. No event causes a request: time does."""
    match logged.recorded.event:
        case PolicySet(policy=Policy.BREAKS) as event:
            return replace(state, settings=state.settings.put(event.account_id, setting_of(event))), ()
        case BreakOpened() as event:
            aging = Aging(event.transact_time, 0, logged.seq)
            return _put(state, (event.account_id, event.found.break_id), aging), ()
        case BreakAged() as event if (event.account_id, event.break_id) in state.open:
            place = (event.account_id, event.break_id)
            steps = max(age_steps(event.transact_time - event.opened_at), state.open[place].steps)
            return _put(state, place, replace(state.open[place], steps=steps)), ()
        case BreakResolved() as event:
            return replace(state, open=state.open.drop((event.account_id, event.break_id))), ()
        case _:
            return state, ()


def _put(state: State, place: Place, aging: Aging) -> State:
    at = aging.due_at
    first_at = state.first_at if at is None else at if state.first_at is None else min(at, state.first_at)
    return replace(state, open=state.open.put(place, aging), first_at=first_at)


def due(state: State, now: datetime) -> tuple[State, Reactions]:
    """The state with the ages that were passed, and the reports of them: of several ages of a break the last one."""
    if state.first_at is None or now < state.first_at:
        return state, ()
    reactions = []
    for place in sorted(state.open):
        aging, (account_id, break_id) = state.open[place], place
        steps = max(age_steps(now - aging.opened_at), aging.steps)
        if steps == aging.steps:
            continue
        state = replace(state, open=state.open.put(place, replace(aging, steps=steps)))
        if effective(state.settings, Policy.BREAKS, account_id).is_on:
            at = aging.opened_at + BREAK_AGES[steps - 1]
            aged = BreakAged(account_id, break_id, "", aging.opened_at, transact_time=at)
            request_id = f"aged-{aging.seq}-{steps}"
            reactions.append(Reaction(Policy.BREAKS, (aged,), request_id, cause_of(aging.seq)))
    moments = (aging.due_at for aging in state.open.values())
    return replace(state, first_at=min((at for at in moments if at is not None), default=None)), tuple(reactions)


def next_due(state: State) -> datetime | None:
    """When the first break passes an age, or an earlier moment."""
    return state.first_at


READS = frozenset((PolicySet, BreakOpened, BreakAged, BreakResolved))
PROCESS = Process("breaks", version=1, reads=READS, state=State, react=react, due=due, next_due=next_due)
