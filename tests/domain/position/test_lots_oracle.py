"""Lots: what others worked out which acquisition a disposal uses up, and what it gained."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from functools import reduce

import pytest
from msgspec.structs import replace

from domain import position
from domain.account import CostBasis, Costing, FeePolicy
from domain.instrument import Contract, Kind
from domain.position import Filled, MovePosition, PositionBroken, PositionKey, TradeBooked, costing
from domain.values import ZERO, Liquidity, Money, Side, divide, rounded
from tests import oracles

pytestmark = pytest.mark.oracle
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


def moment(ts):
    if isinstance(ts, int):
        return EPOCH + timedelta(seconds=ts)
    when = datetime.fromisoformat(ts)
    return when if when.tzinfo else when.replace(tzinfo=UTC)


class Books:
    """One position for each account of a case, or one for all; fed as the ledger feeds it."""

    def __init__(self, case, scope=None):
        self.case, self.scope = case, scope or case["scope"]
        self.conventions = Costing(CostBasis(case["method"]), FeePolicy.CAPITALISED, 18)
        self.states, self.effects, self.broken = {}, {}, {}

    def key(self, event, field="account"):
        account = event[field] if self.scope == "per_account" else "all"
        return PositionKey(account.replace("/", "-").replace(":", "-"), "main", f"{event.get('asset', 'B1')}.TEST")

    def admit(self, key, reports):
        state = self.states.get(key)
        for event in position.admit(state, reports, self.conventions):
            state = position.evolve(state, event)
            if isinstance(event, TradeBooked):
                assert not event.is_late
                self.effects[event.exec_id] = event.effect
            if isinstance(event, PositionBroken):
                self.broken[event.exec_id] = event
        self.states[key] = state

    def trade(self, n, event, side, quantity, value, key):
        """A fill of the stated total value: at its unit price where that is exact, else with the rest as a fee."""
        contract = Contract(Kind.SPOT, "B1", self.case["quote"], self.case["quote"])
        price = divide(value, quantity, 12) if quantity else ZERO
        rest = value - price * quantity if side is Side.BUY else price * quantity - value
        fill = Filled(
            key, contract, event["id"], event["id"], n, side, quantity, price, Money(rest, contract.quote),
            Liquidity.UNKNOWN, moment(event["ts"]),
        )  # fmt: skip
        self.admit(key, [fill])

    def run(self):
        for n, event in sorted(enumerate(self.case["events"], 1), key=lambda pair: (moment(pair[1]["ts"]), pair[0])):
            match event["type"]:
                case "acquire":
                    cost = D(event["cost_total"]) if "cost_total" in event else D(event["qty"]) * D(event["unit_price"])
                    self.trade(n, event, Side.BUY, D(event["qty"]), cost, self.key(event))
                case "dispose":
                    quantity = D(event.get("qty_with_fee", event["qty"]))
                    proceeds = event.get("proceeds_total")
                    value = D(proceeds) if proceeds else quantity * D(event.get("unit_price", 0))
                    self.trade(n, event, Side.SELL, quantity, value, self.key(event))
                case "transfer":
                    self.transfer(n, event)
        return self

    def transfer(self, n, event):
        if fee := D(event.get("fee_base", 0)):
            self.trade(n, event, Side.SELL, fee, D(event["fee_quote"]), self.key(event))
        if self.scope == "per_account":
            out, into = self.key(event), self.key(event, "to_account")
            quantity = D(event.get("qty_received", event.get("qty")))
            request = MovePosition(out, into, event["id"], quantity, moment(event["ts"]))
            contract = self.states[out].contract
            for transfer in position.moved(self.states[out], request):
                self.admit(transfer.key, [replace(transfer, contract=contract)])

    def lots(self):
        for state in self.states.values():
            yield from ((state.key.account_id, lot) for lot in state.book.lots)


def origin(lot_id):
    return lot_id.partition("@")[0]


def is_error(case):
    return "error" in case["expected"]


def places_of(text):
    return len(text.partition(".")[2])


def agrees(ours, theirs):
    """To the last digit they print; a figure printed with the 16 digits of a binary float agrees to 15 of them."""
    exact_, stated = rounded(ours, min(places_of(theirs), 18)), D(theirs)
    digits = len(theirs.lstrip("-0.").replace(".", ""))
    return exact_ == stated or (digits >= 15 and abs(ours - stated) <= abs(stated) * D("1e-14"))


@pytest.mark.parametrize("case", oracles.cases("lots", "*.json", lambda case: not is_error(case)))
def test_matches_gains_and_what_is_left_are_as_others_worked_them_out(case):
    books = Books(case).run()
    expected = case["expected"]
    missing = {row["event"]: row for row in expected.get("missing", [])}
    if "matches" in expected and case["method"] != "AVERAGE":
        ours = [
            (event["id"], origin(match.lot_id), match)
            for event in sorted(case["events"], key=lambda event: moment(event["ts"]))
            if event["id"] in books.effects
            for match in books.effects[event["id"]].closed
        ]
        assert [row[:2] for row in ours] == [(row["event"], row["lot"]) for row in expected["matches"]]
        for (_, _, match), row in zip(ours, expected["matches"], strict=True):
            assert match.quantity == D(row["qty"])
            assert agrees(match.cost, row["cost_basis"])
            if "gain" in row and any(
                "proceeds_total" in e or "fee_quote" in e for e in case["events"] if e["id"] == row["event"]
            ):
                assert agrees(match.gain, row["gain"])
    for event_id, gain in expected.get("gain_by_event", {}).items():
        effect = books.effects[event_id]
        ours = effect.realized + effect.rounding
        if event_id in missing:  # their policy for what was never held: zero cost, so its proceeds are all gain
            price = next(D(event["unit_price"]) for event in case["events"] if event["id"] == event_id)
            ours += D(missing[event_id]["missing"]) * price
            assert event_id in books.broken or books.effects[event_id].cost < 0
        if case.get("expected", {}).get("fee_policy") == "fees are separate expenses":
            assert D(expected["fee_expense_by_event"][event_id]) == -D(
                next(e for e in case["events"] if e["id"] == event_id)["fee_quote"]
            )
        assert agrees(ours, gain), event_id
    if "total_realized_gain" in expected:
        total = sum((e.realized + e.rounding for e in books.effects.values()), ZERO)
        assert agrees(total, expected["total_realized_gain"])
    for row in expected.get("income_on_receipt", []):
        event = next(event for event in case["events"] if event["id"] == row["event"])
        assert (D(row["qty"]), D(row["income"])) == (D(event["qty"]), books.effects[row["event"]].cost)
    if "remaining_lots" in expected:
        check_remaining(case, books, expected["remaining_lots"])


def check_remaining(case, books, rows):
    if case["method"] == "AVERAGE":  # all units cost alike; by age the oldest go first
        fifo = Books(case | {"method": "FIFO"}).run()
        ours = {(account, lot.opened_at.transact_time): lot.quantity for account, lot in fifo.lots()}
        theirs = {(row["account"].replace(":", "-"), moment(row["acquired"])): D(row["qty"]) for row in rows}
        if case["scope"] == "global":
            ours = {when: quantity for (_, when), quantity in ours.items()}
            theirs = {when: quantity for (_, when), quantity in theirs.items()}
        assert ours == theirs
        return
    ours, theirs = defaultdict(D), defaultdict(D)
    by_id = "lot" in rows[0] if rows else True
    for account, lot in books.lots():
        where = (origin(lot.lot_id),) if by_id else (account, lot.opened_at.transact_time, rounded(lot.unit_cost, 8))
        ours[where] += lot.quantity
    for row in rows:
        if by_id:
            theirs[(row["lot"],)] += D(row["qty"])
        else:
            account = row["account"].replace(":", "-").replace("/", "-")
            theirs[(account, moment(row["acquired"]), rounded(D(row["unit_cost"]), 8))] += D(row["qty"])
    assert ours == theirs


@pytest.mark.parametrize("case", oracles.cases("lots", "*.json", lambda case: "pool" in case["expected"]))
def test_an_average_pool_is_as_others_keep_it(case):
    if case is None:
        return
    conventions = Costing(CostBasis.AVERAGE, FeePolicy.EXPENSED, 18)
    wrong = {row["event"] for row in case["expected"].get("missing", [])}
    for row in case["expected"]["pool"]:
        books = Books(
            case | {"events": case["events"][: [e["id"] for e in case["events"]].index(row["after"]) + 1]}
        ).run()
        (state,) = books.states.values()
        if row["after"] not in wrong:
            assert (state.quantity, state.book.cost) == (D(row["qty"]), D(row["total_cost"]))
        else:  # they end at zero, we hold what was sold and never bought, and say so
            assert state.quantity < 0
            assert books.broken
        assert books.conventions.cost_basis is conventions.cost_basis


@pytest.mark.parametrize("case", oracles.cases("lots", "*.json", lambda case: "remaining_after" in case["expected"]))
def test_what_is_left_after_each_disposal_is_as_others_say(case):
    for row in case["expected"]["remaining_after"]:
        upto = [event["id"] for event in case["events"]].index(row["after"]) + 1
        books = Books(case | {"events": case["events"][:upto]}).run()
        held = {origin(lot.lot_id): lot.quantity for _, lot in books.lots() if lot.quantity > 0}
        if "lots" in row:
            assert held == {lot["lot"]: D(lot["qty"]) for lot in row["lots"]}
        else:
            assert sum(held.values(), ZERO) == D(row["total_qty"])


@pytest.mark.parametrize("case", oracles.cases("lots", "*.json", is_error))
def test_what_others_refuse_is_on_record_as_broken_here(case):
    """A venue's report is never refused: what cannot be is booked and flagged. Where a cost basis is kept over several
    accounts, a match on a lot that lies in another one is found."""
    books = Books(case).run()
    if case["scope"] == "global":
        here = Books(case, "per_account").run()
        event = case["events"][-1]
        before = Books(case | {"events": case["events"][:-1]}, "per_account").run()
        held = before.states[here.key(event)].book.lots
        assert costing.misplaced(books.effects[event["id"]].closed, held)
        assert not costing.misplaced(here.effects[event["id"]].closed, held)
    else:
        assert set(books.broken) == {case["events"][-1]["id"]}
        assert reduce(lambda total, state: total + state.quantity, books.states.values(), ZERO) < 0
