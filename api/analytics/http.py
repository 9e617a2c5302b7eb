"""Analytics: PnL by the day, the equity curve and its statistics, execution quality, risk.

Days end at a close of one's own choosing. Amounts are converted at the marks of each close, through pairs of listed
instruments; what needs a mark or a rate that is missing or too old is null, and the answer says which.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import Field, WithJsonSchema
from starlette.responses import Response

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
from api.parameters import ARRIVAL_SECONDS, DAY_SECONDS, given_marks, parsed_day, parsed_equals
from api.read_models.query_params import CSV, Context, PageQuery, QueryContext, SelectionQuery, listed
from api.read_models.schemas import Answer
from api.read_models.snapshot import Reading, reading
from domain.errors import InvalidInput
from domain.values import ZERO
from projections import calendar
from projections.analytics import execution_quality
from projections.models import daily_sums
from projections.storage.tables import AnyRow

MARK_AGE_SECONDS_MAX = 10 * 365 * 86_400

router = APIRouter(prefix="/v1", tags=["analytics"], dependencies=[needs()], responses=responses(401, 422, 503))


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
    """Days that end at a close."""

    from_: Day | None = Field(None, alias="from", description="the first day; 29 before the last unless told")
    to: Day | None = Field(None, description="the last day; the present one unless told")
    close: CloseText = Field("00:00", description="when a day ends: a time, in UTC unless a zone follows it")

    def span(self) -> Span:
        """The days."""
        first, last = (None if day is None else parsed_day(day) for day in (self.from_, self.to))
        return Span(calendar.parsed(self.close), first, last)


class ValuedQuery(SpanQuery):
    """The same, valued at the marks of the closes."""

    mark_age_max: int = Field(
        DAY_SECONDS, ge=1, le=MARK_AGE_SECONDS_MAX, description="seconds; an older mark is not used"
    )
    equal: list[Equal] = Field([], max_length=8, description="currencies held to be equal; none are unless told")

    def valuing(self, given: dict[str, Any] | None = None) -> Valuing:
        """How to value."""
        return Valuing(timedelta(seconds=self.mark_age_max), tuple(map(parsed_equals, self.equal)), given or {})


DailyGroup = Literal["account_id", "strategy_id", "instrument_id", "venue", "base"]


class DailyQuery(ValuedQuery):
    """PnL by the day."""

    by: list[DailyGroup] = Field(["account_id", "strategy_id", "instrument_id"], max_length=5)


class EquityQuery(ValuedQuery):
    """The equity of one account, or of all together."""

    currency: CurrencyCode | None = Field(None, description="instead of the base currency that the accounts share")
    capital: Number = Field(ZERO, description="what was there beside what is on record, in that currency")


class StatisticsQuery(EquityQuery):
    """The same, and what it is measured against."""

    risk_free: Number = Field(ZERO, description="a rate a year, such as 0.04")
    target: Number = Field(ZERO, description="the least return a year that is no shortfall")


class QualityQuery(SpanQuery):
    """Orders by the day of their submission."""

    by: list[Literal["account_id", "strategy_id", "instrument_id", "venue", "day"]] = Field([], max_length=5)
    mark_age_max: int = Field(
        ARRIVAL_SECONDS, ge=1, le=MARK_AGE_SECONDS_MAX, description="seconds; an older mark is no arrival price"
    )


class RiskQuery(SelectionQuery):
    """Exposure at the newest marks, or given ones."""

    mark: list[str] = Field([], description="INSTRUMENT=PRICE, instead of the newest known mark")
    by: list[Literal["account_id", "strategy_id", "venue", "asset", "instrument_id"]] = Field(["asset"], max_length=5)
    mark_age_max: int = Field(DAY_SECONDS, ge=1, le=MARK_AGE_SECONDS_MAX, description="seconds")
    equal: list[Equal] = Field([], max_length=8)
    currency: CurrencyCode | None = None
    capital: Number = Field(ZERO, description="what is there beside what is on record")


def _listed(shape: type[Answer]) -> dict[str, Any]:
    told = documented(200, "the analysis, and the seq it stands at")
    told[200]["content"] = {CSV: {"schema": {"type": "string"}}}
    return {"response_model": shape, "responses": told}


def _read(context: QueryContext, query: SelectionQuery, names: tuple[str, ...]) -> AbstractContextManager[Reading]:
    """Read models at the moment asked for, as recorded."""
    return reading(context.daybook, *names, min_seq=query.min_seq, moment=query.moment_recorded())


def _told(
    context: QueryContext, query: SelectionQuery, at: Reading, rows: Sequence[AnyRow], shape: type[Any], **more: Any
) -> Response:
    """Rows as CSV where that is asked for; else all there is, as JSON."""
    columns = [field.alias or name for name, field in shape.model_fields.items()]
    items = [{name: row.get(name) for name in columns} for row in rows]
    accepted = context.request.headers.get("accept", "")
    if query.format == "csv" or (query.format is None and CSV in accepted):
        headers = {SEQ_HEADER: str(at.seq)}
        return Response(csv_text(items, columns), media_type=f"{CSV}; charset=utf-8", headers=headers)
    return answer({"seq": at.seq, "recorded_at": at.recorded_at, "items": items, **more}, seq=at.seq)


@router.get("/pnl/daily", **_listed(schemas.DailyPnlAnswer))
def read_daily_pnl(query: Annotated[DailyQuery, Query()], context: Context) -> Response:
    """PnL by the day in which it occurred, in settlement currency and in the accounts' base currencies.

    `totals` are of all days; `rates` are what was converted by, with each path. Late fills change the days in which
    they occurred: /v1/pnl/daily/restatements says what, and `as_of_seq` what was known before.
    """
    with _read(context, query, DAILY_MODELS) as at:
        found = service.daily_pnl(context.daybook, at, query.where(), query.span(), query.by, query.valuing())
    return _told(context, query, at, found.items, schemas.DailyPnlRow, totals=found.totals, rates=found.rates)


@router.get("/pnl/daily/restatements", **listed(schemas.RestatedRow))
def list_restatements(query: Annotated[PageQuery, Query()], context: Context) -> Response:
    """What late fills, busts, corrections and restatements changed of past half hours, the newest first.

    What was known of a day as of a seq is what is known now less the rows since.
    """
    after = cursor_after(query.cursor, int, str, str, str, int)
    with _read(context, query, DAILY_MODELS) as at:
        rows = daily_sums.restatements(at.source, **query.where()._asdict(), limit=query.limit + 1, after=after)
    return context.page(query, at, rows, by=daily_sums.RESTATED, shape=schemas.RestatedRow)


@router.get("/equity", **_listed(schemas.EquityAnswer))
def read_equity(query: Annotated[EquityQuery, Query()], context: Context) -> Response:
    """What an account, or all together, were worth at each close, and what each day returned.

    What was brought in or taken out is no gain; returns are modified Dietz of the day, `index` their product.
    """
    with _read(context, query, EQUITY_MODELS) as at:
        found = _equity(context, at, query)
    return _told(context, query, at, found.rows, schemas.EquityRow, currency=found.currency)


def _equity(context: QueryContext, at: Reading, query: EquityQuery) -> service.Equity:
    for name in ("strategy_id", "instrument_id"):
        if (value := getattr(query, name)) is not None:
            raise InvalidInput(name, value, "asked for here: equity is of whole accounts; leave it out")
    return service.equity_curve(
        context.daybook, at, query.account_id, query.span(), query.valuing(), query.currency, query.capital
    )


@router.get(
    "/statistics",
    response_model=schemas.StatisticsAnswer,
    responses=documented(200, "the figures, and the seq they stand at"),
)
def read_statistics(query: Annotated[StatisticsQuery, Query()], context: Context) -> Response:
    """Return, volatility, Sharpe, Sortino, hit rate, drawdown, turnover, value at risk and expected shortfall.

    Of the daily returns of closed days, 365 a year. Estimates, of 12 places. `reasons` says why a figure is null.
    """
    with _read(context, query, EQUITY_MODELS) as at:
        found = _equity(context, at, query)
    told = service.equity_statistics(found.rows, query.risk_free, query.target)
    place = {"seq": at.seq, "recorded_at": at.recorded_at, "account_id": query.account_id, "currency": found.currency}
    return answer(place | told, seq=at.seq)


@router.get("/execution-quality", **_listed(schemas.QualityAnswer))
def read_execution_quality(query: Annotated[QualityQuery, Query()], context: Context) -> Response:
    """Slippage against the mark at arrival, fill ratio and times to fill, order by order and summed for each of `by`.

    Above zero is a cost. An order whose arrival price is not known is in no slippage, and counted `without_mark`.
    """
    with _read(context, query, QUALITY_MODELS) as at:
        age_max = timedelta(seconds=query.mark_age_max)
        found = service.execution_quality(context.daybook, at, query.where(), query.span(), query.by, age_max)
    totals = [dict.fromkeys(execution_quality.GROUPS) | row for row in found.totals]
    return _told(context, query, at, found.items, schemas.QualityRow, totals=totals)


@router.get(
    "/risk", response_model=schemas.RiskAnswer, responses=documented(200, "the analysis, and the seq it stands at")
)
def read_risk(query: Annotated[RiskQuery, Query()], context: Context) -> Response:
    """Exposure for each of `by` in one currency, leverage, concentration, and every limit with its headroom.

    Equity and leverage are those of whole accounts, whatever strategy or instrument is asked for.
    """
    valuing = Valuing(
        timedelta(seconds=query.mark_age_max), tuple(map(parsed_equals, query.equal)), given_marks(query.mark)
    )
    with _read(context, query, RISK_MODELS) as at:
        found = service.risk_report(
            context.daybook, at, query.where(), query.by, valuing, query.currency, query.capital
        )  # fmt: skip
    parts: dict[str, type[Any]] = {
        "positions": schemas.SizedRow, "exposure": schemas.CutRow, "limits": schemas.HeadroomRow,
    }  # fmt: skip
    shown = {
        part: [{name: row.get(name) for name in shape.model_fields} for row in found[part]]
        for part, shape in parts.items()
    }
    return answer({"seq": at.seq, "recorded_at": at.recorded_at, **found, **shown}, seq=at.seq)
