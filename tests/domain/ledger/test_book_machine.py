"""The whole ledger, driven at random, against a reference of a few dozen lines that remembers facts and recomputes all.

The reference keeps fills, busts, corrections, funding and transfers in plain dictionaries and works out quantity, cost
and PnL by exact fractions from the first to the last, every time. It knows nothing of lateness, streams or events.
"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from fractions import Fraction
from functools import reduce

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from adapters.log.memory import MemoryLog
from domain import order, position, risk
from domain.account import Costing, OpenAccount
from domain.errors import RequestRefused
from domain.instrument import ListInstrument
from domain.ledger import AGGREGATES, Ledger, scan
from domain.order import (
    CancelOrder,
    OrderCanceled,
    OrderFillBusted,
    OrderFillCorrected,
    OrderFilled,
    OrderKey,
    OrderTerms,
    OrdType,
    SubmitOrder,
)
from domain.position import PositionKey, SettleFunding, Transfer
from domain.risk import Measure, Scope, SetLimit
from domain.values import ZERO, Liquidity, Money, Side
from tests.derived import derived
from tests.domain.position.booking import SPOT

T0 = datetime(2026, 1, 2, tzinfo=UTC)
BTC = "BTCUSDT.SIM"
KEY = PositionKey("main", "trend", BTC)
LIMIT = D(4)
quantities = st.integers(1, 20).map(lambda n: D(n).scaleb(-1))
prices = st.integers(90_00, 110_00).map(lambda n: D(n).scaleb(-2))
seconds = st.integers(0, 30)


class Reference:
    """What happened, and the book that follows from it by the definition of average cost."""

    def __init__(self):
        self.entries = {}  # id: (second, sequence, id, side, quantity, value)
        self.funding = ZERO

    def book(self):
        quantity = cost = realized = Fraction(0)
        for _, _, _, side, size, worth in sorted(self.entries.values()):
            signed, value = side * Fraction(size), side * Fraction(worth)
            if quantity * signed < 0:
                closed = min(abs(signed), abs(quantity)) * (1 if signed > 0 else -1)
                released = cost * -closed / quantity
                realized -= value * closed / signed + released
                cost, quantity = cost - released, quantity + closed
                value *= 1 - closed / signed
                signed -= closed
            quantity, cost = quantity + signed, cost + value
        return quantity, cost, realized


class BookMachine(RuleBasedStateMachine):
    orders = Bundle("orders")
    fills = Bundle("fills")

    def __init__(self):
        super().__init__()
        self.log, self.known, self.n = MemoryLog(), Reference(), 0
        self.sides, self.stands_as = {}, {}
        self.start()
        self.ledger.request(OpenAccount("main", "USDT", Costing(money_places=8), T0), actor="ops")
        self.ledger.request(ListInstrument(BTC, SPOT, D("0.01"), D("0.001")), actor="ops")
        self.ledger.request(SetLimit("main", Scope(None, BTC), Measure.MAX_POSITION, LIMIT, None, T0), actor="ops")

    @rule()
    def start(self):
        """A new process: nothing cached."""
        self.ledger = Ledger(self.log, lambda: T0)

    @rule(target=orders, side=st.sampled_from(Side), qty=quantities)
    def submit(self, side, qty):
        self.n += 1
        key = OrderKey("main", f"O{self.n}")
        limits = self.ledger.state(risk.stream("main"))
        used = limits.position(Scope(None, BTC), BTC) + side.sign * limits.held(Scope(None, BTC), BTC, side)
        requested = used + side.sign * qty
        request = SubmitOrder(key, OrderTerms("trend", BTC, side, OrdType.LIMIT, qty, D(100)), T0)
        try:
            self.ledger.request(request, actor="bot")
        except RequestRefused:
            assert abs(requested) > LIMIT
            assert abs(requested) >= abs(used) or requested * used < 0
        else:
            assert abs(requested) <= LIMIT or abs(requested) < abs(used)
            self.sides[key] = side
        return key

    @rule(key=orders)
    def cancel(self, key):
        if key in self.sides:
            try:
                self.ledger.request(CancelOrder(key, "user", T0), actor="bot")
            except RequestRefused:
                assert not self.ledger.state(order.stream(key)).is_open
            self.report(OrderCanceled(key=key, reason="user", transact_time=T0 + timedelta(seconds=40)))

    @rule(target=fills, key=orders, qty=quantities, px=prices, second=seconds, times=st.integers(1, 2))
    def fill(self, key, qty, px, second, times):
        self.n += 1
        side = self.sides.get(key, Side.BUY)
        shown = OrderFilled(
            key, "trend", BTC, "", side, f"E{self.n}", self.n, qty, px, Money(ZERO, "USDT"), Liquidity.TAKER,
            T0 + timedelta(seconds=second),
        )  # fmt: skip
        for _ in range(times):
            self.report(shown)
        self.known.entries[shown.exec_id] = (second, self.n, shown.exec_id, side.sign, qty, qty * px)
        return shown

    @rule(shown=fills)
    def bust(self, shown):
        standing = self.stands_as.get(shown.exec_id, shown.exec_id)
        self.report(
            OrderFillBusted(shown.key, standing, "error trade", shown.transact_time, exec_id=f"B-{shown.exec_id}")
        )
        self.known.entries.pop(shown.exec_id, None)

    @rule(shown=fills, qty=quantities, px=prices)
    def correct(self, shown, qty, px):
        if shown.exec_id not in self.known.entries:
            return
        self.n += 1
        standing, now = self.stands_as.get(shown.exec_id, shown.exec_id), f"C-{self.n}"
        at = shown.transact_time
        self.report(OrderFillCorrected(shown.key, standing, last_qty=qty, last_px=px, transact_time=at, exec_id=now))
        second, sequence, _, side, *_ = self.known.entries[shown.exec_id]
        self.known.entries[shown.exec_id] = (second, sequence, shown.exec_id, side, qty, qty * px)
        self.stands_as[shown.exec_id] = now

    @rule(qty=quantities, cost=prices, second=seconds)
    def bring(self, qty, cost, second):
        self.n += 1
        self.report(Transfer(KEY, f"T{self.n}", Side.BUY, qty, cost, T0 + timedelta(seconds=second)))
        self.known.entries[f"T{self.n}"] = (second, 0, f"T{self.n}", 1, qty, cost)

    @rule(amount=st.integers(-100, 100))
    def fund(self, amount):
        self.n += 1
        self.report(SettleFunding(KEY, f"F{self.n}", Money(D(amount), "USDT"), T0))
        self.known.funding += amount

    def report(self, shown):
        (answer,) = self.ledger.report([shown], actor="venue")
        assert answer.error is None

    @invariant()
    def the_book_is_what_the_reference_works_out(self):
        held = self.ledger.state(position.stream(KEY))
        quantity, cost, realized = self.known.book()
        ours = (held.quantity, held.book.cost, held.realized + held.rounding, held.funding) if held else (0, 0, 0, 0)
        assert Fraction(ours[0]) == quantity
        assert abs(Fraction(ours[1]) - cost) < Fraction(1, 10**15)
        assert abs(Fraction(ours[2]) - realized) < Fraction(1, 10**15)
        assert ours[3] == self.known.funding

    @invariant()
    def limits_know_the_position_and_what_working_orders_hold(self):
        limits = self.ledger.state(risk.stream("main"))
        assert limits.position(Scope("trend", BTC), BTC) == sum(
            (D(e[3]) * e[4] for e in self.known.entries.values()), ZERO
        )
        for side in Side:
            working = (
                self.ledger.state(order.stream(key)).leaves_qty for key, sent in self.sides.items() if sent is side
            )
            assert limits.held(Scope(None, BTC), BTC, side) == sum(working, ZERO)

    @invariant()
    def folding_the_log_gives_the_cached_states(self):
        streams = {}
        for logged in scan(self.log):
            streams.setdefault(logged.recorded.stream, []).append(logged.recorded.event)
        for stream, events in streams.items():
            evolve = AGGREGATES[stream.partition(":")[0]].evolve
            assert reduce(evolve, events, None) == self.ledger.state(stream)

    def teardown(self):
        found = derived([logged.recorded for logged in scan(self.log)])
        assert not found.faults, found.faults


BookMachine.TestCase.settings = settings(max_examples=80, stateful_step_count=30)
TestBook = BookMachine.TestCase
