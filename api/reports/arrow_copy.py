"""Arrow batches of a long report straight from PostgreSQL, without a Python object for each value.

COPY writes text, which Arrow's reader turns into decimals, times and texts: the same values, to the last digit, as
`Report.rows` gives, and in the same order. Only live tables can be copied; a past moment is read row by row.
"""

import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from api.reports.catalog import Parameters
from api.reports.files import Shapes, types_of
from projections.models import executions, journal, lots
from projections.storage.copy_out import CopyOut, copied_text
from projections.storage.rows import Source

if TYPE_CHECKING:
    import pyarrow as pa

BLOCK_BYTES = 4 * 2**20
COPIED = {
    "executions": executions.COPIED,
    "journal": journal.COPIED_LINES,
    "lots": lots.COPIED_LOTS,
}


def copied(name: str, shapes: Shapes, source: Source, parameters: Parameters) -> Iterator["pa.RecordBatch"] | None:
    """Return the report's rows in batches of any size; None where it has to be read row by row.

    A value that does not fit raises pyarrow.ArrowInvalid.
    """
    what = COPIED.get(name)
    is_recosted = parameters.method or parameters.fee_policy or parameters.occurred_by
    is_part = parameters.limit is not None or parameters.since_seq is not None
    if what is None or type(source) is not sa.Connection or is_recosted or is_part:
        return None
    where = parameters.where._asdict()
    if what.table is executions.executions and executions.restatements(source, **where):
        return None  # effects are costed again when they are read
    wanted = {field: value for field in (*what.filters, "asset") if (value := getattr(parameters, field)) is not None}
    if not wanted.keys() <= set(what.filters):
        return None
    return _batches(shapes, source, what, wanted, decimals=parameters.decimals)


def _batches(
    shapes: Shapes, source: sa.Connection, what: CopyOut, wanted: Mapping[str, Any], *, decimals: int
) -> Iterator["pa.RecordBatch"]:
    import pyarrow as pa  # noqa: PLC0415 (0.3 s, only where needed)
    from pyarrow import csv  # noqa: PLC0415

    types = {name: type_ for name, (type_, _) in types_of(shapes, decimals).items()}
    amounts = [name for name, type_ in types.items() if pa.types.is_map(type_)]  # Arrow's reader knows no maps
    read_as = types | dict.fromkeys(amounts, pa.string())
    with copied_text(source, what, tuple(shapes), wanted) as text:
        if text.is_empty():
            return
        reader = csv.open_csv(
            text,
            csv.ReadOptions(block_size=BLOCK_BYTES, column_names=list(types), use_threads=False),
            csv.ParseOptions(newlines_in_values=True),
            csv.ConvertOptions(
                column_types=read_as, null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False,
                true_values=["t"], false_values=["f"],
            ),
        )  # fmt: skip
        for batch in reader:
            columns = dict(zip(batch.schema.names, batch.columns, strict=True))
            columns |= {name: _maps(columns[name], types[name]) for name in amounts}
            yield pa.RecordBatch.from_pydict(columns, pa.schema(types.items()))


def _maps(texts: "pa.Array", type_: "pa.DataType") -> "pa.Array":
    """Turn JSON objects of amounts into maps."""
    import pyarrow as pa  # noqa: PLC0415

    known: dict[str | None, list[tuple[str, Decimal]] | None] = {None: None}
    values = texts.to_pylist()
    for text in values:
        if text not in known:
            known[text] = sorted((name, Decimal(amount)) for name, amount in json.loads(text).items())
    return pa.array([known[text] for text in values], type=type_)
