"""Check a range of the log at full speed: is everything as it was sealed, yes or no.

Reads rows as binary COPY and compares them undecoded: a record's JSON begins with its stream, version and recorded_at,
so the columns are right if the bytes begin with their values. A row that fails this fast comparison is decoded and
compared again; if it fails again the range is unclean, and `adapters.verify.diagnosis` finds the fault.
"""

import hashlib
import struct
from bisect import bisect_right
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Struct
from psycopg.pq import ExecStatus

from adapters.postgres.connections import Connection
from adapters.proof import checkpoints, groups, tiles
from adapters.proof.checkpoints import Note, Tenure
from domain.errors import HistoryBroken
from domain.ledger import ClockConfirmed, schema
from domain.order import OrderFilled
from domain.sealed import merkle
from domain.sealed.groups import STREAMS_CACHED_MAX, by_group, group_of, leaves_of
from domain.sealed.merkle import HASH_BYTES, TILE_WIDTH, Frontier

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)  # PostgreSQL's
COPY_HEADER = b"PGCOPY\n\xff\r\n\x00"
COPY_HEADER_BYTES = 19
COPY_TRAILER_BYTES = 2
FILL_TOPIC = schema.topic_of_class(OrderFilled)
CLOCK_TOPIC = schema.topic_of_class(ClockConfirmed).encode()  # the one event that may be recorded before another
# What decoding raises: not JSON, not of its type, no UTF-8, nested too deep.
UNDECODABLE = (msgspec.MsgspecError, ValueError, RecursionError)

COPY = """
COPY (
    SELECT notification_id, originator_version, recorded_at, originator_id, topic, execution_key, state
    FROM ledger.events WHERE notification_id > {} AND notification_id <= {} ORDER BY notification_id
) TO STDOUT (FORMAT BINARY)
"""
CHECKPOINTS = "SELECT size, note, leaves FROM ledger.checkpoints WHERE size > %s AND size <= %s ORDER BY size"
BEFORE = "SELECT coalesce(max(size), 0) FROM ledger.checkpoints WHERE size <= %s"
TILES = """
SELECT tile_index, hashes, root FROM ledger.tiles WHERE level = 0 AND tile_index >= %s AND tile_index < %s
ORDER BY tile_index
"""


class _FillKey(Struct, gc=False):
    account_id: str


class _Fill(Struct, gc=False):
    key: _FillKey
    instrument_id: str
    exec_id: str
    entry_id: str = ""

    @property
    def execution_key(self) -> str:
        """See domain.ledger.schema.key_of_execution."""
        return schema.execution_key_of(self.key.account_id, self.instrument_id, self.entry_id or self.exec_id)


class _FillRecord(Struct, gc=False):
    event: _Fill


class Envelope(Struct, gc=False):
    """A record without its event."""

    stream: str
    version: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
    recorded_at: Annotated[datetime, msgspec.Meta(tz=True)]
    event: msgspec.Raw


class Topic(Struct, gc=False):
    """An event's topic."""

    type: str


_fill = msgspec.json.Decoder(_FillRecord)
_envelope = msgspec.json.Decoder(Envelope)
_topic = msgspec.json.Decoder(Topic)
_lengths = struct.Struct(">hiqiqiqi").unpack_from  # fields; then length and value of seq, version, recorded_at; length
_length = struct.Struct(">i").unpack_from
_STREAM_AT = 42


class RangeQuery(NamedTuple):
    """A range to check: events with `after` < seq <= `upto`; `after` is a multiple of 256.

    `sealed` is the size of the newest checkpoint; `sizes` are further sizes at which the root is wanted; `restored` is
    the size of the checkpoint that the ledger was restored from, 0 if it was not.
    """

    after: int
    upto: int
    sealed: int
    origin: str
    chain: tuple[Tenure, ...]
    sizes: tuple[int, ...] = ()
    restored: int = 0
    grouped: int = 0  # the place in the log up to which entries of groups are stored
    needs_groups: bool = False


class Segment(NamedTuple):
    """The events since the segment before, up to `size`: the leaf hashes of their entries, by group; and the map that a
    checkpoint states there.
    """

    size: int
    leaves: dict[str, bytes]
    stated: groups.Stated | None


class Stated(NamedTuple):
    """A size within the range: the root a checkpoint states there (None: only wanted), and the last tile's nodes."""

    size: int
    root: bytes | None
    nodes: tuple[bytes, ...]


