"""Build: the rows of projections from the log's first event, in schemas not read yet.

A table is loaded without its indexes; they are created when rows are first looked up in the database, or at the end.
Rows are written every WINDOW_EVENTS events, in one transaction.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from domain.ledger import EventLog, Logged
from domain.ledger import schema as event_schema
from projections.storage import schemas
from projections.storage.copy_lines import Sum
from projections.storage.progress import Attested, Kept, is_unreachable, stopped
from projections.storage.rows import SqlRows
from projections.storage.tables import Projection

READ_EVENTS = 5_000
WINDOW_EVENTS = 20_000

INDEXES = sa.text("""
SELECT tables.relname AS table_name, indexes.relname AS name, pg_get_indexdef(indexes.oid) AS made_by,
       constraints.conname AS constraint_name, pg_get_constraintdef(constraints.oid) AS constrained_by
FROM pg_index JOIN pg_class AS indexes ON indexes.oid = indexrelid JOIN pg_class AS tables ON tables.oid = indrelid
LEFT JOIN pg_constraint AS constraints ON conindid = indexrelid AND contype = 'p'
WHERE tables.relnamespace = CAST(:schema AS regnamespace) ORDER BY constraints.conname NULLS LAST, indexes.relname
""")
LOADING = sa.text("SET LOCAL synchronous_commit = off; SET LOCAL statement_timeout = 0")  # what is lost is built again
SAMPLING = sa.text("SET LOCAL default_statistics_target = 10")  # autovacuum analyzes tables in use in full
SORTING = sa.text("SET LOCAL maintenance_work_mem = '128MB'; SET LOCAL statement_timeout = 0")

OnSeq = Callable[[int], None]
_QUOTE = postgresql.dialect().identifier_preparer.quote  # type: ignore[no-untyped-call]


class Built(NamedTuple):
    """The seq up to which a projection's rows are built, and their digests there and on the way."""

    seq: int
    sum: Sum
    attested: tuple[Attested, ...]


class Goal(NamedTuple):
    """The seq to build up to, and the places on the way that need a digest."""

    seq: int
    stops: tuple[int, ...] = ()


class _Indexes:
    """The indexes of a schema that is being loaded: dropped, and created when needed."""

    def __init__(self, connection: sa.Connection, schema: str, tables: Iterable[sa.Table]) -> None:
        self._schema = _QUOTE(schema)
        self._missing: dict[str, list[sa.Row[tuple[str, ...]]]] = {table.name: [] for table in tables}
        for row in connection.execute(INDEXES, {"schema": schema}).all():
            if row.table_name in self._missing:
                self._missing[row.table_name].append(row)
                connection.execute(sa.text(self._dropped(row)))

    def make(self, connection: sa.Connection, *names: str) -> None:
        """Create the indexes of the tables of these names, or of all."""
        for name in names or tuple(self._missing):
            if rows := self._missing.pop(name, []):
                connection.execute(SORTING)
            for row in rows:
                connection.execute(sa.text(self._made(row)))

    def _dropped(self, row: sa.Row[tuple[str, ...]]) -> str:
        if row.constraint_name is not None:
            return f"ALTER TABLE {self._schema}.{_QUOTE(row.table_name)} DROP CONSTRAINT {_QUOTE(row.constraint_name)}"
        return f"DROP INDEX {self._schema}.{_QUOTE(row.name)}"

    def _made(self, row: sa.Row[tuple[str, ...]]) -> str:
        if row.constraint_name is not None:
            table, name = f"{self._schema}.{_QUOTE(row.table_name)}", _QUOTE(row.constraint_name)
            return f"ALTER TABLE {table} ADD CONSTRAINT {name} {row.constrained_by}"
        return str(row.made_by).replace(":", "\\:")


