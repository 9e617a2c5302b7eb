"""What-if over HTTP: asked with POST, for the question has a body; nothing is recorded by it."""

from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter, Body
from pydantic import Field
from starlette.responses import Response

from adapters.postgres.scopes import Scope
from api.analytics.schemas import Maybe
from api.http.auth import needs
from api.http.dependencies import OpenDaybook, answer, documented
from api.http.fields import CurrencyCode, InstrumentId, Name, Number, RequestBody
from api.http.problem_responses import responses
from api.parameters import Moment, given_mark
from api.read_models.query_params import SEQ_MAX
from api.read_models.schemas import Answer, DecimalText, TimeText
from api.what_if.commands import FeeRate, changed_of, limit_of
from api.what_if.service import what_if
from domain.account import CostBasis, FeePolicy
from domain.errors import InvalidInput
from domain.risk import Measure

EVENTS_MAX = 200_000

router = APIRouter(
    prefix="/v1", tags=["analytics"], dependencies=[needs(Scope.AUDIT)], responses=responses(401, 403, 422, 503)
)


class FeesAsked(RequestBody):
    """Commissions as fractions of the traded value, of one instrument, one venue, or all."""

    instrument_id: InstrumentId | None = None
    venue: CurrencyCode | None = None
    maker: Number
    taker: Number


class LimitAsked(RequestBody):
    """A limit that holds from the beginning, instead of those of the same account, scope and measure; null lifts it."""

    account_id: Name
    measure: Measure
    limit: Number | None
    currency: CurrencyCode | None = None
    strategy_id: Name | None = None
    instrument_id: InstrumentId | None = None
    venue: CurrencyCode | None = None
    asset: CurrencyCode | None = None


class WhatIfAsked(RequestBody):
    """What is to be other than it was; what is not named stays."""

    method: CostBasis | None = Field(None, description="cost basis")
    fee_policy: FeePolicy | None = None
    fees: list[FeesAsked] = Field([], max_length=100)
    limits: list[LimitAsked] = Field([], max_length=100)
    is_without_limits: bool = Field(False, description="every limit on record is lifted")
    marks: list[str] = Field([], max_length=100, description="INSTRUMENT=PRICE, at every moment")
    as_of_seq: int | None = Field(None, ge=0, le=SEQ_MAX, description="told up to this place in the log")


EXAMPLE = {
    "method": "FIFO",
    "limits": [{"account_id": "main", "measure": "MAX_POSITION", "limit": "2"}],
    "fees": [{"venue": "BINANCE", "maker": "0.0002", "taker": "0.0005"}],
}


class VerdictAnswer(Answer):
    """An order or replacement that fares otherwise. `rule` and `facts` are those that refuse it, then or now."""

    account_id: str
    cl_ord_id: str
    seq: int
    kind: str
    strategy_id: str
    instrument_id: str
    side: str
    order_qty: DecimalText
    price: Maybe
    transact_time: TimeText
    then: str
    now: str
    rule: str
    facts: dict[str, str]


class SideAnswer(Answer):
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
    """A position then and now; unknown where there is no mark."""

    account_id: str
    strategy_id: str
    instrument_id: str
    settle: str | None
    then: SideAnswer
    now: SideAnswer
    difference: SideAnswer
    is_changed: bool


class DifferenceAnswer(Answer):
    """The same of all positions of one settlement currency."""

    settle: str
    then: SideAnswer
    now: SideAnswer
    difference: SideAnswer


class WhatIfAnswer(Answer):
    seq: int
    orders: int = Field(description="orders judged")
    refused: int = Field(description="accepted then, refused now")
    accepted: int = Field(description="refused then, accepted now")
    lost_fills: int
    lost_qty: dict[str, DecimalText]
    verdicts: list[VerdictAnswer]
    positions: list[ComparedAnswer]
    totals: list[DifferenceAnswer]
    untold: dict[str, int] = Field(description="what could not be told again, by rule")


@router.post(
    "/what-if",
    response_model=WhatIfAnswer,
    responses=documented(200, "what would have come of it, beside what did"),
)
def ask_what_if(asked: Annotated[WhatIfAsked, Body(examples=[EXAMPLE])], book: OpenDaybook) -> Response:
    """What would have come of the log under another cost basis, other fees, marks or limits. Nothing is recorded.

    Every request and report is carried out again, in order, by the same decisions. An order refused now fills nothing;
    one that was refused then is told as accepted, and fills nothing either: nobody knows how it would have fared.
    """
    changed = changed_of(
        method=asked.method,
        fee_policy=asked.fee_policy,
        fees=[(_whose(fees), FeeRate(fees.maker, fees.taker)) for fees in asked.fees],
        limits=[_limit(limit) for limit in asked.limits],
        is_without_limits=asked.is_without_limits,
        marks=[given_mark(text) for text in asked.marks],
    )
    moment = None if asked.as_of_seq is None else Moment(seq=asked.as_of_seq)
    told = what_if(book, changed, moment=moment, events_max=EVENTS_MAX)
    return answer(told._asdict(), seq=told.seq)


def _whose(fees: FeesAsked) -> str:
    if fees.instrument_id is not None and fees.venue is not None:
        raise InvalidInput("fees.venue", fees.venue, "named together with an instrument_id: give one of them")
    return fees.instrument_id or fees.venue or ""


def _limit(asked: LimitAsked) -> Any:
    size: Decimal | None = asked.limit
    return limit_of(
        asked.account_id, asked.measure, size, currency=asked.currency, strategy_id=asked.strategy_id,
        instrument_id=asked.instrument_id, venue=asked.venue, asset=asked.asset,
    )  # fmt: skip
