"""Routing to limits: the limit streams, of the account and of the firm, that check a command and record its usage.

An account's stream records whether the firm watches. While it does not, nothing here reads or writes `limit:firm`;
while it does, every change of usage goes into both streams in one append. The watch begins in the append that gives the
firm its first limit or kill switch, with a record in every account's stream: an append that was decided on older state
conflicts on a stream's version, and is decided again. Opening an account writes to the firm's stream, so that no
account is missed.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from decimal import Decimal, DecimalException
from typing import Any, NamedTuple, Protocol

from msgspec.structs import replace

from domain import account as account_of
from domain import instrument, names, position, risk
from domain.account import Account
from domain.errors import RequestRefused
from domain.holdings import balances
from domain.instrument import Contract, Instrument
from domain.ledger import accounts, orders
from domain.ledger.unit_of_work import UnitOfWork
from domain.order import CancelOrders, Order, OrderKey, OrdStatus
from domain.position import (
    FundingSettled,
    Position,
    PositionEvent,
    PositionKey,
    PositionRestated,
    PositionTransferred,
    TradeBooked,
    TradeReversed,
    expensed,
    half_hour_start,
    paid_in_base,
)
from domain.risk import (
    FIRM,
    AccountRegistered,
    AdjustHold,
    AssessMarks,
    CapitalStated,
    Cash,
    Change,
    DeadManSwitchFired,
    EngageSwitch,
    ExpireHold,
    FireDeadManSwitch,
    FirmUsageChanged,
    FirmWatchEnded,
    FirmWatchStarted,
    Funds,
    Hold,
    HoldEvent,
    HoldRefused,
    Measure,
    Mode,
    PlaceHold,
    PostGains,
    PostHold,
    ReleaseSwitch,
    RestateHold,
    Risk,
    RiskEvent,
    RiskReport,
    Scope,
    SetConversion,
    SettingRequest,
    VoidHold,
    Wallet,
    own_price,
    summed,
)
from domain.values import ZERO, Mark, Money, exact

Marks = Callable[[str], Mark | None]


class States(Protocol):
    """What the capital on record is read from: the present state of a stream."""

    def state(self, stream: str) -> Any:
        """The state of a stream; None if it is empty."""


class Checked(NamedTuple):
    """The result of checking an order: the events to record, by stream, and the refusal if there is one."""

    events: tuple[tuple[str, tuple[RiskEvent, ...]], ...]
    refused: HoldRefused | None
    contract: Contract | None = None

    @property
    def refusal(self) -> RequestRefused | None:
        """The error to raise to the caller."""
        if self.refused is None:
            return None
        refusal, failed = in_units(risk.refusal(self.refused), self.contract), self.refused.failed
        if failed is not None and failed.measure is Measure.MAX_POSITION and failed.scope.is_of_coin:
            refusal.unit = failed.scope.asset
        return refusal


def in_units(refusal: RequestRefused, contract: Contract | None) -> RequestRefused:
    """The refusal with the unit of its quantities."""
    refusal.unit = contract.unit if contract is not None else None
    return refusal


def check(work: UnitOfWork, request: PlaceHold | AdjustHold, marks: Marks) -> Checked:
    """Check an order or replacement against the limits of its account and, while it watches, of the firm."""
    account_id = request.key.account_id
    ours, theirs = risk.stream(account_id), risk.stream(FIRM)
    account: Risk = work.state(ours) or Risk()
    firm: Risk | None = work.state(theirs) if account.is_watched else None
    watching = {account_id: account} if firm is None else {account_id: account, FIRM: firm}
    requests = _with_facts(work, request, watching, marks)
    cash = cash_of(work, account_id) if account.needs_cash else None
    events = risk.decide(account, replace(requests[account_id], cash=cash))
    refused = _refused(events)
    if firm is None or refused is not None:
        return Checked(((ours, events),), refused, request.contract)
    firm_events = risk.decide(firm, requests[FIRM])
    refused = _refused(firm_events)
    if refused is not None:
        events = (*risk.without_refusals(events[:-1]), _with_marks_of(refused, events[-1]))
    return Checked(((ours, events), (theirs, _for_firm(account_id, firm_events))), refused, request.contract)


def record(work: UnitOfWork, checked: Checked) -> None:
    """Record the result of a check."""
    for stream, events in checked.events:
        work.record(stream, events)


def admit(work: UnitOfWork, account_id: str, report: RiskReport) -> None:
    """Record a change of a position or working order in the account's stream and, while it watches, the firm's."""
    ours = risk.stream(account_id)
    account: Risk | None = work.state(ours)
    work.record(ours, risk.admit(account, report))
    if account is not None and account.is_watched:
        theirs = risk.stream(FIRM)
        work.record(theirs, _for_firm(account_id, risk.admit(work.state(theirs), report)))


def register(work: UnitOfWork, account_id: str, at: datetime) -> None:
    """Register a new account with the firm, which watches it if it watches any."""
    theirs = risk.stream(FIRM)
    firm: Risk | None = work.state(theirs)
    work.record(theirs, (AccountRegistered(account_id, at),))
    if firm is not None and firm.needs_watch:
        work.record(risk.stream(account_id), (FirmWatchStarted(account_id, at),))


def check_account_id(account_id: str) -> None:
    """Check that an account id is not the firm's. Raises RequestRefused."""
    if account_id == FIRM:
        raise RequestRefused("an account id other than the firm's own", account_id=account_id)


