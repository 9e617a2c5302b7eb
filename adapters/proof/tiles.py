"""Storage of the Merkle tree: read its tiles and keys, and extend it.

Leaf hashes are in the full tiles of level 0; those not in one yet are in the checkpoints that first covered them.
"""

from typing import NamedTuple
from uuid import UUID

from adapters.postgres.connections import Connection
from adapters.proof import checkpoints
from adapters.proof.checkpoints import Note, Tenure
from domain.errors import HistoryBroken, InvalidInput
from domain.sealed import merkle
from domain.sealed.merkle import HASH_BYTES, TILE_HEIGHT, TILE_WIDTH, Frontier

IDENTITY = "SELECT ledger_id FROM ledger.identity"
RESTORED = "SELECT restored_size FROM ledger.identity"
KEYS = "SELECT place, vkey, since_size, handover FROM ledger.keys ORDER BY place"
LATEST = "SELECT size, note FROM ledger.checkpoints ORDER BY size DESC LIMIT 1"
LATEST_UPTO = "SELECT size, note FROM ledger.checkpoints WHERE size <= %s ORDER BY size DESC LIMIT 1"
TILE = "SELECT hashes FROM ledger.tiles WHERE level = %s AND tile_index = %s"
ROOTS = "SELECT root FROM ledger.tiles WHERE level = %s AND tile_index >= %s AND tile_index < %s ORDER BY tile_index"
LEAVES = "SELECT leaves FROM ledger.checkpoints WHERE size > %s AND size <= %s ORDER BY size"
LEAVES_OF_EVENTS = """
SELECT count(*), min(notification_id), max(notification_id),
    string_agg(pg_catalog.sha256('\\x00'::bytea || state), ''::bytea ORDER BY notification_id)
FROM ledger.events WHERE notification_id > %s AND notification_id <= %s
"""  # hashed by the server, so that the bytes need not be sent
READ_EVENTS_MAX = 4096
TILES_CACHED_MAX = 64


def origin_of(ledger_id: UUID) -> str:
    """Return the name of a ledger in its checkpoints and of its keys."""
    return f"daybook/{ledger_id}"


def identity(connection: Connection) -> UUID | None:
    """Return the ledger's id; None before it is first sealed."""
    row = connection.execute(IDENTITY).fetchone()
    return row[0] if row else None


def restored_size(connection: Connection) -> int:
    """Return the size of the checkpoint that the ledger was restored from, its first one here; 0 if it never was."""
    row = connection.execute(RESTORED).fetchone()
    return row[0] if row else 0


def tenures(connection: Connection) -> list[Tenure]:
    """Return the published keys, oldest first. Raises HistoryBroken if one is damaged or missing."""
    found = []
    for number, (place, vkey, since, handover) in enumerate(connection.execute(KEYS).fetchall(), 1):
        if place != number:
            raise HistoryBroken(f"published key number {number} was removed; a backup, a bundle or an auditor has it")
        try:
            found.append(Tenure(checkpoints.public_key(vkey), since, handover))
        except InvalidInput as error:
            raise HistoryBroken(f"a published key is damaged: {error}; a backup or a bundle has it") from error
    return found


def latest(connection: Connection, size: int | None = None) -> Note | None:
    """Return the newest checkpoint, of at most `size` events if that is given.

    Raises HistoryBroken if it cannot be parsed.
    """
    row = connection.execute(LATEST if size is None else LATEST_UPTO, [] if size is None else [size]).fetchone()
    return stored_note(*row) if row else None


def stored_note(size: int, note: str) -> Note:
    """Parse a stored checkpoint. Raises HistoryBroken if it cannot be parsed, or is not of that size."""
    try:
        found = checkpoints.parse(note)
    except InvalidInput as error:
        raise HistoryBroken(f"checkpoint forged: that of {size} events is unreadable ({error.rule})") from error
    if found.checkpoint.size != size:
        raise HistoryBroken(f"checkpoint forged: that of {size} events states {found.checkpoint.size}")
    return found


