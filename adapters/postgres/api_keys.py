"""API keys: issued, verified and revoked. The log decides what a key may do; the table has the hash of its secret.

A key opens the door only if its row and its events agree: the name, the scopes, the hash (by its fingerprint), and that
neither has it revoked. So a row that is inserted or altered by SQL opens nothing. A change is recorded first and then
written to the table: a process that dies between leaves a key that is refused, until the same command is sent again.
"""

import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import reduce
from threading import Lock
from typing import Any, NamedTuple

import psycopg
import structlog

from adapters.postgres import connections
from adapters.postgres.connections import Connection, Role
from adapters.postgres.pool import Pool
from adapters.postgres.scopes import Caller, Scope
from domain import values
from domain.access import (
    UNBOUNDED,
    Actor,
    Approvals,
    BoundKey,
    Bounds,
    Found,
    IssueKey,
    Key,
    KeyIssued,
    KeyRegistered,
    KeyRotated,
    RescopeKey,
    RevokeKey,
    RotateKey,
    approvals,
    fingerprint,
    keys,
    present,
)
from domain.errors import HistoryBroken
from domain.ledger import Answer, Request, schema
from domain.values import EPOCH

__all__ = ["ApiKeys", "Issued", "KeyRow", "Scope", "all_recorded", "difference", "listed", "recorded"]

PREFIX = "dbk"
SECRET_BYTES = 32
CACHED_KEYS_MAX = 1024
NOT_STORED = "its newest secret is not stored; rotate it again"
NO_EVENT = "it has a secret that no event of the log has; it opens nothing"
NOT_APPROVED = "it was proposed and is not approved"
_NO_DIGEST = bytes(32)
log_line = structlog.get_logger("daybook.keys")

ROW = """
SELECT key_sha256, actor, scopes, revoked_at,
    ARRAY(SELECT s.key_sha256 FROM access.key_secrets AS s WHERE s.key_id = api_keys.key_id ORDER BY s.created_at),
    ARRAY(SELECT topic FROM ledger.events WHERE originator_id = 'access:' || key_id ORDER BY originator_version),
    ARRAY(SELECT state FROM ledger.events WHERE originator_id = 'access:' || key_id ORDER BY originator_version)
FROM access.api_keys WHERE key_id = %s
"""
ROW_OF = "SELECT key_sha256, actor, scopes, created_at FROM access.api_keys WHERE key_id = %s"
ROWS = """
SELECT key_id, key_sha256, actor, scopes, created_at, revoked_at, used_at,
    ARRAY(SELECT s.key_sha256 FROM access.key_secrets AS s WHERE s.key_id = api_keys.key_id)
FROM access.api_keys ORDER BY created_at, key_id
"""
PROPOSALS = approvals.STREAM
EVENTS = """
SELECT topic, state FROM ledger.events WHERE originator_id = ANY(%s::text[]) ORDER BY originator_id, originator_version
"""
STREAMS = "SELECT DISTINCT originator_id FROM ledger.events WHERE originator_id LIKE 'access:%'"
INSERT = "INSERT INTO access.api_keys (key_id, key_sha256, actor, scopes) VALUES (%s, %s, %s, %s)"
ADD = "INSERT INTO access.key_secrets (key_sha256, key_id) VALUES (%s, %s)"
USED = "UPDATE access.api_keys SET used_at = %s WHERE key_id = %s AND (used_at IS NULL OR used_at < %s)"
REVOKE = "UPDATE access.api_keys SET revoked_at = %s WHERE key_id = %s AND revoked_at IS NULL"
RESCOPE = "UPDATE access.api_keys SET scopes = %s WHERE key_id = %s AND scopes <> %s"

Carry = Callable[..., Answer]  # carries out a request of the domain, in the name of an `actor`


class KeyRow(NamedTuple):
    """An API key as listed, without its secret. `difference` says how its row differs from the log, if it does.

    `last_used_at` is the minute in which it was used last; `previous_until` the time up to which the secret before the
    last rotation is valid.
    """

    key_id: str
    actor: str
    scopes: list[str]
    accounts: list[str]
    strategies: list[str]
    created_at: datetime
    expires_at: datetime | None
    previous_until: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    difference: str = ""


class KeyExpired(Exception):
    """The key was valid until a time that has passed, or its secret was: `is_rotated` says that there is a new one."""

    def __init__(self, until: datetime, *, is_rotated: bool) -> None:
        super().__init__(until)
        self.until = until
        self.is_rotated = is_rotated


