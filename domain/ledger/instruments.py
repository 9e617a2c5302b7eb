"""Routing to instruments: what is held of one, and every open order in it, follows what becomes of it.

A redenomination, another contract size, a delisting and a delivery are one unit of work over the instrument, and over
the positions, orders, limits and cash of every account they are about.
"""

from msgspec.structs import replace

from domain import account, instrument, order, position
from domain.account import Account, RedenominateAsset
from domain.errors import RequestRefused
from domain.instrument import (
    AmendInstrument,
    DelistInstrument,
    Instrument,
    InstrumentRequest,
    Kind,
    ListInstrument,
    RedenominateInstrument,
)
from domain.ledger import accounts, limits, orders
from domain.ledger.admission import book
from domain.ledger.unit_of_work import UnitOfWork
from domain.order import Order
from domain.position import DeliverContract
from domain.values import ZERO, exact


def decide(work: UnitOfWork, request: InstrumentRequest) -> None:
    """List, amend, delist or redenominate an instrument; what is held is turned with it. Raises RequestRefused."""
    stream = instrument.stream(request.instrument_id)
    listed = work.state(stream)
    amended = work.record(stream, instrument.decide(listed, request))
    if amended and isinstance(request, AmendInstrument):
        for transfer in accounts.resized(work, listed, request):
            book(work, transfer.key, [transfer])
    if amended and isinstance(request, DelistInstrument):
        _delist(work, request)
    if amended and isinstance(request, RedenominateInstrument):
        if request.is_renaming:
            _rename(work, listed, request)
        for account_id in accounts.named(work, request.account_id):
            _redenominate(work, account_id, listed, request)


def _delist(work: UnitOfWork, request: DelistInstrument) -> None:
    """End open orders in an instrument and settle what is held, unless it is delisted ahead. Raises RequestRefused."""
    at, price = request.effective_at, request.settlement_px
    if at > work.now:
        if price is not None:
            raise RequestRefused("a delisted contract is settled when it is delisted, not ahead", effective_at=at)
        return
    for account_id in accounts.named(work, ""):
        for order_key in accounts.working_in(work, account_id, request.instrument_id):
            stream = order.stream(order_key)
            ended = order.delisted(work.state(stream), at)
            work.record(stream, order.admit(work.state(stream), ended))
            orders.report_to_parent(work, order_key, ended.transact_time)
            limits.restate(work, order_key, ended.transact_time)
        for key in accounts.held_in(work, account_id, request.instrument_id) if price is not None else ():
            trade = position.delisted(work.state(position.stream(key)), request)
            if trade is not None:
                book(work, key, [trade])


def _rename(work: UnitOfWork, old: Instrument, request: RedenominateInstrument) -> None:
    """List the new name of an instrument, unless it is listed, and delist the old one. Raises RequestRefused."""
    to, at, facts = request.to_instrument_id, request.effective_at, old.facts_at(request.effective_at)
    if work.state(instrument.stream(to)) is None:
        listing = ListInstrument(to, facts.contract, facts.tick_size, facts.lot_size)
        work.record(instrument.stream(to), instrument.decide(None, listing))
    stream = instrument.stream(old.instrument_id)
    work.record(stream, instrument.decide(work.state(stream), DelistInstrument(old.instrument_id, at)))


def _redenominate(work: UnitOfWork, account_id: str, old: Instrument, request: RedenominateInstrument) -> None:
    """Turn what an account holds of an instrument into another one, and carry its orders. Raises RequestRefused."""
    new: Instrument | None = work.state(instrument.stream(request.to_instrument_id))
    instrument.check_successor(old, new, request)
    assert new is not None, "checked"
    here, there = old.facts_at(request.effective_at), new.facts_at(request.effective_at)
    for key in accounts.held_in(work, account_id, old.instrument_id):
        other = work.state(position.stream(replace(key, instrument_id=request.to_instrument_id)))
        transfers = position.redenominated(work.state(position.stream(key)), other, request)
        for transfer in transfers:
            book(work, transfer.key, [transfer])
        paid = position.fraction(transfers, request, there)
        if paid is not None:
            book(work, paid.key, [paid])
    for order_key in accounts.working_in(work, account_id, old.instrument_id):
        state: Order = work.state(order.stream(order_key))
        restated = order.carried(state, request, here, there)
        work.record(order.stream(order_key), order.admit(state, restated))
        orders.report_to_parent(work, order_key, restated.transact_time)
        limits.hold_again(work, order_key, restated.transact_time)


