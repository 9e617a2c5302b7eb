"""The ledger carries out commands: it routes a request or reports to aggregates, and appends their events at once.

A request or a batch of reports is one unit of work: all that it adds to order, position and limit streams is appended
together or not at all. Aggregates are cached between commands, at most `cached_streams_max` of them; the log's unique
(stream, version) detects that another writer was first, and then everything is read and decided again. An answer that
adds nothing is checked against the log as well before it is given.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from datetime import datetime
from decimal import DecimalException
from functools import partial
from typing import Any, TypeVar, assert_never, get_args

from msgspec.structs import replace

from domain import account, instrument, order, position, risk
from domain import marks as prices
from domain.access import (
    Actor,
    ApproveProposal,
    IssueKey,
    RejectProposal,
    RescopeKey,
    RevokeKey,
    SetApprovalPolicy,
    approvals,
    label,
)
from domain.account import (
    Account,
    AccountReport,
    BookEntry,
    BreakAged,
    BreakChanged,
    BreakOpened,
    BreakResolved,
    ChargeFee,
    CloseAccount,
    EntryKind,
    ForgetSubject,
    Indicator,
    OpenAccount,
    RawReportKept,
    RequestTransfer,
    ResolveBreak,
    ReturnTransfer,
    SettleTransfer,
    Statement,
    evidence,
    subject,
    venue_statement,
)
from domain.errors import ExecutionKnown, InvalidInput, LedgerError, ReportUnreadable, RequestRefused, StreamConflict
from domain.instrument import AmendInstrument, Contract, DelistInstrument, Instrument, ListInstrument
from domain.ledger import accounts, approval, limits, orders, schema
from domain.ledger.commands import Answer, Command, EvidenceOf, Outcome, Report, Request, is_of, streams_of
from domain.ledger.exactness import TOO_LONG, each_exact, too_long
from domain.ledger.log import EventLog, Recorded
from domain.ledger.orders import Due, Facts
from domain.ledger.unit_of_work import CACHED_STREAMS_MAX, Aggregates, UnitOfWork
from domain.marks import RecordMarks
from domain.order import (
    CancelOrder,
    CloseParent,
    OpenParent,
    Order,
    OrderFilled,
    OrderReplaceRequested,
    OrderReport,
    ReplaceOrder,
    SubmitOrder,
    parent,
    venue_ids,
)
from domain.position import (
    AssignLots,
    MovePosition,
    Position,
    PositionKey,
    PositionReport,
    SettleContract,
    SettleFunding,
    Transfer,
)
from domain.risk import (
    AdjustHold,
    AssessMarks,
    EngageSwitch,
    PlaceHold,
    ReleaseSwitch,
    SetConversion,
    SetLimit,
    SetTradingDay,
)
from domain.sealed import figures
from domain.sealed.figures import CloseFigures
from domain.values import Mark, Money, exact

ATTEMPTS_MAX = 64
UNLOCKED_ATTEMPTS_MAX = 3  # after that, an attempt locks the log

BesideTrading = ForgetSubject | RecordMarks | CloseFigures
State = TypeVar("State")


def no_marks(instrument_id: str) -> Mark | None:
    """No mark: for ledgers without market data."""
    return None


class Ledger:
    """A writer with optimistic concurrency: it decides on what it has read, and appends if no other writer was first.

    It carries out one command after the other: callers in several threads share a lock, and other processes may write
    too.
    """

    def __init__(
        self,
        log: EventLog,
        now: Callable[[], datetime],
        marks: Callable[[str], Mark | None] = no_marks,
        *,
        cached_streams_max: int = CACHED_STREAMS_MAX,
    ) -> None:
        self._log = log
        self._now = now
        self._marks = marks
        self._known = Aggregates(log, cached_streams_max)

    def request(self, request: Request, *, actor: Actor, request_id: str = "", cause: str = "") -> Answer:
        """Carry out a client's request. Raises RequestRefused; a refusal by risk is on record when it is raised."""
        (answer,) = self.carry_out(Command(request, actor, request_id, cause))
        if answer.error is not None:
            raise answer.error
        return answer

    def report(
        self,
        reports: Sequence[Report],
        *,
        actor: Actor,
        request_id: str = "",
        cause: str = "",
        evidence_of: EvidenceOf | None = None,
    ) -> list[Answer]:
        """Record venue reports, all in one append; an answer for each report, in their order.

        A report of an account or instrument that is not on record is not recorded: its answer has an InvalidInput, and
        the evidence that `evidence_of` makes of it is kept in the same append.
        """
        return self.carry_out(
            Command(payload=tuple(reports), actor=actor, request_id=request_id, cause=cause, evidence_of=evidence_of)
        )

    def state(self, stream: str) -> Any:
        """The present state of a stream in the log; None if the stream is empty."""
        self._known.refresh([stream])
        return self._known.known(stream)[1]

    def carry_out(self, command: Command) -> list[Answer]:
        """Carry out a request or reports: an answer for each. A refused request has its refusal as error."""
        self._known.executed = {}
        for attempt in range(ATTEMPTS_MAX):
            is_alone = attempt >= UNLOCKED_ATTEMPTS_MAX or approval.is_guardable(command.payload)
            with self._log.alone() if is_alone else nullcontext():
                done = self._try(command)
            if done is not None:
                return done
        raise StreamConflict("the log", f"{ATTEMPTS_MAX} attempts were overtaken by other writers")

    def _try(self, command: Command) -> list[Answer] | None:
        """Decide, and append; None if the streams it was decided on have changed."""
        head = self._log.head()
        now = self._now() if head.recorded_at is None else max(self._now(), head.recorded_at)
        if approval.is_guardable(command.payload):
            self._known.refresh([approvals.STREAM])  # a policy set meanwhile by another process is in force
        self._known.fetch(streams_of(command))
        work = UnitOfWork(
            base=self._known, now=now, actor=command.actor, request_id=command.request_id, cause=command.cause
        )
        outcomes = decided(work, command, self._marks)
        if not work.records:
            if self._known.refresh(work.streams):
                return None
            return [Answer(head.seq, *outcome) for outcome in outcomes]
        try:
            seq = self._log.append(work.records)
        except ExecutionKnown:
            self._known.executed = {**self._known.executed, **self._log.executed(executions(work.records))}
            return None
        except StreamConflict:
            self._known.forget(work.streams)
            return None
        except LedgerError:
            self._known.forget(work.streams)
            raise
        self._known.keep(work.states)
        return [Answer(seq, *outcome) for outcome in outcomes]


