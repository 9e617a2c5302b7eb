"""What positions are worth at given marks, and sums of it: the arithmetic, and what happens where a mark is missing."""

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal as D
from typing import Any

import pytest
from hypothesis import given

from domain.account import CostBasis, Costing
from domain.instrument import Contract, Kind, ListInstrument, PutOrCall
from domain.order import OrderKey, OrderTerms, OrdType, SubmitOrder
from domain.position import PositionKey, SettleFunding, Transfer, TransferReason
from domain.risk import Measure, Scope, SetLimit
from domain.values import ZERO, Mark, Money, Side, exact
from projections.analytics import exposure, pnl
from projections.models import executions, limits, orders, positions
from projections.runner.runner import as_of
from projections.storage.rows import MemoryRows
from tests.desk import BTC, PERP, T0, Desk, costings, days, fill, mark

MARKS = {BTC: mark(BTC, "110"), PERP: mark(PERP, "125")}


def rows_of(*reports: Any, costing: Costing = Costing()) -> MemoryRows:  # noqa: B008 (frozen)
    desk = Desk(costing=costing)
    desk.report(*reports)
    return as_of(desk.log)


def sized_at(rows: MemoryRows, marks: Mapping[str, Mark]) -> list[exposure.ExposureRow]:
    """The size of what positions hold, in accounts of USDT."""
    pricing = exposure.Pricing(marks, bases={"main": "USDT", "hedge": "USDT"})
    return exposure.exposure(positions.positions(rows), (), pricing)


@pytest.mark.parametrize(
    ("instrument_id", "side", "quantity", "price", "value", "unrealized", "notional"),
    [
        (BTC, Side.BUY, "2", "100", "220", "20", "220"),
        (BTC, Side.SELL, "2", "100", "-220", "-20", "-220"),
        (PERP, Side.BUY, "5", "100", "-4", "1", "500"),  # 5 contracts of 100 USD: 5 BTC at 100, 4 BTC at 125
        (PERP, Side.SELL, "5", "100", "4", "-1", "-500"),
    ],
)
def test_a_position_at_its_mark(
    instrument_id: str, side: Side, quantity: str, price: str, value: str, unrealized: str, notional: str
) -> None:
    rows = rows_of(fill("E1", side, quantity, price, instrument_id=instrument_id))
    (gained,), (sized,) = pnl.pnl(rows, marks=MARKS), sized_at(rows, MARKS)
    assert (gained["value"], gained["unrealized"], gained["net"]) == (D(value), D(unrealized), D(unrealized))
    assert gained["avg_px"] == D(price)
    assert (sized["notional"], sized["venue"]) == (D(notional), "SIM" if instrument_id == BTC else "PERP")


def test_fees_in_three_currencies_are_each_counted_once() -> None:
    """In the settlement currency they lower the net; in base by what they cost; a third currency stays apart."""
    rows = rows_of(
        fill("E1", Side.BUY, "2", "100", 1, fee=Money(D("0.1"), "BTC")),
        fill("E2", Side.SELL, "1", "110", 2, fee=Money(D(3), "USDT")),
        fill("E3", Side.BUY, "1", "100", 3, fee=Money(D(7), "BNB")),
    )
    (row,) = pnl.pnl(rows, marks=MARKS)
    assert row["fees"] == {"BTC": D("0.1"), "USDT": D(3), "BNB": D(7)}
    assert (row["fee_cost"], row["fees_settle"], row["other_fees"]) == (D(10), D(3), {"BNB": D(7)})
    cash = -200 + 110 - 3 - 100
    assert row["net"] == cash + row["quantity"] * 110


def test_without_a_mark_nothing_is_guessed() -> None:
    rows = rows_of(
        fill("E1", Side.BUY, "1", "100"),
        fill("E2", Side.BUY, "1", "100", strategy_id="maker", instrument_id=PERP),
    )
    for marks in ({}, {BTC: MARKS[BTC]}, {BTC: MARKS[BTC], PERP: mark(PERP, "0")}):
        perp = pnl.pnl(rows, instrument_id=PERP, marks=marks)[0]
        assert (perp["mark"], perp["value"], perp["unrealized"], perp["net"]) == (None, None, None, None)
        sized = sized_at(rows, marks)
        totals = {total["quote"]: total for total in exposure.totals(sized, ("account_id",))}
        assert (totals["USD"]["gross"], totals["USD"]["missing_marks"]) == (None, [PERP])
        assert totals["USDT"]["gross"] == (D(110) if marks else None)


def test_flat_needs_no_mark() -> None:
    rows = rows_of(fill("E1", Side.BUY, "1", "100", 1), fill("E2", Side.SELL, "1", "120", 2))
    (row,) = pnl.pnl(rows, marks={})
    assert (row["value"], row["unrealized"], row["net"]) == (ZERO, ZERO, D(20))
    assert sized_at(rows, {}) == []
    assert pnl.totals([row], ("base",))[0]["missing_marks"] == []


def test_funding_before_the_first_trade() -> None:
    rows = rows_of(SettleFunding(PositionKey("main", "trend", PERP), "F1", Money(D("-0.5"), "BTC"), T0))
    (row,) = pnl.pnl(rows, marks={})
    assert (row["settle"], row["funding"], row["net"], row["kind"]) == ("BTC", D("-0.5"), D("-0.5"), None)


