"""A trading day from one seed: two strategies on one account at a simulated venue, recorded by the writer.

The market maker quotes the spot pair and the inverse perpetual around the mark, skewed against its holding. The
momentum taker follows the trend in the linear perpetual and hedges there the coins that the desk holds. Limits are
tight enough to refuse orders. The writer checks every order before it goes to the venue, and records every report.

The same seed gives the same day. What is recorded already is recognised, so an interrupted day continues when it is run
again from its beginning.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Protocol

from msgspec import Struct

from adapters.exchanges.simulated import FAULTLESS, INVERSE, LINEAR, SPOT, Faults, SimulatedVenue, Tick
from adapters.writer.writer import Writer
from domain.access import Actor, Part
from domain.account import Costing, OpenAccount
from domain.errors import RequestRefused
from domain.ledger import Report
from domain.order import (
    CancelOrder,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderKey,
    OrderRejected,
    OrderTerms,
    OrdType,
    SubmitOrder,
    TimeInForce,
)
from domain.position import PositionKey, SettleFunding, Transfer
from domain.risk import Measure, Scope, SetLimit
from domain.values import ONE, ZERO, Mark, Side, divide, exact

ACCOUNT = "desk-1"
MARKET_MAKER = "market-maker"
MOMENTUM = "momentum"
ACTOR = Part("trading-day")
START = datetime(2026, 3, 2, tzinfo=UTC)
STEP = timedelta(minutes=2)
STEPS = 720
QUIET_STEPS_MAX = 20  # to wait for the venue's last reports when the day is over
REPORTS_MAX = 500
OPENING_COINS = Decimal(2)

# strategy, instrument, measure, limit, currency
LIMITS = (
    (MARKET_MAKER, SPOT, Measure.MAX_POSITION, "3.2", None),
    (MARKET_MAKER, SPOT, Measure.MAX_ORDER_NOTIONAL, "40000", "USDT"),
    (MARKET_MAKER, INVERSE, Measure.MAX_POSITION, "900", None),
    (MARKET_MAKER, INVERSE, Measure.MAX_ORDER_NOTIONAL, "25000", "USD"),
    (MOMENTUM, LINEAR, Measure.MAX_POSITION, "2.5", None),
    (None, LINEAR, Measure.MAX_ORDER_NOTIONAL, "75000", "USDT"),
)


class MarkRecorder(Protocol):
    """Records marks; `adapters.market.recording.MarkRecorder` is one."""

    def record(self, marks: Sequence[Mark], *, actor: Actor) -> int:
        """Record marks in the name of an actor; return how many were added."""


class DayStep(Struct, frozen=True):
    """The state of the day after one of its steps."""

    number: int
    steps: int
    now: datetime
    marks: tuple[Mark, ...]
    orders: int
    fills: int
    refusals: int
    cancels: int
    seq: int


class DaySummary(Struct, frozen=True):
    """The totals of a day: `orders` were accepted, `refusals` were not; `events` were added to the log."""

    orders: int
    fills: int
    refusals: int
    cancels: int
    funding: int
    events: int
    seconds: float


class Desk:
    """The strategies' own view of their orders and holdings, from what they sent and what the venue reported."""

    def __init__(self) -> None:
        self.working: dict[OrderKey, OrderTerms] = {}
        self.leaves: dict[OrderKey, Decimal] = {}
        self.held: dict[tuple[str, str], Decimal] = {(MARKET_MAKER, SPOT): OPENING_COINS}
        self._executions: set[tuple[OrderKey, str]] = set()

    def sent(self, order: SubmitOrder) -> None:
        """Note an order that is sent to the venue."""
        self.working[order.key] = order.terms
        self.leaves[order.key] = order.terms.order_qty

    def receive(self, report: Report) -> bool:
        """Note a venue report; return whether it is a new fill."""
        match report:
            case OrderFilled(key=key, exec_id=exec_id) if (key, exec_id) not in self._executions:
                self._executions.add((key, exec_id))
                at = (report.strategy_id, report.instrument_id)
                self.held[at] = self.held.get(at, ZERO) + report.side.sign * report.last_qty
                if key in self.leaves:
                    self.leaves[key] -= report.last_qty
                    if self.leaves[key] <= 0:
                        self._close(key)
                return True
            case OrderCanceled() | OrderExpired() | OrderRejected():
                self._close(report.key)
        return False

    def holding(self, strategy_id: str, instrument_id: str) -> Decimal:
        """Return the signed quantity held."""
        return self.held.get((strategy_id, instrument_id), ZERO)

    def quotes(self, strategy_id: str, instrument_id: str) -> list[tuple[OrderKey, OrderTerms]]:
        """Return the strategy's working orders in an instrument."""
        return [
            (key, terms)
            for key, terms in self.working.items()
            if (terms.strategy_id, terms.instrument_id) == (strategy_id, instrument_id)
        ]

    def coins_free(self) -> Decimal:
        """Return the coins that are held and not offered: no more can be sold."""
        offered = [self.leaves[key] for key, terms in self.quotes(MARKET_MAKER, SPOT) if terms.side is Side.SELL]
        return exact(self.holding(MARKET_MAKER, SPOT) - sum(offered, ZERO))

    def _close(self, key: OrderKey) -> None:
        self.working.pop(key, None)
        self.leaves.pop(key, None)


