"""Delisting: no new orders, open ones end, and what is held of a derivative is closed at a stated price."""

from datetime import timedelta
from decimal import Decimal as D

import pytest
from msgspec.structs import replace

from adapters.log.memory import MemoryLog
from domain import order, position, risk
from domain.account import CostBasis, Costing, OpenAccount
from domain.errors import RequestRefused
from domain.instrument import Contract, DelistInstrument, Kind, ListInstrument
from domain.ledger import Ledger, scan
from domain.order import OrderCanceled, OrderFilled, OrderKey, OrderTerms, OrdType, SubmitOrder
from domain.position import PositionKey, Transfer, TransferReason
from domain.values import ZERO, Liquidity, Money, Side
from tests.derived import derived
from tests.domain.position.booking import T0

AT = T0 + timedelta(days=60)
PERPETUAL, INVERSE, SPOT = "LUNAUSDT-PERP.SIM", "LUNAUSD.SIM", "LUNAUSDT.SIM"
DELISTED = DelistInstrument(PERPETUAL, AT, D("0.5"))


def desk():
    log = MemoryLog()
    ledger = Ledger(log, lambda: T0 + timedelta(days=90))
    for name in ("main", "cold"):
        ledger.request(OpenAccount(name, "USDT", Costing(CostBasis.FIFO), T0), actor="ops")
    contracts = {
        PERPETUAL: Contract(Kind.LINEAR, "LUNA", "USDT", "USDT"),
        INVERSE: Contract(Kind.INVERSE, "LUNA", "USD", "LUNA", D(10)),
        SPOT: Contract(Kind.SPOT, "LUNA", "USDT", "USDT"),
    }
    for name, contract in contracts.items():
        ledger.request(ListInstrument(name, contract, D("0.0001"), D("0.0001")), actor="ops")
    return log, ledger


def fill(ledger, instrument_id, exec_id, side, quantity, price, account_id="main", strategy_id="main"):
    filled = OrderFilled(
        OrderKey(account_id, f"o{exec_id}"), strategy_id, instrument_id, "", side=side, exec_id=exec_id, trade_seq=0,
        last_qty=D(quantity), last_px=D(price), commission=Money(ZERO, "USDT"), liquidity=Liquidity.UNKNOWN,
        transact_time=T0 + timedelta(days=1),
    )  # fmt: skip
    ledger.report([filled], actor="venue")


def submit(ledger, name, instrument_id, at=T0):
    terms = OrderTerms("main", instrument_id, Side.BUY, OrdType.LIMIT, order_qty=D(10), price=D(1))
    ledger.request(SubmitOrder(OrderKey("main", name), terms, at), actor="ops")


def held(ledger, instrument_id, account_id="main", strategy_id="main"):
    return ledger.state(position.stream(PositionKey(account_id, strategy_id, instrument_id)))


def test_what_is_held_of_a_derivative_is_closed_and_open_orders_end():
    log, ledger = desk()
    fill(ledger, PERPETUAL, "E1", Side.BUY, 100, 2)
    fill(ledger, PERPETUAL, "E2", Side.SELL, 30, 3, strategy_id="other")
    fill(ledger, PERPETUAL, "E3", Side.BUY, 5, 1, account_id="cold")
    submit(ledger, "W", PERPETUAL)
    assert ledger.request(DELISTED, actor="ops").records
    assert ledger.request(DELISTED, actor="ops").records == ()
    results = [held(ledger, PERPETUAL, *whose) for whose in (("main",), ("main", "other"), ("cold",))]
    assert [(each.quantity, each.realized) for each in results] == [(0, -150), (0, 75), (0, D("-2.5"))]
    ended = ledger.state(order.stream(OrderKey("main", "W")))
    assert (ended.status, ledger.state(risk.stream("main")).holds) == ("CANCELED", {})
    with pytest.raises(RequestRefused, match="is not delisted"):
        submit(ledger, "N", PERPETUAL, AT)
    assert not derived([logged.recorded for logged in scan(log)]).faults


