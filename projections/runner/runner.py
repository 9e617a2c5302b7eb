"""The runner: keeps read models up to date with the log, folding each event exactly once.

One process at a time follows with a group of projections (`projections.runner.lease`); others stand by. How a batch is
folded and written is in `projections.runner.batches`.

An event that a projection cannot fold stops that projection, with an error that names the event, and no other. It goes
on when it is resumed, rebuilt, or followed by a newly started process.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Protocol

import sqlalchemy as sa

from domain.errors import Unavailable
from domain.ledger import EventLog, scan
from domain.values import EPOCH
from projections.catalog import PROJECTIONS
from projections.runner import gc_pauses, lease
from projections.runner.attestation import Verified, verify
from projections.runner.batches import GroupFollower
from projections.runner.lease import EVERYTHING, Beside, Holder, Lease
from projections.runner.rebuild import OnProgress, RebuildResult, rebuild, roll_back
from projections.runner.workers import Opener
from projections.sql_views import following as sql_views
from projections.storage import progress
from projections.storage.copy_lines import Sum
from projections.storage.progress import Place, reaching
from projections.storage.rows import MemoryRows
from projections.storage.tables import Projection

BATCH_EVENTS_MAX = 2000
WAIT_S = 1.0  # without a notice the log is polled this often, and so are cleared errors
STANDBY_S = 0.5
PATIENCE_S = 10.0  # with a follower that makes no progress
POLL_S = 0.02
PASS_S_MIN = 0.05  # between the beginnings of two passes, unless a reader waits: a pass has a price of its own
RATE_S = 10.0


def _unnoted(done: int, of: int) -> None:
    """Note no progress."""


class FollowableLog(EventLog, Protocol):
    """A log that can be waited for."""

    def wait(self, after: int, timeout_s: float) -> int:
        """Return the head's seq as soon as it is beyond `after`, or when the time is up."""


