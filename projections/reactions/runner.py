"""The runner of reactions: feeds the log to the process managers while this process leads, and keeps their places.

It reads the log after the place that is furthest behind, in batches, and only the events that some process manager
reads. At the end of the log it fires what is due by the ledger's clock, then waits for the next event or due time.
Places are stored every SAVE_S at most while they move, less often where that takes long; a start reads that much again.
"""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Protocol

import sqlalchemy as sa

from domain.ledger import Logged, schema
from domain.reactions.catalog import PROCESSES
from domain.reactions.process import Process, Send
from projections.reactions import places
from projections.reactions.follower import TRANSIENT, Follower
from projections.reactions.places import Overtaken, Place
from projections.runner.runner import FollowableLog
from projections.storage.progress import reaching

BATCH_EVENTS_MAX = 1000
SAVE_S = 1.0
SAVE_SHARE_MAX = 0.05  # of the time that storing large states may take
WAIT_S = 1.0  # without a notice the log is polled this often, and so are cleared errors and the clock
WAIT_S_MIN = 0.005
PASS_S = 0.05  # between passes, so that under load they read many events at a time
STANDBY_S = 0.25  # how often a process that does not lead looks whether it does


class RecentLog(FollowableLog, Protocol):
    """A log that keeps its newest events in memory."""

    def recent(self, after: int, upto: int) -> list[Logged] | None:
        """Return the events with `after` < seq <= `upto`; None unless memory has all of them."""


class Progress(NamedTuple):
    """A process manager's progress: `lag` events behind the log, what it has sent, and the error that stopped it.

    `since` is the seq up to which it reacts to nothing; `lag_ms` the age of the first event not read yet.
    """

    reaction: str
    version: int
    since: int
    seq: int
    lag: int
    lag_ms: int
    carried_out: int
    refused: int
    last_request_id: str | None
    last_cause: str | None
    last_refusal: str | None
    last_at: datetime | None
    error: str | None


