"""The keys that a verification trusts: those given to it, and those pinned in the home.

A database is trusted on first use: its key is pinned once everything else is verified, and said so. A bundle pins
nothing by itself, because anyone can make one; a key for it is given, or pinned with `daybook keys seal pin`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from adapters.postgres import advice, connections, own_home
from adapters.postgres.connections import Role, connect, reaching
from adapters.proof import checkpoints
from adapters.proof.checkpoints import Pin, PublicKey, Tenure
from adapters.proof.pins import Pins
from adapters.proof.tiles import identity, origin_of, tenures
from api.settings import Settings
from api.terminal.output import warn
from domain.errors import HistoryBroken, InvalidInput, RequestRefused, Unavailable

KEY_FILE_BYTES_MAX = 64 * 1024


class Trust(NamedTuple):
    """The pins of one verification. `pinned_now` is the key that it has pinned, on first use."""

    pins: Sequence[Pin]
    pinned_now: PublicKey | None = None

    def as_json(self) -> dict[str, Any]:
        """Return what was trusted, and why."""
        return {
            "pinned": [{"vkey": pin.key.vkey, "source": pin.source} for pin in self.pins],
            "is_pinned": bool(self.pins),
            "pinned_now": self.pinned_now.vkey if self.pinned_now else None,
        }


def no_home() -> str:
    """Return why keys cannot be pinned, and what to do."""
    return f"keys are pinned in a home that this account has made: {advice.elsewhere()}"


def given_keys(values: Sequence[str]) -> list[Pin]:
    """Return the keys of `--key`: each a public key, or a file of them, one a line. Raises InvalidInput."""
    found = []
    for value in values:
        path = Path(value)
        if "+" in value or not path.is_file():
            found.append(Pin(checkpoints.public_key(value), "given with --key"))
        else:
            found += [Pin(key, f"from {path}, given with --key") for key in keys_in(path)]
    return found


def keys_in(path: Path) -> list[PublicKey]:
    """Return the public keys of a file, one a line; lines that begin with # are skipped. Raises InvalidInput."""
    try:
        with path.open("rb") as file:
            text = file.read(KEY_FILE_BYTES_MAX).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput("key", str(path), f"a file of public keys that can be read ({error})") from error
    lines = [line.strip() for line in text.splitlines()]
    found = [checkpoints.public_key(line) for line in lines if line and not line.startswith("#")]
    if not found:
        raise InvalidInput("key", str(path), "a file of public keys: it has none")
    return found


def pins_of_home(settings: Settings, *, is_made: bool) -> Pins | None:
    """Return the pins of the home; None if it cannot be trusted, or does not exist and need not be made.

    A home in the current directory counts only if this account made it: a stranger's folder may bring one along.
    """
    if "home" in settings.model_fields_set:
        return Pins(settings.home)
    if not is_made and not settings.home.exists():
        return None
    try:
        own_home.check(settings.home)
    except Unavailable:
        return None
    return Pins(settings.home)


def published(url: str) -> tuple[str, list[Tenure]]:
    """Return the origin of a database's ledger, empty before it has one, and its published keys."""
    with reaching(url), connect(url, Role.AUDITOR) as connection:
        ledger_id, chain = identity(connection), tenures(connection)
    return origin_of(ledger_id) if ledger_id else "", chain


def of_home(pins: Pins | None, origin: str, chain: Sequence[Tenure], place: str = "") -> list[Pin]:
    """Return what a home trusts of a ledger, whose database is `place`. Raises HistoryBroken if that had another ledger
    before, of which a key is pinned, or if the home has other keys of this one.
    """
    if pins is None or not origin:
        return []
    if place:
        pins.check_place(place, origin)
    return pins.of_chain(origin, chain) if chain else pins.of(origin)


def pin_first_use(url: str, pins: Pins | None, chain: Sequence[Tenure]) -> PublicKey | None:
    """Pin the key that signs a database now; return it, or None if it cannot be stored. Warns either way."""
    key, found = chain[-1].key, no_home()
    if pins is not None:
        try:
            pins.add(key, chain[-1].since)
            pins.remember(connections.name(url), key.name)
        except (RequestRefused, HistoryBroken) as error:
            found = str(error)
        else:
            warn(
                f"No key was pinned before, so anyone may have signed this history. {key.vkey} is trusted from now "
                f"on, and pinned in {pins.path}: compare it with the key that the ledger's owner gave you"
            )
            return key
    warn(
        f"No key is pinned, so anyone may have signed this history: {key.vkey}. Compare it with the key that the "
        f"ledger's owner gave you, and pass that one with --key. It was not pinned: {found}"
    )
    return None


def warn_of_bundle(vkey: str) -> None:
    """Warn that nothing vouches for the key of a bundle."""
    warn(
        f"No key is pinned, so anyone may have made this bundle: {vkey}. Compare that key with the one that the "
        "ledger's owner gave you, and pass that one with --key, or pin it with daybook keys seal pin"
    )
