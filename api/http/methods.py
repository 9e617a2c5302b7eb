"""Methods and media types by RFC 9110: HEAD wherever there is GET, OPTIONS everywhere, `Allow`, and 406.

HEAD is answered as GET is, without the body. OPTIONS is 204 with `Allow`. A method that a path has not is 405 with
`Allow`, and a path that there is not is 404; a slash at the end makes another path. A request whose `Accept` excludes
every form of the answer is 406, before anything is done.
"""

import re
from collections.abc import Iterable, Iterator, Sequence

from fastapi.routing import APIRoute
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http.problem_responses import MEDIA_TYPE, response
from api.problems import Problem

OF_FILES = frozenset({"GET", "HEAD"})  # what is mounted: the files of the pages
VARIABLE = re.compile(r"{[^}]*}")  # of a template; where two match a path, the one that says more of it counts
ANSWERED = frozenset({"OPTIONS"})
JSON = "application/json"
ACCEPT_SHOWN_MAX = 200
WEIGHT = re.compile(r"q=([01])(?:\.([0-9]{0,3}))?")  # RFC 9110 12.4.2; what is none counts as 1


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


class Acceptable:
    """Middleware that answers 406 where `Accept` excludes every media type that an operation answers in.

    Operations that answer in JSON, and maybe in CSV, are checked; reports choose for themselves (`negotiated`), and
    others have one form of their own. A `format` in the query decides by itself.
    """

    def __init__(self, app: ASGIApp, routes: Iterable[BaseRoute]) -> None:
        self._app = app
        self._routes = [route for route in routes if isinstance(route, APIRoute) and route.response_model is not None]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        accepted = Headers(scope=scope).get("accept", "") if scope["type"] == "http" else ""
        if accepted not in ("", "*/*") and (produced := self._produced(scope)):
            try:
                negotiated(accepted, produced)
            except Problem as problem:
                await response(problem, scope["path"])(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _produced(self, scope: Scope) -> tuple[str, ...]:
        """Return the media types of the operation that a request is for; none where they are not known."""
        if b"format=" in scope.get("query_string", b""):
            return ()
        route = next((each for each in self._routes if each.matches(scope)[0] is Match.FULL), None)
        if route is None:
            return ()
        described = (each.get("content", {}) for status, each in route.responses.items() if str(status)[0] == "2")
        return tuple(dict.fromkeys((JSON, *(name for content in described for name in content))))


def negotiated(accepted: str, produced: Sequence[str]) -> str:
    """Return the media type of `produced` that an `Accept` header prefers. Raises Problem, 406, if it excludes all.

    The highest `q` counts, then what is named before what is only in a range, then the place in the header, then that
    in `produced`. Of a type, its most specific range counts. Who names problem details accepts JSON.
    """
    ranges = _ranges(accepted or "*/*")
    found: list[tuple[tuple[int, int, int, int], str]] = []
    for place, media_type in enumerate(produced):
        names = [media_type, f"{media_type.partition('/')[0]}/*", "*/*", *([MEDIA_TYPE] if media_type == JSON else [])]
        specific = next((index for index, name in enumerate(names) if name in ranges), None)
        if specific is not None and (weight := ranges[names[specific]][0]):
            found.append(((-weight, specific, ranges[names[specific]][1], place), media_type))
    if not found:
        detail = f"Accept is {accepted[:ACCEPT_SHOWN_MAX]}; the answer is in {', '.join(produced)}"
        raise Problem(406, "http-406", "Not Acceptable", detail, available=list(produced))
    return min(found)[1]


def _ranges(accepted: str) -> dict[str, tuple[int, int]]:
    """Return the weight (in thousandths) and the place of each media range of an `Accept` header."""
    found: dict[str, tuple[int, int]] = {}
    for place, part in enumerate(accepted.split(",")):
        name, *parameters = (each.strip().lower() for each in part.split(";"))
        weight = next((WEIGHT.fullmatch(each) for each in parameters if each.startswith("q=")), None)
        thousandths = int(weight[1] + (weight[2] or "").ljust(3, "0")) if weight else 1000
        if name not in found or thousandths > found[name][0]:
            found[name] = (min(thousandths, 1000), place)
    return found


def _without_body(send: Send) -> Send:
    async def send_head(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    return send_head
