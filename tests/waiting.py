"""Waiting for what another process or thread does."""

import time
from collections.abc import Callable

SECONDS_MAX = 60.0


def until(is_so: Callable[[], object]) -> None:
    """Waits until it is so; fails after a minute."""
    deadline = time.monotonic() + SECONDS_MAX
    while not is_so():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
