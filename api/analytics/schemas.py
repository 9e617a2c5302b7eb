"""Schemas of analyses, for OpenAPI: daily PnL, equity, statistics, execution quality and risk."""

from typing import Annotated, Any

from pydantic import Field, WithJsonSchema, create_model

from api.read_models.schemas import Answer, DecimalText, TimeText
from projections.analytics import daily_pnl

DayText = Annotated[str, WithJsonSchema({"type": "string", "format": "date", "examples": ["2026-01-02"]})]
Maybe = DecimalText | None


class RateStep(Answer):
    """One pair of a path: its base is sold at `price`, or its quote at 1 / `price`."""

    instrument_id: str
    is_inverse: bool
    price: DecimalText
    source: str
    mark_at: TimeText | None


class RateAnswer(Answer):
    """A rate and its path; without a path it is null, and `reason` names what is missing."""

    day: DayText
    from_currency: str
    to_currency: str
    rate: Maybe
    path: list[RateStep]
    missing: list[str]
    stale: list[str]
    reason: str | None


def _all(names: tuple[str, ...], type_: Any) -> dict[str, Any]:
    return dict.fromkeys(names, (type_, ...))


InBase = create_model(
    "InBase", __base__=Answer, __doc__="The parts in base currency, at the rates of the close; they add up to `net`.",
    **_all(daily_pnl.IN_BASE, Maybe),
)  # fmt: skip
_SUMS: dict[str, Any] = _all(tuple(name for name in daily_pnl.OWN if name != "volume"), Maybe) | {
    "settle": (str, ...),
    "base_currency": (str, ...),
    "fills": (int, ...),
    "other_fees": (dict[str, DecimalText], ...),
    "in_base": (InBase, ...),
    "missing_marks": (list[str], ...),
    "seq": (int, Field(..., description="the last event that touched what is summed")),
}
_DAY: dict[str, Any] = {"day": (DayText, ...), "close_at": (TimeText, ...)} | _all(daily_pnl.GROUPS, str | None) | _SUMS
DailyPnlRow = create_model(
    "DailyPnlRow", __base__=Answer, __doc__="A day's PnL in one settlement currency, for each of `by`.", **_DAY
)
DailyPnlTotal = create_model(
    "DailyPnlTotal", __base__=Answer, __doc__="All days and rows of one settlement currency.", **_SUMS
)


class DailyPnlAnswer(Answer):
    seq: int
    recorded_at: TimeText | None
    items: list[DailyPnlRow]  # type: ignore[valid-type]
    totals: list[DailyPnlTotal]  # type: ignore[valid-type]
    rates: list[RateAnswer]


class EquityRow(Answer):
    """Equity at a close, and the result of the day."""

    account_id: str | None
    day: DayText
    close_at: TimeText
    is_closed: bool = Field(description="false for the present day, which is as of now")
    currency: str
    equity: Maybe
    cash: Maybe
    positions: Maybe
    external: Maybe = Field(description="capital brought in less taken out; no gain")
    pnl: Maybe
    return_: Maybe = Field(alias="return")
    days_spanned: int
    index: DecimalText
    drawdown: DecimalText
    turnover: Maybe
    reason: str | None
    lacking: list[str]


class EquityAnswer(Answer):
    seq: int
    recorded_at: TimeText | None
    currency: str
    items: list[EquityRow]


