"""Restatement: the difference between a position's day as reported and as known now, item by item.

PnL of a day is the change from its start to its end of booked + value - cost, in settlement currency: booked is
realized + rounding + funding + income - fee_cost - fees in that currency. The events recorded since, of what had
occurred by the day's end, are applied in log order, each append one item, at the marks of the report; then the marks
and the contract's facts that have changed since. Each item is the difference it makes, so the items sum to the whole
difference exactly.

A missing mark is not estimated: the value is None, and so is the difference. Consecutive items between which nothing
can be valued are reported as one.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from functools import reduce
from itertools import groupby
from typing import Any, NamedTuple

from msgspec import Struct

from domain.instrument import Contract
from domain.ledger import Logged
from domain.position import (
    MICROSECOND,
    Effect,
    FundingSettled,
    LotsAssigned,
    PositionRestated,
    PositionTransferred,
    TradeBooked,
    TradeReversed,
    expensed,
)
from domain.values import ZERO, Mark, Money, exact
from projections.calendar import slot_of, slot_start


class Cause(StrEnum):
    """Cause of a difference."""

    LATE_FILL = "LATE_FILL"
    BUST = "BUST"
    CORRECTION = "CORRECTION"
    LATE_TRANSFER = "LATE_TRANSFER"
    LATE_FUNDING = "LATE_FUNDING"
    LOTS_ASSIGNED = "LOTS_ASSIGNED"
    SEVERAL = "SEVERAL"
    PRICE = "PRICE"
    FACTS = "FACTS"


class Sums(Struct, frozen=True):
    """A position's quantity, cost and booked PnL."""

    quantity: Decimal = ZERO
    cost: Decimal = ZERO
    booked: Decimal = ZERO

    def plus(self, other: "Sums") -> "Sums":
        """Add two sums."""
        return Sums(self.quantity + other.quantity, self.cost + other.cost, self.booked + other.booked)


class Valuer(Struct, frozen=True):
    """Contract and mark that value a quantity at one moment."""

    contract: Contract | None = None
    mark: Mark | None = None

    def value(self, quantity: Decimal) -> Decimal | None:
        """Return the quantity's value; zero for zero, None without a usable contract and mark."""
        if not quantity:
            return ZERO
        if self.contract is None or self.mark is None or not self.contract.has_price(self.mark.price):
            return None
        return self.contract.value(quantity, self.mark.price)


class Known(Struct, frozen=True):
    """A position's day as known at some time: its sums and valuers right before the day and at its end."""

    before: Sums = Sums()
    after: Sums = Sums()
    opening: Valuer = Valuer()
    closing: Valuer = Valuer()

    @property
    def booked(self) -> Decimal:
        """The day's booked PnL."""
        return exact(self.after.booked - self.before.booked)

    @property
    def unrealized(self) -> Decimal | None:
        """The day's change of unrealized PnL; None if a mark is missing."""
        at_end, at_start = self.closing.value(self.after.quantity), self.opening.value(self.before.quantity)
        if at_end is None or at_start is None:
            return None
        return exact(at_end - self.after.cost - at_start + self.before.cost)

    @property
    def pnl(self) -> Decimal | None:
        """The day's PnL; None if a mark is missing."""
        unrealized = self.unrealized
        return None if unrealized is None else exact(self.booked + unrealized)


class Item(Struct, frozen=True):
    """One difference of the day's PnL: of the booked and of the unrealized part."""

    cause: Cause
    booked: Decimal
    unrealized: Decimal | None
    first_seq: int | None = None
    last_seq: int | None = None
    recorded_at: datetime | None = None
    exec_ids: tuple[str, ...] = ()
    mark_was: Mark | None = None
    mark_is: Mark | None = None

    @property
    def amount(self) -> Decimal | None:
        """The difference of the day's PnL; None if a mark is missing."""
        return None if self.unrealized is None else exact(self.booked + self.unrealized)


class Bounds(NamedTuple):
    """A day: after `start`, up to and including `end`."""

    start: datetime
    end: datetime


Summed = Callable[[int, datetime], Sums]


def restate(
    then: Known,
    now: Known,
    changes: Iterable[Logged],
    *,
    settle: str,
    bounds: Bounds,
    summed: Summed | None = None,
) -> tuple[Item, ...]:
    """Return the items that lead from a position's day as known `then` to the day as known `now`.

    `changes` are the position's events recorded in between, by seq, of what had occurred by the day's end. `summed`
    looks up the position's sums of all that had occurred by a moment, as known at a seq: a restatement by half hour
    does not divide them, so the sums are looked up where a day begins or ends within one.
    """
    opening, closing = _usable(then.opening, now.opening), _usable(then.closing, now.closing)
    items: list[Item] = []
    state = reported = Known(then.before, then.after, opening, closing)
    pending: list[Logged] = []
    relevant = (logged for logged in changes if _concerns(logged.recorded.event, bounds.end))
    for _, group in groupby(relevant, key=lambda logged: (logged.recorded.recorded_at, logged.recorded.request_id)):
        append = list(group)
        state = _with(state, append, settle, bounds, summed=summed)
        pending += append
        if state.unrealized is not None:
            item = _item(reported, state, pending)
            items += [item] if item.booked or item.unrealized else []
            reported, pending = state, []
    if pending:
        items.append(_item(reported, state, pending))
    assert _is_same(state, now), "the changes lead from then to now"
    closed = Known(state.before, state.after, opening, now.closing)
    opened = Known(state.before, state.after, now.opening, now.closing)
    worth_closing = then.closing.value(then.after.quantity)
    worth_opening = then.opening.value(then.before.quantity)
    items += _revalued(state, closed, then.closing, now.closing, worth=worth_closing)
    items += _revalued(closed, opened, then.opening, now.opening, worth=worth_opening)
    return tuple(items)


