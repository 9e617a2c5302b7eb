"""Checkpoints: signed tree heads of the log, in the formats of C2SP tlog-checkpoint and signed-note, by Ed25519.

A note is the checkpoint's text (origin, size, root in base64, further lines), a blank line, and a line a signature:
`— <key name> <base64 of key id ‖ signature>`. A public key is told as a vkey: `<name>+<key id>+<base64 of type ‖ key>`.
"""

import base64
import binascii
import hashlib
import itertools
from collections.abc import Iterable
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from domain.errors import HistoryBroken, InvalidInput
from domain.merkle import HASH_BYTES

ED25519 = b"\x01"  # the signature type of signed-note
SIGNATURE = "— "
SIGNATURES_MAX = 16
NEXT_KEY = "daybook-next-key "  # a line of an old key's last checkpoint: the vkey it hands over to
PREVIOUS = "daybook-previous "  # a line of a checkpoint: the size of the one that was signed before it, 0 for none
SIZE_MAX = 2**63 - 1


class Checkpoint(NamedTuple):
    """What is signed: whose log, how many events, their root; `lines` are further lines, opaque to others."""

    origin: str
    size: int
    root: bytes
    lines: tuple[str, ...] = ()

    def text(self) -> str:
        """The note's text, which is what a signature is over."""
        return "\n".join([self.origin, str(self.size), base64.b64encode(self.root).decode(), *self.lines, ""])


class Signature(NamedTuple):
    """One line of a note."""

    name: str
    key_id: bytes
    signature: bytes


class Note(NamedTuple):
    """A checkpoint as it is handed around."""

    checkpoint: Checkpoint
    text: str
    signatures: tuple[Signature, ...]

    def is_signed_by(self, key: "PublicKey") -> bool:
        """Whether the key signed it: at least one signature names the key, and none of those is wrong."""
        ours = [each for each in self.signatures if (each.name, each.key_id) == (key.name, key.key_id)]
        return bool(ours) and all(key.verifies(self.text, each.signature) for each in ours)


class PublicKey(NamedTuple):
    """What anyone checks signatures by."""

    name: str
    raw: bytes

    @property
    def key_id(self) -> bytes:
        """Four bytes that name the key; no proof of anything."""
        return hashlib.sha256(self.name.encode() + b"\n" + ED25519 + self.raw).digest()[:4]

    @property
    def vkey(self) -> str:
        """The key as one word."""
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(ED25519 + self.raw).decode()}"

    def verifies(self, text: str, signature: bytes) -> bool:
        """Whether the signature over the text is of this key."""
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, text.encode())
        except InvalidSignature:
            return False
        return True


class PrivateKey:
    """Signs. Its secret is shown by nothing that this class does; `adapters.proof.signing_keys` keeps it in a file."""

    def __init__(self, name: str, secret: Ed25519PrivateKey) -> None:
        self.secret = secret
        self.public = PublicKey(name, secret.public_key().public_bytes_raw())

    def __repr__(self) -> str:
        return f"PrivateKey({self.public.vkey})"

    def sign(self, checkpoint: Checkpoint) -> str:
        """The checkpoint as a note with one signature."""
        text = checkpoint.text()
        signature = base64.b64encode(self.public.key_id + self.secret.sign(text.encode())).decode()
        return f"{text}\n{SIGNATURE}{self.public.name} {signature}\n"


def public_key(vkey: str) -> PublicKey:
    """The key that a vkey tells. Raises InvalidInput."""
    rule = "a public key: <name>+<8 hex digits>+<base64>"
    parts = vkey.strip().split("+", 2)
    if len(parts) != 3:
        raise InvalidInput("key", vkey, rule)
    name, key_id, encoded = parts
    raw = _decoded(encoded)
    if not _is_name(name) or raw is None or len(raw) != 33 or raw[:1] != ED25519:
        raise InvalidInput("key", vkey, rule)
    key = PublicKey(name, raw[1:])
    if key.key_id.hex() != key_id:
        raise InvalidInput("key", vkey, f"whole: its id is {key.key_id.hex()}, not {key_id}")
    return key


