"""Origins: what each stored event is to a decision, and the request or report that is read back from it.

A request or batch of reports is not stored; the events that it led to are. One of them states it: a venue report is
its own event, a request is read back from the event that carries it out. All others follow from it by the domain's own
decisions, so that they can be decided again. `ORIGINS` has every event; a new one is entered there, and where it states
a request or report, in `request_of` or `report_of` too.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from operator import itemgetter
from typing import Any

from msgspec.structs import asdict, replace

from domain import account as accounts
from domain import instrument, names, order, policies, position, risk
from domain.access import approvals, keys
from domain.account import cash
from domain.errors import ReportUnreadable
from domain.instrument import Contract, Kind, PutOrCall
from domain.ledger.clock import ClockConfirmed
from domain.ledger.log import Recorded
from domain.ledger.signing import SigningKeyHandedOver, SigningKeyLost, SigningKeyStarted
from domain.marks import MarksRecorded, RecordMarks
from domain.order import Order, OrderFilled, OrderKey, venue_ids
from domain.position import TransferReason
from domain.sealed.figures import CloseFigures, FiguresClosed
from domain.values import ONE, PLACES_MAX, Mark, TradeKind, divide, exact, rounded


class Origin(StrEnum):
    """What an event is to the decision that recorded it.

    REQUEST: it states the request that it carries out. REPORT: it states what a venue reported. FOLLOWS: it follows
    from the request or reports of its unit of work. GIVEN: no decision of the ledger recorded it, or one whose request
    cannot be read back; it is taken as it is.
    """

    REQUEST = "REQUEST"
    REPORT = "REPORT"
    FOLLOWS = "FOLLOWS"
    GIVEN = "GIVEN"


ORIGINS: dict[type[Any], Origin] = {
    event_class: origin
    for origin, event_classes in {
        Origin.REQUEST: (
            accounts.AccountOpened, accounts.AccountClosed, accounts.TransferPending, accounts.SubjectForgotten,
            instrument.InstrumentListed, instrument.InstrumentAmended, instrument.InstrumentDelisted,
            instrument.InstrumentRedenominated,
            order.OrderSubmitted, order.OrderRefused, order.OrderCancelRequested, order.OrderReplaceRequested,
            order.ParentOpened, order.ParentClosed, position.LotsAssigned,
            position.ContractDelivered, risk.LimitSet, risk.SwitchEngaged,
            risk.SwitchReleased, risk.TradingDaySet, risk.ConversionSet, risk.CapitalStated, risk.DeadManSwitchArmed,
            risk.DeadManSwitchDisarmed, risk.DeadManSwitchFired, keys.KeyIssued, keys.KeyRescoped, keys.KeyBounded,
            keys.KeyRotated, keys.KeyRevoked, approvals.ApprovalPolicySet, approvals.ActionProposed,
            approvals.ProposalRejected, MarksRecorded, FiguresClosed, policies.PolicySet,
        ),
        Origin.REPORT: (
            order.OrderPendingNew, order.OrderAccepted, order.OrderRejected, order.OrderTriggered, order.OrderFilled,
            order.OrderCommissionReported, order.OrderFillCompleted, order.OrderFillBusted, order.OrderFillCorrected,
            order.OrderPendingCancel,
            order.OrderCancelRejected, order.OrderCanceled, order.OrderExpired, order.OrderPendingReplace,
            order.OrderReplaceRejected, order.OrderReplaced, order.OrderRestated, order.OrderDoneForDay,
            order.OrderSuspended, order.OrderCalculated, order.OrderBroken, accounts.RawReportKept,
            position.PositionTransferred, position.FundingSettled, position.PositionBroken, accounts.TransferSettled,
            accounts.TransferReturned, accounts.FeeCharged, accounts.EntryBooked, accounts.BreakOpened,
            accounts.BreakChanged, accounts.BreakAged, accounts.BreakResolved, accounts.AccountBroken,
        ),
        Origin.FOLLOWS: (
            accounts.PositionOpened, order.OrderAdopted, order.OrderAliased, order.OrderBreakWithdrawn,
            order.ChildProgressed, order.VenueOrderLinked, position.TradeBooked, position.TradeReversed,
            position.PositionRestated, risk.HoldPlaced, risk.HoldRefused, risk.HoldAdjusted, risk.HoldPosted,
            risk.GainsPosted, risk.HoldVoided, risk.HoldExpired, risk.LimitBreached, risk.BreachCleared,
            risk.AssessmentMissed, risk.AssessmentResumed, risk.EquityAssessed, risk.DayOpened, risk.AccountRegistered,
            risk.FirmWatchStarted, risk.FirmWatchEnded, risk.UsageCarried, risk.FirmUsageChanged, risk.ShadowDecided,
            approvals.ProposalApproved, approvals.ProposalExpired,
        ),
        Origin.GIVEN: (
            ClockConfirmed, accounts.StatementTaken, keys.KeyRegistered, SigningKeyStarted, SigningKeyHandedOver,
            SigningKeyLost,
        ),
    }.items()
    for event_class in event_classes
}  # fmt: skip


State = Callable[[str], Any]  # the aggregate of a stream, before the events in question


def request_of(event: Any) -> Any:
    """Return the request that led to an event, if the event is the first of its unit of work; None if none did."""
    found = _request_of_order(event) or _request_of_position(event) or _request_of_risk(event)
    return found or _request_of_access(event) or _other_request(event)


def _request_of_order(event: Any) -> Any:
    match event:
        case order.OrderSubmitted() | order.OrderRefused():
            return order.SubmitOrder(event.key, event.terms, event.transact_time)
        case order.OrderCancelRequested():
            return order.CancelOrder(event.key, event.reason, event.transact_time, event.requested_as)
        case order.OrderReplaceRequested():
            return order.ReplaceOrder(
                key=event.key, requested_as=event.requested_as, changes=event.changes,
                transact_time=event.transact_time, orig_cl_ord_id=event.orig_cl_ord_id,
            )  # fmt: skip
        case order.ParentOpened():
            return order.OpenParent(
                key=event.key, strategy_id=event.strategy_id, contract=event.contract, side=event.side,
                order_qty=event.order_qty, price=event.price, transact_time=event.transact_time,
            )  # fmt: skip
        case order.ParentClosed():
            return order.CloseParent(event.key, event.reason, event.transact_time)
        case _:
            return None


def _request_of_position(event: Any) -> Any:
    match event:
        case position.TradeBooked(kind=TradeKind.SETTLEMENT | TradeKind.EXERCISE, cl_ord_id=""):
            underlying = _underlying(event.contract, event.last_px)
            return position.SettleContract(event.key, event.exec_id, underlying, event.transact_time)
        case position.PositionTransferred(reason=TransferReason.INTERNAL, counterparty=position.PositionKey() as to):
            return position.MovePosition(
                key=event.key, to=to, transfer_id=event.transfer_id, quantity=event.quantity,
                transact_time=event.transact_time,
            )  # fmt: skip
        case position.ContractDelivered():
            return position.DeliverContract(
                key=event.key, delivery_id=event.delivery_id, to=event.to, transact_time=event.transact_time,
                quantity=event.quantity, settlement_px=event.settlement_px,
                is_premium_in_cost=event.is_premium_in_cost,
            )  # fmt: skip
        case position.LotsAssigned():
            return position.AssignLots(
                key=event.key, exec_id=event.exec_id, trade_seq=0, lot_ids=event.lot_ids,
                transact_time=event.transact_time,
            )  # fmt: skip
        case _:
            return None


def _underlying(contract: Contract, price: Decimal) -> Decimal:
    """Return a price of the underlying at which a contract settles at `price`; of a worthless option its strike."""
    if contract.kind is not Kind.OPTION or contract.strike is None:
        return price
    sign = 1 if contract.put_or_call is PutOrCall.CALL else -1
    if contract.settle != contract.base:
        return exact(contract.strike + sign * price)
    fine = divide(contract.strike, ONE - sign * price)
    shorter = (rounded(fine, places) for places in range(PLACES_MAX))  # prices have few places, quotients many
    return next((each for each in shorter if each > 0 and contract.settlement_price(each) == price), fine)


def _request_of_risk(event: Any) -> Any:
    match event:
        case risk.LimitSet():
            return risk.SetLimit(
                account_id=event.account_id, scope=event.scope, measure=event.measure, limit=event.limit,
                currency=event.currency, transact_time=event.transact_time, status=event.status,
            )  # fmt: skip
        case risk.SwitchEngaged():
            return risk.EngageSwitch(
                account_id=event.account_id, scope=event.scope, mode=event.mode, reason=event.reason,
                transact_time=event.transact_time, actor=event.actor,
            )  # fmt: skip
        case risk.SwitchReleased():
            return risk.ReleaseSwitch(
                account_id=event.account_id, scope=event.scope, reason=event.reason,
                transact_time=event.transact_time, actor=event.actor,
            )  # fmt: skip
        case risk.TradingDaySet():
            return risk.SetTradingDay(event.account_id, event.starts_at_hour, event.transact_time)
        case risk.ConversionSet():
            is_used = event.contract is not None
            return risk.SetConversion(event.account_id, event.instrument_id, event.transact_time, is_used)
        case risk.CapitalStated():
            return risk.StateCapital(event.account_id, event.capital, event.transact_time)
        case _:
            return _request_of_dead_man(event)


def _request_of_dead_man(event: Any) -> Any:
    match event:
        case risk.DeadManSwitchArmed():
            return risk.ArmDeadManSwitch(
                event.account_id, event.strategy_id, event.countdown_ms, event.transact_time, halts=event.halts
            )
        case risk.DeadManSwitchDisarmed():
            return risk.DisarmDeadManSwitch(event.account_id, event.strategy_id, event.transact_time)
        case risk.DeadManSwitchFired():
            return risk.FireDeadManSwitch(
                event.account_id, event.strategy_id, event.version, extended_at=event.extended_at,
                deadline=event.deadline, transact_time=event.transact_time,
            )  # fmt: skip
        case _:
            return None


def _request_of_access(event: Any) -> Any:
    match event:
        case keys.KeyIssued():
            return keys.IssueKey(
                event.key_id, event.name, event.scopes, event.fingerprint, transact_time=event.transact_time,
                bounds=event.bounds,
            )  # fmt: skip
        case keys.KeyBounded():
            return keys.BoundKey(event.key_id, event.bounds, event.transact_time)
        case keys.KeyRotated():
            overlap = event.previous_until - event.transact_time
            return keys.RotateKey(event.key_id, event.fingerprint, overlap // timedelta(seconds=1), event.transact_time)
        case keys.KeyRescoped():
            return keys.RescopeKey(event.key_id, event.scopes, event.transact_time)
        case keys.KeyRevoked():
            return keys.RevokeKey(event.key_id, event.reason, event.transact_time)
        case approvals.ApprovalPolicySet():
            return approvals.SetApprovalPolicy(
                event.actions, event.valid_hours, event.transact_time, counts_issuer=event.counts_issuer
            )
        case approvals.ActionProposed():
            return event.request
        case approvals.ProposalRejected():
            return approvals.RejectProposal(event.proposal_id, event.reason, event.transact_time)
        case _:
            return None


def approval_of(records: Sequence[Recorded]) -> Recorded | None:
    """Return the record of the approval among those of one unit of work; None if it has none."""
    return next((each for each in records if isinstance(each.event, approvals.ProposalApproved)), None)


def approving(events: Sequence[Any], approved: approvals.ProposalApproved) -> approvals.ApproveProposal:
    """Return the request that approved a proposal, whose own events come behind it."""
    behind = events[list(events).index(approved) + 1 :]
    transact_time = getattr(behind[0], "transact_time", approved.transact_time) if behind else approved.transact_time
    return approvals.ApproveProposal(approved.proposal_id, transact_time)


def _other_request(event: Any) -> Any:
    match event:
        case accounts.AccountOpened():
            return accounts.OpenAccount(
                account_id=event.account_id, base_currency=event.base_currency, costing=event.costing,
                transact_time=event.transact_time, venue=event.venue, is_margin=event.is_margin, owner=event.owner,
            )  # fmt: skip
        case accounts.AccountClosed():
            return accounts.CloseAccount(event.account_id, event.reason, event.transact_time)
        case accounts.TransferPending():
            return accounts.RequestTransfer(event.account_id, event.leg, event.transact_time)
        case accounts.BreakResolved() if event.is_dismissal:
            return accounts.dismissal_of(event)
        case accounts.SubjectForgotten():
            return accounts.ForgetSubject(event.subject_id, event.reason, event.transact_time)
        case instrument.InstrumentListed():
            return instrument.ListInstrument(event.instrument_id, event.contract, event.tick_size, event.lot_size)
        case instrument.InstrumentAmended():
            return instrument.AmendInstrument(
                instrument_id=event.instrument_id, contract=event.contract, tick_size=event.tick_size,
                lot_size=event.lot_size, effective_at=event.effective_at,
            )  # fmt: skip
        case instrument.InstrumentDelisted():
            return instrument.DelistInstrument(event.instrument_id, event.effective_at)
        case instrument.InstrumentRedenominated():
            return instrument.RedenominateInstrument(**asdict(event))
        case MarksRecorded():
            return RecordMarks((event,))
        case policies.PolicySet():
            return policies.SetPolicy(
                account_id=event.account_id, policy=event.policy, is_on=event.is_on, reason=event.reason,
                transact_time=event.transact_time, mode=event.mode, interval_seconds=event.interval_seconds,
                band=event.band, ages_seconds=event.ages_seconds,
            )  # fmt: skip
        case FiguresClosed():
            return CloseFigures(
                as_of_seq=event.as_of_seq, closed_before=event.closed_before, figures=event.figures, root=event.root,
                figures_format=event.figures_format, versions=event.versions, transact_time=event.transact_time,
            )  # fmt: skip
        case _:
            return None


def report_of(event: Any) -> Any:
    """Return an event's report, without the fields added when it was recorded; None for an event that states none."""
    match event:
        case OrderFilled():
            return replace(event, entry_id="") if event.entry_id else event
        case order.OrderCommissionReported():
            return event
        case order.OrderFillCompleted() | order.OrderBroken() | position.PositionBroken() | accounts.AccountBroken():
            return report_of(event.report) if isinstance(event.report, order.OrderReport) else event.report
        case _ if isinstance(event, order.StateReport):
            return order.as_reported(event)
        case position.PositionTransferred():
            return position.Transfer(
                key=event.key, transfer_id=event.transfer_id, side=event.side, quantity=event.quantity,
                cost=event.cost, transact_time=event.transact_time, reason=event.reason,
                counterparty=event.counterparty, lots=event.lots, is_at_cost=event.is_at_cost,
            )  # fmt: skip
        case position.FundingSettled():
            return position.SettleFunding(
                event.key, event.funding_id, event.amount, event.transact_time, nanos=event.nanos
            )
        case accounts.RawReportKept():
            return event
        case _:
            return _report_of_account(event)


