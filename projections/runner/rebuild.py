"""Rebuild: a projection's rows again from the log's first event, beside the rows in use, then swapped in at once.

The new rows are folded into a schema of their own up to the live projection's place. There, in one snapshot, the rows
of both are compared; then the last events are folded while the live place is held, and one transaction lets the place
name the new schema (`projections.storage.schemas`). Readers wait for nothing and see the old rows or the new, never
half. The rows that were in use are kept until the next rebuild: `roll_back` brings them up to the log's end beside the
rows in use, and swaps them in again.

Whatever is killed and whenever, the rows in use are what they were, or the new ones; the next rebuild removes the rest.
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
from projections.runner.workers import Crew, Opener, crew
from projections.storage import progress, schemas
from projections.storage.progress import ATTESTED_EVENTS, Attested, Place
from projections.storage.tables import Projection

REBUILD_LOCK = 0x0DA7_B0BD  # one rebuild at a time
ENDING_SECONDS_MAX = 3.0  # how long the server may take to notice that the last rebuild's connection was closed
LOOKING_MAX = 4  # connections that compare at once
NEAR_EVENTS = 2_000  # what is left to fold while the live places are held
TOGETHER = sa.text("SET LOCAL max_parallel_workers_per_gather = 0; SELECT 1")  # the cores are busy with each other
NOT_DURABLE = sa.text("SET LOCAL synchronous_commit = off; SET LOCAL statement_timeout = 0")

OnProgress = Callable[[int, int], None]


class RebuildResult(NamedTuple):
    """A projection rebuilt at `seq`. `is_identical` is None where the old rows were of another version.

    `differences` are those of the rows, whatever their versions; `is_swapped` is False of a dry run.
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

    `on_progress` is told the seq it is at and the seq it goes to. An event that a fold fails at stops the rebuild with
    ProjectionStopped; the rows in use stay as they are. A log that `opener` opens is read by several processes at once.
    """
    with (
        engine.connect() as connection,
        alone(connection, projections),
        crew(log, engine, projections, opener) as builders,
    ):
        _approach(log, connection, projections, builders, on_progress)
        builders.finish()
        return _finish(log, engine, connection, projections, builders, is_dry_run=is_dry_run)


def roll_back(
    log: EventLog, engine: sa.Engine, projections: Sequence[Projection], on_progress: OnProgress | None = None
) -> list[RebuildResult]:
    """Swap the rows that the last rebuild has replaced in again, once they are where the rows in use are.

    Raises RequestRefused if there are none, or if another version of Daybook has folded them: only that one can fold
    what has happened since.
    """
    with engine.connect() as connection, alone(connection, projections), engine.connect() as building:
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
        _approach(log, connection, projections, builders, on_progress)
        return _finish(log, engine, connection, projections, builders, is_dry_run=False)


def _finish(
    log: EventLog,
    engine: sa.Engine,
    connection: sa.Connection,
    projections: Sequence[Projection],
    builders: Crew,
    *,
    is_dry_run: bool,
) -> list[RebuildResult]:
    """Compare, and swap unless it is a dry run."""
    _approach(log, connection, projections, builders)
    found = compared(engine, connection, projections, builders)
    if not is_dry_run:
        _approach(log, connection, projections, builders, is_live=False)
        _swap(log, connection, projections, builders)
    return [_result(projection, found[projection.name], is_swapped=not is_dry_run) for projection in projections]


@contextlib.contextmanager
def alone(connection: sa.Connection, projections: Sequence[Projection]) -> Iterator[None]:
    """One rebuild at a time; what the last one has left behind is removed before, and what this one has after."""
    connection.detach()  # closing it is what gives the lock back, whatever happened on it
    deadline = time.monotonic() + ENDING_SECONDS_MAX
    while not _is_locked(connection):
        if time.monotonic() > deadline:
            raise RequestRefused("one rebuild at a time: another one is under way")
        time.sleep(0.05)
    sweep(connection, projections)
    yield
    sweep(connection, projections)


def _is_locked(connection: sa.Connection) -> bool:
    with connection.begin():
        return bool(connection.scalar(sa.select(sa.func.pg_try_advisory_lock(REBUILD_LOCK))))


def sweep(connection: sa.Connection, projections: Sequence[Projection]) -> None:
    """Remove the schemas that nobody uses."""
    with connection.begin():
        used = [place.schema for place, _ in progress.places(connection).values()]
        used += connection.scalars(sa.select(progress.kept.c.schema))
    schemas.sweep(connection, projections, used)


def _goals(
    connection: sa.Connection, projections: Sequence[Projection], head: int, *, is_live: bool = False
) -> dict[str, Goal]:
    """Where each goes: to where the live one is; on to the log's end (unless `is_live`) if nobody moves that one."""
    live = progress.places(connection)
    goals = {}
    for projection in projections:
        place, error = live[projection.name]
        is_standing = error is not None or place.version != projection.version
        goals[projection.name] = Goal(max(head, place.seq) if is_standing and not is_live else place.seq)
    return goals


