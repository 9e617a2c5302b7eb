"""Capital and equity: from the book, at marks, or stated; and what a limit that needs it says without."""

from datetime import timedelta
from decimal import Decimal as D

import pytest

from domain import risk
from domain.account import EntryKind
from domain.errors import RequestRefused
from domain.ledger import scan
from domain.position import PositionKey, Transfer
from domain.risk import (
    FIRM,
    AssessMarks,
    BreachCleared,
    CapitalBasis,
    EquityAssessed,
    HoldPlaced,
    HoldRefused,
    LimitBreached,
    Measure,
    Scope,
    SetConversion,
    StateCapital,
)
from domain.values import Money, Side
from tests.domain.risk.book import BTC, ETH, EUR, T0, Book

OF_EQUITY = [measure for measure in Measure if measure.is_of_equity]


def usd(amount: str, currency: str = "USDT") -> Money:
    return Money(D(amount), currency)


@pytest.mark.parametrize("measure", OF_EQUITY)
@pytest.mark.parametrize("owner", ["main", FIRM])
def test_without_a_capital_the_answer_says_what_is_missing_and_reducing_passes(measure: Measure, owner: str):
    book = Book()
    book.mark(btc="100")
    book.fill("2")
    book.limit("0.5", measure, owner)
    refused = book.order("1")
    assert (refused.rule, refused.facts["missing"]) == (
        "a capital to measure by",
        "a capital: record a deposit or an opening balance of the account, or state its capital",
    )
    assert isinstance(book.order("1", side=Side.SELL), HoldPlaced)
    book.deposit("10000")
    assert isinstance(book.order("1"), HoldPlaced)
    book.follows()


def test_equity_is_cash_and_gains_at_marks():
    book = Book()
    book.deposit("1000")
    book.mark(btc="110", eth="50")
    book.fill("3", "100")
    book.fill("2", "60", Side.SELL, ETH)
    book.limit("10", Measure.MAX_LEVERAGE)
    used = book.order("1", "110").equity
    assert (used.basis, used.currency, used.capital, used.gain) == (CapitalBasis.BOOK, "USDT", D(1000), D(30 + 20))
    book.deposit("500")
    assert book.order("1", "110").equity.capital == D(1500)
    book.follows()


def test_a_coin_paid_in_counts_at_its_mark_and_its_rise_is_a_gain():
    book = Book()
    book.deposit("2", "BTC")
    book.mark(btc="100")
    book.limit("0.2", Measure.MAX_DRAWDOWN)
    book.limit("9", Measure.MAX_LEVERAGE)
    assert book.order("1").equity.capital == D(200)
    (assessed,) = book.arrive(BTC, "100")
    assert (assessed.capital, assessed.gain, assessed.paid_in) == (D(200), D(0), (Money(D(2), "BTC"),))
    (assessed,) = book.arrive(BTC, "150")
    assert (assessed.capital, assessed.high) == (D(200), D(100))
    (breached,) = book.arrive(BTC, "119")
    assert isinstance(breached, LimitBreached)
    assert breached.used == D("0.206666666666666667"), "62 of 300"
    book.follows()


def test_what_is_borrowed_is_no_capital():
    book = Book()
    book.deposit("1000")
    book.deposit("5000", kind=EntryKind.LOAN)
    book.mark(btc="100")
    book.limit("10", Measure.MAX_LEVERAGE)
    used = book.order("1").equity
    assert used is not None
    assert used.total == D(1000)
    book.follows()


def test_what_is_transferred_in_is_capital_at_its_cost():
    book = Book()
    book.mark(btc="120")
    key = PositionKey("main", "trend", BTC)
    book.ledger.report([Transfer(key, "T1", Side.BUY, D(2), D(200), T0)], actor="venue")
    book.limit("9", Measure.MAX_LEVERAGE)
    used = book.order("1", "120").equity
    assert (used.capital, used.gain) == (D(200), D(40))
    book.ledger.report([Transfer(key, "T2", Side.SELL, D(1), D(-100), T0)], actor="venue")
    assert book.order("1", "120").equity.total == D(120)


def test_a_rate_that_is_missing_is_named_and_what_to_do():
    book = Book()
    book.deposit("1000", "EUR")
    book.mark(btc="100")
    book.limit("9", Measure.MAX_LEVERAGE)
    refused = book.order("1")
    assert refused.facts["missing"] == (
        "a rate from EUR to USDT: name an instrument to convert by, and record its mark"
    )
    book.request(SetConversion("main", EUR, T0))
    assert book.order("1").facts["missing"] == f"a mark of {EUR}: record one"
    book.mark(eur="1.25")
    assert book.order("1").equity.capital == D(1250)
    book.follows()


def test_a_statement_overrides_the_book_until_it_is_withdrawn():
    book = Book()
    book.deposit("1000")
    book.mark(btc="100")
    book.limit("1", Measure.MAX_LEVERAGE)
    assert isinstance(book.order("11"), HoldRefused)
    book.at += timedelta(hours=1)
    book.mark(btc="100")
    stated_at = book.at
    book.request(StateCapital("main", usd("2000"), book.at), StateCapital("main", usd("2000"), book.at))
    book.at += timedelta(seconds=1)
    made = book.order("11")
    assert isinstance(made, HoldPlaced)
    assert (made.equity.basis, made.equity.capital, made.equity.stated_at) == (CapitalBasis.STATED, D(2000), stated_at)
    refused = book.order("10")
    facts = risk.refusal(refused).facts
    assert (facts["equity"], facts["capital_basis"], facts["capital_stated_at"]) == (D(2000), "STATED", stated_at)
    book.request(StateCapital("main", None, book.at), StateCapital("main", None, book.at))
    assert book.order("1").equity.capital == D(1000)
    assert book.state().statement is None
    book.follows()


