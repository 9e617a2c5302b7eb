"""Market data from files: candles, trades and funding rates, as CSV with a header line or as JSON, in any order.

The columns decide what a file holds. A candle is known at its end: its `close` becomes a mark at the candle's start
plus its length, never earlier. A trade's `price` is a mark at the time of the trade; of several at the same time the
last one counts. A `funding_rate` is no mark and is stored apart. Numbers with more than 18 places, which stem from
floats, are rounded to 18. Times are ISO 8601, or a number of seconds or milliseconds. JSON is a list of objects with
the same names, or of [time, open, high, low, close, volume] as in ccxt.
"""

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from adapters.market.mark_store import FundingRate
from domain import values
from domain.errors import InvalidInput, ReportUnreadable
from domain.instrument import Contract
from domain.marks import QualifiedMark, Quality
from domain.values import EPOCH

TIMES = ("ts", "ts_ms", "timestamp", "time", "datetime", "date", "open_time")
OHLCV = ("ts", "open", "high", "low", "close", "volume")
MILLISECONDS_SINCE = 100_000_000_000  # as seconds that is the year 5138
LONG = re.compile(r"[+-]?[0-9]{1,18}\.[0-9]{19,40}", re.ASCII)
LAST = datetime.max.replace(tzinfo=UTC)
UNREADABLE_MAX = 1000  # above this it is another kind of file

Line = tuple[int, dict[Any, Any]]


class UnreadableLine(NamedTuple):
    """A line that could not be read, and why."""

    line: int
    error: InvalidInput


class MarketData(NamedTuple):
    """The contents of a file: marks or funding rates by time, and the unreadable lines."""

    marks: list[QualifiedMark]
    rates: list[FundingRate]
    unreadable: list[UnreadableLine]


def read_market(
    path: Path,
    instrument_id: str,
    source: str,
    *,
    now: datetime,
    every: timedelta | None = None,
    quality: Quality | None = None,
    contract: Contract | None = None,
) -> MarketData:
    """Read the marks or funding rates of a file.

    `contract` decides which prices there are, without it those above zero. `every` is the length of a candle, by
    default the smallest distance between two of them. `quality` is by default CLOSE for candles and TRADE for trades.
    Raises InvalidInput for any other file.
    """
    lines = _lines(path)
    if not lines:
        return MarketData([], [], [])
    columns = {name for name in lines[0][1] if isinstance(name, str)}
    time = next((name for name in TIMES if name in columns), None)
    value = next((name for name in ("funding_rate", "close", "price") if name in columns), None)
    if time is None or value is None:
        names = ", ".join(sorted(columns)) or "no columns"
        raise ReportUnreadable(
            "file", f"{path.name} ({names})",
            f"market data: a time ({', '.join(TIMES)}) and one of close, price, funding_rate",
        )  # fmt: skip
    read, unreadable = _read(lines, time, value)
    if value == "funding_rate":
        rates = [FundingRate(instrument_id, at, rate, source) for at, rate, _ in read]
        return MarketData([], sorted(rates, key=lambda rate: rate.rate_at), unreadable)
    length = timedelta()
    if value == "close":
        length = every or _shortest(sorted(at for at, _, _ in read))
        read = [(_end(at, length), price, line) for at, price, line in read]
    kind = quality or (Quality.CLOSE if value == "close" else Quality.TRADE)
    last: dict[datetime, QualifiedMark] = {}
    for at, price, line in read:
        if at > now:
            unreadable.append(
                UnreadableLine(line, InvalidInput(time, at, f"of a price that is known by {now:%Y-%m-%d %H:%M}"))
            )
        elif price <= 0 and (contract is None or not contract.has_price(price)):
            rule = contract.price_rule if contract is not None else "above zero"
            unreadable.append(UnreadableLine(line, InvalidInput(value, price, rule)))
        else:
            last[at] = QualifiedMark(instrument_id, price, source, at, quality=kind)
    return MarketData([last[at] for at in sorted(last)], [], sorted(unreadable, key=lambda one: one.line))


def _read(
    lines: Iterable[Line], time: str, value: str
) -> tuple[list[tuple[datetime, Decimal, int]], list[UnreadableLine]]:
    read, unreadable = [], list[UnreadableLine]()
    for line, row in lines:
        try:
            read.append((_time(row.get(time), time), _number(row.get(value), value), line))
        except InvalidInput as error:
            unreadable.append(UnreadableLine(line, error))
            if len(unreadable) > UNREADABLE_MAX:
                raise
    return read, unreadable


def _number(value: object, field: str) -> Decimal:
    written = str(value).strip()
    if LONG.fullmatch(written):
        return values.rounded(Decimal(written), values.PLACES_MAX)
    return values.number(value, field)


def _shortest(times: Sequence[datetime]) -> timedelta:
    steps = [later - at for at, later in pairwise(times) if later > at]
    if not steps:
        raise ReportUnreadable("every", len(times), "enough candles to show their length: give it, as in --every 1m")
    return min(steps)


def _end(at: datetime, length: timedelta) -> datetime:
    """Return the end of a candle; the last time there is, which is never known yet, if it would be beyond."""
    return at + length if length <= LAST - at else LAST


def _time(value: object, field: str) -> datetime:
    written = str(value).strip()
    if not re.fullmatch(r"[0-9]{9,16}", written):
        return values.time(value, field)
    number = int(written)
    unit = timedelta(milliseconds=1) if number >= MILLISECONDS_SINCE else timedelta(seconds=1)
    try:
        return values.time(EPOCH + number * unit, field)
    except OverflowError as error:
        raise ReportUnreadable(field, value, "a time that exists") from error


def _lines(path: Path) -> list[Line]:
    """Return the file's lines as dicts by column, each with its number."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        rows = _json(text) if text.lstrip()[:1] in ("[", "{") else csv.DictReader(io.StringIO(text, newline=""))
        return [(number, row) for number, row in enumerate(rows, 2 if isinstance(rows, csv.DictReader) else 1)]
    except (UnicodeDecodeError, ValueError, RecursionError, csv.Error) as error:
        raise ReportUnreadable("file", path.name, f"market data as CSV or JSON ({error})") from error


def _json(text: str) -> Iterator[dict[str, Any]]:
    found = json.loads(text, parse_float=str, parse_constant=str)
    for row in found if isinstance(found, list) else [found]:
        if isinstance(row, list):
            yield dict(zip(OHLCV, row, strict=False))
        elif isinstance(row, dict):
            yield row
        else:
            raise ReportUnreadable("file", row, "a list of objects, or of candles as lists")
