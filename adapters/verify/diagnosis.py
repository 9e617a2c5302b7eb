"""Diagnose a log that fails verification: find the first seq that differs from what was signed, and what was done.

Reads the events one by one from a size that a signed checkpoint proves. If an event and its stored hash differ, the
next checkpoint decides: if the tree over the events has the signed root, the stored hash was changed, else the event.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple

from adapters.postgres.connections import Connection
from adapters.proof import checkpoints, tiles
from adapters.proof.tiles import Tiles
from adapters.verify.range_check import CHECKPOINTS, CLOCK_TOPIC, RangeQuery, lost_before, mismatch
from domain.errors import HistoryBroken
from domain.sealed.merkle import HASH_BYTES, TILE_WIDTH, Frontier, leaf_hash, levels, tile_width

ROWS = """
SELECT notification_id, originator_id::bytea, originator_version, topic::bytea, execution_key::bytea, state,
    (extract(epoch FROM recorded_at - timestamptz '2000-01-01 00:00:00Z') * 1000000)::bigint
FROM ledger.events WHERE notification_id > %s ORDER BY notification_id
"""
ROW_STATE = "SELECT state FROM ledger.events WHERE notification_id = %s"
TILE_ROOT = "SELECT root FROM ledger.tiles WHERE level = 0 AND tile_index = %s"
TILE_WITH = """
SELECT tile_index, hashes FROM ledger.tiles WHERE level = 0 AND position(%s::bytea IN hashes) > 0 ORDER BY tile_index
"""
EDGE_WITH = """
SELECT size, leaves FROM ledger.checkpoints WHERE position(%s::bytea IN leaves) > 0 ORDER BY size
"""
FETCH_ROWS = 2000


class Fault(StrEnum):
    """A kind of fault in the log."""

    ALTERED = "altered"
    MISSING = "missing"
    INSERTED = "inserted"
    REORDERED = "reordered"
    TRUNCATED = "truncated"
    TILE = "tile wrong"
    FORGED = "checkpoint forged"
    MAP = "map wrong"
    GROUPS = "groups wrong"
    REWRITTEN = "rewritten"
    KEYS = "keys disagree"


class Finding(NamedTuple):
    """The first fault: at `seq`, or somewhere from `seq` to `upto` if that is all that can be known."""

    fault: Fault
    seq: int
    upto: int
    detail: str

    def __str__(self) -> str:
        place = f"seq {self.seq}" if self.seq == self.upto else f"seq {self.seq} to {self.upto}"
        return f"{self.fault} at {place}: {self.detail}"


class Row(NamedTuple):
    """A row of the log, undecoded; `at` in microseconds since 2000."""

    seq: int
    stream: bytes
    version: int
    topic: bytes
    key: bytes | None
    state: bytes
    at: int


class Good(NamedTuple):
    """The proved prefix of the log: up to the checkpoint of `size`; `tree` is over the full tiles before it."""

    size: int
    tree: Frontier


class Pending(NamedTuple):
    """An event that differs from its stored hash, until a checkpoint decides which of them is right."""

    seq: int
    leaf: bytes


def diagnose(connection: Connection, query: RangeQuery, good: Good, last_at: int) -> Finding | None:
    """Return the first fault after the proved prefix; None if there is none. `last_at` is its last recorded_at."""
    return _Diagnosis(connection, query, good, last_at).run()


class _Diagnosis:
    def __init__(self, connection: Connection, query: RangeQuery, good: Good, last_at: int) -> None:
        self._connection = connection
        self._query = query
        self._tiles = Tiles(connection)
        self._tree = good.tree.copy()
        self._good = good.size
        self._last_at = last_at
        self._pending: Pending | None = None
        self._stored: list[bytes] = []  # of the current tile
        self._leaves: list[bytes] = []  # of the current tile, hashed from the events
        with connection.cursor(binary=True) as cursor:
            rows = cursor.execute(CHECKPOINTS, [good.size, query.sealed]).fetchall()
        self._checkpoints: Iterator[tuple[int, str, bytes]] = iter(rows)
        self._next = next(self._checkpoints, None)

    def run(self) -> Finding | None:
        expected = self._tree.size + 1
        with self._connection.transaction(), self._connection.cursor("diagnosed", binary=True) as cursor:
            cursor.itersize = FETCH_ROWS
            for columns in cursor.execute(ROWS, [self._tree.size]):
                if finding := self._row(Row(*columns), expected):
                    return finding
                expected += 1
        if expected <= self._query.sealed:
            sealed = self._query.sealed
            return self._earlier() or Finding(
                Fault.TRUNCATED, expected, sealed,
                f"the log ends at seq {expected - 1}, and a checkpoint of {sealed} events was signed",
            )  # fmt: skip
        return self._earlier()

    def _row(self, row: Row, expected: int) -> Finding | None:
        """Return the fault that a row reveals, if any."""
        if row.seq > expected:
            return self._earlier() or Finding(
                Fault.MISSING, expected, row.seq - 1, f"the log goes on with seq {row.seq}"
            )
        if row.seq < expected:
            return self._earlier() or Finding(Fault.INSERTED, row.seq, row.seq, "there are two events of this seq")
        leaf = leaf_hash(row.state)
        if row.seq <= self._query.sealed and (finding := self._against_stored(row.seq, leaf)):
            return finding
        if self._pending is None:
            why = mismatch(
                stream=row.stream, version=row.version, at=row.at, topic=row.topic, key=row.key, state=row.state
            )
            if not why and row.at < self._last_at and row.topic != CLOCK_TOPIC:
                why = "it was recorded before its predecessor"
            if why:  # or the event that was here has moved down, which its bytes alone do not show
                return self._moved_down(row.seq) or Finding(Fault.ALTERED, row.seq, row.seq, why)
        self._last_at = row.at if row.topic == CLOCK_TOPIC else max(self._last_at, row.at)
        self._tree.add(leaf)
        self._leaves.append(leaf)
        return self._at_checkpoint(row.seq) or self._at_tile_end(row.seq)

    def _against_stored(self, seq: int, leaf: bytes) -> Finding | None:
        """Remember the first event that differs from its stored hash. A missing tile is a fault at once."""
        index, place = divmod(seq - 1, TILE_WIDTH)
        if place == 0 or not self._stored:
            width = tile_width(0, index, self._query.sealed)
            try:
                hashes = self._tiles.tile_at(0, index, width)
            except HistoryBroken as error:
                last = index * TILE_WIDTH + width
                return self._earlier() or Finding(Fault.TILE, index * TILE_WIDTH + 1, last, str(error))
            self._stored = [hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES)]
        if self._pending is None and self._stored[place] != leaf:
            self._pending = Pending(seq, leaf)
        return None

    def _at_checkpoint(self, size: int) -> Finding | None:
        """Compare everything before a checkpoint with it."""
        if self._next is None or self._next[0] != size:
            return None
        _, text, leaves = self._next
        self._next = next(self._checkpoints, None)
        try:
            note = tiles.stored_note(size, text)
        except HistoryBroken as error:
            return self._earlier() or Finding(Fault.FORGED, size, size, str(error).removeprefix("checkpoint forged: "))
        key = checkpoints.signer_of(list(self._query.chain), size)
        if note.checkpoint.origin != self._query.origin:
            detail = f"the checkpoint of {size} events is of {note.checkpoint.origin}, not of {self._query.origin}"
            return self._earlier() or Finding(Fault.FORGED, size, size, detail)
        if not note.is_signed_by(key):
            detail = f"the checkpoint of {size} events is not signed by {key.vkey}"
            return self._earlier() or Finding(Fault.FORGED, size, size, detail)
        if self._tree.root() != note.checkpoint.root:
            detail = (
                f"the events do not lead to the checkpoint of {size} events; the stored hashes were changed as well"
            )
            return self._earlier() or Finding(Fault.ALTERED, self._good + 1, size, detail)
        before, since, self._good = self._good, max(self._good, size - size % TILE_WIDTH), size
        if self._pending is not None:
            seq = self._pending.seq
            return Finding(
                Fault.TILE, seq, seq, f"the stored hash of seq {seq} is not that of the event, which is intact"
            )
        if lost := lost_before(note, before, self._query.restored):
            detail = f"the checkpoint of {lost} events was removed: that of {size} was signed after it"
            return Finding(Fault.FORGED, lost, lost, detail)
        if bytes(leaves) != b"".join(self._leaves[since % TILE_WIDTH :] if size % TILE_WIDTH else []):
            detail = f"the hashes kept with the checkpoint of {size} events are not those of the events"
            return Finding(Fault.TILE, min(since + 1, size), size, detail)
        return None

    def _at_tile_end(self, seq: int) -> Finding | None:
        """Check that the stored root of a full tile is that of its hashes."""
        if seq % TILE_WIDTH:
            return None
        stored, self._stored, self._leaves = self._stored, [], []
        if seq > self._query.sealed or self._pending is not None:
            return None
        index = seq // TILE_WIDTH - 1
        row = self._connection.execute(TILE_ROOT, [index]).fetchone()
        if row is None or bytes(row[0]) != levels(b"".join(stored))[-1]:
            first = index * TILE_WIDTH + 1
            return Finding(Fault.TILE, first, seq, f"the root of tile 0/{index} is not that of its hashes")
        return None

    def _earlier(self) -> Finding | None:
        """Return the fault of an earlier event that differs from its stored hash, now that another fault is met."""
        return None if self._pending is None else self._classified(self._pending)

    def _classified(self, pending: Pending) -> Finding:
        """Classify the first event that differs from what was sealed, by comparing it and the next with the hashes."""
        seq = pending.seq
        place = self._place_of(pending.leaf)
        if moved := self._moved_down(seq):
            return moved
        if place is None or place == seq:
            return Finding(Fault.ALTERED, seq, seq, "its bytes are not those that were sealed")
        there = self._leaf(place)
        if there == self._sealed(seq):
            return Finding(Fault.REORDERED, seq, seq, f"it holds the event sealed at seq {place}, which holds its")
        is_last = place == self._query.sealed and there != pending.leaf  # of what moved up behind it, nothing is sealed
        if place > seq and (is_last or self._leaf(seq + 1) == self._sealed(place + 1)):
            return Finding(Fault.MISSING, seq, place - 1, f"the event sealed at seq {place} has moved up to seq {seq}")
        if there == pending.leaf:
            return Finding(Fault.ALTERED, seq, seq, f"a copy of the event of seq {place} stands in its place")
        return Finding(Fault.REORDERED, seq, seq, f"it holds the event sealed at seq {place}")

    def _moved_down(self, seq: int) -> Finding | None:
        """Return INSERTED if the events sealed at this seq and after it are now one seq further down."""
        following = self._leaf(seq + 1)
        if following is None or following != self._sealed(seq):
            return None
        is_edge = seq == self._query.sealed  # of what was moved behind it, nothing is sealed
        if not is_edge and self._leaf(seq + 2) != self._sealed(seq + 1):
            return None
        return Finding(Fault.INSERTED, seq, seq, f"the event sealed at seq {seq} has moved down to seq {seq + 1}")

    def _leaf(self, seq: int) -> bytes | None:
        with self._connection.cursor(binary=True) as cursor:
            row = cursor.execute(ROW_STATE, [seq]).fetchone()
        return leaf_hash(row[0]) if row else None

    def _sealed(self, seq: int) -> bytes | None:
        """Return the stored leaf hash of a seq."""
        if not 0 < seq <= self._query.sealed:
            return None
        index, place = divmod(seq - 1, TILE_WIDTH)
        try:
            hashes = self._tiles.tile_at(0, index, place + 1)
        except HistoryBroken:
            return None
        return hashes[-HASH_BYTES:]

    def _place_of(self, leaf: bytes) -> int | None:
        """Return the seq that was sealed with this leaf hash."""
        with self._connection.cursor(binary=True) as cursor:
            for index, hashes in cursor.execute(TILE_WITH, [leaf]):
                if (at := _position(bytes(hashes), leaf)) is not None:
                    return int(index) * TILE_WIDTH + at + 1
            for size, leaves in cursor.execute(EDGE_WITH, [leaf]):
                if (at := _position(bytes(leaves), leaf)) is not None:
                    return int(size) - len(leaves) // HASH_BYTES + at + 1
        return None


def _position(hashes: bytes, leaf: bytes) -> int | None:
    return next(
        (at // HASH_BYTES for at in range(0, len(hashes), HASH_BYTES) if hashes[at : at + HASH_BYTES] == leaf), None
    )
