"""Return and risk statistics of a series of daily returns. Pure; estimates, in binary floating point.

Returns are simple and time-weighted, one a calendar day; crypto trades every day, so a year has 365. Annual rates are
converted to daily ones by the 365th root. Deviations are those of a sample (n - 1), but for the downside deviation,
which is over all days. Losses are above zero. With too few days for a figure it is None, and `reasons` states the
number it needs.

    total_return      product of (1 + r) - 1
    annual_return     (1 + total_return) ^ (365 / days) - 1
    volatility        sample deviation of r x sqrt(365)
    sharpe            mean of (r - risk free) / sample deviation of r x sqrt(365)
    sortino           mean of (r - target) / downside deviation x sqrt(365); the downside deviation is the root of the
                      mean over all days of min(r - target, 0) squared (Sortino and van der Meer)
    hit_rate          days with a gain / days with a gain or a loss
    turnover          value traded / mean equity at the closes
    max_drawdown      the largest fall of the index from its highest before; `days` from that high to the recovery
                      (to the last day, if there was none)
    var, es           historical: the (1 - level) quantile of r, interpolated linearly between the order statistics
                      (R's type 7), and the mean of the r not above it. Parametric: of a normal distribution with the
                      sample's mean and deviation: z x deviation - mean, and deviation x density(z) / (1 - level) - mean
"""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from statistics import NormalDist
from typing import Any, NamedTuple

DAYS_A_YEAR = 365
LEVELS = (0.95, 0.99)
DEVIATION_DAYS_MIN = 2
NORMAL_DAYS_MIN = 20
_ROUND_OFF = 1e-9  # 1 / (1 - 0.99) is not quite 100


class Drawdown(NamedTuple):
    """A fall from a high to a low; `days` from the high to the recovery, or to the last day if there is none."""

    depth: float
    days: int
    high_on: date | None = None
    low_on: date | None = None
    recovered_on: date | None = None


class Loss(NamedTuple):
    """Value at risk and expected shortfall of a day at a level of confidence, as fractions of equity, above zero."""

    level: float
    historical_var: float | None
    historical_es: float | None
    parametric_var: float | None
    parametric_es: float | None


class Statistics(NamedTuple):
    """Figures of a series; `reasons` explains those that are None."""

    days: int
    total_return: float | None
    annual_return: float | None
    volatility: float | None
    sharpe: float | None
    sortino: float | None
    hit_rate: float | None
    turnover: float | None
    best_day: float | None
    worst_day: float | None
    max_drawdown: Drawdown | None
    current_drawdown: Drawdown | None
    losses: tuple[Loss, ...]
    reasons: Mapping[str, str]


def daily_rate(annual: float) -> float:
    """Return the daily rate that compounds to an annual rate."""
    return float((1 + annual) ** (1 / DAYS_A_YEAR) - 1)


def total_return(returns: Sequence[float]) -> float:
    """Return the compounded return."""
    return math.prod(1 + each for each in returns) - 1


def volatility(returns: Sequence[float]) -> float:
    """Return the annualized sample deviation; needs two days."""
    return statistics.stdev(returns) * math.sqrt(DAYS_A_YEAR)


def downside_deviation(returns: Sequence[float], target: float = 0.0) -> float:
    """Return the root mean square of the shortfalls below the target, over all days."""
    return math.sqrt(math.fsum(min(each - target, 0.0) ** 2 for each in returns) / len(returns))


def sharpe(returns: Sequence[float], risk_free: float = 0.0) -> float | None:
    """Return the annualized Sharpe ratio; `risk_free` is a daily rate. None if all returns are equal."""
    deviation = statistics.stdev(returns)
    return (statistics.fmean(returns) - risk_free) / deviation * math.sqrt(DAYS_A_YEAR) if deviation else None


def sortino(returns: Sequence[float], target: float = 0.0) -> float | None:
    """Return the annualized Sortino ratio; `target` is a daily rate. None if no day fell short."""
    deviation = downside_deviation(returns, target)
    return (statistics.fmean(returns) - target) / deviation * math.sqrt(DAYS_A_YEAR) if deviation else None


def hit_rate(returns: Sequence[float]) -> float | None:
    """Return days with a gain / days with a gain or a loss; None if there was neither."""
    moved = [each for each in returns if each]
    return sum(1 for each in moved if each > 0) / len(moved) if moved else None


def quantile(values: Sequence[float], part: float) -> float:
    """Return the quantile, interpolated linearly between order statistics (R's type 7)."""
    ordered = sorted(values)
    place = part * (len(ordered) - 1)
    below = min(math.floor(place + _ROUND_OFF), len(ordered) - 1)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * max(place - below, 0.0)


