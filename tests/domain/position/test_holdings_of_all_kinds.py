"""Positions beyond plain fills: options, expiry, moves with their lots, income, lots by name, what was sold unheld."""

from datetime import timedelta
from decimal import Decimal as D

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from adapters.log.memory import MemoryLog
from domain import instrument, position
from domain.account import CostBasis, Costing, FeePolicy, OpenAccount
from domain.errors import RequestRefused
from domain.instrument import AmendInstrument, Contract, DelistInstrument, Kind, ListInstrument, PutOrCall
from domain.ledger import Ledger, scan
from domain.order import OrderCanceled, OrderKey, OrderTerms, OrdType, SubmitOrder
from domain.position import (
    AssignLots,
    Lot,
    MovePosition,
    PositionBroken,
    PositionKey,
    Reverse,
    SettleContract,
    SettleFunding,
    Transfer,
    TransferReason,
)
from domain.values import ZERO, Money, OpenedAt, Side, TradeKind, divide
from tests.derived import derived
from tests.domain.ledger.test_ledger import fill as order_fill
from tests.domain.position.booking import AVERAGE, KEY, SPOT, T0, booked, current, fill
from tests.given import Given

CALL = Contract(Kind.OPTION, "BTC", "USD", "BTC", D(1), T0 + timedelta(days=1), D(50_000), PutOrCall.CALL)
PUT = replace(CALL, settle="USD", put_or_call=PutOrCall.PUT)
FUTURE = Contract(Kind.LINEAR, "BTC", "USDT", "USDT", D("0.01"), T0 + timedelta(days=1))
HEDGE = PositionKey("main", "hedge", "BTCUSDT.SIM")


@pytest.mark.parametrize(
    ("basis", "used"),
    [(CostBasis.HIFO, "E00002"), (CostBasis.LOFO, "E00001"), (CostBasis.FIFO, "E00001"), (CostBasis.LIFO, "E00003")],
)
def test_every_basis_names_its_lot(basis, used):
    buys = [fill(1, "BUY", "1", "100"), fill(2, "BUY", "1", "300"), fill(3, "BUY", "1", "200")]
    _, events = booked([*buys, fill(4, "SELL", "1", "250")], conventions=Costing(basis))
    assert [match.lot_id for match in events[-1].effect.closed] == [used]


def test_named_lots_go_first_and_the_rest_is_the_oldest():
    specific = Costing(CostBasis.SPECIFIC)
    reports = [fill(n, "BUY", "1", str(100 * n)) for n in (1, 2, 3)]
    state, _ = booked([*reports, fill(4, "SELL", "2", "500")], conventions=specific)
    assert state.realized == 1000 - 300
    events = position.decide(state, AssignLots(KEY, "E00004", 4, ("E00003",), T0 + timedelta(seconds=4)))
    for event in events:
        state = position.evolve(state, event)
    assert state.realized == 1000 - 300 - 100
    assert [lot.lot_id for lot in state.book.lots] == ["E00002"]
    assert position.decide(state, AssignLots(KEY, "E00004", 4, ("E00003",), T0 + timedelta(seconds=4))) == ()


@pytest.mark.parametrize(
    ("conventions", "request_", "rule"),
    [
        (AVERAGE, AssignLots(KEY, "E00002", 2, ("E00001",), T0), "kept by SPECIFIC"),
        (Costing(CostBasis.SPECIFIC), AssignLots(KEY, "E00001", 1, ("E00001",), T0), "a disposal on record"),
        (Costing(CostBasis.SPECIFIC), AssignLots(KEY, "E00002", 2, ("E00009",), T0), "open at the disposal"),
        (Costing(CostBasis.SPECIFIC), AssignLots(KEY, "E00002", 2, ("E00001", "E00001"), T0), "named once"),
    ],
)
def test_lots_are_not_assigned_where_they_cannot_be(conventions, request_, rule):
    state, _ = booked([fill(1, "BUY", "1", "100"), fill(2, "SELL", "1", "120")], conventions=conventions)
    assigned = replace(request_, transact_time=T0 + timedelta(seconds=request_.trade_seq))
    with pytest.raises(RequestRefused, match=rule):
        position.decide(state, assigned)


