"""Garbage: the pauses of Python's collector, kept short and rare while a process follows or serves.

A full collection goes through everything a process holds, hundreds of thousands of rows and states without a cycle
above all, and meanwhile nothing else in it moves, for up to a third of a second. As long as somebody asks for short
pauses, full collections are therefore rare, made when there is nothing to do if they can be, and what was there or has
outlived a long one is laid aside (`gc.freeze`) and not looked at again. Nothing is kept alive by that but cycles that
become garbage later; once an hour at most everything is gone through. Young objects are collected as ever.
"""

import gc
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

FULL = 2  # the generation of a full collection
FULL_EVERY = 1000  # collections of the middle generation, each after some 8,000 new objects: in a million events or two
IDLE_EVERY = 100  # after so many of them a full one is made as soon as there is nothing to do
LONG_SECONDS = 0.005
EVERYTHING_SECONDS = 3600.0


class _Pauses:
    """What is done before and after full collections, as long as somebody asks for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asking = 0
        self._usual = gc.get_threshold()
        self._began = 0.0
        self._thawed = 0.0

    def begin(self) -> None:
        """One more asks."""
        with self._lock:
            self._asking += 1
            if self._asking == 1:
                self._thawed = time.monotonic()
                young, middle, _ = self._usual = gc.get_threshold()
                gc.set_threshold(young, middle, FULL_EVERY)
                gc.callbacks.append(self)

    def end(self) -> None:
        """One less."""
        with self._lock:
            self._asking -= 1
            if not self._asking:
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
                gc.unfreeze()  # the next full collection goes through everything, and what it leaves is laid aside
            else:
                gc.freeze()


_PAUSES = _Pauses()


@contextmanager
def short_pauses() -> Iterator[None]:
    """Keeps full collections rare and short as long as it lasts, in the whole process."""
    _PAUSES.begin()
    try:
        yield
    finally:
        _PAUSES.end()


def lay_aside() -> None:
    """Do not look at what there is now again. For whoever has just read much, and asks for short pauses."""
    gc.freeze()


def collect_if_due() -> None:
    """Make a full collection if there was none for long. For whoever has nothing to do."""
    if gc.get_count()[FULL] >= IDLE_EVERY:
        gc.collect()
