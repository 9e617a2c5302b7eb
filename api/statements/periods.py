"""Periods of a statement: a day or a month, by value date."""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from api.parameters import parsed_date


class Period(NamedTuple):
    """A day or a month: its first and last value date, and its name."""

    first: str
    last: str
    name: str

    @property
    def end(self) -> datetime:
        """The first moment after the period, in UTC."""
        return datetime.fromisoformat(self.last).replace(tzinfo=UTC) + timedelta(days=1)

    def holds(self, day: str) -> bool:
        """Whether a value date is in the period."""
        return self.first <= day <= self.last


def period_of(text: str, field: str = "period") -> Period:
    """Return a day (2026-01-02) or a month (2026-01). Raises InvalidInput."""
    rule = "a day such as 2026-01-02, or a month such as 2026-01"
    is_month = len(text) == len("2026-01")
    first = parsed_date(f"{text}-01" if is_month else text, field, rule)
    if not is_month:
        return Period(text, text, f"{first.day} {first:%B %Y}")
    last = (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)
    return Period(first.isoformat(), last.isoformat(), f"{first:%B %Y}")
