"""Persistent maps: immutable mappings; a changed copy shares almost everything with the original.

Every event replaces its aggregate, and aggregates hold thousands of entries: copying a plain dict each time would make
the cost of an event proportional to their number.

`AppendMap` is cheap to add to and keeps the order of insertion: a new entry copies at most `YOUNG_MAX` others; full
parts are merged in pairs of like size, so an entry is copied about log2(n / YOUNG_MAX) times in all. `PersistentMap` is
a hash trie for entries that are also changed and removed: it copies a leaf of at most 32 entries and one branch of 16
a level.
Its order of iteration has no meaning: what is recorded from it is sorted first.
"""

from collections.abc import ItemsView, Iterable, Iterator, Mapping
from typing import Any, Generic, TypeVar, get_args, get_origin

import msgspec

YOUNG_MAX = 16
K = TypeVar("K")
V = TypeVar("V")


class AppendMap(Mapping[K, V], Generic[K, V]):
    """A map in order of insertion. Equal to any mapping with the same entries."""

    __slots__ = ("_old", "_young")

    def __init__(self, young: Mapping[K, V] | None = None, old: tuple[dict[K, V], ...] = ()) -> None:
        self._young: dict[K, V] = dict(young) if young else {}
        self._old = old

    def added(self, key: K, value: V) -> "AppendMap[K, V]":
        """The map with one more entry, or another value under a key it has."""
        young = self._young.copy()
        young[key] = value
        added: AppendMap[K, V] = AppendMap.__new__(AppendMap)
        if len(young) <= YOUNG_MAX:
            added._young, added._old = young, self._old
            return added
        old = [*self._old, young]
        while len(old) > 1 and len(old[-2]) <= len(old[-1]):
            later = old.pop()
            old[-1] = old[-1] | later
        added._young, added._old = {}, tuple(old)
        return added

    def without(self, key: K) -> "AppendMap[K, V]":
        """The map without one entry. Copies all of it."""
        kept = self._all()
        kept.pop(key, None)
        return AppendMap(None, (kept,)) if kept else AppendMap()

    def __getitem__(self, key: K) -> V:
        if key in self._young:
            return self._young[key]
        for part in reversed(self._old):
            if key in part:
                return part[key]
        raise KeyError(key)

    def get(self, key: Any, default: Any = None) -> Any:
        """The value of `key`, or `default`. Faster than `Mapping.get`, which catches a KeyError."""
        if key in self._young:
            return self._young[key]
        for part in reversed(self._old):
            if key in part:
                return part[key]
        return default

    def __contains__(self, key: object) -> bool:
        return key in self._young or any(key in part for part in self._old)

    def __iter__(self) -> Iterator[K]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all()) if self._old else len(self._young)

    def __bool__(self) -> bool:
        return bool(self._young) or bool(self._old)

    def __repr__(self) -> str:
        return f"AppendMap({self._all()})"

    def _all(self) -> dict[K, V]:
        if not self._old:
            return self._young.copy()
        merged: dict[K, V] = {}
        for part in (*self._old, self._young):
            merged |= part
        return merged


LEAF_MAX = 32
BRANCHES = 16
BITS = 4
DEPTH_MAX = 14


class PersistentMap(Mapping[K, V]):
    """A map that reads like a dict; `put` and `drop` return a changed copy and leave this one as it is."""

    __slots__ = ("_root", "_size")

    def __init__(self, entries: Iterable[tuple[K, V]] = ()) -> None:
        filled: PersistentMap[K, V] = _map({}, 0)
        for key, value in entries:
            filled = filled.put(key, value)
        self._root: Any = filled._root
        self._size: int = filled._size

    def put(self, key: K, value: V) -> "PersistentMap[K, V]":
        """The map with `value` under `key`."""
        root = self._root
        if type(root) is dict and (len(root) < LEAF_MAX or key in root):
            leaf = root.copy()
            leaf[key] = value
            return _map(leaf, len(leaf))
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
        return _map(changed, size)

    def drop(self, key: K) -> "PersistentMap[K, V]":
        """The map without `key`; the same object if `key` was not in it."""
        if _find(self._root, key) is _ABSENT:
            return self
        return _map(_drop(self._root, key, hash(key)), self._size - 1)

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

    def items(self) -> ItemsView[K, V]:
        """The keys with their values; looks none of them up again."""
        return _Items(self, self._root)

    def __len__(self) -> int:
        return self._size

    def __repr__(self) -> str:
        return f"PersistentMap({dict(self)!r})"


class _Items(ItemsView[K, V]):
    """The pairs of a persistent map."""

    def __init__(self, mapping: PersistentMap[K, V], root: Any) -> None:
        super().__init__(mapping)
        self._root = root

    def __iter__(self) -> Iterator[tuple[K, V]]:
        return _pairs(self._root)


_ABSENT = object()


def _map(root: Any, size: int) -> PersistentMap[Any, Any]:
    made: PersistentMap[Any, Any] = PersistentMap.__new__(PersistentMap)
    made._root = root
    made._size = size
    return made


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


def _pairs(node: Any) -> Iterator[tuple[Any, Any]]:
    if type(node) is tuple:
        for branch in node:
            yield from _pairs(branch)
    else:
        yield from node.items()


def to_pairs(value: Any) -> Any:
    """The pairs of a map, for an encoder of msgspec (`enc_hook`), which does not know our maps."""
    if isinstance(value, AppendMap | PersistentMap):
        return list(value.items())
    raise NotImplementedError(f"a {type(value).__name__} in a state")


def from_pairs(wanted: Any, value: Any) -> Any:
    """The map of a type, from its pairs, for a decoder of msgspec (`dec_hook`)."""
    pairs = msgspec.convert(value, list[tuple[get_args(wanted)]], dec_hook=from_pairs)  # type: ignore[misc]
    if get_origin(wanted) is PersistentMap:
        return PersistentMap(pairs)
    return AppendMap(None, (dict(pairs),)) if pairs else AppendMap()
