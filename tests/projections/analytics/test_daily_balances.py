"""Daily balances: opening and movements are the closing, exactly, and the last closing is the balance."""

from collections import defaultdict
from datetime import date, timedelta
from decimal import Decimal as D

import pytest
from hypothesis import given, settings

from domain.account import ChargeFee, Costing
from domain.errors import InvalidInput
from domain.values import ZERO, Money, Side
from projections.analytics.daily_balances import daily_balances
from projections.models import balances, journal
from projections.runner.runner import as_of
from projections.storage.rows import MemoryRows
from tests.desk import T0, Desk, cash_days, costings, days, fill, fill_days
from tests.projections.analytics.test_equity import deposit

PROJECTIONS = (journal.PROJECTION, balances.PROJECTION)
FIRST, LAST = date(2026, 2, 1), date(2026, 6, 1)


def rows_of(desk: Desk) -> MemoryRows:
    return as_of(desk.log, projections=PROJECTIONS)


@settings(max_examples=50)
@given(days | fill_days | cash_days, costings)
def test_opening_and_movements_are_the_closing_of_every_day(day: list[tuple[int, ...]], costing: Costing) -> None:
    desk = Desk(costing=costing)
    desk.live(day)
    rows = rows_of(desk)
    last: dict[tuple[str, str], D] = {}
    for row in daily_balances(rows, first=FIRST, last=LAST):
        place = (row["account_id"], row["asset"])
        assert row["opening"] == last.get(place, ZERO)
        assert row["opening"] + row["inflow"] - row["outflow"] == row["closing"]
        assert sum(row["inflow_by_kind"].values(), ZERO) == row["inflow"]
        assert sum(row["outflow_by_kind"].values(), ZERO) == row["outflow"]
        last[place] = row["closing"]
    held: dict[tuple[str, str], D] = defaultdict(D)
    for balance in balances.balances(rows):
        held[balance["account_id"], balance["asset"]] += balance["total"]
    assert {place: total for place, total in held.items() if total} == {k: v for k, v in last.items() if v}


def test_movements_are_shown_by_kind_and_a_trades_fee_apart() -> None:
    desk = Desk()
    desk.report(deposit("D-1", "1000", T0 - timedelta(days=1), fee="2"))
    desk.report(fill("E-1", Side.BUY, "5", "100", 60, fee=Money(D(1), "USDT")))
    desk.report(fill("E-2", Side.SELL, "1", "110", 90))
    desk.report(ChargeFee("main", "F-1", Money(D(3), "USDT"), "custody", T0))
    rows = [row for row in daily_balances(rows_of(desk), account_id="main") if row["asset"] == "USDT"]
    before, day = rows[-2:]
    assert (before["opening"], before["closing"], before["outflow_by_kind"]) == (0, 998, {"TRANSFER": D(2)})
    assert (day["opening"], day["closing"]) == (998, 998 - 500 - 1 + 110 - 3)
    assert day["inflow_by_kind"] == {"TRADE": D(110)}
    assert day["outflow_by_kind"] == {"COMMISSION": D(1), "FEE": D(3), "TRADE": D(500)}


def test_a_day_without_movements_opens_and_closes_with_what_there_is() -> None:
    desk = Desk()
    desk.report(deposit("D-1", "1000", T0))
    chosen = T0.date() + timedelta(days=5)
    (row,) = daily_balances(rows_of(desk), account_id="main", asset="USDT", first=chosen, last=chosen)
    assert (row["opening"], row["inflow"], row["outflow"], row["closing"]) == (1000, 0, 0, 1000)
    assert not list(daily_balances(rows_of(desk), asset="EUR", first=chosen, last=chosen))


@pytest.mark.parametrize(("first", "last"), [(LAST, FIRST), (date(2015, 1, 1), LAST)])
def test_days_that_cannot_be_shown_are_refused(first: date, last: date) -> None:
    desk = Desk()
    desk.report(deposit("D-1", "1000", T0))
    with pytest.raises(InvalidInput):
        list(daily_balances(rows_of(desk), first=first, last=last))