def _report_of_account(event: Any) -> Any:
    match event:
        case accounts.BreakOpened() | accounts.BreakChanged() | accounts.BreakAged():
            return event
        case accounts.BreakResolved():  # by a statement or other reports, else a person has requested it
            return None if event.is_dismissal else event
        case accounts.TransferSettled():
            return accounts.SettleTransfer(
                event.account_id, event.leg, event.transact_time, event.booking_date, value_date=event.value_date
            )
        case accounts.TransferReturned():
            return accounts.ReturnTransfer(
                account_id=event.account_id, leg=event.leg, reason=event.reason, transact_time=event.transact_time,
                booking_date=event.booking_date, value_date=event.value_date,
            )  # fmt: skip
        case accounts.FeeCharged() | accounts.EntryBooked():
            return cash.report_of(event)
        case _:
            return None


def reports_of(events: Sequence[Any], state: State) -> list[Any]:
    """Return the reports that the events of one unit of work state, in their order, each once.

    A report that is stated twice, or was known before, adds nothing when it is admitted again.
    """
    broken: dict[tuple[str, str, datetime], Any] = {}  # the booked reports that breaks beside them have word for word
    for each in events:
        if isinstance(each, accounts.AccountBroken) and each.report is not None and each.on_record is None:
            broken.setdefault((each.account_id, cash.id_of(each.report), each.transact_time), each.report)
    reports: dict[Any, None] = {}
    aliases: dict[OrderKey, OrderKey] = {}
    named: set[OrderKey] = set()  # by a report on an order that we never sent
    for event in events:
        if isinstance(event, order.StateReport) and event.requested_as:
            named.add(OrderKey(event.key.account_id, event.requested_as))
        if isinstance(event, order.OrderAliased):
            if event.key in named:
                continue
            aliases[OrderKey(event.key.account_id, event.cl_ord_id)] = event.key
            continue
        report = report_of(event)
        if isinstance(report, accounts.CashReport) and not isinstance(event, accounts.AccountBroken):
            report = broken.get((report.account_id, cash.id_of(report), report.transact_time), report)
        if isinstance(report, OrderFilled) and report.key in aliases:
            report = replace(report, key=aliases.pop(report.key))
        if report is not None:
            reports[report] = None
    for key, alias in aliases.items():
        known: Order | None = state(order.stream(key))
        again = next(iter(known.fills.values()), None) if known is not None else None
        if again is not None:  # a fill that was reported again under the order's own id: nothing else was new of it
            reports[replace(report_of(again), key=alias)] = None
    return _in_sequence(list(reports), events)


