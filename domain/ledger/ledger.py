"""The command side: which streams a command touches, in which order they decide, and one append for all they say.

A request or a batch of reports is one unit: everything it adds to order, position and limit streams is appended
together or not at all. Aggregates are kept in memory between commands, at most `cached_streams_max` of them; the log's
unique (stream, version) says when another writer was first, and then everything is read and decided again. An answer
that adds nothing is checked against the log as well before it is given.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple, TypeVar, assert_never, get_args

from msgspec import Struct
from msgspec.structs import replace

from domain import account, instrument, order, position, risk
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
    ForgetSubject,
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
from domain.ledger import accounts, limits, orders, schema
from domain.ledger.log import EventLog, Recorded
from domain.ledger.orders import Due, Facts
from domain.ledger.unit_of_work import CACHED_STREAMS_MAX, Aggregates, UnitOfWork
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
    FundingSettled,
    MovePosition,
    Position,
    PositionEvent,
    PositionKey,
    PositionReport,
    PositionTransferred,
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
from domain.values import Mark, exact

ATTEMPTS_MAX = 64
ATTEMPTS_IN_TURN_MAX = 3  # after that, the others are held off

Request = (
    SubmitOrder
    | CancelOrder
    | ReplaceOrder
    | OpenParent
    | CloseParent
    | OpenAccount
    | ListInstrument
    | AmendInstrument
    | DelistInstrument
    | SetLimit
    | EngageSwitch
    | ReleaseSwitch
    | SetTradingDay
    | SetConversion
    | AssessMarks
    | AssignLots
    | MovePosition
    | SettleContract
    | RequestTransfer
    | ResolveBreak
    | CloseAccount
    | ForgetSubject
)
Report = OrderReport | SettleFunding | Transfer | RawReportKept | AccountReport | Statement
State = TypeVar("State")


class Answer(Struct, frozen=True):
    """What became of one command: the records of its own streams it added, and a `seq` that covers it.

    `records` is empty when it was already in effect. `error` is set where a report of a batch could not be taken. For a
    fill `on_record` is what the book has under its exec id, which is another content if the report contradicts it.
    """

    seq: int
    records: tuple[Recorded, ...] = ()
    error: LedgerError | None = None
    on_record: OrderFilled | None = None


class Outcome(NamedTuple):
    """What became of one request or report: an Answer whose seq is not known yet."""

    records: tuple[Recorded, ...] = ()
    error: LedgerError | None = None
    on_record: OrderFilled | None = None


EvidenceOf = Callable[[int, InvalidInput], RawReportKept]


class Command(NamedTuple):
    """A request or reports to carry out as one unit of work, and in whose name.

    `evidence_of` makes the evidence of a report (by its index, and what is
    wrong with it) that could not be recorded.
    """

    payload: Request | tuple[Report, ...]
    actor: str
    request_id: str = ""
    cause: str = ""
    evidence_of: EvidenceOf | None = None


def no_marks(instrument_id: str) -> Mark | None:
    """For ledgers without market data."""
    return None


class Ledger:
    """A writer that decides on what it has read and appends if nobody was first. One command after the other: callers
    in several threads share a lock, and other processes may write too.
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

    def request(self, request: Request, *, actor: str, request_id: str = "", cause: str = "") -> Answer:
        """Carry out a client's request. Raises RequestRefused; a refusal by risk is on record when it is raised."""
        (answer,) = self.carry_out(Command(request, actor, request_id, cause))
        if answer.error is not None:
            raise answer.error
        return answer

    def report(
        self,
        reports: Sequence[Report],
        *,
        actor: str,
        request_id: str = "",
        cause: str = "",
        evidence_of: EvidenceOf | None = None,
    ) -> list[Answer]:
        """Take down what a venue says has happened, all in one append; an answer for each report, in their order.

        A report of an account or instrument that is not on record is not taken: its answer carries InvalidInput,
        and what `evidence_of` makes of it is kept as evidence in the same append.
        """
        return self.carry_out(Command(tuple(reports), actor, request_id, cause, evidence_of))

    def state(self, stream: str) -> Any:
        """The aggregate of a stream as the log has it now; None if the stream is empty."""
        self._known.refresh([stream])
        return self._known.known(stream)[1]

    def carry_out(self, command: Command) -> list[Answer]:
        """Carry out a request or reports: an answer for each; a request that was refused has its refusal as error."""
        self._known.executed = {}
        for attempt in range(ATTEMPTS_MAX):
            with self._log.alone() if attempt >= ATTEMPTS_IN_TURN_MAX else nullcontext():
                done = self._try(command)
            if done is not None:
                return done
        raise StreamConflict("the log", f"{ATTEMPTS_MAX} attempts were overtaken by other writers")

    def _try(self, command: Command) -> list[Answer] | None:
        """Decide, and append; None if what it was decided on is no longer so."""
        head = self._log.head()
        now = self._now() if head.recorded_at is None else max(self._now(), head.recorded_at)
        self._known.fetch(streams_of(command))
        work = UnitOfWork(self._known, now, command.actor, command.request_id, command.cause)
        outcomes = decided(work, command, self._marks)
        if not work.records:
            if self._known.refresh(work.streams):
                return None
            return [Answer(head.seq, *outcome) for outcome in outcomes]
        try:
            seq = self._log.append(work.records)
        except ExecutionKnown:
            self._known.executed = self._log.executed(executions(work.records))
            return None
        except StreamConflict:
            self._known.forget(work.streams)
            return None
        except LedgerError:
            self._known.forget(work.streams)
            raise
        self._known.keep(work.states)
        return [Answer(seq, *outcome) for outcome in outcomes]


