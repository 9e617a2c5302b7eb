"""Gains of a book: what moved coins is read from the log, valued at its moment, in any order of arrival."""

import random
from datetime import UTC, timedelta
from decimal import Decimal as D
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.account import (
    BookEntry,
    ChargeFee,
    ConvertMoney,
    CostBasis,
    Costing,
    EntryKind,
    FeePolicy,
    Indicator,
    Leg,
    ReturnTransfer,
    SettleTransfer,
)
from domain.holdings.gains import Scope, Withdrawals
from domain.instrument import Contract, Kind
from domain.position import AssignLots, MovePosition, PositionKey, SettleFunding, Transfer, TransferReason
from domain.values import ZERO, Mark, Money, Side
from projections.gains.facts import Wanted, facts, linked
from projections.gains.rates import Valuing, valued
from projections.gains.report import Selection, report
from projections.models import balances, reference_data
from projections.runner.runner import as_of
from tests.desk import BTC, PERP, T0, Desk, costings, days, fill
from tests.projections.holdings import books

IN, OUT = Indicator.CREDIT, Indicator.DEBIT
PAIRS = {
    BTC: Contract(Kind.SPOT, "BTC", "USDT", "USDT"),
    "BNBUSDT.SIM": Contract(Kind.SPOT, "BNB", "USDT", "USDT"),
}
PRICES = {BTC: D(50_000), "BNBUSDT.SIM": D(500)}
EUR_PAIRS = PAIRS | {"USDTEUR.SIM": Contract(Kind.SPOT, "USDT", "EUR", "EUR")}


def at(minutes):
    return T0 + timedelta(minutes=minutes)


def money(amount, currency):
    return Money(D(amount), currency)


def marked(prices=PRICES, age=timedelta(seconds=1)):
    """Marks of the same price at every moment, a little older than it."""
    return lambda places: [
        Mark(name, prices[name], "SIM", moment - age) if name in prices else None for name, moment in places
    ]


def gains_of(
    desk, *, scope=Scope.ACCOUNT, basis=CostBasis.FIFO, currency="USDT", look_up=None, zone=UTC, account_id=None,
    occurred_by=None, withdrawals=Withdrawals.REMOVED, policy=FeePolicy.CAPITALISED, pairs=PAIRS, year=None,
):  # fmt: skip
    source = as_of(desk.log)
    valuing = Valuing(currency, pairs | reference_data.pairs(source), timedelta(days=1))
    wanted = Wanted(None if account_id is None else linked(source, account_id), occurred_by, withdrawals)
    movements = valued(facts(source, wanted), valuing, look_up or marked(), lambda _: policy)
    bases = dict.fromkeys(("main", "hedge", ""), basis)
    made = report(movements, scope, bases, Selection(zone, 365, account_id, year=year), currency)
    return made._replace(items=list(made.items))


def shown(made, *names):
    return [tuple(row[name] for name in names) for row in made.items]


def book(*reports):
    desk = Desk()
    desk.report(*reports)
    return desk


BOUGHT = (fill("E1", Side.BUY, "1", "100"), fill("E2", Side.BUY, "1", "200", 1))
SOLD = fill("E3", Side.SELL, "1.5", "300", 2)


def test_a_sale_uses_up_lots_by_coin_at_the_exact_amounts_of_its_currency():
    made = gains_of(book(*BOUGHT, SOLD))
    names = ("coin", "reference", "lot_id", "quantity", "cost", "proceeds", "gain", "term", "missing")
    assert shown(made, *names) == [
        ("BTC", "E3", "E1", 1, 100, 300, 200, "SHORT", None),
        ("BTC", "E3", "E2", D("0.5"), 100, 150, 50, "SHORT", None),
    ]
    assert made.items[0]["proceeds_rate_source"] is None
    assert [(row["lot_id"], row["quantity"], row["cost"]) for row in made.left] == [("E2", D("0.5"), 100)]
    (year,) = made.years
    assert (year["year"], year["gain"], year["gain_short"], year["unvalued"]) == (2026, 250, 250, 0)


