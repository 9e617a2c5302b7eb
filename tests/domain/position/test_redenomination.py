"""Redenominations, renamings, splits and mergers: what is held becomes another instrument at its cost, lots and ages
kept.
"""

from datetime import timedelta
from decimal import Decimal as D
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from adapters.log.memory import MemoryLog
from domain import position
from domain.account import CostBasis, Costing, OpenAccount
from domain.errors import RequestRefused
from domain.instrument import Contract, Kind, ListInstrument, RedenominateInstrument
from domain.ledger import Ledger, scan
from domain.order import OrderFilled, OrderKey, OrderTerms, OrdType, SubmitOrder
from domain.position import PositionKey, PositionTransferred
from domain.values import ZERO, Liquidity, Money, Side
from tests.derived import derived
from tests.domain.position.booking import T0

GXS, REI = "GXSUSDT.SIM", "REIUSDT.SIM"
AT = T0 + timedelta(days=60)
BECOMES = RedenominateInstrument(GXS, "gxs-rei", REI, D(10), D(1), AT)


def desk(basis=CostBasis.FIFO):
    log = MemoryLog()
    ledger = Ledger(log, lambda: T0 + timedelta(days=90))
    for account_id in ("main", "cold"):
        ledger.request(OpenAccount(account_id, "USDT", Costing(basis), T0), actor="ops")
    for name in (GXS, REI, "PERP.SIM"):
        kind = Kind.LINEAR if name == "PERP.SIM" else Kind.SPOT
        contract = Contract(kind, name[:3], "USDT", "USDT")
        ledger.request(ListInstrument(name, contract, D("0.0001"), D("0.0001")), actor="ops")
    return log, ledger


def fill(exec_id, side, quantity, price, at, instrument_id=GXS, account_id="main"):
    return OrderFilled(
        OrderKey(account_id, f"o{exec_id}"), "main", instrument_id, "", side=side, exec_id=exec_id, trade_seq=0,
        last_qty=D(quantity), last_px=D(price), commission=Money(ZERO, "USDT"), liquidity=Liquidity.UNKNOWN,
        transact_time=T0 + timedelta(days=at),
    )  # fmt: skip


def held(ledger, instrument_id, account_id="main"):
    return ledger.state(position.stream(PositionKey(account_id, "main", instrument_id)))


def test_what_was_held_has_the_cost_lots_and_ages_in_the_other_instrument():
    log, ledger = desk()
    bought = [fill("E1", Side.BUY, 600, 1, 0), fill("E2", Side.BUY, 400, 2, 31)]
    ledger.report([*bought, fill("E9", Side.BUY, 5, 3, 1, account_id="cold")], actor="venue")
    assert ledger.request(BECOMES, actor="ops").records
    assert ledger.request(BECOMES, actor="ops").records == ()
    old, new = held(ledger, GXS), held(ledger, REI)
    assert (old.quantity, old.realized, old.book.cost) == (0, 0, 0)
    assert [(lot.quantity, lot.cost, lot.opened_at.exec_id) for lot in new.book.lots] == [
        (6000, 600, "E1"),
        (4000, 800, "E2"),
    ]
    assert (held(ledger, REI, "cold").quantity, held(ledger, REI, "cold").book.cost) == (50, 15)
    ledger.report([fill("E3", Side.SELL, 6000, "0.2", 61, REI)], actor="venue")
    new = held(ledger, REI)
    assert (new.realized, new.rounding) == (600, 0)
    assert [lot.opened_at.transact_time for lot in new.book.lots] == [T0 + timedelta(days=31)]
    assert not derived([logged.recorded for logged in scan(log)]).faults


def test_one_account_alone_may_be_turned_and_two_coins_into_one():
    _, ledger = desk()
    ledger.report([fill("E1", Side.BUY, 3, 1, 0), fill("E2", Side.BUY, 7, 1, 0, REI)], actor="venue")
    ledger.report([fill("E9", Side.BUY, 5, 3, 1, account_id="cold")], actor="venue")
    ledger.request(replace(BECOMES, account_id="main", units=D(1)), actor="ops")
    merged = held(ledger, REI)
    assert (merged.quantity, merged.book.cost, len(list(merged.book.lots))) == (10, 10, 2)
    assert held(ledger, GXS, "cold").quantity == 5


