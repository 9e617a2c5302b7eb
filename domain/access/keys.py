"""API keys: issued, given other scopes and bounds, rotated, revoked. The log decides what a key may do.

A key may be bounded to accounts and strategies, and to a time until which it is valid. Rotated, it has another secret;
the one before is valid beside it for a while.

No event has a secret or its hash, which is in the table. The `fingerprint` is a hash of the key's id and that hash:
it shows when a row of the table has been exchanged for another, and nothing that would help to find a key.
`domain.ledger` calls `decide` with the rights of who requests it.
"""

import hashlib
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import assert_never

from msgspec import Struct
from msgspec.structs import replace

from domain import values
from domain.access.identity import Identity
from domain.access.scopes import Scope, present, rights
from domain.errors import InvalidInput, RequestRefused

REASON_MAX = 500
PARTS_MAX = 100  # accounts, or strategies, that one key is bounded to
OVERLAP_SECONDS = 24 * 3600
OVERLAP_SECONDS_MAX = 31 * 24 * 3600
OF_OLD_ACTORS = "cli."  # actors of the command line were once named so


class Bounds(Struct, frozen=True, omit_defaults=True):
    """What a key is bounded to: accounts and strategies (none given: all), and a time until which it is valid."""

    accounts: tuple[str, ...] = ()
    strategies: tuple[str, ...] = ()
    expires_at: datetime | None = None

    @property
    def is_partial(self) -> bool:
        """Whether it is bounded to some accounts or strategies."""
        return bool(self.accounts or self.strategies)

    def present(self) -> "Bounds":
        """Return them as they are recorded: each part once, in sequence; none at all are left out of what is stored."""
        made = Bounds(tuple(sorted(set(self.accounts))), tuple(sorted(set(self.strategies))), self.expires_at)
        return UNBOUNDED if made == UNBOUNDED else made

    def has_account(self, account_id: str) -> bool:
        """Whether an account is within the bounds."""
        return not self.accounts or account_id in self.accounts

    def has_strategy(self, strategy_id: str) -> bool:
        """Whether a strategy is within the bounds."""
        return not self.strategies or strategy_id in self.strategies

    def is_looser_than(self, other: "Bounds") -> bool:
        """Whether anything is allowed within these bounds that is not within the other ones."""
        until, before = self.expires_at, other.expires_at
        return (
            _is_wider(self.accounts, other.accounts)
            or _is_wider(self.strategies, other.strategies)
            or (before is not None and (until is None or until > before))
        )


UNBOUNDED = Bounds()


