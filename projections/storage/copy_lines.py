"""Rows as the CSV lines that COPY reads, and a digest of a set of rows.

A line is the row's values, as they are stored, in a JSON array without its brackets: COPY reads it as CSV whose escape
is the backslash and whose NULL is `null`. A row stored and read again gives the same line. The digest of a set of rows
is the sum, modulo 2**256, of the SHA-256 of each table's name and line: rows are added and removed one by one, in any
order, and the sum is that of the rows in the set.
"""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from operator import itemgetter
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import JSONB

COPY = "COPY {} ({}) FROM STDIN (FORMAT csv, NULL 'null', QUOTE '\"', ESCAPE '\\')"
MODULUS = 1 << 256
DIGEST_BYTES = 32

_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]
_ENCODER = msgspec.json.Encoder(order="deterministic")
_ENCODE, _ENCODE_LINES = _ENCODER.encode, _ENCODER.encode_lines
_NEGATIVE_ZERO = re.compile(rb'"-0(\.0*)?(E-?[0-9]+)?"')
_ESCAPED = re.compile(rb'\\[^\\"]')  # a backslash before anything else, perhaps itself escaped

Write = Callable[[Any], Any]


class Sum(NamedTuple):
    """The digest of a set of rows, as a number, and the number of rows."""

    total: int = 0
    rows: int = 0

    @property
    def digest(self) -> bytes:
        """The sum as it is stored."""
        return self.total.to_bytes(DIGEST_BYTES)


def sum_of(digest: bytes, rows: int) -> Sum:
    """Return the sum of a stored digest."""
    return Sum(int.from_bytes(digest), rows)


class Lines:
    """Formats the rows of one table."""

    def __init__(self, table: sa.Table) -> None:
        names = [column.name for column in table.columns]
        get = itemgetter(*names)
        self._values: Callable[[Mapping[str, Any]], tuple[Any, ...]] = (
            get if len(names) > 1 else lambda row: (get(row),)
        )
        self._name = f"{table.name}\n".encode()
        self._bound = [
            (place, _bound(column.type))
            for place, column in enumerate(table.columns)
            if isinstance(column.type, JSONB | sa.types.TypeDecorator)
        ]
        self._stored = [
            (place, _json)
            for place, column in enumerate(table.columns)
            if isinstance(column.type, JSONB)
            or (isinstance(column.type, sa.types.TypeDecorator) and isinstance(column.type.impl, JSONB))
        ]

    def values(self, row: Mapping[str, Any]) -> Sequence[Any]:
        """Return the values of a line, by column, of a row as folds have it."""
        values = self._values(row)
        return _written(values, self._bound) if self._bound else values

    def stored(self, values: Sequence[Any]) -> Sequence[Any]:
        """Return the values of a line, by column, of a row's values as the driver reads them."""
        return _written(values, self._stored) if self._stored else values

    def of(self, row: Mapping[str, Any]) -> bytes:
        """Return the line of a row as folds have it."""
        return text_of([self.values(row)])

    def of_stored(self, values: Sequence[Any]) -> bytes:
        """Return the line of a row's values, by column, as the driver reads them."""
        return text_of([self.stored(values)])

    def hash(self, line: bytes) -> int:
        """Return the number that the row of this line adds to a digest."""
        return int.from_bytes(hashlib.sha256(self._name + line).digest())


def _written(values: Sequence[Any], writes: Sequence[tuple[int, Write]]) -> list[Any]:
    written = list(values)
    for place, write in writes:
        written[place] = write(written[place])
    return written


def text_of(rows: Sequence[Sequence[Any]]) -> bytes:
    """Return the lines of rows, given by their values, separated by line feeds: no line contains one."""
    text = _ENCODE_LINES(rows)
    if b"E+" in text or (b'"-0' in text and _NEGATIVE_ZERO.search(text)):
        plain = [[_plain(value) if isinstance(value, Decimal) else value for value in values] for values in rows]
        text = _ENCODE_LINES(plain)
    return text[1:-2].replace(b"]\n[", b"\n")


def copied(text: bytes) -> bytes:
    """Return lines as COPY reads them: CSV escapes quotes and backslashes only, all else stands for itself."""
    if b"\\" in text and _ESCAPED.search(text):
        return b"\n".join(map(_fields, text.split(b"\n"))) + b"\n"
    return text + b"\n"


def _fields(line: bytes) -> bytes:
    return b",".join(map(_field, msgspec.json.decode(b"[" + line + b"]")))


def _field(value: Any) -> bytes:
    if isinstance(value, str):
        return b'"' + value.replace("\\", "\\\\").replace('"', '\\"').encode() + b'"'
    return _ENCODE(value)


def _plain(number: Decimal) -> Decimal:
    """Return the number as PostgreSQL returns it: without exponent above zero, without negative zero."""
    whole = Decimal(format(number, "f"))
    return whole or whole.copy_abs()


def _json(value: Any) -> str | None:
    return None if value is None else _ENCODE(value).decode()


def _bound(type_: sa.types.TypeEngine[Any]) -> Write:
    """Return the conversion of a row's value to its stored form."""
    if not isinstance(type_, sa.types.TypeDecorator):
        return _json
    bind = type_.process_bind_param
    if isinstance(type_.impl, JSONB):
        return lambda value: _ENCODE(bind(value, _DIALECT)).decode() if value else "{}"
    return lambda value: bind(value, _DIALECT)
