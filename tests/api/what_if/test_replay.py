"""What if: history replayed is history; with changes it shows which orders fare otherwise, and the difference."""

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal as D
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.log.memory import MemoryLog
from api.what_if.commands import Changed, FeeRate
from api.what_if.replay import ACCEPTED, REFUSED, Replay, ReplayResult, compared, differences
from domain.account import CostBasis, Costing, FeePolicy
from domain.errors import InvalidInput
from domain.ledger import scan
from domain.order import OrderAccepted, OrderKey, OrderTerms, OrdType, SubmitOrder
from domain.position import MovePosition, PositionKey, SettleFunding, Transfer
from domain.risk import ANYWHERE, Measure, Scope, SetLimit
from domain.values import Mark, Money, Side
from projections.models import lots, positions
from projections.models.executions import PROJECTION as EXECUTIONS
from projections.models.executions import history as executions_of
from projections.runner.runner import as_of
from tests.api.demo.days import day as trading_day
from tests.desk import ACCOUNTS, BTC, PERP, T0, Desk, costings, days, fill, mark

MARKS = {name: mark(name, "100") for name in (BTC, PERP)}


def replayed(desk: Desk, changed: Changed = Changed(), marks: Mapping[str, str] | None = None) -> ReplayResult:  # noqa: B008
    seen = {name: mark(name, price) for name, price in (marks or {BTC: "100", PERP: "100"}).items()}
    return Replay(changed, lambda instrument_id, _: seen.get(instrument_id)).run(scan(desk.log))


def without_seq(rows: Any) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name != "seq"} for row in positions.positions(rows)]


@given(days, costings)
@settings(max_examples=150)
def test_history_replayed_is_history(day: list[tuple[int, ...]], costing: Costing) -> None:
    desk = Desk(costing=costing)
    desk.live(day)
    found = replayed(desk)
    assert found.verdicts == []
    assert without_seq(found.now) == without_seq(found.then)
    assert without_seq(found.then) == without_seq(as_of(desk.log, projections=(positions.PROJECTION,)))


@given(days, costings, st.sampled_from(CostBasis), st.sampled_from(FeePolicy))
@settings(max_examples=40)
def test_other_conventions_are_those_of_recosting(
    day: list[tuple[int, ...]], costing: Costing, basis: CostBasis, policy: FeePolicy
) -> None:
    desk = Desk(costing=costing)
    desk.live([step for step in day if step[0] % 22 != 4])  # a move carries cost and lots along
    found = replayed(desk, Changed(cost_basis=basis, fee_policy=policy))
    rows = as_of(desk.log, projections=(EXECUTIONS,))
    for row in positions.positions(found.now):
        if row["cost_basis"] is None:
            continue
        where = {name: row[name] for name in ("account_id", "strategy_id", "instrument_id")}
        _, _, book = lots.recosted(executions_of(rows, **where), Costing(basis, policy, row["money_places"]))
        assert (row["quantity"], row["cost"]) == (book.quantity, book.cost)
        assert (row["cost_basis"], row["fee_policy"]) == (basis, policy)


def test_a_simulated_day_replayed_is_that_day() -> None:
    """With its refusals, faults, replacements, kill switches and funding; by the marks that are on record."""
    log = MemoryLog()
    _, summary = trading_day(log, steps=160)
    found = Replay(Changed(), lambda *_: None).run(scan(log))
    assert (found.orders, found.verdicts, found.untold) == (summary.orders + summary.refusals, [], {})
    assert summary.refusals > 0
    assert without_seq(found.now) == without_seq(found.then)
    open_to_all = Replay(Changed(is_without_limits=True), lambda *_: None).run(scan(log))
    assert {(each.then, each.now) for each in open_to_all.verdicts} == {(REFUSED, ACCEPTED)}
    assert len(open_to_all.verdicts) == summary.refusals