def test_selling_what_was_never_held_is_booked_and_flagged_once():
    _, events = booked([fill(1, "BUY", "1", "100"), fill(2, "SELL", "1.5", "110"), fill(3, "SELL", "1", "110")])
    (broken,) = [event for event in events if isinstance(event, PositionBroken)]
    assert (broken.exec_id, broken.quantity) == ("E00002", D("-0.5"))
    linear = replace(SPOT, kind=Kind.LINEAR)
    _, events = booked([fill(1, "SELL", "1", "100")], linear)
    assert not any(isinstance(event, PositionBroken) for event in events)


def test_income_comes_in_at_its_value_and_what_is_brought_is_no_income():
    earned = Transfer(KEY, "S1", Side.BUY, D("0.1"), D(10), T0, TransferReason.STAKING)
    brought = Transfer(KEY, "D1", Side.BUY, D(1), D(90), T0, TransferReason.DEPOSIT)
    state, _ = booked([earned, brought])
    assert (state.quantity, state.book.cost, state.income, state.transferred) == (D("1.1"), 100, 10, 90)


@pytest.mark.parametrize(
    ("contract", "underlying", "price"),
    [
        (CALL, "60000", divide(D(10_000), D(60_000))),
        (CALL, "40000", ZERO),
        (PUT, "40000", D(10_000)),
        (FUTURE, "41000", D(41_000)),
        (FUTURE, "-37.63", D("-37.63")),
    ],
)
def test_at_expiry_a_contract_is_settled_at_what_it_is_worth(contract, underlying, price):
    paid_in = contract.settle
    state, _ = booked([fill(1, "BUY", "2", "0.05", paid_in=paid_in)], contract)
    request = SettleContract(KEY, "EXP", D(underlying), contract.expiry)
    trade = position.settled(state, request)
    assert (trade.side, trade.last_qty, trade.last_px) == (Side.SELL, 2, price)
    assert trade.kind is (TradeKind.EXERCISE if contract.kind is Kind.OPTION else TradeKind.SETTLEMENT)
    for event in position.admit(state, [trade], AVERAGE):
        state = position.evolve(state, event)
    assert (state.quantity, state.book.cost) == (0, 0)
    assert state.realized + state.rounding == 2 * contract.contract_size * (price - D("0.05"))
    assert position.settled(state, request) is None
    with pytest.raises(RequestRefused, match="one settlement_id"):
        position.settled(state, replace(request, underlying_px=D(1_000_000)))


@pytest.mark.parametrize(
    ("request_", "rule"),
    [
        (SettleContract(KEY, "EXP", D(1), T0), "at its expiry"),
        (SettleContract(KEY, "EXP", D("NaN"), T0 + timedelta(days=1)), "price above zero"),
    ],
)
def test_nothing_is_settled_early_or_at_no_price(request_, rule):
    state, _ = booked([fill(1, "BUY", "2", "100")], FUTURE)
    with pytest.raises(RequestRefused, match=rule):
        position.settled(state, request_)


def test_one_settlement_id_names_one_settlement():
    state, _ = booked([fill(1, "BUY", "2", "100")], FUTURE)
    request = SettleContract(KEY, "EXP", D(90), FUTURE.expiry)
    arrivals = [position.settled(state, request), replace(fill(2, "BUY", "1", "100"), contract=FUTURE)]
    for report in arrivals:
        for event in position.admit(state, [report], AVERAGE):
            state = position.evolve(state, event)
    assert state.quantity == 1
    with pytest.raises(RequestRefused, match="one settlement_id"):
        position.settled(state, replace(request, transact_time=FUTURE.expiry + timedelta(hours=1)))


