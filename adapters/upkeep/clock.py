"""The check of our clock: against the database's, against its own past, and against the log's last `recorded_at`.

Our clock is in doubt when it differs by more than a bound from the database's; when it advances by another amount than
the machine's monotonic clock since the last check; or when the log ends later than it is. While it is in doubt nothing
is recorded. The doubt ends when the clock is right again, or when an operator confirms it (`ClockConfirmed`): then the
present difference from the database's clock is accepted, and the clock's past begins with the confirmation.

A machine that was suspended is no doubt where the monotonic clock counts that time (CLOCK_BOOTTIME, on Linux). What no
check finds: a clock that was wrong already when the process started, on the machine that the database runs on too.
"""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from adapters.postgres.connections import Connection
from adapters.upkeep.supervisor import Health, State
from domain.errors import ClockInDoubt
from domain.ledger import CLOCK_STREAM, ClockConfirmed, Recorded, schema

DIFFERENCE_SECONDS_MAX = 5.0
LOOK_SECONDS = 1.0  # between two looks at the database's clock
REBASE_SECONDS = 60.0  # so often the clock's past begins again: it drifts, and is adjusted, by fractions of the bound
PAIRED_SECONDS_MAX = 0.1  # two clocks read at one moment, and not with a pause between them
ATTEMPTS_MAX = 5
UNSEEN_SECONDS_MAX = 86_400.0
TASK = "clock"

LOOK = """
SELECT clock_timestamp(), (SELECT recorded_at FROM ledger.events ORDER BY notification_id DESC LIMIT 1)
"""
CONFIRMED = """
SELECT topic, state FROM ledger.events WHERE originator_id = %s ORDER BY originator_version DESC LIMIT 1
"""


