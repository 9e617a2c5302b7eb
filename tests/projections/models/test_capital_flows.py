"""Capital flows: what each kind of cash is to capital, income and charges."""

from decimal import Decimal as D

import pytest

from domain.account import BookEntry, ConvertMoney, EntryKind, Indicator, Leg, SettleTransfer
from domain.values import Money
from projections.models import balances, capital_flows, journal
from projections.runner.runner import as_of
from tests.desk import T0, Desk

USDT = Money(D(100), "USDT")
SUM_OF = {
    EntryKind.OPENING: "external", EntryKind.ADJUSTMENT: "external", EntryKind.INTEREST: "income",
    EntryKind.REBATE: "income", EntryKind.FUNDING: "income", EntryKind.INCOME: "income", EntryKind.STAKING: "income",
    EntryKind.AIRDROP: "income", EntryKind.LOAN: "borrowed", EntryKind.STAKE: None,
}  # fmt: skip


def flows(desk: Desk) -> dict[tuple[str, str], D]:
    """The sums that are not zero, by currency and name."""
    rows = capital_flows.cash_of(as_of(desk.log), "main")
    return {(row["currency"], name): row[name] for row in rows for name in capital_flows.SUMS if row[name]}  # type: ignore[literal-required]


@pytest.mark.parametrize("kind", SUM_OF)
@pytest.mark.parametrize("indicator", Indicator)
def test_an_entry_is_to_capital_what_its_kind_is_and_no_money_is_lost(kind: EntryKind, indicator: Indicator):
    desk = Desk()
    desk.report(SettleTransfer("main", Leg("D", Indicator.CREDIT, Money(D(1000), "USDT")), T0))
    desk.report(BookEntry("main", "E", kind, indicator, USDT, "", T0))
    signed = indicator.sign * D(100)
    wanted = {("USDT", "external"): D(1000)}
    if name := SUM_OF[kind]:
        wanted["USDT", name] = wanted.get(("USDT", name), D(0)) + signed
    assert flows(desk) == wanted
    source = as_of(desk.log)
    (row,) = balances.balances(source, account_id="main", asset="USDT")
    assert row["total"] == (1000 if kind is EntryKind.STAKE else 1000 + signed)
    assert row["available"] == 1000 + signed
    assert row["total"] == desk.ledger.state("account:main").cash.total("USDT", {})
    assert row["available"] == desk.ledger.state("account:main").cash.available("USDT", {})
    assets = [each for each in journal.trial_balance(source) if each["account"].startswith("Assets:")]
    assert sum(each["debit"] - each["credit"] for each in assets) == row["total"]


def test_a_conversion_is_neither_brought_in_nor_earned_and_its_fee_is_a_charge():
    desk = Desk()
    desk.report(
        ConvertMoney("main", "C", USDT, Money(D("0.1"), "BNB"), Money(D("0.01"), "BNB"), "dust", T0)
    )  # fmt: skip
    wanted = {("USDT", "converted"): D(-100), ("BNB", "converted"): D("0.1"), ("BNB", "fees"): D("0.01")}
    assert flows(desk) == wanted
    found = {row["asset"]: row["total"] for row in balances.balances(as_of(desk.log), account_id="main")}
    assert found == {"USDT": D(-100), "BNB": D("0.09")}
