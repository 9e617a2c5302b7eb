"""Values as JSON and CSV. Decimals are text in plain notation, times ISO 8601 in UTC; nothing is rounded."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any

import msgspec

from domain.values import exact

_ENCODER = msgspec.json.Encoder()


def decimal_text(value: Decimal) -> str:
    """Return the exact number in plain notation: no exponent, no trailing zeros."""
    return format(exact(value), "f")


def grouped(value: Decimal) -> str:
    """Return the exact number with its thousands grouped by commas."""
    return f"{exact(value):,f}"


def time_text(value: datetime) -> str:
    """Return the time as ISO 8601 in UTC, to the microsecond where there are any."""
    return value.isoformat().replace("+00:00", "Z")


def plain(value: Any) -> Any:
    """Return the value in the types of JSON: text, integers, booleans, null, lists, objects."""
    match value:
        case None | bool() | int():
            return value
        case Enum():
            return value.value
        case str():
            return value
        case Decimal():
            return decimal_text(value)
        case datetime():
            return time_text(value)
        case date():
            return value.isoformat()
        case msgspec.Struct():
            return {field: plain(getattr(value, field)) for field in value.__struct_fields__}
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}
        case frozenset():
            return sorted(plain(item) for item in value)
        case Iterable():
            return [plain(item) for item in value]
        case _:
            raise TypeError(f"no JSON for {type(value).__name__}")


def encoded(value: Any) -> bytes:
    """Return the value as JSON bytes."""
    return _ENCODER.encode(plain(value))


def csv_text(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Return rows as RFC 4180, a header first; absent values are empty, lists and objects JSON."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(row.get(column)) for column in columns])
    return out.getvalue()


def _cell(value: Any) -> str:
    shown = plain(value)
    if shown is None:
        return ""
    return shown if isinstance(shown, str) else encoded(shown).decode()
