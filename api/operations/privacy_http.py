"""A person's data over HTTP: to forget a subject for good."""

from typing import Annotated

from fastapi import APIRouter, Path
from starlette.responses import Response

from adapters.writer.batch import Look
from api.clock import now
from api.http.auth import Admin
from api.http.dependencies import OpenDaybook, RequestId, answer, documented
from api.http.fields import Name, RequestBody, Text
from api.http.idempotency import IdempotencyKey, carried_out, command, one
from api.http.problem_responses import responses
from api.operations import access_schemas as schemas
from api.problems import not_found
from domain.account import ForgetSubject
from domain.ledger import Answer

router = APIRouter(prefix="/v1", tags=["access"], responses=responses(401, 403, 404, 409, 422, 429, 503))


class ForgetRequest(RequestBody):
    """Why the person is forgotten. It is stored in the log, so write nothing personal."""

    reason: Text = "requested to be forgotten"


@router.post(
    "/subjects/{subject_id}/forget", status_code=201, response_model=schemas.ForgottenAnswer,
    responses=documented(201, "forgotten")
    | documented(200, "forgotten before")
    | documented(202, "proposed: it takes effect when another person approves it", schemas.ProposalAnswer),
)  # fmt: skip
def forget_subject(
    subject_id: Annotated[Name, Path(description="the id of the person, as `owner` of an account names it")],
    daybook: OpenDaybook,
    caller: Admin,
    request_id: RequestId,
    key: IdempotencyKey,
    body: ForgetRequest = ForgetRequest(),
) -> Response:
    """Forget a person for good: record the request, then delete the key of the person's sealed data.

    Backups made before still hold the key until they expire.
    """
    if not daybook.subjects.is_known(subject_id):
        raise not_found(f"subject {subject_id}", subject_id=subject_id)

    def respond(answers: list[Answer], _: Look) -> Response:
        done = one(answers)
        return answer(
            {"subject_id": subject_id, "is_forgotten": True}, seq=done.seq, status=201 if done.records else 200
        )  # fmt: skip

    request = ForgetSubject(subject_id, body.reason, now())
    done = carried_out(daybook, command(request, caller, request_id), key, respond)
    if done.status_code in (200, 201):
        daybook.subjects.forget(subject_id)
    return done
