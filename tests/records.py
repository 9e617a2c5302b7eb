"""Records to fill a log with; what they say does not matter to it."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from domain.account import AccountOpened, Costing
from domain.ledger import Recorded
from domain.order import OrderFilled, OrderKey
from domain.values import Liquidity, Money, Side

T0 = datetime(2026, 1, 1, tzinfo=UTC)


def record(stream: str, version: int, at_s: float = 0, *, note: str = "USD") -> Recorded:
    """The `version`-th record of a stream, recorded `at_s` seconds after the beginning of time."""
    event = AccountOpened(account_id=stream, base_currency=note, costing=Costing(), transact_time=T0)
    return Recorded(stream, version, T0 + timedelta(seconds=at_s), "tester", "", event)


def records(stream: str, versions: range, at_s: float = 0) -> list[Recorded]:
    """Consecutive records of one stream, recorded at once."""
    return [record(stream, version, at_s) for version in versions]


def fill(cl_ord_id: str, exec_id: str) -> OrderFilled:
    """A fill of an order of account main."""
    return OrderFilled(
        OrderKey("main", cl_ord_id), "trend", "BTCUSDT.SIM", "", Side.BUY, exec_id, 0, Decimal(1), Decimal(100),
        Money(Decimal(0), "USDT"), Liquidity.TAKER, T0,
    )  # fmt: skip