def test_the_firms_capital_is_that_of_its_accounts_or_stated():
    book = Book("main", "second")
    book.deposit("1000")
    book.deposit("500", account="second")
    book.mark(btc="100")
    book.limit("1", Measure.MAX_LEVERAGE, FIRM)
    assert isinstance(book.order("10"), HoldPlaced)
    refused = book.order("6", account="second")
    assert (refused.failed.account_id, refused.equity.capital) == (FIRM, D(1500))
    book.request(StateCapital(FIRM, usd("5000"), book.at))
    assert isinstance(book.order("6", account="second"), HoldPlaced)
    book.follows()


def test_a_capital_is_zero_or_more_of_an_account_that_is_open():
    book = Book()
    with pytest.raises(RequestRefused, match="zero or more"):
        book.request(StateCapital("main", usd("-1"), T0))
    with pytest.raises(RequestRefused, match="open it first"):
        book.request(StateCapital("nobody", usd("1"), T0))


def test_a_drawdown_of_a_strategy_is_of_its_own_gains():
    book = Book()
    book.deposit("1000")
    book.mark(btc="100", eth="100")
    book.fill("1", "100")
    book.fill("1", "100", instrument=ETH)
    book.limit("0.05", Measure.MAX_DRAWDOWN, scope=Scope(instrument_id=ETH))
    book.arrive(ETH, "150")
    assert not any(isinstance(each, LimitBreached) for each in book.arrive(BTC, "20"))
    (breached,) = (each for each in book.arrive(ETH, "90") if isinstance(each, LimitBreached))
    assert breached.used == D("0.057142857142857143"), "60 of 1,050"
    assert any(isinstance(each, BreachCleared) for each in book.arrive(ETH, "149"))
    book.follows()


def test_the_rise_of_a_coin_is_no_fall_once_a_capital_is_stated():
    book = Book()
    book.deposit("2", "BTC")
    book.mark(btc="100")
    book.limit("0.1", Measure.MAX_DRAWDOWN)
    book.order("1")
    book.arrive(BTC, "100")
    book.arrive(BTC, "200")
    before = book.log.head().seq
    book.request(StateCapital("main", usd("400"), book.at))
    assert book.arrive(BTC, "199") == [], "it was assessed when it was stated"
    _, assessed, *_ = (each.recorded.event for each in scan(book.log, after=before))
    assert (type(assessed), assessed.basis, assessed.high) == (EquityAssessed, CapitalBasis.STATED, D(0))
    assert book.order("1", "199").judged[0].asked == D(0)
    book.follows()


# Marks that arrive


@pytest.mark.parametrize(
    ("measure", "limit"),
    [
        (Measure.MAX_DAILY_LOSS, "50"),
        (Measure.MAX_DRAWDOWN, "0.05"),
        (Measure.MAX_LEVERAGE, "0.21"),
        (Measure.MAX_CONCENTRATION, "0.21"),
        (Measure.MAX_POSITION_NOTIONAL, "201"),
        (Measure.MAX_NET_EXPOSURE, "201"),
        (Measure.MAX_GROSS_EXPOSURE, "201"),
    ],
)
@pytest.mark.parametrize("owner", ["main", FIRM])
def test_a_mark_alone_breaches_and_clears_every_limit_of_what_is_held(measure: Measure, limit: str, owner: str):
    book = Book("main", "second", "idle")
    book.deposit("1000")
    book.mark(btc="100")
    book.fill("2")
    book.limit(limit, measure, owner)
    book.arrive(BTC, "100")
    price = "70" if measure in (Measure.MAX_DAILY_LOSS, Measure.MAX_DRAWDOWN) else "150"
    before = book.log.head().seq
    (breach,) = (each for each in book.arrive(BTC, price) if isinstance(each, LimitBreached))
    assert (breach.account_id, breach.measure, breach.limit) == (owner, measure, D(limit))
    assert [(seen.mark.instrument_id, seen.mark.price) for seen in breach.marks] == [(BTC, D(price))]
    assert book.log.head().seq > before
    assert any(isinstance(each, BreachCleared) for each in book.arrive(BTC, "100"))
    assert book.arrive(BTC, "100") == [], "only changes are recorded"
    book.follows()


def test_an_old_mark_or_one_of_what_is_not_held_changes_nothing():
    book = Book()
    book.deposit("1000")
    book.mark(btc="100")
    book.fill("2")
    book.limit("50", Measure.MAX_DAILY_LOSS)
    book.arrive(BTC, "100")
    assert book.arrive(ETH, "1") == []
    assert book.arrive(BTC, "10", book.at - timedelta(minutes=2)) == [], "an older one, and too old"
    newest = book.market[BTC]
    book.market[BTC] = type(newest)(BTC, D(100), "SIM", book.at)
    assert book.arrive(BTC, "10", book.at - timedelta(seconds=5)) == [], "older than the newest"


def test_a_monitoring_with_a_capital_states_it():
    book = Book()
    book.limit("0.5", Measure.MAX_LEVERAGE)
    book.mark(btc="100")
    book.request(AssessMarks("main", (), T0, usd("1000")))
    assert book.state().statement.capital == usd("1000")
    assert isinstance(book.order("5"), HoldPlaced)
    book.follows()
