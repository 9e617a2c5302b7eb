"""Rows of read models that folds read and write, in memory or in PostgreSQL, and one way to query both.

A row is a dict by column name and is never changed in place: a fold that changes one puts a new dict. `MemoryRows`
serves replays; `SqlRows` writes behind: a batch folds in memory and is written to the database by a few bulk
statements. A query is written once on `fetch`, so a live table, the same table as of a past place in the log
(`projections.storage.history`) and a replay give the same answer.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from operator import itemgetter
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from projections.storage import copy_lines
from projections.storage.bloom import Bloom
from projections.storage.copy_lines import MODULUS, Lines, Sum
from projections.storage.history import AsOf, held_at, node_of
from projections.storage.history import place as history_place
from projections.storage.statements import read, rows_of
from projections.storage.tables import Row

CACHED_ROWS_MAX = 40_000  # of a projection that is built
FOLLOWED_ROWS_MAX = 4_000  # of one that is followed: but for open orders and positions few are read again
DROPPED_PART = 40  # 1 / this part of the cache is dropped beyond the excess, so that few batches wait for it
COPIED_LINES_MAX = 500  # passed to the driver at once
STATEMENTS_MAX = 500
SHAPES_MAX = 500
KEYS_MAX = 3_000_000  # larger tables' keys are not read when a follower starts
KEYS_READ = 20_000  # at a time

Key = tuple[Any, ...]
_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]
_ARRAYS: dict[type, str] = {sa.Text: "text[]", sa.BigInteger: "bigint[]"}  # by the types of primary keys


def key_of(table: sa.Table) -> Callable[[Row], Key]:
    """Return the function that extracts the primary key of a row."""
    names = [column.name for column in table.primary_key.columns]
    if len(names) == 1:
        return lambda row: (row[names[0]],)
    return itemgetter(*names)


class MemoryRows:
    """Tables as dicts. `find` keeps an index for each set of columns it has been called with."""

    def __init__(self) -> None:
        self.seq = 0
        self._tables: dict[sa.Table, dict[Key, Row]] = {}
        self._keys: dict[sa.Table, Callable[[Row], Key]] = {}
        self._indexes: dict[sa.Table, dict[Key, dict[Key, dict[Key, Row]]]] = {}

    def rows(self, table: sa.Table) -> list[Row]:
        """Return every row, sorted by primary key."""
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

    `begin` sets the connection, `flush` writes the changes; the caller owns the transaction, and calls `roll_back` when
    it was rolled back, `forget` when another process may have written. While the cache holds a whole table
    (`is_complete`, from an empty start until it grows too large) a row that is not in it does not exist; afterwards
    this is known of most keys that were never dropped from the cache. Versions that end are added to the history, also
    those that began and ended within one batch.

    `sum` is the digest of all rows as of the last flush, updated by each flush; a caller that starts with stored rows
    sets it. Fewer rows are cached if the log `is_followed`, for hours. `on_lookup` is called before the first look-up
    of a table's rows in the database: a bulk load leaves out the indexes until then.
    """

    def __init__(
        self,
        tables: Iterable[sa.Table],
        schema: str,
        *,
        is_empty: bool = False,
        is_followed: bool = False,
        cached_rows_max: int = CACHED_ROWS_MAX,
        on_lookup: Callable[[sa.Table], None] | None = None,
    ) -> None:
        self.seq = 0
        self.sum = Sum()
        self._cached = {table: _Cached(_shape(table, schema)) for table in tables}
        self._cached_rows_max = min(cached_rows_max, FOLLOWED_ROWS_MAX) if is_followed else cached_rows_max
        self._connection: sa.Connection | None = None
        self._on_lookup = on_lookup
        self._looked_up: set[sa.Table] = set()
        self.forget(is_empty=is_empty)

    def forget(self, *, is_empty: bool = False) -> None:
        """Empty the cache; `is_empty` states that the tables are empty too."""
        for cached in self._cached.values():
            cached.forget(is_empty=is_empty)

    def roll_back(self) -> None:
        """Empty the cache of rows, as changes were not written; which keys do not exist is still known."""
        for cached in self._cached.values():
            cached.roll_back()

    def load_keys(self) -> None:
        """Read the keys of all rows, so that absent ones need no look-up. Skips tables above KEYS_MAX."""
        for cached in self._cached.values():
            if cached.is_complete or cached.dropped is not None or cached.is_only_added:
                continue
            keys = Bloom()
            opened: Any = self._begun().connection
            with opened.cursor(name="keys") as cursor:
                cursor.itersize = KEYS_READ
                number = 0
                for number, key in enumerate(cursor.execute(cached.shape.keys), 1):
                    keys.add(key)
                    if number > KEYS_MAX:
                        break
            if number <= KEYS_MAX:
                cached.dropped = keys

    def begin(self, connection: sa.Connection) -> None:
        """Use this connection from now on, for a new transaction: `roll_back` undoes what follows."""
        self._connection = connection
        for cached in self._cached.values():
            cached.removed.clear()

    def get(self, table: sa.Table, *key: Any) -> Row | None:
        cached = self._cached[table]
        try:
            return cached.known[key]
        except KeyError:
            if cached.is_absent(key):
                return None
        found = self._select(cached.shape, dict(zip(cached.shape.key_names, key, strict=True)))
        cached.known[key] = found[0] if found else None
        return cached.known[key]

    def put(self, table: sa.Table, row: Row) -> None:
        cached = self._cached[table]
        cached.set(cached.key_in(row), row, self.seq)

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
        """Write every change to the database, and drop the least recently used rows of a cache that is too large."""
        for cached in self._cached.values():
            self._flush(cached)
        excess = sum(len(cached.known) for cached in self._cached.values()) - self._cached_rows_max
        for cached in sorted(self._cached.values(), key=lambda cached: -len(cached.known)):
            if excess <= 0:
                return
            excess -= cached.drop(excess + self._cached_rows_max // DROPPED_PART)

    def _flush(self, cached: "_Cached") -> None:
        """Delete rows that may exist, then copy changed rows and ended versions, in bulk."""
        changed, known, shape = cached.changed, cached.known, cached.shape
        if not changed:
            return
        total, rows = self.sum
        if stale := [key for key, since in changed.items() if since == IN_CACHE]:
            self._look_up(shape)
            self._cursor().execute(shape.delete, [list(column) for column in zip(*stale, strict=True)])
            total, rows = total - sum(map(cached.hashes.pop, stale)), rows - len(stale)
        for stored in self._remove_unseen(shape, [key for key, since in changed.items() if since > 0]):
            values, seq, until = shape.lines.stored(stored), shape.seq_of(stored), changed[shape.key_of(stored)]
            total, rows = total - shape.lines.hash(copy_lines.text_of([values])), rows - 1
            if shape.history is not None and seq < until:
                cached.ended.append((*values, until, node_of(seq, until)))
        written = [(key, row) for key in changed if (row := known[key]) is not None]
        texts = []
        for first in range(0, len(written), COPIED_LINES_MAX):
            several = written[first : first + COPIED_LINES_MAX]
            texts.append(text := copy_lines.text_of([shape.lines.values(row) for _, row in several]))
            for (key, _), line in zip(several, text.split(b"\n"), strict=True):
                cached.hashes[key] = added = shape.lines.hash(line)
                total += added
        self._copy(shape.copy, texts)
        self._copy(shape.copy_history, cached.all_ended())
        self.sum = Sum(total % MODULUS, rows + len(written))
        cached.settle()

    def _remove_unseen(self, shape: "_Shape", keys: list[Key]) -> list[Sequence[Any]]:
        """Delete rows that may exist and are not in the cache; returns the values of those that did, by column."""
        if not keys:
            return []
        self._look_up(shape)
        columns = [list(column) for column in zip(*keys, strict=True)]
        return list(self._cursor().execute(f"{shape.delete} RETURNING {shape.columns}", columns))

    def _copy(self, statement: str, texts: Sequence[bytes]) -> None:
        if not texts:
            return
        with self._cursor().copy(statement) as copy:
            for text in texts:
                copy.write(copy_lines.copied(text))

    def _select(self, shape: "_Shape", equals: Mapping[str, Any]) -> list[Row]:
        self._look_up(shape)
        return rows_of(self._begun().execute(sa.select(shape.placed).where(*_conditions(shape.placed.c, equals))))

    def _look_up(self, shape: "_Shape") -> None:
        if self._on_lookup is not None and shape.table not in self._looked_up:
            self._looked_up.add(shape.table)
            self._on_lookup(shape.table)

    def _begun(self) -> sa.Connection:
        assert self._connection is not None, "rows are read and written between begin and the end of a transaction"
        return self._connection

    def _cursor(self) -> Any:
        return self._begun().connection.cursor()


class _Cached:
    """The cached rows of a table, and its changes not written yet.

    `changed` has for each changed key ABSENT if the database has no such row, IN_CACHE if its row was cached, else the
    place in the log of the first change. `ended` are versions that have ended, with the columns of the history; `texts`
    has those already formatted as lines. `hashes` are those of rows in the database, as far as known; `dropped` has
    the keys of rows that only the database has, if they are known at all. `removed` are the keys of rows that this
    transaction has deleted from the database: they are there again if it is rolled back. Of a table to which rows are
    only added nothing is kept after it is written.
    """

    def __init__(self, shape: "_Shape") -> None:
        self.shape = shape
        self.key_in = shape.key_in
        self.is_only_added: bool = shape.table.info["is_only_added"]
        self._values = shape.lines.values if shape.history is not None else None
        self.removed: set[Key] = set()
        self.forget(is_empty=False)

    def forget(self, *, is_empty: bool) -> None:
        self.known: dict[Key, Row | None] = {}
        self.hashes: dict[Key, int] = {}
        self.dropped: Bloom | None = None
        self.is_complete = is_empty
        self.changed: dict[Key, int] = {}
        self.ended: list[Sequence[Any]] = []
        self.texts: list[bytes] = []

    def is_absent(self, key: Key) -> bool:
        """Whether no row has this key, which is not in the cache. False if that is not known."""
        return self.is_complete or (self.dropped is not None and not self.dropped.may_have(key))

    def set(self, key: Key, row: Row | None, seq: int) -> None:
        known, changed = self.known, self.changed
        old: Row | None = known.pop(key, _UNKNOWN)  # the row moves to the end: it is the last to be dropped
        known[key] = row
        if old is not None and old is not _UNKNOWN:
            if key not in changed:
                changed[key] = IN_CACHE
                if key not in self.hashes:
                    self.hashes[key] = self.shape.lines.hash(self.shape.lines.of(old))
            was = old["seq"]
            if was < seq and self._values is not None:  # a version replaced at its own seq never held
                self.ended.append((*self._values(old), seq, node_of(was, seq)))
                if len(self.ended) >= COPIED_LINES_MAX:
                    self.all_ended()
        elif key not in changed:
            is_new = old is None or self.is_only_added or self.is_absent(key)
            changed[key] = ABSENT if is_new else max(seq, 1)

    def all_ended(self) -> list[bytes]:
        """Return the lines of all versions that have ended."""
        if self.ended:
            self.texts.append(copy_lines.text_of(self.ended))
            self.ended = []
        return self.texts

    def roll_back(self) -> None:
        """See `SqlRows.roll_back`."""
        dropped = (self.dropped or Bloom()) if self.is_complete or self.dropped is not None else None
        if dropped is not None:
            for key, row in self.known.items():
                if row is not None or key in self.changed:
                    dropped.add(key)
            for key in self.removed:
                dropped.add(key)
        self.forget(is_empty=False)
        self.dropped = dropped

    def settle(self) -> None:
        """Mark all changes as written."""
        for key in [key for key in self.changed if self.known[key] is None]:
            if self.changed[key] != ABSENT:
                self.removed.add(key)
            del self.known[key]
            if not self.is_complete:
                self.known[key] = None
        self.changed, self.ended, self.texts = {}, [], []
        if self.is_only_added:
            self.known, self.hashes, self.is_complete = {}, {}, False

    def drop(self, count: int) -> int:
        """Drop the least recently used rows, at most `count`; returns their number."""
        oldest = list(islice(self.known, count))
        if self.is_complete:
            self.is_complete, self.dropped = False, Bloom()
        for key in oldest:
            if self.known.pop(key) is not None and self.dropped is not None:
                self.dropped.add(key)
            self.hashes.pop(key, None)
        return len(oldest)


ABSENT, IN_CACHE = 0, -1
_UNKNOWN: Row | None = {}


class _Shape:
    """A table's columns, and its bulk statements in one schema."""

    def __init__(self, table: sa.Table, schema: str) -> None:
        self.table = table
        self.placed = table.to_metadata(sa.MetaData(), schema=schema)
        self.history: sa.Table | None = table.info.get("history")
        self.key_names = [column.name for column in table.primary_key.columns]
        self.key_in = key_of(table)
        self.lines = Lines(table)
        quoted = _DIALECT.identifier_preparer.quote
        name, history = (f"{quoted(schema)}.{quoted(each)}" for each in (table.name, f"{table.name}_history"))
        names = [column.name for column in table.columns]
        keys = [quoted(name) for name in self.key_names]
        listed = ", ".join(map(quoted, names))
        arrays = ", ".join(f"%s::{_ARRAYS[type(column.type)]}" for column in table.primary_key.columns)
        self.keys = f"SELECT {', '.join(keys)} FROM {name}"  # noqa: S608 (our own names)
        self.copy = copy_lines.COPY.format(name, listed)
        self.copy_history = copy_lines.COPY.format(history, f"{listed}, until, node")
        self.columns = ", ".join(f"stored.{quoted(name)}" for name in names)
        same = " AND ".join(f"stored.{key} = stale.{key}" for key in keys)
        self.delete = f"DELETE FROM {name} AS stored USING unnest({arrays}) AS stale ({', '.join(keys)}) WHERE {same}"  # noqa: S608 (our own names)
        self._key_places = [names.index(name) for name in self.key_names]
        self._seq_place = names.index("seq")

    def key_of(self, values: Sequence[Any]) -> Key:
        """Return the key of a row given by its values."""
        return tuple(values[place] for place in self._key_places)

    def seq_of(self, values: Sequence[Any]) -> int:
        """Return the seq of a row given by its values."""
        seq: int = values[self._seq_place]
        return seq


@lru_cache(SHAPES_MAX)
def _shape(table: sa.Table, schema: str) -> _Shape:
    return _Shape(table, schema)


Source = sa.Connection | AsOf | MemoryRows


def fetch(
    source: Source,
    table: sa.Table,
    *,
    where: Mapping[str, Any] | None = None,
    at_most: Mapping[str, Any] | None = None,
    at_least: Mapping[str, Any] | None = None,
    by: Sequence[str] | None = None,
    after: Sequence[Any] | None = None,
    limit: int | None = None,
    is_descending: bool = False,
) -> list[Row]:
    """Return rows of a live table, now or as of a past place, or of a replay, sorted `by` columns, those after `after`.

    They are sorted by the primary key unless `by` is given. `where` compares columns with values, a tuple standing for
    any of its members, `at_most` and `at_least` with bounds; None is no condition. Raises LookupError for the past of
    a table without a history.
    """
    equals = {name: value for name, value in (where or {}).items() if value is not None}
    bounds = {name: value for name, value in (at_most or {}).items() if value is not None}
    lower = {name: value for name, value in (at_least or {}).items() if value is not None}
    names = list(by or [column.name for column in table.primary_key.columns])
    if isinstance(source, MemoryRows):
        place = itemgetter(*names) if len(names) > 1 else lambda row: (row[names[0]],)
        bounded = (
            row
            for row in source.find(table, **equals)
            if all(row[name] <= bounds[name] for name in bounds) and all(row[name] >= lower[name] for name in lower)
        )
        found = sorted(bounded, key=place, reverse=is_descending)
        if after is not None:
            found = [
                row for row in found if (place(row) < tuple(after) if is_descending else place(row) > tuple(after))
            ]
        return [dict(row) for row in found[:limit]]

    query = _Query(
        table=table,
        equals=tuple((name, isinstance(value, tuple)) for name, value in equals.items()),
        bounds=tuple(bounds),
        lower=tuple(lower),
        names=tuple(names),
        has_after=after is not None,
        has_limit=limit is not None,
        is_descending=is_descending,
    )
    values = {f"is_{name}": list(value) if isinstance(value, tuple) else value for name, value in equals.items()} | {
        f"to_{name}": to for name, to in bounds.items()
    }
    values |= {f"from_{name}": since for name, since in lower.items()}
    values |= {f"after_{number}": value for number, value in enumerate(after or ())}
    if limit is not None:
        values["limit"] = limit
    if isinstance(source, sa.Connection):
        return read(source, query.table, _live, query, values=values)
    return read(source.connection, query.table, _past, query, values=values | history_place(source.seq))


class _Query(NamedTuple):
    """The form of a query without its values: statements are cached, as they take far longer to build than to run."""

    table: sa.Table
    equals: tuple[tuple[str, bool], ...]  # column, whether it is any of several values
    bounds: tuple[str, ...]
    lower: tuple[str, ...]
    names: tuple[str, ...]
    has_after: bool
    has_limit: bool
    is_descending: bool

    def page(self, query: sa.Select[Any]) -> sa.Select[Any]:
        """Return the query limited to one page of its rows."""
        columns = query.selected_columns
        for name, is_several in self.equals:
            type_: Any = sa.ARRAY(columns[name].type) if is_several else columns[name].type
            value = sa.bindparam(f"is_{name}", type_=type_)
            query = query.where(columns[name] == (sa.any_(value) if is_several else value))
        query = query.where(*(columns[to] <= sa.bindparam(f"to_{to}", type_=columns[to].type) for to in self.bounds))
        query = query.where(
            *(columns[since] >= sa.bindparam(f"from_{since}", type_=columns[since].type) for since in self.lower)
        )
        if self.has_after:
            types = [columns[name].type for name in self.names]
            here = sa.tuple_(*(columns[name] for name in self.names))
            there = sa.tuple_(*(sa.bindparam(f"after_{n}", type_=type_) for n, type_ in enumerate(types)))
            query = query.where(here < there if self.is_descending else here > there)
        return self.sorted(query, columns)

    def sorted(self, query: sa.Select[Any], columns: Any) -> sa.Select[Any]:
        """Return the query sorted, and limited if it has a limit."""
        query = query.order_by(*(columns[name].desc() if self.is_descending else columns[name] for name in self.names))
        return query.limit(sa.bindparam("limit", type_=sa.Integer)) if self.has_limit else query


@lru_cache(STATEMENTS_MAX)
def _live(query: _Query) -> sa.Select[Any]:
    return query.page(sa.select(query.table))


@lru_cache(STATEMENTS_MAX)
def _past(query: _Query) -> sa.Select[Any]:
    pages = (query.page(part).subquery() for part in held_at(query.table, query.names[0]))
    both = sa.union_all(*(sa.select(rows) for rows in pages)).subquery()
    return query.sorted(sa.select(both), both.c)


def _conditions(columns: Any, equals: Mapping[str, Any]) -> list[sa.ColumnElement[bool]]:
    return [
        columns[name].in_(value) if isinstance(value, tuple) else columns[name] == value
        for name, value in equals.items()
    ]
