"""Exercise, assignment and settlement by delivery: the underlying at the strike, the premium kept or in its cost."""

from datetime import timedelta
from decimal import Decimal as D

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from adapters.log.memory import MemoryLog
from domain import position
from domain.account import CostBasis, Costing, OpenAccount
from domain.errors import RequestRefused
from domain.holdings import balances
from domain.instrument import Contract, ExerciseStyle, Kind, ListInstrument, PutOrCall
from domain.ledger import Ledger, scan
from domain.order import OrderFilled, OrderKey
from domain.position import DeliverContract, PositionKey
from domain.values import ZERO, Liquidity, Money, Side
from tests.derived import derived
from tests.domain.position.booking import T0

EXPIRY = T0 + timedelta(days=30)
SPOT, CALL, PUT, FUTURE, COIN = "BTCUSD.SIM", "CALL.SIM", "PUT.SIM", "FUT.SIM", "COIN.SIM"
OPTION = Contract(Kind.OPTION, "BTC", "USD", "USD", D("0.1"), EXPIRY, D(90_000), PutOrCall.CALL)
CONTRACTS = {
    SPOT: Contract(Kind.SPOT, "BTC", "USD", "USD"),
    CALL: OPTION,
    PUT: replace(OPTION, put_or_call=PutOrCall.PUT, exercise_style=ExerciseStyle.AMERICAN),
    COIN: replace(OPTION, settle="BTC"),
    FUTURE: Contract(Kind.LINEAR, "BTC", "USD", "USD", D("0.1"), EXPIRY),
    "PERP.SIM": Contract(Kind.LINEAR, "BTC", "USD", "USD", D("0.01")),
    "THIRD.SIM": Contract(Kind.LINEAR, "BTC", "USD", "USD", D(3)),
    "ETHUSD.SIM": Contract(Kind.SPOT, "ETH", "USD", "USD"),
    "INVERSE.SIM": Contract(Kind.INVERSE, "BTC", "USD", "BTC", D(10), EXPIRY),
}


def desk(basis=CostBasis.FIFO):
    log = MemoryLog()
    ledger = Ledger(log, lambda: T0 + timedelta(days=90))
    ledger.request(OpenAccount("main", "USD", Costing(basis), T0), actor="ops")
    for name, contract in CONTRACTS.items():
        ledger.request(ListInstrument(name, contract, D("0.0001"), D("0.0001")), actor="ops")
    return log, ledger


def fill(ledger, instrument_id, exec_id, side, quantity, price, day=0):
    ledger.report(
        [
            OrderFilled(
                OrderKey("main", f"o{exec_id}"), "main", instrument_id, "", side=side, exec_id=exec_id, trade_seq=0,
                last_qty=D(quantity), last_px=D(price), commission=Money(ZERO, "USD"), liquidity=Liquidity.UNKNOWN,
                transact_time=T0 + timedelta(days=day),
            )
        ],
        actor="venue",
    )  # fmt: skip


def key(instrument_id):
    return PositionKey("main", "main", instrument_id)


def held(ledger, instrument_id):
    return ledger.state(position.stream(key(instrument_id)))


def cash(ledger, currency="USD"):
    moved = [balances.moved_by(state) for name in CONTRACTS if (state := held(ledger, name)) is not None]
    return balances.total(*moved).get(currency, ZERO)


def deliver(instrument_id, to=SPOT, at=EXPIRY, **more):
    return DeliverContract(key(instrument_id), "D1", key(to), at, **more)


@pytest.mark.parametrize(
    # 5 contracts of 0.1 at a premium of 1200 a coin: 600 paid or received. What is delivered: 0.5 BTC at 90000.
    ("name", "side", "in_cost", "realized", "quantity", "cost"),
    [
        (CALL, Side.BUY, False, "-600", "0.5", "45000"),
        (CALL, Side.SELL, False, "600", "-0.5", "-45000"),
        (PUT, Side.BUY, False, "-600", "-0.5", "-45000"),
        (PUT, Side.SELL, False, "600", "0.5", "45000"),
        (CALL, Side.BUY, True, "0", "0.5", "45600"),
        (CALL, Side.SELL, True, "0", "-0.5", "-45600"),
        (PUT, Side.BUY, True, "0", "-0.5", "-44400"),
        (PUT, Side.SELL, True, "0", "0.5", "44400"),
    ],
)
def test_an_option_delivers_at_its_strike(name, side, in_cost, realized, quantity, cost):
    log, ledger = desk()
    fill(ledger, name, "E1", side, 5, 1200)
    request = deliver(name, is_premium_in_cost=in_cost)
    assert ledger.request(request, actor="ops").records
    assert ledger.request(request, actor="ops").records == ()
    option, spot = held(ledger, name), held(ledger, SPOT)
    assert (option.quantity, option.realized, option.rounding) == (0, D(realized), 0)
    assert (spot.quantity, spot.book.cost, spot.realized) == (D(quantity), D(cost), 0)
    assert cash(ledger) == -side.sign * 600 - D(quantity) * 90_000
    assert not derived([logged.recorded for logged in scan(log)]).faults


