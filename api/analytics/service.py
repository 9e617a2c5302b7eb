"""Analyses of a reading: daily PnL, equity, risk and execution, alike for the API and the command line."""

from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from math import isfinite
from typing import NamedTuple

from api.analytics.closing_marks import (
    Valuing,
    cash_flows,
    closings_of,
    currency_of,
    days_of,
    equity_inputs,
    moment_of,
    present_closing,
    sums_of,
    up_to_now,
)
from api.daybook import Daybook
from api.parameters import Where
from api.read_models import limit_usage, views
from api.read_models.snapshot import Reading, marks_at
from domain.errors import InvalidInput
from domain.values import divide
from projections.analytics import daily_pnl as daily
from projections.analytics import equity, exposure, statistics, time_weighted
from projections.analytics import execution_quality as quality
from projections.analytics.valuation import total
from projections.calendar import Close
from projections.controls import shadow_limits
from projections.holdings import reconciliation
from projections.models import positions, reference_data
from projections.storage.tables import AnyRow, Row

DAILY_MODELS = ("daily", "capital", "references")
EQUITY_MODELS = ("daily", "capital", "references")
RISK_MODELS = ("positions", "balances", *shadow_limits.BOTH, *EQUITY_MODELS)
QUALITY_MODELS = ("orders", "executions")
STATISTIC_PLACES = 12
ROWS_MAX = 10_000
RATE_MAX = 1_000_000


class Span(NamedTuple):
    """Which days: their close, and the first and last of them (by default the last 30 up to today)."""

    close: Close
    first: date | None = None
    last: date | None = None


class DailyPnl(NamedTuple):
    """Rows by day and by the groups requested, sums over the days, and the conversion rates used."""

    items: list[Row]
    totals: list[daily.DailyPnlTotal]
    rates: list[daily.DailyRateRow]


def daily_pnl(
    daybook: Daybook, at: Reading, where: Where, span: Span, *, by: Sequence[str], valuing: Valuing
) -> DailyPnl:  # fmt: skip
    """Return PnL by day, in settlement currency and in the accounts' base currencies. Raises InvalidInput."""
    days = days_of(at, span.close, span.first, span.last)
    sums = sums_of(at, days, where)
    cash = cash_flows(at, days, where)
    bases = reference_data.base_currencies(at.source)
    wanted = {*bases.values(), *(row["currency"] for row in cash)}
    closings = closings_of(daybook, at, days, sums, currencies=wanted, valuing=valuing)
    rows = daily.daily_pnl(sums, days, closings, bases, cash=cash)
    items = daily.breakdown(rows, by)
    if len(items) > ROWS_MAX:
        rule = f"an answer of at most {ROWS_MAX} rows: request fewer days, or name an account or an instrument"
        raise InvalidInput("from", days.dates[0].isoformat(), rule)
    dated = [row | {"close_at": closings[(row["day"] - days.dates[0]).days + 1].at} for row in items]
    return DailyPnl(dated, daily.breakdown(rows, (), is_by_day=False), daily.rates(rows, closings))


class Equity(NamedTuple):
    """An equity curve, and the currency it is in."""

    currency: str
    rows: list[Row]


def equity_curve(
    daybook: Daybook, at: Reading, account_id: str | None, span: Span, *, valuing: Valuing, currency: str | None,
    capital: Decimal,
) -> Equity:  # fmt: skip
    """Return the worth of one account, or of all together, at each close. Raises InvalidInput."""
    currency = currency_of(at, account_id, currency)
    days = days_of(at, span.close, span.first, span.last)
    inputs = equity_inputs(at, days, account_id)
    others = {row["currency"] for row in inputs.cash} | {row["settle"] for row in inputs.moved if row["settle"]}
    closings = closings_of(daybook, at, days, inputs.sums, currencies={currency, *others}, valuing=valuing)
    present = moment_of(at)
    rows = equity.curve(inputs, days, closings, currency, capital=capital)
    bounds = days.bounds[1:]
    return Equity(
        currency,
        [
            row | {"account_id": account_id, "is_closed": bound <= present}
            for row, bound in zip(rows, bounds, strict=True)
        ],
    )


class Reconciliation(NamedTuple):
    """The lines from one close to the next, those of all days together, and the currency they are in."""

    currency: str
    rows: list[reconciliation.ReconciliationRow]
    total: Row


