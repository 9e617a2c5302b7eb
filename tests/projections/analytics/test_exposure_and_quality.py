"""Exposure by any cut adds up, says its delta and what it lacks; orders are measured against the mark at arrival."""

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal as D
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings

from adapters.log.postgres import PostgresLog
from domain.account import Costing
from domain.errors import RequestRefused
from domain.instrument import Contract, Kind, ListInstrument, PutOrCall
from domain.order import OrderFillBusted, OrderKey, OrderTerms, OrdType, SubmitOrder
from domain.risk import ANYWHERE, Measure, SetLimit
from domain.values import ZERO, Mark, Side, divide
from projections.analytics import execution_quality, exposure
from projections.analytics.closing import Closing, closing
from projections.calendar import MIDNIGHT
from projections.models import positions
from projections.runner.runner import Runner, as_of
from projections.storage.rows import MemoryRows
from projections.storage.tables import Row
from tests.desk import BTC, CONTRACTS, PERP, T0, Desk, costings, days, fill, mark

BNB = "BNBUSDT.SIM"
PAIRS = {
    BTC: CONTRACTS[BTC],
    BNB: Contract(Kind.SPOT, "BNB", "USDT", "USDT"),
    "USDUSDT.SIM": Contract(Kind.SPOT, "USD", "USDT", "USDT"),
}
MARKS = {name: mark(name, price) for name, price in ((BTC, "125"), (PERP, "125"), (BNB, "7"), ("USDUSDT.SIM", "0.8"))}
HOUR = timedelta(hours=1)


def close(*lacking: str) -> Closing:
    kept = {name: each for name, each in MARKS.items() if name not in lacking}
    return closing(T0 + HOUR, kept, PAIRS, HOUR)


def sized(rows: MemoryRows, *lacking: str) -> list[Row]:
    """The size of what is held in accounts of USDT; inverse contracts are settled in BTC, which is held too."""
    return exposure.holdings(positions.positions(rows), (), close(*lacking), "USDT", {"main": "USDT", "hedge": "USDT"})


def total(rows: Sequence[Row], name: str) -> D:
    return sum((row[name] for row in rows), ZERO)


@given(days, costings)
@settings(max_examples=60)
def test_any_cut_adds_up_to_the_whole(day: list[tuple[int, ...]], costing: Costing) -> None:
    desk = Desk(costing=costing)
    desk.live(day)
    rows = sized(as_of(desk.log, projections=(positions.PROJECTION,)))
    whole = exposure.cut(rows, ())
    assert len(whole) == (1 if rows else 0)
    for by in (("account_id",), ("strategy_id", "venue"), ("asset",), ("instrument_id",)):
        parts = exposure.cut(rows, by)
        for name in ("net", "delta_value"):
            assert total(parts, name) == total(whole, name)
        if by in (("account_id",), ("asset",)):
            assert total(parts, "gross") == total(whole, "gross")
        assert all(part["gross"] >= abs(part["net"]) for part in parts)
    concentrated = exposure.concentration(rows)
    if whole and whole[0]["gross"]:
        assert concentrated["largest_share"] <= 1
        assert concentrated["herfindahl"] <= 1


def test_sizes_deltas_and_shares() -> None:
    desk = Desk()
    desk.report(fill("E-1", Side.BUY, "2", "100"))
    desk.report(fill("E-2", Side.SELL, "5", "100", 1, instrument_id=PERP, account_id="hedge"))
    spot, perp = sorted(sized(as_of(desk.log)), key=lambda row: row["instrument_id"])
    assert (spot["gross"], spot["net"], spot["delta"]) == (250, 250, 2)
    assert (perp["notional"], perp["quote"], perp["net"], perp["delta"]) == (-500, "USD", -400, -4)
    (asset,) = exposure.cut([spot, perp], ("asset",))
    assert (asset["gross"], asset["net"], asset["delta"], asset["share"]) == (650, -150, -2, 1)
    by_account = exposure.cut([spot, perp], ("account_id",))
    assert [(row["account_id"], row["delta"]) for row in by_account] == [("hedge", None), ("main", None)]
    assert total(by_account, "share") == pytest.approx(D(1))
    assert exposure.concentration([spot | {"asset": "ETH"}, perp]) == {
        "herfindahl": divide(D(250 * 250 + 400 * 400), D(650 * 650)),
        "largest_share": divide(D(400), D(650)),
        "largest_asset": "BTC",
    }
    assert exposure.leverage(D(650), D(260)) == D("2.5")
    assert exposure.leverage(D(650), ZERO) is None


