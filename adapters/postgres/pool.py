"""A connection pool: connections are opened on demand and kept for reuse.

A caller gets a working connection or, at once, the reason why there is none. Nothing reconnects in the background, so
the first request after an outage succeeds, and the first one in it fails with the database's own message.
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
from domain.errors.codes import Code

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
        """Do nothing; the eventsourcing library calls it before it borrows."""

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Lend a connection in autocommit. Raises what connecting raises, and Unavailable when too many are in use."""
        if not self._free.acquire(timeout=WAIT_SECONDS_MAX):
            raise Unavailable(
                f"all {self._connections_max} database connections are busy; try again", code=Code.DATABASE_BUSY
            )
        try:
            connection = self._reusable() or self._connect()
            try:
                yield connection
            finally:
                self._return(connection)
        finally:
            self._free.release()

    def close(self) -> None:
        """Close idle connections now, and lent ones when they are returned."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()

    def _reusable(self) -> Connection | None:
        """Return the connection used last, unless the server closed it: input on an idle one means that it did."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed and not _has_input(connection):
                return connection
            connection.close()
        return None

    def _return(self, connection: Connection) -> None:
        if self._closed or connection.closed or connection.info.transaction_status != TransactionStatus.IDLE:
            connection.close()
        else:
            self._idle.append(connection)


def _has_input(connection: Connection) -> bool:
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))
