"""Admission of expensive reads: so many run at a time, of each API key a smaller number, and a few wait in turn.

A slot that becomes free goes to the key that has the fewest running, then to the one served longest ago, so a key with
many waiting does not delay another. Used on one event loop.
"""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from api.problems import Problem

WAITING_PER_KEY_MAX = 8
WAITING_MAX = 64
SERVED_KEYS_MAX = 1024
RETRY_AFTER_SECONDS = 5


class _Waiting(NamedTuple):
    key: str
    admitted: "asyncio.Future[None]"


class Admission:
    """Admits at most `slots` reads at a time, at most `per_key_max` of one key, for which one slot fewer counts."""

    def __init__(self, slots: int, per_key_max: int, wait_seconds_max: float) -> None:
        self._slots = slots
        self._per_key_max = min(per_key_max, max(1, slots - 1))
        self._wait_seconds_max = wait_seconds_max
        self._running: Counter[str] = Counter()
        self._waiting: list[_Waiting] = []
        self._served: OrderedDict[str, int] = OrderedDict()  # the number of the last read served, by key
        self._count = 0

    @property
    def running(self) -> int:
        """How many run."""
        return self._running.total()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    @asynccontextmanager
    async def admitted(self, key: str, gone: "asyncio.Future[None]") -> AsyncIterator[None]:
        """Run the body once a slot is free.

        Raises Problem if too many wait, none becomes free in time, or the client is `gone` before.
        """
        await self._admit(key, gone)
        try:
            yield
        finally:
            self._leave(key)

    async def _admit(self, key: str, gone: "asyncio.Future[None]") -> None:
        if sum(each.key == key for each in self._waiting) >= WAITING_PER_KEY_MAX:
            raise self._of_key(key)
        if len(self._waiting) >= WAITING_MAX:
            raise self._all_busy()
        mine = _Waiting(key, asyncio.get_running_loop().create_future())
        self._waiting.append(mine)
        self._fill()
        try:
            await asyncio.wait(
                {mine.admitted, gone}, timeout=self._wait_seconds_max, return_when=asyncio.FIRST_COMPLETED
            )  # fmt: skip
        except asyncio.CancelledError:
            if mine.admitted.done():
                self._leave(key)
            raise
        finally:
            if mine in self._waiting:
                self._waiting.remove(mine)
        if not mine.admitted.done():
            if gone.done():
                raise hung_up()
            raise self._of_key(key) if self._running[key] >= self._per_key_max else self._all_busy()

    def _leave(self, key: str) -> None:
        self._running[key] -= 1
        if not self._running[key]:
            del self._running[key]
        self._fill()

    def _fill(self) -> None:
        """Give free slots to those who wait."""
        while self.running < self._slots:
            may_run = [each for each in self._waiting if self._running[each.key] < self._per_key_max]
            if not may_run:
                return
            chosen = min(may_run, key=lambda each: (self._running[each.key], self._served.get(each.key, 0)))
            self._waiting.remove(chosen)
            self._running[chosen.key] += 1
            self._count += 1
            self._served[chosen.key] = self._count
            self._served.move_to_end(chosen.key)
            if len(self._served) > SERVED_KEYS_MAX:
                self._served.popitem(last=False)
            chosen.admitted.set_result(None)

    def _of_key(self, key: str) -> Problem:
        return Problem(
            429, "too-many-reads", "Too many reads of one key",
            f"this API key has {self._running[key]} expensive reads running, and others waiting; at most"
            f" {self._per_key_max} run at a time: send it again when one of them has ended",
            headers=_retry(), running=self._running[key], running_max=self._per_key_max,
        )  # fmt: skip

    def _all_busy(self) -> Problem:
        return Problem(
            503, "reads-busy", "Too many reads wait",
            f"{self._slots} expensive reads run and {len(self._waiting)} wait, and none ended in time; send it again",
            headers=_retry(), running_max=self._slots,
        )  # fmt: skip


def hung_up() -> Problem:
    """Return the problem of a client that has closed its connection; only metrics and the log see it."""
    return Problem(503, "hung-up", "Client hung up", "the client closed the connection before the answer")


def _retry() -> dict[str, str]:
    return {"Retry-After": str(RETRY_AFTER_SECONDS)}
