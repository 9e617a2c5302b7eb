"""Evidence over HTTP: what could not be read is read again. `GET /v1/breaks?kind=UNREADABLE` lists it."""

from typing import Annotated, Any

from fastapi import APIRouter, Body
from msgspec.structs import asdict
from pydantic import Field
from starlette.responses import Response

from api.http.auth import Recorder
from api.http.dependencies import OpenDaybook, answer, documented
from api.http.fields import BreakId, CurrencyCode, Name, RequestBody, Text
from api.http.problem_responses import responses
from api.intake.importing import schemas
from api.intake.importing.evidence import retried
from api.intake.importing.http import ORDERS, pairs_of
from api.intake.importing.ingest import Stated
from api.read_models.snapshot import reading

RETRIED_MAX = 1000
PAIRS_MAX = 1000
EXAMPLES: dict[str, Any] = {
    "after an upgrade": {"value": {"account_id": "main"}},
    "with an answer": {"value": {"account_id": "main", "instruments": {"XYZWQQ": "XYZ/WQQ"}, "dates": "day-first"}},
}

router = APIRouter(prefix="/v1", tags=["imports"], responses=responses(401, 403, 409, 422, 429, 503))


class RetryRequest(RequestBody):
    """Which evidence to read again, all that is open if none is named, and what is stated about its files."""

    account_id: Name
    evidence_ids: list[BreakId] = Field([], max_length=RETRIED_MAX, description="each the `break_id` of its break")
    dates: Annotated[str, Field(pattern="^(day-first|month-first|year-first)$")] | None = None
    instruments: dict[Text, Text] = Field({}, max_length=PAIRS_MAX, description="pairs, each as BASE/QUOTE")
    assets: dict[CurrencyCode, CurrencyCode] = Field(
        {}, max_length=PAIRS_MAX, description="a venue's names of assets, each with that of the book"
    )


@router.post(
    "/evidence/retry", response_model=schemas.RetryAnswer,
    responses=documented(200, "read again; what is still unreadable is listed with why"),
)  # fmt: skip
def retry_evidence(
    body: Annotated[RetryRequest, Body(openapi_examples=EXAMPLES)], daybook: OpenDaybook, caller: Recorder
) -> Response:
    """Read evidence again and record what can be read now. Sent again, it reads only what is left."""
    pairs = pairs_of([f"{pair}={assets}" for pair, assets in body.instruments.items()])
    stated = Stated(ORDERS[body.dates] if body.dates else None, pairs, body.assets)
    with reading(daybook, "breaks", min_seq=daybook.history.head().seq) as at:
        done = retried(daybook, at, body.account_id, body.evidence_ids, stated=stated, actor=caller.identity)
    seq = daybook.history.head().seq
    items = [asdict(each) | {"is_ended": each.is_ended} for each in done]
    return answer({"seq": seq, "items": items, "unreadable": sum(not each.is_ended for each in done)}, seq=seq)