class Progress(NamedTuple):
    """A projection's progress: `lag` events behind the log, and the error that stopped it.

    `lag_ms` is the age of the first event not folded yet, in milliseconds.
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

    `group` names the projections, unless they are all, so that one process at a time follows with them. `opener` opens
    log and database in processes that a rebuild may start.
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
        self._waiting = 0  # readers
        self._awaited = threading.Event()  # while there are any
        self._send_awaited: Callable[[bool], None] | None = None
        self.on_moved: Callable[[], None] = lambda: None
        """Called when rows have moved while a reader of another process waits for that."""
        self._is_awaited_elsewhere = False

    def catch_up(self, on_progress: OnProgress = _unnoted) -> int:
        """Fold up to the log's end, or wait for the follower to do so; returns the seq reached.

        Raises Unavailable, RebuildUnderWay. Two processes that fold in turn would empty their caches each time, and
        both be slow. `on_progress` is called with the seq reached and that of the log's end.
        """
        with reaching():
            if (reached := self._followed(on_progress)) is not None:
                return reached
        with reaching(), self._engine.connect() as connection:
            head = self._log.head().seq
            follower = self._start(connection, on_pass=lambda: on_progress(0, head))
            while self._advance(follower):
                on_progress(follower.seq, max(head, follower.seq))
            self._show()
        return follower.seq

    def _followed(self, on_progress: OnProgress) -> int | None:
        """Wait until the follower has reached the log's end, and return its seq; stopped projections do not count.

        None if no process follows with these versions, or the follower made no progress for PATIENCE_S.
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
            on_progress(min(seqs), head)
            if seqs != before:
                before, moved_at = seqs, time.monotonic()
            with self._moved:
                self._moved.wait(POLL_S)
        return None

    def follow(
        self,
        stop: threading.Event,
        *,
        on_pass: Callable[[], None] = lambda: None,
        on_loss: Callable[[Unavailable], None] = lambda _: None,
        beside: Beside = lease.in_a_thread,
    ) -> None:
        """Fold new events until `stop` is set: from now, or after the current follower is gone.

        Goes on after a loss of the database, which `on_loss` is called with; `on_pass` is called now and then while all
        is well. `beside` runs the heart. Raises any other error of the database; to be called again then.
        """
        leased = Lease(self._engine, self._group, self.rate, beside)
        while not stop.is_set():
            try:
                with reaching(), self._engine.connect() as connection:
                    connection.detach()  # closing it releases the lease
                    with leased.held(connection, stop, on_pass) as is_ours, gc_pauses.short_pauses():
                        if is_ours:
                            self._follow(self._start(connection, stop, on_pass), stop, on_pass)
            except Unavailable as error:
                on_loss(error)
            stop.wait(STANDBY_S)

    def _follow(self, follower: GroupFollower, stop: threading.Event, on_pass: Callable[[], None]) -> None:
        head, polled_at, is_shown, shown_at = 0, time.monotonic(), False, -WAIT_S
        while not stop.is_set():
            began = time.monotonic()
            on_pass()
            if follower.has_stopped and time.monotonic() - polled_at >= WAIT_S:
                polled_at = time.monotonic()
                follower.resume()
            has_moved = self._advance(follower)
            if not is_shown and time.monotonic() - shown_at >= WAIT_S:
                is_shown, shown_at = self._show(), time.monotonic()
            if has_moved:
                self._awaited.wait(max(began + PASS_S_MIN - time.monotonic(), 0))
            else:
                after = max(head, follower.seq)
                head = self._log.wait(after, WAIT_S)
                if head <= after:
                    gc_pauses.collect_if_due()

    def _show(self) -> bool:
        """Create the SQL views that are missing; False if a table or right for them is. No rows wait for that."""
        try:
            with self._engine.connect() as connection, connection.begin():
                sql_views.ensure(connection, self._projections)
        except sa.exc.DBAPIError as error:
            if not progress.is_mendable(error):
                raise
            return False
        return True

    def _start(
        self,
        connection: sa.Connection,
        stop: threading.Event | None = None,
        on_pass: Callable[[], None] = lambda: None,
    ) -> GroupFollower:
        """Create tables of new projections, rebuild changed ones, and return a follower of all."""
        with connection.begin():
            progress.create_missing(connection, self._projections)
            places = progress.places(connection)
        if older := [one for one in self._projections if places[one.name][0].version < one.version]:
            rebuild(self._log, self._engine, older, lambda *_: _go_on(stop, on_pass), opener=self._opener)
        follower = GroupFollower(self._log, connection, self._projections, self._batch_events_max)
        if stop is not None:
            follower.load_keys()
            gc_pauses.freeze_objects()
        return follower

    def _advance(self, follower: GroupFollower) -> bool:
        before = follower.seq
        if not follower.advance():
            return False
        now = time.monotonic()
        self._folded.append((now, max(follower.seq - before, 0)))
        while self._folded and self._folded[0][0] < now - RATE_S:
            self._folded.popleft()
        self.moved()
        if self._is_awaited_elsewhere:
            self.on_moved()
        return True

    def moved(self) -> None:
        """Have waiting readers look again: rows have moved, here or in the process that follows."""
        with self._moved:
            self._moved.notify_all()

    def link(self, send_awaited: Callable[[bool], None] | None) -> None:
        """While another process follows for this one, have it know whether readers wait; None: it does no more."""
        with self._moved:
            self._send_awaited = send_awaited
            if send_awaited is not None and self._waiting:
                send_awaited(True)

    def awaited(self, *, is_awaited: bool) -> None:
        """Follow without a pause between passes while readers of another process wait."""
        with self._moved:
            self._is_awaited_elsewhere = is_awaited
            self._set_awaited()
        if is_awaited:
            self.on_moved()  # what they wait for may have been folded just before

    def rate(self) -> int:
        """Return the events a second folded by this process over the last RATE_S."""
        since = time.monotonic() - RATE_S
        return round(sum(events for at, events in tuple(self._folded) if at >= since) / RATE_S)

    def status(self) -> list[Progress]:
        """Return every projection's progress, also when another process follows. Raises Unavailable."""
        places = self._places()
        head, lacking = self._log.head().seq, dict[int, datetime]()
        found = []
        for projection in self._projections:
            place, error = places[projection.name]
            if place.seq < head and place.seq not in lacking:
                first = self._log.select(after=place.seq, limit=1)
                lacking[place.seq] = first[0].recorded.recorded_at if first else datetime.now(UTC)
            age = datetime.now(UTC) - lacking[place.seq] if place.seq < head else timedelta()
            state = Progress(
                projection=projection.name,
                version=place.version,
                seq=place.seq,
                lag=max(head - place.seq, 0),
                lag_ms=max(age // timedelta(milliseconds=1), 0),
                rows=place.sum.rows,
                error=error,
            )
            found.append(state)
        return found

    def is_current(self) -> bool:
        """Whether all rows were folded by this version, so that none waits for a rebuild. Raises Unavailable."""
        places = self._places()
        return all(places[one.name][0].version == one.version for one in self._projections)

    def is_built(self) -> bool:
        """Whether there are rows of this version for readers, if only none of an empty log. Raises Unavailable."""
        places = self._places()
        found = ((places[one.name][0], one.version) for one in self._projections)
        return all(place.schema and place.version == version for place, version in found)

    def followers(self) -> list[Holder]:
        """Return the followers, their groups of projections and rates. Raises Unavailable."""
        with reaching(), self._engine.connect() as connection:
            return lease.holders(connection)

    def resume(self, names: Iterable[str] | None = None) -> list[str]:
        """Let stopped projections (all, or those named) retry the event; returns the names of those.

        The follower goes on with them within a second. Raises Unavailable, KeyError for an unknown name.
        """
        with reaching(), self._engine.connect() as connection, connection.begin():
            return progress.resume(connection, [one.name for one in self._chosen(names)])

    def _places(self) -> dict[str, tuple[Place, str | None]]:
        with reaching(), self._engine.connect() as connection:
            places = progress.places(connection)
        for projection in self._projections:
            empty = Place(version=projection.version, seq=0, updated_at=EPOCH, schema="", sum=Sum())
            places.setdefault(projection.name, (empty, None))
        return places

    def _chosen(self, names: Iterable[str] | None) -> list[Projection]:
        known = {projection.name: projection for projection in self._projections}
        return [known[name] for name in (known if names is None else dict.fromkeys(names))]

    def wait_for(self, seq: int, timeout_s: float, names: Iterable[str] | None = None) -> bool:
        """Wait until the projections (all, or those named) reach `seq`; False if out of time or one is stopped."""
        deadline = time.monotonic() + timeout_s
        wanted = set(names if names is not None else (projection.name for projection in self._projections))
        is_counted = False
        with ExitStack() as waiting:
            while True:
                waited = [at for name, at in self._places().items() if name in wanted]
                if all(place.seq >= seq for place, _ in waited):
                    return True
                left = deadline - time.monotonic()
                if left <= 0 or any(error is not None and place.seq < seq for place, error in waited):
                    return False
                if not is_counted:
                    waiting.enter_context(self._reader())
                    is_counted = True
                with self._moved:
                    self._moved.wait(min(left, POLL_S))

    @contextmanager
    def _reader(self) -> Iterator[None]:
        """A reader waits inside the context: passes follow each other without a pause."""
        self._count(1)
        try:
            yield
        finally:
            self._count(-1)

    def _count(self, change: int) -> None:
        with self._moved:
            was, self._waiting = self._waiting, self._waiting + change
            if self._send_awaited is not None and bool(was) != bool(self._waiting):
                self._send_awaited(bool(self._waiting))
            self._set_awaited()

    def _set_awaited(self) -> None:
        if self._waiting or self._is_awaited_elsewhere:
            self._awaited.set()
        else:
            self._awaited.clear()

    def rebuild(
        self,
        names: Iterable[str] | None = None,
        on_progress: OnProgress | None = None,
        *,
        is_dry_run: bool = False,
    ) -> list[RebuildResult]:
        """Rebuild projections (all, or those named), compare and swap in; see `projections.runner.rebuild`.

        Raises Unavailable, ProjectionStopped, RequestRefused while another rebuild runs, KeyError for an unknown name.
        """
        chosen = self._chosen(names)
        with reaching():
            with self._engine.connect() as connection, connection.begin():
                progress.create_missing(connection, chosen)
                sql_views.ensure(connection, chosen)
            return rebuild(self._log, self._engine, chosen, on_progress, is_dry_run=is_dry_run, opener=self._opener)

    def roll_back(
        self, names: Iterable[str] | None = None, on_progress: OnProgress | None = None
    ) -> list[RebuildResult]:
        """Swap in again the rows that the last rebuild has replaced; see `projections.runner.rebuild`.

        Raises Unavailable, RequestRefused, KeyError for an unknown name.
        """
        with reaching():
            return roll_back(self._log, self._engine, self._chosen(names), on_progress)

    def verify(self, names: Iterable[str] | None = None, on_progress: OnProgress | None = None) -> list[Verified]:
        """Verify rows and digests against the log; see `projections.runner.attestation`.

        Raises Unavailable, ProjectionStopped, RequestRefused, KeyError for an unknown name.
        """
        with reaching():
            return verify(self._log, self._engine, self._chosen(names), on_progress, opener=self._opener)


def _go_on(stop: threading.Event | None, on_pass: Callable[[], None]) -> None:
    on_pass()
    if stop is not None and stop.is_set():
        raise Unavailable("stopped; what was being rebuilt is rebuilt at the next start")


def as_of(
    log: EventLog,
    *,
    seq: int | None = None,
    at: datetime | None = None,
    projections: Sequence[Projection] = PROJECTIONS,
) -> MemoryRows:
    """Return the rows as of `seq`, or as recorded `at` a moment: the same folds, in memory."""
    ends = [end for end in (seq, None if at is None else log.seq_at(at)) if end is not None]
    rows = MemoryRows()
    for logged in scan(log, upto=min(ends) if ends else None):
        for projection in projections:
            projection.fold(rows, [logged])
    return rows
