"""Proofs of one event in the C2SP tlog-proof format: its index, its inclusion proof and a checkpoint, in one text file.

The `extra` line has the event's stored bytes, so that a file proves its event by itself: their leaf hash is what is
proved. Files end in `.tlog-proof`.
"""

import base64
from typing import NamedTuple

from adapters.proof import checkpoints
from adapters.proof.checkpoints import Note
from domain.errors import HistoryBroken, InvalidInput
from domain.sealed import merkle
from domain.sealed.merkle import HASH_BYTES

FORMAT = "c2sp.org/tlog-proof@v1"
HASHES_MAX = 63
FILE_BYTES_MAX = 16 * 1024 * 1024


class TlogProof(NamedTuple):
    """A proof of the event of `seq`; `state` is its stored bytes, None if the file has none."""

    seq: int
    state: bytes | None
    hashes: tuple[bytes, ...]
    note: Note
    note_text: str

    def text(self) -> str:
        """Return the file's text."""
        extra = [] if self.state is None else [f"extra {base64.b64encode(self.state).decode()}"]
        hashes = [base64.b64encode(each).decode() for each in self.hashes]
        return "\n".join([FORMAT, *extra, f"index {self.seq - 1}", *hashes, "", self.note_text])

    def check(self, state: bytes | None = None) -> bytes:
        """Check that the event is in the tree of the checkpoint; return its bytes. Raises HistoryBroken, and
        InvalidInput if the event is neither in the file nor given."""
        found = self.state if state is None else state
        if found is None:
            raise InvalidInput("proof", f"index {self.seq - 1}", "of an event whose bytes are in the line extra")
        size, root = self.note.checkpoint.size, self.note.checkpoint.root
        index = self.seq - 1
        if index >= size or not merkle.is_included(merkle.leaf_hash(found), index, size, self.hashes, root=root):
            raise HistoryBroken(
                f"altered at seq {self.seq}: this event is not in the tree of {size} events that was signed"
            )
        return found


def is_proof(text: bytes) -> bool:
    """Return whether a file begins like a proof."""
    return text.startswith(FORMAT.encode() + b"\n")


def parse(text: str) -> TlogProof:
    """Parse a proof; does not verify anything. Raises InvalidInput."""
    head, blank, note = text.partition("\n\n")
    lines = head.split("\n")
    if not blank or lines.pop(0) != FORMAT:
        raise InvalidInput("proof", text[:80], f"a proof: {FORMAT}, an index, hashes, a blank line, a checkpoint")
    state = None
    if lines and lines[0].startswith("extra "):
        state = _decoded(lines.pop(0).removeprefix("extra "))
    index = lines.pop(0).removeprefix("index ") if lines and lines[0].startswith("index ") else ""
    if not (index.isascii() and index.isdecimal()) or str(int(index[:20])) != index:
        raise InvalidInput("proof", index[:80], "an index: a number, from 0")
    if int(index) >= checkpoints.SIZE_MAX or len(lines) > HASHES_MAX:
        raise InvalidInput("proof", index, f"a place in a log, with at most {HASHES_MAX} hashes")
    hashes = tuple(_decoded(line) for line in lines)
    if any(len(each) != HASH_BYTES for each in hashes):
        raise InvalidInput("proof", text[:80], f"a proof: each of its hashes has {HASH_BYTES} bytes")
    return TlogProof(int(index) + 1, state, hashes, note=checkpoints.parse(note), note_text=note)


def _decoded(text: str) -> bytes:
    raw = checkpoints.decoded(text)
    if raw is None:
        raise InvalidInput("proof", text[:80], "base64")
    return raw
