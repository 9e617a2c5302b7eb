"""Positions: quantity, average price and PnL as three other engines and two exchanges worked them out."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D

import pytest

from domain import position
from domain.account import CostBasis, Costing, FeePolicy
from domain.instrument import Contract, Kind
from domain.position import Filled, PositionKey, SettleFunding, Transfer, TransferReason
from domain.values import ONE, ZERO, Liquidity, Money, Side, divide, rounded
from tests import oracles

T0 = datetime(2026, 1, 2, tzinfo=UTC)
pytestmark = pytest.mark.oracle
KEY = PositionKey("main", "main", "X.TEST")
MONEY_PLACES = {"USD": 2, "BTC": 8, "USDT": 8}


def contract_of(instrument):
    kind = {"inverse": Kind.INVERSE, "linear": Kind.LINEAR}.get(instrument["kind"], Kind.SPOT)
    base, quote = instrument["base"], instrument["quote"]
    if base == quote or base is None:
        base = instrument["symbol"].partition(".")[0]
    size = D(instrument.get("multiplier", "1"))
    if kind is Kind.SPOT and size != ONE:
        kind = Kind.LINEAR
    return Contract(kind, base, quote, base if kind is Kind.INVERSE else quote, size)


def fill_of(n, op, contract):
    commission = op.get("commission") or {"amount": "0", "currency": contract.settle}
    return Filled(
        KEY, contract, "", op["id"], n, Side(op["side"]), D(op["qty"]), D(op["px"]),
        Money(D(commission["amount"]), commission["currency"]), Liquidity.UNKNOWN, T0 + timedelta(seconds=n),
    )  # fmt: skip


def report_of(n, op, contract):
    at = T0 + timedelta(seconds=n)
    if op["op"] == "funding":
        return SettleFunding(KEY, f"F{n}", Money(D(op["amount"]), op["currency"]), at)
    if op["op"] == "adjust":
        change = D(op["qty_change"])
        side = Side.BUY if change > 0 else Side.SELL
        return Transfer(KEY, f"A{n}", side, abs(change), ZERO, at, TransferReason.WITHDRAWAL, contract=contract)
    return fill_of(n, op, contract)


def states_after(ops, contract, conventions):
    """The position after each operation."""
    state, states, commissions = None, [], {}
    for n, op in enumerate(ops, 1):
        for event in position.admit(state, [report_of(n, op, contract)], conventions):
            state = position.evolve(state, event)
        states.append(state)
        if paid := op.get("commission"):
            commissions[paid["currency"]] = commissions.get(paid["currency"], ZERO) + D(paid["amount"])
    return states, commissions


def net(state):
    """Realized PnL less what was paid in the settlement currency, as the venues and bots count it."""
    return state.realized - state.fees.get(state.contract.settle, ZERO) + state.funding


def is_near(ours, theirs, relative="1e-12"):
    return abs(ours - D(theirs)) <= abs(D(theirs)) * D(relative)


def average(state):
    return state.contract.average_price(state.quantity, state.book.cost)


def unrealized(state, mark):
    return state.contract.value(state.quantity, D(mark)) - state.book.cost


@pytest.mark.parametrize("case", oracles.cases("positions", "nautilus_unit.json"))
def test_states_seen_while_nautilus_unit_tests_passed(case):
    contract = contract_of(case["instrument"])
    conventions = Costing(money_places=MONEY_PLACES[case["instrument"]["settlement"]])
    states, _ = states_after(case["ops"], contract, conventions)
    half = D(1).scaleb(-conventions.money_places) / 2
    cycles = realized_by_cycle(states)
    for n, (op, state, cycle, expected) in enumerate(
        zip(case["ops"], states, cycles, case["expected"]["after_each_op"], strict=True), 1
    ):
        assert state.quantity == D(expected["signed_qty"])
        if state.quantity and op["op"] == "fill":
            assert is_near(average(state), expected["avg_px_open"])
        if op["op"] == "fill":
            assert abs(cycle - D(expected["realized_pnl"]["amount"])) <= half * n
    for mark in case["expected"].get("marks", []):
        check_mark(states[mark["after_op"] - 1], cycles[mark["after_op"] - 1], mark, contract, conventions)


def realized_by_cycle(states):
    """Net realized PnL since the position last opened from flat: the count starts again with every opening."""
    cycles, opened_with, was_flat, before = [], ZERO, True, ZERO
    was = ZERO
    for state in states:
        crossed = was * state.quantity < 0
        if was_flat or crossed:
            opened_with = before if was_flat else before + closing_part(was, before, state)
        cycles.append(net(state) - opened_with)
        was_flat, before, was = not state.quantity, net(state), state.quantity
    return cycles


def closing_part(was, before, state):
    """Of a fill through zero, the closing part belongs to the old cycle: its gain and its share of the fee."""
    last = state.tail[-1]
    fee = last.effect.fee if last.entry.commission.currency == state.contract.settle else ZERO
    share = rounded(fee * abs(was) / last.entry.quantity, state.costing.money_places) if fee else ZERO
    return last.effect.realized - share


def check_mark(state, cycle, mark, contract, conventions):
    quantity = state.quantity
    match mark["op"]:
        case "unrealized_pnl":
            ours = unrealized(state, mark["mark"])
        case "total_pnl":
            ours = unrealized(state, mark["mark"]) + cycle
        case "notional_value":
            ours = abs(contract.value(quantity, D(mark["mark"])))
        case "pnl_between":
            signed = D(mark["qty"]).copy_sign(quantity)
            ours = contract.value(signed, D(mark["avg_close"])) - contract.value(signed, D(mark["avg_open"]))
    assert abs(ours - D(mark["value"]["amount"])) <= D(1).scaleb(-conventions.money_places) / 2


@pytest.mark.parametrize("case", oracles.cases("positions", "nautilus_live.json"))
def test_random_orders_at_real_prices_as_nautilus_books_them(case):
    contract = contract_of(case["instrument"])
    conventions = Costing(money_places=MONEY_PLACES[case["expected"]["settlement"]])
    states, commissions = states_after([fill | {"op": "fill"} for fill in case["fills"]], contract, conventions)
    half = D(1).scaleb(-conventions.money_places) / 2
    if contract.kind is Kind.INVERSE:
        check_inverse(case, states, contract)
        return
    for expected in case["expected"]["states"]:
        n = expected["after_fill"]
        state = states[n - 1]
        assert state.quantity == D(expected["signed_qty"])
        assert abs(net(state) - D(expected["realized_cum"])) <= half * n
        if state.quantity:
            assert is_near(average(state), expected["avg_px_open"])
    assert commissions == {currency: D(amount) for currency, amount in case["expected"]["commissions"].items()}
    for mark in case["expected"]["marks"]:
        ours = unrealized(states[-1], mark["mark"])
        assert abs(ours - D(mark["unrealized"].split()[0])) <= half
        worth = abs(contract.value(states[-1].quantity, D(mark["mark"])))
        assert abs(worth - D(mark["notional"].split()[0])) <= half


def check_inverse(case, states, contract):
    """Nautilus averages the entry prices of an inverse position as they are; what such a position costs in coin is
    averaged by the price's inverse. So their figures follow from our entries by their rule, to the last digit, while
    ours are what was paid: realized less cost is minus the sum of the traded values."""
    quantity = mean = theirs = ZERO
    for state, expected in zip(states, case["expected"]["states"], strict=True):
        entry = state.tail[-1].entry
        signed = entry.side.sign * entry.quantity
        gain = ZERO
        if quantity * signed < 0:
            closed = min(abs(quantity), abs(signed)).copy_sign(quantity)
            gain = contract.value(closed, entry.price) - contract.value(closed, mean)
            mean = entry.price if abs(signed) > abs(quantity) else mean
        else:
            mean = divide(abs(quantity) * mean + abs(signed) * entry.price, abs(quantity) + abs(signed))
        quantity += signed
        fee = entry.commission.amount if entry.commission.currency == contract.settle else ZERO
        theirs += rounded(gain - fee, state.costing.money_places)
        assert state.quantity == quantity == D(expected["signed_qty"])
        assert theirs == D(expected["realized_cum"])
        assert not quantity or is_near(mean, expected["avg_px_open"])
    paid = sum((-contract.value(e.side.sign * e.quantity, e.price) for e in (b.entry for b in states[-1].tail)), ZERO)
    assert abs(states[-1].realized + states[-1].rounding - states[-1].book.cost - paid) <= D("1e-16")


def test_an_inverse_position_costs_what_was_paid_and_not_its_mean_entry_price():
    """Two buys of 100 USD at 100 and at 200 cost 1 + 0.5 BTC; sold at 150 they bring 1.333... The mean price says 1.333
    was paid, so that nothing was gained; the account has 0.1666... more."""
    contract = Contract(Kind.INVERSE, "BTC", "USD", "BTC")
    fills = [("BUY", "100", "100"), ("BUY", "100", "200"), ("SELL", "200", "150")]
    ops = [{"op": "fill", "id": f"E{n}", "side": s, "qty": q, "px": p} for n, (s, q, p) in enumerate(fills)]
    states, _ = states_after(ops, contract, Costing(money_places=18))
    assert states[-1].realized == D("0.166666666666666667")
    assert average(states[1]) == divide(D(200), D("1.5"))


@pytest.mark.parametrize("case", oracles.cases("positions", "bbgo_unit.json"))
def test_cost_with_and_without_fees_as_bbgo_counts_it(case):
    contract = contract_of(case["instrument"])
    included = case["fee_mode"] == "included_in_cost"
    conventions = Costing(fee_policy=FeePolicy.CAPITALISED if included else FeePolicy.EXPENSED, money_places=18)
    states, _ = states_after(case["ops"], contract, conventions)
    state, expected = states[-1], case["expected"]
    before = states[-2] if len(states) > 1 else None
    last_fee = D((case["ops"][-1]["commission"] or {"amount": "0"})["amount"])
    gained = state.realized - (before.realized if before else ZERO)
    quote = state.realized + state.rounding - state.book.cost - state.fees.get(contract.quote, ZERO)
    ours = {
        "base": state.quantity,
        "quote": quote,
        "avg_px": average(state),
        "avg_px_after_first": average(states[0]),
        "profit": gained,
        "net_profit": gained - last_fee,
        # included: their profit is before the closing fee, ours after it
        "last_profit": gained + last_fee if included else gained,
        "last_net_profit": gained if included else gained - last_fee,
        "accumulated_profit": state.realized,
    }
    if not included and expected.get("quote") is not None:
        ours["quote"] = quote + sum((D(op["commission"]["amount"]) for op in case["ops"]), ZERO)
    assert {name: ours[name] for name in expected} == {name: D(value) for name, value in expected.items()}


@pytest.mark.parametrize("case", oracles.cases("positions", "freqtrade_dca.json"))
def test_averaging_in_and_out_as_freqtrade_counts_it(case):
    contract = contract_of(case["instrument"])
    without, _ = states_after(case["ops"], contract, Costing(money_places=18))
    within, _ = states_after(case["ops"], contract, Costing(fee_policy=FeePolicy.CAPITALISED, money_places=18))
    before = ZERO
    for bare, state, expected in zip(without, within, case["expected"]["after_each_op"], strict=True):
        if "avg_px_open" in expected and bare.quantity:
            assert abs(average(bare) - D(expected["avg_px_open"])) <= D("1e-6")
        if "signed_qty" in expected:
            assert state.quantity == D(expected["signed_qty"])
        assert abs(state.realized - D(expected["cumulative_profit_net"])) <= D("1e-6")
        if expected.get("event_profit_net") is not None and state.realized != before:
            assert abs(state.realized - before - D(expected["event_profit_net"])) <= D("1e-6")
        before = state.realized
    assert abs(before - D(case["expected"]["end_profit"])) <= D("1e-6")


@pytest.mark.parametrize("case", oracles.cases("positions", "freqtrade_profit.json"))
def test_profit_with_leverage_and_funding_as_freqtrade_counts_it(case):
    contract = contract_of(case["instrument"])
    states, _ = states_after(case["ops"], contract, Costing(CostBasis.AVERAGE, FeePolicy.EXPENSED, 18))
    profit = net(states[-1])
    assert abs(profit - D(case["expected"]["net_profit"])) <= D("1e-6")
    opening = states[0]
    paid = opening.book.cost + opening.fees.get(contract.settle, ZERO)
    ratio = profit / 1 * case["leverage"]
    assert abs(ratio - D(case["expected"]["profit_ratio"]) * abs(paid)) <= D("1e-6") * abs(paid)


@pytest.mark.parametrize("path", oracles.each("positions", "*funding*.json"))
def test_funding_payments_as_freqtrade_counts_them(path):
    table = json.loads(path.read_text())
    contract = contract_of(table["instrument"])
    for row in table["rows"]:
        for side, sign in (("long", 1), ("short", -1)):
            ours = contract.funding(sign * D(row["qty"]), D(row["mark"]), D(row["rate"]))
            assert abs(ours - D(row[f"fee_{side}"])) <= D("1e-9")
    for window in table["windows"]:
        rows = [row for row in table["rows"] if row["hour"] in window["hours"]]
        total = sum((contract.funding(-D(row["qty"]), D(row["mark"]), D(row["rate"])) for row in rows), ZERO)
        assert abs(total - D(window["fee_short"])) <= D(window["tolerance"])


@pytest.mark.parametrize("case", oracles.cases("positions", "exchange_pnl.json"))
def test_pnl_as_the_exchange_itself_reported_it(case):
    contract = Contract(Kind(case["kind"].upper()), "X", "USDT", "USDT", D(case["contract_size"]))
    sign = 1 if case["side"] == "long" else -1
    quantity, expected = sign * D(case["qty_contracts"]), case["expected"]
    opened = contract.value(quantity, D(case["open_avg_px"]))
    if "pnl" in expected:
        pnl = contract.value(quantity, D(case["close_avg_px"])) - opened
        assert pnl == D(expected["pnl"])
        assert pnl + D(expected["fee"]) + D(expected["funding"]) == D(expected["realized_pnl"])
    if "unrealized_pnl" in expected:
        assert contract.value(quantity, D(case["mark_px"])) - opened == D(expected["unrealized_pnl"])
