"""The commands of a trading desk, for benchmarks: orders, their acceptance, and a few fills for each.

Before its first fill an order of `FILLS_AN_ORDER` fills is submitted, reserved against limits, accepted, and linked to
the venue's id (four events). Each fill is three events: of the order, of the position, of the limits. Sides alternate
and half of the fills close what others have opened, so that PnL is realized and fees are paid.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D

from adapters.log.postgres import PostgresLog
from adapters.writer.writer import Writer
from benchmarks.servers import server
from domain.account import Costing, OpenAccount
from domain.instrument import Contract, Kind, ListInstrument
from domain.ledger import Command, Report, Request
from domain.order import OrderAccepted, OrderFilled, OrderKey, OrderTerms, OrdType, SubmitOrder
from domain.risk import Measure, Scope, SetLimit
from domain.values import Liquidity, Money, Side

T0 = datetime(2026, 1, 2, tzinfo=UTC)
ACCOUNT, BTC = "main", "BTCUSDT.SIM"
FILLS_AN_ORDER = 3
LAST_QTY = D("0.25")
ORDERS_A_REPORT = 500


def now() -> datetime:
    """Return the current time."""
    return datetime.now(UTC)


def opening() -> list[Request]:
    """Return requests for an account with a position limit, and an instrument."""
    spot = Contract(Kind.SPOT, "BTC", "USDT", "USDT")
    return [
        OpenAccount(ACCOUNT, "USDT", Costing(), T0),
        ListInstrument(BTC, spot, D("0.01"), D("0.001")),
        SetLimit(ACCOUNT, Scope(None, BTC), Measure.MAX_POSITION, limit=D(1_000_000), currency=None, transact_time=T0),
    ]


def _side(order: int) -> Side:
    return Side.SELL if order % 4 == 3 else Side.BUY


def submitted(order: int, name: str = "O") -> SubmitOrder:
    """Return an order for the quantity of all of its fills."""
    quantity = LAST_QTY * FILLS_AN_ORDER
    terms = OrderTerms("trend", BTC, _side(order), OrdType.LIMIT, order_qty=quantity, price=D("97500.10"))
    return SubmitOrder(OrderKey(ACCOUNT, f"{name}{order}"), terms, T0)


def accepted(order: int) -> OrderAccepted:
    """Return the venue's acceptance of an order."""
    return OrderAccepted(key=OrderKey(ACCOUNT, f"O{order}"), order_id=f"V{order}", transact_time=T0)


def filled(n: int) -> OrderFilled:
    """Return the n-th fill of all."""
    order = n // FILLS_AN_ORDER
    return OrderFilled(
        key=OrderKey(ACCOUNT, f"O{order}"),
        strategy_id="trend",
        instrument_id=BTC,
        order_id=f"V{order}",
        side=_side(order),
        exec_id=f"E{n}",
        trade_seq=n,
        last_qty=LAST_QTY,
        last_px=D("97500.10") + D(n % 100) / 100,
        commission=Money(D("0.02"), "USDT"),
        liquidity=Liquidity.TAKER,
        transact_time=T0 + timedelta(milliseconds=n),
    )


def orders(first: int, count: int) -> Iterator[Command]:
    """Yield commands that submit orders and accept them, so that they can be filled."""
    names = range(first, first + count)
    for order in names:
        yield Command(submitted(order), "bot")
    for at in range(0, count, ORDERS_A_REPORT):
        reports: tuple[Report, ...] = tuple(accepted(order) for order in names[at : at + ORDERS_A_REPORT])
        yield Command(reports, "venue")


def fills(first_order: int, count: int, size: int) -> list[Command]:
    """Return venue reports of `count` orders' fills, `size` fills per command."""
    first, end = first_order * FILLS_AN_ORDER, (first_order + count) * FILLS_AN_ORDER
    return [Command(tuple(map(filled, range(at, min(at + size, end)))), "venue") for at in range(first, end, size)]


@contextmanager
def desk() -> Iterator[tuple[str, PostgresLog, Writer]]:
    """Yield a durable server, its log with an open account, and a leading writer."""
    with server() as (url, _), PostgresLog(url) as log:
        writer = Writer(log, now)
        with writer.leading(url):
            for request in opening():
                writer.request(request, actor="bench")
            yield url, log, writer
