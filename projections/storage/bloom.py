"""A set of keys that says "perhaps" or "no", in memory that does not grow: a Bloom filter.

8 MiB tell three million keys from those that were never added with about one mistake in a thousand, ten million with
four in a hundred. A mistake costs a look into the database.
"""

from collections.abc import Hashable

BITS = 1 << 26
PROBES = 4


class Bloom:
    """Keys that were added."""

    __slots__ = ("_bits",)

    def __init__(self) -> None:
        self._bits = bytearray(BITS // 8)

    def add(self, key: Hashable) -> None:
        """Take a key in."""
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
