"""The one system clock. Everything below the API takes time as an argument."""

import time
from datetime import datetime, timedelta

from domain.values import EPOCH


def now() -> datetime:
    """Return the present time in UTC, to the microsecond; a plain datetime also where a test has frozen the clock."""
    return EPOCH + timedelta(microseconds=time.time_ns() // 1000)