def test_an_old_fill_is_valued_with_the_facts_of_its_day():
    small, large = replace(SPOT, kind=Kind.LINEAR), replace(SPOT, kind=Kind.LINEAR, contract_size=D(10))
    reports = [fill(1, "BUY", "1", "100"), replace(fill(3, "BUY", "1", "100"), contract=large)]
    state, events = None, []
    for report in [
        replace(reports[0], contract=small),
        reports[1],
        replace(fill(2, "BUY", "1", "100"), contract=small),
    ]:
        for event in position.admit(state, [report], AVERAGE):
            state = position.evolve(state, event)
            events.append(event)
    assert state.book.cost == 100 + 1000 + 100


def amended():
    log = MemoryLog()
    ledger = Ledger(log, lambda: T0)
    ledger.request(OpenAccount("main", "USDT", Costing(CostBasis.FIFO), T0), actor="ops")
    ledger.request(ListInstrument("BTCUSDT.SIM", SPOT, D("0.01"), D("0.001")), actor="ops")
    return ledger


def test_amended_facts_hold_from_their_moment_and_orders_are_checked_by_their_day():
    ledger = amended()
    coarse = AmendInstrument("BTCUSDT.SIM", SPOT, D(1), D(1), T0 + timedelta(days=1))
    ledger.request(coarse, actor="ops")
    assert ledger.request(coarse, actor="ops").records == ()
    terms = OrderTerms("trend", "BTCUSDT.SIM", Side.BUY, OrdType.LIMIT, D("0.5"), D("100.01"))
    key = order_fill("A", "E").key
    ledger.request(SubmitOrder(key, terms, T0), actor="bot")
    with pytest.raises(RequestRefused, match="lot size"):
        ledger.request(SubmitOrder(replace(key, cl_ord_id="B"), terms, T0 + timedelta(days=1)), actor="bot")
    with pytest.raises(RequestRefused, match="after the last one"):
        ledger.request(replace(coarse, tick_size=D(2), effective_at=T0), actor="ops")
    ledger.request(DelistInstrument("BTCUSDT.SIM", T0 + timedelta(days=2)), actor="ops")
    whole = replace(terms, order_qty=D(1), price=D(100))
    with pytest.raises(RequestRefused, match="not delisted"):
        ledger.request(SubmitOrder(replace(key, cl_ord_id="C"), whole, T0 + timedelta(days=2)), actor="bot")


@pytest.mark.parametrize(
    ("contract", "rule"),
    [
        (replace(SPOT, settle="BTC"), "settles in USDT"),
        (replace(SPOT, base="USDT"), "two currencies"),
        (replace(SPOT, contract_size=D(2)), "contract size of 1"),
        (replace(SPOT, kind=Kind.LINEAR, contract_size=D(0)), "contract_size above zero"),
        (replace(SPOT, kind=Kind.LINEAR, contract_size=D("NaN")), "contract_size above zero"),
        (replace(CALL, strike=None), "an option has strike"),
        (replace(CALL, strike=D(0)), "strike above zero"),
        (replace(FUTURE, strike=D(1)), "only an option has a strike"),
    ],
)
def test_an_instrument_of_nonsense_is_not_listed(contract, rule):
    listing = ListInstrument("X.SIM", contract, D("0.01"), D("0.001"))
    with pytest.raises(RequestRefused, match=rule):
        instrument.decide(None, listing)


def test_a_quanto_pays_its_size_for_each_unit_of_price():
    quanto = Contract(Kind.LINEAR, "ETH", "USD", "XBT", contract_size=D("0.000001"))
    listed = instrument.decide(None, ListInstrument("ETHUSD.SIM", quanto, D("0.05"), D(1)))
    assert [type(event) for event in listed] == [instrument.InstrumentListed]
    assert quanto.value(D(20090), D(2500)) - quanto.value(D(20090), D(2400)) == D("2.009")
    assert (quanto.is_quanto, quanto.notional_currency) == (True, "XBT")
    with pytest.raises(RequestRefused, match="settles in USD"):
        instrument.decide(None, ListInstrument("ETHUSD.SIM", replace(quanto, settle="ETH"), D("0.05"), D(1)))


