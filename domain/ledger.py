"""The command side: which streams a command touches, in which order they decide, and one append for all they say.

A request or a batch of reports is one unit: everything it adds to order, position and limit streams is appended
together or not at all. Aggregates are kept in memory between commands, at most `cached_streams_max` of them; the log's
unique (stream, version) says when another writer was first, and then everything is read and decided again. An answer
that adds nothing is checked against the log as well before it is given.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import reduce
from types import ModuleType
from typing import Any, NamedTuple, TypeVar, assert_never

from msgspec import Struct
from msgspec.structs import replace

from domain import (
    account,
    accounts,
    evidence,
    instrument,
    limits,
    order,
    orders,
    parentorder,
    position,
    risk,
    schema,
    statement,
    venueorder,
)
from domain.account import (
    Account,
    AccountReport,
    BreakAged,
    BreakChanged,
    BreakOpened,
    BreakResolved,
    CloseAccount,
    OpenAccount,
    RequestTransfer,
    ResolveBreak,
)
from domain.cash import (
    BookEntry,
    ChargeFee,
    ReturnTransfer,
    SettleTransfer,
)
from domain.errors import ExecutionKnown, LedgerError, ReportUnreadable, RequestRefused, StreamConflict
from domain.evidence import RawReportKept
from domain.instrument import AmendInstrument, Contract, DelistInstrument, Instrument, ListInstrument
from domain.log import EventLog, Recorded
from domain.order import (
    CancelOrder,
    Order,
    OrderFilled,
    OrderReplaceRequested,
    OrderReport,
    ReplaceOrder,
    SubmitOrder,
)
from domain.orders import Due
from domain.parentorder import CloseParent, OpenParent
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
from domain.statement import Statement
from domain.values import Mark, exact

AGGREGATES: dict[str, ModuleType] = {
    "account": account,
    "evidence": evidence,
    "instrument": instrument,
    "limit": risk,
    "order": order,
    "parentorder": parentorder,
    "position": position,
    "statement": statement,
    "venueorder": venueorder,
}
ATTEMPTS_MAX = 64
CACHED_STREAMS_MAX = 20_000

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


class _Outcome(NamedTuple):
    """What became of one report of a batch."""

    records: tuple[Recorded, ...] = ()
    error: LedgerError | None = None
    on_record: OrderFilled | None = None


def no_marks(instrument_id: str) -> Mark | None:
    """For ledgers without market data."""
    return None


class Ledger:
    """The one writer of history. Carries out one command after the other: callers in several threads share a lock."""

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
        self._cached_streams_max = cached_streams_max
        self._cache: OrderedDict[str, tuple[int, Any]] = OrderedDict()

    def request(self, request: Request, *, actor: str, request_id: str = "") -> Answer:
        """Carry out a client's request. Raises RequestRefused; a refusal by risk is on record when it is raised."""

        def decide(work: "_Work") -> RequestRefused | None:
            return _decide(work, request, self._marks, actor)

        seq, records, refusal = self._carry_out(decide, actor, request_id)
        if refusal is not None:
            raise refusal
        return Answer(seq, records)

    def report(self, reports: Sequence[Report], *, actor: str, request_id: str = "") -> list[Answer]:
        """Take down what a venue says has happened, all in one append; an answer for each report, in their order.

        A report of an account or instrument that is not on record is not taken: its answer carries ReportUnreadable.
        """

        def admit(work: "_Work") -> list[_Outcome]:
            return _admit(work, reports)

        seq, _, outcomes = self._carry_out(admit, actor, request_id)
        return [Answer(seq, *outcome) for outcome in outcomes]

    def state(self, stream: str) -> Any:
        """The aggregate of a stream as the log has it now; None if the stream is empty."""
        self._refresh([stream])
        return self._load(stream)[1]

    def _carry_out(
        self, command: Callable[["_Work"], State], actor: str, request_id: str
    ) -> tuple[int, tuple[Recorded, ...], State]:
        executed: dict[str, str] = {}
        for _ in range(ATTEMPTS_MAX):
            head = self._log.head()
            now = self._now() if head.recorded_at is None else max(self._now(), head.recorded_at)
            work = _Work(self._load, self._log, now, actor, request_id, executed)
            try:
                outcome = command(work)
            except RequestRefused:
                if self._refresh(work.streams):
                    continue
                raise
            if not work.records:
                if self._refresh(work.streams):
                    continue
                return head.seq, (), outcome
            try:
                seq = self._log.append(work.records)
            except ExecutionKnown:
                executed = self._log.executed([key for key in map(_execution, work.records) if key is not None])
                continue
            except StreamConflict:
                self._refresh(work.streams)
                continue
            except LedgerError:
                self._forget(work.streams)
                raise
            self._keep(work.states)
            return seq, tuple(work.records), outcome
        raise StreamConflict("the log", f"{ATTEMPTS_MAX} attempts were overtaken by other writers")

    def _load(self, stream: str) -> tuple[int, Any]:
        known = self._cache.get(stream)
        if known is None:
            known = _folded(stream, (0, None), self._log.read(stream))
            self._keep({stream: known})
        else:
            self._cache.move_to_end(stream)
        return known

    def _keep(self, states: dict[str, tuple[int, Any]]) -> None:
        for stream, known in states.items():
            self._cache[stream] = known
            self._cache.move_to_end(stream)
        while len(self._cache) > self._cached_streams_max:
            self._cache.popitem(last=False)

    def _forget(self, streams: Iterable[str]) -> None:
        for stream in streams:
            self._cache.pop(stream, None)

    def _refresh(self, streams: Iterable[str]) -> bool:
        """Read on from what is cached; whether anything was new."""
        is_changed = False
        for stream in streams:
            known = self._cache.get(stream)
            if known is None:
                continue
            if later := self._log.read(stream, after=known[0]):
                self._keep({stream: _folded(stream, known, later)})
                is_changed = True
        return is_changed


