"""Fees reported apart from their fill, before or after it: booked once, known when repeated, else a break."""

from decimal import Decimal as D
from itertools import permutations
from typing import Any

import pytest
from msgspec.structs import replace

from domain.errors import ReportUnreadable
from domain.order import (
    OrderBreakWithdrawn,
    OrderBroken,
    OrderCommissionReported,
    OrderFillBusted,
    OrderFilled,
    OrderKey,
)
from domain.values import Money, Side
from tests.derived import derived
from tests.desk import BTC, T0, Desk, fill
from tests.domain.ledger.test_derivation import history

USD = Money(D("1.24"), "USDT")
KEY = OrderKey("main", "O-E1")
FILL = fill("E1", Side.BUY, "2", "100", 1)
FEES = OrderCommissionReported(key=KEY, exec_ref_id="E1", commission=USD, transact_time=T0)
LATER = [
    fill("E2", Side.SELL, "1", "110", 2, fee=Money(D("0.1"), "USDT")),
    fill("E3", Side.BUY, "1", "120", 3, fee=Money(D("0.1"), "USDT")),
]


def open_breaks(desk: Desk) -> list[OrderBroken]:
    found: list[OrderBroken] = []
    for event in desk.events("order"):
        if isinstance(event, OrderBroken):
            found.append(event)
        elif isinstance(event, OrderBreakWithdrawn):
            found = [each for each in found if (each.rule, each.report) != (event.rule, event.report)]
    return found


def book(desk: Desk) -> Any:
    (position,) = desk.states("position").values()
    return position


REPORTS = (FILL, FEES, FEES, replace(FILL, commission=USD), *LATER)


@pytest.mark.parametrize("order", sorted(set(permutations(range(6))))[::37])
def test_in_any_order_a_fee_is_booked_once(order: tuple[int, ...]) -> None:
    desk = Desk()
    for number in order:
        desk.report(REPORTS[number])
    assert book(desk).fees == {"USDT": D("1.44")}
    assert (book(desk).quantity, book(desk).book.cost) == (D(2), D(220))
    assert not open_breaks(desk)
    assert not derived(history(desk)).faults


def test_fees_wait_for_their_fill_with_a_break_that_its_arrival_withdraws() -> None:
    desk = Desk()
    (answer,) = desk.report(FEES)
    assert answer.records
    assert [broken.rule for broken in open_breaks(desk)] == ["the fill of a commission is on record"]
    assert not desk.report(FEES)[0].records, "the same again is known"
    both = replace(FEES, further_commissions=(Money(D("0.01"), "BNB"),))
    assert desk.report(both)[0].records, "more fees of it complete what waits"
    desk.report(FILL)
    assert book(desk).fees == {"USDT": D("1.24"), "BNB": D("0.01")}
    assert not open_breaks(desk)
    assert not derived(history(desk)).faults


@pytest.mark.parametrize("is_first", [True, False])
def test_other_fees_are_a_break_that_shows_both_and_change_nothing(is_first: bool) -> None:
    desk = Desk()
    other = replace(FEES, commission=Money(D("1.30"), "USDT"))
    for report in (FEES, other, FILL) if is_first else (FILL, FEES, other):
        desk.report(report)
    assert book(desk).fees == {"USDT": D("1.24")}
    (broken,) = open_breaks(desk)
    assert broken.rule == "one exec_id has one content"
    assert isinstance(broken.report, OrderFilled | OrderCommissionReported)
    assert broken.on_record is not None
    assert (broken.report.commission.amount, broken.on_record.commission.amount) == (D("1.3"), D("1.24"))
    assert not desk.report(other)[0].records, "the break is there once"
    assert not derived(history(desk)).faults


def test_the_fill_is_found_by_its_instrument_where_the_report_names_no_order() -> None:
    desk = Desk()
    unnamed = replace(FEES, key=OrderKey("main", ""), instrument_id=BTC)
    (answer,) = desk.report(unnamed)
    assert isinstance(answer.error, ReportUnreadable), "which order it is of is not known before the fill"
    desk.report(FILL)
    assert desk.report(unnamed)[0].records
    assert book(desk).fees == {"USDT": D("1.24")}
    assert not derived(history(desk)).faults


def test_the_fee_of_a_busted_fill_is_on_record_and_not_booked() -> None:
    desk = Desk()
    desk.report(FILL)
    desk.report(OrderFillBusted(key=KEY, exec_ref_id="E1", reason="", transact_time=T0))
    assert desk.report(FEES)[0].records
    assert not any(book(desk).fees.values())
    assert not derived(history(desk)).faults


def test_a_report_may_know_fewer_currencies_than_another_but_not_other_ones() -> None:
    desk = Desk()
    two = replace(FILL, commission=USD, further_commissions=(Money(D("0.01"), "BNB"),))
    desk.report(replace(FILL, commission=USD))
    assert desk.report(two)[0].records
    assert not desk.report(replace(FILL, commission=Money(D("0.01"), "BNB")))[0].records
    assert book(desk).fees == {"USDT": D("1.24"), "BNB": D("0.01")}
    desk.report(replace(FILL, commission=Money(D("0.01"), "ETH")))
    assert [broken.rule for broken in open_breaks(desk)] == ["one exec_id has one content"]
