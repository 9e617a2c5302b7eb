"""Write the rows of a report as CSV, JSON or Parquet, as a stream.

CSV is RFC 4180 with a header and lines ended by a line feed, decimals in plain notation, times ISO 8601, lists and
objects as JSON, formulas made text by an apostrophe (`csv_cell` of `api/encoding.py`). JSON is one object whose rows
are one a line. Parquet has decimal128(38, 18), which holds every amount below 1e20 with 18 places; other places are set
with `decimals`, and a value that does not fit stops the export and is named: nothing is rounded. Amounts by currency
are maps, times are UTC to the microsecond, lists and objects JSON. Rows are written in groups, so memory stays flat;
the same rows give the same bytes.
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
from api.reports.catalog import CHANGE, Part, Report
from api.reports.contents import columns_of, shape_of
from projections.storage.tables import AnyRow

if TYPE_CHECKING:
    import pyarrow as pa

GROUP_ROWS = 50_000
PRECISION = 38  # of decimal128


class Shape(StrEnum):
    """What a column of a report holds."""

    NUMBER = "number"
    WHOLE = "whole"
    YES_NO = "yes_no"
    TIME = "time"
    DAY = "day"
    AMOUNTS = "amounts"
    TEXT = "text"
    JSON = "json"


Shapes = Mapping[str, Shape]


def shapes_of(report: Report, part: Part, *, has_change: bool = False) -> dict[str, Shape]:
    """Return what each column of a part holds, from its JSON schema in the API; with a first column for changes."""
    schema = shape_of(report, part).model_json_schema()
    parts = schema.get("$defs", {})
    shapes = {name: _shape(schema["properties"][name], parts) for name in columns_of(report, part)}
    return ({CHANGE: Shape.TEXT} if has_change else {}) | shapes


def _shape(schema: Mapping[str, Any], parts: Mapping[str, Any]) -> Shape:
    of = next(part for part in schema.get("anyOf", [schema]) if part.get("type") != "null")
    if "$ref" in of:
        of = parts[of["$ref"].rpartition("/")[2]]
        are_amounts = all(_shape(each, parts) is Shape.NUMBER for each in of["properties"].values())
        return Shape.AMOUNTS if are_amounts else Shape.JSON
    match of.get("type"):
        case "string" if "pattern" in of:
            return Shape.NUMBER
        case "string":
            return {"date-time": Shape.TIME, "date": Shape.DAY}.get(of.get("format", ""), Shape.TEXT)
        case "integer":
            return Shape.WHOLE
        case "boolean":
            return Shape.YES_NO
        case "object" if "pattern" in _dict(of.get("additionalProperties")):
            return Shape.AMOUNTS
        case _:
            return Shape.JSON


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def write_csv(shapes: Shapes, rows: Iterable[AnyRow], out: BinaryIO) -> int:
    """Write rows with a header; return how many there were."""
    columns, count = tuple(shapes), 0
    text = io.TextIOWrapper(out, encoding="utf-8", newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for count, row in enumerate(rows, 1):  # noqa: B007 (it is returned)
        writer.writerow([_cell(row.get(column)) for column in columns])
    text.detach()  # flushes, and leaves the file open
    return count


def write_json(about: Mapping[str, Any], parts: Iterable[tuple[Part, Shapes, Iterable[AnyRow]]], out: BinaryIO) -> None:
    """Write `about`, and each part's rows one a line; the one row of a single part as members of the object."""
    members = dict(about)
    listed = []
    for part, shapes, rows in parts:
        if part.is_single:
            for row in rows:
                members |= {name: row.get(name) for name in shapes}
        else:
            listed.append((part, shapes, rows))
    head = ", ".join(f'"{name}": {json_text(value)}' for name, value in members.items())
    out.write(f"{{{head}".encode())
    for part, shapes, rows in listed:
        out.write(f', "{part.name}": ['.encode())
        for number, row in enumerate(rows):
            item = ", ".join(f'"{name}": {json_text(row.get(name))}' for name in shapes)
            out.write(f"{',' if number else ''}\n{{{item}}}".encode())
        out.write(b"\n]")
    out.write(b"}\n")


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
    shapes: Shapes, batches: Iterable["pa.RecordBatch"], out: BinaryIO, *, decimals: int, about: Mapping[str, str]
) -> int:
    """Write batches of any size as row groups of GROUP_ROWS, `about` as metadata; return how many rows there were."""
    import pyarrow.parquet as pq  # noqa: PLC0415 (0.3 s, only where needed)

    schema = _schema(types_of(shapes, decimals)).with_metadata(
        {f"daybook.{name}": value for name, value in about.items()}
    )
    count = 0
    with pq.ParquetWriter(out, schema, compression="zstd", version="2.6") as writer:
        for group in _regrouped(batches, schema):
            writer.write_table(group, row_group_size=GROUP_ROWS)
            count += len(group)
    return count


def batches_of(shapes: Shapes, rows: Iterable[AnyRow], decimals: int) -> Iterator["pa.RecordBatch"]:
    """Yield rows as Arrow batches. Raises Problem for a value that does not fit its column."""
    columns, before = types_of(shapes, decimals), 0
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


def types_of(shapes: Shapes, decimals: int) -> dict[str, tuple["pa.DataType", Convert | None]]:
    """Return each column's Arrow type, and the conversion of a value to it, if it needs one."""
    import pyarrow as pa  # noqa: PLC0415

    number = pa.decimal128(PRECISION, decimals)
    types: dict[Shape, tuple[pa.DataType, Convert | None]] = {
        Shape.NUMBER: (number, None),
        Shape.WHOLE: (pa.int64(), None),
        Shape.YES_NO: (pa.bool_(), None),
        Shape.TIME: (pa.timestamp("us", tz="UTC"), None),
        Shape.DAY: (pa.date32(), None),
        Shape.AMOUNTS: (pa.map_(pa.string(), number), lambda amounts: sorted(amounts.items())),
        Shape.TEXT: (pa.string(), str),
        Shape.JSON: (pa.string(), json_text),
    }
    return {name: types[shape] for name, shape in shapes.items()}


def _schema(columns: Mapping[str, tuple["pa.DataType", Convert | None]]) -> "pa.Schema":
    import pyarrow as pa  # noqa: PLC0415

    return pa.schema([pa.field(name, type_) for name, (type_, _) in columns.items()])


def _batch(
    columns: Mapping[str, tuple["pa.DataType", Convert | None]], schema: "pa.Schema", group: list[AnyRow], before: int
) -> "pa.RecordBatch":
    import pyarrow as pa  # noqa: PLC0415

    arrays = []
    for name, (type_, convert) in columns.items():
        values = [row.get(name) for row in group]
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
