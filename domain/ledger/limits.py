"""Routing to limits: the limit streams, of the account and of the firm, that check a command and record its usage.

An account's stream records whether the firm watches. While it does not, nothing here reads or writes `limit:firm`;
while it does, every change of usage goes into both streams in one append. The watch begins in the append that gives the
firm its first limit or kill switch, with a record in every account's stream: an append that was decided on older state
conflicts on a stream's version, and is decided again. Opening an account writes to the firm's stream, so that no
account is missed.
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from msgspec.structs import replace

from domain import account as account_of
from domain import instrument, risk
from domain.account import Account
from domain.errors import RequestRefused
from domain.instrument import Contract
from domain.ledger import accounts, orders
from domain.ledger.unit_of_work import UnitOfWork
from domain.order import CancelOrders, Order, OrderKey, OrdStatus
from domain.position import (
    FundingSettled,
    PositionEvent,
    PositionKey,
    PositionRestated,
    PositionTransferred,
    TradeBooked,
    TradeReversed,
    half_hour_start,
)
from domain.risk import (
    FIRM,
    AccountRegistered,
    AdjustHold,
    AssessMarks,
    Cash,
    Change,
    DeadManSwitchFired,
    EngageSwitch,
    ExpireHold,
    FireDeadManSwitch,
    FirmUsageChanged,
    FirmWatchEnded,
    FirmWatchStarted,
    Hold,
    HoldEvent,
    HoldRefused,
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
)
from domain.values import ZERO, Mark, Money, exact

Marks = Callable[[str], Mark | None]


class Checked(NamedTuple):
    """The result of checking an order: the events to record, by stream, and the refusal if there is one."""

    events: tuple[tuple[str, tuple[RiskEvent, ...]], ...]
    refused: HoldRefused | None

    @property
    def refusal(self) -> RequestRefused | None:
        """The error to raise to the caller."""
        return risk.refusal(self.refused) if self.refused is not None else None


def check(work: UnitOfWork, request: PlaceHold | AdjustHold, marks: Marks) -> Checked:
    """Check an order or replacement against the limits of its account and, while it watches, of the firm."""
    account_id = request.key.account_id
    ours, theirs = risk.stream(account_id), risk.stream(FIRM)
    account: Risk = work.state(ours) or Risk()
    firm: Risk | None = work.state(theirs) if account.is_watched else None
    request = _with_marks(request, [known for known in (account, firm) if known is not None], marks)
    if account.needs_cash:
        request = replace(request, cash=cash_of(work, account_id))
    events = risk.decide(account, request)
    refused = _refused(events)
    if firm is None or refused is not None:
        return Checked(((ours, events),), refused)
    firm_events = risk.decide(firm, request)
    refused = _refused(firm_events)
    if refused is not None:
        events = (*risk.without_refusals(events[:-1]), _with_marks_of(refused, events[-1]))
    return Checked(((ours, events), (theirs, _for_firm(account_id, firm_events))), refused)


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
            request = _with_marks(request, [known], marks)
        case _:
            pass
    work.record(stream, risk.decide(known, request))
    if request.account_id == FIRM:
        _watch(work, known, request.transact_time)


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


def _with_marks(request: MarkedRequest, risks: Iterable[Risk], marks: Marks) -> Any:
    """The request with the newest mark of every instrument that its check needs; its own marks take precedence."""
    given = {mark.instrument_id for mark in request.marks}
    if isinstance(request, PlaceHold) and request.mark is not None:
        given.add(request.mark.instrument_id)
    needed: set[str] = set()
    for known in risks:
        needed |= known.marks_needed_to_assess() if isinstance(request, AssessMarks) else _needed(known, request)
    found = [mark for mark in (marks(name) for name in sorted(needed - given)) if mark is not None]
    return replace(request, marks=(*request.marks, *found)) if found else request


def cash_of(work: accounts.States, account_id: str) -> Cash:
    """The balances of an account on record, less what pending transfers will take."""
    known: Account = work.state(account_of.stream(account_id))
    moved = accounts.held_by(work, account_id).balances
    leaving = {leg.amount.currency for leg in known.cash.pending.values()}
    currencies = sorted(known.cash.balances.keys() | moved.keys() | leaving)
    return Cash({currency: known.cash.available(currency, moved) for currency in currencies})


def _needed(known: Risk, request: PlaceHold | AdjustHold) -> set[str]:
    terms = request.terms
    is_at_market = terms.price is None and terms.stop_px is None
    return known.marks_needed(terms.strategy_id, terms.instrument_id, request.contract.base, is_at_market=is_at_market)


def _contract_of(work: UnitOfWork, instrument_id: str) -> Contract:
    listed = work.state(instrument.stream(instrument_id))
    if listed is None:
        raise RequestRefused("the instrument is listed; list it first", instrument_id=instrument_id)
    contract: Contract = listed.contract
    return contract


def restate(work: UnitOfWork, key: OrderKey, at: datetime) -> None:
    """Adjust or release an order's hold to what it may still fill, by its present state."""
    order: Order | None = work.state(f"order:{key.account_id}:{key.cl_ord_id}")
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
    if (known.quantity if known else ZERO) == wanted:
        return
    listed = work.state(instrument.stream(order.instrument_id))
    contract = listed.contract if listed is not None else None
    report = RestateHold(
        key, order.strategy_id, order.instrument_id, order.side, quantity=wanted, contract=contract, transact_time=at
    )
    admit(work, key.account_id, report)


