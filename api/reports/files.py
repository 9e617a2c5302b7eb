"""Write the rows of a report as CSV, JSON or Parquet, as a stream.

CSV is RFC 4180 with a header, decimals in plain notation, times ISO 8601, lists and objects as JSON, formulas made text
by an apostrophe (`csv_cell` of `api/encoding.py`). JSON is one object whose `items` are one a line. Parquet has
decimal128(38, 18), which holds every amount below 1e20 with 18 places; other places are set with `decimals`, and a
value that does not fit stops the export and is named: nothing is rounded. Amounts by currency are maps, times are UTC
to the microsecond, lists and objects JSON. Rows are written in groups, so memory stays flat; the same rows give the
same bytes.
"""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from enum import StrEnum
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO

from api.encoding import csv_cell, plain
from api.problems import Problem
from api.reports.catalog import Report
from projections.storage.tables import AnyRow

if TYPE_CHECKING:
    import pyarrow as pa

GROUP_ROWS = 50_000
PRECISION = 38  # of decimal128


class Shape(StrEnum):
    """What a column of an exported file holds."""

    NUMBER = "number"
    WHOLE = "whole"
    YES_NO = "yes_no"
    TIME = "time"
    AMOUNTS = "amounts"
    TEXT = "text"
    JSON = "json"


def shapes_of(report: Report) -> dict[str, Shape]:
    """Return what each column holds, from its JSON schema in the API."""
    properties = report.shape.model_json_schema()["properties"]
    return {name: _shape(properties[name]) for name in report.columns}


def _shape(schema: Mapping[str, Any]) -> Shape:
    of = next(part for part in schema.get("anyOf", [schema]) if part.get("type") != "null")
    match of.get("type"):
        case "string":
            is_number = "pattern" in of
            return Shape.NUMBER if is_number else Shape.TIME if of.get("format") == "date-time" else Shape.TEXT
        case "integer":
            return Shape.WHOLE
        case "boolean":
            return Shape.YES_NO
        case "object" if isinstance(of.get("additionalProperties"), dict):
            return Shape.AMOUNTS
        case _:
            return Shape.JSON


def write_csv(report: Report, rows: Iterable[AnyRow], out: BinaryIO, *, newline: str = "\r\n") -> int:
    """Write rows with a header; return how many there were."""
    columns, count = report.columns, 0
    text = io.TextIOWrapper(out, encoding="utf-8", newline="")
    writer = csv.writer(text, lineterminator=newline)
    writer.writerow(columns)
    for count, row in enumerate(rows, 1):  # noqa: B007 (it is returned)
        writer.writerow([_cell(row.get(column)) for column in columns])
    text.detach()  # flushes, and leaves the file open
    return count


def write_json(report: Report, rows: Iterable[AnyRow], out: BinaryIO, about: Mapping[str, Any]) -> int:
    """Write `about`, the items one a line, and the totals, if any; return how many items there were."""
    columns, kept, count = report.columns, [], 0
    head = ", ".join(f'"{name}": {json_text(value)}' for name, value in about.items())
    out.write(f'{{{head}, "items": ['.encode())
    for count, row in enumerate(rows, 1):
        item = ", ".join(f'"{name}": {json_text(row[name])}' for name in columns)
        out.write(f"{',' if count > 1 else ''}\n{{{item}}}".encode())
        if report.totals is not None:
            kept.append(row)
    out.write(b"\n]")
    if report.totals is not None:
        out.write(f', "totals": {json_text(report.totals(kept))}'.encode())
    out.write(b"}\n")
    return count


def json_text(value: Any) -> str:
    """Return JSON as PostgreSQL writes jsonb: members by length, then by code; equal values have equal text."""
    return json.dumps(_ordered(plain(value)), ensure_ascii=False)


def _ordered(value: Any) -> Any:
    match value:
        case dict():
            return {name: _ordered(value[name]) for name in sorted(value, key=lambda name: (len(name.encode()), name))}
        case list():
            return [_ordered(part) for part in value]
        case _:
            return value


def _cell(value: Any) -> str:
    shown = plain(value)
    if shown is None:
        return ""
    return csv_cell(shown if isinstance(shown, str) else json_text(shown))