class KeyId(NamedTuple):
    """The id of a key, and the hash of what was presented as that key."""

    key_id: str
    digest: bytes


class Issued(NamedTuple):
    """A new key, shown once. It opens nothing until a proposal is approved, if there is one."""

    key: str
    key_id: str
    answer: Answer


class ApiKeys:
    """The keys of a database. Verifying needs the writer's role; issuing, altering and revoking the admin's too.

    `carry` records a request, `actor` is in whose name where a caller names no other.
    """

    def __init__(self, url: str, *, cache_seconds: float, carry: Carry, actor: Actor) -> None:
        self._url = url
        self._pool = Pool(lambda: connections.connect(url, Role.WRITER))
        self._cache_seconds = cache_seconds
        self._carry = carry
        self._actor = actor
        self._cache: OrderedDict[bytes, tuple[float, Caller]] = OrderedDict()
        self._used: OrderedDict[str, datetime] = OrderedDict()  # the minutes noted, by key
        self._lock = Lock()

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()

    def issue(self, name: str, scopes: Sequence[str]) -> str:
        """Issue a key in the name of this process and return it; it is not shown again. Raises RequestRefused."""
        return self.issued(name, scopes, now=_now()).key

    def issued(
        self, name: str, scopes: Sequence[str], *, now: datetime, bounds: Bounds = UNBOUNDED, **of: Any
    ) -> Issued:
        """Issue or propose a key; `of` is whose request it is (`actor`, `request_id`). Raises RequestRefused."""
        values.plain_name(name, "actor")
        key_id = secrets.token_hex(6)
        key, digest = _secret(key_id)
        request = IssueKey(
            key_id, name, tuple(map(str, scopes)), fingerprint(key_id, digest), transact_time=now, bounds=bounds
        )
        answer = self._carried(request, of)
        with connections.reaching(self._url), connections.connect(self._url, Role.ADMIN) as connection:
            connection.execute(INSERT, [key_id, digest, name, list(present(scopes))])
        return Issued(key, key_id, answer)

    def revoke(self, key_id: str, *, reason: str = "", now: datetime | None = None, **of: Any) -> bool | None:
        """Revoke a key. Return whether it was valid until now; None if there is no such key."""
        with connections.reaching(self._url), self._pool.connection() as connection:
            row = connection.execute(ROW_OF, [key_id]).fetchone()
        found = Found(row[1], tuple(row[2]), fingerprint(key_id, bytes(row[0])), row[3]) if row else None
        if found is None and self.on_record(key_id) is None:
            return None
        answer = self._carried(RevokeKey(key_id, reason, now or _now(), found), of)
        self.settle(key_id)
        return bool(answer.records)

    def rescope(self, key_id: str, scopes: Sequence[str], *, now: datetime, **of: Any) -> Answer:
        """Give a key other scopes, or propose it. Raises RequestRefused."""
        answer = self._carried(RescopeKey(key_id, tuple(map(str, scopes)), now), of)
        self.settle(key_id)
        return answer

    def bound(self, key_id: str, bounds: Bounds, *, now: datetime, **of: Any) -> Answer:
        """Give a key other bounds, or propose it. Raises RequestRefused."""
        return self._carried(BoundKey(key_id, bounds, now), of)

    def rotated(self, key_id: str, *, overlap_seconds: int, now: datetime, **of: Any) -> Issued:
        """Give a key another secret, or propose it; the one before is valid for so long yet. Raises RequestRefused."""
        key, digest = _secret(key_id)
        answer = self._carried(RotateKey(key_id, fingerprint(key_id, digest), overlap_seconds, now), of)
        with connections.reaching(self._url), connections.connect(self._url, Role.ADMIN) as connection:
            connection.execute(ADD, [digest, key_id])
        return Issued(key, key_id, answer)

    def settle(self, key_id: str) -> None:
        """Bring the row of a key to what the log has of it; does nothing for a row that the log does not know."""
        key = self.on_record(key_id)
        if key is None:
            return
        scopes = list(key.scopes)
        with connections.reaching(self._url), connections.connect(self._url, Role.ADMIN) as connection:
            connection.execute(RESCOPE, [scopes, key_id, scopes])
            if key.revoked_at is not None:
                connection.execute(REVOKE, [key.revoked_at, key_id])

    def _carried(self, request: Request, of: Mapping[str, Any]) -> Answer:
        return self._carry(request, **{"actor": self._actor, **of})

    def on_record(self, key_id: str) -> Key | None:
        """Return a key as the log has it; None if the log does not know it."""
        with connections.reaching(self._url), self._pool.connection() as connection:
            return recorded(connection, [keys.stream(key_id)]).get(key_id)

    def all(self) -> list[KeyRow]:
        """Return every key in the table, oldest first, as the log has it; one that the log does not know as its row."""
        with connections.reaching(self._url), self._pool.connection() as connection:
            return listed(connection)

    def remembered(self, key: str) -> Caller | None:
        """Return the caller of a key that was verified a moment ago; None if it is not cached."""
        with self._lock:
            until, caller = self._cache.get(_digest(key), (0.0, None))
        return caller if time.monotonic() < until else None

    def is_familiar(self, key: str) -> bool:
        """Return whether a key was valid when it was last verified, however long ago."""
        with self._lock:
            return _digest(key) in self._cache

    def verify(self, key: str) -> Caller | None:
        """Return the caller of a key; None if the key is unknown or revoked, or its row and its events differ.

        Raises KeyExpired.
        """
        digest = _digest(key)
        parts = key.split("_", 2)
        key_id = parts[1] if len(parts) == 3 and parts[0] == PREFIX and parts[1].isalnum() else ""
        with connections.reaching(self._url), self._pool.connection() as connection:
            row = connection.execute(ROW, [key_id]).fetchone()
        stored, actor, scopes, revoked_at, others, topics, states = row or (_NO_DIGEST, "", [], None, [], [], [])
        is_it = sum(hmac.compare_digest(bytes(each), digest) for each in (stored, *others))  # all are compared
        known = None
        if is_it and revoked_at is None:
            known = _agreed(KeyId(key_id, digest), actor, scopes, list(zip(topics, states, strict=True)))
        if known is None:
            with self._lock:
                self._cache.pop(digest, None)
            return None
        now = _now()
        until = _valid_until(known, fingerprint(key_id, digest))
        if until is not None and now >= until:
            with self._lock:
                self._cache.pop(digest, None)
            raise KeyExpired(until, is_rotated=until != known.bounds.expires_at)
        seconds = self._cache_seconds if until is None else min(self._cache_seconds, (until - now).total_seconds())
        caller = Caller(actor, frozenset(scopes), key_id, known.bounds)
        self._use(key_id, now)
        with self._lock:
            self._cache[digest] = (time.monotonic() + seconds, caller)
            self._cache.move_to_end(digest)
            while len(self._cache) > CACHED_KEYS_MAX:
                self._cache.popitem(last=False)
        return caller

    def _use(self, key_id: str, now: datetime) -> None:
        """Note the minute in which a key is used, once: `verify` runs again whenever the cached caller is too old."""
        minute = now.replace(second=0, microsecond=0)
        with self._lock:
            if self._used.get(key_id) == minute:
                return
            self._used[key_id] = minute
            self._used.move_to_end(key_id)
            while len(self._used) > CACHED_KEYS_MAX:
                self._used.popitem(last=False)
        try:
            with self._pool.connection() as connection:
                connection.execute(USED, [minute, key_id, minute])
        except psycopg.Error as error:  # a figure for people: no request fails for it
            log_line.warning("the use of a key could not be noted", key_id=key_id, reason=str(error))


