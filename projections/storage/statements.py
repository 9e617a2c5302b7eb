"""Statements that are made once: their text, and what makes our values of the driver's.

SQLAlchemy takes longer to translate a statement to the schema of a build, and its result to rows, than the server to
answer it. So what reads placed tables (`projections.storage.schemas`) is made into text once for each build, and sent
past it. All else is executed by SQLAlchemy, with the same result.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import closing
from functools import lru_cache
from typing import Any, TypeVar, cast

import psycopg
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from projections.storage.tables import Row

STATEMENTS_MAX = 500
_DIALECT = postgresql.psycopg.dialect()  # type: ignore[no-untyped-call]

Form = TypeVar("Form", bound=Hashable)
Query = sa.Select[Any] | sa.CompoundSelect[Any]
Processed = list[tuple[str, Callable[[Any], Any]]]


def read(
    connection: sa.Connection, table: sa.Table, build: Callable[[Form], Query], form: Form, *, values: Mapping[str, Any]
) -> list[Row]:
    """Return the rows of the statement that `build` makes of a form, on tables of one projection, that of `table`."""
    places: Mapping[str, str] = connection.get_execution_options().get("schema_translate_map") or {}
    home = table.schema or ""
    if home not in places:
        return rows_of(connection.execute(build(form), dict(values)))
    if not connection.in_transaction():
        connection.begin()
    made = _made(build, form)
    lent = connection.connection
    try:
        with closing(cast(Any, lent.cursor())) as cursor:
            cursor.execute(made.placed(home, places[home]), {**made.constants, **values})
            names, processed = made.names, made.processed(connection.dialect, cursor.description)
            rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    except psycopg.OperationalError as error:
        if cast(Any, lent.driver_connection).closed:
            connection.invalidate(error)  # so that it is not lent again
        raise
    for name, process in processed:
        for row in rows:
            row[name] = process(row[name])
    return rows


def rows_of(result: sa.CursorResult[Any]) -> list[Row]:
    """Return the rows of a result."""
    return [dict(row) for row in result.mappings()]


class _Made:
    """The text of a statement, for the build it was last read from, its constants and its columns."""

    def __init__(self, statement: Query) -> None:
        self._columns = list(statement.selected_columns)
        compiled = statement.compile(dialect=_DIALECT)
        self._text = str(compiled)
        self.constants = {name: value for name, value in compiled.params.items() if value is not None}
        self._placed = ("", "")
        self._processed: Processed | None = None
        self.names = [column.name for column in self._columns]

    def placed(self, home: str, schema: str) -> str:
        """Return the text with the tables of `home` in another schema."""
        known, text = self._placed
        if known != schema:
            text = self._text.replace(f"{home}.", f"{schema}.")
            self._placed = (schema, text)
        return text

    def processed(self, dialect: sa.Dialect, description: Sequence[Any]) -> Processed:
        """Return the columns whose values the driver does not return as we have them, and what makes ours of them."""
        if self._processed is None:
            kinds = [(column.name, column.type.dialect_impl(dialect)) for column in self._columns]
            makers = [
                (name, kind.result_processor(dialect, described[1]))
                for (name, kind), described in zip(kinds, description, strict=True)
            ]
            self._processed = [(name, make) for name, make in makers if make is not None]
        return self._processed


@lru_cache(STATEMENTS_MAX)
def _made(build: Callable[[Form], Query], form: Form) -> _Made:
    return _Made(build(form))
