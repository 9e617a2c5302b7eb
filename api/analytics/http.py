"""Analytics over HTTP: daily PnL, the equity curve and its statistics, execution quality, risk.

Days end at a close that the client chooses. Amounts are converted at the marks of each close, through pairs of listed
instruments; a figure that needs a missing or stale mark or rate is null, and the answer names which.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import Field, WithJsonSchema
from starlette.responses import Response

from adapters.postgres.scopes import Scope
from api.analytics import schemas, service
from api.analytics.closing_marks import Valuing
from api.analytics.service import (
    DAILY_MODELS,
    EQUITY_MODELS,
    QUALITY_MODELS,
    RISK_MODELS,
    Span,
)
from api.encoding import csv_text
from api.http.auth import needs
from api.http.cursors import cursor_after
from api.http.dependencies import SEQ_HEADER, answer, documented
from api.http.fields import CurrencyCode, Number, text_by
from api.http.problem_responses import responses
from api.http.reads import ReadRoute, expensive
from api.parameters import ARRIVAL_SECONDS, DAY_SECONDS, FLOW_MARK_SECONDS, given_marks, parsed_day, parsed_equals
from api.read_models.query_params import CSV, Context, PageQuery, QueryContext, SelectionQuery, listed
from api.read_models.schemas import Answer
from api.read_models.selection import check_selection
from api.read_models.snapshot import Reading, reading
from domain.errors import InvalidInput
from domain.values import ZERO
from projections import calendar
from projections.analytics import execution_quality
from projections.models import daily_sums
from projections.storage.tables import POSITION, AnyRow

MARK_AGE_SECONDS_MAX = 10 * 365 * 86_400

router = APIRouter(
    prefix="/v1",
    route_class=ReadRoute,
    tags=["analytics"],
    dependencies=[needs(Scope.READ)],
    responses=responses(401, 422, 503),
)


Day = Annotated[
    str, text_by(parsed_day), WithJsonSchema({"type": "string", "format": "date", "examples": ["2026-01-02"]})
]
CloseText = Annotated[
    str,
    text_by(calendar.parsed),
    WithJsonSchema({"type": "string", "examples": ["17:00 America/New_York"], "maxLength": 80, "default": "00:00"}),
]
Equal = Annotated[
    str,
    text_by(parsed_equals),
    WithJsonSchema({"type": "string", "pattern": "^[A-Z0-9]{1,16}=[A-Z0-9]{1,16}$", "examples": ["USDT=USD"]}),
]


class SpanQuery(SelectionQuery):
    """Which days, and the close at which they end."""

    from_: Day | None = Field(None, alias="from", description="the first day; default: 29 before the last")
    to: Day | None = Field(None, description="the last day; default: the present one")
    close: CloseText = Field("00:00", description="when a day ends: a time, in UTC unless a zone follows it")

    def span(self) -> Span:
        """Return the days."""
        first, last = (None if day is None else parsed_day(day) for day in (self.from_, self.to))
        return Span(calendar.parsed(self.close), first, last)


class ValuedQuery(SpanQuery):
    """Which days, and how they are valued at the marks of their closes."""

    mark_age_max: int = Field(
        DAY_SECONDS, ge=1, le=MARK_AGE_SECONDS_MAX, description="seconds; an older mark is not used"
    )
    equal: list[Equal] = Field([], max_length=8, description="currencies taken as equal; default: none")

    def valuing(self, given: dict[str, Any] | None = None) -> Valuing:
        """Return how to value."""
        return Valuing(timedelta(seconds=self.mark_age_max), tuple(map(parsed_equals, self.equal)), given or {})


DailyGroup = Literal["account_id", "strategy_id", "instrument_id", "position_side", "venue", "base"]


class DailyQuery(ValuedQuery):
    """The parameters of daily PnL."""

    by: list[DailyGroup] = Field(list(POSITION), max_length=6)


class EquityQuery(ValuedQuery):
    """The parameters of equity, of one account or of all together."""

    currency: CurrencyCode | None = Field(None, description="instead of the base currency that the accounts share")
    capital: Number = Field(ZERO, description="capital that is not on record, in that currency")


class NavQuery(EquityQuery):
    """The parameters of net asset value, of one account or of all together."""

    flow_mark_age_max: int = Field(
        FLOW_MARK_SECONDS, ge=1, le=MARK_AGE_SECONDS_MAX, description="seconds; at a flow an older mark is not used"
    )


class StatisticsQuery(EquityQuery):
    """The parameters of equity, and the rates that returns are measured against."""

    risk_free: Number = Field(ZERO, description="an annual rate, such as 0.04")
    target: Number = Field(ZERO, description="the annual return below which there is a shortfall")


class QualityQuery(SpanQuery):
    """Which orders, by the day of their submission."""

    by: list[Literal["account_id", "strategy_id", "instrument_id", "position_side", "venue", "day"]] = Field(
        [], max_length=6
    )
    mark_age_max: int = Field(
        ARRIVAL_SECONDS, ge=1, le=MARK_AGE_SECONDS_MAX, description="seconds; an older mark is no arrival price"
    )


class RiskQuery(SelectionQuery):
    """The parameters of risk, at the newest marks or given ones."""

    mark: list[str] = Field([], description="INSTRUMENT=PRICE, instead of the newest known mark")
    by: list[Literal["account_id", "strategy_id", "venue", "asset", "instrument_id", "position_side"]] = Field(
        ["asset"], max_length=6
    )
    mark_age_max: int = Field(DAY_SECONDS, ge=1, le=MARK_AGE_SECONDS_MAX, description="seconds")
    equal: list[Equal] = Field([], max_length=8)
    currency: CurrencyCode | None = None
    capital: Number = Field(ZERO, description="capital that is not on record")


def _listed(shape: type[Answer]) -> dict[str, Any]:
    described = documented(200, "the analysis, and the seq it is of")
    described[200]["content"] = {CSV: {"schema": {"type": "string"}}}
    return {"response_model": shape, "responses": described | responses(404)}


def _read(context: QueryContext, query: SelectionQuery, names: tuple[str, ...]) -> AbstractContextManager[Reading]:
    """Read the models at the moment requested, as recorded."""
    return reading(context.daybook, *names, min_seq=query.min_seq, moment=query.moment_recorded())


def _answer(
    context: QueryContext, query: SelectionQuery, at: Reading, *, rows: Sequence[AnyRow], shape: type[Any], **more: Any
) -> Response:
    """Return rows as CSV where that is requested; else rows and all else as JSON."""
    columns = [field.alias or name for name, field in shape.model_fields.items()]
    items = [{name: row.get(name) for name in columns} for row in rows]
    if context.is_csv(query):
        headers = {SEQ_HEADER: str(at.seq)}
        return Response(csv_text(items, columns), media_type=f"{CSV}; charset=utf-8", headers=headers)
    return answer({"seq": at.seq, "recorded_at": at.recorded_at, "items": items, **more}, seq=at.seq)


@router.get("/pnl/daily", **_listed(schemas.DailyPnlAnswer))
@expensive()
def read_daily_pnl(query: Annotated[DailyQuery, Query()], context: Context) -> Response:
    """PnL by the day in which it occurred, in settlement currency and in the accounts' base currencies.

    `totals` are of all days; `rates` are the conversion rates, with each path. Late fills change the days in which they
    occurred: /v1/pnl/daily/restatements lists the changes, and `as_of_seq` shows what was known before.
    """
    with _read(context, query, DAILY_MODELS) as at:
        check_selection(context.daybook, at, query)
        found = service.daily_pnl(
            context.daybook, at, query.where(), query.span(), by=query.by, valuing=query.valuing()
        )
    return _answer(
        context, query, at, rows=found.items, shape=schemas.DailyPnlRow, totals=found.totals, rates=found.rates
    )


@router.get("/pnl/daily/restatements", **listed(schemas.RestatedRow))
def list_restatements(query: Annotated[PageQuery, Query()], context: Context) -> Response:
    """Changes to past half hours by late fills, busts, corrections and restatements, the newest first.

    A day as it was known at a seq equals the day as it is known now less the rows since.
    """
    after = cursor_after(query.cursor, int, str, str, str, str, int)
    with _read(context, query, DAILY_MODELS) as at:
        rows = daily_sums.restatements(at.source, **query.where()._asdict(), limit=query.limit + 1, after=after)
    return context.page(query, at, rows, by=daily_sums.RESTATED, shape=schemas.RestatedRow)


@router.get("/equity", **_listed(schemas.EquityAnswer))
@expensive()
def read_equity(query: Annotated[EquityQuery, Query()], context: Context) -> Response:
    """Equity of an account, or of all together, at each close, and the return of each day.

    Capital flows are no gain; returns are modified Dietz of the day, `index` their product.
    """
    with _read(context, query, EQUITY_MODELS) as at:
        found = _equity(context, at, query)
    return _answer(context, query, at, rows=found.rows, shape=schemas.EquityRow, currency=found.currency)


class ReconciliationQuery(ValuedQuery):
    """The parameters of the reconciliation of equity, of one account or of all together."""

    currency: CurrencyCode | None = Field(None, description="instead of the base currency that the accounts share")


@router.get("/equity/reconciliation", **_listed(schemas.ReconciliationAnswer))
@expensive()
def read_reconciliation(query: Annotated[ReconciliationQuery, Query()], context: Context) -> Response:
    """What leads from the equity of each close to the next, every line by name, and the same for all days.

    Trading PnL, the revaluation of coins held otherwise, cash income and charges, and flows are the change of equity.
    """
    _check_whole_accounts(query)
    with _read(context, query, EQUITY_MODELS) as at:
        found = service.equity_reconciliation(
            context.daybook, at, query.account_id, query.span(), valuing=query.valuing(), currency=query.currency
        )
    more = {"currency": found.currency, "totals": [found.total]}
    return _answer(context, query, at, rows=found.rows, shape=schemas.ReconciliationRow, **more)


@router.get("/nav", **_listed(schemas.NavAnswer))
@expensive()
def read_nav(query: Annotated[NavQuery, Query()], context: Context) -> Response:
    """Net asset value of an account, or of all together, at each close and now, and its time-weighted return.

    The account is valued at each external flow, and the returns between flows are linked; where a mark is lacking at a
    flow, the return is modified Dietz around it, and `method` says so. /v1/equity has modified Dietz for each day.
    """
    _check_whole_accounts(query)
    with _read(context, query, EQUITY_MODELS) as at:
        found = service.nav(
            context.daybook, at, query.account_id, query.span(), valuing=query.valuing(), currency=query.currency,
            flow_mark_age_max=timedelta(seconds=query.flow_mark_age_max), capital=query.capital,
        )  # fmt: skip
    more = {"currency": found.currency, "time_weighted_return": found.time_weighted_return}
    return _answer(context, query, at, rows=found.rows, shape=schemas.NavRow, **more)


def _check_whole_accounts(query: SelectionQuery) -> None:
    for name in ("strategy_id", "instrument_id", "position_side"):
        if (value := getattr(query, name)) is not None:
            raise InvalidInput(name, value, "a parameter here: equity is of whole accounts; leave it out")


def _equity(context: QueryContext, at: Reading, query: EquityQuery) -> service.Equity:
    _check_whole_accounts(query)
    return service.equity_curve(
        context.daybook, at, query.account_id, query.span(), valuing=query.valuing(), currency=query.currency,
        capital=query.capital,
    )  # fmt: skip


@router.get(
    "/statistics",
    response_model=schemas.StatisticsAnswer,
    responses=documented(200, "the figures, and the seq they are of"),
)
@expensive()
def read_statistics(query: Annotated[StatisticsQuery, Query()], context: Context) -> Response:
    """Return, volatility, Sharpe, Sortino, hit rate, drawdown, turnover, value at risk and expected shortfall.

    Of the daily returns of closed days, 365 a year. Estimates, to 12 places. `reasons` explains why a figure is null.
    """
    with _read(context, query, EQUITY_MODELS) as at:
        found = _equity(context, at, query)
    figures = service.equity_statistics(found.rows, query.risk_free, query.target)
    place = {"seq": at.seq, "recorded_at": at.recorded_at, "account_id": query.account_id, "currency": found.currency}
    return answer(place | figures, seq=at.seq)


@router.get("/execution-quality", **_listed(schemas.QualityAnswer))
@expensive()
def read_execution_quality(query: Annotated[QualityQuery, Query()], context: Context) -> Response:
    """Slippage against the mark at arrival, fill ratio and times to fill, order by order and summed for each of `by`.

    Above zero is a cost. An order without a known arrival price is in no slippage, and counted `without_mark`.
    """
    with _read(context, query, QUALITY_MODELS) as at:
        check_selection(context.daybook, at, query)
        age_max = timedelta(seconds=query.mark_age_max)
        found = service.execution_quality(
            context.daybook, at, query.where(), query.span(), by=query.by, age_max=age_max
        )
    totals = [dict.fromkeys(execution_quality.GROUPS) | row for row in found.totals]
    return _answer(context, query, at, rows=found.items, shape=schemas.QualityRow, totals=totals)


@router.get(
    "/risk",
    response_model=schemas.RiskAnswer,
    responses=documented(200, "the analysis, and the seq it is of") | responses(404),
)
@expensive()
def read_risk(query: Annotated[RiskQuery, Query()], context: Context) -> Response:
    """Exposure for each of `by` in one currency, leverage, concentration, and every limit with its headroom.

    Equity and leverage are always those of whole accounts, also where a strategy or instrument is selected.
    """
    valuing = Valuing(
        timedelta(seconds=query.mark_age_max), tuple(map(parsed_equals, query.equal)), given_marks(query.mark)
    )
    with _read(context, query, RISK_MODELS) as at:
        check_selection(context.daybook, at, query)
        found = service.risk_report(
            context.daybook, at, query.where(), query.by, valuing=valuing, currency=query.currency,
            capital=query.capital,
        )  # fmt: skip
    parts: dict[str, type[Any]] = {
        "positions": schemas.SizedRow, "exposure": schemas.CutRow, "limits": schemas.HeadroomRow,
    }  # fmt: skip
    shown = {
        part: [{name: row.get(name) for name in shape.model_fields} for row in found[part]]
        for part, shape in parts.items()
    }
    return answer({"seq": at.seq, "recorded_at": at.recorded_at, **found, **shown}, seq=at.seq)