def test_a_payment_and_a_fee_in_coins_are_disposals_at_the_rates_of_their_moment():
    deposit = SettleTransfer("main", Leg("D", IN, money(1000, "USDT")), at(-2))
    bnb = SettleTransfer("main", Leg("D2", IN, money(1, "BNB")), at(-1))
    desk = book(deposit, bnb, fill("E1", Side.BUY, "1", "100", fee=money("0.01", "BNB")))
    prices = {"USDTEUR.SIM": D("0.9"), "BNBUSDT.SIM": D(500)}
    made = gains_of(desk, currency="EUR", look_up=marked(prices), pairs=EUR_PAIRS)
    names = ("coin", "kind", "quantity", "cost", "proceeds", "gain")
    assert shown(made, *names) == [
        ("USDT", "PAYMENT", 100, 90, 90, 0),
        ("BNB", "FEE", D("0.01"), D("4.5"), D("4.5"), 0),
    ]
    btc = next(row for row in made.left if row["coin"] == "BTC")
    assert (btc["cost"], btc["cost_rate"], btc["cost_rate_of"]) == (D("94.5"), D("0.9"), "USDT")
    assert btc["cost_rate_source"] == "USDTEUR.SIM 0.9 SIM 2026-03-01T08:59:59.000000Z"
    fee = made.items[1]
    assert "BNBUSDT.SIM 500" in fee["proceeds_rate_source"]
    assert "USDTEUR.SIM 0.9" in fee["proceeds_rate_source"]


def test_a_missing_rate_is_named_and_counted_and_nothing_is_left_out():
    made = gains_of(book(*BOUGHT, SOLD), currency="EUR", look_up=marked({}), pairs=EUR_PAIRS)
    assert {row["gain"] for row in made.items} == {None}
    assert sum(row["quantity"] for row in made.items if row["coin"] == "BTC") == D("1.5")
    assert "no rate from USDT to EUR at 2026-03-01T09:00:00Z: no mark of USDTEUR.SIM" in made.missing
    (year,) = made.years
    assert (year["unvalued"], year["disposals"], year["gain"]) == (len(made.items), len(made.items), 0)
    total = next(row for row in made.totals if row["coin"] == "BTC")
    assert (total["unvalued"], total["unvalued_quantity"]) == (2, D("1.5"))


def test_a_mark_that_is_too_old_makes_no_rate():
    old = marked({"USDTEUR.SIM": D("0.9")}, age=timedelta(days=2))
    made = gains_of(book(*BOUGHT), currency="EUR", look_up=old, pairs=EUR_PAIRS)
    assert any("too old a mark of USDTEUR.SIM" in text for text in made.missing)


def test_a_transfer_between_our_accounts_carries_lots_and_its_network_fee_is_a_disposal():
    leg = Leg("T", OUT, money("1.2", "BTC"), fee=money("0.1", "BTC"), counter_account_id="hedge")
    sold = fill("E4", Side.SELL, "1.1", "300", 9, account_id="hedge")
    desk = book(*BOUGHT, SettleTransfer("main", leg, at(5)), sold)
    made = gains_of(desk, look_up=marked({BTC: D(250)}))
    assert shown(made, "account_id", "kind", "lot_id", "quantity", "cost", "proceeds") == [
        ("main", "FEE", "E2", D("0.1"), 20, 25),
        ("hedge", "SALE", "E1", 1, 100, 300),
        ("hedge", "SALE", "E2", D("0.1"), 20, 30),
    ]
    assert shown(gains_of(desk, account_id="hedge"), "lot_id", "acquired_account_id") == [
        ("E1", "main"),
        ("E2", "main"),
    ]
    assert {row["account_id"]: row["left"] for row in made.coins if row["coin"] == "BTC"} == {
        "main": D("0.7"), "hedge": D("0.1"),
    }  # fmt: skip


def test_over_all_accounts_a_sale_uses_the_lots_of_any_and_alone_its_own():
    other = fill("H1", Side.BUY, "1", "50", -5, account_id="hedge")
    desk = book(other, *BOUGHT, fill("E3", Side.SELL, "1", "300", 3))
    assert shown(gains_of(desk), "lot_id", "gain") == [("E1", 200)]
    assert shown(gains_of(desk, scope=Scope.ALL), "lot_id", "gain") == [("H1", 250)]


