"""Groups of streams: each event of the log is also an entry of one group's own log, so that none can be left out.

A group is an account (all its streams), the instruments, the signing keys, or everything else. An entry is 40 bytes:
the event's seq in 8, big-endian, and its leaf hash. A group's tree is that of RFC 6962 over its entries, by seq. The
map is the sorted tree (`domain.sealed.sorted_tree`) of a leaf a group: its name, its number of entries and its root.

`RULE` numbers the rule by which streams belong to groups. It is in every checkpoint with a map: what the kinds below
mean is never changed, a new division of the streams is another rule.
"""

import base64
import hashlib
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from functools import lru_cache

from msgspec import Struct

from domain import names
from domain.sealed.merkle import HASH_BYTES, TILE_HEIGHT, TILE_WIDTH, Frontier, leaf_hash, levels
from domain.sealed.sorted_tree import SortedTree

RULE = 1
SEQ_BYTES = 8
ENTRY_BYTES = SEQ_BYTES + HASH_BYTES
STREAMS_CACHED_MAX = 8192
INSTRUMENTS = "instruments"
SIGNING = "signing"  # the signing keys
OTHERS = "others"
_ACCOUNT = "account:"

# The kinds of streams that are an account's, and where its id is. Every other kind, known or not, is of no account.
_ACCOUNT_KINDS = {
    "account": "{id}",
    "limit": "{id}",
    "order": "{id}:more",
    "parentorder": "{id}:more",
    "position": "{id}:more",
    "venueorder": "venue:{id}:more",
    "evidence": "{id}:digest",
    "statement": "{id}:digest",
}
_OWN_GROUPS = {"instrument": INSTRUMENTS, "signing": SIGNING}
_FIRM_LIMITS = "limit:firm"


@lru_cache(maxsize=STREAMS_CACHED_MAX)
def group_of(stream: str) -> str:
    """Return the group that a stream belongs to, by `RULE`: `account:<id>`, `instruments`, `signing` or `others`."""
    kind, _, rest = stream.partition(":")
    match _ACCOUNT_KINDS.get(kind):
        case None:
            return _OWN_GROUPS.get(kind, OTHERS)
        case "{id}":
            account_id = "" if stream == _FIRM_LIMITS else rest
        case "{id}:more":
            account_id = rest.partition(":")[0]
        case "{id}:digest":
            account_id = rest.rpartition(":")[0]
        case _:
            account_id = rest.partition(":")[2].partition(":")[0]
    return _ACCOUNT + account_id if account_id else OTHERS


def group_of_account(account_id: str) -> str:
    """Return the group of an account's streams."""
    return _ACCOUNT + names.part(account_id)


def entry(seq: int, leaf: bytes) -> bytes:
    """Return an event's entry in its group: its seq and its leaf hash."""
    return seq.to_bytes(SEQ_BYTES, "big") + leaf


def seq_of(entry_bytes: bytes) -> int:
    """Return the seq in an entry."""
    return int.from_bytes(entry_bytes[:SEQ_BYTES], "big")


def entries_of(joined: bytes) -> list[bytes]:
    """Return entries one by one that are stored one after the other."""
    return [joined[at : at + ENTRY_BYTES] for at in range(0, len(joined), ENTRY_BYTES)]


def by_group(groups: Iterable[str], leaves: bytes, first: int) -> dict[str, bytes]:
    """Return the entries of consecutive events by group; `leaves` has the events' leaf hashes, `first` their first seq.

    `groups` has the group of each event: all groups' entries together are as many as the events.
    """
    found: dict[str, list[bytes]] = {}
    at = 0
    for seq, group in enumerate(groups, first):
        made = seq.to_bytes(SEQ_BYTES, "big") + leaves[at : at + HASH_BYTES]
        at += HASH_BYTES
        if group in found:
            found[group].append(made)
        else:
            found[group] = [made]
    return {group: b"".join(entries) for group, entries in found.items()}


def leaves_of(entries: bytes) -> bytes:
    """Return the leaf hashes of entries in their group's tree, one after the other."""
    sha256 = hashlib.sha256  # `leaf_hash`, several hundred thousand times a second
    return b"".join(
        [sha256(b"\x00" + entries[at : at + ENTRY_BYTES]).digest() for at in range(0, len(entries), ENTRY_BYTES)]
    )


