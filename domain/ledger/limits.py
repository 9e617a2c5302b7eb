"""Limits on the way of a command: which limit streams judge it and take it down, the account's and the firm's.

An account's stream knows whether the firm watches. While it does not, nothing here reads or writes `limit:firm`; while
it does, every change of usage goes into both streams in one append. The watch begins in the append that gives the firm
its first limit or kill switch, with a record in every account's stream: an append that was decided before, on older
knowledge, meets a version that is taken, and is decided again. Opening an account writes to the firm's stream, so that
no account can be missed.
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from msgspec.structs import replace

from domain import instrument, risk
from domain.errors import RequestRefused
from domain.instrument import Contract
from domain.ledger.unit_of_work import Work
from domain.order import Order, OrderKey, OrdStatus
from domain.position import (
    FundingSettled,
    PositionEvent,
    PositionKey,
    PositionRestated,
    PositionTransferred,
    TradeBooked,
    TradeReversed,
)
from domain.risk import (
    FIRM,
    AccountRegistered,
    AdjustHold,
    AssessMarks,
    Change,
    EngageSwitch,
    ExpireHold,
    FirmUsageChanged,
    FirmWatchEnded,
    FirmWatchStarted,
    Hold,
    HoldEvent,
    HoldRefused,
    PlaceHold,
    PostGains,
    PostHold,
    ReleaseSwitch,
    RestateHold,
    Risk,
    RiskEvent,
    RiskReport,
    SetConversion,
    SettingRequest,
    VoidHold,
)
from domain.values import ZERO, Mark, Money, exact

Marks = Callable[[str], Mark | None]


class Verdict(NamedTuple):
    """What the limits say to an order: what they take down, stream by stream, and the refusal if there is one."""

    events: tuple[tuple[str, tuple[RiskEvent, ...]], ...]
    refused: HoldRefused | None

    @property
    def refusal(self) -> RequestRefused | None:
        """The error that tells the caller."""
        return risk.refusal(self.refused) if self.refused is not None else None


def judge(work: Work, request: PlaceHold | AdjustHold, marks: Marks) -> Verdict:
    """An order or replacement against the limits of its account and, while it watches, of the firm."""
    account_id = request.key.account_id
    ours, theirs = risk.stream(account_id), risk.stream(FIRM)
    account: Risk = work.state(ours) or Risk()
    firm: Risk | None = work.state(theirs) if account.is_watched else None
    request = _with_marks(request, [known for known in (account, firm) if known is not None], marks)
    events = risk.decide(account, request)
    refused = _refused(events)
    if firm is None or refused is not None:
        return Verdict(((ours, events),), refused)
    firm_events = risk.decide(firm, request)
    refused = _refused(firm_events)
    if refused is not None:
        events = (*events[:-1], refused)
    return Verdict(((ours, events), (theirs, _for_firm(account_id, firm_events))), refused)


def take_down(work: Work, verdict: Verdict) -> None:
    """Record what the limits said."""
    for stream, events in verdict.events:
        work.record(stream, events)


def report(work: Work, account_id: str, told: RiskReport) -> None:
    """What has happened to a position or a working order, in the account's stream and, while it watches, the firm's."""
    ours = risk.stream(account_id)
    account: Risk | None = work.state(ours)
    work.record(ours, risk.admit(account, told))
    if account is not None and account.is_watched:
        theirs = risk.stream(FIRM)
        work.record(theirs, _for_firm(account_id, risk.admit(work.state(theirs), told)))


def register(work: Work, account_id: str, at: datetime) -> None:
    """An account was opened: the firm knows it, and watches it if it watches any."""
    theirs = risk.stream(FIRM)
    firm: Risk | None = work.state(theirs)
    work.record(theirs, (AccountRegistered(account_id, at),))
    if firm is not None and firm.needs_watch:
        work.record(risk.stream(account_id), (FirmWatchStarted(account_id, at),))


def check_account_id(account_id: str) -> None:
    """Refuses the one name that is no account's. Raises RequestRefused."""
    if account_id == FIRM:
        raise RequestRefused("an account id other than the firm's own", account_id=account_id)


def settle(work: Work, request: SettingRequest, marks: Marks, actor: str) -> None:
    """A limit, kill switch or convention of an account or of the firm; or an assessment. Raises RequestRefused."""
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


def _watch(work: Work, before: Risk, at: datetime) -> None:
    """Begin or end the firm's watch when it got its first limit or switch, or lost its last."""
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


def _for_firm(account_id: str, events: tuple[RiskEvent, ...]) -> tuple[RiskEvent, ...]:
    return tuple(FirmUsageChanged(account_id, event) if isinstance(event, HoldEvent) else event for event in events)


Asking = PlaceHold | AdjustHold | AssessMarks


