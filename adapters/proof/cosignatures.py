"""Cosignatures of witnesses in the C2SP tlog-cosignature format: Ed25519 (type 4) and ML-DSA-44 (type 6), with times.

A cosignature is one more signature line of a checkpoint. It states that, at a time in POSIX seconds, this was the
largest consistent tree that its witness had seen of the log. A witness's key is written as a vkey with its type.
"""

import base64
import hashlib
import struct
from collections.abc import Iterable
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from adapters.proof import checkpoints
from adapters.proof.checkpoints import SIGNATURE, Checkpoint, Note, Signature
from domain.errors import HistoryBroken, InvalidInput

COSIGNATURE_V1 = 4
SUBTREE_V1 = 6
RAW_BYTES = {COSIGNATURE_V1: 32, SUBTREE_V1: 1312}
SIGNATURE_BYTES = {COSIGNATURE_V1: 64, SUBTREE_V1: 2420}
TIME_MAX = 2**63 - 1
_TIME = struct.Struct(">Q")


class WitnessKey(NamedTuple):
    """The public key of a witness. `kind` is the signature type of signed-note."""

    name: str
    kind: int
    raw: bytes

    @property
    def key_id(self) -> bytes:
        """Four bytes that identify the key; not a proof."""
        return hashlib.sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.raw).digest()[:4]

    @property
    def vkey(self) -> str:
        """The key in the C2SP vkey format."""
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(bytes([self.kind]) + self.raw).decode()}"

    def time_of(self, checkpoint: Checkpoint, signature: bytes) -> int | None:
        """Return when the witness has signed the checkpoint, in POSIX seconds; None if it has not."""
        if len(signature) != _TIME.size + SIGNATURE_BYTES[self.kind]:
            return None
        (time,) = _TIME.unpack_from(signature)
        is_signed = 0 < time <= TIME_MAX and self._verifies(signed_message(self, checkpoint, time), signature[8:])
        return time if is_signed else None

    def _verifies(self, message: bytes, signature: bytes) -> bool:
        try:
            if self.kind == COSIGNATURE_V1:
                Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, message)
            else:
                from cryptography.hazmat.primitives.asymmetric import mldsa  # noqa: PLC0415 (not in every build)

                mldsa.MLDSA44PublicKey.from_public_bytes(self.raw).verify(signature, message)
        except (ImportError, UnsupportedAlgorithm) as error:
            raise InvalidInput(
                "key", self.vkey, "of a type that this machine can verify: it has no ML-DSA-44"
            ) from error
        except (InvalidSignature, ValueError):
            return False
        return True


class Cosignature(NamedTuple):
    """A verified cosignature, at `time` in POSIX seconds; `line` is its line in the note, ended."""

    key: WitnessKey
    time: int
    line: str


def signed_message(key: WitnessKey, checkpoint: Checkpoint, time: int) -> bytes:
    """Return the bytes that a witness signs at a time."""
    if key.kind == COSIGNATURE_V1:
        return f"cosignature/v1\ntime {time}\n{checkpoint.text()}".encode()
    return b"".join(
        (
            b"subtree/v1\n\0", _text(key.name), _TIME.pack(time), _text(checkpoint.origin), _TIME.pack(0),
            _TIME.pack(checkpoint.size), checkpoint.root,
        )
    )  # fmt: skip


def witness_key(vkey: str) -> WitnessKey:
    """Parse the vkey of a witness. Raises InvalidInput."""
    name, key_id, raw = checkpoints.parts_of_key(vkey)
    if not raw or RAW_BYTES.get(raw[0]) != len(raw) - 1:
        raise InvalidInput("key", vkey, "the key of a witness: of type 4 (Ed25519) or 6 (ML-DSA-44)")
    key = WitnessKey(name, raw[0], raw[1:])
    if key.key_id.hex() != key_id:
        raise InvalidInput("key", vkey, f"whole: its id is {key.key_id.hex()}, not {key_id}")
    return key


def line_of(key: WitnessKey, time: int, signature: bytes) -> str:
    """Return the line of a cosignature, ended."""
    return f"{SIGNATURE}{key.name} {base64.b64encode(key.key_id + _TIME.pack(time) + signature).decode()}\n"


def cosigned_by(note: Note, keys: Iterable[WitnessKey]) -> list[Cosignature]:
    """Return the valid cosignatures of these witnesses on a checkpoint, one a key: the newest.

    Raises HistoryBroken if a line is in the name of one of these keys, and not valid.
    """
    found: dict[WitnessKey, Cosignature] = {}
    for key in keys:
        for each in note.signatures:
            if (each.name, each.key_id) != (key.name, key.key_id):
                continue
            time = key.time_of(note.checkpoint, each.signature)
            if time is None:
                raise HistoryBroken(
                    f"checkpoint forged: that of {note.checkpoint.size} events has a cosignature in the name of "
                    f"{key.name} that is not valid"
                )
            if key not in found or time > found[key].time:
                found[key] = Cosignature(key, time, text_of(each))
    return list(found.values())


def parse_lines(text: str) -> list[Signature]:
    """Parse the signature lines that a witness answers with. Raises InvalidInput."""
    lines = text.split("\n")
    if lines[-1] or not 1 <= len(lines) - 1 <= checkpoints.SIGNATURES_MAX:
        raise InvalidInput("cosignatures", text[:200], "lines of signatures, each ended")
    found = [checkpoints.signature_of(line) for line in lines[:-1]]
    if None in found:
        raise InvalidInput("cosignatures", text[:200], "lines of signatures: — name base64")
    return [each for each in found if each is not None]


def text_of(signature: Signature) -> str:
    """Return the line of a signature, ended."""
    return f"{SIGNATURE}{signature.name} {base64.b64encode(signature.key_id + signature.signature).decode()}\n"


def _text(text: str) -> bytes:
    raw = text.encode()
    return bytes([len(raw)]) + raw
