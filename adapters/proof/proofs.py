"""Merkle proofs from the stored tiles: that an event is in the signed log, and that one tree continues another."""

from typing import NamedTuple

from adapters.postgres.pool import Pool
from adapters.proof import cosigned, key_record, tiles
from adapters.proof.checkpoints import Note, Tenure
from adapters.proof.policies import Policy
from adapters.proof.tiles import Growth, Tiles
from adapters.proof.tlog_proofs import TlogProof
from domain.errors import HistoryBroken, LedgerError, RequestRefused
from domain.sealed import merkle

CHECKPOINTS = "SELECT size, note FROM ledger.checkpoints WHERE size > %s ORDER BY size LIMIT %s"
EVENTS = """
SELECT notification_id, state FROM ledger.events
WHERE notification_id > %s AND notification_id <= %s ORDER BY notification_id
"""
EVENT = "SELECT state FROM ledger.events WHERE notification_id = %s"
READ_EVENTS_MAX = 4096


class NotSealed(LedgerError):
    """No checkpoint covers the requested number of events (`wanted`) yet."""

    def __init__(self, sealed: int, wanted: int) -> None:
        self.wanted = wanted
        super().__init__(f"the newest checkpoint is of {sealed} events, not yet of {wanted}; try again")


class Inclusion(NamedTuple):
    """An inclusion proof: the event of `seq` is leaf `seq - 1` of the tree of `size`; its hash and path to the root."""

    seq: int
    size: int
    leaf: bytes
    proof: list[bytes]
    root: bytes


class Consistency(NamedTuple):
    """A consistency proof: the tree of `old` events is a prefix of that of `new`."""

    old: int
    new: int
    old_root: bytes
    new_root: bytes
    proof: list[bytes]


class Proofs:
    """Reads proofs over the pool's connections. Raises HistoryBroken where tiles are missing."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def latest(self) -> tuple[Note, str] | None:
        """Return the newest checkpoint and its text; None before there is one."""
        with self._pool.connection() as connection:
            row = connection.execute(tiles.LATEST).fetchone()
        return (tiles.stored_note(*row), row[1]) if row else None

    def latest_cosigned(self, policy: Policy | None = None, *, is_required: bool = False) -> tuple[Note, str] | None:
        """Return the newest checkpoint with the cosignatures that there are of it, and its text.

        If cosignatures are required, the newest that meets the policy, or has any without one. None if there is none.
        """
        with self._pool.connection() as connection:
            if is_required:
                found = cosigned.newest(connection, policy)
                return (tiles.stored_note(found.size, found.text), found.text) if found else None
            row = connection.execute(tiles.LATEST).fetchone()
            if row is None:
                return None
            text = cosigned.with_cosignatures(connection, *row)
            return tiles.stored_note(row[0], text), text

    def checkpoints(self, *, after: int, limit: int) -> list[tuple[int, str]]:
        """Return checkpoints of more than `after` events, by size: size and signed note (C2SP), with cosignatures."""
        with self._pool.connection() as connection:
            found = connection.execute(CHECKPOINTS, [after, limit]).fetchall()
            lines = cosigned.lines_between(connection, after, found[-1][0]) if found else {}
        return [(size, note + "".join(lines.get(size, ()))) for size, note in found]

    def tlog_proof(self, seq: int, policy: Policy | None = None) -> TlogProof:
        """Prove an event's inclusion in one text file (C2SP tlog-proof), by the newest checkpoint that meets the policy
        and covers it; else by the newest with any cosignature, else by the newest. Raises NotSealed.
        """
        with self._pool.connection() as connection:
            self._size(tiles.latest(connection), None, at_least=seq)
            found = (policy and cosigned.newest(connection, policy, at_least=seq)) or cosigned.newest(
                connection, None, at_least=seq
            )
            if found is None:
                row = connection.execute(tiles.LATEST).fetchone()
                assert row is not None, "it was there just now, and checkpoints stay"
                found = cosigned.Cosigned(row[0], cosigned.with_cosignatures(connection, *row), None)
            hashes = merkle.inclusion_proof(seq - 1, found.size, Tiles(connection).node_at(found.size))
            row = connection.execute(EVENT, [seq]).fetchone()
        if row is None:
            raise HistoryBroken(f"missing at seq {seq}: the event was sealed; run verify")
        note = tiles.stored_note(found.size, found.text)
        return TlogProof(seq, bytes(row[0]), tuple(hashes), note=note, note_text=found.text)

    def keys(self) -> list[Tenure]:
        """Return the public keys, oldest first."""
        with self._pool.connection() as connection:
            return tiles.tenures(connection)

    def key_seqs(self) -> list[int]:
        """Return the seqs of the events by which the keys are on record, oldest first."""
        with self._pool.connection() as connection:
            return [seq for seq, _ in key_record.on_record(connection)]

    def inclusion(self, seq: int, size: int | None = None) -> Inclusion:
        """Prove an event's inclusion in the newest checkpoint, or in the tree of `size`. Raises NotSealed."""
        with self._pool.connection() as connection:
            size = self._size(tiles.latest(connection), size, at_least=seq)
            store = Tiles(connection)
            node_at = store.node_at(size)
            proof = merkle.inclusion_proof(seq - 1, size, node_at)
            leaf = node_at(0, seq - 1)
            root = merkle.root_of_inclusion(leaf, seq - 1, size, proof)
        assert root is not None, "a proof of ours has the right length"
        return Inclusion(seq=seq, size=size, leaf=leaf, proof=proof, root=root)

    def consistency(self, old: int, new: int | None = None) -> Consistency:
        """Prove that the tree of `old` events is a prefix of that of `new` (the newest one's). Raises NotSealed."""
        with self._pool.connection() as connection:
            new = self._size(tiles.latest(connection), new, at_least=old)
            node_at = Tiles(connection).node_at(new)
            old_root, new_root = (
                merkle.range_root((0, size), node_at) if size else merkle.EMPTY_ROOT for size in (old, new)
            )
            proof = merkle.consistency_proof(old, new, node_at)
            return Consistency(old=old, new=new, old_root=old_root, new_root=new_root, proof=proof)

    def root_at(self, seq: int) -> bytes:
        """Return the root of the tree of the first `seq` events, sealed or not. Read-only.

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

    def is_event(self, seq: int, state: bytes) -> bool:
        """Return whether these are the bytes of the event `seq` by the newest checkpoint; True if none covers it yet.

        Raises HistoryBroken where tiles are missing.
        """
        with self._pool.connection() as connection:
            newest = tiles.latest(connection)
            if newest is None or seq > newest.checkpoint.size:
                return True
            size, root = newest.checkpoint.size, newest.checkpoint.root
            proof = merkle.inclusion_proof(seq - 1, size, Tiles(connection).node_at(size))
            return merkle.is_included(merkle.leaf_hash(state), seq - 1, size, proof, root=root)

    @staticmethod
    def _size(newest: Note | None, size: int | None, *, at_least: int) -> int:
        sealed = newest.checkpoint.size if newest else 0
        wanted = sealed if size is None else size
        if max(wanted, at_least) > sealed or not sealed:
            raise NotSealed(sealed, max(wanted, at_least))
        if wanted < at_least:
            raise RequestRefused("the larger tree comes second", smaller=at_least, larger=wanted)
        return wanted
