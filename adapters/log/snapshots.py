"""Snapshots of long streams, stored in the background, so that start-up time does not grow with history.

Code that has folded a long stream offers its state, and a background thread stores it: without locks, without waiting
for an fsync, and what cannot be stored is dropped. A row has the columns of the eventsourcing library's snapshots. Its
state is a digest, the Merkle leaf of the event it is based on, and the state's bytes (`adapters.log.state_codec`). A
snapshot is used only if the log has that very event at that version, the digest is right, and the same code made it;
any other is skipped and deleted. The newest few of a stream are kept; older ones may be deleted at any time.
"""

import hashlib
import threading
from collections import OrderedDict
from time import monotonic
from typing import Any, NamedTuple

import structlog

from adapters.log import state_codec
from adapters.log.state_codec import StateUnreadable
from adapters.postgres.connections import reaching
from adapters.postgres.pool import Pool
from adapters.upkeep.supervisor import Supervisor, Task
from domain.sealed.merkle import HASH_BYTES, leaf_hash

SNAPSHOT_EVENTS = 2_000  # of a stream, from one snapshot to the next
BYTES_PER_EVENT = 128  # at most, on average: the larger a state grows, the less often it is stored
KEPT_MAX = 2  # of a stream, of one release
FOREIGN_DAYS_MAX = 7  # how long snapshots of other releases are kept
WAITING_MAX = 1_000  # states queued to be stored
STREAMS_MAX = 20_000  # whose next due version is remembered
IDLE_SECONDS = 10.0
CLOSE_SECONDS_MAX = 5.0

NEWEST = """
SELECT s.originator_version, s.state, e.state
FROM ledger.snapshots AS s LEFT JOIN ledger.events AS e USING (originator_id, originator_version)
WHERE s.originator_id = %s AND s.topic = %s AND s.originator_version > %s AND s.originator_version < %s
ORDER BY s.originator_version DESC LIMIT 1
"""
EVENT = "SELECT state FROM ledger.events WHERE originator_id = %s AND originator_version = %s"
INSERT = """
INSERT INTO ledger.snapshots (originator_id, originator_version, topic, state) VALUES (%s, %s, %s, %s)
ON CONFLICT DO NOTHING
"""
PRUNE = f"""
DELETE FROM ledger.snapshots WHERE originator_id = %(stream)s AND (
    topic = %(topic)s AND originator_version < (
        SELECT originator_version FROM ledger.snapshots
        WHERE originator_id = %(stream)s AND topic = %(topic)s AND originator_version <= %(version)s
        ORDER BY originator_version DESC OFFSET {KEPT_MAX - 1} LIMIT 1
    ) OR topic <> %(topic)s AND taken_at < now() - interval '{FOREIGN_DAYS_MAX} days'
)
"""  # noqa: S608 (our own numbers)
REMOVE = "DELETE FROM ledger.snapshots WHERE originator_id = %s AND topic = %s AND originator_version = %s"
VERSION_MAX = 2**63 - 1

log_line = structlog.get_logger("daybook.snapshots")


class _Offer(NamedTuple):
    """A state to store; without a state, an unusable stored version to delete."""

    stream: str
    version: int
    state: Any


