"""RFC 6962, section 2.1, word for word: slow, recursive, and independent of `domain.sealed.merkle`. For tests only.

MTH, PATH and PROOF take the leaves themselves; the checks recompute what a proof claims by following the recursion of
the definition down the tree, instead of the bit arithmetic of RFC 9162.
"""

from collections.abc import Sequence
from hashlib import sha256


def split(n: int) -> int:
    """The largest power of two smaller than n."""
    k = 1
    while 2 * k < n:
        k *= 2
    return k


def mth(d: Sequence[bytes]) -> bytes:
    """The Merkle Tree Hash of the leaves (2.1)."""
    if not d:
        return sha256().digest()
    if len(d) == 1:
        return sha256(b"\0" + d[0]).digest()
    k = split(len(d))
    return sha256(b"\1" + mth(d[:k]) + mth(d[k:])).digest()


def path(m: int, d: Sequence[bytes]) -> list[bytes]:
    """The audit path of leaf m (2.1.1)."""
    if len(d) == 1:
        return []
    k = split(len(d))
    return [*path(m, d[:k]), mth(d[k:])] if m < k else [*path(m - k, d[k:]), mth(d[:k])]


def proof(m: int, d: Sequence[bytes]) -> list[bytes]:
    """The consistency proof of the first m leaves (2.1.2)."""
    return subproof(m, d, b=True)


def subproof(m: int, d: Sequence[bytes], *, b: bool) -> list[bytes]:
    if m == len(d):
        return [] if b else [mth(d)]
    k = split(len(d))
    if m <= k:
        return [*subproof(m, d[:k], b=b), mth(d[k:])]
    return [*subproof(m - k, d[k:], b=False), mth(d[:k])]


def root_by_path(data: bytes, m: int, n: int, hashes: Sequence[bytes]) -> bytes:
    """The root that an audit path of leaf m in a tree of n claims. Raises ValueError if it has the wrong length."""
    if n == 1:
        if hashes:
            raise ValueError("the path is too long")
        return sha256(b"\0" + data).digest()
    if not hashes:
        raise ValueError("the path is too short")
    k = split(n)
    *lower, sibling = hashes
    if m < k:
        return sha256(b"\1" + root_by_path(data, m, k, lower) + sibling).digest()
    return sha256(b"\1" + sibling + root_by_path(data, m - k, n - k, lower)).digest()


def roots_by_proof(m: int, n: int, old_root: bytes, hashes: Sequence[bytes], *, b: bool = True) -> tuple[bytes, bytes]:
    """The old and the new root that a consistency proof claims. Raises ValueError if it has the wrong length."""
    if m == n:
        if len(hashes) != (0 if b else 1):
            raise ValueError("the proof has the wrong length")
        return (old_root, old_root) if b else (hashes[0], hashes[0])
    if not hashes:
        raise ValueError("the proof is too short")
    k = split(n)
    *lower, sibling = hashes
    if m <= k:
        old, new = roots_by_proof(m, k, old_root, lower, b=b)
        return old, sha256(b"\1" + new + sibling).digest()
    old, new = roots_by_proof(m - k, n - k, old_root, lower, b=False)
    return sha256(b"\1" + sibling + old).digest(), sha256(b"\1" + sibling + new).digest()