def carry_out(work: UnitOfWork, request: SettingRequest, marks: Marks, actor: str) -> None:
    """Set a limit, kill switch or convention of an account or of the firm, or monitor it. Raises RequestRefused."""
    stream = risk.stream(request.account_id)
    known: Risk = work.state(stream) or Risk()
    match request:
        case EngageSwitch() | ReleaseSwitch():
            request = replace(request, actor=actor)
        case SetConversion():
            request = replace(request, contract=_contract_of(work, request.instrument_id))
        case AssessMarks():
            if request.account_id == FIRM and not known.needs_watch:
                raise RequestRefused("a firm with limits; set one first", account_id=FIRM)
            check_marks(work, request.marks)
            request = _with_facts(work, request, {request.account_id: known}, marks)[request.account_id]
        case _:
            pass
    work.record(stream, risk.decide(known, request))
    if request.account_id == FIRM:
        _watch(work, known, request.transact_time)


def check_marks(work: UnitOfWork, found: Iterable[Mark]) -> None:
    """Check that instruments may have their marks' prices; of one not listed, above zero. Raises RequestRefused."""
    for mark in found:
        if not mark.price.is_finite() or mark.price > 0:
            continue
        listed: Instrument | None = work.state(instrument.stream(mark.instrument_id))
        if listed is not None and listed.contract.has_price(mark.price):
            continue
        if listed is not None and listed.contract.has_price(ZERO):
            raise RequestRefused("a mark of zero or above", instrument_id=mark.instrument_id, price=mark.price)
        raise RequestRefused("a mark above zero", instrument_id=mark.instrument_id, price=mark.price)


def fire(work: UnitOfWork, request: FireDeadManSwitch, actor: str) -> None:
    """Fire a dead man's switch: cancel every working order of its scope, in the same unit of work; none is forgotten.

    Where it halts, the kill switch of the scope is engaged before. Raises RequestRefused.
    """
    stream = risk.stream(request.account_id)
    fired = work.record(stream, risk.decide(work.state(stream), request))
    if not fired:
        return
    event: DeadManSwitchFired = fired[0].event
    if event.halts:
        halt = EngageSwitch(
            event.account_id, Scope(event.strategy_id), Mode.HALT, event.reason, transact_time=request.transact_time,
            actor=actor,
        )  # fmt: skip
        work.record(stream, risk.decide(work.state(stream), halt))
    working = (key for key, hold in work.state(stream).holds.items() if event.strategy_id in (None, hold.strategy_id))
    names = tuple(sorted(key.cl_ord_id for key in working))
    orders.cancel_each(work, CancelOrders(event.account_id, names, event.reason, request.transact_time))