def redenominate_asset(work: UnitOfWork, account_id: str, request: RedenominateAsset) -> None:
    """Turn all that an account holds of a coin into another one: instruments, orders, cash. Raises RequestRefused."""
    stream = account.stream(account_id)
    if not work.record(stream, account.decide(work.state(stream), request)):
        return
    for instrument_id in accounts.instruments_of(work, account_id):
        listed = instrument_of(work, instrument_id)
        if request.asset in accounts.coins_of(listed, request.effective_at):
            _redenominate_with(work, account_id, listed, request)
    known: Account = work.state(stream)
    total = known.cash.total(request.asset, accounts.held_by(work, account_id).balances)
    work.record(stream, tuple(account.redenominated(account_id, known.cash, request, total)))


def _redenominate_with(work: UnitOfWork, account_id: str, old: Instrument, request: RedenominateAsset) -> None:
    """Turn what an account holds of an instrument in a coin into one in another coin. Raises RequestRefused."""
    keys = accounts.held_in(work, account_id, old.instrument_id)
    held = [state.quantity for key in keys if (state := work.state(position.stream(key))) is not None]
    working = accounts.working_in(work, account_id, old.instrument_id)
    if not (any(held) or working):
        return
    contract = old.facts_at(request.effective_at).contract
    if contract.kind not in (Kind.SPOT, Kind.LINEAR) or request.asset in (contract.settle, contract.quote):
        raise RequestRefused(
            "a contract that settles in the coin is closed first", account_id=account_id,
            instrument_id=old.instrument_id, held=exact(sum(held, ZERO)), working=len(working),
        )  # fmt: skip
    name, listing = instrument.successor(old, request)
    new: Instrument | None = work.state(instrument.stream(name))
    if new is None:
        work.record(instrument.stream(name), instrument.decide(None, listing))
        new = work.state(instrument.stream(name))
    assert new is not None, "it is listed"
    there = new.facts_at(request.effective_at).contract
    if there.base != request.to_asset:
        raise RequestRefused(
            "what an instrument becomes has the coin as its base", to_instrument_id=name, base=there.base,
            asset=request.to_asset,
        )  # fmt: skip
    turned = RedenominateInstrument(
        old.instrument_id, request.redenomination_id, name, exact(request.units * contract.contract_size),
        per=exact(request.per * there.contract_size), effective_at=request.effective_at, account_id=account_id,
    )  # fmt: skip
    _redenominate(work, account_id, old, turned)


def deliver(work: UnitOfWork, request: DeliverContract) -> None:
    """Deliver the underlying of an option or future. Raises RequestRefused."""
    account.opened(work.state(account.stream(request.key.account_id)), request.key.account_id)
    into = instrument_of(work, request.to.instrument_id).facts_at(request.transact_time).contract
    here, there = (work.state(position.stream(key)) for key in (request.key, request.to))
    found = position.delivered(here, there, into, request)
    if found is not None:
        event, closing, opening = found
        work.record(position.stream(request.key), (event,))
        book(work, request.key, [closing])
        book(work, request.to, [opening])


def instrument_of(work: UnitOfWork, instrument_id: str) -> Instrument:
    known: Instrument | None = work.state(instrument.stream(instrument_id))
    if known is None:
        raise RequestRefused("the instrument is listed; list it first", instrument_id=instrument_id)
    return known
