"""A desk that trades: a ledger over a log, a clock that ticks with every command, and random days for it.

A day is a list of steps, each a tuple of small numbers, so that hypothesis can make it short when a test fails.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from functools import reduce
from typing import Any

from hypothesis import strategies as st

from adapters.store.memory import MemoryLog
from domain.account import CostBasis, Costing, FeePolicy, OpenAccount
from domain.errors import RequestRefused
from domain.evidence import RawReportKept
from domain.instrument import Contract, Kind, ListInstrument
from domain.ledger import Answer, Ledger, Report
from domain.log import EventLog, scan
from domain.order import (
    CancelOrder,
    OrderAccepted,
    OrderCanceled,
    OrderCancelRejected,
    OrderExpired,
    OrderFilled,
    OrderKey,
    OrderRejected,
    OrderTerms,
    OrdType,
    SubmitOrder,
)
from domain.position import PositionKey, SettleFunding, Transfer
from domain.risk import Measure, Scope, SetLimit
from domain.unit import AGGREGATES
from domain.values import Liquidity, Mark, Money, Side

T0 = datetime(2026, 3, 1, 9, tzinfo=UTC)
BTC = "BTCUSDT.SIM"
PERP = "XBTUSD.PERP"
ACCOUNTS = ("main", "hedge")
STRATEGIES = ("trend", "maker")
CONTRACTS = {
    BTC: Contract(Kind.SPOT, "BTC", "USDT", "USDT"),
    PERP: Contract(Kind.INVERSE, "BTC", "USD", "BTC", D(100)),
}


def mark(instrument_id: str, price: str) -> Mark:
    return Mark(instrument_id, D(price), "SIM", T0)


class Desk:
    """Opens its accounts and lists its instruments; every command is a second after the one before."""

    def __init__(self, log: EventLog | None = None, costing: Costing = Costing()) -> None:  # noqa: B008 (frozen)
        self.log = log if log is not None else MemoryLog()
        self._seconds = 0
        self.ledger = Ledger(self.log, self._now, lambda instrument_id: mark(instrument_id, "100"))
        for account_id in ACCOUNTS:
            self.request(OpenAccount(account_id, "USDT", costing, T0))
        for instrument_id, contract in CONTRACTS.items():
            self.request(ListInstrument(instrument_id, contract, D("0.01"), D("0.01")))

    def _now(self) -> datetime:
        self._seconds += 1
        return T0 + timedelta(seconds=self._seconds)

    def request(self, request: Any) -> Answer | RequestRefused:
        """Carry out a request; the refusal, if it is refused."""
        try:
            return self.ledger.request(request, actor="desk")
        except RequestRefused as refusal:
            return refusal

    def report(self, *reports: Report) -> list[Answer]:
        return self.ledger.report(reports, actor="venue")

    def states(self, kind: str) -> dict[str, Any]:
        """Every aggregate of a kind, folded from the log's first event."""
        streams: dict[str, list[Any]] = {}
        for logged in scan(self.log):
            if logged.recorded.stream.startswith(f"{kind}:"):
                streams.setdefault(logged.recorded.stream, []).append(logged.recorded.event)
        return {stream: reduce(AGGREGATES[kind].evolve, events, None) for stream, events in streams.items()}

    def live(self, steps: Sequence[tuple[int, ...]]) -> None:
        """Carry out a day."""
        for number, step in enumerate(steps):
            kind, *choices = step
            _STEPS[kind % len(_STEPS)](self, number, *choices)


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