def decided(
    work: UnitOfWork,
    command: Command,
    marks: Callable[[str], Mark | None],
    booked_first: Sequence[PositionKey] = (),
) -> list[Outcome]:
    """The outcomes of a command: one of a request, one for each report. Adds to `work` what is to be recorded.

    A refused request has its refusal as the outcome's error; the refusal itself may be recorded too. `booked_first` is
    the order of positions where it is known from the log: reports that were known left no other trace than that.
    """
    if isinstance(command.payload, tuple):
        admit = partial(_admitted, booked_first=booked_first)
        outcomes = each_exact(work, command.payload, admit, lambda report: Outcome(error=too_long(report)))
        for index, outcome in enumerate(outcomes):
            if command.evidence_of is not None and isinstance(outcome.error, InvalidInput):
                _keep(work, command.evidence_of(index, outcome.error))
        return outcomes
    try:
        return [_requested(work, command.payload, marks, command.actor)]
    except RequestRefused as refused:
        work.drop()
        return [Outcome(error=refused)]
    except DecimalException as error:
        work.drop()
        raise InvalidInput("request", None, TOO_LONG) from error


def _requested(work: UnitOfWork, request: Request, marks: Callable[[str], Mark | None], actor: Actor) -> Outcome:
    """Carry out a request, propose it if it needs a second person, or approve one that was proposed.

    Raises RequestRefused.
    """
    if isinstance(request, ApproveProposal):
        return _approved(work, request, marks, actor)
    wanted = approval.proposing(work, request, actor)
    refusal = _decide(work, request, marks, actor)
    if wanted is None or not work.records:
        return Outcome(tuple(work.records), refusal)
    work.drop()  # it would not be refused, and needs a second person
    proposal_id = approval.propose(work, wanted)
    return Outcome(tuple(work.records), proposal_id=proposal_id)


def _approved(work: UnitOfWork, request: ApproveProposal, marks: Callable[[str], Mark | None], actor: Actor) -> Outcome:
    """Decide a proposed request again by the state of now, and record it in the name of who proposed it."""
    proposal = approval.to_approve(work, request, actor)
    if proposal is None:
        return Outcome()
    assert not isinstance(actor, str), "checked by to_approve"
    proposed = replace(proposal.request, transact_time=request.transact_time)
    with work.approved(proposal.proposed_by, actor, approvals.cause(proposal.proposal_id)):
        approval.record_approval(work, proposal, actor)
        _decide(work, proposed, marks, proposal.proposed_by)
    return Outcome(tuple(work.records))


