"""The log on PostgreSQL, built on the eventsourcing library's mapper, recorder and datastore.

`seq` is the library's notification id, numbered by us: an append takes one lock, reads the end of the log, and numbers
on from there. So there is no gap even after a rollback, and a reader that sees seq n can read everything before n.
A record's bytes are encoded once, by `domain.ledger.schema`; these bytes are stored, hashed and read.
"""

import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, NamedTuple, Self, cast
from uuid import UUID

import psycopg
from eventsourcing.persistence import Mapper, Notification, StoredEvent
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore
from psycopg.rows import TupleRow, tuple_row

from adapters.log.continuity import check_continues
from adapters.log.listener import CHANNEL, Listener
from adapters.log.snapshots import StoredSnapshots
from adapters.log.tail import Tail
from adapters.postgres import connections
from adapters.postgres.connections import Connection, Role
from adapters.postgres.pool import Pool
from adapters.upkeep.supervisor import Supervisor
from domain.errors import ExecutionKnown, HistoryBroken, MomentUnknown, StreamConflict, Unavailable
from domain.errors.codes import Code
from domain.ledger import CLOCK_STREAM, Confirmation, Head, Logged, Recorded, confirmation, latest_at, part_at, schema

APPEND_LOCK = 0x0DA7_B00C  # one append at a time, across all processes
PIPELINED_EVENTS_MAX = 16  # up to here a pipelined INSERT is faster than COPY, which cannot be pipelined

HEAD = "SELECT notification_id, recorded_at FROM ledger.events ORDER BY notification_id DESC LIMIT 1"
VERSIONS = """
SELECT stream, (SELECT max(originator_version) FROM ledger.events WHERE originator_id = stream)
FROM unnest(%s::text[]) AS stream
"""
COLUMNS = "originator_id, originator_version, topic, state, notification_id, recorded_at"
INSERT = f"""
INSERT INTO ledger.events ({COLUMNS}, execution_key)
SELECT * FROM unnest(%s::text[], %s::bigint[], %s::text[], %s::bytea[], %s::bigint[], %s::timestamptz[], %s::text[])
"""  # noqa: S608 (our own column names)
COPY = f"COPY ledger.events ({COLUMNS}, execution_key) FROM STDIN (FORMAT BINARY)"
COPY_TYPES = ("text", "int8", "text", "bytea", "int8", "timestamptz", "text")
EXECUTED = "SELECT execution_key, originator_id FROM ledger.events WHERE execution_key = ANY(%s::text[])"
EXECUTION_INDEX = "events_execution_key_idx"
STREAM = f"""
SELECT {COLUMNS} FROM ledger.events WHERE originator_id = %s AND originator_version > %s ORDER BY originator_version
LIMIT %s::bigint
"""  # noqa: S608
STREAMS = f"""
SELECT {COLUMNS} FROM ledger.events WHERE originator_id = ANY(%s::text[]) AND originator_version <= %s
ORDER BY originator_id, originator_version
"""  # noqa: S608
SLICE = f"""
SELECT {COLUMNS} FROM ledger.events WHERE notification_id > %s AND notification_id <= %s
ORDER BY notification_id LIMIT %s
"""  # noqa: S608
RECORDS = """
SELECT notification_id, topic, state FROM ledger.events WHERE notification_id > %s AND notification_id <= %s
ORDER BY notification_id LIMIT %s
"""
SLICE_OF_TOPICS = """
SELECT notification_id, topic, CASE WHEN topic = ANY(%s::text[]) THEN state END FROM ledger.events
WHERE notification_id > %s AND notification_id <= %s ORDER BY notification_id LIMIT %s
"""
SEQ_AT = """
SELECT notification_id FROM ledger.events WHERE recorded_at <= %s AND notification_id >= %s AND notification_id < %s
ORDER BY recorded_at DESC, notification_id DESC LIMIT 1
"""
CLOCK = "SELECT notification_id, topic, state FROM ledger.events WHERE originator_id = %s ORDER BY originator_version"
AHEAD = """
SELECT first, (SELECT recorded_at FROM ledger.events WHERE notification_id = first - 1)
FROM (SELECT min(notification_id) AS first FROM ledger.events WHERE recorded_at > %s AND notification_id >= %s) AS ahead
WHERE first IS NOT NULL
"""
HEAD_AND_CLOCK = f"SELECT * FROM ({HEAD}) AS head WHERE recorded_at > clock_timestamp() + make_interval(secs => %s)"  # noqa: S608
SEQ_OF = "SELECT notification_id FROM ledger.events WHERE originator_id = %s AND originator_version = %s AND state = %s"
STREAMS_AFTER = "SELECT DISTINCT originator_id FROM ledger.events WHERE notification_id > %s AND notification_id <= %s"
KEPT = """
SELECT actor, request_key, body_sha256, first_seq, last_seq, recorded_at, answer
FROM ledger.requests JOIN unnest(%s::text[], %s::text[]) AS wanted (actor, request_key) USING (actor, request_key)
"""
SEQ_MAX = 2**63 - 1
AHEAD_SECONDS_MAX = 5.0  # how far two clocks may differ before a time on record counts as wrong
CONNECTION_LOST = (None, "08000", "08003", "08006", "57P01", "57P02", "57P05")  # the outcome of a commit may be unknown

