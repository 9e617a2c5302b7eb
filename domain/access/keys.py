"""API keys: issued, given other scopes, revoked. The log decides what a key may do; the table has the secret's hash.

No event has a secret or its hash. The `fingerprint` is a hash of the key's id and that hash: it shows when a row of
the table has been exchanged for another, and nothing that would help to find a key. `domain.ledger` calls `decide`
with the rights of who requests it.
"""

import hashlib
from collections.abc import Iterable
from datetime import datetime
from typing import assert_never

from msgspec import Struct
from msgspec.structs import replace

from domain import values
from domain.access.identity import Identity
from domain.access.scopes import Scope, present, rights
from domain.errors import InvalidInput, RequestRefused

REASON_MAX = 500
OF_OLD_ACTORS = "cli."  # actors of the command line were once named so


# Events: the stored format. A name or a field here outlives this code; change one only with an upcast.
class KeyIssued(Struct, frozen=True, tag="KeyIssued"):
    """An API key was issued; `name` says who uses it. `fingerprint` ties it to the hash of its secret.

    `issued_by` requested it, and has seen the secret; absent where that is not known.
    """

    key_id: str
    name: str
    scopes: tuple[str, ...]
    fingerprint: str
    issued_by: Identity | None
    transact_time: datetime


class KeyRegistered(Struct, frozen=True, tag="KeyRegistered"):
    """A key that was in the table only: found by an upgrade, from before keys were on record; or found and revoked."""

    key_id: str
    name: str
    scopes: tuple[str, ...]
    fingerprint: str
    issued_at: datetime
    revoked_at: datetime | None
    transact_time: datetime


class KeyRescoped(Struct, frozen=True, tag="KeyRescoped"):
    """A key has other scopes from here on; `before` are those it had."""

    key_id: str
    name: str
    scopes: tuple[str, ...]
    before: tuple[str, ...]
    transact_time: datetime


class KeyRevoked(Struct, frozen=True, tag="KeyRevoked"):
    """A key was revoked for good."""

    key_id: str
    name: str
    reason: str
    transact_time: datetime


KeyEvent = KeyIssued | KeyRegistered | KeyRescoped | KeyRevoked


class IssueKey(Struct, frozen=True, tag="IssueKey"):
    """Issue a key. A stored format too, in a proposal."""

    key_id: str
    name: str
    scopes: tuple[str, ...]
    fingerprint: str
    transact_time: datetime


class RescopeKey(Struct, frozen=True, tag="RescopeKey"):
    """Give a key other scopes. A stored format too, in a proposal."""

    key_id: str
    scopes: tuple[str, ...]
    transact_time: datetime


class Found(Struct, frozen=True):
    """What the table has of a key."""

    name: str
    scopes: tuple[str, ...]
    fingerprint: str
    issued_at: datetime


class RevokeKey(Struct, frozen=True):
    """Revoke a key. `found` is what the table has of it, so that one that is not on record comes there, revoked."""

    key_id: str
    reason: str
    transact_time: datetime
    found: Found | None = None


KeyRequest = IssueKey | RescopeKey | RevokeKey


class Key(Struct, frozen=True):
    """A key as the log has it."""

    key_id: str
    name: str
    scopes: tuple[str, ...]
    fingerprint: str
    issued_at: datetime
    revoked_at: datetime | None = None
    issued_by: Identity | None = None

    @property
    def is_valid(self) -> bool:
        """Whether it is not revoked."""
        return self.revoked_at is None


def stream(key_id: str) -> str:
    """The stream of one key."""
    return f"access:{key_id}"


def fingerprint(key_id: str, secret_sha256: bytes) -> str:
    """Return the hash that ties a key's events to the hash of its secret."""
    return hashlib.sha256(b"daybook key\n" + key_id.encode() + b"\n" + secret_sha256).hexdigest()


