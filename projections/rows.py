"""Rows of read models: what folds read and write, in memory or in PostgreSQL, and one way to query both.

A row is a dict by column name and is never changed in place: whoever changes one puts a new dict. `MemoryRows` serves
replays; `SqlRows` writes behind: a batch folds in memory and reaches the database as a few bulk statements. A query is
written once on `fetch`, so a live table, the same table as of a past place in the log (`projections.history`) and a
replay give the same answer.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from operator import itemgetter
from typing import Any, NamedTuple, Protocol

import sqlalchemy as sa
from psycopg.types.json import Jsonb
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import JSONB

from projections.history import AsOf, held_at, node_of
from projections.history import place as place_in_log
from projections.tables import Row

CACHED_ROWS_MAX = 200_000
STATEMENTS_MAX = 500

Key = tuple[Any, ...]
_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]
_ARRAYS: dict[type, str] = {sa.Text: "text[]", sa.BigInteger: "bigint[]"}  # of what primary keys are made of


class Rows(Protocol):
    """What a fold sees of its tables. `seq` is the place in the log of the event that it folds."""

    seq: int

    def get(self, table: sa.Table, *key: Any) -> Row | None:
        """The row with this primary key, if there is one."""

    def put(self, table: sa.Table, row: Row) -> None:
        """Add a row, or replace the one with its primary key."""

    def delete(self, table: sa.Table, *key: Any) -> None:
        """Remove the row with this primary key, if there is one."""

    def find(self, table: sa.Table, **equals: Any) -> list[Row]:
        """The rows whose columns have these values, in no order; a tuple stands for any of its members."""


def key_of(table: sa.Table) -> Callable[[Row], Key]:
    """What takes the primary key out of a row."""
    names = [column.name for column in table.primary_key.columns]
    if len(names) == 1:
        return lambda row: (row[names[0]],)
    return itemgetter(*names)


class MemoryRows:
    """Tables as dicts. `find` keeps an index for each set of columns it has been asked by."""

    def __init__(self) -> None:
        self.seq = 0
        self._tables: dict[sa.Table, dict[Key, Row]] = {}
        self._keys: dict[sa.Table, Callable[[Row], Key]] = {}
        self._indexes: dict[sa.Table, dict[Key, dict[Key, dict[Key, Row]]]] = {}

    def rows(self, table: sa.Table) -> list[Row]:
        """Every row, by primary key."""
        return [row for _, row in sorted(self._tables.get(table, {}).items())]

    def get(self, table: sa.Table, *key: Any) -> Row | None:
        return self._tables.get(table, {}).get(key)

    def put(self, table: sa.Table, row: Row) -> None:
        if (key_in := self._keys.get(table)) is None:
            key_in = self._keys[table] = key_of(table)
        key = key_in(row)
        if table in self._indexes:
            self._unindex(table, key)
            for columns, index in self._indexes[table].items():
                index.setdefault(tuple(row[name] for name in columns), {})[key] = row
        self._tables.setdefault(table, {})[key] = row

    def delete(self, table: sa.Table, *key: Any) -> None:
        self._unindex(table, key)
        self._tables.get(table, {}).pop(key, None)

    def find(self, table: sa.Table, **equals: Any) -> list[Row]:
        single = tuple(sorted(name for name, value in equals.items() if not isinstance(value, tuple)))
        found = self._index(table, single).get(tuple(equals[name] for name in single), {})
        any_of = [(name, frozenset(value)) for name, value in equals.items() if isinstance(value, tuple)]
        return [row for row in found.values() if all(row[name] in values for name, values in any_of)]

    def _index(self, table: sa.Table, columns: Key) -> dict[Key, dict[Key, Row]]:
        indexes = self._indexes.setdefault(table, {})
        if columns not in indexes:
            index: dict[Key, dict[Key, Row]] = {}
            for key, row in self._tables.get(table, {}).items():
                index.setdefault(tuple(row[name] for name in columns), {})[key] = row
            indexes[columns] = index
        return indexes[columns]

    def _unindex(self, table: sa.Table, key: Key) -> None:
        if (old := self.get(table, *key)) is not None:
            for columns, index in self._indexes.get(table, {}).items():
                index[tuple(old[name] for name in columns)].pop(key)


class SqlRows:
    """Tables in PostgreSQL behind a cache that outlives a batch.

    `begin` says on which connection, `flush` writes what has changed; the caller owns the transaction, and calls
    `forget` when it was rolled back or somebody else may have written. While the cache holds a whole table
    (`is_complete`, from an empty start until it grows too large) a row that is not in it is known not to be. Versions
    that end go into the history, also those that began and ended within one batch.
    """

    def __init__(
        self, tables: Iterable[sa.Table], schema: str, *, is_empty: bool = False, cached_rows_max: int = CACHED_ROWS_MAX
    ) -> None:
        self.seq = 0
        self._cached = {table: _Cached(_Shape(table, schema)) for table in tables}
        self._cached_rows_max = cached_rows_max
        self._connection: sa.Connection | None = None
        self.forget(is_empty=is_empty)

    def forget(self, *, is_empty: bool = False) -> None:
        """Know nothing; or, if the tables `is_empty`, know that."""
        for cached in self._cached.values():
            cached.forget(is_empty=is_empty)

    def begin(self, connection: sa.Connection) -> None:
        """Read and write through this connection from now on."""
        self._connection = connection

    def get(self, table: sa.Table, *key: Any) -> Row | None:
        cached = self._cached[table]
        try:
            return cached.known[key]
        except KeyError:
            if cached.is_complete:
                return None
        found = self._select(cached.shape, dict(zip(cached.shape.key_names, key, strict=True)))
        cached.known[key] = found[0] if found else None
        return cached.known[key]

    def put(self, table: sa.Table, row: Row) -> None:
        cached = self._cached[table]
        cached.set(cached.shape.key_in(row), row, self.seq)

    def delete(self, table: sa.Table, *key: Any) -> None:
        self._cached[table].set(key, None, self.seq)

    def find(self, table: sa.Table, **equals: Any) -> list[Row]:
        cached = self._cached[table]
        self._flush(cached)
        found = self._select(cached.shape, equals)
        for row in found:
            cached.known[cached.shape.key_in(row)] = row
        return found

    def flush(self) -> None:
        """Write every change to the database, and drop the oldest rows of a cache grown too large."""
        for cached in self._cached.values():
            self._flush(cached)
        excess = sum(len(cached.known) for cached in self._cached.values()) - self._cached_rows_max
        for cached in sorted(self._cached.values(), key=lambda cached: -len(cached.known)):
            if excess <= 0:
                return
            cached.is_complete = False
            dropped = list(islice(cached.known, excess + self._cached_rows_max // 4))
            for key in dropped:
                del cached.known[key]
            excess -= len(dropped)

    def _flush(self, cached: "_Cached") -> None:
        """Rows that may exist are removed, then changed ones and ended versions are copied in, in bulk."""
        changed, known, shape = cached.changed, cached.known, cached.shape
        if not changed:
            return
        if stale := [key for key, since in changed.items() if since == IN_CACHE]:
            self._cursor().execute(shape.delete, [list(column) for column in zip(*stale, strict=True)])
        if unseen := [key for key, since in changed.items() if since > 0]:
            for gone in self._delete_unseen(shape, unseen):
                cached.end(gone, changed[shape.key_in(gone)])
        fresh = [row for key in changed if (row := known[key]) is not None]
        self._copy(shape.copy, map(shape.values, fresh))
        self._copy(shape.copy_history, cached.ended)
        for key in [key for key in changed if known[key] is None]:
            del known[key]
            if not cached.is_complete:
                known[key] = None
        cached.changed, cached.ended = {}, []

    def _delete_unseen(self, shape: "_Shape", keys: list[Key]) -> list[Row]:
        """Remove rows that may exist and that the cache does not have; those that did, if they have a history."""
        columns = [list(column) for column in zip(*keys, strict=True)]
        if shape.history is None:
            self._cursor().execute(shape.delete, columns)
            return []
        named = {f"key{place}": column for place, column in enumerate(columns)}
        return _rows(self._begun().execute(shape.delete_returning, named))

    def _copy(self, statement: str, values: Iterable[Sequence[Any]]) -> None:
        rows = iter(values)
        if (first := next(rows, None)) is None:
            return
        with self._cursor().copy(statement) as copy:
            copy.write_row(first)
            for row in rows:
                copy.write_row(row)

    def _select(self, shape: "_Shape", equals: Mapping[str, Any]) -> list[Row]:
        return _rows(self._begun().execute(sa.select(shape.placed).where(*_conditions(shape.placed.c, equals))))

    def _begun(self) -> sa.Connection:
        assert self._connection is not None, "rows are read and written between begin and the end of a transaction"
        return self._connection

    def _cursor(self) -> Any:
        return self._begun().connection.cursor()


class _Cached:
    """What is known of a table, and what is not written yet.

    Of a key that was `changed`: ABSENT if the database has no such row, IN_CACHE if what it has was known, else the
    place in the log where it first changed. `ended` are versions that are no more, as the history has them.
    """

    def __init__(self, shape: "_Shape") -> None:
        self.shape = shape
        self.forget(is_empty=False)

    def forget(self, *, is_empty: bool) -> None:
        self.known: dict[Key, Row | None] = {}
        self.changed: dict[Key, int] = {}
        self.ended: list[Sequence[Any]] = []
        self.is_complete = is_empty

    def set(self, key: Key, row: Row | None, seq: int) -> None:
        known: dict[Key, Row | None] = self.known
        old: Row | None = known.pop(
            key, _UNKNOWN
        )  # the row moves to the end: it is the last to be dropped from the cache
        known[key] = row
        if old is None:
            self.changed.setdefault(key, ABSENT)
        elif old is not _UNKNOWN:
            self.changed.setdefault(key, IN_CACHE)
            self.end(old, seq)
        elif key not in self.changed:
            self.changed[key] = ABSENT if self.is_complete else max(seq, 1)

    def end(self, row: Row, until: int) -> None:
        """The version of a row is no more; one of the same place in the log never was."""
        if row["seq"] < until and self.shape.history is not None:
            self.ended.append(self.shape.ended(row, until))


ABSENT, IN_CACHE = 0, -1
_UNKNOWN: Row | None = {}


class _Shape:
    """A table as bulk statements see it."""

    def __init__(self, table: sa.Table, schema: str) -> None:
        self.placed = table.to_metadata(sa.MetaData(), schema=schema)
        self.history: sa.Table | None = table.info.get("history")
        self.key_names = [column.name for column in table.primary_key.columns]
        self.key_in = key_of(table)
        quoted = _DIALECT.identifier_preparer.quote
        name = f"{quoted(schema)}.{quoted(table.name)}"
        columns = [column.name for column in table.columns]
        keys = [quoted(name) for name in self.key_names]
        listed = ", ".join(map(quoted, columns))
        self.copy = f"COPY {name} ({listed}) FROM STDIN"
        self.copy_history = (
            f"COPY {quoted(schema)}.{quoted(f'{table.name}_history')} ({listed}, until, node) FROM STDIN"
        )
        types = [_ARRAYS[type(column.type)] for column in table.primary_key.columns]
        same = " AND ".join(f"stored.{key} = stale.{key}" for key in keys)

        def delete(arrays: Iterable[str]) -> str:
            stale = f"unnest({', '.join(arrays)}) AS stale ({', '.join(keys)})"
            return f"DELETE FROM {name} AS stored USING {stale} WHERE {same}"  # noqa: S608 (our own names)

        self.delete = delete(f"%s::{type_}" for type_ in types)
        returning = delete(f"CAST(:key{place} AS {type_})" for place, type_ in enumerate(types)) + " RETURNING stored.*"
        self.delete_returning = sa.text(returning).columns(*(sa.column(c.name, c.type) for c in table.columns))
        self._values = itemgetter(*columns)
        self._bound = [
            (place, column.type)
            for place, column in enumerate(table.columns)
            if isinstance(column.type, JSONB | sa.types.TypeDecorator)
        ]

    def values(self, row: Row) -> Sequence[Any]:
        """The row in the order of its columns, as psycopg takes it."""
        values: Sequence[Any] = self._values(row)
        if not self._bound:
            return values
        values = list(values)
        for place, type_ in self._bound:
            value, is_json = values[place], isinstance(type_, JSONB)
            if isinstance(type_, sa.types.TypeDecorator):
                value, is_json = type_.process_bind_param(value, _DIALECT), isinstance(type_.impl, JSONB)
            values[place] = Jsonb(value) if is_json and value is not None else value
        return values

    def ended(self, row: Row, until: int) -> Sequence[Any]:
        """A version that held up to `until`, in the order of the history's columns."""
        return (*self.values(row), until, node_of(row["seq"], until))


