"""Verification: recompute every hash from the stored bytes, and return what is proved, or the first fault.

The log is cut into ranges, which several processes check at full speed (`adapters.verify.range_check`); their hashes
are combined into one tree here, and compared with every signed checkpoint. Only an unclean range is diagnosed event by
event (`adapters.verify.diagnosis`). Memory does not grow with the log.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import NamedTuple
from uuid import UUID

from adapters.postgres.connections import Connection, Role, connect, reaching
from adapters.proof import checkpoints, key_record, tiles
from adapters.proof.checkpoints import Note, Pin, PublicKey, Tenure
from adapters.proof.key_record import KeyOnRecord
from adapters.proof.tiles import Tiles
from adapters.verify.check_workers import checkers
from adapters.verify.diagnosis import Fault, Finding, Good, diagnose
from adapters.verify.map_check import MapCheck
from adapters.verify.range_check import CheckedRange, RangeQuery, check, unchecked_range
from domain.errors import HistoryBroken
from domain.sealed.merkle import EMPTY_ROOT, HASH_BYTES, TILE_HEIGHT, TILE_WIDTH, Frontier, levels

RANGE_EVENTS = 32_768  # a multiple of 256
WORKERS_MAX = 4
SHARE_RANGES = 2  # a worker process pays off from this number on
STATEMENT_SECONDS_MAX = 6 * 3600

HEAD = "SELECT coalesce(max(notification_id), 0) FROM ledger.events"
STREAMS = """
SELECT notification_id, originator_id, originator_version, place FROM (
    SELECT notification_id, originator_id, originator_version, row_number() OVER versions AS place,
        lag(notification_id) OVER versions AS before
    FROM ledger.events WINDOW versions AS (PARTITION BY originator_id ORDER BY originator_version)
) AS numbered
WHERE originator_version <> place OR before >= notification_id ORDER BY notification_id LIMIT 1
"""
TILE_ROOTS = (
    "SELECT root FROM ledger.tiles WHERE level = 0 AND tile_index >= %s AND tile_index < %s ORDER BY tile_index"
)
TILE_COUNTS = "SELECT level, count(*), max(tile_index) FROM ledger.tiles GROUP BY level ORDER BY level"
UPPER = "SELECT tile_index, hashes, root FROM ledger.tiles WHERE level = %s AND tile_index >= %s ORDER BY 1 LIMIT 64"
CHILDREN = """
SELECT root FROM ledger.tiles WHERE level = %s AND tile_index >= %s AND tile_index < %s ORDER BY tile_index
"""

OnProgress = Callable[[int, int], None]  # events checked, of how many


class Verified(NamedTuple):
    """The result. Without a `finding`, events `first` to `last` are as signed, up to the size `sealed`."""

    ledger_id: UUID | None
    first: int
    last: int
    sealed: int
    root: bytes
    checkpoints: int
    keys: tuple[Tenure, ...]
    against: tuple[int, ...]
    finding: Finding | None
    keys_on_record: tuple[int, ...] = ()  # the seq of each key's event; none in a ledger of an earlier Daybook
    maps: int = 0  # checkpoints whose map of groups was compared with the events


class VerifyRequest(NamedTuple):
    """The scope of a verification: the events `first` to `upto` (None: to the end), a trusted key, and checkpoints kept
    elsewhere to compare with. `pins` are keys trusted besides."""

    first: int = 1
    upto: int | None = None
    trusted: PublicKey | None = None
    against: Sequence[Note] = ()
    pins: Sequence[Pin] = ()


EVERYTHING = VerifyRequest()


def verify(
    url: str,
    request: VerifyRequest = EVERYTHING,
    *,
    on_progress: OnProgress = lambda *_: None,
    workers: int | None = None,
    range_events: int = RANGE_EVENTS,
) -> Verified:
    """Verify a database, in several processes if the log is long. Read-only.

    Raises Unavailable; HistoryBroken for keys and checkpoints that cannot be of this ledger.
    """
    with reaching(url), ExitStack() as stack:
        connection = stack.enter_context(connect(url, Role.AUDITOR, statement_seconds_max=STATEMENT_SECONDS_MAX))
        head = _one(connection, HEAD)
        count = min(workers or os.cpu_count() or 1, WORKERS_MAX, head // (SHARE_RANGES * range_events))
        if count <= 1:
            return verify_on(connection, request, on_progress=on_progress, range_events=range_events)
        processes = stack.enter_context(checkers(url, count))
        executor = stack.enter_context(ThreadPoolExecutor(1))
        streams = executor.submit(_streams_of, url)
        check_ranges = processes.check
        return _Verification(connection, request, check_ranges, on_progress, range_events=range_events).run(
            streams.result
        )


def verify_on(
    connection: Connection,
    request: VerifyRequest = EVERYTHING,
    *,
    on_progress: OnProgress = lambda *_: None,
    range_events: int = RANGE_EVENTS,
) -> Verified:
    """Verify over one connection, in this process: sees what the connection's transaction sees."""
    one_by_one: Checker = lambda queries: (check(connection, query) for query in queries)  # noqa: E731
    verification = _Verification(connection, request, one_by_one, on_progress, range_events=range_events)
    return verification.run(lambda: _streams(connection))


