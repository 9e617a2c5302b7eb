"""Authentication of callers by API key, and authorization by scope.

Without a key no call is allowed, except in a demo: there a caller without one may read, and trade as `demo`.
"""

from typing import Annotated, Any

from fastapi import Request, Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer, SecurityScopes
from starlette.concurrency import run_in_threadpool

from adapters.postgres.api_keys import ApiKeys
from adapters.postgres.scopes import Caller, Scope
from api.problems import Problem
from domain.errors import LedgerError

KEY_CHARACTERS_MAX = 200
DEMO_CALLER = Caller("demo", frozenset({Scope.TRADE, Scope.AUDIT}))

_bearer = HTTPBearer(auto_error=False, scheme_name="Bearer", description="`Authorization: Bearer dbk_…`")
_header = APIKeyHeader(name="X-API-Key", auto_error=False, scheme_name="X-API-Key")


async def _caller(
    request: Request,
    needed: SecurityScopes,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)] = None,
    header: Annotated[str | None, Security(_header)] = None,
) -> Caller:
    key = bearer.credentials if bearer else header
    if key is None and request.app.state.is_demo and "authorization" not in request.headers:
        caller: Caller | None = DEMO_CALLER
    elif not key or len(key) > KEY_CHARACTERS_MAX:
        raise _unauthenticated("this needs an API key: send it as 'Authorization: Bearer dbk_…' or 'X-API-Key: dbk_…'")
    else:
        keys: ApiKeys = request.app.state.daybook.keys
        caller = keys.remembered(key) or await run_in_threadpool(keys.verify, key)
    if caller is None:
        raise _unauthenticated("this API key is not valid, or was revoked")
    request.state.actor = caller.actor
    request.state.key_id = caller.key_id
    missing = [scope for scope in needed.scopes if scope not in caller.scopes]
    if missing:
        held = ", ".join(sorted(caller.scopes)) or "none"
        raise Problem(
            403, "forbidden", "Forbidden", f"this needs the scope {missing[0]}; the key of {caller.actor} has {held}",
            scope=missing[0], actor=caller.actor,
        )  # fmt: skip
    return caller


def _is_known(
    request: Request,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)] = None,
    header: Annotated[str | None, Security(_header)] = None,
) -> bool:
    """Return whether the caller has a valid key, or needs none; also while the database cannot be reached, if the key
    was verified a moment ago.
    """
    key = bearer.credentials if bearer else header
    if not key or len(key) > KEY_CHARACTERS_MAX:
        return bool(request.app.state.is_demo)
    keys: ApiKeys = request.app.state.daybook.keys
    try:
        return (keys.remembered(key) or keys.verify(key)) is not None
    except LedgerError:
        return False


def _unauthenticated(detail: str) -> Problem:
    return Problem(401, "unauthenticated", "Not authenticated", detail, headers={"WWW-Authenticate": "Bearer"})


def needs(scope: Scope | None = None) -> Any:
    """Return the dependency on a caller with a valid key and, if given, this scope."""
    return Security(_caller, scopes=[scope] if scope else [])


IsKnown = Annotated[bool, Security(_is_known)]
Trader = Annotated[Caller, needs(Scope.TRADE)]
Reporter = Annotated[Caller, needs(Scope.REPORT)]
Admin = Annotated[Caller, needs(Scope.ADMIN)]