Source = sa.Connection | AsOf | MemoryRows


def fetch(
    source: Source,
    table: sa.Table,
    *,
    where: Mapping[str, Any] | None = None,
    at_most: Mapping[str, Any] | None = None,
    by: Sequence[str] | None = None,
    after: Sequence[Any] | None = None,
    limit: int | None = None,
    is_descending: bool = False,
) -> list[Row]:
    """Rows of a live table, now or as of a past place, or of a replay, sorted `by` columns, from behind `after`.

    They are sorted by the primary key unless told. `where` compares columns with values, a tuple standing for any of
    its members, `at_most` with upper bounds; None is no condition. Raises LookupError for the past of a table without
    a history.
    """
    equals = {name: value for name, value in (where or {}).items() if value is not None}
    bounds = {name: value for name, value in (at_most or {}).items() if value is not None}
    names = list(by or [column.name for column in table.primary_key.columns])
    if isinstance(source, MemoryRows):
        place = itemgetter(*names) if len(names) > 1 else lambda row: (row[names[0]],)
        bounded = (row for row in source.find(table, **equals) if all(row[name] <= bounds[name] for name in bounds))
        found = sorted(bounded, key=place, reverse=is_descending)
        if after is not None:
            found = [
                row for row in found if (place(row) < tuple(after) if is_descending else place(row) > tuple(after))
            ]
        return [dict(row) for row in found[:limit]]

    asked = _Asked(
        table, tuple((name, isinstance(value, tuple)) for name, value in equals.items()), tuple(bounds), tuple(names),
        after is not None, limit is not None, is_descending,
    )  # fmt: skip
    told = {f"is_{name}": value for name, value in equals.items()} | {f"to_{name}": to for name, to in bounds.items()}
    told |= {f"after_{number}": value for number, value in enumerate(after or ())}
    if limit is not None:
        told["limit"] = limit
    if isinstance(source, sa.Connection):
        return _rows(source.execute(_live(asked), told))
    return _rows(source.connection.execute(_past(asked), told | place_in_log(source.seq)))