class ReactionRunner:
    """Runs process managers over one log. `engine` connects as the owner of the read models.

    `send` carries out their requests; `is_leading` states whether this process may send any; `now` is the ledger's
    clock.
    """

    def __init__(
        self,
        log: RecentLog,
        engine: sa.Engine,
        send: Send,
        *,
        now: Callable[[], datetime],
        is_leading: Callable[[], bool] = lambda: True,
        processes: Sequence[Process] = PROCESSES,
        save_s: float = SAVE_S,
    ) -> None:
        self._log = log
        self._engine = engine
        self._send = send
        self._now = now
        self._is_leading = is_leading
        self._processes = tuple(processes)
        self._save_s = save_s
        self._topics = schema.topics_read_as(frozenset().union(*(process.reads for process in processes)))

    def follow(
        self,
        stop: threading.Event,
        *,
        on_pass: Callable[[], None] = lambda: None,
        on_loss: Callable[[Exception], None] = lambda _: None,
    ) -> None:
        """Follow while this process leads, until `stop` is set.

        Goes on after what is no fault of an event, such as a loss of the database or of the lead, which `on_loss` is
        called with; `on_pass` is called now and then while all is well.
        """
        while not stop.is_set():
            on_pass()
            try:
                if self._is_leading():
                    self._follow(stop, on_pass)
            except (*TRANSIENT, Overtaken) as error:
                if self._is_leading() and not isinstance(error, Overtaken):
                    on_loss(error)
            stop.wait(STANDBY_S)

    def _follow(self, stop: threading.Event, on_pass: Callable[[], None]) -> None:
        followers = self._start()
        saved_at = polled_at = time.monotonic()
        head = self._log.head().seq
        while not stop.is_set() and self._is_leading():
            on_pass()
            while self.advance(followers, head) and not stop.is_set():
                on_pass()
                saved_at = self._saved(followers, saved_at)
            self.fire(followers)
            saved_at = self._saved(followers, saved_at)
            if time.monotonic() - polled_at >= WAIT_S:
                polled_at, followers = time.monotonic(), self._resumed(followers)
            head = self._log.wait(head, self._wait_s(followers, saved_at))
            stop.wait(PASS_S)
        self.save(followers)

    def catch_up(self) -> None:
        """Read the log to its end and fire what is due, once. Raises what is no fault of an event."""
        followers = self._start()
        while self.advance(followers, self._log.head().seq):
            pass
        self.fire(followers)
        self.save(followers)

    def _start(self) -> list[Follower]:
        with reaching(), self._engine.begin() as connection:
            known = places.find(connection, [process.name for process in self._processes])
            places.begin(connection, [one for one in self._processes if one.name not in known], self._log.head().seq)
            known = places.find(connection, [process.name for process in self._processes])
        return [self._follower(process, known[process.name]) for process in self._processes]

    def _follower(self, process: Process, place: Place) -> Follower:
        follower = Follower(process, place, self._send)
        if 0 < follower.place.since >= follower.seq:
            follower.since_at = self._log.select(after=follower.place.since - 1, limit=1)[0].recorded.recorded_at
        return follower

    def advance(self, followers: Sequence[Follower], head: int) -> bool:
        """Read one batch of the log up to `head`; whether there was one. Raises what is no fault of an event."""
        running = [follower for follower in followers if follower.is_running and follower.seq < head]
        if not running:
            return False
        after = min(follower.seq for follower in running)
        upto = min(after + BATCH_EVENTS_MAX, head)
        batch = self._log.recent(after, upto)
        if batch is None:
            batch = self._log.select(after=after, upto=upto, limit=BATCH_EVENTS_MAX, topics=self._topics)
        for follower in running:
            follower.read(batch, upto)
        return True

    def fire(self, followers: Sequence[Follower]) -> None:
        """Send what is due by now. Raises what is no fault of an event."""
        now = self._now()
        for follower in followers:
            if follower.is_running:
                follower.fire(now)

    def save(self, followers: Sequence[Follower]) -> None:
        """Store the places that have moved. Raises Overtaken, Unavailable."""
        if moved := [follower for follower in followers if follower.is_moved]:
            with reaching(), self._engine.begin() as connection:
                saved = [(one, places.save(connection, one.process.name, one.to_save())) for one in moved]
            for follower, place in saved:
                follower.saved(place)

    def _saved(self, followers: Sequence[Follower], saved_at: float) -> float:
        """Store the places if that is due, or if one was stopped; returns when that counts from the next time."""
        is_due = time.monotonic() - saved_at >= self._save_s
        if not is_due and not any(one.is_moved and not one.is_running for one in followers):
            return saved_at
        began = time.monotonic()
        self.save(followers)
        ended = time.monotonic()
        return ended + max((ended - began) / SAVE_SHARE_MAX - self._save_s, 0.0)

    def _resumed(self, followers: Sequence[Follower]) -> list[Follower]:
        """The followers; those that were stopped, and whose error is cleared, from their places on."""
        if all(follower.is_running for follower in followers):
            return list(followers)
        with reaching(), self._engine.connect() as connection:
            known = places.find(connection, [one.process.name for one in followers if not one.is_running])
        return [
            self._follower(one.process, known[one.process.name])
            if one.process.name in known and known[one.process.name].error is None
            else one
            for one in followers
        ]

    def _wait_s(self, followers: Sequence[Follower], saved_at: float) -> float:
        """Seconds until something is due: a timer, or storing what has moved."""
        now = self._now()
        waits = [WAIT_S]
        for one in followers:
            if one.is_running and (at := one.process.next_due(one.state)) is not None:
                waits.append(max((at - now).total_seconds(), WAIT_S_MIN))
            if one.is_moved:
                waits.append(max(saved_at + self._save_s - time.monotonic(), WAIT_S_MIN))
        return min(waits)

    def status(self, head: int | None = None) -> list[Progress]:
        """Return every process manager's progress, also when another process follows. Raises Unavailable.

        `head` is the log's last seq, where it is known.
        """
        with reaching(), self._engine.connect() as connection:
            known = places.find(connection, [process.name for process in self._processes])
        head = self._log.head().seq if head is None else head
        return [self._progress(process, known.get(process.name), head) for process in self._processes]

    def _progress(self, process: Process, place: Place | None, head: int) -> Progress:
        found = place or Place(process.version, since=head, seq=head, saves=0)
        age = timedelta()
        if found.seq < head and (first := self._log.select(after=found.seq, limit=1)):
            age = datetime.now(UTC) - first[0].recorded.recorded_at
        return Progress(
            reaction=process.name, version=found.version, since=found.since, seq=found.seq,
            lag=max(head - found.seq, 0), lag_ms=max(age // timedelta(milliseconds=1), 0), error=found.error,
            **found.counts._asdict(),
        )  # fmt: skip

    def resume(self, names: Iterable[str] | None = None) -> list[str]:
        """Let stopped process managers (all, or those named) read the event again; returns the names of those.

        The process that leads goes on with them within a second. Raises Unavailable.
        """
        chosen = [process.name for process in self._processes if names is None or process.name in set(names)]
        with reaching(), self._engine.begin() as connection:
            return places.resume(connection, chosen)
