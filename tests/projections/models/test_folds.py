"""The rows of the read models are the aggregates, folded another way."""

from datetime import timedelta
from decimal import Decimal as D
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from sqlalchemy.dialects import postgresql

from domain.account import Account, Break, CostBasis, Costing
from domain.order import (
    CancelOrder,
    Changes,
    Order,
    OrderAccepted,
    OrderCanceled,
    OrderCancelRejected,
    OrderEvent,
    OrderFillBusted,
    OrderFillCorrected,
    OrderKey,
    OrderReplaced,
    OrderTerms,
    OrdStatus,
    OrdType,
    ReplaceOrder,
    SubmitOrder,
    evolve,
)
from domain.position import Position, PositionBroken, PositionKey, PositionTransferred, TradeBooked, entry_of
from domain.risk import FIRM, EngageSwitch, LimitSet, Measure, Mode, ReleaseSwitch, Risk, Scope, SetLimit
from domain.values import ZERO, Occurrence, Side, exact
from projections.models import breaks, executions, limits, lots, order_states, orders, positions
from projections.runner.runner import as_of
from projections.storage.rows import MemoryRows
from projections.storage.tables import Row, json_of
from tests.desk import BTC, T0, Desk, cash_days, costings, days, fill, fill_days, order_days, risk_days
from tests.samples import order_events

ORDER_EVENTS = [event for event in order_events.EVENTS if isinstance(event, OrderEvent)]
POSITION = {"account_id": "main", "strategy_id": "trend", "instrument_id": BTC}


def last_booked(desk: Desk, key: PositionKey) -> Occurrence | tuple[None, None, None]:
    """The latest occurrence ever booked in a position."""
    bookings = (event for event in desk.events("position") if isinstance(event, TradeBooked | PositionTransferred))
    return max((entry_of(event).occurrence for event in bookings if event.key == key), default=(None, None, None))


def fold_of(events: list[OrderEvent]) -> Order:
    """An order of any history, possible or not."""
    return reduce(evolve, events, evolve(None, ORDER_EVENTS[0]))


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
            position.fees, position.funding, position.income, position.transferred,
        )  # fmt: skip
        last = (row["last_transact_time"], row["last_trade_seq"], row["last_exec_id"])
        assert last == last_booked(desk, position.key)[:3]
        assert row["cost_basis"] == (position.costing.cost_basis if position.costing else None)
        opened = {
            lot.lot_id: (lot.opened_quantity, lot.opened_cost, lot.quantity, lot.cost) for lot in position.book.lots
        }
        assert {row["lot_id"]: _lot(row) for row in lots.open_lots(rows, **where)} == opened


def _sums(row: Row) -> tuple[object, ...]:
    names = ("quantity", "cost", "realized", "rounding", "fee_cost", "fees", "funding", "income", "transferred")
    return tuple(row[name] for name in names)


def _lot(row: Row) -> tuple[D, D, D, D]:
    return row["opened_quantity"], row["opened_cost"], row["quantity"], row["cost"]


@given(fill_days, costings)
def test_executions_and_matches_are_those_of_a_history_in_order(day: list[tuple[int, ...]], costing: Costing) -> None:
    """However late it arrives, every entry has the effect, and every disposal the matches, of its place in time."""
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


