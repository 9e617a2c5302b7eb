"""Routes of the busiest operations: their arguments are found without a walk through dependencies.

FastAPI finds each argument by calling dependencies within dependencies, which takes longer than to carry out an order.
A `DirectRoute` finds the same arguments by name, for requests that are as described; any other request goes the usual
way, which answers it with its error. The operation is declared as any other, and OpenAPI describes it alike.
"""

import inspect
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.responses import Response

from api.http.auth import check_scopes, needed_by
from api.http.bodies import ParsedRequest
from api.http.idempotency import HEADER, key_of

NAMES = frozenset({"body", "daybook", "caller", "request_id", "idempotency"})


class DirectRoute(APIRoute):
    """A route of a coroutine whose parameters are a body and some of the others in `NAMES`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler."""
        handle, field, function = super().get_route_handler(), self.body_field, self.endpoint
        assert field is not None
        assert inspect.iscoroutinefunction(function)
        assert set(inspect.signature(function).parameters) == NAMES
        scopes = needed_by(self.dependant)

        async def handle_direct(given_request: Request) -> Response:
            request = ParsedRequest(given_request.scope, given_request.receive)
            state = request.scope["state"]
            given, name = state.get("json"), request.headers.get(HEADER)
            key = None if name is None else await key_of(request, name)
            body, errors = field.validate(given, {}, loc=("body",))
            if errors or given is None or (key is None and name is not None):
                return await handle(request)
            check_scopes(state["caller"], scopes)
            answered: Response = await function(
                body=body, daybook=request.app.state.daybook, caller=state["caller"], request_id=state["request_id"],
                idempotency=key,
            )  # fmt: skip
            return answered

        return handle_direct