def _with_marks(request: Asking, judges: Iterable[Risk], marks: Marks) -> Any:
    """The request with the newest mark of everything that it is judged by; those it brings along go before."""
    brought = {mark.instrument_id for mark in request.marks}
    if isinstance(request, PlaceHold) and request.mark is not None:
        brought.add(request.mark.instrument_id)
    needed: set[str] = set()
    for known in judges:
        needed |= known.marks_needed_to_assess() if isinstance(request, AssessMarks) else _needed(known, request)
    found = [mark for mark in (marks(name) for name in sorted(needed - brought)) if mark is not None]
    return replace(request, marks=(*request.marks, *found)) if found else request


def _needed(known: Risk, request: PlaceHold | AdjustHold) -> set[str]:
    terms = request.terms
    is_at_market = terms.price is None and terms.stop_px is None
    return known.marks_needed(terms.strategy_id, terms.instrument_id, request.contract.base, is_at_market=is_at_market)


def _contract_of(work: Work, instrument_id: str) -> Contract:
    listed = work.state(instrument.stream(instrument_id))
    if listed is None:
        raise RequestRefused("the instrument is listed; list it first", instrument_id=instrument_id)
    contract: Contract = listed.contract
    return contract


def follow(work: Work, key: OrderKey, at: datetime) -> None:
    """Let the order hold what it may still fill, as its own stream has it now."""
    order: Order | None = work.state(f"order:{key.account_id}:{key.cl_ord_id}")
    if order is None or order.alias_of:
        return
    if not order.is_open and (order.ended is not None or not order.unanswered):
        is_expired = order.status is OrdStatus.EXPIRED
        report(work, key.account_id, ExpireHold(key, at) if is_expired else VoidHold(key, at))
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
    told = RestateHold(key, order.strategy_id, order.instrument_id, order.side, wanted, contract, at)
    report(work, key.account_id, told)


def post(work: Work, key: PositionKey, event: PositionEvent, contract: Contract | None) -> None:
    """What a booking means for limits: quantity, cost and gains. `contract` is the position's."""
    told = posting(key, event, contract)
    if told is not None:
        report(work, key.account_id, told)


def posting(key: PositionKey, event: PositionEvent, contract: Contract | None) -> PostHold | PostGains | None:
    """A booking as limits are told of it; None if it moves neither quantity nor money. Only a fill has an order."""
    strategy_id, instrument_id = key.strategy_id, key.instrument_id
    match event:
        case TradeBooked():
            order_key, effect = OrderKey(key.account_id, event.cl_ord_id), event.effect
            return PostHold(
                order_key, strategy_id, instrument_id, event.exec_id, effect.quantity, event.last_qty,
                event.transact_time, effect.cost, _gains(event, 1), event.contract,
            )  # fmt: skip
        case TradeReversed():
            effect = event.effect
            return PostHold(
                _no_order(key), strategy_id, instrument_id, event.exec_id, exact(-effect.quantity), ZERO,
                event.transact_time, exact(-effect.cost), _gains(event, -1), event.contract,
            )  # fmt: skip
        case PositionTransferred():
            gain = exact(event.effect.realized + event.effect.rounding + (event.cost if event.reason.is_income else 0))
            gains = (Money(gain, event.contract.settle),) if gain else ()
            return PostHold(
                _no_order(key), strategy_id, instrument_id, event.transfer_id, event.effect.quantity, ZERO,
                event.transact_time, event.effect.cost, gains, event.contract,
            )  # fmt: skip
        case FundingSettled():
            change = Change(event.transact_time, gains=(event.amount,))
            return PostGains(key.account_id, strategy_id, instrument_id, event.funding_id, (change,))
        case PositionRestated():
            source = event.late_exec_ids[0] if event.late_exec_ids else ""
            return PostGains(key.account_id, strategy_id, instrument_id, source, _restated(event, contract))
        case _:
            return None


def _no_order(key: PositionKey) -> OrderKey:
    return OrderKey(key.account_id, "")


def _gains(event: TradeBooked | TradeReversed, sign: int) -> tuple[Money, ...]:
    """What a trade gained, by currency: realized to the last place, less fees; a base fee of spot costs its cost."""
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
    """What a restatement moves, summed by the hour that it belongs to: trading days start at full hours."""
    settle = contract.settle if contract else ""
    sums: dict[datetime, tuple[Decimal, Decimal]] = {}
    for item in event.items:
        hour = item.transact_time.replace(minute=0, second=0, microsecond=0)
        cost, gain = sums.get(hour, (ZERO, ZERO))
        was, now = item.was, item.now
        gained = (now.realized + now.rounding - now.fee_cost) - (was.realized + was.rounding - was.fee_cost)
        sums[hour] = (cost + now.cost - was.cost, gain + gained)
    return tuple(
        Change(hour, ZERO, exact(cost), (Money(exact(gain), settle),) if gain else ())
        for hour, (cost, gain) in sorted(sums.items())
        if cost or gain
    )
