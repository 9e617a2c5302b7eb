"""Texts of JSON: an array of objects, or an object a line, one at a time.

What programs that use the `ccxt` library keep of `fetch_my_trades`, `fetch_ledger` and `fetch_funding_history` is read
here. Numbers that were floating-point numbers are repaired: an exact text of the same number in the raw answer of the
venue (`info`) is used, else the shortest decimal that is the same number.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, BinaryIO

import msgspec

from adapters.exchanges import Unreadable
from adapters.exchanges.files.decoding import start_of
from adapters.exchanges.files.facts import Fact, Source
from adapters.exchanges.files.numbers import repaired
from adapters.exchanges.files.records import shortened, verbatim
from adapters.exchanges.files.times import UTC_CLOCK, instant
from domain import values
from domain.errors import InvalidInput, ReportUnreadable

ITEM_BYTES_MAX = 262_144
CHUNK_BYTES = 65_536
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|["{}\[\]\n]', re.DOTALL)
_NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?", re.ASCII)


class Item:
    """One object of a text, its place and its raw text; numbers in it are texts as they were written."""

    __slots__ = ("line", "now", "raw", "value")

    def __init__(self, now: datetime, line: int, raw: str, value: dict[str, Any]) -> None:
        self.now = now
        self.line = line
        self.raw = raw
        self.value = value

    @property
    def info(self) -> dict[str, Any]:
        """The raw answer of the venue."""
        found = self.value.get("info")
        return found if isinstance(found, dict) else {}

    def text(self, name: str) -> str:
        """Return a value as text; "" where there is none."""
        found = self.value.get(name)
        return "" if found is None else str(found)

    def number(self, value: object, name: str) -> Decimal:
        """Return a number, exact where the raw answer has it exact. Raises InvalidInput."""
        text = str(value)
        if not _NUMBER.fullmatch(text):
            return values.number(text, name)
        short = repaired(text)
        if isinstance(value, Written) and short != text:
            exact = next((each for each in _texts(self.info) if _is_same(each, text)), short)
            return values.number(exact, name)
        return values.number(short, name)

    @property
    def source(self) -> Source:
        """The item as the source of a fact. Raises InvalidInput."""
        text = self.text("timestamp") or self.text("datetime")
        at, nanos = instant(text, "timestamp", UTC_CLOCK, now=self.now)
        return Source(self.line, self.raw, at, nanos)


class Written(str):
    """A number of JSON, as it was written."""

    __slots__ = ()


_DECODER = msgspec.json.Decoder(float_hook=Written)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)
    elif isinstance(value, str) and not isinstance(value, Written):
        yield value


def _is_same(text: str, other: str) -> bool:
    try:
        return bool(_NUMBER.fullmatch(text)) and abs(float(text)) == abs(float(other))
    except (ValueError, OverflowError):
        return False


def begins_as_json(stream: BinaryIO) -> bool:
    """Whether a text is JSON: its first sign opens an array or an object."""
    return start_of(stream)[:1] in (b"[", b"{")


def items(stream: BinaryIO, now: datetime) -> Iterator[Item | Unreadable]:
    """Yield the objects of a text one at a time; what is none as Unreadable."""
    for line, content in _pieces(stream):
        try:
            if len(content) > ITEM_BYTES_MAX:
                raise ReportUnreadable("object", f"{len(content)} bytes", f"at most {ITEM_BYTES_MAX} bytes long")
            value = _value(content)
            if not isinstance(value, dict):
                raise ReportUnreadable("object", verbatim(content), "an object")
        except InvalidInput as error:
            yield Unreadable(line, verbatim(content), shortened(error))
            continue
        yield Item(now, line, verbatim(content), value)


def _value(content: bytes) -> Any:
    """Parse JSON, its numbers as the texts that they were written as. Raises ReportUnreadable."""
    try:
        return _marked(_DECODER.decode(content))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ReportUnreadable("object", verbatim(content), f"JSON ({error})") from error


def _marked(value: Any) -> Any:
    """Return a value whose whole numbers are marked as numbers, as those with a point are by the decoder."""
    if isinstance(value, dict):
        return {key: _marked(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_marked(each) for each in value]
    return Written(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _pieces(stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield the bytes of each object of the outermost array, or of each object that stands alone, with its line."""
    rest, place, is_end = b"", 0, False
    depth, line, start, start_line = 0, 1, -1, 1
    is_array: bool | None = None
    while not is_end:
        chunk = stream.read(CHUNK_BYTES)
        rest, is_end = rest + chunk, not chunk
        for token in _TOKEN.finditer(rest, place):
            sign = token[0]
            if sign == b'"':  # of a text that goes on in the next chunk
                place = token.start()
                break
            place = token.end()
            line += sign.count(b"\n")
            if sign in (b"{", b"["):
                if is_array is None:
                    is_array = sign == b"["
                    if is_array:
                        continue
                if depth == 0:
                    start, start_line = token.start(), line
                depth += 1
            elif sign in (b"}", b"]") and depth:
                depth -= 1
                if depth == 0:
                    yield start_line, rest[start : token.end()]
                    start = -1
        keep = place if start < 0 else start
        if len(rest) - keep > 4 * ITEM_BYTES_MAX:
            raise ReportUnreadable("file", f"line {start_line}", f"JSON with objects of at most {ITEM_BYTES_MAX} bytes")
        rest, place, start = rest[keep:], place - keep, min(start, 0)
    if start == 0:
        yield start_line, rest


def facts(found: Iterator[Item | Unreadable], read: Callable[[Item], Sequence[Fact]]) -> Iterator[Fact | Unreadable]:
    """Yield what the objects of a text say."""
    for item in found:
        if isinstance(item, Unreadable):
            yield item
            continue
        try:
            facts_ = read(item)
        except InvalidInput as error:
            yield Unreadable(item.line, item.raw, shortened(error))
            continue
        yield from facts_
