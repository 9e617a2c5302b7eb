"""The private keys that sign checkpoints, in files under DAYBOOK_HOME/keys that only their owner can read.

A file is `keys/<ledger id>/<key id>.pem`: PKCS #8, Ed25519. The database has the public keys and never sees a private
one. A key's file is never overwritten.
"""

import os
import stat
from pathlib import Path
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from adapters.proof.checkpoints import PrivateKey, PublicKey
from domain.errors import HistoryBroken, RequestRefused

PRIVATE_DIRECTORY = 0o700
PRIVATE_FILE = 0o600


class KeyAbsent(RequestRefused):
    """There is no usable private key here. The message names where it should be, and what to do."""


class KeyRing:
    """The private keys of one ledger under one home."""

    def __init__(self, home: Path, ledger_id: UUID, name: str) -> None:
        self.directory = home.expanduser() / "keys" / str(ledger_id)
        self._name = name

    def generate(self) -> PrivateKey:
        """Create a key, synced to disk before it is returned. Raises KeyAbsent if it cannot be stored."""
        key = PrivateKey(self._name, Ed25519PrivateKey.generate())
        path = self._path(key.public)
        try:
            for directory in (self.directory.parent, self.directory):
                directory.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
            with os.fdopen(file, "wb") as pem:
                pem.write(key.secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
                pem.flush()
                os.fsync(pem.fileno())
            _sync_directory(self.directory)
        except OSError as error:
            raise KeyAbsent(f"a new signing key can be kept in {self.directory} ({error.strerror})") from error
        return key

    def private(self, public: PublicKey) -> PrivateKey:
        """Load the private half of a published key. Raises KeyAbsent, and HistoryBroken if the file has another key."""
        path = self._path(public)
        try:
            if stat.S_IMODE(path.stat().st_mode) & 0o077:
                raise KeyAbsent(f"only its owner may read {path}: chmod 600 it, then `daybook keys seal rotate`")
            secret = load_pem_private_key(path.read_bytes(), password=None)
        except FileNotFoundError as error:
            raise KeyAbsent(
                f"the key that signs this ledger is at {path}: run where it is, copy it there, or begin a new one "
                "with `daybook keys seal rotate --lost`"
            ) from error
        except (OSError, ValueError, TypeError) as error:
            raise KeyAbsent(f"{path} is a key that can be read: restore it from its backup") from error
        if not isinstance(secret, Ed25519PrivateKey) or secret.public_key().public_bytes_raw() != public.raw:
            raise HistoryBroken(f"wrong key: {path} is not the private half of {public.vkey}")
        return PrivateKey(self._name, secret)

    def has(self, public: PublicKey) -> bool:
        """Return whether the private half is here."""
        return self._path(public).exists()

    def discard(self, key: PrivateKey) -> None:
        """Remove a key that was never published."""
        self._path(key.public).unlink(missing_ok=True)

    def _path(self, public: PublicKey) -> Path:
        return self.directory / f"{public.key_id.hex()}.pem"


def _sync_directory(path: Path) -> None:
    directory = os.open(path, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
