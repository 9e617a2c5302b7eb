"""An answer that many may need at once, computed once for all of them, and again only when it is too old."""

import asyncio
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from anyio import to_thread

from domain.errors import LedgerError

SECONDS = 1.0

T = TypeVar("T")


class Shared(Generic[T]):
    """A value computed in a thread, for one event loop. Callers that come while it is computed wait for it."""

    def __init__(self, compute: Callable[[], T], seconds: float = SECONDS) -> None:
        self._compute = compute
        self._seconds = seconds
        self._value: T | LedgerError | None = None
        self._until = 0.0
        self._computing: asyncio.Task[T | LedgerError] | None = None

    async def get(self) -> T:
        """Return the value, not older than `seconds`. Raises the LedgerError of computing it."""
        if self._value is None or time.monotonic() >= self._until:
            if self._computing is None:
                self._computing = asyncio.create_task(self._computed())
            self._value = await asyncio.shield(self._computing)
        if isinstance(self._value, LedgerError):
            raise self._value.with_traceback(None)
        return self._value

    async def _computed(self) -> T | LedgerError:
        try:
            return await to_thread.run_sync(self._outcome)
        finally:
            self._until = time.monotonic() + self._seconds
            self._computing = None

    def _outcome(self) -> T | LedgerError:
        try:
            return self._compute()
        except LedgerError as error:
            return error
