"""Records of a text with separated columns: fields, line numbers and raw text; a bad line spoils no other.

A line is at most 64 KiB long. A quotation may go over several lines where it is closed again within the next ones and
the record then has the columns of the header; otherwise only the line that opens it is bad. Lines that are no UTF-8
are read as Latin-1 (Windows-1252) where their bytes are letters or signs that people write in it.
"""

import csv
from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

from adapters.exchanges import Unreadable
from domain.errors import InvalidInput, ReportUnreadable

LINE_BYTES_MAX = 65_536
QUOTED_LINES_MAX = 100
VALUE_SHOWN_MAX = 120
_LATIN = frozenset([0x80, 0x91, 0x92, 0x93, 0x94, 0x96, 0x97, *range(0xA0, 0xFE)]) - {0xD0, 0xF0, 0xDE}


class Readable(Protocol):
    """A stream of lines."""

    def readline(self, size: int = -1, /) -> bytes:
        """Return the next line, at most `size` bytes of it; nothing at the end."""


class Line(NamedTuple):
    """A line with its end, as bytes, and its number from 1."""

    number: int
    content: bytes


class Record(NamedTuple):
    """A record: the number of its first line, its text, its fields, and whether its line has an end."""

    line: int
    raw: str
    fields: list[str]
    is_ended: bool = True


class LineTable(NamedTuple):
    """Lines that hold a table: the name of their text, the lines, and how they are opened once more."""

    name: str
    lines: "Lines"
    again: Callable[[], Iterator["Lines"]]


class Lines:
    """The lines of a stream, of overlong ones the first bytes. Lines can be put back."""

    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        self._ahead: deque[Line] = deque()
        self._number = 0

    def __iter__(self) -> Iterator[Line]:
        return iter(self.next, None)

    def next(self) -> Line | None:
        """Return the next line; None at the end."""
        if self._ahead:
            return self._ahead.popleft()
        content = rest = self._stream.readline(LINE_BYTES_MAX + 1)
        if not content:
            return None
        while len(rest) > LINE_BYTES_MAX and not rest.endswith(b"\n"):
            rest = self._stream.readline(LINE_BYTES_MAX + 1)
        self._number += 1
        return Line(self._number, content)

    def put_back(self, lines: list[Line]) -> None:
        """Have lines returned again, in this order, before all others."""
        self._ahead.extendleft(reversed(lines))


def records(lines: Lines, delimiter: str, width: int, least: int = 0) -> Iterator[Record | Unreadable]:
    """Yield the records of `width` columns; lines that are none as Unreadable. Blank lines are no records.

    Columns behind the first `least` ones may be missing where a line ends; without it, none may.
    """
    for line in lines:
        if line.content.strip():
            yield _record(line, lines, delimiter=delimiter, width=width, least=least or width)


def _record(line: Line, lines: Lines, *, delimiter: str, width: int, least: int) -> Record | Unreadable:
    content = line.content
    if content.count(b'"') % 2:
        content = _closed(line, lines, delimiter=delimiter, width=width)
    raw = verbatim(content)
    try:
        fields = fields_of(content, delimiter)
        if len(fields) != width:
            fields = _fitted(fields, width, least if content.endswith(b"\n") else width)
    except InvalidInput as error:
        return Unreadable(line.number, raw, shortened(error))
    return Record(line.number, raw, fields, content.endswith(b"\n"))


def _closed(line: Line, lines: Lines, *, delimiter: str, width: int) -> bytes:
    """Return a line with those that its open quotation goes on in; the line alone if that makes no record."""
    content, ahead = line.content, list[Line]()
    while content.count(b'"') % 2 and len(ahead) < QUOTED_LINES_MAX and len(content) <= LINE_BYTES_MAX:
        following = lines.next()
        if following is None:
            break
        ahead.append(following)
        content += following.content
    if content.count(b'"') % 2 == 0:
        try:
            if len(fields_of(content, delimiter)) == width:
                return content
        except InvalidInput:
            pass
    lines.put_back(ahead)
    return line.content


def _fitted(fields: list[str], width: int, least: int) -> list[str]:
    """Return fields without empty ones behind the last column, and with those left out. Raises ReportUnreadable."""
    if least <= len(fields) < width:
        return fields + [""] * (width - len(fields))
    kept = len(fields)
    while kept > width and not fields[kept - 1].strip():
        kept -= 1
    if kept != width:
        raise ReportUnreadable("columns", len(fields), f"the {width} columns of the header")
    return fields[:kept]


def fields_of(content: bytes, delimiter: str) -> list[str]:
    """Split a line into fields. Raises InvalidInput."""
    if len(content) > LINE_BYTES_MAX:
        raise ReportUnreadable("line", f"{len(content)} bytes and more", f"at most {LINE_BYTES_MAX} bytes long")
    text = decoded(content).removesuffix("\n").removesuffix("\r")
    if "\0" in text:
        raise ReportUnreadable("line", "\0", f"text without NUL (at character {text.index(chr(0)) + 1})")
    if '"' not in text and "\r" not in text:
        return text.split(delimiter)
    try:
        (fields,) = csv.reader([text], strict=True, delimiter=delimiter)
    except (csv.Error, ValueError) as error:
        raise ReportUnreadable("line", text, f"one CSV record ({error})") from error
    return fields


def decoded(content: bytes) -> str:
    """Decode a line: UTF-8, else Latin-1 where it is text in it. Raises ReportUnreadable."""
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        if _LATIN.issuperset(byte for byte in content if byte >= 0x80):
            return content.decode("cp1252")
        found = content[error.start : error.start + 8]
        raise ReportUnreadable("line", found, f"UTF-8 text (at byte {error.start + 1})") from error


def verbatim(content: bytes) -> str:
    """Return a line as it is; bytes that are no text are escaped, see `Unreadable`."""
    content = content[:LINE_BYTES_MAX].removesuffix(b"\n").removesuffix(b"\r")
    try:
        text = decoded(content)
    except InvalidInput:
        text = "\0"
    if "\0" not in text:
        return text
    return content.replace(b"\\", b"\\\\").decode(errors="backslashreplace").replace("\0", "\\x00")


def shortened(error: InvalidInput) -> InvalidInput:
    """Return the error with a long value truncated."""
    if not isinstance(error.value, str) or len(error.value) <= VALUE_SHOWN_MAX:
        return error
    return ReportUnreadable(error.field, f"{error.value[:VALUE_SHOWN_MAX]}…", error.rule)