def monitor(work: UnitOfWork, found: Sequence[Mark], marks: Marks) -> None:
    """Check what new marks value against the limits of every account with such holdings, and of the firm.

    A mark that is older than the newest on record, or than a fresh one is, changes nothing. Where a check fails for
    another reason than a limit, the marks are recorded all the same.
    """
    firm: Risk | None = work.state(risk.stream(FIRM)) if found else None
    given = {mark.instrument_id: mark for mark in found}
    newest: dict[str, Mark] = {}
    for account_id in [*sorted(firm.accounts), FIRM] if firm is not None else []:
        known: Risk | None = work.state(risk.stream(account_id))
        if known is None or not known.is_marked:
            continue
        used = [given[name] for name in sorted(_marks_of(work, known, account_id) & given.keys())]
        if not _is_any_fresh(known, used, work.now):
            continue
        for mark in used:
            newest.setdefault(mark.instrument_id, _newer(mark, marks(mark.instrument_id)))
        own = tuple(newest[mark.instrument_id] for mark in used)
        _assess(work, AssessMarks(account_id, own, work.now), marks)


def monitor_moved(work: UnitOfWork, marks: Marks) -> None:
    """Check the accounts whose positions or capital this unit of work has changed, and the firm that watches them.

    It is done at the newest marks; not where something is held and no mark is fresh. Where a check fails for another
    reason than a limit, what has changed is recorded all the same.
    """
    moved = {_owner_of(record.event) for record in work.records if type(record.event) in _MOVING}
    is_watched = any(own.is_watched for own in map(work.state, map(risk.stream, sorted(moved))) if own is not None)
    for account_id in [*sorted(moved), *([FIRM] if is_watched else [])]:
        known: Risk | None = work.state(risk.stream(account_id))
        if known is None or not known.is_marked:
            continue
        if any(cell.now.quantity for _, _, cell in known.exposure.all()):
            found = [marks(name) for name in sorted(_marks_of(work, known, account_id))]
            if not _is_any_fresh(known, filter(None, found), work.now):
                continue
        _assess(work, AssessMarks(account_id, (), work.now), marks)


_MOVING = frozenset((
    TradeBooked, TradeReversed, PositionTransferred, FundingSettled, CapitalStated, account_of.EntryBooked,
    account_of.FeeCharged, account_of.TransferSettled, account_of.TransferReturned,
))  # fmt: skip


def _owner_of(event: Any) -> str:
    account_id: str = event.key.account_id if hasattr(event, "key") else event.account_id
    return account_id


def _marks_of(work: UnitOfWork, known: Risk, account_id: str) -> set[str]:
    """The instruments whose marks monitoring of an account, or of the firm, needs."""
    funds = funds_of(work, known, account_id) if known.needs_funds else None
    return known.marks_needed_to_assess(funds, wallets_of(work, known, account_id))


def _is_any_fresh(known: Risk, found: Iterable[Mark], at: datetime) -> bool:
    age_max = risk.age_allowed(limit for limit in known.active if limit.scope == risk.ANYWHERE)
    return any(at - mark.mark_at <= age_max for mark in found)


def _assess(work: UnitOfWork, request: AssessMarks, marks: Marks) -> None:
    with suppress(RequestRefused, DecimalException):
        carry_out(work, request, marks, actor="")


def _newer(mark: Mark, known: Mark | None) -> Mark:
    return known if known is not None and known.mark_at > mark.mark_at else mark


def _watch(work: UnitOfWork, before: Risk, at: datetime) -> None:
    """Start or end the firm's watch when it gets its first limit or switch, or loses its last."""
    theirs = risk.stream(FIRM)
    firm: Risk | None = work.state(theirs)
    if firm is None or firm.needs_watch == before.needs_watch:
        return
    if not firm.needs_watch:
        work.record(theirs, (FirmWatchEnded(FIRM, at),))
    for account_id in sorted(firm.accounts):
        ours = risk.stream(account_id)
        if firm.needs_watch:
            work.record(theirs, risk.carried(work.state(ours), account_id, at))
            work.record(ours, (FirmWatchStarted(account_id, at),))
        else:
            work.record(ours, (FirmWatchEnded(account_id, at),))


