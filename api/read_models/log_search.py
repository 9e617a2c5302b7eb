"""Search of the log: events by actor, name, stream, account, request and time, found by the index of the log.

Blocks of the log that cannot have such events are skipped (`projections.models.log_index`); what the index has not
followed yet is read in full. Events come in the order of the log, so a page once read never changes, and the next one
begins after its last seq, however much is recorded meanwhile.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from difflib import get_close_matches
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import sqlalchemy as sa

from adapters.log.queries import length_of, of_streams, streams_from
from adapters.postgres.engine import reaching
from domain import names
from domain.errors import InvalidInput
from domain.ledger import schema
from projections.models import log_index
from projections.models.log_index import ACCOUNT, ACTOR, BLOCK_EVENTS, EVENT, KIND, Span
from projections.storage import progress, schemas

if TYPE_CHECKING:
    from adapters.log.postgres import Stored
    from api.daybook import Daybook

PAGE_EVENTS_MAX = 1000
SCANNED_EVENTS_MAX = 50_000
STREAMS_MAX = 1000  # of more streams with a prefix, the log is read by blocks
MICROSECOND = timedelta(microseconds=1)


class LogFilter(NamedTuple):
    """Which events: `stream` is the beginning of a stream's id; times are from `since` on and before `until`;
    `actors` are any of several.
    """

    actor: str | None = None
    event: tuple[str, ...] = ()
    stream: str = ""
    account_id: str | None = None
    request_id: str | None = None
    recorded_since: datetime | None = None
    recorded_until: datetime | None = None
    occurred_since: datetime | None = None
    occurred_until: datetime | None = None
    actors: tuple[str, ...] = ()

    @property
    def facets(self) -> dict[str, tuple[str, ...]]:
        """What the index can narrow it down by."""
        kind, has_more, rest = self.stream.partition(":")
        account_id, is_whole, _ = rest.partition(":")
        account_id = names.whole(account_id)
        found = {ACTOR: self.actor, ACCOUNT: self.account_id, KIND: kind if has_more else None}
        if found[ACCOUNT] is None and is_whole and log_index.stream_parts(self.stream)[1] == account_id:
            found[ACCOUNT] = account_id
        chosen: dict[str, tuple[str, ...]] = {facet: (value,) for facet, value in found.items() if value}
        chosen |= {ACTOR: self.actors} if self.actors and self.actor is None else {}
        return chosen | ({EVENT: tuple(map(log_index.event_name, self.event))} if self.event else {})

    @property
    def is_plain(self) -> bool:
        """Whether it has every event between two places of the log."""
        return self._replace(recorded_since=None, recorded_until=None) == LogFilter()

    @property
    def is_by_occurrence(self) -> bool:
        """Whether it bounds the time at which events occurred."""
        return self.occurred_since is not None or self.occurred_until is not None

    def has(self, stored: "Stored") -> bool:
        """Return whether it has an event."""
        if not stored.stream.startswith(self.stream):
            return False
        if self.event and log_index.event_name(stored.topic) not in map(log_index.event_name, self.event):
            return False
        if self.account_id is not None and log_index.stream_parts(stored.stream)[1] != self.account_id:
            return False
        if self.actor is None and not self.actors and self.request_id is None and not self.is_by_occurrence:
            return True
        envelope = _ENVELOPE.decode(stored.state)
        at = envelope.event.transact_time
        return (
            self.actor in (None, envelope.actor)
            and (not self.actors or envelope.actor in self.actors)
            and self.request_id in (None, envelope.request_id)
            and (self.occurred_since is None or (at is not None and at >= self.occurred_since))
            and (self.occurred_until is None or (at is not None and at < self.occurred_until))
        )


def checked(wanted: LogFilter) -> LogFilter:
    """Return the filter. Raises InvalidInput if it names an event that there is none of."""
    known = {log_index.event_name(topic) for topic in schema.EVENTS}
    for name in wanted.event:
        if log_index.event_name(name) not in known:
            near = get_close_matches(name, known, 3, 0.5)
            rule = "the name of an event" + (f", such as {' or '.join(near)}" if near else "; see docs/events.md")
            raise InvalidInput("topic", name, rule)
    return wanted


class _Event(msgspec.Struct):
    transact_time: datetime | None = None


class _Envelope(msgspec.Struct):
    actor: str
    request_id: str
    event: _Event


_ENVELOPE = msgspec.json.Decoder(_Envelope)


class Page(NamedTuple):
    """Events found, and the seq up to which the log was searched; `is_last` if that is the end of what was wanted."""

    found: list["Stored"]
    last: int
    is_last: bool


def search(
    daybook: "Daybook",
    wanted: LogFilter,
    *,
    after: int = 0,
    limit: int = 100,
    scanned_max: int | None = SCANNED_EVENTS_MAX,
) -> Page:
    """Return at most `limit` events after the seq `after`. At most `scanned_max` are read: then there may be fewer.

    Raises MomentUnknown for a recorded time at which the clock was wrong.
    """
    after, upto = _bounds(daybook, wanted, after)
    if after >= upto:
        return Page([], upto, is_last=True)
    if wanted.stream:
        streams = streams_from(daybook.history, wanted.stream, STREAMS_MAX + 1)
        if len(streams) <= STREAMS_MAX and _is_short(daybook, wanted, streams):
            return _of_streams(daybook, wanted, streams, after=after, upto=upto, limit=limit)
    found: list[Stored] = []
    scanned, last = 0, after
    for span in _spans(daybook, wanted, after, upto):
        last = max(last, span.first - 1)
        while last < span.last:
            batch = daybook.history.stored(after=last, upto=span.last, limit=_size(wanted, limit - len(found)))
            for stored in batch:
                last = stored.seq
                if wanted.has(stored):
                    found.append(stored)
                    if len(found) == limit:
                        return Page(found, last, is_last=last >= upto)
            last = max(last, span.last) if not batch else last
            scanned += len(batch)
            if scanned_max is not None and scanned >= scanned_max:
                return Page(found, last, is_last=last >= upto)
    return Page(found, upto, is_last=True)


def _size(wanted: LogFilter, left: int) -> int:
    return min(left, PAGE_EVENTS_MAX) if wanted.is_plain else PAGE_EVENTS_MAX


def _bounds(daybook: "Daybook", wanted: LogFilter, after: int) -> tuple[int, int]:
    """Return the seqs between which the events are that were recorded in the time wanted."""
    upto = daybook.history.head().seq
    if wanted.recorded_since is not None:
        after = max(after, daybook.history.seq_at(wanted.recorded_since - MICROSECOND))
    if wanted.recorded_until is not None:
        upto = min(upto, daybook.history.seq_at(wanted.recorded_until - MICROSECOND))
    return after, upto


def _is_short(daybook: "Daybook", wanted: LogFilter, streams: list[str]) -> bool:
    """Return whether to read these streams rather than blocks of the log: most of a long one is not wanted."""
    has_more = wanted._replace(stream="", recorded_since=None, recorded_until=None) != LogFilter()
    return not has_more or length_of(daybook.history, streams) <= SCANNED_EVENTS_MAX


def _of_streams(
    daybook: "Daybook", wanted: LogFilter, streams: list[str], *, after: int, upto: int, limit: int
) -> Page:
    found: list[Stored] = []
    last = after
    while batch := of_streams(daybook.history, streams, after=last, upto=upto, limit=PAGE_EVENTS_MAX):
        for stored in batch:
            last = stored.seq
            if wanted.has(stored):
                found.append(stored)
                if len(found) == limit:
                    return Page(found, last, is_last=last >= upto)
        if len(batch) < PAGE_EVENTS_MAX:
            break
    return Page(found, upto, is_last=True)


def _spans(daybook: "Daybook", wanted: LogFilter, after: int, upto: int) -> Iterator[Span]:
    """Yield the parts of the log that may have such events, in order."""
    if wanted.is_plain:
        yield Span(after + 1, upto)
        return
    with _index(daybook) as (connection, place):
        known = min(place, upto)
        if after < known:
            yield from _indexed(connection, wanted, after, known)
        if known < upto:
            yield Span(max(after, known) + 1, upto)


def _indexed(connection: sa.Connection, wanted: LogFilter, after: int, upto: int) -> Iterator[Span]:
    first, last = after + 1, upto
    if wanted.request_id is not None:
        found = log_index.request_span(connection, wanted.request_id)
        if found is None:
            return
        first, last = max(first, found.first), min(last, found.last)
    if first > last:
        return
    if not wanted.facets and not wanted.is_by_occurrence:
        yield Span(first, last)
        return
    blocks = log_index.blocks_with(
        connection, wanted.facets, since=wanted.occurred_since, until=wanted.occurred_until, after=first - 1, upto=last
    )
    for block in blocks:
        span = log_index.span_of(block)
        yield Span(max(first, span.first), min(last, span.last))


@contextmanager
def _index(daybook: "Daybook") -> Iterator[tuple[sa.Connection, int]]:
    """Connect to the index, and give the seq up to which it has followed the log: 0 if there is none to use."""
    with reaching(daybook.url), daybook.engine.connect() as opened:
        connection = opened.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        placed = progress.places(connection).get(log_index.PROJECTION.name)
        is_usable = placed is not None and placed[0].version == log_index.PROJECTION.version
        yield schemas.as_placed(connection), placed[0].seq if placed is not None and is_usable else 0


assert BLOCK_EVENTS >= PAGE_EVENTS_MAX, "a block is read in a page or two"