def test_a_withdrawal_takes_its_lots_out_or_disposes_of_them_as_requested():
    out = SettleTransfer("main", Leg("W", OUT, money(1, "BTC"), fee=money("0.1", "BTC")), at(3))
    desk = book(*BOUGHT, out)
    made = gains_of(desk, look_up=marked({BTC: D(250)}))
    assert shown(made, "kind", "lot_id", "quantity", "gain") == [("FEE", "E2", D("0.1"), 5)]
    assert [(row["lot_id"], row["quantity"], row["cost"]) for row in made.removed] == [("E1", 1, 100)]
    disposed = gains_of(desk, look_up=marked({BTC: D(250)}), withdrawals=Withdrawals.DISPOSED)
    assert shown(disposed, "kind", "lot_id", "gain") == [("WITHDRAWAL", "E1", 150), ("FEE", "E2", 5)]


def test_a_returned_transfer_never_left():
    leg = Leg("W", OUT, money(1, "BTC"), fee=money("0.1", "BTC"))
    made = gains_of(book(*BOUGHT, SettleTransfer("main", leg, at(3)), ReturnTransfer("main", leg, "no", at(4)), SOLD))
    assert not made.removed
    assert [row["lot_id"] for row in made.items] == ["E1", "E2"]
    before = gains_of(
        book(*BOUGHT, SettleTransfer("main", leg, at(3)), ReturnTransfer("main", leg, "no", at(4))), occurred_by=at(3)
    )
    assert [row["lot_id"] for row in before.removed] == ["E1"]


@pytest.mark.parametrize("kind", [EntryKind.STAKING, EntryKind.INTEREST, EntryKind.AIRDROP, EntryKind.INCOME])
def test_income_is_a_lot_at_its_market_value_on_receipt(kind):
    desk = book(BookEntry("main", "I", kind, IN, money(2, "BNB"), "", at(0)))
    made = gains_of(desk)
    assert [(row["kind"], row["quantity"], row["value"], row["value_rate"]) for row in made.income] == [
        (kind.value, 2, 1000, 500)
    ]
    assert [(row["acquired_by"], row["cost"]) for row in made.left] == [(kind.value, 1000)]
    assert made.years[0]["income"] == 1000


def test_conversions_fees_loans_and_stakes_are_what_each_is_to_a_coin():
    desk = book(
        BookEntry("main", "O", EntryKind.OPENING, IN, money(4, "BNB"), "", at(0)),
        BookEntry("main", "S", EntryKind.STAKE, OUT, money(4, "BNB"), "", at(1)),
        ConvertMoney("main", "C", money(1, "BNB"), money("0.02", "BTC"), None, "dust", at(2)),
        ChargeFee("main", "F", money(1, "BNB"), "custody", at(3)),
        BookEntry("main", "L", EntryKind.LOAN, IN, money(1, "BTC"), "", at(4)),
        BookEntry("main", "L2", EntryKind.LOAN, OUT, money(1, "BTC"), "", at(5)),
    )
    made = gains_of(desk)
    assert shown(made, "coin", "kind", "lot_id", "quantity", "gain") == [
        ("BNB", "CONVERSION", "O", 1, 0),
        ("BNB", "FEE", "O", 1, 0),
        ("BTC", "LOAN", "C", D("0.02"), 500),
        ("BTC", "LOAN", "L", D("0.98"), 0),
    ]
    assert made.years[0]["expenses"] == 500


def test_what_futures_realize_in_a_coin_is_acquired_or_disposed_of():
    desk = Desk()
    opened = fill("P1", Side.BUY, "100", "10000", 0, instrument_id=PERP)
    desk.report(opened, fill("P2", Side.SELL, "50", "20000", 1, instrument_id=PERP))
    desk.report(fill("P3", Side.SELL, "50", "8000", 2, instrument_id=PERP))
    key = PositionKey("main", "trend", PERP)
    desk.report(
        SettleFunding(key, "F1", money("0.01", "BTC"), at(3)), SettleFunding(key, "F2", money("-0.02", "BTC"), at(4))
    )
    made = gains_of(desk)
    names = ("kind", "reference", "settle", "amount", "value", "value_rate")
    assert [tuple(row[name] for name in names) for row in made.derivatives] == [
        ("REALIZED", "P2", "BTC", D("0.25"), 12_500, 50_000),
        ("REALIZED", "P3", "BTC", D("-0.125"), -6250, 50_000),
        ("FUNDING", "F1", "BTC", D("0.01"), 500, 50_000),
        ("FUNDING", "F2", "BTC", D("-0.02"), -1000, 50_000),
    ]  # fmt: skip
    assert shown(made, "kind", "reference", "quantity", "cost") == [
        ("REALIZED", "P3", D("0.125"), 6250), ("FUNDING", "F2", D("0.02"), 1000),
    ]  # fmt: skip
    assert (made.years[0]["derivatives"], made.years[0]["income"], made.years[0]["expenses"]) == (5750, 0, 0)


