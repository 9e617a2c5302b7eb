"""Groups of streams in checkpoints: the map that a checkpoint states in a line, and the stored entries it is made of.

The line is `daybook-groups <rule> <number of groups> <root in base64>`; `domain.sealed.groups` has the rule. The sealer
writes it from `ledger.group_runs`, which it adds to with each checkpoint, and builds from the log where they are
missing: in a ledger from before, or in one that was restored.
"""

import base64
import binascii
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby
from typing import NamedTuple

from adapters.postgres.connections import Connection
from adapters.proof.checkpoints import Note
from domain.errors import HistoryBroken, Unavailable
from domain.sealed.groups import (
    ENTRY_BYTES,
    RULE,
    GroupMap,
    GroupTree,
    Head,
    entries_of,
    group_of,
    leaves_of,
    seq_of,
    subtrees_between,
)
from domain.sealed.merkle import HASH_BYTES, TILE_HEIGHT, TILE_WIDTH, Frontier, levels

LINE = "daybook-groups "
COUNT_DIGITS_MAX = 19
READ_EVENTS_MAX = 4096
RUNS_FETCHED = 64
CATCH_UP_EVENTS = 65_536  # in one transaction, while the groups of a log from before are built

EVENTS = """
SELECT count(*), min(seq), max(seq), string_agg(leaf, ''::bytea ORDER BY seq),
    string_agg(int8send(seq) || leaf, ''::bytea ORDER BY seq),
    string_agg(pg_catalog.sha256('\\x00'::bytea || int8send(seq) || leaf), ''::bytea ORDER BY seq),
    array_agg(stream ORDER BY seq)
FROM (
    SELECT notification_id AS seq, originator_id AS stream, pg_catalog.sha256('\\x00'::bytea || state) AS leaf
    FROM ledger.events WHERE notification_id > %s AND notification_id <= %s ORDER BY notification_id
) AS hashed
"""  # hashed by the server, so that the bytes need not be sent
STORED = "SELECT coalesce(max(size), 0) FROM ledger.group_runs"
HEADS = """
WITH RECURSIVE groups AS (
    SELECT min(group_name) AS group_name FROM ledger.group_runs
    UNION ALL
    SELECT (SELECT min(group_name) FROM ledger.group_runs AS further WHERE further.group_name > groups.group_name)
    FROM groups WHERE groups.group_name IS NOT NULL
)
SELECT groups.group_name, run.upto, run.nodes FROM groups, LATERAL (
    SELECT upto, nodes FROM ledger.group_runs AS newest
    WHERE newest.group_name = groups.group_name AND newest.size <= %s ORDER BY newest.size DESC LIMIT 1
) AS run
"""
STORED_ENTRIES = """
SELECT group_name, entries FROM ledger.group_runs
WHERE size > %s AND size <= (SELECT min(size) FROM ledger.group_runs WHERE size >= %s) ORDER BY group_name, size
"""
ALL_TILE_ROOTS = """
SELECT group_name, tile_roots FROM ledger.group_runs WHERE tile_roots <> ''::bytea ORDER BY group_name, size
"""
STORE = "COPY ledger.group_runs (group_name, size, upto, entries, nodes, tile_roots) FROM STDIN (FORMAT BINARY)"
BEFORE = """
SELECT size, upto, nodes FROM ledger.group_runs WHERE group_name = %s AND size < %s ORDER BY size DESC LIMIT 2
"""
RUNS = """
SELECT size, upto, entries FROM ledger.group_runs WHERE group_name = %s AND size > %s AND size <= %s ORDER BY size
"""
LAST_RUNS = "SELECT upto, entries FROM ledger.group_runs WHERE group_name = %s AND size <= %s ORDER BY size DESC"
TILE_ROOTS = """
SELECT upto, tile_roots FROM ledger.group_runs
WHERE group_name = %s AND size >= %s AND size <= %s AND tile_roots <> ''::bytea ORDER BY size
"""


class Stated(NamedTuple):
    """The map that a checkpoint states: by which rule, of how many groups, and its root."""

    rule: int
    groups: int
    root: bytes

    def line(self) -> str:
        """Return its line in a checkpoint."""
        return f"{LINE}{self.rule} {self.groups} {base64.b64encode(self.root).decode()}"


