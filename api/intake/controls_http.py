"""Controls over HTTP: the kill switch, and breaks that are dismissed or corrected by hand."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.responses import Response

from adapters.writer.batch import Look
from api.clock import now
from api.http.auth import Admin, Reader, Trader
from api.http.dependencies import OpenDaybook, RequestId, answer
from api.http.fields import BreakId, CurrencyCode, InstrumentId, Name, RequestBody, Text, VenueCode
from api.http.idempotency import IdempotencyKey, carried_out, command, one
from api.http.problem_responses import responses
from api.intake.requests_http import CREATED, PROPOSED
from api.intake.venue_reports.breaks import corrected_by, corrections, dismissal
from api.intake.venue_reports.parsing import VenueReport, as_report
from api.operations import access_schemas as schemas
from domain import risk
from domain.ledger import Answer
from domain.risk import EngageSwitch, Mode, ReleaseSwitch, Scope

CORRECTING_REPORTS_MAX = 100

router = APIRouter(prefix="/v1", tags=["controls"], responses=responses(401, 403, 409, 422, 429, 503))


class SwitchScope(RequestBody):
    """The part of an account that the switch covers; null is any. The account `firm` covers all accounts."""

    account_id: Name
    strategy_id: Name | None = None
    instrument_id: InstrumentId | None = None
    venue: VenueCode | None = None
    asset: CurrencyCode | None = None
    reason: Text

    @property
    def scope(self) -> Scope:
        """The scope of the switch."""
        return Scope(self.strategy_id, self.instrument_id, self.venue, self.asset)


class EngageRequest(SwitchScope):
    """Stop orders. HALT: no orders. REDUCE_ONLY: only those that reduce a position."""

    mode: Mode = Mode.HALT


class ReleaseRequest(SwitchScope):
    """Let orders through again."""


class DismissRequest(RequestBody):
    """A break, and why it is none."""

    account_id: Name
    break_id: BreakId
    reason: Text


class CorrectRequest(RequestBody):
    """A break, to be resolved by `reports`; without any, a difference from a statement as the venue states it."""

    account_id: Name
    break_id: BreakId
    reports: Annotated[list[VenueReport], Field(min_length=1, max_length=CORRECTING_REPORTS_MAX)] | None = Field(
        None, description="what happened, in the words of POST /v1/venue-reports; recorded in your name, all or none"
    )


@router.post("/kill-switches", status_code=201, response_model=schemas.SwitchAnswer, responses=CREATED | PROPOSED)
def engage_kill_switch(
    body: EngageRequest, daybook: OpenDaybook, caller: Trader, request_id: RequestId, key: IdempotencyKey
) -> Response:
    """Engage the kill switch. Who may trade may stop; to let more through than before may need a second person."""
    request = EngageSwitch(body.account_id, body.scope, body.mode, body.reason, transact_time=now())
    return carried_out(daybook, command(request, caller, request_id), key, _switch(body))


@router.post(
    "/kill-switches/release", status_code=201, response_model=schemas.SwitchAnswer, responses=CREATED | PROPOSED
)
def release_kill_switch(
    body: ReleaseRequest, daybook: OpenDaybook, caller: Admin, request_id: RequestId, key: IdempotencyKey
) -> Response:
    """Release the kill switch; another actor does than who engaged it."""
    request = ReleaseSwitch(body.account_id, body.scope, body.reason, transact_time=now())
    return carried_out(daybook, command(request, caller, request_id), key, _switch(body))


@router.get("/kill-switches", response_model=schemas.SwitchesAnswer)
def list_kill_switches(
    daybook: OpenDaybook,
    caller: Reader,  # noqa: ARG001 (its scope is checked)
    account_id: Annotated[Name, Query()] = risk.FIRM,
) -> Response:
    """List the kill switches that are engaged for an account, or for the firm."""
    known = daybook.state(risk.stream(account_id))
    engaged = [switch_record(account_id, each.scope, each) for each in known.switches.values()] if known else []
    return answer({"switches": engaged}, seq=daybook.history.head().seq)


@router.post("/breaks/dismiss", status_code=201, response_model=schemas.DismissedAnswer, responses=CREATED | PROPOSED)
def dismiss_break(
    body: DismissRequest, daybook: OpenDaybook, caller: Admin, request_id: RequestId, key: IdempotencyKey
) -> Response:
    """Dismiss a break of any kind by hand. A difference that the next statement still shows opens again."""
    request = dismissal(daybook, body.account_id, body.break_id, body.reason)

    def respond(answers: list[Answer], _: Look) -> Response:
        return answer(body.model_dump(), seq=one(answers).seq, status=201)

    return carried_out(daybook, command(request, caller, request_id), key, respond)


@router.post("/breaks/correct", status_code=201, response_model=schemas.CorrectedAnswer, responses=CREATED)
def correct_break(
    body: CorrectRequest, daybook: OpenDaybook, caller: Admin, request_id: RequestId, key: IdempotencyKey
) -> Response:
    """Correct our records: record the reports that resolve a break, and end the break with them.

    Given `reports` are recorded in your name, for a break of any kind. Without any, a difference from a venue statement
    is corrected to what the venue states: a missing fill is booked, a surplus one busted, an order is canceled or
    adopted, a balance or position adjusted.
    """
    is_repeated = key is not None and bool(daybook.log.kept([(caller.actor, key.name)]))
    given = [as_report(each, daybook.writer.state) for each in body.reports or ()]
    reports = () if is_repeated else corrections(daybook, body.account_id, body.break_id, given)

    def respond(answers: list[Answer], _: Look) -> Response:
        booked = corrected_by(reports, answers)
        shown = {"account_id": body.account_id, "break_id": body.break_id, "recorded": booked}
        return answer(shown, seq=answers[0].seq, status=201)

    return carried_out(daybook, command(reports, caller, request_id), key, respond)


def _switch(body: SwitchScope) -> Any:
    def respond(answers: list[Answer], look: Look) -> Response:
        done = one(answers)
        state = look(risk.stream(body.account_id))
        known = state.switches.get(body.scope) if state else None
        record = switch_record(body.account_id, body.scope, known)
        return answer(record, seq=done.seq, status=201 if done.records else 200)

    return respond


def switch_record(account_id: str, scope: Scope, known: Any) -> dict[str, Any]:
    """Return a kill switch as a record; `mode` is None where none is engaged."""
    return {
        "account_id": account_id, "strategy_id": scope.strategy_id, "instrument_id": scope.instrument_id,
        "venue": scope.venue, "asset": scope.asset, "mode": known.mode if known else None,
        "reason": known.reason if known else None, "engaged_by": known.actor if known else None,
    }  # fmt: skip