def post(work: UnitOfWork, key: PositionKey, event: PositionEvent, contract: Contract | None) -> None:
    """Post a booking to the limits: quantity, cost and gains. `contract` is the position's."""
    report = posting(key, event, contract)
    if report is not None:
        admit(work, key.account_id, report)


def posting(key: PositionKey, event: PositionEvent, contract: Contract | None) -> PostHold | PostGains | None:
    """The report of a booking to the limits; None if it moves neither quantity nor money. Only a fill has an order."""
    strategy_id, instrument_id = key.strategy_id, key.instrument_id
    match event:
        case TradeBooked():
            order_key, effect = OrderKey(key.account_id, event.cl_ord_id), event.effect
            return PostHold(
                key=order_key, strategy_id=strategy_id, instrument_id=instrument_id, exec_id=event.exec_id,
                quantity=effect.quantity, last_qty=event.last_qty, transact_time=event.transact_time, cost=effect.cost,
                gains=_gains(event, 1), contract=event.contract,
            )  # fmt: skip
        case TradeReversed():
            effect = event.effect
            return PostHold(
                key=_no_order(key), strategy_id=strategy_id, instrument_id=instrument_id, exec_id=event.exec_id,
                quantity=exact(-effect.quantity), last_qty=ZERO, transact_time=event.transact_time,
                cost=exact(-effect.cost), gains=_gains(event, -1), contract=event.contract,
            )  # fmt: skip
        case PositionTransferred():
            gain = exact(event.effect.realized + event.effect.rounding + (event.cost if event.reason.is_income else 0))
            gains = (Money(gain, event.contract.settle),) if gain else ()
            return PostHold(
                key=_no_order(key), strategy_id=strategy_id, instrument_id=instrument_id, exec_id=event.transfer_id,
                quantity=event.effect.quantity, last_qty=ZERO, transact_time=event.transact_time,
                cost=event.effect.cost, gains=gains, contract=event.contract,
            )  # fmt: skip
        case FundingSettled():
            change = Change(event.transact_time, gains=(event.amount,))
            return PostGains(key.account_id, strategy_id, instrument_id, source=event.funding_id, changes=(change,))
        case PositionRestated():
            source = event.late_exec_ids[0] if event.late_exec_ids else ""
            return PostGains(key.account_id, strategy_id, instrument_id, source, changes=_restated(event, contract))
        case _:
            return None


def _no_order(key: PositionKey) -> OrderKey:
    return OrderKey(key.account_id, "")


def _gains(event: TradeBooked | TradeReversed, sign: int) -> tuple[Money, ...]:
    """The gains of a trade, by currency: realized to the last place, less fees; a base fee of spot at its cost."""
    effect, contract = event.effect, event.contract
    if not (effect.fee or effect.realized or effect.rounding or effect.fee_cost):
        return ()
    settled = exact(effect.realized + effect.rounding - effect.fee_cost)
    fee, paid_in = effect.fee, event.commission.currency
    if effect.fee_cost or (contract.kind is instrument.Kind.SPOT and paid_in == contract.base):
        fee = ZERO
    if fee and paid_in == contract.settle:
        settled, fee = exact(settled - fee), ZERO
    gains = [Money(exact(sign * settled), contract.settle)] if settled else []
    if fee:
        gains.append(Money(exact(-sign * fee), paid_in))
    return tuple(gains)


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