class CheckedRange(NamedTuple):
    """The result: roots of the full tiles, in sequence; the roots stated at sizes; the first and last time."""

    after: int
    events: int
    roots: tuple[bytes, ...]
    stated: tuple[Stated, ...]
    edge: tuple[bytes, ...]  # nodes of the last tile, if it is not full
    first_at: int
    last_at: int
    checkpoints: int
    is_clean: bool
    segments: tuple[Segment, ...] = ()
    wrong_group: str = ""  # one whose stored entries are not those of the events


def check(connection: Connection, query: RangeQuery) -> CheckedRange:
    """Check a range; see CheckedRange."""
    try:
        return _Check(connection, query).run()
    except (_Unclean, HistoryBroken, *UNDECODABLE):
        return unchecked_range(query.after, is_clean=False)


def unchecked_range(
    after: int, events: int = 0, roots: tuple[bytes, ...] = (), edge: tuple[bytes, ...] = (), *, is_clean: bool
) -> CheckedRange:
    """Return a range whose events were not checked: roots and edge are those stored, if any."""
    return CheckedRange(
        after=after,
        events=events,
        roots=roots,
        stated=(),
        edge=edge,
        first_at=0,
        last_at=0,
        checkpoints=0,
        is_clean=is_clean,
    )


class _Unclean(Exception):
    """Something differs from what was sealed."""


