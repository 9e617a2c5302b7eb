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
from domain import instrument, order, position, risk
from domain.account import CostBasis, Costing, OpenAccount
from domain.errors import RequestRefused
from domain.instrument import AmendInstrument, Contract, Kind, ListInstrument, RedenominateInstrument
from domain.ledger import Ledger, scan
from domain.order import (
    Changes,
    OrderAccepted,
    OrderFilled,
    OrderKey,
    OrderTerms,
    OrdType,
    ReplaceOrder,
    SubmitOrder,
)
from domain.position import PositionKey, PositionTransferred
from domain.values import ZERO, Liquidity, Money, Side
from tests.derived import derived
from tests.domain.position.booking import T0

GXS, REI = "GXSUSDT.SIM", "REIUSDT.SIM"
AT = T0 + timedelta(days=60)
OVERFILL = "a fill is within leaves_qty"
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


def submit(ledger, name="W", price="1.0001", quantity=10, **more):
    terms = OrderTerms(
        "main", more.pop("instrument_id", GXS), Side.BUY, OrdType.LIMIT, D(quantity), D(price), **more
    )  # fmt: skip
    ledger.request(SubmitOrder(OrderKey("main", name), terms, T0), actor="ops")
    ledger.report([OrderAccepted(OrderKey("main", name), f"V-{name}", T0)], actor="venue")


def working(ledger, name="W"):
    return ledger.state(order.stream(OrderKey("main", name)))


def test_open_orders_are_carried_and_go_on_in_the_other_instrument():
    log, ledger = desk()
    submit(ledger, "W", price="1.0002")
    ledger.report([fill("W", Side.BUY, 4, 1, 1)], actor="venue")  # of an order that was never sent
    part = replace(fill("P", Side.BUY, 4, 1, 1), key=OrderKey("main", "W"))
    ledger.report([part], actor="venue")
    ledger.request(replace(BECOMES, units=D(2), per=D(1)), actor="ops")
    carried = working(ledger)
    assert (carried.instrument_id, carried.order_qty, carried.cum_qty, carried.leaves_qty) == (REI, 16, 4, 12)
    assert (carried.terms.instrument_id, carried.terms.price, carried.status) == (REI, D("0.5001"), "PARTIALLY_FILLED")
    (hold,) = (hold for key, hold in limits_of(ledger).holds.items() if key.cl_ord_id == "W")
    assert (hold.instrument_id, hold.quantity) == (REI, 12)
    rest = replace(fill("R", Side.BUY, 12, "0.5", 70, REI), key=OrderKey("main", "W"))
    ledger.report([rest], actor="venue")
    late = replace(fill("L", Side.BUY, 1, 1, 2), key=OrderKey("main", "W"))  # of before, under the name of before
    ledger.report([late], actor="venue")
    done = working(ledger)
    assert (done.status, done.cum_qty, {each.rule for each in done.breaks}) == ("FILLED", 17, {OVERFILL})
    assert (held(ledger, REI).quantity, held(ledger, GXS).quantity) == (28, 1)
    assert not derived([logged.recorded for logged in scan(log)]).faults


def test_a_split_restates_what_is_left_of_open_orders_and_their_triggers():
    _, ledger = desk()
    ledger.report([fill("E1", Side.SELL, 4, 50, 0, "PERP.SIM")], actor="venue")
    terms = OrderTerms(
        "main", "PERP.SIM", Side.BUY, OrdType.STOP_LIMIT, order_qty=D(4), price=D(60), stop_px=D(55)
    )  # fmt: skip
    ledger.request(SubmitOrder(OrderKey("main", "S"), terms, T0), actor="ops")
    ledger.request(RedenominateInstrument("PERP.SIM", "split", "PERP.SIM", D(5), D(2), AT), actor="ops")
    split = working(ledger, "S")
    assert (split.order_qty, split.terms.price, split.terms.stop_px) == (10, 24, 22)
    assert ledger.request(SubmitOrder(OrderKey("main", "S"), terms, T0), actor="ops").records == ()


def limits_of(ledger):
    return ledger.state(risk.stream("main"))


@pytest.mark.parametrize(
    ("sent", "request_", "because"),
    [
        ({"price": "1.0001"}, replace(BECOMES, units=D(3)), "tick size"),
        ({"quantity": "1.0001"}, replace(BECOMES, units=D(1), per=D(3)), "lot size"),
        ({"display_qty": D(5)}, BECOMES, "display_qty"),
    ],
)
def test_an_order_that_cannot_be_carried_is_canceled_first(sent, request_, because):
    log, ledger = desk()
    submit(ledger, **sent)
    before = log.head().seq
    with pytest.raises(RequestRefused, match="cannot be carried is canceled first") as refused:
        ledger.request(request_, actor="ops")
    assert because in refused.value.facts["because"]
    assert log.head().seq == before
    ledger.request(replace(request_, account_id="cold"), actor="ops")


def test_a_replacement_under_way_is_awaited():
    _, ledger = desk()
    submit(ledger)
    ledger.request(ReplaceOrder(OrderKey("main", "W"), "W2", Changes(price=D(2)), T0), actor="ops")
    with pytest.raises(RequestRefused) as refused:
        ledger.request(BECOMES, actor="ops")
    assert refused.value.facts["because"] == "a replacement of it is under way"


def test_a_renaming_lists_the_new_name_and_the_old_one_takes_no_more_orders():
    log, ledger = desk()
    ledger.report([fill("E1", Side.BUY, 600, 1, 0)], actor="venue")
    submit(ledger)
    renamed = RedenominateInstrument(GXS, "name", "GXS-USDT.SIM", D(1), D(1), AT, is_renaming=True)
    assert ledger.request(renamed, actor="ops").records
    assert ledger.request(renamed, actor="ops").records == ()
    assert held(ledger, "GXS-USDT.SIM").quantity == 600
    listed = ledger.state(instrument.stream("GXS-USDT.SIM"))
    assert (listed.contract.base, listed.tick_size, working(ledger).instrument_id) == (
        "GXS", D("0.0001"), "GXS-USDT.SIM",
    )  # fmt: skip
    late = OrderTerms("main", GXS, Side.BUY, OrdType.LIMIT, order_qty=D(1), price=D(1))
    with pytest.raises(RequestRefused, match="is not delisted"):
        ledger.request(SubmitOrder(OrderKey("main", "N"), late, AT), actor="ops")
    with pytest.raises(RequestRefused, match="1 for 1"):
        ledger.request(replace(renamed, redenomination_id="other", units=D(2)), actor="ops")
    assert not derived([logged.recorded for logged in scan(log)]).faults


def test_fractions_are_paid_out_in_cash_where_a_price_is_given():
    log, ledger = desk()
    ledger.request(AmendInstrument(REI, Contract(Kind.SPOT, "REI", "USDT", "USDT"), D("0.0001"), D(1), T0), actor="ops")
    ledger.report([fill("E1", Side.BUY, 7, 3, 0), fill("E2", Side.BUY, 8, 4, 1)], actor="venue")
    ledger.request(replace(BECOMES, units=D(1), per=D(2), fraction_px=D(9)), actor="ops")
    paid = held(ledger, REI)  # 15 become 7.5, the half is of the first lot, which is 3.5 at a cost of 21
    assert (paid.quantity, paid.realized, paid.book.cost) == (7, D("1.5"), 50)
    assert held(ledger, GXS).realized == 0
    assert not derived([logged.recorded for logged in scan(log)]).faults


def test_an_id_that_is_used_refuses_another_redenomination():
    _, ledger = desk()
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