def _admitted(work: UnitOfWork, reports: Sequence[Report], booked_first: Sequence[PositionKey] = ()) -> list[Outcome]:
    """The outcomes of reports.

    A fill is taken for a new execution until the append finds its id on record. What is decided on until then may not
    fit together and fail; then it is looked up at once.
    """
    try:
        return _admit(work, reports, booked_first)
    except Exception:
        if not work.look_up(executions(work.records)):
            raise
    work.drop()
    return _admitted(work, reports, booked_first)


def executions(records: Sequence[Recorded]) -> list[str]:
    """The execution keys of the fills among records."""
    return [key for key in (schema.execution_key(recorded.event) for recorded in records) if key is not None]


def _decide(
    work: UnitOfWork, request: Request, marks: Callable[[str], Mark | None], actor: Actor
) -> RequestRefused | None:
    """Route a request. Returns a refusal that is to be recorded, raises RequestRefused for one that is not."""
    match request:
        case OpenAccount():
            limits.check_account_id(request.account_id)
            stream = account.stream(request.account_id)
            if work.record(stream, account.decide(work.state(stream), request)):
                limits.register(work, request.account_id, request.transact_time)
        case RequestTransfer() | ResolveBreak() | CloseAccount():
            accounts.carry_out(work, request)
        case ListInstrument() | AmendInstrument() | DelistInstrument():
            stream = instrument.stream(request.instrument_id)
            work.record(stream, instrument.decide(work.state(stream), request))
        case SetLimit() | EngageSwitch() | ReleaseSwitch() | SetTradingDay() | SetConversion() | AssessMarks():
            if request.account_id != risk.FIRM:
                _account_of(work, request.account_id)
            limits.carry_out(work, request, marks, label(actor))
        case CancelOrder():
            named = venue_ids.requested_of(work.state, request)
            requested = order.decide(work.state(order.stream(named.key)), named)
            orders.record_request(work, named.key, requested, named.transact_time)
        case ReplaceOrder():
            return _replace(work, venue_ids.requested_of(work.state, request), marks)
        case OpenParent() | CloseParent():
            _account_of(work, request.key.account_id)
            stream = parent.stream(request.key)
            work.record(stream, parent.decide(work.state(stream), request))
        case SubmitOrder():
            return _submit(work, request, marks)
        case AssignLots() | MovePosition() | SettleContract():
            _decide_position(work, request)
        case _:
            _decide_beside(work, request, actor)
    return None


def _decide_beside(
    work: UnitOfWork, request: approval.AccessRequest | RejectProposal | ApproveProposal | BesideTrading, actor: Actor
) -> None:
    """Route a request that is about no trading: persons, keys, proposals, marks, closings. Raises RequestRefused."""
    match request:
        case ForgetSubject():
            stream = subject.stream(request.subject_id)
            work.record(stream, subject.decide(work.state(stream), request))
        case IssueKey() | RescopeKey() | RevokeKey() | SetApprovalPolicy():
            approval.carry_out(work, request, actor)
        case RejectProposal():
            approval.reject(work, request, actor)
        case ApproveProposal():
            raise RequestRefused("a proposal is not approved by a proposal", proposal_id=request.proposal_id)
        case RecordMarks():
            for batch in request.batches:
                stream = prices.stream(batch)
                work.record(stream, prices.decide(work.state(stream), batch))
        case CloseFigures():
            work.record(figures.STREAM, figures.decide(work.state(figures.STREAM), request))
        case _:
            assert_never(request)


def _decide_position(work: UnitOfWork, request: AssignLots | MovePosition | SettleContract) -> None:
    """Route a request about a position. Raises RequestRefused."""
    match request:
        case AssignLots():
            stream = position.stream(request.key)
            work.record(stream, position.decide(_held(work, request.key, [request]), request))
        case MovePosition():
            _account_of(work, request.to.account_id)
            for transfer in position.moved(work.state(position.stream(request.key)), request):
                _book(work, transfer.key, [transfer])
        case SettleContract():
            trade = position.settled(work.state(position.stream(request.key)), request)
            if trade is not None:
                _book(work, request.key, [trade])
        case _:
            assert_never(request)


