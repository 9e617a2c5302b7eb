"""The journal balances after every event, and says what positions, balances and the domain's accounts say."""

from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal as D
from typing import Any

import pytest
from hypothesis import given, settings

from domain.account import (
    Account,
    BookEntry,
    ChargeFee,
    Costing,
    EntryKind,
    Indicator,
    Leg,
    RequestTransfer,
    ReturnTransfer,
    SettleTransfer,
)
from domain.holdings import balances as domain_balances
from domain.instrument import Contract, Kind, ListInstrument, PutOrCall
from domain.ledger import scan
from domain.order import OrderFillBusted
from domain.position import Position, PositionKey, SettleFunding
from domain.values import ZERO, Money, Side
from projections.models import balances, journal, positions
from projections.models import bookkeeping as chart
from projections.runner.runner import as_of
from projections.storage.rows import MemoryRows
from tests.desk import PERP, T0, Desk, cash_days, costings, days, fill, fill_days

CALL = PutOrCall.CALL
OF_TRADES = (
    chart.TRADING, chart.CONTRACTS, chart.REALIZED, chart.ROUNDING, chart.FUNDING, chart.FEES,
    chart.FEES_IN_KIND,
)  # fmt: skip


def per_asset(rows: MemoryRows) -> dict[str, D]:
    sums: dict[str, D] = defaultdict(D)
    for row in journal.trial_balance(rows):
        sums[row["asset"]] += row["balance"]
    return sums


def of_position(rows: MemoryRows, position: dict[str, Any]) -> dict[tuple[str, str], D]:
    """The balances of the ledger accounts that carry one position's name, zeros left out."""
    found = journal.ledger(rows, account_id=position["account_id"], instrument_id=position["instrument_id"])
    return {
        (row["account"], row["asset"]): row["balance"]
        for row in found
        if row["strategy_id"] == position["strategy_id"] and row["balance"]
    }


@settings(max_examples=50)
@given(days | fill_days | cash_days, costings)
def test_debits_equal_credits_in_each_asset_after_every_event(day: list[tuple[int, ...]], costing: Costing) -> None:
    desk = Desk(costing=costing)
    desk.live(day)
    rows = MemoryRows()
    for logged in scan(desk.log):
        before = len(rows.rows(journal.entries_table))
        journal.PROJECTION.fold(rows, [logged])
        assert not any(per_asset(rows).values())
        assert not any(row["balance"] for row in journal.trial_balance(rows) if row["account"] == chart.RESTATED)
        for entry in rows.rows(journal.entries_table)[before:]:
            sums: dict[str, D] = defaultdict(D)
            for _, asset, amount in entry["lines"]:
                sums[asset] += D(amount)
            assert not any(sums.values()), entry
            assert entry["seq"] == logged.seq


@settings(max_examples=50)
@given(days | fill_days, costings)
def test_ledger_accounts_are_the_positions(day: list[tuple[int, ...]], costing: Costing) -> None:
    desk = Desk(costing=costing)
    desk.live(day)
    rows = as_of(desk.log)
    for position in positions.positions(rows):
        traded = {place: amount for place, amount in of_position(rows, position).items() if place[0] in OF_TRADES}
        assert traded == {place: amount for place, amount in expected(position).items() if amount}


def expected(position: dict[str, Any]) -> dict[tuple[str, str], D]:
    """What a row of positions says the journal holds, in the words of the journal's table."""
    settle, is_spot = position["settle"], position["kind"] == Kind.SPOT
    asset = position["base"] if is_spot else position["instrument_id"]
    stated: dict[tuple[str, str], D] = defaultdict(D)
    stated[chart.TRADING, settle] += position["cost"]
    stated[chart.TRADING, asset] -= position["quantity"]
    stated[chart.REALIZED, settle] -= position["realized"]
    stated[chart.ROUNDING, settle] -= position["rounding"]
    stated[chart.FUNDING, settle] -= position["funding"]
    stated[chart.FEES_IN_KIND, settle] += position["fee_cost"]
    if position["kind"] == Kind.INVERSE:
        stated[chart.CONTRACTS, settle] -= position["cost"]
        stated[chart.CONTRACTS, asset] += position["quantity"]
    for currency, fee in position["fees"].items():
        if not (is_spot and currency == position["base"]):
            stated[chart.FEES, currency] += fee
    return stated | {}