def test_derivatives_that_settle_in_the_currency_are_lines_of_their_own_and_no_coins():
    desk = books.desk_of()
    more = {"instrument_id": books.LINEAR, "fee": money("0.5", "USDT")}
    desk.report(fill("P1", Side.BUY, "4", "100", 0, **more), fill("P2", Side.SELL, "4", "150", 1, **more))
    desk.report(SettleFunding(PositionKey("main", "trend", books.LINEAR), "F1", money("-3", "USDT"), at(2)))
    made = gains_of(desk)
    found = [(row["kind"], row["reference"], row["value"], row["value_rate_source"]) for row in made.derivatives]
    assert found == [
        ("FEE", "P1", D("-0.5"), None), ("REALIZED", "P2", 100, None), ("FEE", "P2", D("-0.5"), None),
        ("FUNDING", "F1", -3, None),
    ]  # fmt: skip
    assert (made.items, made.left, made.years[0]["derivatives"]) == ([], [], 96)
    in_euro = gains_of(desk, currency="EUR", look_up=marked({"USDTEUR.SIM": D("0.9")}), pairs=EUR_PAIRS)
    assert [row["value"] for row in in_euro.derivatives] == [D("-0.45"), 90, D("-0.45"), D("-2.7")]
    assert [(row["coin"], row["acquired"], row["uncovered"]) for row in in_euro.coins] == [
        ("USDT", 100, D("0.5")),
    ]  # fmt: skip


def test_income_and_charges_in_the_currency_itself_are_counted():
    desk = Desk()
    desk.report(
        BookEntry("main", "I", EntryKind.INTEREST, IN, money(7, "USDT"), "", at(0)),
        BookEntry("main", "J", EntryKind.INTEREST, OUT, money(2, "USDT"), "", at(1)),
        ChargeFee("main", "F", money(1, "USDT"), "custody", at(2)),
    )
    made = gains_of(desk)
    assert [(row["coin"], row["quantity"], row["value"]) for row in made.income] == [("USDT", 7, 7)]
    assert (made.years[0]["income"], made.years[0]["expenses"], made.items) == (7, 3, [])


def test_coins_in_kind_come_with_their_stated_cost_and_move_with_their_lots():
    desk = Desk()
    key, hedge = PositionKey("main", "trend", BTC), PositionKey("hedge", "trend", BTC)
    desk.report(Transfer(key, "IN", Side.BUY, D(2), D(60), at(0), TransferReason.DEPOSIT))
    desk.report(Transfer(key, "A", Side.BUY, D(1), D(40), at(1), TransferReason.STAKING))
    desk.request(MovePosition(key, hedge, "M", D("2.5"), at(2)))
    desk.report(fill("E1", Side.SELL, "2.5", "50", 3, account_id="hedge"))
    made = gains_of(desk)
    assert shown(made, "account_id", "lot_id", "quantity", "cost", "acquired_at") == [
        ("hedge", "IN", 2, 60, at(0)),
        ("hedge", "A", D("0.5"), 20, at(1)),
    ]
    assert [(row["kind"], row["value"]) for row in made.income] == [("STAKING", 40)]