def _is_wider(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    return bool(other) and (not one or not set(one) <= set(other))


# Events: the stored format. A name or a field here outlives this code; change one only with an upcast.
class KeyIssued(Struct, frozen=True, tag="KeyIssued", omit_defaults=True):
    """An API key was issued; `name` says who uses it. `fingerprint` ties it to the hash of its secret.

    `issued_by` requested it, and has seen the secret; absent where that is not known.
    """

    key_id: str
    name: str
    scopes: tuple[str, ...]
    fingerprint: str
    issued_by: Identity | None
    transact_time: datetime
    bounds: Bounds = UNBOUNDED  # added


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


class KeyBounded(Struct, frozen=True, tag="KeyBounded"):
    """A key has other bounds from here on; `before` are those it had."""

    key_id: str
    name: str
    bounds: Bounds
    before: Bounds
    transact_time: datetime


class KeyRotated(Struct, frozen=True, tag="KeyRotated"):
    """A key has another secret from here on, of this fingerprint; the one before is valid until `previous_until`.

    `rotated_by` requested it, and has seen the new secret; None where that is not known.
    """

    key_id: str
    name: str
    fingerprint: str
    previous_until: datetime
    rotated_by: Identity | None
    transact_time: datetime


class KeyRevoked(Struct, frozen=True, tag="KeyRevoked"):
    """A key was revoked for good."""

    key_id: str
    name: str
    reason: str
    transact_time: datetime


KeyEvent = KeyIssued | KeyRegistered | KeyRescoped | KeyBounded | KeyRotated | KeyRevoked


class IssueKey(Struct, frozen=True, tag="IssueKey", omit_defaults=True):
    """Issue a key. A stored format too, in a proposal."""

    key_id: str
    name: str
    scopes: tuple[str, ...]
    fingerprint: str
    transact_time: datetime
    bounds: Bounds = UNBOUNDED


class RescopeKey(Struct, frozen=True, tag="RescopeKey"):
    """Give a key other scopes. A stored format too, in a proposal."""

    key_id: str
    scopes: tuple[str, ...]
    transact_time: datetime


class BoundKey(Struct, frozen=True, tag="BoundKey"):
    """Give a key other bounds: all that it has from now on. A stored format too, in a proposal."""

    key_id: str
    bounds: Bounds
    transact_time: datetime


class RotateKey(Struct, frozen=True, tag="RotateKey"):
    """Give a key another secret; the one before stays valid for so long. A stored format too, in a proposal."""

    key_id: str
    fingerprint: str
    overlap_seconds: int
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


KeyRequest = IssueKey | RescopeKey | BoundKey | RotateKey | RevokeKey


class Key(Struct, frozen=True):
    """A key as the log has it."""

    key_id: str
    name: str
    scopes: tuple[str, ...]
    fingerprint: str
    issued_at: datetime
    revoked_at: datetime | None = None
    issued_by: Identity | None = None  # or who rotated it last: who has seen its secret
    bounds: Bounds = UNBOUNDED
    previous: str = ""  # the fingerprint of the secret before
    previous_until: datetime | None = None

    @property
    def is_valid(self) -> bool:
        """Whether it is not revoked. It may have expired."""
        return self.revoked_at is None

    def is_expired(self, now: datetime) -> bool:
        """Whether its time is over."""
        return self.bounds.expires_at is not None and now >= self.bounds.expires_at

    def has_secret(self, of_secret: str, now: datetime) -> bool:
        """Whether a secret of this fingerprint is the key's own, or the one before while that is valid."""
        is_previous = self.previous_until is not None and of_secret == self.previous and now < self.previous_until
        return of_secret == self.fingerprint or is_previous


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
                    transact_time=request.transact_time, bounds=_bounds(request.bounds, request.transact_time),
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
        case None, RescopeKey() | BoundKey() | RotateKey() | RevokeKey():
            raise RequestRefused("the key is on record; list keys to see which are", key_id=request.key_id)
        case Key(revoked_at=datetime()), RescopeKey() | BoundKey() | RotateKey():
            raise RequestRefused("a revoked key stays revoked; issue another one", key_id=key.key_id)
        case Key(), BoundKey():
            bounds = _bounds(request.bounds, request.transact_time)
            if bounds == key.bounds:
                return ()
            return (KeyBounded(key.key_id, key.name, bounds, key.bounds, transact_time=request.transact_time),)
        case Key(), RotateKey():
            return (_rotated(key, request, who),)
        case Key(), RescopeKey():
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


def _rotated(key: Key, request: RotateKey, who: Identity | None) -> KeyRotated:
    if not 0 <= request.overlap_seconds <= OVERLAP_SECONDS_MAX:
        raise RequestRefused(
            f"a secret is valid beside the next one for 0 to {OVERLAP_SECONDS_MAX} seconds",
            overlap_seconds=request.overlap_seconds,
        )
    if key.is_expired(request.transact_time):
        raise RequestRefused(
            "an expired key is given another time to expire before another secret", expires_at=key.bounds.expires_at
        )
    if request.fingerprint in (key.fingerprint, key.previous):
        raise RequestRefused("another secret than the key has had", key_id=key.key_id)
    return KeyRotated(
        key.key_id, key.name, request.fingerprint,
        previous_until=request.transact_time + timedelta(seconds=request.overlap_seconds), rotated_by=who,
        transact_time=request.transact_time,
    )  # fmt: skip


def _bounds(given: Bounds, at: datetime) -> Bounds:
    for field, parts in (("accounts", given.accounts), ("strategies", given.strategies)):
        if len(parts) > PARTS_MAX:
            raise RequestRefused(f"a key is bounded to at most {PARTS_MAX} {field}", **{field: len(parts)})
        for part in parts:
            try:
                is_normal = values.name(part, field) == part
            except InvalidInput as error:
                raise RequestRefused(f"each of {field} is {error.rule}", **{field: part}) from error
            if not is_normal:
                raise RequestRefused(f"each of {field} is an id in the normal form NFC of Unicode", **{field: part})
    until = given.expires_at
    if until is not None:
        try:
            until = values.zoned(until, "expires_at")
        except InvalidInput as error:
            raise RequestRefused(f"expires_at is {error.rule}", expires_at=until) from error
        if until <= at:
            raise RequestRefused("expires_at is a time to come; revoke the key to end it now", expires_at=until)
    return replace(given, expires_at=until).present()


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
                bounds=event.bounds,
            )
        case KeyRegistered():
            return Key(
                event.key_id, event.name, event.scopes, event.fingerprint, issued_at=event.issued_at,
                revoked_at=event.revoked_at,
            )  # fmt: skip
        case KeyRescoped():
            known = key or Key(event.key_id, event.name, (), "", issued_at=event.transact_time)
            return replace(known, scopes=event.scopes)
        case KeyBounded():
            known = key or Key(event.key_id, event.name, (), "", issued_at=event.transact_time)
            return replace(known, bounds=event.bounds)
        case KeyRotated():
            known = key or Key(event.key_id, event.name, (), "", issued_at=event.transact_time)
            return replace(
                known, fingerprint=event.fingerprint, previous=known.fingerprint, issued_by=event.rotated_by,
                previous_until=event.previous_until,
            )  # fmt: skip
        case KeyRevoked():
            known = key or Key(event.key_id, event.name, (), "", issued_at=event.transact_time)
            return replace(known, revoked_at=event.transact_time)
        case _:
            assert_never(event)