class StoredSnapshots:
    """Implements domain.ledger.log.Snapshots over `ledger.snapshots`. Safe between threads; close it.

    Without `is_writing` it only reads.
    """

    def __init__(self, url: str, connections: Pool, upkeep: Supervisor, *, is_writing: bool = True) -> None:
        self._url = url
        self._upkeep = upkeep
        self._connections = connections
        self._is_writing = is_writing
        self._due: OrderedDict[str, int] = OrderedDict()  # by stream, the version from which on a snapshot is due
        self._waiting: OrderedDict[tuple[str, bool], _Offer] = OrderedDict()
        self._changed = threading.Condition()
        self._task: Task | None = None
        self._is_busy = self._is_closing = False

    def recall(self, stream: str, *, after: int) -> tuple[int, Any] | None:
        """See Snapshots: return the newest usable one. Raises Unavailable."""
        topic, before = state_codec.topic_of(stream), VERSION_MAX
        with reaching(self._url), self._connections.connection() as connection:
            while True:
                with connection.cursor(binary=True) as cursor:
                    row = cursor.execute(NEWEST, [stream, topic, after, before], prepare=True).fetchone()
                if row is None:
                    return None
                version, stored, event = row
                try:
                    state = opened(stream, version, topic, stored=stored, event=event)
                except StateUnreadable as error:
                    log_line.warning("a snapshot is not used", stream=stream, version=version, reason=str(error))
                    self._enqueue(_Offer(stream, version, None))
                    before = version
                    continue
                self._set_due(stream, version, len(stored))
                return version, state

    def offer(self, stream: str, version: int, state: Any) -> None:
        """See Snapshots: queue the state if a snapshot is due."""
        if self._is_writing and version >= self._due.get(stream, SNAPSHOT_EVENTS):
            self._set_due(stream, version, 0)
            self._enqueue(_Offer(stream, version, state))

    def flush(self, seconds_max: float = CLOSE_SECONDS_MAX) -> bool:
        """Wait until the queue is stored. Return whether it was stored in time."""
        end = monotonic() + seconds_max
        with self._changed:
            return self._changed.wait_for(lambda: not (self._waiting or self._is_busy), max(end - monotonic(), 0))

    def close(self) -> None:
        """Store what is queued if that is possible soon; accept nothing more."""
        with self._changed:
            self._is_closing = True
            if self._task is not None:
                self._task.stopping.set()
            self._changed.notify_all()
        if self._task is not None:
            self._task.end(CLOSE_SECONDS_MAX)

    def _set_due(self, stream: str, version: int, size: int) -> None:
        with self._changed:
            self._due[stream] = version + max(SNAPSHOT_EVENTS, size // BYTES_PER_EVENT)
            self._due.move_to_end(stream)
            while len(self._due) > STREAMS_MAX:
                self._due.popitem(last=False)

    def _enqueue(self, offer: _Offer) -> None:
        with self._changed:
            if not self._is_writing or self._is_closing or len(self._waiting) >= WAITING_MAX:
                return
            self._waiting[offer.stream, offer.state is None] = offer
            if self._task is None:
                self._task = self._upkeep.start("snapshots", self._run)
            self._changed.notify_all()

    # The thread

    def _run(self, task: Task) -> None:
        """Store what is queued until closed. What cannot be stored is dropped."""
        while (offer := self._next(task)) is not None:
            try:
                with reaching(self._url):
                    self._store(offer)
                task.succeeded()
            except StateUnreadable as error:
                log_line.warning("no snapshot", stream=offer.stream, version=offer.version, reason=str(error))
            except Exception as error:  # noqa: BLE001 (of one state: the others are stored)
                task.failed(error)
                task.pause()

    def _next(self, task: Task) -> _Offer | None:
        with self._changed:
            self._is_busy = False
            self._changed.notify_all()
            while not self._changed.wait_for(lambda: self._waiting or self._is_closing, IDLE_SECONDS):
                task.idle()
            if not self._waiting:
                return None
            _, offer = self._waiting.popitem(last=False)
            self._is_busy = True
            return offer

    def _store(self, offer: _Offer) -> None:
        stream, version, state = offer
        topic = state_codec.topic_of(stream)
        with self._connections.connection() as connection:
            if state is None:
                connection.execute(REMOVE, [stream, topic, version])
                return
            with connection.cursor(binary=True) as cursor:
                event = cursor.execute(EVENT, [stream, version], prepare=True).fetchone()
            if event is None:
                raise StateUnreadable("the log does not have this version")
            state_bytes = state_codec.encode(stream, state)
            stored = closed(stream, version, topic, state=state_bytes, event=event[0])
            self._set_due(stream, version, len(stored))
            with connection.transaction():
                connection.execute("SET LOCAL synchronous_commit = off")
                connection.execute(INSERT, [stream, version, topic, stored])
                connection.execute(PRUNE, {"stream": stream, "topic": topic, "version": version})


def closed(stream: str, version: int, topic: str, state: bytes, event: bytes) -> bytes:
    """Return the stored form of a state: a digest over everything, the leaf of the event it is based on, the state."""
    leaf = leaf_hash(event)
    return _digest(stream, version, topic, leaf=leaf, state=state) + leaf + state


def opened(stream: str, version: int, topic: str, stored: bytes, event: bytes | None) -> Any:
    """Return the state of a stored snapshot. Raises StateUnreadable unless it is based on `event`, the log's own."""
    if event is None:
        raise StateUnreadable("it is ahead of the log")
    digest, leaf, state = stored[:HASH_BYTES], stored[HASH_BYTES : 2 * HASH_BYTES], stored[2 * HASH_BYTES :]
    if digest != _digest(stream, version, topic, leaf=leaf, state=state):
        raise StateUnreadable("its bytes are not those that were stored")
    if leaf != leaf_hash(event):
        raise StateUnreadable("the log has another event at this version")
    return state_codec.decode(stream, state)


def _digest(stream: str, version: int, topic: str, leaf: bytes, state: bytes) -> bytes:
    return hashlib.sha256(b"\0".join([stream.encode(), str(version).encode(), topic.encode(), leaf, state])).digest()
