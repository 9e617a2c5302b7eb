"""BREAKS: a break that stays open is recorded as older when it passes one of the ages of its account's setting.

A venue statement that finds the break again ages it too (`domain.holdings.reconciliation`); here time is enough. Of
several ages that passed unseen the last one is recorded.
"""

from datetime import datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from domain.account import BreakAged, BreakOpened, BreakResolved
from domain.immutable import PersistentMap
from domain.ledger import Logged
from domain.policies import Policy, PolicySet, Setting, effective, setting_of
from domain.reactions.process import Process, Reaction, Reactions, cause_of

Place = tuple[str, str]  # account and break


class Aging(Struct, frozen=True):
    """An open break: since when, how many ages it has passed, and the seq of the event that opened it."""

    opened_at: datetime
    steps: int
    seq: int


class State(Struct, frozen=True):
    """The settings by account, and the open breaks; none of them passes an age before `first_at`."""

    settings: PersistentMap[str, Setting] = PersistentMap()
    open: PersistentMap[Place, Aging] = PersistentMap()
    first_at: datetime | None = None


def react(state: State, logged: Logged) -> tuple[State, Reactions]:
    """The state after an event. No event causes a request: time does."""
    match logged.recorded.event:
        case PolicySet(policy=Policy.BREAKS) as event:
            state, _ = due(state, logged.recorded.recorded_at)
            return _timed(replace(state, settings=state.settings.put(event.account_id, setting_of(event)))), ()
        case BreakOpened() as event:
            aging = Aging(event.transact_time, 0, logged.seq)
            return _put(state, (event.account_id, event.found.break_id), aging), ()
        case BreakAged() as event if (event.account_id, event.break_id) in state.open:
            place = (event.account_id, event.break_id)
            aging = state.open[place]
            return _put(state, place, replace(aging, steps=max(event.steps, aging.steps))), ()
        case BreakResolved() as event:
            return replace(state, open=state.open.drop((event.account_id, event.break_id))), ()
        case _:
            return state, ()


def _ages(state: State, account_id: str) -> list[timedelta]:
    setting = effective(state.settings, Policy.BREAKS, account_id)
    return [timedelta(seconds=age) for age in setting.ages_seconds or ()]


def _due_at(state: State, place: Place, aging: Aging) -> datetime | None:
    """When a break passes the next age of its account; None if it has passed all."""
    ages = _ages(state, place[0])
    return aging.opened_at + ages[aging.steps] if aging.steps < len(ages) else None


def _put(state: State, place: Place, aging: Aging) -> State:
    at = _due_at(state, place, aging)
    first_at = state.first_at if at is None else at if state.first_at is None else min(at, state.first_at)
    return replace(state, open=state.open.put(place, aging), first_at=first_at)


def _timed(state: State) -> State:
    """The state with the moment at which the first break passes an age."""
    moments = (_due_at(state, place, aging) for place, aging in state.open.items())
    return replace(state, first_at=min((at for at in moments if at is not None), default=None))


def due(state: State, now: datetime) -> tuple[State, Reactions]:
    """The state with the ages that were passed, and the reports of them."""
    if state.first_at is None or now < state.first_at:
        return state, ()
    reactions = []
    for place in sorted(state.open):
        aging, (account_id, break_id) = state.open[place], place
        ages = _ages(state, account_id)
        steps = sum(1 for age in ages if now - aging.opened_at >= age)
        if steps <= aging.steps:
            continue
        state = replace(state, open=state.open.put(place, replace(aging, steps=steps)))
        if effective(state.settings, Policy.BREAKS, account_id).is_on:
            at = aging.opened_at + ages[steps - 1]
            aged = BreakAged(account_id, break_id, "", aging.opened_at, transact_time=at, age_steps=steps)
            reactions.append(Reaction(Policy.BREAKS, (aged,), f"aged-{aging.seq}-{steps}", cause_of(aging.seq)))
    return _timed(state), tuple(reactions)


def next_due(state: State) -> datetime | None:
    """When the first break passes an age, or an earlier moment."""
    return state.first_at


READS = frozenset((PolicySet, BreakOpened, BreakAged, BreakResolved))
PROCESS = Process("breaks", version=1, reads=READS, state=State, react=react, due=due, next_due=next_due)
