"""SQL views that follow rebuilds: each shows the rows in use at its reader's snapshot, under a name that stays.

Two layers. Beside the tables of every build is a *leaf* of each view, `read_orders_17.v1_orders`. The view itself,
`v1.orders`, is all leaves of the builds that are or may come into use, each under the condition that the reader's
snapshot has that build in use (`read.in_use`). So it is not changed by the swap: a build is added before it, and one
that is dropped is removed long after. The planner skips the leaves that are not in use.

To change a view takes a moment without readers of it. A rebuild waits for one before it swaps.
"""

import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from domain.errors import Unavailable
from projections.sql_views.definitions import (
    Column,
    Composed,
    Function,
    Version,
    View,
    as_of,
    history_columns,
    selected,
)
from projections.sql_views.versions import VERSIONS
from projections.storage import progress
from projections.storage.tables import Projection

LOCK = sa.text("SELECT pg_advisory_xact_lock(229093565)")  # 0x0DA7_B0BD + 128: one process changes views at a time
LOCK_MS_MAX = 50  # readers never wait longer for a view to be changed
ATTEMPT_S = 0.2
WAIT_SECONDS_MAX = 600

PRESENT = sa.text("""
SELECT views.relname AS name,
    coalesce(array_agg(DISTINCT n.nspname) FILTER (WHERE n.nspname <> s.nspname), '{}') AS made_of
FROM pg_class AS views JOIN pg_namespace AS s ON s.oid = views.relnamespace
LEFT JOIN pg_rewrite AS rules ON rules.ev_class = views.oid
LEFT JOIN pg_depend AS d ON d.classid = 'pg_rewrite'\\:\\:regclass AND d.objid = rules.oid
    AND d.refclassid = 'pg_class'\\:\\:regclass
LEFT JOIN pg_class AS leaves ON leaves.oid = d.refobjid
LEFT JOIN pg_namespace AS n ON n.oid = leaves.relnamespace
WHERE s.nspname = :version AND views.relkind = 'v' GROUP BY views.relname
""")
COLUMNS = sa.text("""
SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(:place) AND attnum > 0 AND NOT attisdropped
ORDER BY attnum
""")
FUNCTIONS = sa.text("SELECT proname FROM pg_proc WHERE pronamespace = to_regnamespace(:version)")
LEAVES = sa.text("SELECT schemaname, viewname FROM pg_views WHERE viewname = ANY(:names)")
READERS = sa.text("""
SELECT DISTINCT pid FROM pg_locks JOIN pg_class ON pg_class.oid = relation
WHERE relnamespace = to_regnamespace(:version) AND relname = ANY(:names) AND pid <> pg_backend_pid() AND granted
ORDER BY pid
""")

_quote = postgresql.dialect().identifier_preparer.quote  # type: ignore[no-untyped-call]


class Shown(NamedTuple):
    """A view in the database: of one version, by its name there, with its columns; `of` is the definition."""

    version: str
    name: str
    columns: tuple[Column, ...]
    comment: str
    of: View

    @property
    def leaf(self) -> str:
        """The name of its leaf in the schema of a build."""
        return f"{self.version}_{self.name}"

    @property
    def is_history(self) -> bool:
        """Whether it shows past versions of rows as well."""
        return self.name != self.of.name


def shown(projections: Iterable[Projection], versions: Iterable[Version] = VERSIONS) -> list[Shown]:
    """Return the views of these projections, in every version."""
    found = []
    tables = {(one.name, table.name) for one in projections for table in one.tables}
    for version in versions:
        for view in version.views:
            if (view.projection, view.table) not in tables:
                continue
            if view.has_history:  # before the view itself, whose function reads it
                comment = f"Every version of every row of {view.name}, past and present."
                found.append(Shown(version.name, f"{view.name}_history", history_columns(view), comment, of=view))
            found.append(Shown(version.name, view.name, view.columns, view.comment, of=view))
    return found


def ensure(connection: sa.Connection, projections: Sequence[Projection]) -> None:
    """Create the views that are missing, for the rows in use. Those that exist are left alone."""
    if not (missing := list(_missing(connection, projections))) and not _absent(connection):
        return
    connection.execute(LOCK)
    missing = list(_missing(connection, projections))
    for view, schema in missing:
        _add_leaf(connection, view, schema)
        _define(connection, view, [schema])
    _compose(connection)


