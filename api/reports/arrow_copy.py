"""Copying: the rows of a long report straight out of PostgreSQL into Arrow, without a Python object for each value.

COPY writes text, Arrow's reader makes decimals, times and texts of it: the same values, to the last digit, as
`Report.rows` gives, and in the same order. Only live tables can be copied; a past moment is read row by row.
"""

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa

from api.reports.catalog import Parameters, Report
from api.reports.files import columns_of
from projections.models import executions, journal, lots
from projections.storage.rows import Source

if TYPE_CHECKING:
    import pyarrow as pa

BLOCK_BYTES = 4 * 2**20

_LINES = (
    "SELECT e.*, l.ordinality AS line, l.value->>0 AS account, l.value->>1 AS asset,"
    " CASE WHEN l.value->>2 NOT LIKE '-%%' THEN l.value->>2 END AS debit,"
    " CASE WHEN l.value->>2 LIKE '-%%' THEN substr(l.value->>2, 2) END AS credit"
    " FROM {entries} AS e CROSS JOIN LATERAL jsonb_array_elements(e.lines) WITH ORDINALITY AS l"
)


class Copied(NamedTuple):
    """What is copied of a report: a table, how it is sorted, what it can be filtered by, what is selected of it."""

    table: sa.Table
    order: str
    filters: tuple[str, ...] = ("account_id", "strategy_id", "instrument_id")
    relation: str = "SELECT * FROM {entries}"


COPIED = {
    "executions": Copied(executions.executions, "booked_seq DESC"),
    "journal": Copied(
        journal.entries_table,
        ", ".join((*journal.CURSOR, "line")),
        ("account_id", "strategy_id", "instrument_id", "day"),
        _LINES,
    ),
    "lots": Copied(lots.lots_table, ", ".join(lots.OPENED)),
    "matches": Copied(lots.matches_table, ", ".join(lots.DISPOSED)),
}
COLUMN_OF = {"day": "value_date"}


def copied(name: str, report: Report, source: Source, asked: Parameters) -> Iterator["pa.RecordBatch"] | None:
    """The report's rows in batches of any size; None where it has to be read row by row. A value that does not fit
    raises pyarrow.ArrowInvalid.
    """
    what = COPIED.get(name)
    is_recosted = asked.method or asked.fee_policy or asked.occurred_by
    if what is None or type(source) is not sa.Connection or is_recosted or asked.limit is not None:
        return None
    wanted = {field: value for field in (*what.filters, "asset") if (value := getattr(asked, field)) is not None}
    if not wanted.keys() <= set(what.filters):
        return None
    return _batches(report, source, what, wanted, asked.decimals)


def _batches(
    report: Report, source: sa.Connection, what: Copied, wanted: Mapping[str, Any], decimals: int
) -> Iterator["pa.RecordBatch"]:
    from pyarrow import csv  # noqa: PLC0415 (for those who want it)

    types = {name: type_ for name, (type_, _) in columns_of(report, decimals).items()}
    with _copying(source, _statement(report, what, wanted, source), wanted) as text:
        if text.is_empty():
            return
        reader = csv.open_csv(
            text,
            csv.ReadOptions(block_size=BLOCK_BYTES, column_names=list(types), use_threads=False),
            csv.ParseOptions(newlines_in_values=True),
            csv.ConvertOptions(
                column_types=types, null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False,
                true_values=["t"], false_values=["f"],
            ),
        )  # fmt: skip
        yield from reader


def _statement(report: Report, what: Copied, wanted: Mapping[str, Any], source: sa.Connection) -> str:
    selected = ", ".join(f'"{name}"' for name in report.columns)
    placed: Mapping[str | None, str] = source.get_execution_options().get("schema_translate_map") or {}
    schema = placed.get(what.table.schema) or what.table.schema
    relation = what.relation.format(entries=f'"{schema}".{what.table.name}')
    where = " AND ".join(f"{COLUMN_OF.get(name, name)} = %({name})s" for name in wanted) or "true"
    return (
        f"COPY (SELECT {selected} FROM ({relation}) AS told WHERE {where} ORDER BY {what.order})"  # noqa: S608 (our own names)
        " TO STDOUT (FORMAT CSV)"
    )


@contextmanager
def _copying(source: sa.Connection, statement: str, wanted: Mapping[str, Any]) -> Iterator["_Text"]:
    source.execute(sa.text("SET LOCAL TimeZone = 'UTC'"))  # Arrow reads 2026-01-02 03:04:05.678+00
    source.execute(sa.text("SET LOCAL DateStyle = 'ISO'"))
    driver: Any = source.connection.driver_connection
    with driver.cursor() as cursor, cursor.copy(statement, wanted) as copy:
        yield _Text(iter(copy))


class _Text(io.RawIOBase):
    """A COPY as a file."""

    def __init__(self, parts: Iterator[memoryview]) -> None:
        self._parts = parts
        self._left = memoryview(b"")

    def is_empty(self) -> bool:
        """Whether nothing comes."""
        if not self._left:
            self._left = next(self._parts, self._left)
        return not self._left

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes; fewer only at the end."""
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
