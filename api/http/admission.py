"""Admission of reads: so many run at a time, of each API key a smaller number, and a few wait in turn.

A slot that becomes free goes to the key that has the fewest running, then to the one served longest ago, so a key with
many waiting does not delay another. Used on one event loop.
"""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from api.problems import Problem

SERVED_KEYS_MAX = 1024
RETRY_AFTER_SECONDS = 5


class Most(NamedTuple):
    """How many reads run at a time, and of one key; how many wait, and of one key; and how long."""

    slots: int
    per_key: int
    waiting: int
    waiting_per_key: int
    wait_seconds: float


class _Waiting(NamedTuple):
    key: str
    admitted: "asyncio.Future[None]"


class Admission:
    """The reads of one kind, such as "expensive reads", and the most of them that run and wait.

    One key never has every slot, unless there is only one.
    """

    def __init__(self, kind: str, most: Most) -> None:
        self._kind = kind
        self._most = most._replace(per_key=min(most.per_key, max(1, most.slots - 1)))
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
    async def admitted(self, key: str, gone: "asyncio.Future[None] | None" = None) -> AsyncIterator[None]:
        """Run the body once a slot is free.

        Raises Problem if too many wait, none becomes free in time, or the client is `gone` before.
        """
        await self._admit(key, gone)
        try:
            yield
        finally:
            self._leave(key)

    async def _admit(self, key: str, gone: "asyncio.Future[None] | None") -> None:
        if not self._waiting and self.running < self._most.slots and self._running[key] < self._most.per_key:
            self._take(key)
            return
        if sum(each.key == key for each in self._waiting) >= self._most.waiting_per_key:
            raise self._of_key(key)
        if len(self._waiting) >= self._most.waiting:
            raise self._all_busy()
        mine = _Waiting(key, asyncio.get_running_loop().create_future())
        self._waiting.append(mine)
        self._fill()
        try:
            either = {mine.admitted} if gone is None else {mine.admitted, gone}
            await asyncio.wait(either, timeout=self._most.wait_seconds, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            if mine.admitted.done():
                self._leave(key)
            raise
        finally:
            if mine in self._waiting:
                self._waiting.remove(mine)
        if not mine.admitted.done():
            if gone is not None and gone.done():
                raise hung_up()
            raise self._of_key(key) if self._running[key] >= self._most.per_key else self._all_busy()

    def _leave(self, key: str) -> None:
        self._running[key] -= 1
        if not self._running[key]:
            del self._running[key]
        self._fill()

    def _fill(self) -> None:
        """Give free slots to those who wait."""
        while self.running < self._most.slots:
            may_run = [each for each in self._waiting if self._running[each.key] < self._most.per_key]
            if not may_run:
                return
            chosen = min(may_run, key=lambda each: (self._running[each.key], self._served.get(each.key, 0)))
            self._waiting.remove(chosen)
            self._take(chosen.key)
            chosen.admitted.set_result(None)

    def _take(self, key: str) -> None:
        self._running[key] += 1
        self._count += 1
        self._served[key] = self._count
        self._served.move_to_end(key)
        if len(self._served) > SERVED_KEYS_MAX:
            self._served.popitem(last=False)

    def _of_key(self, key: str) -> Problem:
        return Problem(
            429, "too-many-reads", "Too many reads of one key",
            f"this API key has {self._running[key]} {self._kind} running, and others waiting; at most"
            f" {self._most.per_key} run at a time: send it again when one of them has ended",
            headers=_retry(), running=self._running[key], running_max=self._most.per_key,
        )  # fmt: skip

    def _all_busy(self) -> Problem:
        return Problem(
            503, "reads-busy", "Too many reads wait",
            f"{self.running} {self._kind} run and {len(self._waiting)} wait, and none ended in time; send it again",
            headers=_retry(), running_max=self._most.slots,
        )  # fmt: skip


def hung_up() -> Problem:
    """Return the problem of a client that has closed its connection; only metrics and the log see it."""
    return Problem(503, "hung-up", "Client hung up", "the client closed the connection before the answer")


def _retry() -> dict[str, str]:
    return {"Retry-After": str(RETRY_AFTER_SECONDS)}
