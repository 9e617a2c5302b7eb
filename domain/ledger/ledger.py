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
from typing import Any, TypeVar, assert_never

from msgspec.structs import replace

from domain import account, instrument, order, policies, position, risk
from domain import marks as prices
from domain.access import (
    Actor,
    ApproveProposal,
    BoundKey,
    IssueKey,
    RejectProposal,
    RescopeKey,
    RevokeKey,
    RotateKey,
    SetApprovalPolicy,
    approvals,
    label,
)
from domain.account import (
    Account,
    CloseAccount,
    ForgetSubject,
    OpenAccount,
    RequestTransfer,
    ResolveBreak,
    subject,
)
from domain.errors import ExecutionKnown, InvalidInput, LedgerError, RequestRefused, StreamConflict
from domain.instrument import (
    AmendInstrument,
    DelistInstrument,
    Instrument,
    InstrumentRequest,
    Kind,
    ListInstrument,
    RedenominateInstrument,
)
from domain.ledger import accounts, approval, limits, orders, schema
from domain.ledger.admission import TOO_LONG, admit, book, each_exact, held_at, keep, too_long
from domain.ledger.commands import Answer, Command, EvidenceOf, Outcome, Report, Request, streams_of
from domain.ledger.log import EventLog, Recorded
from domain.ledger.unit_of_work import CACHED_STREAMS_MAX, Aggregates, UnitOfWork
from domain.marks import RecordMarks
from domain.order import (
    CancelOrder,
    CancelOrders,
    CloseParent,
    OpenParent,
    Order,
    OrderReplaceRequested,
    ReplaceOrder,
    SubmitOrder,
    parent,
    venue_ids,
)
from domain.policies import SetPolicy
from domain.position import (
    AssignLots,
    DeliverContract,
    MovePosition,
    PositionKey,
    SettleContract,
)
from domain.risk import (
    AdjustHold,
    ArmDeadManSwitch,
    AssessMarks,
    DisarmDeadManSwitch,
    EngageSwitch,
    FireDeadManSwitch,
    PlaceHold,
    ReleaseSwitch,
    SetConversion,
    SetLimit,
    SetTradingDay,
    StateCapital,
)
from domain.sealed import figures
from domain.sealed.figures import CloseFigures
from domain.values import Mark, PositionSide, exact

ATTEMPTS_MAX = 64
UNLOCKED_ATTEMPTS_MAX = 3  # after that, an attempt locks the log

OrderRequest = SubmitOrder | ReplaceOrder | CancelOrder | CancelOrders | OpenParent | CloseParent
BesideTrading = ForgetSubject | CloseFigures | SetPolicy
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

    def states(self, streams: Sequence[str]) -> list[Any]:
        """The present states of short streams in the log, all read at once; None where a stream is empty."""
        self._known.forget(streams)
        self._known.fetch(streams)
        return [self._known.known(stream)[1] for stream in streams]

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
        admitted = partial(_admitted, booked_first=booked_first)
        outcomes = each_exact(work, command.payload, admitted, lambda report: Outcome(error=too_long(report)))
        for index, outcome in enumerate(outcomes):
            if command.evidence_of is not None and isinstance(outcome.error, InvalidInput):
                keep(work, command.evidence_of(index, outcome.error))
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
        return admit(work, reports, booked_first)
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
        case ListInstrument() | AmendInstrument() | DelistInstrument() | RedenominateInstrument():
            _decide_instrument(work, request)
        case (
            SetLimit() | EngageSwitch() | ReleaseSwitch() | SetTradingDay() | SetConversion() | StateCapital()
            | AssessMarks() | ArmDeadManSwitch() | DisarmDeadManSwitch()
        ):  # fmt: skip
            if request.account_id != risk.FIRM:
                _account_of(work, request.account_id)
            limits.carry_out(work, request, marks, label(actor))
        case FireDeadManSwitch():
            limits.fire(work, request, label(actor))
        case SubmitOrder() | ReplaceOrder() | CancelOrder() | CancelOrders() | OpenParent() | CloseParent():
            return _decide_order(work, request, marks)
        case AssignLots() | MovePosition() | SettleContract() | DeliverContract():
            _decide_position(work, request)
        case RecordMarks():
            limits.check_marks(work, request.marks)
            for batch in request.batches:
                stream = prices.stream(batch)
                work.record(stream, prices.decide(work.state(stream), batch))
            if work.records:
                limits.monitor(work, request.marks, marks)
        case _:
            _decide_beside(work, request, actor)
    return None


def _decide_instrument(work: UnitOfWork, request: InstrumentRequest) -> None:
    """List, amend, delist or redenominate an instrument; what is held is turned with it. Raises RequestRefused."""
    stream = instrument.stream(request.instrument_id)
    listed = work.state(stream)
    amended = work.record(stream, instrument.decide(listed, request))
    if amended and isinstance(request, AmendInstrument):
        for transfer in accounts.resized(work, listed, request):
            book(work, transfer.key, [transfer])
    if amended and isinstance(request, RedenominateInstrument):
        instrument.check_successor(listed, work.state(instrument.stream(request.to_instrument_id)), request)
        for transfer in accounts.redenominated(work, request):
            book(work, transfer.key, [transfer])


