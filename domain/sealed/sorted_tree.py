"""Sorted Merkle trees: RFC 6962 over leaves in the order of their keys' UTF-8 bytes, each key once.

Because the leaves are sorted, a key that is not there is shown to be absent by two neighbours: their places are next
to one another, and the key would be between them.
"""

from collections.abc import Sequence

from msgspec import Struct

from domain.sealed import merkle
from domain.sealed.merkle import EMPTY_ROOT, is_included, node_hash


class SortedTree:
    """A tree with all its nodes, so that a leaf is changed, and a proof made, with one hash a level."""

    def __init__(self, leaves: Sequence[bytes] = ()) -> None:
        self._levels = [list(leaves)]
        while len(self._levels[-1]) > 1:
            below = self._levels[-1]
            self._levels.append([self._parent(below, at) for at in range((len(below) + 1) // 2)])

    @staticmethod
    def _parent(below: Sequence[bytes], at: int) -> bytes:
        pair = below[2 * at : 2 * at + 2]
        return node_hash(*pair) if len(pair) == 2 else pair[0]

    def put(self, index: int, leaf: bytes) -> None:
        """Put a leaf in the place of another."""
        self._levels[0][index] = leaf
        for below, above in zip(self._levels, self._levels[1:], strict=False):
            index //= 2
            above[index] = self._parent(below, index)

    def root(self) -> bytes:
        """The root of the tree."""
        return self._levels[-1][0] if self._levels[-1] else EMPTY_ROOT

    def proof(self, index: int) -> list[bytes]:
        """The hashes that lead from a leaf to the root (PATH in RFC 6962, 2.1.1)."""
        found = []
        for nodes in self._levels[:-1]:
            if (sibling := index ^ 1) < len(nodes):
                found.append(nodes[sibling])
            index //= 2
        return found


class Placed(Struct, frozen=True):
    """A leaf claimed to be at a place of a sorted tree, with its inclusion proof."""

    key: str
    leaf: bytes
    index: int
    proof: Sequence[bytes]

    def is_in(self, size: int, root: bytes) -> bool:
        """Return whether the leaf is there."""
        return 0 <= self.index < size and is_included(self.leaf, self.index, size, self.proof, root=root)


def is_absent(key: str, before: Placed | None, after: Placed | None, size: int, *, root: bytes) -> bool:
    """Return whether two neighbours show that a key is in no leaf; None for a neighbour beyond the first or last."""
    if before is None and after is None:
        return size == 0 and root == merkle.EMPTY_ROOT
    if before is not None and not (before.is_in(size, root) and before.key.encode() < key.encode()):
        return False
    if after is not None and not (after.is_in(size, root) and key.encode() < after.key.encode()):
        return False
    place = before.index + 1 if before is not None else 0
    return place == (after.index if after is not None else size)