def _key(who: int, which: int) -> PositionKey:
    return PositionKey(ACCOUNTS[who % 2], STRATEGIES[who // 2 % 2], (BTC, BTC, PERP)[which % 3])


def _side(number: int) -> Side:
    return Side.BUY if number % 2 else Side.SELL


def _fill(desk: Desk, number: int, a: int, b: int, c: int, d: int) -> None:
    """Fills in one report, anywhere in the day, so that many are late; some of orders on record, some repeated."""
    fills = []
    for part in range(1 + d % 3):
        key = _key(a, b + part)
        fee = Money(D(c % 4) / 100, ("USDT", "BTC", "BNB", "BTC")[(c + part) % 4])
        known = f"A-{c % 3}" if d % 4 == 0 else ""
        exec_id = f"{known or 'E'}-{number}-{part}" if d % 7 else f"{known or 'E'}-{c % 5}"
        fills.append(
            fill(
                exec_id,
                _side(c + part),
                D(1 + (a * 7 + part) % 5) / 10,
                D(90 + b),
                d,
                account_id=key.account_id,
                strategy_id=key.strategy_id,
                instrument_id=key.instrument_id,
                cl_ord_id=known,
                fee=fee,
            )
        )
    desk.report(*fills)


def _submit(desk: Desk, number: int, a: int, b: int, c: int, d: int) -> None:
    key = _key(a, b)
    price = None if d % 5 == 0 else D(90 + b)
    terms = OrderTerms(
        key.strategy_id, key.instrument_id, _side(c), OrdType.LIMIT if price else OrdType.MARKET, D(1 + c) / 10, price
    )
    desk.request(SubmitOrder(OrderKey(key.account_id, f"A-{c % 3}"), terms, T0 + timedelta(minutes=d)))


def _venue_says(desk: Desk, number: int, a: int, b: int, c: int, d: int) -> None:
    key, at = OrderKey(ACCOUNTS[a % 2], f"A-{c % 3}"), T0 + timedelta(minutes=d)
    says: tuple[Report, ...] = (
        OrderAccepted(key, f"V{c}", at),
        OrderRejected(key, "no\0such thing", at),
        OrderCanceled(key, "as asked", at),
        OrderCancelRejected(key, "too late", at),
        OrderExpired(key, "end of day", at),
    )
    desk.report(says[b % len(says)])


def _cancel(desk: Desk, number: int, a: int, b: int, c: int, d: int) -> None:
    desk.request(CancelOrder(OrderKey(ACCOUNTS[a % 2], f"A-{c % 3}"), "enough", T0 + timedelta(minutes=d)))


def _move(desk: Desk, number: int, a: int, b: int, c: int, d: int) -> None:
    key, at = _key(a, b), T0 + timedelta(minutes=d)
    if c % 2:
        desk.report(SettleFunding(key, f"F{number}", Money(D(b - 5) / 100, CONTRACTS[key.instrument_id].settle), at))
    else:
        value = CONTRACTS[key.instrument_id].value(D(1 + b) / 10 * _side(a).sign, D(95))
        desk.report(Transfer(key, f"T{number}", _side(a), D(1 + b) / 10, value, at))


def _limit(desk: Desk, number: int, a: int, b: int, c: int, d: int) -> None:
    key = _key(a, b)
    scope = Scope(key.strategy_id if c % 2 else None, key.instrument_id if c % 3 else None)
    measure, currency = (Measure.MAX_ORDER_NOTIONAL, "USDT") if d % 4 == 0 else (Measure.MAX_POSITION, None)
    limit = None if d % 5 == 0 else D(b * (40 if currency else 1))
    desk.request(SetLimit(key.account_id, scope, measure, limit, currency, T0))


def _keep(desk: Desk, number: int, a: int, b: int, c: int, d: int) -> None:
    desk.report(RawReportKept(ACCOUNTS[a % 2], "SIM", f"day.csv:{b}", f"x\0\\u0000,{c}\t", "price: not a number"))


_STEPS = (_fill, _fill, _fill, _submit, _submit, _venue_says, _cancel, _move, _limit, _keep)

small = st.integers(0, 11)
days = st.lists(st.tuples(st.integers(0, len(_STEPS) - 1), small, small, small, st.integers(0, 30)), max_size=40)
fill_days = st.lists(st.tuples(st.integers(0, 2), small, small, small, st.integers(0, 30)), max_size=25)
costings = st.builds(Costing, st.sampled_from(CostBasis), st.sampled_from(FeePolicy), st.sampled_from((2, 8)))
