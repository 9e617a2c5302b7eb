"""Table: a mapping that never changes; a changed one shares with it all but a few dozen entries.

Aggregates that hold thousands of things are replaced by every event; copying a dict each time would make an event
as dear as the number of things. Here a leaf of at most 32 entries and one branch of 16 a level are copied. Which entry
comes first when one goes through a table has no meaning: what is put on record from it is sorted first.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

LEAF_MAX = 32
BRANCHES = 16
BITS = 4
DEPTH_MAX = 14

K = TypeVar("K")
V = TypeVar("V")


class Table(Mapping[K, V]):
    """Like a dict to read; `put` and `drop` give the changed table and leave this one as it is."""

    __slots__ = ("_root", "_size")

    def __init__(self, entries: Iterable[tuple[K, V]] = ()) -> None:
        table: Table[K, V] = _table({}, 0)
        for key, value in entries:
            table = table.put(key, value)
        self._root: Any = table._root
        self._size: int = table._size

    def put(self, key: K, value: V) -> "Table[K, V]":
        """With `key` standing for `value`."""
        root = self._root
        if type(root) is dict and (len(root) < LEAF_MAX or key in root):
            leaf = root.copy()
            leaf[key] = value
            return _table(leaf, len(leaf))
        node, bits, path = root, hash(key), []
        while type(node) is tuple:
            path.append((node, bits % BRANCHES))
            node = node[bits % BRANCHES]
            bits >>= BITS
        changed = _leaf_with(node, key, value, len(path))
        size = self._size + (key not in node)
        for branch, at in reversed(path):
            branches = list(branch)
            branches[at] = changed
            changed = tuple(branches)
        return _table(changed, size)

    def drop(self, key: K) -> "Table[K, V]":
        """Without `key`; the same table if it was not in it."""
        if _find(self._root, key) is _ABSENT:
            return self
        return _table(_drop(self._root, key, hash(key)), self._size - 1)

    def __getitem__(self, key: K) -> V:
        found: Any = _find(self._root, key)
        if found is _ABSENT:
            raise KeyError(key)
        return found  # type: ignore[no-any-return]

    def get(self, key: K, default: Any = None) -> Any:
        """The value of `key`, or `default`."""
        root = self._root
        if type(root) is dict:
            return root.get(key, default)
        found = _find(root, key)
        return default if found is _ABSENT else found

    def __contains__(self, key: object) -> bool:
        return _find(self._root, key) is not _ABSENT

    def __iter__(self) -> Iterator[K]:
        return _keys(self._root)

    def __len__(self) -> int:
        return self._size

    def __repr__(self) -> str:
        return f"Table({dict(self)!r})"


_ABSENT = object()


def _table(root: Any, size: int) -> Table[Any, Any]:
    table: Table[Any, Any] = Table.__new__(Table)
    table._root = root
    table._size = size
    return table


def _find(node: Any, key: Any) -> Any:
    if type(node) is tuple:
        bits = hash(key)
        while type(node) is tuple:
            node = node[bits % BRANCHES]
            bits >>= BITS
    return node.get(key, _ABSENT)


def _leaf_with(node: dict[Any, Any], key: Any, value: Any, depth: int) -> Any:
    leaf = node.copy()
    leaf[key] = value
    if len(leaf) <= LEAF_MAX or depth >= DEPTH_MAX:
        return leaf
    leaves: tuple[dict[Any, Any], ...] = tuple({} for _ in range(BRANCHES))
    for held, kept in leaf.items():
        leaves[(hash(held) >> (BITS * depth)) % BRANCHES][held] = kept
    return leaves


def _drop(node: Any, key: Any, bits: int) -> Any:
    if type(node) is tuple:
        at = bits % BRANCHES
        branches = list(node)
        branches[at] = _drop(node[at], key, bits >> BITS)
        return tuple(branches) if any(branches) else {}
    left = node.copy()
    del left[key]
    return left


def _keys(node: Any) -> Iterator[Any]:
    if type(node) is tuple:
        for branch in node:
            yield from _keys(branch)
    else:
        yield from node
