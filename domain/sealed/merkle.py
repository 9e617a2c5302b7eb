"""Merkle tree of RFC 6962 and RFC 9162 over SHA-256: hashes, roots and proofs. Arithmetic only.

A leaf's hash is SHA-256(0x00 ‖ bytes), a node's SHA-256(0x01 ‖ left ‖ right). Leaves count from 0: the event with seq n
is leaf n - 1. A perfect subtree is named (level, index): it covers the leaves from index·2^level on, 2^level of them.
Tiles are those of C2SP tlog-tiles, height 8: tile (level, index) holds 256 nodes of tree level 8·level, fewer at the
right edge of the tree, as 32 bytes each.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence

HASH_BYTES = 32
TILE_HEIGHT = 8
TILE_WIDTH = 1 << TILE_HEIGHT
EMPTY_ROOT = hashlib.sha256(b"").digest()

NodeAt = Callable[[int, int], bytes]  # the hash of the perfect subtree (level, index)
TileAt = Callable[[int, int, int], bytes]  # the first `width` hashes of the tile (level, index)
Leaves = tuple[int, int]  # from (included), to (excluded)


def leaf_hash(data: bytes) -> bytes:
    """The hash of a leaf."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of the node over two subtrees."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def levels(hashes: bytes) -> list[bytes]:
    """The hashes of a perfect subtree by level, concatenated: the nodes given, their parents, up to its root."""
    found = [hashes]
    while len(hashes) > HASH_BYTES:
        sha256 = hashlib.sha256
        hashes = b"".join(
            [
                sha256(b"\x01" + hashes[at : at + 2 * HASH_BYTES]).digest()
                for at in range(0, len(hashes), 2 * HASH_BYTES)
            ]
        )
        found.append(hashes)
    return found


def root(hashes: Sequence[bytes]) -> bytes:
    """The root over leaves of these hashes."""
    nodes = list(hashes)
    if not nodes:
        return EMPTY_ROOT
    sha256 = hashlib.sha256
    while len(nodes) > 1:
        pairs = zip(nodes[::2], nodes[1::2], strict=False)
        last = nodes[-1:] if len(nodes) & 1 else []
        nodes = [sha256(b"\x01" + left + right).digest() for left, right in pairs] + last
    return nodes[0]


class Frontier:
    """The right edge of a growing tree: the perfect subtrees it consists of, largest first, one a bit of `size`."""

    def __init__(self, size: int = 0, nodes: Iterable[bytes] = ()) -> None:
        self.size = size
        self.nodes = list(nodes)
        assert len(self.nodes) == size.bit_count(), "one node a bit of the size"

    def copy(self) -> "Frontier":
        """An independent copy."""
        return Frontier(self.size, self.nodes)

    def add(self, node: bytes, level: int = 0) -> None:
        """Append a perfect subtree of 2^level leaves; `size` must be a multiple of 2^level."""
        place, rest = divmod(self.size, 1 << level)
        assert rest == 0, "a subtree begins at a multiple of its size"
        while place & 1:
            node = node_hash(self.nodes.pop(), node)
            place >>= 1
        self.nodes.append(node)
        self.size += 1 << level

    def root(self) -> bytes:
        """The root of the current tree."""
        if not self.nodes:
            return EMPTY_ROOT
        *left, found = self.nodes
        for node in reversed(left):
            found = node_hash(node, found)
        return found


# Which subtrees a proof consists of, from the leaves upwards


def _half(leaves: int) -> int:
    """The largest power of two below a number of leaves: where RFC 6962 splits them."""
    return 1 << ((leaves - 1).bit_length() - 1)


def inclusion_path(index: int, size: int) -> list[Leaves]:
    """The leaves under each hash of the proof that leaf `index` is in the tree of `size` (PATH in RFC 6962, 2.1.1)."""
    assert 0 <= index < size, "the leaf is in the tree"
    found, start, end = [], 0, size
    while end - start > 1:
        middle = start + _half(end - start)
        if index < middle:
            found.append((middle, end))
            end = middle
        else:
            found.append((start, middle))
            start = middle
    return found[::-1]


