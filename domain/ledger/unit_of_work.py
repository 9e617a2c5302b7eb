"""A unit of work: the aggregates it has read, and the records it would append, all or nothing.

Units stand on each other: a command's on its batch's, that one on the batch whose commit is under way, and at the
bottom `Aggregates`, what the log is known to say. Each sees what those below have added. A command that is refused is
dropped with its unit and leaves no trace; one that is carried out is taken over by the unit below.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime
from functools import reduce
from types import ModuleType
from typing import Any, Protocol

from domain import account, instrument, order, position, risk
from domain.account import evidence, subject, venue_statement
from domain.ledger import schema
from domain.ledger.log import PAGE_EVENTS, EventLog, Recorded, pages
from domain.order import OrderFilled, parent, venue_ids

AGGREGATES: dict[str, ModuleType] = {
    "account": account,
    "evidence": evidence,
    "instrument": instrument,
    "limit": risk,
    "order": order,
    "parentorder": parent,
    "position": position,
    "statement": venue_statement,
    "subject": subject,
    "venueorder": venue_ids,
}
CACHED_STREAMS_MAX = 20_000
OFFERED_PAGES = 50  # on the way through a long stream, its state is offered to be remembered so often

Known = tuple[int, Any]  # the version of a stream, and its state; (0, None) when it is empty


class Ground(Protocol):
    """What a unit of work stands on."""

    def known(self, stream: str) -> Known:
        """A stream as it is down here."""

    def is_at_hand(self, stream: str) -> bool:
        """Whether `known` can tell without reading."""

    def history(self, stream: str) -> Iterator[Recorded]:
        """Every record of a stream down here."""

    def place(self, execution_key: str) -> str | None:
        """The stream in which an execution is known to be on record; None if it is not known."""


class Work(Protocol):
    """A unit of work as the routing of a command sees it."""

    def state(self, stream: str) -> Any:
        """Return the aggregate of a stream, with what the unit has already added to it."""

    def likely_new(self, stream: str) -> Any:
        """Return the aggregate of a stream that is most likely empty; for callers that add to it at once if it is."""

    def executed(self, fill: OrderFilled) -> str | None:
        """Return the stream in which a fill is known to be on record, under any order."""

    def record(self, stream: str, events: Iterable[Any]) -> tuple[Recorded, ...]:
        """Add events to a stream."""


class Aggregates:
    """What the log says, folded and kept in memory: at most `streams_max` aggregates, those used last.

    Streams are read a page at a time, and long ones from their newest snapshot on; whatever long ones come to is
    offered to be remembered. `executed` are executions that the log was asked about, by key; see `EventLog.executed`.
    """

    def __init__(self, log: EventLog, streams_max: int = CACHED_STREAMS_MAX) -> None:
        self._log = log
        self._streams_max = streams_max
        self._kept: OrderedDict[str, Known] = OrderedDict()
        self.executed: Mapping[str, str] = {}

    def known(self, stream: str) -> Known:
        """See Ground; read from the log if it is not kept."""
        known = self._kept.get(stream)
        if known is None:
            known = self._read_on(stream, (0, None))
            self.keep({stream: known})
        else:
            self._kept.move_to_end(stream)
        return known

    def is_at_hand(self, stream: str) -> bool:
        """See Ground."""
        return stream in self._kept

    def history(self, stream: str) -> Iterator[Recorded]:
        """See Ground; always read from the log."""
        return (recorded for page in pages(self._log, stream) for recorded in page)

    def place(self, execution_key: str) -> str | None:
        """See Ground."""
        return self.executed.get(execution_key)

    def fetch(self, streams: Iterable[str]) -> None:
        """Have these at hand, with one look at the log for all that are not."""
        missing = [stream for stream in dict.fromkeys(streams) if stream not in self._kept]
        if len(missing) > 1:
            read = self._log.read_all(missing, limit=PAGE_EVENTS)
            short = {stream: records for stream, records in read.items() if len(records) < PAGE_EVENTS}
            self.keep({stream: folded(stream, (0, None), records) for stream, records in short.items()})

    def keep(self, states: Mapping[str, Known]) -> None:
        """Remember what streams have come to, and forget those unused for longest."""
        for stream, known in states.items():
            self._kept[stream] = known
            self._kept.move_to_end(stream)
            if known[0] > PAGE_EVENTS:
                self._log.snapshots.offer(stream, *known)
        while len(self._kept) > self._streams_max:
            self._kept.popitem(last=False)

    def forget(self, streams: Iterable[str]) -> None:
        """Read these anew when they are needed."""
        for stream in streams:
            self._kept.pop(stream, None)

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()
        self.executed = {}

    def refresh(self, streams: Iterable[str]) -> bool:
        """Read on from what is kept; whether anything was new."""
        is_changed = False
        for stream in streams:
            known = self._kept.get(stream)
            if known is not None and (later := self._read_on(stream, known))[0] > known[0]:
                self.keep({stream: later})
                is_changed = True
        return is_changed

    def _read_on(self, stream: str, known: Known) -> Known:
        """A stream as the log has it, from what is known of it on; what is stopped on a long way goes on there."""
        count = 0
        while len(page := self._log.read(stream, after=known[0], limit=PAGE_EVENTS)) == PAGE_EVENTS:
            recalled = None if count else self._log.snapshots.recall(stream, after=page[-1].version)
            known = recalled or folded(stream, known, page)
            count += 1
            if count % OFFERED_PAGES == 0:
                self._log.snapshots.offer(stream, *known)
        return folded(stream, known, page)


class Unit:
    """What one command, or one batch of them, has read and would add.

    Records are made in the name of `actor`, within `request_id`, because of `cause`, at `now`. Where it `supposes`,
    streams that most likely begin with it are not read: the log refuses the append if they are not new.
    """

    def __init__(
        self,
        ground: Ground,
        now: datetime,
        actor: str = "",
        request_id: str = "",
        cause: str = "",
        *,
        supposes: bool = False,
    ) -> None:
        self._supposes = supposes
        self.ground = ground
        self.now = now
        self._envelope = (actor, request_id, cause)
        self._looked: dict[str, Known] = {}  # every stream it has looked at, as it is with what it has added
        self._added: dict[str, None] = {}  # those it has added to
        self.records: list[Recorded] = []
        self._executed: dict[str, str] = {}

    @property
    def streams(self) -> Collection[str]:
        """All that it has looked at."""
        return self._looked.keys()

    @property
    def states(self) -> dict[str, Known]:
        """The streams it has added to, as they are now."""
        return {stream: self._looked[stream] for stream in self._added}

    def known(self, stream: str) -> Known:
        """See Ground; with what this unit has added."""
        known = self._looked.get(stream)
        if known is None:
            known = self._looked[stream] = self.ground.known(stream)
        return known

    def is_at_hand(self, stream: str) -> bool:
        """See Ground; or whether this unit has looked at it."""
        return stream in self._looked or self.ground.is_at_hand(stream)

    def suppose_empty(self, streams: Iterable[str]) -> list[str]:
        """Take those of the streams that are not at hand for empty, unread, if this unit supposes; which they are.

        What comes of it is to be used only if the unit `has_added` to each of them in the end.
        """
        supposed = [stream for stream in streams if not self.is_at_hand(stream)] if self._supposes else []
        self._looked |= dict.fromkeys(supposed, (0, None))
        return supposed

    def has_added(self, streams: Iterable[str]) -> bool:
        """Whether there are records of each of these."""
        return all(stream in self._added for stream in streams)

    def history(self, stream: str) -> Iterator[Recorded]:
        """See Ground; with what this unit has added."""
        last = 0  # the log below may have this unit's records by now
        for recorded in self.ground.history(stream):
            last = recorded.version
            yield recorded
        yield from (each for each in self.records if each.stream == stream and each.version > last)

    def place(self, execution_key: str) -> str | None:
        """See Ground; with what this unit has added."""
        return self._executed.get(execution_key) or self.ground.place(execution_key)

    def state(self, stream: str) -> Any:
        """The aggregate of a stream; None if the stream is empty."""
        known = self._looked.get(stream)
        return known[1] if known is not None else self.known(stream)[1]

    def likely_new(self, stream: str) -> Any:
        """The aggregate of a stream that is most likely empty, for who adds to it at once if it is."""
        if self._supposes and not self.is_at_hand(stream):
            self._looked[stream] = (0, None)
        return self.state(stream)

    def events(self, stream: str) -> Iterator[Any]:
        """Every event of a stream."""
        return (recorded.event for recorded in self.history(stream))

    def executed(self, fill: OrderFilled) -> str | None:
        """The stream that a fill is known to be on record in, under whatever order."""
        return self.place(schema.execution_key(fill) or "")

    def record(self, stream: str, events: Iterable[Any]) -> tuple[Recorded, ...]:
        """Add events to a stream."""
        if not events:
            return ()
        version, state = self.known(stream)
        evolve = _evolve(stream)
        actor, request_id, cause = self._envelope
        added = []
        for event in events:
            version += 1
            state = evolve(state, event)
            added.append(Recorded(stream, version, self.now, actor, request_id, event, cause))
            if type(event) is OrderFilled:
                self._executed[schema.key_of_execution(event)] = stream
        if added:
            self._looked[stream] = (version, state)
            self._added[stream] = None
            self.records += added
        return tuple(added)

    def drop(self) -> None:
        """Add nothing after all."""
        for stream in self._added:
            self._looked[stream] = self.ground.known(stream)
        self._added.clear()
        self.records.clear()
        self._executed.clear()

    def absorb(self, other: "Unit") -> None:
        """Take over what a unit that stands on this one has added."""
        assert other.ground is self, "a unit is taken over by the one it stands on"
        self._looked |= other._looked
        self._added |= other._added
        self.records += other.records
        self._executed |= other._executed


def folded(stream: str, known: Known, records: list[Recorded]) -> Known:
    """A stream after further records."""
    if not records:
        return known
    return records[-1].version, reduce(_evolve(stream), (recorded.event for recorded in records), known[1])


_EVOLVES = {kind: aggregate.evolve for kind, aggregate in AGGREGATES.items()}


def _evolve(stream: str) -> Any:
    return _EVOLVES[stream[: stream.index(":")]]