@given(days | order_days)
def test_orders_are_those_of_the_domain(day: list[tuple[int, ...]]) -> None:
    """As the blotter shows them, and as they are kept for the next event."""
    desk = Desk()
    desk.live(day)
    rows = as_of(desk.log)
    states: dict[str, Order] = {at: order for at, order in desk.states("order").items() if not order.alias_of}
    assert len(orders.blotter(rows, limit=None)) == len(states)
    for order in states.values():
        row = orders.order(rows, order.key.account_id, order.key.cl_ord_id)
        assert row is not None
        alike = ("strategy_id", "instrument_id", "order_qty", "order_id", "status", "cum_qty", "cum_cost", "leaves_qty")
        assert {name: row[name] for name in alike} == {name: getattr(order, name) for name in alike}
        assert row["side"] == (order.side if order.instrument_id else None)
        assert row["terms_cl_ord_id"] == order.cl_ord_id
        named = ("ord_type", "time_in_force", "price", "stop_px", "display_qty", "expire_time", "peg_offset_value")
        for name in named:
            assert row[name] == (getattr(order.terms, name) if order.terms else None)
        assert set(row["exec_inst"].split()) == (order.terms.exec_inst if order.terms else set())
        assert (row["breaks"], row["rule"]) == (len(order.breaks), order.refusal.rule if order.refusal else None)
        kept = rows.get(order_states.states, order.key.account_id, order.key.cl_ord_id)
        assert kept is not None
        assert kept["state"] == replace(order, **{name: getattr(kept["state"], name) for name in order_states.UNKEPT})
        requested = rows.find(order_states.requests, account_id=order.key.account_id, cl_ord_id=order.key.cl_ord_id)
        assert {row["requested_as"]: row["number"] for row in requested if row["number"]} == {
            name: number for name, (number, _) in order.requests.items()
        }
        assert {(row["kind"], row["requested_as"]): row["answered_at"] for row in requested if row["answered_at"]} == (
            order.answers
        )


@given(st.builds(fold_of, st.lists(st.sampled_from(ORDER_EVENTS), max_size=12)))
def test_an_order_is_kept_with_every_field(order: Order) -> None:
    """What a database gives back is what was put there."""
    column = order_states.OrderState()
    text = column.process_bind_param(order, postgresql.dialect())  # type: ignore[no-untyped-call]
    kept = column.process_result_value(text, postgresql.dialect())  # type: ignore[no-untyped-call]
    assert kept == replace(order, **{name: getattr(kept, name) for name in order_states.UNKEPT})
    assert column.process_bind_param(kept, postgresql.dialect()) == text  # type: ignore[no-untyped-call]


@given(days | risk_days)
def test_limits_and_their_use_are_those_of_the_domain(day: list[tuple[int, ...]]) -> None:
    desk = Desk()
    desk.live(day)
    rows = as_of(desk.log)
    for stream, risk in desk.states("limit").items():
        account_id = stream.partition(":")[2]
        _check_limits(rows, account_id, risk)
        broken = {(scope_of(row), row["measure"], row["subject"]): row for row in limits.breaches(rows, account_id)}
        assert {at: row["used"] for at, row in broken.items()} == {at: was.used for at, was in risk.breaches.items()}
        engaged = {scope_of(row): (row["mode"], row["actor"]) for row in limits.switches(rows, account_id)}
        assert engaged == {scope: (switch.mode, switch.actor) for scope, switch in risk.switches.items()}


def scope_of(row: Row) -> Scope:
    return Scope(*(row[name] for name in limits.SCOPE))


def _check_limits(rows: MemoryRows, account_id: str, risk: Risk) -> None:
    shown = limits.utilisation(rows, account_id)
    assert {row["measure"] for row in shown} == {limit.measure for limit in risk.active}
    for limit in risk.active:
        place = (limit.scope.strategy_id, limit.scope.venue, limit.scope.asset)
        of_it = [
            row
            for row in shown
            if row["measure"] == limit.measure
            and (row["strategy_id"], row["venue"], row["asset"]) == place
            and limit.scope.instrument_id in (None, row["instrument_id"])
            and (row["limit"], row["version"]) == (limit.limit, limit.version)
        ]
        assert of_it
        for row in of_it:
            assert row["unassessed"] == risk.missed.get((limit.scope, limit.measure))
            _check_use(row, limit, risk)