def stated_by(note: Note) -> Stated | None:
    """Return the map that a checkpoint states; None if it has no such line, or one that cannot be read."""
    lines = [line.removeprefix(LINE) for line in note.checkpoint.lines if line.startswith(LINE)]
    parts = lines[0].split(" ") if len(lines) == 1 else []
    if len(parts) != 3 or not all(each.isascii() and each.isdecimal() for each in parts[:2]):
        return None
    if max(map(len, parts[:2])) > COUNT_DIGITS_MAX:
        return None
    try:
        root = base64.b64decode(parts[2], validate=True)
    except (binascii.Error, ValueError):
        return None
    found = Stated(int(parts[0]), int(parts[1]), root)
    return found if len(root) == HASH_BYTES and found.line() == LINE + lines[0] else None


# The sealer's side


class Entries(NamedTuple):
    """Entries of one group, one after the other, and the leaf hashes of these entries in the group's tree."""

    group: str
    joined: bytes
    leaves: bytes


class Read(NamedTuple):
    """Consecutive events: their leaf hashes one after the other, and their entries."""

    leaves: bytes
    entries: list[Entries]


def read(connection: Connection, after: int, until: int) -> Read:
    """Read the events with `after` < seq <= `until`. Raises HistoryBroken where one of them is missing."""
    with connection.cursor(binary=True) as cursor:
        row = cursor.execute(EVENTS, [after, until], prepare=True).fetchone()
    if row is None or row[:3] != (until - after, after + 1, until):
        raise HistoryBroken(f"missing: an event between seq {after} and {until}; run verify")
    _, _, _, leaves, joined, hashes, streams = row
    found, at = [], 0
    for group, run in groupby(map(group_of, streams)):
        end = at + sum(1 for _ in run)
        entries = joined[at * ENTRY_BYTES : end * ENTRY_BYTES]
        found.append(Entries(group, entries, hashes[at * HASH_BYTES : end * HASH_BYTES]))
        at = end
    return Read(leaves, found)


class Groups:
    """All groups up to `size` events, as the right edges of their trees, and what of them is not stored yet."""

    def __init__(self, size: int = 0, trees: dict[str, GroupTree] | None = None) -> None:
        self.size = size
        self._trees = trees or {}
        self._map = GroupMap(Head(group, tree.count, tree.root()) for group, tree in self._trees.items())
        self._runs: dict[str, list[Entries]] = {}

    def extend(self, entries: Iterable[Entries], events: int) -> None:
        """Add the entries of the next events, which are this many."""
        for run in entries:
            self._runs.setdefault(run.group, []).append(run)
        self.size += events

    def pop_runs(self) -> list[tuple[str, int, int, bytes, bytes, bytes]]:
        """Return the rows of what was added since the last call, and bring the map up to date."""
        rows, heads = [], []
        for group, runs in self._runs.items():
            tree = self._trees.setdefault(group, GroupTree())
            entries = b"".join([run.joined for run in runs])
            roots = tree.extend(b"".join([run.leaves for run in runs]))
            rows.append((group, self.size, tree.count, entries, b"".join(tree.nodes), b"".join(roots)))
            heads.append(Head(group, tree.count, tree.root()))
        self._runs = {}
        self._map.update(heads)
        return rows

    def stated(self) -> Stated:
        """Return the map for a checkpoint, of what `pop_runs` has returned."""
        assert not self._runs, "the map is of all events"
        return Stated(RULE, len(self._map), self._map.root())


def load(connection: Connection) -> Groups:
    """Return the groups as they are stored. Raises HistoryBroken if they are damaged."""
    size = stored_size(connection)
    return Groups(size, dict(_trees(connection, size)))


def _trees(connection: Connection, size: int) -> Iterator[tuple[str, GroupTree]]:
    with connection.cursor(binary=True) as cursor:
        for group, count, nodes in cursor.execute(HEADS, [size]).fetchall():
            yield group, GroupTree(count, _nodes(group, count, nodes))


def _nodes(group: str, count: int, joined: bytes) -> list[bytes]:
    if len(joined) != HASH_BYTES * count.bit_count():
        raise damaged(f"of {group}")
    return _hashes(joined)


def _hashes(joined: bytes) -> list[bytes]:
    return [joined[at : at + HASH_BYTES] for at in range(0, len(joined), HASH_BYTES)]


def store(connection: Connection, groups: Groups) -> None:
    """Store what was added to the groups since the last call."""
    with connection.cursor() as cursor, cursor.copy(STORE) as copy:
        copy.set_types(("text", "int8", "int8", "bytea", "bytea", "bytea"))
        for row in groups.pop_runs():
            copy.write_row(row)