def test_what_was_spent_in_kind_is_disposed_of_at_its_stated_value_and_a_network_fee_at_the_market():
    desk, key = Desk(), PositionKey("main", "trend", BTC)
    desk.report(Transfer(key, "IN", Side.BUY, D(2), D(60), at(0), TransferReason.DEPOSIT))
    desk.report(Transfer(key, "SPENT", Side.SELL, D(1), D(45), at(1), TransferReason.DISPOSAL))
    desk.report(Transfer(key, "NET", Side.SELL, D("0.5"), D(0), at(2), TransferReason.NETWORK_FEE))
    made = gains_of(desk)
    assert shown(made, "kind", "reference", "cost", "proceeds", "gain") == [
        ("DISPOSAL", "SPENT", 30, 45, 15), ("FEE", "NET", 15, 25_000, 24_985),
    ]  # fmt: skip
    assert made.years[0]["expenses"] == 25_000


def test_a_disposal_uses_the_lots_that_were_assigned_to_it():
    desk = Desk(costing=Costing(CostBasis.SPECIFIC))
    desk.report(*BOUGHT, fill("E3", Side.SELL, "1", "300", 2))
    assert shown(gains_of(desk, basis=CostBasis.SPECIFIC), "lot_id") == [("E1",)]
    desk.request(AssignLots(PositionKey("main", "trend", BTC), "E3", 0, ("E2",), at(2)))
    assert shown(gains_of(desk, basis=CostBasis.SPECIFIC), "lot_id") == [("E2",)]


def test_years_are_those_of_a_zone():
    silvester = (T0.replace(month=1, day=1, hour=0) - T0) // timedelta(minutes=1)
    desk = book(*(fill(name, Side.BUY, "1", "100", silvester - 60) for name in ("E1",)))
    desk.report(fill("E2", Side.SELL, "1", "150", silvester - 30))
    assert [row["year"] for row in gains_of(desk).years] == [2025]
    berlin = ZoneInfo("Europe/Berlin")
    assert [row["year"] for row in gains_of(desk, zone=berlin).years] == [2026]
    assert gains_of(desk, zone=berlin, year=2025).items == []


fills = st.lists(
    st.tuples(
        st.sampled_from(Side), st.sampled_from(("main", "hedge")), st.integers(1, 5), st.integers(1, 9),
        st.integers(0, 20), st.sampled_from((None, "BNB", "BTC", "USDT")),
    ),
    max_size=12,
)  # fmt: skip


@settings(max_examples=25)
@given(fills, st.sampled_from(CostBasis), st.sampled_from(Scope), st.integers(0, 99))
def test_any_order_of_arrival_gives_the_same_gains(steps, basis, scope, seed):
    reports = [
        fill(
            f"E{n}", side, D(quantity), D(100 * price), minute, account_id=account_id, cl_ord_id=f"O{n}",
            fee=money("0.001" if paid_in else 0, paid_in or "USDT"),
        )
        for n, (side, account_id, quantity, price, minute, paid_in) in enumerate(steps)
    ]  # fmt: skip
    shuffled = reports[:]
    random.Random(seed).shuffle(shuffled)
    one, other = Desk(), Desk()
    for report_ in reports:
        one.report(report_)
    for report_ in shuffled:
        other.report(report_)
    first, second = (gains_of(desk, basis=basis, scope=scope) for desk in (one, other))
    assert first == second
    for row in first.coins:
        assert row["acquired"] + row["moved"] + row["uncovered"] == row["disposed"] + row["removed"] + row["left"]


def assert_left_is_the_balance(desk, basis):
    """What is left of every coin, less what was never acquired on record, is the balance of it in each account."""
    made = gains_of(desk, basis=basis)
    left = {(row["account_id"], row["coin"]): row["left"] - row["uncovered"] for row in made.coins}
    held = {}
    for row in balances.balances(as_of(desk.log)):
        place = row["account_id"], row["asset"]
        held[place] = held.get(place, ZERO) + row["total"]
    assert {place: amount for place, amount in left.items() if amount} == {
        place: amount for place, amount in held.items() if amount and place[1] != "USDT"
    }


@settings(max_examples=40)
@given(days, costings, st.sampled_from(CostBasis))
def test_what_is_left_of_a_day_is_the_balance_of_each_coin(steps, costing, basis):
    desk = Desk(costing=costing)
    desk.live(steps)
    assert_left_is_the_balance(desk, basis)


@settings(max_examples=40)
@given(books.steps, st.sampled_from(CostBasis))
def test_what_is_left_of_a_book_is_the_balance_of_each_coin(steps, basis):
    assert_left_is_the_balance(books.traded(steps), basis)