def decide(
    key: Key | None, request: KeyRequest, own: frozenset[str] | None = None, who: Identity | None = None
) -> tuple[KeyEvent, ...]:
    """The events that carry out a request of `who`; () if already in effect. Raises RequestRefused.

    `own` are the rights of the key that requests it, which it cannot exceed; None for an operator of the machine.
    """
    if own is not None and Scope.ADMIN not in own:
        raise RequestRefused("keys are managed by a valid key with the scope admin", key_id=request.key_id)
    match key, request:
        case None, IssueKey():
            _check_name(request.name)
            scopes = _scopes(request.scopes)
            _check_own(scopes, (), own)
            return (
                KeyIssued(
                    request.key_id, request.name, scopes, request.fingerprint, issued_by=who,
                    transact_time=request.transact_time,
                ),
            )  # fmt: skip
        case Key(), IssueKey():
            raise RequestRefused("one key_id names one key", key_id=request.key_id)
        case None, RevokeKey(found=Found() as found):
            return (
                KeyRegistered(
                    request.key_id, found.name, found.scopes, found.fingerprint, issued_at=found.issued_at,
                    revoked_at=request.transact_time, transact_time=request.transact_time,
                ),
            )  # fmt: skip
        case None, RescopeKey() | RevokeKey():
            raise RequestRefused("the key is on record; list keys to see which are", key_id=request.key_id)
        case Key(), RescopeKey():
            if not key.is_valid:
                raise RequestRefused("a revoked key stays revoked; issue another one", key_id=key.key_id)
            scopes = _scopes(request.scopes)
            if scopes == key.scopes:
                return ()
            _check_own(scopes, key.scopes, own)
            return (KeyRescoped(key.key_id, key.name, scopes, before=key.scopes, transact_time=request.transact_time),)
        case Key(), RevokeKey():
            if len(request.reason) > REASON_MAX:
                raise RequestRefused(f"a reason of at most {REASON_MAX} characters", key_id=key.key_id)
            return (KeyRevoked(key.key_id, key.name, request.reason, request.transact_time),) if key.is_valid else ()
        case _:
            raise AssertionError("every pair is above")


def _check_name(name: str) -> None:
    try:
        values.plain_name(name, "name")
    except InvalidInput as error:
        raise RequestRefused(f"the name of a key is {error.rule}", name=name) from error
    if name.startswith(OF_OLD_ACTORS):
        raise RequestRefused(f"the name of a key does not begin with {OF_OLD_ACTORS}", name=name)


def _scopes(given: Iterable[str]) -> tuple[str, ...]:
    scopes = present(given)
    unknown = [scope for scope in scopes if scope not in set(Scope)]
    if unknown or not scopes:
        raise RequestRefused(f"a key has scopes out of {', '.join(_offered())}", scopes=list(scopes))
    return scopes


def _offered() -> list[str]:
    return [scope.value for scope in Scope if scope is not Scope.REPORT]


def _check_own(scopes: tuple[str, ...], before: tuple[str, ...], own: frozenset[str] | None) -> None:
    if own is None:
        return
    beyond = sorted(rights(scopes) - rights(before) - own)
    if beyond:
        raise RequestRefused(
            "a key gives no scope that it has not itself; let a key with that scope, or an operator, do it",
            beyond=beyond, own=sorted(own),
        )  # fmt: skip


def evolve(key: Key | None, event: KeyEvent) -> Key:
    """The key after an event. Total and unconditional."""
    match event:
        case KeyIssued():
            return Key(
                event.key_id,
                event.name,
                event.scopes,
                event.fingerprint,
                issued_at=event.transact_time,
                issued_by=event.issued_by,
            )
        case KeyRegistered():
            return Key(
                event.key_id, event.name, event.scopes, event.fingerprint, issued_at=event.issued_at,
                revoked_at=event.revoked_at,
            )  # fmt: skip
        case KeyRescoped():
            known = key or Key(event.key_id, event.name, (), "", issued_at=event.transact_time)
            return replace(known, scopes=event.scopes)
        case KeyRevoked():
            known = key or Key(event.key_id, event.name, (), "", issued_at=event.transact_time)
            return replace(known, revoked_at=event.transact_time)
        case _:
            assert_never(event)
