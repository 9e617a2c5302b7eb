"""Read models: `python -m benchmarks.follow [EVENTS]` (200,000 unless given)."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal as D

from adapters.store.log import PostgresLog
from adapters.store.writer import Writer
from domain.account import CostBasis, Costing, OpenAccount
from domain.instrument import Contract, Kind, ListInstrument
from domain.ledger import Command
from domain.order import OrderAccepted, OrderFilled, OrderKey, OrderTerms, OrdType, SubmitOrder
from domain.values import Liquidity, Money, Side

T0 = datetime(2026, 1, 2, tzinfo=UTC)
ACCOUNTS = {
    f"desk{n}": basis for n, basis in enumerate((CostBasis.AVERAGE, CostBasis.FIFO, CostBasis.LIFO, CostBasis.HIFO))
}
COINS = ("BTC", "ETH", "SOL", "XRP", "ADA", "DOT")
STRATEGIES = ("trend", "maker", "hedge")
ORDERS_A_COMMAND = 50
AHEAD_MAX = 4


def open_desk(writer: Writer) -> None:
    for account_id, basis in ACCOUNTS.items():
        writer.request(OpenAccount(account_id, "USDT", Costing(basis), T0), actor="bench")
    for coin in COINS:
        spot = Contract(Kind.SPOT, coin, "USDT", "USDT")
        writer.request(ListInstrument(f"{coin}USDT.SIM", spot, D("0.01"), D("0.001")), actor="bench")


def order_events(n: int) -> tuple[SubmitOrder, list[object]]:
    """The n-th order, and what the venue says of it: accepted, one or two fills, one in ten canceled instead."""
    accounts = list(ACCOUNTS)
    key = OrderKey(accounts[n % len(accounts)], f"O{n}")
    instrument_id = f"{COINS[n % len(COINS)]}USDT.SIM"
    strategy = STRATEGIES[n % len(STRATEGIES)]
    side = Side.BUY if (n // 24) % 2 else Side.SELL
    price = D(10_000 + n * 37 % 997) / 100
    at = T0 + timedelta(milliseconds=10 * n)
    submit = SubmitOrder(key, OrderTerms(strategy, instrument_id, side, OrdType.LIMIT, D("0.5"), price), at)
    told: list[object] = [OrderAccepted(key, f"V{n}", at + timedelta(milliseconds=1))]
    fills = 1 + n % 2
    for k in range(fills):
        told.append(
            OrderFilled(
                key,
                strategy,
                instrument_id,
                f"V{n}",
                side,
                f"E{n}-{k}",
                2 * n + k,
                D("0.5") / fills,
                price,
                Money(D("0.0125"), "USDT"),
                Liquidity.TAKER,
                at + timedelta(milliseconds=2 + k),
            )
        )
    return submit, told


def trade(writer: Writer, log: PostgresLog, events: int) -> int:
    """Orders and their fills until the log has so many events; its length."""
    group = writer._group
    assert group is not None
    n = 0
    waiting: list[object] = []
    while log.head().seq < events:
        for _ in range(4):
            told: list[object] = []
            submitted = []
            for k in range(n, n + ORDERS_A_COMMAND):
                submit, reports = order_events(k)
                submitted.append(group.submit(Command(submit, "bench")))
                told += reports
            n += ORDERS_A_COMMAND
            waiting += submitted
            waiting.append(group.submit(Command(tuple(told), "venue")))
            if len(waiting) > AHEAD_MAX * ORDERS_A_COMMAND:
                for one in waiting:
                    one.result()
                waiting = []
    for one in waiting:
        one.result()
    return log.head().seq
