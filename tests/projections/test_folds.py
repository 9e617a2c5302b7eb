"""The rows of the read models are the aggregates, folded another way."""

from decimal import Decimal as D

import pytest
from hypothesis import given

from domain.account import CostBasis, Costing
from domain.order import Order, OrderKey, OrdStatus
from domain.position import Position
from domain.risk import Risk, Scope
from domain.values import ZERO, Side, exact
from projections import breaks, executions, limits, lots, orders, positions
from projections.rows import MemoryRows
from projections.runner import as_of
from projections.tables import Row
from tests.projections.desk import BTC, Desk, costings, days, fill, fill_days

POSITION = {"account_id": "main", "strategy_id": "trend", "instrument_id": BTC}


@given(days, costings)
def test_positions_and_lots_are_those_of_the_domain(day: list[tuple[int, ...]], costing: Costing) -> None:
    desk = Desk(costing=costing)
    desk.live(day)
    rows = as_of(desk.log)
    states: dict[str, Position] = desk.states("position")
    assert len(positions.positions(rows)) == len(states)
    for position in states.values():
        where = {name: getattr(position.key, name) for name in POSITION}
        (row,) = positions.positions(rows, **where)
        assert _sums(row) == (
            position.quantity, position.book.cost, position.realized, position.rounding, position.fee_cost,
            position.fees, position.funding,
        )  # fmt: skip
        last = position.last
        assert (row["last_transact_time"], row["last_trade_seq"], row["last_exec_id"]) == (last or (None, None, None))
        assert row["cost_basis"] == (position.costing.cost_basis if position.costing else None)
        opened = {
            lot.lot_id: (lot.opened_quantity, lot.opened_cost, lot.quantity, lot.cost) for lot in position.book.lots
        }
        assert {row["lot_id"]: _lot(row) for row in lots.open_lots(rows, **where)} == opened


def _sums(row: Row) -> tuple[object, ...]:
    return tuple(row[name] for name in ("quantity", "cost", "realized", "rounding", "fee_cost", "fees", "funding"))


def _lot(row: Row) -> tuple[D, D, D, D]:
    return row["opened_quantity"], row["opened_cost"], row["quantity"], row["cost"]


@given(fill_days, costings)
def test_executions_and_matches_are_those_of_a_history_in_order(day: list[tuple[int, ...]], costing: Costing) -> None:
    """Whatever arrived late: every entry has the effect, and every disposal the matches, of its place of occurrence."""
    desk = Desk(costing=costing)
    desk.live(day)
    rows = as_of(desk.log)
    for position in positions.positions(rows):
        where = {name: position[name] for name in POSITION}
        trades = executions.history(rows, **where)
        matches, open_lots, book = lots.recosted(trades, costing)
        assert _without_seq(lots.matches(rows, **where, limit=None)) == matches
        assert _without_seq(lots.open_lots(rows, **where, limit=None)) == open_lots
        assert (position["quantity"], position["cost"]) == (book.quantity, book.cost)
        for name, effect in (("realized", "realized"), ("rounding", "rounding"), ("quantity", "effect_quantity")):
            assert position[name] == exact(sum((trade[effect] for trade in trades), ZERO))


def _without_seq(rows: list[Row]) -> list[Row]:
    return [{name: value for name, value in row.items() if name != "seq"} for row in rows]


@given(days)
def test_orders_are_those_of_the_domain(day: list[tuple[int, ...]]) -> None:
    desk = Desk()
    desk.live(day)
    rows = as_of(desk.log)
    states: dict[str, Order] = desk.states("order")
    assert len(orders.blotter(rows, limit=None)) == len(states)
    for order in states.values():
        row = orders.order(rows, order.key.account_id, order.key.cl_ord_id)
        assert row is not None
        assert {name: row[name] for name in ("strategy_id", "instrument_id", "order_qty", "order_id")} == {
            name: getattr(order, name) for name in ("strategy_id", "instrument_id", "order_qty", "order_id")
        }
        assert row["side"] == (order.side if order.instrument_id else None)
        assert row["status"] == order.status
        assert (row["cum_qty"], row["cum_cost"]) == (order.cum_qty, order.cum_cost)
        assert (row["leaves_qty"], row["breaks"]) == (order.leaves_qty, len(order.breaks))
        assert row["rule"] == (order.refusal.rule if order.refusal else None)


