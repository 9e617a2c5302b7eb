"""Buying power: cash for spot buys, coins for spot sells, initial margin for linear and inverse contracts."""

import random
from datetime import UTC, datetime
from decimal import Decimal as D
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.log.memory import MemoryLog
from domain.account import BookEntry, Costing, EntryKind, Indicator, Leg, OpenAccount, RequestTransfer
from domain.errors import RequestRefused
from domain.holdings import balances
from domain.instrument import Contract, Kind, ListInstrument
from domain.ledger import Ledger, scan
from domain.order import (
    CancelOrder,
    Changes,
    OrderCanceled,
    OrderFilled,
    OrderKey,
    OrderTerms,
    OrdType,
    ReplaceOrder,
    SubmitOrder,
)
from domain.position import PositionKey, Transfer
from domain.risk import FIRM, HoldRefused, LimitStatus, Measure, Scope, SetLimit, ShadowDecided
from domain.values import Liquidity, Mark, Money, PositionSide, Side, stated_leg
from tests.derived import derived

T0 = datetime(2026, 3, 2, 9, tzinfo=UTC)
BTC, ETH, PERP, INV, CALL = "BTCUSDT.SIM", "ETHUSDT.SIM", "BTCUSDT-PERP.SIM", "BTCUSD.SIM", "BTC-CALL.SIM"
CONTRACTS = {
    BTC: Contract(Kind.SPOT, "BTC", "USDT", "USDT"),
    ETH: Contract(Kind.SPOT, "ETH", "USDT", "USDT"),
    PERP: Contract(Kind.LINEAR, "BTC", "USDT", "USDT"),
    INV: Contract(Kind.INVERSE, "BTC", "USD", "BTC", D(100)),
}
BUY, SELL = Side.BUY, Side.SELL


class Book:
    """An account with a buying power, and its orders."""

    def __init__(self, leverage: Any = 1, **status: Any) -> None:
        self.log = MemoryLog()
        self.price: D | None = D(100)
        self.ledger = Ledger(self.log, lambda: T0, lambda name: self.price and Mark(name, self.price, "SIM", T0))
        self.request(OpenAccount("main", "USDT", Costing(), T0))
        for name, contract in CONTRACTS.items():
            self.request(ListInstrument(name, contract, D("0.01"), D("0.01")))
        self.limit(leverage, **status)
        self.number = 0

    def request(self, request: Any) -> None:
        self.ledger.request(request, actor="desk")

    def limit(self, leverage: Any, instrument: str | None = None, status: LimitStatus = LimitStatus.ACTIVE) -> None:
        number = None if leverage is None else D(leverage)
        self.request(SetLimit("main", Scope(None, instrument), Measure.BUYING_POWER, number, None, T0, status))

    def cash(self, amount: Any, currency: str = "USDT") -> None:
        self.number += 1
        side = Indicator.CREDIT if D(amount) > 0 else Indicator.DEBIT
        self.ledger.report(
            [
                BookEntry(
                    "main", f"C-{self.number}", EntryKind.OPENING, side, Money(abs(D(amount)), currency), "opening", T0
                )
            ],
            actor="venue",
        )

    def order(self, side: Side, qty: Any, price: Any = 100, instrument: str = BTC, **more: Any) -> str:
        self.number += 1
        name = more.pop("name", f"A-{self.number}")
        kind = OrdType.MARKET if price is None else OrdType.LIMIT
        limit = None if price is None else D(price)
        leg = stated_leg(more.pop("leg", PositionSide.BOTH))
        terms = OrderTerms(more.pop("strategy", "trend"), instrument, side, kind, D(qty), limit, position_side=leg)
        self.request(SubmitOrder(OrderKey("main", name), terms, T0))
        return name

    def fill(self, name: str, side: Side, qty: Any, price: Any = 100, instrument: str = BTC) -> None:
        self.number += 1
        filled = OrderFilled(
            OrderKey("main", name), "trend", instrument, "", side, f"E-{self.number}", self.number, D(qty), D(price),
            Money(D(0), "USDT"), Liquidity.TAKER, T0,
        )  # fmt: skip
        self.ledger.report([filled], actor="venue")

    def close(self, name: str) -> None:
        self.ledger.report([OrderCanceled(OrderKey("main", name), "by hand", T0)], actor="venue")

    def refused(self, *order: Any, **more: Any) -> tuple[str, str, str]:
        """The required and available amounts, and their currency, of an order that is refused."""
        with pytest.raises(RequestRefused, match="BUYING_POWER is not exceeded") as caught:
            self.order(*order, **more)
        facts = caught.value.facts
        return facts["required"], facts["available"], facts["currency"]

    def check(self) -> None:
        """Everything on record follows when it is decided again."""
        found = derived([logged.recorded for logged in scan(self.log)])
        assert not found.faults, "\n".join(map(str, found.faults))


