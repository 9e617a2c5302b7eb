"""Statistics agree with published examples and say where days are too few."""

import math
from datetime import date, timedelta
from statistics import NormalDist

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.analytics import statistics
from projections.analytics.statistics import Drawdown, drawdowns, loss, of_returns, quantile

YEAR = math.sqrt(365)
RED_ROCK = [0.17, 0.15, 0.23, -0.05, 0.12, 0.09, 0.13, -0.04]
"""Rollinger and Hoffman, "Sortino: A 'Sharper' Ratio" (Red Rock Capital): 10 % on average, 2.264 % below target."""
DAY = date(2026, 3, 1)


def points(*values: float) -> list[tuple[date, float]]:
    return [(DAY + timedelta(days=number), value) for number, value in enumerate(values)]


def test_sortino_is_the_published_one() -> None:
    assert statistics.downside_deviation(RED_ROCK) == pytest.approx(0.02264, abs=5e-6)
    sortino = statistics.sortino(RED_ROCK)
    assert sortino is not None
    assert sortino / YEAR == pytest.approx(4.417, abs=5e-4)


def test_sharpe_and_volatility_by_hand() -> None:
    """Deviations of 1, 2, 3, 4 % are 1.2910 % as a sample; the mean is 2.5 %."""
    returns = [0.01, 0.02, 0.03, 0.04]
    assert statistics.volatility(returns) / YEAR == pytest.approx(0.0129099444874)
    sharpe = statistics.sharpe(returns, 0.005)
    assert sharpe is not None
    assert sharpe / YEAR == pytest.approx(0.02 / 0.0129099444874)


@pytest.mark.parametrize(
    ("part", "expected"), [(0.25, 17.5), (0.5, 25.0), (0.0, 10.0), (1.0, 40.0), (0.05, 11.5), (1 / 3, 20.0)]
)
def test_quantiles_are_of_type_7(part: float, expected: float) -> None:
    """Hyndman and Fan (1996): the order statistic at (n - 1) p + 1."""
    assert quantile([40.0, 10.0, 30.0, 20.0], part) == pytest.approx(expected)


def test_historical_loss_is_the_quantile_and_the_mean_beyond_it() -> None:
    returns = [-each / 100 for each in range(1, 101)]  # losses of 1 to 100 %
    found = loss(returns, 0.95)
    assert found.historical_var == pytest.approx(0.9505)  # between the 95th and the 96th loss
    assert found.historical_es == pytest.approx((0.96 + 0.97 + 0.98 + 0.99 + 1.00) / 5)


@pytest.mark.parametrize(
    ("level", "z", "shortfall"), [(0.95, 1.644854, 2.062713), (0.975, 1.959964, 2.337803), (0.99, 2.326348, 2.665214)]
)
def test_parametric_loss_is_that_of_the_normal_distribution(level: float, z: float, shortfall: float) -> None:
    """The usual multiples of the deviation; Basel chose 97.5 % of shortfall for being near 99 % of value at risk."""
    returns = [NormalDist(0, 0.01).inv_cdf((each - 0.5) / 2000) for each in range(1, 2001)]
    found = loss(returns, level)
    assert found.parametric_var == pytest.approx(z / 100, rel=2e-3)
    assert found.parametric_es == pytest.approx(shortfall / 100, rel=2e-3)
    assert found.historical_var == pytest.approx(z / 100, rel=1e-2)


def test_drawdown_has_its_days() -> None:
    largest, current = drawdowns(points(1.0, 1.2, 0.9, 0.6, 1.3, 1.17))
    assert largest == Drawdown(pytest.approx(0.5), 3, date(2026, 3, 2), date(2026, 3, 4), date(2026, 3, 5))
    assert current == Drawdown(pytest.approx(0.1), 1, date(2026, 3, 5), date(2026, 3, 6))
    still, _ = drawdowns(points(1.0, 0.5, 0.9))
    assert (still.depth, still.days, still.recovered_on) == (0.5, 2, None)
    assert drawdowns(points(1.0, 1.1))[0] == Drawdown(0.0, 0)


def test_too_few_days_are_named() -> None:
    none = of_returns([])
    assert (none.days, none.total_return, none.sharpe, none.best_day) == (0, None, None, None)
    assert none.reasons["volatility"] == "takes at least 2 days with a return, there are 0"
    one = of_returns([0.1])
    assert (one.total_return, one.volatility, one.hit_rate) == (pytest.approx(0.1), None, 1.0)
    flat = of_returns([0.0, 0.0])
    assert flat.reasons["sharpe"] == "returns do not differ"
    assert flat.reasons["hit_rate"] == "no day had a gain or a loss"
    some = of_returns([0.01, -0.01] * 15)
    assert [each.historical_var is None for each in some.losses] == [False, True]
    assert some.reasons["var_0.99"] == "takes at least 100 days with a return, there are 30"
    assert "var_0.95" not in some.reasons
    assert of_returns([0.01, -0.01] * 50).losses[1].historical_var == pytest.approx(0.01)


def test_a_total_loss_has_no_annual_return() -> None:
    lost = of_returns([0.1, -1.0])
    assert (lost.total_return, lost.annual_return) == (-1.0, None)
    assert of_returns([1e9] * 3).annual_return is None  # too large to say


def test_rates_are_compounded() -> None:
    assert (1 + statistics.daily_rate(0.05)) ** 365 == pytest.approx(1.05)
    whole = of_returns([0.001] * 365)
    assert whole.annual_return == pytest.approx(whole.total_return)


returns = st.lists(st.floats(-0.2, 0.2, allow_nan=False), min_size=20, max_size=60)


@given(returns, st.sampled_from((0.8, 0.9, 0.95)))
def test_shortfall_is_at_least_value_at_risk_and_the_fall_at_most_all(series: list[float], level: float) -> None:
    found = loss(series, level)
    assert found.historical_var is not None
    assert found.historical_es is not None
    assert found.historical_es >= found.historical_var - 1e-12
    indexes = [1.0]
    for each in series:
        indexes.append(indexes[-1] * (1 + each))
    largest, current = drawdowns(points(*indexes))
    assert 0 <= current.depth <= largest.depth + 1e-12 < 1
