"""The watch of a process: notices when sealing stalls, and reports the health of its tasks to the database.

Sealing is stalled when events that were in the log SEALING_SECONDS_MAX ago are still in no checkpoint, whichever
process seals. The report is `ledger.tasks`, a row for each task, so that `daybook status` can show the health of tasks
of other processes; rows of a process that ended without removing them are deleted after STALE_SECONDS_MAX.
"""

import contextlib
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

import psycopg

from adapters.postgres.connections import Connection, Role, connect, reaching
from adapters.upkeep.supervisor import Health, Supervisor, Task
from domain.errors import Unavailable

LOOK_SECONDS = 2.0
SEALING_SECONDS_MAX = 15.0
STALE_SECONDS_MAX = 3600.0
FRESH_SECONDS_MAX = 15.0  # a report older than that is of a process that has ended, hangs, or cannot reach the database

SEALED = """
SELECT (SELECT coalesce(max(notification_id), 0) FROM ledger.events),
       (SELECT coalesce(max(size), 0) FROM ledger.checkpoints)
"""
REPORT = """
INSERT INTO ledger.tasks AS t (
    process, task, state, since, failures, last_success_at, last_error_at, last_error, is_needed, is_trouble
) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (process, task) DO UPDATE SET state = excluded.state, since = excluded.since, failures = excluded.failures,
    last_success_at = excluded.last_success_at, last_error_at = excluded.last_error_at,
    last_error = excluded.last_error, is_needed = excluded.is_needed, is_trouble = excluded.is_trouble,
    reported_at = clock_timestamp()
"""
REMOVE = """
DELETE FROM ledger.tasks
WHERE process = %s AND NOT task = ANY(%s::text[]) OR reported_at < clock_timestamp() - make_interval(secs => %s)
"""
REPORTED = """
SELECT process, extract(epoch FROM clock_timestamp() - reported_at)::float8,
       task, state, since, failures, last_success_at, last_error_at, last_error, is_needed, is_trouble
FROM ledger.tasks ORDER BY process, task
"""


class Sealing(NamedTuple):
    """How far sealing is: the end of the log, the size of the newest checkpoint, and since when it has not moved while
    events waited for it (None: it follows).
    """

    seq: int
    sealed: int
    behind_since: datetime | None
    is_stalled: bool


class Reported(NamedTuple):
    """A task's health as its process reported it, `age_s` seconds ago."""

    process: str
    age_s: float
    health: Health

    @property
    def is_fresh(self) -> bool:
        """Whether the process still reports."""
        return self.age_s <= FRESH_SECONDS_MAX


class SealingWatch:
    """Keeps since when events wait for a checkpoint. Times are of a monotonic clock, in seconds."""

    def __init__(self, seconds_max: float = SEALING_SECONDS_MAX) -> None:
        self._seconds_max = seconds_max
        self._goal = 0  # the log's end when the present wait began
        self._since: float | None = None
        self._since_at: datetime | None = None

    def look(self, seq: int, sealed: int, now: float) -> Sealing:
        """Return how far sealing is, from one look at the log and its newest checkpoint."""
        if sealed >= self._goal or seq < self._goal:
            self._goal = seq
            self._since = now if seq > sealed else None
            self._since_at = datetime.now(UTC) if seq > sealed else None
        waited = 0.0 if self._since is None else now - self._since
        return Sealing(seq, sealed, self._since_at, waited > self._seconds_max)


class Watch:
    """The watch of one process, which others know by `process`. `more` returns the health of what has no thread."""

    def __init__(self, url: str, process: str, upkeep: Supervisor, more: Callable[[], list[Health]] = list) -> None:
        self._url = url
        self._process = process
        self._upkeep = upkeep
        self._more = more
        self._sealing_watch = SealingWatch()
        self._sealing: Sealing | None = None

    def add(self, more: Callable[[], list[Health]]) -> None:
        """Add what returns the health of further tasks."""
        before = self._more
        self._more = lambda: [*before(), *more()]

    @property
    def sealing(self) -> Sealing | None:
        """How far sealing was at the last look; None before the first."""
        return self._sealing

    def health(self) -> list[Health]:
        """Return the health of every task of this process."""
        return sorted([*self._upkeep.health(), *self._more()], key=lambda one: one.task)

    def run(self, task: Task) -> None:
        """Look and report every LOOK_SECONDS until stopped; then remove the report."""
        with reaching(self._url), connect(self._url, Role.WRITER) as connection:
            while not task.stopping.is_set():
                row = connection.execute(SEALED).fetchone()
                assert row is not None, "a query without FROM has a row"
                self._sealing = self._sealing_watch.look(row[0], row[1], time.monotonic())
                self._report(connection)
                task.succeeded()
                task.stopping.wait(LOOK_SECONDS)
            with contextlib.suppress(psycopg.Error):
                connection.execute(REMOVE, [self._process, [], STALE_SECONDS_MAX])

    def _report(self, connection: Connection) -> None:
        found = self.health()
        with connection.transaction(), connection.cursor() as cursor:
            cursor.executemany(
                REPORT,
                [
                    (
                        self._process, one.task, one.state, one.since, one.failures, one.last_success_at,
                        one.last_error_at, one.last_error, one.is_needed, one.is_trouble,
                    )
                    for one in found
                ],
            )  # fmt: skip
            cursor.execute(REMOVE, [self._process, [one.task for one in found], STALE_SECONDS_MAX])


def reported(url: str) -> list[Reported]:
    """Return the health of the tasks of all processes, as they reported it. Raises Unavailable."""
    with reaching(url), connect(url, Role.AUDITOR) as connection:
        rows = connection.execute(REPORTED).fetchall()
    return [Reported(process, age_s, Health(*health)) for process, age_s, *health in rows]


def sealed(url: str) -> tuple[int, int]:
    """Return the log's last seq and the size of the newest checkpoint. Raises Unavailable."""
    with reaching(url), connect(url, Role.AUDITOR) as connection:
        row = connection.execute(SEALED).fetchone()
    if row is None:
        raise Unavailable("the database did not answer; try again")
    return row[0], row[1]
