"""The runner: keeps read models behind the log, exactly once.

One process at a time follows with a group of projections (`projections.runner.lease`); others stand by. How a batch is
folded and written is in `projections.runner.batches`.

An event that a projection cannot fold stops that projection, with an error that names it, and no other. It goes on when
it is resumed, rebuilt, or followed by a process that starts anew.
"""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Protocol

import sqlalchemy as sa

from domain.errors import Unavailable
from domain.ledger import EventLog, scan
from domain.values import EPOCH
from projections.catalog import PROJECTIONS
from projections.runner import gc_pauses, lease
from projections.runner.attestation import Verified, verify
from projections.runner.batches import Following
from projections.runner.lease import EVERYTHING, Holder, Lease
from projections.runner.rebuild import OnProgress, RebuildResult, rebuild, roll_back
from projections.runner.workers import Opener
from projections.storage import progress
from projections.storage.copy_lines import Sum
from projections.storage.progress import Place, reaching
from projections.storage.rows import MemoryRows
from projections.storage.tables import Projection

BATCH_EVENTS_MAX = 2000
WAIT_S = 1.0  # without a notice the log is looked at this often, and whether what was stopped may go on
STANDBY_S = 0.5
PATIENCE_S = 10.0  # with a process that follows and does not move
POLL_S = 0.02
RATE_S = 10.0


class FollowableLog(EventLog, Protocol):
    """A log that can be waited for."""

    def wait(self, after: int, timeout_s: float) -> int:
        """The head's seq, as soon as it is beyond `after`, or when the time is up."""


class Progress(NamedTuple):
    """How far a projection is: `lag` events behind the log, and the error that stopped it.

    `lag_ms` is how long ago the first event that it lacks was recorded, in milliseconds.
    """

    projection: str
    version: int
    seq: int
    lag: int
    lag_ms: int
    rows: int
    error: str | None


