"""Supervised threads: work that goes on beside requests, restarted when it fails, each with its health.

Work is a function that runs until its task is `stopping`, and reports each step that went well (`succeeded`). When it
raises, or returns too early, it is started again after a pause that doubles from failure to failure and varies, so that
many do not return at once. An error that work survives by itself it reports (`failed`). A thread that has died without
a word is found dead by `health`, which starts another one.
"""

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from enum import StrEnum
from typing import NamedTuple

import psycopg
import structlog

from adapters.upkeep.outages import Limited, Outage, is_outage
from domain.errors import LedgerError

PAUSE_SECONDS_MIN = 0.25
PAUSE_SECONDS_MAX = 5.0
SILENT_SECONDS_MAX = 60.0  # between two steps that went well; above the longest statement
GRACE_SECONDS = 5.0  # how long a failing task does not count as trouble: a reconnection takes less
REASON_CHARACTERS_MAX = 500

EXPECTED = (LedgerError, psycopg.Error, OSError)  # logged without a traceback

log_line = structlog.get_logger("daybook.upkeep")


class State(StrEnum):
    """What a task is doing."""

    RUNNING = "running"
    RESTARTING = "restarting"  # it failed, and has not succeeded since
    SILENT = "silent"  # it runs, and reports nothing: it hangs
    DEAD = "dead"  # its thread has ended by itself
    IN_DOUBT = "in doubt"  # of the clock: it cannot be right
    ALARM = "alarm"  # of a witness: what it has seen is not what we have; somebody must look
    FULL = "full"  # of the disk: it has no room


class Health(NamedTuple):
    """The health of one task. `since` is when its state began, `failures` counts since its start.

    `is_needed`: without it the service is not ready. `is_trouble`: it is not running, for longer than GRACE_SECONDS.
    """

    task: str
    state: State
    since: datetime
    failures: int
    last_success_at: datetime | None
    last_error_at: datetime | None
    last_error: str | None
    is_needed: bool
    is_trouble: bool

    @property
    def public_name(self) -> str:
        """The task's name without the place that it works on, which strangers do not get."""
        return self.task.partition(" (")[0]