def sent(desk: Desk, cl_ord_id: str, side: Side, quantity: str, minute: int = 0) -> Any:
    terms = OrderTerms("trend", BTC, side, OrdType.LIMIT, D(quantity), D(100))
    return desk.request(SubmitOrder(OrderKey("main", cl_ord_id), terms, T0 + timedelta(minutes=minute)))


def limit(size: str | None) -> dict[Any, Any]:
    return {("main", ANYWHERE, Measure.MAX_POSITION): (None if size is None else D(size), None)}


def desk_with_limit(size: str) -> Desk:
    """A limit of `size`; 2 and 2 are bought, 3 requested and refused, 4 sold."""
    desk = Desk(costing=Costing(CostBasis.FIFO))
    desk.request(SetLimit("main", ANYWHERE, Measure.MAX_POSITION, D(size), None, T0))
    for number, (side, quantity, price) in enumerate(
        ((Side.BUY, "2", "100"), (Side.BUY, "2", "110"), (Side.SELL, "4", "120"))
    ):
        sent(desk, f"A-{number}", side, quantity, number)
        if number == 1:
            sent(desk, "A-9", Side.BUY, "3", number)
        key = OrderKey("main", f"A-{number}")
        desk.report(OrderAccepted(key, f"V-{number}", T0 + timedelta(minutes=number)))
        desk.report(fill(f"E-{number}", side, quantity, price, number, cl_ord_id=f"A-{number}"))
    return desk


def test_a_tighter_limit_refuses_orders_and_their_fills_are_lost() -> None:
    found = replayed(desk_with_limit("5"), Changed(limits=limit("3")))
    (order,) = found.verdicts
    assert (order.cl_ord_id, order.then, order.now) == ("A-1", ACCEPTED, REFUSED)
    assert order.rule == "MAX_POSITION is not exceeded"
    assert (order.facts["limit"], order.facts["used"], order.facts["asked"]) == ("3", "2", "4")
    assert (found.orders, found.lost_fills, found.lost_qty) == (4, 1, {BTC: D(2)})
    (row,) = compared(found, MARKS, MARKS)
    assert (row["then"]["quantity"], row["then"]["realized"]) == (0, 60)
    assert (row["now"]["quantity"], row["now"]["realized"], row["now"]["unrealized"]) == (-2, 40, 40)
    assert differences([row])[0]["difference"]["net"] == 20


def test_a_wider_limit_accepts_what_was_refused_and_fills_nothing() -> None:
    found = replayed(desk_with_limit("5"), Changed(limits=limit("7")))
    (order,) = found.verdicts
    assert (order.cl_ord_id, order.then, order.now) == ("A-9", REFUSED, ACCEPTED)
    assert order.rule == "MAX_POSITION is not exceeded"  # what refused it then
    assert without_seq(found.now) == without_seq(found.then)
    for changed in (Changed(limits=limit(None)), Changed(is_without_limits=True)):
        assert [each.cl_ord_id for each in replayed(desk_with_limit("5"), changed).verdicts] == ["A-9"]


def test_limits_of_a_strategy_and_the_firm_are_checked_too() -> None:
    desk = desk_with_limit("5")
    for account_id, scope in (("main", Scope(strategy_id="trend")), ("firm", Scope(asset="BTC"))):
        found = replayed(desk, Changed(limits={(account_id, scope, Measure.MAX_ORDER_QTY): (D(3), None)}))
        refused = [order for order in found.verdicts if order.now == REFUSED]
        assert [order.cl_ord_id for order in refused] == ["A-2"]
        assert refused[0].facts["whose"] == account_id


def test_a_limit_of_an_unknown_account_is_a_mistake() -> None:
    with pytest.raises(InvalidInput, match="an account on record"):
        replayed(Desk(), Changed(limits={("unknown", ANYWHERE, Measure.MAX_ORDER_QTY): (D(3), None)}))