def _in_sequence(reports: list[Any], events: Sequence[Any]) -> list[Any]:
    """Return the reports of a closed account in the sequence of the breaks beside them."""
    after_closing = [each for each in events if isinstance(each, accounts.AccountBroken) and each.report is None]
    if not after_closing:
        return reports
    places = {(each.about, each.transact_time): place for place, each in enumerate(after_closing)}
    keyed, last = [], 0
    for report in reports:
        stream = ""
        if isinstance(report, order.OrderReport):
            stream = order.stream(report.key)
        elif isinstance(report, position.Transfer | position.SettleFunding):
            stream = position.stream(report.key)
        last = places.get((stream, report.transact_time), last) if stream else last
        keyed.append((last, report))
    return [report for _, report in sorted(keyed, key=itemgetter(0))]


def as_named(report: Any, state: State) -> Any:
    """Return the report of an order as it may have named it, where under the order's own ClOrdID it is of another.

    An event has the ClOrdID of the order that its report was found to be of. It may have been found by the ClOrdID of a
    request about it, by the venue's id alone, or as a second use of a ClOrdID.
    """
    if not isinstance(report, order.OrderReport):
        return report
    key = report.key
    known: Order | None = state(order.stream(key))
    suffixes = (f"-{report.order_id}", f"-{report.side}" if isinstance(report, OrderFilled) else "")
    names = [key.cl_ord_id.removesuffix(suffix) for suffix in suffixes if len(suffix) > 1]
    names += [getattr(report, "requested_as", ""), *(known.requests if known is not None else ()), ""]
    for name in (key.cl_ord_id, *names):
        shown = replace(report, key=OrderKey(key.account_id, name))
        with suppress(ReportUnreadable):
            if venue_ids.reported_of(state, shown) == report:
                return shown
    return report


