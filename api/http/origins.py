"""Which names this server answers to, which pages may send to it, and what browsers may do with its answers.

A page of another site can have a browser send a request here, and by DNS rebinding under its own name. So `Host` has to
be an IP address, a loopback name, this machine's name or one of DAYBOOK_ALLOWED_HOSTS: none of them is a name that a
stranger can point here. What changes something has to come from this origin, or from no browser at all, by `Origin` and
`Sec-Fetch-Site`.
"""

import ipaddress
import socket
from collections.abc import Collection, Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http.problem_responses import response
from api.problems import Problem

ANY = "*"
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
FROM_HERE = ("same-origin", "none")
API = "/v1"
API_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def names_of(allowed: str, host: str) -> frozenset[str]:
    """Return the names that a server listening on `host` answers to, with those in a list with commas."""
    given = {name.strip().lower().rstrip(".") for name in allowed.split(",") if name.strip()}
    return frozenset(given | {host.lower(), socket.gethostname().lower()})


def is_allowed(host: str, names: Collection[str]) -> bool:
    """Return whether a `Host` header names this server."""
    if ANY in names:
        return True
    try:
        name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return False
    if "@" in host or "/" in host:
        return False
    if name in names or name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class Origins:
    """Middleware that refuses other names and other sites, and adds the headers of answers under `/v1`."""

    def __init__(self, app: ASGIApp, names: Iterable[str]) -> None:
        self._app = app
        self._names = frozenset(names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if is_under_api(scope["path"]):
            send = _with_headers(send)
        headers = Headers(scope=scope)
        problem = self._refusal(scope["method"], headers)
        if problem is not None:
            await response(problem)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _refusal(self, method: str, headers: Headers) -> Problem | None:
        host = headers.get("host", "")
        if len(headers.getlist("host")) != 1 or not is_allowed(host, self._names):
            return Problem(
                421, "http-421", "Misdirected Request",
                "this server does not answer to the name in Host: use its address, or have the name added to"
                " DAYBOOK_ALLOWED_HOSTS",
            )  # fmt: skip
        if method in SAFE_METHODS:
            return None
        site, origin = headers.get("sec-fetch-site"), headers.get("origin")
        is_ours = origin is None or _place_of(origin) == host.lower()
        if is_ours and (site is None or site in FROM_HERE):
            return None
        return Problem(403, "cross-site", "From another site", "a page of another site cannot send this from a browser")


def _place_of(origin: str) -> str | None:
    """Return host and port of an `Origin`, as `Host` has them; None for an opaque one."""
    scheme, _, place = origin.lower().partition("://")
    return place if scheme in ("http", "https") else None


def is_under_api(path: str) -> bool:
    """Return whether a path is one of the API, known or not."""
    return path == API or path.startswith(API + "/")


def _with_headers(send: Send) -> Send:
    async def send_with(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(API_HEADERS)
        await send(message)

    return send_with