def test_a_part_may_be_assigned_before_the_expiry_of_an_american_option():
    _, ledger = desk()
    fill(ledger, PUT, "E1", Side.SELL, 5, 1200)
    ledger.request(deliver(PUT, at=T0 + timedelta(days=1), quantity=D(2)), actor="ops")
    assert (held(ledger, PUT).quantity, held(ledger, PUT).realized, held(ledger, SPOT).book.cost) == (-3, 240, 18_000)


def test_a_future_delivers_at_its_settlement_price():
    log, ledger = desk()
    fill(ledger, FUTURE, "E1", Side.SELL, 3, 95_000)
    fill(ledger, SPOT, "E2", Side.BUY, 1, 80_000)
    ledger.request(deliver(FUTURE, settlement_px=D(90_000)), actor="ops")
    future, spot = held(ledger, FUTURE), held(ledger, SPOT)
    assert (future.quantity, future.realized) == (0, 1500)
    assert (spot.quantity, spot.realized, spot.book.cost) == (D("0.7"), 3000, 56_000)
    assert not derived([logged.recorded for logged in scan(log)]).faults


def test_an_option_may_deliver_contracts_of_another_size():
    _, ledger = desk()
    fill(ledger, CALL, "E1", Side.BUY, 1, 0)
    ledger.request(deliver(CALL, "PERP.SIM"), actor="ops")
    assert (held(ledger, "PERP.SIM").quantity, held(ledger, "PERP.SIM").book.cost) == (10, 9000)


@pytest.mark.parametrize(
    ("name", "request_", "rule"),
    [
        (CALL, deliver(CALL, at=T0 + timedelta(days=1)), "at its expiry"),
        (CALL, deliver(CALL, quantity=D(9)), "no more is delivered"),
        (CALL, deliver(CALL, settlement_px=D(1)), "an option at its strike"),
        (CALL, deliver(CALL, "ETHUSD.SIM"), "of the same base and quote"),
        (CALL, deliver(CALL, CALL), "of the same base and quote"),
        (CALL, deliver(CALL, "THIRD.SIM"), "a number of contracts"),
        (CALL, deliver(CALL, "NONE.SIM"), "listed"),
        (COIN, deliver(COIN, is_premium_in_cost=True), "of the same base and quote"),
        (FUTURE, deliver(FUTURE), "at a settlement price"),
        (FUTURE, deliver(FUTURE, settlement_px=D(1), is_premium_in_cost=True), "has a premium"),
        (FUTURE, deliver(FUTURE, settlement_px=D(-1)), "that the underlying may have"),
        (SPOT, deliver(SPOT, "PERP.SIM"), "only an option or a linear"),
        ("INVERSE.SIM", deliver("INVERSE.SIM"), "only an option or a linear"),
        (CALL, deliver(PUT), "an open position"),
        (PUT, deliver(PUT, at=T0 - timedelta(days=1)), "after what is on record"),
    ],
)
def test_a_delivery_that_cannot_be_changes_nothing(name, request_, rule):
    log, ledger = desk()
    fill(ledger, name, "E1", Side.BUY, 5, 1200)
    before = log.head().seq
    with pytest.raises(RequestRefused, match=rule):
        ledger.request(request_, actor="ops")
    assert log.head().seq == before


def test_one_id_names_one_delivery():
    _, ledger = desk()
    fill(ledger, CALL, "E1", Side.BUY, 5, 1200)
    ledger.request(deliver(CALL, quantity=D(1)), actor="ops")
    for changed in (deliver(CALL, quantity=D(2)), deliver(CALL, "PERP.SIM", quantity=D(1))):
        with pytest.raises(RequestRefused, match="one delivery_id"):
            ledger.request(changed, actor="ops")
    fill(ledger, PUT, "E2", Side.BUY, 5, 1200)
    with pytest.raises(RequestRefused, match="one delivery_id"):  # of another option, into the same position
        ledger.request(deliver(PUT), actor="ops")


prices = st.integers(1, 10**7).map(lambda n: D(n).scaleb(-2))


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([CALL, PUT]), st.sampled_from(list(Side)), st.sampled_from(CostBasis),
    st.lists(st.tuples(st.integers(1, 50), prices), min_size=1, max_size=4), st.integers(1, 20), prices,
)  # fmt: skip
def test_where_the_premium_goes_changes_no_value(name, side, basis, trades, wanted, mark):
    """Cash, and results realized and not together, are the same: the premium, and the strike against the mark."""
    results = []
    for in_cost in (False, True):
        _, ledger = desk(basis)
        for n, (size, price) in enumerate(trades):
            fill(ledger, name, f"E{n}", side, size, price / 1000, n)
        quantity = D(min(wanted, sum(size for size, _ in trades)))
        ledger.request(deliver(name, quantity=quantity, is_premium_in_cost=in_cost), actor="ops")
        option, spot = held(ledger, name), held(ledger, SPOT)
        total = option.realized + option.rounding - option.book.cost + spot.quantity * mark - spot.book.cost
        results.append((option.quantity, spot.quantity, round(cash(ledger), 12), round(total, 12)))
        assert abs(cash(ledger) + spot.quantity * mark - total) <= D("1e-14")
    assert results[0] == results[1]