def booked_first(events: Sequence[Any]) -> tuple[position.PositionKey, ...]:
    """Return the positions that events book, in their order."""
    booked = (position.TradeBooked, position.PositionTransferred, position.FundingSettled, position.PositionBroken)
    return tuple(dict.fromkeys(event.key for event in events if isinstance(event, booked)))


_CHECKED = (risk.HoldPlaced, risk.HoldRefused, risk.HoldAdjusted)
_MONITORED = (
    risk.DayOpened, risk.EquityAssessed, risk.LimitBreached, risk.BreachCleared, risk.AssessmentMissed,
    risk.AssessmentResumed,
)  # fmt: skip


def is_monitored(event: Any) -> bool:
    """Return whether an event may be the first of a monitoring at marks."""
    return isinstance(unwrapped(event), _MONITORED)


def unwrapped(event: Any) -> Any:
    """Return what a shadow limit would have led to, of the event that records it; any other event as it is."""
    return event.decided if isinstance(event, risk.ShadowDecided) else event


def account_of(stream: str) -> str:
    """Return the account of a stream of limits."""
    return names.whole(stream.partition(":")[2])


def marks_of(events: Sequence[Any]) -> dict[str, Mark]:
    """Return the marks that the decisions of one unit of work used, by instrument, as far as its events state them."""
    marks: dict[str, Mark] = {}
    for event in events:
        for mark in _marks_in(event):
            marks.setdefault(mark.instrument_id, mark)
    return marks