@pytest.mark.parametrize("days", [-1, 1])
def test_the_end_that_the_venue_reports_as_well_is_no_break(days):
    log, ledger = desk()
    submit(ledger, "W", PERPETUAL)
    ledger.request(DELISTED, actor="ops")
    canceled = OrderCanceled(OrderKey("main", "W"), "delisted", AT + timedelta(days=days))
    ledger.report([canceled], actor="venue")
    ended = ledger.state(order.stream(OrderKey("main", "W")))
    assert (ended.status, ended.breaks) == ("CANCELED", ())
    late = replace(canceled, transact_time=AT + timedelta(days=5))
    ledger.report([late], actor="venue")
    assert not derived([logged.recorded for logged in scan(log)]).faults


def test_an_inverse_contract_is_closed_in_its_coin():
    _, ledger = desk()
    fill(ledger, INVERSE, "E1", Side.BUY, 4, 2)
    ledger.request(DelistInstrument(INVERSE, AT, D("2.5")), actor="ops")
    assert (held(ledger, INVERSE).quantity, held(ledger, INVERSE).realized) == (0, 4)  # 40 / 2 - 40 / 2.5


def test_spot_takes_no_orders_and_is_sent_away():
    _, ledger = desk()
    fill(ledger, SPOT, "E1", Side.BUY, 100, 2)
    submit(ledger, "W", SPOT)
    ledger.request(DelistInstrument(SPOT, AT), actor="ops")
    assert ledger.state(order.stream(OrderKey("main", "W"))).status == "CANCELED"
    assert held(ledger, SPOT).quantity == 100
    with pytest.raises(RequestRefused, match="is not delisted"):
        submit(ledger, "N", SPOT, AT)
    out = Transfer(
        PositionKey("main", "main", SPOT), "W1", Side.SELL, D(60), cost=ZERO, transact_time=AT + timedelta(days=1),
        reason=TransferReason.WITHDRAWAL, is_at_cost=True,
    )  # fmt: skip
    ledger.report([out], actor="ops")
    assert (held(ledger, SPOT).quantity, held(ledger, SPOT).realized) == (40, 0)


def test_what_was_announced_is_settled_when_it_is_delisted():
    log, ledger = desk()
    fill(ledger, PERPETUAL, "E1", Side.BUY, 100, 2)
    submit(ledger, "W", PERPETUAL)
    ledger.request(DelistInstrument(PERPETUAL, T0 + timedelta(days=99)), actor="ops")
    assert ledger.state(order.stream(OrderKey("main", "W"))).is_open
    ledger.request(DELISTED, actor="ops")
    assert not ledger.state(order.stream(OrderKey("main", "W"))).is_open
    assert held(ledger, PERPETUAL).quantity == 0
    assert not derived([logged.recorded for logged in scan(log)]).faults


@pytest.mark.parametrize(
    ("request_", "rule"),
    [
        (DelistInstrument(SPOT, AT, D(1)), "spot is not settled"),
        (DelistInstrument(INVERSE, AT, D(0)), "a price that"),
        (replace(DELISTED, settlement_px=D("NaN")), "a price that"),
        (replace(DELISTED, effective_at=T0 + timedelta(days=99)), "not ahead"),
        (replace(DELISTED, effective_at=T0), "after what is on record"),
    ],
)
def test_a_settlement_that_cannot_be_changes_nothing(request_, rule):
    log, ledger = desk()
    fill(ledger, PERPETUAL, "E1", Side.BUY, 100, 2)
    before = log.head().seq
    with pytest.raises(RequestRefused, match=rule):
        ledger.request(request_, actor="ops")
    assert log.head().seq == before


def test_a_contract_is_settled_at_one_price():
    _, ledger = desk()
    ledger.request(DELISTED, actor="ops")
    with pytest.raises(RequestRefused, match="at one price"):
        ledger.request(replace(DELISTED, settlement_px=D(9)), actor="ops")
