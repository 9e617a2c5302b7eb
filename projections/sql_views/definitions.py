"""The definition of a view: its columns with their types and comments, and the SQL it is made of.

A version, such as `v1`, is a schema in the database. Its columns never change: views, columns at a view's end and
functions may be added, and all other changes are made in the next version, beside it.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

TYPES = frozenset({"text", "numeric", "bigint", "integer", "boolean", "timestamptz", "date"})
_COLUMN = re.compile(r"(?P<name>[a-z_]+) (?P<type>[a-z]+)(?: = (?P<made_of>.+?))? -- (?P<comment>.+)", re.DOTALL)


class Column(NamedTuple):
    """A column: its type, what it is made of (an SQL expression over the table, called `t`), and its meaning."""

    name: str
    type: str
    made_of: str
    comment: str


class View(NamedTuple):
    """A view of one table of a projection, in one version.

    `source` is the SQL after FROM; `{table}` is the table, `{schema}` the database schema of the projection's tables.
    The last `added` columns were added since its version was released.
    """

    name: str
    comment: str
    columns: tuple[Column, ...]
    projection: str
    table: str
    source: str
    has_history: bool
    added: int = 0


class Composed(NamedTuple):
    """A view or function over other views of the same version, or over tables that no rebuild replaces."""

    name: str
    comment: str
    columns: tuple[Column, ...]
    made_by: str


class Function(NamedTuple):
    """A function of a version: its arguments, what it returns, and the statement that makes it."""

    name: str
    arguments: str
    comment: str
    made_by: str


class Version(NamedTuple):
    """A version: the views of read models, what is composed of them, and functions."""

    name: str
    views: tuple[View, ...]
    composed: tuple[Composed, ...]
    functions: tuple[Function, ...]


def columns(text: str) -> tuple[Column, ...]:
    """Return columns written one a line as `name type -- Comment.` or `name type = expression -- Comment.`

    An indented line goes on the one before. Without an expression a column is the table's column of its name.
    """
    found = []
    for line in re.split(r"\n(?! )", text.strip("\n")):
        parsed = _COLUMN.fullmatch(re.sub(r"\s*\n\s+", " ", line))
        assert parsed is not None, f"a column is written `name type -- Comment.`: {line}"
        name, kind = parsed["name"], parsed["type"]
        assert kind in TYPES, f"{name} has a type that every tool reads: {kind}"
        found.append(Column(name, kind, parsed["made_of"] or f"t.{name}", parsed["comment"]))
    return tuple(found)


def view(
    name: str, of: str, comment: str, text: str, *, source: str = "{table} AS t", has_history: bool = True,
    added: str = "",
) -> View:  # fmt: skip
    """Return the view of a table, named `projection.table`; see `columns` for the text, and for `added`, the columns
    that were added at its end since its version was released.
    """
    projection, _, table = of.partition(".")
    flat = " ".join(comment.split())
    more = columns(added) if added else ()
    return View(
        name, flat, (*columns(text), *more), projection, table=table, source=source, has_history=has_history,
        added=len(more),
    )  # fmt: skip


def history_columns(of: View) -> tuple[Column, ...]:
    """Return the columns of a view's history: its own, and which places of the log a version held for."""
    added = columns("""
until_seq bigint -- The first place in the log at which this version no longer held; null while it holds.
node bigint -- The key under which `path_of` finds past versions; for the as-of functions.
""")
    released = len(of.columns) - of.added
    return (*of.columns[:released], *added, *of.columns[released:])


def as_of(version: str, of: View) -> Function:
    """Return the function that gives a view's rows as of a place in the log, by look-ups."""
    names = ", ".join(f"h.{column.name}" for column in of.columns)
    body = (
        f"SELECT {names} FROM {version}.{of.name}_history AS h WHERE h.until_seq IS NULL AND h.seq <= $1\n"  # noqa: S608
        f"UNION ALL SELECT {names} FROM {version}.{of.name}_history AS h\n"
        f"WHERE h.node = ANY ({version}.path_of($1)) AND h.until_seq > $1 AND h.seq <= $1"
    )
    made_by = (
        f"CREATE OR REPLACE FUNCTION {version}.{of.name}_as_of(as_of_seq bigint) RETURNS SETOF {version}.{of.name}\n"
        f"LANGUAGE sql STABLE PARALLEL SAFE AS $$ {body} $$"
    )
    comment = f"The rows of {of.name} as they were recorded at a place in the log."
    return Function(f"{of.name}_as_of", "as_of_seq bigint", comment, made_by)


def selected(of: Iterable[Column]) -> str:
    """Return a select list in which each column has its declared type."""
    return ", ".join(f"({column.made_of})::{column.type} AS {column.name}" for column in of)
