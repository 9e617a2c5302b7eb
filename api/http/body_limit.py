"""The limit on the size of a request's body, checked as it arrives, so that no larger body is ever held."""

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http.problem_responses import response
from api.problems import Problem

BODY_BYTES_MAX = 8 * 2**20
DETAIL = f"the body is larger than {BODY_BYTES_MAX} bytes; send less at once"


class Bounded:
    """Middleware that answers 413 to a body whose declared or actual size is too large."""

    def __init__(self, app: ASGIApp, body_bytes_max: int = BODY_BYTES_MAX) -> None:
        self._app = app
        self._body_bytes_max = body_bytes_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        length = Headers(scope=scope).get("content-length", "")
        if length.isascii() and length.isdigit() and int(length[:20]) > self._body_bytes_max:
            problem = Problem(413, "http-413", "Content Too Large", DETAIL)
            await response(problem, scope["path"])(scope, receive, send)
            return
        seen = 0

        async def receive_bounded() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._body_bytes_max:
                raise HTTPException(413, DETAIL)
            return message

        await self._app(scope, receive_bounded, send)
