"""Short and rare pauses of Python's garbage collector while a process follows or serves.

A full collection scans every object of a process, mostly hundreds of thousands of rows and states without a cycle, and
stops all threads for up to a third of a second. Inside `short_pauses` full collections are therefore rare, made when
the process is idle if possible, and objects that survive a long one are frozen (`gc.freeze`), so that they are not
scanned again. This keeps nothing alive but cycles that become garbage later; at most once an hour everything is
scanned. Young objects are collected as usual.
"""

import gc
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

FULL = 2  # the generation of a full collection
FULL_EVERY = 1000  # collections of the middle generation, each after some 8,000 new objects: in a million events or two
IDLE_EVERY = 100  # after so many of them a full one is made as soon as the process is idle
LONG_SECONDS = 0.005
EVERYTHING_SECONDS = 3600.0


class _Pauses:
    """Callback before and after full collections, installed while `short_pauses` is in use."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._usual = gc.get_threshold()
        self._began = 0.0
        self._thawed = 0.0

    def begin(self) -> None:
        """Add a user; the first one installs the callback."""
        with self._lock:
            self._users += 1
            if self._users == 1:
                self._thawed = time.monotonic()
                young, middle, _ = self._usual = gc.get_threshold()
                gc.set_threshold(young, middle, FULL_EVERY)
                gc.callbacks.append(self)

    def end(self) -> None:
        """Remove a user; the last one restores the usual thresholds."""
        with self._lock:
            self._users -= 1
            if not self._users:
                gc.callbacks.remove(self)
                gc.set_threshold(*self._usual)
                gc.unfreeze()

    def __call__(self, phase: str, about: dict[str, Any]) -> None:
        """Called by the collector, before and after."""
        if about["generation"] != FULL:
            return
        now = time.monotonic()
        if phase == "start":
            self._began = now
        elif now - self._began > LONG_SECONDS:
            if now - self._thawed > EVERYTHING_SECONDS:
                self._thawed = now
                gc.unfreeze()  # the next full collection scans everything, and what survives it is frozen
            else:
                gc.freeze()


_PAUSES = _Pauses()


@contextmanager
def short_pauses() -> Iterator[None]:
    """Keep full collections rare and short inside the context, in the whole process."""
    _PAUSES.begin()
    try:
        yield
    finally:
        _PAUSES.end()


def freeze_objects() -> None:
    """Exclude all current objects from later collections. For callers inside `short_pauses` that have loaded much."""
    gc.freeze()


def collect_if_due() -> None:
    """Make a full collection if there was none for long. For idle callers."""
    if gc.get_count()[FULL] >= IDLE_EVERY:
        gc.collect()
