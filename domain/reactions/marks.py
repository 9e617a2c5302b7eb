"""MARKS: accounts with limits are monitored when marks or fills of theirs arrive, and every so often.

Monitoring (`AssessMarks`) measures what is held at the newest marks, against every limit; only changes are recorded, so
to repeat it does no harm. What arrives within GAP of the last monitoring of an account waits for its end, so that many
marks are monitored once. An account counts as affected by an instrument once it has had a hold or booking in it; the
firm by every instrument that any account has.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from domain.account import AccountClosed
from domain.immutable import PersistentMap
from domain.ledger import Logged
from domain.marks import MarksRecorded, PriceKind
from domain.policies import Policy, PolicySet, Setting, effective, setting_of
from domain.reactions.process import Process, Reaction, Reactions, cause_of
from domain.risk import (
    FIRM,
    AssessMarks,
    ConversionSet,
    GainsPosted,
    HoldPlaced,
    HoldPosted,
    LimitSet,
    LimitStatus,
    Measure,
    Scope,
)
from domain.values import EPOCH

GAP = timedelta(seconds=1)
Limit = tuple[Scope, Measure, LimitStatus]


class State(Struct, frozen=True):
    """The settings by account; the limits of accounts that have any, who is affected by an instrument's marks, the seq
    of the newest event that an account is to be monitored after, and when each was last monitored. None is to be
    monitored before `first_at`.
    """

    settings: PersistentMap[str, Setting] = PersistentMap()
    limits: PersistentMap[str, frozenset[Limit]] = PersistentMap()
    affected: PersistentMap[str, frozenset[str]] = PersistentMap()
    waiting: PersistentMap[str, int] = PersistentMap()
    assessed_at: PersistentMap[str, datetime] = PersistentMap()
    first_at: datetime | None = None


def react(state: State, logged: Logged) -> tuple[State, Reactions]:
    """The state after an event. No event causes a request by itself: `due` monitors what is waiting."""
    match logged.recorded.event:
        case PolicySet(policy=Policy.MARKS) as event:
            state = _timed(replace(state, settings=state.settings.put(event.account_id, setting_of(event))))
        case LimitSet() as event:
            state = _limited(state, event, logged.seq)
        case HoldPlaced() as event:
            state = _affected(state, event.key.account_id, event.instrument_id)
        case HoldPosted() as event:
            state = _affected(state, event.key.account_id, event.instrument_id)
            state = _waiting(state, (event.key.account_id, FIRM), logged.seq)
        case GainsPosted() as event:
            state = _waiting(state, (event.account_id, FIRM), logged.seq)
        case ConversionSet() as event:
            state = _affected(state, event.account_id, event.instrument_id)
            state = _waiting(state, (event.account_id,), logged.seq)
        case MarksRecorded(kind=PriceKind.MARK) as event:
            state = _waiting(state, _accounts_of(state, event), logged.seq)
        case AccountClosed() as event:
            state = replace(
                state, limits=state.limits.drop(event.account_id), waiting=state.waiting.drop(event.account_id),
                assessed_at=state.assessed_at.drop(event.account_id),
            )  # fmt: skip
        case _:
            pass
    return state, ()


def _limited(state: State, event: LimitSet, seq: int) -> State:
    """The state with a limit that is checked set, lifted, or moved to another status; a draft is not checked."""
    account_id, limit = event.account_id, (event.scope, event.measure, event.status)
    known: frozenset[Limit] = state.limits.get(account_id, frozenset())
    if event.moved_from is not None:
        known -= {(event.scope, event.measure, event.moved_from)}
    is_checked = event.limit is not None and event.status is not LimitStatus.DRAFT
    limits = known | {limit} if is_checked else known - {limit}
    if limits:
        return _waiting(replace(state, limits=state.limits.put(account_id, limits)), (account_id,), seq)
    return replace(
        state, limits=state.limits.drop(account_id), waiting=state.waiting.drop(account_id),
        assessed_at=state.assessed_at.drop(account_id),
    )  # fmt: skip


def _affected(state: State, account_id: str, instrument_id: str) -> State:
    known: frozenset[str] = state.affected.get(instrument_id, frozenset())
    if account_id in known:
        return state
    return replace(state, affected=state.affected.put(instrument_id, known | {account_id}))


def _accounts_of(state: State, event: MarksRecorded) -> set[str]:
    """The accounts with limits that are affected by a batch of marks."""
    if event.instrument_count > len(event.instruments):
        return set(state.limits)
    found: set[str] = set()
    for instrument_id in event.instruments:
        found |= state.affected.get(instrument_id, frozenset())
    return found | {FIRM} if found else found


def _waiting(state: State, accounts: Iterable[str], seq: int) -> State:
    for account_id in accounts:
        if account_id in state.limits:
            state = replace(state, waiting=state.waiting.put(account_id, seq))
            at = _due_at(state, account_id)
            if at is not None and (state.first_at is None or at < state.first_at):
                state = replace(state, first_at=at)
    return state


def due(state: State, now: datetime) -> tuple[State, Reactions]:
    """The state and the requests to monitor what is waiting, or was not monitored for an interval."""
    if state.first_at is None or now < state.first_at:
        return state, ()
    reactions = []
    for account_id in sorted(state.limits):
        moment = _due_at(state, account_id)
        if moment is None or now < moment:
            continue
        seq: int | None = state.waiting.get(account_id)
        state = replace(
            state, waiting=state.waiting.drop(account_id), assessed_at=state.assessed_at.put(account_id, now)
        )
        if effective(state.settings, Policy.MARKS, account_id).is_on:
            request_id = f"marks-{account_id}-{f'{now:%Y%m%dT%H%M%S.%fZ}' if seq is None else seq}"
            cause = "timer" if seq is None else cause_of(seq)
            request = AssessMarks(account_id, (), now)
            reactions.append(Reaction(Policy.MARKS, request, request_id, cause, is_once=False))
    return _timed(state), tuple(reactions)


def _due_at(state: State, account_id: str) -> datetime | None:
    """When an account is to be monitored next; None if not."""
    last: datetime | None = state.assessed_at.get(account_id)
    if last is None:
        return EPOCH  # at once
    if account_id in state.waiting:
        return last + GAP
    setting = effective(state.settings, Policy.MARKS, account_id)
    if not setting.is_on or setting.interval_seconds is None:
        return None
    return last + timedelta(seconds=setting.interval_seconds)


def _timed(state: State) -> State:
    """The state with the moment at which the first account is to be monitored."""
    moments = (_due_at(state, account_id) for account_id in state.limits)
    return replace(state, first_at=min((at for at in moments if at is not None), default=None))


def next_due(state: State) -> datetime | None:
    """When the first account is to be monitored, or an earlier moment."""
    return state.first_at


READS = frozenset((
    PolicySet, LimitSet, HoldPlaced, HoldPosted, GainsPosted, ConversionSet, MarksRecorded, AccountClosed,
))  # fmt: skip
PROCESS = Process("marks", version=1, reads=READS, state=State, react=react, due=due, next_due=next_due)
