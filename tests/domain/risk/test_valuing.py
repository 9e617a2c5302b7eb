"""What an order counts for: the worse of its own price and the mark."""

import json
from datetime import timedelta
from decimal import Decimal as D
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from domain import risk
from domain.ledger import Item, scan, schema
from domain.order import Changes, OrderKey, OrderReplaced, OrderTerms, OrdType, PegOffset, ReplaceOrder
from domain.risk import Desk, HoldPlaced, HoldRefused, Measure, PriceBasis, Scope
from domain.risk.valuing import valuation
from domain.values import Side
from tests.derived import derived_items, items
from tests.domain.risk.book import BTC, INV, Book

STOP = {"price": None, "kind": OrdType.STOP}
TRAILING = {"price": None, "kind": OrdType.TRAILING_STOP}


def notional(book: Book, limit: str = "1000000", **order: Any) -> Any:
    """The decision on an order of one, and the notional it was checked with."""
    book.limit(limit, Measure.MAX_ORDER_NOTIONAL)
    made = book.order("1", **order)
    return made, made.judged[0].asked if isinstance(made, HoldPlaced) else made.failed.asked


@pytest.mark.parametrize(
    ("order", "counted", "basis"),
    [
        ({"price": "0.01", "side": Side.SELL}, "1000", PriceBasis.MARK),
        ({"price": "1100", "side": Side.SELL}, "1100", PriceBasis.LIMIT),
        ({"price": "1100"}, "1100", PriceBasis.LIMIT),
        ({"price": "900"}, "1000", PriceBasis.MARK),
        ({"price": "1000"}, "1000", PriceBasis.LIMIT),
        ({"price": None}, "1000", PriceBasis.MARK),
        ({**STOP, "side": Side.SELL, "stop_px": D(900)}, "1000", PriceBasis.MARK),
        ({**STOP, "stop_px": D(1200)}, "1200", PriceBasis.TRIGGER),
        ({"price": "1250", "kind": OrdType.STOP_LIMIT, "stop_px": D(1200)}, "1250", PriceBasis.LIMIT),
        ({"price": "900", "kind": OrdType.STOP_LIMIT, "stop_px": D(1200)}, "1200", PriceBasis.TRIGGER),
        ({**TRAILING, "peg_offset_value": D(50)}, "1050", PriceBasis.TRAIL),
        ({**TRAILING, "peg_offset_value": D(50), "side": Side.SELL}, "1000", PriceBasis.MARK),
        (
            {**TRAILING, "peg_offset_value": D(200), "peg_offset": PegOffset.BASIS_POINTS},
            "1020",
            PriceBasis.TRAIL,
        ),
    ],
)
def test_an_order_counts_at_the_worse_of_its_own_price_and_the_mark(order: Any, counted: str, basis: PriceBasis):
    book = Book()
    book.mark(btc="1000")
    made, found = notional(book, **order)
    assert isinstance(made, HoldPlaced)
    assert (found, made.valuation.price, made.valuation.basis) == (D(counted), D(counted), basis)
    assert made.notional == D(counted)
    refused, found = notional(book, "200", **order)
    assert isinstance(refused, HoldRefused)
    assert found == D(counted)
    book.follows()


def test_the_refusal_states_the_price_used_and_why():
    book = Book()
    book.mark(btc="1000")
    refused, _ = notional(book, "200", price="0.01", side=Side.SELL)
    facts = risk.refusal(refused).facts
    assert (facts["price_used"], facts["priced_by"]) == (D(1000), PriceBasis.MARK)
    assert [seen.mark.price for seen in refused.marks] == [D(1000)]


def test_without_a_mark_of_the_last_day_a_priced_order_counts_at_its_own_price():
    book = Book()
    _, counted = notional(book, price="0.01", side=Side.SELL)
    assert counted == D("0.01")
    book.mark(btc="1000")
    book.at += timedelta(hours=24)
    _, counted = notional(book, price="0.01", side=Side.SELL)
    assert counted == D(1000)
    book.at += timedelta(seconds=1)
    made, counted = notional(book, price="0.01", side=Side.SELL)
    assert (counted, made.marks) == (D("0.01"), ())
    book.follows()


def test_a_mark_that_is_only_compared_with_is_not_too_old_for_a_limit_of_age():
    book = Book()
    book.mark(btc="1000")
    book.at += timedelta(hours=1)
    book.limit("5", Measure.MAX_MARK_AGE)
    made, counted = notional(book, price="900")
    assert isinstance(made, HoldPlaced)
    assert (counted, [seen.age_ms for seen in made.marks]) == (D(1000), [3_600_000])


def test_an_inverse_order_counts_in_its_base_currency_at_the_lower_price():
    book = Book()
    book.mark(inv="1000")
    book.limit("1", Measure.MAX_ORDER_NOTIONAL, currency="BTC")
    for price, counted in (("500", "0.2"), ("2000", "0.1")):
        made = book.order("1", price, instrument=INV)
        assert made.judged[0].asked == D(counted), "100 USD a contract"
    book.limit("1000", Measure.MAX_ORDER_NOTIONAL, currency="USD")
    assert book.order("1", "2000", instrument=INV).judged[0].asked == D(100)


