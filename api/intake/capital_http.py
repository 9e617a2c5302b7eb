"""Capital over HTTP: what limits of leverage, concentration and drawdown are measured by."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Query
from pydantic import Field
from starlette.responses import Response

from adapters.writer.batch import Look
from api.clock import now
from api.http.auth import Admin, Reader
from api.http.dependencies import OpenDaybook, RequestId, answer, documented
from api.http.fields import CurrencyCode, Name, Number, RequestBody
from api.http.idempotency import IdempotencyKey, carried_out, command, one
from api.http.problem_responses import responses
from api.intake.requests_http import CREATED, PROPOSED
from api.read_models import limit_usage, schemas
from api.read_models.snapshot import reading
from domain import risk
from domain.ledger import Answer
from domain.risk import StateCapital
from domain.values import Money

router = APIRouter(prefix="/v1", tags=["controls"], responses=responses(401, 403, 409, 422, 429, 503))


class CapitalStatement(RequestBody):
    """The capital of an account, or of the firm (`account_id` null or `firm`): paid in less withdrawals, without gains.

    It replaces what is on record until it is withdrawn.
    """

    account_id: Name | None = Field(None, description="null, or `firm`: all accounts together")
    amount: Number
    currency: CurrencyCode


class CapitalWithdrawal(RequestBody):
    """The account whose statement of capital is withdrawn; null, or `firm`: the firm's."""

    account_id: Name | None = None


EXAMPLES: dict[str, Any] = {
    "of an account": {"value": {"account_id": "main", "amount": "100000", "currency": "USDT"}},
    "of the firm": {"value": {"account_id": None, "amount": "2500000", "currency": "USD"}},
}
WITHDRAWAL: dict[str, Any] = {"of an account": {"value": {"account_id": "main"}}}


@router.post("/capital", status_code=201, response_model=schemas.CapitalAnswer, responses=CREATED | PROPOSED)
def state_capital(
    body: Annotated[CapitalStatement, Body(openapi_examples=EXAMPLES)],
    daybook: OpenDaybook,
    caller: Admin,
    request_id: RequestId,
    key: IdempotencyKey,
) -> Response:
    """State the capital of an account, or of the firm, to measure limits by instead of what is on record."""
    owner = body.account_id or risk.FIRM
    request = StateCapital(owner, Money(body.amount, body.currency), now())
    return carried_out(daybook, command(request, caller, request_id), key, _stated(owner))


@router.post("/capital/withdraw", status_code=201, response_model=schemas.CapitalAnswer, responses=CREATED | PROPOSED)
def withdraw_capital(
    body: Annotated[CapitalWithdrawal, Body(openapi_examples=WITHDRAWAL)],
    daybook: OpenDaybook,
    caller: Admin,
    request_id: RequestId,
    key: IdempotencyKey,
) -> Response:
    """Withdraw a statement of capital: limits are measured by the capital on record again."""
    owner = body.account_id or risk.FIRM
    return carried_out(daybook, command(StateCapital(owner, None, now()), caller, request_id), key, _stated(owner))


@router.get(
    "/capital",
    response_model=schemas.CapitalRow,
    responses=documented(200, "the capital and the equity") | responses(404),
)
def read_capital(
    daybook: OpenDaybook,
    caller: Reader,  # noqa: ARG001 (its scope is checked)
    account_id: Annotated[Name, Query(description="of the firm unless another is named")] = risk.FIRM,
    min_seq: Annotated[int, Query(ge=0, le=2**63 - 1)] = 0,
) -> Response:
    """The capital that limits of an account or of the firm are measured by, stated or on record, and its equity."""
    with reading(daybook, "limits", min_seq=min_seq) as at:
        found = limit_usage.capital_of(daybook, at, account_id)
    return answer(found, seq=at.seq)


def _stated(account_id: str) -> Any:
    def respond(answers: list[Answer], look: Look) -> Response:
        done = one(answers)
        state = look(risk.stream(account_id))
        stated = state.statement if state is not None else None
        capital = stated.capital if stated is not None else None
        record = {
            "account_id": account_id,
            "amount": capital.amount if capital is not None else None,
            "currency": capital.currency if capital is not None else None,
            "stated_at": stated.stated_at if stated is not None else None,
        }
        return answer(record, seq=done.seq, status=201 if done.records else 200)

    return respond
