"""Time-weighted returns: valued at each flow and linked, however much is brought in or taken out, and whenever."""

from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal as D
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.values import Mark, Side, rounded
from projections import calendar
from projections.analytics import time_weighted
from projections.analytics.closing import closing
from projections.analytics.equity import EquityInputs
from projections.analytics.time_weighted import MODIFIED_DIETZ, TIME_WEIGHTED, NavPoint
from projections.calendar import MIDNIGHT, slot_start
from projections.models import capital_flows, daily_sums
from projections.runner.runner import as_of
from tests.desk import BTC, T0, Desk, fill
from tests.projections.analytics.test_equity import EVER, PAIRS, PROJECTIONS, deposit

FIRST = date(2026, 3, 1)
START = datetime(2026, 3, 1, tzinfo=T0.tzinfo)
HALF = timedelta(minutes=30)

Price = Callable[[datetime], str | None]


def nav(desk: Desk, price: Price, count: int = 1) -> list[NavPoint]:
    """NAV over some days, at prices by the moment; None is no mark."""
    chosen = calendar.days(MIDNIGHT, FIRST, FIRST + timedelta(days=count - 1))
    rows = as_of(desk.log, projections=PROJECTIONS)
    cash, moved = capital_flows.cash_of(rows, "main"), capital_flows.moved_of(rows, "main")
    flows = time_weighted.flow_slots(EquityInputs((), cash, moved), chosen)
    parts = time_weighted.sub_periods(chosen, flows)
    sums = daily_sums.sums(rows, parts.close, parts.bounds, account_id="main")
    closings = [closing(at, _marks(price(at), at), PAIRS, EVER) for at in parts.bounds]
    return time_weighted.nav(EquityInputs(sums, cash, moved), chosen, parts, closings, "USDT")


def _marks(price: str | None, at: datetime) -> Mapping[str, Mark]:
    return {} if price is None else {BTC: Mark(BTC, D(price), "SIM", at)}


def minutes(at: datetime) -> int:
    """As `fill` counts them: from T0."""
    return (at - T0) // timedelta(minutes=1)


def funded(amount: str = "1000000") -> Desk:
    desk = Desk()
    desk.report(deposit("D-0", amount, START - timedelta(days=1)))
    return desk


def test_it_is_that_of_a_published_example() -> None:
    """1,000,000 became 1,162,484 when 100,000 were added, and 1,192,328 in the end: 16.25 %, -5.56 %, together 9.79 %.

    (Investopedia, "Time-Weighted Rate of Return", investor 1.)
    """
    desk = funded()
    desk.report(fill("E-1", Side.BUY, "10000", "100", minutes(START - HALF)))
    flow_at = START + timedelta(hours=15)
    desk.report(deposit("D-1", "100000", flow_at))
    prices = {START: "100", flow_at: "116.2484", START + timedelta(days=1): "109.2328"}
    (row,) = nav(desk, prices.get)
    exact = Fraction(1_162_484, 1_000_000) * Fraction(1_192_328, 1_262_484) - 1
    assert row["nav"] == 1_192_328
    assert row["return"] is not None and abs(Fraction(row["return"]) - exact) < Fraction(1, 10**16)
    assert rounded(row["return"], 4) == D("0.0979")
    assert (row["method"], row["sub_periods"], row["flows"], row["external"]) == (TIME_WEIGHTED, 2, 1, 100_000)
    assert row["pnl"] == 92_328


def test_two_investors_with_other_flows_have_the_same_return() -> None:
    """What distinguishes it from money-weighted returns: one adds before the fall, the other takes out."""
    prices = {START: "100", START + timedelta(hours=12): "150", START + timedelta(days=1): "120"}
    returns = []
    for amount, is_out in (("500000", False), ("400000", True)):
        desk = funded("2000000")
        desk.report(fill("E-1", Side.BUY, "10000", "100", minutes(START - HALF)))
        desk.report(deposit("D-1", amount, START + timedelta(hours=12), is_out=is_out))
        traded = Side.SELL if is_out else Side.BUY
        units = D(1600) if is_out else D(2000)  # in proportion, so that both hold the same mix
        desk.report(fill("E-2", traded, units, "150", minutes(START + timedelta(hours=12))))
        (row,) = nav(desk, prices.get)
        returns.append(row["return"])
    assert returns[0] == returns[1]