def _check_use(row: Row, limit: LimitSet, risk: Risk) -> None:
    cells = [
        (name, cell)
        for name, desk, cell in risk.exposure.all()
        if limit.scope.covers(desk.strategy_id, name, cell.contract.base if cell.contract else None)
    ]
    match limit.measure:
        case Measure.MAX_OPEN_ORDERS:
            assert row["used"] == sum(cell.orders for _, cell in cells)
        case Measure.MAX_POSITION:
            here = [cell for name, cell in cells if name == row["instrument_id"]]
            assert row["position"] == sum(cell.now.quantity for cell in here)
            assert row["held_buy"] == sum(cell.buying for cell in here)
            assert row["held_sell"] == sum(cell.selling for cell in here)
            if row["instrument_id"] is not None:
                assert row["used"] == risk.exposure.widest(limit.scope.strategy_id, row["instrument_id"])[0]
        case _:
            found = [was for at, was in risk.breaches.items() if at[:2] == (limit.scope, limit.measure)]
            assert row["used"] == max((was.used for was in found), default=None)


@given(days | cash_days)
def test_every_break_and_every_unreadable_report_has_a_row(day: list[tuple[int, ...]]) -> None:
    desk = Desk()
    desk.live(day)
    found = breaks.breaks(as_of(desk.log), limit=None)
    broken = sum(len(order.breaks) for order in desk.states("order").values())
    assert [row["kind"] for row in found].count(breaks.ORDER) == broken
    assert [row["kind"] for row in found].count(breaks.UNREADABLE) == len(desk.states("evidence"))
    impossible = [event for event in desk.events("position") if isinstance(event, PositionBroken)]
    assert [row["kind"] for row in found].count(breaks.POSITION) == len(impossible)
    accounts: dict[str, Account] = desk.states("account")
    assert [row["kind"] for row in found].count(breaks.ACCOUNT) == sum(len(of.broken) for of in accounts.values())
    for account in accounts.values():
        differing = [
            row for row in found
            if (row["account_id"], row["kind"], row["status"]) == (
                account.account_id, breaks.RECONCILIATION, breaks.OPEN
            )
        ]  # fmt: skip
        assert {row["about"]: (row["opened_at"], row["age_steps"], row["report"]) for row in differing} == {
            name: (known.opened_at, known.age_steps, row_of_break(known.found))
            for name, known in account.breaks.items()
        }
    assert [row["break_seq"] for row in found] == sorted((row["break_seq"] for row in found), reverse=True)


def test_a_break_that_does_not_hold_is_gone_and_stays_as_of_the_past() -> None:
    desk = Desk()
    filled = fill("E1", Side.BUY, "1", "100", 3, cl_ord_id="A")
    desk.report(OrderCanceled(filled.key, "", T0 + timedelta(minutes=2)), filled)
    broken = desk.log.head().seq
    desk.report(OrderFillBusted(filled.key, "E1", "", T0 + timedelta(minutes=4), exec_id="X1"))
    found = {seq: [row["rule"] for row in breaks.breaks(as_of(desk.log, seq=seq))] for seq in (broken, None)}
    assert found == {broken: ["a fill is of an open order"], None: []}
    counts = {seq: orders.blotter(as_of(desk.log, seq=seq))[0]["breaks"] for seq in (broken, None)}
    assert counts == {broken: 1, None: 0}


def row_of_break(found: Break) -> dict[str, object]:
    return {"fields": list(found.fields), "ours": json_of(found.ours), "theirs": json_of(found.theirs)}


def test_a_late_fill_moves_what_came_after_it_and_is_marked_late() -> None:
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
    assert orders.order(rows, "unknown", OrderKey("main", "A").cl_ord_id) is None


def test_a_busted_trade_stays_with_no_effect_and_a_corrected_one_is_as_it_stands() -> None:
    desk = Desk(costing=Costing(CostBasis.FIFO))
    fills = (
        fill("E1", Side.BUY, "1", "100", 1),
        fill("E2", Side.BUY, "1", "110", 2),
        fill("E3", Side.SELL, "1", "130", 3),
    )
    desk.report(*fills)
    desk.report(OrderFillBusted(fills[0].key, "E1", "off market", T0, exec_id="X1"))
    desk.report(OrderFillCorrected(fills[2].key, "E3", D(1), D(125), T0, exec_id="X3"))
    rows = as_of(desk.log)
    shown = {row["exec_id"]: row for row in executions.trades(rows)}
    assert (shown["E1"]["reversal"], shown["E1"]["effect_quantity"], shown["E1"]["last_qty"]) == ("off market", 0, D(1))
    assert (shown["E3"]["reversal"], shown["E3"]["last_px"], shown["E3"]["realized"]) == (None, D(125), D(15))
    assert [row["exec_id"] for row in executions.history(rows, **POSITION)] == ["E2", "E3"]
    assert [(row["lot_id"], row["gain"]) for row in lots.matches(rows)] == [("E2", D(15))]
    assert lots.open_lots(rows) == []
    assert [row["cum_qty"] for row in orders.blotter(rows)] == [D(1), D(1), ZERO]


