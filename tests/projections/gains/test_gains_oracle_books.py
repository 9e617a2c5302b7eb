"""Gains of books that are recorded through the ledger and read from its log, as others worked them out."""

import re
from datetime import UTC, timedelta
from decimal import Decimal as D

import pytest
from msgspec.structs import replace

from adapters.log.memory import MemoryLog
from domain.account import CostBasis, Costing, FeePolicy, Indicator, Leg, OpenAccount, SettleTransfer
from domain.holdings.gains import Acquired, Gains
from domain.instrument import Contract, Kind, ListInstrument
from domain.ledger import Ledger
from domain.position import PositionKey, Transfer, TransferReason
from domain.values import Mark, Money, Side, exact
from projections.gains import coin_entries
from projections.gains.facts import Wanted, facts
from projections.gains.rates import Valuing, valued
from projections.models import reference_data
from projections.runner.runner import as_of
from tests import oracles
from tests.desk import T0, fill
from tests.domain.holdings.gains.test_gains_oracle import SCOPES, check, in_order, moment

pytestmark = pytest.mark.oracle
UNPRICED = "XXX"  # what is sold for it has no rate
BEFORE = timedelta(microseconds=1)


class Book:
    """A case, as reports to a ledger: a trade where its price gives the cost, else coins in kind at what is stated."""

    def __init__(self, case):
        self.case, self.log, self.marks = case, MemoryLog(), {}
        self.ledger = Ledger(self.log, lambda: T0)
        coins = {event.get("asset", case.get("asset", "COIN")) for event in case["events"]}
        accounts = {event[name] for event in case["events"] for name in ("account", "to_account") if name in event}
        for account in sorted(accounts):
            costing = Costing(CostBasis(case["method"]), FeePolicy.CAPITALISED)
            self.ledger.request(OpenAccount(called(account), case["quote"], costing, T0), actor="desk")
        for coin in coins:
            for quote in (case["quote"], UNPRICED):
                listed = ListInstrument(
                    f"{coin}-{quote}.X", Contract(Kind.SPOT, coin, quote, quote), D("1e-18"), D("1e-18")
                )
                self.ledger.request(listed, actor="desk")
        for number, event in enumerate(in_order(case)):
            at = moment(event["ts"]).astimezone(UTC) + number * BEFORE  # as listed, where the time is the same
            self.ledger.report(list(self.reports(event, at)), actor="venue")

    def reports(self, event, at):
        coin, account_id = event.get("asset", self.case.get("asset", "COIN")), called(event["account"])
        instrument_id = f"{coin}-{self.case['quote']}.X"
        key, price = PositionKey(account_id, "s", instrument_id), D(event.get("unit_price") or 0)
        if price:
            self.marks[instrument_id, at] = price

        def traded(side, quantity, price, fee=D(0), instrument_id=instrument_id):
            paid = Money(fee, self.case["quote"])
            one = fill(event["id"], side, quantity, price, account_id=account_id, instrument_id=instrument_id, fee=paid)
            return replace(one, transact_time=at)

        match event["type"]:
            case "acquire":
                quantity, fee = D(event["qty"]), D(event.get("fee_quote") or 0)
                stated = event.get("cost_total")
                if event.get("income_on_receipt"):
                    yield Transfer(key, event["id"], Side.BUY, quantity, D(stated), at, TransferReason.INTEREST)
                elif stated is None or exact(quantity * price + fee) == D(stated):
                    yield traded(Side.BUY, quantity, price, fee)
                else:
                    yield Transfer(key, event["id"], Side.BUY, quantity, D(stated), at, TransferReason.DEPOSIT)
            case "dispose":
                quantity, stated = D(event.get("qty_with_fee", event["qty"])), event.get("proceeds_total")
                if stated is None and not price:
                    yield traded(Side.SELL, quantity, D(1), instrument_id=f"{coin}-{UNPRICED}.X")
                elif stated is None or exact(quantity * price) == D(stated):
                    yield traded(Side.SELL, quantity, price)
                else:
                    yield Transfer(key, event["id"], Side.SELL, quantity, D(stated), at, TransferReason.DISPOSAL)
            case "transfer":
                received, fee = D(event.get("qty_received", event.get("qty"))), D(event.get("fee_base") or 0)
                moved, paid, to = Money(received, coin), Money(fee, coin), called(event["to_account"])
                out = Leg(event["id"], Indicator.DEBIT, moved, fee=paid if fee else None, counter_account_id=to)
                into = Leg(event["id"], Indicator.CREDIT, moved, counter_account_id=account_id)
                yield SettleTransfer(account_id, out, at)
                yield SettleTransfer(to, into, at)

    def matched(self):
        """The matches of the book that was recorded, and its income."""
        source = as_of(self.log)
        valuing = Valuing(self.case["quote"], reference_data.pairs(source), timedelta(days=1))
        movements = valued(facts(source, Wanted()), valuing, self.look_up, lambda _: FeePolicy.CAPITALISED)
        kept = coin_entries.conventions(source)
        bases = {name: row["cost_basis"] for name, row in kept.items()} | {"": CostBasis(self.case["method"])}
        gains, matches, income = Gains(SCOPES[self.case["scope"]], bases.__getitem__), [], []
        for movement in movements:
            matches += gains.apply(movement)
            if isinstance(movement, Acquired) and movement.is_income:
                income.append(movement)
        return gains, matches, income

    def look_up(self, places):
        found = ((name, at, self.marks.get((name, at))) for name, at in places)
        return [None if price is None else Mark(name, price, "X", at) for name, at, price in found]


def called(account):
    return re.sub(r"[^A-Za-z0-9]", "-", account)


def as_recorded(case):
    """A case with the accounts and times of the book."""
    events = [
        event
        | {
            "ts": (moment(event["ts"]).astimezone(UTC) + number * BEFORE).isoformat(),
            "account": called(event["account"]),
        }
        for number, event in enumerate(in_order(case))
    ]
    at = {moment(old["ts"]): event["ts"] for old, event in zip(in_order(case), events, strict=True)}
    left = [
        row
        | ({"account": called(row["account"])} if "account" in row else {})
        | ({"acquired": at[moment(row["acquired"])]} if "acquired" in row else {})
        for row in case["expected"].get("remaining_lots", ())
    ]
    more = {"remaining_lots": left} if "remaining_lots" in case["expected"] else {}
    return case | {"events": events, "expected": case["expected"] | more}


@pytest.mark.parametrize("case", oracles.cases("lots", "*.json", lambda case: "error" not in case["expected"]))
def test_the_gains_of_a_recorded_book_are_as_others_worked_them_out(case):
    gains, matches, income = Book(case).matched()
    check(as_recorded(case), gains, matches)
    expected = {
        (row["event"], D(row["qty"]), D(row["income"])) for row in case["expected"].get("income_on_receipt", ())
    }
    assert {(one.what.reference, one.quantity, one.cost.amount) for one in income} == expected
