"""Signed checkpoints (tree heads) in the C2SP tlog-checkpoint and signed-note formats, with Ed25519 signatures.

A signed note (C2SP) is the checkpoint's text (origin, size, root in base64, further lines), a blank line, and one line
per signature: `— <key name> <base64 of key id ‖ signature>`. A public key is written as a vkey:
`<name>+<key id>+<base64 of type ‖ key>`.
"""

import base64
import binascii
import hashlib
import itertools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from domain.errors import HistoryBroken, InvalidInput
from domain.sealed.merkle import HASH_BYTES

ED25519 = b"\x01"  # the signature type of signed-note
SIGNATURE = "— "
SIGNATURES_MAX = 64  # of the log's keys and of its witnesses
NEXT_KEY = "daybook-next-key "  # a line of an old key's last checkpoint: the vkey of its successor
PREVIOUS = "daybook-previous "  # a line of a checkpoint: the size of the checkpoint signed before it, 0 for none
SIZE_MAX = 2**63 - 1
SIZE_DIGITS_MAX = 19
KEY_RULE = "a public key: <name>+<8 hex digits>+<base64>"


class Checkpoint(NamedTuple):
    """A tree head to sign: the log's origin, its number of events, their root; `lines` are opaque to other parties."""

    origin: str
    size: int
    root: bytes
    lines: tuple[str, ...] = ()

    def text(self) -> str:
        """Return the signed text of the note."""
        return "\n".join([self.origin, str(self.size), base64.b64encode(self.root).decode(), *self.lines, ""])


class Signature(NamedTuple):
    """A signature line of a signed note (C2SP)."""

    name: str
    key_id: bytes
    signature: bytes


class Note(NamedTuple):
    """A checkpoint as a signed note (C2SP)."""

    checkpoint: Checkpoint
    text: str
    signatures: tuple[Signature, ...]

    def is_signed_by(self, key: "PublicKey") -> bool:
        """Return whether the key signed it: at least one signature names the key, and all of those are valid."""
        ours = [each for each in self.signatures if (each.name, each.key_id) == (key.name, key.key_id)]
        return bool(ours) and all(key.verifies(self.text, each.signature) for each in ours)


class PublicKey(NamedTuple):
    """A public key that verifies signatures."""

    name: str
    raw: bytes

    @property
    def key_id(self) -> bytes:
        """Four bytes that identify the key; not a proof."""
        return hashlib.sha256(self.name.encode() + b"\n" + ED25519 + self.raw).digest()[:4]

    @property
    def vkey(self) -> str:
        """The key in the C2SP vkey format."""
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(ED25519 + self.raw).decode()}"

    def verifies(self, text: str, signature: bytes) -> bool:
        """Return whether the signature over the text is by this key."""
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, text.encode())
        except InvalidSignature:
            return False
        return True


class PrivateKey:
    """A private key that signs checkpoints. Its repr hides the secret; `adapters.proof.signing_keys` stores it."""

    def __init__(self, name: str, secret: Ed25519PrivateKey) -> None:
        self.secret = secret
        self.public = PublicKey(name, secret.public_key().public_bytes_raw())

    def __repr__(self) -> str:
        return f"PrivateKey({self.public.vkey})"

    def sign(self, checkpoint: Checkpoint) -> str:
        """Return the checkpoint as a signed note (C2SP) with one signature."""
        text = checkpoint.text()
        signature = base64.b64encode(self.public.key_id + self.secret.sign(text.encode())).decode()
        return f"{text}\n{SIGNATURE}{self.public.name} {signature}\n"


def public_key(vkey: str) -> PublicKey:
    """Parse a vkey. Raises InvalidInput."""
    name, key_id, raw = parts_of_key(vkey)
    if len(raw) != 33 or raw[:1] != ED25519:
        raise InvalidInput("key", vkey, KEY_RULE)
    key = PublicKey(name, raw[1:])
    if key.key_id.hex() != key_id:
        raise InvalidInput("key", vkey, f"whole: its id is {key.key_id.hex()}, not {key_id}")
    return key


