"""Venue reports over HTTP: what venues report, in batches. None is ever refused, and each has an outcome of its own.

recorded: it is on record now. known: it was on record already. broken: it is on record, with the rule it broke beside
it. unreadable: it could not be recorded; its raw text is kept as evidence, and the answer names field, value and rule.
A batch is one append: all of it is on record when the answer is sent, or none. Sending it again adds nothing.
"""

from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter, Request
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from adapters.postgres.scopes import Caller
from adapters.writer.batch import Look
from api.daybook import Daybook
from api.http.auth import Recorder
from api.http.dependencies import OpenDaybook, RequestId, answer, documented
from api.http.idempotency import IdempotencyKey, Key, carried_out, command
from api.http.problem_responses import response, responses
from api.intake.outcomes import STATUSES, UNREADABLE, outcome_of
from api.intake.venue_reports import Unreadable, evidence, parsed, split
from api.problems import Problem, unreadable
from api.read_models import schemas
from domain import ledger
from domain.account import RawReportKept
from domain.errors import InvalidInput
from domain.reasons.codes import Code

PATH = "/venue-reports"
DEPRECATED_PATH = "/reports"
DEPRECATED_HEADERS = {  # RFC 9745, RFC 8288
    "Deprecation": "@1795996800",  # 2026-11-30
    "Link": '</v1/venue-reports>; rel="successor-version"',
}

router = APIRouter(prefix="/v1", tags=["venue reports"], responses=responses(401, 403, 422, 429, 503))


class DeprecatedRoute(APIRoute):
    """A route whose answers name the route that replaces it."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler that adds the headers."""
        handle = super().get_route_handler()

        async def handle_deprecated(request: Request) -> Response:
            answered = await handle(request)
            answered.headers.update(DEPRECATED_HEADERS)
            return answered

        return handle_deprecated


async def record_venue_reports(
    request: Request, daybook: OpenDaybook, caller: Recorder, request_id: RequestId, key: IdempotencyKey
) -> Response:
    """Record venue reports. 207 when some are unreadable, 422 when all are; their raw text is kept as evidence."""
    return await run_in_threadpool(
        _recorded, await request.body(), daybook=daybook, caller=caller, request_id=request_id, key=key
    )  # fmt: skip


ROUTE: dict[str, Any] = {
    "methods": ["POST"],
    "response_model": schemas.VenueReportsAnswer,
    "responses": documented(200, "all are on record")
    | documented(207, "some were unreadable", schemas.VenueReportsAnswer),
    "openapi_extra": {
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/VenueReportSubmission"}}},
        }
    },
}
router.add_api_route(PATH, record_venue_reports, **ROUTE)
router.add_api_route(
    DEPRECATED_PATH, record_venue_reports, **ROUTE, name="take_reports", deprecated=True,
    summary="Record Venue Reports (deprecated path)", description="Deprecated alias of POST /v1/venue-reports.",
    route_class_override=DeprecatedRoute,
)  # fmt: skip


def _recorded(body: bytes, daybook: Daybook, caller: Caller, request_id: str, key: Key | None) -> Response:
    raws = split(body)
    read = [parsed(raw, caller.actor) for raw in raws]
    reports = tuple(item.kept if isinstance(item, Unreadable) else item for item in read)

    def evidence_of(index: int, error: InvalidInput) -> RawReportKept:
        return evidence(raws[index], str(error), caller.actor)

    def respond(results: list[ledger.Answer], look: Look) -> Response:
        answers = []
        for index, (item, result) in enumerate(zip(read, results, strict=True)):
            if isinstance(result.error, InvalidInput):
                answers.append(_unreadable(index, unreadable(result.error).facts["errors"]))
            elif isinstance(item, Unreadable):
                answers.append(_unreadable(index, item.errors))
            else:
                answers.append({"index": index, "errors": None, **outcome_of(item, result, look).record()})
        return _response(answers, results[0].seq)

    return carried_out(daybook, command(reports, caller, request_id, evidence_of), key, respond)


def _unreadable(index: int, errors: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the answer to a report that could not be read."""
    return {
        "index": index, "status": UNREADABLE, "booked": False, "code": Code.UNREADABLE, "rule": None,
        "detail": errors[0]["message"], "errors": errors,
    }  # fmt: skip


def _response(answers: list[dict[str, Any]], seq: int) -> Response:
    counts = Counter(each["status"] for each in answers)
    body = {status: counts[status] for status in STATUSES} | {"answers": answers}
    if counts["unreadable"] < len(answers):
        return answer(body, seq=seq, status=207 if counts["unreadable"] else 200)
    detail = f"no venue report could be read; they are kept as evidence. reports.0.{answers[0]['detail']}"
    errors = [
        error | {"field": f"reports.{each['index']}.{error['field']}"} for each in answers for error in each["errors"]
    ]
    problem = response(Problem(422, "unreadable", "Not readable", detail, errors=errors, answers=answers))
    problem.headers["Daybook-Seq"] = str(seq)
    return problem
