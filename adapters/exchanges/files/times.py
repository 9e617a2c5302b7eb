"""Times as files have them: days or months first, years of two digits, 12-hour clocks, epochs, zones as words.

A file has one `Clock`: the order of day, month and year and the zone of times that state none. The order is decided
for a whole file by a value that fits one only.
"""

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from domain import values
from domain.errors import InvalidInput
from domain.values import EPOCH, Instant


class DateOrder(StrEnum):
    """The order of a date's numbers where the year is not written first with four digits."""

    YMD = "ymd"
    DMY = "dmy"
    MDY = "mdy"


class Clock(NamedTuple):
    """How the times of one file are read: the order of their dates, None if it is open, and their offset from UTC."""

    order: DateOrder | None = None
    offset: timedelta = timedelta()


UTC_CLOCK = Clock()
OPEN = "a date whose day and month are clear; state `--dates day-first` or `--dates month-first`"
WRONG = "a time such as 2026-01-02 03:04:05"
ZONES = {
    "utc": 0, "gmt": 0, "z": 0, "wet": 0, "bst": 1, "cet": 1, "west": 1, "cest": 2, "eet": 2, "eest": 3, "msk": 3,
    "hkt": 8, "sgt": 8, "jst": 9, "kst": 9, "aest": 10, "aedt": 11,
    "est": -5, "edt": -4, "cst": -6, "cdt": -5, "mst": -7, "mdt": -6, "pst": -8, "pdt": -7,
}  # fmt: skip
_MONTHS = {
    name: at
    for at, name in enumerate(["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"], 1)
}
_ISO = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,9})?(?P<zone>Z|[+-]\d\d:?\d\d)?", re.ASCII)
_SECONDS = r"(?::(?P<second>\d\d)(?:[.,](?P<fraction>\d{1,9}))?)?"
_CLOCK = rf"(?P<hour>\d{{1,2}}):(?P<minute>\d\d){_SECONDS}\s*(?P<half>[AaPp]\.?[Mm]\.?)?"
_ZONE = r"(?:\s*(?P<zone>Z|[A-Za-z]{2,4})?\s*(?P<offset>[+-]\d{1,2}(?::?\d\d)?)?)(?:\s*\([^)]*\))?"
_DATES = (
    r"(?P<y>\d{4})[-/.](?P<m>\d{1,2})[-/.](?P<d>\d{1,2})",
    r"(?P<a>\d{1,2})(?P<sep>[-/.])(?P<b>\d{1,2})[-/.](?P<c>\d{4}|\d\d)",
    r"(?:[A-Za-z]{3,9},?\s+)?(?P<d>\d{1,2})[ -](?P<word>[A-Za-z]{3,9})\.?,?[ -](?P<y>\d{4}|\d\d)",
    r"(?:[A-Za-z]{3,9},?\s+)?(?P<word>[A-Za-z]{3,9})\.?\s+(?P<d>\d{1,2})(?:st|nd|rd|th)?,?\s+(?P<y>\d{4})",
)
_FORMS = tuple(
    re.compile(form, re.ASCII)
    for date in _DATES
    for form in (rf"{date}(?:(?:T|,?\s+|\s+-\s+|,)(?:at\s+)?{_CLOCK}{_ZONE})?", rf"{_CLOCK}\s+{date}")
)
_NUMBERED = re.compile(r"(\d{1,2})([-/.])(\d{1,2})[-/.](\d{4}|\d\d)(?!\d)", re.ASCII)
_EPOCH = re.compile(r"(\d{9,19})(?:\.(\d{1,9}))?", re.ASCII)
_STATED = re.compile(r"\b(?:utc|gmt)\s*([+-]\d{1,2}(?::?\d\d)?)?(?!\w)", re.IGNORECASE)


def instant(text: str, field: str, clock: Clock = UTC_CLOCK, *, now: datetime | None = None) -> Instant:
    """Parse a time as it is in a file. Raises InvalidInput naming `field`."""
    written = text.strip()
    iso = _ISO.fullmatch(written)
    if iso is not None:
        if iso["zone"] or not clock.offset:
            return values.instant(written, field, now=now)
        at, nanos = values.instant(written, field)
        return Instant(values.time(at - clock.offset, field, now=now), nanos)
    epoch = _EPOCH.fullmatch(written)
    if epoch is not None:
        return _since_epoch(epoch, text, field, now=now)
    for form in _FORMS:
        found = form.fullmatch(written)
        if found is not None:
            return _composed(found.groupdict(), text, field, clock=clock, now=now)
    raise InvalidInput(field, text, WRONG)


