"""API keys: issued, verified and revoked. Only a hash of the secret is stored."""

import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime
from threading import Lock
from typing import NamedTuple

from adapters.postgres import connections
from adapters.postgres.connections import Role
from adapters.postgres.pool import Pool
from adapters.postgres.scopes import Caller, Scope
from domain import values

PREFIX = "dbk"
SECRET_BYTES = 32
CACHED_KEYS_MAX = 1024
_NO_DIGEST = bytes(32)


class KeyRow(NamedTuple):
    """An API key as listed, without its secret."""

    key_id: str
    actor: str
    scopes: list[str]
    created_at: datetime
    revoked_at: datetime | None


class ApiKeys:
    """The keys in `access.api_keys`. Verifying needs the writer's role; issuing and revoking need the admin's."""

    def __init__(self, url: str, *, cache_seconds: float) -> None:
        self._url = url
        self._pool = Pool(lambda: connections.connect(url, Role.WRITER))
        self._cache_seconds = cache_seconds
        self._cache: OrderedDict[bytes, tuple[float, Caller]] = OrderedDict()
        self._lock = Lock()

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()

    def issue(self, actor: str, scopes: Sequence[Scope]) -> str:
        """Create a key and return it; it is not shown again. Raises InvalidInput if `actor` is not a valid name."""
        key_id = secrets.token_hex(6)
        key = f"{PREFIX}_{key_id}_{secrets.token_urlsafe(SECRET_BYTES)}"
        with connections.reaching(self._url), connections.connect(self._url, Role.ADMIN) as connection:
            connection.execute(
                "INSERT INTO access.api_keys (key_id, key_sha256, actor, scopes) VALUES (%s, %s, %s, %s)",
                [key_id, _digest(key), values.name(actor, "actor"), sorted({str(scope) for scope in scopes})],
            )
        return key

    def revoke(self, key_id: str) -> bool | None:
        """Revoke a key. Return whether it was valid until now; None if there is no such key."""
        with connections.reaching(self._url), connections.connect(self._url, Role.ADMIN) as connection:
            revoked = connection.execute(
                "UPDATE access.api_keys SET revoked_at = now() WHERE key_id = %s AND revoked_at IS NULL", [key_id]
            )
            if revoked.rowcount:
                return True
            is_known = connection.execute("SELECT 1 FROM access.api_keys WHERE key_id = %s", [key_id]).fetchone()
        return False if is_known else None

    def all(self) -> list[KeyRow]:
        """Return every key ever issued, oldest first."""
        with connections.reaching(self._url), connections.connect(self._url, Role.ADMIN) as connection:
            rows = connection.execute(
                "SELECT key_id, actor, scopes, created_at, revoked_at FROM access.api_keys ORDER BY created_at, key_id"
            ).fetchall()
        return [KeyRow(*row) for row in rows]

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
        """Return the caller of a key; None if the key is unknown or revoked."""
        digest = _digest(key)
        parts = key.split("_", 2)
        key_id = parts[1] if len(parts) == 3 and parts[0] == PREFIX and parts[1].isalnum() else ""
        with connections.reaching(self._url), self._pool.connection() as connection:
            row = connection.execute(
                "SELECT key_sha256, actor, scopes FROM access.api_keys WHERE key_id = %s AND revoked_at IS NULL",
                [key_id],
            ).fetchone()
        stored, actor, scopes = row or (_NO_DIGEST, "", [])
        if not hmac.compare_digest(bytes(stored), digest):
            with self._lock:
                self._cache.pop(digest, None)
            return None
        caller = Caller(actor, frozenset(scopes), key_id)
        with self._lock:
            self._cache[digest] = (time.monotonic() + self._cache_seconds, caller)
            self._cache.move_to_end(digest)
            while len(self._cache) > CACHED_KEYS_MAX:
                self._cache.popitem(last=False)
        return caller


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
