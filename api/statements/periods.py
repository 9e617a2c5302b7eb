"""Periods a statement may be of: a day or a month, by value dates."""

import re
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from domain.errors import InvalidInput


class Period(NamedTuple):
    """A day or a month: its value dates, first and last, and its name."""

    first: str
    last: str
    name: str

    @property
    def end(self) -> datetime:
        """The first moment after it, in UTC."""
        return datetime.fromisoformat(self.last).replace(tzinfo=UTC) + timedelta(days=1)

    def holds(self, day: str) -> bool:
        """Whether a value date is in it."""
        return self.first <= day <= self.last


def period_of(text: str, field: str = "period") -> Period:
    """A day (2026-01-02) or a month (2026-01). Raises InvalidInput."""
    with suppress(ValueError, OverflowError):
        if re.fullmatch(r"[0-9]{4}-[0-9]{2}", text):
            first = date.fromisoformat(f"{text}-01")
            last = (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)
            return Period(first.isoformat(), last.isoformat(), f"{first:%B %Y}")
        if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
            first = date.fromisoformat(text)
            return Period(text, text, f"{first.day} {first:%B %Y}")
    raise InvalidInput(field, text, "a day such as 2026-01-02, or a month such as 2026-01")