def test_what_is_lacking_is_named_and_nothing_is_summed_over_it() -> None:
    desk = Desk()
    desk.report(fill("E-1", Side.BUY, "2", "100"))
    desk.report(fill("E-2", Side.SELL, "5", "100", 1, instrument_id=PERP))
    rows = sized(as_of(desk.log), "USDUSDT.SIM")
    (whole,) = exposure.cut(rows, ())
    assert (whole["gross"], whole["lacking"]) == (None, ["USD to USDT"])
    assert exposure.concentration(rows)["herfindahl"] is None
    (unmarked,) = exposure.cut(sized(as_of(desk.log), BTC), ("venue", "asset"))[1:]
    assert (unmarked["gross"], unmarked["lacking"], unmarked["delta"]) == (None, [BTC], 2)


def test_an_option_has_no_delta_here() -> None:
    desk = Desk()
    option = "BTC-100-C.SIM"
    contract = Contract(Kind.OPTION, "BTC", "USDT", "USDT", D(1), T0 + 24 * HOUR, D(100), PutOrCall.CALL)
    desk.request(ListInstrument(option, contract, D("0.1"), D("0.1")))
    desk.report(fill("E-1", Side.BUY, "2", "7", instrument_id=option))
    held = positions.positions(as_of(desk.log))
    at_seven = closing(T0, {option: Mark(option, D(7), "SIM", T0)}, PAIRS, HOUR)
    row = exposure.sized_in(held[0], at_seven, "USDT")
    assert (row["notional"], row["delta"], row["delta_value"]) == (14, None, None)


def test_headroom_is_what_is_left_of_a_limit() -> None:
    limit = {"limit": D(5), "instrument_id": BTC}
    rows = [exposure.with_headroom(limit | {"used": used}) for used in (D(3), D(7), None)]
    assert [row["subject"] for row in rows] == [BTC] * 3
    assert [(row["headroom"], row["is_exceeded"]) for row in rows] == [(2, False), (-2, True), (None, None)]


def orders_of(desk: Desk) -> None:
    """A buy of 4 filled at 101 and 103, a sell of 2 half filled at 99, one never filled, one refused."""
    for cl_ord_id, side, quantity in (("A", Side.BUY, "4"), ("B", Side.SELL, "2"), ("C", Side.BUY, "1")):
        terms = OrderTerms("trend", BTC, side, OrdType.LIMIT, D(quantity), D(105 if side is Side.BUY else 95))
        desk.request(SubmitOrder(OrderKey("main", cl_ord_id), terms, T0))
    desk.request(SetLimit("main", ANYWHERE, Measure.MAX_ORDER_QTY, D(10), None, T0))
    large = OrderTerms("trend", BTC, Side.BUY, OrdType.LIMIT, D(20), D(105))
    assert isinstance(desk.request(SubmitOrder(OrderKey("main", "D"), large, T0)), RequestRefused)
    desk.report(
        fill("E-1", Side.BUY, "1", "101", 1, cl_ord_id="A"), fill("E-2", Side.BUY, "3", "103", 3, cl_ord_id="A")
    )
    desk.report(fill("E-3", Side.SELL, "1", "99", 2, cl_ord_id="B"))


