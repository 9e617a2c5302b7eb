"""Problems over HTTP: as responses to a request, and as OpenAPI describes them."""

from collections import defaultdict
from decimal import DecimalException
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from adapters.upkeep.outages import Limited, is_outage
from api.encoding import encoded
from api.problems import Problem, problem_of, unreadable, unreadable_fields
from domain.errors import InvalidInput, LedgerError
from domain.reasons.codes import Code

MEDIA_TYPE = "application/problem+json"

RETRY_AFTER = {
    "Retry-After": {"description": "seconds after which to send it again", "schema": {"type": "integer"}}
}  # fmt: skip

log = structlog.get_logger("daybook.api")


class FieldError(BaseModel):
    """A field that cannot be read."""

    field: str = Field(examples=["side"])
    value: Any = Field(None, description="as it was given, shortened; null if it is missing", examples=["buy"])
    rule: str = Field(description="what the value is not", examples=["one of BUY, SELL"])
    code: Code
    message: str = Field(examples=["side: 'buy' is not one of BUY, SELL"])


class LimitScope(BaseModel):
    """What a limit is of; null is any. `account_id` is `firm` for the firm, `instrument_id` the order's."""

    account_id: str | None = None
    strategy_id: str | None = None
    instrument_id: str | None = None
    venue: str | None = None
    asset: str | None = None


class ProblemDetails(BaseModel):
    """RFC 9457. `code` is stable, and what a program acts on; `detail` is for people. docs/errors.md has every code.

    A rule that refused has its numbers in one form, decimals as text; further members carry its other facts.
    """

    model_config = ConfigDict(extra="allow", title="Problem")

    type: str = Field(description="the kind of problem", examples=["urn:daybook:problem:refused"])
    title: str
    status: int
    detail: str = Field(examples=["MAX_POSITION exceeded: 2.4 of 1.5 BTC"])
    code: Code = Field(examples=["MAX_POSITION"])
    instance: str | None = None
    rule: str | None = Field(None, description="of a refusal: the rule, as events store it")
    requested: str | None = Field(None, description="what was requested, where a rule compares it", examples=["2.4"])
    used: str | None = Field(None, description="of a limit: what is used already", examples=["1.4"])
    would_be: str | None = Field(None, description="of a limit: what would be used with the order", examples=["2.4"])
    limit: str | None = Field(None, description="what it is held against: the limit, the tick size", examples=["1.5"])
    unit: str | None = Field(None, description="of these numbers: a currency, `contracts`, `orders`", examples=["BTC"])
    scope: LimitScope | str | None = Field(None, description="what a limit is of; of a 403 the scope a key lacks")
    errors: list[FieldError] | None = Field(None, description="of what cannot be read: each field that is wrong")


def response(problem: Problem, instance: str | None = None) -> Response:
    """Return the problem as an HTTP response."""
    return Response(
        encoded(problem.body(instance)), status_code=problem.status, media_type=MEDIA_TYPE, headers=problem.headers
    )


def install(app: FastAPI) -> None:
    """Answer every error of this app as a problem."""

    limited: defaultdict[str, Limited] = defaultdict(Limited)  # by the kind of problem

    async def on_ours(request: Request, error: Exception) -> Response:
        problem = problem_of(error)
        outage = request.app.state.daybook.upkeep.outage
        is_busy = problem.status == HTTPStatus.SERVICE_UNAVAILABLE
        if is_busy and (is_outage(error) or outage.is_on):
            outage.away("requests", problem.detail, is_task=False)
        elif problem.status >= 500 and (times := limited[problem.kind].due() if is_busy else 1) is not None:
            log.warning("problem", kind=problem.kind, detail=problem.detail, path=request.url.path, times=times)
        return response(problem, request.url.path)

    async def on_validation(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return response(unreadable_fields(error.errors()), request.url.path)

    async def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if error.status_code == 400:  # what FastAPI answers to a body that is not JSON at all
            return response(unreadable(InvalidInput("body", None, "readable JSON")), request.url.path)
        if error.status_code in (404, 405):
            problem = request.app.state.paths.problem(request.method, request.url.path)
            return response(problem, request.url.path)
        status = HTTPStatus(error.status_code)
        kind = f"http-{status.value}"
        detail = f"{request.method} {request.url.path}: {error.detail}"
        problem = Problem(status.value, kind, status.phrase, detail, headers=dict(error.headers or {}))
        return response(problem, request.url.path)

    app.add_exception_handler(LedgerError, on_ours)
    app.add_exception_handler(Problem, on_ours)
    app.add_exception_handler(DecimalException, on_ours)
    app.add_exception_handler(RequestValidationError, on_validation)
    app.add_exception_handler(HTTPException, on_http)


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI description of the problems an operation may answer with."""
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
            **({"headers": RETRY_AFTER} if status in (429, 503) else {}),
        }
        for status in statuses
    }
