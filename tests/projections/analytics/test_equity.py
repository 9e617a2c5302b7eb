"""Equity is the account's balances and positions at each close; what is brought in is no gain; nothing is guessed."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal as D
from fractions import Fraction

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from msgspec.structs import replace

from adapters.log.postgres import PostgresLog
from domain.account import Account, BookEntry, ConvertMoney, Costing, EntryKind, Indicator, Leg, SettleTransfer
from domain.holdings import balances
from domain.holdings.balances import is_future
from domain.instrument import Contract, Kind
from domain.position import Position, PositionKey, SettleFunding, Transfer
from domain.values import ZERO, Mark, Money, Side, divide
from projections import calendar
from projections.analytics import daily_pnl, equity
from projections.analytics.closing import Closing, closing
from projections.analytics.conversion import Converter
from projections.analytics.equity import EquityInputs
from projections.calendar import MIDNIGHT, Close, Days, parsed
from projections.models import capital_flows, daily_sums
from projections.runner.runner import Runner, as_of
from projections.storage.rows import MemoryRows
from projections.storage.tables import Row
from tests.desk import BTC, CONTRACTS, PERP, T0, Desk, costings, days, fill

FIRST = date(2026, 3, 1)
EVER = timedelta(days=10_000)
BNB = "BNBUSDT.SIM"
PAIRS = {BTC: CONTRACTS[BTC], BNB: Contract(Kind.SPOT, "BNB", "USDT", "USDT")}
PROJECTIONS = (daily_sums.PROJECTION, capital_flows.PROJECTION)


def marks(btc: str = "100") -> dict[str, Mark]:
    prices = {BTC: btc, PERP: btc, BNB: "7"}
    return {name: Mark(name, D(price), "SIM", T0) for name, price in prices.items()}


def book_of(rows: MemoryRows, chosen: Days, account_id: str | None = "main") -> EquityInputs:
    sums = daily_sums.sums(rows, chosen.close, chosen.bounds, account_id=account_id)
    return EquityInputs(sums, capital_flows.cash_of(rows, account_id), capital_flows.moved_of(rows, account_id))


def closings(chosen: Days, at_closes: Sequence[Mapping[str, Mark]]) -> list[Closing]:
    return [closing(at, seen, PAIRS, EVER) for at, seen in zip(chosen.bounds, at_closes, strict=True)]


def curve(desk: Desk, prices: Sequence[str], *, put_in: str = "0") -> list[Row]:
    """The curve of an account over as many days as there are prices, but for the first: that is before them."""
    chosen = calendar.days(MIDNIGHT, FIRST, FIRST + timedelta(days=len(prices) - 2))
    rows = as_of(desk.log, projections=PROJECTIONS)
    return equity.curve(book_of(rows, chosen), chosen, closings(chosen, list(map(marks, prices))), "USDT", D(put_in))


def deposit(transfer_id: str, amount: str, at: datetime, *, is_out: bool = False, fee: str = "0") -> SettleTransfer:
    leg = Leg(transfer_id, Indicator.DEBIT if is_out else Indicator.CREDIT, Money(D(amount), "USDT"))
    return SettleTransfer("main", replace(leg, fee=Money(D(fee), "USDT")), at)


def spanning(log_rows: MemoryRows) -> Days:
    return calendar.days(MIDNIGHT, FIRST - timedelta(days=3), FIRST + timedelta(days=40))


@given(days, costings)
@settings(max_examples=60)
def test_equity_is_what_the_domain_has_at_the_marks(day: list[tuple[int, ...]], costing: Costing) -> None:
    desk = Desk(costing=costing)
    desk.live(day)
    rows = as_of(desk.log, projections=PROJECTIONS)
    chosen = spanning(rows)
    at_marks = closings(chosen, [marks()] * len(chosen.bounds))
    accounts: dict[str, Account] = desk.states("account")
    states: list[Position] = list(desk.states("position").values())
    for account in accounts.values():
        shown = equity.curve(book_of(rows, chosen, account.account_id), chosen, at_marks, "USDT")[-1]
        own = [state for state in states if state.key.account_id == account.account_id]
        held = balances.total(account.cash.balances, *map(balances.moved_by, own))
        assert shown["equity"] == pytest.approx(_worth(held, own))


def _worth(held: Mapping[str, D], states: Sequence[Position]) -> D:
    """Balances (in which spot is a currency) and what futures have gained, in USDT at the marks; by fractions."""
    rates = {"USDT": 1, "BTC": 100, "BNB": 7}
    worth = sum((Fraction(amount) * rates[currency] for currency, amount in held.items()), Fraction(0))
    for state in states:
        if state.contract is not None and is_future(state.contract) and state.quantity:
            gained = state.contract.value(state.quantity, D(100)) - state.book.cost
            worth += Fraction(gained) * rates[state.contract.settle]
    return D(worth.numerator) / D(worth.denominator) if worth.denominator == 1 else D(str(float(worth)))


@given(days, costings)
@settings(max_examples=60)
def test_pnl_and_what_was_brought_in_are_the_change_of_equity(day: list[tuple[int, ...]], costing: Costing) -> None:
    desk = Desk(costing=costing)
    desk.live(day)
    rows = as_of(desk.log, projections=PROJECTIONS)
    chosen = spanning(rows)
    shown = equity.curve(book_of(rows, chosen), chosen, closings(chosen, [marks()] * len(chosen.bounds)), "USDT")
    gained = sum((row["pnl"] for row in shown), ZERO)
    brought = sum((row["external"] for row in shown), ZERO)
    assert shown[-1]["equity"] == gained + brought


@given(days, costings)
@settings(max_examples=60)
def test_daily_pnl_adds_up_by_any_breakdown_and_to_the_equity(day: list[tuple[int, ...]], costing: Costing) -> None:
    desk = Desk(costing=costing)
    desk.live(day)
    rows = as_of(desk.log, projections=PROJECTIONS)
    chosen = calendar.days(parsed("17:00 America/New_York"), FIRST - timedelta(days=3), FIRST + timedelta(days=40))
    at_marks = closings(chosen, [marks()] * len(chosen.bounds))
    sums = daily_sums.sums(rows, chosen.close, chosen.bounds)
    shown = daily_pnl.daily_pnl(sums, chosen, at_marks, {"main": "USDT", "hedge": "BNB"})
    whole = daily_pnl.breakdown(shown, (), is_by_day=False)
    for by in (("account_id",), ("venue", "strategy_id"), ("instrument_id",), ("base",)):
        parts = daily_pnl.breakdown(shown, by)
        for total in whole:
            same = [part for part in parts if all(part[c] == total[c] for c in ("settle", "base_currency"))]
            assert sum((part["net"] for part in same), ZERO) == total["net"]
            assert sum((part["in_base"]["net"] for part in same), ZERO) == total["in_base"]["net"]
    for row in shown:
        base = row["in_base"]
        costs = base["fee_cost"] + base["fees"]
        gains = base["realized"] + base["rounding"] + base["funding"] + base["income"] + base["unrealized_change"]
        assert base["net"] == gains - costs + base["revaluation"]


def test_a_deposit_is_no_gain_and_a_day_returns_what_its_capital_made() -> None:
    desk = Desk()
    desk.report(deposit("D-1", "1000", T0 - timedelta(days=1)))
    desk.report(fill("E-1", Side.BUY, "5", "100", 60, fee=Money(D(1), "USDT")))
    desk.report(deposit("D-2", "500", T0 + timedelta(hours=3 + 24), fee="2"))  # at noon of the second day
    first, second, third = curve(desk, ["100", "110", "120", "120"])
    assert (first["equity"], first["external"], first["pnl"]) == (1049, 0, 49)  # 1,000 + 5 x 10 - 1
    assert first["return"] == D("0.049")
    assert (second["external"], second["pnl"]) == (500, 48)
    assert second["return"] == divide(D(48), D(1049 + 250))
    assert (third["pnl"], third["return"], third["turnover"]) == (0, 0, 0)
    assert first["turnover"] == 500


def test_a_loan_is_no_equity_and_a_conversion_gains_or_loses_by_its_rate() -> None:
    desk = Desk()
    desk.report(deposit("T", "1000", T0 - timedelta(days=1)))
    desk.report(BookEntry("main", "L", EntryKind.LOAN, Indicator.CREDIT, Money(D(500), "USDT"), "", T0))
    desk.report(BookEntry("main", "K", EntryKind.STAKE, Indicator.DEBIT, Money(D(500), "USDT"), "", T0))
    desk.report(BookEntry("main", "I", EntryKind.INTEREST, Indicator.DEBIT, Money(D(5), "USDT"), "", T0))
    desk.report(ConvertMoney("main", "C", Money(D(70), "USDT"), Money(D(9), "BNB"), Money(D(1), "BNB"), "", T0))
    (row,) = curve(desk, ["100", "100"])
    assert (row["external"], row["equity"], row["pnl"]) == (0, 981, -19)  # 5 of interest, 70 for 8 BNB of 7


def test_the_return_is_that_of_modified_dietz() -> None:
    """Of 100 and 50 half-way became 300: 150 on an average of 125 (the usual textbook example)."""
    desk = Desk()
    desk.report(deposit("D-1", "100", T0 - timedelta(days=1)), deposit("D-2", "50", T0 + timedelta(hours=3)))
    gain = BookEntry("main", "G-1", EntryKind.INTEREST, Indicator.CREDIT, Money(D(150), "USDT"), "", T0)
    desk.report(gain)
    (row,) = curve(desk, ["100", "100"])
    assert (row["equity"], row["pnl"], row["return"]) == (300, 150, D("1.2"))


def test_drawdown_is_the_fall_from_the_highest_index() -> None:
    desk = Desk()
    desk.report(deposit("D-1", "1000", T0 - timedelta(days=1)))
    desk.report(fill("E-1", Side.BUY, "10", "100", -12 * 60))
    rows = curve(desk, ["100", "120", "90", "60", "130"])
    assert [row["index"] for row in rows] == [D("1.2"), D("0.9"), D("0.6"), D("1.3")]
    assert [row["drawdown"] for row in rows] == [0, D("0.25"), D("0.5"), 0]


def test_an_unknown_close_is_named_and_the_next_return_spans_it() -> None:
    desk = Desk()
    desk.report(deposit("D-1", "1000", T0 - timedelta(days=1)))
    desk.report(fill("E-1", Side.BUY, "10", "100", -12 * 60))
    chosen = calendar.days(MIDNIGHT, FIRST, FIRST + timedelta(days=1))
    at_marks = closings(chosen, [marks("100"), {}, marks("121")])
    rows = equity.curve(book_of(as_of(desk.log, projections=PROJECTIONS), chosen), chosen, at_marks, "USDT")
    assert (rows[0]["equity"], rows[0]["pnl"], rows[0]["return"]) == (None, None, None)
    assert rows[0]["reason"] == f"a mark of {BTC} is lacking"
    assert (rows[1]["return"], rows[1]["days_spanned"], rows[1]["index"]) == (D("0.21"), 2, D("1.21"))


def test_a_mark_that_is_too_old_is_no_mark() -> None:
    chosen = calendar.days(MIDNIGHT, FIRST, FIRST)
    desk = Desk()
    desk.report(fill("E-1", Side.BUY, "1", "100"))
    close = [closing(at, marks(), PAIRS, timedelta(hours=1)) for at in chosen.bounds]
    (row,) = equity.curve(book_of(as_of(desk.log, projections=PROJECTIONS), chosen), chosen, close, "USDT")
    assert row["lacking"] == [f"a fresh mark of {BTC} is lacking"]


def test_without_capital_there_is_no_return_unless_some_is_named() -> None:
    desk = Desk()
    desk.report(fill("E-1", Side.BUY, "1", "100"))
    for row in curve(desk, ["100", "110", "120"]):
        assert (row["reason"], row["return"], row["index"]) == (equity.NO_CAPITAL, None, 1)
    (row,) = curve(desk, ["100", "110"], put_in="1000")
    assert (row["equity"], row["pnl"], row["return"]) == (1010, 10, D("0.01"))


def test_positions_that_are_brought_in_are_no_gain_and_funding_is() -> None:
    desk = Desk()
    desk.report(deposit("D-1", "1000", T0 - timedelta(days=1)))
    key = PositionKey("main", "trend", BTC)
    desk.report(Transfer(key, "T-1", Side.BUY, D(2), D(150), T0))
    perp = PositionKey("main", "trend", PERP)
    desk.report(SettleFunding(perp, "F-1", Money(D("0.5"), "BTC"), T0))
    (row,) = curve(desk, ["100", "110"])
    assert (row["external"], row["pnl"], row["equity"]) == (220, 55, 1275)


def test_a_rate_is_shown_once_with_its_path() -> None:
    desk = Desk()
    desk.report(fill("E-1", Side.BUY, "1", "100", instrument_id=PERP))
    desk.report(fill("E-2", Side.SELL, "1", "125", 1, instrument_id=PERP))
    chosen = calendar.days(MIDNIGHT, FIRST, FIRST)
    at_marks = closings(chosen, [marks()] * 2)
    sums = daily_sums.sums(as_of(desk.log, projections=PROJECTIONS), MIDNIGHT, chosen.bounds)
    shown = daily_pnl.daily_pnl(sums, chosen, at_marks, {"main": "USDT"})
    assert (shown[0]["settle"], shown[0]["realized"], shown[0]["in_base"]["realized"]) == ("BTC", D("0.2"), 20)
    found = {rate["from_currency"]: rate for rate in daily_pnl.rates(shown, at_marks)}
    assert found["BTC"]["rate"] == 100
    assert [step["instrument_id"] for step in found["BTC"]["path"]] == [BTC]
    assert found["USD"]["reason"] == "no pairs lead from USD to USDT"
    assert isinstance(at_marks[0].rates, Converter)


@pytest.mark.parametrize("close", [MIDNIGHT, parsed("17:00 America/New_York")])
def test_the_database_has_the_same_curve(log: PostgresLog, projector: sa.Engine, close: Close) -> None:
    desk = Desk(log=log)
    for hours, amount in ((-100, "500"), (-30, "200"), (1, "70"), (20, "30")):
        desk.report(deposit(f"D{hours}", amount, T0 + timedelta(hours=hours), is_out=hours == 1, fee="1"))
    desk.live([(step, step % 5, step % 7, step % 3, step % 31) for step in range(70)])
    Runner(log, projector, PROJECTIONS).catch_up()
    chosen = calendar.days(close, FIRST - timedelta(days=1), FIRST + timedelta(days=1))
    at_marks = closings(chosen, [marks()] * len(chosen.bounds))
    with projector.connect() as connection:
        first = chosen.slots[0]
        sums = daily_sums.sums(connection, close, chosen.bounds, account_id="main")
        stored = EquityInputs(
            sums, capital_flows.cash_of(connection, "main", first), capital_flows.moved_of(connection, "main")
        )
        shown = equity.curve(stored, chosen, at_marks, "USDT")
    assert shown == equity.curve(book_of(as_of(log, projections=PROJECTIONS), chosen), chosen, at_marks, "USDT")
    assert sum(1 for row in shown if row["external"]) >= 2
    assert all(row["return"] is not None for row in shown)
