"""Authentication of callers by API key, and authorization by scope.

Without a key no call is allowed, except in a demo: there a caller without one may read, and trade as `demo`.
"""

from collections.abc import Sequence
from typing import Annotated, Any

from anyio import CapacityLimiter, to_thread
from fastapi import Request, Security
from fastapi.dependencies.models import Dependant
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer, SecurityScopes
from starlette.datastructures import Headers

from adapters.postgres.api_keys import ApiKeys, KeyExpired
from adapters.postgres.scopes import Caller, Scope
from api.encoding import time_text
from api.problems import RETRY_AFTER_SECONDS, Problem
from domain.errors import LedgerError

KEY_CHARACTERS_MAX = 200
LOOKUPS_MAX = 4  # keys that are looked up in the database at a time
DEMO_CALLER = Caller("demo", frozenset({Scope.TRADE, Scope.AUDIT}))

_bearer = HTTPBearer(auto_error=False, scheme_name="Bearer", description="`Authorization: Bearer dbk_…`")
_header = APIKeyHeader(name="X-API-Key", auto_error=False, scheme_name="X-API-Key")


class Keyring:
    """Finds the caller of a request by the key in its headers."""

    def __init__(self, keys: ApiKeys, *, is_demo: bool) -> None:
        self._keys = keys
        self._is_demo = is_demo
        self._lookups = CapacityLimiter(LOOKUPS_MAX)

    def known(self, headers: Headers) -> Caller | None:
        """Return the caller if that needs no look-up: the key was verified a moment ago, or a demo needs none."""
        key = _key_in(headers)
        if key is None:
            return DEMO_CALLER if self._is_demo and "authorization" not in headers else None
        return self._keys.remembered(key) if key else None

    def is_familiar(self, headers: Headers) -> bool:
        """Return whether the key was valid when it was last looked up."""
        key = _key_in(headers)
        return bool(key) and self._keys.is_familiar(key or "")

    async def verified(self, headers: Headers) -> Caller:
        """Look the key up and return its caller. Raises Problem."""
        key = _key_in(headers)
        if not key:
            raise _unauthenticated(
                "this needs an API key: send it as 'Authorization: Bearer dbk_…' or 'X-API-Key: dbk_…'"
            )
        limiter = None if self._keys.is_familiar(key) else self._lookups
        try:
            caller = await to_thread.run_sync(self._keys.verify, key, limiter=limiter)
        except LedgerError as error:  # whose text names the database, which only holders of a key may know
            raise Problem(
                503, "unavailable", "Database unavailable",
                "the database cannot be reached to check the key, and nothing was recorded; send it again in a moment",
                headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
            ) from error  # fmt: skip
        except KeyExpired as expired:
            raise _expired(expired) from expired
        if caller is None:
            raise _unauthenticated("this API key is not valid, or was revoked")
        return caller


def _key_in(headers: Headers) -> str | None:
    """Return the key; "" for one that cannot be valid, None if there is none."""
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    key = credentials.strip() if scheme.lower() == "bearer" and credentials else headers.get("x-api-key")
    return key if key is None or len(key) <= KEY_CHARACTERS_MAX else ""


def check_scopes(caller: Caller, needed: Sequence[str]) -> None:
    """Raise Problem unless the caller has the scopes."""
    missing = [scope for scope in needed if scope not in caller.rights]
    if missing:
        held = ", ".join(sorted(caller.scopes)) or "none"
        raise Problem(
            403, "forbidden", "Forbidden", f"this needs the scope {missing[0]}; the key of {caller.actor} has {held}",
            scope=missing[0], actor=caller.actor,
        )  # fmt: skip


def _expired(error: KeyExpired) -> Problem:
    what = "the secret of this API key was replaced; its overlap" if error.is_rotated else "this API key"
    advice = "use the new one" if error.is_rotated else "have it extended, or another one issued"
    return Problem(
        401, "key-expired", "API key expired", f"{what} ended at {time_text(error.until)}: {advice}",
        headers={"WWW-Authenticate": "Bearer"}, expired_at=error.until,
    )  # fmt: skip


def _unauthenticated(detail: str) -> Problem:
    return Problem(401, "unauthenticated", "Not authenticated", detail, headers={"WWW-Authenticate": "Bearer"})


async def _caller(
    request: Request,
    needed: SecurityScopes,
    _by_bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)] = None,  # for OpenAPI
    _by_header: Annotated[str | None, Security(_header)] = None,
) -> Caller:
    caller: Caller = request.state.caller  # the gate has verified its key
    check_scopes(caller, needed.scopes)
    return caller


def needed_by(dependant: Dependant) -> tuple[str, ...]:
    """Return the scopes that an operation needs."""
    own = dependant.own_oauth_scopes or () if dependant.call is _caller else ()
    return (*own, *(scope for one in dependant.dependencies for scope in needed_by(one)))


def needs(scope: Scope) -> Any:
    """Return the dependency on a caller with a valid key that has this scope."""
    return Security(_caller, scopes=[scope])


Reader = Annotated[Caller, needs(Scope.READ)]
Trader = Annotated[Caller, needs(Scope.TRADE)]
Recorder = Annotated[Caller, needs(Scope.RECORD)]
Admin = Annotated[Caller, needs(Scope.ADMIN)]