def _refused(events: tuple[RiskEvent, ...]) -> HoldRefused | None:
    return events[-1] if events and isinstance(events[-1], HoldRefused) else None


def _with_marks_of(refused: HoldRefused, passed: RiskEvent) -> HoldRefused:
    """The firm's refusal with the marks that only the account's check has used, or nothing would state them."""
    known = {seen.mark.instrument_id for seen in refused.marks}
    added = tuple(seen for seen in getattr(passed, "marks", ()) if seen.mark.instrument_id not in known)
    return replace(refused, marks=(*refused.marks, *added)) if added else refused


def _for_firm(account_id: str, events: tuple[RiskEvent, ...]) -> tuple[RiskEvent, ...]:
    return tuple(FirmUsageChanged(account_id, event) if isinstance(event, HoldEvent) else event for event in events)


MarkedRequest = PlaceHold | AdjustHold | AssessMarks


def _with_facts(work: UnitOfWork, request: MarkedRequest, watching: Mapping[str, Risk], marks: Marks) -> dict[str, Any]:
    """The request for each of those that check it: with the capital on record, where a limit measures by it, and the
    newest mark of every instrument that any of them needs. The request's own marks take precedence.
    """
    given = {mark.instrument_id for mark in request.marks}
    if isinstance(request, PlaceHold) and request.mark is not None:
        given.add(request.mark.instrument_id)
    needed: set[str] = set()
    funds = {owner: funds_of(work, known, owner) if known.needs_funds else None for owner, known in watching.items()}
    wallets = {owner: wallets_of(work, known, owner) for owner, known in watching.items()}
    for owner, known in watching.items():
        needed |= _needed(known, request, funds[owner], wallets[owner])
    found = [mark for mark in (marks(name) for name in sorted(needed - given)) if mark is not None]
    if found:
        request = replace(request, marks=(*request.marks, *found))
    return {
        owner: request if paid is None and not wallets[owner] else replace(request, funds=paid, wallets=wallets[owner])
        for owner, paid in funds.items()
    }


def funds_of(states: States, known: Risk, owner: str) -> Funds | None:
    """The capital on record of an account, or of the firm: of all its accounts together."""
    return _paid_into(states, sorted(known.accounts) if owner == FIRM else [owner])


def _paid_into(states: States, account_ids: Sequence[str]) -> Funds | None:
    """What was paid into accounts: their cash entries less loans, and what was transferred in, at its cost.

    It is counted in the base currency that most of them have, of equally many the first. None of no account.
    """
    paid_in: dict[str, Decimal] = {}
    in_kind: dict[str, Decimal] = {}
    bases: dict[str, int] = {}
    is_on_record = False
    for account_id in account_ids:
        owned: Account | None = states.state(account_of.stream(account_id))
        if owned is None:
            continue
        bases[owned.base_currency] = bases.get(owned.base_currency, 0) + 1
        is_on_record = is_on_record or _has_cash(owned)
        for currency, amount in owned.cash.balances.items():
            paid_in[currency] = paid_in.get(currency, ZERO) + amount - owned.cash.loans.get(currency, ZERO)
        for of in sorted(owned.positions):
            held: Position | None = states.state(position.stream(PositionKey(account_id, *of)))
            if held is not None and held.contract is not None and not balances.is_future(held.contract):
                settle = held.contract.settle
                in_kind[settle] = in_kind.get(settle, ZERO) + held.transferred
    if not bases:
        return None
    base = min(bases, key=lambda name: (-bases[name], name))
    is_on_record = is_on_record or any(in_kind.values())
    return Funds(base, summed(balances.total(paid_in, in_kind)), is_on_record)


def wallets_of(states: States, known: Risk, owner: str) -> tuple[Wallet, ...]:
    """The cash of an account, or of all accounts of the firm, less what is borrowed; () where no limit measures it."""
    if not known.needs_wallets:
        return ()
    wallets = []
    for account_id in sorted(known.accounts) if owner == FIRM else [owner]:
        owned: Account | None = states.state(account_of.stream(account_id))
        if owned is not None:
            owed = {currency: -amount for currency, amount in owned.cash.loans.items()}
            coins = summed(balances.total(dict(owned.cash.balances), owed))
            wallets.append(Wallet(account_id, owned.base_currency, coins))
    return tuple(wallets)


