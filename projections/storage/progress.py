"""Progress: each projection's place in the log, stored beside its rows and moved in the same transaction.

The digest of the rows (`projections.storage.copy_lines.Sum`) moves with the place. About every ATTESTED_EVENTS events
one of these digests is kept, so that a drift can be traced to a range of the log (`projections.runner.attestation`).
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NamedTuple

import psycopg
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from domain.errors import ProjectionStopped, RequestRefused, Unavailable
from domain.ledger import EventLog, Logged, Recorded, schema
from projections.storage import schemas
from projections.storage.copy_lines import Sum, sum_of
from projections.storage.tables import AT, TEXT, Projection

ATTESTED_EVENTS = 1000
REASON_CHARS_MAX = 500

COLUMNS = "projection, version, seq, updated_at, error, schema, digest, rows"
LOCK = f"SELECT {COLUMNS} FROM read.progress WHERE projection = ANY(%s) ORDER BY projection FOR UPDATE"  # noqa: S608
MOVE = """
UPDATE read.progress AS progress
SET seq = moved.seq, digest = moved.digest, rows = moved.rows, error = NULL, updated_at = clock_timestamp()
FROM unnest(%s::text[], %s::bigint[], %s::bytea[], %s::bigint[]) AS moved (name, seq, digest, rows)
WHERE projection = moved.name RETURNING progress.*
""".strip()

DATABASE_STATES = ("08", "25", "40", "53", "55", "57", "58", "XX")  # classes of SQLSTATE that no event causes
MENDABLE_STATES = ("42501", "42P01", "3F000")  # no privilege, no table, no schema

_UNREACHABLE = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    sa.exc.OperationalError,
    sa.exc.InterfaceError,
    sa.exc.TimeoutError,
)

progress = sa.Table(
    "progress",
    sa.MetaData(),
    sa.Column("projection", TEXT, primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("updated_at", AT, nullable=False),
    sa.Column("error", TEXT),
    sa.Column("schema", TEXT),
    sa.Column("digest", sa.LargeBinary),
    sa.Column("rows", sa.BigInteger),
    schema="read",
)
attestations = sa.Table(
    "attestations",
    sa.MetaData(),
    sa.Column("projection", TEXT, primary_key=True),
    sa.Column("seq", sa.BigInteger, primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("digest", sa.LargeBinary, nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    schema="read",
)

kept = sa.Table(
    "kept",
    sa.MetaData(),
    sa.Column("projection", TEXT, primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("schema", TEXT, nullable=False),
    sa.Column("digest", sa.LargeBinary),
    sa.Column("rows", sa.BigInteger),
    sa.Column("kept_at", AT, nullable=False, server_default=sa.func.clock_timestamp()),
    schema="read",
)


class Place(NamedTuple):
    """A projection's place: the version of its folds, its seq in the log, the schema of its tables, the digest of its
    rows. `updated_at` changes with every write by any process, which shows whether a cache is still valid.
    """

    version: int
    seq: int
    updated_at: datetime
    schema: str
    sum: Sum


class Move(NamedTuple):
    """A projection's step from `before` to `seq`, where the digest of its rows is `sum`."""

    name: str
    before: Place
    seq: int
    sum: Sum


class Kept(NamedTuple):
    """Rows that a rebuild has replaced: the version of their folds, their seq, schema and digest."""

    version: int
    seq: int
    schema: str
    sum: Sum


class Attested(NamedTuple):
    """The digest of a projection's rows as of `seq`."""

    seq: int
    sum: Sum


def places(connection: sa.Connection) -> dict[str, tuple[Place, str | None]]:
    """Return every projection's place, and the error that stopped it."""
    found = connection.execute(sa.select(progress))
    return {row.projection: (_place(row), row.error) for row in found}


def places_of_version(connection: sa.Connection, projections: Sequence[Projection]) -> dict[str, Place]:
    """Return the places of these projections. Raises RequestRefused if rows are of another version of the folds."""
    found = places(connection)
    for projection in projections:
        stored = found[projection.name][0].version
        if stored != projection.version:
            rule = f"the rows of {projection.name} are of the version that this Daybook folds"
            raise RequestRefused(rule, version=projection.version, version_of_rows=stored)
    return {projection.name: found[projection.name][0] for projection in projections}