def _submit(work: UnitOfWork, request: SubmitOrder, marks: Callable[[str], Mark | None]) -> RequestRefused | None:
    """Check an order by its own rules, its instrument's and its account's limits; record it and its hold, or refuse.

    What refuses an order is recorded with it, but for three: the account or the instrument is not on record, or another
    order has the `cl_ord_id`.
    """
    stream = order.stream(request.key)
    known: Order | None = work.state(stream)
    if known is not None:
        try:
            order.decide(known, request)
        except RequestRefused as again:
            named: Instrument | None = work.state(instrument.stream(request.terms.instrument_id))
            raise limits.in_units(again, named.contract if named is not None else None) from None
        return None
    order.check_fields(request)
    owner: Account | None = work.state(account.stream(request.key.account_id))
    if owner is None:
        account.opened(owner, request.key.account_id)
    listed = _instrument_of(work, request.terms.instrument_id)
    try:
        account.opened(owner, request.key.account_id)
        submitted = order.decide(None, request)
        instrument.check_terms(listed, request.terms.order_qty, request.terms.price, request.transact_time)
        orders.check_child(work, order.evolve(None, submitted[0]), listed.facts_at(request.transact_time).contract)
    except RequestRefused as refusal:
        work.record(stream, (order.refused(request, refusal),))
        return refusal
    hold = PlaceHold(request.key, request.terms, listed.contract, mark=None, transact_time=request.transact_time)
    checked = limits.check(work, hold, marks)
    refusal_by_limit = checked.refusal
    if refusal_by_limit is not None:
        submitted = (order.refused(request, refusal_by_limit),)
    work.record(stream, submitted)
    limits.record(work, checked)
    if refusal_by_limit is None:
        orders.report_to_parent(work, request.key, request.transact_time)
    return refusal_by_limit


def _replace(work: UnitOfWork, request: ReplaceOrder, marks: Callable[[str], Mark | None]) -> RequestRefused | None:
    """Check a replacement like a new order; until it is answered, the order holds the larger of both quantities."""
    stream = order.stream(request.key)
    known: Order | None = work.state(stream)
    decided_events = order.decide(known, request)
    if not decided_events or known is None:
        return None
    (requested,) = (event for event in decided_events if isinstance(event, OrderReplaceRequested))
    terms, at = requested.terms, request.transact_time
    listed = _instrument_of(work, terms.instrument_id)
    instrument.check_terms(listed, terms.order_qty, terms.price, at)
    contract = listed.facts_at(at).contract
    orders.check_child(work, replace(known, terms=terms), contract)
    quantity = max(known.held_qty, exact(terms.order_qty - known.cum_qty))
    hold = AdjustHold(
        request.key, change_id=request.requested_as, terms=terms, quantity=quantity, contract=contract, transact_time=at
    )
    checked = limits.check(work, hold, marks)
    if checked.refusal is None:
        orders.record_request(work, request.key, decided_events, at)
    limits.record(work, checked)
    return checked.refusal


def _account_of(work: UnitOfWork, account_id: str) -> Account:
    known: Account | None = work.state(account.stream(account_id))
    return account.opened(known, account_id)


def _instrument_of(work: UnitOfWork, instrument_id: str) -> Instrument:
    known: Instrument | None = work.state(instrument.stream(instrument_id))
    if known is None:
        raise RequestRefused("the instrument is listed; list it first", instrument_id=instrument_id)
    return known


_OF_POSITIONS = (Transfer, SettleFunding)
_OF_ACCOUNTS = get_args(AccountReport)
_OF_NO_ACCOUNT = (RawReportKept, Statement)


def _admit(work: UnitOfWork, reports: Sequence[Report], booked_first: Sequence[PositionKey] = ()) -> list[Outcome]:
    """Route reports: those of orders first, one by one; then the bookings of all of them, by position, and limits."""
    reports = [_paid_otherwise(work, report) if isinstance(report, SettleFunding) else report for report in reports]
    outcomes: list[Outcome] = []
    due = Due(booked_first)
    facts = partial(_facts, work)
    of_accounts: list[AccountReport] = []
    for report in reports:
        outcome = Outcome()
        try:
            match report:
                case OrderFilled():  # first: nearly all reports are fills
                    outcome = _admit_order(work, report, facts, due)
                case RawReportKept():
                    outcome = Outcome(_keep(work, report))
                case Transfer() | SettleFunding():
                    _check_known(work, report.key.account_id, report.key.instrument_id)
                    due.bookings.setdefault(report.key, []).append(report)
                case Statement():
                    accounts.check(work, report.account_id)
                    stream = venue_statement.stream(report)
                    outcome = Outcome(work.record(stream, venue_statement.admit(work.state(stream), report)))
                case (
                    SettleTransfer() | ReturnTransfer() | ChargeFee() | BookEntry()
                    | BreakOpened() | BreakChanged() | BreakAged() | BreakResolved()
                ):  # fmt: skip
                    of_accounts.append(report)
                case _:
                    outcome = _admit_order(work, report, facts, due)
        except InvalidInput as error:
            outcome = Outcome(error=error)
        outcomes.append(outcome)
    _book_due(work, reports, outcomes, due)
    admitted = iter(accounts.admit(work, of_accounts))
    for index, report in enumerate(reports):
        records = outcomes[index].records
        if isinstance(report, _OF_ACCOUNTS):
            outcomes[index] = Outcome(*next(admitted))
        elif records and not isinstance(report, _OF_NO_ACCOUNT):
            accounts.record_if_closed(work, records[0], report.transact_time)
    for order_key, at in due.touched.items():
        limits.restate(work, order_key, at)
    return outcomes


