"""The runner: keeps read models behind the log, exactly once.

A batch's rows and the projection's place in the log are written in one transaction, which first locks that place: two
runners cannot write a batch twice, and one whose cache is not of the place it finds forgets it. These transactions need
not be durable (`synchronous_commit` off): rows and place are lost together, and folded again. One runner follows at a
time, elected by an advisory lock on the connection it writes with.

An event that a projection cannot fold stops that projection, with an error that names it, and no other. The next start
tries it again.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

import sqlalchemy as sa

from domain.errors import Unavailable
from domain.log import EventLog, Logged, scan
from domain.values import EPOCH
from projections import progress
from projections.catalog import PROJECTIONS
from projections.lines import Sum
from projections.progress import Batches, Place, reaching
from projections.rebuild import RebuildResult, rebuild
from projections.rows import MemoryRows, SqlRows
from projections.tables import Projection
from projections.workers import Opener

BATCH_EVENTS_MAX = 2000
FOLLOW_LOCK = 0x0DA7_B00F
WAIT_S = 1.0  # without a notice the log is looked at this often
STANDBY_S = 0.5
POLL_S = 0.02
_NOT_DURABLE = sa.text("SET LOCAL synchronous_commit = off")


class FollowableLog(EventLog, Protocol):
    """A log that can be waited for."""

    def wait(self, after: int, timeout_s: float) -> int:
        """The head's seq, as soon as it is beyond `after`, or when the time is up."""


class Progress(NamedTuple):
    """How far a projection is: `lag` events behind the log, and the error that stopped it."""

    projection: str
    version: int
    seq: int
    lag: int
    error: str | None


class Runner:
    """Follows one log with some projections. `engine` connects as the owner of the read models."""

    def __init__(
        self,
        log: FollowableLog,
        engine: sa.Engine,
        projections: Sequence[Projection] = PROJECTIONS,
        *,
        batch_events_max: int = BATCH_EVENTS_MAX,
        opener: Opener | None = None,
    ) -> None:
        self._log = log
        self._engine = engine
        self._opener = opener
        self._projections = tuple(projections)
        self._batch_events_max = batch_events_max
        self._moved = threading.Condition()

    def catch_up(self) -> int:
        """Fold all there is now; the seq reached. Raises Unavailable."""
        with reaching(), self._engine.connect() as connection:
            following = self._start(connection)
            while self._advance(following):
                pass
        return following.seq

    def follow(self, stop: threading.Event) -> None:
        """Fold whatever comes until told to stop: from now, or from when the runner that follows now is gone.

        Outlives the loss of the database.
        """
        while not stop.is_set():
            with contextlib.suppress(Unavailable), reaching(), self._engine.connect() as connection:
                connection.detach()  # closing it is what gives the lock back
                with connection.begin():
                    is_elected = connection.scalar(sa.select(sa.func.pg_try_advisory_lock(FOLLOW_LOCK)))
                if is_elected:
                    self._follow(self._start(connection), stop)
            stop.wait(STANDBY_S)

    def _follow(self, following: "_Following", stop: threading.Event) -> None:
        heard = 0
        while not stop.is_set():
            if not self._advance(following):
                heard = self._log.wait(max(heard, following.seq), WAIT_S)

    def _start(self, connection: sa.Connection) -> "_Following":
        """Tables for new projections, a rebuild for changed ones, then all of them where they are."""
        with connection.begin():
            progress.create_missing(connection, self._projections)
            places = progress.places(connection)
        if older := [one for one in self._projections if places[one.name][0].version < one.version]:
            rebuild(self._log, self._engine, older, opener=self._opener)
        return _Following(self._log, connection, self._projections, self._batch_events_max)

    def _advance(self, following: "_Following") -> bool:
        if not following.advance():
            return False
        with self._moved:
            self._moved.notify_all()
        return True

    def status(self) -> list[Progress]:
        """Every projection's place, also when another process follows. Raises Unavailable."""
        with reaching(), self._engine.connect() as connection:
            places = progress.places(connection)
        head = self._log.head().seq
        found = []
        for projection in self._projections:
            place, error = places.get(projection.name, (Place(projection.version, 0, EPOCH, "", Sum()), None))
            found.append(Progress(projection.name, place.version, place.seq, max(head - place.seq, 0), error))
        return found

    def wait_for(self, seq: int, timeout_s: float, names: Iterable[str] | None = None) -> bool:
        """Whether the projections (all, or those named) have reached `seq` in time; False at once if one is stopped."""
        deadline = time.monotonic() + timeout_s
        wanted = set(names if names is not None else (projection.name for projection in self._projections))
        while True:
            waited = [one for one in self.status() if one.projection in wanted]
            if all(one.seq >= seq for one in waited):
                return True
            left = deadline - time.monotonic()
            if left <= 0 or any(one.error is not None and one.seq < seq for one in waited):
                return False
            with self._moved:
                self._moved.wait(min(left, POLL_S))

    def rebuild(
        self,
        names: Iterable[str] | None = None,
        on_progress: Callable[[int, int], None] | None = None,
        *,
        is_dry_run: bool = False,
    ) -> list[RebuildResult]:
        """Rebuild the projections (all, or those named) beside the live ones, compare, swap; see `projections.rebuild`.

        Raises Unavailable, ProjectionStopped, RequestRefused while another rebuild runs, KeyError for an unknown name.
        """
        known = {projection.name: projection for projection in self._projections}
        chosen = [known[name] for name in (known if names is None else dict.fromkeys(names))]
        with reaching():
            with self._engine.connect() as connection, connection.begin():
                progress.create_missing(connection, chosen)
            return rebuild(
                self._log, self._engine, chosen, on_progress, is_dry_run=is_dry_run, opener=self._opener
            )  # fmt: skip


