"""The usage of limits of exposure, as orders are checked, is the exposure that the read models show."""

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal as D

import pytest
from hypothesis import given, settings

from domain import risk
from domain.account import BookEntry, EntryKind, Indicator
from domain.ledger import wallets_of
from domain.marks import Prices
from domain.order import OrderKey, OrderTerms, OrdType, SubmitOrder
from domain.risk import (
    ANYWHERE,
    FIRM,
    Capital,
    HoldPlaced,
    HoldRefused,
    Measure,
    Meter,
    Risk,
    Scope,
    SetConversion,
    SetLimit,
    by_account,
)
from domain.values import ZERO, Mark, Money, Side
from projections.analytics import exposure
from projections.analytics.closing import closing, own_pairs
from projections.models import capital_flows, positions
from projections.runner.runner import as_of
from tests.desk import BTC, T0, Desk, fill
from tests.projections.holdings.books import BNB, CROSS, ETH, INSTRUMENTS, PAIRS, desk_of, marks, step, steps
from tests.projections.holdings.test_exposure import BASES, cash_of

EVER = timedelta(days=10_000)
AT = T0 + timedelta(days=9)
PRICES = marks((2, 8, 8))  # BTC 8, ETH 8, a cross at 1, BNB 8: divisions are exact
COINS = ("BTC", "ETH", "BNB")
Book = Sequence[Sequence[int]]


class States:
    """What is read from aggregates folded from the log."""

    def __init__(self, desk: Desk) -> None:
        self._known = desk.states("account") | desk.states("limit") | desk.states("position")

    def state(self, stream: str) -> object:
        return self._known.get(stream)


def limited(measure: Measure, limit: str, scope: Scope = ANYWHERE, *, account_id: str = "main") -> Desk:
    desk = desk_of()
    currency = "USDT" if measure.is_money else None
    desk.request(SetLimit(account_id, scope, measure, D(limit), currency, T0))
    return desk


def meter_of(desk: Desk, owner: str) -> Meter:
    """What limits of an account, or of the firm, are measured by, at the prices."""
    states = States(desk)
    known = states.state(risk.stream(owner))
    assert isinstance(known, Risk)
    wallets = wallets_of(states, known, owner)
    usd = {"USDUSDT.SIM": PAIRS["USDUSDT.SIM"]}
    pairs = known.traded_pairs(None, wallets)
    prices = Prices(PRICES.values(), AT, EVER, usd, others=lambda: PAIRS | pairs)
    return Meter(known.exposure, prices, Capital(), T0, {}, AT, by_account(wallets))


def shown(desk: Desk, account_ids: Sequence[str], by: tuple[str, ...] = ()) -> list[exposure.ExposureCut]:
    """The exposure that the read models show."""
    rows = as_of(desk.log, projections=(positions.PROJECTION, capital_flows.PROJECTION))
    held = [row for row in positions.positions(rows) if row["account_id"] in account_ids]
    cash = [row for row in cash_of(rows) if row["account_id"] in account_ids]
    close = closing(T0, PRICES, PAIRS, EVER, own=own_pairs(held))
    return exposure.cut(exposure.holdings(held, cash, close, "USDT", BASES), by)


@given(steps)
@settings(max_examples=60, deadline=None)
def test_usage_is_the_exposure_shown_after_every_event(book: Book) -> None:
    desk = limited(Measure.MAX_GROSS_EXPOSURE, "1000000")
    desk.request(SetLimit(FIRM, ANYWHERE, Measure.MAX_NET_EXPOSURE, D(1000000), "USDT", T0))
    for number, chosen in enumerate(book):
        step(desk, number, chosen)
        if number % 4 and number != len(book) - 1:
            continue
        for owner, accounts in (("main", ["main"]), (FIRM, ["main", "hedge"])):
            meter = meter_of(desk, owner)
            (whole,) = shown(desk, accounts) or [{"gross": ZERO, "net": ZERO}]
            assert meter.held(Measure.MAX_GROSS_EXPOSURE, ANYWHERE, "USDT")[""] == whole["gross"]
            assert meter.held(Measure.MAX_NET_EXPOSURE, ANYWHERE, "USDT")[""] == abs(whole["net"] or ZERO)
            by_asset = {row["asset"]: row for row in shown(desk, accounts, ("asset",))}
            for coin in COINS:
                scope = Scope(asset=coin)
                cut = by_asset.get(coin, {"gross": ZERO, "net": ZERO})
                assert meter.held(Measure.MAX_GROSS_EXPOSURE, scope, "USDT")[""] == cut["gross"]
                assert meter.held(Measure.MAX_NET_EXPOSURE, scope, "USDT")[""] == abs(cut["net"] or ZERO)