def equity_reconciliation(
    daybook: Daybook, at: Reading, account_id: str | None, span: Span, *, valuing: Valuing, currency: str | None
) -> Reconciliation:
    """Return what leads from the equity of each close to the next, of an account or of all. Raises InvalidInput."""
    currency = currency_of(at, account_id, currency)
    days = days_of(at, span.close, span.first, span.last)
    inputs = equity_inputs(at, days, account_id)
    others = {row["currency"] for row in inputs.cash} | {row["settle"] for row in inputs.moved if row["settle"]}
    closings = closings_of(daybook, at, days, inputs.sums, currencies={currency, *others}, valuing=valuing)
    rows = reconciliation.reconciliation(inputs, days, closings, currency)
    return Reconciliation(currency, rows, reconciliation.over_days(rows))


class Nav(NamedTuple):
    """NAV by the day, the currency it is in, and the time-weighted return of all days; None if no day has one."""

    currency: str
    rows: list[Row]
    time_weighted_return: Decimal | None


def nav(
    daybook: Daybook, at: Reading, account_id: str | None, span: Span, *, valuing: Valuing, currency: str | None,
    capital: Decimal, flow_mark_age_max: timedelta,
) -> Nav:  # fmt: skip
    """Return the NAV of one account, or of all together, at each close and now. Raises InvalidInput.

    At a flow it is valued only by marks of at most `flow_mark_age_max`.
    """
    currency = currency_of(at, account_id, currency)
    days = days_of(at, span.close, span.first, span.last)
    flows = time_weighted.flow_slots(equity_inputs(at, days, account_id), days)
    parts = time_weighted.sub_periods(days, flows)
    inputs = equity_inputs(at, parts, account_id)
    others = {row["currency"] for row in inputs.cash} | {row["settle"] for row in inputs.moved if row["settle"]}
    wanted = {currency, *others}
    at_closes = closings_of(daybook, at, parts, inputs.sums, currencies=wanted, valuing=valuing)
    young = valuing._replace(mark_age_max=min(flow_mark_age_max, valuing.mark_age_max))
    at_flows = closings_of(daybook, at, parts, inputs.sums, currencies=wanted, valuing=young)
    is_close = [bound in set(days.bounds) for bound in parts.bounds]
    chosen = [close if closes else flow for closes, close, flow in zip(is_close, at_closes, at_flows, strict=True)]
    points = time_weighted.nav(inputs, days, parts, chosen, currency=currency, capital=capital)
    present = moment_of(at)
    rows = [
        point | {"account_id": account_id, "is_closed": bound <= present}
        for point, bound in zip(points, days.bounds[1:], strict=True)
    ]
    known = any(point["return"] is not None for point in points)
    return Nav(currency, rows, points[-1]["index"] - 1 if known else None)


def equity_statistics(rows: Sequence[Row], risk_free: Decimal, target: Decimal) -> Row:
    """Return the statistics of a curve's closed days; days without a return of their own are `days_unknown`.

    Raises InvalidInput for a rate that no return can be held against.
    """
    for name, rate in (("risk_free", risk_free), ("target", target)):
        if not -1 <= rate <= RATE_MAX:
            raise InvalidInput(name, rate, f"an annual rate from -1 to {RATE_MAX}, such as 0.04")
    closed = [row for row in rows if row["is_closed"]]
    daily = [row for row in closed if row["return"] is not None and row["days_spanned"] == 1]
    known = [row["equity"] for row in closed if row["equity"] is not None]
    traded = total([row["turnover"] for row in closed])
    mean = sum(map(float, known)) / len(known) if known else 0.0
    began = [row for row in closed if row["return"] is not None]
    points = [(row["day"], float(row["index"])) for row in began]
    if began:
        points.insert(0, (began[0]["day"] - timedelta(days=began[0]["days_spanned"]), 1.0))
    found = statistics.of_returns(
        [float(row["return"]) for row in daily],
        points,
        risk_free=float(risk_free),
        target=float(target),
        turnover=float(traded) / mean if traded is not None and mean > 0 else None,
    )
    last = known[-1] if known else None
    figures: Row = {name: _estimate(getattr(found, name)) for name in _FIGURES}
    return figures | {
        "days": found.days,
        "days_unknown": len(closed) - len(daily),
        "first_day": closed[0]["day"] if closed else None,
        "last_day": closed[-1]["day"] if closed else None,
        "equity": last,
        "max_drawdown": _drawdown(found.max_drawdown),
        "current_drawdown": _drawdown(found.current_drawdown),
        "losses": [_loss(each, last) for each in found.losses],
        "reasons": dict(found.reasons),
    }


