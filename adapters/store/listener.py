"""Hears of appends: one connection and one thread for all who wait for the log to grow."""

import threading

import psycopg

from adapters.store.database import Role, connect
from domain.errors import Unavailable

CHANNEL = "daybook_log"  # an append notifies it with its last seq
NOTIFY_SECONDS_MAX = 0.5  # how long the thread hears nothing before it looks whether it should end
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
        self._closing = threading.Event()

    def wait(self, after: int, timeout_s: float) -> int:
        """The last seq heard of: beyond `after`, or whatever it is when the time is up or the listener closed."""
        with self._told:
            if self._thread is None and not self._closing.is_set():
                self._thread = threading.Thread(target=self._listen, name="daybook listener", daemon=True)
                self._thread.start()
            self._told.wait_for(lambda: self._seq > after or self._closing.is_set(), timeout_s)
            return self._seq

    def close(self) -> None:
        """End the thread; those who wait return at once."""
        self._closing.set()
        with self._told:
            self._told.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join()

    def _listen(self) -> None:
        while not self._closing.is_set():
            try:
                with connect(self._url, self._role) as connection:
                    connection.execute(f"LISTEN {CHANNEL}")
                    self._hear(connection.execute(HEAD_SEQ).fetchone())
                    while not self._closing.is_set():
                        for notice in connection.notifies(timeout=NOTIFY_SECONDS_MAX, stop_after=1):
                            self._hear((int(notice.payload),) if notice.payload.isdecimal() else None)
            except (Unavailable, psycopg.OperationalError):
                self._closing.wait(RECONNECT_SECONDS)  # who waits asks the log itself in the end, and is told there

    def _hear(self, row: tuple[int, ...] | None) -> None:
        with self._told:
            self._seq = max(self._seq, row[0] if row else 0)
            self._told.notify_all()
