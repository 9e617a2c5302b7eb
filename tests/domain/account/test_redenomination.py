"""A coin that becomes another one: pairs, contracts, open orders, cash, stakes and loans of every account at once."""

from datetime import timedelta
from decimal import Decimal as D
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from adapters.log.memory import MemoryLog
from domain import account, instrument, order, position
from domain.account import (
    BookEntry,
    CostBasis,
    Costing,
    EntryKind,
    Indicator,
    Leg,
    OpenAccount,
    RedenominateAsset,
    RequestTransfer,
)
from domain.errors import RequestRefused
from domain.holdings import balances
from domain.instrument import Contract, Kind, ListInstrument
from domain.ledger import Ledger, scan
from domain.order import OrderFilled, OrderKey, OrderTerms, OrdType, SubmitOrder
from domain.position import PositionKey
from domain.values import ZERO, Liquidity, Money, Side
from tests.derived import derived
from tests.domain.position.booking import T0

AT = T0 + timedelta(days=60)
BECOMES = RedenominateAsset("GXS", "gxs-rei", "REI", D(10), D(1), AT)
CONTRACTS = {
    "GXSUSDT.SIM": Contract(Kind.SPOT, "GXS", "USDT", "USDT"),
    "GXS-PERP.SIM": Contract(Kind.LINEAR, "GXS", "USDT", "USDT", D(5)),
    "ETHGXS.SIM": Contract(Kind.SPOT, "ETH", "GXS", "GXS"),
    "INVERSE.SIM": Contract(Kind.INVERSE, "GXS", "USD", "GXS", D(10)),
    "tGXSUST.SIM": Contract(Kind.SPOT, "GXS", "USDT", "USDT"),
}


def desk():
    log = MemoryLog()
    ledger = Ledger(log, lambda: T0 + timedelta(days=90))
    for name in ("main", "cold"):
        ledger.request(OpenAccount(name, "USDT", Costing(CostBasis.FIFO), T0, is_margin=True), actor="ops")
    for name, contract in CONTRACTS.items():
        ledger.request(ListInstrument(name, contract, D("0.001"), D("0.0001")), actor="ops")
    return log, ledger


def fill(ledger, instrument_id, exec_id, side, quantity, price, strategy_id="main", account_id="main"):
    filled = OrderFilled(
        OrderKey(account_id, f"o{exec_id}"), strategy_id, instrument_id, "", side=side, exec_id=exec_id, trade_seq=0,
        last_qty=D(quantity), last_px=D(price), commission=Money(ZERO, "USDT"), liquidity=Liquidity.UNKNOWN,
        transact_time=T0 + timedelta(days=1),
    )  # fmt: skip
    (done,) = ledger.report([filled], actor="venue")
    assert done.error is None


def entry(ledger, kind, amount, name, account_id="main"):
    side = Indicator.CREDIT if D(amount) > 0 else Indicator.DEBIT
    booked = BookEntry(account_id, name, kind, side, Money(abs(D(amount)), "GXS"), "", T0)
    (done,) = ledger.report([booked], actor="venue")
    assert done.error is None


def held(ledger, instrument_id, strategy_id="main", account_id="main"):
    return ledger.state(position.stream(PositionKey(account_id, strategy_id, instrument_id)))


def total(ledger, currency, account_id="main"):
    known = ledger.state(account.stream(account_id))
    moved = [balances.moved_by(held(ledger, name, strategy, account_id)) for strategy, name, _ in known.positions]
    return known.cash.total(currency, balances.total(*moved))


def test_all_that_is_held_of_a_coin_becomes_the_other_one():
    log, ledger = desk()
    entry(ledger, EntryKind.OPENING, 100, "open")
    entry(ledger, EntryKind.STAKE, -30, "stake")
    entry(ledger, EntryKind.LOAN, 20, "loan")
    entry(ledger, EntryKind.OPENING, 7, "cold", account_id="cold")
    fill(ledger, "GXSUSDT.SIM", "E1", Side.BUY, 600, 1)
    fill(ledger, "GXSUSDT.SIM", "E2", Side.BUY, 400, 2, strategy_id="other")
    fill(ledger, "GXS-PERP.SIM", "E3", Side.SELL, 3, 2)
    fill(ledger, "ETHGXS.SIM", "E4", Side.BUY, 2, 15)  # paid with 30 of the coin
    terms = OrderTerms("main", "GXSUSDT.SIM", Side.BUY, OrdType.LIMIT, order_qty=D(5), price=D("1.5"))
    ledger.request(SubmitOrder(OrderKey("main", "W"), terms, T0), actor="ops")
    assert total(ledger, "GXS") == 100 + 20 + 600 + 400 - 30
    assert ledger.request(BECOMES, actor="ops").records
    assert ledger.request(BECOMES, actor="ops").records == ()

    assert (total(ledger, "GXS"), total(ledger, "REI")) == (0, 10_900)
    assert (total(ledger, "GXS", "cold"), total(ledger, "REI", "cold")) == (0, 70)
    cash = ledger.state(account.stream("main")).cash
    assert (cash.staked, cash.loans) == ({"REI": D(300)}, {"REI": D(200)})
    first, second = held(ledger, "REIUSDT.SIM"), held(ledger, "REIUSDT.SIM", "other")
    assert [(lot.quantity, lot.cost, lot.opened_at.exec_id) for lot in first.book.lots] == [(6000, 600, "E1")]
    assert (second.quantity, second.book.cost, second.realized) == (4000, 800, 0)
    perpetual = held(ledger, "REI-PERP.SIM")
    assert (perpetual.quantity, perpetual.book.cost, perpetual.realized) == (-30, -30, 0)
    assert held(ledger, "ETHGXS.SIM").quantity == 2
    listed = ledger.state(instrument.stream("REIUSDT.SIM"))
    assert (listed.contract.base, listed.tick_size, listed.lot_size) == ("REI", D("0.0001"), D("0.001"))
    carried = ledger.state(order.stream(OrderKey("main", "W")))
    assert (carried.instrument_id, carried.order_qty, carried.terms.price) == ("REIUSDT.SIM", 50, D("0.15"))
    assert not derived([logged.recorded for logged in scan(log)]).faults