def test_a_spot_buy_needs_its_quote_currency_less_what_working_buys_hold():
    book = Book()
    assert book.refused(BUY, 1) == ("100", "0", "USDT")
    book.cash(250)
    book.order(BUY, "1.5")
    assert book.refused(BUY, "1.01") == ("101", "100", "USDT")
    last = book.order(BUY, 1)
    assert book.refused(BUY, "0.01", instrument=ETH) == ("1", "0", "USDT")
    book.close(last)
    book.order(BUY, "0.5", 200, instrument=ETH)
    book.check()


def test_a_spot_sell_needs_its_coins_less_what_working_sells_hold():
    book = Book()
    book.ledger.report([Transfer(PositionKey("main", "trend", BTC), "T", BUY, D(2), D(150), T0)], actor="venue")
    book.order(SELL, "1.5")
    assert book.refused(SELL, 1) == ("1", "0.5", "BTC")
    book.order(SELL, "0.5")
    assert book.refused(BUY, 1) == ("100", "0", "USDT"), "what is sold is not there yet"
    book.check()


def test_a_fill_moves_what_was_held_to_the_balance_of_what_was_bought():
    book = Book()
    book.cash(100)
    name = book.order(BUY, 1)
    book.fill(name, BUY, 1, 90)
    assert book.refused(BUY, 1, 11) == ("11", "10", "USDT")
    book.order(SELL, 1, 200)
    assert book.refused(SELL, "0.01", 200) == ("0.01", "0", "BTC")
    book.check()


def test_a_market_order_is_valued_at_the_mark_and_refused_without_one():
    book = Book()
    book.cash(100)
    book.price = D(101)
    assert book.refused(BUY, 1, None) == ("101", "100", "USDT")
    book.price = None
    with pytest.raises(RequestRefused, match="a market order has a mark to value it by"):
        book.order(BUY, 1, None)
    book.check()


def test_a_replacement_needs_what_it_would_hold_without_what_the_order_holds_now():
    book = Book()
    book.cash(200)
    name = book.order(BUY, 1)
    book.request(ReplaceOrder(OrderKey("main", name), "R-1", Changes(D(2)), T0))
    with pytest.raises(RequestRefused, match="BUYING_POWER") as caught:
        book.request(ReplaceOrder(OrderKey("main", name), "R-2", Changes(D(2), D(101)), T0))
    assert caught.value.facts["required"] == "202"
    book.check()


def test_money_that_a_pending_transfer_takes_is_not_available():
    book = Book()
    book.cash(100)
    book.request(RequestTransfer("main", Leg("T-1", Indicator.DEBIT, Money(D(60), "USDT")), T0))
    assert book.refused(BUY, "0.5") == ("50", "40", "USDT")
    book.check()


def test_a_linear_contract_needs_initial_margin_by_the_leverage_of_account_or_instrument():
    book = Book(5)
    book.cash(100)
    book.order(BUY, 4, instrument=PERP)
    assert book.refused(BUY, 2, instrument=PERP) == ("40", "20", "USDT")
    assert book.refused(BUY, "0.3") == ("30", "20", "USDT"), "spot has no leverage"
    book.limit(10, PERP)
    book.order(BUY, 2, instrument=PERP)
    assert book.refused(SELL, 11, instrument=PERP) == ("50", "40", "USDT"), "11 short, where 6 long are held"
    book.check()


def test_an_order_that_closes_needs_no_margin_and_one_that_turns_needs_it_for_the_rest():
    book = Book(10)
    book.cash(50)
    name = book.order(BUY, 4, instrument=PERP)
    book.fill(name, BUY, 4, 100, PERP)
    book.order(SELL, 4, instrument=PERP)
    assert book.refused(SELL, 6, instrument=PERP) == ("20", "10", "USDT"), "6 short at 10 is 60, where 40 are committed"
    book.order(SELL, 5, instrument=PERP)
    book.check()