def decided(work: UnitOfWork, command: Command, marks: Callable[[str], Mark | None]) -> list[Outcome]:
    """What becomes of a command: one outcome of a request, one for each report. Adds to `work` what is to be recorded.

    Where a request is refused the outcome's error says so; the refusal itself may be on record.
    """
    if isinstance(command.payload, tuple):
        outcomes = _admit(work, command.payload)
        for index, outcome in enumerate(outcomes):
            if command.evidence_of is not None and isinstance(outcome.error, InvalidInput):
                _keep(work, command.evidence_of(index, outcome.error))
        return outcomes
    try:
        refusal = _decide(work, command.payload, marks, command.actor)
    except RequestRefused as refused:
        work.drop()
        refusal = refused
    return [Outcome(tuple(work.records), refusal)]


def streams_of(command: Command) -> list[str]:
    """The short streams that a command is about, orders above all: worth reading beforehand, all at once."""
    match command.payload:
        case tuple(reports):
            streams = [evidence.stream(report) for report in reports if isinstance(report, RawReportKept)]
            told = [report for report in reports if type(report) is OrderFilled or isinstance(report, OrderReport)]
            streams += [order.stream(report.key) for report in told]
            return streams + [stream for report in told if (stream := venue_ids.stream_of(report)) is not None]
        case SubmitOrder(key=key) | CancelOrder(key=key) | ReplaceOrder(key=key):
            return [order.stream(key)]
        case _:
            return []


def streams_begun_by(command: Command) -> list[str]:
    """The streams that a command most likely begins, and whose first record is then among those it adds."""
    match command.payload:
        case tuple(reports):
            return [evidence.stream(report) for report in reports if isinstance(report, RawReportKept)]
        case SubmitOrder(key=key):
            return [order.stream(key)]
        case _:
            return []


def executions(records: Sequence[Recorded]) -> list[str]:
    """The execution keys of the fills among records."""
    return [key for key in (schema.execution_key(recorded.event) for recorded in records) if key is not None]


