"""Diff of the rows of two schemas of one projection, row by row and column by column.

Rows with one primary key are the same if every column that both have is the same to the bit, `seq` included. The
database compares tables of any size, and returns counts and a sample of differences.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from projections.storage import schemas

SAMPLE_ROWS_MAX = 20
KEYS = sa.text("""
SELECT attname FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY(indkey)
WHERE indisprimary AND indrelid = CAST(:name AS regclass) ORDER BY array_position(indkey, attnum)
""")
COLUMNS = sa.text("""
SELECT attname FROM pg_attribute WHERE attrelid = CAST(:name AS regclass) AND attnum > 0 AND NOT attisdropped
ORDER BY attnum
""")
JOINED = """
FROM (SELECT {columns} FROM {old}) AS old FULL JOIN (SELECT {columns} FROM {new}) AS new ON {same_key}
WHERE {is_added} OR {is_removed} OR old *<> new
"""  # *<> compares records bit by bit: 1.0 is not 1.00
WORK = sa.text("SET LOCAL work_mem = '64MB'; SET LOCAL statement_timeout = 0")

_QUOTE = postgresql.dialect().identifier_preparer.quote  # type: ignore[no-untyped-call]


class RowDifference(NamedTuple):
    """One row that differs: its key, and of each column that differs the old value and the new one, as text.

    `seq` is the event that wrote the new row; of a removed row the one that wrote the old row.
    """

    table: str
    kind: str  # added, removed, changed
    key: dict[str, Any]
    seq: int
    columns: dict[str, tuple[str | None, str | None]]


class TableDifference(NamedTuple):
    """The number of rows that differ, in all and by column. `first_seq` is the least `seq` of those that differ."""

    table: str
    added: int
    removed: int
    changed: int
    columns: dict[str, int]
    columns_added: tuple[str, ...]
    columns_removed: tuple[str, ...]
    first_seq: int | None
    sample: tuple[RowDifference, ...]

    @property
    def is_none(self) -> bool:
        """Whether the rows are the same."""
        return not (self.added or self.removed or self.changed or self.columns_added or self.columns_removed)


def compare(
    connection: sa.Connection, old: str, new: str, *, sample_rows_max: int = SAMPLE_ROWS_MAX
) -> list[TableDifference]:
    """Return the tables whose rows differ between two schemas, by name. A table missing in one counts as empty."""
    connection.execute(WORK)
    before, after = schemas.relations(connection, old), schemas.relations(connection, new)
    found = []
    for name in sorted({*before, *after}):
        if name in before and name in after:
            found.append(_compared(connection, name, old, new, sample_rows_max=sample_rows_max))
        else:
            found.append(_one_sided(connection, name, new if name in after else old, is_new=name in after))
    return [difference for difference in found if not difference.is_none]


def _compared(connection: sa.Connection, table: str, old: str, new: str, *, sample_rows_max: int) -> TableDifference:
    names = {"old": _name(old, table), "new": _name(new, table)}
    columns = {side: list(connection.scalars(COLUMNS, {"name": name})) for side, name in names.items()}
    common = [column for column in columns["new"] if column in columns["old"]]
    new_keys = list(connection.scalars(KEYS, {"name": names["new"]})) or _of_versions(connection, new, table)
    keys = [key for key in new_keys if key in common]  # a column added to the key identifies no row of before
    joined = JOINED.format(
        **names,
        same_key=" AND ".join(f"old.{_QUOTE(key)} = new.{_QUOTE(key)}" for key in keys),
        is_added=f"old.{_QUOTE(keys[0])} IS NULL",
        is_removed=f"new.{_QUOTE(keys[0])} IS NULL",
        columns=", ".join(map(_QUOTE, common)),
    )
    is_both = f"old.{_QUOTE(keys[0])} IS NOT NULL AND new.{_QUOTE(keys[0])} IS NOT NULL"
    counted = [
        f"count(*) FILTER (WHERE {is_both} AND old.{_QUOTE(c)}::text IS DISTINCT FROM new.{_QUOTE(c)}::text)"
        for c in common
    ]
    counts = connection.execute(
        _text(
            f"SELECT count(*) FILTER (WHERE old.{_QUOTE(keys[0])} IS NULL),"
            f" count(*) FILTER (WHERE new.{_QUOTE(keys[0])} IS NULL), count(*) FILTER (WHERE {is_both}),"
            f" min({_seq(common)}), {', '.join(counted)} {joined}"
        )
    ).one()
    added, removed, changed, first_seq, *by_column = counts
    sample: tuple[RowDifference, ...] = ()
    if added or removed or changed:
        sample = _sample(connection, table, joined, keys=keys, columns=common, rows_max=sample_rows_max)
    return TableDifference(
        table=table,
        added=added,
        removed=removed,
        changed=changed,
        columns={c: n for c, n in zip(common, by_column, strict=True) if n},
        columns_added=tuple(c for c in columns["new"] if c not in common),
        columns_removed=tuple(c for c in columns["old"] if c not in common),
        first_seq=first_seq,
        sample=sample,
    )


def _of_versions(connection: sa.Connection, schema: str, history: str) -> list[str]:
    """Return the columns that identify a version in a history: the row's key, and the seq where it began."""
    live = _name(schema, history.removesuffix("_history"))
    return [*connection.scalars(KEYS, {"name": live}), "seq"]