def test_facts_that_hold_already_are_no_amendment():
    known = Given(instrument)(instrument.InstrumentListed("X.SIM", SPOT, D("0.01"), D("0.001")))
    same = AmendInstrument("X.SIM", SPOT, D("0.01"), D("0.001"), T0)
    known.when(same).then()
    known.when(replace(same, tick_size=D("0.1"))).then_some(instrument.InstrumentAmended)


@pytest.mark.parametrize("basis", [CostBasis.AVERAGE, CostBasis.FIFO])
def test_what_is_held_is_turned_into_contracts_of_another_size(basis: CostBasis):
    """The venue turns 5 contracts of 10 into 50 of 1: all sold at 2.2 after 2.0, they gained 10."""
    log = MemoryLog()
    ledger = Ledger(log, lambda: T0 + timedelta(days=9))
    ledger.request(OpenAccount("main", "USDT", Costing(basis), T0), actor="ops")
    ten = Contract(Kind.LINEAR, "DOT", "USDT", "USDT", contract_size=D(10))
    ledger.request(ListInstrument("BTCUSDT.SIM", ten, D("0.001"), D(1)), actor="ops")
    ledger.report([order_fill("A", "E1", qty="5", price="2")], actor="venue")
    one = replace(ten, contract_size=D(1))
    amend = AmendInstrument("BTCUSDT.SIM", one, D("0.001"), D(1), T0 + timedelta(days=1))
    for other, rule in (
        (replace(amend, effective_at=T0 - timedelta(days=1)), "after what is on record"),
        (replace(amend, effective_at=T0 + timedelta(days=99)), "ahead while nothing is held"),
        (replace(amend, contract=replace(ten, contract_size=D("0.7"))), "a number of the new contracts"),
    ):
        with pytest.raises(RequestRefused, match=rule):
            ledger.request(other, actor="ops")
    terms = OrderTerms("trend", "BTCUSDT.SIM", Side.BUY, OrdType.LIMIT, order_qty=D(1), price=D(1))
    ledger.request(SubmitOrder(OrderKey("main", "W"), terms, T0), actor="ops")
    with pytest.raises(RequestRefused, match="while no order works") as refused:
        ledger.request(amend, actor="ops")
    assert (refused.value.facts["cl_ord_id"], refused.value.facts["working"]) == ("W", 1)
    ledger.report([OrderCanceled(OrderKey("main", "W"), "", T0)], actor="venue")
    ledger.request(amend, actor="ops")
    assert ledger.request(amend, actor="ops").records == ()
    held = ledger.state(position.stream(KEY))
    assert (held.quantity, held.book.cost, held.realized) == (50, 100, 0)
    assert [lot.opened_at.exec_id for lot in held.book.lots] == (["E1"] if basis is CostBasis.FIFO else [])
    sold = order_fill("B", "E2", side="SELL", qty="50", price="2.2", at=2 * 86_400)
    ledger.report([sold], actor="venue")
    held = ledger.state(position.stream(KEY))
    assert (held.quantity, held.realized) == (0, 10)
    late = order_fill("C", "E3", qty="1", price="2", at=60)
    ledger.report([late], actor="venue")
    (broken,) = (logged.recorded.event for logged in scan(log) if isinstance(logged.recorded.event, PositionBroken))
    assert (broken.exec_id, broken.rule) == ("E3", "a fill is on record when its contract's size changes")
    assert ledger.state(position.stream(KEY)).contract.contract_size == 1
    records = [logged.recorded for logged in scan(log)]
    assert not derived(records).faults


def test_listing_twice_is_listing_once():
    listing = ListInstrument("X.SIM", SPOT, D("0.01"), D("0.001"))
    after = Given(instrument)
    after().when(listing).then_some(instrument.InstrumentListed)


quantities = st.integers(1, 300).map(lambda n: D(n).scaleb(-2))
moves = st.lists(st.tuples(st.booleans(), quantities), max_size=6)