_LINES: dict[str, Any] = {
    "currency": (str, ...),
    "equity_before": (Maybe, ...),
    **_all(("realized", "rounding", "unrealized_change", "funding", "income", "fee_cost", "fees"), Maybe),
    "trading_pnl": (Maybe, Field(..., description="of positions: the parts before it, less the two kinds of fees")),
    "revaluation": (Maybe, Field(..., description="of what positions have left in other currencies")),
    "cash_income": (Maybe, Field(..., description="interest, rebates, rewards and other income")),
    "cash_charges": (Maybe, Field(..., description="charges apart from trades; subtracted")),
    "cash_revaluation": (Maybe, Field(..., description="of cash in other currencies, and the gain of conversions")),
    "deposits": (Maybe, Field(..., description="cash brought in less taken out")),
    "transfers": (Maybe, Field(..., description="quantity moved in less out, at its value at the close")),
    "transfer_result": (Maybe, Field(..., description="the cost it was recorded at, less that value")),
    "conversion_rounding": (Maybe, Field(..., description="amounts are converted one by one, to 18 places")),
    "equity": (Maybe, ...),
    "lacking": (list[str], Field(..., description="the marks and rates that are missing")),
}
ReconciliationRow = create_model(
    "ReconciliationRow", __base__=Answer,
    __doc__="What leads from the equity of one close to the next: it is the sum of the lines.",
    day=(DayText, ...), close_at=(TimeText, ...), **_LINES,
)  # fmt: skip
ReconciliationTotal = create_model(
    "ReconciliationTotal", __base__=Answer, __doc__="The same from the first opening to the last close.", **_LINES
)


class ReconciliationAnswer(Answer):
    seq: int
    recorded_at: TimeText | None
    currency: str
    items: list[ReconciliationRow]  # type: ignore[valid-type]
    totals: list[ReconciliationTotal]  # type: ignore[valid-type]


class NavRow(Answer):
    """Net asset value at a close, and the time-weighted return of the day."""

    account_id: str | None
    day: DayText
    close_at: TimeText
    is_closed: bool = Field(description="false for the present day, which is as of now")
    currency: str
    nav: Maybe
    cash: Maybe
    positions: Maybe
    external: Maybe = Field(description="capital brought in less taken out; no gain")
    pnl: Maybe
    return_: Maybe = Field(alias="return")
    since: TimeText = Field(description="the moment the return begins at: the close before, or the first capital")
    method: str | None = Field(description="TIME_WEIGHTED, or MODIFIED_DIETZ where a flow could not be valued at")
    sub_periods: int
    flows: int
    flows_weighted: int = Field(description="flows at which the account could not be valued")
    index: DecimalText
    drawdown: DecimalText
    reason: str | None
    lacking: list[str]


class NavAnswer(Answer):
    seq: int
    recorded_at: TimeText | None
    currency: str
    time_weighted_return: Maybe = Field(description="of all days: a fraction")
    items: list[NavRow]


class DrawdownAnswer(Answer):
    """A fall of the index; `days` from its high to its recovery, or to the last day."""

    depth: DecimalText
    days: int
    high_on: DayText | None
    low_on: DayText | None
    recovered_on: DayText | None


class LossAnswer(Answer):
    """The possible loss of a day, above zero: as fractions of equity, and as money."""

    level: DecimalText
    historical_var: Maybe
    historical_es: Maybe
    parametric_var: Maybe
    parametric_es: Maybe
    historical_var_amount: Maybe
    parametric_var_amount: Maybe


class StatisticsFigures(Answer):
    """Figures of daily time-weighted returns; a year has 365 days. Null where days are too few, as `reasons` states."""

    account_id: str | None
    currency: str
    first_day: DayText | None
    last_day: DayText | None
    days: int
    days_unknown: int
    equity: Maybe
    total_return: Maybe
    annual_return: Maybe
    volatility: Maybe
    sharpe: Maybe
    sortino: Maybe
    hit_rate: Maybe
    turnover: Maybe
    best_day: Maybe
    worst_day: Maybe
    max_drawdown: DrawdownAnswer | None
    current_drawdown: DrawdownAnswer | None
    reasons: dict[str, str]


class StatisticsAnswer(StatisticsFigures):
    """The figures, the possible losses of a day, and the seq they are of."""

    seq: int
    recorded_at: TimeText | None
    losses: list[LossAnswer]