def lock(connection: sa.Connection, projection: Projection) -> Place:
    """Lock and return the projection's place: no other transaction moves it until this one ends."""
    return locked(connection, projection)[0]


def locked(connection: sa.Connection, projection: Projection) -> tuple[Place, str | None]:
    """Like `lock`, with the error that stopped the projection."""
    query = sa.select(progress).where(progress.c.projection == projection.name).with_for_update()
    row = connection.execute(query).one()
    return _place(row), row.error


def lock_all(connection: sa.Connection, names: Sequence[str]) -> dict[str, Place]:
    """Lock and return several places. All transactions lock places in this order."""
    return {row.projection: _place(row) for row in connection.exec_driver_sql(LOCK, (list(names),))}


def move(connection: sa.Connection, projection: Projection, **values: Any) -> Place:
    """Write `values` (seq, error, schema, digest, rows) and the projection's version to its place."""
    moved = (
        sa.update(progress)
        .where(progress.c.projection == projection.name)
        .values(version=projection.version, updated_at=sa.func.clock_timestamp(), **values)
        .returning(progress)
    )
    return _place(connection.execute(moved).one())


def move_all(connection: sa.Connection, moves: Sequence[Move]) -> dict[str, Place]:
    """Advance locked places, with the digests of their rows; returns the new places by projection."""
    if not moves:
        return {}
    due = [move for move in moves if move.seq // ATTESTED_EVENTS > move.before.seq // ATTESTED_EVENTS]
    _insert_attested(connection, [(move.name, move.before.version, Attested(move.seq, move.sum)) for move in due])
    columns = zip(*((move.name, move.seq, move.sum.digest, move.sum.rows) for move in moves), strict=True)
    moved = connection.exec_driver_sql(MOVE, tuple(map(list, columns)))
    return {row.projection: _place(row) for row in moved}


def resume(connection: sa.Connection, names: Sequence[str]) -> list[str]:
    """Clear the errors of stopped projections; returns the names of those that had one."""
    is_stopped = progress.c.projection.in_(names) & progress.c.error.is_not(None)
    cleared = sa.update(progress).where(is_stopped).values(error=None, updated_at=sa.func.clock_timestamp())
    return sorted(connection.scalars(cleared.returning(progress.c.projection)))


def kept_rows(connection: sa.Connection, projection: Projection) -> Kept | None:
    """Return the rows that the last rebuild has replaced; None if there was none."""
    row = connection.execute(sa.select(kept).where(kept.c.projection == projection.name)).one_or_none()
    return None if row is None else Kept(row.version, row.seq, row.schema, sum_of(row.digest, row.rows))


def keep(connection: sa.Connection, projection: Projection, place: Place) -> None:
    """Keep the rows of a place that is about to be replaced, instead of the rows kept before."""
    connection.execute(sa.delete(kept).where(kept.c.projection == projection.name))
    values = {"version": place.version, "seq": place.seq, "schema": place.schema}
    values |= {"digest": place.sum.digest, "rows": place.sum.rows}
    connection.execute(sa.insert(kept).values(projection=projection.name, **values))


def attest(connection: sa.Connection, projection: Projection, attested: Iterable[Attested]) -> None:
    """Store digests of the projection's rows."""
    _insert_attested(connection, [(projection.name, projection.version, one) for one in attested])


def _insert_attested(connection: sa.Connection, digests: Iterable[tuple[str, int, Attested]]) -> None:
    rows = [
        {"projection": name, "seq": one.seq, "version": version, "digest": one.sum.digest, "rows": one.sum.rows}
        for name, version, one in digests
    ]
    if rows:
        connection.execute(sa.insert(attestations), rows)


def attested(connection: sa.Connection, projection: Projection) -> list[Attested]:
    """Return the digests kept of the rows in use, by seq."""
    mine = (attestations.c.projection == projection.name) & (attestations.c.version == projection.version)
    found = connection.execute(sa.select(attestations).where(mine).order_by(attestations.c.seq))
    return [Attested(row.seq, sum_of(row.digest, row.rows)) for row in found]


def forget_attested(connection: sa.Connection, projection: Projection) -> None:
    """Delete the digests of rows that are replaced."""
    connection.execute(sa.delete(attestations).where(attestations.c.projection == projection.name))


def _place(row: Any) -> Place:
    return Place(
        version=row.version,
        seq=row.seq,
        updated_at=row.updated_at,
        schema=row.schema,
        sum=sum_of(row.digest, row.rows),
    )


def create_missing(connection: sa.Connection, projections: Iterable[Projection]) -> None:
    """Create a place and empty tables for each projection without. Several processes may do so at once."""
    known = connection.scalars(sa.select(progress.c.projection)).all()
    for projection in projections:
        if projection.name in known:
            continue
        with connection.begin_nested():
            made = schemas.named(connection, projection)
            claim = postgresql.insert(progress).on_conflict_do_nothing().returning(progress.c.projection)
            first = {"projection": projection.name, "version": projection.version, "schema": made}
            first |= {"seq": 0, "updated_at": sa.func.clock_timestamp(), "digest": Sum().digest, "rows": 0}
            if connection.scalar(claim.values(first)) is not None:
                forget_attested(connection, projection)
                connection.execute(sa.delete(kept).where(kept.c.projection == projection.name))
                for unused in schemas.others(connection, projection, keep=[made]):
                    projection.drop(connection, unused)
                projection.create(connection, made)
                schemas.show(connection, projection, made)


def stopped(projection: Projection, logged: Logged, error: Exception) -> ProjectionStopped:
    """Return the error that names the event a fold failed at."""
    topic = schema.topic_of(logged.recorded.event)
    why = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return ProjectionStopped(
        projection=projection.name,
        seq=logged.seq,
        topic=topic,
        stream=logged.recorded.stream,
        reason=why[:REASON_CHARS_MAX],
    )


@contextmanager
def reaching() -> Iterator[None]:
    """Raise Unavailable for the loss or absence of the database."""
    try:
        yield
    except _UNREACHABLE as error:
        raise Unavailable(f"the database of the read models: {' '.join(str(error).split())}") from error


def is_unreachable(error: Exception) -> bool:
    """Whether the error is the loss or state of the whole database, such as read-only, and not a failed statement."""
    return isinstance(error, _UNREACHABLE) or _sqlstate(error).startswith(DATABASE_STATES)


def is_mendable(error: Exception) -> bool:
    """Whether the error is a table or a right that is missing: of the database, and no fault of the event folded."""
    return _sqlstate(error) in MENDABLE_STATES


def _sqlstate(error: Exception) -> str:
    cause = error.orig if isinstance(error, sa.exc.DBAPIError) else error
    return (cause.sqlstate or "") if isinstance(cause, psycopg.Error) else ""


class Batches:
    """The log in batches of about `events_max` that end where an append ends: a read model shows all of it or nothing.

    Consecutive appends of one request at one moment count as one.
    """

    def __init__(self, log: EventLog, events_max: int) -> None:
        self._log = log
        self._events_max = events_max
        self._ahead: list[Logged] = []  # already read events of the next batch

    def next(self, after: int, upto: int | None = None) -> list[Logged]:
        """Return the batch after seq `after`; empty at the end of the log, or at `upto`, where an append ends."""
        batch = self._ahead if self._ahead and self._ahead[0].seq == after + 1 else []
        self._ahead = []
        while True:
            more = self._log.select(after=batch[-1].seq if batch else after, upto=upto, limit=self._events_max)
            batch = batch + more
            if len(more) < self._events_max:
                return batch
            last = _append(batch[-1].recorded)
            for end in range(len(batch), 0, -1):
                if _append(batch[end - 1].recorded) != last:
                    self._ahead = batch[end:]
                    return batch[:end]


def _append(recorded: Recorded) -> tuple[datetime, str, str]:
    return recorded.recorded_at, recorded.actor, recorded.request_id