Checker = Callable[[Iterable[RangeQuery]], Iterator[CheckedRange]]


class _Verification:
    def __init__(
        self,
        connection: Connection,
        request: VerifyRequest,
        checker: Checker,
        on_progress: OnProgress,
        *,
        range_events: int,
    ) -> None:
        self._connection = connection
        self._request = request
        self._checker = checker
        self._on_progress = on_progress
        self._range_events = range_events
        self._head = _one(connection, HEAD)
        self._ledger_id = tiles.identity(connection)
        self._origin = tiles.origin_of(self._ledger_id) if self._ledger_id else ""
        self._restored = tiles.restored_size(connection)
        newest = connection.execute("SELECT size, note FROM ledger.checkpoints ORDER BY size DESC LIMIT 1").fetchone()
        self._sealed: int = newest[0] if newest else 0
        self._newest = newest
        self._chain: tuple[Tenure, ...] = ()
        if newest or request.trusted or request.against or request.pins:
            known = tiles.tenures(connection)
            for note in request.against:
                self._check_kept(note, known)
            pins = [*request.pins, *checkpoints.pins_of(request.against, known)]
            chain = checkpoints.check_succession(
                known, self._origin, request.trusted, pins=pins, size=self._sealed or None
            )
            self._chain = tuple(chain)
        self._kept_notes = [*request.against, *checkpoints.handovers(self._chain, self._origin)]
        upto = self._head if request.upto is None else min(request.upto, self._head)
        self._is_whole = request.first <= 1 and upto == self._head
        self._after = min(max(request.first - 1, 0), self._sealed) // TILE_WIDTH * TILE_WIDTH
        self._upto = upto if upto == self._head else min(-(-upto // TILE_WIDTH) * TILE_WIDTH, self._head)
        self._tree = Frontier()
        self._good = Good(0, self._tree.copy())
        self._last_at = self._good_at = 0
        self._wanted = {self._sealed, *(note.checkpoint.size for note in self._kept_notes)}
        self._roots: dict[int, bytes] = {0: EMPTY_ROOT}
        self._checkpoints = 0
        self._groups = MapCheck(connection, self._sealed) if not self._after else None

    def run(self, streams: Callable[[], Finding | None]) -> Verified:
        """Verify everything; `streams` checks the versions of streams."""
        finding = self._nothing_sealed() or self._events() or self._shortened() or self._kept() or self._upper_tiles()
        if finding is None and self._groups is not None:
            finding = self._groups.outlived()
        if finding is None and self._is_whole:
            finding = streams()
        recorded = key_record.on_record(self._connection) if finding is None else []
        finding = finding or self._keys(recorded)
        return Verified(
            ledger_id=self._ledger_id,
            first=self._after + 1,
            last=self._upto,
            sealed=self._sealed,
            root=self._roots.get(self._sealed, b""),
            checkpoints=self._checkpoints,
            keys=self._chain,
            against=tuple(note.checkpoint.size for note in self._request.against),
            finding=finding,
            keys_on_record=tuple(seq for seq, _ in recorded),
            maps=self._groups.maps if self._groups is not None else 0,
        )

    def _keys(self, recorded: Sequence[KeyOnRecord]) -> Finding | None:
        """Compare the published keys with those on record in the log."""
        found = key_record.disagreement(
            self._chain, dict(enumerate(recorded, 1)), self._origin, is_complete=True
        ) if self._chain else None  # fmt: skip
        return found and Finding(Fault.KEYS, found[0], found[0], found[1])

    def _check_kept(self, note: Note, known: Sequence[Tenure]) -> None:
        """Check that a checkpoint kept elsewhere is of this ledger. Raises HistoryBroken."""
        origin, size = note.checkpoint.origin, note.checkpoint.size
        if origin != self._origin:
            raise HistoryBroken(
                f"the checkpoint is of another ledger: {origin}, and this is {self._origin or 'unnamed'}; take one of "
                "this ledger, or verify the other"
            )
        if not any(note.is_signed_by(tenure.key) for tenure in known):
            newest = f", of which the newest is {known[-1].key.vkey}" if known else ""
            raise HistoryBroken(
                f"wrong key: the checkpoint of {size} events is signed by none of this ledger's keys{newest}; it is "
                "forged, or its key was begun with --lost in another copy"
            )

    def _nothing_sealed(self) -> Finding | None:
        if self._sealed or not self._head:
            return None
        detail = (
            "no checkpoint was ever signed of these events, or all were removed; `daybook serve` seals what it finds"
        )
        return Finding(Fault.FORGED, 1, self._head, detail)

    def _events(self) -> Finding | None:
        """Check the events, their stored hashes and the checkpoints, in sequence; return the first fault."""
        for checked in self._ranges():
            is_before = bool(checked.first_at) and checked.first_at < self._last_at
            if not checked.is_clean or is_before or not self._add(checked):
                return self._diagnosed(checked)
            if self._groups is not None and (finding := self._groups.add(checked)):
                return finding
            if checked.last_at:
                self._last_at = checked.last_at
            self._on_progress(
                min(max(self._tree.size - self._after, 0), self._upto - self._after), self._upto - self._after
            )
        return None

    def _ranges(self) -> Iterator[CheckedRange]:
        """Yield the ranges: checked if they are to be checked, else as their hashes are stored."""
        yield from self._as_stored(0, self._after)
        yield from self._checker(self._queries())
        if self._upto < self._head:
            yield from self._as_stored(self._upto, self._sealed)

    def _queries(self) -> Iterator[RangeQuery]:
        kept = sorted({note.checkpoint.size for note in self._kept_notes})
        for after in range(self._after, self._upto, self._range_events):
            upto = min(after + self._range_events, self._upto)
            sizes = tuple(size for size in kept if after < size <= upto)
            yield self._query(after, upto, sizes)

    def _as_stored(self, after: int, upto: int) -> Iterator[CheckedRange]:
        """Yield ranges with their stored hashes, unchecked: the next checkpoint shows whether they are right."""
        store = Tiles(self._connection)
        for start in range(after, upto, self._range_events):
            end = min(start + self._range_events, upto)
            first, last = start // TILE_WIDTH, end // TILE_WIDTH
            roots = tuple(bytes(row[0]) for row in self._connection.execute(TILE_ROOTS, [first, last]).fetchall())
            edge = Frontier()
            if len(roots) == last - first and end % TILE_WIDTH:
                hashes = store.tile_at(0, last, end % TILE_WIDTH)
                for at in range(0, len(hashes), HASH_BYTES):
                    edge.add(hashes[at : at + HASH_BYTES])
            is_clean = len(roots) == last - first
            yield unchecked_range(start, end - start, roots, tuple(edge.nodes), is_clean=is_clean)

    def _add(self, checked: CheckedRange) -> bool:
        """Add a range to the tree; return whether every checkpoint in it states the tree's root."""
        stated = deque(checked.stated)
        self._checkpoints += checked.checkpoints
        for root in (*checked.roots, None):
            end = self._tree.size + TILE_WIDTH
            while stated and stated[0].size < end:
                size, claimed, nodes = stated.popleft()
                if not self._is_stated(Frontier(size, [*self._tree.nodes, *nodes]), claimed):
                    return False
            if root is None:
                break
            self._tree.add(root, TILE_HEIGHT)
            if stated and stated[0].size == end and not self._is_stated(self._tree, stated.popleft().root):
                return False
        rest = checked.events % TILE_WIDTH
        if checked.after + checked.events == self._sealed:
            tree = Frontier(self._sealed, [*self._tree.nodes, *checked.edge]) if rest else self._tree
            return self._newest is not None and self._is_stated(tree, tiles.stored_note(*self._newest).checkpoint.root)
        return True

    def _is_stated(self, tree: Frontier, claimed: bytes | None) -> bool:
        root = tree.root()
        if tree.size in self._wanted:
            self._roots[tree.size] = root
        if claimed is not None and claimed == root:
            self._good, self._good_at = Good(tree.size, self._tree.copy()), self._last_at
        return claimed is None or claimed == root

    def _query(self, after: int, upto: int, sizes: tuple[int, ...] = ()) -> RangeQuery:
        return RangeQuery(
            after=after,
            upto=upto,
            sealed=self._sealed,
            origin=self._origin,
            chain=self._chain,
            sizes=sizes,
            restored=self._restored,
            grouped=self._groups.stored if self._groups is not None else 0,
            needs_groups=self._groups is not None,
        )

    def _diagnosed(self, checked: CheckedRange) -> Finding:
        """Return the first fault after the proved prefix."""
        found = diagnose(self._connection, self._query(0, self._head), self._good, self._good_at)
        detail = "the stored hashes do not lead to what was signed, while the events do"
        return found or Finding(Fault.TILE, self._good.size + 1, max(self._sealed, checked.after + 1), detail)

    def _shortened(self) -> Finding | None:
        if self._head >= self._sealed or self._upto < self._head:
            return None
        detail = f"the log ends at seq {self._head}, and a checkpoint of {self._sealed} events was signed"
        return Finding(Fault.TRUNCATED, self._head + 1, self._sealed, detail)

    def _kept(self) -> Finding | None:
        """Compare with the checkpoints kept elsewhere."""
        good = 0
        for note in sorted(self._kept_notes, key=lambda each: each.checkpoint.size):
            size, root = note.checkpoint.size, note.checkpoint.root
            if size > self._head:
                detail = (
                    f"the checkpoint is of {size} events and the log has {self._head}: events were removed from its "
                    "end, or an older backup was restored; a newer one may have them (docs/backup.md)"
                )
                return Finding(Fault.TRUNCATED, self._head + 1, size, detail)
            if self._roots.get(size, root if not self._is_whole else b"") != root:
                detail = f"history is not what it was when the checkpoint of {size} events was signed"
                return Finding(Fault.REWRITTEN, good + 1, size, detail)
            good = size
        return None

    def _upper_tiles(self) -> Finding | None:
        """Check that the tiles of higher levels are complete, and match the tiles below them."""
        counts = {level: (count, last) for level, count, last in self._connection.execute(TILE_COUNTS).fetchall()}
        level = 0
        while (expected := self._sealed >> (TILE_HEIGHT * (level + 1))) or level in counts:
            count, last = counts.get(level, (0, -1))
            span = TILE_WIDTH << (TILE_HEIGHT * level)
            if last >= expected:
                detail = f"tile {level}/{last} covers more than the newest checkpoint: checkpoints were removed"
                return Finding(Fault.FORGED, self._sealed + 1, max(self._sealed + 1, (last + 1) * span), detail)
            if count < expected:
                present = self._connection.execute("SELECT tile_index FROM ledger.tiles WHERE level = %s", [level])
                gone = min(set(range(expected)) - {row[0] for row in present})
                return Finding(Fault.TILE, gone * span + 1, (gone + 1) * span, f"tile {level}/{gone} is missing")
            if level and (wrong := self._wrong_upper(level, expected)) is not None:
                detail = f"tile {level}/{wrong} is not that of the tiles below it"
                return Finding(Fault.TILE, wrong * span + 1, (wrong + 1) * span, detail)
            level += 1
        return None

    def _wrong_upper(self, level: int, expected: int) -> int | None:
        after = 0
        while after < expected:
            for index, hashes, root in self._connection.execute(UPPER, [level, after]).fetchall():
                first = index * TILE_WIDTH
                children = self._connection.execute(CHILDREN, [level - 1, first, first + TILE_WIDTH]).fetchall()
                if b"".join(bytes(row[0]) for row in children) != hashes or levels(hashes)[-1] != root:
                    return int(index)
                after = index + 1
        return None


def _streams(connection: Connection) -> Finding | None:
    """Find the first event whose version does not continue its stream."""
    row = connection.execute(STREAMS).fetchone()
    if row is None:
        return None
    seq, stream, version, place = row
    detail = f"it is version {version} of {stream}, and number {place} of its events, or before an earlier version"
    return Finding(Fault.ALTERED, seq, seq, detail)


def _streams_of(url: str) -> Finding | None:
    with reaching(url), connect(url, Role.AUDITOR, statement_seconds_max=STATEMENT_SECONDS_MAX) as connection:
        return _streams(connection)


def _one(connection: Connection, query: str) -> int:
    row = connection.execute(query).fetchone()
    return int(row[0]) if row else 0