def loss(returns: Sequence[float], level: float) -> Loss:
    """Return historical and parametric value at risk and expected shortfall; None where there are too few days."""
    historical_var = historical_es = parametric_var = parametric_es = None
    if len(returns) >= historical_days_min(level):
        cut = quantile(returns, 1 - level)
        historical_var = -cut
        historical_es = -statistics.fmean(each for each in returns if each <= cut + abs(cut) * _ROUND_OFF)
    if len(returns) >= NORMAL_DAYS_MIN:
        normal, mean, deviation = NormalDist(), statistics.fmean(returns), statistics.stdev(returns)
        z = normal.inv_cdf(level)
        parametric_var = z * deviation - mean
        parametric_es = deviation * normal.pdf(z) / (1 - level) - mean
    return Loss(
        level=level,
        historical_var=historical_var,
        historical_es=historical_es,
        parametric_var=parametric_var,
        parametric_es=parametric_es,
    )


def historical_days_min(level: float) -> int:
    """Return the number of days of which one is expected beyond the level."""
    return math.ceil(1 / (1 - level) - _ROUND_OFF)


def drawdowns(points: Sequence[tuple[date, float]]) -> tuple[Drawdown, Drawdown]:
    """Return the largest and the current drawdown of an index; of equal ones the first. Without one the depth is 0."""
    (high_on, high), low = points[0], points[0][1]
    low_on: date = high_on
    largest = current = Drawdown(0.0, 0)
    for day, index in points:
        if index >= high:
            if largest.high_on == high_on and largest.depth > 0 and largest.recovered_on is None:
                largest = largest._replace(days=(day - high_on).days, recovered_on=day)
            high_on, high, low, low_on = day, index, index, day
            current = Drawdown(0.0, 0)
            continue
        if index < low:
            low, low_on = index, day
        current = Drawdown(1 - index / high, (day - high_on).days, high_on, low_on)
        if 1 - low / high > largest.depth:
            largest = Drawdown(1 - low / high, current.days, high_on, low_on)
        elif largest.high_on == high_on and largest.recovered_on is None:
            largest = largest._replace(days=current.days)
    return largest, current


def of_returns(
    returns: Sequence[float],
    points: Sequence[tuple[date, float]] = (),
    *,
    risk_free: float = 0.0,
    target: float = 0.0,
    turnover: float | None = None,
    levels: Sequence[float] = LEVELS,
) -> Statistics:
    """Return all figures of daily returns, and of the index at each day in `points`; rates are annual."""
    days, reasons = len(returns), {}

    def figure(name: str, least: int, formula: Callable[[], Any], otherwise: str) -> Any:
        found = formula() if days >= least else None
        if found is None:
            reasons[name] = otherwise if days >= least else few(least, days)
        return found

    whole = figure("total_return", 1, lambda: total_return(returns), "")
    reasons |= {} if turnover is not None else {"turnover": "takes an equity above zero and a rate for what was traded"}
    losses = tuple(loss(returns, level) for level in levels)
    for each in losses:
        least = max(historical_days_min(each.level), NORMAL_DAYS_MIN)
        if days < least:
            reasons[f"var_{each.level:g}"] = few(least, days)
    largest, current = drawdowns(points) if points else (None, None)
    free, short_of = daily_rate(risk_free), daily_rate(target)
    return Statistics(
        days=days,
        total_return=whole,
        annual_return=figure("annual_return", 1, lambda: _annual(whole, days), "takes an index above zero"),
        volatility=figure("volatility", DEVIATION_DAYS_MIN, lambda: volatility(returns), ""),
        sharpe=figure("sharpe", DEVIATION_DAYS_MIN, lambda: sharpe(returns, free), "returns do not differ"),
        sortino=figure(
            "sortino", DEVIATION_DAYS_MIN, lambda: sortino(returns, short_of), "no day fell short of the target"
        ),
        hit_rate=figure("hit_rate", 1, lambda: hit_rate(returns), "no day had a gain or a loss"),
        turnover=turnover,
        best_day=max(returns, default=None),
        worst_day=min(returns, default=None),
        max_drawdown=largest,
        current_drawdown=current,
        losses=losses,
        reasons=reasons,
    )


def few(least: int, days: int) -> str:
    """Return the reason for a figure with too few days."""
    return f"takes at least {least} days with a return, there are {days}"


def _annual(whole: float, days: int) -> float | None:
    try:
        return float((1 + whole) ** (DAYS_A_YEAR / days) - 1) if whole > -1 else None
    except OverflowError:
        return None
