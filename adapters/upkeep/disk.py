"""The check of room on the database's disk: full once an append did not fit, or while little of our own disk is free.

Of any server a full disk is found by PostgreSQL's own error (`disk_full`) for an append. While it lasts the leader
tries once a second a row as large as a batch, and rolls it back; when it fits, or an append does, there is room again.
Of our own server, whose data is on this machine, the free space of its directory is looked at as well: below a bound it
counts as full, before PostgreSQL stops over a log that it cannot write.
"""

import os
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import structlog

from adapters.postgres.connections import Connection
from adapters.upkeep.supervisor import Health, State

TASK = "disk"
FREE_MB_MIN = 64
LOOK_SECONDS = 1.0
PROBE_BYTES = 64 * 1024  # random, so that they are not compressed

PROBE = """
INSERT INTO ledger.events (originator_id, originator_version, topic, state, notification_id, recorded_at)
VALUES ('probe', 1, 'probe', %b, -1, clock_timestamp())
"""

log_line = structlog.get_logger("daybook.upkeep")


class DiskCheck:
    """Whether the database's disk has room. Safe between threads.

    `directory` is that of our own server's data, None for any other server; `free_mb_min` is the bound, 0 for none.
    """

    def __init__(self, directory: Path | None = None, *, free_mb_min: float = FREE_MB_MIN) -> None:
        self._directory = directory
        self._free_mb_min = free_mb_min
        self._lock = threading.Lock()
        self._refused: str | None = None
        self._little: str | None = None
        self._looked_at = float("-inf")
        self._probed_at = float("-inf")
        self._was_full = False
        self._since = datetime.now(UTC)
        self._times = 0

    @property
    def shortage(self) -> str | None:
        """Why the disk counts as full; None if it does not."""
        with self._lock:
            self._look()
            found = self._refused or self._little
            if (found is not None) != self._was_full:
                self._was_full, self._since = found is not None, datetime.now(UTC)
                self._times += self._was_full
                if found is not None:
                    log_line.error("the disk is full", reason=found)
                else:
                    log_line.info("the disk has room again")
            return found

    def refused(self, error: Exception) -> None:
        """Note that an append failed, if it did for want of room."""
        if isinstance(error, psycopg.errors.DiskFull):
            with self._lock:
                self._refused = " ".join(str(error).split())

    def fitted(self) -> None:
        """Note that an append was committed."""
        self._refused = None

    def probe(self, connection: Connection) -> None:
        """While an append did not fit, find out once a second whether one would. Raises psycopg.Error if the connection
        is lost.
        """
        if self._refused is None or time.monotonic() - self._probed_at < LOOK_SECONDS:
            return
        self._probed_at = time.monotonic()
        try:
            with connection.transaction(force_rollback=True):
                connection.execute(PROBE, [os.urandom(PROBE_BYTES)])
        except psycopg.errors.DiskFull as error:
            self.refused(error)
        except psycopg.Error:
            if connection.broken:
                raise
            self.fitted()  # it was refused for another reason, as the next append will be
        else:
            self.fitted()

    def health(self) -> Health:
        """Return the state of the disk, beside those of tasks."""
        shortage = self.shortage
        return Health(
            task=TASK,
            state=State.RUNNING if shortage is None else State.FULL,
            since=self._since,
            failures=self._times,
            last_success_at=None,
            last_error_at=None if shortage is None else self._since,
            last_error=shortage,
            is_needed=True,
            is_trouble=shortage is not None,
        )

    def _look(self) -> None:
        """Look at the free space of our own disk, at most once a second."""
        if self._directory is None or time.monotonic() - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = time.monotonic()
        try:
            found = os.statvfs(self._directory)
        except OSError:  # the server itself is gone, which shows elsewhere
            self._little = None
            return
        free = found.f_bavail * found.f_frsize / 2**20
        self._little = None
        if free < self._free_mb_min:
            needed = f"{self._free_mb_min:g} are needed (DAYBOOK_FREE_MB_MIN)"
            self._little = f"{free:.0f} MB are free in {self._directory}, and {needed}"
