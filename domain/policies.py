"""Process managers: requests that follow automatically from events of the log.

`react(state, logged)` reads one event of the log and returns the state after it and the requests it causes. It is pure:
the same log causes the same requests under the same ids, so that a follower that is restarted, or runs twice, requests
nothing new. The state is bounded by what is open: working orders, positions, requests not in the log yet. `due` does
the same for time that passes while nothing is recorded.

LOSS      a breached daily loss or drawdown engages the kill switch of its scope.
SWITCH    an engaged kill switch cancels working orders of its scope: at REDUCE_ONLY those that increase a position.
EXPIRY    an order whose good-till date has passed is canceled.
HEDGE     an account whose delta in an asset leaves its band is brought back to the target with a market order.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from domain.access import Part
from domain.immutable import PersistentMap
from domain.instrument import Contract, InstrumentAmended, InstrumentListed, Kind
from domain.ledger import Logged
from domain.order import (
    CancelOrder,
    OrderCancelRequested,
    OrderKey,
    OrderReplaced,
    OrderSubmitted,
    OrderTerms,
    OrdType,
    SubmitOrder,
)
from domain.position import TradeBooked
from domain.risk import (
    FIRM,
    EngageSwitch,
    HoldAdjusted,
    HoldExpired,
    HoldPlaced,
    HoldPosted,
    HoldRefused,
    HoldVoided,
    LimitBreached,
    Measure,
    Mode,
    Scope,
    SwitchEngaged,
)
from domain.values import ZERO, Side, divide, exact

PENDING_HEDGE_AGE_MAX = timedelta(seconds=60)  # how long a hedge counts that is not in the log


class Policy(StrEnum):
    """The policies; the actor of their requests is `policy:LOSS` and so on."""

    LOSS = "LOSS"
    SWITCH = "SWITCH"
    EXPIRY = "EXPIRY"
    HEDGE = "HEDGE"


class HedgeBand(Struct, frozen=True):
    """Keep an account's delta in an asset (base units, signed) within `band` of `target`.

    It is brought back to the target with orders of `strategy_id` in `instrument_id`. Spot and linear count their
    quantity, inverse contracts their size over the last price traded; options do not count.
    """

    account_id: str
    asset: str
    instrument_id: str
    strategy_id: str
    band: Decimal
    target: Decimal = ZERO


class Policies(Struct, frozen=True):
    """The policies that are on. `on_loss` None leaves the kill switch to people."""

    on_loss: Mode | None = Mode.REDUCE_ONLY
    cancels_on_switch: bool = True
    expires: bool = True
    hedges: tuple[HedgeBand, ...] = ()


class Reaction(Struct, frozen=True):
    """A request that a policy makes, under an id that is the same whenever it is made for the same reason."""

    policy: Policy
    request: EngageSwitch | CancelOrder | SubmitOrder
    request_id: str

    @property
    def actor(self) -> str:
        """The actor of the request."""
        return f"policy:{self.policy}"

    @property
    def identity(self) -> Part:
        """The identity that the request is recorded under."""
        return Part(self.actor)


class Working(Struct, frozen=True):
    """A working order and the quantity it still holds."""

    strategy_id: str
    instrument_id: str
    side: Side
    quantity: Decimal
    asset: str | None


class Listing(Struct, frozen=True):
    """The facts of an instrument that a hedge needs."""

    contract: Contract
    lot_size: Decimal


class PendingHedge(Struct, frozen=True):
    """A hedge that was requested and is not in the log yet: signed quantity of the hedge's instrument."""

    band: HedgeBand
    quantity: Decimal
    at: datetime


class State(Struct, frozen=True):
    """The state of the policies: working orders, when they expire, positions by account, strategy and instrument.

    `prices` has the last price traded of inverse contracts.
    """

    policies: Policies = Policies()
    working: PersistentMap[OrderKey, Working] = PersistentMap()
    good_till: PersistentMap[OrderKey, datetime] = PersistentMap()
    positions: PersistentMap[tuple[str, str, str], Decimal] = PersistentMap()
    listed: PersistentMap[str, Listing] = PersistentMap()
    prices: PersistentMap[str, Decimal] = PersistentMap()
    pending_hedges: PersistentMap[OrderKey, PendingHedge] = PersistentMap()


