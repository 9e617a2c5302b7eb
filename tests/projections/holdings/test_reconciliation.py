"""Trading results, the revaluation of coins held otherwise and flows are the change of equity, over random books."""

from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal as D

from hypothesis import given, settings

from domain.values import ZERO
from projections import calendar
from projections.analytics import daily_pnl, equity, pnl
from projections.analytics.closing import Closing, closing, own_pairs
from projections.analytics.equity import EquityInputs
from projections.calendar import MIDNIGHT, Days
from projections.holdings import reconciliation
from projections.models import capital_flows, daily_sums, positions
from projections.runner.runner import as_of
from tests.desk import T0
from tests.projections.holdings.books import DAYS, PAIRS, marks, prices, steps, traded

PROJECTIONS = (daily_sums.PROJECTION, capital_flows.PROJECTION, positions.PROJECTION)
EVER = timedelta(days=10_000)
CRUMB = D("1e-15")
CHOSEN = calendar.days(MIDNIGHT, T0.date(), T0.date() + timedelta(days=DAYS - 1))
Book = Sequence[Sequence[int]]


def valued(book: Book, closes: Book, chosen: Days = CHOSEN) -> tuple[EquityInputs, list[Closing]]:
    """What an equity is made of, and the closings of the days."""
    rows = as_of(traded(book).log, projections=PROJECTIONS)
    sums = daily_sums.sums(rows, chosen.close, chosen.bounds)
    inputs = EquityInputs(sums, capital_flows.cash_of(rows), capital_flows.moved_of(rows))
    own = own_pairs(sums)
    bounds = zip(chosen.bounds, closes, strict=True)
    return inputs, [closing(at, marks(each), PAIRS, EVER, own=own) for at, each in bounds]


@given(steps, prices)
@settings(max_examples=120)
def test_every_line_together_is_the_change_of_equity(book: Book, closes: Book) -> None:
    inputs, closings = valued(book, closes)
    curve = equity.curve(inputs, CHOSEN, closings, "USDT")
    lines = reconciliation.reconciliation(inputs, CHOSEN, closings, "USDT")
    for point, line in zip(curve, lines, strict=True):
        assert line["equity"] == point["equity"]
        assert reconciliation.difference(line) == ZERO
        assert abs(line["conversion_rounding"] or ZERO) < CRUMB
        assert (line["deposits"] or ZERO) + (line["transfers"] or ZERO) == point["external"]
    whole = reconciliation.over_days(lines)
    assert reconciliation.difference(whole) == ZERO
    assert (whole["equity_before"], whole["equity"]) == (lines[0]["equity_before"], lines[-1]["equity"])


@given(steps, prices)
@settings(max_examples=60)
def test_daily_pnl_by_any_breakdown_is_the_pnl_of_the_equity_curve(book: Book, closes: Book) -> None:
    inputs, closings = valued(book, closes)
    rows = daily_pnl.daily_pnl(inputs.sums, CHOSEN, closings, {"main": "USDT"}, inputs.cash)
    gained: dict[date, D] = {}
    for by in (("strategy_id",), ("instrument_id",), ("base", "venue"), ()):
        sums = dict.fromkeys(CHOSEN.dates, ZERO)
        for part in daily_pnl.breakdown(rows, by):
            sums[part["day"]] += part["in_base"]["net"] or ZERO
        gained = gained or sums
        assert sums == gained
    lines = reconciliation.reconciliation(inputs, CHOSEN, closings, "USDT")
    for point, line in zip(equity.curve(inputs, CHOSEN, closings, "USDT"), lines, strict=True):
        explained = gained[line["day"]] + (line["transfer_result"] or ZERO) + (line["conversion_rounding"] or ZERO)
        assert point["pnl"] == explained


@given(steps, prices)
@settings(max_examples=60)
def test_pnl_of_now_with_what_cash_earned_is_the_sum_of_all_days(book: Book, closes: Book) -> None:
    inputs, closings = valued(book, closes)
    rows = as_of(traded(book).log, projections=PROJECTIONS)
    held = pnl.pnl(rows, marks=closings[-1].marks) + pnl.of_cash(inputs.cash)
    now = {each["settle"]: (each["net"], each["income"], each["fees_settle"]) for each in pnl.totals(held, ())}
    days = daily_pnl.daily_pnl(inputs.sums, CHOSEN, closings, {"main": "USDT"}, inputs.cash)
    summed = daily_pnl.breakdown(days, (), is_by_day=False)
    every = {each["settle"]: (each["net"], each["income"], each["fees_settle"]) for each in summed}
    nothing = (ZERO, ZERO, ZERO)
    assert {name: sums for name, sums in now.items() if sums != nothing} == {
        name: sums for name, sums in every.items() if sums != nothing
    }