@settings(max_examples=30)
@given(fill_days, costings)
def test_what_came_without_a_trade_is_in_its_account(day: list[tuple[int, ...]], costing: Costing) -> None:
    desk = Desk(costing=costing)
    desk.live(day)
    rows = as_of(desk.log)
    for position in positions.positions(rows):
        if position["kind"] != Kind.SPOT:
            continue
        found = of_position(rows, position)
        equity = (chart.TRANSFERS, chart.OPENING, chart.ADJUSTMENTS)
        assert -sum((found.get((name, position["settle"]), ZERO) for name in equity), ZERO) == position["transferred"]
        earned = [
            amount
            for (account, _), amount in found.items()
            if account.startswith("Income:") and account not in OF_TRADES
        ]
        assert -sum(earned, ZERO) == position["income"]


@settings(max_examples=50)
@given(days | fill_days | cash_days, costings)
def test_balances_are_the_asset_accounts_and_those_of_the_domain(day: list[tuple[int, ...]], costing: Costing) -> None:
    desk = Desk(costing=costing)
    desk.live(day)
    rows = as_of(desk.log)
    found = balances.balances(rows)
    booked = {
        (row["account_id"], row["account"].partition(":")[2], row["asset"]): row["balance"]
        for row in journal.trial_balance(rows)
        if row["account"].startswith(chart.ASSETS) and row["balance"]
    }
    shown = {(row["account_id"], row["venue"] or chart.UNASSIGNED, row["asset"]): row["total"] for row in found}
    assert {place: total for place, total in shown.items() if total} == booked
    accounts: dict[str, Account] = desk.states("account")
    states: dict[str, Position] = desk.states("position")
    for account in accounts.values():
        held = [state for state in states.values() if state.key.account_id == account.account_id]
        moved = domain_balances.total(*map(domain_balances.moved_by, held))
        for currency in {*moved, *account.cash.balances, *(row["asset"] for row in found)}:
            here = [row for row in found if (row["account_id"], row["asset"]) == (account.account_id, currency)]
            assert sum((row["total"] for row in here), ZERO) == account.cash.total(currency, moved)
            assert sum((row["available"] for row in here), ZERO) == account.cash.available(currency, moved)


OPTION, LINEAR = "BTC-26DEC26-90000-C.SIM", "BTCUSDT-PERP.SIM"
OTHERS = {
    LINEAR: Contract(Kind.LINEAR, "BTC", "USDT", "USDT", D("0.1")),
    OPTION: Contract(Kind.OPTION, "BTC", "USDT", "USDT", D(1), datetime(2026, 12, 26, 8, tzinfo=UTC), D(90000), CALL),
}


def lines(desk: Desk, since: int = 0) -> list[tuple[str, str, str, D]]:
    """(kind, account, asset, amount) of every line booked behind a place in the log."""
    found = journal.entries(as_of(desk.log), limit=None)
    return [
        (row["kind"], line["account"], line["asset"], line["amount"])
        for row in found
        if row["entry_seq"] > since
        for line in row["lines"]
    ]


@pytest.fixture
def desk() -> Desk:
    """A desk that may also trade a linear future and an option."""
    made = Desk()
    for instrument_id, contract in OTHERS.items():
        made.request(ListInstrument(instrument_id, contract, D("0.01"), D("0.01")))
    return made


def test_a_spot_buy_changes_money_into_the_asset_through_trading(desk: Desk) -> None:
    desk.report(fill("E1", Side.BUY, "2", "100", fee=Money(D("0.01"), "BNB")))
    assert lines(desk) == [
        ("TRADE", "Equity:Trading", "USDT", D(200)),
        ("TRADE", "Assets:SIM", "USDT", D(-200)),
        ("TRADE", "Assets:SIM", "BTC", D(2)),
        ("TRADE", "Equity:Trading", "BTC", D(-2)),
        ("TRADE", "Expenses:Fees", "BNB", D("0.01")),
        ("TRADE", "Assets:SIM", "BNB", D("-0.01")),
    ]