def monotonic() -> float:
    """Return seconds that no one can set, counted also while the machine is suspended where the system has that."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class Looked(NamedTuple):
    """The clocks at the last look: ours and the database's, and the log's last `recorded_at`."""

    ours: datetime
    database: datetime
    log: datetime | None


class ClockCheck:
    """Our clock, `now`, and whether it is in doubt. Safe between threads. `difference_max` is the bound, in seconds."""

    def __init__(
        self,
        now: Callable[[], datetime],
        *,
        difference_seconds_max: float = DIFFERENCE_SECONDS_MAX,
        monotonic: Callable[[], float] = monotonic,
    ) -> None:
        self._now = now
        self._monotonic = monotonic
        self._max = timedelta(seconds=difference_seconds_max)
        self._lock = threading.Lock()
        self._base, self._base_at = self._pair()
        self._jump: str | None = None
        self._database: str | None = None
        self._log_at: datetime | None = None
        self._accepted = timedelta()  # the confirmed difference of the database's clock
        self._version = 0  # of the stream of confirmations: the last one that was used
        self._looked_at = float("-inf")
        self._looked: Looked | None = None
        self._since = datetime.now(UTC)
        self._doubt: str | None = None
        self._doubts = 0

    def read(self) -> datetime:
        """Return the present moment. Raises ClockInDoubt."""
        moment, doubt = self._checked()
        if doubt is not None:
            raise ClockInDoubt(doubt)
        return moment

    @property
    def doubt(self) -> str | None:
        """Why the clock is in doubt; None if it is not."""
        return self._checked()[1]

    @property
    def looked(self) -> Looked | None:
        """The clocks at the last look; None before the first."""
        return self._looked

    def look(self, connection: Connection, *, is_due: bool = True) -> None:
        """Compare our clock with the database's and with the log; use a new confirmation. Unless it `is_due`, at most
        every LOOK_SECONDS.
        """
        if not is_due and self._monotonic() - self._looked_at < LOOK_SECONDS:
            return
        unseen = timedelta(seconds=min(self._monotonic() - self._looked_at, UNSEEN_SECONDS_MAX))
        before = self._now()
        row = connection.execute(LOOK).fetchone()
        after = self._now()
        assert row is not None, "a query without FROM has a row"
        with self._lock:
            self._looked_at = self._monotonic()
            self._looked = Looked(after, row[0], row[1])
            self._log_at = row[1]
            self._compare(row[0], before, after)
        if self.doubt is not None:
            self._use_confirmation(connection, unseen)

    def health(self) -> Health:
        """Return the state of the clock, beside those of tasks."""
        doubt = self.doubt
        at = None if self._looked is None else self._looked.database.astimezone(UTC)
        return Health(
            task=TASK,
            state=State.RUNNING if doubt is None else State.IN_DOUBT,
            since=self._since,
            failures=self._doubts,
            last_success_at=at,
            last_error_at=None if doubt is None else self._since,
            last_error=doubt,
            is_needed=True,
            is_trouble=doubt is not None,
        )

    def _pair(self) -> tuple[datetime, float]:
        """Read both clocks at one moment."""
        before, moment = self._monotonic(), self._now()
        for _ in range(ATTEMPTS_MAX):
            if self._monotonic() - before < PAIRED_SECONDS_MAX:
                break
            before, moment = self._monotonic(), self._now()
        return moment, before

    def _checked(self) -> tuple[datetime, str | None]:
        with self._lock:
            moment, at = self._pair()
            off = moment - self._base - timedelta(seconds=at - self._base_at)
            if abs(off) > self._max:
                way = "forward" if off > timedelta() else "back"
                self._jump = (
                    f"the clock of this machine has jumped {way} by {seconds(off)} since {self._base.isoformat()}, "
                    "by its own monotonic clock"
                )
            else:
                self._jump = None
                if at - self._base_at > REBASE_SECONDS:
                    self._base, self._base_at = moment, at
            doubt = self._jump or self._ahead(moment) or self._database
            if (doubt is None) != (self._doubt is None):
                self._since = datetime.now(UTC)
                self._doubts += doubt is not None
            self._doubt = doubt
            return moment, doubt

    def _ahead(self, moment: datetime) -> str | None:
        """Return how far the log is ahead, if that is more than two clocks explain that differ from a third."""
        if self._log_at is None or self._log_at - moment <= 2 * self._max:
            return None
        return (
            f"the log ends at {self._log_at.isoformat()}, {seconds(self._log_at - moment)} later than it is by the "
            f"clock of this machine ({moment.isoformat()}): this clock is wrong, or was wrong then"
        )

    def _compare(self, database: datetime, before: datetime, after: datetime) -> None:
        """Compare with the database's clock, read between `before` and `after`."""
        took = max(after - before, timedelta())
        difference = database - before - took / 2
        off = min(abs(difference), abs(difference - self._accepted)) - took / 2
        self._database = None
        if off > self._max:
            self._database = (
                f"the clock of this machine ({after.isoformat()}) and the database's ({database.isoformat()}) differ "
                f"by {seconds(difference)}, and may differ by {seconds(self._max)}"
            )

    def _use_confirmation(self, connection: Connection, unseen: timedelta) -> None:
        """Use the last confirmation on record, unless it was used before. `unseen` is the time since the look before:
        a confirmation of that time, by a clock that agrees with ours, begins the clock's past again.
        """
        row = connection.execute(CONFIRMED, [CLOCK_STREAM]).fetchone()
        if row is None:
            return
        record: Recorded[ClockConfirmed] = schema.decode(row[0], bytes(row[1]))
        if record.version <= self._version:
            return
        with self._lock:
            moment, at = self._pair()
            self._version = record.version
            self._accepted = record.event.database_at - record.recorded_at
            if -self._max <= moment - record.recorded_at <= unseen + self._max:
                self._base, self._base_at = moment, at
        self.look(connection)


def seconds(length: timedelta) -> str:
    """Return a length of time for a sentence: `7.2 s`, `3 h`, `3,652 days`."""
    s = abs(length.total_seconds())
    if s < 180:
        return f"{s:,.1f} s"
    return f"{s / 60:,.0f} min" if s < 10_800 else f"{s / 3600:,.0f} h" if s < 172_800 else f"{s / 86_400:,.0f} days"