def _folded(stream: str, known: tuple[int, Any], records: list[Recorded]) -> tuple[int, Any]:
    if not records:
        return known
    evolve = AGGREGATES[stream.partition(":")[0]].evolve
    return records[-1].version, reduce(evolve, (recorded.event for recorded in records), known[1])


def _execution(recorded: Recorded) -> str | None:
    return schema.execution_key(recorded.event)


class _Work:
    """One unit of work: the states it has read, and the records it would append."""

    def __init__(
        self,
        load: Callable[[str], tuple[int, Any]],
        log: EventLog,
        now: datetime,
        actor: str,
        request_id: str,
        executed: Mapping[str, str],
    ) -> None:
        self._load = load
        self._log = log
        self._now = now
        self._actor = actor
        self._request_id = request_id
        self.states: dict[str, tuple[int, Any]] = {}
        self.streams: set[str] = set()
        self.records: list[Recorded] = []
        self._executed = dict(executed)

    def executed(self, fill: OrderFilled) -> str | None:
        """The stream that a fill is known to be on record in, under whatever order."""
        return self._executed.get(schema.execution_key(fill) or "")

    def state(self, stream: str) -> Any:
        """The aggregate, with what this unit has already added to it."""
        return self._known(stream)[1]

    def _known(self, stream: str) -> tuple[int, Any]:
        self.streams.add(stream)
        return self.states.get(stream) or self._load(stream)

    def history(self, stream: str) -> list[Any]:
        """Every event of the stream, and those this unit has added."""
        stored = [recorded.event for recorded in self._log.read(stream)]
        return stored + [recorded.event for recorded in self.records if recorded.stream == stream]

    def record(self, stream: str, events: Iterable[Any]) -> tuple[Recorded, ...]:
        """Add events to a stream."""
        version, state = self._known(stream)
        evolve = AGGREGATES[stream.partition(":")[0]].evolve
        added = []
        for event in events:
            version += 1
            state = evolve(state, event)
            added.append(Recorded(stream, version, self._now, self._actor, self._request_id, event))
            if (key := schema.execution_key(event)) is not None:
                self._executed[key] = stream
        if added:
            self.states[stream] = (version, state)
            self.records += added
        return tuple(added)


def _decide(work: _Work, request: Request, marks: Callable[[str], Mark | None], actor: str) -> RequestRefused | None:
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
            named = venueorder.requested_of(work.state, request)
            asked = order.decide(work.state(order.stream(named.key)), named)
            orders.ask(work, named.key, asked, named.transact_time)
        case ReplaceOrder():
            return _replace(work, venueorder.requested_of(work.state, request), marks)
        case OpenParent() | CloseParent():
            _account_of(work, request.key.account_id)
            stream = parentorder.stream(request.key)
            work.record(stream, parentorder.decide(work.state(stream), request))
        case SubmitOrder():
            return _submit(work, request, marks)
        case AssignLots() | MovePosition() | SettleContract():
            _decide_position(work, request)
        case _:
            assert_never(request)
    return None


def _decide_position(work: _Work, request: AssignLots | MovePosition | SettleContract) -> None:
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


def _submit(work: _Work, request: SubmitOrder, marks: Callable[[str], Mark | None]) -> RequestRefused | None:
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