def _book_due(work: UnitOfWork, reports: Sequence[Report], outcomes: list[Outcome], due: Due) -> None:
    """Book what is due for each position and its limits; set the outcomes of transfers and funding payments."""
    of_positions = [index for index, report in enumerate(reports) if isinstance(report, _OF_POSITIONS)]
    added: list[Recorded] = []
    for key, reported in due.reversals.items():
        _book(work, key, reported)
    for key, reported in due.bookings.items():
        booked = _book(work, key, reported) if reported else ()
        if of_positions:
            added += booked
    for index in of_positions:
        report = reports[index]
        assert isinstance(report, _OF_POSITIONS)
        if outcomes[index].error is None:
            own = next((each for each in added if is_of(each.event, report)), None)
            if own is not None:
                added.remove(own)
            outcomes[index] = Outcome((own,) if own is not None else ())


def _keep(work: UnitOfWork, raw: RawReportKept) -> tuple[Recorded, ...]:
    stream = evidence.stream(raw)
    return work.record(stream, evidence.admit(work.state(stream), raw))


def _admit_order(work: UnitOfWork, report: OrderReport, facts: Facts, due: Due) -> Outcome:
    order.check_report(report)
    if isinstance(report, OrderFilled):
        _check_known(work, report.key.account_id, report.instrument_id)
    else:
        accounts.check(work, report.key.account_id)
    records = orders.admit(work, report, facts, due)
    return Outcome(records, None, orders.on_record(work, report, records))


def _check_known(work: UnitOfWork, account_id: str, instrument_id: str) -> Instrument:
    accounts.check(work, account_id)
    listed: Instrument | None = work.state(instrument.stream(instrument_id))
    if listed is None:
        raise ReportUnreadable("instrument_id", instrument_id, "a listed instrument; list it first, then report again")
    return listed


def _paid_otherwise(work: UnitOfWork, report: SettleFunding) -> SettleFunding | BookEntry:
    """Funding that is paid in another currency than its position settles in, as an entry of the account."""
    listed: Instrument | None = work.state(instrument.stream(report.key.instrument_id))
    if listed is None or report.amount.currency == listed.contract.settle or not report.amount.amount:
        return report
    amount = report.amount
    return BookEntry(
        report.key.account_id, f"funding-{report.key.instrument_id}-{report.funding_id}", EntryKind.FUNDING,
        indicator=Indicator.CREDIT if amount.amount > 0 else Indicator.DEBIT,
        amount=Money(abs(amount.amount), amount.currency), reason=f"funding of {report.key.instrument_id}",
        transact_time=report.transact_time,
    )  # fmt: skip


def _book(work: UnitOfWork, key: PositionKey, reported: Sequence[PositionReport]) -> tuple[Recorded, ...]:
    """Book the reports of one position, and post them to the account's limits."""
    stream = position.stream(key)
    held = _held(work, key, reported)
    conventions: Account = work.state(account.stream(key.account_id))
    with_contracts = [
        replace(report, contract=_facts(work, key.instrument_id, report.transact_time))
        if isinstance(report, Transfer)
        else report
        for report in reported
    ]
    records = work.record(stream, position.admit(held, with_contracts, conventions.costing))
    if records and held is None:
        owner = account.stream(key.account_id)
        first = account.with_position(conventions, key.strategy_id, key.instrument_id, records[0].event.transact_time)
        work.record(owner, first)
    booked: Position | None = work.state(stream)
    contract = booked.contract if booked is not None else None
    for recorded in records:
        limits.post(work, key, recorded.event, contract)
    return records


def _held(work: UnitOfWork, key: PositionKey, about: Sequence[PositionReport | AssignLots]) -> Position | None:
    """The position, with its history where a report or request is about an entry older than its tail."""
    stream = position.stream(key)
    held: Position | None = work.state(stream)
    if position.needs_history(held, about):
        held = position.unfold(work.events(stream))
        work.put_state(stream, held)
    return held


def _facts(work: UnitOfWork, instrument_id: str, at: datetime) -> Contract:
    """The instrument's contract at a moment."""
    listed: Instrument = work.state(instrument.stream(instrument_id))
    return listed.facts_at(at).contract
