"""Unit of work: the aggregates that a command has read, and the records it would append, all or none.

Units of work are layers: a command's is on top of its batch's, that one on top of the batch whose commit is under way,
and the lowest layer is `Aggregates`, the known state of the log. Each sees what those below have added. A refused
command is dropped with its unit of work and leaves no trace; one that is carried out is absorbed by the layer below.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import reduce
from types import ModuleType
from typing import Any, Protocol

from domain import account, instrument, marks, order, policies, position, risk
from domain.access import Actor, Identity, approvals, identity, keys, label
from domain.account import evidence, subject, venue_statement
from domain.ledger import schema
from domain.ledger.log import PAGE_EVENTS, Recorded, Streams, pages
from domain.order import OrderFilled, parent, venue_ids
from domain.position import TAIL_MAX, Position
from domain.sealed import figures

AGGREGATES: dict[str, ModuleType] = {
    "access": keys,
    "account": account,
    "approval": approvals,
    "evidence": evidence,
    "figures": figures,
    "instrument": instrument,
    "limit": risk,
    "marks": marks,
    "order": order,
    "parentorder": parent,
    "policy": policies,
    "position": position,
    "rates": marks,
    "statement": venue_statement,
    "subject": subject,
    "venueorder": venue_ids,
}
CACHED_STREAMS_MAX = 8_000
CACHED_ENTRIES_MAX = 250_000  # of the histories of positions, together
IDLE_ENTRIES_MAX = 5_000  # of histories without a late entry, together; of one, after its last late entry
OFFERED_PAGES = 50  # pages of a long stream after which its state is offered as a snapshot

Known = tuple[int, Any]  # the version of a stream, and its state; (0, None) when it is empty


class BaseLayer(Protocol):
    """The layer below a unit of work."""

    def known(self, stream: str) -> Known:
        """The version and state of a stream in this layer."""

    def is_cached(self, stream: str) -> bool:
        """Whether `known` needs no read of the log."""

    def history(self, stream: str) -> Iterator[Recorded]:
        """All records of a stream in this layer."""

    def stream_of_execution(self, execution_key: str) -> str | None:
        """The stream in which an execution is known to be on record; None if it is not known."""

    def look_up(self, execution_keys: Sequence[str]) -> bool:
        """Read from the log where these executions are on record; whether any was not known to be."""


class _Lengths:
    """The lengths of histories by stream, those used last behind."""

    def __init__(self) -> None:
        self._of: OrderedDict[str, int] = OrderedDict()
        self._entries = 0

    def put(self, stream: str, length: int, *, entries_max: int, kept: int = 0) -> list[str]:
        """Put a length last. Return the streams removed to have at most so many entries, but `kept` histories."""
        self._of[stream] = length
        self._entries += length
        removed = []
        while self._entries > entries_max and len(self._of) > kept:
            oldest, count = self._of.popitem(last=False)
            self._entries -= count
            removed.append(oldest)
        return removed

    def remove(self, stream: str) -> None:
        self._entries -= self._of.pop(stream, 0)


class Aggregates:
    """A cache of aggregates, folded from the log: at most `streams_max` of them, those used last.

    Streams are read a page at a time, and long ones from their newest snapshot on; the states of long ones are offered
    as snapshots. `executed` are executions that were looked up in the log, by key; see `EventLog.executed`.
    """

    def __init__(self, log: Streams, streams_max: int = CACHED_STREAMS_MAX) -> None:
        self._log = log
        self._streams_max = streams_max
        self._kept: OrderedDict[str, Known] = OrderedDict()
        self._growing, self._late = _Lengths(), _Lengths()  # of histories without and with a late entry
        self._late_at: dict[str, int] = {}  # its length at its last late entry
        self.executed: Mapping[str, str] = {}

    def known(self, stream: str) -> Known:
        """See BaseLayer; read from the log if it is not cached."""
        known = self._kept.get(stream)
        if known is None:
            known = self._read_on(stream, (0, None))
            self.keep({stream: known})
        else:
            self._kept.move_to_end(stream)
        return known

    def is_cached(self, stream: str) -> bool:
        """See BaseLayer."""
        return stream in self._kept

    def history(self, stream: str) -> Iterator[Recorded]:
        """See BaseLayer; always read from the log."""
        return (recorded for page in pages(self._log, stream) for recorded in page)

    def stream_of_execution(self, execution_key: str) -> str | None:
        """See BaseLayer."""
        return self.executed.get(execution_key)

    def look_up(self, execution_keys: Sequence[str]) -> bool:
        """See BaseLayer."""
        found = self._log.executed([key for key in execution_keys if key not in self.executed])
        self.executed = {**self.executed, **found}
        return bool(found)

    def fetch(self, streams: Iterable[str]) -> None:
        """Cache these streams, with one read of the log for all that are not cached."""
        missing = [stream for stream in dict.fromkeys(streams) if stream not in self._kept]
        if len(missing) > 1:
            read = self._log.read_all(missing, limit=PAGE_EVENTS)
            short = {stream: records for stream, records in read.items() if len(records) < PAGE_EVENTS}
            self.keep({stream: folded(stream, (0, None), records) for stream, records in short.items()})

    def keep(self, states: Mapping[str, Known]) -> None:
        """Cache the states of streams, and evict those unused for longest."""
        for stream, known in states.items():
            before = self._kept.get(stream)
            self._kept[stream] = known
            self._kept.move_to_end(stream)
            if type(known[1]) is Position:
                self._count(stream, known[1], before[1] if before is not None else None)
            if known[0] > PAGE_EVENTS:
                self._log.snapshots.offer(stream, *known)
        while len(self._kept) > self._streams_max:
            stream, _ = self._kept.popitem(last=False)
            self._uncount(stream)

    def _count(self, stream: str, state: Position, before: Position | None) -> None:
        """Count the entries of a position's history; forget the histories that are too long, or unused for longest."""
        late_at = self._late_at.get(stream)
        self._uncount(stream)
        if state.history is None:
            return
        count = len(state.history)
        if before is not None and before.history is not state.history and (
            before.history is None or len(state.tail) < TAIL_MAX
        ):  # fmt: skip
            late_at = count  # a late entry has emptied the tail; growth by itself leaves TAIL_MAX of it
        if late_at is None:
            removed = self._growing.put(stream, count, entries_max=IDLE_ENTRIES_MAX)
        elif count - late_at > IDLE_ENTRIES_MAX:
            removed = [stream]
        else:
            self._late_at[stream] = late_at
            removed = self._late.put(stream, count, entries_max=CACHED_ENTRIES_MAX, kept=1)
        for each in removed:
            self._late_at.pop(each, None)
            version, state = self._kept[each]
            self._kept[each] = (version, position.without_history(state))

    def _uncount(self, stream: str) -> None:
        self._growing.remove(stream)
        self._late.remove(stream)
        self._late_at.pop(stream, None)

    def forget(self, streams: Iterable[str]) -> None:
        """Evict these streams, so that they are read again when they are needed."""
        for stream in streams:
            self._kept.pop(stream, None)
            self._uncount(stream)

    def clear(self) -> None:
        """Empty the cache."""
        self._kept.clear()
        self._growing, self._late = _Lengths(), _Lengths()
        self._late_at.clear()
        self.executed = {}

    def refresh(self, streams: Iterable[str]) -> bool:
        """Read new events of the cached streams among these; whether there were any."""
        is_changed = False
        for stream in streams:
            known = self._kept.get(stream)
            if known is not None and (later := self._read_on(stream, known))[0] > known[0]:
                self.keep({stream: later})
                is_changed = True
        return is_changed

    def _read_on(self, stream: str, known: Known) -> Known:
        """A stream's state, read from its known version on. An interrupted read of a long one resumes at a snapshot."""
        count = 0
        while len(page := self._log.read(stream, after=known[0], limit=PAGE_EVENTS)) == PAGE_EVENTS:
            recalled = None if count else self._log.snapshots.recall(stream, after=page[-1].version)
            known = recalled or folded(stream, known, page)
            count += 1
            if count % OFFERED_PAGES == 0:
                self._log.snapshots.offer(stream, *known)
        return folded(stream, known, page)


