"""What a desk sends, for benchmarks: orders, their acceptance, and a few fills to each, of a book that knows them.

An order of `FILLS_AN_ORDER` fills is, before the first: submitted, held for, accepted, linked to the venue's id (four
events). Each fill is three events: of the order, of the position, of the limits. Sides alternate and half of the fills
close what others have opened, so that PnL is realized and fees are paid.
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
    """The time of day."""
    return datetime.now(UTC)


def opening() -> list[Request]:
    """An account with a position limit, and an instrument."""
    spot = Contract(Kind.SPOT, "BTC", "USDT", "USDT")
    return [
        OpenAccount(ACCOUNT, "USDT", Costing(), T0),
        ListInstrument(BTC, spot, D("0.01"), D("0.001")),
        SetLimit(ACCOUNT, Scope(None, BTC), Measure.MAX_POSITION, D(1_000_000), None, T0),
    ]


def _side(order: int) -> Side:
    return Side.SELL if order % 4 == 3 else Side.BUY


def submitted(order: int, name: str = "O") -> SubmitOrder:
    """An order for all of its fills."""
    terms = OrderTerms("trend", BTC, _side(order), OrdType.LIMIT, LAST_QTY * FILLS_AN_ORDER, D("97500.10"))
    return SubmitOrder(OrderKey(ACCOUNT, f"{name}{order}"), terms, T0)


def accepted(order: int) -> OrderAccepted:
    """The venue has it."""
    return OrderAccepted(key=OrderKey(ACCOUNT, f"O{order}"), order_id=f"V{order}", transact_time=T0)


def filled(n: int) -> OrderFilled:
    """The n-th fill of all."""
    order = n // FILLS_AN_ORDER
    return OrderFilled(
        OrderKey(ACCOUNT, f"O{order}"), "trend", BTC, f"V{order}", _side(order), f"E{n}", n, LAST_QTY,
        D("97500.10") + D(n % 100) / 100, Money(D("0.02"), "USDT"), Liquidity.TAKER, T0 + timedelta(milliseconds=n),
    )  # fmt: skip


def orders(first: int, count: int) -> Iterator[Command]:
    """Commands that bring orders into the book, up to where they can be filled."""
    names = range(first, first + count)
    for order in names:
        yield Command(submitted(order), "bot")
    for at in range(0, count, ORDERS_A_REPORT):
        reports: tuple[Report, ...] = tuple(accepted(order) for order in names[at : at + ORDERS_A_REPORT])
        yield Command(reports, "venue")


def fills(first_order: int, count: int, size: int) -> list[Command]:
    """Reports, `size` fills in each, of `count` orders."""
    first, end = first_order * FILLS_AN_ORDER, (first_order + count) * FILLS_AN_ORDER
    return [Command(tuple(map(filled, range(at, min(at + size, end)))), "venue") for at in range(first, end, size)]


@contextmanager
def desk() -> Iterator[tuple[str, PostgresLog, Writer]]:
    """A durable server, an open account, a writer that leads."""
    with server() as (url, _), PostgresLog(url) as log:
        writer = Writer(log, now)
        with writer.leading(url):
            for request in opening():
                writer.request(request, actor="bench")
            yield url, log, writer