class Quoting(Struct, frozen=True):
    """How the market maker quotes an instrument: sizes in lots, distances in millionths of the mark."""

    instrument_id: str
    tick_size: Decimal
    lot_size: Decimal
    size_lots: int
    distance_ppm: int
    requote_ppm: int
    lean_ppm: int  # how far the quotes move for a holding of ten sizes
    neutral: Decimal  # the preferred holding


QUOTING = (
    Quoting(
        instrument_id=SPOT,
        tick_size=Decimal("0.01"),
        lot_size=Decimal("0.0001"),
        size_lots=2_000,
        distance_ppm=450,
        requote_ppm=250,
        lean_ppm=220,
        neutral=OPENING_COINS,
    ),
    Quoting(
        instrument_id=INVERSE,
        tick_size=Decimal("0.5"),
        lot_size=ONE,
        size_lots=60,
        distance_ppm=400,
        requote_ppm=220,
        lean_ppm=200,
        neutral=ZERO,
    ),
)


class MarketMaker:
    """Quotes both sides; replaces a quote when the market has moved away from it."""

    def __init__(self, seed: int) -> None:
        self._random = Random(f"{seed}:market-maker")  # noqa: S311

    def requests(self, desk: Desk, marks: dict[str, Decimal]) -> Iterator[OrderTerms | OrderKey]:
        """Yield orders to send, and keys of orders to cancel."""
        for quoting in QUOTING:
            mark = marks[quoting.instrument_id]
            working = desk.quotes(MARKET_MAKER, quoting.instrument_id)
            for side in Side:
                quote = self._price(quoting, mark, side, desk.holding(MARKET_MAKER, quoting.instrument_id))
                kept = False
                for key, terms in working:
                    if terms.side is side and terms.price is not None:
                        if abs(terms.price - quote) * 10**6 <= mark * quoting.requote_ppm:
                            kept = True
                        else:
                            yield key
                size = ZERO if kept else self._size(quoting)
                if size and (quoting.instrument_id != SPOT or side is Side.BUY or size <= desk.coins_free()):
                    yield OrderTerms(
                        MARKET_MAKER, quoting.instrument_id, side, OrdType.LIMIT, order_qty=size, price=quote
                    )  # fmt: skip

    @staticmethod
    def _price(quoting: Quoting, mark: Decimal, side: Side, held: Decimal) -> Decimal:
        """Return the price: the distance from the mark, with both quotes skewed to reduce the holding."""
        excess = divide((held - quoting.neutral) * quoting.lean_ppm, 10 * quoting.size_lots * quoting.lot_size, 0)
        shift_ppm = -side.sign * quoting.distance_ppm - excess
        ticks = divide(mark * (10**6 + shift_ppm), 10**6 * quoting.tick_size, 0)
        return exact(max(ONE, ticks) * quoting.tick_size)

    def _size(self, quoting: Quoting) -> Decimal:
        """Return about the usual size; one in eighty is a block, too large for the limits."""
        lots = self._random.randrange(quoting.size_lots // 2, quoting.size_lots * 3 // 2)
        if self._random.randrange(80) == 0:
            lots = quoting.size_lots * 5
        return exact(lots * quoting.lot_size)


class Momentum:
    """Holds a size in the direction of the trend, less the coins the desk holds beyond its preference."""

    LOOK_BACK = 45
    SIZE = Decimal("1.2")
    LOT = Decimal("0.001")
    EVERY = 5
    THRESHOLD_PPM = 1_200

    def __init__(self) -> None:
        self._prices: deque[Decimal] = deque(maxlen=self.LOOK_BACK)
        self._steps = 0

    def requests(self, desk: Desk, marks: dict[str, Decimal]) -> Iterator[OrderTerms | OrderKey]:
        """Yield at most one market order, towards the target."""
        price = marks[LINEAR]
        self._prices.append(price)
        self._steps += 1
        if len(self._prices) < self.LOOK_BACK or self._steps % self.EVERY or desk.quotes(MOMENTUM, LINEAR):
            return
        average = divide(sum(self._prices, ZERO), Decimal(len(self._prices)))
        trend_ppm = int(divide((price - average) * 10**6, average, 0))
        signal = 0 if abs(trend_ppm) < self.THRESHOLD_PPM else (1 if trend_ppm > 0 else -1)
        contracts = desk.holding(MARKET_MAKER, INVERSE)
        coins = desk.holding(MARKET_MAKER, SPOT) - OPENING_COINS + divide(contracts * 100, price, 3)
        wanted = signal * self.SIZE - coins
        lots = int(divide(wanted - desk.holding(MOMENTUM, LINEAR), self.LOT, 0))
        if abs(lots) * self.LOT >= Decimal("0.25"):
            side = Side.BUY if lots > 0 else Side.SELL
            yield OrderTerms(
                MOMENTUM, LINEAR, side, OrdType.MARKET, order_qty=exact(abs(lots) * self.LOT), price=None,
                time_in_force=TimeInForce.IOC,
            )  # fmt: skip


class TradingDay:
    """One seeded day. `faults` make the venue's reports unreliable; fewer `steps` make a shorter day."""

    def __init__(
        self, seed: int = 1, *, start: datetime = START, steps: int = STEPS, faults: Faults = FAULTLESS
    ) -> None:
        self.seed = seed
        self.steps = steps
        self._start = start
        self._venue = SimulatedVenue(seed, start, faults)
        self._desk = Desk()
        self._strategies = (MarketMaker(seed), Momentum())
        self._numbers = 0
        self._orders = self._fills = self._refusals = self._cancels = self._funding = 0
        self._first_seq = self._seq = 0

    def run(
        self, writer: Writer, recorder: MarkRecorder, on_step: Callable[[DayStep], None] = lambda _: None
    ) -> DaySummary:
        """Run the whole day, as fast as it can be recorded. Runs once."""
        began = time.perf_counter()
        self._open(writer)
        marks = self._venue.marks()
        recorder.record(marks, actor=ACTOR)
        for number in range(1, self.steps + 1):
            self._trade(writer, {mark.instrument_id: mark.price for mark in marks})
            tick = self._venue.advance(STEP)
            marks = tick.marks
            recorder.record(marks, actor=ACTOR)
            self._report(writer, tick)
            on_step(self._so_far(number, tick))
        self._close(writer)
        return DaySummary(
            orders=self._orders, fills=self._fills, refusals=self._refusals, cancels=self._cancels,
            funding=self._funding, events=self._seq - self._first_seq, seconds=time.perf_counter() - began,
        )  # fmt: skip

    def _open(self, writer: Writer) -> None:
        """Set up the account, the instruments, the limits, and the coins the market maker starts with."""
        opened = writer.request(OpenAccount(ACCOUNT, "USDT", Costing(), self._start), actor=ACTOR)
        self._first_seq = opened.seq - len(opened.records)
        for listing in self._venue.instruments():
            writer.request(listing, actor=ACTOR)
        for strategy_id, instrument_id, measure, limit, currency in LIMITS:
            scope = Scope(strategy_id, instrument_id)
            request = SetLimit(
                ACCOUNT, scope, measure, Decimal(limit), currency=currency, transact_time=self._start
            )  # fmt: skip
            writer.request(request, actor=ACTOR)
        (spot,) = (mark for mark in self._venue.marks() if mark.instrument_id == SPOT)
        key = PositionKey(ACCOUNT, MARKET_MAKER, SPOT)
        opening = Transfer(
            key, f"opening-{self._name}", Side.BUY, OPENING_COINS, cost=exact(OPENING_COINS * spot.price),
            transact_time=self._start,
        )  # fmt: skip
        (answer,) = writer.report([opening], actor=ACTOR)
        self._seq = answer.seq

    @property
    def _name(self) -> str:
        return f"{self._start:%Y%m%d}-{self.seed}"

    def _trade(self, writer: Writer, marks: dict[str, Decimal]) -> None:
        for strategy in self._strategies:
            for wanted in list(strategy.requests(self._desk, marks)):
                if isinstance(wanted, OrderKey):
                    self._cancel(writer, wanted)
                else:
                    self._submit(writer, wanted)

    def _submit(self, writer: Writer, terms: OrderTerms) -> None:
        self._numbers += 1
        key = OrderKey(ACCOUNT, f"{terms.strategy_id}-{self._name}-{self._numbers:05d}")
        order = SubmitOrder(key, terms, self._venue.now)
        try:
            writer.request(order, actor=Part(terms.strategy_id))
        except RequestRefused:
            self._refusals += 1
            return
        self._orders += 1
        self._desk.sent(order)
        self._venue.submit(order)

    def _cancel(self, writer: Writer, key: OrderKey) -> None:
        """Send a cancel. The venue decides its outcome, even if the order is closed in Daybook already."""
        cancel = CancelOrder(key, "the market moved", self._venue.now)
        with suppress(RequestRefused):
            writer.request(cancel, actor=Part(MARKET_MAKER))
        self._cancels += 1
        self._venue.cancel(cancel)

    def _report(self, writer: Writer, tick: Tick) -> None:
        """Record the reports of a step, in batches."""
        for at in range(0, len(tick.reports), REPORTS_MAX):
            answers = writer.report(tick.reports[at : at + REPORTS_MAX], actor=Part("venue-SIM"))
            self._seq = max(self._seq, *(answer.seq for answer in answers))
        for report in tick.reports:
            self._fills += self._desk.receive(report)
            self._funding += isinstance(report, SettleFunding)

    def _close(self, writer: Writer) -> None:
        """Cancel working orders, and record the venue's last reports."""
        for key in list(self._desk.working):
            self._cancel(writer, key)
        for _ in range(QUIET_STEPS_MAX):
            if self._venue.is_quiet:
                return
            self._report(writer, self._venue.advance(STEP))

    def _so_far(self, number: int, tick: Tick) -> DayStep:
        return DayStep(
            number=number, steps=self.steps, now=tick.now, marks=tick.marks, orders=self._orders, fills=self._fills,
            refusals=self._refusals, cancels=self._cancels, seq=self._seq,
        )  # fmt: skip