def test_a_split_stays_in_its_instrument_and_a_short_position_is_turned_alike():
    _, ledger = desk()
    ledger.report([fill("E1", Side.SELL, 4, 50, 0, "PERP.SIM")], actor="venue")
    ledger.request(RedenominateInstrument("PERP.SIM", "split", "PERP.SIM", D(5), D(2), AT), actor="ops")
    split = held(ledger, "PERP.SIM")
    assert (split.quantity, split.book.cost, split.realized) == (-10, -200, 0)


@pytest.mark.parametrize(
    ("request_", "rule"),
    [
        (replace(BECOMES, to_instrument_id="NONE.SIM"), "listed"),
        (replace(BECOMES, to_instrument_id="PERP.SIM"), "keeps kind and settlement currency"),
        (replace(BECOMES, units=D(0)), "units above zero"),
        (replace(BECOMES, per=D("NaN")), "per above zero"),
        (replace(BECOMES, to_instrument_id=GXS, units=D(1)), "changes the instrument or the number"),
        (replace(BECOMES, effective_at=T0 - timedelta(days=1)), "comes after what is on record"),
        (replace(BECOMES, account_id="nobody"), "the account is open"),
    ],
)
def test_a_redenomination_that_cannot_be_changes_nothing(request_, rule):
    log, ledger = desk()
    ledger.report([fill("E1", Side.BUY, 600, 1, 0)], actor="venue")
    before = log.head().seq
    with pytest.raises(RequestRefused, match=rule):
        ledger.request(request_, actor="ops")
    assert log.head().seq == before


def test_working_orders_and_an_id_that_is_used_refuse_it():
    _, ledger = desk()
    ledger.report([fill("E1", Side.BUY, 600, 1, 0)], actor="venue")
    terms = OrderTerms("main", GXS, Side.BUY, OrdType.LIMIT, order_qty=D(1), price=D(1))
    ledger.request(SubmitOrder(OrderKey("main", "W"), terms, T0), actor="ops")
    with pytest.raises(RequestRefused, match="while no order works"):
        ledger.request(BECOMES, actor="ops")
    ledger.request(replace(BECOMES, account_id="cold"), actor="ops")
    with pytest.raises(RequestRefused, match="one redenomination_id"):
        ledger.request(replace(BECOMES, account_id="cold", units=D(3)), actor="ops")


amounts = st.integers(1, 10**6).map(lambda n: str(D(n).scaleb(-4)))


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(CostBasis),
    st.lists(st.tuples(st.booleans(), amounts, amounts), min_size=1, max_size=6),
    st.integers(1, 10_000),
    st.integers(1, 10_000),
)
def test_quantity_cost_and_ages_are_conserved_to_the_last_digit(basis, trades, units, per):
    log, ledger = desk(basis)
    quantity = ZERO
    for n, (is_sale, size, price) in enumerate(trades):
        side = Side.SELL if is_sale and quantity >= D(size) else Side.BUY
        quantity += side.sign * D(size)
        ledger.report([fill(f"E{n}", side, size, price, n)], actor="venue")
    before = held(ledger, GXS)
    ledger.request(replace(BECOMES, units=D(units), per=D(per)), actor="ops")
    old, new = held(ledger, GXS), held(ledger, REI)
    assert (old.quantity, old.book.cost, old.realized, old.rounding) == (0, 0, before.realized, before.rounding)
    if not quantity:
        assert new is None
        return
    assert new.book.cost == before.book.cost
    assert abs(Fraction(new.quantity) - Fraction(quantity) * units / per) <= Fraction(1, 2 * 10**18)
    lots = list(new.book.lots)
    now, then = (sorted((lot.opened_at, lot.cost) for lot in kept) for kept in (lots, before.book.lots))
    assert now == then
    assert not lots or sum((lot.quantity for lot in lots), ZERO) == new.quantity
    moved = [each.recorded.event for each in scan(log) if isinstance(each.recorded.event, PositionTransferred)]
    assert not any(match.gain for event in moved for match in event.effect.closed)