def test_a_fee_in_the_asset_is_an_expense_at_what_it_cost(desk: Desk) -> None:
    desk.report(fill("E1", Side.BUY, "2", "100", fee=Money(D("0.01"), "BTC")))
    booked = {line[1:] for line in lines(desk)}
    assert {("Expenses:FeesInKind", "USDT", D(1)), ("Equity:Trading", "USDT", D(199))} < booked
    assert {("Assets:SIM", "BTC", D("1.99")), ("Assets:SIM", "USDT", D(-200))} < booked


def test_a_short_future_pays_nothing_until_it_is_closed(desk: Desk) -> None:
    desk.report(fill("E1", Side.SELL, "3", "100", instrument_id=LINEAR))
    assert {line[1:] for line in lines(desk)} == {
        ("Equity:Trading", "USDT", D(-30)),
        ("Liabilities:Contracts", "USDT", D(30)),
        ("Liabilities:Contracts", LINEAR, D(-3)),
        ("Equity:Trading", LINEAR, D(3)),
    }
    before = desk.log.head().seq
    desk.report(fill("E2", Side.BUY, "3", "90", 1, instrument_id=LINEAR))
    assert {line[1:] for line in lines(desk, before)} >= {
        ("Income:Realized", "USDT", D(-3)), ("Assets:SIM", "USDT", D(3)), ("Liabilities:Contracts", "USDT", D(-30))
    }  # fmt: skip
    assert [(row["asset"], row["total"]) for row in balances.balances(as_of(desk.log))] == [("USDT", D(3))]


def test_an_inverse_future_is_settled_in_its_base_and_the_rest_of_rounding_is_booked(desk: Desk) -> None:
    desk.report(fill("E1", Side.BUY, "1", "300", instrument_id=PERP))
    desk.report(fill("E2", Side.SELL, "1", "700", 1, instrument_id=PERP))
    (row,) = positions.positions(as_of(desk.log))
    booked = of_position(as_of(desk.log), row)
    assert booked == {("Income:Realized", "BTC"): -row["realized"], ("Income:Rounding", "BTC"): -row["rounding"]}
    assert row["rounding"]
    (held,) = balances.balances(as_of(desk.log))
    assert (held["asset"], held["total"]) == ("BTC", row["realized"] + row["rounding"])


def test_an_option_is_paid_for_when_it_is_bought(desk: Desk) -> None:
    desk.report(fill("E1", Side.BUY, "2", "50", instrument_id=OPTION))
    assert {line[1:] for line in lines(desk)} == {
        ("Equity:Trading", "USDT", D(100)),
        ("Assets:SIM", "USDT", D(-100)),
        ("Liabilities:Contracts", OPTION, D(2)),
        ("Equity:Trading", OPTION, D(-2)),
    }


def test_a_late_fill_reverses_what_it_moved_and_books_it_again_for_its_own_day(desk: Desk) -> None:
    desk.report(fill("E1", Side.BUY, "1", "100", 1), fill("E3", Side.SELL, "1", "130", 3))
    before = desk.log.head().seq
    desk.report(fill("E0", Side.BUY, "1", "90", -24 * 60))
    moved = [row for row in journal.entries(as_of(desk.log)) if row["entry_seq"] > before]
    assert [(row["kind"], row["reference"]) for row in moved] == [
        ("TRADE", "E0"), ("REVERSAL", "E3"), ("RESTATEMENT", "E3")
    ]  # fmt: skip
    late, reversal, restated = moved
    assert late["narrative"] == "BUY 1 at 90, late"
    assert (late["value_date"], late["booking_date"]) == ("2026-02-28", "2026-03-01")
    assert (restated["value_date"], restated["booking_date"]) == ("2026-03-01", "2026-03-01")
    realized = {row["kind"]: of(row, "Income:Realized") for row in (reversal, restated)}
    assert realized == {"REVERSAL": D(30), "RESTATEMENT": D(-35)}
    assert of(reversal, "Equity:Restated") == -of(restated, "Equity:Restated") != 0