OUTCOME_UNKNOWN = "the database {} was lost before it confirmed the records; send the request again, under the same id"


class LogDatastore(PostgresDatastore):
    """Lends connections of our pool to the library's recorders."""

    def __init__(self, url: str, role: Role) -> None:
        super().__init__(dbname="", host="", port="", user="", password="", schema="ledger", originator_id_type="text")
        self.url = url
        self.connections = Pool(lambda: connections.connect(url, role))
        self.pool = cast(Any, self.connections)  # replaces the library's pool, which is not open yet

    def register_type_adapters(self) -> None:
        """Do nothing: rows are sent by COPY and as arrays, without the library's composite types."""


class Stored(NamedTuple):
    """A row of `ledger.events`, with its bytes as stored and hashed."""

    stream: str
    version: int
    topic: str
    state: bytes
    seq: int
    recorded_at: datetime


class KeptAnswer(NamedTuple):
    """A row of `ledger.requests`: a keyed request's actor, a digest of its body, the events it recorded (none if
    `last_seq` < `first_seq`), and its answer.
    """

    actor: str
    key: str
    body_sha256: bytes
    first_seq: int
    last_seq: int
    recorded_at: datetime
    answer: bytes


@dataclass(frozen=True)
class StoredRecord(StoredEvent):
    """The library's stored event, together with its record."""

    record: Recorded


class RecordMapper(Mapper[str]):
    """Maps Recorded to the library's StoredEvent and back. The state is the whole record; its sha256 is the leaf."""

    def to_stored_event(self, domain_event: Any) -> StoredRecord:
        record: Recorded = domain_event
        return StoredRecord(
            originator_id=record.stream,
            originator_version=record.version,
            topic=schema.topic_of(record.event),
            state=schema.encode(record),
            record=record,
        )

    def to_domain_event(self, stored_event: StoredEvent) -> Any:
        return schema.decode(stored_event.topic, stored_event.state)