def react(state: State, logged: Logged) -> tuple[State, tuple[Reaction, ...]]:
    """The state after an event, and the requests it causes."""
    event, at = logged.recorded.event, logged.recorded.recorded_at
    state = evolve(_without_old(state, at), event)
    reactions: list[Reaction] = []
    match event:
        case LimitBreached():
            reactions += _on_breach(state, event, at, logged.seq)
        case SwitchEngaged():
            reactions += _on_switch(state, event, at, logged.seq)
        case HoldPosted():
            state, hedges = _hedged(state, event, at, logged.seq)
            reactions += hedges
        case _:
            pass
    state, expired = due(state, at)
    return state, (*reactions, *expired)


def _without_old(state: State, now: datetime) -> State:
    old = [key for key, hedge in state.pending_hedges.items() if now - hedge.at > PENDING_HEDGE_AGE_MAX]
    for key in old:
        state = replace(state, pending_hedges=state.pending_hedges.drop(key))
    return state


def due(state: State, now: datetime) -> tuple[State, tuple[Reaction, ...]]:
    """The requests that the passing of time causes: orders whose good-till date is over are canceled, once each."""
    if not state.policies.expires or not state.good_till:
        return state, ()
    over = sorted((moment, key.account_id, key.cl_ord_id) for key, moment in state.good_till.items() if moment <= now)
    reactions = []
    for moment, account_id, cl_ord_id in over:
        key = OrderKey(account_id, cl_ord_id)
        state = replace(state, good_till=state.good_till.drop(key))
        cancel = CancelOrder(key, "good till date has passed", moment)
        reactions.append(Reaction(Policy.EXPIRY, cancel, f"expiry-{account_id}-{cl_ord_id}"))
    return state, tuple(reactions)


def _on_breach(state: State, event: LimitBreached, at: datetime, seq: int) -> Iterator[Reaction]:
    mode = state.policies.on_loss
    if mode is None or event.measure not in (Measure.MAX_DAILY_LOSS, Measure.MAX_DRAWDOWN):
        return
    reason = f"{event.measure} of {event.limit:f} exceeded: {event.used:f}, limit version {event.version}"
    yield Reaction(
        Policy.LOSS, EngageSwitch(event.account_id, event.scope, mode, reason, transact_time=at), f"loss-{seq}"
    )


def _on_switch(state: State, event: SwitchEngaged, at: datetime, seq: int) -> Iterator[Reaction]:
    if not state.policies.cancels_on_switch:
        return
    for key in sorted(state.working, key=lambda key: (key.account_id, key.cl_ord_id)):
        order = state.working[key]
        is_covered = event.account_id in (FIRM, key.account_id)
        if not is_covered or not _covers(event.scope, order):
            continue
        if event.mode is Mode.REDUCE_ONLY and _is_closing(state, key, order):
            continue
        cancel = CancelOrder(key, f"kill switch {event.mode}: {event.reason}", at)
        yield Reaction(Policy.SWITCH, cancel, f"switch-{seq}-{key.account_id}-{key.cl_ord_id}")


def _covers(scope: Scope, order: Working) -> bool:
    return scope.covers(order.strategy_id, order.instrument_id, order.asset)


def _is_closing(state: State, key: OrderKey, order: Working) -> bool:
    """Whether all working orders of its side together only close its strategy's position."""
    held = state.positions.get((key.account_id, order.strategy_id, order.instrument_id), ZERO)
    if held * order.side.sign >= 0:
        return False
    same_side_qty = sum(
        (
            other.quantity
            for at, other in state.working.items()
            if at.account_id == key.account_id
            and (other.strategy_id, other.instrument_id, other.side)
            == (order.strategy_id, order.instrument_id, order.side)
        ),
        ZERO,
    )
    return bool(same_side_qty <= abs(held))


def _hedged(state: State, event: HoldPosted, at: datetime, seq: int) -> tuple[State, list[Reaction]]:
    reactions = []
    for number, band in enumerate(state.policies.hedges):
        if band.account_id != event.key.account_id:
            continue
        if event.contract is not None and event.contract.base != band.asset:
            continue
        quantity = _hedge_quantity(state, band)
        if not quantity:
            continue
        key = OrderKey(band.account_id, f"hedge-{number}-{seq}")
        side = Side.BUY if quantity > 0 else Side.SELL
        terms = OrderTerms(band.strategy_id, band.instrument_id, side, ord_type=OrdType.MARKET, order_qty=abs(quantity))
        state = replace(state, pending_hedges=state.pending_hedges.put(key, PendingHedge(band, quantity, at)))
        reactions.append(Reaction(Policy.HEDGE, SubmitOrder(key, terms, at), key.cl_ord_id))
    return state, reactions