def _has_cash(owned: Account) -> bool:
    """Whether any movement of cash is booked."""
    cash = owned.cash
    return bool(cash.balances or cash.entries) or any(each.settled_at for each in cash.transfers.values())


def cash_of(work: accounts.States, account_id: str) -> Cash:
    """The balances of an account on record, less what pending transfers will take."""
    known: Account = work.state(account_of.stream(account_id))
    moved = accounts.held_by(work, account_id).balances
    leaving = {leg.amount.currency for leg in known.cash.pending.values()}
    currencies = sorted(known.cash.balances.keys() | moved.keys() | leaving)
    return Cash({currency: known.cash.available(currency, moved) for currency in currencies})


def _needed(known: Risk, request: MarkedRequest, funds: Funds | None, wallets: tuple[Wallet, ...]) -> set[str]:
    if isinstance(request, AssessMarks):
        return known.marks_needed_to_assess(funds, wallets)
    terms, contract = request.terms, request.contract
    return known.marks_needed(
        terms.strategy_id, terms.instrument_id, contract.base,
        is_at_market=terms.price is None and terms.stop_px is None, quote=contract.quote, funds=funds,
        wallets=wallets,
    )  # fmt: skip


def _contract_of(work: UnitOfWork, instrument_id: str) -> Contract:
    listed = work.state(instrument.stream(instrument_id))
    if listed is None:
        raise RequestRefused("the instrument is listed; list it first", instrument_id=instrument_id)
    contract: Contract = listed.contract
    return contract


def restate(work: UnitOfWork, key: OrderKey, at: datetime) -> None:
    """Adjust or release an order's hold to what it may still fill, by its present state."""
    order: Order | None = work.state(names.stream("order", key.account_id, key.cl_ord_id))
    if order is None or order.alias_of:
        return
    if not order.is_open and (order.ended is not None or not order.unanswered):
        is_expired = order.status is OrdStatus.EXPIRED
        admit(work, key.account_id, ExpireHold(key, at) if is_expired else VoidHold(key, at))
        return
    if order.order_qty is None or not order.instrument_id:
        return
    limits: Risk | None = work.state(risk.stream(key.account_id))
    known: Hold | None = limits.exposure.holds.get(key) if limits else None
    wanted = order.held_qty
    price = own_price(order.terms) if order.terms is not None and not order.unanswered else None
    is_repriced = known is not None and None not in (known.price, price) and known.price != price
    if (known.quantity if known else ZERO) == wanted and not is_repriced:
        return
    listed = work.state(instrument.stream(order.instrument_id))
    contract = listed.facts_at(at).contract if listed is not None else None
    report = RestateHold(
        key, order.strategy_id, order.instrument_id, order.side, quantity=wanted, contract=contract, transact_time=at,
        position_side=order.leg, price=price,
    )  # fmt: skip
    admit(work, key.account_id, report)


def hold_again(work: UnitOfWork, key: OrderKey, at: datetime) -> None:
    """Release an order's hold, and hold again what it may still fill in the instrument that it was carried into."""
    admit(work, key.account_id, VoidHold(key, at))
    restate(work, key, at)


def post(work: UnitOfWork, key: PositionKey, event: PositionEvent, contract: Contract | None) -> None:
    """Post a booking to the limits: quantity, cost and gains. `contract` is the position's."""
    report = posting(key, event, contract)
    if report is not None:
        admit(work, key.account_id, report)


