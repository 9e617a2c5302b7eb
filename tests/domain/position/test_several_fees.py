"""Several fees of a fill, in any currencies: each is booked once, and nothing else is."""

from collections import defaultdict
from decimal import Decimal as D
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.account import CostBasis, Costing, FeePolicy
from domain.holdings import balances
from domain.holdings.balances import Wallets
from domain.instrument import Contract, Kind
from domain.order import OrderFillBusted, OrderFillCorrected, OrderFilled
from domain.position import TradeBooked, TradeReversed, costing, entry_of, whole_numbers
from domain.position.costing import Entry
from domain.values import Money, Occurrence, Side, by_currency
from projections.models.bookkeeping import restated_lines, traded_lines
from tests.derived import derived
from tests.desk import BTC, CONTRACTS, PERP, T0, Desk, costings, fill
from tests.domain.ledger.test_derivation import history

CURRENCIES = ("BTC", "USDT", "BNB", "ETH", "USD")
fees = st.lists(
    st.builds(Money, st.integers(-30, 200).map(lambda n: D(n).scaleb(-4)), st.sampled_from(CURRENCIES)), max_size=4
)
drawn_fills = st.lists(
    st.tuples(
        st.sampled_from((BTC, PERP)), st.sampled_from(Side), st.integers(1, 500), st.integers(90, 120),
        st.integers(0, 50), fees,
    ),
    min_size=1, max_size=8,
)  # fmt: skip


def paying(exec_id: str, paid: list[Money], **of: Any) -> OrderFilled:
    """A fill with these fees; of none with one of zero."""
    first, *further = paid or [Money(D(0), "USDT")]
    made = fill(exec_id, of["side"], of["quantity"], of["price"], of["minute"], instrument_id=of["instrument_id"])
    return replace(made, commission=first, further_commissions=tuple(further))


def reported(drawn: list[tuple[Any, ...]]) -> list[OrderFilled]:
    return [
        paying(
            f"E{number}", paid, side=side, quantity=D(quantity).scaleb(-2), price=D(price), minute=minute,
            instrument_id=instrument_id,
        )
        for number, (instrument_id, side, quantity, price, minute, paid) in enumerate(drawn)
    ]  # fmt: skip


def moved(fills: list[OrderFilled]) -> dict[str, Fraction]:
    """What fills move, by currency, in fractions: the quantity, its value, and every fee."""
    sums: dict[str, Fraction] = defaultdict(Fraction)
    for each in fills:
        contract, signed = CONTRACTS[each.instrument_id], each.side.sign * Fraction(each.last_qty)
        price, size = Fraction(each.last_px), Fraction(contract.contract_size)
        if contract.kind is Kind.SPOT:
            sums[contract.base] += signed
            sums[contract.settle] -= signed * price
        else:
            sums[contract.settle] += signed * size / price  # inverse: a long loses when the price falls
        for paid in each.commissions:
            sums[paid.currency] -= Fraction(paid.amount)
    return sums


@settings(deadline=None, max_examples=25)
@given(drawn_fills, costings, st.randoms(use_true_random=False))
def test_balances_and_fees_equal_a_reference_by_fractions_in_any_order_of_arrival(
    drawn: list[tuple[Any, ...]], conventions: Costing, chance: Any
) -> None:
    desk, fills = Desk(costing=conventions), reported(drawn)
    chance.shuffle(fills)
    for start in range(0, len(fills), 3):
        desk.report(*fills[start : start + 3])
    wallets = Wallets()
    booked: dict[str, Fraction] = defaultdict(Fraction)
    for event in desk.events("position"):
        wallets.add(event)
        sign = -1 if isinstance(event, TradeReversed) else 1
        if isinstance(event, TradeBooked | TradeReversed):
            for paid in costing.expensed(event.effect, event.commission):
                booked[paid.currency] += sign * Fraction(paid.amount)
            assert not _off_balance(traded_lines(event)), "debits equal credits in each asset"
        for item in getattr(event, "items", ()):
            assert not _off_balance(restated_lines(item.now, CONTRACTS[event.key.instrument_id], "SIM", 1))
    expected = moved(fills)
    for currency in CURRENCIES:
        flow = Fraction(wallets.flow.get(currency, D(0)))
        assert abs(flow - expected[currency]) < Fraction(1, 10**15), currency  # inverse values are rounded at 18 places
    in_cost = {BTC: {"BTC", "USDT"}, PERP: {"BTC"}} if conventions.fee_policy is FeePolicy.CAPITALISED else {}
    for currency in CURRENCIES:
        stated = sum(
            Fraction(paid.amount)
            for each in fills
            for paid in each.commissions
            if paid.currency == currency and currency not in in_cost.get(each.instrument_id, ())
        )
        assert booked[currency] == stated, f"the fees in {currency} are expensed once"
    held = [position for position in desk.states("position").values() if position.contract is not None]
    in_books: dict[str, Fraction] = defaultdict(Fraction)
    for position in held:
        for currency, amount in position.fees.items():
            in_books[currency] += Fraction(amount)
    assert {c: a for c, a in in_books.items() if a} == {c: a for c, a in booked.items() if a}


