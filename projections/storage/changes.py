"""Changes of a table since a place in the log: the rows touched since, and the rows that are no more.

Every row has the seq of the event that touched it last, and the history has the versions that held at a place and have
ended since. So what changed is a look-up too, and does not take longer in a long log.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import sqlalchemy as sa

from projections.storage.history import AsOf, held_at, history_of, place
from projections.storage.rows import MemoryRows, Source, key_of
from projections.storage.tables import Row


class Changes(NamedTuple):
    """The rows touched since, and of each row that is no more the version that held before."""

    touched: list[Row]
    removed: list[Row]


def changes(source: Source, table: sa.Table, since: int, where: Mapping[str, Any]) -> Changes:
    """Return the changes of the rows whose columns have these values (None is no condition) since a place.

    Of a past moment: the changes from `since` up to there. Raises LookupError for a table without a history.
    """
    assert not isinstance(source, MemoryRows), "a replay has no past"
    connection, upto = (source.connection, source.seq) if isinstance(source, AsOf) else (source, None)
    conditions = {name: value for name, value in where.items() if value is not None}
    if upto is None:
        newer = table.c.seq > since
        if table.info["is_only_added"] and (created := table.info["created_by"]):
            newer = table.c[created] > since  # which has an index
        touched = _rows(connection, _where(sa.select(table), table.c, conditions).where(newer), {})
    else:
        touched = [
            row
            for part in held_at(table)
            for row in _rows(connection, _where(part, part.selected_columns, conditions), place(upto))
            if row["seq"] > since
        ]
    history = history_of(table)
    _, held = held_at(table)
    if upto is not None:
        held = held.where(history.c.until <= upto)
    before = _rows(connection, _where(held, history.c, conditions), place(since))
    key = key_of(table)
    known = {key(row) for row in touched}
    return Changes(touched, [row for row in before if key(row) not in known])


def _where(query: sa.Select[Any], columns: Any, conditions: Mapping[str, Any]) -> sa.Select[Any]:
    return query.where(*(columns[name] == value for name, value in conditions.items()))


def _rows(connection: sa.Connection, query: sa.Select[Any], values: Mapping[str, Any]) -> list[Row]:
    return [dict(row) for row in connection.execute(query, values).mappings()]
