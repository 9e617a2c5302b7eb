"""The pace at which callers without a key are answered.

Each address has `BURST` answers at once and `A_SECOND` a second after that. One more is not refused: it waits, for
`WAIT_SECONDS_MAX` at most, so that a caller in a loop slows down and no probe fails.
"""

import asyncio
import time
from collections import OrderedDict

from starlette.types import Scope

A_SECOND = 50
BURST = 50
WAIT_SECONDS_MAX = 1.0
ADDRESSES_MAX = 4096


class Pace:
    """Answers due by address; used by one event loop."""

    def __init__(self) -> None:
        self._due: OrderedDict[str, float] = OrderedDict()

    async def turn(self, scope: Scope) -> None:
        """Return when a caller without a key may be answered."""
        if (wait := self.seconds(address_of(scope), time.monotonic())) > 0:
            await asyncio.sleep(wait)

    def seconds(self, address: str, now: float) -> float:
        """Count an answer to an address and return how long it has to wait."""
        due = max(self._due.pop(address, now), now) + 1 / A_SECOND
        wait = max(0.0, due - now - BURST / A_SECOND)
        self._due[address] = min(due, now + BURST / A_SECOND + WAIT_SECONDS_MAX)
        if len(self._due) > ADDRESSES_MAX:
            self._due.popitem(last=False)
        return min(wait, WAIT_SECONDS_MAX)


def address_of(scope: Scope) -> str:
    """Return the address a request comes from."""
    return (scope.get("client") or ("",))[0]