def test_an_inverse_contract_needs_margin_in_its_base():
    book = Book(10)
    book.cash("0.1", "BTC")
    name = book.order(BUY, 1, None, instrument=INV)
    book.fill(name, BUY, 1, 100, INV)
    assert book.refused(BUY, 1, None, instrument=INV) == ("0.1", "0", "BTC")
    book.check()


def test_a_buying_power_is_of_an_account_or_an_instrument_and_a_leverage_above_zero():
    book = Book()
    for request in (
        SetLimit(FIRM, Scope(), Measure.BUYING_POWER, D(1), None, T0),
        SetLimit("main", Scope("trend"), Measure.BUYING_POWER, D(1), None, T0),
        SetLimit("main", Scope(venue="SIM"), Measure.BUYING_POWER, D(1), None, T0),
        SetLimit("main", Scope(), Measure.BUYING_POWER, D(0), None, T0),
        SetLimit("main", Scope(), Measure.BUYING_POWER, D(1), "USDT", T0),
    ):
        with pytest.raises(RequestRefused):
            book.request(request)


def test_a_buying_power_in_shadow_lets_the_order_pass_and_records_its_numbers():
    book = Book(1, status=LimitStatus.SHADOW)
    book.order(BUY, 1)
    (would,) = [each.recorded.event for each in scan(book.log) if isinstance(each.recorded.event, ShadowDecided)]
    assert isinstance(would.decided, HoldRefused)
    assert would.decided.facts == {
        "required": "100", "available": "0", "balance": "0", "committed": "0", "currency": "USDT",
    }  # fmt: skip
    book.check()


@given(seed=st.integers(0, 2**32))
@settings(max_examples=20)
def test_no_balance_goes_below_zero_by_orders_that_passed_however_they_fill(seed):
    """Spot, every order filled at its own price in any sequence, in full or in part, or canceled."""
    draw = random.Random(seed)
    book = Book()
    book.cash(draw.randrange(1, 2000))
    working: dict[str, tuple[Side, D, D, str]] = {}
    for _ in range(40):
        act = draw.random()
        if act < 0.6 or not working:
            side, qty, price = draw.choice((BUY, SELL)), D(draw.randrange(1, 500)) / 100, D(draw.randrange(50, 150))
            instrument = draw.choice((BTC, ETH))
            try:
                name = book.order(side, qty, price, instrument)
            except RequestRefused:
                continue
            working[name] = (side, qty, price, instrument)
        elif act < 0.7:
            name = draw.choice(sorted(working))
            book.request(CancelOrder(OrderKey("main", name), "enough", T0))
            book.close(name)
            del working[name]
        else:
            name = draw.choice(sorted(working))
            side, qty, price, instrument = working.pop(name)
            part = D(draw.randrange(1, int(qty * 100) + 1)) / 100
            book.fill(name, side, part, price, instrument)
            if part < qty:
                working[name] = (side, qty - part, price, instrument)
    for name, (side, qty, price, instrument) in working.items():
        book.fill(name, side, qty, price, instrument)
    held = [book.ledger.state(f"position:main:trend:{name}") for name in (BTC, ETH)]
    moved = balances.total(*(balances.moved_by(each) for each in held if each is not None))
    cash = book.ledger.state("account:main").cash
    for currency in ("USDT", "BTC", "ETH"):
        assert cash.total(currency, moved) >= 0, currency
    book.check()


def test_each_leg_of_hedge_mode_needs_the_margin_of_its_own():
    book = Book()
    book.cash(500)
    book.fill(book.order(BUY, 2, instrument=PERP, leg=PositionSide.LONG), BUY, 2, instrument=PERP)
    assert book.refused(SELL, "3.1", instrument=PERP, leg=PositionSide.SHORT) == ("310", "300", "USDT")
    short = book.order(SELL, 1, instrument=PERP, leg=PositionSide.SHORT)
    assert book.refused(BUY, "2.1", instrument=PERP, leg=PositionSide.LONG) == ("210", "200", "USDT")
    book.fill(short, SELL, 1, instrument=PERP)
    book.order(BUY, 1, 90, instrument=PERP, leg=PositionSide.SHORT)  # closes, and needs nothing
    book.order(SELL, 2, 110, instrument=PERP, leg=PositionSide.LONG)
    assert book.refused(BUY, "2.1", instrument=PERP, leg=PositionSide.LONG) == ("210", "200", "USDT")
    book.check()
