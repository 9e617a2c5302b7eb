"""Bodies of requests, received whole before an operation starts: within a size, a time and a total, as JSON.

A body has to arrive faster than `BYTES_A_SECOND_MIN` after its first seconds, so that half-sent ones are dropped, and
all bodies together are bounded, so that many large ones cannot fill the memory. Batches of venue reports are checked
one report at a time, where they are parsed; every other body is checked here (`json_text`), and its value kept in the
request's state as `json`.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http.json_text import checked
from api.http.origins import SAFE_METHODS, is_under_api
from api.http.problem_responses import response
from api.problems import RETRY_AFTER_SECONDS, Problem, unreadable
from domain.errors import InvalidInput

BATCH_BYTES_MAX = 8 * 2**20
MARKS_BYTES_MAX = 2**19
BODY_BYTES_MAX = 2**16
BATCHES = ("/v1/venue-reports", "/v1/reports")
BYTES_MAX = dict.fromkeys(BATCHES, BATCH_BYTES_MAX) | {"/v1/marks": MARKS_BYTES_MAX}
STREAMED = "/v1/imports"  # its body is a file: neither JSON nor received whole
MEDIA_TYPE = "application/json"
HELD_BYTES_MAX = 2**28  # of all requests together
FIRST_SECONDS_MAX = 10.0
BYTES_A_SECOND_MIN = 50_000


class Bodies:
    """Middleware that receives and checks a body, and answers 408, 413, 415, 422 or 503 to one that it refuses."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_body = scope["type"] == "http" and scope["method"] not in SAFE_METHODS and is_under_api(scope["path"])
        if not is_body or scope["path"] == STREAMED:
            await self._app(scope, receive, send)
            return
        path, headers, body = scope["path"], Headers(scope=scope), bytearray()
        bytes_max = BYTES_MAX.get(path, BODY_BYTES_MAX)
        try:
            _check_head(headers, bytes_max)
            try:
                if not await self._receive(body, receive, bytes_max):
                    return
                if body and path not in BATCHES:
                    scope["state"]["json"] = _checked(bytes(body))
                await self._app(scope, _replaying(bytes(body), receive), send)
            finally:
                self._held -= len(body)
        except Problem as problem:
            await response(problem, path)(scope, receive, send)

    async def _receive(self, body: bytearray, receive: Receive, bytes_max: int) -> bool:
        """Receive a body; return whether it is complete, which it is not if the client went away."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout(FIRST_SECONDS_MAX) as limit:
                while (message := await receive())["type"] == "http.request":
                    chunk = message.get("body", b"")
                    self._held += len(chunk)
                    body += chunk
                    if len(body) > bytes_max:
                        raise _too_large(bytes_max)
                    if self._held > HELD_BYTES_MAX:
                        raise _too_many()
                    if not message.get("more_body", False):
                        return True
                    limit.reschedule(began + FIRST_SECONDS_MAX + len(body) / BYTES_A_SECOND_MIN)
        except TimeoutError as error:
            detail = f"the body did not arrive in time: {len(body)} bytes did, and nothing was recorded; send it again"
            raise Problem(408, "http-408", "Request Timeout", detail) from error
        return False


class ParsedRoute(APIRoute):
    """A route that takes the body as it was parsed when it was checked, instead of parsing it again."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler."""
        handle = super().get_route_handler()

        async def handle_parsed(request: Request) -> Response:
            return await handle(ParsedRequest(request.scope, request.receive))

        return handle_parsed


class ParsedRequest(Request):
    """A request whose body has been parsed, unless it has none."""

    async def json(self) -> Any:
        state = self.scope["state"]
        return state["json"] if "json" in state else await super().json()


def _check_head(headers: Headers, bytes_max: int) -> None:
    length = headers.get("content-length", "")
    if length.isascii() and length.isdigit() and int(length[:20]) > bytes_max:
        raise _too_large(bytes_max)
    if length.strip("0") or "transfer-encoding" in headers:
        _check_type(headers)


def _check_type(headers: Headers) -> None:
    """Check that a body is sent as JSON in UTF-8, as RFC 8259 has it, and not compressed."""
    given = headers.getlist("content-type")
    media_type, *parameters = (part.strip() for part in (given or [""])[0].lower().split(";"))
    is_json = media_type.startswith("application/") and media_type.endswith(("/json", "+json"))
    if not is_json or len(given) != 1:
        shown = ", ".join(given) or "absent"
        raise _unsupported(f"Content-Type is {shown}; a body is sent as application/json", {"Accept": MEDIA_TYPE})
    for name, _, value in (parameter.partition("=") for parameter in parameters):
        if name.strip() == "charset" and value.strip().strip('"') not in ("utf-8", "utf8", "us-ascii"):
            raise _unsupported(f"charset is {value.strip()}; JSON is sent in UTF-8", {"Accept": MEDIA_TYPE})
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise _unsupported(f"Content-Encoding is {encoding}; send the body as it is", {"Accept-Encoding": "identity"})


def _unsupported(detail: str, headers: dict[str, str]) -> Problem:
    return Problem(415, "http-415", "Unsupported Media Type", detail, headers=headers)


def _checked(body: bytes) -> Any:
    """Return the value of the body. Raises Problem."""
    try:
        return checked(body)
    except InvalidInput as error:
        raise unreadable(error) from error


def _too_large(bytes_max: int) -> Problem:
    detail = f"the body is larger than {bytes_max} bytes; send less at once"
    return Problem(413, "http-413", "Content Too Large", detail)


def _too_many() -> Problem:
    detail = "the bodies of other requests fill the memory, and nothing was recorded; send it again in a moment"
    return Problem(503, "busy", "Too many requests wait", detail, headers={"Retry-After": str(RETRY_AFTER_SECONDS)})


def _replaying(body: bytes, receive: Receive) -> Receive:
    is_replayed = False

    async def replay() -> Message:
        nonlocal is_replayed
        if is_replayed:
            return await receive()
        is_replayed = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