def consistency_path(old: int, new: int) -> list[Leaves]:
    """The leaves under each hash of the proof that the tree of `old` begins that of `new` (PROOF in RFC 6962, 2.1.2).

    Empty for two sizes that are equal, and for a tree that was empty.
    """
    assert 0 <= old <= new, "the old tree is not the larger one"
    if old in (0, new):
        return []
    found, start, end = [], 0, new
    while end != old:
        middle = start + _half(end - start)
        if old <= middle:
            found.append((middle, end))
            end = middle
        else:
            found.append((start, middle))
            start = middle
    if start:
        found.append((start, end))
    return found[::-1]


def range_root(leaves: Leaves, node_at: NodeAt) -> bytes:
    """The hash over a range of leaves, from the perfect subtrees it consists of."""
    start, end = leaves
    nodes = []
    while start < end:
        level = min((start & -start).bit_length() - 1, 64) if start else 64
        level = min(level, (end - start).bit_length() - 1)
        nodes.append(node_at(level, start >> level))
        start += 1 << level
    found = nodes.pop()
    while nodes:
        found = node_hash(nodes.pop(), found)
    return found


def inclusion_proof(index: int, size: int, node_at: NodeAt) -> list[bytes]:
    """The hashes that lead from leaf `index` to the root of the tree of `size`."""
    return [range_root(leaves, node_at) for leaves in inclusion_path(index, size)]


def consistency_proof(old: int, new: int, node_at: NodeAt) -> list[bytes]:
    """The hashes that show the tree of `old` to be the beginning of the tree of `new`."""
    return [range_root(leaves, node_at) for leaves in consistency_path(old, new)]


# Tiles


def nodes_of(tile_at: TileAt, size: int) -> NodeAt:
    """The perfect subtrees of the tree of `size`, read from its tiles."""

    def node_at(level: int, index: int) -> bytes:
        tile_level, height = divmod(level, TILE_HEIGHT)
        first = index << height
        tile = first >> TILE_HEIGHT
        hashes = tile_at(tile_level, tile, tile_width(tile_level, tile, size))
        at = (first % TILE_WIDTH) * HASH_BYTES
        return levels(hashes[at : at + (HASH_BYTES << height)])[-1]

    return node_at


def tile_width(level: int, index: int, size: int) -> int:
    """The number of hashes of the tile in the tree of `size`: 256, fewer at the right edge, 0 or less beyond it."""
    return min(TILE_WIDTH, (size >> (TILE_HEIGHT * level)) - index * TILE_WIDTH)


# Verifying


def root_of_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes | None:
    """The root that a proof leads to from a leaf's hash (RFC 9162, 2.1.3.2); None if it cannot be one of this tree."""
    if not 0 <= index < size:
        return None
    place, last, found = index, size - 1, leaf
    for each in proof:
        if last == 0:
            return None
        if place & 1 or place == last:
            found = node_hash(each, found)
            while place and not place & 1:
                place >>= 1
                last >>= 1
        else:
            found = node_hash(found, each)
        place >>= 1
        last >>= 1
    return found if last == 0 else None


def is_included(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether a leaf's hash is in the tree with this root, by its proof."""
    return root_of_inclusion(leaf, index, size, proof) == root


def is_consistent(old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether the tree with `old_root` is the beginning of that with `new_root`, by a proof (RFC 9162, 2.1.4.2)."""
    if old == new:
        return not proof and old_root == new_root
    if old == 0:
        return not proof and old_root == EMPTY_ROOT
    if not 0 < old < new:
        return False
    path = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    if not path:
        return False
    place, last = old - 1, new - 1
    while place & 1:
        place >>= 1
        last >>= 1
    found_old = found_new = path[0]
    for each in path[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            found_old, found_new = node_hash(each, found_old), node_hash(each, found_new)
            while place and not place & 1:
                place >>= 1
                last >>= 1
        else:
            found_new = node_hash(found_new, each)
        place >>= 1
        last >>= 1
    return last == 0 and found_old == old_root and found_new == new_root