@given(st.lists(st.tuples(st.integers(0, 47), st.integers(-4000, 9000)), min_size=0, max_size=6), st.data())
@settings(max_examples=60)
def test_it_is_the_product_of_what_each_sub_period_gained(flows: list[tuple[int, int]], data: st.DataObject) -> None:
    """Against fractions, for a portfolio of 50 coins and cash."""
    amounts: dict[int, int] = {}
    for slot, amount in flows:
        amounts[slot] = amounts.get(slot, 0) + amount
    prices = {slot: data.draw(st.integers(50, 200), label=f"price at {slot}") for slot in [*sorted(amounts), 0, 48]}
    desk = funded("20000")
    desk.report(fill("E", Side.BUY, "50", "100", minutes(START - HALF)))
    for number, (slot, amount) in enumerate(flows):
        if amount:
            at = START + slot * HALF + timedelta(minutes=7)
            desk.report(deposit(f"F{number}", str(abs(amount)), at, is_out=amount < 0))
    cash, linked, before = Fraction(15_000), Fraction(1), Fraction(15_000 + 50 * prices[0])
    for slot in sorted(slot for slot in amounts if any(f[0] == slot and f[1] for f in flows)):
        linked *= (cash + 50 * prices[slot]) / before
        cash += amounts[slot]
        before = cash + 50 * prices[slot]
    linked *= (cash + 50 * prices[48]) / before
    (row,) = nav(desk, lambda at: str(prices[(at - START) // HALF]))
    assert row["return"] is not None
    assert abs(Fraction(row["return"]) - (linked - 1)) < Fraction(1, 10**14)
    assert row["nav"] == cash + 50 * prices[48]
    assert row["method"] == TIME_WEIGHTED


def test_without_a_mark_at_the_flow_the_return_around_it_is_modified_dietz() -> None:
    desk = funded("1000")
    desk.report(fill("E-1", Side.BUY, "10", "100", minutes(START - HALF)))
    desk.report(deposit("D-1", "500", START + timedelta(hours=12)))
    (row,) = nav(desk, {START: "100", START + timedelta(days=1): "110"}.get)
    assert row["return"] == D("0.08")  # 100 on 1,000 and half a day of 500
    assert (row["method"], row["flows_weighted"], row["sub_periods"]) == (MODIFIED_DIETZ, 1, 1)


def test_a_close_without_marks_has_no_nav_and_the_next_return_says_since_when() -> None:
    desk = funded("1000")
    desk.report(fill("E-1", Side.BUY, "10", "100", minutes(START - HALF)))
    first, second = nav(desk, {START: "100", START + timedelta(days=2): "121"}.get, 2)
    assert (first["nav"], first["return"], first["method"]) == (None, None, None)
    assert first["reason"] == f"a mark of {BTC} is lacking"
    assert (second["return"], second["since"], second["method"]) == (D("0.21"), START, TIME_WEIGHTED)
    assert second["index"] == D("1.21")


def test_the_first_return_begins_with_the_first_capital() -> None:
    desk = Desk()
    noon = START + timedelta(hours=12)
    desk.report(deposit("D-1", "1000", noon))
    desk.report(fill("E-1", Side.BUY, "10", "100", minutes(noon)))
    (row,) = nav(desk, {START: "90", noon: "100", START + timedelta(days=1): "105"}.get)
    assert (row["return"], row["since"]) == (D("0.05"), noon)


def test_days_between_which_nothing_is_brought_in_have_the_returns_of_the_equity_curve() -> None:
    from projections.analytics import equity

    desk = funded("1000")
    desk.report(fill("E-1", Side.BUY, "10", "100", minutes(START - HALF)))
    by_day = {START + timedelta(days=day): price for day, price in enumerate(("100", "120", "90", "99"))}
    rows = nav(desk, by_day.get, 3)
    chosen = calendar.days(MIDNIGHT, FIRST, FIRST + timedelta(days=2))
    memory = as_of(desk.log, projections=PROJECTIONS)
    inputs = EquityInputs(
        daily_sums.sums(memory, chosen.close, chosen.bounds),
        capital_flows.cash_of(memory),
        capital_flows.moved_of(memory),
    )
    at_closes = [closing(at, _marks(by_day[at], at), PAIRS, EVER) for at in chosen.bounds]
    curve = equity.curve(inputs, chosen, at_closes, "USDT")
    assert [(row["return"], row["index"], row["nav"]) for row in rows] == [
        (point["return"], point["index"], point["equity"]) for point in curve
    ]
    assert slot_start(0) < START