class UnitOfWork:
    """The streams that one command, or one batch of them, has read, and the records it would add.

    Records are made in the name of `actor`, within `request_id`, because of `cause`, at `now`. Where it `assumes_new`,
    streams that most likely begin with it are not read: the append fails if they are not new.
    """

    def __init__(
        self,
        base: BaseLayer,
        now: datetime,
        actor: Actor = "",
        request_id: str = "",
        cause: str = "",
        *,
        assumes_new: bool = False,
    ) -> None:
        self._assumes_new = assumes_new
        self.base = base
        self.now = now
        self.actor = actor
        self._request_id = request_id
        self._cause = cause
        self._approved_by: Identity | None = None
        self._read: dict[str, Known] = {}  # the streams it has read, with its own records
        self._added: dict[str, None] = {}  # the streams it has added to
        self.records: list[Recorded] = []
        self._executed: dict[str, str] = {}

    @property
    def streams(self) -> Collection[str]:
        """The streams it has read."""
        return self._read.keys()

    @property
    def states(self) -> dict[str, Known]:
        """The streams it has added to, with their versions and states."""
        return {stream: self._read[stream] for stream in self._added}

    def known(self, stream: str) -> Known:
        """See BaseLayer; with this unit's own records."""
        known = self._read.get(stream)
        if known is None:
            known = self._read[stream] = self.base.known(stream)
        return known

    def is_cached(self, stream: str) -> bool:
        """See BaseLayer; or whether this unit has read it."""
        return stream in self._read or self.base.is_cached(stream)

    def assume_empty(self, streams: Iterable[str]) -> list[str]:
        """Treat those of the streams that are not cached as empty, without a read, if this unit `assumes_new`.

        Returns these streams. The unit may be used only if in the end it `has_added` to each of them.
        """
        assumed = [stream for stream in streams if not self.is_cached(stream)] if self._assumes_new else []
        self._read |= dict.fromkeys(assumed, (0, None))
        return assumed

    def has_added(self, streams: Iterable[str]) -> bool:
        """Whether it has records of each of these streams."""
        return all(stream in self._added for stream in streams)

    def history(self, stream: str) -> Iterator[Recorded]:
        """See BaseLayer; with this unit's own records."""
        last = 0  # the layer below may have this unit's records by now
        for recorded in self.base.history(stream):
            last = recorded.version
            yield recorded
        yield from (each for each in self.records if each.stream == stream and each.version > last)

    def stream_of_execution(self, execution_key: str) -> str | None:
        """See BaseLayer; with this unit's own records."""
        return self._executed.get(execution_key) or self.base.stream_of_execution(execution_key)

    def look_up(self, execution_keys: Sequence[str]) -> bool:
        """See BaseLayer."""
        return self.base.look_up(execution_keys)

    def state(self, stream: str) -> Any:
        """The aggregate of a stream; None if the stream is empty."""
        known = self._read.get(stream)
        return known[1] if known is not None else self.known(stream)[1]

    def state_assuming_new(self, stream: str) -> Any:
        """The aggregate of a stream that is most likely empty, for a caller that adds to it at once if it is."""
        if self._assumes_new and not self.is_cached(stream):
            self._read[stream] = (0, None)
        return self.state(stream)

    def put_state(self, stream: str, state: Any) -> None:
        """Use a state that is equal to the present one of a stream, and knows more of its past."""
        self._read[stream] = (self.known(stream)[0], state)

    def events(self, stream: str) -> Iterator[Any]:
        """All events of a stream."""
        return (recorded.event for recorded in self.history(stream))

    def executed(self, fill: OrderFilled) -> str | None:
        """The stream of the order that a fill is known to be on record in."""
        return self.stream_of_execution(schema.execution_key(fill) or "")

    def record(self, stream: str, events: Iterable[Any]) -> tuple[Recorded, ...]:
        """Add events to a stream; the records made of them."""
        if not events:
            return ()
        version, state = self.known(stream)
        evolve = _evolve(stream)
        actor, by = label(self.actor), identity(self.actor)
        added = []
        for event in events:
            version += 1
            state = evolve(state, event)
            added.append(
                Recorded(
                    stream,
                    version,
                    recorded_at=self.now,
                    actor=actor,
                    request_id=self._request_id,
                    event=event,
                    cause=self._cause,
                    by=by,
                    approved_by=self._approved_by,
                )
            )
            if type(event) is OrderFilled:
                self._executed[schema.key_of_execution(event)] = stream
        if added:
            self._read[stream] = (version, state)
            self._added[stream] = None
            self.records += added
        return tuple(added)

    @contextmanager
    def approved(self, actor: Actor, approved_by: Identity, cause: str) -> Iterator[None]:
        """While it lasts, record in the name of who proposed it, with the second person and the cause named."""
        before = (self.actor, self._approved_by, self._cause)
        self.actor, self._approved_by, self._cause = actor, approved_by, cause
        try:
            yield
        finally:
            self.actor, self._approved_by, self._cause = before

    def drop(self) -> None:
        """Drop all records of this unit."""
        for stream in self._added:
            self._read[stream] = self.base.known(stream)
        self._added.clear()
        self.records.clear()
        self._executed.clear()

    def absorb(self, other: "UnitOfWork") -> None:
        """Take over the records of a unit on top of this one."""
        assert other.base is self, "a unit of work is absorbed by the layer below it"
        self._read |= other._read
        self._added |= other._added
        self.records += other.records
        self._executed |= other._executed


def folded(stream: str, known: Known, records: list[Recorded]) -> Known:
    """The version and state of a stream after further records."""
    if not records:
        return known
    return records[-1].version, reduce(_evolve(stream), (recorded.event for recorded in records), known[1])


_EVOLVES = {kind: aggregate.evolve for kind, aggregate in AGGREGATES.items()}


def _evolve(stream: str) -> Any:
    return _EVOLVES[stream[: stream.index(":")]]
