"""Bloom filter: a set of keys in little memory whose answer is "perhaps" or "no".

It grows with its keys, in layers, by some 3 bytes a key and up to 8 MiB in the largest layer. The rate of false
positives is about 0.1 % up to three million keys, 4 % for ten million. A false positive costs a look into the database.
"""

from collections.abc import Hashable

FIRST_BITS = 1 << 17  # 16 KiB
BITS_MAX = 1 << 26
GROWTH = 8  # of a layer, to the one before
BITS_A_KEY = 22
PROBES = 4


class Bloom:
    """Set of keys that were added, with false positives."""

    __slots__ = ("_full", "_keys", "_layers")

    def __init__(self) -> None:
        self._layers: list[tuple[bytearray, int]] = []  # bits, and the mask of a bit's number; the newest first
        self._keys = self._full = 0
        self._grow(FIRST_BITS)

    @property
    def size(self) -> int:
        """Return the memory of the bits, in bytes."""
        return sum(len(bits) for bits, _ in self._layers)

    def add(self, key: Hashable) -> None:
        """Add a key."""
        if self._keys >= self._full and (size := len(self._layers[0][0]) * 8) < BITS_MAX:
            self._grow(min(size * GROWTH, BITS_MAX))
        self._keys += 1
        bits, mask = self._layers[0]
        at = hash(key) & 0xFFFF_FFFF_FFFF_FFFF
        step = (at >> 31) | 1
        for _ in range(PROBES):
            bit = at & mask
            bits[bit >> 3] |= 1 << (bit & 7)
            at += step

    def may_have(self, key: Hashable) -> bool:
        """False if the key was never added."""
        first = hash(key) & 0xFFFF_FFFF_FFFF_FFFF
        step = (first >> 31) | 1
        for bits, mask in self._layers:
            at = first
            for _ in range(PROBES):
                bit = at & mask
                if not bits[bit >> 3] & 1 << (bit & 7):
                    break
                at += step
            else:
                return True
        return False

    def _grow(self, bits: int) -> None:
        self._layers.insert(0, (bytearray(bits // 8), bits - 1))
        self._keys, self._full = 0, bits // BITS_A_KEY