def test_two_coins_become_one():
    _, ledger = desk()
    entry(ledger, EntryKind.OPENING, 100, "open")
    fill(ledger, "GXSUSDT.SIM", "E1", Side.BUY, 600, 1)
    ledger.request(replace(BECOMES, to_asset="ETH", units=D(1), per=D(4)), actor="ops")
    assert (total(ledger, "ETH"), held(ledger, "ETHUSDT.SIM").quantity) == (175, 150)


def test_an_instrument_may_be_named_for_what_it_becomes():
    _, ledger = desk()
    fill(ledger, "tGXSUST.SIM", "E1", Side.BUY, 600, 1)
    with pytest.raises(RequestRefused, match="named with what it becomes"):
        ledger.request(BECOMES, actor="ops")
    named = replace(BECOMES, successors=(("tGXSUST.SIM", "tREIUST.SIM"),), account_id="main")
    ledger.request(named, actor="ops")
    assert held(ledger, "tREIUST.SIM").quantity == 6000


@pytest.mark.parametrize(
    ("request_", "rule"),
    [
        (replace(BECOMES, units=D(0)), "units above zero"),
        (replace(BECOMES, per=D("NaN")), "per above zero"),
        (replace(BECOMES, to_asset="GXS", units=D(1)), "changes the coin or the number"),
        (replace(BECOMES, to_asset=""), "to_asset"),
        (replace(BECOMES, account_id="nobody"), "the account is open"),
        (BECOMES, "settles in the coin is closed first"),
        (replace(BECOMES, successors=(("GXSUSDT.SIM", "ETHGXS.SIM"),)), "has the coin as its base"),
        (replace(BECOMES, effective_at=T0), "after what is on record"),
    ],
)
def test_a_redenomination_that_cannot_be_changes_nothing(request_, rule):
    log, ledger = desk()
    fill(ledger, "GXSUSDT.SIM", "E1", Side.BUY, 600, 1)
    fill(ledger, "INVERSE.SIM", "E2", Side.BUY, 1, 1)
    before = log.head().seq
    with pytest.raises(RequestRefused, match=rule):
        ledger.request(request_, actor="ops")
    assert log.head().seq == before


def test_a_pending_transfer_of_the_coin_is_settled_or_returned_first():
    _, ledger = desk()
    leg = Leg("T1", Indicator.DEBIT, Money(D(1), "GXS"))
    ledger.request(RequestTransfer("main", leg, T0), actor="ops")
    with pytest.raises(RequestRefused, match="after pending transfers"):
        ledger.request(BECOMES, actor="ops")
    ledger.request(replace(BECOMES, account_id="cold"), actor="ops")
    with pytest.raises(RequestRefused, match="one redenomination_id"):
        ledger.request(replace(BECOMES, account_id="cold", units=D(3)), actor="ops")


amounts = st.integers(-(10**6), 10**6).map(lambda n: D(n).scaleb(-4))


@settings(max_examples=50, deadline=None)
@given(amounts, amounts, st.lists(amounts, max_size=4), st.integers(1, 10_000), st.integers(1, 10_000))
def test_no_coin_and_no_cost_is_lost_or_made(paid_in, lent, trades, units, per):
    _, ledger = desk()
    for kind, amount in ((EntryKind.OPENING, paid_in), (EntryKind.LOAN, lent)):
        if amount:
            entry(ledger, kind, amount, kind.lower())
    for n, size in enumerate(trades):
        if size:
            side = Side.BUY if size > 0 else Side.SELL
            fill(ledger, "GXSUSDT.SIM", f"E{n}", side, abs(size), n + 1, strategy_id=f"s{n % 2}")
    before, money = total(ledger, "GXS"), total(ledger, "USDT")
    costs = [state.book.cost for n in (0, 1) if (state := held(ledger, "GXSUSDT.SIM", f"s{n}")) is not None]
    ledger.request(replace(BECOMES, units=D(units), per=D(per)), actor="ops")
    assert (total(ledger, "GXS"), total(ledger, "USDT")) == (0, money)
    exact = Fraction(before) * units / per
    assert abs(Fraction(total(ledger, "REI")) - exact) <= Fraction(4, 10**18)  # two positions, a loan, the rest
    after = [state.book.cost for n in (0, 1) if (state := held(ledger, "REIUSDT.SIM", f"s{n}")) is not None]
    assert sum(costs, ZERO) == sum(after, ZERO)
