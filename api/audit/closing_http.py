"""Closings over HTTP, and proofs of single figures: a balance, a position, a closed day's PnL, or its absence."""

from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field, StrictInt
from starlette.responses import Response

from adapters.figures import figure_proofs
from adapters.postgres.scopes import Scope
from adapters.writer.batch import Look
from api.audit.closing import closing_json, closing_request, closings_json, keep, prove
from api.http.auth import Admin, needs
from api.http.dependencies import SEQ_HEADER, OpenDaybook, RequestId, answer, documented
from api.http.fields import CurrencyCode, InstrumentId, Name, RequestBody
from api.http.idempotency import IdempotencyKey, carried_out, command, one
from api.http.problem_responses import responses
from api.read_models import schemas
from api.read_models.query_params import SEQ_MAX
from domain import names
from domain.sealed.figures import day_figure, position_figure
from domain.values import DEFAULT_STRATEGY, PositionSide

router = APIRouter(prefix="/v1", tags=["proof"], responses=responses(401, 403, 409, 422, 429, 503))


class ClosingRequest(RequestBody):
    """The place in the log that figures are closed as of; its end if it is null."""

    as_of_seq: StrictInt | None = Field(None, ge=1, le=SEQ_MAX)


class ClosingAnswer(schemas.Answer):
    """A closing: `root` is over `figures` figures as of `as_of_seq`; days before `closed_before` are closed."""

    as_of_seq: int
    closed_before: date
    figures: int
    root: str
    seq: int


class ClosingsAnswer(schemas.Answer):
    items: list[ClosingAnswer]


class ProvedFigureAnswer(schemas.Answer):
    key: str
    value: str
    index: int
    proof: list[str]


class ClosingEventAnswer(schemas.Answer):
    seq: int
    state: str
    proof: list[str]


class ProofKeyAnswer(schemas.Answer):
    vkey: str
    since_size: int
    handover: str | None


class FigureProofAnswer(schemas.Answer):
    """A proof that `daybook verify` checks as a file; `figure` is null where there is none, between the other two."""

    format: str
    origin: str
    key: str
    figure: ProvedFigureAnswer | None
    before: ProvedFigureAnswer | None
    after: ProvedFigureAnswer | None
    closing: ClosingEventAnswer
    checkpoint: str
    keys: list[ProofKeyAnswer]


@router.post(
    "/closings", status_code=201, response_model=ClosingAnswer,
    responses=documented(201, "done") | documented(200, "done before: the same answer"),
)  # fmt: skip
def close_figures(
    body: ClosingRequest, daybook: OpenDaybook, caller: Admin, request_id: RequestId, key: IdempotencyKey
) -> Response:
    """Commit to all balances, positions and closed days' PnL as of a place in the log, so that each can be proved."""
    request, tree = closing_request(daybook, body.as_of_seq)

    def respond(answers: list[Any], _: Look) -> Response:
        done = one(answers)
        return answer(closing_json(request, done), seq=done.seq, status=201 if done.records else 200)

    done = carried_out(daybook, command(request, caller, request_id), key, respond)
    keep(daybook, request, tree)
    return done


@router.get(
    "/closings", response_model=ClosingsAnswer, responses=documented(200, "the closings"),
    dependencies=[needs(Scope.AUDIT)],
)  # fmt: skip
def list_closings(daybook: OpenDaybook) -> Response:
    """List closings, oldest first."""
    found = closings_json(daybook)
    return answer({"items": found}, seq=found[-1]["seq"] if found else 0)


AsOf = Annotated[int | None, Query(ge=1, le=SEQ_MAX, description="the place a closing is as of; by default the newest")]
Size = Annotated[
    int | None, Query(ge=1, le=SEQ_MAX, description="events in the checkpoint; by default those of the newest")
]
PROVED: Any = {
    "response_model": FigureProofAnswer,
    "responses": documented(200, "the proof, to be stored unchanged") | responses(404),
    "dependencies": [needs(Scope.AUDIT)],
}


@router.get("/proofs/balance", **PROVED)
def prove_balance(
    daybook: OpenDaybook,
    account_id: Name,
    asset: CurrencyCode,
    venue: Annotated[str, Query(max_length=64, description='"" for money that is at no single venue')] = "",
    as_of_seq: AsOf = None,
    checkpoint: Size = None,
) -> Response:
    """Prove a balance in a closing, or that there never was one."""
    return _proved(daybook, names.stream("balance", account_id, venue, asset), as_of_seq, checkpoint)


@router.get("/proofs/position", **PROVED)
def prove_position(
    daybook: OpenDaybook,
    account_id: Name,
    instrument_id: InstrumentId,
    strategy_id: Name = DEFAULT_STRATEGY,
    position_side: PositionSide = PositionSide.BOTH,
    as_of_seq: AsOf = None,
    checkpoint: Size = None,
) -> Response:
    """Prove a position in a closing, or that there never was one."""
    return _proved(
        daybook, position_figure(account_id, strategy_id, instrument_id, position_side), as_of_seq, checkpoint
    )


@router.get("/proofs/pnl", **PROVED)
def prove_pnl(
    daybook: OpenDaybook,
    day: date,
    account_id: Name,
    instrument_id: InstrumentId,
    strategy_id: Name = DEFAULT_STRATEGY,
    position_side: PositionSide = PositionSide.BOTH,
    as_of_seq: AsOf = None,
    checkpoint: Size = None,
) -> Response:
    """Prove a position's PnL of a closed day in a closing, or that nothing was booked on that day."""
    return _proved(
        daybook, day_figure(day, account_id, strategy_id, instrument_id, position_side), as_of_seq, checkpoint
    )


def _proved(daybook: OpenDaybook, key: str, as_of_seq: int | None, size: int | None) -> Response:
    proof = prove(daybook, key, as_of_seq=as_of_seq, size=size)
    content = figure_proofs.encoded(proof)
    return Response(content, media_type="application/json", headers={SEQ_HEADER: str(proof.closing.seq)})
