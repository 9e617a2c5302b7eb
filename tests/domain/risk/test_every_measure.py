"""Every measure at every scope, from both sides: just within passes, just beyond is refused, reducing passes."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from typing import Any, NamedTuple

import pytest

from adapters.log.memory import MemoryLog
from domain import risk
from domain.account import BookEntry, Costing, EntryKind, Indicator, OpenAccount
from domain.errors import RequestRefused
from domain.instrument import Contract, Kind, ListInstrument
from domain.ledger import Ledger, scan
from domain.marks import MarksRecorded, PriceKind, RecordMarks
from domain.order import (
    Changes,
    OrderFilled,
    OrderKey,
    OrderReplaced,
    OrderTerms,
    OrdType,
    PegOffset,
    ReplaceOrder,
    SubmitOrder,
)
from domain.position import PositionKey, Transfer
from domain.risk import (
    FIRM,
    BreachCleared,
    CapitalBasis,
    EquityAssessed,
    HoldPlaced,
    HoldRefused,
    LimitBreached,
    Measure,
    PriceBasis,
    Scope,
    SetConversion,
    SetLimit,
    StateCapital,
)
from domain.values import ZERO, Liquidity, Mark, Money, Side
from tests.derived import derived

T0 = datetime(2026, 1, 2, 12, tzinfo=UTC)
BTC, ETH, INV, EUR = "BTCUSDT.SIM", "ETHUSDT.SIM", "BTCUSD.MEX", "EURUSDT.SIM"
CONTRACTS = {
    BTC: Contract(Kind.SPOT, "BTC", "USDT", "USDT"),
    ETH: Contract(Kind.LINEAR, "ETH", "USDT", "USDT"),
    INV: Contract(Kind.INVERSE, "BTC", "USD", "BTC", D(100)),
    EUR: Contract(Kind.SPOT, "EUR", "USDT", "USDT"),
}
SCOPES = {
    "firm": (FIRM, Scope()),
    "account": ("main", Scope()),
    "strategy": ("main", Scope(strategy_id="trend")),
    "instrument": ("main", Scope(instrument_id=BTC)),
    "venue": ("main", Scope(venue="SIM")),
    "asset": ("main", Scope(asset="BTC")),
    "strategy at a venue in an asset": ("main", Scope("trend", None, "SIM", "BTC")),
    "asset of the firm": (FIRM, Scope(asset="BTC")),
}


class Book:
    """A ledger with a market: three accounts, marks that are set, and a clock that stands unless it is moved."""

    def __init__(self, *accounts: str, base: str = "USDT") -> None:
        self.log = MemoryLog()
        self.market: dict[str, Mark] = {}
        self.at = T0
        self.orders = self.batches = 0
        self.ledger = Ledger(self.log, lambda: self.at, self.market.get)
        for account in accounts or ("main",):
            self.request(OpenAccount(account, base, Costing(), T0))
        for name, contract in CONTRACTS.items():
            self.request(ListInstrument(name, contract, D("0.01"), D("0.001")))

    def request(self, *requests: Any) -> None:
        for each in requests:
            self.ledger.request(each, actor="desk")

    def limit(self, value: str, measure: Measure, owner: str = "main", scope: Scope = Scope(), currency: str = "USDT"):
        wanted = currency if measure.is_money else None
        self.request(SetLimit(owner, scope, measure, D(value), wanted, self.at))

    def mark(self, **prices: str) -> None:
        """Marks that are only in the market."""
        for name, price in prices.items():
            instrument = {"btc": BTC, "eth": ETH, "inv": INV, "eur": EUR}[name]
            self.market[instrument] = Mark(instrument, D(price), "SIM", self.at)

    def arrive(self, instrument: str, price: str, at: datetime | None = None) -> list[Any]:
        """A mark that is recorded; the events of limits in its append."""
        self.batches += 1
        before, mark = self.log.head().seq, Mark(instrument, D(price), "SIM", at or self.at)
        batch = MarksRecorded(
            PriceKind.MARK, "SIM", self.batches, self.batches, 1, mark.mark_at, mark.mark_at, (instrument,), 1, "00"
        )
        self.request(RecordMarks((batch,), (mark,)))
        self.market[instrument] = mark
        return [each.recorded.event for each in scan(self.log, after=before)][1:]

    def deposit(self, amount: str, currency: str = "USDT", account: str = "main") -> None:
        self.orders += 1
        entry = BookEntry(
            account, f"D{self.orders}", EntryKind.OPENING, Indicator.CREDIT, Money(D(amount), currency), "paid in", self.at
        )
        assert self.ledger.report([entry], actor="venue")[0].error is None

    def order(
        self, qty: str, price: str | None = "100", side: Side = Side.BUY, instrument: str = BTC, account: str = "main",
        kind: OrdType | None = None, **terms: Any,
    ) -> Any:  # fmt: skip
        """The decision on an order: the hold, or its refusal."""
        self.orders += 1
        kind = kind or (OrdType.MARKET if price is None else OrdType.LIMIT)
        terms_ = OrderTerms("trend", instrument, side, kind, D(qty), None if price is None else D(price), **terms)
        before = self.log.head().seq
        try:
            self.request(SubmitOrder(OrderKey(account, f"O{self.orders}"), terms_, self.at))
        except RequestRefused:
            pass
        events = [each.recorded.event for each in scan(self.log, after=before)]
        changes = [getattr(each, "change", each) for each in events]
        return next(each for each in reversed(changes) if isinstance(each, HoldPlaced | HoldRefused))

    def fill(self, qty: str, price: str = "100", side: Side = Side.BUY, instrument: str = BTC, account: str = "main"):
        self.orders += 1
        settle = CONTRACTS[instrument].settle
        report = OrderFilled(
            OrderKey(account, f"F{self.orders}"), "trend", instrument, "", side, f"E{self.orders}", self.orders, D(qty),
            D(price), Money(ZERO, settle), Liquidity.TAKER, self.at,
        )  # fmt: skip
        assert self.ledger.report([report], actor="venue")[0].error is None

    def state(self, owner: str = "main") -> risk.Risk:
        return self.ledger.state(risk.stream(owner))

    def follows(self) -> None:
        """Everything on record is decided again the same."""
        found = derived([each.recorded for each in scan(self.log)])
        assert not found.faults, "\n".join(map(str, found.faults))


class Case(NamedTuple):
    """A limit that an order of `within` meets and one of `beyond` exceeds, in a book that holds one BTC at 100."""

    limit: str
    within: str
    beyond: str
    price: str | None = "100"
    is_lossy: bool = False  # the limit is exceeded before the order
    does_reduce: bool = True  # an order that reduces passes beyond the limit


# Of 1,000 paid in and one BTC held at 100, whose mark is 100: equity 1,000.
CASES = {
    Measure.MAX_POSITION: Case("3", "2", "2.01"),
    Measure.MAX_ORDER_QTY: Case("2", "2", "2.01", does_reduce=False),
    Measure.MAX_ORDER_NOTIONAL: Case("200", "2", "2.01", does_reduce=False),
    Measure.PRICE_COLLAR: Case("0.05", "1", "1", does_reduce=False),
    Measure.MAX_MARK_AGE: Case("30", "1", "1", price=None, does_reduce=False),
    Measure.MAX_POSITION_NOTIONAL: Case("300", "2", "2.01"),
    Measure.MAX_NET_EXPOSURE: Case("300", "2", "2.01"),
    Measure.MAX_GROSS_EXPOSURE: Case("300", "2", "2.01"),
    Measure.MAX_LEVERAGE: Case("0.3", "2", "2.01"),
    Measure.MAX_CONCENTRATION: Case("0.3", "2", "2.01"),
    Measure.MAX_OPEN_ORDERS: Case("1", "1", "1"),
    Measure.MAX_ORDERS_PER_SECOND: Case("1", "1", "1"),
    Measure.MAX_ORDERS_PER_MINUTE: Case("1", "1", "1"),
    Measure.MAX_DAILY_LOSS: Case("20", "1", "1", is_lossy=True),
    Measure.MAX_DRAWDOWN: Case("0.02", "1", "1", is_lossy=True),
}


def test_every_measure_has_a_case():
    assert set(CASES) == set(Measure)


@pytest.mark.parametrize("where", SCOPES)
@pytest.mark.parametrize("measure", CASES)
def test_every_measure_at_every_scope_from_both_sides(measure: Measure, where: str):
    case, (owner, scope) = CASES[measure], SCOPES[where]
    book = Book()
    book.deposit("1000")
    book.mark(btc="100")
    book.fill("1")
    book.limit(case.limit, measure, owner, scope)
    if case.is_lossy:
        book.arrive(BTC, "100")
        breached = book.arrive(BTC, "80")  # a loss of 20: at the limit
        assert not any(isinstance(each, LimitBreached) for each in breached)
    elif measure is Measure.PRICE_COLLAR:
        assert isinstance(book.order("1", "105"), HoldPlaced)
    elif measure is Measure.MAX_MARK_AGE:
        book.at += timedelta(seconds=30)
    within = book.order(case.within, case.price, account="main")
    assert isinstance(within, HoldPlaced), within
    assert [(check.measure, check.scope) for check in within.judged] == [(measure, scope)]
    assert abs(within.judged[0].asked) == D("0") if measure is Measure.PRICE_COLLAR else D(case.limit)

    if case.is_lossy:
        (breach,) = (each for each in book.arrive(BTC, "79.9") if isinstance(each, LimitBreached))
        assert (breach.account_id, breach.scope, breach.measure) == (owner, scope, measure)
        assert breach.used > D(case.limit)
    elif measure is Measure.MAX_MARK_AGE:
        book.at += timedelta(seconds=1)
    fresh = book if case.is_lossy or measure.is_count or measure is Measure.MAX_MARK_AGE else _again(case, measure, where)
    beyond = fresh.order(case.beyond, "105.01" if measure is Measure.PRICE_COLLAR else case.price)
    assert isinstance(beyond, HoldRefused), beyond
    if measure is not Measure.MAX_MARK_AGE:
        assert beyond.failed is not None and (beyond.failed.measure, beyond.failed.scope) == (measure, scope)
        assert (beyond.failed.account_id, beyond.failed.currency) == (owner, "USDT" if measure.is_money else None)
        assert beyond.rule.startswith(f"{measure}")
    closing = fresh.order("1", case.price, Side.SELL)
    if case.does_reduce:
        assert isinstance(closing, HoldPlaced), closing
    fresh.follows()


def _again(case: Case, measure: Measure, where: str) -> Book:
    """The book without the order that was within the limit."""
    owner, scope = SCOPES[where]
    book = Book()
    book.deposit("1000")
    book.mark(btc="100")
    book.fill("1")
    book.limit(case.limit, measure, owner, scope)
    return book
