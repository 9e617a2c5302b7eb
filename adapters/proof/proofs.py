"""Proofs out of the stored tiles: that an event is in the log that was signed, and that one state continues another."""

from typing import NamedTuple

from adapters.postgres.pool import Pool
from adapters.proof import tiles
from adapters.proof.checkpoints import Note, Tenure
from adapters.proof.tiles import Growth, Tiles
from domain import merkle
from domain.errors import LedgerError, RequestRefused

CHECKPOINTS = "SELECT size, note FROM ledger.checkpoints WHERE size > %s ORDER BY size LIMIT %s"
EVENTS = """
SELECT notification_id, state FROM ledger.events
WHERE notification_id > %s AND notification_id <= %s ORDER BY notification_id
"""
READ_EVENTS_MAX = 4096


class NotSealed(LedgerError):
    """No checkpoint covers as many events as are asked for (`wanted`) yet."""

    def __init__(self, sealed: int, wanted: int) -> None:
        self.wanted = wanted
        super().__init__(f"the newest checkpoint is of {sealed} events, not yet of {wanted}; ask again")


class Inclusion(NamedTuple):
    """The event of `seq` is leaf `seq - 1` of the tree of `size`: its hash and the way from there to the root."""

    seq: int
    size: int
    leaf: bytes
    proof: list[bytes]
    root: bytes


class Consistency(NamedTuple):
    """The tree of `old` events begins that of `new`."""

    old: int
    new: int
    old_root: bytes
    new_root: bytes
    proof: list[bytes]


class Proofs:
    """Reads over connections that are lent. Raises HistoryBroken where tiles are missing."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def latest(self) -> tuple[Note, str] | None:
        """The newest checkpoint, and its text; None before there is one."""
        with self._pool.connection() as connection:
            row = connection.execute(tiles.LATEST).fetchone()
        return (tiles.stored_note(*row), row[1]) if row else None

    def checkpoints(self, *, after: int, limit: int) -> list[tuple[int, str]]:
        """Checkpoints of more than `after` events, by size: size and note."""
        with self._pool.connection() as connection:
            return [(size, note) for size, note in connection.execute(CHECKPOINTS, [after, limit]).fetchall()]

    def keys(self) -> list[Tenure]:
        """The public keys, oldest first."""
        with self._pool.connection() as connection:
            return tiles.tenures(connection)

    def inclusion(self, seq: int, size: int | None = None) -> Inclusion:
        """The proof of an event in the newest checkpoint, or in the tree of `size`. Raises NotSealed."""
        with self._pool.connection() as connection:
            size = self._size(tiles.latest(connection), size, at_least=seq)
            store = Tiles(connection)
            node_at = store.node_at(size)
            proof = merkle.inclusion_proof(seq - 1, size, node_at)
            leaf = node_at(0, seq - 1)
            root = merkle.root_of_inclusion(leaf, seq - 1, size, proof)
        assert root is not None, "a proof of ours has the right length"
        return Inclusion(seq, size, leaf, proof, root)

    def consistency(self, old: int, new: int | None = None) -> Consistency:
        """The proof that the tree of `old` events begins that of `new` (the newest checkpoint's). Raises NotSealed."""
        with self._pool.connection() as connection:
            new = self._size(tiles.latest(connection), new, at_least=old)
            node_at = Tiles(connection).node_at(new)
            old_root, new_root = (
                merkle.range_root((0, size), node_at) if size else merkle.EMPTY_ROOT for size in (old, new)
            )
            return Consistency(old, new, old_root, new_root, merkle.consistency_proof(old, new, node_at))

    def root_at(self, seq: int) -> bytes:
        """The root of the tree of the first `seq` events, also of those that are not sealed yet. Writes nothing.

        Raises HistoryBroken where one of them is missing.
        """
        with self._pool.connection() as connection:
            newest = tiles.latest(connection)
            sealed = newest.checkpoint.size if newest else 0
            if seq <= sealed:
                return merkle.range_root((0, seq), Tiles(connection).node_at(sealed)) if seq else merkle.EMPTY_ROOT
            growth = Growth(sealed, Tiles(connection))
            tiles.grow(connection, growth, seq)
            return growth.root()

    @staticmethod
    def _size(newest: Note | None, size: int | None, *, at_least: int) -> int:
        sealed = newest.checkpoint.size if newest else 0
        wanted = sealed if size is None else size
        if max(wanted, at_least) > sealed or not sealed:
            raise NotSealed(sealed, max(wanted, at_least))
        if wanted < at_least:
            raise RequestRefused("the larger tree comes second", smaller=at_least, larger=wanted)
        return wanted
