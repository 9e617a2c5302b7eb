"""Connections lent one at a time, made when needed and kept for the next borrower.

A borrower gets a living connection or, at once, the reason why there is none: nothing reconnects in the background, so
the first request after an outage succeeds, and the first one in it fails with the database's own words.
"""

import select
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from psycopg.pq import TransactionStatus

from adapters.postgres.connections import Connection
from domain.errors import Unavailable

CONNECTIONS_MAX = 8
WAIT_SECONDS_MAX = 10


class Pool:
    """At most `connections_max` connections at a time. Safe between threads."""

    def __init__(self, connect: Callable[[], Connection], *, connections_max: int = CONNECTIONS_MAX) -> None:
        self._connect = connect
        self._connections_max = connections_max
        self._free = threading.BoundedSemaphore(connections_max)
        self._idle: deque[Connection] = deque()
        self._closed = False

    def open(self, *_: Any) -> None:
        """Nothing; the eventsourcing library calls it before it borrows."""

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """A connection in autocommit. Raises what connecting raises, and Unavailable when too many are in use."""
        if not self._free.acquire(timeout=WAIT_SECONDS_MAX):
            raise Unavailable(f"all {self._connections_max} database connections are busy; try again")
        try:
            connection = self._living() or self._connect()
            try:
                yield connection
            finally:
                self._take_back(connection)
        finally:
            self._free.release()

    def close(self) -> None:
        """Close what is idle now, and what is lent when it comes back."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()

    def _living(self) -> Connection | None:
        """The connection used last, unless the server has closed it: an idle one has nothing to say but goodbye."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed and not _has_something_to_say(connection):
                return connection
            connection.close()
        return None

    def _take_back(self, connection: Connection) -> None:
        if self._closed or connection.closed or connection.info.transaction_status != TransactionStatus.IDLE:
            connection.close()
        else:
            self._idle.append(connection)


def _has_something_to_say(connection: Connection) -> bool:
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))
