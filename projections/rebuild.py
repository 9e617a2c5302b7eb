"""Rebuild: a projection's rows again from the log's first event, beside the rows in use, then swapped in at once.

The new rows are folded into the schema `read_<name>_next` up to the live projection's place. There the live place is
locked, the rows of both are compared, and the schemas change names in one transaction: readers see the old rows or the
new, never half. A projection's digest is SHA-256 over the SHA-256 of every thousand rows as text, table by table in
order of primary key.
"""

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from domain.log import EventLog
from projections import progress
from projections.rows import SqlRows
from projections.tables import Projection

BATCH_EVENTS_MAX = 5000
REBUILD_LOCK = 0x0DA7_B0BD  # one rebuild at a time

CHUNKS = """
SELECT count(*), sha256(convert_to(string_agg(line, chr(10) ORDER BY number), 'UTF8'))
FROM (SELECT row_number() OVER (ORDER BY {keys}) - 1 AS number, stored::text AS line FROM {name} AS stored) AS numbered
GROUP BY number / 1000 ORDER BY number / 1000
"""  # a thousand rows at a time, so that no table is too large

DROP_LOCK_MS_MAX = 1000
NOT_DURABLE = "SET LOCAL synchronous_commit = off"  # rows that are lost are folded again

OnProgress = Callable[[int, int], None]
_QUOTE = postgresql.dialect().identifier_preparer.quote  # type: ignore[no-untyped-call]


class RebuildResult(NamedTuple):
    """A projection rebuilt at `seq`. `is_identical` is None where the old rows were of another version."""

    name: str
    rows: int
    digest_before: str | None
    digest_after: str
    is_identical: bool | None
    seq: int


class _Next:
    """The rows being built for one projection."""

    def __init__(self, connection: sa.Connection, projection: Projection) -> None:
        self.projection = projection
        self.schema = f"{projection.schema}_next"
        self.old = f"{projection.schema}_old"
        self.seq = 0
        projection.drop(connection, self.schema)
        projection.drop(connection, self.old)
        projection.create(connection, self.schema)
        self.rows = SqlRows(projection.tables, self.schema, is_empty=True)


def rebuild(
    log: EventLog, connection: sa.Connection, projections: Iterable[Projection], on_progress: OnProgress | None = None
) -> list[RebuildResult]:
    """Rebuild projections in one pass over the log, and swap them in one by one.

    `on_progress` is told the seq it is at and the seq it goes to. An event that a fold fails at stops the rebuild with
    the fold's error; the rows in use stay as they are.
    """
    with _alone(connection):
        with connection.begin():
            nexts = [_Next(connection, projection) for projection in projections]
        _build(log, connection, nexts, on_progress)
        results = [_swap(log, connection, next_) for next_ in nexts]
        _drop_old(connection, nexts)
        return results


@contextlib.contextmanager
def _alone(connection: sa.Connection) -> Iterator[None]:
    with connection.begin():
        connection.execute(sa.select(sa.func.pg_advisory_lock(REBUILD_LOCK)))
    try:
        yield
    finally:
        if not connection.closed and not connection.invalidated:
            with connection.begin():
                connection.execute(sa.select(sa.func.pg_advisory_unlock(REBUILD_LOCK)))


def _build(log: EventLog, connection: sa.Connection, nexts: Sequence[_Next], on_progress: OnProgress | None) -> None:
    """All the way to where the live projections are, in batches."""
    with connection.begin():
        live = progress.places(connection)
    upto = {next_.projection.name: live[next_.projection.name][0].seq for next_ in nexts}
    last = max(upto.values(), default=0)
    seq, batches = 0, progress.Batches(log, BATCH_EVENTS_MAX)
    while seq < last and (batch := batches.next(seq, last)):
        with connection.begin():
            connection.execute(sa.text(NOT_DURABLE))
            for next_ in nexts:
                _fold(connection, next_, batch, upto[next_.projection.name])
        seq = batch[-1].seq
        if on_progress is not None:
            on_progress(seq, last)


def _fold(connection: sa.Connection, next_: _Next, batch: Sequence[Any], upto: int) -> None:
    next_.rows.begin(connection)
    next_.projection.fold(next_.rows, [logged for logged in batch if next_.seq < logged.seq <= upto])
    next_.rows.flush()
    next_.seq = max(next_.seq, min(batch[-1].seq, upto))


def _swap(log: EventLog, connection: sa.Connection, next_: _Next) -> RebuildResult:
    """The last events, the comparison and the change of names, in one transaction."""
    projection = next_.projection
    with connection.begin():
        connection.execute(sa.text(f"{NOT_DURABLE}; SET LOCAL statement_timeout = 0; SET LOCAL work_mem = '64MB'"))
        live = progress.lock(connection, projection)
        batches = progress.Batches(log, BATCH_EVENTS_MAX)
        while next_.seq < live.seq:
            _fold(connection, next_, batches.next(next_.seq, live.seq), live.seq)
        before = _digest(connection, projection, projection.schema)[0] if live.version == projection.version else None
        after, rows = _digest(connection, projection, next_.schema)
        for old, new in ((projection.schema, next_.old), (next_.schema, projection.schema)):
            connection.execute(sa.text(f"ALTER SCHEMA {_QUOTE(old)} RENAME TO {_QUOTE(new)}"))
        progress.move(connection, projection)
    return RebuildResult(projection.name, rows, before, after, None if before is None else before == after, live.seq)


def _drop_old(connection: sa.Connection, nexts: Iterable[_Next]) -> None:
    """Remove the rows that were in use; if a reader is still at work in them, the next rebuild will."""
    with contextlib.suppress(sa.exc.OperationalError), connection.begin():
        connection.execute(sa.text(f"SET LOCAL lock_timeout = '{DROP_LOCK_MS_MAX}ms'"))
        for next_ in nexts:
            next_.projection.drop(connection, next_.old)


def _digest(connection: sa.Connection, projection: Projection, schema: str) -> tuple[str, int]:
    """The digest of a projection's rows in a schema, and their number. Chunks are hashed where the rows are."""
    digest, rows = hashlib.sha256(), 0
    for table in projection.tables:
        name = f"{_QUOTE(schema)}.{_QUOTE(table.name)}"
        keys = ", ".join(_QUOTE(column.name) for column in table.primary_key.columns)
        digest.update(f"{table.name} ({', '.join(column.name for column in table.columns)})\n".encode())
        for chunk_rows, sha256 in connection.execute(sa.text(CHUNKS.format(name=name, keys=keys))):
            digest.update(sha256)
            rows += chunk_rows
    return digest.hexdigest(), rows