def parts_of_key(vkey: str) -> tuple[str, str, bytes]:
    """Return the name, key id and typed bytes of a vkey of any kind. Raises InvalidInput."""
    name, _, rest = vkey.strip().partition("+")
    key_id, _, encoded = rest.partition("+")
    raw = decoded(encoded)
    if not _is_name(name) or not key_id or raw is None:
        raise InvalidInput("key", vkey, KEY_RULE)
    return name, key_id, raw


def parse(note: str) -> Note:
    """Parse a checkpoint's signed note (C2SP). Raises InvalidInput if it is none; does not verify its signatures."""
    text, blank, tail = note.rpartition("\n\n")
    lines = text.split("\n")
    signatures = [signature_of(line) for line in tail.removesuffix("\n").split("\n")] if tail else []
    if not blank or not tail.endswith("\n") or not 1 <= len(signatures) <= SIGNATURES_MAX:
        raise _unreadable(note, "a signed note: text, a blank line, signatures, each line ended")
    if any(ord(each) < 32 and each != "\n" for each in note) or not _is_text(note):
        raise _unreadable(note, "text without control characters")
    if len(lines) < 3 or not all(lines):
        raise _unreadable(note, "a checkpoint: origin, size, root")
    origin, size, root, *more = lines
    raw = decoded(root)
    if not (size.isascii() and size.isdecimal()) or str(int(size[:20])) != size or int(size) > SIZE_MAX:
        raise _unreadable(note, "a checkpoint: its second line is the number of events")
    if raw is None or len(raw) != HASH_BYTES:
        raise _unreadable(note, "a checkpoint: its third line is the root in base64")
    found = tuple(each for each in signatures if each is not None)
    if len(found) != len(signatures):
        raise _unreadable(note, "a signed note: a line of its signatures is none")
    return Note(Checkpoint(origin, int(size), raw, tuple(more)), text + "\n", found)


def parse_many(text: str) -> list[Note]:
    """Parse a witness's file of checkpoints, one after the other. Raises InvalidInput."""
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
    """Return the vkeys of the successors that a checkpoint names."""
    return [line.removeprefix(NEXT_KEY) for line in note.checkpoint.lines if line.startswith(NEXT_KEY)]


def previous_of(note: Note) -> int | None:
    """Return the size of the checkpoint signed before this one, as this one names it; None if it does not."""
    sizes = [line.removeprefix(PREVIOUS) for line in note.checkpoint.lines if line.startswith(PREVIOUS)]
    is_size = len(sizes) == 1 and sizes[0].isascii() and sizes[0].isdecimal() and len(sizes[0]) <= SIZE_DIGITS_MAX
    return int(sizes[0]) if is_size else None


class Tenure(NamedTuple):
    """A key and its validity: checkpoints of more than `since` events, up to the next key's `since`.

    `handover` is the previous key's last checkpoint, which names this key; None for the first.
    """

    key: PublicKey
    since: int
    handover: str | None


class Pin(NamedTuple):
    """A key that is trusted, and why: a phrase such as "given with --key". It signs checkpoints of more than `since`
    events, if that is known."""

    key: PublicKey
    source: str
    since: int | None = None


