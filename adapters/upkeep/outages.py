"""Log lines of what fails again and again: one a minute, with the number of failures that it stands for.

`Outage` is of the database: while it is away every task and every request fails many times a second. One line says so
at once, one a minute for how long, with the number of failures of each since the line before, and one when all tasks
are well again. `Limited` is of any one kind of failure.
"""

import threading
import time
from collections import Counter

import psycopg
import structlog

LOG_SECONDS = 60.0
AWAY = ("08", "57P0", "53300")  # SQLSTATE: a lost connection, a server that stops, starts or recovers, all slots taken

log_line = structlog.get_logger("daybook.upkeep")


def is_outage(error: BaseException) -> bool:
    """Return whether an error, or what it was raised from, is that the database is away: not that it refused something,
    has no room or took too long.
    """
    found: BaseException | None = error
    while found is not None:
        cause = getattr(found, "orig", None) or found
        if isinstance(cause, psycopg.Error):
            code = cause.sqlstate or ""
            is_lost = isinstance(cause, psycopg.OperationalError | psycopg.InterfaceError) and not code
            return is_lost or code.startswith(AWAY)
        found = found.__cause__
    return False


class Limited:
    """At most one line every LOG_SECONDS: `due` returns the number of failures since the last line, this one included,
    if a line is due. Not safe between threads.
    """

    def __init__(self) -> None:
        self._next_at = float("-inf")
        self._count = 0

    def due(self) -> int | None:
        """Count a failure."""
        self._count += 1
        if (now := time.monotonic()) < self._next_at:
            return None
        self._next_at = now + LOG_SECONDS
        counted, self._count = self._count, 0
        return counted


class Outage:
    """The database as the tasks and requests of a process find it. Safe between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._since: float | None = None
        self._limited = Limited()
        self._failed: Counter[str] = Counter()  # since the last line, by source
        self._away: set[str] = set()  # the tasks that have not succeeded since they failed
        self._is_logged = False

    def away(self, source: str, reason: str, *, is_task: bool = True) -> None:
        """Note that a task, or a kind of request, did not reach the database."""
        with self._lock:
            self._failed[source] += 1
            if is_task:
                self._away.add(source)
            now = time.monotonic()
            if self._since is None:
                self._since, self._is_logged = now, False
            if self._limited.due() is None:
                return
            failed, self._failed, self._is_logged = dict(self._failed), Counter(), True
            away_s = round(now - self._since, 1)
        log_line.warning("the database is away", away_s=away_s, failed=failed, reason=reason)

    def well(self, source: str) -> None:
        """Note that a task went well; when none is left that did not, the database is back."""
        if self._since is None:
            return
        with self._lock:
            self._away.discard(source)
            if self._away or self._since is None:
                return
            away_s = round(time.monotonic() - self._since, 1)
            self._since = None
            if not self._is_logged:
                return
            failed, self._failed = dict(self._failed), Counter()
        log_line.info("the database is back", away_s=away_s, failed=failed)

    def forget(self, source: str) -> None:
        """Note that a task has ended, and cannot go well any more."""
        with self._lock:
            self._away.discard(source)

    @property
    def is_on(self) -> bool:
        """Whether the database is away."""
        return self._since is not None
