"""Rebuild: a projection's rows built again from the log's first event, beside the rows in use, then swapped in.

The new rows are folded into a schema of their own up to the live projection's place. There, in one snapshot, both sets
of rows are compared; then the last events are folded while the live place is locked, and one transaction makes the
place name the new schema (`projections.storage.schemas`). Readers never wait, and see all old rows or all new ones. The
old rows are kept until the next rebuild: `roll_back` brings them up to the log's end beside the rows in use, and swaps
them in again.

If any process is killed at any time, the rows in use are the old ones or the new; the next rebuild drops the rest.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import NamedTuple

import sqlalchemy as sa

from domain.errors import RequestRefused
from domain.ledger import EventLog
from projections.runner.build import Build, Builder, Built, Goal
from projections.runner.diff import TableDifference, compare
from projections.runner.workers import Builders, Opener, open_builders
from projections.sql_views import following as sql_views
from projections.storage import progress, schemas
from projections.storage.progress import ATTESTED_EVENTS, Attested, Place
from projections.storage.tables import Projection

REBUILD_LOCK = 0x0DA7_B0BD  # one rebuild at a time
ENDING_SECONDS_MAX = 3.0  # the server may take so long to notice that the last rebuild's connection was closed
COMPARERS_MAX = 4  # connections that compare at once
NEAR_EVENTS = 2_000  # at most so many events are folded while the live places are locked
NOT_PARALLEL = sa.text("SET LOCAL max_parallel_workers_per_gather = 0; SELECT 1")  # other comparers use the cores
NOT_DURABLE = sa.text("SET LOCAL synchronous_commit = off; SET LOCAL statement_timeout = 0")

OnProgress = Callable[[int, int], None]


class RebuildResult(NamedTuple):
    """A projection rebuilt at `seq`. `is_identical` is None where the old rows were of another version.

    `differences` are those of the rows, of any versions; `is_swapped` is False of a dry run.
    """

    name: str
    rows: int
    digest_before: str
    digest_after: str
    is_identical: bool | None
    seq: int
    rows_before: int
    version_before: int
    version: int
    differences: tuple[TableDifference, ...]
    is_swapped: bool


class Compared(NamedTuple):
    """The rows in use and those that are built, at one place."""

    place: Place
    built: Built
    differences: tuple[TableDifference, ...]


def rebuild(
    log: EventLog,
    engine: sa.Engine,
    projections: Sequence[Projection],
    on_progress: OnProgress | None = None,
    *,
    is_dry_run: bool = False,
    opener: Opener | None = None,
) -> list[RebuildResult]:
    """Rebuild projections in one pass over the log, compare, and swap them in together (not if it is a dry run).

    `on_progress` is called with the seq reached and the last seq. An event that a fold fails at stops the rebuild with
    ProjectionStopped; the rows in use stay as they are. With an `opener` several processes read the log at once.
    """
    with (
        engine.connect() as connection,
        rebuild_lock(connection, projections),
        open_builders(log, engine, projections, opener) as builders,
    ):
        _approach(log, connection, projections, builders, on_progress=on_progress)
        builders.finish()
        return _finish(log, engine, connection, projections, builders=builders, is_dry_run=is_dry_run)


def roll_back(
    log: EventLog, engine: sa.Engine, projections: Sequence[Projection], on_progress: OnProgress | None = None
) -> list[RebuildResult]:
    """Swap in again the rows that the last rebuild has replaced, after folding the events since.

    Raises RequestRefused if there are none, or if another version of Daybook has folded them: only that version can
    fold the events since.
    """
    with engine.connect() as connection, rebuild_lock(connection, projections), engine.connect() as building:
        builds = []
        for projection in projections:
            with connection.begin():
                kept = progress.kept_rows(connection, projection)
            if kept is None:
                raise RequestRefused(f"a rebuild of {projection.name} has kept the rows that it replaced")
            if kept.version != projection.version:
                rule = f"the kept rows of {projection.name} are of the version that this Daybook folds"
                raise RequestRefused(rule, version=projection.version, version_of_rows=kept.version)
            builds.append(Build(building, projection, kept=kept))
        building.rollback()
        builders = Builder(log, building, builds)
        _approach(log, connection, projections, builders, on_progress=on_progress)
        return _finish(log, engine, connection, projections, builders=builders, is_dry_run=False)


def _finish(
    log: EventLog,
    engine: sa.Engine,
    connection: sa.Connection,
    projections: Sequence[Projection],
    *,
    builders: Builders,
    is_dry_run: bool,
) -> list[RebuildResult]:
    """Compare, and swap in unless it is a dry run."""
    _approach(log, connection, projections, builders)
    found = compared(engine, connection, projections, builders)
    if not is_dry_run:
        sql_views.attach(connection, projections, builders.schemas)
        _approach(log, connection, projections, builders, is_live=False)
        _swap(log, connection, projections, builders)
    return [_result(projection, found[projection.name], is_swapped=not is_dry_run) for projection in projections]


class RebuildUnderWay(RequestRefused):
    """Another process rebuilds read models; it ends by itself."""


@contextlib.contextmanager
def rebuild_lock(connection: sa.Connection, projections: Sequence[Projection]) -> Iterator[None]:
    """Allow one rebuild at a time, and drop unused schemas before and after it."""
    connection.detach()  # closing it always releases the lock
    deadline = time.monotonic() + ENDING_SECONDS_MAX
    while not _is_locked(connection):
        if time.monotonic() > deadline:
            raise RebuildUnderWay("one rebuild at a time: another one is under way")
        time.sleep(0.05)
    sweep(connection, projections)
    yield
    sweep(connection, projections)


def _is_locked(connection: sa.Connection) -> bool:
    with connection.begin():
        return bool(connection.scalar(sa.select(sa.func.pg_try_advisory_lock(REBUILD_LOCK))))


def sweep(connection: sa.Connection, projections: Sequence[Projection]) -> None:
    """Drop the schemas that are neither in use nor kept."""
    with connection.begin():
        used = [place.schema for place, _ in progress.places(connection).values()]
        used += connection.scalars(sa.select(progress.kept.c.schema))
    used += sql_views.release(connection, projections)
    schemas.sweep(connection, projections, used)


def _goals(
    connection: sa.Connection, projections: Sequence[Projection], head: int, *, is_live: bool = False
) -> dict[str, Goal]:
    """Return each goal: the live place, or (unless `is_live`) the log's end if the live projection is stopped."""
    live = progress.places(connection)
    goals = {}
    for projection in projections:
        place, error = live[projection.name]
        is_stopped = error is not None or place.version != projection.version
        goals[projection.name] = Goal(max(head, place.seq) if is_stopped and not is_live else place.seq)
    return goals