class QualityRow(Answer):
    """One order against the mark at its arrival; above zero is a cost."""

    account_id: str
    strategy_id: str
    instrument_id: str
    position_side: str
    venue: str
    cl_ord_id: str
    day: DayText
    submitted_at: TimeText
    side: str | None
    order_qty: Maybe
    cum_qty: DecimalText
    avg_px: Maybe
    status: str
    quote: str | None
    arrival_px: Maybe
    arrival_source: str | None
    arrival_at: TimeText | None
    notional: Maybe
    slippage_bps: Maybe
    shortfall: Maybe
    fill_ratio: Maybe
    fills: int
    seconds_to_first_fill: Maybe
    seconds_to_last_fill: Maybe
    seq: int


class QualityTotal(Answer):
    """Orders of one group and quote currency ("" of those never filled)."""

    account_id: str | None
    strategy_id: str | None
    instrument_id: str | None
    position_side: str | None
    venue: str | None
    day: DayText | None
    quote: str
    orders: int
    filled: int
    without_mark: int
    notional: Maybe
    shortfall: Maybe
    slippage_bps: Maybe
    fill_ratio: Maybe
    seconds_to_first_fill: Maybe
    seconds_to_last_fill: Maybe


class QualityAnswer(Answer):
    seq: int
    recorded_at: TimeText | None
    items: list[QualityRow]
    totals: list[QualityTotal]


class SizedRow(Answer):
    """The size of an open position, or of what else is held of a coin (kind COIN, without an instrument)."""

    account_id: str
    strategy_id: str
    instrument_id: str
    position_side: str
    kind: str | None
    venue: str
    asset: str | None
    quantity: DecimalText
    quote: str | None
    notional: Maybe
    delta: Maybe
    currency: str
    net: Maybe
    gross: Maybe
    delta_value: Maybe
    lacking: str | None
    seq: int


class CutRow(Answer):
    """Exposure for each of `by`, in one currency."""

    account_id: str | None
    strategy_id: str | None
    venue: str | None
    asset: str | None
    instrument_id: str | None
    position_side: str | None
    gross: Maybe
    net: Maybe
    delta_value: Maybe
    delta: Maybe
    share: Maybe
    lacking: list[str]


class HeadroomRow(Answer):
    """A limit, its usage and headroom; `subject` is the instrument or asset it is measured on."""

    account_id: str
    measure: str
    status: str = Field(description="ACTIVE, SHADOW or DRAFT")
    strategy_id: str | None
    instrument_id: str | None
    venue: str | None
    asset: str | None
    scope: str = Field(description="what it was set for: firm or account, strategy, instrument, venue, asset")
    subject: str
    limit: DecimalText
    currency: str | None
    version: int
    used: Maybe
    utilisation: Maybe
    headroom: Maybe
    is_breached: bool | None
    is_exceeded: bool | None = Field(description="deprecated alias of is_breached")
    unassessed: str | None
    breached_at: TimeText | None
    seq: int


class RiskFigures(Answer):
    """Exposure of all together in one currency, leverage and concentration."""

    currency: str
    equity: Maybe
    gross: Maybe
    net: Maybe
    delta_value: Maybe
    leverage: Maybe
    herfindahl: Maybe
    largest_share: Maybe
    largest_asset: str | None
    lacking: list[str]


class RiskAnswer(RiskFigures):
    """The figures, positions, exposure for each of `by`, limits, and the seq they are of."""

    seq: int
    recorded_at: TimeText | None
    positions: list[SizedRow]
    exposure: list[CutRow]
    limits: list[HeadroomRow]


class RestatedRow(Answer):
    """The change by one event to a past half hour of a position."""

    account_id: str
    strategy_id: str
    instrument_id: str
    position_side: str
    occurred_from: TimeText
    recorded_at: TimeText
    settle: str | None
    quantity: DecimalText
    cost: DecimalText
    realized: DecimalText
    rounding: DecimalText
    fee_cost: DecimalText
    fees_settle: DecimalText
    other_fees: dict[str, DecimalText]
    volume: DecimalText
    turnover: DecimalText
    fills: int
    seq: int