def _usable(then: Valuer, now: Valuer) -> Valuer:
    """Return the contract and mark known then, or where they were not known, those known now."""
    return Valuer(then.contract or now.contract, then.mark or now.mark)


def _is_same(state: Known, now: Known) -> bool:
    return (state.before, state.after) == (now.before, now.after)


def _concerns(event: Any, end: datetime) -> bool:
    """Whether an event changes what had occurred by the day's end."""
    if isinstance(event, PositionRestated):
        is_reached = event.since is not None and event.since.transact_time <= end
        return is_reached or any(item.transact_time <= end for item in event.items)
    return bool(event.transact_time <= end)


def _with(state: Known, events: Sequence[Logged], settle: str, bounds: Bounds, *, summed: Summed | None) -> Known:
    sums: list[Sums] = []
    for known, by in ((state.before, bounds.start), (state.after, bounds.end)):
        if any(_is_within(logged.recorded.event, by) for logged in events):
            assert summed is not None, "a day begins and ends at half hours, or its sums can be looked up"
            sums.append(summed(events[-1].seq, by))
        else:
            sums.append(reduce(Sums.plus, (_effects(logged.recorded.event, settle, by) for logged in events), known))
    return Known(sums[0], sums[1], state.opening, state.closing)


def _is_within(event: Any, by: datetime) -> bool:
    """Whether a restatement has the sums of a half hour that begins before a moment and ends after it."""
    if not isinstance(event, PositionRestated) or not event.moved:
        return False
    slot = slot_of(by)
    return by < slot_start(slot + 1) - MICROSECOND and any(moved.half_hour == slot for moved in event.moved)


def _effects(event: Any, settle: str, by: datetime) -> Sums:
    """Return an event's change of the sums of all that had occurred by a moment."""
    match event:
        case PositionRestated():
            total = Sums()
            for item in event.items:
                if item.transact_time <= by:
                    was, now = item.was, item.now
                    gained = now.realized - was.realized + now.rounding - was.rounding - now.fee_cost + was.fee_cost
                    total = total.plus(Sums(ZERO, now.cost - was.cost, gained))
            for moved in event.moved:
                if slot_start(moved.half_hour) <= by:
                    gained = moved.realized + moved.rounding - moved.fee_cost
                    total = total.plus(Sums(ZERO, moved.cost, gained))
            return total
        case _ if event.transact_time > by:
            return Sums()
        case TradeBooked():
            return _of_effect(event.effect, event.commission, settle)
        case TradeReversed():
            sums = _of_effect(event.effect, event.commission, settle)
            return Sums(-sums.quantity, -sums.cost, -sums.booked)
        case PositionTransferred():
            income = event.cost if event.reason.is_income else ZERO
            return _of_effect(event.effect, None, settle).plus(Sums(booked=income))
        case FundingSettled():
            return Sums(booked=event.amount.amount)
        case _:
            return Sums()


def _of_effect(effect: Effect, commission: Money | None, settle: str) -> Sums:
    fees = expensed(effect, commission) if commission is not None else ()
    fee = sum((fee.amount for fee in fees if fee.currency == settle), ZERO)
    return Sums(effect.quantity, effect.cost, effect.realized + effect.rounding - effect.fee_cost - fee)


def _item(was: Known, now: Known, events: Sequence[Logged]) -> Item:
    causes, exec_ids = set[Cause](), dict[str, None]()
    for logged in events:
        match logged.recorded.event:
            case TradeBooked(exec_id=name):
                causes.add(Cause.LATE_FILL)
            case TradeReversed(exec_id=name):
                causes.add(Cause.BUST)
            case PositionTransferred(transfer_id=name):
                causes.add(Cause.LATE_TRANSFER)
            case FundingSettled(funding_id=name):
                causes.add(Cause.LATE_FUNDING)
            case LotsAssigned(exec_id=name):
                causes.add(Cause.LOTS_ASSIGNED)
            case _:
                continue
        exec_ids[name] = None
    if causes == {Cause.LATE_FILL, Cause.BUST}:
        causes = {Cause.CORRECTION}
    return Item(
        cause=causes.pop() if len(causes) == 1 else Cause.SEVERAL,
        booked=exact(now.booked - was.booked),
        unrealized=_difference(was.unrealized, now.unrealized),
        first_seq=events[0].seq,
        last_seq=events[-1].seq,
        recorded_at=events[-1].recorded.recorded_at,
        exec_ids=tuple(exec_ids),
    )


def _revalued(was: Known, now: Known, then: Valuer, is_: Valuer, *, worth: Decimal | None) -> list[Item]:
    """Return the item of a changed mark or contract, if it makes a difference; `worth` is the value then."""
    difference = _difference(was.unrealized, now.unrealized) if worth is not None else None
    is_same = then == is_ or (worth is not None and _usable(then, is_) == is_)
    if is_same or (difference is not None and not difference):
        return []
    cause = Cause.PRICE if _price(then) != _price(is_) else Cause.FACTS
    return [Item(cause, ZERO, difference, mark_was=then.mark, mark_is=is_.mark)]


def _price(valuer: Valuer) -> Decimal | None:
    return valuer.mark.price if valuer.mark is not None else None


def _difference(was: Decimal | None, now: Decimal | None) -> Decimal | None:
    return None if was is None or now is None else exact(now - was)