class _Check:
    """The check of one range."""

    def __init__(self, connection: Connection, query: RangeQuery) -> None:
        self._connection = connection
        self._query = query
        self._roots: list[bytes] = []
        self._stated: list[Stated] = []
        self._edge: tuple[bytes, ...] = ()
        self._size = query.after
        claimed = dict.fromkeys(query.sizes, None) | self._checkpoints()
        self._sizes = sorted(claimed)
        self._claimed = claimed
        self._next = 0  # the place in `_sizes`
        self._grouping = _Grouping(query, self._maps) if query.needs_groups else None

    def run(self) -> CheckedRange:
        query, rows = self._query, _Rows(self._connection, self._query)
        first = query.after // TILE_WIDTH
        stored = self._stored(first, min(query.upto, query.sealed) // TILE_WIDTH)
        with closing(rows.tiles()) as found:
            for leaves in found:
                if self._grouping is not None:
                    self._grouping.add(rows.streams, leaves)
                if len(leaves) == TILE_WIDTH:
                    self._full(leaves, next(stored, None))
                else:
                    self._last_tile(leaves)
        if self._size != query.upto or self._next != len(self._sizes):
            raise _Unclean
        return CheckedRange(
            after=query.after,
            events=self._size - query.after,
            roots=tuple(self._roots),
            stated=tuple(self._stated),
            edge=self._edge,
            first_at=rows.first_at,
            last_at=rows.last_at,
            checkpoints=self._signed,
            is_clean=True,
            segments=self._grouping.segments() if self._grouping is not None else (),
            wrong_group=self._grouping.wrong_in(self._connection) if self._grouping is not None else "",
        )

    def _checkpoints(self) -> dict[int, bytes | None]:
        """Return the roots that the range's checkpoints state, after verifying their signatures."""
        self._maps: dict[int, groups.Stated | None] = {}
        self._leaves: dict[int, tuple[int, bytes]] = {}  # size -> first leaf, and the hashes stored with it
        claimed: dict[int, bytes | None] = {}
        before = self._connection.execute(BEFORE, [self._query.after]).fetchone()
        assert before is not None, "an aggregate has a row"
        last = before[0]
        with self._connection.cursor(binary=True) as cursor:
            for size, note, leaves in cursor.execute(CHECKPOINTS, [self._query.after, self._query.upto]):
                found = tiles.stored_note(size, note)
                key = checkpoints.signer_of(list(self._query.chain), size)
                if found.checkpoint.origin != self._query.origin or not found.is_signed_by(key):
                    raise _Unclean
                if lost_before(found, last, self._query.restored):
                    raise _Unclean
                claimed[size] = found.checkpoint.root
                self._maps[size] = groups.stated_by(found)
                self._leaves[size] = (max(last, size - size % TILE_WIDTH), bytes(leaves))
                last = size
        self._signed = len(claimed)
        return claimed

    def _stored(self, first: int, last: int) -> Iterator[tuple[bytes, bytes]]:
        """Return the tiles that must be there: hashes and root. Raises _Unclean if one is missing."""
        with self._connection.cursor(binary=True) as cursor:
            rows = cursor.execute(TILES, [first, last]).fetchall()
        if [row[0] for row in rows] != list(range(first, last)):
            raise _Unclean
        return ((bytes(hashes), bytes(root)) for _, hashes, root in rows)

    def _full(self, leaves: list[bytes], stored: tuple[bytes, bytes] | None) -> None:
        hashes = b"".join(leaves)
        end = self._size + TILE_WIDTH
        if self._next < len(self._sizes) and self._sizes[self._next] < end:
            root = self._within(leaves)[0]
        else:
            root = merkle.levels(hashes)[-1]
        if stored is not None and stored != (hashes, root):
            raise _Unclean
        self._roots.append(root)
        self._size = end
        if self._next < len(self._sizes) and self._sizes[self._next] == end:
            self._state(end, (), b"")

    def _last_tile(self, leaves: list[bytes]) -> None:
        """Add the last tile of the log, which is not full."""
        self._edge = self._within(leaves)
        self._size += len(leaves)

    def _within(self, leaves: list[bytes]) -> tuple[bytes, ...]:
        """Return the nodes of a tile, recording those at the requested sizes on the way."""
        tree = Frontier()
        for number, leaf in enumerate(leaves, 1):
            tree.add(leaf)
            size = self._size + number
            if number < TILE_WIDTH and self._next < len(self._sizes) and self._sizes[self._next] == size:
                self._state(size, tuple(tree.nodes), b"".join(leaves[:number]))
        return tuple(tree.nodes)

    def _state(self, size: int, nodes: tuple[bytes, ...], leaves: bytes) -> None:
        if size in self._leaves:
            since, kept = self._leaves[size]
            if kept != leaves[(since - (size - size % TILE_WIDTH)) * HASH_BYTES :]:
                raise _Unclean
        self._stated.append(Stated(size, self._claimed[size], nodes))
        self._next += 1


@lru_cache(maxsize=STREAMS_CACHED_MAX)
def _group_named(stream: bytes) -> str:
    return group_of(stream.decode())


class _Grouping:
    """The entries of the events of a range, by group, cut at checkpoints."""

    def __init__(self, query: RangeQuery, maps: Mapping[int, groups.Stated | None]) -> None:
        self._query = query
        self._maps = maps
        self._sizes = sorted(maps)
        self._size = query.after
        self._entries: dict[str, list[bytes]] = {}  # of all the range
        self._open: dict[str, list[bytes]] = {}  # since the last checkpoint
        self._segments: list[Segment] = []

    def add(self, streams: Sequence[bytes], leaves: Sequence[bytes]) -> None:
        """Add a tile of events."""
        start, end = self._size, self._size + len(leaves)
        ends = self._sizes[bisect_right(self._sizes, start) : bisect_right(self._sizes, end)]
        for upto in [*ends, end] if not ends or ends[-1] != end else ends:
            low, high = self._size - start, upto - start
            named = map(_group_named, streams[low:high])
            for group, entries in by_group(named, b"".join(leaves[low:high]), self._size + 1).items():
                self._entries.setdefault(group, []).append(entries)
                self._open.setdefault(group, []).append(leaves_of(entries))
            self._size = upto
            if upto in self._maps:
                self._close(self._maps[upto])

    def _close(self, stated: groups.Stated | None) -> None:
        found = {group: b"".join(leaves) for group, leaves in self._open.items()}
        self._segments.append(Segment(self._size, found, stated))
        self._open = {}

    def segments(self) -> tuple[Segment, ...]:
        """Return the segments of the range."""
        if self._open:
            self._close(None)
        return tuple(self._segments)

    def wrong_in(self, connection: Connection) -> str:
        """Return a group whose stored entries are not these; "" if there is none."""
        after, upto = self._query.after, min(self._query.grouped, self._size)
        stored = groups.stored_entries(connection, after, upto) if upto > after else {}
        for group in sorted(self._entries.keys() | stored.keys()):
            expected = b"".join(self._entries.get(group, []))
            if upto < self._size:
                expected = groups.within(expected, after, upto)
            if stored.get(group, b"") != expected:
                return group
        return ""


class _Rows:
    """The rows of a range, each compared with its bytes, hashed, and dropped."""

    def __init__(self, connection: Connection, query: RangeQuery) -> None:
        self._connection = connection
        self._query = query
        self.first_at = self.last_at = 0
        self.streams: list[bytes] = []  # of the events of the tile

    def tiles(self) -> Generator[list[bytes], None, None]:
        """Yield leaf hashes, a tile at a time. Raises _Unclean at the first wrong row."""
        with closing(copied(self._connection, COPY.format(self._query.after, self._query.upto))) as rows:
            yield from self._tiles(rows)

    def _tiles(self, rows: Iterator[bytes]) -> Iterator[list[bytes]]:
        sha256, fill_topic = hashlib.sha256, FILL_TOPIC.encode()
        needles: dict[bytes, bytes] = {}
        leaves: list[bytes] = []
        streams = self.streams
        expected, known_at, at_text = self._query.after, None, b""
        for row in rows:
            _, _, seq, _, version, _, at, length = _lengths(row)
            expected += 1
            place = _STREAM_AT + length
            stream = row[_STREAM_AT:place]
            (length,) = _length(row, place)
            topic = row[place + 4 : place + 4 + length]
            place += 4 + length
            (length,) = _length(row, place)
            key = row[place + 4 : place + 4 + length] if length >= 0 else None
            state = row[place + 8 + max(length, 0) :]
            if at != known_at:
                is_confirmed = topic == CLOCK_TOPIC
                if seq != expected or (known_at is not None and at < known_at and not is_confirmed):
                    raise _Unclean
                if known_at is None and not is_confirmed:
                    self.first_at = at
                known_at, at_text = at, _time_text(at)
            begin = b'{"stream":"%b","version":%d,"recorded_at":"%b","actor":"' % (stream, version, at_text)
            needle = needles.get(topic) or needles.setdefault(topic, b',"event":{"type":"%b"' % topic)
            event = state.find(b',"event":{"type":"', len(begin))
            is_right = seq == expected and state.startswith(begin) and state.startswith(needle, event)
            if topic == fill_topic and is_right:
                fill = _fill.decode(state).event
                is_right = key == fill.execution_key.encode()
            elif key is not None:
                is_right = False
            if not is_right:
                found = mismatch(stream=stream, version=version, at=at, topic=topic, key=key, state=state)
                if seq != expected or found:
                    raise _Unclean
            leaves.append(sha256(b"\x00" + state).digest())
            streams.append(stream)
            if len(leaves) == TILE_WIDTH:
                yield leaves
                leaves = []
                streams.clear()
        self.last_at = known_at or 0
        if leaves:
            yield leaves


def copied(connection: Connection, statement: str) -> Generator[bytes, None, None]:
    """Yield the rows of a binary COPY as bytes. The server sends one row per message."""
    server = connection.pgconn
    result = server.exec_(statement.encode())
    if result.status != ExecStatus.COPY_OUT:
        connection.execute("SELECT 1")  # raises if the connection is the problem
        raise HistoryBroken(f"the log cannot be read: {result.error_message.decode(errors='replace').strip()}")
    fetch = server.get_copy_data
    length, data = fetch(0)
    try:
        row = bytes(data)
        row = row[COPY_HEADER_BYTES:] if row.startswith(COPY_HEADER) else row
        while length > 0:
            if len(row) > COPY_TRAILER_BYTES:
                yield row
            length, data = fetch(0)
            row = bytes(data)
    finally:
        while length > 0:  # the rest must be received even if it is not used
            length, _ = fetch(0)
        problem = server.get_result()
        while server.get_result() is not None:
            pass
    if problem is not None and problem.status == ExecStatus.FATAL_ERROR:
        raise HistoryBroken(f"the log cannot be read: {problem.error_message.decode(errors='replace').strip()}")


def mismatch(stream: bytes, version: int, at: int, topic: bytes, key: bytes | None, state: bytes) -> str:
    """Describe the first column that differs from the stored bytes; empty if none does."""
    try:
        envelope = _envelope.decode(state)
        event_topic = _topic.decode(envelope.event).type
    except UNDECODABLE:
        return "its bytes are no record"
    expected_key = None
    if event_topic == FILL_TOPIC:
        try:
            fill = _fill.decode(state).event
        except UNDECODABLE:
            return "its bytes are no fill"
        expected_key = fill.execution_key
    recorded_at = EPOCH + timedelta(microseconds=at)
    columns: Sequence[tuple[str, Any, Any]] = (
        ("stream", stream.decode(errors="replace"), envelope.stream),
        ("version", version, envelope.version),
        ("recorded_at", recorded_at.isoformat(), envelope.recorded_at.isoformat()),
        ("topic", topic.decode(errors="replace"), event_topic),
        ("execution_key", None if key is None else key.decode(errors="replace"), expected_key),
    )
    return next((f"its {name} is {is_!r}, its bytes have {has!r}" for name, is_, has in columns if is_ != has), "")


def lost_before(note: Note, stored: int, restored: int) -> int:
    """Return the size of a missing checkpoint that was signed before this one; 0 if none is missing. `stored` is the
    size of the previous checkpoint that is there.
    """
    previous = checkpoints.previous_of(note)
    is_first_here = not stored and note.checkpoint.size == restored
    return 0 if previous is None or previous <= stored or is_first_here else previous


def topic_of(state: bytes) -> str:
    """Return the topic in a record's bytes."""
    return _topic.decode(_envelope.decode(state).event).type


def _time_text(micros: int) -> bytes:
    moment = EPOCH + timedelta(microseconds=micros)
    return moment.replace(tzinfo=None).isoformat().encode() + b"Z"
