"""Rows of read models out of PostgreSQL as CSV text, by COPY, without a Python object for each value.

Only live tables can be copied; a past moment is read row by row.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import sqlalchemy as sa

from projections.storage.tables import POSITION

COLUMN_OF = {"day": "value_date"}


class CopyOut(NamedTuple):
    """A copy of a table, or of the `relation` selected from it: its sorting, and the columns it can be filtered by."""

    table: sa.Table
    sorted_by: str
    filters: tuple[str, ...] = POSITION
    relation: str = "SELECT * FROM {entries}"


class CopiedText(io.RawIOBase):
    """The text of a COPY as a file."""

    def __init__(self, parts: Iterator[memoryview]) -> None:
        self._parts = parts
        self._left = memoryview(b"")

    def is_empty(self) -> bool:
        """Whether there is no text left."""
        if not self._left:
            self._left = next(self._parts, self._left)
        return not self._left

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """Return at most `size` bytes; fewer only at the end."""
        found = bytearray(self._left)
        while size < 0 or len(found) < size:
            part = next(self._parts, None)
            if part is None:
                break
            found += part
        if size < 0:
            size = len(found)
        self._left = memoryview(bytes(found[size:]))
        return bytes(found[:size])


@contextmanager
def copied_text(
    source: sa.Connection, copy: CopyOut, columns: Sequence[str], wanted: Mapping[str, Any]
) -> Iterator[CopiedText]:
    """Yield the columns of the rows with the wanted values, as CSV without a header; times are in UTC."""
    source.execute(sa.text("SET LOCAL TimeZone = 'UTC'"))  # Arrow reads 2026-01-02 03:04:05.678+00
    source.execute(sa.text("SET LOCAL DateStyle = 'ISO'"))
    driver: Any = source.connection.driver_connection
    with driver.cursor() as cursor, cursor.copy(_statement(source, copy, columns, wanted), wanted) as parts:
        yield CopiedText(iter(parts))


def _statement(source: sa.Connection, copy: CopyOut, columns: Sequence[str], wanted: Mapping[str, Any]) -> str:
    selected = ", ".join(f'"{name}"' for name in columns)
    placed: Mapping[str | None, str] = source.get_execution_options().get("schema_translate_map") or {}
    schema = placed.get(copy.table.schema) or copy.table.schema
    relation = copy.relation.format(entries=f'"{schema}".{copy.table.name}')
    where = " AND ".join(f"{COLUMN_OF.get(name, name)} = %({name})s" for name in wanted) or "true"
    return (
        f"COPY (SELECT {selected} FROM ({relation}) AS copied WHERE {where} ORDER BY {copy.sorted_by})"  # noqa: S608 (our own names)
        " TO STDOUT (FORMAT CSV)"
    )