class _Following:
    """Projections on their way through the log, on one connection."""

    def __init__(
        self, log: EventLog, connection: sa.Connection, projections: Iterable[Projection], batch_events_max: int
    ) -> None:
        self._connection = connection
        self._batches = Batches(log, batch_events_max)
        with connection.begin():
            self._followers = [_Follower(connection, projection) for projection in projections]
        self.seq = min((follower.place.seq for follower in self._followers), default=0)

    def advance(self) -> bool:
        """One batch, for every projection that no event has stopped; whether there was anything."""
        running = [follower for follower in self._followers if follower.error is None]
        if not running:
            return False
        after = min(follower.place.seq for follower in running)
        batch = self._batches.next(after)
        if not batch:
            return False
        for follower in running:
            follower.apply(self._connection, batch)
        self.seq = batch[-1].seq
        return True


class _Follower:
    """One projection's live rows and their place."""

    def __init__(self, connection: sa.Connection, projection: Projection) -> None:
        self.projection = projection
        self.error: str | None = None
        self._go_on_from(progress.lock(connection, projection))

    def _go_on_from(self, place: Place) -> None:
        """Forget what was known of the rows: they are others, or somebody else has written them."""
        self.place = place
        self._rows = SqlRows(self.projection.tables, place.schema, is_empty=place.seq == 0)
        if place.version != self.projection.version:  # a newer Daybook has taken over: not a word to the database
            self.error = f"its tables are of version {place.version}, this Daybook's of {self.projection.version}"

    def apply(self, connection: sa.Connection, batch: Sequence[Logged]) -> None:
        """Fold what is new of a batch. An event that cannot be folded stops the projection right before it."""
        try:
            self._apply(connection, batch)
        except Exception as error:
            self._rows.forget()
            if progress.is_unreachable(error):
                raise
            self._stop_before_poison(connection, batch)

    def _stop_before_poison(self, connection: sa.Connection, batch: Sequence[Logged]) -> None:
        for logged in batch:
            try:
                self._apply(connection, [logged])
            except Exception as error:
                self._rows.forget()
                if progress.is_unreachable(error):
                    raise
                self.error = str(progress.stopped(self.projection, logged, error))
                with connection.begin():
                    progress.move(connection, self.projection, error=self.error)
                return

    def _apply(self, connection: sa.Connection, batch: Sequence[Logged]) -> None:
        with connection.begin():
            connection.execute(_NOT_DURABLE)
            found = progress.lock(connection, self.projection)
            if found != self.place:
                self._go_on_from(found)
            if self.error is not None:
                return
            fresh = [logged for logged in batch if logged.seq > found.seq]
            if not fresh or fresh[0].seq != found.seq + 1:
                return
            self._rows.begin(connection)
            self._rows.sum = found.sum
            self.projection.fold(self._rows, fresh)
            self._rows.flush()
            place = progress.place_at(connection, self.projection, found, fresh[-1].seq, self._rows.sum)
        self.place = place


def as_of(
    log: EventLog,
    *,
    seq: int | None = None,
    at: datetime | None = None,
    projections: Sequence[Projection] = PROJECTIONS,
) -> MemoryRows:
    """The rows as they were when the log ended at `seq`, or as recorded `at` a moment: the same folds, in memory."""
    ends = [end for end in (seq, None if at is None else log.seq_at(at)) if end is not None]
    rows = MemoryRows()
    for logged in scan(log, upto=min(ends) if ends else None):
        for projection in projections:
            projection.fold(rows, [logged])
    return rows