def _marks_in(event: Any) -> list[Mark]:
    decided = event.change if isinstance(event, risk.FirmUsageChanged) else unwrapped(event)
    if not isinstance(decided, (*_CHECKED, *_MONITORED)):
        return []
    found = [seen.mark for seen in getattr(decided, "marks", ())]
    if isinstance(decided, _CHECKED) and decided.mark is not None:
        found.append(decided.mark)
    return [*found, *_stale(decided.facts)] if isinstance(decided, risk.HoldRefused) else found


def _stale(facts: dict[str, str]) -> list[Mark]:
    """Return the mark that was too old for an order, from the facts of its refusal."""
    with suppress(KeyError, ValueError, ArithmeticError):
        at = datetime.fromisoformat(facts["mark_at"])
        return [Mark(facts["instrument_id"], Decimal(facts["price"]), "", at)]
    return []


def monitoring(events: Sequence[Any]) -> risk.AssessMarks:
    """Return the monitoring that begins with the first of these events, at the marks that they state.

    A capital that it was requested with is an event of its own, before them.
    """
    first = unwrapped(events[0])
    marks: dict[str, Mark] = {}
    for event in map(unwrapped, events):
        if not is_monitored(event):
            break
        if (event.account_id, event.transact_time) != (first.account_id, first.transact_time):
            break
        if any(marks.setdefault(mark.instrument_id, mark) != mark for mark in _marks_in(event)):
            break
    return risk.AssessMarks(first.account_id, marks=tuple(marks.values()), transact_time=first.transact_time)
