"""A desk that trades: a ledger over a log, a clock that ticks with every command, orders, fills and random days for it.

A day is a list of steps, each a tuple of small numbers, so that hypothesis can make it short when a test fails.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from functools import reduce
from typing import Any

from hypothesis import strategies as st

from adapters.log.memory import MemoryLog
from domain.account import CostBasis, Costing, FeePolicy, OpenAccount
from domain.errors import RequestRefused
from domain.instrument import Contract, Kind, ListInstrument
from domain.ledger import AGGREGATES, Answer, EventLog, Ledger, Report, scan
from domain.order import (
    OrderFilled,
    OrderKey,
    OrderTerms,
    OrdType,
    SubmitOrder,
)
from domain.values import Liquidity, Mark, Money, Side

T0 = datetime(2026, 3, 1, 9, tzinfo=UTC)
BTC = "BTCUSDT.SIM"
PERP = "XBTUSD.PERP"
SPOT = Contract(Kind.SPOT, "BTC", "USDT", "USDT")
POSITION = f"position:main:trend:{BTC}"
ACCOUNTS = ("main", "hedge")
STRATEGIES = ("trend", "maker")
CONTRACTS = {
    BTC: SPOT,
    PERP: Contract(Kind.INVERSE, "BTC", "USD", "BTC", D(100)),
}


def mark(instrument_id: str, price: str) -> Mark:
    return Mark(instrument_id, D(price), "SIM", T0)


def open_desk(log: EventLog) -> None:
    """One account, one instrument."""
    ledger = Ledger(log, lambda: T0)
    ledger.request(OpenAccount("main", "USDT", Costing(), T0), actor="alice")
    ledger.request(ListInstrument(BTC, SPOT, D("0.01"), D("0.001")), actor="alice")


class Desk:
    """Opens its accounts and lists its instruments; every command is a second after the one before."""

    def __init__(self, log: EventLog | None = None, costing: Costing = Costing()) -> None:  # noqa: B008 (frozen)
        self.log = log if log is not None else MemoryLog()
        self.number = 0
        self.filled: list[OrderFilled] = []
        self._seconds = 0
        self.ledger = Ledger(self.log, self._now, lambda instrument_id: mark(instrument_id, "100"))
        for account_id in ACCOUNTS:
            self.request(OpenAccount(account_id, "USDT", costing, T0))
        for instrument_id, contract in CONTRACTS.items():
            self.request(ListInstrument(instrument_id, contract, D("0.01"), D("0.01")))

    def _now(self) -> datetime:
        self._seconds += 1
        return T0 + timedelta(seconds=self._seconds)

    def request(self, request: Any, actor: str = "desk") -> Answer | RequestRefused:
        """Carry out a request; the refusal, if it is refused."""
        try:
            return self.ledger.request(request, actor=actor)
        except RequestRefused as refusal:
            return refusal

    def report(self, *reports: Report) -> list[Answer]:
        return self.ledger.report(reports, actor="venue")

    def events(self, kind: str) -> list[Any]:
        """Every event of a kind of aggregate."""
        found = (logged.recorded for logged in scan(self.log))
        return [recorded.event for recorded in found if recorded.stream.startswith(f"{kind}:")]

    def states(self, kind: str) -> dict[str, Any]:
        """Every aggregate of a kind, folded from the log's first event."""
        streams: dict[str, list[Any]] = {}
        for logged in scan(self.log):
            if logged.recorded.stream.startswith(f"{kind}:"):
                streams.setdefault(logged.recorded.stream, []).append(logged.recorded.event)
        return {stream: reduce(AGGREGATES[kind].evolve, events, None) for stream, events in streams.items()}

    def live(self, steps: Sequence[tuple[int, ...]]) -> None:
        """Carry out a day."""
        from tests.days import STEPS

        for step in steps:
            kind, *choices = step
            self.number += 1
            STEPS[kind % len(STEPS)](self, self.number, *choices)


def fill(
    exec_id: str,
    side: Side,
    quantity: str | D,
    price: str | D,
    minute: int = 0,
    *,
    account_id: str = "main",
    strategy_id: str = "trend",
    instrument_id: str = BTC,
    cl_ord_id: str = "",
    fee: Money = Money(D(0), "USDT"),  # noqa: B008 (frozen)
) -> OrderFilled:
    """A fill `minute` minutes into the day, of an order of its own unless one is named."""
    return OrderFilled(
        OrderKey(account_id, cl_ord_id or f"O-{exec_id}"), strategy_id, instrument_id, "", side, exec_id, 0,
        D(quantity), D(price), fee, Liquidity.TAKER, T0 + timedelta(minutes=minute),
    )  # fmt: skip


def fill_of(cl_ord_id: str, exec_id: str, qty: str = "1", at: int = 0, side: str = "BUY") -> OrderFilled:
    """A fill of that order at 100, `at` seconds into the day."""
    return OrderFilled(
        OrderKey("main", cl_ord_id), "trend", BTC, "", Side(side), exec_id, at, D(qty), D(100), Money(D(0), "USDT"),
        Liquidity.TAKER, T0 + timedelta(seconds=at),
    )  # fmt: skip


def new_order(cl_ord_id: str, qty: str = "1", price: str = "100", side: str = "BUY") -> SubmitOrder:
    """A limit order."""
    terms = OrderTerms("trend", BTC, Side(side), OrdType.LIMIT, D(qty), D(price))
    return SubmitOrder(OrderKey("main", cl_ord_id), terms, T0)


def _steps(*kinds: int) -> Any:
    return st.tuples(st.sampled_from(kinds), small, small, small, st.integers(0, 30))


small = st.integers(0, 11)
days = st.lists(_steps(*range(22)), max_size=40)
fill_days = st.lists(_steps(*range(8)), max_size=25)  # of trades and transfers
order_days = st.lists(_steps(0, 3, *range(8, 15)), max_size=40)  # of orders and what becomes of them
risk_days = st.lists(_steps(0, 8, 10, 12, 16, 18), max_size=40)  # of limits, marks and kill switches
cash_days = st.lists(_steps(0, 20, 21, 22), max_size=40)  # of money and differences
costings = st.builds(Costing, st.sampled_from(CostBasis), st.sampled_from(FeePolicy), st.sampled_from((2, 8)))
