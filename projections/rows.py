"""Rows of read models: what folds read and write, in memory or in PostgreSQL, and one way to query both.

A row is a dict by column name and is never changed in place: whoever changes one puts a new dict. `MemoryRows` serves
replays; `SqlRows` writes behind: a batch folds in memory and reaches the database as a few bulk statements. A query is
written once on `fetch`, so a live table and a replay give the same answer.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from operator import itemgetter
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from projections import lines
from projections.bloom import Bloom
from projections.lines import MODULUS, Lines, Sum
from projections.tables import Row

CACHED_ROWS_MAX = 40_000  # of a projection
COPIED_LINES_MAX = 500  # handed to the driver at once
KEYS_MAX = 3_000_000  # of a table, that are worth reading when following starts
KEYS_READ = 20_000  # at a time

Key = tuple[Any, ...]
_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]
_ARRAYS: dict[type, str] = {sa.Text: "text[]", sa.BigInteger: "bigint[]"}  # of what primary keys are made of


class Rows(Protocol):
    """What a fold sees of its tables."""

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
    (`complete`, from an empty start until it grows too large) a row that is not in it is known not to be; afterwards
    it is known of most rows that were never dropped from the cache.

    `sum` is the digest of all rows as of the last flush, kept up by what each flush adds and takes away; whoever goes
    on from stored rows says what it was. `on_lookup` is called before the first look for rows of a table by their
    values in the database: what loads a table may leave out its indexes until then.
    """

    def __init__(
        self,
        tables: Iterable[sa.Table],
        schema: str,
        *,
        is_empty: bool = False,
        cached_rows_max: int = CACHED_ROWS_MAX,
        on_lookup: Callable[[sa.Table], None] | None = None,
    ) -> None:
        self._shapes = {table: _Shape(table, schema) for table in tables}
        self._cached_rows_max = cached_rows_max
        self._known: dict[sa.Table, dict[Key, Row | None]] = {}
        self._changed: dict[sa.Table, dict[Key, bool]] = {}  # key -> whether the database may have the row
        self._hashes: dict[sa.Table, dict[Key, int]] = {}  # of rows in the database, as far as known
        self._complete: set[sa.Table] = set()
        self._dropped: dict[sa.Table, Bloom] = {}  # keys of rows that only the database has, if they are known at all
        self._connection: sa.Connection | None = None
        self._on_lookup = on_lookup
        self._looked_up: set[sa.Table] = set()
        self.sum = Sum()
        self.forget(is_empty=is_empty)

    def forget(self, *, is_empty: bool = False) -> None:
        """Know nothing; or, if the tables `is_empty`, know that."""
        self._known = {table: {} for table in self._shapes}
        self._changed = {table: {} for table in self._shapes}
        self._hashes = {table: {} for table in self._shapes}
        self._complete = set(self._shapes) if is_empty else set()
        self._dropped = {}

    def roll_back(self) -> None:
        """Forget rows, as what was put was not written; which ones there are not is still known."""
        for table, known in self._known.items():
            if table in self._complete or table in self._dropped:
                dropped = self._dropped.setdefault(table, Bloom())
                for key, row in known.items():
                    if row is not None or key in self._changed[table]:
                        dropped.add(key)
        kept = self._dropped
        self.forget()
        self._dropped = kept

    def learn(self) -> None:
        """Read which rows there are, so as not to ask for others one by one. Not of tables that are very large."""
        for shape in self._shapes.values():
            if shape.table in self._complete or shape.table in self._dropped:
                continue
            keys = Bloom()
            opened: Any = self._connection_in_use().connection
            with opened.cursor(name="keys") as cursor:
                cursor.itersize = KEYS_READ
                number = 0
                for number, key in enumerate(cursor.execute(shape.keys), 1):
                    keys.add(key)
                    if number > KEYS_MAX:
                        break
            if number <= KEYS_MAX:
                self._dropped[shape.table] = keys

    def begin(self, connection: sa.Connection) -> None:
        """Read and write through this connection from now on."""
        self._connection = connection

    def get(self, table: sa.Table, *key: Any) -> Row | None:
        known = self._known[table]
        try:
            return known[key]
        except KeyError:
            if self._is_absent(table, key):
                return None
        shape = self._shapes[table]
        found = self._select(shape, dict(zip(shape.key_names, key, strict=True)))
        known[key] = found[0] if found else None
        return known[key]

    def put(self, table: sa.Table, row: Row) -> None:
        self._set(table, self._shapes[table].key_in(row), row)

    def delete(self, table: sa.Table, *key: Any) -> None:
        self._set(table, key, None)

    def _set(self, table: sa.Table, key: Key, row: Row | None) -> None:
        known, changed = self._known[table], self._changed[table]
        if key not in changed:
            changed[key] = known[key] is not None if key in known else not self._is_absent(table, key)
            if (stored := known.get(key)) is not None and key not in (hashes := self._hashes[table]):
                hashes[key] = self._shapes[table].hash_of(stored)
        known.pop(key, None)  # the row moves to the end: it is the last to be dropped from the cache
        known[key] = row

    def _is_absent(self, table: sa.Table, key: Key) -> bool:
        """Whether there is no row with a key that is not in the cache. False if that is not known."""
        if table in self._complete:
            return True
        dropped = self._dropped.get(table)
        return dropped is not None and not dropped.may_have(key)

    def find(self, table: sa.Table, **equals: Any) -> list[Row]:
        self._flush(table)
        shape, known = self._shapes[table], self._known[table]
        found = self._select(shape, equals)
        for row in found:
            known[shape.key_in(row)] = row
        return found

    def flush(self) -> None:
        """Write every change to the database, and drop the oldest rows of a cache grown too large."""
        for table in self._shapes:
            self._flush(table)
        excess = sum(map(len, self._known.values())) - self._cached_rows_max
        for table, known in sorted(self._known.items(), key=lambda item: -len(item[1])):
            if excess <= 0:
                return
            gone = list(islice(known, excess + self._cached_rows_max // 4))
            if table in self._complete:
                self._complete.remove(table)
                self._dropped[table] = Bloom()
            dropped = self._dropped.get(table)
            for key in gone:
                if known.pop(key) is not None and dropped is not None:
                    dropped.add(key)
                self._hashes[table].pop(key, None)
            excess -= len(gone)

    def _flush(self, table: sa.Table) -> None:
        """Rows that may exist are removed, then every changed one is copied in: two statements for any number."""
        changed, known, shape = self._changed[table], self._known[table], self._shapes[table]
        if not changed:
            return
        total, rows = self.sum
        hashes = self._hashes[table]
        if stale := [key for key, may_exist in changed.items() if may_exist]:
            gone = self._remove(shape, stale)
            total, rows = total - sum(gone), rows - len(gone)
        written = [(key, shape.lines.of(row)) for key in changed if (row := known[key]) is not None]
        for key, line in written:
            hashes[key] = added = shape.lines.hash(line)
            total += added
        if written:
            with self._cursor().copy(shape.copy) as copy:
                for first in range(0, len(written), COPIED_LINES_MAX):
                    copy.write(b"".join(lines.copied(line) for _, line in written[first : first + COPIED_LINES_MAX]))
        for key in [key for key in changed if known[key] is None]:
            del known[key]
            if table not in self._complete:
                known[key] = None
        self._changed[table] = {}
        self.sum = Sum(total % MODULUS, rows + len(written))

    def _remove(self, shape: "_Shape", stale: Sequence[Key]) -> list[int]:
        """Remove rows that may be there; the hashes of those that were, known ones as they were written."""
        self._look_up(shape)
        hashes = self._hashes[shape.table]
        known = {key: hashes.pop(key) for key in stale if key in hashes}
        columns = [list(column) for column in zip(*stale, strict=True)]
        if len(known) == len(stale):
            self._cursor().execute(shape.delete, columns)
            return list(known.values())
        found = self._cursor().execute(f"{shape.delete} RETURNING {shape.columns}", columns)
        others = (row for row in found if shape.key_of_stored(row) not in known)
        return [*known.values(), *(shape.lines.hash(shape.lines.of_stored(row)) for row in others)]

    def _select(self, shape: "_Shape", equals: Mapping[str, Any]) -> list[Row]:
        assert self._connection is not None, "rows are read and written between begin and the end of a transaction"
        self._look_up(shape)
        return _rows(self._connection.execute(sa.select(shape.placed).where(*_conditions(shape.placed, equals))))

    def _look_up(self, shape: "_Shape") -> None:
        if self._on_lookup is not None and shape.table not in self._looked_up:
            self._looked_up.add(shape.table)
            self._on_lookup(shape.table)

    def _cursor(self) -> Any:
        return self._connection_in_use().connection.cursor()

    def _connection_in_use(self) -> sa.Connection:
        assert self._connection is not None, "rows are read and written between begin and the end of a transaction"
        return self._connection


class _Shape:
    """A table as bulk statements see it."""

    def __init__(self, table: sa.Table, schema: str) -> None:
        self.table = table
        self.placed = table.to_metadata(sa.MetaData(), schema=schema)
        self.key_names = [column.name for column in table.primary_key.columns]
        self.key_in = key_of(table)
        self.lines = Lines(table)
        quoted = _DIALECT.identifier_preparer.quote
        name = f"{quoted(schema)}.{quoted(table.name)}"
        names = [column.name for column in table.columns]
        keys = [quoted(name) for name in self.key_names]
        arrays = ", ".join(f"%s::{_ARRAYS[type(column.type)]}" for column in table.primary_key.columns)
        self.keys = f"SELECT {', '.join(keys)} FROM {name}"  # noqa: S608 (our own names)
        self.copy = lines.COPY.format(name, ", ".join(map(quoted, names)))
        self.columns = ", ".join(f"stored.{quoted(name)}" for name in names)
        same = " AND ".join(f"stored.{key} = stale.{key}" for key in keys)
        self.delete = f"DELETE FROM {name} AS stored USING unnest({arrays}) AS stale ({', '.join(keys)}) WHERE {same}"  # noqa: S608 (our own names)
        self._key_places = [names.index(name) for name in self.key_names]

    def hash_of(self, row: Row) -> int:
        """What a row adds to the digest."""
        return self.lines.hash(self.lines.of(row))

    def key_of_stored(self, values: Sequence[Any]) -> Key:
        """The key among a row's values by column."""
        return tuple(values[place] for place in self._key_places)


Source = sa.Connection | MemoryRows


def fetch(
    source: Source,
    table: sa.Table,
    *,
    where: Mapping[str, Any] | None = None,
    by: Sequence[str] | None = None,
    after: Sequence[Any] | None = None,
    limit: int | None = None,
    is_descending: bool = False,
) -> list[Row]:
    """Rows of a live table or of a replay, sorted `by` columns (the primary key, unless told), from behind `after`.

    `where` compares columns with values; a tuple stands for any of its members, None for no condition.
    """
    equals = {name: value for name, value in (where or {}).items() if value is not None}
    names = list(by or [column.name for column in table.primary_key.columns])
    if isinstance(source, MemoryRows):
        place = itemgetter(*names) if len(names) > 1 else lambda row: (row[names[0]],)
        found = sorted(source.find(table, **equals), key=place, reverse=is_descending)
        if after is not None:
            found = [
                row for row in found if (place(row) < tuple(after) if is_descending else place(row) > tuple(after))
            ]
        return [dict(row) for row in found[:limit]]
    columns = [table.c[name] for name in names]
    query = sa.select(table).where(*_conditions(table, equals)).limit(limit)
    query = query.order_by(*(column.desc() if is_descending else column for column in columns))
    if after is not None:
        here = sa.tuple_(*columns)
        there = sa.tuple_(*(sa.literal(value, column.type) for value, column in zip(after, columns, strict=True)))
        query = query.where(here < there if is_descending else here > there)
    return _rows(source.execute(query))


def _conditions(table: sa.Table, equals: Mapping[str, Any]) -> list[sa.ColumnElement[bool]]:
    return [
        table.c[name].in_(value) if isinstance(value, tuple) else table.c[name] == value
        for name, value in equals.items()
    ]


def _rows(result: sa.CursorResult[Any]) -> list[Row]:
    return [dict(row) for row in result.mappings()]
