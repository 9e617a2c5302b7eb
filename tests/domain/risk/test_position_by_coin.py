"""MAX_POSITION of an asset: what is held of the coin over all pairs, contracts and cash, before an order."""

from datetime import timedelta
from decimal import Decimal as D

import pytest

from adapters.log.memory import MemoryLog
from domain import risk
from domain.account import BookEntry, Costing, EntryKind, Indicator, OpenAccount
from domain.errors import RequestRefused
from domain.instrument import Contract, Kind, ListInstrument, PutOrCall
from domain.ledger import Ledger, scan
from domain.order import OrderFilled, OrderKey, OrderTerms, OrdType, SubmitOrder
from domain.risk import FIRM, AssessMarks, LimitBreached, Measure, Scope, SetLimit
from domain.values import ZERO, Liquidity, Mark, Money, Side
from tests.derived import derived
from tests.domain.position.booking import T0

NOW = T0 + timedelta(hours=1)
OPTION = Contract(Kind.OPTION, "BTC", "USDT", "USDT", D("0.1"), T0 + timedelta(days=9), D(50_000), PutOrCall.PUT)
CONTRACTS = {
    "BTCUSDT.SIM": Contract(Kind.SPOT, "BTC", "USDT", "USDT"),
    "BTCUSDC.SIM": Contract(Kind.SPOT, "BTC", "USDC", "USDC"),
    "ETHBTC.SIM": Contract(Kind.SPOT, "ETH", "BTC", "BTC"),
    "PERP.SIM": Contract(Kind.LINEAR, "BTC", "USDT", "USDT", D("0.01")),
    "INVERSE.SIM": Contract(Kind.INVERSE, "BTC", "USD", "BTC", D(100)),
    "PUT.SIM": OPTION,
}


def desk(limit=2, owner="main", **scope):
    log = MemoryLog()
    marks = {"INVERSE.SIM": Mark("INVERSE.SIM", D(50_000), "sim", NOW)}
    ledger = Ledger(log, lambda: NOW, marks.get)
    for name in ("main", "other"):
        ledger.request(OpenAccount(name, "USDT", Costing(), T0, is_margin=True), actor="ops")
    for name, contract in CONTRACTS.items():
        ledger.request(ListInstrument(name, contract, D("0.0001"), D("0.0001")), actor="ops")
    wanted = SetLimit(owner, Scope(asset="BTC", **scope), Measure.MAX_POSITION, D(limit), None, T0)
    ledger.request(wanted, actor="ops")
    return log, ledger


def fill(ledger, name, side, quantity, price, account_id="main", strategy_id="main"):
    filled = OrderFilled(
        OrderKey(account_id, f"o-{name}-{side}"), strategy_id, name, "", side=side, exec_id=f"E-{name}-{side}",
        trade_seq=0, last_qty=D(quantity), last_px=D(price), commission=Money(ZERO, "USDT"),
        liquidity=Liquidity.UNKNOWN, transact_time=T0,
    )  # fmt: skip
    (done,) = ledger.report([filled], actor="venue")
    assert done.error is None


def pay_in(ledger, amount, account_id="main"):
    entry = BookEntry(account_id, "open", EntryKind.OPENING, Indicator.CREDIT, Money(D(amount), "BTC"), "", T0)
    (done,) = ledger.report([entry], actor="ops")
    assert done.error is None


def submit(ledger, name, side, quantity, price="50000", cl_ord_id="N", account_id="main"):
    terms = OrderTerms("main", name, side, OrdType.LIMIT, order_qty=D(quantity), price=D(price))
    return ledger.request(SubmitOrder(OrderKey(account_id, cl_ord_id), terms, NOW), actor="bot")


