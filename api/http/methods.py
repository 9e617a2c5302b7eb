"""Methods by RFC 9110: HEAD wherever there is GET, OPTIONS everywhere, and `Allow` with all methods of a path.

HEAD is answered as GET is, without the body. OPTIONS is 204 with `Allow`. A method that a path has not is 405 with
`Allow`, and a path that there is not is 404; a slash at the end makes another path.
"""

import re
from collections.abc import Iterable, Iterator

from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import Problem

OF_FILES = frozenset({"GET", "HEAD"})  # what is mounted: the files of the pages
VARIABLE = re.compile(r"{[^}]*}")  # of a template; where two match a path, the one that says more of it counts
ANSWERED = frozenset({"OPTIONS"})


class Paths:
    """The methods of every path that the service has."""

    def __init__(self, routes: Iterable[BaseRoute]) -> None:
        self._routes = list(routes)

    def allowed(self, path: str) -> list[str]:
        """Return the methods of a path; none if there is no such path."""
        scope = {"type": "http", "path": path, "method": "", "root_path": "", "headers": [], "path_params": {}}
        by_template: dict[str, set[str]] = {}
        for template, methods in self._methods(scope):
            by_template.setdefault(template, set()).update(methods)
        if not by_template:
            return []
        found = by_template[max(by_template, key=lambda template: len(VARIABLE.sub("", template)))]
        return sorted(found | ANSWERED | ({"HEAD"} if "GET" in found else set()))

    def _methods(self, scope: Scope) -> Iterator[tuple[str, Iterable[str]]]:
        for route in self._routes:
            if not isinstance(route, Route | Mount) or route.matches(scope)[0] is Match.NONE:
                continue
            yield route.path, (route.methods or ()) if isinstance(route, Route) else OF_FILES

    def problem(self, method: str, path: str) -> Problem:
        """Return what is wrong with a request that no route answers: 405 with `Allow`, or 404."""
        if allowed := self.allowed(path):
            names = ", ".join(allowed)
            return Problem(
                405, "http-405", "Method Not Allowed", f"{path} has no {method}; it has {names}",
                headers={"Allow": names}, method=method, allow=allowed,
            )  # fmt: skip
        near = path.rstrip("/")
        hint = f"; without the slash at its end there is {near}" if near != path and self.allowed(near) else ""
        return Problem(404, "not-found", "Not Found", f"there is no {path}{hint}; see /openapi.json for all paths")


class Methods:
    """Middleware that answers HEAD by what GET answers, and OPTIONS."""

    def __init__(self, app: ASGIApp, paths: Paths) -> None:
        self._app = app
        self._paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in ("HEAD", "OPTIONS"):
            await self._app(scope, receive, send)
            return
        allowed = self._paths.allowed(scope["path"])
        if scope["method"] == "OPTIONS" and allowed:
            await Response(status_code=204, headers={"Allow": ", ".join(allowed)})(scope, receive, send)
        elif scope["method"] == "HEAD" and "GET" in allowed:
            as_get = {**scope, "method": "GET"}
            await self._app(as_get, receive, _without_body(send))
            scope["route"] = as_get.get("route")  # for the metrics
        else:
            await self._app(scope, receive, send)


def _without_body(send: Send) -> Send:
    async def send_head(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    return send_head
