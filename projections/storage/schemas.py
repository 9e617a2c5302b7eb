"""Database schemas of projections: where their tables are, and how readers find them.

The tables of every rebuild are in a schema of their own, `read_<name>_<number>`, whose name is never used again; the
projection's place names the one in use (`projections.storage.progress`). A reader that reads that name in a snapshot,
and then only tables of that schema (`as_placed`), sees the rows of one moment, also while a rebuild is swapped in.
`read_<name>` has views of the tables in use, for all other readers: every statement sees the old rows or the new.
"""

import contextlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from projections.storage.tables import Projection, schema_of

DROP_LOCK_MS_MAX = 50  # readers never wait longer for schemas to be dropped
NUMBERS = sa.text("SELECT nextval('read.schema_numbers')")
RELATIONS = sa.text("SELECT tablename FROM pg_tables WHERE schemaname = :schema ORDER BY tablename")
SCHEMAS = sa.text("SELECT nspname FROM pg_namespace WHERE nspname ~ :pattern ORDER BY nspname")
PLACED = sa.text("SELECT projection, schema, seq, error FROM read.progress")

_QUOTE = postgresql.dialect().identifier_preparer.quote  # type: ignore[no-untyped-call]


def named(connection: sa.Connection, projection: Projection, kind: str = "") -> str:
    """Return a schema name that was never used."""
    return f"{projection.schema}_{kind}{connection.scalar(NUMBERS)}"


def relations(connection: sa.Connection, schema: str) -> list[str]:
    """Return the names of the tables in a schema."""
    return list(connection.scalars(RELATIONS, {"schema": schema}))


def others(connection: sa.Connection, projection: Projection, *, keep: Sequence[str]) -> list[str]:
    """Return the schemas made for a projection, without those to keep and the views in use."""
    found = connection.scalars(SCHEMAS, {"pattern": f"^{projection.schema}_(views_)?[0-9]+$"})
    return [schema for schema in found if schema not in keep]


def show(connection: sa.Connection, projection: Projection, schema: str) -> None:
    """Make `read_<name>` the views of the tables of `schema`. Waits for no reader: only schemas are renamed."""
    views, before = named(connection, projection, "views_"), named(connection, projection, "views_")
    connection.execute(sa.text(f"CREATE SCHEMA {_QUOTE(views)}"))
    for name in relations(connection, schema):
        shown = f"CREATE VIEW {_QUOTE(views)}.{_QUOTE(name)} AS SELECT * FROM {_QUOTE(schema)}.{_QUOTE(name)}"  # noqa: S608
        connection.execute(sa.text(shown))
    if connection.scalar(sa.text("SELECT to_regnamespace(:name)"), {"name": projection.schema}) is not None:
        connection.execute(sa.text(f"ALTER SCHEMA {_QUOTE(projection.schema)} RENAME TO {_QUOTE(before)}"))
    connection.execute(sa.text(f"ALTER SCHEMA {_QUOTE(views)} RENAME TO {_QUOTE(projection.schema)}"))


class Placed(NamedTuple):
    """The schema of a projection's tables, their seq, and the error that stopped the projection, if any."""

    projection: str
    schema: str
    seq: int
    error: str | None


def placed(connection: sa.Connection) -> list[Placed]:
    """Return the schema and seq of every projection, at the connection's snapshot."""
    return [Placed(*row) for row in connection.execute(PLACED)]


def as_placed(connection: sa.Connection, found: Iterable[Placed] | None = None) -> sa.Connection:
    """Return the connection with read models' tables mapped to those in use at its snapshot, for one transaction."""
    places = placed(connection) if found is None else found
    return connection.execution_options(schema_translate_map={schema_of(one.projection): one.schema for one in places})


def sweep(connection: sa.Connection, projections: Iterable[Projection], keep: Sequence[str]) -> None:
    """Drop the schemas that no place names; one that is still being read is left for the next sweep."""
    for projection in projections:
        with connection.begin():
            unused = others(connection, projection, keep=keep)
        for views_first in sorted(unused, key=lambda schema: "_views_" not in schema):
            with contextlib.suppress(sa.exc.OperationalError), connection.begin():
                connection.execute(sa.text(f"SET LOCAL lock_timeout = '{DROP_LOCK_MS_MAX}ms'"))
                projection.drop(connection, views_first)