def write_parquet(
    report: Report, batches: Iterable["pa.RecordBatch"], out: BinaryIO, *, decimals: int, about: Mapping[str, str]
) -> int:
    """Write batches of any size as row groups of GROUP_ROWS, `about` as metadata; return how many rows there were."""
    import pyarrow.parquet as pq  # noqa: PLC0415 (0.3 s, only where needed)

    schema = _schema(columns_of(report, decimals)).with_metadata(
        {f"daybook.{name}": value for name, value in about.items()}
    )
    count = 0
    with pq.ParquetWriter(out, schema, compression="zstd", version="2.6") as writer:
        for group in _regrouped(batches, schema):
            writer.write_table(group, row_group_size=GROUP_ROWS)
            count += len(group)
    return count


def batches_of(report: Report, rows: Iterable[AnyRow], decimals: int) -> Iterator["pa.RecordBatch"]:
    """Yield rows as Arrow batches. Raises Problem for a value that does not fit its column."""
    columns, before = columns_of(report, decimals), 0
    schema = _schema(columns)
    for group in _groups(rows):
        yield _batch(columns, schema, group, before)
        before += len(group)


def _regrouped(batches: Iterable["pa.RecordBatch"], schema: "pa.Schema") -> Iterator["pa.Table"]:
    import pyarrow as pa  # noqa: PLC0415

    waiting: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        waiting.append(batch)
        rows += len(batch)
        while rows >= GROUP_ROWS:
            table = pa.Table.from_batches(waiting)
            yield table.slice(0, GROUP_ROWS).combine_chunks().replace_schema_metadata(schema.metadata)
            waiting = table.slice(GROUP_ROWS).to_batches()
            rows -= GROUP_ROWS
    if rows:
        yield pa.Table.from_batches(waiting).combine_chunks().replace_schema_metadata(schema.metadata)


def _groups(rows: Iterable[AnyRow]) -> Iterator[list[AnyRow]]:
    remaining = iter(rows)
    while group := list(islice(remaining, GROUP_ROWS)):
        yield group


Convert = Callable[[Any], Any]


def columns_of(report: Report, decimals: int) -> dict[str, tuple["pa.DataType", Convert | None]]:
    """Return each column's Arrow type, and the conversion of a value to it, if it needs one."""
    import pyarrow as pa  # noqa: PLC0415

    number = pa.decimal128(PRECISION, decimals)
    types: dict[Shape, tuple[pa.DataType, Convert | None]] = {
        Shape.NUMBER: (number, None),
        Shape.WHOLE: (pa.int64(), None),
        Shape.YES_NO: (pa.bool_(), None),
        Shape.TIME: (pa.timestamp("us", tz="UTC"), None),
        Shape.AMOUNTS: (pa.map_(pa.string(), number), lambda amounts: sorted(amounts.items())),
        Shape.TEXT: (pa.string(), str),
        Shape.JSON: (pa.string(), json_text),
    }
    return {name: types[shape] for name, shape in shapes_of(report).items()}


def _schema(columns: Mapping[str, tuple["pa.DataType", Convert | None]]) -> "pa.Schema":
    import pyarrow as pa  # noqa: PLC0415

    return pa.schema([pa.field(name, type_) for name, (type_, _) in columns.items()])


def _batch(
    columns: Mapping[str, tuple["pa.DataType", Convert | None]], schema: "pa.Schema", group: list[AnyRow], before: int
) -> "pa.RecordBatch":
    import pyarrow as pa  # noqa: PLC0415

    arrays = []
    for name, (type_, convert) in columns.items():
        values = [row[name] for row in group]
        if convert is not None:
            values = [None if value is None else convert(value) for value in values]
        try:
            arrays.append(pa.array(values, type=type_))
        except pa.ArrowInvalid as error:
            raise _too_long(name, type_, values, before) from error
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _too_long(name: str, type_: "pa.DataType", values: list[Any], before: int) -> Problem:
    """Return a problem that names the value."""
    import pyarrow as pa  # noqa: PLC0415

    number, bad = before, None
    for number, bad in enumerate(values, before + 1):  # noqa: B007
        try:
            pa.array([bad], type=type_)
        except pa.ArrowInvalid:
            break
    shown = f"{bad:f}" if isinstance(bad, Decimal) else str(bad)
    return Problem(
        409, "does-not-fit", "Value does not fit",
        f"row {number}: {name} {shown} does not fit {type_}; choose other decimals, or CSV, which has every digit",
        column=name, row=number, value=shown,
    )  # fmt: skip