def _decide(
    work: UnitOfWork, request: Request, marks: Callable[[str], Mark | None], actor: str
) -> RequestRefused | None:
    """Route a request. Raises RequestRefused where nothing is to be recorded, returns it where the refusal is."""
    match request:
        case OpenAccount():
            limits.check_account_id(request.account_id)
            stream = account.stream(request.account_id)
            if work.record(stream, account.decide(work.state(stream), request)):
                limits.register(work, request.account_id, request.transact_time)
        case RequestTransfer() | ResolveBreak() | CloseAccount():
            accounts.ask(work, request)
        case ListInstrument() | AmendInstrument() | DelistInstrument():
            stream = instrument.stream(request.instrument_id)
            work.record(stream, instrument.decide(work.state(stream), request))
        case SetLimit() | EngageSwitch() | ReleaseSwitch() | SetTradingDay() | SetConversion() | AssessMarks():
            if request.account_id != risk.FIRM:
                _account_of(work, request.account_id)
            limits.settle(work, request, marks, actor)
        case CancelOrder():
            named = venue_ids.requested_of(work.state, request)
            asked = order.decide(work.state(order.stream(named.key)), named)
            orders.ask(work, named.key, asked, named.transact_time)
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
        case ForgetSubject():
            stream = subject.stream(request.subject_id)
            work.record(stream, subject.decide(work.state(stream), request))
        case _:
            assert_never(request)
    return None


def _decide_position(work: UnitOfWork, request: AssignLots | MovePosition | SettleContract) -> None:
    """What is asked of a position."""
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
    """An order passes its own rules, its instrument's, its account's limits: recorded with its hold, or refused."""
    stream = order.stream(request.key)
    submitted = order.decide(work.state(stream), request)
    if not submitted:
        return None
    _account_of(work, request.key.account_id)
    listed = _instrument_of(work, request.terms.instrument_id)
    instrument.check_terms(listed, request.terms.order_qty, request.terms.price, request.transact_time)
    orders.check_child(work, order.evolve(None, submitted[0]), listed.facts_at(request.transact_time).contract)
    hold = PlaceHold(request.key, request.terms, listed.contract, None, request.transact_time)
    verdict = limits.judge(work, hold, marks)
    refusal = verdict.refusal
    work.record(stream, submitted if refusal is None else (order.refused(request, refusal),))
    limits.take_down(work, verdict)
    if refusal is None:
        orders.tell_parent(work, request.key, request.transact_time)
    return refusal


def _replace(work: UnitOfWork, request: ReplaceOrder, marks: Callable[[str], Mark | None]) -> RequestRefused | None:
    """A replacement passes what a new order would; until it is answered, the order holds the larger of both."""
    stream = order.stream(request.key)
    known: Order | None = work.state(stream)
    asked = order.decide(known, request)
    if not asked or known is None:
        return None
    (requested,) = (event for event in asked if isinstance(event, OrderReplaceRequested))
    terms, at = requested.terms, request.transact_time
    listed = _instrument_of(work, terms.instrument_id)
    instrument.check_terms(listed, terms.order_qty, terms.price, at)
    contract = listed.facts_at(at).contract
    orders.check_child(work, replace(known, terms=terms), contract)
    quantity = max(known.held_qty, exact(terms.order_qty - known.cum_qty))
    verdict = limits.judge(work, AdjustHold(request.key, request.requested_as, terms, quantity, contract, at), marks)
    if verdict.refusal is None:
        orders.ask(work, request.key, asked, at)
    limits.take_down(work, verdict)
    return verdict.refusal


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


def _admit(work: UnitOfWork, reports: Sequence[Report]) -> list[Outcome]:
    """Route reports: orders first, one by one; then what they and the rest mean for each position and its limits."""
    outcomes: list[Outcome] = []
    due = Due()
    facts = partial(_facts, work)
    of_accounts: list[AccountReport] = []
    for report in reports:
        outcome = Outcome()
        try:
            match report:
                case OrderFilled():  # first, because nearly all are
                    outcome = _admit_order(work, report, facts, due)
                case RawReportKept():
                    outcome = Outcome(_keep(work, report))
                case Transfer() | SettleFunding():
                    listed = _check_known(work, report.key.account_id, report.key.instrument_id)
                    if isinstance(report, SettleFunding):
                        _check_settled_in(report, listed.contract.settle)
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
    _follow(work, reports, outcomes, due)
    taken = iter(accounts.admit(work, of_accounts))
    for index, report in enumerate(reports):
        records = outcomes[index].records
        if isinstance(report, _OF_ACCOUNTS):
            outcomes[index] = Outcome(*next(taken))
        elif records and not isinstance(report, _OF_NO_ACCOUNT):
            accounts.note_closed(work, records[0], report.transact_time)
    for order_key, at in due.touched.items():
        limits.follow(work, order_key, at)
    return outcomes