@pytest.mark.parametrize(
    # cash 0.5, bought 0.6, paid 0.2 for ETH, 30 contracts of 0.01 sold, 200 of 100 USD at 50000 bought, a put on 0.1:
    # 0.5 + 0.6 - 0.2 - 0.3 + 0.4 - 0.1 = 0.9 of 2
    ("name", "side", "within", "beyond", "price"),
    [
        ("BTCUSDT.SIM", Side.BUY, "1.1", "1.1001", "50000"),
        ("BTCUSDC.SIM", Side.BUY, "1.1", "1.1001", "50000"),
        ("PERP.SIM", Side.BUY, "110", "110.01", "50000"),
        ("INVERSE.SIM", Side.BUY, "550", "550.01", "50000"),
        ("PUT.SIM", Side.SELL, "11", "11.001", "900"),
        ("ETHBTC.SIM", Side.SELL, "22", "22.01", "0.05"),
        ("BTCUSDT.SIM", Side.SELL, "2.9", "2.9001", "50000"),
        ("ETHBTC.SIM", Side.BUY, "58", "58.01", "0.05"),
    ],
)
def test_an_order_counts_with_all_that_is_held_of_the_coin(name, side, within, beyond, price):
    log, ledger = desk()
    pay_in(ledger, "0.5")
    fill(ledger, "BTCUSDT.SIM", Side.BUY, "0.6", 40_000)
    fill(ledger, "ETHBTC.SIM", Side.BUY, 4, "0.05", strategy_id="other")
    fill(ledger, "PERP.SIM", Side.SELL, 30, 41_000)
    fill(ledger, "INVERSE.SIM", Side.BUY, 200, 50_000)
    fill(ledger, "PUT.SIM", Side.BUY, 1, 900)
    with pytest.raises(RequestRefused, match="MAX_POSITION is not exceeded") as refused:
        submit(ledger, name, side, beyond, price)
    assert (abs(refused.value.facts["used"]), refused.value.unit) == (D("0.9"), "BTC")
    submit(ledger, name, side, within, price, cl_ord_id="W")
    with pytest.raises(RequestRefused, match="MAX_POSITION is not exceeded"):
        submit(ledger, name, side, "0.01" if name != "PUT.SIM" else "0.1", price, cl_ord_id="M")
    assert not derived([logged.recorded for logged in scan(log)]).faults


def test_what_brings_the_coin_towards_zero_passes_at_any_usage():
    _, ledger = desk(limit="0.1")
    pay_in(ledger, 3)
    submit(ledger, "PERP.SIM", Side.SELL, 300)
    with pytest.raises(RequestRefused, match="MAX_POSITION is not exceeded"):
        submit(ledger, "BTCUSDT.SIM", Side.BUY, 1, cl_ord_id="B")


def test_the_firm_counts_all_its_accounts():
    _, ledger = desk(owner=FIRM)
    pay_in(ledger, "1.5", account_id="other")
    with pytest.raises(RequestRefused, match="MAX_POSITION is not exceeded"):
        submit(ledger, "BTCUSDT.SIM", Side.BUY, "0.6")
    submit(ledger, "BTCUSDT.SIM", Side.BUY, "0.5", cl_ord_id="W")


def test_of_one_venue_or_strategy_cash_does_not_count():
    _, ledger = desk(venue="SIM")
    pay_in(ledger, "1.5")
    submit(ledger, "BTCUSDT.SIM", Side.BUY, 2)


def test_a_breach_is_on_record_when_marks_arrive():
    log, ledger = desk(limit=1)
    pay_in(ledger, "0.5")
    fill(ledger, "BTCUSDT.SIM", Side.BUY, "0.6", 40_000)
    ledger.request(AssessMarks("main", (Mark("BTCUSDT.SIM", D(40_000), "sim", NOW),), NOW), actor="ops")
    (breached,) = [each.recorded.event for each in scan(log) if isinstance(each.recorded.event, LimitBreached)]
    assert (breached.subject, breached.used) == ("BTC", D("1.1"))
    assert ledger.state(risk.stream("main")).breaches
    assert not derived([logged.recorded for logged in scan(log)]).faults
