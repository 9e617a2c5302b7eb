"""Trade histories exported by exchanges: CSV files, one fill per line, context layout is recognised by the header.

A file is streamed line by line, so its size does not matter, and each line is parsed on its own: an unclosed quote or a
line of ten megabytes affects only that line. Values are parsed by `domain.values`; a line that breaks a rule is yielded
as `Unreadable` with the field and the rule. To support another layout, add an entry to `LAYOUTS`.
"""

import codecs
import csv
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self, TypeVar

from adapters.exchanges import Unreadable
from adapters.exchanges.binance import BINANCE, BINANCE_SPOT, binance_spot
from domain import values
from domain.errors import InvalidInput, ReportUnreadable
from domain.instrument import ListInstrument
from domain.ledger import Report
from domain.order import OrderFilled, OrderKey
from domain.values import Liquidity, Money, Side

LINE_BYTES_MAX = 65_536
CURRENCIES_MAX = 256
VALUE_SHOWN_MAX = 120
QUOTE_STEP = Decimal("0.00000001")  # Binance truncates quote_qty to the places of its assets

Known = TypeVar("Known")
_WHOLE = re.compile(r"0|[1-9][0-9]{0,17}")
_CURRENCY = re.compile(r"[A-Z0-9]{1,16}")  # as this venue writes them
_SYMBOL = re.compile(r"[A-Z0-9]{2,32}")


class ImportContext(NamedTuple):
    """The account and strategy of a file's trades, and the current time: later trades are refused."""

    account_id: str
    strategy_id: str
    now: datetime


class Row(NamedTuple):
    """A parsed line: its number (the header is line 1), its text and its fill."""

    line: int
    raw: str
    fill: OrderFilled


class Layout(NamedTuple):
    """A file layout: its columns, and how a line is parsed to a fill."""

    name: str
    venue: str
    columns: tuple[str, ...]
    parse: Callable[[dict[str, str], ImportContext], OrderFilled]
    listing: Callable[[str], ListInstrument | None]
    symbols: Sequence[str]


def _binance_trade(row: dict[str, str], context: ImportContext) -> OrderFilled:
    """Parse a trade of a Binance account. Raises InvalidInput."""
    _whole(row["seq"], "seq")
    trade_id = _whole(row["trade_id"], "trade_id")
    transact_time = values.time(row["ts"], "ts", now=context.now)
    symbol = row["symbol"]
    if not _SYMBOL.fullmatch(symbol):
        raise ReportUnreadable("symbol", symbol, "a symbol of 2 to 32 capitals and digits")
    side = _one_of(row["side"], "side", {side.value: side for side in Side})
    price = values.positive(row["price"], "price")
    quantity = values.positive(row["qty"], "qty")
    quote_quantity = values.number(row["quote_qty"], "quote_qty")
    liquidity = _one_of(row["liquidity"], "liquidity", {"maker": Liquidity.MAKER, "taker": Liquidity.TAKER})
    fee = Money(values.number(row["fee"], "fee"), _currency(row["fee_currency"]))
    product = values.exact(price * quantity)
    if quote_quantity not in (product, values.exact(product - product % QUOTE_STEP)):
        raise ReportUnreadable("quote_qty", row["quote_qty"], f"price x qty, which is {product:f}")
    return OrderFilled(
        key=OrderKey(context.account_id, f"{symbol}-{trade_id}"),
        strategy_id=context.strategy_id,
        instrument_id=f"{symbol}.{BINANCE}",
        order_id="",
        side=side,
        exec_id=trade_id,
        trade_seq=int(trade_id),
        last_qty=quantity,
        last_px=price,
        commission=fee,
        liquidity=liquidity,
        transact_time=transact_time,
    )


def _whole(text: str, field: str) -> str:
    if not _WHOLE.fullmatch(text):
        raise ReportUnreadable(field, text, "a whole number of at most 18 digits, without leading zeros")
    return text


def _currency(text: str) -> str:
    if not _CURRENCY.fullmatch(text):
        raise ReportUnreadable("fee_currency", text, "a currency of 1 to 16 capitals and digits")
    return text


def _one_of(text: str, field: str, known: dict[str, Known]) -> Known:
    if text not in known:
        raise ReportUnreadable(field, text, " or ".join(known))
    return known[text]


LAYOUTS = (
    Layout(
        name="Binance trade history",
        venue=BINANCE,
        columns=(
            "seq",
            "trade_id",
            "ts",
            "symbol",
            "side",
            "price",
            "qty",
            "quote_qty",
            "liquidity",
            "fee",
            "fee_currency",
        ),
        parse=_binance_trade,
        listing=binance_spot,
        symbols=tuple(BINANCE_SPOT),
    ),
)


