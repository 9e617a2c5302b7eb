"""Lease: of all processes that could follow the log with the same projections, one does.

The lease is a session advisory lock on the same connection that the follower writes with: losing the connection loses
the lease. While it holds the lease a follower writes heartbeats, from a thread of its own, to `read.followers`; others
stand by and try the lock. If a standby sees no new heartbeat in `MISSED_BEATS_MAX` tries (the follower was stopped, or
is cut off), it ends the follower's session; uncommitted writes are rolled back. No clock is compared with another.
"""

import contextlib
import os
import socket
import threading
import zlib
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from typing import NamedTuple

import sqlalchemy as sa

from projections.storage.progress import reaching

FOLLOW_LOCK = 0x0DA7_B00F
EVERYTHING = "all"
TRY_SECONDS = 0.25
BEAT_SECONDS = 1.0
MISSED_BEATS_MAX = 20  # tries, one every TRY_SECONDS: 5 s
END_MS_MAX = 2000

ACQUIRE = sa.text("SELECT pg_try_advisory_lock(:lock)")
LOOK = sa.text("SELECT backend_pid, beat FROM read.followers WHERE follower = :follower")
ENTER = sa.text("""
INSERT INTO read.followers (follower, name, backend_pid) VALUES (:follower, :name, pg_backend_pid())
ON CONFLICT (follower) DO UPDATE SET name = excluded.name, backend_pid = excluded.backend_pid, beat = 0,
    events_s = NULL, since = clock_timestamp(), beat_at = clock_timestamp()
RETURNING backend_pid
""")
BEAT = sa.text("""
UPDATE read.followers SET beat = beat + 1, beat_at = clock_timestamp(), events_s = :events_s
WHERE follower = :follower AND backend_pid = :backend_pid
""")
LEAVE = sa.text("DELETE FROM read.followers WHERE follower = :follower AND backend_pid = pg_backend_pid()")
HELD = """
FROM pg_locks
WHERE locktype = 'advisory' AND classid = :high AND objid = :low AND objsubid = 1 AND granted
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
IS_HELD = sa.text(f"SELECT EXISTS (SELECT {HELD})")
END = sa.text(f"SELECT pg_terminate_backend(pid, :ms) {HELD} AND pid = :backend_pid")
HOLDERS = sa.text("SELECT follower, name, since, beat_at, events_s FROM read.followers ORDER BY follower")


Work = Callable[[threading.Event, Callable[[], None]], None]  # until the event is set; calls back at each success
Beside = Callable[[str, Work], contextlib.AbstractContextManager[None]]  # runs named work in a thread meanwhile


class Holder(NamedTuple):
    """A follower: its group of projections, process, start, last heartbeat, and recent events a second."""

    follower: str
    name: str
    since: datetime
    beat_at: datetime
    events_s: int | None


def here() -> str:
    """Return the name of this process and host."""
    return f"process {os.getpid()} on {socket.gethostname()}"


def holders(connection: sa.Connection) -> list[Holder]:
    """Return the followers, as of their last heartbeats."""
    return [Holder(*row) for row in connection.execute(HOLDERS)]


def is_held(connection: sa.Connection, group: str) -> bool:
    """Whether a process follows with this group of projections."""
    return bool(connection.scalar(IS_HELD, _place(_lock(group))))


def _lock(group: str) -> int:
    return FOLLOW_LOCK if group == EVERYTHING else FOLLOW_LOCK << 32 | zlib.crc32(group.encode())


def _place(lock: int) -> dict[str, int]:
    """Return the lock's columns in `pg_locks`."""
    return {"high": lock >> 32, "low": lock & 0xFFFF_FFFF}


class Lease:
    """The lease of one group of projections. `rate` returns the events folded a second."""

    def __init__(self, engine: sa.Engine, group: str, rate: Callable[[], int], beside: Beside) -> None:
        self._engine = engine
        self._group = group
        self._rate = rate
        self._beside = beside
        self._lock = _lock(group)

    @contextlib.contextmanager
    def held(self, connection: sa.Connection, stop: threading.Event, on_pass: Callable[[], None]) -> Iterator[bool]:
        """Wait for the lease and hold it on the connection inside the context; yields False if stopped before.

        `on_pass` is called at each try.
        """
        if not self._campaign(connection, stop, on_pass):
            yield False
            return
        with connection.begin():
            backend_pid = connection.scalar(ENTER, {"follower": self._group, "name": here()})
        try:
            with self._beside("follower's heart", partial(self._beat, backend_pid)):
                yield True
        finally:
            with contextlib.suppress(sa.exc.SQLAlchemyError), connection.begin():
                connection.execute(LEAVE, {"follower": self._group})

    def _campaign(self, connection: sa.Connection, stop: threading.Event, on_pass: Callable[[], None]) -> bool:
        seen, missed = None, 0
        while not stop.is_set():
            with connection.begin():
                if connection.scalar(ACQUIRE, {"lock": self._lock}):
                    return True
                look = connection.execute(LOOK, {"follower": self._group}).one_or_none()
            missed = missed + 1 if look == seen and look is not None else 0
            seen = look
            on_pass()
            if look is not None and missed >= MISSED_BEATS_MAX:
                self._end(look.backend_pid)
                missed = 0
            stop.wait(TRY_SECONDS)
        return False

    def _end(self, backend_pid: int) -> None:
        """End the session that holds the lease, as the login role, which may end its own sessions."""
        with self._engine.connect() as connection:
            connection.detach()
            with connection.begin():
                connection.execute(sa.text("SET ROLE NONE"))
                connection.execute(END, _place(self._lock) | {"backend_pid": backend_pid, "ms": END_MS_MAX})

    def _beat(self, backend_pid: int, ending: threading.Event, on_beat: Callable[[], None]) -> None:
        with reaching(), self._engine.connect() as connection:
            while not ending.wait(BEAT_SECONDS):
                with connection.begin():
                    beat = {"follower": self._group, "backend_pid": backend_pid, "events_s": self._rate()}
                    connection.execute(BEAT, beat)
                on_beat()


@contextlib.contextmanager
def in_a_thread(name: str, work: Work) -> Iterator[None]:
    """Run `work` in a thread while the context lasts; after an error again, a second later. Keeps no record of it."""
    ending = threading.Event()

    def run() -> None:
        while not ending.is_set():
            try:
                work(ending, lambda: None)
            except Exception:  # noqa: BLE001 (the edge of a thread; what the work is for shows whether it works)
                ending.wait(BEAT_SECONDS)

    thread = threading.Thread(target=run, name=f"daybook {name}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()
