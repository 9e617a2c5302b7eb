"""Reports: what venues say has happened, in batches. A report is never refused; each gets an answer of its own.

recorded: it changed the book. known: it was on record already. broken: it is kept, with the rule it broke beside it.
unreadable: it could not be taken down; its raw text is kept as evidence, and the answer names field, value and rule.
A batch is one append: all of it is on record when the answer comes, or none. Sending it again adds nothing.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from adapters.postgres.scopes import Caller
from adapters.writer.batch import Look
from api.daybook import Daybook
from api.http.auth import Reporter
from api.http.dependencies import OpenDaybook, RequestId, answer, documented
from api.http.idempotency import IdempotencyKey, Key, carried_out, command
from api.http.problem_responses import MEDIA_TYPE, response, responses
from api.intake.venue_reports import Unreadable, evidence, outcome_of, parsed, split
from api.problems import Problem, unreadable
from api.read_models import schemas
from domain import ledger
from domain.account import RawReportKept
from domain.errors import InvalidInput

router = APIRouter(prefix="/v1", tags=["reports"], responses=responses(401, 403, 422, 429, 503))


@router.post(
    "/reports",
    response_model=schemas.ReportsAnswer,
    responses=documented(200, "all taken down") | documented(207, "some were unreadable", schemas.ReportsAnswer),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ReportBatch"}}},
        }
    },
)
async def take_reports(
    request: Request, book: OpenDaybook, caller: Reporter, request_id: RequestId, key: IdempotencyKey
) -> Response:
    """Take down what venues report. 207 when some are unreadable, 422 when all are: those are kept raw, as evidence."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Problem(415, "http-415", "Unsupported Media Type", "reports are sent as application/json")
    raws = split(await request.body())
    return await run_in_threadpool(_taken, raws, book, caller, request_id, key)


def _taken(raws: Sequence[str], book: Daybook, caller: Caller, request_id: str, key: Key | None) -> Response:
    read = [parsed(raw, caller.actor) for raw in raws]
    reports = tuple(item.kept if isinstance(item, Unreadable) else item for item in read)

    def evidence_of(index: int, error: InvalidInput) -> RawReportKept:
        return evidence(raws[index], str(error), caller.actor)

    def tell(answers: list[ledger.Answer], _: Look) -> Response:
        told = []
        for index, (item, taken) in enumerate(zip(read, answers, strict=True)):
            if isinstance(taken.error, InvalidInput):
                errors = unreadable(taken.error).facts["errors"]
                told.append({"index": index, "status": "unreadable", "rule": None, "errors": errors})
            elif isinstance(item, Unreadable):
                told.append({"index": index, "status": "unreadable", "rule": None, "errors": item.errors})
            else:
                told.append({"index": index, "errors": None, **outcome_of(taken)})
        return _told(told, answers[0].seq)

    return carried_out(book, command(reports, caller, request_id, evidence_of), key, tell)


def _told(answers: list[dict[str, Any]], seq: int) -> Response:
    counts = Counter(each["status"] for each in answers)
    body = {status: counts[status] for status in ("recorded", "known", "broken", "unreadable")} | {"answers": answers}
    if counts["unreadable"] < len(answers):
        return answer(body, seq=seq, status=207 if counts["unreadable"] else 200)
    first = answers[0]["errors"][0]
    detail = f"no report could be read; they are kept as evidence. reports.0.{first['field']}: not {first['rule']}"
    errors = [
        error | {"field": f"reports.{each['index']}.{error['field']}"} for each in answers for error in each["errors"]
    ]
    told = response(Problem(422, "unreadable", "Not readable", detail, errors=errors, answers=answers))
    told.headers["Daybook-Seq"] = str(seq)
    assert told.media_type == MEDIA_TYPE
    return told