def test_what_was_earned_is_a_gain_and_what_was_brought_is_none() -> None:
    key = PositionKey("main", "trend", BTC)
    rows = rows_of(
        Transfer(key, "T1", Side.BUY, D(1), D(90), T0, TransferReason.DEPOSIT),
        Transfer(key, "T2", Side.BUY, D(2), D(200), T0, TransferReason.STAKING),
    )
    (row,) = pnl.pnl(rows, marks=MARKS)
    assert (row["transferred"], row["income"], row["unrealized"], row["net"]) == (D(90), D(200), D(40), D(240))
    assert pnl.totals([row], ())[0]["income"] == D(200)


def test_an_option_is_sized_by_its_premium_in_the_currency_it_is_paid_in() -> None:
    desk, name = Desk(), "BTC-C.SIM"
    option = Contract(Kind.OPTION, "BTC", "USD", "BTC", D(1), T0 + timedelta(days=9), D(100), PutOrCall.CALL)
    desk.request(ListInstrument(name, option, D("0.0001"), D("0.1")))
    desk.report(fill("E1", Side.SELL, "5", "0.02", instrument_id=name))
    (sized,) = sized_at(as_of(desk.log), {name: mark(name, "0.03")})
    assert (sized["notional"], sized["quote"]) == (D("-0.15"), "BTC")


def test_gross_adds_sizes_and_net_sets_them_off() -> None:
    rows = rows_of(
        fill("E1", Side.BUY, "3", "100"),
        fill("E2", Side.SELL, "1", "100", strategy_id="maker"),
        fill("E3", Side.SELL, "1", "100", account_id="hedge"),
    )
    sized = sized_at(rows, MARKS)

    def by(*names: str) -> dict[Any, Any]:
        return {tuple(t[name] for name in names): (t["gross"], t["net"]) for t in exposure.totals(sized, names)}

    assert by("base") == {("BTC",): (D(330), D(110))}  # 3 - 1 in one account, -1 in the other
    assert by("account_id") == {("main",): (D(220), D(220)), ("hedge",): (D(110), D(-110))}
    assert by("venue", "strategy_id") == {("SIM", "trend"): (D(440), D(220)), ("SIM", "maker"): (D(110), D(-110))}


@given(days, costings)
def test_pnl_is_what_was_received_and_paid_and_what_is_held_at_its_mark(
    day: list[tuple[int, ...]], costing: Costing
) -> None:
    """realized + unrealized - fees + funding + income, and what was transferred, are the change of equity.

    Which is the cash of trades, and the holding at its mark.
    """
    desk = Desk(costing=costing)
    desk.live(day)
    rows = as_of(desk.log)
    for row in pnl.pnl(rows, instrument_id=BTC, marks=MARKS):
        key = (row["account_id"], row["strategy_id"], BTC)
        cash = ZERO
        for trade in _trades(rows, key):
            if trade["entry"] == executions.TRANSFER:
                continue
            cash -= Side(trade["side"]).sign * trade["last_qty"] * trade["last_px"]
            if trade["commission_currency"] == "USDT":
                cash -= trade["commission"]
        assert exact(row["net"] + row["transferred"]) == exact(cash + row["funding"] + row["quantity"] * D(110))
    totals = pnl.totals(pnl.pnl(rows, marks=MARKS), ())
    assert [total["settle"] for total in totals] == sorted({row["settle"] for row in pnl.pnl(rows, marks=MARKS)})


def _trades(rows: MemoryRows, key: tuple[str, str, str]) -> list[dict[str, Any]]:
    return executions.history(rows, account_id=key[0], strategy_id=key[1], instrument_id=key[2])


def test_utilisation_counts_positions_and_what_works() -> None:
    desk = Desk()
    desk.request(SetLimit("main", Scope(None, BTC), Measure.MAX_POSITION, D(10), None, T0))
    desk.request(SetLimit("main", Scope(), Measure.MAX_ORDER_NOTIONAL, D(1000), "USDT", T0))
    desk.report(fill("E1", Side.SELL, "2", "100"), fill("E2", Side.BUY, "1", "100", strategy_id="maker"))
    for number, side in enumerate((Side.SELL, Side.SELL, Side.BUY)):
        terms = OrderTerms("trend", BTC, side, OrdType.LIMIT, D(1), D(100))
        desk.request(SubmitOrder(OrderKey("main", f"A-{number}"), terms, T0))
    held, single = sorted(limits.utilisation(as_of(desk.log), "main"), key=lambda row: row["measure"], reverse=True)
    assert (held["position"], held["held_buy"], held["held_sell"]) == (D(-1), D(1), D(2))
    assert (held["used"], held["utilisation"], held["limit"]) == (D(3), D("0.3"), D(10))
    assert (single["used"], single["utilisation"], single["limit"]) == (None, None, D(1000))
    assert limits.utilisation(as_of(desk.log), "hedge") == []


def test_pages_of_the_blotter_follow_each_other() -> None:
    desk = Desk(costing=Costing(CostBasis.FIFO))
    for number in range(7):
        desk.report(fill(f"E{number}", Side.BUY, "2", "100", number))
    rows = as_of(desk.log)
    seen, after = [], None
    while page := orders.blotter(rows, status=("PARTIALLY_FILLED",), limit=3, after=after):
        seen += [row["cl_ord_id"] for row in page]
        after = page[-1]["opened_seq"]
    assert seen == [f"O-E{number}" for number in range(6, -1, -1)]
    assert orders.blotter(rows)[0]["avg_px"] == D(100)
    assert [row["quantity"] for row in positions.positions(rows)] == [D(14)]