@given(
    st.sampled_from(CostBasis),
    st.lists(st.tuples(quantities, quantities), min_size=1, max_size=6),
    moves,
)
@settings(max_examples=150)
def test_a_move_takes_its_cost_and_lots_along_and_makes_no_profit(basis, buys, moved):
    conventions = Costing(basis)
    states = dict.fromkeys((KEY, HEDGE))
    states[KEY], _ = booked([fill(n, "BUY", qty, px) for n, (qty, px) in enumerate(buys, 1)], conventions=conventions)
    total, cost = states[KEY].quantity, states[KEY].book.cost
    lots = {lot.opened_at for lot in states[KEY].book.lots}
    for n, (there, quantity) in enumerate(moved):
        source, target = (KEY, HEDGE) if there else (HEDGE, KEY)
        request = MovePosition(source, target, f"M{n}", quantity, T0 + timedelta(minutes=n + 1))
        try:
            transfers = position.moved(states[source], request)
        except RequestRefused:
            assert states[source] is None or quantity > states[source].quantity
            continue
        for transfer in transfers:
            for event in position.admit(states[transfer.key], [replace(transfer, contract=SPOT)], conventions):
                states[transfer.key] = position.evolve(states[transfer.key], event)
    held = [state for state in states.values() if state is not None]
    assert sum(state.quantity for state in held) == total
    assert sum(state.book.cost for state in held) == cost
    assert all(state.realized == state.rounding == 0 for state in held)
    assert sum(state.transferred for state in held) == 0
    if basis is not CostBasis.AVERAGE:
        assert {lot.opened_at for state in held for lot in state.book.lots} <= lots


def test_a_move_through_the_ledger_is_one_append_over_both_positions_and_their_limits():
    ledger = amended()
    ledger.report([order_fill("A", "E1", qty="2")], actor="venue")
    move = MovePosition(KEY, HEDGE, "M1", D("0.5"), T0 + timedelta(hours=1))
    ledger.request(move, actor="ops")
    assert ledger.state(position.stream(KEY)).quantity == D("1.5")
    assert ledger.state(position.stream(HEDGE)).quantity == D("0.5")
    with pytest.raises(RequestRefused, match="no more is moved than is held"):
        ledger.request(replace(move, transfer_id="M2", quantity=D(9)), actor="ops")


def test_a_move_sent_again_adds_nothing_and_its_id_names_no_other():
    ledger = amended()
    ledger.report([order_fill("A", "E1", qty="2")], actor="venue")
    move = MovePosition(KEY, HEDGE, "M1", D("0.5"), T0 + timedelta(hours=1))
    first = ledger.request(move, actor="ops")
    again = ledger.request(replace(move, transact_time=T0 + timedelta(hours=2)), actor="ops")
    assert (again.records, again.seq) == ((), first.seq)
    assert ledger.state(position.stream(KEY)).quantity == D("1.5")
    for other in (replace(move, quantity=D(1)), replace(move, key=HEDGE, to=KEY, quantity=D("0.1"))):
        with pytest.raises(RequestRefused, match="one transfer_id names one transfer"):
            ledger.request(other, actor="ops")
    with pytest.raises(RequestRefused, match="open it first"):
        ledger.request(replace(move, key=replace(KEY, account_id="nowhere"), transfer_id="M2"), actor="ops")


def test_a_settlement_needs_an_open_position():
    state, _ = booked([fill(1, "BUY", "2", "100"), fill(2, "SELL", "2", "101")], FUTURE)
    with pytest.raises(RequestRefused, match="only what expires"):
        position.settled(booked([fill(1, "BUY", "2", "100")])[0], SettleContract(KEY, "EXP", D(90), T0))
    for nothing in (None, state):
        with pytest.raises(RequestRefused, match="an open position to settle"):
            position.settled(nothing, SettleContract(KEY, "EXP", D(90), FUTURE.expiry))