_FIGURES = (
    "total_return", "annual_return", "volatility", "sharpe", "sortino", "hit_rate", "turnover", "best_day", "worst_day",
)  # fmt: skip


def _estimate(value: float | None) -> Decimal | None:
    """Return an estimate as a decimal of 12 places: more would not be significant."""
    return None if value is None or not isfinite(value) else Decimal(f"{value:.{STATISTIC_PLACES}f}")


def _drawdown(found: statistics.Drawdown | None) -> Row | None:
    return None if found is None else found._asdict() | {"depth": _estimate(found.depth)}


def _loss(found: statistics.Loss, equity_: Decimal | None) -> Row:
    """Return the loss as fractions of equity, and the value at risk as money too."""
    loss: Row = {name: _estimate(value) for name, value in found._asdict().items()}
    for name in ("historical_var", "parametric_var"):
        part = loss[name]
        loss[f"{name}_amount"] = None if part is None or equity_ is None else divide(part * equity_, Decimal(1), 8)
    return loss


class Quality(NamedTuple):
    """Orders one by one, and sums by the groups requested."""

    items: list[quality.QualityRow]
    totals: list[quality.QualityTotal]


def execution_quality(
    daybook: Daybook, at: Reading, where: Where, span: Span, *, by: Sequence[str], age_max: timedelta
) -> Quality:
    """Return the cost of the orders submitted on the days against the mark at their arrival. Raises InvalidInput."""
    days = days_of(at, span.close, span.first, span.last)
    submitted = quality.orders_between(
        at.source, days.bounds[0], days.bounds[-1], **where._asdict(), limit=ROWS_MAX + 1
    )
    if len(submitted) > ROWS_MAX:
        rule = f"a time in which at most {ROWS_MAX} orders were sent: request fewer days, or name an account"
        raise InvalidInput("from", days.dates[0].isoformat(), rule)
    fills = quality.fills_of(at.source, submitted)
    wanted = [(order["instrument_id"] or "", order["opened_at"]) for order in submitted]
    marks = quality.arrivals(submitted, daybook.market.latest_each(wanted, at.known), age_max)
    rows = [
        quality.measured(order, fills.get((order["account_id"], order["cl_ord_id"])), marks.get(place), span.close)
        for place, order in enumerate(submitted)
    ]
    return Quality(rows, quality.grouped(rows, by))


def risk_report(
    daybook: Daybook, at: Reading, where: Where, by: Sequence[str], *, valuing: Valuing, currency: str | None,
    capital: Decimal,
) -> Row:  # fmt: skip
    """Return exposure by the cuts requested, leverage, concentration, and every limit with its headroom."""
    bases = reference_data.base_currencies(at.source)
    currency = currency_of(at, where.account_id, currency, known_bases=bases)
    inputs = equity_inputs(at, up_to_now(at), where.account_id)
    held = positions.positions(at.source, **where._asdict())
    marks = marks_at(daybook, at, valuing.given)
    close = present_closing(at, [*held, *inputs.sums], valuing, marks)
    cash = views.cash_of(at, where, inputs.cash)
    sized = exposure.holdings(held, cash, close, currency, bases=bases)
    (valued,) = equity.valued_at_closes(inputs, up_to_now(at), [close], currency)
    worth = None if valued.equity is None else valued.equity + capital
    cuts: Sequence[AnyRow] = exposure.cut(sized, ())
    (whole,) = cuts or [dict.fromkeys(("gross", "net", "delta_value"), Decimal(0))]
    return {
        "currency": currency,
        "equity": worth,
        "gross": whole["gross"],
        "net": whole["net"],
        "delta_value": whole["delta_value"],
        "leverage": exposure.leverage(whole["gross"], worth),
        **exposure.concentration(sized),
        "lacking": [*valued.lacking],
        "positions": sized,
        "exposure": exposure.cut(sized, by),
        "limits": limit_usage.usage(daybook, at, where.account_id, marks=None if valuing.given else marks),
    }
