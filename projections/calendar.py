"""Trading days and their closes. A day is named by the date of its close, and ends right before it.

What occurs at the exact moment of the close belongs to the next day. A close at 00:00 is the midnight that ends the
date. Closes are local times, so a day may have 23 or 25 hours; in UTC each is at a full or half hour, because read
models keep their sums by half hours.
"""

import re
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from domain.errors import InvalidInput
from domain.values import EPOCH

HALF_HOUR = timedelta(minutes=30)
DAY = timedelta(days=1)
SLOTS_A_DAY = 48
DAYS_MAX = 1500
_CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])(?: ([A-Za-z0-9_+\-/]{1,64}))?", re.ASCII)


def slot_of(moment: datetime) -> int:
    """Return the number of the half hour that contains a moment, counted from 1970."""
    return (moment - EPOCH) // HALF_HOUR


def slot_start(slot: int) -> datetime:
    """Return the moment at which a half hour begins."""
    return EPOCH + slot * HALF_HOUR


class Close(NamedTuple):
    """Time of day in a zone of the IANA database."""

    hour: int = 0
    minute: int = 0
    zone: str = "UTC"

    @property
    def is_utc_midnight(self) -> bool:
        """Whether days are calendar days in UTC."""
        return self == MIDNIGHT

    def __str__(self) -> str:
        return f"{self.hour:02}:{self.minute:02} {self.zone}"

    def end_of(self, day: date) -> datetime:
        """Return the moment at which a day ends, in UTC."""
        last = day + DAY if (self.hour, self.minute) == (0, 0) else day
        local = datetime(last.year, last.month, last.day, self.hour, self.minute, tzinfo=ZoneInfo(self.zone))
        return EPOCH + (local.astimezone(UTC) - EPOCH)

    def at(self, day: date) -> datetime:
        """Return the moment at which a day ends, in UTC. Raises InvalidInput unless it is a full or half hour."""
        moment = self.end_of(day)
        if (moment - EPOCH) % HALF_HOUR:
            raise InvalidInput("close", str(self), "a time at a full or half hour of UTC")
        return moment

    def day_of(self, moment: datetime) -> date:
        """Return the day that a moment belongs to."""
        day = moment.astimezone(ZoneInfo(self.zone)).date() - DAY
        while self.at(day) <= moment:
            day += DAY
        return day


MIDNIGHT = Close()


def parsed(text: str) -> Close:
    """Parse a close at a full or half hour of UTC. Raises InvalidInput."""
    close = parsed_close(text)
    close.at(date(2026, 1, 15))
    return close


def parsed_close(text: str) -> Close:
    """Parse a close written `HH:MM` (UTC) or `HH:MM Area/City`, at any minute. Raises InvalidInput."""
    found = _CLOCK.fullmatch(text.strip())
    if found is None:
        raise InvalidInput("close", text, "a time and a zone, such as '17:00 America/New_York'")
    zone = found[3] or "UTC"
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidInput("close", text, f"a zone of the IANA database ({zone} is none)") from error
    return Close(int(found[1]), int(found[2]), zone)


class Days(NamedTuple):
    """Consecutive days. `bounds` are the moments at which they begin and end: one more than there are days."""

    close: Close
    dates: tuple[date, ...]
    bounds: tuple[datetime, ...]

    @property
    def slots(self) -> tuple[int, ...]:
        """The bounds as numbers of half hours."""
        return tuple(map(slot_of, self.bounds))


def days(close: Close, first: date, last: date) -> Days:
    """Return the days from `first` to `last`, both included. Raises InvalidInput for none or too many."""
    count = (last - first).days + 1
    if count < 1:
        raise InvalidInput("to", last.isoformat(), f"a day since {first.isoformat()}")
    if count > DAYS_MAX:
        raise InvalidInput("from", first.isoformat(), f"at most {DAYS_MAX} days before {last.isoformat()}")
    dates = tuple(first + step * DAY for step in range(count))
    return Days(close, dates, (close.at(first - DAY), *map(close.at, dates)))


def parsed_zone(text: str, field: str = "zone") -> ZoneInfo:
    """Return a time zone of the IANA database, such as Europe/Berlin. Raises InvalidInput."""
    try:
        return ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidInput(field, text, "a zone of the IANA database, such as Europe/Berlin") from error