def _secret(key_id: str) -> tuple[str, bytes]:
    """Return a new key of this id, and the hash of it."""
    key = f"{PREFIX}_{key_id}_{secrets.token_urlsafe(SECRET_BYTES)}"
    return key, _digest(key)


def _valid_until(key: Key, of_secret: str) -> datetime | None:
    """Return until when a secret of a key is valid; None for no such time."""
    times = [key.bounds.expires_at, key.previous_until if of_secret != key.fingerprint else None]
    return min((each for each in times if each is not None), default=None)


def _agreed(key: KeyId, actor: str, scopes: list[str], events: list[tuple[str, bytes]]) -> Key | None:
    """Return the key as the log has it, if its row is so; if it is not, say so in the server's log."""
    known: Key | None = None
    try:
        for topic, state in events:
            known = keys.evolve(known, schema.decode(topic, bytes(state)).event)
    except HistoryBroken:
        known = None
    of_secret = fingerprint(*key)
    found = difference(known, (of_secret,), actor, scopes)
    if known is not None and of_secret not in (known.fingerprint, known.previous):
        return None  # a secret of an earlier rotation, or of one that is proposed
    if found and not (known is not None and known.revoked_at is not None):
        log_line.warning("api_key_refused", key_id=key.key_id, reason=found, advice="run `daybook verify`")
    return known if not found and known is not None and known.is_valid else None


