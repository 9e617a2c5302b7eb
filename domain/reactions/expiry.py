"""EXPIRY: an order whose good-till date has passed is canceled, once; again only where its venue did not do it.

A cancel that the venue rejects is requested again after a minute, two, four, up to an hour, for as long as the order
works: each time under an id of its own, which the rejection gives. One that is not answered stands, and is not
repeated. While the policy is off for an account, dates that pass there are dropped: their orders stay as they are.
"""

from datetime import datetime, timedelta
from decimal import Decimal

from msgspec import Struct
from msgspec.structs import replace

from domain.immutable import PersistentMap
from domain.ledger import Logged
from domain.order import (
    CancelOrder,
    OrderCancelRejected,
    OrderCancelRequested,
    OrderKey,
    OrderReplaced,
    OrderSubmitted,
    OrderTerms,
)
from domain.policies import Policy, PolicySet, Setting, effective, setting_of
from domain.reactions.process import Process, Reaction, Reactions, cause_of
from domain.risk import HoldAdjusted, HoldExpired, HoldPosted, HoldVoided
from domain.values import exact

AGAIN = timedelta(minutes=1)  # after the first rejection, then twice as long each time
DOUBLINGS_MAX = 6  # of that: about an hour


class Date(Struct, frozen=True):
    """When a working order is to be canceled, the seq of the event that led to that, and the quantity still held.

    It `is_canceling` once that was requested, by the policy or by others. `attempts` are those that its venue rejected.
    """

    at: datetime
    seq: int
    quantity: Decimal
    is_canceling: bool = False
    attempts: int = 0


class State(Struct, frozen=True):
    """The settings by account, and the dates of working orders; none of them is before `first_at`."""

    settings: PersistentMap[str, Setting] = PersistentMap()
    good_till: PersistentMap[OrderKey, Date] = PersistentMap()
    first_at: datetime | None = None


def react(state: State, logged: Logged) -> tuple[State, Reactions]:
    """The state after an event. No event causes a request: time does."""
    match logged.recorded.event:
        case PolicySet(policy=Policy.EXPIRY) as event:
            state = _without_missed(state, logged.recorded.recorded_at) if event.is_on else state
            return replace(state, settings=state.settings.put(event.account_id, setting_of(event))), ()
        case OrderSubmitted() as event:
            return _good_till(state, event.key, event.terms, logged.seq), ()
        case OrderReplaced() as event if event.terms is not None:
            return _good_till(state, event.key, event.terms, logged.seq), ()
        case HoldAdjusted() as event:
            return _holding(state, event.key, event.quantity), ()
        case HoldPosted() as event if event.released and event.key in state.good_till:
            return _holding(state, event.key, exact(state.good_till[event.key].quantity - event.released)), ()
        case OrderCancelRequested() as event if event.key in state.good_till:
            known: Date = state.good_till[event.key]
            return replace(state, good_till=state.good_till.put(event.key, replace(known, is_canceling=True))), ()
        case OrderCancelRejected() as event if event.key in state.good_till:
            return _again(state, event.key, logged), ()
        case HoldVoided() | HoldExpired() as event:
            return _without(state, event.key), ()
        case _:
            return state, ()


def _good_till(state: State, key: OrderKey, terms: OrderTerms, seq: int) -> State:
    at = terms.expire_time
    if at is None:
        return _without(state, key)
    known: Date | None = state.good_till.get(key)
    date = Date(at, seq, known.quantity if known is not None else terms.order_qty)
    first_at = at if state.first_at is None else min(at, state.first_at)
    return replace(state, good_till=state.good_till.put(key, date), first_at=first_at)


def _holding(state: State, key: OrderKey, quantity: Decimal) -> State:
    """The state once an order holds another quantity; one that holds none is no longer working."""
    known: Date | None = state.good_till.get(key)
    if known is None or quantity <= 0:
        return _without(state, key)
    return replace(state, good_till=state.good_till.put(key, replace(known, quantity=quantity)))


def _without(state: State, key: OrderKey) -> State:
    return replace(state, good_till=state.good_till.drop(key)) if key in state.good_till else state


def _again(state: State, key: OrderKey, logged: Logged) -> State:
    """The state once a venue did not cancel: the order is to be canceled at its date, or some time after it."""
    known: Date = state.good_till[key]
    at, now, attempts = known.at, logged.recorded.recorded_at, known.attempts
    if at <= now:
        at, attempts = now + AGAIN * 2 ** min(attempts, DOUBLINGS_MAX), attempts + 1
    date = Date(at, logged.seq, known.quantity, attempts=attempts)
    first_at = at if state.first_at is None else min(at, state.first_at)
    return replace(state, good_till=state.good_till.put(key, date), first_at=first_at)


def _without_missed(state: State, now: datetime) -> State:
    """The state without the dates that have passed where the policy is off."""
    good_till = state.good_till
    for key, date in state.good_till.items():
        if date.at <= now and not effective(state.settings, Policy.EXPIRY, key.account_id).is_on:
            good_till = good_till.drop(key)
    return replace(state, good_till=good_till)


def due(state: State, now: datetime) -> tuple[State, Reactions]:
    """The state once the orders whose dates have passed are being canceled, and the requests to cancel them."""
    if state.first_at is None or now < state.first_at:
        return state, ()
    reactions = []
    good_till = state.good_till
    waiting = [(key, date) for key, date in good_till.items() if not date.is_canceling]
    passed = sorted((date.at, key.account_id, key.cl_ord_id) for key, date in waiting if date.at <= now)
    for at, account_id, cl_ord_id in passed:
        key = OrderKey(account_id, cl_ord_id)
        date = good_till[key]
        if not effective(state.settings, Policy.EXPIRY, account_id).is_on:
            good_till = good_till.drop(key)
            continue
        good_till = good_till.put(key, replace(date, is_canceling=True))
        cancel = CancelOrder(key, "good till date has passed", at)
        request_id = f"expiry-{date.seq}-{account_id}-{cl_ord_id}"
        reactions.append(Reaction(Policy.EXPIRY, cancel, request_id, cause_of(date.seq)))
    first_at = min((date.at for date in good_till.values() if not date.is_canceling), default=None)
    return replace(state, good_till=good_till, first_at=first_at), tuple(reactions)


def next_due(state: State) -> datetime | None:
    """When the first date passes, or an earlier moment."""
    return state.first_at


READS = frozenset((
    PolicySet, OrderSubmitted, OrderReplaced, OrderCancelRequested, OrderCancelRejected, HoldAdjusted, HoldPosted,
    HoldVoided, HoldExpired,
))  # fmt: skip
PROCESS = Process("expiry", version=2, reads=READS, state=State, react=react, due=due, next_due=next_due)
