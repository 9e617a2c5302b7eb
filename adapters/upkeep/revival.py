"""Start our own PostgreSQL again when it has died.

An idle connection shows the death of the server at once. Who notices takes the lock under which servers are started,
so of several processes over one server only one starts it; the others find it running. A server that PostgreSQL brings
back by itself, or that `daybook stop` has stopped, is left alone. One that dies again within LIFE_SECONDS_MIN is
started after pauses that double up to PAUSE_SECONDS_MAX: forever, since a full disk, say, may get room again.
"""

import select
import time
from pathlib import Path

import psycopg
import structlog

from adapters.postgres import embedded
from adapters.postgres.connections import Connection, connect, name
from adapters.upkeep.supervisor import Task
from domain.errors import Unavailable

LIFE_SECONDS_MIN = 60.0
PAUSE_SECONDS_MIN = 1.0
PAUSE_SECONDS_MAX = 60.0
LOOK_SECONDS = 0.5

log_line = structlog.get_logger("daybook.upkeep")


class Revival:
    """Keeps the server of a home running, which is reached at `url`."""

    def __init__(self, home: Path, url: str) -> None:
        self._home = home
        self._url = url
        self._started_at = float("-inf")
        self._short_lives = 0

    def run(self, task: Task) -> None:
        """Watch the server, and start it when it has died, until stopped. Raises Unavailable."""
        while not task.stopping.is_set():
            try:
                connection = connect(self._url)
            except Unavailable:
                self._revive(task)
            else:
                with connection:
                    task.succeeded()
                    _wait_while_connected(connection, task)

    def _revive(self, task: Task) -> None:
        if (pause := self._started_at + self._pause_seconds - time.monotonic()) > 0:
            reason = f"the PostgreSQL of {name(self._url)} died {self._short_lives} times soon after it was started"
            again = f"it is started again in {pause:.0f} s: see {embedded.log_of(self._home)}"
            task.failed(Unavailable(f"{reason}; {again}"))
            task.stopping.wait(min(pause, LOOK_SECONDS))
            return
        began = time.monotonic()
        if not embedded.revive(self._home):
            task.stopping.wait(LOOK_SECONDS)  # it runs, but did not take a connection
            return
        is_short = began - self._started_at < LIFE_SECONDS_MIN
        self._short_lives = self._short_lives + 1 if is_short else 1
        self._started_at = time.monotonic()
        log_line.warning(
            "PostgreSQL had died and was started again", home=str(self._home),
            took_s=round(self._started_at - began, 1), log=str(embedded.log_of(self._home)),
        )  # fmt: skip

    @property
    def _pause_seconds(self) -> float:
        """Return the least time from one start to the next."""
        return min(PAUSE_SECONDS_MIN * 2.0 ** (self._short_lives - 1), PAUSE_SECONDS_MAX) if self._short_lives else 0.0


def _wait_while_connected(connection: Connection, task: Task) -> None:
    """Return when the server has closed the connection, or the task is to stop."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    while not task.stopping.is_set():
        task.idle()
        if poll.poll(LOOK_SECONDS * 1000):
            try:
                connection.execute("SELECT")  # also where it only sent a notice
            except psycopg.Error:
                return