def _since_epoch(found: re.Match[str], text: str, field: str, *, now: datetime | None) -> Instant:
    """Seconds, milliseconds, microseconds or nanoseconds since 1970, by the number of digits."""
    digits, fraction = found[1], found[2] or ""
    power = 0 if len(digits) <= 11 else 3 if len(digits) <= 14 else 6 if len(digits) <= 17 else 9
    nanoseconds = int(f"{digits}{fraction:0<9}"[: len(digits) + 9 - power])
    microseconds, nanos = divmod(nanoseconds, 1000)
    try:
        at = EPOCH + timedelta(microseconds=microseconds)
    except OverflowError as error:
        raise InvalidInput(field, text, "a time that exists") from error
    return Instant(values.time(at, field, now=now), nanos)


def _composed(parts: dict[str, str | None], text: str, field: str, *, clock: Clock, now: datetime | None) -> Instant:
    year, month, day = _date(parts, text, field, clock.order)
    hour, half = int(parts.get("hour") or 0), (parts.get("half") or "").replace(".", "").lower()
    if half:
        if not 1 <= hour <= 12:
            raise InvalidInput(field, text, "an hour from 1 to 12 before AM or PM")
        hour = hour % 12 + (12 if half == "pm" else 0)
    fraction = f"{parts.get('fraction') or '0':0<9}"
    offset = _offset(parts, text, field)
    try:
        at = datetime(year, month, day, hour, int(parts.get("minute") or 0), int(parts.get("second") or 0))  # noqa: DTZ001 (its zone is taken off below)
        at = at.replace(microsecond=int(fraction[:6])) - (clock.offset if offset is None else offset)
    except (ValueError, OverflowError) as error:
        raise InvalidInput(field, text, "a time that exists") from error
    return Instant(values.time(at, field, now=now), int(fraction[6:]))


def _date(parts: dict[str, str | None], text: str, field: str, order: DateOrder | None) -> tuple[int, int, int]:
    if word := parts.get("word"):
        month = _MONTHS.get(word[:3].lower())
        if month is None:
            raise InvalidInput(field, text, WRONG)
        return _full_year(parts["y"] or ""), month, int(parts["d"] or 0)
    if parts.get("y"):
        return int(parts["y"] or 0), int(parts["m"] or 0), int(parts["d"] or 0)
    first, second, third = (parts[name] or "" for name in "abc")
    chosen = order or _order_of(first, parts["sep"] or "", second, third)
    if chosen is DateOrder.YMD and len(third) == 4:
        chosen = _order_of(first, parts["sep"] or "", second, third)
    match chosen:
        case DateOrder.YMD:
            return _full_year(first), int(second), int(third)
        case DateOrder.DMY:
            return _full_year(third), int(second), int(first)
        case DateOrder.MDY:
            return _full_year(third), int(first), int(second)
        case _:
            raise InvalidInput(field, text, OPEN)


def _full_year(digits: str) -> int:
    return int(digits) if len(digits) == 4 else 2000 + int(digits)


def _order_of(first: str, separator: str, second: str, third: str) -> DateOrder | None:
    """The only order that a date fits; None if there are several."""
    if int(second) > 12:
        return DateOrder.MDY
    if int(first) > 31:
        return DateOrder.YMD
    if int(first) > 12 and (len(third) == 4 or int(third) > 31):
        return DateOrder.DMY
    return DateOrder.DMY if separator == "." and len(third) == 4 else None


def order_of(texts: Iterable[str]) -> DateOrder | None:
    """Determine the order of a file's dates by the first one that fits only one; None if it is open."""
    for text in texts:
        found = _NUMBERED.search(text)
        if found is not None and (order := _order_of(*found.groups())) is not None:
            return order
    return None


def needs_order(text: str) -> bool:
    """Whether a time has a date whose day, month and year could be in several orders."""
    found = _NUMBERED.match(text.strip())
    return found is not None and _order_of(*found.groups()) is None


def _offset(parts: dict[str, str | None], text: str, field: str) -> timedelta | None:
    word, offset = parts.get("zone"), parts.get("offset")
    if word is None and offset is None:
        return None
    hours = ZONES.get((word or "utc").lower())
    if hours is None:
        raise InvalidInput(field, text, "a time in a zone known by its name, such as UTC, CET or EST")
    return timedelta(hours=hours) + (_signed(offset) if offset else timedelta())


def _signed(offset: str) -> timedelta:
    digits = offset[1:].replace(":", "")
    hours, minutes = (digits[:-2], digits[-2:]) if len(digits) > 2 else (digits, "0")
    size = timedelta(hours=int(hours), minutes=int(minutes))
    return -size if offset[0] == "-" else size


def stated_offset(text: str) -> timedelta | None:
    """Return the offset that a header, a line of facts or a file's name states, such as `(UTC+08:00)`; None if none."""
    found = _STATED.search(text)
    if found is None:
        return None
    return _signed(found[1]) if found[1] else timedelta()