class Runner:
    """Follows one log with some projections. `engine` connects as the owner of the read models.

    `group` names the projections, if they are not all, so that one process at a time follows with them. `opener` opens
    log and database once more, in processes that a rebuild may start.
    """

    def __init__(
        self,
        log: FollowableLog,
        engine: sa.Engine,
        projections: Sequence[Projection] = PROJECTIONS,
        *,
        batch_events_max: int = BATCH_EVENTS_MAX,
        opener: Opener | None = None,
        group: str = EVERYTHING,
    ) -> None:
        self._log = log
        self._engine = engine
        self._opener = opener
        self._group = group
        self._folded: deque[tuple[float, int]] = deque()
        self._projections = tuple(projections)
        self._batch_events_max = batch_events_max
        self._moved = threading.Condition()

    def catch_up(self) -> int:
        """Fold all there is now, or wait for the process that follows to do so; the seq reached. Raises Unavailable.

        Two that fold by turns would each time forget what they know of the rows, and both be slow.
        """
        with reaching():
            if (reached := self._followed()) is not None:
                return reached
        with reaching(), self._engine.connect() as connection:
            following = self._start(connection)
            while self._advance(following):
                pass
        return following.seq

    def _followed(self) -> int | None:
        """The seq that the process which follows has reached, when it has folded all there is now; what an event has
        stopped it leaves stopped. None if nobody follows with these versions, or whoever does has not moved for
        PATIENCE_S.
        """
        head, before, moved_at = self._log.head().seq, None, time.monotonic()
        while time.monotonic() - moved_at < PATIENCE_S:
            with self._engine.connect() as connection:
                if not lease.is_held(connection, self._group):
                    return None
                places = progress.places(connection)
            if any(one.name not in places or places[one.name][0].version != one.version for one in self._projections):
                return None
            found = [places[one.name] for one in self._projections]
            seqs = [place.seq for place, error in found if error is None]
            if min(seqs, default=head) >= head:
                return head
            if seqs != before:
                before, moved_at = seqs, time.monotonic()
            with self._moved:
                self._moved.wait(POLL_S)
        return None

    def follow(self, stop: threading.Event) -> None:
        """Fold whatever comes until told to stop: from now, or from when the process that follows now is gone.

        Outlives the loss of the database.
        """
        leased = Lease(self._engine, self._group, self.rate)
        while not stop.is_set():
            with contextlib.suppress(Unavailable), reaching(), self._engine.connect() as connection:
                connection.detach()  # closing it is what gives the lease back
                with leased.held(connection, stop) as is_ours, gc_pauses.short_pauses():
                    if is_ours:
                        self._follow(self._start(connection, stop), stop)
            stop.wait(STANDBY_S)

    def _follow(self, following: Following, stop: threading.Event) -> None:
        heard, looked_at = 0, time.monotonic()
        while not stop.is_set():
            if following.has_stopped and time.monotonic() - looked_at >= WAIT_S:
                looked_at = time.monotonic()
                following.resume()
            if not self._advance(following):
                after = max(heard, following.seq)
                heard = self._log.wait(after, WAIT_S)
                if heard <= after:
                    gc_pauses.collect_if_due()

    def _start(self, connection: sa.Connection, stop: threading.Event | None = None) -> Following:
        """Tables for new projections, a rebuild for changed ones, then all of them where they are."""
        with connection.begin():
            progress.create_missing(connection, self._projections)
            places = progress.places(connection)
        if older := [one for one in self._projections if places[one.name][0].version < one.version]:
            rebuild(self._log, self._engine, older, lambda *_: _go_on(stop), opener=self._opener)
        following = Following(self._log, connection, self._projections, self._batch_events_max)
        if stop is not None:
            following.settle_in()
            gc_pauses.lay_aside()
        return following

    def _advance(self, following: Following) -> bool:
        before = following.seq
        if not following.advance():
            return False
        now = time.monotonic()
        self._folded.append((now, max(following.seq - before, 0)))
        while self._folded and self._folded[0][0] < now - RATE_S:
            self._folded.popleft()
        with self._moved:
            self._moved.notify_all()
        return True

    def rate(self) -> int:
        """Events a second that were folded here, over the last RATE_S."""
        since = time.monotonic() - RATE_S
        return round(sum(events for at, events in tuple(self._folded) if at >= since) / RATE_S)

    def status(self) -> list[Progress]:
        """Every projection's place, also when another process follows. Raises Unavailable."""
        places = self._places()
        head, lacking = self._log.head().seq, dict[int, datetime]()
        found = []
        for projection in self._projections:
            place, error = places[projection.name]
            if place.seq < head and place.seq not in lacking:
                first = self._log.select(after=place.seq, limit=1)
                lacking[place.seq] = first[0].recorded.recorded_at if first else datetime.now(UTC)
            late = datetime.now(UTC) - lacking[place.seq] if place.seq < head else timedelta()
            lag, lag_ms = max(head - place.seq, 0), max(late // timedelta(milliseconds=1), 0)
            found.append(Progress(projection.name, place.version, place.seq, lag, lag_ms, place.sum.rows, error))
        return found

    def is_current(self) -> bool:
        """Whether all rows there are were folded by this version: nothing waits to be rebuilt. Raises Unavailable."""
        places = self._places()
        return all(places[one.name][0].version == one.version for one in self._projections)

    def followers(self) -> list[Holder]:
        """Who follows, with which projections and how fast. Raises Unavailable."""
        with reaching(), self._engine.connect() as connection:
            return lease.holders(connection)

    def resume(self, names: Iterable[str] | None = None) -> list[str]:
        """Let projections (all, or those named) that an event has stopped try it again; the names of those.

        Whoever follows goes on with them within a second. Raises Unavailable, KeyError for an unknown name.
        """
        with reaching(), self._engine.connect() as connection, connection.begin():
            return progress.resume(connection, [one.name for one in self._chosen(names)])

    def _places(self) -> dict[str, tuple[Place, str | None]]:
        with reaching(), self._engine.connect() as connection:
            places = progress.places(connection)
        for projection in self._projections:
            places.setdefault(projection.name, (Place(projection.version, 0, EPOCH, "", Sum()), None))
        return places

    def _chosen(self, names: Iterable[str] | None) -> list[Projection]:
        known = {projection.name: projection for projection in self._projections}
        return [known[name] for name in (known if names is None else dict.fromkeys(names))]

    def wait_for(self, seq: int, timeout_s: float, names: Iterable[str] | None = None) -> bool:
        """Whether the projections (all, or those named) have reached `seq` in time; False at once if one is stopped."""
        deadline = time.monotonic() + timeout_s
        wanted = set(names if names is not None else (projection.name for projection in self._projections))
        while True:
            waited = [at for name, at in self._places().items() if name in wanted]
            if all(place.seq >= seq for place, _ in waited):
                return True
            left = deadline - time.monotonic()
            if left <= 0 or any(error is not None and place.seq < seq for place, error in waited):
                return False
            with self._moved:
                self._moved.wait(min(left, POLL_S))

    def rebuild(
        self,
        names: Iterable[str] | None = None,
        on_progress: OnProgress | None = None,
        *,
        is_dry_run: bool = False,
    ) -> list[RebuildResult]:
        """Rebuild the projections (all, or those named) beside the live ones, compare, swap; see
        `projections.runner.rebuild`.

        Raises Unavailable, ProjectionStopped, RequestRefused while another rebuild runs, KeyError for an unknown name.
        """
        chosen = self._chosen(names)
        with reaching():
            with self._engine.connect() as connection, connection.begin():
                progress.create_missing(connection, chosen)
            return rebuild(self._log, self._engine, chosen, on_progress, is_dry_run=is_dry_run, opener=self._opener)

    def roll_back(
        self, names: Iterable[str] | None = None, on_progress: OnProgress | None = None
    ) -> list[RebuildResult]:
        """Swap the rows that the last rebuild has replaced in again; see `projections.runner.rebuild`.

        Raises Unavailable, RequestRefused, KeyError for an unknown name.
        """
        with reaching():
            return roll_back(self._log, self._engine, self._chosen(names), on_progress)

    def verify(self, names: Iterable[str] | None = None, on_progress: OnProgress | None = None) -> list[Verified]:
        """Compare rows and digests with what the log says; see `projections.runner.attestation`.

        Raises Unavailable, ProjectionStopped, RequestRefused, KeyError for an unknown name.
        """
        with reaching():
            return verify(self._log, self._engine, self._chosen(names), on_progress, opener=self._opener)


def _go_on(stop: threading.Event | None) -> None:
    if stop is not None and stop.is_set():
        raise Unavailable("stopped; what was being rebuilt is rebuilt at the next start")


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