def catch_up(connection: Connection, groups: Groups, upto: int) -> None:
    """Build the groups of the log's next events, up to `upto` at most, and store them in one transaction."""
    until = min(upto, groups.size + CATCH_UP_EVENTS)
    with connection.transaction():
        while groups.size < until:
            after = groups.size
            found = read(connection, after, min(until, after + READ_EVENTS_MAX))
            groups.extend(found.entries, len(found.leaves) // HASH_BYTES)
        store(connection, groups)


def check(groups: Groups, note: Note) -> None:
    """Check that the groups are those of a checkpoint, where it states them. Raises HistoryBroken."""
    stated = stated_by(note)
    if stated is not None and stated.rule == RULE and stated != groups.stated():
        raise damaged(f"of the checkpoint of {note.checkpoint.size} events")


def damaged(which: str) -> HistoryBroken:
    """Return the error for stored groups that are not those of the log."""
    return HistoryBroken(
        f"groups wrong: the stored entries {which} do not lead to the map that was signed; stop what seals, delete all "
        "rows of ledger.group_runs (they are made again from the log), and run verify"
    )


# The verifier's side


def stored_size(connection: Connection) -> int:
    """Return the place in the log up to which entries are stored."""
    row = connection.execute(STORED).fetchone()
    return int(row[0]) if row else 0


def stored_entries(connection: Connection, after: int, upto: int) -> dict[str, bytes]:
    """Return the stored entries with `after` < seq <= `upto` by group; `upto` is at most `stored_size`."""
    found: dict[str, list[bytes]] = {}
    with connection.cursor(binary=True) as cursor:
        for group, entries in cursor.execute(STORED_ENTRIES, [after, upto]):
            found.setdefault(group, []).append(within(entries, after, upto))
    return {group: joined for group, parts in found.items() if (joined := b"".join(parts))}


def within(entries: bytes, after: int, upto: int) -> bytes:
    """Return those of a group's entries with `after` < seq <= `upto`."""
    places = range(len(entries) // ENTRY_BYTES)
    seq_at = lambda place: seq_of(entries[place * ENTRY_BYTES : (place + 1) * ENTRY_BYTES])  # noqa: E731
    first, end = bisect_right(places, after, key=seq_at), bisect_right(places, upto, key=seq_at)
    return entries[first * ENTRY_BYTES : end * ENTRY_BYTES]


def wrong_edge(connection: Connection, trees: Mapping[str, GroupTree]) -> str:
    """Return a group whose stored nodes or tile roots are not those of its tree ; "" if there is none."""
    tiles: dict[str, Frontier] = {}
    with connection.cursor(binary=True) as cursor:
        heads = {row[0]: row[1:] for row in cursor.execute(HEADS, [stored_size(connection)]).fetchall()}
        for group, roots in cursor.execute(ALL_TILE_ROOTS):
            for root in _hashes(roots):
                tiles.setdefault(group, Frontier()).add(root)
    for group in sorted(trees.keys() | heads.keys()):
        tree = trees.get(group)
        if tree is None or heads.get(group) != (tree.count, b"".join(tree.nodes)):
            return group
        full = tiles.get(group, Frontier())
        if (full.size, full.nodes) != (tree.count >> TILE_HEIGHT, tree.nodes[: full.size.bit_count()]):
            return group
    return ""


# The exporter's side


def heads_at(connection: Connection, note: Note) -> GroupMap | None:
    """Return the map at a checkpoint; None if it states none by our rule. Raises HistoryBroken, Unavailable."""
    stated, size = stated_by(note), note.checkpoint.size
    if stated is None or stated.rule != RULE:
        return None
    if (stored := stored_size(connection)) < size:
        raise Unavailable(f"the groups of this ledger are being built (at {stored:,} of {size:,}); try again")
    found = GroupMap(Head(group, tree.count, tree.root()) for group, tree in _trees(connection, size))
    if (len(found), found.root()) != (stated.groups, stated.root):
        raise damaged(f"of the checkpoint of {size} events")
    return found


class Beside(NamedTuple):
    """What is beside a part of a group's entries: how many were `skipped` before it, and the roots of the perfect
    subtrees over what is before (`left`) and after it (`right`), each from the left.
    """

    skipped: int
    left: list[bytes]
    right: list[bytes]


class Cut:
    """A part of a group's entries, cut out of its head at a checkpoint of `size` events."""

    def __init__(self, connection: Connection, head: Head, size: int) -> None:
        self._connection = connection
        self._head = head
        self._size = size
        self._rest: list[bytes] = []  # entries after the part, to the end of their tile

    def write(self, write: Callable[[bytes], object], first: int, upto: int) -> Beside:
        """Write the entries with `first` <= seq <= `upto`, and the neighbour on each side; return what is beside them.

        Raises HistoryBroken where stored entries are missing.
        """
        base, tree = _before(self._connection, self._head.group, first)
        written, is_over, read_to = 0, False, base
        neighbour = b""
        with self._connection.transaction(), self._connection.cursor("entries_of_group", binary=True) as cursor:
            cursor.itersize = RUNS_FETCHED
            for size, _, joined in cursor.execute(RUNS, [self._head.group, base, self._size]):
                read_to = size
                if not is_over and not neighbour and first <= seq_of(joined) and seq_of(joined[-ENTRY_BYTES:]) <= upto:
                    write(joined)
                    written += len(joined) // ENTRY_BYTES
                    continue
                for each in entries_of(joined):
                    if is_over:
                        self._rest.append(each)
                    elif seq_of(each) < first:
                        for leaf in _hashes(leaves_of(neighbour)):
                            tree.add(leaf)
                        neighbour = each
                    else:
                        write(neighbour + each)
                        written += 2 if neighbour else 1
                        neighbour, is_over = b"", seq_of(each) > upto
                place = tree.size + written
                if is_over and place + len(self._rest) >= _tile_end(place):
                    break
        if neighbour:
            write(neighbour)
            written += 1
        return Beside(tree.size, list(tree.nodes), self._right(tree.size + written, read_to))

    def _right(self, place: int, read_to: int) -> list[bytes]:
        """Return the roots of the perfect subtrees over the entries from `place` to the end."""
        head, edge = self._head, self._rest[: _tile_end(place) - place]
        tiles = _tile_roots(self._connection, head.group, read_to, self._size)
        tail_start = head.count - head.count % TILE_WIDTH
        tail = _tail(self._connection, head, self._size, tail_start) if tail_start >= place else []
        found = []
        for level, index in subtrees_between(place, head.count):
            start, width = index << level, 1 << level
            if level >= TILE_HEIGHT:
                start, width = start >> TILE_HEIGHT, width >> TILE_HEIGHT
                below = b"".join(tiles.get(tile, b"") for tile in range(start, start + width))
            else:
                source, at = (tail, start - tail_start) if start >= tail_start >= place else (edge, start - place)
                below = leaves_of(b"".join(source[at : at + width]))
            if len(below) != width * HASH_BYTES:
                raise damaged(f"of {head.group}")
            found.append(levels(below)[-1])
        return found


def _before(connection: Connection, group: str, first: int) -> tuple[int, Frontier]:
    """Return a place in the log, and a group's tree there, with at least one of its entries between it and `first`."""
    with connection.cursor(binary=True) as cursor:
        rows = cursor.execute(BEFORE, [group, first]).fetchall()
    if len(rows) < 2:
        return 0, Frontier()
    size, upto, nodes = rows[1]
    return size, Frontier(upto, _nodes(group, upto, nodes))


def _tile_end(place: int) -> int:
    return -(-place // TILE_WIDTH) * TILE_WIDTH


def _tile_roots(connection: Connection, group: str, after: int, size: int) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    with connection.cursor(binary=True) as cursor:
        for upto, roots in cursor.execute(TILE_ROOTS, [group, after, size]):
            last = upto // TILE_WIDTH
            for at in range(0, len(roots), HASH_BYTES):
                found[last - (len(roots) - at) // HASH_BYTES] = roots[at : at + HASH_BYTES]
    return found


def _tail(connection: Connection, head: Head, size: int, start: int) -> list[bytes]:
    """Return a group's entries from `start` to its end, at most a tile."""
    found: list[bytes] = []
    with connection.transaction(), connection.cursor("tail_of_group", binary=True) as cursor:
        cursor.itersize = 16
        for upto, joined in cursor.execute(LAST_RUNS, [head.group, size]):
            if upto <= start:
                break
            found = entries_of(joined) + found
    return found[len(found) - (head.count - start) :] if head.count > start else []
