"""Queries over a growing log: `python -m benchmarks.query [FILLS ...]` (10000, 100000 and 1000000 by default).

The fills pass through the whole domain onto a server of its own, and the read models follow them. At each size every
query of the read models is timed as in the API, without HTTP: now, as of seqs in the later half of the log, and, for
positions and PnL, as occurred by times anywhere in it, as known now and as known at such a seq. Limits are set, orders
are working, one fill in fifty is late. A line gives the p99 in ms, and in its note the p50, the p99 of our own
processor time (far lower if the machine was busy) and the number of queries; the peer is the same query at the first
size.
"""

import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal as D
from typing import Any, NamedTuple

from api.analytics.closing_marks import Valuing
from api.analytics.service import (
    DAILY_MODELS,
    EQUITY_MODELS,
    RISK_MODELS,
    Span,
    daily_pnl,
    equity_curve,
    equity_reconciliation,
    risk_report,
)
from api.daybook import Daybook
from api.explain.balances import EntryPage, Of
from api.explain.balances import explained as explained_balance
from api.explain.positions import Cell, Page, explained
from api.parameters import Moment, Where
from api.read_models.limit_usage import MODELS as LIMIT_MODELS
from api.read_models.limit_usage import usage
from api.read_models.snapshot import Reading, marks_at, reading
from api.read_models.views import HELD, PRICED, exposure_of, pnl_of, pnl_totals, positions_of
from api.settings import Settings
from benchmarks.lines import line
from benchmarks.servers import server
from domain.account import CostBasis, Costing, OpenAccount
from domain.instrument import Contract, Kind, ListInstrument
from domain.ledger import Command
from domain.order import OrderFilled, OrderKey, OrderTerms, OrdType, SubmitOrder
from domain.risk import Measure, Scope, SetLimit
from domain.values import ZERO, Liquidity, Mark, Money, Side
from projections import calendar
from projections.analytics.pnl import PnlTotal
from projections.models import balances, breaks, executions, journal, limits, lots, orders

SIZES = (10_000, 100_000, 1_000_000)
ACCOUNTS = [f"A{n}" for n in range(4)]
STRATEGIES = ["trend", "maker", "arb"]
INSTRUMENTS = [f"{base}USDT.SIM" for base in ("BTC", "ETH", "SOL", "XRP", "ADA")]
FILLS_A_BATCH = 500
AHEAD_MAX = 4
WORKING = 50  # orders that an account has open
PAGE = 100
SAMPLES = 1_000  # so that a p99 is not the second worst of few
WAIT_SECONDS_MAX = 3600
T0 = datetime(2026, 1, 2, tzinfo=UTC)
SPAN = Span(
    calendar.parsed("17:00 America/New_York"), date(2025, 12, 15), date(2026, 1, 13)
)  # 30 days around the fills
VALUING = Valuing(timedelta(days=1))


def now() -> datetime:
    return datetime.now(UTC)