def _follow(work: UnitOfWork, reports: Sequence[Report], outcomes: list[Outcome], due: Due) -> None:
    """What is due for each position and its limits; the outcomes of transfers and funding payments."""
    asked = [index for index, report in enumerate(reports) if isinstance(report, _OF_POSITIONS)]
    booked: dict[tuple[PositionKey, str], tuple[Recorded, ...]] = {}
    for key, reported in due.reversals.items():
        _book(work, key, reported)
    for key, reported in due.bookings.items():
        added = _book(work, key, reported)
        if asked:
            booked |= {(key, _report_id(each.event)): (each,) for each in added}
    for index in asked:
        report = reports[index]
        assert isinstance(report, _OF_POSITIONS)
        if outcomes[index].error is None:
            outcomes[index] = Outcome(booked.pop((report.key, _report_id(report)), ()))


def _keep(work: UnitOfWork, raw: RawReportKept) -> tuple[Recorded, ...]:
    stream = evidence.stream(raw)
    return work.record(stream, evidence.admit(work.state(stream), raw))


def _admit_order(work: UnitOfWork, report: OrderReport, facts: Facts, due: Due) -> Outcome:
    order.check_report(report)
    if isinstance(report, OrderFilled):
        _check_known(work, report.key.account_id, report.instrument_id)
    else:
        accounts.check(work, report.key.account_id)
    records = orders.report(work, report, facts, due)
    return Outcome(records, None, orders.on_record(work, report, records))


def _check_known(work: UnitOfWork, account_id: str, instrument_id: str) -> Instrument:
    accounts.check(work, account_id)
    listed: Instrument | None = work.state(instrument.stream(instrument_id))
    if listed is None:
        raise ReportUnreadable("instrument_id", instrument_id, "a listed instrument; list it first, then report again")
    return listed


def _check_settled_in(report: SettleFunding, settle: str) -> None:
    """A position's funding is one sum."""
    if report.amount.currency != settle:
        rule = f"{settle}, the settlement currency of {report.key.instrument_id}"
        raise ReportUnreadable("amount.currency", report.amount.currency, rule)


def _report_id(told: PositionEvent | Transfer | SettleFunding) -> str:
    """Which transfer or funding payment a report or the event it became tells of; "" for others."""
    match told:
        case Transfer(transfer_id=told_id) | PositionTransferred(transfer_id=told_id):
            return f"transfer {told_id}"
        case SettleFunding(funding_id=told_id) | FundingSettled(funding_id=told_id):
            return f"funding {told_id}"
        case _:
            return ""


def _book(work: UnitOfWork, key: PositionKey, reported: Sequence[PositionReport]) -> tuple[Recorded, ...]:
    """Book what was reported of one position, and post it to the account's limits."""
    stream = position.stream(key)
    held = _held(work, key, reported)
    conventions: Account = work.state(account.stream(key.account_id))
    told = [
        replace(report, contract=_facts(work, key.instrument_id, report.transact_time))
        if isinstance(report, Transfer)
        else report
        for report in reported
    ]
    records = work.record(stream, position.admit(held, told, conventions.costing))
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
    """The position, with all its history as tail where what it is asked about is older than the tail it remembers."""
    stream = position.stream(key)
    held: Position | None = work.state(stream)
    if position.needs_history(held, about):
        return position.unfold(work.events(stream))
    return held


def _facts(work: UnitOfWork, instrument_id: str, at: datetime) -> Contract:
    """The instrument's contract as it was at a moment."""
    listed: Instrument = work.state(instrument.stream(instrument_id))
    return listed.facts_at(at).contract
