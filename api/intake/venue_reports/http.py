"""Venue reports over HTTP: what venues report, in batches. None is ever refused, and each has an outcome of its own.

recorded: it is on record now. known: it was on record already. broken: it is on record, with the rule it broke beside
it. unreadable: it could not be recorded; its raw text is kept as evidence, and the answer names field, value and rule.
A batch is one append: all of it is on record when the answer is sent, or none. Sending it again adds nothing.
"""

import json
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
from api.http.dependencies import SEQ_HEADER, OpenDaybook, RequestId, answer, documented
from api.http.idempotency import IdempotencyKey, Key, carried_out, command
from api.http.problem_responses import response, responses
from api.intake.venue_reports.outcomes import STATUSES
from api.intake.venue_reports.parsing import EXAMPLES, Unreadable, answers_of, evidence, parsed, split
from api.intake.venue_reports.reconciliation import reconciled, shown
from api.problems import Problem
from api.read_models import schemas
from domain import ledger
from domain.account import RawReportKept, Statement
from domain.errors import InvalidInput

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
            "content": {
                "application/json": {
                    "schema": {"$ref": "#/components/schemas/VenueReportSubmission"},
                    "examples": EXAMPLES,
                }
            },
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
    read = [parsed(raw, caller.actor, daybook.writer.state) for raw in raws]
    reports = tuple(item.kept if isinstance(item, Unreadable) else item for item in read)

    def evidence_of(index: int, error: InvalidInput) -> RawReportKept:
        return evidence(raws[index], str(error), caller.actor)

    def respond(results: list[ledger.Answer], look: Look) -> Response:
        return _response(answers_of(read, results, look, daybook.history.read), results[0].seq)

    done = carried_out(daybook, command(reports, caller, request_id, evidence_of), key, respond)
    stated = {index: each for index, each in enumerate(read) if isinstance(each, Statement)}
    return _compared(daybook, caller, request_id, stated=stated, done=done) if stated else done


def _compared(
    daybook: Daybook, caller: Caller, request_id: str, *, stated: dict[int, Statement], done: Response
) -> Response:
    """Return the answer with the differences of the statements that are on record, once their breaks are too."""
    body = json.loads(bytes(done.body))
    if done.status_code not in (200, 207):
        return done
    seq = int(done.headers[SEQ_HEADER])
    for index, statement in stated.items():
        if body["answers"][index]["status"] == "unreadable":
            continue
        compared = reconciled(daybook, statement, caller.identity, request_id)
        body["answers"][index]["breaks"] = [shown(each) for each in compared.found]
        seq = max(seq, compared.seq)
    return answer(body, seq=seq, status=done.status_code)


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