def _approach(
    log: EventLog,
    connection: sa.Connection,
    projections: Sequence[Projection],
    builders: Crew,
    on_progress: OnProgress | None = None,
    *,
    is_live: bool = True,
) -> None:
    """Nearly all the way to where each goes, from where the live projections may move on."""
    built: dict[str, Built] = {}
    while True:
        with connection.begin():
            goals = _goals(connection, projections, log.head().seq, is_live=is_live)
        last = max((goal.seq for goal in goals.values()), default=0)
        if built and all(goal.seq - built[name].seq <= NEAR_EVENTS for name, goal in goals.items()):
            return
        built = builders.build(goals, None if on_progress is None else lambda seq, last=last: on_progress(seq, last))  # type: ignore[misc]


def compared(
    engine: sa.Engine, connection: sa.Connection, projections: Sequence[Projection], builders: Crew
) -> dict[str, Compared]:
    """The rows in use and those that are built, of one place, compared while the former move on."""
    with contextlib.ExitStack() as stack:
        several = min(os.cpu_count() or 1, LOOKING_MAX, len(projections))
        looking = [stack.enter_context(engine.connect()) for _ in range(several)]
        for one in looking:
            one.execution_options(isolation_level="REPEATABLE READ")
        with connection.begin():
            places = {projection.name: progress.lock(connection, projection) for projection in _ordered(projections)}
            built = builders.build({name: Goal(place.seq) for name, place in places.items()})
            for one in looking:
                one.execute(TOGETHER if several > 1 else sa.text("SELECT 1"))
        free = SimpleQueue[sa.Connection]()
        for one in looking:
            free.put(one)

        def differences(name: str) -> tuple[TableDifference, ...]:
            one = free.get()
            try:
                return tuple(compare(one, places[name].schema, builders.schemas[name]))
            finally:
                free.put(one)

        names = sorted(places, key=lambda name: -built[name].sum.rows)
        with ThreadPoolExecutor(several) as pool:
            found = pool.map(differences, names)
            return {name: Compared(places[name], built[name], told) for name, told in zip(names, found, strict=True)}


def _swap(log: EventLog, connection: sa.Connection, projections: Sequence[Projection], builders: Crew) -> None:
    """The last events, and the places that name the new rows, in one transaction."""
    head = log.head().seq
    with connection.begin():
        connection.execute(NOT_DURABLE)
        places = {projection.name: progress.lock(connection, projection) for projection in _ordered(projections)}
        built = builders.build(_goals(connection, projections, head))
        for projection in projections:
            swap(connection, projection, places[projection.name], builders.schemas[projection.name], built)


def swap(connection: sa.Connection, projection: Projection, place: Place, schema: str, built: dict[str, Built]) -> None:
    """Let the locked place name other rows, and keep those that it named."""
    now = built[projection.name]
    progress.keep(connection, projection, place)
    progress.forget_attested(connection, projection)
    progress.attest(connection, projection, _thinned(now.attested))
    schemas.show(connection, projection, schema)
    moved = {"seq": now.seq, "error": None, "schema": schema, "digest": now.sum.digest, "rows": now.sum.rows}
    progress.move(connection, projection, **moved)


def _ordered(projections: Sequence[Projection]) -> list[Projection]:
    """In the order in which everybody locks places."""
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
        projection.name, built.sum.rows, place.sum.digest.hex(), built.sum.digest.hex(),
        is_identical if is_same_version else None, place.seq, place.sum.rows, place.version, projection.version,
        differences, is_swapped,
    )  # fmt: skip
