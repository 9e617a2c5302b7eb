"""API keys and approvals over HTTP: who may do what, and the requests that wait for a second person."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import ConfigDict, Field, StrictBool, StrictInt
from starlette.responses import Response

from adapters.postgres.api_keys import Issued, KeyRow
from adapters.writer.batch import Look
from api.clock import now
from api.encoding import policy_record, proposal_record
from api.http.auth import Admin
from api.http.dependencies import OpenDaybook, RequestId, answer, documented
from api.http.fields import AnyTime, Name, PlainName, RequestBody, Text
from api.http.idempotency import IdempotencyKey, carried_out, command, one
from api.http.problem_responses import responses
from api.operations import access_schemas as schemas
from api.operations.proposals import known_approvals, settle
from api.problems import not_found
from domain.access import (
    Action,
    Approvals,
    ApproveProposal,
    Bounds,
    RejectProposal,
    Scope,
    SetApprovalPolicy,
    Status,
    approvals,
)
from domain.access.approvals import VALID_HOURS, VALID_HOURS_MAX
from domain.access.keys import OVERLAP_SECONDS, OVERLAP_SECONDS_MAX, PARTS_MAX
from domain.errors import InvalidInput
from domain.ledger import Answer

SCOPES_MAX = len(Scope)
READING = (Scope.READ, Scope.AUDIT, Scope.PERSONAL)  # scopes that change nothing

router = APIRouter(prefix="/v1", tags=["access"], responses=responses(401, 403, 409, 422, 429, 503))


class BoundsRequest(RequestBody):
    """All bounds that the key has from now on: one that is left out is lifted."""

    accounts: list[Name] = Field(
        [], max_length=PARTS_MAX, description="the only accounts that it shows and changes; none given: all"
    )
    strategies: list[Name] = Field(
        [], max_length=PARTS_MAX,
        description="the only strategies that it shows and changes; it is refused what is not by strategy",
    )  # fmt: skip
    expires_at: AnyTime | None = Field(None, description="the time up to which it is valid")

    def bounds(self) -> Bounds:
        """Return the bounds."""
        return Bounds(tuple(self.accounts), tuple(self.strategies), self.expires_at)


class IssueKeyRequest(BoundsRequest):
    """A key for somebody or something: `name` is the actor of all that is done with it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"name": "bot", "scopes": ["trade"], "accounts": ["main"], "expires_at": "2199-01-01T00:00:00Z"},
                {"name": "auditor", "read_only": True},
            ]
        }
    )

    name: PlainName
    scopes: list[Scope] = Field([], max_length=SCOPES_MAX, description="at most what your own key has")
    read_only: StrictBool = Field(False, description="for scopes that change nothing: `read` if none are given")

    def given(self) -> list[Scope]:
        """Return the scopes. Raises InvalidInput."""
        if self.read_only and (writing := [scope for scope in self.scopes if scope not in READING]):
            raise InvalidInput("scopes", writing[0].value, f"of a read-only key: {', '.join(READING)}")
        if not self.scopes and not self.read_only:
            raise InvalidInput("scopes", [], "at least one scope, or read_only")
        return self.scopes or [Scope.READ]


class RotateRequest(RequestBody):
    """How long the secret of now is valid beside the new one."""

    overlap_seconds: StrictInt = Field(
        OVERLAP_SECONDS, ge=0, le=OVERLAP_SECONDS_MAX, description="0 ends the secret of now at once"
    )


class RescopeRequest(RequestBody):
    """All scopes that the key has from now on."""

    scopes: list[Scope] = Field(min_length=1, max_length=SCOPES_MAX)


class RevokeRequest(RequestBody):
    """Why the key is revoked."""

    reason: Text = ""


class PolicyRequest(RequestBody):
    """The actions that need a second person from now on; all others need none."""

    actions: list[Action] = Field(max_length=len(Action))
    valid_hours: StrictInt = Field(
        VALID_HOURS, ge=1, le=VALID_HOURS_MAX, description="how long a proposal may be approved"
    )
    counts_issuer: StrictBool = Field(
        False, description="whether who issued a key counts as its holder, having seen its secret"
    )


class RejectRequest(RequestBody):
    """Why the proposal is rejected."""

    reason: Text


DONE = documented(201, "done") | documented(200, "done before: the same answer")
PROPOSED = documented(202, "proposed: it takes effect when another person approves it", schemas.ProposalAnswer)
KeyId = Annotated[PlainName, Path(description="the id of a key: the part after `dbk_`")]
ProposalId = Annotated[PlainName, Path()]