def _missing(connection: sa.Connection, projections: Sequence[Projection]) -> Iterator[tuple[Shown, str]]:
    """Yield views that do not show the rows in use, where this Daybook can make them, with the schema of the rows."""
    places = progress.places(connection)
    present = {version.name: _present(connection, version.name) for version in VERSIONS}
    versions = {one.name: one.version for one in projections}
    for view in shown(projections):
        place, _ = places[view.of.projection]
        if place.version == versions[view.of.projection] and place.schema not in present[view.version].get(
            view.name, ()
        ):
            yield view, place.schema


def _present(connection: sa.Connection, version: str) -> dict[str, set[str]]:
    """Return the views of a version, and the schemas that each shows."""
    return {row.name: set(row.made_of) for row in connection.execute(PRESENT, {"version": version})}


def attach(connection: sa.Connection, projections: Sequence[Projection], schemas: Mapping[str, str]) -> None:
    """Let the views show the rows of these schemas as soon as they come into use, besides those in use now.

    Raises Unavailable if the views are read without a pause for WAIT_SECONDS_MAX.
    """
    with connection.begin():
        for view in shown(projections):
            _add_leaf(connection, view, schemas[view.of.projection])
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while busy := [
        view for view, wanted in _outdated(connection, projections, schemas) if not _redefined(connection, view, wanted)
    ]:
        if time.monotonic() > deadline:
            raise _never_free(connection, busy[0])
        time.sleep(ATTEMPT_S)


def release(connection: sa.Connection, projections: Sequence[Projection]) -> set[str]:
    """Let the views show only rows that are in use or kept; return the schemas that some still show, being read."""
    busy = [view for view, wanted in _outdated(connection, projections) if not _redefined(connection, view, wanted)]
    if not busy:
        return set()
    with connection.begin():
        present = {version.name: _present(connection, version.name) for version in VERSIONS}
    return {schema for view in busy for schema in present[view.version].get(view.name, ())}


def _outdated(
    connection: sa.Connection, projections: Sequence[Projection], more: Mapping[str, str] | None = None
) -> list[tuple[Shown, list[str]]]:
    """Return the views that do not show just the rows in use, those kept and `more`, with the schemas they should."""
    views = shown(projections)
    with connection.begin():
        used = {name: place.schema for name, (place, _) in progress.places(connection).items()}
        kept = {row.projection: row.schema for row in connection.execute(sa.select(progress.kept))}
        leaves = {
            (row.schemaname, row.viewname) for row in connection.execute(LEAVES, {"names": [v.leaf for v in views]})
        }
        present = {version.name: _present(connection, version.name) for version in VERSIONS}
    found = []
    for view in views:
        name = view.of.projection
        chosen = dict.fromkeys(schemas.get(name) for schemas in (used, more or {}, kept))
        wanted = [schema for schema in chosen if schema is not None and (schema, view.leaf) in leaves]
        if wanted and set(wanted) != present[view.version].get(view.name):
            found.append((view, wanted))
    return found


def _redefined(connection: sa.Connection, view: Shown, schemas: Sequence[str]) -> bool:
    """Let a view show the rows of these schemas. False if it is being read."""
    with contextlib.suppress(sa.exc.OperationalError), connection.begin():
        connection.execute(LOCK)
        connection.execute(sa.text(f"SET LOCAL lock_timeout = '{LOCK_MS_MAX}ms'"))
        _define(connection, view, schemas)
        _compose(connection)
        return True
    return False


def _never_free(connection: sa.Connection, view: Shown) -> Unavailable:
    with connection.begin():
        pids = connection.scalars(READERS, {"version": view.version, "names": [view.name]}).all()
    return Unavailable(
        f"the view {view.version}.{view.name} was read without a pause for {WAIT_SECONDS_MAX} s, so the rebuilt rows "
        f"could not be swapped in; end the transactions of the sessions {', '.join(map(str, pids)) or '(gone by now)'}"
    )


def _add_leaf(connection: sa.Connection, view: Shown, schema: str) -> None:
    """Create a view's leaf beside the tables of a build, unless it is there."""
    at = _quote(schema)
    if connection.scalar(sa.text("SELECT to_regclass(:name)"), {"name": f"{at}.{_quote(view.leaf)}"}) is not None:
        return
    live = f"{at}.{_quote(view.of.table)}"
    source = view.of.source.format(table=live, schema=at)
    made_of = selected(view.of.columns).format(table=live, schema=at)
    body = f"SELECT {made_of} FROM {source}"  # noqa: S608 (our own names)
    if view.is_history:
        past = f"{at}.{_quote(view.of.table + '_history')}"
        ended = view.of.source.format(table=past, schema=at)
        body = (
            f"SELECT {made_of}, NULL::bigint AS until_seq, NULL::bigint AS node FROM {source}"  # noqa: S608
            f" UNION ALL SELECT {made_of}, t.until AS until_seq, t.node FROM {ended}"
        )
    _run(connection, f"CREATE VIEW {at}.{_quote(view.leaf)} AS {body}")


