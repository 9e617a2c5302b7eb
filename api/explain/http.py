"""Explanations over HTTP: any cell of positions, PnL, exposure or balances, with the events, lots and marks behind it.

`value` = `opening.value` + the `amount` of every event of this page and those newer; or the signed sum of `terms`; or
of `valuation` the lots' values, the pooled part, and `rounding`; or the sum over `positions`. Exactly, each time.
"""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from pydantic import Field
from starlette.responses import Response

from adapters.postgres.scopes import Scope
from api.explain import balances
from api.explain.positions import Cell, Page, explained
from api.http.auth import needs
from api.http.cursors import cursor_after
from api.http.dependencies import OpenDaybook, answer, documented
from api.http.fields import CurrencyCode
from api.http.problem_responses import responses
from api.http.reads import ReadRoute, expensive
from api.parameters import given_marks
from api.read_models.query_params import AssetId, PageQuery
from api.read_models.schemas import Answer, DecimalText, TimeText
from api.read_models.snapshot import reading

router = APIRouter(
    prefix="/v1",
    route_class=ReadRoute,
    tags=["queries"],
    dependencies=[needs(Scope.READ)],
    responses=responses(401, 404, 422, 503),
)


class ExplainQuery(PageQuery):
    """Which cell, by its name in the read model."""

    cell: str = Field(max_length=30, description="`realized`, `quantity`, `net`, `notional` …", examples=["net"])
    currency: CurrencyCode | None = Field(None, description="of `fees`: those in this currency")
    mark: list[str] = Field([], description="INSTRUMENT=PRICE, instead of the newest known mark")


class Term(Answer):
    """A cell that counts with this sign; it has an explanation of its own."""

    cell: str
    sign: int
    value: DecimalText | None


class Opening(Answer):
    """The value of the cell as of the seq before the oldest event shown."""

    seq: int
    value: DecimalText


class RecordedVenueReport(Answer):
    """The venue report of a trade, as it is on record."""

    seq: int
    stream: str
    topic: str
    state: str


class EventShare(Answer):
    """The amount that one event added."""

    seq: int
    topic: str
    amount: DecimalText
    recorded_at: TimeText
    transact_time: TimeText | None
    actor: str
    request_id: str
    facts: dict[str, Any]
    report: RecordedVenueReport | None


class HeldPart(Answer):
    """An open lot, or a quantity held in no lot, at the mark."""

    lot_id: str | None = None
    opened_at: TimeText | None = None
    seq: int | None = None
    quantity: DecimalText
    cost: DecimalText
    value: DecimalText


class Valuation(Answer):
    """The quantity held, and the mark it is valued at; null where no mark is known."""

    kind: str | None
    quantity: DecimalText
    contract_size: DecimalText | None
    mark: DecimalText | None
    mark_source: str | None
    mark_at: TimeText | None
    lots: list[HeldPart]
    pooled: HeldPart | None
    rounding: DecimalText | None


class PositionPart(Answer):
    """The same cell of one position."""

    account_id: str
    strategy_id: str
    instrument_id: str
    unit: str | None
    value: DecimalText | None


class ExplainAnswer(Answer):
    """A cell and its components."""

    seq: int
    recorded_at: TimeText | None
    model: str
    cell: str
    currency: str | None
    account_id: str | None
    strategy_id: str | None
    instrument_id: str | None
    unit: str | None = Field(description="a currency or an asset; null where positions are in several")
    value: DecimalText | None = Field(description="null where a mark is missing, or units differ")
    terms: list[Term]
    valuation: Valuation | None
    opening: Opening | None
    events: list[EventShare] = Field(description="newest first")
    positions: list[PositionPart]
    next: str | None = Field(description="cursor of the events before these; null when all are shown")


class BalancePart(Answer):
    """The same cell of one balance."""

    account_id: str
    venue: str
    asset: str
    value: DecimalText


class BalanceExplained(Answer):
    """A cell of balances and its components: journal entries, pending transfers, or other cells."""

    seq: int
    recorded_at: TimeText | None
    model: str
    cell: str
    account_id: str | None
    venue: str | None
    asset: str | None
    unit: str | None = Field(description="null where balances are in several assets, which are not added")
    value: DecimalText | None
    terms: list[Term]
    opening: Opening | None
    events: list[EventShare] = Field(description="newest first")
    balances: list[BalancePart]
    next: str | None = Field(description="cursor of the entries before these; null when all are shown")


class BalanceQuery(PageQuery):
    """Which cell of which balances."""

    cell: Literal["total", "held", "available"]
    asset: AssetId | None = None
    venue: str | None = Field(None, max_length=64)


@router.get(
    "/explain/balances", response_model=BalanceExplained, responses=documented(200, "the cell and its components")
)
@expensive()
def explain_balance(query: Annotated[BalanceQuery, Query()], daybook: OpenDaybook) -> Response:
    """The components of a balance: journal entries, or the pending transfers that hold it."""
    after = cursor_after(query.cursor, int, int)
    page = balances.EntryPage(query.limit, None if after is None else (after[0], after[1]))
    of = balances.Of(query.account_id, query.asset, query.venue)
    with reading(daybook, "balances", "journal", min_seq=query.min_seq, moment=query.moment_recorded()) as at:
        explanation = balances.explained(daybook, at, of, query.cell, page=page)
    return answer({"seq": at.seq, "recorded_at": at.recorded_at, **explanation}, seq=at.seq)


@router.get("/explain/{model}", response_model=ExplainAnswer, responses=documented(200, "the cell and its components"))
@expensive()
def explain(
    model: Annotated[Literal["positions", "pnl", "exposure"], Path()],
    query: Annotated[ExplainQuery, Query()],
    daybook: OpenDaybook,
) -> Response:
    """The components of a figure: the events, lots, marks and rounding that add up to it."""
    upto = cursor_after(query.cursor, int)
    with reading(daybook, "positions", "lots", min_seq=query.min_seq, moment=query.moment_recorded()) as at:
        page = Page(query.limit, upto[0] if upto else None)
        cell = Cell(model, query.cell, query.currency)
        explanation = explained(daybook, at, query.where(), cell, marks=given_marks(query.mark), page=page)
    return answer({"seq": at.seq, "recorded_at": at.recorded_at, **explanation}, seq=at.seq)
