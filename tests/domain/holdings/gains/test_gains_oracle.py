"""Gains: lots of coins matched as others worked out which acquisition a disposal uses up, and what it gained."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D

import pytest

from domain.account import CostBasis
from domain.holdings.gains import (
    Acquired,
    Arrived,
    Departed,
    Disposed,
    Gains,
    Kind,
    Scope,
    What,
    Worth,
    exact_rate,
)
from domain.values import ZERO, rounded
from tests import oracles

pytestmark = pytest.mark.oracle
SCOPES = {"global": Scope.ALL, "per_account": Scope.ACCOUNT}
NO_PRICE = "no price"


def moment(ts):
    if isinstance(ts, int):
        return datetime(2000, 1, 1, tzinfo=UTC) + timedelta(seconds=ts)
    when = datetime.fromisoformat(ts)
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def in_order(case):
    return [event for _, event in sorted(enumerate(case["events"]), key=lambda pair: (moment(pair[1]["ts"]), pair[0]))]


def movements(case, event):
    """The movements that an event of a case is, at the cost and proceeds it states."""
    rate = exact_rate(case["quote"])
    coin = event.get("asset", case.get("asset", "COIN"))

    def what(kind, account="account"):
        return What(event[account], event["id"], moment(event["ts"]), kind)

    match event["type"]:
        case "acquire":
            stated = event.get("cost_total")
            cost = D(stated) if stated else D(event["qty"]) * D(event["unit_price"])
            is_income = event.get("income_on_receipt", False)
            yield Acquired(what(Kind.PURCHASE), coin, D(event["qty"]), Worth(cost, rate), is_income)
        case "dispose":
            quantity, stated = D(event.get("qty_with_fee", event["qty"])), event.get("proceeds_total")
            price = event.get("unit_price")
            amount = D(stated) if stated else quantity * D(price) if price else None
            yield Disposed(what(Kind.SALE), coin, quantity, Worth(amount, rate, "" if stated or price else NO_PRICE))
        case "transfer":
            if fee := D(event.get("fee_base", 0)):
                yield Disposed(what(Kind.FEE), coin, fee, Worth(D(event["fee_quote"]), rate))
            yield Departed(what(Kind.TRANSFER), coin, D(event.get("qty_received", event.get("qty"))), event["id"])
            yield Arrived(what(Kind.TRANSFER, "to_account"), coin, event["id"])


def matched(case):
    gains = Gains(SCOPES[case["scope"]], lambda _: CostBasis(case["method"]))
    return gains, [
        match for event in in_order(case) for movement in movements(case, event) for match in gains.apply(movement)
    ]


def agrees(ours, theirs):
    """To the last digit they print; a figure printed with the 16 digits of a binary float agrees to 15 of them."""
    places, stated = len(theirs.partition(".")[2]), D(theirs)
    digits = len(theirs.lstrip("-0.").replace(".", ""))
    return rounded(ours, min(places, 18)) == stated or (digits >= 15 and abs(ours - stated) <= abs(stated) * D("1e-14"))


def gain_by_event(matches, missing=()):
    sums = defaultdict(D)
    for match in matches:
        reference = match.disposed.what.reference
        if match.gain is not None:
            sums[reference] += match.gain
        elif (
            match.lot is None and reference in missing and match.proceeds is not None
        ):  # their policy: what was never held has cost nothing
            sums[reference] += match.proceeds
    return sums


@pytest.mark.parametrize("case", oracles.cases("lots", "*.json", lambda case: "error" not in case["expected"]))
def test_gains_by_coin_are_as_others_worked_them_out(case):
    gains, matches = matched(case)
    check(case, gains, matches)
    for row in case["expected"].get("income_on_receipt", ()):
        (received,) = [
            each for event in case["events"] if event["id"] == row["event"] for each in movements(case, event)
        ]
        assert (received.is_income, received.quantity, received.cost.amount) == (True, D(row["qty"]), D(row["income"]))


def check(case, gains, matches):
    """Which lots each disposal used up, at which cost and gain, and what is left, is as expected."""
    expected = case["expected"]
    if "matches" in expected:
        found = [(one.disposed.what.reference, one.lot.lot_id) for one in matches]
        assert found == [(row["event"], row["lot"]) for row in expected["matches"]]
        for match, row in zip(matches, expected["matches"], strict=True):
            assert match.quantity == D(row["qty"])
            assert agrees(match.cost, row["cost_basis"])
            if "proceeds" in row:
                assert agrees(match.proceeds, row["proceeds"])
            if "gain" in row:
                assert agrees(match.gain, row["gain"])
    missing = {row["event"]: D(row["missing"]) for row in expected.get("missing", ())}
    uncovered = {one.disposed.what.reference: one.quantity for one in matches if one.lot is None}
    assert uncovered == missing
    sums = gain_by_event(matches, missing)
    for reference, gain in expected.get("gain_by_event", {}).items():
        assert agrees(sums[reference], gain), reference
    if "total_realized_gain" in expected:
        assert agrees(sum((match.gain for match in matches), ZERO), expected["total_realized_gain"])
    for row in expected.get("long_term", ()):
        days = row["holding_days"]
        of = [match for match in matches if match.disposed.what.reference == row["event"]]
        cost = {long: sum((m.cost for m in of if m.is_long_term(days) is long), ZERO) for long in (True, False)}
        assert cost == {True: D(row["taxfree_cost"]), False: D(row["taxable_cost"])}
    check_left(case, gains)


def check_left(case, gains):
    coins = {event.get("asset", case.get("asset", "COIN")) for event in case["events"]}
    left = [(account, held) for account, held in gains.left() if held.quantity and held.lot.coin in coins]
    if "balances" in case["expected"]:
        total = sum((D(row["final"]) for row in case["expected"]["balances"]), ZERO)
        assert sum((held.quantity for _, held in left), ZERO) == total
    if (rows := case["expected"].get("remaining_lots")) is None:
        return
    for account, held in left:
        of = [
            row
            for row in rows
            if row.get("lot", held.lot.lot_id) == held.lot.lot_id
            and ("acquired" not in row or moment(row["acquired"]) == held.lot.acquired_at)
            and row.get("account") in (None, account or held.lot.what.account_id)
            and D(row["qty"]) == held.quantity
        ]
        assert of, (account, held.lot, held.quantity)
        if "unit_cost" in of[0]:
            assert held.cost == held.quantity * D(of[0]["unit_cost"])
    assert len(left) == len(rows)


@pytest.mark.parametrize(
    "case",
    oracles.cases("lots", "*.json", lambda case: {"pool", "remaining_after"} & case["expected"].keys()),
)
def test_what_is_left_after_each_movement_is_as_others_have_it(case):
    after = {row["after"]: row for name in ("pool", "remaining_after") for row in case["expected"].get(name, ())}
    gains = Gains(SCOPES[case["scope"]], lambda _: CostBasis(case["method"]))
    for event in in_order(case):
        for movement in movements(case, event):
            gains.apply(movement)
        row, left = after.get(event["id"], {}), [held for _, held in gains.left()]
        if "lots" in row:
            assert {held.lot.lot_id: held.quantity for held in left} == {
                lot["lot"]: D(lot["qty"]) for lot in row["lots"]
            }
        for name in ("qty", "total_qty"):
            if name in row:
                assert sum((held.quantity for held in left), ZERO) == D(row[name])
        if "total_cost" in row:
            assert sum((held.cost for held in left), ZERO) == D(row["total_cost"])


@pytest.mark.parametrize("case", oracles.cases("lots", "*.json", lambda case: "error" in case["expected"]))
def test_what_others_refuse_is_named(case):
    """Over all accounts: a match with a lot of another account. In one account: a disposal that no lot covers."""
    _, matches = matched(case)
    last = case["events"][-1]["id"]
    of_last = [match for match in matches if match.disposed.what.reference == last]
    if case["scope"] == "global":
        assert any(match.lot.what.account_id != match.disposed.what.account_id for match in of_last)
    else:
        assert [match.lacking for match in of_last if match.lot is None]
        assert all(match.lot is not None for match in matches if match not in of_last)