def _sample(
    connection: sa.Connection, table: str, joined: str, *, keys: Sequence[str], columns: Sequence[str], rows_max: int
) -> tuple[RowDifference, ...]:
    """Return the first differences by seq."""
    shown = [f"{side}.{_QUOTE(c)}::text AS {side}_{n}" for side in ("old", "new") for n, c in enumerate(columns)]
    chosen = [f"coalesce(new.{_QUOTE(key)}, old.{_QUOTE(key)}) AS key_{n}" for n, key in enumerate(keys)]
    first_rows = f"ORDER BY row_seq, {', '.join(f'key_{n}' for n in range(len(keys)))} LIMIT {rows_max}"
    query = f"SELECT {_seq(columns)} AS row_seq, {', '.join((*chosen, *shown))} {joined} {first_rows}"
    return tuple(_difference(table, row, keys, columns) for row in connection.execute(_text(query)).mappings())


def _difference(table: str, row: Mapping[Any, Any], keys: Sequence[str], columns: Sequence[str]) -> RowDifference:
    sides = {side: [row[f"{side}_{n}"] for n in range(len(columns))] for side in ("old", "new")}
    at = columns.index(keys[0])
    kind = "added" if sides["old"][at] is None else "removed" if sides["new"][at] is None else "changed"
    pairs = zip(columns, sides["old"], sides["new"], strict=True)
    key = {name: row[f"key_{n}"] for n, name in enumerate(keys)}
    differing = {c: (was, now) for c, was, now in pairs if was != now and c not in keys}
    return RowDifference(table=table, kind=kind, key=key, seq=row["row_seq"], columns=differing)


def _one_sided(connection: sa.Connection, table: str, schema: str, *, is_new: bool) -> TableDifference:
    columns = tuple(connection.scalars(COLUMNS, {"name": _name(schema, table)}))
    least = "min(seq)" if "seq" in columns else "NULL"
    query = _text(f"SELECT count(*), {least} FROM {_name(schema, table)}")  # noqa: S608 (our own names)
    rows, first_seq = connection.execute(query).one()
    added, removed = (columns, ()) if is_new else ((), columns)
    return TableDifference(
        table=table,
        added=rows if is_new else 0,
        removed=0 if is_new else rows,
        changed=0,
        columns={},
        columns_added=added,
        columns_removed=removed,
        first_seq=first_seq,
        sample=(),
    )


def _name(schema: str, table: str) -> str:
    return f"{_QUOTE(schema)}.{_QUOTE(table)}"


def _seq(columns: Sequence[str]) -> str:
    return "coalesce(new.seq, old.seq)" if "seq" in columns else "NULL::bigint"


def _text(query: str) -> sa.TextClause:
    return sa.text(query.replace(":", "\\:").replace("\\:\\:", "::"))