class GroupTree:
    """The growing tree of one group, as its right edge only: memory does not grow with its entries."""

    def __init__(self, count: int = 0, nodes: Sequence[bytes] = ()) -> None:
        full = (count >> TILE_HEIGHT).bit_count()
        self._full = Frontier(count - count % TILE_WIDTH, nodes[:full])
        self._tail = Frontier(count % TILE_WIDTH, nodes[full:])

    @property
    def count(self) -> int:
        """The number of entries."""
        return self._full.size + self._tail.size

    @property
    def nodes(self) -> list[bytes]:
        """The perfect subtrees it consists of, largest first, one a bit of `count`."""
        return [*self._full.nodes, *self._tail.nodes]

    def root(self) -> bytes:
        """The root over all entries."""
        return Frontier(self.count, self.nodes).root()

    def extend(self, leaves: bytes) -> list[bytes]:
        """Add leaf hashes; return the roots of the tiles of 256 that became full."""
        roots, at = [], 0
        while at < len(leaves):
            if self._tail.size == 0 and len(leaves) - at >= TILE_WIDTH * HASH_BYTES:
                roots.append(levels(leaves[at : at + TILE_WIDTH * HASH_BYTES])[-1])
                self._full.add(roots[-1], TILE_HEIGHT)
                at += TILE_WIDTH * HASH_BYTES
                continue
            self._tail.add(leaves[at : at + HASH_BYTES])
            at += HASH_BYTES
            if self._tail.size == TILE_WIDTH:
                (root,) = self._tail.nodes
                roots.append(root)
                self._full.add(root, TILE_HEIGHT)
                self._tail = Frontier()
        return roots


class Head(Struct, frozen=True):
    """A group at one checkpoint: its number of entries, and the root over them."""

    group: str
    count: int
    root: bytes

    def leaf(self) -> bytes:
        """Return the hash of its leaf in the map: three lines, its name, its count, and its root in base64."""
        return leaf_hash(f"{self.group}\n{self.count}\n{base64.b64encode(self.root).decode()}\n".encode())


class GroupMap:
    """The map of all groups, kept sorted; a change of few groups costs few hashes."""

    def __init__(self, heads: Iterable[Head] = ()) -> None:
        self.heads = {head.group: head for head in heads}
        self._sort()

    def _sort(self) -> None:
        self._names = sorted(self.heads, key=str.encode)
        self._keys = [name.encode() for name in self._names]
        self._tree = SortedTree([self.heads[name].leaf() for name in self._names])

    def update(self, heads: Iterable[Head]) -> None:
        """Put new heads in the place of those of the same groups; add groups that are new."""
        is_wider = False
        for head in heads:
            is_known = head.group in self.heads
            self.heads[head.group] = head
            is_wider |= not is_known
            if is_known and not is_wider:
                self._tree.put(self._index(head.group), head.leaf())
        if is_wider:
            self._sort()

    def root(self) -> bytes:
        """The root of the map."""
        return self._tree.root()

    def proof(self, index: int) -> list[bytes]:
        """The inclusion proof of the group at a place of the map."""
        return self._tree.proof(index)

    def place(self, group: str) -> tuple[int, bool]:
        """Return the place of a group in the map, or where it would be, and whether it is there."""
        return self._index(group), group in self.heads

    def at(self, index: int) -> Head:
        """The head at a place of the map."""
        return self.heads[self._names[index]]

    def __len__(self) -> int:
        return len(self._names)

    def _index(self, group: str) -> int:
        return bisect_left(self._keys, group.encode())


def subtrees_between(start: int, end: int) -> list[tuple[int, int]]:
    """Return the perfect subtrees (level, index) that leaves `start` to `end` - 1 consist of, from the left."""
    found = []
    while start < end:
        level = (end - start).bit_length() - 1
        if start:
            level = min(level, (start & -start).bit_length() - 1)
        found.append((level, start >> level))
        start += 1 << level
    return found
