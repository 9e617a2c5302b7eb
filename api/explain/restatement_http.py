"""Restatements over HTTP: a day's PnL as it was reported and as it is known, and the causes of the difference."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field, WithJsonSchema
from starlette.responses import Response

from adapters.postgres.scopes import Scope
from api.explain import restatement
from api.http.auth import needs
from api.http.dependencies import OpenDaybook, answer, documented
from api.http.fields import InstrumentId, Name, Place, RequestBody, text_by
from api.http.problem_responses import responses
from api.http.reads import ReadRoute, expensive
from api.parameters import Where
from api.read_models import schemas
from api.read_models.query_params import DATE
from api.read_models.selection import check_selection
from api.read_models.snapshot import reading
from domain.values import PositionSide
from projections.calendar import parsed_close

router = APIRouter(
    prefix="/v1",
    route_class=ReadRoute,
    tags=["queries"],
    dependencies=[needs(Scope.READ)],
    responses=responses(401, 422, 503),
)


AnyCloseText = Annotated[
    str,
    text_by(parsed_close),
    WithJsonSchema({"type": "string", "examples": ["17:00 America/New_York"], "maxLength": 80, "default": "00:00"}),
]


class RestatementQuery(RequestBody):
    """Which day, of which positions, as known when."""

    day: str = Field(pattern=DATE, description="the date of the day's close", examples=["2026-01-02"])
    close: AnyCloseText = Field(
        "00:00", description="when a day ends: a time, in UTC unless a zone follows it; 00:00 ends the date"
    )
    known_at: Place | None = Field(None, description="when the day was reported; default: its end")
    restated_at: Place | None = Field(None, description="when it is known as restated; default: now")
    account_id: Name | None = None
    strategy_id: Name | None = None
    instrument_id: InstrumentId | None = None
    position_side: PositionSide | None = None


@router.get(
    "/pnl/restatement",
    response_model=schemas.RestatementAnswer,
    responses=documented(200, "the difference, item by item, and the seq it is known at") | responses(404),
)
@expensive()
def read_restatement(query: Annotated[RestatementQuery, Query()], daybook: OpenDaybook) -> Response:
    """A day's PnL as it was reported, as it is known now, and which late fills, busts or prices make the difference.

    The items of a position sum to its difference exactly. A figure that needs an unknown mark is null.
    """
    day = restatement.day_of(query.day, query.close, query.known_at, query.restated_at)
    where = Where(query.account_id, query.strategy_id, query.instrument_id, query.position_side)
    with reading(daybook, *restatement.MODELS) as at:
        check_selection(daybook, at, query)
    found = restatement.restatement(daybook, day, where)
    return answer(restatement.restatement_record(found), seq=found.now_seq)