@given(days)
def test_limits_and_their_use_are_those_of_the_domain(day: list[tuple[int, ...]]) -> None:
    desk = Desk()
    desk.live(day)
    rows = as_of(desk.log)
    for stream, risk in desk.states("limit").items():
        account_id = stream.partition(":")[2]
        _check_limits(rows, account_id, risk)


def _check_limits(rows: MemoryRows, account_id: str, risk: Risk) -> None:
    in_force = {(event.scope, event.measure): event for event in risk.limits.values() if event.limit is not None}
    shown = limits.utilisation(rows, account_id)
    assert {row["measure"] for row in shown} == {measure for _, measure in in_force}
    for row in shown:
        if row["used"] is None:
            continue
        scope = Scope(row["strategy_id"], row["instrument_id"])
        in_scope = (scope, row["measure"]) in in_force or (Scope(row["strategy_id"]), row["measure"]) in in_force
        assert in_scope, "a limit on each instrument is shown by instrument"
        if row["instrument_id"] is not None:
            assert row["position"] == risk.position(scope, row["instrument_id"])
            assert row["held_buy"] == risk.held(scope, row["instrument_id"], Side.BUY)
            assert row["held_sell"] == risk.held(scope, row["instrument_id"], Side.SELL)


@given(days)
def test_every_break_and_every_unreadable_report_has_a_row(day: list[tuple[int, ...]]) -> None:
    desk = Desk()
    desk.live(day)
    found = breaks.breaks(as_of(desk.log), limit=None)
    broken = sum(len(order.breaks) for order in desk.states("order").values())
    assert [row["kind"] for row in found].count(breaks.ORDER) == broken
    assert [row["kind"] for row in found].count(breaks.UNREADABLE) == len(desk.states("evidence"))
    assert [row["break_seq"] for row in found] == sorted((row["break_seq"] for row in found), reverse=True)


def test_a_late_fill_moves_what_came_after_it_and_says_so() -> None:
    desk = Desk(costing=Costing(CostBasis.FIFO))
    desk.report(fill("E1", Side.BUY, "1", "100", 1), fill("E3", Side.SELL, "1", "130", 3))
    before = desk.log.head().seq
    desk.report(fill("E0", Side.BUY, "1", "90", 0))
    was, now = as_of(desk.log, seq=before), as_of(desk.log)
    assert [row["lot_id"] for row in lots.matches(was)] == ["E1"]
    assert [(row["lot_id"], row["gain"]) for row in lots.matches(now)] == [("E0", D(40))]
    assert [(row["lot_id"], row["quantity"]) for row in lots.open_lots(now)] == [("E1", D(1))]
    moved = {row["exec_id"]: row for row in executions.trades(now)}
    assert (moved["E3"]["realized"], moved["E3"]["restatements"]) == (D(40), 1)
    assert (moved["E0"]["is_late"], moved["E1"]["restatements"]) == (True, 0)
    assert moved["E3"]["seq"] > before
    assert positions.positions(now)[0]["realized"] == D(40)


@pytest.mark.parametrize("status", OrdStatus)
def test_the_blotter_knows_every_status(status: OrdStatus) -> None:
    assert (status.value in orders.OPEN) == status.is_open


def test_an_order_of_another_account_is_another_order() -> None:
    desk = Desk()
    desk.report(fill("E1", Side.BUY, "1", "100", cl_ord_id="A"))
    desk.report(fill("E1", Side.BUY, "2", "100", cl_ord_id="A", account_id="hedge"))
    rows = as_of(desk.log)
    assert [row["cum_qty"] for row in orders.blotter(rows, account_id="hedge")] == [D(2)]
    assert orders.order(rows, "nobody", OrderKey("main", "A").cl_ord_id) is None