def of(entry: dict[str, Any], account: str) -> D:
    (amount,) = (line["amount"] for line in entry["lines"] if line["account"] == account)
    assert isinstance(amount, D)
    return amount


def test_a_busted_trade_is_reversed_line_by_line(desk: Desk) -> None:
    stated = fill("E1", Side.BUY, "1", "100", fee=Money(D("0.1"), "USDT"))
    desk.report(stated)
    before = lines(desk)
    seq = desk.log.head().seq
    desk.report(OrderFillBusted(stated.key, "E1", "off market", T0, exec_id="X1"))
    assert lines(desk, seq) == [("REVERSAL", account, asset, -amount) for _, account, asset, amount in before]
    assert not [row for row in journal.trial_balance(as_of(desk.log)) if row["balance"]]


def test_cash_has_its_stated_dates_and_its_fee_apart(desk: Desk) -> None:
    leg = Leg("T1", Indicator.DEBIT, Money(D(5), "USDT"), Money(D(1), "USDT"), counterparty="bank")
    desk.report(BookEntry("main", "O1", EntryKind.OPENING, Indicator.CREDIT, Money(D(100), "USDT"), "start", T0))
    desk.request(RequestTransfer("main", leg, T0))
    (row,) = balances.balances(as_of(desk.log))
    assert (row["total"], row["held"], row["available"]) == (D(100), D(6), D(94))
    desk.report(SettleTransfer("main", leg, T0, date(2026, 3, 2), date(2026, 3, 4)))
    (row,) = balances.balances(as_of(desk.log))
    assert (row["total"], row["held"], row["available"]) == (D(94), D(0), D(94))
    entry = journal.entries(as_of(desk.log))[-1]
    assert (entry["booking_date"], entry["value_date"]) == ("2026-03-02", "2026-03-04")
    assert {line["account"]: line["amount"] for line in entry["lines"][1::2]} == {
        "Equity:Transfers": D(5), "Expenses:Fees": D(1)
    }  # fmt: skip
    desk.report(ReturnTransfer("main", leg, "no such account", T0 + timedelta(days=1)))
    desk.report(ChargeFee("main", "F1", Money(D(2), "USDT"), "custody", T0))
    (row,) = balances.balances(as_of(desk.log))
    assert (row["total"], row["venue"]) == (D(98), "")
    upto = journal.trial_balance(as_of(desk.log), upto="2026-03-01")
    assert {row["account"]: row["balance"] for row in upto} == {
        "Assets:Unassigned": D(98), "Equity:Opening": D(-100), "Expenses:Fees": D(2)
    }  # fmt: skip


def test_entries_are_paged_and_filtered_by_account_asset_and_day(desk: Desk) -> None:
    fills = [fill(f"E{n}", Side.BUY, "1", "100", 24 * 60 * n, fee=Money(D(n), "BNB")) for n in range(3)]
    desk.report(*fills, fill("H1", Side.BUY, "1", "100", account_id="hedge"))
    desk.report(SettleFunding(PositionKey("main", "trend", PERP), "F1", Money(D(1), "BTC"), T0))
    rows = as_of(desk.log)

    def shown(**query: Any) -> list[str]:
        return [row["reference"] for row in journal.entries(rows, **query)]

    everything = shown()
    assert sorted(everything) == ["E0", "E1", "E2", "F1", "H1"]
    assert shown(is_descending=True) == everything[::-1]
    assert shown(account_id="hedge") == ["H1"]
    assert shown(asset="BNB") == ["E1", "E2"]
    assert shown(asset="BNB", limit=1, is_descending=True) == ["E2"]
    assert shown(asset="ETH") == []
    assert shown(day="2026-03-02") == ["E1"]
    (first, *_), place = journal.entries(rows, limit=2), journal.entries(rows, limit=2)[-1]
    assert first["reference"] == everything[0]
    assert shown(after=(place["entry_seq"], place["part"])) == everything[2:]
