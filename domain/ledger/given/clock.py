"""The clock on record: confirmations of it, and which part of the log a moment leads to.

`recorded_at` is our clock's time. It never decreases along `seq`, except at a `ClockConfirmed`: there an operator has
confirmed that the clock is right and the times before it were ahead. When exactly those events were recorded is not
known: after the last event whose time is trusted, and before the confirmation.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from msgspec import Struct

from domain.errors import MomentUnknown
from domain.ledger.log import Logged

STREAM = "clock"


# Events: the stored format. A name or a field here outlives this code; change one only with an upcast.
class ClockConfirmed(Struct, frozen=True, gc=False, tag="ClockConfirmed", omit_defaults=True):
    """An operator has confirmed the clock by which this event is recorded; `reason` is the operator's.

    `database_at` is the database's clock at that moment. `from_seq` is the first event whose `recorded_at` is later
    than the confirmation, absent if there is none; `trusted_at` is the time of the event before it.
    """

    reason: str
    database_at: datetime
    from_seq: int | None = None
    trusted_at: datetime | None = None


ClockEvent = ClockConfirmed


class Confirmation(NamedTuple):
    """A confirmation and its place in the log: recorded as `seq` at `at`, for the events `from_seq` to `seq` - 1.

    `database_ahead` is how far the database's clock was ahead of ours, which was confirmed.
    """

    seq: int
    at: datetime
    from_seq: int | None
    trusted_at: datetime | None
    database_ahead: timedelta


class Part(NamedTuple):
    """A part of the log in which `recorded_at` never decreases: `first` <= seq, and seq < `end` unless that is None."""

    first: int
    end: int | None


def confirmation(logged: Logged) -> Confirmation:
    """Return a recorded ClockConfirmed as a Confirmation."""
    seq, record = logged
    event: ClockConfirmed = record.event
    at = record.recorded_at
    return Confirmation(seq, at, event.from_seq, event.trusted_at, database_ahead=event.database_at - at)


def part_at(confirmations: Sequence[Confirmation], moment: datetime) -> Part:
    """Return the part of the log whose last event recorded at or before `moment` is the last one on record then.

    If it has no such event, `first` - 1 is the last one. `confirmations` are by seq. Raises MomentUnknown when the
    moment is between the last trusted time and a confirmation.
    """
    end: int | None = None
    for one in reversed(confirmations):
        if end is not None and one.seq >= end:
            continue  # it was recorded by a wrong clock itself, which a later confirmation has found out
        if moment >= one.at:
            return Part(one.seq, end)
        if one.from_seq is None:
            continue
        if one.trusted_at is None or moment > one.trusted_at:
            raise MomentUnknown(moment, one.from_seq, one.seq - 1, since=one.trusted_at, until=one.at)
        end = one.from_seq
    return Part(1, end)


def latest_at(confirmations: Sequence[Confirmation], seq: int, recorded_at: datetime) -> datetime:
    """Return when an event was recorded; where that was by a wrong clock, the latest time that it can have been."""
    before = (one.at for one in confirmations if one.from_seq is not None and one.from_seq <= seq < one.seq)
    return min((recorded_at, *before))
