"""Hears of appends: one connection and one thread for all who wait for the log to grow."""

import os
import selectors
import threading

import psycopg

from adapters.postgres.connections import Role, connect
from domain.errors import Unavailable

CHANNEL = "daybook_log"  # an append notifies it with its last seq
RECONNECT_SECONDS = 0.5
HEAD_SEQ = "SELECT coalesce(max(notification_id), 0) FROM ledger.events"


class Listener:
    """Knows the last seq it was told of. Connects when first asked, and again when the connection is lost."""

    def __init__(self, url: str, role: Role) -> None:
        self._url = url
        self._role = role
        self._seq = 0
        self._told = threading.Condition()
        self._thread: threading.Thread | None = None
        self._wakings = 0
        self._closing = threading.Event()
        self._bell, self._rope = -1, -1  # a pipe: the thread hears the bell when the rope is let go

    def wait(self, after: int, timeout_s: float) -> int:
        """The last seq heard of: beyond `after`, or whatever it is when the time is up, or those who wait are woken."""
        with self._told:
            if self._thread is None and not self._closing.is_set():
                self._bell, self._rope = os.pipe()
                self._thread = threading.Thread(target=self._listen, name="daybook listener", daemon=True)
                self._thread.start()
            wakings = self._wakings
            self._told.wait_for(
                lambda: self._seq > after or self._wakings > wakings or self._closing.is_set(), timeout_s
            )
            return self._seq

    def wake(self) -> None:
        """Those who wait now return at once."""
        with self._told:
            self._wakings += 1
            self._told.notify_all()

    def close(self) -> None:
        """End the thread; those who wait return at once."""
        with self._told:
            if self._closing.is_set():
                return
            self._closing.set()
            self._told.notify_all()
        if self._thread is not None:
            os.close(self._rope)
            self._thread.join()
            os.close(self._bell)

    def _listen(self) -> None:
        while not self._closing.is_set():
            try:
                with connect(self._url, self._role) as connection, selectors.DefaultSelector() as either:
                    either.register(connection, selectors.EVENT_READ)
                    either.register(self._bell, selectors.EVENT_READ)
                    connection.execute(f"LISTEN {CHANNEL}")
                    self._hear(connection.execute(HEAD_SEQ).fetchone())
                    while not self._closing.is_set():
                        for notice in connection.notifies(timeout=0):
                            self._hear((int(notice.payload),) if notice.payload.isdecimal() else None)
                        either.select()
            except (Unavailable, psycopg.OperationalError):
                self._closing.wait(RECONNECT_SECONDS)  # who waits asks the log itself in the end, and is told there

    def _hear(self, row: tuple[int, ...] | None) -> None:
        with self._told:
            self._seq = max(self._seq, row[0] if row else 0)
            self._told.notify_all()
