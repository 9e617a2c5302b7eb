"""LISTEN for appends: one connection and one thread serve all callers that wait for the log to grow."""

import os
import selectors
import threading

from adapters.postgres.connections import Role, connect
from adapters.upkeep.supervisor import Supervisor, Task

CHANNEL = "daybook_log"  # an append notifies it with its last seq
PAUSE_SECONDS_MAX = 2.0
DRAIN_SECONDS = 0.5  # while no caller waits, notices are read this often, many at a time
LOOK_SECONDS = 10.0  # without a notice the end of the log is read this often: a connection can die unseen
HEAD_SEQ = "SELECT coalesce(max(notification_id), 0) FROM ledger.events"


class Listener:
    """Keeps the last seq notified. Connects at the first `wait`, and reconnects when the connection is lost."""

    def __init__(self, url: str, role: Role, upkeep: Supervisor) -> None:
        self._url = url
        self._role = role
        self._upkeep = upkeep
        self._seq = 0
        self._changed = threading.Condition()
        self._task: Task | None = None
        self._wakes = 0
        self._closing = threading.Event()
        self._waiting = 0  # callers of `wait`
        self._is_awaited = threading.Event()  # while there are any, or it closes
        self._wake_read, self._wake_write = -1, -1  # a pipe: closing the write end ends the thread's select

    def wait(self, after: int, timeout_s: float) -> int:
        """Return the last seq notified, once it is beyond `after`, the time is up, or `wake` or `close` is called."""
        with self._changed:
            if self._task is None and not self._closing.is_set():
                self._wake_read, self._wake_write = os.pipe()
                self._task = self._upkeep.start(
                    "listener", self._listen, is_needed=True, pause_seconds_max=PAUSE_SECONDS_MAX
                )
            wakes = self._wakes
            self._waiting += 1
            self._is_awaited.set()
            try:
                self._changed.wait_for(
                    lambda: self._seq > after or self._wakes > wakes or self._closing.is_set(), timeout_s
                )
            finally:
                self._waiting -= 1
                if not self._waiting and not self._closing.is_set():
                    self._is_awaited.clear()
            return self._seq

    def wake(self) -> None:
        """Make all calls of `wait` under way return at once."""
        with self._changed:
            self._wakes += 1
            self._changed.notify_all()

    def close(self) -> None:
        """End the thread; calls of `wait` return at once."""
        with self._changed:
            if self._closing.is_set():
                return
            self._closing.set()
            self._is_awaited.set()
            self._changed.notify_all()
        if self._task is not None:
            self._task.stopping.set()
            os.close(self._wake_write)
            self._task.end()
            os.close(self._wake_read)

    def _listen(self, task: Task) -> None:
        """Listen until stopped. Meanwhile callers of `wait` read the head themselves, and get the error there."""
        with connect(self._url, self._role) as connection, selectors.DefaultSelector() as selector:
            selector.register(connection, selectors.EVENT_READ)
            selector.register(self._wake_read, selectors.EVENT_READ)
            connection.execute(f"LISTEN {CHANNEL}")
            is_due = True
            while not task.stopping.is_set():
                for notification in connection.notifies(timeout=0):
                    self._receive((int(notification.payload),) if notification.payload.isdecimal() else None)
                if is_due:
                    self._receive(connection.execute(HEAD_SEQ).fetchone())
                task.succeeded()
                is_awaited = self._is_awaited.wait(DRAIN_SECONDS)
                is_due = not selector.select(LOOK_SECONDS if is_awaited else 0) and is_awaited

    def _receive(self, row: tuple[int, ...] | None) -> None:
        with self._changed:
            self._seq = max(self._seq, row[0] if row else 0)
            self._changed.notify_all()
