"""Asynchronous appends: a transaction is sent to the server at once, and its result is fetched later.

The transaction is a single message of the simple query protocol (check the log's end, store the answers, COPY the
events, notify), which the server runs, commits and syncs by itself once it has the rows; meanwhile the caller can
decide the next commands. There is no BEGIN: the message is one implicit transaction, rolled back as a whole by any
error.
"""

import select
import struct
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

import psycopg
from psycopg.pq import ConnStatus, DiagnosticField, Escaping, ExecStatus
from psycopg.pq.abc import PGconn, PGresult

from adapters.log.listener import CHANNEL
from adapters.log.postgres import COLUMNS, COPY, EXECUTION_INDEX, KeptAnswer
from adapters.postgres.connections import Connection
from adapters.postgres.migrations import NEWEST
from domain.errors import ExecutionKnown, StreamConflict
from domain.ledger import Recorded, schema

ANSWER_SECONDS_MAX = 90  # above the server's own statement timeout
KEYS_INDEX = "requests_pkey"
RECENT_MAX = 1024  # cached encodings of topics and timestamps
INSERTED_EVENTS_MAX = 16  # up to here an INSERT is faster than COPY, which waits for the server's reply

_HEADER = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
_TRAILER = b"\xff\xff"
_COLUMNS_AND_TEXT = struct.Struct("!hi")
_NUMBER = struct.Struct("!iq")
_LENGTH = struct.Struct("!i")
_TWO_NUMBERS = struct.Struct("!iqiq")
_FINE = (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK)
_NULL = _LENGTH.pack(-1)
_POSTGRES_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class KeyTaken(StreamConflict):
    """An idempotency key of the batch is already recorded."""


class Row(NamedTuple):
    """A row of `ledger.events`."""

    stream: str
    version: int
    topic: str
    state: bytes
    seq: int
    recorded_at: datetime
    execution_key: str | None


def row_of(record: Recorded, seq: int) -> Row:
    """Return the row that stores a record."""
    topic, state, key = schema.stored(record)
    return Row(
        stream=record.stream,
        version=record.version,
        topic=topic,
        state=state,
        seq=seq,
        recorded_at=record.recorded_at,
        execution_key=key,
    )


