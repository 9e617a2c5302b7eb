"""Pinned keys: the public keys that a home trusts, and which ledger each database held when this home saw it last.

They are in `DAYBOOK_HOME/keys/pinned`, one a line: `pin <vkey> <since size>`, `ledger <origin> <database>`. A key is
pinned when it is made here, given by `daybook keys seal pin`, or met for the first time by `daybook verify`. Who can
write only to the database cannot change this file: that is its point.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from adapters.proof import checkpoints
from adapters.proof.checkpoints import Pin, PublicKey, Tenure
from domain.errors import HistoryBroken, InvalidInput, RequestRefused

FILE_BYTES_MAX = 4 * 1024 * 1024
HEADER = (
    "# The public keys that this home trusts (pin), and the ledger that each database held (ledger).\n"
    "# Written by Daybook. A key is added by `daybook keys seal pin`; to stop trusting one, remove its line.\n"
)


class _Lines(NamedTuple):
    keys: dict[str, dict[PublicKey, int | None]]  # by origin, with the size that each signs from, if it is known
    ledgers: dict[str, str]  # the origin, by database


class Pins:
    """The pinned keys of a home. Nothing is written before the first pin."""

    def __init__(self, home: Path) -> None:
        self._keys = home.expanduser() / "keys"
        self.path = self._keys / "pinned"

    def of(self, origin: str) -> list[Pin]:
        """Return the pins of a ledger, oldest first. Raises HistoryBroken if the file cannot be read."""
        known = self._lines().keys.get(origin, {})
        return [Pin(key, f"pinned in {self.path}", since) for key, since in known.items()]

    def of_chain(self, origin: str, chain: Sequence[Tenure]) -> list[Pin]:
        """Return the pins of a ledger; before the first, the newest key whose private half is here.

        Raises HistoryBroken if private keys of the ledger are here, and none of them is in the chain.
        """
        if found := self.of(origin):
            return found
        here, ours = self._private_here(origin), self.made_here(origin, chain)
        if here and chain and not ours:
            raise HistoryBroken(
                f"wrong key: this ledger is signed by {chain[-1].key.vkey}, and never was by {here[-1].vkey}, whose "
                f"private half is in {self._keys / origin.rpartition('/')[2]}: somebody else has signed it"
            )
        return ours[-1:]

    def made_here(self, origin: str, chain: Sequence[Tenure]) -> list[Pin]:
        """Return the keys of the chain whose private halves are in this home."""
        here = self._private_here(origin)
        source = f"its private key is in {self._keys}"
        return [Pin(tenure.key, source, tenure.since) for tenure in chain if tenure.key in here]

    def check_place(self, place: str, origin: str) -> None:
        """Check that a database still has the ledger that was seen there. Raises HistoryBroken if it has another one,
        no key of which is trusted here."""
        lines = self._lines()
        before = lines.ledgers.get(place, origin)
        if before != origin and not lines.keys.get(origin) and not self._private_here(origin):
            raise HistoryBroken(
                f"the database {place} had the ledger {before} when this home saw it last, and now names itself "
                f"{origin}: its name was changed, or another ledger was put in its place. If that was you, run "
                "`daybook keys seal pin` with the public key of the new one"
            )

    def ledger_at(self, place: str) -> str | None:
        """Return the ledger that a database had when this home saw it last; None if it never did."""
        return self._lines().ledgers.get(place)

    def add(self, key: PublicKey, since: int | None = None) -> bool:
        """Pin a key, which signs checkpoints of more than `since` events; return whether it was not pinned yet.

        Raises RequestRefused if it cannot be stored.
        """
        if key in self._lines().keys.get(key.name, {}):
            return False
        self._append(f"pin {key.vkey}{'' if since is None else f' {since}'}\n")
        return True

    def remember(self, place: str, origin: str) -> None:
        """Record which ledger a database has. Raises RequestRefused if that cannot be stored."""
        if self._lines().ledgers.get(place) != origin:
            self._append(f"ledger {origin} {place}\n")

    def _lines(self) -> _Lines:
        found = _Lines({}, {})
        try:
            with self.path.open("rb") as file:
                text = file.read(FILE_BYTES_MAX).decode()
        except FileNotFoundError:
            return found
        except (OSError, UnicodeDecodeError) as error:
            raise HistoryBroken(f"{self.path} cannot be read ({error}): restore it from a backup") from error
        for number, line in enumerate(text.splitlines(), 1):
            match line.split(" ", 2):
                case ["pin", vkey, *since]:
                    try:
                        key = checkpoints.public_key(vkey)
                        size = int(since[0]) if since else None
                    except (InvalidInput, ValueError) as error:
                        raise HistoryBroken(f"line {number} of {self.path} is damaged: {error}") from error
                    found.keys.setdefault(key.name, {}).setdefault(key, size)
                case ["ledger", origin, place]:
                    found.ledgers[place] = origin
                case _ if line and not line.startswith("#"):
                    raise HistoryBroken(f"line {number} of {self.path} is neither a pin nor a ledger: remove it")
        return found

    def _append(self, line: str) -> None:
        try:
            self._keys.mkdir(mode=0o700, parents=True, exist_ok=True)
            is_new = not self.path.exists()
            file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            with os.fdopen(file, "wb") as lines:
                lines.write((HEADER if is_new else "").encode() + line.encode())
                lines.flush()
                os.fsync(lines.fileno())
        except OSError as error:
            raise RequestRefused(f"a key can be pinned in {self.path} ({error.strerror})") from error

    def _private_here(self, origin: str) -> list[PublicKey]:
        """Return the public halves of the ledger's private keys in this home, oldest file first."""
        found = []
        try:
            files = sorted(
                (self._keys / origin.rpartition("/")[2]).glob("*.pem"), key=lambda path: path.stat().st_mtime
            )
            for path in files:
                secret = load_pem_private_key(path.read_bytes(), password=None)
                if isinstance(secret, Ed25519PrivateKey):
                    found.append(PublicKey(origin, secret.public_key().public_bytes_raw()))
        except (OSError, ValueError, TypeError):  # no key that could sign: the sealer says so when it needs it
            return found
        return found