@router.post(
    "/keys", status_code=201, response_model=schemas.IssuedKeyAnswer, responses=documented(201, "issued") | PROPOSED
)
def issue_key(body: IssueKeyRequest, daybook: OpenDaybook, caller: Admin, request_id: RequestId) -> Response:
    """Issue an API key. It is shown once, and therefore not kept under an `Idempotency-Key`.

    A key gives no scope that it has not itself. Proposed (202), the key is shown too, and opens nothing until another
    person approves.
    """
    issued = daybook.keys.issued(
        body.name, body.given(), now=now(), bounds=body.bounds(), actor=caller.identity, request_id=request_id
    )  # fmt: skip
    return _secret_shown(daybook, issued)


@router.get("/keys", response_model=schemas.KeysAnswer, responses=documented(200, "every key"))
def list_keys(daybook: OpenDaybook, caller: Admin) -> Response:  # noqa: ARG001 (its scope is checked)
    """List API keys without their secrets, with their bounds and when each was used last.

    `difference` says how a row differs from the log, which refuses the key.
    """
    seq = daybook.history.head().seq
    return answer({"keys": [key_record(row) for row in daybook.keys.all()]}, seq=seq)


@router.post(
    "/keys/{key_id}/scopes", status_code=201, response_model=schemas.KeyAnswer,
    responses=DONE | PROPOSED | responses(404),
)  # fmt: skip
def rescope_key(
    key_id: KeyId, body: RescopeRequest, daybook: OpenDaybook, caller: Admin, request_id: RequestId
) -> Response:
    """Give a key other scopes."""
    _row(daybook, key_id)
    done = daybook.keys.rescope(key_id, body.scopes, now=now(), actor=caller.identity, request_id=request_id)
    if done.proposal_id:
        proposal = daybook.writer.state(approvals.STREAM).proposals[done.proposal_id]
        return answer(proposal_record(proposal, now()), seq=done.seq, status=202)
    return answer(key_record(_row(daybook, key_id)), seq=done.seq, status=201 if done.records else 200)


@router.post(
    "/keys/{key_id}/bounds", status_code=201, response_model=schemas.KeyAnswer,
    responses=DONE | PROPOSED | responses(404),
)  # fmt: skip
def bound_key(
    key_id: KeyId, body: BoundsRequest, daybook: OpenDaybook, caller: Admin, request_id: RequestId
) -> Response:
    """Bound a key to accounts, to strategies, or to a time; or lift its bounds."""
    _row(daybook, key_id)
    done = daybook.keys.bound(key_id, body.bounds(), now=now(), actor=caller.identity, request_id=request_id)
    if done.proposal_id:
        proposal = daybook.writer.state(approvals.STREAM).proposals[done.proposal_id]
        return answer(proposal_record(proposal, now()), seq=done.seq, status=202)
    return answer(key_record(_row(daybook, key_id)), seq=done.seq, status=201 if done.records else 200)


@router.post(
    "/keys/{key_id}/rotate", status_code=201, response_model=schemas.IssuedKeyAnswer,
    responses=documented(201, "rotated") | PROPOSED | responses(404),
)  # fmt: skip
def rotate_key(
    key_id: KeyId,
    daybook: OpenDaybook,
    caller: Admin,
    request_id: RequestId,
    body: RotateRequest = RotateRequest(overlap_seconds=OVERLAP_SECONDS),
) -> Response:
    """Give a key another secret, which is shown once; the one of now stays valid for `overlap_seconds`."""
    _row(daybook, key_id)
    rotated = daybook.keys.rotated(
        key_id, overlap_seconds=body.overlap_seconds, now=now(), actor=caller.identity, request_id=request_id
    )
    return _secret_shown(daybook, rotated)


def _secret_shown(daybook: OpenDaybook, issued: Issued) -> Response:
    """Return the answer with a new secret, which is shown once."""
    shown: dict[str, Any] = {"key": issued.key, "key_id": issued.key_id}
    done = issued.answer
    if done.proposal_id:
        proposal = daybook.writer.state(approvals.STREAM).proposals[done.proposal_id]
        return answer(proposal_record(proposal, now()) | shown, seq=done.seq, status=202)
    row = _row(daybook, issued.key_id)
    record = {name: value for name, value in key_record(row).items() if name in schemas.IssuedKeyAnswer.model_fields}
    return answer(shown | record, seq=done.seq, status=201)


@router.post(
    "/keys/{key_id}/revoke", status_code=201, response_model=schemas.KeyAnswer, responses=DONE | responses(404)
)
def revoke_key(
    key_id: KeyId,
    daybook: OpenDaybook,
    caller: Admin,
    request_id: RequestId,
    body: RevokeRequest = RevokeRequest(),
) -> Response:
    """Revoke a key for good. It stops working within seconds."""
    is_now = daybook.keys.revoke(key_id, reason=body.reason, now=now(), actor=caller.identity, request_id=request_id)
    row = _row(daybook, key_id)
    return answer(key_record(row), seq=daybook.log.head().seq, status=201 if is_now else 200)


