"""The event log: the envelope of an event, and the port that a store implements.

A stream is a text id (`order:main:A-17`); versions in a stream start at 1 and have no gaps. `seq` is the place in the
whole log: gapless, from 1, the only total order. `recorded_at` is our own time; it never decreases along `seq`, except
at a confirmation of the clock (`domain.ledger.given.clock`).
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol

from msgspec import Struct

from domain.access import Identity

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    E = TypeVar("E", default=Any)  # the floor is Python 3.11, whose own TypeVar has no default
else:
    from typing import TypeVar

    E = TypeVar("E")

PAGE_EVENTS = 500  # events of a stream read at a time; a longer stream has snapshots


class Recorded(Struct, Generic[E], frozen=True, gc=False, omit_defaults=True):
    """One event with its envelope: its place in its stream, when it was recorded, by whom, in which request, and why.

    `event` is a struct registered in `domain.ledger.schema`. `cause` names what the request follows from, such as the
    event that a policy reacts to; it is empty, and not written, where the request follows from nothing. `by` is the
    identity behind `actor`, where it is known; `approved_by` that of the second person, of an action that needed one.
    """

    stream: str
    version: int
    recorded_at: datetime
    actor: str
    request_id: str
    event: E
    cause: str = ""
    by: Identity | None = None
    approved_by: Identity | None = None


class Logged(NamedTuple):
    """A recorded event and its place in the log."""

    seq: int
    recorded: Recorded


class Head(NamedTuple):
    """The end of the log: the last `seq` (0 when empty) and when it was recorded (None when empty)."""

    seq: int
    recorded_at: datetime | None


class Snapshots(Protocol):
    """Snapshots of long streams, so that they need not be read from their first event.

    A cache: an offered state may be dropped, and no state is recalled that contradicts the log.
    """

    def recall(self, stream: str, *, after: int) -> tuple[int, Any] | None:
        """A version of the stream beyond `after`, and its state then; None if there is no snapshot."""

    def offer(self, stream: str, version: int, state: Any) -> None:
        """Offer the state of a stream on record at a version. Returns at once, never raises."""


class NoSnapshots:
    """Keeps no snapshots."""

    def recall(self, stream: str, *, after: int) -> tuple[int, Any] | None:
        """Return None."""

    def offer(self, stream: str, version: int, state: Any) -> None:
        """Do nothing."""


NO_SNAPSHOTS = NoSnapshots()


class Streams(Protocol):
    """The streams of a log, as a ledger reads them."""

    @property
    def snapshots(self) -> Snapshots:
        """The snapshots of long streams."""

    def read(self, stream: str, *, after: int = 0, limit: int | None = None) -> list[Recorded]:
        """The events of one stream with version > `after`, in order, at most `limit`."""

    def read_all(self, streams: Sequence[str], *, limit: int | None = None) -> dict[str, list[Recorded]]:
        """The first events of several streams, of each at most `limit`; every requested stream is in the result, if
        only with no events.
        """

    def executed(self, keys: Sequence[str]) -> dict[str, str]:
        """The stream of each `schema.execution_key` that is on record."""


class EventLog(Streams, Protocol):
    """Append-only history. Implementations raise `Unavailable` when the store cannot be reached."""

    def head(self) -> Head:
        """The end of the log now."""

    def append(self, records: Sequence[Recorded]) -> int:
        """Append records, all or none, across streams, durable on return; the `seq` of the last record.

        Raises StreamConflict if a (stream, version) exists or would leave a gap, or if `recorded_at` lies before the
        head's and the event does not confirm the clock; ExecutionKnown if a fill has the `schema.execution_key` of one
        on record.
        """

    def alone(self) -> AbstractContextManager[None]:
        """Lock the log: until released, only this thread appends; all others, in any process, wait."""

    def select(
        self, *, after: int = 0, upto: int | None = None, limit: int = 1000, topics: Collection[str] | None = None
    ) -> list[Logged]:
        """The first `limit` events with `after` < seq <= `upto`, by seq; of these, those of the `topics` if given."""

    def seq_at(self, moment: datetime) -> int:
        """The last seq on record at `moment`; 0 if none. Raises MomentUnknown where a wrong clock has left it open."""


def scan(log: EventLog, *, after: int = 0, upto: int | None = None, batch_max: int = 1000) -> Iterator[Logged]:
    """All events with `after` < seq <= `upto`, read in batches of `batch_max`."""
    while batch := log.select(after=after, upto=upto, limit=batch_max):
        yield from batch
        after = batch[-1].seq


def pages(log: Streams, stream: str, *, after: int = 0, page_max: int = PAGE_EVENTS) -> Iterator[list[Recorded]]:
    """The events of a stream with version > `after`, a page at a time, in memory that does not grow with its length."""
    while page := log.read(stream, after=after, limit=page_max):
        yield page
        if len(page) < page_max:
            return
        after = page[-1].version
