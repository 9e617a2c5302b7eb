"""Liquidations: fills by which a venue closes a position, with a charge; one with the fill of the same exec id."""

from decimal import Decimal as D
from itertools import permutations
from typing import Any

import pytest
from msgspec.structs import replace

from domain.errors import ReportUnreadable
from domain.instrument import Contract, Kind, ListInstrument
from domain.ledger import scan
from domain.order import OrderBroken, OrderFilled, OrderKey
from domain.position import Position, PositionKey, TradeBooked
from domain.position import stream as stream_of
from domain.values import Money, PositionSide, Side, TradeKind
from tests.derived import derived
from tests.desk import Desk, fill

NAME = "BTC-PERP.SIM"
CHARGE = Money(D("2.5"), "USDT")


def desk_of() -> Desk:
    made = Desk()
    made.request(ListInstrument(NAME, Contract(Kind.LINEAR, "BTC", "USDT", "USDT"), D("0.1"), D("0.001")))
    made.report(fill("E1", Side.BUY, "1", "100", 0, instrument_id=NAME))
    return made


def sold(**other: Any) -> OrderFilled:
    return replace(fill("L1", Side.SELL, "1", "60", 5, instrument_id=NAME), **other)


def as_fill() -> OrderFilled:
    return sold(key=OrderKey("main", ""), order_id="V-9")


def as_liquidation(**other: Any) -> OrderFilled:
    stated: dict[str, Any] = {"order_id": "", "strategy_id": "", "kind": TradeKind.LIQUIDATION, "insurance": CHARGE}
    return sold(key=OrderKey("main", "BTC-PERP:L1"), **(stated | other))


def position(desk: Desk, strategy_id: str = "trend") -> Position:
    found: Position = desk.ledger.state(stream_of(PositionKey("main", strategy_id, NAME)))
    return found


def booked(desk: Desk) -> list[TradeBooked]:
    found: list[TradeBooked] = [each for each in desk.events("position") if isinstance(each, TradeBooked)]
    return found


def is_derived(desk: Desk) -> bool:
    return derived([logged.recorded for logged in scan(desk.log)]).faults == ()


def test_a_liquidation_closes_what_the_only_strategy_holds_and_its_charge_is_a_fee() -> None:
    desk = desk_of()
    desk.report(as_liquidation())
    held = position(desk)
    assert (held.quantity, held.realized) == (D(0), D(-40))
    last = booked(desk)[-1]
    assert (last.kind, last.exec_id) == (TradeKind.LIQUIDATION, "L1")
    assert sum(paid.amount for paid in last.commissions) == sold().commission.amount + D("2.5")
    (again,) = desk.report(as_liquidation())
    assert again.records == ()
    assert is_derived(desk)


@pytest.mark.parametrize("reports", list(permutations((as_fill(), as_liquidation(), as_liquidation(insurance=None)))))
def test_the_fill_and_the_liquidation_of_one_execution_are_one_in_any_order(reports: tuple[OrderFilled, ...]) -> None:
    desk = desk_of()
    for report in (*reports, *reports):
        desk.report(report)
    assert (position(desk).quantity, position(desk).realized) == (D(0), D(-40))
    last = booked(desk)[-1]
    assert last.kind is TradeKind.LIQUIDATION
    assert sum(paid.amount for paid in last.commissions) == sold().commission.amount + D("2.5")
    assert not [each for each in desk.events("order") if isinstance(each, OrderBroken)]
    assert is_derived(desk)


@pytest.mark.parametrize(
    "other",
    [{"kind": TradeKind.AUTO_DELEVERAGE}, {"insurance": Money(D(3), "USDT")}, {"last_qty": D("0.5")}],
)
def test_another_description_of_a_liquidation_on_record_is_a_break(other: dict[str, Any]) -> None:
    desk = desk_of()
    desk.report(as_liquidation())
    (answer,) = desk.report(as_liquidation(**other))
    event = answer.records[-1].event
    assert isinstance(event, OrderBroken)
    assert event.on_record is not None
    assert position(desk).quantity == D(0)


def test_where_several_strategies_hold_it_the_venue_cannot_say_whose_it_is() -> None:
    desk = desk_of()
    desk.report(fill("E2", Side.BUY, "1", "100", 1, instrument_id=NAME, strategy_id="second", cl_ord_id="S-1"))
    desk.report(as_liquidation())
    assert position(desk, "main").quantity == D(-1)
    assert (position(desk).quantity, position(desk, "second").quantity) == (D(1), D(1))
    other = desk_of()
    other.report(fill("E2", Side.SELL, "1", "100", 1, instrument_id=NAME, strategy_id="second", cl_ord_id="S-1"))
    other.report(as_liquidation())
    assert (position(other).quantity, position(other, "second").quantity) == (D(0), D(-1)), "only what it closes counts"


def test_a_charge_below_zero_cannot_be_read() -> None:
    (answer,) = desk_of().ledger.report([as_liquidation(insurance=Money(D(-1), "USDT"))], actor="venue")
    assert isinstance(answer.error, ReportUnreadable)
    assert answer.error.field == "insurance"


def test_a_leg_is_liquidated_by_itself() -> None:
    desk = desk_of()
    for leg, side in ((PositionSide.LONG, Side.BUY), (PositionSide.SHORT, Side.SELL)):
        opened = fill(f"O-{leg}", side, "1", "100", 1, instrument_id=NAME, cl_ord_id=f"C-{leg}")
        desk.report(replace(opened, position_side=leg))
    desk.report(as_liquidation(position_side=PositionSide.LONG))
    held = [
        desk.ledger.state(stream_of(PositionKey("main", "trend", NAME, leg))).quantity
        for leg in (PositionSide.BOTH, PositionSide.LONG, PositionSide.SHORT)
    ]
    assert held == [D(1), D(0), D(-1)]