def measured(source: Any, arrival: str | None = "100") -> list[Row]:
    requested = execution_quality.orders_between(source, T0, T0 + HOUR)
    fills = execution_quality.fills_of(source, requested)
    at = None if arrival is None else mark(BTC, arrival)
    return [
        execution_quality.measured(row, fills.get((row["account_id"], row["cl_ord_id"])), at, MIDNIGHT)
        for row in requested
    ]


def test_orders_are_measured_against_their_arrival() -> None:
    desk = Desk()
    orders_of(desk)
    buy, sell, idle = measured(as_of(desk.log))
    assert (buy["avg_px"], buy["slippage_bps"], buy["shortfall"]) == (D("102.5"), 250, 10)
    assert (buy["fill_ratio"], buy["fills"], buy["seconds_to_first_fill"], buy["seconds_to_last_fill"]) == (
        1,
        2,
        60,
        180,
    )
    assert (sell["slippage_bps"], sell["shortfall"], sell["fill_ratio"]) == (100, 1, D("0.5"))
    assert (idle["fills"], idle["slippage_bps"], idle["seconds_to_first_fill"], idle["fill_ratio"]) == (
        0,
        None,
        None,
        0,
    )
    untraded, traded = execution_quality.grouped([buy, sell, idle], ("account_id", "venue", "day"))
    assert (untraded["quote"], untraded["orders"], traded["quote"], traded["orders"]) == ("", 1, "USDT", 2)
    assert (traded["shortfall"], traded["notional"], traded["slippage_bps"]) == (11, 500, 220)
    assert (traded["fill_ratio"], traded["seconds_to_last_fill"]) == (D("0.75"), 150)
    better = measured(as_of(desk.log), "110")[0]
    assert better["slippage_bps"] < 0  # bought below the market at arrival: a gain


def test_without_an_arrival_price_there_is_no_slippage_and_it_is_counted() -> None:
    desk = Desk()
    orders_of(desk)
    rows = measured(as_of(desk.log), None)
    assert [row["slippage_bps"] for row in rows] == [None] * 3
    assert [(row["without_mark"], row["slippage_bps"]) for row in execution_quality.grouped(rows, ())] == [
        (0, None),
        (2, None),
    ]
    requested = execution_quality.orders_between(as_of(desk.log), T0, T0 + HOUR)
    old = Mark(BTC, D(100), "SIM", T0 - HOUR)
    assert execution_quality.arrivals(requested, [old, mark(BTC, "100"), None], timedelta(minutes=1)).keys() == {1}


def test_an_inverse_fill_costs_in_quote_currency() -> None:
    desk = Desk()
    desk.report(fill("E-1", Side.BUY, "5", "102", instrument_id=PERP, cl_ord_id="A"))
    requested = execution_quality.orders_between(as_of(desk.log), T0, T0 + HOUR)
    fills = execution_quality.fills_of(as_of(desk.log), requested)
    row = execution_quality.measured(requested[0], fills["main", "A"], mark(PERP, "100"), MIDNIGHT)
    assert (row["notional"], row["quote"], row["slippage_bps"], row["shortfall"]) == (500, "USD", 200, 10)
    assert row["fill_ratio"] is None  # the requested quantity is unknown


def test_a_busted_fill_counts_no_more(log: PostgresLog, projector: sa.Engine) -> None:
    """In the database as in memory."""
    desk = Desk(log=log)
    orders_of(desk)
    desk.report(OrderFillBusted(OrderKey("main", "A"), "E-1", "", T0 + timedelta(minutes=9), exec_id="X-1"))
    Runner(log, projector).catch_up()
    with projector.connect() as connection:
        shown = measured(connection)
        assert shown == measured(as_of(log))
        assert execution_quality.orders_between(connection, T0 + HOUR, T0 + 2 * HOUR) == []
        assert len(execution_quality.orders_between(connection, T0, T0 + HOUR, instrument_id=BTC, limit=2)) == 2
    assert (shown[0]["fills"], shown[0]["avg_px"], shown[0]["seconds_to_first_fill"]) == (1, 103, 180)