class LogRecorder(PostgresApplicationRecorder):
    """The library's recorder of `ledger.events`, except that it numbers events itself and never retries.

    A retry after a lost insert could conflict with that very insert; see `PostgresLog.append`.
    """

    datastore: LogDatastore

    def __init__(self, datastore: LogDatastore) -> None:
        super().__init__(datastore, events_table_name="events")
        self.channel_name = CHANNEL
        self._of_thread = threading.local()

    def insert_events(self, stored_events: Sequence[StoredEvent], **_: Any) -> Sequence[int]:
        if (alone := getattr(self._of_thread, "connection", None)) is not None:
            return self.insert_on(alone, stored_events)
        with self.datastore.connections.connection() as connection:
            return self.insert_on(connection, stored_events)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the append lock for this thread; its inserts use the connection that holds the lock."""
        with self.datastore.connections.connection() as connection:
            connection.execute("SELECT pg_advisory_lock(%s)", [APPEND_LOCK])
            self._of_thread.connection = connection
            try:
                yield
            finally:
                self._of_thread.connection = None
                if not connection.closed:
                    connection.execute("SELECT pg_advisory_unlock(%s)", [APPEND_LOCK])

    def insert_on(self, connection: Connection, stored_events: Sequence[StoredEvent]) -> range:
        """Lock, check, insert and notify in one transaction on this connection. Return the seqs of the events."""
        events = cast(Sequence[StoredRecord], stored_events)
        try:
            if len(events) > PIPELINED_EVENTS_MAX:
                with connection.transaction():
                    return self._insert(connection, events, self._copy)
            with connection.pipeline(), connection.transaction():
                return self._insert(connection, events, self._insert_rows)
        except psycopg.errors.UniqueViolation as error:
            if error.diag.constraint_name == EXECUTION_INDEX:
                raise ExecutionKnown(events[0].record.stream) from error
            raise StreamConflict(events[0].record.stream) from error

    def _insert(self, connection: Connection, events: Sequence[StoredRecord], write: Any) -> range:
        streams = list({event.record.stream for event in events})
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [APPEND_LOCK])
        end = connection.execute(HEAD, prepare=True)
        versions = connection.execute(VERSIONS, [streams], prepare=True)
        head = _head(end.fetchone())
        known = {stream: version for stream, version in versions.fetchall() if version is not None}
        check_continues([event.record for event in events], head, known)
        seqs = range(head.seq + 1, head.seq + 1 + len(events))
        rows = [
            (
                event.record.stream,
                event.record.version,
                event.topic,
                event.state,
                seq,
                event.record.recorded_at,
                schema.execution_key(event.record.event),
            )
            for event, seq in zip(events, seqs, strict=True)
        ]
        write(connection, rows)
        connection.execute("SELECT pg_notify(%s, %s)", [CHANNEL, str(seqs[-1])], prepare=True)
        return seqs

    @staticmethod
    def _insert_rows(connection: Connection, rows: Sequence[TupleRow]) -> None:
        connection.execute(INSERT, [list(column) for column in zip(*rows, strict=True)], prepare=True)

    @staticmethod
    def _copy(connection: Connection, rows: Sequence[TupleRow]) -> None:
        with connection.cursor() as cursor, cursor.copy(COPY) as copy:
            copy.set_types(COPY_TYPES)
            for row in rows:
                copy.write_row(row)

    def rows(self, query: str, params: Sequence[Any] | Mapping[str, Any]) -> list[TupleRow]:
        """Return the rows of a query over the log, fetched in binary."""
        with (
            self.datastore.connections.connection() as connection,
            connection.cursor(binary=True, row_factory=tuple_row) as cursor,
        ):
            return cursor.execute(query, params, prepare=True).fetchall()

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        rows = [row for row in self.rows(STREAM, [originator_id, gt or 0, None]) if lte is None or row[1] <= lte]
        return [StoredEvent(*row[:4]) for row in (reversed(rows) if desc else rows)][:limit]

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        after = (start or 0) - (inclusive_of_start and start is not None)
        found: list[Notification] = []
        while len(found) < limit and (rows := self.rows(SLICE, [after, SEQ_MAX if stop is None else stop, limit])):
            found += (Notification(*row[:5]) for row in rows if not topics or row[2] in topics)
            after = rows[-1][4]
        return found[:limit]

    def max_notification_id(self) -> int | None:
        return next((row[0] for row in self.rows(HEAD, [])), None)


class PostgresLog:
    """Implements domain.ledger.log.EventLog. Safe between threads and between processes; close it, or use it as a
    context.

    The database must be migrated. `role` sets the permissions: only a WRITER can append. `upkeep` runs its threads.
    """

    def __init__(self, url: str, role: Role = Role.WRITER, upkeep: Supervisor | None = None) -> None:
        self._url = url
        upkeep = upkeep or Supervisor()
        self._mapper = RecordMapper(transcoder=cast(Any, None))
        self._listener = Listener(url, role, upkeep)
        datastore = LogDatastore(url, role)
        self.recorder = LogRecorder(datastore)
        self.tail = Tail()
        self.snapshots = StoredSnapshots(url, datastore.connections, upkeep, is_writing=role is Role.WRITER)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self.snapshots.close()
        self._listener.close()
        self.recorder.datastore.close()

    def head(self) -> Head:
        return _head(next(iter(self._rows(HEAD)), None))

    def read(self, stream: str, *, after: int = 0, limit: int | None = None) -> list[Recorded]:
        after = max(after, 0)
        return _whole(stream, after, self._rows(STREAM, stream, after, limit))

    def read_all(self, streams: Sequence[str], *, limit: int | None = None) -> dict[str, list[Recorded]]:
        found: dict[str, list[TupleRow]] = {stream: [] for stream in streams}
        for row in self._rows(STREAMS, list(found), SEQ_MAX if limit is None else limit) if found else ():
            found[row[0]].append(row)
        return {stream: _whole(stream, 0, rows) for stream, rows in found.items()}

    def append(self, records: Sequence[Recorded]) -> int:
        """See EventLog. If the connection is lost in a commit, looks the records up over a new connection."""
        if not records:
            return self.head().seq
        events = [self._mapper.to_stored_event(record) for record in records]
        with connections.reaching(self._url):
            try:
                return self.recorder.insert_events(events)[-1]
            except psycopg.OperationalError as error:
                if error.sqlstate not in CONNECTION_LOST:
                    raise
                try:
                    seq = self._settled(events)
                except (Unavailable, psycopg.OperationalError) as lost:
                    raise Unavailable(
                        OUTCOME_UNKNOWN.format(connections.name(self._url)), code=Code.OUTCOME_UNKNOWN
                    ) from lost
                if seq is None:
                    raise
                return seq

    @contextmanager
    def alone(self) -> Iterator[None]:
        with connections.reaching(self._url), self.recorder.alone():
            yield

    def append_on(self, connection: Connection, records: Sequence[Recorded]) -> int:
        """Append on the caller's connection, such as the one whose advisory lock makes a writer the leader.

        Raises StreamConflict, and psycopg.OperationalError when the connection is lost: then call `settled`.
        """
        assert records, "nothing to append"
        return self.recorder.insert_on(connection, [self._mapper.to_stored_event(record) for record in records])[-1]

    def settled(self, records: Sequence[Recorded]) -> int | None:
        """Return the seq of the last record of an append whose outcome was lost; None if it was not recorded.

        Waits until no append is under way, so that the result is final. Raises Unavailable.
        """
        with connections.reaching(self._url):
            return self._settled([self._mapper.to_stored_event(record) for record in records])

    def select(
        self, *, after: int = 0, upto: int | None = None, limit: int = 1000, topics: Collection[str] | None = None
    ) -> list[Logged]:
        after, upto = max(after, 0), SEQ_MAX if upto is None else upto
        decode = schema.decode
        if topics is None:
            rows = self._rows(RECORDS, after, upto, limit)
            _check_gapless(after, len(rows), rows[-1][0] if rows else 0)
            return [Logged(seq, decode(topic, state)) for seq, topic, state in rows]
        rows = self._rows(SLICE_OF_TOPICS, list(topics), after, upto, limit)
        _check_gapless(after, len(rows), rows[-1][0] if rows else 0)
        return [Logged(seq, decode(topic, state)) for seq, topic, state in rows if state is not None]

    def recent(self, after: int, upto: int) -> list[Logged] | None:
        """Return the events with `after` < seq <= `upto` as this process has committed them; None unless it has all."""
        return self.tail.between(after, upto)

    def stored(self, *, after: int = 0, upto: int | None = None, limit: int = 1000) -> list[Stored]:
        """Like `select`, undecoded: the rows as stored, to hash or to pass on."""
        after = max(after, 0)
        rows = [Stored(*row) for row in self._rows(SLICE, after, SEQ_MAX if upto is None else upto, limit)]
        _check_gapless(after, len(rows), rows[-1].seq if rows else 0)
        return rows

    def executed(self, keys: Sequence[str]) -> dict[str, str]:
        return dict(self._rows(EXECUTED, list(keys))) if keys else {}

    def streams_between(self, after: int, upto: int) -> list[str]:
        """Return the streams that have events with `after` < seq <= `upto`."""
        return [stream for (stream,) in self._rows(STREAMS_AFTER, after, upto)]

    def kept(self, keys: Sequence[tuple[str, str]]) -> list[KeptAnswer]:
        """Return the stored answers of the requests with these keys (actor, key)."""
        if not keys:
            return []
        actors, names = zip(*keys, strict=True)
        return [KeptAnswer(*row) for row in self._rows(KEPT, list(actors), list(names))]

    def seq_at(self, moment: datetime) -> int:
        confirmations = self.confirmations()
        first, end = part_at(confirmations, moment)
        behind = max((-one.database_ahead for one in confirmations[-1:]), default=timedelta())
        behind = max(behind, timedelta())  # how far the database's clock is behind ours, as was confirmed
        if end is None and self._rows(HEAD_AND_CLOCK, AHEAD_SECONDS_MAX + behind.total_seconds()):
            ahead = self.recorded_after(self.clock() + behind, confirmations)
            if ahead is not None and (ahead[1] is None or moment > ahead[1]):
                raise MomentUnknown(moment, ahead[0], self.head().seq, since=ahead[1], until=None)
        return next((seq for (seq,) in self._rows(SEQ_AT, moment, first, end or SEQ_MAX)), first - 1)

    def confirmations(self) -> list[Confirmation]:
        """Return the confirmations of the clock on record, by seq."""
        rows = self._rows(CLOCK, CLOCK_STREAM)
        return [confirmation(Logged(seq, schema.decode(topic, state))) for seq, topic, state in rows]

    def recorded_by(self, seq: int) -> datetime | None:
        """Return when an event was recorded; where that was by a wrong clock, the latest time that it can have been.
        None if there is no such event.
        """
        last = self.select(after=seq - 1, upto=seq, limit=1) if seq else []
        return latest_at(self.confirmations(), seq, last[0].recorded.recorded_at) if last else None

    def recorded_after(
        self, moment: datetime, confirmations: Sequence[Confirmation]
    ) -> tuple[int, datetime | None] | None:
        """Return the first event recorded later than `moment` that no confirmation before `moment` covers, and the time
        of the event before it; None if there is none.
        """
        first = max((one.seq for one in confirmations if one.at <= moment), default=1)
        return next(((seq, trusted_at) for seq, trusted_at in self._rows(AHEAD, moment, first)), None)

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Lend a connection, for look-ups beside the log. Raises Unavailable."""
        with connections.reaching(self._url), self.recorder.datastore.connections.connection() as connection:
            yield connection

    def clock(self) -> datetime:
        """Return the present moment by the database's clock."""
        ((moment,),) = self._rows("SELECT clock_timestamp()")
        now: datetime = moment
        return now

    def wait(self, after: int, timeout_s: float) -> int:
        """Return the head's seq as soon as it is beyond `after`, or when the time is up. Raises Unavailable."""
        seq = self._listener.wait(after, timeout_s)
        return seq if seq > after else self.head().seq

    def wake(self) -> None:
        """Make all calls of `wait` under way return at once, for instance to end their threads."""
        self._listener.wake()

    def _rows(self, query: str, *params: Any) -> list[TupleRow]:
        with connections.reaching(self._url):
            return self.recorder.rows(query, params)

    def _settled(self, events: Sequence[StoredRecord]) -> int | None:
        first = events[0]
        with self.recorder.datastore.connections.connection() as connection, connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", [APPEND_LOCK])
            found = connection.execute(SEQ_OF, [first.record.stream, first.record.version, first.state]).fetchone()
        return found[0] + len(events) - 1 if found else None


def _check_gapless(after: int, count: int, last: int) -> None:
    if count and last != after + count:
        raise HistoryBroken(f"{count} events after seq {after}, the last of them is seq {last}")


def _whole(stream: str, after: int, rows: Sequence[TupleRow]) -> list[Recorded]:
    """Decode a stream's rows. Raises HistoryBroken unless there is one for each version."""
    if rows and rows[-1][1] != after + len(rows):
        raise HistoryBroken(f"{stream}: {len(rows)} events after version {after}, the last is version {rows[-1][1]}")
    return [schema.decode(topic, state) for _, _, topic, state, _, _ in rows]


def _head(row: TupleRow | None) -> Head:
    return Head(*row) if row else Head(0, None)
