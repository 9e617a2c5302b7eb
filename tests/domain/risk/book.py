"""A book with a market, for tests of limits: a ledger in memory, marks that are set, a clock that stands."""

from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal as D
from typing import Any

from adapters.log.memory import MemoryLog
from domain import risk
from domain.account import BookEntry, Costing, EntryKind, Indicator, OpenAccount
from domain.errors import RequestRefused
from domain.instrument import Contract, Kind, ListInstrument
from domain.ledger import Ledger, scan
from domain.marks import MarksRecorded, PriceKind, RecordMarks
from domain.order import OrderFilled, OrderKey, OrderTerms, OrdType, SubmitOrder
from domain.risk import HoldPlaced, HoldRefused, Measure, Scope, SetLimit
from domain.values import ZERO, Liquidity, Mark, Money, Side
from tests.derived import derived

ANY = Scope()
T0 = datetime(2026, 1, 2, 12, tzinfo=UTC)
BTC, ETH, INV, EUR = "BTCUSDT.SIM", "ETHUSDT.SIM", "BTCUSD.MEX", "EURUSDT.SIM"
CONTRACTS = {
    BTC: Contract(Kind.SPOT, "BTC", "USDT", "USDT"),
    ETH: Contract(Kind.LINEAR, "ETH", "USDT", "USDT"),
    INV: Contract(Kind.INVERSE, "BTC", "USD", "BTC", D(100)),
    EUR: Contract(Kind.SPOT, "EUR", "USDT", "USDT"),
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

    def limit(self, value: str, measure: Measure, owner: str = "main", scope: Scope = ANY, currency: str = "USDT"):
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

    def deposit(
        self, amount: str, currency: str = "USDT", account: str = "main", kind: EntryKind = EntryKind.OPENING
    ) -> None:
        self.orders += 1
        entry = BookEntry(
            account,
            f"D{self.orders}",
            kind,
            Indicator.CREDIT,
            Money(D(amount), currency),
            "paid in",
            self.at,
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
        with suppress(RequestRefused):
            self.request(SubmitOrder(OrderKey(account, f"O{self.orders}"), terms_, self.at))
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

    def fill_order(self, cl_ord_id: str, side: Side, qty: str, price: str = "100") -> None:
        """A fill of an order in BTC."""
        self.orders += 1
        report = OrderFilled(
            OrderKey("main", cl_ord_id), "trend", BTC, "", side, f"E{self.orders}", self.orders, D(qty), D(price),
            Money(ZERO, "USDT"), Liquidity.TAKER, self.at,
        )  # fmt: skip
        assert self.ledger.report([report], actor="venue")[0].error is None

    def state(self, owner: str = "main") -> risk.Risk:
        return self.ledger.state(risk.stream(owner))

    def follows(self) -> None:
        """Everything on record is decided again the same."""
        found = derived([each.recorded for each in scan(self.log)])
        assert not found.faults, "\n".join(map(str, found.faults))