class Build:
    """The rows of one projection being built: from the log's first event, or from rows that were `kept`."""

    def __init__(
        self,
        connection: sa.Connection,
        projection: Projection,
        *,
        kept: Kept | None = None,
        kind: type[SqlRows] = SqlRows,
    ) -> None:
        self.projection = projection
        self.schema = kept.schema if kept is not None else schemas.named(connection, projection)
        if kept is None:
            projection.create(connection, self.schema)
        self._indexes = _Indexes(connection, self.schema, projection.all_tables if kept is None else ())
        self._connection = connection
        self.rows = kind(
            projection.tables, self.schema, is_empty=kept is None,
            on_lookup=lambda table: self._indexes.make(connection, table.name),
        )  # fmt: skip
        self._attested: list[Attested] = []
        self._at: Logged | None = None
        self.seq = 0
        if kept is not None:
            self.seq, self.rows.sum = kept.seq, kept.sum

    @property
    def built(self) -> Built:
        """The seq reached, and the digests."""
        return Built(self.seq, self.rows.sum, tuple(self._attested))

    def fold(self, batch: Iterable[Logged]) -> None:
        """Fold the next events. Raises ProjectionStopped."""
        self.rows.begin(self._connection)
        try:
            self.projection.fold(self.rows, self._watched(batch))
        except Exception as error:
            if is_unreachable(error) or self._at is None:
                raise
            raise stopped(self.projection, self._at, error) from error

    def _watched(self, batch: Iterable[Logged]) -> Iterator[Logged]:
        for self._at in batch:
            yield self._at

    def flush(self, seq: int) -> None:
        """Write the changes up to `seq`."""
        self.rows.flush()
        self.seq = seq
        self._attested.append(Attested(seq, self.rows.sum))

    def finish(self) -> None:
        """Create the missing indexes, and analyze the tables for the query planner."""
        self._indexes.make(self._connection)
        self._connection.execute(SAMPLING)
        for name in schemas.relations(self._connection, self.schema):
            self._connection.execute(sa.text(f"ANALYZE {_QUOTE(self.schema)}.{_QUOTE(name)}"))


class Builder:
    """Builds projections together, in one pass over the log, on the connection of their builds."""

    def __init__(self, log: EventLog, connection: sa.Connection, builds: Sequence[Build]) -> None:
        self._log = log
        self._connection = connection
        self.builds = {build.projection.name: build for build in builds}
        folded = {event_class for build in builds for event_class in build.projection.folds}
        self._topics = event_schema.topics_read_as(folded)

    @property
    def schemas(self) -> dict[str, str]:
        """The schemas of the rows, by projection."""
        return {name: build.schema for name, build in self.builds.items()}

    def build(self, goals: Mapping[str, Goal], on_seq: OnSeq | None = None) -> dict[str, Built]:
        """Fold each projection up to its goal. Raises ProjectionStopped."""
        while behind := [self.builds[name] for name, goal in goals.items() if self.builds[name].seq < goal.seq]:
            after = min(build.seq for build in behind)
            ends = [_next_stop(goals[build.projection.name], build.seq) for build in behind if build.seq == after]
            ends += [build.seq for build in behind if build.seq > after]
            self._advance([build for build in behind if build.seq == after], min(after + WINDOW_EVENTS, *ends))
            if on_seq is not None:
                on_seq(min(build.seq for build in behind))
        return {name: build.built for name, build in self.builds.items()}

    def _advance(self, builds: Sequence[Build], end: int) -> None:
        """Fold events in one transaction for projections at the same place."""
        seq = builds[0].seq
        with self._connection.begin():
            self._connection.execute(LOADING)
            while seq < end:
                upto = min(seq + READ_EVENTS, end)
                batch = self._log.select(after=seq, upto=upto, limit=READ_EVENTS, topics=self._topics)
                for build, events in zip(builds, _parted(batch, builds), strict=True):
                    build.fold(events)
                seq = upto
            for build in builds:
                build.flush(end)

    def finish(self) -> None:
        """See `Build.finish`."""
        for build in self.builds.values():
            with self._connection.begin():
                build.finish()


def begun(log: EventLog, connection: sa.Connection, projections: Iterable[Projection]) -> Builder:
    """Return a builder of projections from the log's first event."""
    with connection.begin():
        return Builder(log, connection, [Build(connection, projection) for projection in projections])


def _parted(batch: Iterable[Logged], builds: Sequence[Build]) -> list[list[Logged]]:
    """Return for each build the events that its projection folds."""
    parts: list[list[Logged]] = [[] for _ in builds]
    by_class: dict[type, list[list[Logged]]] = {}
    for logged in batch:
        event_class = type(logged.recorded.event)
        if (folding := by_class.get(event_class)) is None:
            folding = [part for part, build in zip(parts, builds, strict=True) if event_class in build.projection.folds]
            by_class[event_class] = folding
        for part in folding:
            part.append(logged)
    return parts


def _next_stop(goal: Goal, seq: int) -> int:
    return min((stop for stop in goal.stops if stop > seq), default=goal.seq)