def delta(state: State, band: HedgeBand) -> Decimal | None:
    """The account's delta in the asset, working and requested hedges counted as filled; None if a price is unknown."""
    total = ZERO
    for (account_id, _, instrument_id), quantity in state.positions.items():
        listing: Listing | None = state.listed.get(instrument_id)
        if account_id != band.account_id or listing is None or listing.contract.base != band.asset:
            continue
        unit = _unit_delta(state, instrument_id)
        if unit is None:
            return None
        total += quantity * unit
    underway = _underway(state, band)
    if not underway:
        return exact(total)
    unit = _unit_delta(state, band.instrument_id)
    return None if unit is None else exact(total + underway * unit)


def _underway(state: State, band: HedgeBand) -> Decimal:
    working = (
        order.side.sign * order.quantity
        for key, order in state.working.items()
        if (key.account_id, order.strategy_id, order.instrument_id)
        == (band.account_id, band.strategy_id, band.instrument_id)
    )
    requested = (hedge.quantity for hedge in state.pending_hedges.values() if hedge.band == band)
    return sum(working, ZERO) + sum(requested, ZERO)


def _unit_delta(state: State, instrument_id: str) -> Decimal | None:
    """The delta of one unit or contract in its base currency; None if it is unknown."""
    listing: Listing | None = state.listed.get(instrument_id)
    if listing is None:
        return None
    contract = listing.contract
    if contract.kind is Kind.OPTION:
        return ZERO
    if contract.kind is not Kind.INVERSE:
        return contract.contract_size
    price = state.prices.get(instrument_id)
    return None if price is None else divide(contract.contract_size, price)


def _hedge_quantity(state: State, band: HedgeBand) -> Decimal:
    """The signed quantity that brings the delta back to its target, in full lots; zero within the band."""
    now = delta(state, band)
    unit = _unit_delta(state, band.instrument_id)
    if now is None or not unit or abs(now - band.target) <= band.band:
        return ZERO
    lot = state.listed[band.instrument_id].lot_size
    return exact((band.target - now) // (unit * lot) * lot)


def evolve(state: State, event: Any) -> State:
    """The state after an event. Total: events that no policy reads change nothing."""
    match event:
        case HoldPlaced() | HoldAdjusted():
            asset = event.contract.base if event.contract else None
            order = Working(event.strategy_id, event.instrument_id, event.side, event.quantity, asset=asset)
            return _working(state, event.key, order)
        case HoldRefused():
            return replace(state, pending_hedges=state.pending_hedges.drop(event.key))
        case HoldPosted():
            return _posted(state, event)
        case HoldVoided() | HoldExpired():
            return _closed(state, event.key)
        case OrderSubmitted():
            return _good_till(state, event.key, event.terms)
        case OrderReplaced():
            return state if event.terms is None else _good_till(state, event.key, event.terms)
        case OrderCancelRequested():
            return replace(state, good_till=state.good_till.drop(event.key))
        case InstrumentListed() | InstrumentAmended():
            listing = Listing(event.contract, event.lot_size)
            return replace(state, listed=state.listed.put(event.instrument_id, listing))
        case TradeBooked() if event.contract.kind is Kind.INVERSE:
            return replace(state, prices=state.prices.put(event.key.instrument_id, event.last_px))
        case _:
            return state


def _working(state: State, key: OrderKey, order: Working) -> State:
    if order.quantity <= 0:
        return _closed(state, key)
    return replace(state, working=state.working.put(key, order), pending_hedges=state.pending_hedges.drop(key))


def _closed(state: State, key: OrderKey) -> State:
    return replace(
        state,
        working=state.working.drop(key),
        good_till=state.good_till.drop(key),
        pending_hedges=state.pending_hedges.drop(key),
    )


def _good_till(state: State, key: OrderKey, terms: OrderTerms) -> State:
    if terms.expire_time is None:
        return replace(state, good_till=state.good_till.drop(key))
    return replace(state, good_till=state.good_till.put(key, terms.expire_time))


def _posted(state: State, event: HoldPosted) -> State:
    at = (event.key.account_id, event.strategy_id, event.instrument_id)
    quantity = exact(state.positions.get(at, ZERO) + event.quantity)
    positions = state.positions.put(at, quantity) if quantity else state.positions.drop(at)
    state = replace(state, positions=positions)
    order: Working | None = state.working.get(event.key)
    if order is None or not event.released:
        return state
    return _working(state, event.key, replace(order, quantity=exact(order.quantity - event.released)))