class Appending:
    """Appends over the connection that holds the writer's leadership, one at a time."""

    def __init__(self, connection: Connection) -> None:
        self._pgconn: PGconn = connection.pgconn
        self._escaping = Escaping(connection.pgconn)
        self._is_done = True
        self._failure: Exception | None = None

    @property
    def is_lost(self) -> bool:
        """Whether the connection is lost, and with it the leadership."""
        return self._pgconn.status != ConnStatus.OK

    def begin(self, after: int, rows: Sequence[Row], keyed: Sequence[KeptAnswer] = ()) -> None:
        """Send rows that continue the log after seq `after`; `finish` waits for the outcome. All rows are sent before
        this returns, so that deciding the next batch does not delay the append.

        With neither rows nor keys, only checks that the log ends at `after` and the schema is of our revision.
        """
        assert self._is_done, "one append at a time"
        statements = [f"SELECT ledger.continue_after({after}, '{NEWEST}')", *self._insert_answers(keyed)]
        is_copied = len(rows) > INSERTED_EVENTS_MAX
        if rows:
            statements += [COPY if is_copied else self._insert_events(rows), f"NOTIFY {CHANNEL}, '{after + len(rows)}'"]
        self._is_done, self._failure = False, None
        try:
            self._pgconn.send_query("; ".join(statements).encode())
            if is_copied:
                self._copy(_packed(rows))
            self._push()
        except psycopg.OperationalError as error:
            self._is_done, self._failure = True, error

    def is_done(self) -> bool:
        """Return whether `finish` would return at once."""
        if not self._is_done:
            try:
                if _poll(self._pgconn, 0):
                    self._pgconn.consume_input()
                self._is_done = not self._pgconn.is_busy()
            except psycopg.OperationalError as error:
                self._is_done, self._failure = True, error
        return self._is_done

    def wait(self, other: int, seconds: float) -> None:
        """Sleep until the server's connection or the file descriptor `other` is readable, or the time is up."""
        poll = select.poll()
        poll.register(other, select.POLLIN)
        if not self.is_lost:
            poll.register(self._pgconn.socket, select.POLLIN)
        poll.poll(seconds * 1000)

    def check(self) -> None:
        """Read the server's messages while nothing is in flight. Raises psycopg.OperationalError if it disconnected."""
        if self.is_lost:
            raise psycopg.OperationalError("the connection was lost")
        if _poll(self._pgconn, 0):
            self._pgconn.consume_input()

    def finish(self) -> None:
        """Wait for the end of the append; it is durable on return.

        Raises StreamConflict (ExecutionKnown, KeyTaken) when it was rolled back because it conflicts with the log, and
        psycopg.Error when it failed. If the connection `is_lost` then, the outcome is unknown.
        """
        failure, self._failure = self._failure, None
        if failure is None:
            while (result := self._result()) is not None:
                if result.status not in _FINE:
                    failure = failure or _error(result)
        self._is_done = True
        if failure is not None:
            raise failure

    def _copy(self, rows: bytes) -> None:
        while (result := self._result()) is not None:
            if result.status == ExecStatus.COPY_IN:
                self._pgconn.put_copy_data(rows)
                self._pgconn.put_copy_end()
                return
            if result.status not in _FINE:
                self._failure = self._failure or _error(result)
        self._is_done = True

    def _insert_answers(self, keyed: Sequence[KeptAnswer]) -> list[str]:
        if not keyed:
            return []
        rows = ", ".join(
            f"({self._literal(kept.actor)}, {self._literal(kept.key)}, '\\x{kept.body_sha256.hex()}', "
            f"{kept.first_seq}, {kept.last_seq}, '{kept.recorded_at.isoformat()}', '\\x{kept.answer.hex()}')"
            for kept in keyed
        )
        return [f"INSERT INTO ledger.requests VALUES {rows}"]  # noqa: S608 (escaped)

    def _insert_events(self, rows: Sequence[Row]) -> str:
        values = ", ".join(
            f"({self._literal(row.stream)}, {row.version}, '{row.topic}', '\\x{row.state.hex()}', {row.seq}, "
            f"'{row.recorded_at.isoformat()}', {self._literal(row.execution_key)})"
            for row in rows
        )
        return f"INSERT INTO ledger.events ({COLUMNS}, execution_key) VALUES {values}"  # noqa: S608 (escaped)

    def _literal(self, text: str | None) -> str:
        if text is None:
            return "NULL"
        return bytes(self._escaping.escape_literal(text.encode())).decode()

    def _push(self) -> None:
        """Flush the output buffer, reading input meanwhile so that the server is not blocked."""
        while self._pgconn.flush():
            if not _poll(self._pgconn, ANSWER_SECONDS_MAX, to_write=True):
                raise psycopg.OperationalError(f"no answer within {ANSWER_SECONDS_MAX} s")
            self._pgconn.consume_input()

    def _result(self) -> PGresult | None:
        """Wait for the next result; None after the last one."""
        self._push()
        while self._pgconn.is_busy():
            if not _poll(self._pgconn, ANSWER_SECONDS_MAX):
                raise psycopg.OperationalError(f"no answer within {ANSWER_SECONDS_MAX} s")
            self._pgconn.consume_input()
        return self._pgconn.get_result()


def _packed(rows: Sequence[Row]) -> bytes:
    """Encode rows in COPY's binary format."""
    parts = [_HEADER]
    for stream, version, topic, state, seq, recorded_at, execution_key in rows:
        of_stream = stream.encode()
        parts += (
            _COLUMNS_AND_TEXT.pack(7, len(of_stream)), of_stream, _NUMBER.pack(8, version), _text(topic),
            _LENGTH.pack(len(state)), state, _TWO_NUMBERS.pack(8, seq, 8, _micros(recorded_at)),
            _NULL if execution_key is None else _LENGTH.pack(len(execution_key.encode())) + execution_key.encode(),
        )  # fmt: skip
    parts.append(_TRAILER)
    return b"".join(parts)


@lru_cache(maxsize=RECENT_MAX)
def _text(topic: str) -> bytes:
    written = topic.encode()
    return _LENGTH.pack(len(written)) + written


@lru_cache(maxsize=RECENT_MAX)
def _micros(moment: datetime) -> int:
    return (moment - _POSTGRES_EPOCH) // _MICROSECOND


def _poll(pgconn: PGconn, seconds: float, *, to_write: bool = False) -> bool:
    poll = select.poll()
    poll.register(pgconn.socket, select.POLLIN | (select.POLLOUT if to_write else 0))
    return bool(poll.poll(seconds * 1000))


def _error(result: PGresult) -> Exception:
    """Return the exception for a failed statement."""
    state = (result.error_field(DiagnosticField.SQLSTATE) or b"").decode()
    message = " ".join(result.error_message.decode(errors="replace").split()) if result.error_message else "no answer"
    match state:
        case "40001":
            return StreamConflict("the log", message)
        case "23505":
            constraint = (result.error_field(DiagnosticField.CONSTRAINT_NAME) or b"").decode()
            kind = {EXECUTION_INDEX: ExecutionKnown, KEYS_INDEX: KeyTaken}.get(constraint, StreamConflict)
            return kind("the log", message)
        case "":
            return psycopg.OperationalError(message)
        case _:
            return psycopg.errors.lookup(state)(message)