def _off_balance(lines: Any) -> dict[str, D]:
    sums: dict[str, D] = defaultdict(lambda: D(0))
    for line in lines:
        sums[line.asset] += line.amount
    return {asset: amount for asset, amount in sums.items() if amount}


@settings(deadline=None, max_examples=25)
@given(drawn_fills, costings)
def test_whole_numbers_cost_several_fees_as_decimals_do(drawn: list[tuple[Any, ...]], conventions: Costing) -> None:
    entries = []
    for each in reported(drawn):
        if each.instrument_id == BTC:
            first, *further = by_currency(each.commissions)
            place = Occurrence(each.transact_time, 0, each.exec_id)
            entries.append(
                Entry(place, CONTRACTS[BTC], each.side, each.last_qty, price=each.last_px, commission=first,
                      further_commissions=tuple(further))
            )  # fmt: skip
    entries.sort(key=lambda entry: entry.occurrence)
    effects, book = costing.replay(entries, conventions)
    units = whole_numbers.UNITS[1]
    rows = whole_numbers.rows_of(entries, conventions, units)
    state, totals = whole_numbers.replayed(whole_numbers.State(0, 0), rows, conventions, units)
    again = whole_numbers.book_of(state, conventions.cost_basis, units)
    assert (again.quantity, again.cost, list(again.lots)) == (book.quantity, book.cost, list(book.lots))
    sums = {name: sum((getattr(effect, name) for effect in effects), D(0)) for name in ("realized", "fee_cost")}
    places = whole_numbers.MONEY_PLACES
    assert whole_numbers.decimal_of(totals.realized, places) == sums["realized"]
    assert whole_numbers.decimal_of(totals.fee_cost, places) == sums["fee_cost"]


@pytest.mark.parametrize("policy", FeePolicy)
def test_a_busted_or_corrected_fill_takes_all_its_fees_back(policy: FeePolicy) -> None:
    desk = Desk(costing=Costing(CostBasis.FIFO, policy, 8))
    paid = [Money(D("0.001"), "BTC"), Money(D("0.5"), "USDT"), Money(D("0.01"), "BNB")]
    desk.report(paying("E1", paid, side=Side.BUY, quantity=D(1), price=D(100), minute=1, instrument_id=BTC))
    desk.report(paying("E2", paid, side=Side.BUY, quantity=D(2), price=D(100), minute=2, instrument_id=BTC))
    key = desk.events("order")[-1].key
    desk.report(
        OrderFillCorrected(key=key, exec_ref_id="E2", last_qty=D(2), last_px=D(99), transact_time=T0,
                           commission=Money(D("0.25"), "USDT"), further_commissions=(Money(D("0.02"), "BNB"),))
    )  # fmt: skip
    (position,) = desk.states("position").values()
    assert balances.moved_by(position) == {"BTC": D("2.999"), "USDT": D("-298.75"), "BNB": D("-0.03")}
    for each in ("O-E1", "O-E2"):
        of = type(key)("main", each)
        desk.report(OrderFillBusted(key=of, exec_ref_id=each.removeprefix("O-"), reason="", transact_time=T0))
    (position,) = desk.states("position").values()
    assert {c: a for c, a in balances.moved_by(position).items() if a} == {}
    assert not any(position.fees.values())
    assert not derived(history(desk)).faults


def test_fees_of_one_currency_are_one_fee_and_those_of_zero_none() -> None:
    paid = (Money(D(1), "USDT"), Money(D(0), "ETH"), Money(D("0.5"), "USDT"), Money(D(-1), "BNB"))
    assert by_currency(paid) == (Money(D("1.5"), "USDT"), Money(D(-1), "BNB"))
    assert by_currency((Money(D(0), "USDT"), Money(D(0), "BNB"))) == (Money(D(0), "USDT"),)
    contract = Contract(Kind.SPOT, "BTC", "USDT", "USDT")
    desk = Desk()
    desk.report(paying("E", list(paid), side=Side.BUY, quantity=D(1), price=D(100), minute=1, instrument_id=BTC))
    (booked,) = [event for event in desk.events("position") if isinstance(event, TradeBooked)]
    assert (booked.contract, booked.commissions) == (contract, by_currency(paid))
    assert entry_of(booked).commissions == by_currency(paid)
