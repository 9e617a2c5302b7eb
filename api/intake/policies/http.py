"""Policies over HTTP: their settings, paused and resumed, and what they have done.

`account_id` is an account, or `firm`: for all accounts without a setting of their own.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Query
from pydantic import BeforeValidator, Field, StrictBool, StrictInt
from starlette.responses import Response

from adapters.postgres.scopes import Caller
from adapters.writer.batch import Look
from api.daybook import Daybook
from api.http.auth import Admin, Reader
from api.http.dependencies import OpenDaybook, RequestId, answer
from api.http.fields import CurrencyCode, InstrumentId, Name, Number, Positive, RequestBody, Text
from api.http.idempotency import IdempotencyKey, Key, carried_out, command, one
from api.http.problem_responses import responses
from api.intake.policies import schemas
from api.intake.policies.service import Hedge, is_acting, policy_records, reaction_record, record_of, setting_request
from api.intake.requests_http import CREATED, PROPOSED
from domain.ledger import Answer
from domain.policies import AGE_SECONDS_MAX, AGES_MAX, Policy, SetPolicy
from domain.risk import FIRM, Mode

router = APIRouter(prefix="/v1", tags=["controls"], responses=responses(401, 403, 409, 422, 429, 503))


def _capital(name: object) -> object:
    return name.upper() if isinstance(name, str) else name


PolicyName = Annotated[Policy, BeforeValidator(_capital), Path(description="the policy")]
EXAMPLES: Any = {
    "loss": {"summary": "halt instead of reducing only", "value": {"policy": "LOSS", "mode": "HALT"}},
    "off": {
        "summary": "off for one account",
        "value": {"account_id": "main", "policy": "EXPIRY", "is_on": False, "reason": "the venue expires them"},
    },
    "marks": {"summary": "monitor every ten seconds", "value": {"policy": "MARKS", "interval_seconds": 10}},
    "hedge": {
        "summary": "keep the delta in BTC between -0.5 and 0.5",
        "value": {
            "account_id": "main", "policy": "HEDGE", "asset": "BTC", "instrument_id": "BTCUSDT.BINANCE",
            "strategy_id": "hedge", "band": "0.5", "target": "0",
        },
    },
}  # fmt: skip


Ages = Annotated[list[Annotated[StrictInt, Field(ge=1, le=AGE_SECONDS_MAX)]], Field(min_length=1, max_length=AGES_MAX)]


class PolicySetting(RequestBody):
    """What a policy does from now on; null stays as it is."""

    account_id: Name = Field(FIRM, description="the account; `firm` for all without a setting of their own")
    policy: Policy
    is_on: StrictBool = True
    reason: Text = ""
    mode: Mode | None = Field(None, description="LOSS: what a breached loss limit engages")
    interval_seconds: StrictInt | None = Field(
        None, ge=1, le=86400, description="MARKS: how often accounts with limits are monitored"
    )
    ages_seconds: Ages | None = Field(None, description="BREAKS: ages at which an open break is recorded as older")
    asset: CurrencyCode | None = Field(None, description="HEDGE: the asset whose delta is kept")
    instrument_id: InstrumentId | None = Field(None, description="HEDGE: what is bought and sold for it")
    strategy_id: Name | None = Field(None, description="HEDGE: whose orders they are; by default `hedge`")
    band: Positive | None = Field(None, description="HEDGE: how far the delta may be from its target, base units")
    target: Number | None = Field(None, description="HEDGE: the delta to bring it back to; by default 0")


class PauseRequest(RequestBody):
    """Whose policy, of a hedge which asset, and why."""

    account_id: Name = FIRM
    asset: CurrencyCode | None = None
    reason: Text = ""


@router.get("/policies", response_model=schemas.PoliciesAnswer)
def list_policies(
    daybook: OpenDaybook,
    caller: Reader,  # noqa: ARG001 (its scope is checked)
    account_id: Annotated[
        Name | None, Query(description="as they count for this account; without, the firm's and all accounts' own")
    ] = None,
) -> Response:
    """List the policies: which are on, how they act, and how far each has read the log."""
    seq = daybook.history.head().seq
    reactions = [reaction_record(each) for each in daybook.reactions.status()]
    return answer({"policies": policy_records(daybook.state, account_id), "reactions": reactions}, seq=seq)


@router.post("/policies", status_code=201, response_model=schemas.PolicyAnswer, responses=CREATED | PROPOSED)
def set_policy(
    body: Annotated[PolicySetting, Body(openapi_examples=EXAMPLES)],
    daybook: OpenDaybook,
    caller: Admin,
    request_id: RequestId,
    key: IdempotencyKey,
) -> Response:
    """Set a policy: on or off, and how it acts. What lets it do less may need a second person."""
    hedge = Hedge(body.asset, body.instrument_id, body.strategy_id, body.band, target=body.target)
    request = setting_request(
        body.account_id, body.policy, is_on=body.is_on, reason=body.reason, mode=body.mode,
        interval_seconds=body.interval_seconds, ages_seconds=body.ages_seconds, hedge=hedge,
    )  # fmt: skip
    return _set(daybook, request, caller, request_id, key=key)


@router.post(
    "/policies/{policy}/pause", status_code=201, response_model=schemas.PolicyAnswer, responses=CREATED | PROPOSED
)
def pause_policy(
    policy: PolicyName,
    daybook: OpenDaybook,
    caller: Admin,
    request_id: RequestId,
    key: IdempotencyKey,
    body: PauseRequest = PauseRequest(),
) -> Response:
    """Pause a policy: what happens meanwhile is not reacted to, also not later."""
    request = setting_request(body.account_id, policy, is_on=False, reason=body.reason, hedge=Hedge(asset=body.asset))
    return _set(daybook, request, caller, request_id, key=key)


@router.post(
    "/policies/{policy}/resume", status_code=201, response_model=schemas.PolicyAnswer, responses=CREATED | PROPOSED
)
def resume_policy(
    policy: PolicyName,
    daybook: OpenDaybook,
    caller: Admin,
    request_id: RequestId,
    key: IdempotencyKey,
    body: PauseRequest = PauseRequest(),
) -> Response:
    """Resume a policy that was paused, and let one that stopped at an event read it again."""
    daybook.reactions.resume([policy.lower()])
    request = setting_request(body.account_id, policy, is_on=True, reason=body.reason, hedge=Hedge(asset=body.asset))
    if is_acting(daybook.state, body.account_id, policy, body.asset):
        return answer(record_of(daybook.state, request), seq=daybook.history.head().seq)
    return _set(daybook, request, caller, request_id, key=key)


def _set(daybook: Daybook, request: SetPolicy, caller: Caller, request_id: str, *, key: Key | None) -> Response:
    def respond(answers: list[Answer], look: Look) -> Response:
        done = one(answers)
        return answer(record_of(look, request), seq=done.seq, status=201 if done.records else 200)

    return carried_out(daybook, command(request, caller, request_id), key, respond)