@router.get(
    "/approval-policy", response_model=schemas.ApprovalPolicyAnswer, responses=documented(200, "the policy in force")
)
def read_approval_policy(daybook: OpenDaybook, caller: Admin) -> Response:  # noqa: ARG001
    """Return the actions that need a second person."""
    seq = daybook.history.head().seq
    return answer(policy_record(known_approvals(daybook)), seq=seq)


@router.post(
    "/approval-policy", status_code=201, response_model=schemas.ApprovalPolicyAnswer, responses=DONE | PROPOSED
)
def set_approval_policy(
    body: PolicyRequest, daybook: OpenDaybook, caller: Admin, request_id: RequestId, key: IdempotencyKey
) -> Response:
    """Require a second person for these actions and for no others. To require less needs a second person itself."""
    request = SetApprovalPolicy(tuple(body.actions), body.valid_hours, now(), body.counts_issuer)

    def respond(answers: list[Answer], look: Look) -> Response:
        done = one(answers)
        known = look(approvals.STREAM)
        return answer(policy_record(known or Approvals()), seq=done.seq, status=201 if done.records else 200)

    return carried_out(daybook, command(request, caller, request_id), key, respond)


@router.get("/approvals", response_model=schemas.ProposalsAnswer, responses=documented(200, "proposals, newest first"))
def list_proposals(
    daybook: OpenDaybook,
    caller: Admin,  # noqa: ARG001 (its scope is checked)
    status: Annotated[Status | None, Query(description="only proposals that stand there")] = None,
) -> Response:
    """List the proposals: what waits for a second person, and what was decided."""
    seq = daybook.history.head().seq
    records = [proposal_record(each, now()) for each in known_approvals(daybook).proposals.values()]
    shown = [record for record in records if status is None or record["status"] == status]
    return answer({"proposals": sorted(shown, key=lambda one: one["proposed_at"], reverse=True)}, seq=seq)


@router.post(
    "/approvals/{proposal_id}", status_code=201, response_model=schemas.ProposalAnswer, responses=DONE | responses(404)
)
def approve_proposal(
    proposal_id: ProposalId, daybook: OpenDaybook, caller: Admin, request_id: RequestId, key: IdempotencyKey
) -> Response:
    """Approve what another person has proposed: it is decided again by the state of now, and takes effect."""
    _proposal(daybook, proposal_id)
    done = carried_out(
        daybook, command(ApproveProposal(proposal_id, now()), caller, request_id), key, _decision(proposal_id)
    )
    if done.status_code < 300:
        settle(daybook, _proposal(daybook, proposal_id))
    return done


@router.post(
    "/approvals/{proposal_id}/reject", status_code=201, response_model=schemas.ProposalAnswer,
    responses=DONE | responses(404),
)  # fmt: skip
def reject_proposal(
    proposal_id: ProposalId,
    body: RejectRequest,
    daybook: OpenDaybook,
    caller: Admin,
    request_id: RequestId,
    key: IdempotencyKey,
) -> Response:
    """Reject a proposal, or withdraw one's own."""
    _proposal(daybook, proposal_id)
    request = RejectProposal(proposal_id, body.reason, now())
    return carried_out(daybook, command(request, caller, request_id), key, _decision(proposal_id))


def _decision(proposal_id: str) -> Any:
    def respond(answers: list[Answer], look: Look) -> Response:
        done = one(answers)
        record = proposal_record(look(approvals.STREAM).proposals[proposal_id], now())
        return answer(record, seq=done.seq, status=201 if done.records else 200)

    return respond


def _proposal(daybook: OpenDaybook, proposal_id: str) -> Any:
    known = daybook.writer.state(approvals.STREAM)
    proposal = known.proposals.get(proposal_id) if known else None
    if proposal is None:
        raise not_found(f"proposal {proposal_id}", proposal_id=proposal_id)
    return proposal


def _row(daybook: OpenDaybook, key_id: str) -> KeyRow:
    row = next((row for row in daybook.keys.all() if row.key_id == key_id), None)
    if row is None:
        raise not_found(f"API key {key_id}", key_id=key_id)
    return row


def key_record(row: KeyRow) -> dict[str, Any]:
    """Return a key as a record."""
    record = row._asdict()
    return {"key_id": record.pop("key_id"), "name": record.pop("actor"), **record}