@pytest.mark.parametrize(
    "measure", [Measure.MAX_POSITION_NOTIONAL, Measure.MAX_NET_EXPOSURE, Measure.MAX_GROSS_EXPOSURE]
)
def test_what_works_counts_at_the_worse_price_too_until_it_is_filled(measure: Measure):
    book = Book()
    book.mark(btc="100")
    book.limit("1000", measure)
    first = book.order("2", "150")
    assert first.judged[0].asked == D(300)
    second = book.order("1", "90")
    assert (second.judged[0].used, second.judged[0].asked) == (D(300), D(400)), "the mark is worse for it"
    book.mark(btc="160")
    third = book.order("1", "160")
    assert (third.judged[0].used, third.judged[0].asked) == (D(480), D(640)), "the mark is worse for all now"
    book.mark(btc="80")
    assert book.order("1", "80").judged[0].used == D(300 + 90 + 160)
    book.follows()


def test_a_replacement_counts_at_the_larger_price_until_the_venue_has_answered():
    book = Book()
    book.mark(btc="100")
    book.limit("1000", Measure.MAX_GROSS_EXPOSURE)
    book.order("2", "150")
    key = OrderKey("main", "O1")
    book.request(ReplaceOrder(key, "R1", Changes(price=D(120)), book.at))
    assert book.state().holds[key].price == D(150)
    book.at += timedelta(seconds=1)
    book.ledger.report([OrderReplaced(key, book.at, requested_as="R1")], actor="venue")
    assert book.state().holds[key].price == D(120)
    assert book.state().exposure.cell(Desk("main", "trend"), BTC).buying_at == D(240)
    book.follows()


def test_the_firm_carries_over_at_what_prices_orders_work():
    book = Book()
    book.mark(btc="100")
    book.order("2", "150")
    book.limit("1000", Measure.MAX_GROSS_EXPOSURE, "firm")
    made = book.order("1", "100")
    assert [(check.account_id, check.used) for check in made.judged] == [("firm", D(300))]
    book.follows()


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["BUY", "SELL", "MARK", "FILL"]), st.integers(1, 5), st.integers(80, 120), st.integers(0, 9)
    ),
    max_size=14,
)


@settings(max_examples=30)
@given(steps=STEPS)
def test_gross_exposure_is_that_of_every_order_by_itself(steps: list[tuple[str, int, int, int]]):
    """However orders come, are filled in part and end, at any mark."""
    book, mark = Book(), 100
    book.limit("1000000", Measure.MAX_GROSS_EXPOSURE)
    working: list[tuple[str, Side]] = []
    for kind, quantity, price, which in steps:
        book.at += timedelta(seconds=1)
        if kind == "MARK":
            mark = price
        elif kind == "FILL" and working:
            book.fill_order(*working[which % len(working)], "0.5")
        elif kind in Side.__members__:
            book.mark(btc=str(mark))
            assert isinstance(book.order(str(quantity), str(price), Side(kind)), HoldPlaced)
            working.append((f"O{book.orders}", Side(kind)))
    book.mark(btc=str(mark))
    used = book.order("1", str(mark)).judged[0].used
    state = book.state()
    held = state.position(Scope(), BTC) * mark
    worth = {side: D(0) for side in Side}
    for hold in state.holds.values():
        worth[hold.side] += hold.quantity * max(hold.price, D(mark))
    worth[Side.BUY] -= mark  # of the last order, which shows what was used before it
    assert used == max(abs(held + worth[Side.BUY]), abs(held - worth[Side.SELL]))
    book.follows()


PRICES = st.decimals("0.01", "1000", places=2)


@settings(max_examples=40)
@given(limit=PRICES, mark=PRICES, side=st.sampled_from(Side))
def test_an_order_never_counts_below_its_own_price_or_the_mark(limit: D, mark: D, side: Side):
    terms = OrderTerms("trend", BTC, side, OrdType.LIMIT, D(1), limit)
    valued = valuation(terms, mark)
    assert valued is not None
    assert valued.price == max(limit, mark)
    assert valuation(terms, None).price == limit  # type: ignore[union-attr]


def as_first_released(event: HoldPlaced, used: str) -> tuple[bytes, Any]:
    """The event as an older release stored it, checked with another amount."""
    recorded = json.loads(schema.encode(event))
    hold = recorded["event"]
    hold |= {"type": "HoldPlaced", "marks": [], "notional": used, "mark": None}
    hold["judged"] = [each | {"asked": used} for each in hold["judged"]]
    for name in ("price", "valuation", "equity"):
        hold.pop(name, None)
    stored = json.dumps(recorded).encode()
    return stored, schema.decode("HoldPlaced", stored)


def test_what_an_older_release_decided_by_its_own_rule_is_no_fault():
    book = Book()
    book.mark(btc="1000")
    book.limit("2000", Measure.MAX_ORDER_NOTIONAL)
    book.order("1", "0.01", Side.SELL)
    log = items([each.recorded for each in scan(book.log)])
    *before, last = log
    assert isinstance(last.recorded.event, HoldPlaced)
    stored, recorded = as_first_released(last.recorded, "0.01")
    found = derived_items([*before, Item(last.seq, recorded, "HoldPlaced", stored)])
    assert not found.faults
    assert [each.topics for each in found.other_code] == ["HoldPlaced"]
    stored, recorded = as_first_released(last.recorded, "1000")
    assert derived_items([*before, Item(last.seq, recorded, "HoldPlaced", stored)]).faults == ()
    changed = replace(last.recorded, event=replace(last.recorded.event, notional=D(7)))
    assert derived_items([*before, last._replace(recorded=changed)]).faults, "a decision of today is checked"