class Tiles:
    """Reads tiles over a connection, and caches the ones read last."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._cached: dict[tuple[int, int], bytes] = {}

    def tile_at(self, level: int, index: int, width: int) -> bytes:
        """Return the first `width` hashes of a tile. Raises HistoryBroken if they are not all there."""
        hashes = self.full(level, index) or (self._edge(level, index, width) if width < TILE_WIDTH else b"")
        if len(hashes) < width * HASH_BYTES:
            first = (index << (TILE_HEIGHT * (level + 1))) + 1
            raise HistoryBroken(
                f"tile missing: {level}/{index}, of the events from seq {first} on; the events are not touched by it; "
                "put its row back from a backup (docs/backup.md)"
            )
        return hashes[: width * HASH_BYTES]

    def full(self, level: int, index: int) -> bytes:
        """Return the hashes of a full tile; empty if it is not there."""
        if (found := self._cached.pop((level, index), None)) is None:
            with self._connection.cursor(binary=True) as cursor:
                row = cursor.execute(TILE, [level, index], prepare=True).fetchone()
            if row is None:
                return b""
            found = bytes(row[0])
        self._cached[level, index] = found
        while len(self._cached) > TILES_CACHED_MAX:
            self._cached.pop(next(iter(self._cached)))
        return found

    def node_at(self, size: int) -> merkle.NodeAt:
        """Return the look-up of nodes in the tree of `size`."""
        return merkle.nodes_of(self.tile_at, size)

    def _edge(self, level: int, index: int, width: int) -> bytes:
        first = index * TILE_WIDTH
        tile = [first, first + TILE_WIDTH - 1]
        query, params = (LEAVES, tile) if level == 0 else (ROOTS, [level - 1, first, first + width])
        with self._connection.cursor(binary=True) as cursor:
            return b"".join(bytes(row[0]) for row in cursor.execute(query, params, prepare=True).fetchall())


class Tile(NamedTuple):
    """A row of `ledger.tiles`: a full tile."""

    level: int
    place: int
    hashes: bytes
    root: bytes


class Growth:
    """The right edge of the tree: the tile of each level that is not full yet, and those that just became full."""

    def __init__(self, size: int = 0, tiles: Tiles | None = None) -> None:
        self.size = size
        self.edges: list[list[bytes]] = []
        self.full: list[Tile] = []
        level = 0
        while (nodes := size >> (TILE_HEIGHT * level)) and tiles is not None:
            index, width = divmod(nodes, TILE_WIDTH)
            edge = tiles.tile_at(level, index, width) if width else b""
            self.edges.append([edge[at : at + HASH_BYTES] for at in range(0, len(edge), HASH_BYTES)])
            level += 1
        self._whole = Frontier()  # of full tiles of level 0
        for level in range(len(self.edges) - 1, 0, -1):
            for node in self.edges[level]:
                self._whole.add(node, TILE_HEIGHT * level)

    def extend(self, leaves: bytes) -> None:
        """Add leaves, given as concatenated hashes."""
        if not self.edges:
            self.edges.append([])
        at = 0
        while at < len(leaves):
            edge = self.edges[0]
            more = leaves[at : at + (TILE_WIDTH - len(edge)) * HASH_BYTES]
            edge += [more[start : start + HASH_BYTES] for start in range(0, len(more), HASH_BYTES)]
            at += len(more)
            self.size += len(more) // HASH_BYTES
            if len(edge) == TILE_WIDTH:
                self._close(0)

    def leaves(self, width: int) -> bytes:
        """Return the last `width` leaves of the level 0 tile that is not full."""
        return b"".join(self.edges[0][len(self.edges[0]) - width :]) if width else b""

    def root(self) -> bytes:
        """Return the root of the tree."""
        tree = self._whole.copy()
        for leaf in self.edges[0] if self.edges else ():
            tree.add(leaf)
        return tree.root()

    def pop_full(self) -> list[Tile]:
        """Return the tiles that became full since the last call."""
        full, self.full = self.full, []
        return full

    def _close(self, level: int) -> None:
        """Close a full tile, whose root becomes a node of the level above."""
        edge = self.edges[level]
        hashes = b"".join(edge)
        tile = Tile(level, (self.size >> (TILE_HEIGHT * (level + 1))) - 1, hashes, merkle.levels(hashes)[-1])
        edge.clear()
        self.full.append(tile)
        if level == 0:
            self._whole.add(tile.root, TILE_HEIGHT)
        if level + 1 == len(self.edges):
            self.edges.append([])
        above = self.edges[level + 1]
        above.append(tile.root)
        if len(above) == TILE_WIDTH:
            self._close(level + 1)


def grow(connection: Connection, growth: Growth, upto: int) -> None:
    """Add the leaves of the log's events up to `upto`. Raises HistoryBroken where one of them is missing."""
    while growth.size < upto:
        after = growth.size
        until = min(upto, after + READ_EVENTS_MAX)
        with connection.cursor(binary=True) as cursor:
            row = cursor.execute(LEAVES_OF_EVENTS, [after, until], prepare=True).fetchone()
        if row is None or row[:3] != (until - after, after + 1, until):
            raise HistoryBroken(f"missing: an event between seq {after} and {until}; run verify")
        growth.extend(row[3])
