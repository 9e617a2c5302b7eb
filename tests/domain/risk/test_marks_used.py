"""A decision names every mark it used: one that would have changed it is in its event, with its price then."""

import contextlib
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from typing import Any

import pytest
from msgspec.structs import replace

from adapters.log.memory import MemoryLog
from domain.account import Costing, OpenAccount
from domain.errors import RequestRefused
from domain.instrument import Contract, Kind, ListInstrument
from domain.ledger import Ledger, scan
from domain.order import OrderKey, OrderTerms, OrdType, SubmitOrder
from domain.position import PositionKey, Transfer
from domain.risk import (
    FIRM,
    AssessMarks,
    BreachCleared,
    EquityAssessed,
    HoldPlaced,
    HoldRefused,
    LimitBreached,
    Measure,
    Scope,
    SetConversion,
    SetLimit,
)
from domain.values import Mark, Money, Side

T0 = datetime(2026, 1, 2, tzinfo=UTC)
BTC, ETH, EUR = "BTCUSDT.SIM", "ETHUSDT.SIM", "EURUSDT.SIM"
PRICES = {BTC: D(100), ETH: D(10), EUR: D("1.25")}
UNPRICED = {Measure.MAX_ORDERS_PER_SECOND, Measure.MAX_ORDERS_PER_MINUTE, Measure.MAX_OPEN_ORDERS}
DECISIONS = (HoldPlaced, HoldRefused, LimitBreached, BreachCleared, EquityAssessed)


def decisions(prices: dict[str, D], measure: Measure, limit: D, act: str, owner: str) -> list[Any]:
    """What is decided at these prices about an order, or about what is held, after a day at other ones."""
    shown = dict(PRICES)
    log = MemoryLog()
    ledger = Ledger(log, lambda: T0, lambda name: Mark(name, shown[name], "SIM", T0 - timedelta(seconds=1)))
    ledger.request(OpenAccount("main", "USDT", Costing(), T0), actor="alice")
    for name in PRICES:
        contract = Contract(Kind.SPOT, name[:3], "USDT", "USDT")
        ledger.request(ListInstrument(name, contract, D("0.01"), D("0.001")), actor="alice")
    for name, quantity in ((BTC, D(2)), (ETH, D(30))):
        held = Transfer(PositionKey("main", "trend", name), f"T-{name}", Side.BUY, quantity, quantity * 9, T0)
        ledger.report([held], actor="venue")
    ledger.request(SetConversion(owner, EUR, T0), actor="alice")
    assess = AssessMarks(owner, (), T0, Money(D(1000), "EUR"))
    ledger.request(SetLimit(owner, Scope(), Measure.MAX_OPEN_ORDERS, D(99), None, T0), actor="alice")
    ledger.request(assess, actor="watch")
    most = min(limit, D(1)) if measure is Measure.MAX_DRAWDOWN else limit  # of equity, at most all of it
    ledger.request(SetLimit(owner, Scope(), measure, most, "EUR" if measure.is_money else None, T0), actor="alice")
    before = log.head().seq
    shown |= prices
    if act == "watch":
        ledger.request(replace(assess, transact_time=T0 + timedelta(seconds=1)), actor="watch")
    else:
        kind, price = (OrdType.MARKET, None) if act == "market" else (OrdType.LIMIT, D(101))
        terms = OrderTerms("trend", BTC, Side.BUY, kind, D(1), price)
        with contextlib.suppress(RequestRefused):
            ledger.request(SubmitOrder(OrderKey("main", "A"), terms, T0), actor="bot")
    events = [getattr(logged.recorded.event, "change", logged.recorded.event) for logged in scan(log, after=before)]
    return [event for event in events if isinstance(event, DECISIONS)]


@pytest.mark.parametrize("act", ["market", "limit", "watch"])
@pytest.mark.parametrize("owner", ["main", FIRM])
@pytest.mark.parametrize("measure", [measure for measure in Measure if measure not in UNPRICED])
def test_a_decision_names_every_mark_that_would_have_changed_it(measure: Measure, owner: str, act: str) -> None:
    if measure is Measure.BUYING_POWER and owner == FIRM:
        return  # it is of one account
    for limit in (D(1_000_000), D("0.0001")):
        made = decisions(PRICES, measure, limit, act, owner)
        used = {seen.mark.instrument_id: seen.mark.price for event in made for seen in event.marks}
        assert used.items() <= PRICES.items(), "at the prices that it was given"
        too_old = {event.facts.get("instrument_id") for event in made if isinstance(event, HoldRefused)}
        for name, value in PRICES.items():
            other = {kept(event) for event in decisions(PRICES | {name: value + D("0.05")}, measure, limit, act, owner)}
            if any(kept(event) not in other for event in made):
                assert name in used.keys() | too_old, f"{measure} depends on {name}"


def kept(event: Any) -> str:
    """An event without its marks."""
    return repr(replace(event, marks=()))