def _decide_order(
    work: UnitOfWork, request: OrderRequest, marks: Callable[[str], Mark | None]
) -> RequestRefused | None:
    """Route a request about orders. Returns a refusal that is to be recorded, raises one that is not."""
    match request:
        case SubmitOrder():
            return _submit(work, request, marks)
        case ReplaceOrder():
            return _replace(work, venue_ids.requested_of(work.state, request), marks)
        case CancelOrder():
            named = venue_ids.requested_of(work.state, request)
            requested = order.decide(work.state(order.stream(named.key)), named)
            orders.record_request(work, named.key, requested, named.transact_time)
        case CancelOrders():
            orders.cancel_each(work, request)
        case OpenParent() | CloseParent():
            _account_of(work, request.key.account_id)
            stream = parent.stream(request.key)
            work.record(stream, parent.decide(work.state(stream), request))
        case _:
            assert_never(request)
    return None


def _decide_beside(
    work: UnitOfWork, request: approval.AccessRequest | RejectProposal | ApproveProposal | BesideTrading, actor: Actor
) -> None:
    """Route a request that is about no trading: persons, keys, proposals, closings. Raises RequestRefused."""
    match request:
        case ForgetSubject():
            stream = subject.stream(request.subject_id)
            work.record(stream, subject.decide(work.state(stream), request))
        case IssueKey() | RescopeKey() | BoundKey() | RotateKey() | RevokeKey() | SetApprovalPolicy():
            approval.carry_out(work, request, actor)
        case RejectProposal():
            approval.reject(work, request, actor)
        case ApproveProposal():
            raise RequestRefused("a proposal is not approved by a proposal", proposal_id=request.proposal_id)
        case SetPolicy():
            _set_policy(work, request)
        case CloseFigures():
            work.record(figures.STREAM, figures.decide(work.state(figures.STREAM), request))
        case _:
            assert_never(request)


def _set_policy(work: UnitOfWork, request: SetPolicy) -> None:
    """Set a policy of an account or of the firm. Raises RequestRefused."""
    if request.account_id != risk.FIRM:
        _account_of(work, request.account_id)
    if request.band is not None:
        base = _instrument_of(work, request.band.instrument_id).contract.base
        if base != request.band.asset:
            raise RequestRefused("a hedge's instrument has the asset as its base", asset=request.band.asset, base=base)
    stream = policies.stream(request.account_id)
    firm = work.state(policies.stream(risk.FIRM))
    work.record(stream, policies.decide(work.state(stream), firm, request))


def _decide_position(work: UnitOfWork, request: AssignLots | MovePosition | SettleContract | DeliverContract) -> None:
    """Route a request about a position. Raises RequestRefused."""
    match request:
        case AssignLots():
            stream = position.stream(request.key)
            work.record(stream, position.decide(held_at(work, request.key, [request]), request))
        case MovePosition():
            for account_id in (request.key.account_id, request.to.account_id):
                _account_of(work, account_id)
            here, there = (work.state(position.stream(key)) for key in (request.key, request.to))
            for transfer in position.moved(here, request, there):
                book(work, transfer.key, [transfer])
        case SettleContract():
            trade = position.settled(work.state(position.stream(request.key)), request)
            if trade is not None:
                book(work, request.key, [trade])
        case DeliverContract():
            _deliver(work, request)
        case _:
            assert_never(request)


def _deliver(work: UnitOfWork, request: DeliverContract) -> None:
    """Deliver the underlying of an option or future. Raises RequestRefused."""
    _account_of(work, request.key.account_id)
    into = _instrument_of(work, request.to.instrument_id).facts_at(request.transact_time).contract
    here, there = (work.state(position.stream(key)) for key in (request.key, request.to))
    found = position.delivered(here, there, into, request)
    if found is not None:
        event, closing, opening = found
        work.record(position.stream(request.key), (event,))
        book(work, request.key, [closing])
        book(work, request.to, [opening])


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
    contract = listed.facts_at(request.transact_time).contract
    instrument.check_prices(contract, request.terms.price, request.terms.stop_px)
    try:
        account.opened(owner, request.key.account_id)
        submitted = order.decide(None, request)
        instrument.check_terms(listed, request.terms.order_qty, request.terms.price, request.transact_time)
        _check_leg(request, listed)
        orders.check_child(work, order.evolve(None, submitted[0]), contract)
    except RequestRefused as refusal:
        work.record(stream, (order.refused(request, refusal),))
        return refusal
    hold = PlaceHold(request.key, request.terms, contract, mark=None, transact_time=request.transact_time)
    checked = limits.check(work, hold, marks)
    refusal_by_limit = checked.refusal
    if refusal_by_limit is not None:
        submitted = (order.refused(request, refusal_by_limit),)
    work.record(stream, submitted)
    limits.record(work, checked)
    if refusal_by_limit is None:
        orders.report_to_parent(work, request.key, request.transact_time)
    return refusal_by_limit


def _check_leg(request: SubmitOrder, listed: Instrument) -> None:
    if request.terms.leg is not PositionSide.BOTH and listed.contract.kind is Kind.SPOT:
        raise RequestRefused("position_side is of a contract; spot has no legs", position_side=request.terms.leg)


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
    contract = listed.facts_at(at).contract
    instrument.check_prices(contract, terms.price, terms.stop_px)
    instrument.check_terms(listed, terms.order_qty, terms.price, at)
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
