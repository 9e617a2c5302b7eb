"""What-if over HTTP: a POST, because the request has a body; nothing is recorded."""

from decimal import Decimal
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body
from pydantic import Field
from starlette.responses import Response

from adapters.postgres.scopes import Scope
from api.analytics.schemas import Maybe
from api.http.auth import needs
from api.http.dependencies import OpenDaybook, answer, documented
from api.http.fields import CurrencyCode, InstrumentId, Name, Number, RequestBody, VenueCode
from api.http.problem_responses import responses
from api.http.reads import ReadRoute, expensive
from api.parameters import Moment, given_mark
from api.read_models.query_params import SEQ_MAX
from api.read_models.schemas import Answer, DecimalText, TimeText
from api.what_if.commands import FeeRate, changed_of, limit_of
from api.what_if.service import what_if
from domain.account import CostBasis, FeePolicy
from domain.errors import InvalidInput
from domain.errors.codes import Code
from domain.risk import LimitStatus, Measure

EVENTS_MAX = 200_000

router = APIRouter(
    prefix="/v1",
    route_class=ReadRoute,
    tags=["analytics"],
    dependencies=[needs(Scope.AUDIT)],
    responses=responses(401, 403, 422, 503),
)


class WhatIfFees(RequestBody):
    """Commissions as fractions of the traded value, of one instrument, one venue, or all."""

    instrument_id: InstrumentId | None = None
    venue: VenueCode | None = None
    maker: Number
    taker: Number


class WhatIfLimit(RequestBody):
    """A limit in force from the beginning, instead of those of the same account, scope and measure; null lifts it."""

    account_id: Name
    measure: Measure
    limit: Number | None
    currency: CurrencyCode | None = None
    strategy_id: Name | None = None
    instrument_id: InstrumentId | None = None
    venue: VenueCode | None = None
    asset: CurrencyCode | None = None


class WhatIfRequest(RequestBody):
    """What the replay changes; what is not named stays as recorded."""

    method: CostBasis | None = Field(None, description="cost basis")
    fee_policy: FeePolicy | None = None
    fees: list[WhatIfFees] = Field([], max_length=100)
    limits: list[WhatIfLimit] = Field([], max_length=100)
    activate: list[Literal["DRAFT", "SHADOW"]] = Field(
        [], max_length=2, description="limits of these statuses are active from the beginning, as they are set now"
    )
    is_without_limits: bool = Field(False, description="every limit on record is lifted")
    marks: list[str] = Field([], max_length=100, description="INSTRUMENT=PRICE, used at every moment")
    as_of_seq: int | None = Field(None, ge=0, le=SEQ_MAX, description="replay up to this place in the log")


EXAMPLE = {
    "method": "FIFO",
    "limits": [{"account_id": "main", "measure": "MAX_POSITION", "limit": "2"}],
    "fees": [{"venue": "BINANCE", "maker": "0.0002", "taker": "0.0005"}],
}


class ChangedOrderAnswer(Answer):
    """An order or replacement with another outcome. `rule` and `facts` are of its refusal, then or now."""

    account_id: str
    cl_ord_id: str
    seq: int
    kind: str
    strategy_id: str
    instrument_id: str
    position_side: str
    side: str
    order_qty: DecimalText
    price: Maybe
    transact_time: TimeText
    then: str
    now: str
    rule: str
    code: Code | None = Field(description="of the rule")
    facts: dict[str, str]


class SideAnswer(Answer):
    """The figures of one side: `then` as recorded, `now` as replayed."""

    quantity: Maybe = None
    realized: Maybe
    rounding: Maybe
    funding: Maybe
    income: Maybe
    fee_cost: Maybe
    fees_settle: Maybe
    unrealized: Maybe
    net: Maybe
    mark: Maybe = None


class ComparedAnswer(Answer):
    """A position as recorded (`then`) and as replayed (`now`); null where a mark is missing."""

    account_id: str
    strategy_id: str
    instrument_id: str
    position_side: str
    settle: str | None
    then: SideAnswer
    now: SideAnswer
    difference: SideAnswer
    is_changed: bool


class DifferenceAnswer(Answer):
    """The totals of all positions in one settlement currency."""

    settle: str
    then: SideAnswer
    now: SideAnswer
    difference: SideAnswer


class WhatIfAnswer(Answer):
    """The outcome of a replay beside what is recorded."""

    seq: int = Field(description="the place in the log that the replay reached")
    orders: int = Field(description="orders checked")
    refused: int = Field(description="orders accepted as recorded, refused in the replay")
    accepted: int = Field(description="orders refused as recorded, accepted in the replay")
    lost_fills: int = Field(description="recorded fills of orders refused in the replay")
    lost_qty: dict[str, DecimalText] = Field(description="their quantities by instrument")
    verdicts: list[ChangedOrderAnswer] = Field(description="orders and replacements with another outcome")
    positions: list[ComparedAnswer]
    totals: list[DifferenceAnswer]
    untold: dict[str, int] = Field(description="how many requests and reports could not be replayed, by rule")


@router.post(
    "/what-if",
    response_model=WhatIfAnswer,
    responses=documented(200, "the outcome of the replay beside what is recorded"),
)
@expensive()
def run_what_if(request: Annotated[WhatIfRequest, Body(examples=[EXAMPLE])], daybook: OpenDaybook) -> Response:
    """Replay the log with another cost basis, other fees, marks or limits, and compare. Nothing is recorded.

    Every recorded request and venue report is decided again, in order. An order that the replay refuses has no fills;
    one that was refused as recorded and is accepted in the replay has none either, as its fills cannot be known.
    """
    changed = changed_of(
        method=request.method,
        fee_policy=request.fee_policy,
        fees=[(_fees_of(fees), FeeRate(fees.maker, fees.taker)) for fees in request.fees],
        limits=[_limit(limit) for limit in request.limits],
        is_without_limits=request.is_without_limits,
        marks=[given_mark(text) for text in request.marks],
        activated=[LimitStatus(status) for status in request.activate],
    )
    moment = None if request.as_of_seq is None else Moment(seq=request.as_of_seq)
    result = what_if(daybook, changed, moment=moment, events_max=EVENTS_MAX)
    return answer(result._asdict(), seq=result.seq)


def _fees_of(fees: WhatIfFees) -> str:
    if fees.instrument_id is not None and fees.venue is not None:
        raise InvalidInput("fees.venue", fees.venue, "named together with an instrument_id: give one of them")
    return fees.instrument_id or fees.venue or ""


def _limit(limit: WhatIfLimit) -> Any:
    size: Decimal | None = limit.limit
    return limit_of(
        limit.account_id, limit.measure, size, currency=limit.currency, strategy_id=limit.strategy_id,
        instrument_id=limit.instrument_id, venue=limit.venue, asset=limit.asset,
    )  # fmt: skip
