"""Market data from files: candles, trades and funding rates, as CSV, JSON or Parquet, in any order.

The columns decide what a file holds. A candle is known at its end: its `close` becomes a mark at the candle's start
plus its length, never earlier. A trade's `price` is a mark at the time of the trade; of several at the same time the
last one counts. A `funding_rate` is no mark and is stored apart. Numbers with more than 18 places, which stem from
floats, are rounded to 18. Times are dates and times, or epochs in seconds, milli-, micro- or nanoseconds. Files may be
compressed, in any usual encoding, with lines above the header. Candles without a header, as in the public data of
Binance and Kraken, have time, open, high, low, close and volume. JSON is a list of objects with the same names, or of
[time, open, high, low, close, volume] as in ccxt.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from adapters.exchanges import Unreadable
from adapters.exchanges.files import decoding
from adapters.exchanges.files.records import Lines, fields_of, records
from adapters.exchanges.files.times import instant
from adapters.market.mark_store import FundingRate
from domain import values
from domain.errors import InvalidInput, ReportUnreadable
from domain.instrument import Contract
from domain.marks import QualifiedMark, Quality

TIMES = (
    "ts", "ts_ms", "timestamp", "time", "datetime", "unix", "unix_timestamp", "open_time", "opentime", "calc_time",
    "date",
)  # fmt: skip
RATES = ("funding_rate", "fundingrate", "last_funding_rate")
CLOSES = ("close", "close_price", "price_close", "closing_price", "adj_close")
PRICES = ("price", "last_price")
OHLCV = ("ts", "open", "high", "low", "close", "volume")
PARQUET = b"PAR1"
LONG = re.compile(r"[+-]?[0-9]{1,18}\.[0-9]{19,40}", re.ASCII)
LAST = datetime.max.replace(tzinfo=UTC)
UNREADABLE_MAX = 1000  # above this it is another kind of file
HEADER_LINES_MAX = 20
_EPOCH = re.compile(r"[0-9]{9,19}", re.ASCII)

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
    value = next((name for name in (*RATES, *CLOSES, *PRICES) if name in columns), None)
    if time is None or value is None:
        raise _no_market_data(columns)
    read, unreadable = _read(lines, time, value)
    if value in RATES:
        rates = [FundingRate(instrument_id, at, rate, source) for at, rate, _ in read]
        return MarketData([], sorted(rates, key=lambda rate: rate.rate_at), unreadable)
    length = timedelta()
    if value in CLOSES:
        length = every or _shortest(sorted(at for at, _, _ in read))
        read = [(_end(at, length), price, line) for at, price, line in read]
    kind = quality or (Quality.CLOSE if value in CLOSES else Quality.TRADE)
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


def _no_market_data(columns: Iterable[str]) -> ReportUnreadable:
    names = ", ".join(sorted(columns)) or "no columns"
    return ReportUnreadable(
        "file", names, f"market data: a time ({', '.join(TIMES)}) and one of close, price, funding_rate"
    )


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
    return instant(str(value), field).at


def _lines(path: Path) -> list[Line]:
    """Return the file's lines as dicts by column, each with its number."""
    if decoding.starts_with(path, PARQUET):
        return _parquet(path)
    try:
        with decoding.opened(path) as (members, _):
            return [line for member in members for line in _of_text(decoding.as_utf8(member.stream))]
    except (UnicodeDecodeError, ValueError, RecursionError, *decoding.BROKEN) as error:
        if isinstance(error, InvalidInput):
            raise
        raise ReportUnreadable("file", path.name, f"market data as CSV, JSON or Parquet ({error})") from error


def _of_text(stream: BinaryIO) -> Iterator[Line]:
    start = stream.peek(64)[:64].lstrip()  # type: ignore[attr-defined]
    if start[:1] in (b"[", b"{"):
        yield from enumerate(_json(stream.read().decode()), 1)
        return
    lines = Lines(stream)
    found = _header(lines)
    if found is None:
        return
    columns, delimiter = found
    if not (set(columns) & set(TIMES) and set(columns) & {*RATES, *CLOSES, *PRICES}):
        raise _no_market_data(columns)
    for record in records(lines, delimiter, len(columns), least=1):
        if isinstance(record, Unreadable):
            yield record.line, {}
        else:
            yield record.line, dict(zip(columns, record.fields, strict=True))


def _header(lines: Lines) -> tuple[list[str], str] | None:
    """Read up to the header, or to the first candle where there is none. Return columns and delimiter."""
    first: tuple[list[str], str] | None = None
    for line in islice(lines, HEADER_LINES_MAX):
        if not line.content.strip():
            continue
        delimiter = max(",;\t|", key=lambda sign: line.content.count(sign.encode()))
        fields = fields_of(line.content, delimiter)
        columns = [_column(field) for field in fields]
        if set(columns) & set(TIMES) and set(columns) & {*RATES, *CLOSES, *PRICES}:
            return columns, delimiter
        if len(fields) >= len(OHLCV) and _EPOCH.fullmatch(fields[0].strip()):
            lines.put_back([line])
            return [*OHLCV, *(f"column {at}" for at in range(len(OHLCV), len(fields)))], delimiter
        if first is None or len(columns) > len(first[0]):
            first = columns, delimiter
    return first


def _column(header: str) -> str:
    return "_".join(header.strip().strip('"').replace("\ufeff", "").casefold().split())


def _parquet(path: Path) -> list[Line]:
    """Return the rows of a Parquet file; its times are in UTC."""
    from pyarrow import ArrowException, parquet  # noqa: PLC0415 (only files of this kind need it)

    found: list[Line] = []
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches():
                for row in batch.to_pylist():
                    found.append((len(found) + 1, {_column(name): _cell(value) for name, value in row.items()}))
    except (ArrowException, OSError, ValueError) as error:
        raise ReportUnreadable("file", path.name, f"market data as Parquet ({error})") from error
    return found


def _cell(value: object) -> str:
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC).isoformat()
    return repr(value) if isinstance(value, float) else str(value)


def _json(text: str) -> Iterator[dict[str, Any]]:
    found = json.loads(text, parse_float=str, parse_constant=str)
    for row in found if isinstance(found, list) else [found]:
        if isinstance(row, list):
            yield dict(zip(OHLCV, row, strict=False))
        elif isinstance(row, dict):
            yield row
        else:
            raise ReportUnreadable("file", row, "a list of objects, or of candles as lists")
