"""History: every version of a row, so that a table can be read as of any place in the log by look-ups alone.

A live table has the current rows. When one is replaced or deleted, the version that ended is added to the table's
history: its columns, `seq` (the first place in the log at which it held) and `until` (the first at which it no longer
did). So a row that is never changed costs nothing, and no history row is ever updated. As of seq S there are the live
rows with `seq` <= S and the versions with `seq` <= S < `until`.

An ordinary index cannot find the intervals that contain S. Here each version is filed under its *node*: of all places
from `seq` to `until` - 1 the one that the highest power of two divides. All intervals that contain S are filed under
one of the few nodes on S's way up a binary tree over the log (`path`), about as many as the log's length has bits: one
probe of the index for each. (H.-P. Kriegel, M. Pötke, T. Seidl, Managing Intervals Efficiently in Object-Relational
Databases, 2000)
"""

from typing import Any, NamedTuple

import sqlalchemy as sa

WHOLE = sa.BigInteger()
LEVELS = 48  # of the tree over the log, which will not grow beyond 2^48


class AsOf(NamedTuple):
    """A connection to live tables, and the place in the log to read them as of. No table may be behind that place."""

    connection: sa.Connection
    seq: int


def history_table(live: sa.Table, versions_by: tuple[str, ...] = ()) -> sa.Table:
    """Return the table of a live table's ended versions; `versions_by` are columns to index them by."""
    columns = [sa.Column(column.name, column.type, nullable=True) for column in live.columns]
    ends = [sa.Column(name, WHOLE, nullable=False) for name in ("until", "node")]
    made = sa.Table(f"{live.name}_history", sa.MetaData(), *columns, *ends, schema=live.schema)
    sa.Index(f"{live.name}_history_by_node", made.c.node, made.c.until, made.c.seq)
    if versions_by:
        sa.Index(f"{live.name}_history_by_{versions_by[-1]}", *(made.c[name] for name in versions_by), made.c.seq)
    return made


def history_of(live: sa.Table) -> sa.Table:
    """Return a table's history. Raises LookupError if it has none."""
    if "history" not in live.info:
        raise LookupError(f"{live.name} has no history: it is not read as of past moments")
    history: sa.Table = live.info["history"]
    return history


def node_of(seq: int, until: int) -> int:
    """Return the node under which a version that held from `seq` up to, not including, `until` is filed."""
    last = until - 1
    shared = ((seq - 1) ^ last).bit_length() - 1
    return last >> shared << shared


def path(seq: int, levels: int = LEVELS) -> list[int]:
    """Return the nodes under which versions that held at `seq` can be filed."""
    return [seq >> (level + 1) << (level + 1) | 1 << level for level in range(levels)]


def held_at(live: sa.Table, sorted_by: str = "") -> tuple[sa.Select[Any], sa.Select[Any]]:
    """Return queries for the rows that held at a place: those that still do, and those that have ended.

    Their parameters are those of `place`. If rows are `sorted_by` the table's `created_by` column, later ones are left
    out. Raises LookupError if the table has no history.
    """
    history, seq = history_of(live), sa.bindparam("seq", type_=WHOLE)
    still = sa.select(live).where(live.c.seq <= seq)
    if sorted_by and sorted_by == live.info["created_by"]:
        still = still.where(live.c[sorted_by] <= seq)
    nodes = sa.any_(sa.bindparam("nodes", type_=sa.ARRAY(WHOLE)))
    ended = sa.select(*(history.c[column.name] for column in live.columns))
    return still, ended.where(history.c.node == nodes, history.c.until > seq, history.c.seq <= seq)


def place(seq: int) -> dict[str, Any]:
    """Return the parameters of `held_at` for a place in the log."""
    return {"seq": seq, "nodes": path(seq)}
