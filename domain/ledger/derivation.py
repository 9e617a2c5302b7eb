"""Derivation: decides the requests and reports of a log again, and compares what follows with what is on record.

The log is read in the order of `seq`. Of every unit of work the request or reports are read back from its events
(`domain.ledger.origins`), decided by the domain on the state that the log had until then, and the resulting records
compared with those on record, one by one. The state then goes on with the events on record, so that a fault is named
once and not by everything after it.

The log does not mark where a unit of work ends. Events of one append share their envelope; within it a unit ends where
its decision has no more events. So any reading of the events as requests and reports that leads to exactly them
suffices: that is what it means that they follow.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import reduce
from itertools import islice
from typing import Any, NamedTuple, Protocol

from msgspec import Struct
from msgspec.structs import replace

from domain import risk
from domain.access import approvals
from domain.errors import LedgerError
from domain.ledger import origins, schema
from domain.ledger.commands import Command
from domain.ledger.ledger import decided, executions, no_marks
from domain.ledger.log import Recorded, Streams
from domain.ledger.origins import ORIGINS, Origin
from domain.ledger.unit_of_work import AGGREGATES, CACHED_STREAMS_MAX, Aggregates, UnitOfWork
from domain.order import OrderAliased, OrderCancelRequested, OrderReplaceRequested

PREFIXES_MAX = 64  # attempts to read a batch of reports as several
FAULTS_MAX = 20  # kept; all are counted
FIRST_KINDS = ("order", "parentorder", "venueorder", "evidence")  # the streams that a batch of reports adds to first


class Item(NamedTuple):
    """An event of the log: its seq, its record in the newest shape, and the topic and bytes it is stored as."""

    seq: int
    recorded: Recorded
    topic: str
    state: bytes


class PastLog(Streams, Protocol):
    """The streams of a log up to a seq."""

    def go_on(self, items: Sequence[Item]) -> None:
        """Include these events from here on."""


class Fault(NamedTuple):
    """An event that does not follow, or (`found` None) one that is missing before `seq`; what follows instead, if
    anything does, and why.
    """

    seq: int
    topic: str
    stream: str
    reason: str
    expected: Recorded | None
    found: Recorded | None

    def __str__(self) -> str:
        of = f" of {self.stream}" if self.stream else ""
        return f"not derived at seq {self.seq}: {self.topic}{of}: {self.reason}"


class Undecided(NamedTuple):
    """Events that were not decided again: their topics, how many events, the first and last seq."""

    topics: str
    events: int
    first: int
    last: int


class Derived(NamedTuple):
    """The result: events and units of work that follow, those taken as given and those that other code decided, by
    topics, and faults: the first ones, and how many there are.

    `shapes` has the first and last seq of each topic whose events were stored in several shapes over time.
    """

    events: int = 0
    units: int = 0
    given: dict[str, int] = {}  # noqa: RUF012 (of a tuple, which is not changed)
    other_code: tuple[Undecided, ...] = ()
    faults: tuple[Fault, ...] = ()
    faults_count: int = 0
    shapes: dict[str, tuple[int, int]] = {}  # noqa: RUF012


class _Attempt(NamedTuple):
    """An attempt to derive a unit of work: how many records are those on record, why not more, and what follows."""

    same: int
    failed: str
    follows: Sequence[Recorded]


class Derivation:
    """A derivation under way. `add` takes the events of one append after the other, by seq.

    Of a part of a log only streams that are in it are compared: `is_in`, None if all are.
    """

    def __init__(
        self,
        log: PastLog,
        *,
        cached_streams_max: int = CACHED_STREAMS_MAX,
        is_in: Callable[[str], bool] | None = None,
    ) -> None:
        self._log = log
        self._is_in = is_in
        self.known = Aggregates(log, cached_streams_max)
        self._events = 0
        self._units = 0
        self._given: dict[str, int] = {}
        self._other_code: dict[str, Undecided] = {}
        self._faults: list[Fault] = []
        self._faults_count = 0
        self._shapes: dict[str, tuple[int, int]] = {}

    @property
    def result(self) -> Derived:
        """The result so far."""
        return Derived(
            self._events, self._units, dict(sorted(self._given.items())), tuple(self._other_code.values()),
            faults=tuple(self._faults), faults_count=self._faults_count, shapes=self._shapes,
        )  # fmt: skip

    def add(self, items: Sequence[Item]) -> None:
        """Decide the units of work again that the events of one envelope consist of."""
        for item in items:
            if type(item.recorded.event) in _RESHAPED:
                first, _ = self._shapes.get(item.topic, (item.seq, 0))
                self._shapes[item.topic] = (first, item.seq)
        at = 0
        while at < len(items):
            at += self._unit(items, at)

    def _unit(self, items: Sequence[Item], at: int) -> int:
        """Decide the unit of work that begins at an event; return how many events it has."""
        first = items[at]
        if (count := _given(items, at)) > 0:
            for item in items[at : at + count]:
                self._given[item.topic] = self._given.get(item.topic, 0) + 1
            return self._go_on(items[at : at + count])
        end = _end(items, at)
        records = [item.recorded for item in items[at:end]]
        events = [record.event for record in records]
        approval = origins.approval_of(records)
        closest = _Attempt(-1, "no request or report of its append leads to it", [])
        for payload in self._payloads(events, approval):
            work, failed = self._decided(approval or first.recorded, payload, events)
            is_monitoring = isinstance(payload, risk.AssessMarks)
            follows = self._as_monitored(work.records, items, at) if is_monitoring else _shadowed(work, items, at)
            if self._is_in is not None:
                follows = [record for record in follows if self._is_in(record.stream)]
            same = _same(follows, items, at)
            if same == len(follows) > 0:
                self._units += 1
                self._events += same
                if is_monitoring or self._is_in is not None or len(follows) < len(work.records):
                    return self._go_on(items[at : at + same])
                self.known.keep(work.states)
                self._log.go_on(items[at : at + same])
                return same
            if same > closest.same:
                closest = _Attempt(same, failed, follows)
        return self._not_derived(items, at, end, closest=closest)

    def _payloads(self, events: Sequence[Any], approval: Recorded | None) -> Iterator[Any]:
        """Yield what the events may follow from: a request, or reports, of which the first few may be a unit."""
        if approval is not None:
            yield origins.approving(events, approval.event)
            return
        first = next((each for each in events if not isinstance(each, approvals.ProposalExpired)), events[0])
        if isinstance(first, OrderAliased) and len(events) > 1 and _names(events[1], first):
            yield origins.request_of(events[1])
            return
        request = origins.request_of(first)
        if request is not None:
            yield request
        if ORIGINS[type(first)] is Origin.REQUEST:
            return
        if origins.is_monitored(first):
            yield origins.monitoring(events)
        reports = origins.reports_of(events, self._state)
        yield from _batches(reports)
        named = [origins.as_named(report, self._state) for report in reports]
        if named != reports:
            yield from _batches(named)

    def _state(self, stream: str) -> Any:
        return self.known.known(stream)[1]

    def _decided(self, record: Recorded, payload: Any, events: Sequence[Any]) -> tuple[UnitOfWork, str]:
        """Decide a request or reports on the state so far; the records, and why there may be none.

        A fill is known elsewhere only once its id has been looked up, as the append of the log makes a writer do.
        """
        marks = no_marks if isinstance(payload, risk.AssessMarks) else origins.marks_of(events).get
        first = origins.booked_first(events) if isinstance(payload, tuple) else ()
        actor = record.by or record.actor
        if isinstance(record.event, approvals.ProposalApproved) and record.approved_by is not None:
            actor = record.approved_by
        command = Command(payload, actor, record.request_id, record.cause)
        failed = ""
        while True:
            work = UnitOfWork(self.known, record.recorded_at, actor, request_id=record.request_id, cause=record.cause)
            try:
                with self._as_approved(work, record):
                    outcomes = decided(work, command, marks, first)
                failed = next((str(outcome.error) for outcome in outcomes if outcome.error is not None), "")
            except LedgerError as error:
                failed = str(error)
            except Exception as error:  # noqa: BLE001 (no decision of ours led to this state)
                failed = f"{type(error).__name__}: {error}"
            if not isinstance(payload, tuple) or [each.event for each in work.records] == events:
                break
            if not self.known.look_up(executions(work.records)):
                break
        self.known.executed = {}
        return work, failed

    def _as_approved(self, work: UnitOfWork, record: Recorded) -> AbstractContextManager[None]:
        """While it lasts, record as approved what was, where the approval is no part of what is derived."""
        is_away = self._is_in is not None and not self._is_in(approvals.STREAM)
        if record.approved_by is None or not is_away:
            return nullcontext()
        return work.approved(record.by or record.actor, record.approved_by, record.cause)

    def _as_monitored(self, records: Sequence[Recorded], items: Sequence[Item], at: int) -> list[Recorded]:
        """What follows from a monitoring at the marks on record, of which an event states those that it needed.

        That a limit could not be measured, or can be again, is stated without the marks: such an event is taken as it
        is on record, where the limit could or could not be measured before; one that only follows from the lack of
        marks is left out.
        """
        stream = items[at].recorded.stream
        known: risk.Risk = self._state(stream) or risk.Risk()
        missed, active = _measured(known)
        left = [each.event for each in records if not isinstance(origins.unwrapped(each.event), risk.AssessmentMissed)]
        kept: list[Recorded] = []
        for item in islice(items, at, None):
            event = item.recorded.event
            stated, first = origins.unwrapped(event), origins.unwrapped(items[at].recorded.event)
            if item.recorded.stream != stream or not origins.is_monitored(event):
                break
            if isinstance(stated, risk.AssessmentMissed | risk.AssessmentResumed):
                limit = (stated.scope, stated.measure, stated is not event)
                was_missed = isinstance(stated, risk.AssessmentResumed)
                if stated.account_id != origins.account_of(stream) or limit not in active:
                    break
                if (limit in missed) is not was_missed or stated.transact_time != first.transact_time:
                    break
                missed ^= {limit}
                left = [each for each in left if each != event]
            elif not left or isinstance(origins.unwrapped(left[0]), risk.AssessmentResumed):
                break
            else:
                event = left.pop(0)
            kept.append(replace(item.recorded, event=event))
        version = kept[-1].version if kept else items[at].recorded.version - 1
        shape = records[0] if records else items[at].recorded
        rest = [replace(shape, stream=stream, version=version + n, event=event) for n, event in enumerate(left, 1)]
        return [*kept, *rest]

    def _not_derived(self, items: Sequence[Item], at: int, end: int, *, closest: _Attempt) -> int:
        """Record that a unit does not follow, or that other code decided it; go on with what is on record.

        No code has ever recorded what no request or report leads to.
        """
        same, failed, follows = closest
        older = sorted({item.topic for item in items[at:end] if _is_older(item)})
        if older and same >= 0:
            topics, first, last = ", ".join(older), items[at].seq, items[end - 1].seq
            known = self._other_code.get(topics) or Undecided(topics, 0, first, last)
            self._other_code[topics] = Undecided(topics, known.events + end - at, known.first, last)
            return self._go_on(items[at:end])
        place = at + max(same, 0)
        item = items[min(place, len(items) - 1)]
        expected = follows[same] if 0 <= same < len(follows) else None
        found = item.recorded if place < len(items) else None
        self.add_fault(_fault(item, expected, found, failed))
        return self._go_on(items[at : max(end, min(place + 1, len(items)))])

    def add_fault(self, fault: Fault) -> None:
        """Add a fault to the result; the first ones are kept."""
        self._faults_count += 1
        if len(self._faults) < FAULTS_MAX:
            self._faults.append(fault)

    def _go_on(self, items: Sequence[Item]) -> int:
        """Go on with events as they are on record."""
        streams: dict[str, list[Recorded]] = {}
        for item in items:
            if item.recorded.stream.partition(":")[0] in AGGREGATES:
                streams.setdefault(item.recorded.stream, []).append(item.recorded)
        states = {}
        for stream, records in streams.items():
            state = self.known.known(stream)[1]
            evolve = AGGREGATES[stream.partition(":")[0]].evolve
            with suppress(Exception):  # an event that no state of ours can have had
                state = reduce(evolve, (record.event for record in records), state)
            states[stream] = (records[-1].version, state)
        self.known.keep(states)
        self._log.go_on(items)
        return len(items)


def merged(parts: Iterable[Derived]) -> Derived:
    """Return the result of a log that was derived in parts, in sequence.

    An event in an older shape than one before it is a fault: who writes the older shape cannot read the newer.
    """
    events = units = count = 0
    given: dict[str, int] = {}
    other_code: dict[str, Undecided] = {}
    shapes: dict[str, tuple[int, int]] = {}
    faults: list[Fault] = []
    for part in parts:
        events, units, count = events + part.events, units + part.units, count + part.faults_count
        faults += part.faults
        for topic, number in part.given.items():
            given[topic] = given.get(topic, 0) + number
        for each in part.other_code:
            before = other_code.get(each.topics)
            if before is not None:
                each = Undecided(each.topics, before.events + each.events, before.first, each.last)  # noqa: PLW2901
            other_code[each.topics] = each
        for topic, (first, last) in part.shapes.items():
            shapes[topic] = (shapes.get(topic, (first, last))[0], last)
    late = _late_shapes(shapes)
    faults = sorted([*faults, *late], key=lambda fault: fault.seq)[:FAULTS_MAX]
    return Derived(
        events, units, given, tuple(other_code.values()), faults=tuple(faults), faults_count=count + len(late),
        shapes=shapes,
    )  # fmt: skip


def _late_shapes(shapes: dict[str, tuple[int, int]]) -> list[Fault]:
    faults = []
    for event_class in schema.OLDER:
        topic, newest = schema.topic_of_class(event_class), schema.topic_of_class(schema.newest_class(event_class))
        since, last = shapes.get(newest, (0, 0))[0], shapes.get(topic, (0, 0))[1]
        if since and last > since:
            reason = f"seq {since} is stored as {newest} already, and no release writes the older after the newer"
            faults.append(Fault(last, topic, "", reason, expected=None, found=None))
    return faults


_RESHAPED = frozenset(schema.newest_class(event_class) for event_class in schema.OLDER)


def _is_older(item: Item) -> bool:
    return item.topic != schema.topic_of(item.recorded.event)


def _given(items: Sequence[Item], at: int) -> int:
    """How many events at a place are taken as they are; 0 if they are decided again.

    Of a refused replacement the terms are not on record, only the refusal: by the account, and by the firm if it
    watches; with the opening of a trading day before it, if it was the first decision of that day.
    """
    if ORIGINS[type(items[at].recorded.event)] is Origin.GIVEN:
        return 1
    end = _after_opening(items, at)
    event = items[end].recorded.event if end < len(items) else None
    if not isinstance(event, risk.HoldRefused) or not event.change_id:
        return 0
    beside = _after_opening(items, end + 1)
    event = items[beside].recorded.event if beside < len(items) else None
    is_of_both = isinstance(event, risk.FirmUsageChanged) and isinstance(event.change, risk.HoldRefused)
    return (beside if is_of_both else end) + 1 - at


def _shadowed(work: UnitOfWork, items: Sequence[Item], at: int) -> Sequence[Recorded]:
    """What follows, without the refusals by shadow limits that only follow from the lack of marks.

    An order that passes a shadow limit does not state the marks that only this limit was measured by.
    """
    left: list[Recorded] = []
    dropped: dict[str, int] = {}
    for each in work.records:
        record = replace(each, version=each.version - dropped[each.stream]) if each.stream in dropped else each
        refused = origins.unwrapped(each.event)
        is_lacking = refused is not each.event and isinstance(refused, risk.HoldRefused) and refused.failed is None
        place = at + len(left)
        if is_lacking and not (place < len(items) and items[place].recorded == record):
            dropped[each.stream] = dropped.get(each.stream, 0) + 1
        else:
            left.append(record)
    return left if dropped else work.records


def _after_opening(items: Sequence[Item], at: int) -> int:
    while at < len(items) and isinstance(origins.unwrapped(items[at].recorded.event), risk.DayOpened):
        at += 1
    return at


_Limited = set[tuple[risk.Scope, risk.Measure, bool]]  # of a shadow limit, whether it is one


def _measured(known: risk.Risk) -> tuple[_Limited, _Limited]:
    """The limits that could not be measured, and all that are checked: those that are active, and in shadow."""
    missed = {(*at, False) for at in known.missed}
    missed |= {(*at, True) for at, shadow in known.shadows.items() if shadow.missed is not None}
    checked = {(limit.scope, limit.measure, False) for limit in known.active}
    return missed, checked | {(*at, True) for at in known.shadows}


def _batches(reports: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
    """Yield all reports as one batch, then the first ones, which may be a batch of their own."""
    if reports:
        yield tuple(reports)
    for count in range(1, min(len(reports), PREFIXES_MAX)):
        yield tuple(reports[:count])


def _names(event: Any, alias: OrderAliased) -> bool:
    """Whether an event is a request under the ClOrdID of an alias beside it."""
    is_request = isinstance(event, OrderCancelRequested | OrderReplaceRequested)
    return is_request and event.requested_as == alias.key.cl_ord_id


def _end(items: Sequence[Item], at: int) -> int:
    """The place after the last event that may be of the unit of work that begins at an event.

    A request is a unit of its own. A batch of reports first adds to orders, then to positions, limits and accounts.
    """
    is_first = True
    for end in range(at, len(items)):
        event, stream = items[end].recorded.event, items[end].recorded.stream
        origin = ORIGINS[type(event)]
        was_first, is_first = is_first, stream.partition(":")[0] in FIRST_KINDS
        if end == at:
            continue
        if isinstance(event, OrderAliased) and end + 1 < len(items) and _names(items[end + 1].recorded.event, event):
            return end
        if origin is Origin.GIVEN or (is_first and not was_first):
            return end
        if origin is Origin.REQUEST and not _goes_on(items, at, end):
            return end
    return len(items)


def _goes_on(items: Sequence[Item], at: int, end: int) -> bool:
    """Whether the event of a request may have these before it: an alias, its approval, or proposals that expired."""
    before = [item.recorded.event for item in items[at:end]]
    is_aliased = len(before) == 1 and isinstance(before[0], OrderAliased)
    return is_aliased or all(
        isinstance(each, approvals.ProposalExpired | approvals.ProposalApproved) for each in before
    )


def envelope(recorded: Recorded) -> tuple[Any, ...]:
    """What the events of one append have in common. An approval is one append with what it approves."""
    if recorded.approved_by is not None:
        return recorded.recorded_at, recorded.cause
    return recorded.recorded_at, recorded.actor, recorded.by, recorded.request_id, recorded.cause


def _same(records: Sequence[Recorded], items: Sequence[Item], at: int) -> int:
    """How many records are those at a place of the log, in order."""
    same = 0
    for record, item in zip(records, islice(items, at, at + len(records)), strict=False):
        if record != item.recorded:
            break
        same += 1
    return same


def _fault(item: Item, expected: Recorded | None, found: Recorded | None, failed: str) -> Fault:
    if found is None and expected is not None:
        topic, stream = schema.topic_of(expected.event), expected.stream
        reason = "it follows from what is before it, and is missing"
        return Fault(item.seq + 1, topic, stream, reason, expected=expected, found=None)
    if expected is None:
        reason = failed or "nothing more follows from the request or reports of its append"
    elif expected.stream != item.recorded.stream or type(expected.event) is not type(item.recorded.event):
        reason = f"a {schema.topic_of(expected.event)} of {expected.stream} follows instead"
    else:
        reason = _difference(expected, item.recorded)
    return Fault(item.seq, item.topic, item.recorded.stream, reason, expected=expected, found=found)


def _difference(expected: Any, found: Any, path: str = "") -> str:
    """The first field in which two records differ, and both values."""
    if isinstance(expected, Struct) and type(expected) is type(found):
        for name in expected.__struct_fields__:
            ours, theirs = getattr(expected, name), getattr(found, name)
            if ours != theirs:
                return _difference(ours, theirs, f"{path}.{name}" if path else name)
    if isinstance(expected, tuple) and isinstance(found, tuple) and len(expected) == len(found):
        for number, (ours, theirs) in enumerate(zip(expected, found, strict=True)):
            if ours != theirs:
                return _difference(ours, theirs, f"{path}[{number}]")
    return f"{path.removeprefix('event.')} is {_shown(found)} on record, and {_shown(expected)} follows"


def _shown(value: Any) -> str:
    text = schema.shown(value)
    return text if len(text) <= 200 else f"{text[:200]}…"
