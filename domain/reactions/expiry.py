"""EXPIRY: an order whose good-till date has passed is canceled, once.

While the policy is off for an account, dates that pass there are dropped: their orders stay as they are.
"""

from datetime import datetime
from decimal import Decimal

from msgspec import Struct
from msgspec.structs import replace

from domain.immutable import PersistentMap
from domain.ledger import Logged
from domain.order import CancelOrder, OrderCancelRequested, OrderKey, OrderReplaced, OrderSubmitted, OrderTerms
from domain.policies import Policy, PolicySet, Setting, effective, setting_of
from domain.reactions.process import Process, Reaction, Reactions, cause_of
from domain.risk import HoldAdjusted, HoldExpired, HoldPosted, HoldVoided
from domain.values import exact


class Date(Struct, frozen=True):
    """The good-till date of a working order, the seq of the event that stated it, and the quantity still held."""

    at: datetime
    seq: int
    quantity: Decimal


class State(Struct, frozen=True):
    """The settings by account, and the dates of working orders; none of them is before `first_at`."""

    settings: PersistentMap[str, Setting] = PersistentMap()
    good_till: PersistentMap[OrderKey, Date] = PersistentMap()
    first_at: datetime | None = None


def react(state: State, logged: Logged) -> tuple[State, Reactions]:
    """The state after an event. No event causes a request: time does."""
    match logged.recorded.event:
        case PolicySet(policy=Policy.EXPIRY) as event:
            state, _ = due(state, logged.recorded.recorded_at) if event.is_on else (state, ())
            return replace(state, settings=state.settings.put(event.account_id, setting_of(event))), ()
        case OrderSubmitted() as event:
            return _good_till(state, event.key, event.terms, logged.seq), ()
        case OrderReplaced() as event if event.terms is not None:
            return _good_till(state, event.key, event.terms, logged.seq), ()
        case HoldAdjusted() as event:
            return _holding(state, event.key, event.quantity), ()
        case HoldPosted() as event if event.released and event.key in state.good_till:
            return _holding(state, event.key, exact(state.good_till[event.key].quantity - event.released)), ()
        case OrderCancelRequested() | HoldVoided() | HoldExpired() as event:
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


def due(state: State, now: datetime) -> tuple[State, Reactions]:
    """The state without the dates that have passed, and the requests to cancel their orders."""
    if state.first_at is None or now < state.first_at:
        return state, ()
    reactions = []
    dates = sorted((date.at, key.account_id, key.cl_ord_id) for key, date in state.good_till.items() if date.at <= now)
    good_till = state.good_till
    for at, account_id, cl_ord_id in dates:
        key = OrderKey(account_id, cl_ord_id)
        seq, good_till = good_till[key].seq, good_till.drop(key)
        if effective(state.settings, Policy.EXPIRY, account_id).is_on:
            cancel = CancelOrder(key, "good till date has passed", at)
            request_id = f"expiry-{seq}-{account_id}-{cl_ord_id}"
            reactions.append(Reaction(Policy.EXPIRY, cancel, request_id, cause_of(seq)))
    first_at = min((date.at for date in good_till.values()), default=None)
    return replace(state, good_till=good_till, first_at=first_at), tuple(reactions)


def next_due(state: State) -> datetime | None:
    """When the first date passes, or an earlier moment."""
    return state.first_at


READS = frozenset((
    PolicySet, OrderSubmitted, OrderReplaced, OrderCancelRequested, HoldAdjusted, HoldPosted, HoldVoided,
    HoldExpired,
))  # fmt: skip
PROCESS = Process("expiry", version=1, reads=READS, state=State, react=react, due=due, next_due=next_due)