def test_other_fees_are_of_the_value_traded() -> None:
    desk = Desk()
    desk.report(fill("E-1", Side.BUY, "2", "100", fee=Money(D(1), "USDT")))
    perp = fill("E-2", Side.SELL, "5", "125", 1, instrument_id=PERP, fee=Money(D("0.1"), "BTC"))
    desk.report(perp)
    fees = {"": FeeRate(D(0), D("0.01")), "PERP": FeeRate(D(0), D("-0.0005"))}
    spot, inverse = compared(replayed(desk, Changed(fees=fees)), MARKS, MARKS)
    assert (spot["then"]["fees_settle"], spot["now"]["fees_settle"]) == (1, 2)
    assert inverse["now"]["fees_settle"] == D("-0.002")  # 5 x 100 / 125 BTC
    kept = replayed(desk, Changed(fees={"KRAKEN": FeeRate(D(1), D(1))}))
    assert without_seq(kept.now) == without_seq(kept.then)


def test_funding_is_in_proportion_to_what_is_held() -> None:
    desk = desk_with_limit("5")
    key = PositionKey("main", "trend", BTC)
    desk.report(Transfer(key, "T-1", Side.BUY, D(8), D(800), T0 + timedelta(hours=1)))
    desk.report(SettleFunding(key, "F-1", Money(D(-4), "USDT"), T0 + timedelta(hours=2)))
    (row,) = compared(replayed(desk, Changed(limits=limit("3"))), MARKS, MARKS)
    assert (row["then"]["funding"], row["now"]["funding"]) == (-4, -3)  # 8 held then, 6 now


def test_other_marks_value_and_decide() -> None:
    desk = Desk()
    desk.request(SetLimit("main", ANYWHERE, Measure.MAX_ORDER_NOTIONAL, D(250), "USDT", T0))
    terms = OrderTerms("trend", BTC, Side.BUY, OrdType.MARKET, D(2))
    desk.request(SubmitOrder(OrderKey("main", "A-1"), terms, T0))
    desk.report(fill("E-1", Side.BUY, "2", "100", cl_ord_id="A-1"))
    given_marks = {BTC: Mark(BTC, D(150), "given", T0)}
    found = replayed(desk, Changed(marks=given_marks))
    assert [(each.cl_ord_id, each.now) for each in found.verdicts] == [("A-1", REFUSED)]
    cheap = {BTC: Mark(BTC, D(90), "given", T0)}
    (row,) = compared(replayed(desk, Changed(marks=cheap)), MARKS, MARKS | cheap)
    assert (row["then"]["unrealized"], row["now"]["unrealized"]) == (0, -20)


def test_a_move_takes_along_what_it_costs_now() -> None:
    desk = Desk(costing=Costing(CostBasis.FIFO))
    desk.report(fill("E-1", Side.BUY, "1", "100"), fill("E-2", Side.BUY, "1", "140", 1))
    source, target = PositionKey("main", "trend", BTC), PositionKey("hedge", "maker", BTC)
    desk.request(MovePosition(source, target, "M-1", D(1), T0 + timedelta(hours=1)))
    moved, kept = compared(replayed(desk, Changed(cost_basis=CostBasis.LIFO)), MARKS, MARKS)
    assert (moved["account_id"], kept["account_id"]) == ("hedge", "main")
    assert (moved["then"]["unrealized"], moved["now"]["unrealized"]) == (0, -40)
    assert (kept["then"]["unrealized"], kept["now"]["unrealized"]) == (-40, 0)


def test_the_same_question_has_the_same_answer() -> None:
    desk = Desk()
    desk.live([(step, step % 5, step % 7, step % 3, step % 31) for step in range(80)])
    tight = {(account_id, ANYWHERE, Measure.MAX_ORDER_QTY): (D("0.1"), None) for account_id in ACCOUNTS}
    changed = Changed(limits=tight, cost_basis=CostBasis.HIFO)
    one, other = replayed(desk, changed), replayed(desk, changed)
    assert one.verdicts == other.verdicts
    assert any(order.now == REFUSED for order in one.verdicts)
    assert compared(one, MARKS, MARKS) == compared(other, MARKS, MARKS)