def parse(note: str) -> Note:
    """A note of a checkpoint. Raises InvalidInput if it is none; says nothing of its signatures' worth."""
    text, blank, tail = note.rpartition("\n\n")
    lines = text.split("\n")
    signatures = [_signature(line) for line in tail.removesuffix("\n").split("\n")] if tail else []
    if not blank or not tail.endswith("\n") or not 1 <= len(signatures) <= SIGNATURES_MAX:
        raise _unreadable(note, "a signed note: text, a blank line, signatures, each line ended")
    if any(ord(each) < 32 and each != "\n" for each in note):
        raise _unreadable(note, "text without control characters")
    if len(lines) < 3 or not all(lines):
        raise _unreadable(note, "a checkpoint: origin, size, root")
    origin, size, root, *more = lines
    decoded = _decoded(root)
    if not (size.isascii() and size.isdecimal()) or str(int(size[:20])) != size or int(size) > SIZE_MAX:
        raise _unreadable(note, "a checkpoint: its second line is the number of events")
    if decoded is None or len(decoded) != HASH_BYTES:
        raise _unreadable(note, "a checkpoint: its third line is the root in base64")
    found = tuple(each for each in signatures if each is not None)
    if len(found) != len(signatures):
        raise _unreadable(note, "a signed note: a line of its signatures is none")
    return Note(Checkpoint(origin, int(size), decoded, tuple(more)), text + "\n", found)


def parse_many(text: str) -> list[Note]:
    """The notes of a file that a witness keeps: one after the other. Raises InvalidInput."""
    found: list[Note] = []
    lines: list[str] = []
    for line in [*text.replace("\r\n", "\n").split("\n"), ""]:
        if lines and lines[-1].startswith(SIGNATURE) and not line.startswith(SIGNATURE):
            found.append(parse("\n".join(lines) + "\n"))
            lines = []
        if lines or line:
            lines.append(line)
    if any(lines):
        found.append(parse("\n".join(lines)))
    return found


def handed_over_to(note: Note) -> list[str]:
    """The vkeys that a checkpoint hands over to."""
    return [line.removeprefix(NEXT_KEY) for line in note.checkpoint.lines if line.startswith(NEXT_KEY)]


def previous_of(note: Note) -> int | None:
    """The size of the checkpoint that was signed before this one, by its own word; None if it does not say."""
    told = [line.removeprefix(PREVIOUS) for line in note.checkpoint.lines if line.startswith(PREVIOUS)]
    return int(told[0]) if len(told) == 1 and told[0].isascii() and told[0].isdecimal() else None


class Tenure(NamedTuple):
    """A key and what it may sign: checkpoints of more than `since` events, until the next key's `since`.

    `handover` is the last checkpoint of the key before, which names this one; None for the first.
    """

    key: PublicKey
    since: int
    handover: str | None


def check_succession(tenures: Iterable[Tenure], origin: str, trusted: PublicKey | None = None) -> list[Tenure]:
    """The keys as a chain: each named by a checkpoint that the one before signed. Raises HistoryBroken.

    With a `trusted` key the chain must contain it, and only what comes after needs to be vouched for.
    """
    chain = list(tenures)
    if not chain:
        raise HistoryBroken("no public key is published: nothing of this ledger was ever sealed")
    keys = [tenure.key for tenure in chain]
    if trusted is not None and trusted not in keys:
        raise HistoryBroken(
            f"wrong key: this ledger is signed by {keys[-1].vkey}, and never was by {trusted.vkey}; ask its owner "
            "for the key, by another way than the one this came by"
        )
    believed = 0 if trusted is None else keys.index(trusted)
    for number, (before, tenure) in enumerate(itertools.pairwise(chain)):
        if tenure.since < before.since:
            raise HistoryBroken(f"the key {tenure.key.vkey} begins before its predecessor")
        if number >= believed and not _is_vouched(before, tenure, origin):
            raise HistoryBroken(
                f"the key {tenure.key.vkey} signs from {tenure.since} events on, and the key before does not vouch for "
                "it; if its owner gave you that key, name it with --key"
            )
    return chain


def _is_vouched(before: Tenure, tenure: Tenure, origin: str) -> bool:
    if tenure.handover is None:
        return False
    try:
        note = parse(tenure.handover)
    except InvalidInput:
        return False
    return (
        note.checkpoint.origin == origin
        and note.checkpoint.size == tenure.since
        and handed_over_to(note) == [tenure.key.vkey]
        and note.is_signed_by(before.key)
    )


def signer_of(chain: list[Tenure], size: int) -> PublicKey:
    """The key that signs checkpoints of so many events."""
    return next((tenure.key for tenure in reversed(chain) if size > tenure.since), chain[0].key)


def _signature(line: str) -> Signature | None:
    if not line.startswith(SIGNATURE) or line.count(" ") != 2:
        return None
    name, encoded = line.removeprefix(SIGNATURE).split(" ")
    raw = _decoded(encoded)
    return Signature(name, raw[:4], raw[4:]) if _is_name(name) and raw is not None and len(raw) > 4 else None


def _is_name(name: str) -> bool:
    return bool(name) and "+" not in name and not any(each.isspace() for each in name)


def _decoded(text: str) -> bytes | None:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if base64.b64encode(raw).decode() == text else None


def _unreadable(note: str, rule: str) -> InvalidInput:
    return InvalidInput("checkpoint", note[:200], rule)