def order(desk: Desk, cl_ord_id: str, instrument_id: str, side: Side, quantity: str, price: str) -> object:
    """Submit an order; the decision on it."""
    terms = OrderTerms("trend", instrument_id, side, OrdType.LIMIT, D(quantity), D(price))
    desk.request(SubmitOrder(OrderKey("main", cl_ord_id), terms, T0))
    return [each for each in desk.events("limit") if isinstance(each, HoldPlaced | HoldRefused)][-1]


def test_a_coin_that_left_gives_its_room_back() -> None:
    """1 BTC is bought and pays for 2 ETH, which are sold: nothing is held, so that 100 USDT may be bought again."""
    desk = limited(Measure.MAX_GROSS_EXPOSURE, "100")
    desk.report(
        fill("E1", Side.BUY, "1", "100"),
        fill("E2", Side.BUY, "2", "0.5", 1, instrument_id=CROSS),
        fill("E3", Side.SELL, "2", "50", 2, instrument_id=ETH),
    )
    placed = order(desk, "O1", BTC, Side.BUY, "1", "100")
    assert isinstance(placed, HoldPlaced)
    assert (placed.judged[0].used, placed.judged[0].asked) == (0, 100)
    assert isinstance(order(desk, "O2", BTC, Side.BUY, "0.01", "100"), HoldRefused)


def test_both_coins_of_a_cross_are_checked() -> None:
    """A sale of ETH for BTC raises what is held of BTC: a limit on BTC covers it, with its working orders."""
    desk = limited(Measure.MAX_NET_EXPOSURE, "200", Scope(asset="BTC"))
    desk.request(SetConversion("main", BTC, T0))
    desk.report(fill("E1", Side.BUY, "1", "100"))
    first = order(desk, "O1", CROSS, Side.SELL, "0.01", "100")  # at 100 BTC: one more BTC
    assert isinstance(first, HoldPlaced)
    assert (first.judged[0].used, first.judged[0].asked) == (100, 200)
    second = order(desk, "O2", CROSS, Side.SELL, "0.01", "100")
    assert isinstance(second, HoldRefused)
    assert second.failed is not None and second.failed.scope == Scope(asset="BTC")
    assert isinstance(order(desk, "O3", CROSS, Side.BUY, "0.01", "100"), HoldPlaced)  # it lowers what is held of BTC


def test_a_fee_in_a_third_coin_and_cash_count() -> None:
    desk = limited(Measure.MAX_GROSS_EXPOSURE, "1000", Scope(asset="BNB"))
    desk.report(fill("E1", Side.BUY, "3", "100", instrument_id=BNB))
    desk.report(fill("E2", Side.BUY, "1", "100", 1, fee=Money(D(2), "BNB")))
    desk.report(BookEntry("main", "N1", EntryKind.OPENING, Indicator.CREDIT, Money(D(4), "BNB"), "", T0))
    desk.report(BookEntry("main", "N2", EntryKind.LOAN, Indicator.CREDIT, Money(D(50), "BNB"), "", T0))
    placed = order(desk, "O1", BNB, Side.BUY, "1", "100")
    assert isinstance(placed, HoldPlaced)
    assert (placed.judged[0].used, placed.judged[0].asked) == (500, 600)


@pytest.mark.parametrize("instrument_id", [name for name in INSTRUMENTS if name != CROSS])
def test_base_currency_is_cash(instrument_id: str) -> None:
    desk = limited(Measure.MAX_GROSS_EXPOSURE, "1000000")
    desk.report(BookEntry("main", "N1", EntryKind.OPENING, Indicator.CREDIT, Money(D(400), "USDT"), "", T0))
    desk.report(fill("E1", Side.BUY, "1", "8", instrument_id=instrument_id))
    meter, mark = meter_of(desk, "main"), PRICES[instrument_id]
    assert isinstance(mark, Mark)
    contract = INSTRUMENTS[instrument_id]
    expected = contract.notional(D(1), mark.price)
    if contract.notional_currency == "USD":
        expected *= 2
    assert meter.held(Measure.MAX_GROSS_EXPOSURE, ANYWHERE, "USDT") == {"": expected}