class _Asked(NamedTuple):
    """What a query looks like, whatever its values. A statement takes far longer to build than to run."""

    table: sa.Table
    equals: tuple[tuple[str, bool], ...]  # column, whether it is any of several values
    bounds: tuple[str, ...]
    names: tuple[str, ...]
    has_after: bool
    has_limit: bool
    is_descending: bool

    def page(self, query: sa.Select[Any]) -> sa.Select[Any]:
        """The page of a query's rows."""
        columns = query.selected_columns
        for name, is_several in self.equals:
            value = sa.bindparam(f"is_{name}", type_=columns[name].type, expanding=is_several)
            query = query.where(columns[name].in_(value) if is_several else columns[name] == value)
        query = query.where(*(columns[to] <= sa.bindparam(f"to_{to}", type_=columns[to].type) for to in self.bounds))
        if self.has_after:
            types = [columns[name].type for name in self.names]
            here = sa.tuple_(*(columns[name] for name in self.names))
            there = sa.tuple_(*(sa.bindparam(f"after_{n}", type_=type_) for n, type_ in enumerate(types)))
            query = query.where(here < there if self.is_descending else here > there)
        return self.ordered(query, columns)

    def ordered(self, query: sa.Select[Any], columns: Any) -> sa.Select[Any]:
        """The query's rows in their order, and no more than asked for."""
        query = query.order_by(*(columns[name].desc() if self.is_descending else columns[name] for name in self.names))
        return query.limit(sa.bindparam("limit", type_=sa.Integer)) if self.has_limit else query


@lru_cache(STATEMENTS_MAX)
def _live(asked: _Asked) -> sa.Select[Any]:
    return asked.page(sa.select(asked.table))


@lru_cache(STATEMENTS_MAX)
def _past(asked: _Asked) -> sa.Select[Any]:
    pages = (asked.page(query).subquery() for query in held_at(asked.table, asked.names[0]))
    both = sa.union_all(*(sa.select(rows) for rows in pages)).subquery()
    return asked.ordered(sa.select(both), both.c)


def _conditions(columns: Any, equals: Mapping[str, Any]) -> list[sa.ColumnElement[bool]]:
    return [
        columns[name].in_(value) if isinstance(value, tuple) else columns[name] == value
        for name, value in equals.items()
    ]


def _rows(result: sa.CursorResult[Any]) -> list[Row]:
    return [dict(row) for row in result.mappings()]