def filled(n: int, start: datetime) -> OrderFilled:
    """Return an order's only fill; every fiftieth occurred a second before those around it."""
    instrument_id = INSTRUMENTS[n % 5]
    price = D(100 + n % 97) + D(n % 7) / 10
    return OrderFilled(
        key=OrderKey(ACCOUNTS[n // 5 % 4], f"O{n}"),
        strategy_id=STRATEGIES[n // 20 % 3],
        instrument_id=instrument_id,
        order_id=f"V{n}",
        side=Side.BUY if n // 60 % 2 else Side.SELL,
        exec_id=f"E{n}",
        trade_seq=n,
        last_qty=D("0.25"),
        last_px=price,
        commission=Money(D("0.01"), "USDT"),
        liquidity=Liquidity.TAKER,
        transact_time=start + timedelta(milliseconds=n - (1000 if n % 50 == 0 else 0)),
    )


@contextmanager
def desk() -> Iterator[Daybook]:
    """Yield a ledger on a durable server of its own, with accounts, instruments and limits."""
    with server() as (url, _), Daybook.open(Settings(database_url=url)) as book, opened(book):
        yield book


@contextmanager
def opened(book: Daybook) -> Iterator[None]:
    """Open accounts, list instruments, set limits, and lead while it lasts."""
    with book.leading():
        writer = book.writer
        for instrument_id in INSTRUMENTS:
            contract = Contract(Kind.SPOT, instrument_id[:3], "USDT", "USDT")
            writer.request(ListInstrument(instrument_id, contract, D("0.01"), D("0.001")), actor="bench")
        for account_id in ACCOUNTS:
            writer.request(OpenAccount(account_id, "USDT", Costing(CostBasis.FIFO), T0), actor="bench")
            for measure, limit in ((Measure.MAX_POSITION, D(10**9)), (Measure.MAX_OPEN_ORDERS, D(10_000))):
                request = SetLimit(account_id, Scope(), measure, limit, currency=None, transact_time=T0)
                writer.request(request, actor="bench")
        yield


def grow(book: Daybook, first: int, size: int) -> None:
    """Add fills up to `size`, in batches, with marks; then new working orders; then update the read models."""
    group = book.writer._group
    assert group is not None
    waiting, began = list[Future[Any]](), time.perf_counter()
    for at in range(first, size, FILLS_A_BATCH):
        many = range(at, min(at + FILLS_A_BATCH, size))
        waiting.append(group.submit(Command(tuple(filled(n, T0) for n in many), "venue")))
        if len(waiting) > AHEAD_MAX:
            waiting.pop(0).result()
        if at % (20 * FILLS_A_BATCH) == 0:
            marks = [Mark(name, D(100 + at % 97), "SIM", now()) for name in INSTRUMENTS]
            book.recorder.record(marks, actor="benchmark")
    for one in waiting:
        one.result()
    for n in range(WORKING):
        for account_id in ACCOUNTS:
            terms = OrderTerms("trend", INSTRUMENTS[n % 5], Side.BUY, OrdType.LIMIT, order_qty=D(1), price=D(50))
            request = SubmitOrder(OrderKey(account_id, f"W{size}-{n}"), terms, now())
            book.writer.request(request, actor="bench")
    appended = time.perf_counter()
    book.runner.catch_up()
    took = f"appended in {appended - began:.0f} s, followed in {time.perf_counter() - appended:.0f} s"
    print(f"{size:,} fills, {book.log.head().seq:,} events: {took}", file=sys.stderr)


Query = tuple[str, tuple[str, ...], Callable[[Reading], object]]


def queries(book: Daybook) -> list[Query]:
    """Return the queries by name, with the read models they read."""
    one = Where("A1", "maker", INSTRUMENTS[2])
    account = {"account_id": "A1"}
    return [
        ("positions", ("positions",), lambda at: positions_of(at, Where())),
        ("pnl", PRICED, lambda at: summed_pnl(book, at)),
        ("exposure", HELD, lambda at: exposure_of(at, Where(), marks_at(book, at, {}))),
        ("limits", ("limits",), lambda at: limits.utilisation(at.source)),
        ("orders", ("orders",), lambda at: orders.blotter(at.source, limit=PAGE)),
        ("orders of an account", ("orders",), lambda at: orders.blotter(at.source, **account, limit=PAGE)),
        ("open orders", ("orders",), lambda at: orders.blotter(at.source, status=orders.OPEN, limit=PAGE)),
        ("executions", ("executions",), lambda at: executions.trades(at.source, limit=PAGE)),
        ("lots of a position", ("lots",), lambda at: lots.open_lots(at.source, **one._asdict(), limit=PAGE)),
        ("lots", ("lots",), lambda at: lots.open_lots(at.source, limit=PAGE)),
        ("matches of a position", ("lots",), lambda at: lots.matches(at.source, **one._asdict(), limit=PAGE)),
        ("matches", ("lots",), lambda at: lots.matches(at.source, limit=PAGE)),
        ("breaks", ("breaks",), lambda at: breaks.breaks(at.source, limit=PAGE)),
        ("balances", ("balances",), lambda at: balances.balances(at.source)),
        ("journal", ("journal",), lambda at: journal.entries(at.source, limit=PAGE, is_descending=True)),
        ("trial balance", ("journal",), lambda at: journal.trial_balance(at.source, **account)),
        ("days of PnL", DAILY_MODELS,
         lambda at: daily_pnl(book, at, Where("A1"), SPAN, by=("instrument_id",), valuing=VALUING)),
        ("equity", EQUITY_MODELS,
         lambda at: equity_curve(book, at, "A1", SPAN, valuing=VALUING, currency="USDT", capital=ZERO)),
        ("leverage", RISK_MODELS,
         lambda at: risk_report(book, at, Where("A1"), ("asset",), valuing=VALUING, currency="USDT", capital=ZERO)),
        ("leverage of all accounts", RISK_MODELS,
         lambda at: risk_report(book, at, Where(), ("asset",), valuing=VALUING, currency="USDT", capital=ZERO)),
        ("usage of limits", LIMIT_MODELS, lambda at: usage(book, at, "A1")),
        ("reconciliation", EQUITY_MODELS,
         lambda at: equity_reconciliation(book, at, "A1", SPAN, valuing=VALUING, currency="USDT")),
        ("explain realized", ("positions", "lots"),
         lambda at: explained(book, at, one, Cell("pnl", "realized"), marks={}, page=Page(PAGE))),
        ("explain a balance", ("balances", "journal"),
         lambda at: explained_balance(book, at, Of("A1", "USDT", "SIM"), "total", page=EntryPage(PAGE))),
    ]  # fmt: skip


def summed_pnl(book: Daybook, at: Reading) -> list[PnlTotal]:
    """Return the totals of PnL at the marks."""
    marks = marks_at(book, at, {})
    return pnl_totals(pnl_of(at, Where(), marks), (), at, marks)


def occurred(book: Daybook) -> list[Query]:
    """Return the queries that can be answered as occurred."""
    one, names = Where("A1", "maker", INSTRUMENTS[2]), ("positions", "executions")
    return [
        ("position", names, lambda at: positions_of(at, one)),
        ("pnl", names, lambda at: pnl_of(at, Where(), marks_at(book, at, {}))),
    ]


class Timing(NamedTuple):
    """The times of a query, in ms; `own_p99` is processor time of this process."""

    p50: float
    p99: float
    own_p99: float


def timed(book: Daybook, query: Query, moments: list[Moment | None]) -> Timing:
    """Time a query at each moment."""
    _, names, work = query
    took, own = [], []
    for moment in moments:
        began, own_began = time.perf_counter(), time.process_time()
        with reading(book, *names, moment=moment, wait_seconds_max=WAIT_SECONDS_MAX) as at:
            work(at)
        took.append((time.perf_counter() - began) * 1000)
        own.append((time.process_time() - own_began) * 1000)
    took.sort()
    own.sort()
    last = int(len(took) * 0.99)
    return Timing(statistics.median(took), took[last], own[last])


def main() -> None:
    sizes = [int(word) for word in sys.argv[1:]] or list(SIZES)
    first: dict[str, float] = {}
    done, dice = 0, random.Random(7)
    with desk() as book:
        for size in sizes:
            grow(book, done, size)
            done, head = size, book.log.head().seq
            places = [dice.randint(head // 2, head) for _ in range(SAMPLES)]
            past: list[Moment | None] = [Moment(seq=seq) for seq in places]
            then = [T0 + timedelta(milliseconds=dice.randint(0, size)) for _ in range(SAMPLES)]
            kinds: list[tuple[str, list[Query], list[Moment | None]]] = [
                ("now", queries(book), [None] * SAMPLES),
                ("as of", queries(book), past),
                ("as occurred", occurred(book), [Moment(occurred_by=at) for at in then]),
                (
                    "as occurred, as known then", occurred(book),
                    [Moment(seq=seq, occurred_by=at) for seq, at in zip(places, then, strict=True)],
                ),
            ]  # fmt: skip
            for kind, kind_queries, moments in kinds:
                for one in kind_queries:
                    took = timed(book, one, moments)
                    name = f"{one[0]} {kind}"
                    before = first.setdefault(name, took.p99)
                    own = f"own processor time p99 {took.own_p99:.2f} ms"
                    note = f"{size:,} fills behind, p50 {took.p50:.2f} ms, {own}, {len(moments)} queries"
                    line(name, took.p99, "ms p99", peer=f"at {sizes[0]:,} fills", peer_value=before, note=note)


if __name__ == "__main__":
    main()
