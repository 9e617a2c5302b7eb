"""HEDGE: an account whose delta in an asset leaves its band is brought back to the target with a market order.

The delta is looked at after each booking in the asset, and when the band is set. A hedge that works, or was requested
and is not in the log yet, counts as filled; one that leaves no trace does so for PENDING_AGE_MAX.
"""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from domain.immutable import PersistentMap
from domain.instrument import Contract, InstrumentAmended, InstrumentListed, Kind
from domain.ledger import Logged
from domain.order import OrderKey, OrderTerms, OrdType, SubmitOrder
from domain.policies import HedgeBand, Policy, PolicySet
from domain.position import TradeBooked
from domain.reactions import open_orders
from domain.reactions.open_orders import Open
from domain.reactions.process import Process, Reaction, Reactions, cause_of
from domain.risk import HoldPlaced, HoldPosted, HoldRefused
from domain.values import ZERO, Side, divide, exact

PENDING_AGE_MAX = timedelta(seconds=60)


class Listing(Struct, frozen=True):
    """The facts of an instrument that a hedge needs."""

    contract: Contract
    lot_size: Decimal


class Pending(Struct, frozen=True):
    """A hedge that was requested and is not in the log yet: signed quantity of its instrument."""

    strategy_id: str
    instrument_id: str
    quantity: Decimal
    at: datetime


class State(Struct, frozen=True):
    """The bands that are on, by account and asset, and what is open; `prices` are the last of inverse contracts."""

    bands: PersistentMap[tuple[str, str], HedgeBand] = PersistentMap()
    open: Open = Open()
    listed: PersistentMap[str, Listing] = PersistentMap()
    prices: PersistentMap[str, Decimal] = PersistentMap()
    pending: PersistentMap[OrderKey, Pending] = PersistentMap()


def react(state: State, logged: Logged) -> tuple[State, Reactions]:
    """The state after an event, and the requests it causes."""
    event, at = logged.recorded.event, logged.recorded.recorded_at
    state = evolve(_without_old(state, at), event)
    match event:
        case PolicySet(policy=Policy.HEDGE, is_on=True, band=HedgeBand() as band):
            return _hedged(state, event.account_id, band.asset, logged)
        case HoldPosted():
            return _hedged(state, event.key.account_id, event.contract.base if event.contract else None, logged)
        case _:
            return state, ()


def _without_old(state: State, now: datetime) -> State:
    old = [key for key, hedge in state.pending.items() if now - hedge.at > PENDING_AGE_MAX]
    for key in old:
        state = replace(state, pending=state.pending.drop(key))
    return state


def _hedged(state: State, account_id: str, asset: str | None, logged: Logged) -> tuple[State, Reactions]:
    """The state with the hedges requested after a change of an account's delta in an asset, None if it is unknown."""
    reactions = []
    of_account = sorted(place for place in state.bands if place[0] == account_id)
    for number, place in enumerate(of_account):
        band = state.bands[place]
        quantity = ZERO if asset not in (None, band.asset) else _hedge_quantity(state, account_id, band)
        if not quantity:
            continue
        at = logged.recorded.recorded_at
        key = OrderKey(account_id, f"hedge-{number}-{logged.seq}")
        side = Side.BUY if quantity > 0 else Side.SELL
        terms = OrderTerms(band.strategy_id, band.instrument_id, side, ord_type=OrdType.MARKET, order_qty=abs(quantity))
        pending = Pending(band.strategy_id, band.instrument_id, quantity, at)
        state = replace(state, pending=state.pending.put(key, pending))
        request = SubmitOrder(key, terms, at)
        request_id = f"hedge-{logged.seq}-{account_id}-{number}"
        reactions.append(Reaction(Policy.HEDGE, request, request_id, cause_of(logged.seq)))
    return state, tuple(reactions)


def delta(state: State, account_id: str, band: HedgeBand) -> Decimal | None:
    """The account's delta in the asset, working and requested hedges counted as filled; None if a price is unknown."""
    total = ZERO
    for (owner, _, instrument_id), quantity in state.open.positions.items():
        listing: Listing | None = state.listed.get(instrument_id)
        if owner != account_id or listing is None or listing.contract.base != band.asset:
            continue
        unit = _unit_delta(state, instrument_id)
        if unit is None:
            return None
        total += quantity * unit
    underway = _underway(state, account_id, band)
    if not underway:
        return exact(total)
    unit = _unit_delta(state, band.instrument_id)
    return None if unit is None else exact(total + underway * unit)


def _underway(state: State, account_id: str, band: HedgeBand) -> Decimal:
    place = (account_id, band.strategy_id, band.instrument_id)
    working = (
        order.side.sign * order.quantity
        for key, order in state.open.working.items()
        if (key.account_id, order.strategy_id, order.instrument_id) == place
    )
    requested = (
        hedge.quantity
        for key, hedge in state.pending.items()
        if (key.account_id, hedge.strategy_id, hedge.instrument_id) == place
    )
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


def _hedge_quantity(state: State, account_id: str, band: HedgeBand) -> Decimal:
    """The signed quantity that brings the delta back to its target, in full lots; zero within the band."""
    now = delta(state, account_id, band)
    unit = _unit_delta(state, band.instrument_id)
    if now is None or not unit or abs(now - band.target) <= band.band:
        return ZERO
    lot = state.listed[band.instrument_id].lot_size
    return exact((band.target - now) // (unit * lot) * lot)


def evolve(state: State, event: Any) -> State:
    """The state after an event, before it causes anything. Total: other events change nothing."""
    match event:
        case PolicySet(policy=Policy.HEDGE, band=HedgeBand() as band):
            place = (event.account_id, band.asset)
            return replace(state, bands=state.bands.put(place, band) if event.is_on else state.bands.drop(place))
        case HoldRefused():
            return replace(state, pending=state.pending.drop(event.key))
        case InstrumentListed() | InstrumentAmended():
            listing = Listing(event.contract, event.lot_size)
            return replace(state, listed=state.listed.put(event.instrument_id, listing))
        case TradeBooked() if event.contract.kind is Kind.INVERSE:
            return replace(state, prices=state.prices.put(event.key.instrument_id, event.last_px))
        case HoldPlaced():
            state = replace(state, pending=state.pending.drop(event.key))
    return replace(state, open=open_orders.evolve(state.open, event))


READS = frozenset((
    PolicySet, HoldRefused, InstrumentListed, InstrumentAmended, TradeBooked, *open_orders.READS,
))  # fmt: skip
PROCESS = Process("hedge", version=1, reads=READS, state=State, react=react)