def lot(lot_id: str, quantity: str, cost: str) -> Lot:
    opened = OpenedAt(T0 - timedelta(days=300), 0, lot_id)
    return Lot(lot_id, opened, D(quantity), D(cost), quantity=D(quantity), cost=D(cost))


BROUGHT = Transfer(KEY, "T1", Side.BUY, D(2), D(30), T0, lots=(lot("L1", "0.5", "10"), lot("L2", "1.5", "20")))


@pytest.mark.parametrize(
    ("transfer", "rule"),
    [
        (replace(BROUGHT, quantity=D(3)), "the quantity of the transfer"),
        (replace(BROUGHT, cost=D(31)), "the cost of the transfer"),
        (replace(BROUGHT, side=Side.SELL), "the quantity of the transfer"),
        (replace(BROUGHT, lots=(lot("L1", "0.5", "10"), lot("L1", "1.5", "20"))), "named once"),
        (replace(BROUGHT, transfer_id="T2"), "named once"),
    ],
)
def test_a_transfer_brings_lots_that_are_what_it_is_and_new_here(transfer: Transfer, rule: str):
    ledger = amended()
    if transfer.transfer_id != BROUGHT.transfer_id:
        assert ledger.report([BROUGHT], actor="ops")[0].error is None
        assert ledger.report([BROUGHT], actor="ops")[0].records == ()
    head = ledger.state(position.stream(KEY))
    (answer,) = ledger.report([transfer], actor="ops")
    assert rule in str(answer.error)
    assert ledger.state(position.stream(KEY)) == head


acts = st.one_of(
    st.tuples(st.just("fill"), st.sampled_from(["BUY", "SELL"]), quantities, quantities, st.integers(0, 20)),
    st.tuples(st.just("funding"), st.integers(-500, 500), st.just(0), st.just(0), st.integers(0, 20)),
    st.tuples(st.just("transfer"), st.sampled_from(list(TransferReason)), quantities, quantities, st.integers(0, 20)),
    st.tuples(st.just("bust"), st.integers(0, 10), st.just(0), st.just(0), st.integers(0, 20)),
)


@given(
    st.lists(acts, max_size=20), st.builds(Costing, st.sampled_from(CostBasis), st.sampled_from(FeePolicy)), quantities
)
@settings(max_examples=300)
def test_equity_changes_exactly_as_the_book_after_every_report(arrivals, conventions, mark):
    """realized + rounding + unrealized - fees - fee cost + funding + income + transferred = cash + value, always."""
    state, cash, value, done = None, ZERO, ZERO, []
    for n, (act, *what, second) in enumerate(arrivals):
        at = T0 + timedelta(seconds=second)
        match act, what:
            case "fill", (side, quantity, price):
                report = fill(n, side, quantity, price, "0.01", "USDT", at=second)
                cash -= report.side.sign * quantity * price + D("0.01")
                value += report.side.sign * quantity
                done.append(report)
            case "funding", (amount, *_):
                report = SettleFunding(KEY, f"F{n}", Money(D(amount), "USDT"), at)
                cash += amount
            case "transfer", (reason, quantity, cost):
                report = Transfer(KEY, f"T{n}", Side.BUY, quantity, cost, at, reason, contract=SPOT)
                value += quantity
            case "bust", (index, *_):
                if index >= len(done) or done[index] is None:
                    continue
                was, done[index] = done[index], None
                report = Reverse(KEY, was.exec_id, was.trade_seq, was.transact_time, "busted")
                cash += was.side.sign * was.last_qty * was.last_px + D("0.01")
                value -= was.side.sign * was.last_qty
        for event in position.admit(state, [report], conventions):
            state = position.evolve(state, event)
        unrealized = state.quantity * mark - state.book.cost
        fees = state.fees.get("USDT", ZERO)
        shown = state.realized + state.rounding + unrealized - fees - state.fee_cost + state.funding
        assert state.quantity == value
        assert shown + state.income + state.transferred == cash + value * mark
    if state is not None:
        assert current(state)[0] == value
