"""The gate in front of the API: a request under `/v1` has a valid key before anything else of it is looked at.

Neither its path is looked up nor its body read before: without a key every path is answered alike. Then the scopes of
its route are checked, which are those that its operation declares; the operation checks them again. Pages without a key
(`/health`, `/metrics`, the console) are answered at the pace of strangers: each address has `BURST` answers at once and
`A_SECOND` a second after that. One more is not refused: it waits, for `WAIT_SECONDS_MAX` at most, so that a caller in a
loop slows down and no probe fails.
"""

import asyncio
import re
import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import quote, unquote

from fastapi.routing import APIRoute
from starlette.convertors import Convertor, register_url_convertor
from starlette.datastructures import Headers
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from adapters.postgres.scopes import Caller
from api.http.auth import DEMO_CALLER, Keyring, check_scopes, needed_by
from api.http.origins import is_under_api
from api.http.problem_responses import SLASH, response
from api.problems import Problem, unreadable
from domain.errors import InvalidInput

A_SECOND = 50
BURST = 50
WAIT_SECONDS_MAX = 1.0
ADDRESSES_MAX = 4096


class _Segment(Convertor[str]):
    """A segment of a path: a slash in it was sent as `%2F`, and is part of a name."""

    regex = "[^/]+"

    def convert(self, value: str) -> str:
        return value.replace(SLASH, "/")

    def to_string(self, value: str) -> str:
        return quote(value, safe="")


class _Rest(_Segment):
    """The rest of a path, whose slashes may be sent as they are."""

    regex = ".*"


register_url_convertor("str", _Segment())  # of every `{parameter}` in a route's path
register_url_convertor("path", _Rest())


class Segments:
    """Middleware that keeps a path as it was divided into segments: `%2F` in a name does not divide it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        raw: bytes = scope.get("raw_path") or b""
        if b"%2f" in raw.lower():
            segments = raw.decode("ascii", "replace").split("/")
            scope = {**scope, "path": "/".join(unquote(each).replace("/", SLASH) for each in segments)}
        await self._app(scope, receive, send)


class _Guarded(NamedTuple):
    path: re.Pattern[str]
    methods: frozenset[str]
    scopes: tuple[str, ...]


class Needs:
    """The scopes that each operation needs, by method and path."""

    def __init__(self, routes: Iterable[BaseRoute]) -> None:
        operations = [route for route in routes if isinstance(route, APIRoute)]
        self._plain = {
            (method, route.path): needed_by(route.dependant)
            for route in operations if "{" not in route.path
            for method in route.methods or ()
        }  # fmt: skip
        self._others = [
            _Guarded(route.path_regex, frozenset(route.methods or ()), needed_by(route.dependant))
            for route in operations
            if "{" in route.path
        ]

    def of(self, method: str, path: str) -> Sequence[str]:
        """Return the scopes that a request needs; none for a path that there is not."""
        method = "GET" if method == "HEAD" else method
        plain = self._plain.get((method, path))
        if plain is not None:
            return plain
        return next((one.scopes for one in self._others if method in one.methods and one.path.match(path)), ())


def _check_text(scope: Scope) -> None:
    if "\0" in scope["path"] or b"%00" in scope["query_string"]:
        raise unreadable(InvalidInput("url", None, "text without NUL characters"))


class Pace:
    """Answers due by address; used by one event loop."""

    def __init__(self) -> None:
        self._due: OrderedDict[str, float] = OrderedDict()

    async def turn(self, scope: Scope) -> None:
        """Return when a caller without a key may be answered."""
        if (wait := self.seconds(address_of(scope), time.monotonic())) > 0:
            await asyncio.sleep(wait)

    def seconds(self, address: str, now: float) -> float:
        """Count an answer to an address and return how long it has to wait."""
        due = max(self._due.pop(address, now), now) + 1 / A_SECOND
        wait = max(0.0, due - now - BURST / A_SECOND)
        self._due[address] = min(due, now + BURST / A_SECOND + WAIT_SECONDS_MAX)
        if len(self._due) > ADDRESSES_MAX:
            self._due.popitem(last=False)
        return min(wait, WAIT_SECONDS_MAX)


def address_of(scope: Scope) -> str:
    """Return the address a request comes from."""
    return (scope.get("client") or ("",))[0]


class Gate:
    """Middleware that answers 401 or 403 before anything is spent on a request."""

    def __init__(self, app: ASGIApp, keyring: Keyring, needs: Needs) -> None:
        self._app = app
        self._keyring = keyring
        self._needs = needs
        self._pace = Pace()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        try:
            caller = self._keyring.known(headers)
            if caller is None or (caller is DEMO_CALLER and not is_under_api(scope["path"])):
                caller = await self._first_seen(scope, headers)
            scope["state"] |= {"actor": caller.actor, "caller": caller}
            _check_text(scope)
            check_scopes(caller, self._needs.of(scope["method"], scope["path"]))
        except Problem as problem:
            is_away = problem.status == HTTPStatus.SERVICE_UNAVAILABLE
            scope["state"]["is_familiar"] = is_away and self._keyring.is_familiar(headers)
            if is_under_api(scope["path"]):
                await response(problem, scope["path"])(scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _first_seen(self, scope: Scope, headers: Headers) -> Caller:
        if not self._keyring.is_familiar(headers):
            await self._pace.turn(scope)
        return await self._keyring.verified(headers)
