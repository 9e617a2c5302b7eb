"""Collecting: the garbage collector's pauses, kept short while a process serves.

A full collection goes through everything the process holds, the caches of the writer and of the read models above all,
while every other thread waits: tens of milliseconds, in the middle of somebody's query. What has outlived one that took
long is therefore laid aside (`gc.freeze`), and the next ones go through what came since. Nothing is kept alive by that
but cycles that become garbage later; so now and then, once an hour at most, everything is gone through again.
"""

import gc
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

FULL = 2  # the generation of a full collection
LONG_SECONDS = 0.005
EVERYTHING_SECONDS = 3600.0


class _Collecting:
    """What is done after each full collection, as long as somebody serves."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._serving = 0
        self._began = 0.0
        self._thawed = 0.0

    def begin(self) -> None:
        """One more serves."""
        with self._lock:
            self._serving += 1
            if self._serving == 1:
                self._thawed = time.monotonic()
                gc.callbacks.append(self)

    def end(self) -> None:
        """One less."""
        with self._lock:
            self._serving -= 1
            if not self._serving:
                gc.callbacks.remove(self)
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
                gc.unfreeze()  # the next full collection goes through everything, and what it leaves is laid aside
            else:
                gc.freeze()


_COLLECTING = _Collecting()


@contextmanager
def short_pauses() -> Iterator[None]:
    """Keeps full collections short as long as it lasts."""
    _COLLECTING.begin()
    try:
        yield
    finally:
        _COLLECTING.end()