def test_a_late_end_leaves_a_filled_order_filled_and_its_reason_to_the_latest() -> None:
    desk = Desk()
    key, terms = OrderKey("main", "A"), OrderTerms("trend", BTC, Side.BUY, OrdType.LIMIT, D(1), D(100))
    desk.request(SubmitOrder(key, terms, T0))
    desk.request(CancelOrder(key, "enough", T0))
    desk.report(fill("E1", Side.BUY, "1", "100", 5, cl_ord_id="A"))
    desk.report(OrderCanceled(key, "as requested", T0 + timedelta(minutes=6)))
    desk.report(OrderCancelRejected(key, "too late", T0 + timedelta(minutes=4)))
    row = orders.order(as_of(desk.log), "main", "A")
    assert row is not None
    assert (row["status"], row["cum_qty"], row["leaves_qty"], row["reason"]) == ("FILLED", D(1), ZERO, "as requested")


def test_a_replaced_order_keeps_its_row_and_shows_the_terms_that_hold() -> None:
    desk = Desk()
    key, terms = OrderKey("main", "A"), OrderTerms("trend", BTC, Side.BUY, OrdType.LIMIT, D(1), D(100))
    desk.request(SubmitOrder(key, terms, T0))
    desk.report(OrderAccepted(key, "V1", T0))
    desk.request(ReplaceOrder(key, "B", Changes(D(3), D(90)), T0))
    before = as_of(desk.log)
    desk.report(OrderReplaced(OrderKey("main", "B"), T0 + timedelta(minutes=1)))
    was, now = (orders.blotter(rows) for rows in (before, as_of(desk.log)))
    names = ("cl_ord_id", "terms_cl_ord_id", "status", "order_qty", "price")
    assert [tuple(row[name] for name in names) for row in was] == [("A", "A", "PENDING_REPLACE", D(1), D(100))]
    assert [tuple(row[name] for name in names) for row in now] == [("A", "B", "NEW", D(3), D(90))]


def test_the_firms_limits_are_over_all_accounts_and_a_kill_switch_is_shown_while_engaged() -> None:
    desk = Desk()
    desk.report(fill("E1", Side.BUY, "3", "100"), fill("E2", Side.BUY, "2", "100", account_id="hedge"))
    desk.request(SetLimit(FIRM, Scope(asset="BTC"), Measure.MAX_POSITION, D(10), None, T0))
    desk.request(SetLimit("main", Scope(venue="SIM"), Measure.MAX_POSITION, D(10), None, T0))
    desk.request(SetLimit("main", Scope(venue="PERP"), Measure.MAX_POSITION, D(10), None, T0))
    desk.request(EngageSwitch("main", Scope("trend"), Mode.HALT, "daily loss", T0))
    rows = as_of(desk.log)
    used = [(row["account_id"], row["venue"], row["asset"], row["position"]) for row in limits.utilisation(rows)]
    assert used == [("firm", None, "BTC", D(5)), ("main", "PERP", None, ZERO), ("main", "SIM", None, D(3))]
    assert [(row["strategy_id"], row["mode"], row["actor"]) for row in limits.switches(rows)] == [
        ("trend", "HALT", "desk")
    ]
    desk.request(ReleaseSwitch("main", Scope("trend"), "looked into", T0), actor="another")
    assert limits.switches(as_of(desk.log)) == []