def _define(connection: sa.Connection, view: Shown, schemas: Sequence[str]) -> None:
    """Let a view show the rows of the schema in use, of these."""
    place = f"{view.version}.{_quote(view.name)}"
    before, wanted = _columns(connection, place), [column.name for column in view.columns]
    known = "ARRAY[" + ", ".join(f"'{schema}'" for schema in schemas) + "]"
    parts = (
        f"SELECT {_shown_by(connection, schema, view)} FROM {_quote(schema)}.{_quote(view.leaf)}"  # noqa: S608
        f" WHERE read.in_use('{view.of.projection}', '{schema}', {known})"
        for schema in schemas
    )
    _run(connection, f"CREATE OR REPLACE VIEW {place} AS {' UNION ALL '.join(parts)}")
    if before != wanted:
        _comment(connection, view.version, view)
    if before and before != wanted and not view.is_history and view.of.has_history:
        _make(connection, view.version, as_of(view.version, view.of))


def _columns(connection: sa.Connection, place: str) -> list[str]:
    """Return the columns that a view has in the database; none if it is not there."""
    return list(connection.scalars(COLUMNS, {"place": place}))


def _shown_by(connection: sa.Connection, schema: str, view: Shown) -> str:
    """Return what a view selects of a build's rows: null for a column that was added since the build."""
    there = set(_columns(connection, f"{_quote(schema)}.{_quote(view.leaf)}"))
    return ", ".join(column.name if column.name in there else _null(column) for column in view.columns)


def _null(column: Column) -> str:
    collation = ' COLLATE "C"' if column.type == "text" else ""
    return f"NULL::{column.type}{collation} AS {column.name}"


def _comment(connection: sa.Connection, version: str, view: Shown | Composed) -> None:
    place = f"{version}.{_quote(view.name)}"
    comments = [f"COMMENT ON VIEW {place} IS {_literal(view.comment)}"]
    comments += (
        f"COMMENT ON COLUMN {place}.{_quote(column.name)} IS {_literal(column.comment)}" for column in view.columns
    )
    _run(connection, "; ".join(comments))


def _absent(connection: sa.Connection) -> bool:
    """Whether something composed, or a function, is missing whose views exist."""
    return any(
        not _names(connection, version)
        >= {one.name for one in version.composed} | {one.name for one in version.functions}
        for version in VERSIONS
    )


def _names(connection: sa.Connection, version: Version) -> set[str]:
    functions = connection.scalars(FUNCTIONS, {"version": version.name})
    return set(_present(connection, version.name)) | set(functions)


def _compose(connection: sa.Connection) -> None:
    """Create the functions, and the views over other views, once all that they need is there."""
    for version in VERSIONS:
        present = _names(connection, version)
        places = {view: f"{version.name}.{_quote(view.name)}" for view in version.views}
        if any(len(_columns(connection, place)) < len(view.columns) for view, place in places.items()):
            continue
        for function in version.functions:
            if function.name not in present:
                _make(connection, version.name, function)
        for composed in version.composed:
            place = f"{version.name}.{_quote(composed.name)}"
            if len(_columns(connection, place)) < len(composed.columns):
                _run(connection, f"CREATE OR REPLACE VIEW {place} AS {_typed(composed)}")
                _comment(connection, version.name, composed)


def _typed(composed: Composed) -> str:
    names = ", ".join(f"({column.name})::{column.type} AS {column.name}" for column in composed.columns)
    return f"SELECT {names} FROM ({composed.made_by.strip()}) AS made"  # noqa: S608


def _make(connection: sa.Connection, version: str, function: Function) -> None:
    types = ", ".join(argument.split()[-1] for argument in function.arguments.split(","))
    _run(connection, function.made_by.strip())
    _run(connection, f"COMMENT ON FUNCTION {version}.{function.name}({types}) IS {_literal(function.comment)}")


def _literal(text: str) -> str:
    flat = " ".join(text.split())
    return "'" + flat.replace("'", "''") + "'"


def _run(connection: sa.Connection, statement: str) -> None:
    connection.execute(sa.text(statement.replace(":", "\\:")))
