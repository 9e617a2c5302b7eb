"""A witness of other ledgers in the C2SP tlog-witness protocol: remembers the largest checkpoint of each, and cosigns.

Its directory has `key.pem` (Ed25519), `logs` (the public keys that it trusts, a vkey a line) and, for each log, the
checkpoint last cosigned, in a file named by the SHA-256 of its origin. A checkpoint is on disk before it is answered.
"""

import fcntl
import hashlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from adapters.proof import checkpoints, cosignatures
from adapters.proof.checkpoints import Note, PublicKey
from adapters.proof.cosignatures import COSIGNATURE_V1, WitnessKey
from domain.errors import InvalidInput, RequestRefused
from domain.sealed import merkle

HASHES_MAX = 63
BODY_BYTES_MAX = 256 * 1024
LOGS_BYTES_MAX = 1024 * 1024
TEXT = "text/plain; charset=utf-8"
SIZE = "text/x.tlog.size"
LOCK = "lock"


class Reply(NamedTuple):
    """What a request is answered with: an HTTP status, a text, its type."""

    status: int
    text: str
    kind: str = TEXT


class Submission(NamedTuple):
    """A request to cosign: the size cosigned before, the proof from there, the checkpoint."""

    old: int
    proof: list[bytes]
    note: Note


class Witnessing:
    """A witness with its state in a directory. Safe between threads; one process at a time. Close it when done.

    Raises RequestRefused if another process works with the directory, or its key cannot be used.
    """

    def __init__(self, directory: Path, name: str, now: Callable[[], float] = time.time) -> None:
        self._directory = directory
        self._now = now
        self._lock = threading.Lock()
        self._only = _locked(directory)
        try:
            self._secret = _secret(directory / "key.pem")
            self.key = WitnessKey(name, COSIGNATURE_V1, self._secret.public_key().public_bytes_raw())
            cosignatures.witness_key(self.key.vkey)  # its name can be used
        except (OSError, ValueError, TypeError) as error:
            self.close()
            raise RequestRefused(f"{directory} has a key that can be used ({error})") from error
        except InvalidInput:
            self.close()
            raise

    def close(self) -> None:
        """Let another process work with the directory."""
        self._only.close()

    def trust(self, keys: list[PublicKey]) -> int:
        """Trust the keys of logs, each named like its origin; return how many were not trusted yet."""
        known = {key for each in self._logs().values() for key in each}
        new = [key for key in keys if key not in known]
        with (self._directory / "logs").open("a") as file:
            file.writelines(f"{key.vkey}\n" for key in new)
        return len(new)

    def add_checkpoint(self, body: bytes) -> Reply:
        """Cosign a checkpoint that continues the last one; the answer is that of the protocol."""
        try:
            found = _submission(body)
            logs = self._logs().get(found.note.checkpoint.origin)
        except (InvalidInput, UnicodeDecodeError, ValueError) as error:
            return Reply(400, f"{error}\n")
        if logs is None:
            return Reply(404, "unknown log\n")
        ids = {(key.name, key.key_id) for key in logs}
        named = tuple(each for each in found.note.signatures if (each.name, each.key_id) in ids)
        signers = [key for key in logs if any((each.name, each.key_id) == (key.name, key.key_id) for each in named)]
        if not signers or not all(found.note.is_signed_by(key) for key in signers):
            return Reply(403, "no valid signature of a known key\n")
        found = found._replace(note=found.note._replace(signatures=named))  # of others none is kept
        with self._lock:
            return self._cosigned(found)

    def latest(self, origin_hash: str) -> str | None:
        """Return the checkpoint last cosigned of the log whose origin has this SHA-256, in lowercase hex."""
        if len(origin_hash) != 64 or not set(origin_hash) <= set("0123456789abcdef"):
            return None
        path = self._directory / origin_hash
        return path.read_text(encoding="utf-8") if path.exists() else None

    def _cosigned(self, found: Submission) -> Reply:
        checkpoint = found.note.checkpoint
        path = self._directory / hashlib.sha256(checkpoint.origin.encode()).hexdigest()
        seen = checkpoints.parse(path.read_text(encoding="utf-8")).checkpoint if path.exists() else None
        size, root = (seen.size, seen.root) if seen else (0, merkle.EMPTY_ROOT)
        if found.old > checkpoint.size:
            return Reply(400, "the old size is beyond the checkpoint\n")
        if found.old != size:
            return Reply(409, f"{size}\n", SIZE)
        is_first = size == 0 and not found.proof and (checkpoint.size > 0 or checkpoint.root == merkle.EMPTY_ROOT)
        if not is_first and not (
            size and merkle.is_consistent(size, checkpoint.size, root, checkpoint.root, proof=found.proof)
        ):
            return Reply(422, "the checkpoint does not continue the last one that was cosigned\n")
        moment = int(self._now())
        message = cosignatures.signed_message(self.key, checkpoint, moment)
        line = cosignatures.line_of(self.key, moment, self._secret.sign(message))
        kept = "".join(cosignatures.text_of(each) for each in found.note.signatures)
        _write(path, f"{found.note.text}\n{kept}{line}")
        return Reply(200, line)

    def _logs(self) -> dict[str, list[PublicKey]]:
        """Return the trusted keys by origin, read again each time: a key can be added while the witness runs."""
        path, found = self._directory / "logs", dict[str, list[PublicKey]]()
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        for line in text[:LOGS_BYTES_MAX].splitlines():
            if line.strip() and not line.startswith("#"):
                key = checkpoints.public_key(line)
                found.setdefault(key.name, []).append(key)
        return found


def _submission(body: bytes) -> Submission:
    if len(body) > BODY_BYTES_MAX:
        raise InvalidInput("body", len(body), f"at most {BODY_BYTES_MAX} bytes")
    head, blank, text = body.decode().partition("\n\n")
    first, *hashes = head.split("\n")
    size = first.removeprefix("old ")
    if not blank or size == first or not (size.isascii() and size.isdecimal()) or str(int(size[:20])) != size:
        raise InvalidInput("body", head[:80], "a line old SIZE, hashes, a blank line and a checkpoint")
    proof = [checkpoints.decoded(line) for line in hashes]
    if len(proof) > HASHES_MAX or any(each is None or len(each) != merkle.HASH_BYTES for each in proof):
        raise InvalidInput("body", head[:80], f"a proof of at most {HASHES_MAX} hashes in base64")
    return Submission(int(size), [each for each in proof if each is not None], checkpoints.parse(text))


def _locked(directory: Path) -> IO[str]:
    """Make the directory, and keep other processes out of it until the file is closed. Raises RequestRefused."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = (directory / LOCK).open("w")
    except OSError as error:
        raise RequestRefused(f"{directory} can be written ({error.strerror})") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise RequestRefused(f"no other process witnesses with {directory}: stop that one first") from error
    return file


def _secret(path: Path) -> Ed25519PrivateKey:
    if not path.exists():
        made = Ed25519PrivateKey.generate()
        _write(path, made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())
        return made
    found = load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(found, Ed25519PrivateKey):
        raise TypeError("it is no Ed25519 key")
    return found


def _write(path: Path, text: str) -> None:
    """Replace a file at once, and sync it with its directory."""
    unfinished = path.with_name(f"{path.name}.part")
    file = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(file, "wb") as written:
        written.write(text.encode())
        written.flush()
        os.fsync(written.fileno())
    unfinished.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