def check_succession(
    tenures: Iterable[Tenure],
    origin: str,
    trusted: PublicKey | None = None,
    *,
    pins: Sequence[Pin] = (),
    size: int | None = None,
) -> list[Tenure]:
    """Check that each key is named by a checkpoint signed by the previous key; return the chain. Raises HistoryBroken.

    The `trusted` key and every pinned one must be in the chain. Only what follows the first of them is checked, and a
    pinned key needs no statement of the one before. The checkpoint of `size` events, if given, must be signed by the
    first of them or a later one: what was signed before it is covered by that checkpoint.
    """
    chain = list(tenures)
    if not chain:
        raise HistoryBroken("no public key is published: nothing of this ledger was ever sealed")
    keys = [tenure.key for tenure in chain]
    believed = {pin.key: pin.source for pin in pins} | ({trusted: "given with --key"} if trusted else {})
    for key, source in believed.items():
        if key not in keys:
            raise HistoryBroken(
                f"wrong key: this ledger is signed by {keys[-1].vkey}, and never was by {key.vkey} ({source}); get "
                "the key from its owner, by another way than the one this came by. If it is the one you have, somebody "
                "else has signed a history of their own: keep this one as it is, and compare it with a backup"
            )
    for pin in pins:
        if pin.since not in (None, since := chain[keys.index(pin.key)].since):
            raise HistoryBroken(
                f"wrong key: {pin.key.vkey} ({pin.source}) signs from {pin.since} events on, and is published as if it "
                f"did from {since} on, after {keys[max(keys.index(pin.key) - 1, 0)].vkey}: somebody else has signed"
            )
    first = min((keys.index(key) for key in believed), default=0)
    for number, (before, tenure) in enumerate(itertools.pairwise(chain)):
        if tenure.since < before.since:
            raise HistoryBroken(f"the key {tenure.key.vkey} begins before its predecessor")
        if number >= first and tenure.key not in believed and not is_vouched(before, tenure, origin):
            why = believed.get(before.key)
            raise HistoryBroken(
                f"the key {tenure.key.vkey} signs from {tenure.since} events on, and the key before, {before.key.vkey}"
                f"{f' ({why})' if why else ''}, does not vouch for it: its owner has lost the old key, or "
                "somebody else has signed a history of their own. If its owner gave you the new key, by another way "
                "than this one, name it with --key, or pin it with `daybook keys seal pin`"
            )
    if believed and size is not None and (signer := signer_of(chain, size)) not in keys[first:]:
        raise HistoryBroken(
            f"wrong key: {keys[first].vkey} ({believed.get(keys[first])}) has signed nothing yet; the newest "
            f"checkpoint, of {size} events, is signed by {signer.vkey}. Seal the log with the new key, or trust the "
            "old one as well"
        )
    return chain


def pins_of(kept: Iterable[Note], chain: Sequence[Tenure]) -> list[Pin]:
    """Return the keys of the chain that signed checkpoints kept elsewhere: the keeper trusted them."""
    return [
        Pin(tenure.key, f"it signed the kept checkpoint of {note.checkpoint.size} events")
        for note in kept
        for tenure in chain
        if note.is_signed_by(tenure.key)
    ]


def breaks(chain: Sequence[Tenure], origin: str) -> list[tuple[Tenure, Tenure]]:
    """Return the pairs of keys where the earlier one did not vouch for the later."""
    return [pair for pair in itertools.pairwise(chain) if not is_vouched(*pair, origin)]


def handovers(chain: Sequence[Tenure], origin: str) -> list[Note]:
    """Return the statements by which keys of the chain vouch for the next ones: checkpoints that stay binding."""
    return [
        parse(tenure.handover)
        for before, tenure in itertools.pairwise(chain)
        if tenure.handover is not None and is_vouched(before, tenure, origin)
    ]


def is_vouched(before: Tenure, tenure: Tenure, origin: str) -> bool:
    """Return whether the key before has signed a checkpoint that names this key and where it begins."""
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
    """Return the key that signs checkpoints of `size` events."""
    return next((tenure.key for tenure in reversed(chain) if size > tenure.since), chain[0].key)


def signature_of(line: str) -> Signature | None:
    """Parse a signature line of a note; None if it is none."""
    if not line.startswith(SIGNATURE) or line.count(" ") != 2:
        return None
    name, encoded = line.removeprefix(SIGNATURE).split(" ")
    raw = decoded(encoded)
    return Signature(name, raw[:4], raw[4:]) if _is_name(name) and raw is not None and len(raw) > 4 else None


def _is_name(name: str) -> bool:
    return bool(name) and "+" not in name and name.isprintable() and not any(each.isspace() for each in name)


def _is_text(note: str) -> bool:
    """Return whether it can be encoded: half characters, as of an argument that is no UTF-8, cannot."""
    try:
        note.encode()
    except UnicodeEncodeError:
        return False
    return True


def encoded(raw: bytes) -> str:
    """Encode bytes in canonical base64."""
    return base64.b64encode(raw).decode()


def decoded(text: str) -> bytes | None:
    """Decode canonical base64; None if it is not."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if base64.b64encode(raw).decode() == text else None


def _unreadable(note: str, rule: str) -> InvalidInput:
    return InvalidInput("checkpoint", note[:200], rule)
