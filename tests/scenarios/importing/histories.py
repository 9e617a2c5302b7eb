"""Trade histories made up from a seed, in Binance's layout, and what is in the book after them."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

from adapters.exchanges.binance import binance_spot
from adapters.log.memory import MemoryLog
from adapters.writer.writer import Writer
from api.intake.importing.counts import ImportSummary
from api.intake.importing.ingest import import_file
from domain import order, position, risk
from domain.account import Costing, OpenAccount
from domain.position import Position, PositionKey

NOW = datetime(2026, 11, 23, tzinfo=UTC)
HEADER = "seq,trade_id,ts,symbol,side,price,qty,quote_qty,liquidity,fee,fee_currency"
KEY = PositionKey("main", "main", "BTCUSDT.BINANCE")


def history(count: int, seed: int = 7) -> list[str]:
    """`count` rows in order: long and short, fees in three currencies, many in one millisecond, time in four styles."""
    random = Random(seed)
    at = datetime(2024, 2, 28, 23, 59, tzinfo=UTC)
    price, rows = 4_000_000, []
    for seq in range(1, count + 1):
        at += timedelta(milliseconds=random.choice([0, 0, 1, 250, 1000, 60_000]))
        price += random.randint(-9_999, 10_000)
        cost, quantity = Decimal(price) / 100, Decimal(random.randint(1, 90_000)) / 10**6
        side = random.choice(["BUY", "SELL"])
        paid_in = random.choice(["BNB", "BTC" if side == "BUY" else "USDT"])
        fee = {"BNB": Decimal("0.00001234"), "BTC": (quantity / 1000).quantize(Decimal("1E-9")), "USDT": cost / 10**6}
        ts = at.strftime("%Y-%m-%dT%H:%M:%S") + (f".{at.microsecond // 1000:03d}".rstrip("0").rstrip(".") + "Z")
        liquidity = random.choice(["maker", "taker"])
        rows.append(
            f"{seq},{1000 + seq * 3},{ts},BTCUSDT,{side},{cost},{quantity},{cost * quantity:f},{liquidity},"
            f"{fee[paid_in]:f},{paid_in}"
        )
    return rows


def written(path: Path, rows: Iterable[str]) -> Path:
    """A file of these rows."""
    path.write_text("\n".join([HEADER, *rows, ""]))
    return path


def desk(costing: Costing | None = None) -> tuple[MemoryLog, Writer]:
    """An empty log and its writer; with conventions, the account is open."""
    log = MemoryLog()
    writer = Writer(log, lambda: NOW)
    if costing is not None:
        open_book(writer, costing)
    return log, writer


def open_book(writer: Writer, costing: Costing) -> None:
    """The account under these conventions, and the instrument."""
    writer.request(OpenAccount("main", "USDT", costing, NOW), actor="tester")
    listing = binance_spot("BTCUSDT")
    assert listing is not None
    writer.request(listing, actor="tester")


def imported(writer: Writer, path: Path, **more: Any) -> ImportSummary:
    return import_file(writer, path, now=NOW, actor="tester", **more)


def book(writer: Writer) -> tuple[Any, ...]:
    """All that is known of a position, however it came about, and what the limits know of it."""
    held: Position = writer.state(position.stream(KEY))
    limits = writer.state(risk.stream("main"))
    known = (
        held.quantity,
        held.book.cost,
        list(held.book.lots),
        held.realized,
        held.rounding,
        held.fees,
        held.fee_cost,
    )
    return (*known, limits.positions)


def breaks(writer: Writer, cl_ord_id: str) -> list[str]:
    """The rules that reports of an order broke."""
    state = writer.state(order.stream(order.OrderKey("main", cl_ord_id)))
    return [broken.rule for broken in state.breaks]