class Task:
    """One supervised thread, as its work and its owner see it. Safe between threads."""

    def __init__(
        self,
        name: str,
        work: Callable[["Task"], None],
        *,
        outage: Outage | None = None,
        is_needed: bool = False,
        pause_seconds_max: float = PAUSE_SECONDS_MAX,
        silent_seconds_max: float = SILENT_SECONDS_MAX,
    ) -> None:
        self.name = name
        self.stopping = threading.Event()
        self._work = work
        self._outage = outage or Outage()
        self._is_needed = is_needed
        self._pause_seconds_max = pause_seconds_max
        self._silent_seconds_max = silent_seconds_max
        self._lock = threading.Lock()
        self._since = datetime.now(UTC)
        self._failing_since: float | None = None  # by the monotonic clock
        self._last_sign = time.monotonic()
        self._last_success_at: datetime | None = None
        self._last_error: str | None = None
        self._last_error_at: datetime | None = None
        self._limited = Limited()
        self._is_logged = False  # whether the present failure is
        self._failures = 0
        self._in_a_row = 0
        self._is_alarm = False
        self._thread = self._new_thread()

    @property
    def native_id(self) -> int | None:
        """The operating system's id of the thread."""
        return self._thread.native_id

    def succeeded(self) -> None:
        """Report a step that went well: any failure before is over."""
        self._outage.well(self.name)
        with self._lock:
            self._last_sign, self._last_success_at = time.monotonic(), datetime.now(UTC)
            self._is_alarm = False
            if self._failing_since is None:
                return
            down = time.monotonic() - self._failing_since
            self._failing_since, self._in_a_row, self._since = None, 0, self._last_success_at
            is_logged, self._is_logged = self._is_logged, False
        if is_logged:
            log_line.info("a task goes on", task=self.name, after_s=round(down, 1))

    def idle(self) -> None:
        """Report that the work does not hang: it has nothing to do."""
        self._last_sign = time.monotonic()

    def failed(self, error: BaseException, *, is_alarm: bool = False) -> None:
        """Report an error that the work survives: it is tried again. It is logged at most once a minute, and as the
        outage of the database if it is one. An alarm makes the service not ready, at once and until the work succeeds.
        """
        reason = f"{' '.join(str(error).split()) or type(error).__name__}"[:REASON_CHARACTERS_MAX]
        with self._lock:
            now = time.monotonic()
            self._last_error, self._last_error_at = reason, datetime.now(UTC)
            self._failures += 1
            self._in_a_row += 1
            self._is_alarm |= is_alarm
            if self._failing_since is None:
                self._failing_since, self._since = now, self._last_error_at
            unexpected = None if isinstance(getattr(error, "orig", error), EXPECTED) else error
            is_away = is_outage(error) or (self._outage.is_on and unexpected is None)
            times = None if is_away else self._limited.due()
            self._is_logged = self._is_logged or times is not None
        if is_away:
            self._outage.away(self.name, reason)
        elif times is not None and is_alarm:
            log_line.error("ALARM", task=self.name, reason=reason, times=times)
        elif times is not None:
            log_line.warning(
                "a task failed and is tried again", task=self.name, reason=reason, times=times, exc_info=unexpected
            )

    def pause(self) -> None:
        """Wait before the next try, longer after each failure in a row; not at all when stopping."""
        most = min(PAUSE_SECONDS_MIN * 2 ** min(self._in_a_row, 16), self._pause_seconds_max)
        self.stopping.wait(most * random.uniform(0.5, 1))  # noqa: S311 (spreads the load, guards nothing)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def end(self, seconds_max: float | None = None) -> None:
        """Stop, and wait for the thread. The owner wakes work that waits for anything but `stopping`."""
        self.stopping.set()
        self._outage.forget(self.name)
        if self._thread is not threading.current_thread():
            self._thread.join(seconds_max)

    def health(self) -> Health:
        """Return the health. A dead thread is replaced."""
        with self._lock:
            now = time.monotonic()
            is_dead = not self._thread.is_alive() and not self.stopping.is_set() and self._thread.ident is not None
            silent = now - self._last_sign - self._silent_seconds_max
            state, bad = State.RUNNING, 0.0
            if is_dead:
                state, bad = State.DEAD, GRACE_SECONDS
            elif self._is_alarm:
                state, bad = State.ALARM, GRACE_SECONDS
            elif self._failing_since is not None:
                state, bad = State.RESTARTING, now - self._failing_since
            elif silent > 0:
                state, bad = State.SILENT, GRACE_SECONDS
            found = Health(
                task=self.name,
                state=state,
                since=self._since,
                failures=self._failures,
                last_success_at=self._last_success_at,
                last_error_at=self._last_error_at,
                last_error=self._last_error,
                is_needed=self._is_needed or self._is_alarm,
                is_trouble=state is not State.RUNNING and bad >= GRACE_SECONDS,
            )
        if is_dead:
            self._revive()
        return found

    def _revive(self) -> None:
        self.failed(RuntimeError("its thread has died"))
        with self._lock:
            if not self._thread.is_alive() and not self.stopping.is_set():
                self._thread = self._new_thread()
                self._thread.start()

    def _new_thread(self) -> threading.Thread:
        return threading.Thread(target=self._run, name=f"daybook {self.name}", daemon=True)

    def _run(self) -> None:
        while not self.stopping.is_set():
            try:
                self._work(self)
            except BaseException as error:  # noqa: BLE001 (the edge of a thread: nothing may end it in silence)
                self.failed(error)
            else:
                if self.stopping.is_set():
                    return
                self.failed(RuntimeError("it ended by itself"))
            self.pause()


class Supervisor:
    """The tasks of a process. Safe between threads."""

    def __init__(self) -> None:
        self.outage = Outage()
        self._lock = threading.Lock()
        self._tasks: list[Task] = []

    def start(
        self,
        name: str,
        work: Callable[[Task], None],
        *,
        is_needed: bool = False,
        pause_seconds_max: float = PAUSE_SECONDS_MAX,
        silent_seconds_max: float = SILENT_SECONDS_MAX,
    ) -> Task:
        """Run `work` in a thread until its task ends. `end` removes it here."""
        task = Task(
            name, work, outage=self.outage, is_needed=is_needed, pause_seconds_max=pause_seconds_max,
            silent_seconds_max=silent_seconds_max,
        )  # fmt: skip
        with self._lock:
            self._tasks = [one for one in self._tasks if not one.stopping.is_set()]
            self._tasks.append(task)
        task.start()
        return task

    @contextlib.contextmanager
    def beside(self, name: str, work: Callable[[threading.Event, Callable[[], None]], None]) -> Iterator[None]:
        """Run `work(stopping, succeeded)` while the context lasts."""
        task = self.start(name, lambda own: work(own.stopping, own.succeeded), is_needed=True, pause_seconds_max=1)
        try:
            yield
        finally:
            task.end()

    def health(self) -> list[Health]:
        """Return the health of every task, by name. Dead threads are replaced."""
        with self._lock:
            tasks = [task for task in self._tasks if not task.stopping.is_set()]
        return sorted((task.health() for task in tasks), key=lambda one: one.task)
