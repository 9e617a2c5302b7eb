"""Limits of money are monitored when a fill, a payment or a statement of capital arrives, at the newest marks."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal as D
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.account import EntryKind
from domain.ledger import scan
from domain.risk import FIRM, AssessMarks, AssessmentMissed, BreachCleared, LimitBreached, Measure, StateCapital
from domain.values import Money, Side
from tests.domain.risk.book import BTC, ETH, Book

Step = Callable[[Book], None]


def after(book: Book, step: Step) -> list[Any]:
    """The events that a step adds."""
    before = book.log.head().seq
    step(book)
    return [each.recorded.event for each in scan(book.log, after=before)]


def begun(owner: str = "main", *, capital: str = "1000") -> Book:
    """Two coins bought at 100, which are worth 100 each."""
    book = Book("main", "second")
    if capital:
        book.deposit(capital)
    book.mark(btc="100", eth="100")
    book.fill("2")
    return book


BREACHING: list[tuple[Measure, str, Step]] = [
    (Measure.MAX_DAILY_LOSS, "50", lambda book: book.fill("2", "70", Side.SELL)),
    (Measure.MAX_DAILY_LOSS, "50", lambda book: book.fill("3", "120")),
    (Measure.MAX_DRAWDOWN, "0.05", lambda book: book.fill("2", "70", Side.SELL)),
    (Measure.MAX_LEVERAGE, "0.25", lambda book: book.fill("1", "100", instrument=ETH)),
    (Measure.MAX_CONCENTRATION, "0.25", lambda book: book.fill("1")),
    (Measure.MAX_POSITION_NOTIONAL, "201", lambda book: book.fill("1")),
    (Measure.MAX_NET_EXPOSURE, "201", lambda book: book.fill("1")),
    (Measure.MAX_GROSS_EXPOSURE, "201", lambda book: book.fill("1", "100", Side.SELL, instrument=ETH)),
]


@pytest.mark.parametrize(("measure", "limit", "step"), BREACHING)
@pytest.mark.parametrize("owner", ["main", FIRM])
def test_a_fill_alone_breaches_every_limit_of_what_is_held(measure: Measure, limit: str, step: Step, owner: str):
    book = begun()
    book.limit(limit, measure, owner)
    book.arrive(BTC, "100")
    (breach,) = [each for each in after(book, step) if isinstance(each, LimitBreached)]
    assert (breach.account_id, breach.measure, breach.limit) == (owner, measure, D(limit))
    assert not [each for each in book.arrive(BTC, "100") if isinstance(each, LimitBreached)], "it is breached already"
    book.follows()


def test_a_statement_of_capital_breaches_and_a_payment_clears():
    book = begun()
    book.limit("1", Measure.MAX_LEVERAGE)
    (breach,) = [
        each
        for each in after(book, lambda book: book.request(StateCapital("main", Money(D(100), "USDT"), book.at)))
        if isinstance(each, LimitBreached)
    ]
    assert (breach.measure, breach.used) == (Measure.MAX_LEVERAGE, D(2))
    withdrawn = after(book, lambda book: book.request(StateCapital("main", None, book.at)))
    assert [each.measure for each in withdrawn if isinstance(each, BreachCleared)] == [Measure.MAX_LEVERAGE]
    book.follows()


def test_more_capital_ends_a_breach_at_once():
    book = begun(capital="150")
    book.limit("1", Measure.MAX_LEVERAGE)
    (breach,) = [each for each in after(book, lambda book: book.fill("0.1")) if isinstance(each, LimitBreached)]
    assert breach.used == D("1.4")
    ended = after(book, lambda book: book.deposit("1000", kind=EntryKind.ADJUSTMENT))
    assert any(isinstance(each, BreachCleared) for each in ended)
    book.follows()


def test_what_is_held_without_a_fresh_mark_is_not_monitored_by_a_fill():
    book = begun()
    book.limit("50", Measure.MAX_DAILY_LOSS)
    book.at += timedelta(hours=1)
    events = after(book, lambda book: book.fill("1"))
    assert not any(isinstance(each, LimitBreached | AssessmentMissed) for each in events)


def test_an_account_without_such_a_limit_has_nothing_of_it():
    book = begun()
    book.limit("10", Measure.MAX_POSITION)
    others = begun()
    others.limit("50", Measure.MAX_DAILY_LOSS, "second")
    for each in (book, others):
        assert len(after(each, lambda book: book.fill("1"))) <= 5
        each.follows()


kinds = st.lists(
    st.tuples(st.integers(0, 5), st.integers(1, 9), st.integers(6, 14), st.booleans(), st.booleans()), max_size=12
)


@given(kinds)
@settings(max_examples=60)
def test_after_any_arrival_monitoring_at_the_same_marks_adds_nothing(steps: list[tuple[int, int, int, bool, bool]]):
    book = begun()
    for owner in ("main", FIRM):
        for measure, limit in ((Measure.MAX_DAILY_LOSS, "30"), (Measure.MAX_LEVERAGE, "0.4")):
            book.limit(limit, measure, owner)
        book.limit("0.03", Measure.MAX_DRAWDOWN, owner)
        book.request(AssessMarks(owner, (), book.at))
    for kind, a, price, is_buy, is_second in steps:
        account = "second" if is_second else "main"
        match kind:
            case 0:
                book.deposit(str(a * 50), account=account)
            case 1:
                book.request(StateCapital(account, Money(D(a * 100), "USDT") if is_buy else None, book.at))
            case 2:
                book.arrive(BTC, str(price * 10))
            case _:
                name = ETH if kind == 3 else BTC
                book.fill(str(a), str(price * 10), Side.BUY if is_buy else Side.SELL, name, account=account)
        before = book.log.head().seq
        for owner in ("main", FIRM):
            book.request(AssessMarks(owner, (), book.at))
        assert book.log.head().seq == before, f"after {(kind, a, price, is_buy, is_second)}"
    book.follows()