class CsvHistory:
    """A trade history in a file, as an Exchange. It can be read once; close it, or use it as a context.

    Raises InvalidInput at once if the file cannot be opened or its header is of no known layout.
    """

    def __init__(self, path: Path, context: ImportContext) -> None:
        self.path = path
        self._whose = context
        self.bytes_read = 0
        try:
            self._file = path.open("rb")
            self.bytes_total = path.stat().st_size
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise ReportUnreadable("file", str(path), f"a file that can be read ({reason})") from error
        try:
            self.layout, self._columns = self._read_header()
        except InvalidInput:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def venue(self) -> str:
        """Our code of the history's venue."""
        return self.layout.venue

    def instruments(self) -> Sequence[ListInstrument]:
        """Return the main instruments of the venue."""
        return [listed for symbol in self.layout.symbols if (listed := self.layout.listing(symbol)) is not None]

    def reports(self) -> Iterator[Report | Unreadable]:
        """Yield the fills in the file's sequence."""
        return (found.fill if isinstance(found, Row) else found for found in self.rows())

    def rows(self) -> Iterator[Row | Unreadable]:
        """Yield every line after the header that is not blank."""
        currencies = {"BNB"}
        for number, line in enumerate(iter(self._line, b""), 2):
            if not line.strip():
                continue
            raw = _text(line)
            try:
                fill = self.layout.parse(self._fields(line), self._whose)
                if not line.endswith(b"\n"):
                    _check_whole(fill.commission.currency, currencies)
            except InvalidInput as error:
                yield Unreadable(number, raw, _shortened(error))
                continue
            if len(currencies) < CURRENCIES_MAX:
                currencies.add(fill.commission.currency)
            yield Row(number, raw, fill)

    def _line(self) -> bytes:
        """Read the next line with its line end; of an overlong line the first bytes. Empty at the end of the file."""
        line = self._file.readline(LINE_BYTES_MAX + 1)
        self.bytes_read += len(line)
        rest = line
        while len(rest) > LINE_BYTES_MAX and not rest.endswith(b"\n"):
            rest = self._file.readline(LINE_BYTES_MAX + 1)
            self.bytes_read += len(rest)
        return line

    def _fields(self, line: bytes) -> dict[str, str]:
        fields = _split(line)
        if len(fields) != len(self._columns):
            raise ReportUnreadable("columns", len(fields), f"the {len(self._columns)} columns of the header")
        return dict(zip(self._columns, fields, strict=True))

    def _read_header(self) -> tuple[Layout, tuple[str, ...]]:
        """Read the header. Return the layout with these columns, and the columns as in this file, in any sequence."""
        line = self._line().removeprefix(codecs.BOM_UTF8)
        known = "; ".join(f"{layout.name} ({','.join(layout.columns)})" for layout in LAYOUTS)
        if not line.strip():
            raise ReportUnreadable("header", "", f"of a layout known here. Known: {known}")
        try:
            columns = tuple(field.strip() for field in _split(line))
        except InvalidInput as error:
            raise ReportUnreadable("header", _shortened(error).value, f"{error.rule}. Known: {known}") from error
        for layout in LAYOUTS:
            if sorted(columns) == sorted(layout.columns):
                return layout, columns
        nearest = max(LAYOUTS, key=lambda layout: len(set(layout.columns) & set(columns)))
        missing = [column for column in nearest.columns if column not in columns]
        unknown = [column for column in columns if column not in nearest.columns]
        repeated = sorted({column for column in columns if columns.count(column) > 1})
        found = [
            f"{what} {', '.join(repr(column[:40]) for column in which[:20])}"
            for what, which in (("missing", missing), ("unknown", unknown), ("repeated", repeated))
            if which
        ]
        rule = f"of a layout known here ({'; '.join(found)}). Known: {known}"
        raise ReportUnreadable("header", ",".join(columns)[:200], rule)


def _split(line: bytes) -> list[str]:
    """Split a line into fields. Raises InvalidInput."""
    if len(line) > LINE_BYTES_MAX:
        raise ReportUnreadable("line", f"{len(line)} bytes and more", f"at most {LINE_BYTES_MAX} bytes long")
    try:
        text = line.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        found = line[error.start : error.start + 8]
        raise ReportUnreadable("line", found, f"UTF-8 text (at byte {error.start + 1})") from error
    if "\0" in text:
        raise ReportUnreadable("line", "\0", f"text without NUL (at character {text.index(chr(0)) + 1})")
    try:
        (fields,) = csv.reader([text], strict=True)
    except (csv.Error, ValueError) as error:
        raise ReportUnreadable("line", text, f"one CSV record ({error})") from error
    return fields


def _check_whole(last_field: str, currencies: set[str]) -> None:
    """Refuse the last line of a file that was truncated in its last field: `BT` where other lines have `BTC`."""
    if last_field not in currencies and any(known.startswith(last_field) for known in currencies):
        raise ReportUnreadable("fee_currency", last_field, "whole: the file ends inside this line")


def _text(line: bytes) -> str:
    """Return the line as verbatim text; bytes that are no text are escaped, see `Unreadable`."""
    line = line[:LINE_BYTES_MAX].removesuffix(b"\n").removesuffix(b"\r")
    try:
        text = line.decode()
    except UnicodeDecodeError:
        text = "\0"
    if "\0" not in text:
        return text
    return line.replace(b"\\", b"\\\\").decode(errors="backslashreplace").replace("\0", "\\x00")


def _shortened(error: InvalidInput) -> InvalidInput:
    """Return the error with a long value truncated."""
    if not isinstance(error.value, str) or len(error.value) <= VALUE_SHOWN_MAX:
        return error
    return ReportUnreadable(error.field, f"{error.value[:VALUE_SHOWN_MAX]}…", error.rule)