def difference(
    known: Key | None, of_rows: Sequence[str], name: str, scopes: Sequence[str], *, is_revoked: bool = False
) -> str:
    """Return how a row (its fingerprints, name, scopes) differs from what the log has of its key; "" if it does not."""
    if known is None:
        return "its row is not on record in the log"
    if is_revoked and not known.is_valid:
        return ""
    if known.fingerprint not in of_rows and (len(of_rows) > 1 or known.previous not in of_rows):
        return "its row has the hash of another secret than the log"
    if known.name != name:
        return f"its row has the name {name!r}, the log {known.name!r}"
    if sorted(known.scopes) != sorted(scopes):
        return f"its row has the scopes {', '.join(scopes) or 'none'}, the log {', '.join(known.scopes) or 'none'}"
    if known.is_valid is is_revoked:
        return "it is revoked in the " + ("table only" if is_revoked else "log only")
    return ""


def recorded(connection: Connection, streams: Sequence[str]) -> dict[str, Key]:
    """Return the keys of streams as the log has them, by id. Raises HistoryBroken."""
    found: dict[str, Key] = {}
    for topic, state in connection.execute(EVENTS, [list(streams)]):
        event = schema.decode(topic, bytes(state)).event
        found[event.key_id] = keys.evolve(found.get(event.key_id), event)
    return found


def all_recorded(connection: Connection) -> dict[str, Key]:
    """Return all keys that the log has, by id; reads the log's index as a whole. Raises HistoryBroken."""
    return recorded(connection, [stream for (stream,) in connection.execute(STREAMS)])


def listed(connection: Connection) -> list[KeyRow]:
    """Return the keys of the table, each with how it and its secrets differ from the log."""
    stored = connection.execute(ROWS).fetchall()
    streams = [keys.stream(row[0]) for row in stored]
    known, waits = recorded(connection, streams), proposed(connection)
    stated = _fingerprints(connection, streams)
    rows = []
    for key_id, digest, actor, scopes, created_at, revoked_at, used_at, others in stored:
        prints = [fingerprint(key_id, bytes(each)) for each in (digest, *others)]
        key = known.get(key_id)
        found = difference(key, prints, actor, scopes, is_revoked=revoked_at is not None)
        if key is None and key_id in waits:
            found = NOT_APPROVED
        if key is not None and key.is_valid and not found and key.fingerprint not in prints:
            found = NOT_STORED
        if key is not None and key.is_valid and not found and not stated.issuperset(prints):
            found = NO_EVENT
        bounds = UNBOUNDED if key is None else key.bounds
        rows.append(
            KeyRow(
                key_id, actor, scopes, list(bounds.accounts), strategies=list(bounds.strategies),
                created_at=created_at, expires_at=bounds.expires_at,
                previous_until=None if key is None else key.previous_until, revoked_at=revoked_at,
                last_used_at=used_at, difference=found,
            )
        )  # fmt: skip
    return rows


def proposed(connection: Connection) -> frozenset[str]:
    """Return the ids of all keys that were proposed, approved or not."""
    return frozenset(request.key_id for request in _proposals(connection) if isinstance(request, IssueKey))


def _proposals(connection: Connection) -> list[Any]:
    """Return the requests of all proposals."""
    events = [schema.decode(topic, bytes(state)).event for topic, state in connection.execute(EVENTS, [[PROPOSALS]])]
    known: Approvals = reduce(approvals.evolve, events, Approvals())
    return [proposal.request for proposal in known.proposals.values()]


def _fingerprints(connection: Connection, streams: Sequence[str]) -> frozenset[str]:
    """Return the fingerprints of all secrets that were issued, rotated to or proposed, those of before included."""
    events = [schema.decode(topic, bytes(state)).event for topic, state in connection.execute(EVENTS, [list(streams)])]
    stated = (KeyIssued, KeyRegistered, KeyRotated, IssueKey, RotateKey)
    return frozenset(each.fingerprint for each in (*events, *_proposals(connection)) if isinstance(each, stated))


def _now() -> datetime:
    return EPOCH + timedelta(microseconds=time.time_ns() // 1000)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
