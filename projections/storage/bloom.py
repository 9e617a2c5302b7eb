"""Bloom filter: a set of keys in constant memory whose answer is "perhaps" or "no".

With 8 MiB the rate of false positives is about 0.1 % for three million keys, 4 % for ten million. A false positive
costs a look into the database.
"""

from collections.abc import Hashable

BITS = 1 << 26
PROBES = 4


class Bloom:
    """Set of keys that were added, with false positives."""

    __slots__ = ("_bits",)

    def __init__(self) -> None:
        self._bits = bytearray(BITS // 8)

    def add(self, key: Hashable) -> None:
        """Add a key."""
        at = hash(key) & 0xFFFF_FFFF_FFFF_FFFF
        step = (at >> 31) | 1
        for _ in range(PROBES):
            bit = at & (BITS - 1)
            self._bits[bit >> 3] |= 1 << (bit & 7)
            at += step

    def may_have(self, key: Hashable) -> bool:
        """False if the key was never added."""
        at = hash(key) & 0xFFFF_FFFF_FFFF_FFFF
        step = (at >> 31) | 1
        for _ in range(PROBES):
            bit = at & (BITS - 1)
            if not self._bits[bit >> 3] & 1 << (bit & 7):
                return False
            at += step
        return True
