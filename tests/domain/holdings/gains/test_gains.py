"""Gains of coins: nothing is lost between what came in and what is left, by any method, and what each rule says."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.account import CostBasis, FeePolicy
from domain.holdings.gains import (
    Acquired,
    Arrived,
    Borrowed,
    Charged,
    Departed,
    Disposed,
    Exchange,
    Gains,
    Kind,
    Payment,
    Rate,
    Receipt,
    Redenominated,
    Removed,
    Repaid,
    Scope,
    Settlement,
    What,
    Worth,
    exact_rate,
    movements_of,
)
from domain.values import ZERO, Money, Side

T0 = datetime(2026, 1, 1, tzinfo=UTC)
EUR = exact_rate("EUR")
RATES = {
    "EUR": EUR,
    "USDT": Rate("USDT", Fraction(9, 10), "USDTEUR.X 0.9 X", T0),
    "BTC": Rate("BTC", Fraction(50_000), "BTCEUR.X 50000 X", T0),
    "BNB": Rate("BNB", Fraction(500), "BNBEUR.X 500 X", T0),
}


def what(reference, days=0, account_id="a", kind=Kind.PURCHASE, instrument_id=""):
    return What(account_id, reference, T0 + timedelta(days=days), kind, instrument_id)


def eur(amount):
    return Worth(D(amount), EUR) if amount is not None else Worth(None, Rate("ETH", None, lacking="no rate"), "no rate")


def bought(reference, quantity, cost, days=0, **more):
    return Acquired(what(reference, days, **more), "ETH", D(quantity), eur(cost))


def sold(reference, quantity, proceeds, days=1, lot_ids=(), **more):
    return Disposed(what(reference, days, kind=Kind.SALE, **more), "ETH", D(quantity), eur(proceeds), lot_ids)


def matched(*movements, basis=CostBasis.FIFO, scope=Scope.ACCOUNT):
    gains = Gains(scope, lambda _: basis)
    return gains, [match for movement in movements for match in gains.apply(movement)]


def shown(matches):
    return [(match.lot and match.lot.lot_id, match.quantity, match.cost, match.gain) for match in matches]


numbers = st.decimals("0.00000001", "1000", places=8)
acts = st.tuples(
    st.sampled_from(("acquire", "acquire", "dispose", "dispose", "remove", "move", "borrow", "repay", "redenominate")),
    st.sampled_from("ab"), st.sampled_from(("ETH", "SOL")), numbers, st.none() | numbers,
)  # fmt: skip


def movements(steps, is_valued):
    for n, (act, account_id, coin, quantity, amount) in enumerate(steps):
        worth = eur(D(1) if amount is None and is_valued else amount)
        about = what(str(n), n, account_id)
        match act:
            case "acquire":
                yield Acquired(about, coin, quantity, worth)
            case "dispose":
                yield Disposed(about, coin, quantity, worth)
            case "remove":
                yield Removed(about, coin, quantity)
            case "move":
                yield Departed(about, coin, quantity, str(n))
                yield Arrived(what(str(n), n, "b" if account_id == "a" else "a"), coin, str(n))
            case "borrow":
                yield Borrowed(about, coin, quantity, worth)
            case "repay":
                yield Repaid(about, coin, quantity, worth)
            case "redenominate":
                yield Redenominated(about, coin, "SOL2", D(10))


@given(st.lists(acts, max_size=30), st.sampled_from(CostBasis), st.sampled_from(Scope), st.booleans())
def test_what_came_in_is_what_went_out_and_what_is_left(steps, basis, scope, is_valued):
    gains, matches = matched(*movements(steps, is_valued), basis=basis, scope=scope)
    left, cost = defaultdict(D), defaultdict(D)
    for account_id, held in gains.left():
        left[account_id, held.lot.coin] += held.quantity
        cost[account_id, held.lot.coin] += held.cost or ZERO
        assert held.quantity > 0
    assert not list(gains.in_transit())
    for place, flow in gains.flows().items():
        assert flow.acquired + flow.moved + flow.uncovered == flow.disposed + flow.removed + left[place]
        if is_valued:
            known = flow.acquired_cost + flow.moved_cost
            assert known == flow.disposed_cost + flow.removed_cost + cost[place] or basis is CostBasis.AVERAGE
    in_all = sum((match.quantity for match in matches), ZERO)
    assert in_all == sum((flow.disposed for flow in gains.flows().values()), ZERO)
    assert sum((match.quantity for match in matches if match.lot is None), ZERO) <= in_all


@given(st.lists(acts, max_size=30), st.sampled_from(CostBasis), st.sampled_from(Scope))
def test_the_parts_of_a_disposal_sum_to_its_proceeds_and_no_lot_is_later(steps, basis, scope):
    _, matches = matched(*movements(steps, True), basis=basis, scope=scope)
    proceeds, of = defaultdict(D), {}
    for match in matches:
        key = (match.disposed.what.reference, match.disposed.quantity, match.disposed.proceeds.amount)
        proceeds[key] += match.proceeds
        of[key] = match.disposed
        assert match.lot is None or match.lot.what.at <= match.disposed.what.at
        if scope is Scope.ACCOUNT and match.lot is not None and match.lot.acquired_at is not None:
            assert match.gain is not None
    single = {key: total for key, total in proceeds.items() if list(of).count(key) == 1}
    assert all(total % key[2] == 0 for key, total in single.items() if key[2])


@given(st.lists(acts, max_size=30))
def test_a_pool_of_average_cost_loses_no_cost_while_all_is_covered(steps):
    steps = [step for step in steps if step[0] in ("acquire", "dispose")]
    gains, matches = matched(*movements(steps, True), basis=CostBasis.AVERAGE)
    acquired = sum((flow.acquired_cost for flow in gains.flows().values()), ZERO)
    released = sum((match.cost for match in matches if match.cost is not None), ZERO)
    assert acquired == released + sum((held.cost for _, held in gains.left()), ZERO)


LOTS = (bought("1", 1, 100), bought("2", 1, 300, 1), bought("3", 1, 200, 2))


@pytest.mark.parametrize(
    ("basis", "lot_ids", "cost", "used"),
    [
        (CostBasis.FIFO, (), "250", ["1", "2"]),
        (CostBasis.LIFO, (), "350", ["3", "2"]),
        (CostBasis.HIFO, (), "400", ["2", "3"]),
        (CostBasis.LOFO, (), "200", ["1", "3"]),
        (CostBasis.AVERAGE, (), "300", ["1", "2"]),
        (CostBasis.SPECIFIC, ("3",), "250", ["3", "1"]),
        (CostBasis.SPECIFIC, ("2", "1"), "350", ["2", "1"]),
        (CostBasis.SPECIFIC, (), "250", ["1", "2"]),
    ],
)
def test_each_method_uses_up_its_own_lots(basis, lot_ids, cost, used):
    _, matches = matched(*LOTS, sold("S", "1.5", 600, 3, lot_ids), basis=basis)
    assert [match.lot.lot_id for match in matches] == used
    assert sum(match.cost for match in matches) == D(cost)
    assert sum(match.gain for match in matches) == 600 - D(cost)


def test_the_last_part_of_a_lot_is_the_remainder():
    _, matches = matched(bought("1", 3, 1), *(sold(str(n), 1, 1) for n in range(3)))
    costs = [match.cost for match in matches]
    assert costs == [D("0.333333333333333333"), D("0.333333333333333334"), D("0.333333333333333333")]
    assert sum(costs) == 1


@pytest.mark.parametrize(("hours", "is_long"), [(365 * 24 - 1, False), (365 * 24, True)])
def test_the_day_of_the_boundary_is_long(hours, is_long):
    disposed = Disposed(What("a", "S", T0 + timedelta(hours=hours), Kind.SALE), "ETH", D(1), eur(1))
    _, (match,) = matched(bought("1", 1, 1), disposed)
    assert match.is_long_term(365) is is_long
    assert match.holding_days == hours // 24


def test_lots_of_another_account_are_used_only_over_all_accounts():
    steps = (bought("1", 1, 100, account_id="b"), bought("2", 1, 200, 1), sold("S", 1, 300, 2))
    assert shown(matched(*steps)[1]) == [("2", 1, 200, 100)]
    assert shown(matched(*steps, scope=Scope.ALL)[1]) == [("1", 1, 100, 200)]


def test_a_transfer_between_accounts_carries_cost_and_date_and_gains_nothing():
    moves = (Departed(what("T", 5), "ETH", D("1.5"), "T"), Arrived(what("T", 6, "b"), "ETH", "T"))
    _, matches = matched(*LOTS, *moves, sold("S", "1.5", 600, 7, account_id="b"))
    assert shown(matches) == [("1", 1, 100, 300), ("2", D("0.5"), 150, 50)]
    assert [match.lot.acquired_at for match in matches] == [T0, T0 + timedelta(days=1)]
    assert {match.lot.what.account_id for match in matches} == {"a"}


def test_what_was_never_acquired_is_named_and_not_guessed():
    gains, matches = matched(bought("1", 1, 100), sold("S", 3, 900), bought("2", 5, 500, 2))
    assert shown(matches) == [("1", 1, 100, 200), (None, 2, None, None)]
    assert matches[1].lacking == ("no acquisition on record of 2 ETH",)
    assert [held.quantity for _, held in gains.left()] == [5]
    moved, later = matched(
        Departed(what("T"), "ETH", D(1), "T"), Arrived(what("T", 0, "b"), "ETH", "T"), sold("S", 1, 9, account_id="b")
    )
    assert (later[0].gain, later[0].holding_days) == (None, None)
    assert "no acquisition on record" in later[0].lacking[0]
    assert moved.flows()["a", "ETH"].uncovered == 1


@pytest.mark.parametrize("basis", CostBasis)
def test_a_lot_without_a_rate_makes_no_gain_and_says_why(basis):
    _, matches = matched(bought("1", 1, None), bought("2", 1, 50, 1), sold("S", 2, 200, 2), basis=basis)
    gains = {match.lot.lot_id: match.gain for match in matches}
    assert gains == {"1": None, "2": None if basis is CostBasis.AVERAGE else 50}
    assert next(match.lacking for match in matches if match.lot.lot_id == "1") == ("no rate",)


def test_a_redenomination_carries_lots_with_their_cost_and_date():
    swapped = Redenominated(what("R", 5, kind=Kind.REDENOMINATION), "ETH", "ETHX", D(100))
    disposed = Disposed(what("S", 6, kind=Kind.SALE), "ETHX", D(150), eur(600))
    gains, matches = matched(*LOTS, swapped, disposed)
    assert shown(matches) == [("1", 100, 100, 300), ("2", 50, 150, 50)]
    assert matches[0].lot.acquired_at == T0
    assert {held.lot.coin for _, held in gains.left()} == {"ETHX"}


def test_a_loan_is_repaid_for_what_was_owed():
    loan = Borrowed(what("L", 0, kind=Kind.LOAN), "ETH", D(2), eur(200))
    steps = (loan, sold("S", 2, 200), bought("1", 3, 180, 2), Repaid(what("L2", 3), "ETH", D(3), eur(300)))
    _, matches = matched(*steps)
    assert shown(matches) == [("L", 2, 200, 0), ("1", 2, 120, 80), ("1", 1, 60, 40)]
    assert [match.line for match in matches] == [1, 1, 2]


def of_fact(fact, policy=FeePolicy.CAPITALISED, rates=RATES):
    return list(movements_of(fact, "EUR", rates.__getitem__, policy))


def trade(side, base, quote, *fees):
    return Exchange(what("X", kind=Kind.SALE), side, Money(D(base[0]), base[1]), Money(D(quote[0]), quote[1]), fees)


def test_a_leg_in_the_currency_is_exact_and_no_coin():
    (acquired,) = of_fact(trade(Side.BUY, ("2", "BTC"), ("90000", "EUR"), Money(D(90), "EUR")))
    assert (acquired.coin, acquired.cost.amount, acquired.cost.rate.is_exact) == ("BTC", 90090, True)
    (disposed,) = of_fact(trade(Side.SELL, ("2", "BTC"), ("90000", "EUR"), Money(D(90), "EUR")))
    assert (disposed.what.kind, disposed.proceeds.amount) == (Kind.SALE, 89910)


def test_both_legs_of_a_trade_between_coins_have_the_value_of_the_quote_leg():
    acquired, disposed = of_fact(trade(Side.BUY, ("2", "BTC"), ("100000", "USDT")))
    assert (acquired.coin, acquired.cost.amount) == ("BTC", 90000)
    assert (disposed.coin, disposed.what.kind, disposed.proceeds.amount) == ("USDT", Kind.PAYMENT, 90000)
    assert disposed.proceeds.rate.source == "USDTEUR.X 0.9 X"


def test_the_base_leg_values_a_trade_whose_quote_leg_has_no_rate():
    rates = RATES | {"USDT": Rate("USDT", None, lacking="no mark")}
    acquired, disposed = of_fact(trade(Side.BUY, ("2", "BTC"), ("100000", "USDT")), rates=rates)
    assert (acquired.cost.amount, disposed.proceeds.amount) == (100000, 100000)
    rates |= {"BTC": Rate("BTC", None, lacking="none either")}
    acquired, disposed = of_fact(trade(Side.BUY, ("2", "BTC"), ("100000", "USDT")), rates=rates)
    assert (acquired.cost.amount, disposed.proceeds.amount, disposed.proceeds.lacking) == (None, None, "no mark")


@pytest.mark.parametrize(
    ("side", "policy", "amounts"),
    [
        (Side.BUY, FeePolicy.CAPITALISED, {"BTC": 90005, "USDT": 90000, "BNB": 5}),
        (Side.BUY, FeePolicy.EXPENSED, {"BTC": 90000, "USDT": 90000, "BNB": 5, "charged": 5}),
        (Side.SELL, FeePolicy.CAPITALISED, {"BTC": 89995, "USDT": 90000, "BNB": 5}),
        (Side.SELL, FeePolicy.EXPENSED, {"BTC": 90000, "USDT": 90000, "BNB": 5, "charged": 5}),
    ],
)
def test_a_fee_paid_in_a_coin_is_a_disposal_of_it(side, policy, amounts):
    found = of_fact(trade(side, ("2", "BTC"), ("100000", "USDT"), Money(D("0.01"), "BNB")), policy)
    worths = {}
    for movement in found:
        match movement:
            case Acquired(coin=coin, cost=worth) | Disposed(coin=coin, proceeds=worth):
                worths[coin] = worth.amount
            case Charged(worth=worth):
                worths["charged"] = worth.amount
    assert worths == amounts
    fee = next(movement for movement in found if getattr(movement, "coin", "") == "BNB")
    assert fee.what.kind is Kind.FEE


@given(numbers, numbers, numbers, st.sampled_from(Side), st.sampled_from(("BTC", "USDT", "BNB")))
def test_what_a_trade_brings_in_costs_what_it_gives_up(base, quote, fee, side, paid_in):
    fact = trade(side, (base, "BTC"), (quote, "USDT"), Money(fee, paid_in))
    found = of_fact(fact)
    came = sum((one.cost.amount for one in found if isinstance(one, Acquired)), ZERO)
    went = sum((one.proceeds.amount for one in found if isinstance(one, Disposed)), ZERO)
    assert came == went


def test_income_is_valued_on_receipt_and_a_charge_is_an_expense():
    (income,) = of_fact(Receipt(what("I", kind=Kind.STAKING), Money(D(2), "BNB"), is_income=True))
    assert (income.is_income, income.cost.amount) == (True, 1000)
    (received,) = of_fact(Receipt(what("I", kind=Kind.INTEREST), Money(D(2), "EUR"), is_income=True))
    assert (received.currency, received.worth.amount) == ("EUR", 2)
    disposed, charged = of_fact(Payment(what("P", kind=Kind.FEE), Money(D(1), "BTC"), is_charge=True))
    assert (disposed.proceeds.amount, charged.worth.amount) == (50000, 50000)
    (charged,) = of_fact(Payment(what("P", kind=Kind.INTEREST), Money(D(1), "EUR"), is_charge=True))
    assert charged.worth.amount == 1


def test_what_a_derivative_gains_in_a_coin_is_acquired_and_what_it_costs_disposed_of():
    earned, acquired = of_fact(Settlement(what("R", kind=Kind.REALIZED), Money(D(1), "BTC")))
    assert (earned.worth.amount, acquired.cost.amount, acquired.is_income) == (50000, 50000, False)
    earned, disposed = of_fact(Settlement(what("F", kind=Kind.FUNDING), Money(D("-0.5"), "BTC")))
    assert (earned.amount, earned.worth.amount) == (D("-0.5"), -25000)
    assert (disposed.quantity, disposed.proceeds.amount) == (D("0.5"), 25000)
    (earned,) = of_fact(Settlement(what("P", kind=Kind.PREMIUM), Money(D(-3), "EUR")))
    assert (earned.worth.amount, earned.worth.rate.is_exact) == (-3, True)


def test_a_rebate_in_a_coin_is_acquired_at_its_value_and_lowers_the_cost():
    acquired, paid, rebate = of_fact(trade(Side.BUY, ("2", "BTC"), ("100000", "USDT"), Money(D("-0.01"), "BNB")))
    assert (acquired.cost.amount, paid.proceeds.amount) == (89995, 90000)
    assert (rebate.coin, rebate.quantity, rebate.cost.amount) == ("BNB", D("0.01"), 5)