def _replace(work: _Work, request: ReplaceOrder, marks: Callable[[str], Mark | None]) -> RequestRefused | None:
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


def _account_of(work: _Work, account_id: str) -> Account:
    known: Account | None = work.state(account.stream(account_id))
    return account.opened(known, account_id)


def _instrument_of(work: _Work, instrument_id: str) -> Instrument:
    known: Instrument | None = work.state(instrument.stream(instrument_id))
    if known is None:
        raise RequestRefused("the instrument is listed; list it first", instrument_id=instrument_id)
    return known


def _admit(work: _Work, reports: Sequence[Report]) -> list[_Outcome]:
    """Route reports: orders first, one by one; then what they and the rest mean for each position and its limits."""
    outcomes: list[_Outcome] = []
    due = Due()
    of_accounts: list[AccountReport] = []
    for report in reports:
        outcome = _Outcome()
        try:
            match report:
                case RawReportKept():
                    stream = evidence.stream(report)
                    outcome = _Outcome(work.record(stream, evidence.admit(work.state(stream), report)))
                case Transfer() | SettleFunding():
                    _check_known(work, report.key.account_id, report.key.instrument_id)
                    due.bookings.setdefault(report.key, []).append(report)
                case Statement():
                    accounts.check(work, report.account_id)
                    stream = statement.stream(report)
                    outcome = _Outcome(work.record(stream, statement.admit(work.state(stream), report)))
                case (
                    SettleTransfer() | ReturnTransfer() | ChargeFee() | BookEntry()
                    | BreakOpened() | BreakChanged() | BreakAged() | BreakResolved()
                ):  # fmt: skip
                    of_accounts.append(report)
                case _:
                    outcome = _admit_order(work, report, due)
        except ReportUnreadable as error:
            outcome = _Outcome(error=error)
        outcomes.append(outcome)
    booked: dict[tuple[PositionKey, str], tuple[Recorded, ...]] = {}
    for key, reported in due.reversals.items():
        _book(work, key, reported)
    for key, reported in due.bookings.items():
        booked |= {(key, _report_id(added.event)): (added,) for added in _book(work, key, reported)}
    for index, report in enumerate(reports):
        if isinstance(report, Transfer | SettleFunding) and outcomes[index].error is None:
            outcomes[index] = _Outcome(booked.pop((report.key, _report_id(report)), ()))
    taken = iter(accounts.admit(work, of_accounts))
    for index, report in enumerate(reports):
        records = outcomes[index].records
        if isinstance(report, AccountReport):
            outcomes[index] = _Outcome(*next(taken))
        elif not isinstance(report, RawReportKept | Statement) and records:
            accounts.note_closed(work, records[0], report.transact_time)
    for order_key, at in due.touched.items():
        limits.follow(work, order_key, at)
    return outcomes


def _admit_order(work: _Work, report: OrderReport, due: Due) -> _Outcome:
    order.check_report(report)
    if isinstance(report, OrderFilled):
        _check_known(work, report.key.account_id, report.instrument_id)
    else:
        accounts.check(work, report.key.account_id)
    records = orders.report(work, report, lambda instrument_id, at: _facts(work, instrument_id, at), due)
    return _Outcome(records, on_record=orders.on_record(work, report))


def _check_known(work: _Work, account_id: str, instrument_id: str) -> None:
    accounts.check(work, account_id)
    if work.state(instrument.stream(instrument_id)) is None:
        raise ReportUnreadable("instrument_id", instrument_id, "a listed instrument; list it first, then report again")


def _report_id(told: PositionEvent | Transfer | SettleFunding) -> str:
    """Which transfer or funding payment a report or the event it became tells of; "" for others."""
    match told:
        case Transfer(transfer_id=told_id) | PositionTransferred(transfer_id=told_id):
            return f"transfer {told_id}"
        case SettleFunding(funding_id=told_id) | FundingSettled(funding_id=told_id):
            return f"funding {told_id}"
        case _:
            return ""


def _book(work: _Work, key: PositionKey, reported: Sequence[PositionReport]) -> tuple[Recorded, ...]:
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


def _held(work: _Work, key: PositionKey, about: Sequence[PositionReport | AssignLots]) -> Position | None:
    """The position, with all its history as tail where what it is asked about is older than the tail it remembers."""
    stream = position.stream(key)
    held: Position | None = work.state(stream)
    if position.needs_history(held, about):
        return position.unfold(work.history(stream))
    return held


def _facts(work: _Work, instrument_id: str, at: datetime) -> Contract:
    """The instrument's contract as it was at a moment."""
    listed: Instrument = work.state(instrument.stream(instrument_id))
    return listed.facts_at(at).contract
