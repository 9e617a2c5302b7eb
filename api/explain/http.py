"""Explanations over HTTP: any cell of positions, PnL, exposure or balances, with the events, lots and marks behind it.

`value` = `opening.value` + the `amount` of every event of this page and those newer; or the signed sum of `terms`; or
of `valuation` the lots' values, the pooled part, and `rounding`; or the sum over `positions`. Exactly, each time.
"""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from pydantic import Field
from starlette.responses import Response

from adapters.postgres.scopes import Scope
from api.explain import balances, orders
from api.explain.positions import READ, Cell, Page, explained
from api.http.auth import needs
from api.http.cursors import cursor_after
from api.http.dependencies import OpenDaybook, answer, documented
from api.http.fields import CurrencyCode, Name
from api.http.problem_responses import responses
from api.http.reads import ReadRoute, expensive
from api.parameters import given_marks
from api.read_models.query_params import AssetId, PageQuery
from api.read_models.schemas import Answer, DecimalText, TimeText
from api.read_models.snapshot import reading
from domain.errors.codes import Code

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
    position_side: str
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
    position_side: str | None
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
    """The components of a figure: the events, lots, marks and rounding that add up to it.

    Of several positions, and of what cash earned (without a strategy and instrument), the same cell of each.
    """
    upto = cursor_after(query.cursor, int)
    with reading(daybook, *READ, min_seq=query.min_seq, moment=query.moment_recorded()) as at:
        page = Page(query.limit, upto[0] if upto else None)
        cell = Cell(model, query.cell, query.currency)
        explanation = explained(daybook, at, query.where(), cell, marks=given_marks(query.mark), page=page)
    return answer({"seq": at.seq, "recorded_at": at.recorded_at, **explanation}, seq=at.seq)


class CheckedLimit(Answer):
    """The check of one limit: usage before and with the order, and what is left of it."""

    account_id: str = Field(description="whose limit: the account's, or firm")
    measure: str
    strategy_id: str | None
    instrument_id: str | None
    venue: str | None
    asset: str | None
    version: int
    set_seq: int | None = Field(description="the event that set this version")
    set_at: TimeText | None
    set_by: str | None
    limit: DecimalText
    currency: str | None
    used: DecimalText
    with_order: DecimalText
    headroom_before: DecimalText
    headroom: DecimalText = Field(description="below zero: by how much the limit is exceeded")
    outcome: Literal["PASSED", "FAILED", "LET_THROUGH"]
    reason: str


class UncheckedLimit(Answer):
    """A limit in force that covered the order, and of which the decision has no numbers."""

    account_id: str
    measure: str
    strategy_id: str | None
    instrument_id: str | None
    venue: str | None
    asset: str | None
    version: int
    set_seq: int
    limit: DecimalText
    currency: str | None
    reason: str


class UsedMark(Answer):
    """A mark that the decision used, and its age then."""

    instrument_id: str
    price: DecimalText
    source: str
    mark_at: TimeText
    age_ms: int


class UsedEquity(Answer):
    """The equity that limits were measured by: total = capital + gain, in `currency`."""

    currency: str
    capital: DecimalText
    gain: DecimalText
    total: DecimalText
    basis: str = Field(description="BOOK: of what was paid in; STATED at `stated_at`")
    stated_at: TimeText | None


class Decision(Answer):
    """One decision about an order, as recorded: of its submission, a replacement or a cancel."""

    seq: int
    recorded_at: TimeText
    actor: str
    request_id: str
    about: Literal["SUBMIT", "REPLACE", "CANCEL", "ADOPT"]
    requested_as: str | None
    transact_time: TimeText
    outcome: Literal["ACCEPTED", "REFUSED", "NOT_CHECKED"]
    rule: str
    code: Code | None = Field(description="of the rule that refused; null where none did")
    detail: str = Field(description="the outcome in a sentence")
    facts: dict[str, str]
    side: str | None
    quantity: DecimalText | None
    was: DecimalText | None
    notional: DecimalText | None
    price_used: DecimalText | None = Field(description="what `notional` is at; null before it was on record")
    priced_by: str | None = Field(description="LIMIT, TRIGGER, MARK or TRAIL: the worse of them")
    equity: UsedEquity | None = Field(description="null where no limit is measured by it")
    hold_seq: int | None = Field(description="the event that has the numbers")
    checks: list[CheckedLimit]
    marks: list[UsedMark]
    without_numbers: list[UncheckedLimit]


class WhyAnswer(Answer):
    """Why an order passed its pre-trade check or was refused."""

    seq: int
    account_id: str
    cl_ord_id: str
    requested_as: str | None = Field(description="the ClOrdID of the request, where it is a replacement's or cancel's")
    decisions: list[Decision]


@router.get(
    "/orders/{account_id}/{cl_ord_id}/why",
    response_model=WhyAnswer,
    responses=documented(200, "the decisions about the order"),
)
@expensive()
def explain_order(account_id: Name, cl_ord_id: Name, daybook: OpenDaybook) -> Response:
    """Why an order was accepted or refused: limits with their versions, usage and headroom, and the marks used.

    As recorded when it was decided; of submissions, replacements and cancels alike.
    """
    seq = daybook.history.head().seq
    return answer({"seq": seq, **orders.why(daybook, account_id, cl_ord_id)}, seq=seq)