def posting(key: PositionKey, event: PositionEvent, contract: Contract | None) -> PostHold | PostGains | None:
    """The report of a booking to the limits; None if it moves neither quantity nor money. Only a fill has an order."""
    strategy_id, instrument_id, leg = key.strategy_id, key.instrument_id, key.position_side
    match event:
        case TradeBooked():
            order_key, effect = OrderKey(key.account_id, event.cl_ord_id), event.effect
            return PostHold(
                key=order_key, strategy_id=strategy_id, instrument_id=instrument_id, exec_id=event.exec_id,
                quantity=effect.quantity, last_qty=event.last_qty, transact_time=event.transact_time, cost=effect.cost,
                gains=_gains(event, 1), contract=event.contract, position_side=leg,
            )  # fmt: skip
        case TradeReversed():
            effect = event.effect
            return PostHold(
                key=_no_order(key), strategy_id=strategy_id, instrument_id=instrument_id, exec_id=event.exec_id,
                quantity=exact(-effect.quantity), last_qty=ZERO, transact_time=event.transact_time,
                cost=exact(-effect.cost), gains=_gains(event, -1), contract=event.contract,
                position_side=leg,
            )  # fmt: skip
        case PositionTransferred():
            is_income = event.reason.is_income
            gain = exact(event.effect.realized + event.effect.rounding + (event.cost if is_income else 0))
            gains = (Money(gain, event.contract.settle),) if gain else ()
            return PostHold(
                key=_no_order(key), strategy_id=strategy_id, instrument_id=instrument_id, exec_id=event.transfer_id,
                quantity=event.effect.quantity, last_qty=ZERO, transact_time=event.transact_time,
                cost=event.effect.cost, gains=gains, contract=event.contract, position_side=leg,
                transferred=ZERO if is_income or balances.is_future(event.contract) else event.cost,
            )  # fmt: skip
        case FundingSettled():
            change = Change(event.transact_time, gains=(event.amount,))
            return PostGains(
                key.account_id, strategy_id, instrument_id, source=event.funding_id, changes=(change,),
                position_side=leg,
            )  # fmt: skip
        case PositionRestated():
            source = event.late_exec_ids[0] if event.late_exec_ids else ""
            return PostGains(
                key.account_id, strategy_id, instrument_id, source, changes=_restated(event, contract),
                position_side=leg,
            )  # fmt: skip
        case _:
            return None


def _no_order(key: PositionKey) -> OrderKey:
    return OrderKey(key.account_id, "")


def _gains(event: TradeBooked | TradeReversed, sign: int) -> tuple[Money, ...]:
    """The gains of a trade, by currency: realized to the last place, less fees; a base fee of spot at its cost."""
    effect, contract = event.effect, event.contract
    fees = expensed(effect, event.commission)
    if not (fees or effect.realized or effect.rounding or effect.fee_cost):
        return ()
    settled = exact(effect.realized + effect.rounding - effect.fee_cost)
    in_base = paid_in_base(contract, fees)
    others = []
    for fee in fees:
        if fee.currency == contract.settle:
            settled = exact(settled - fee.amount)
        elif fee is not in_base:
            others.append(Money(exact(-sign * fee.amount), fee.currency))
    return (*((Money(exact(sign * settled), contract.settle),) if settled else ()), *others)


def _restated(event: PositionRestated, contract: Contract | None) -> tuple[Change, ...]:
    """The changes of a restatement, summed by the hour they belong to: trading days start at full hours."""
    settle = contract.settle if contract else ""
    sums: dict[datetime, tuple[Decimal, Decimal]] = {}

    def add(at: datetime, cost: Decimal, gained: Decimal) -> None:
        hour = at.replace(minute=0, second=0, microsecond=0)
        known = sums.get(hour, (ZERO, ZERO))
        sums[hour] = (known[0] + cost, known[1] + gained)

    for item in event.items:
        was, now = item.was, item.now
        gained = (now.realized + now.rounding - now.fee_cost) - (was.realized + was.rounding - was.fee_cost)
        add(item.transact_time, now.cost - was.cost, gained)
    for moved in event.moved:
        add(half_hour_start(moved.half_hour), moved.cost, moved.realized + moved.rounding - moved.fee_cost)
    return tuple(
        Change(hour, ZERO, exact(cost), (Money(exact(gain), settle),) if gain else ())
        for hour, (cost, gain) in sorted(sums.items())
        if cost or gain
    )
