"""Grown: a mapping that is never changed, and cheap to make a longer one of.

Adding to a plain dict that older states still hold means copying it whole, so that an order of many fills would pay for
each of them again with every next one. Here a new entry copies at most `YOUNG_MAX` others; full parts are merged by
twos of like size, so an entry is copied about log2(n / YOUNG_MAX) times in all.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Generic, TypeVar

YOUNG_MAX = 16
K = TypeVar("K")
V = TypeVar("V")


class Grown(Mapping[K, V], Generic[K, V]):
    """Entries in the order they came in. Equal to any mapping with the same entries."""

    __slots__ = ("_old", "_young")

    def __init__(self, young: Mapping[K, V] | None = None, old: tuple[dict[K, V], ...] = ()) -> None:
        self._young: dict[K, V] = dict(young) if young else {}
        self._old = old

    def added(self, key: K, value: V) -> "Grown[K, V]":
        """The mapping with one entry more, or another value under a key it has."""
        young = self._young.copy()
        young[key] = value
        grown: Grown[K, V] = Grown.__new__(Grown)
        if len(young) <= YOUNG_MAX:
            grown._young, grown._old = young, self._old
            return grown
        old = [*self._old, young]
        while len(old) > 1 and len(old[-2]) <= len(old[-1]):
            later = old.pop()
            old[-1] = old[-1] | later
        grown._young, grown._old = {}, tuple(old)
        return grown

    def without(self, key: K) -> "Grown[K, V]":
        """The mapping less one entry. Copies all of it."""
        kept = self._all()
        kept.pop(key, None)
        return Grown(None, (kept,)) if kept else Grown()

    def __getitem__(self, key: K) -> V:
        if key in self._young:
            return self._young[key]
        for part in reversed(self._old):
            if key in part:
                return part[key]
        raise KeyError(key)

    def get(self, key: Any, default: Any = None) -> Any:
        """The value of `key`, or `default`; without an error where there is none, unlike any mapping's."""
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
        return f"Grown({self._all()})"

    def _all(self) -> dict[K, V]:
        if not self._old:
            return self._young.copy()
        merged: dict[K, V] = {}
        for part in (*self._old, self._young):
            merged |= part
        return merged