def _approach(
    log: EventLog,
    connection: sa.Connection,
    projections: Sequence[Projection],
    builders: Builders,
    *,
    on_progress: OnProgress | None = None,
    is_live: bool = True,
) -> None:
    """Build up to NEAR_EVENTS before each goal, while the live projections go on."""
    built: dict[str, Built] = {}
    while True:
        with connection.begin():
            goals = _goals(connection, projections, log.head().seq, is_live=is_live)
        last = max((goal.seq for goal in goals.values()), default=0)
        if built and all(goal.seq - built[name].seq <= NEAR_EVENTS for name, goal in goals.items()):
            return
        built = builders.build(goals, None if on_progress is None else lambda seq, last=last: on_progress(seq, last))  # type: ignore[misc]


def compared(
    engine: sa.Engine, connection: sa.Connection, projections: Sequence[Projection], builders: Builders
) -> dict[str, Compared]:
    """Compare the rows in use with those that are built, at one place, while the live projections go on."""
    with contextlib.ExitStack() as stack:
        count = min(os.cpu_count() or 1, COMPARERS_MAX, len(projections))
        comparers = [stack.enter_context(engine.connect()) for _ in range(count)]
        for one in comparers:
            one.execution_options(isolation_level="REPEATABLE READ")
        with connection.begin():
            places = {projection.name: progress.lock(connection, projection) for projection in _by_name(projections)}
            built = builders.build({name: Goal(place.seq) for name, place in places.items()})
            for one in comparers:
                one.execute(NOT_PARALLEL if count > 1 else sa.text("SELECT 1"))
        free = SimpleQueue[sa.Connection]()
        for one in comparers:
            free.put(one)

        def differences(name: str) -> tuple[TableDifference, ...]:
            one = free.get()
            try:
                return tuple(compare(one, places[name].schema, builders.schemas[name]))
            finally:
                free.put(one)

        names = sorted(places, key=lambda name: -built[name].sum.rows)
        with ThreadPoolExecutor(count) as pool:
            found = pool.map(differences, names)
            return {name: Compared(places[name], built[name], each) for name, each in zip(names, found, strict=True)}


def _swap(log: EventLog, connection: sa.Connection, projections: Sequence[Projection], builders: Builders) -> None:
    """Fold the last events and make the places name the new rows, in one transaction."""
    head = log.head().seq
    with connection.begin():
        connection.execute(NOT_DURABLE)
        places = {projection.name: progress.lock(connection, projection) for projection in _by_name(projections)}
        built = builders.build(_goals(connection, projections, head))
        for projection in projections:
            name = projection.name
            swap(connection, projection, place=places[name], schema=builders.schemas[name], now=built[name])


def swap(connection: sa.Connection, projection: Projection, *, place: Place, schema: str, now: Built) -> None:
    """Make the locked place name the new rows, and keep the old ones."""
    progress.keep(connection, projection, place)
    progress.forget_attested(connection, projection)
    progress.attest(connection, projection, _thinned(now.attested))
    schemas.show(connection, projection, schema)
    moved = {"seq": now.seq, "error": None, "schema": schema, "digest": now.sum.digest, "rows": now.sum.rows}
    progress.move(connection, projection, **moved)


def _by_name(projections: Sequence[Projection]) -> list[Projection]:
    """Return projections by name, as all transactions lock places."""
    return sorted(projections, key=lambda projection: projection.name)


def _thinned(attested: Sequence[Attested]) -> list[Attested]:
    kept: list[Attested] = []
    for one in attested:
        if one.seq - (kept[-1].seq if kept else 0) >= ATTESTED_EVENTS:
            kept.append(one)
    return kept


def _result(projection: Projection, found: Compared, *, is_swapped: bool) -> RebuildResult:
    place, built, differences = found
    is_same_version = place.version == projection.version
    is_identical = place.sum == built.sum and not differences
    return RebuildResult(
        name=projection.name,
        rows=built.sum.rows,
        digest_before=place.sum.digest.hex(),
        digest_after=built.sum.digest.hex(),
        is_identical=is_identical if is_same_version else None,
        seq=place.seq,
        rows_before=place.sum.rows,
        version_before=place.version,
        version=projection.version,
        differences=differences,
        is_swapped=is_swapped,
    )
