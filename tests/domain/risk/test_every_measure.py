"""Every measure at every scope, from both sides: just within passes, just beyond is refused, reducing passes."""

from datetime import timedelta
from decimal import Decimal as D
from typing import NamedTuple

import pytest

from domain.risk import FIRM, HoldPlaced, HoldRefused, LimitBreached, Measure, Scope
from domain.values import Side
from tests.domain.risk.book import BTC, Book

SCOPES = {
    "firm": (FIRM, Scope()),
    "account": ("main", Scope()),
    "strategy": ("main", Scope(strategy_id="trend")),
    "instrument": ("main", Scope(instrument_id=BTC)),
    "venue": ("main", Scope(venue="SIM")),
    "asset": ("main", Scope(asset="BTC")),
    "strategy at a venue in an asset": ("main", Scope("trend", None, "SIM", "BTC")),
    "asset of the firm": (FIRM, Scope(asset="BTC")),
}


class Case(NamedTuple):
    """A limit that an order of `within` meets and one of `beyond` exceeds, in a book that holds one BTC at 100."""

    limit: str
    within: str
    beyond: str
    price: str | None = "100"
    is_lossy: bool = False  # the limit is exceeded before the order
    does_reduce: bool = True  # an order that reduces passes beyond the limit


# Of 1,000 paid in and one BTC held at 100, whose mark is 100: equity 1,000.
CASES = {
    Measure.MAX_POSITION: Case("3", "2", "2.01"),
    Measure.MAX_ORDER_QTY: Case("2", "2", "2.01", does_reduce=False),
    Measure.MAX_ORDER_NOTIONAL: Case("200", "2", "2.01", does_reduce=False),
    Measure.PRICE_COLLAR: Case("0.05", "1", "1", does_reduce=False),
    Measure.MAX_MARK_AGE: Case("30", "1", "1", price=None, does_reduce=False),
    Measure.MAX_POSITION_NOTIONAL: Case("300", "2", "2.01"),
    Measure.MAX_NET_EXPOSURE: Case("300", "2", "2.01"),
    Measure.MAX_GROSS_EXPOSURE: Case("300", "2", "2.01"),
    Measure.MAX_LEVERAGE: Case("0.3", "2", "2.01"),
    Measure.MAX_CONCENTRATION: Case("0.3", "2", "2.01"),
    Measure.MAX_OPEN_ORDERS: Case("1", "1", "1"),
    Measure.MAX_ORDERS_PER_SECOND: Case("1", "1", "1"),
    Measure.MAX_ORDERS_PER_MINUTE: Case("1", "1", "1"),
    Measure.MAX_DAILY_LOSS: Case("20", "1", "1", is_lossy=True),
    Measure.MAX_DRAWDOWN: Case("0.02", "1", "1", is_lossy=True),
}


def test_every_measure_has_a_case():
    assert set(CASES) == set(Measure) - {Measure.BUYING_POWER}, "which has tests of its own: test_buying_power.py"


@pytest.mark.parametrize("where", SCOPES)
@pytest.mark.parametrize("measure", CASES)
def test_every_measure_at_every_scope_from_both_sides(measure: Measure, where: str):
    case, (owner, scope) = CASES[measure], SCOPES[where]
    book = Book()
    book.deposit("1000")
    book.mark(btc="100")
    book.fill("1")
    book.limit(case.limit, measure, owner, scope)
    if case.is_lossy:
        book.arrive(BTC, "100")
        breached = book.arrive(BTC, "80")  # a loss of 20: at the limit
        assert not any(isinstance(each, LimitBreached) for each in breached)
    elif measure is Measure.PRICE_COLLAR:
        assert isinstance(book.order("1", "105"), HoldPlaced)
    elif measure is Measure.MAX_MARK_AGE:
        book.at += timedelta(seconds=30)
    within = book.order(case.within, case.price, account="main")
    assert isinstance(within, HoldPlaced), within
    assert [(check.measure, check.scope) for check in within.judged] == [(measure, scope)]
    assert abs(within.judged[0].asked) == D(0) if measure is Measure.PRICE_COLLAR else D(case.limit)

    if case.is_lossy:
        (breach,) = (each for each in book.arrive(BTC, "79.9") if isinstance(each, LimitBreached))
        assert (breach.account_id, breach.scope, breach.measure) == (owner, scope, measure)
        assert breach.used > D(case.limit)
    elif measure is Measure.MAX_MARK_AGE:
        book.at += timedelta(seconds=1)
    fresh = (
        book if case.is_lossy or measure.is_count or measure is Measure.MAX_MARK_AGE else _again(case, measure, where)
    )
    beyond = fresh.order(case.beyond, "105.01" if measure is Measure.PRICE_COLLAR else case.price)
    assert isinstance(beyond, HoldRefused), beyond
    if measure is not Measure.MAX_MARK_AGE:
        assert beyond.failed is not None and (beyond.failed.measure, beyond.failed.scope) == (measure, scope)
        assert (beyond.failed.account_id, beyond.failed.currency) == (owner, "USDT" if measure.is_money else None)
        assert beyond.rule.startswith(f"{measure}")
    closing = fresh.order("1", case.price, Side.SELL)
    if case.does_reduce:
        assert isinstance(closing, HoldPlaced), closing
    fresh.follows()


def _again(case: Case, measure: Measure, where: str) -> Book:
    """The book without the order that was within the limit."""
    owner, scope = SCOPES[where]
    book = Book()
    book.deposit("1000")
    book.mark(btc="100")
    book.fill("1")
    book.limit(case.limit, measure, owner, scope)
    return book
