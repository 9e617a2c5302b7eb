"""Group commit: many callers, one writer thread, one append for all that waits.

Callers put commands on a bounded queue. The thread decides what is there against aggregates in memory, hands the batch
to the server (`appending`), and while that commits decides the next one, which stands on it; when the commit fails,
both are decided anew on what the log says by then. It writes only while it leads (`leadership`); a process that does
not says who does. Other processes may append past it, guarded by the log's versions: every batch names the seq it
continues, so whoever was second decides again.
"""

import contextlib
import gc
import os
import socket
import threading
import time
from collections import ChainMap, OrderedDict, deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from datetime import datetime
from typing import Any

import psycopg
import structlog

from adapters.log.postgres import APPEND_LOCK, OUTCOME_UNKNOWN, KeptAnswer, PostgresLog
from adapters.postgres import connections
from adapters.writer import leadership
from adapters.writer.append import Appending, KeyTaken
from adapters.writer.batch import Batch, Keyed, KeyOf, Marks, Reply, Task, tell
from adapters.writer.leadership import Candidate, Term
from domain.errors import Busy, ExecutionKnown, LedgerError, NotLeading, StreamConflict, Unavailable
from domain.ledger import (
    ATTEMPTS_MAX,
    CACHED_STREAMS_MAX,
    Aggregates,
    Command,
    executions,
    no_marks,
    streams_begun_by,
    streams_of,
)

QUEUED_MAX = 20_000  # requests and single reports that wait
WARY_MAX = 1_000
READY_MAX = 64  # of them taken off the queue at a time
BATCH_COMMANDS_MAX = 512
BATCH_EVENTS_MAX = 5_000
KEPT_ANSWERS_MAX = 10_000
START_SECONDS_MAX = 5.0
IDLE_SECONDS_MAX = 1.0  # how long the thread sleeps before it looks whether it still leads
RETRY_SECONDS = 0.25

log_line = structlog.get_logger("daybook.writer")


class GroupCommit:
    """The writer of a process: once started it leads, or stands by and takes over. Safe between threads."""

    def __init__(
        self,
        url: str,
        log: PostgresLog,
        now: Callable[[], datetime],
        marks: Marks = no_marks,
        *,
        name: str = "",
        queued_max: int = QUEUED_MAX,
        commands_max: int = BATCH_COMMANDS_MAX,
        cached_streams_max: int = CACHED_STREAMS_MAX,
    ) -> None:
        self._url = url
        self._log = log
        self._now = now
        self._marks = marks
        self._queued_max = queued_max
        self._commands_max = commands_max
        self._candidate = Candidate(url, name or f"process {os.getpid()} on {socket.gethostname()}")
        self._known = Aggregates(log, cached_streams_max)
        self._recent: OrderedDict[KeyOf, KeptAnswer] = OrderedDict()
        self._lock = threading.Lock()
        self._queue: deque[Task] = deque()
        self._weight = 0
        self._is_asleep = False
        self._bell, self._ear = socket.socketpair()
        self._ear.setblocking(False)
        self._leading = threading.Event()
        self._stopping = threading.Event()
        self._heard = threading.Event()
        self._thread: threading.Thread | None = None
        self._ready: deque[Task] = deque()
        self._taken: list[Task] = []  # off the queue, and not told yet
        self._attempts = 0
        self._is_alone = False
        self._wary = 0  # so many tasks to come are decided on nothing that was not read: a supposition was wrong
        self._seq = 0
        self._recorded_at: datetime | None = None

    @property
    def is_leading(self) -> bool:
        """Whether this process writes."""
        return self._leading.is_set()

    @property
    def leader(self) -> str:
        """Who leads, in words."""
        return "this process leads" if self.is_leading else self._candidate.leader

    def start(self) -> None:
        """Lead, or stand by. Returns as soon as one of them is known.

        What the process has loaded so far stays for as long as it runs: the garbage collector need not go through it
        again and again while commands are decided.
        """
        gc.freeze()
        self._thread = threading.Thread(target=self._run, name="daybook writer", daemon=True)
        self._thread.start()
        deadline = time.monotonic() + START_SECONDS_MAX
        while not self.is_leading and not self._heard.is_set() and time.monotonic() < deadline:
            self._leading.wait(0.01)

    def close(self) -> None:
        """Carry out what waits, then give up the lead."""
        self._stopping.set()
        self._ring()
        if self._thread is not None:
            self._thread.join()
        self._bell.close()
        self._ear.close()

    def submit(self, command: Command, keyed: Keyed | None = None) -> "Future[Any]":
        """Put a command on the queue: its answers (a `Told` of a keyed one) when they are durable.

        Raises NotLeading, Busy.
        """
        future: Future[Any] = Future()
        self._enqueue(Task(command, keyed, future))
        return future

    def carry_out(self, command: Command, keyed: Keyed | None = None, *, seconds_max: float) -> Any:
        """Like `submit`, and wait. Raises TimeoutError, and what became of the command if that is an error."""
        reply = Reply()
        self._enqueue(Task(command, keyed, reply))
        return reply.result(seconds_max)

    def _enqueue(self, task: Task) -> None:
        with self._lock:
            if not self.is_leading or self._stopping.is_set():
                raise NotLeading(self._candidate.leader)
            if self._weight + task.weight > self._queued_max and self._queue:
                raise Busy(self._weight)
            self._queue.append(task)
            self._weight += task.weight
            is_asleep, self._is_asleep = self._is_asleep, False
        if is_asleep:
            self._ring()

    # The thread

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                term = self._candidate.campaign(self._stopping, self._heard)
                if term is not None:
                    self._serve(term)
            except (LedgerError, psycopg.Error) as error:
                log_line.warning("the writer waits", reason=str(error))
                self._stopping.wait(RETRY_SECONDS)

    def _serve(self, term: Term) -> None:
        """Lead until told to stop, or until the lead is lost; then everyone who waits is told."""
        try:
            self._lead(term, Appending(term.connection))
        except (LedgerError, psycopg.Error) as error:
            log_line.warning("the lead is lost", term=term.number, reason=str(error))
        except Exception:
            log_line.exception("the writer failed", term=term.number)
        finally:
            with self._lock:
                self._leading.clear()
                waiting = [*self._taken, *self._ready, *self._queue]
                self._taken = []
                self._ready.clear()
                self._queue.clear()
                self._weight = 0
            term.end()
            for task in waiting:
                tell(task, NotLeading("the lead has just changed hands and nothing of this was recorded"))

    def _lead(self, term: Term, appending: Appending) -> None:
        self._known.clear()
        self._recent.clear()
        self._seq, self._recorded_at = self._log.head()
        self._attempts = 0
        self._is_alone = False
        log_line.info("leading", term=term.number, seq=self._seq)
        self._heard.clear()
        self._leading.set()
        flying: Batch | None = None
        while True:
            try:
                batch = self._next_batch(flying, appending)
            except Exception as error:
                if flying is not None:
                    self._settle(flying, term, error)
                raise
            if flying is not None:
                again = self._land(flying, appending, term)
                if again is None:
                    batch.unit.base = self._known
                else:
                    batch = self._redecided([*again, *batch.tasks])
            flying = batch if batch.tasks else None
            self._taken = list(batch.tasks)
            if flying is not None:
                appending.begin(flying.after, flying.rows, list(flying.kept.values()))
            elif self._stopping.is_set():
                return

    def _next_batch(self, flying: Batch | None, appending: Appending) -> Batch:
        """What waits, decided: until the append in flight is done, or with none in flight until nothing waits."""
        batch = self._batch(flying)
        known = ChainMap({} if flying is None else flying.kept, self._recent)
        while len(batch.tasks) < self._commands_max and len(batch.rows) < BATCH_EVENTS_MAX:
            if flying is not None and appending.is_done():
                break
            task = self._pop()
            if task is not None:
                self._taken.append(task)
                batch.add(task, known, self._moment())
            elif flying is None and (batch.tasks or self._stopping.is_set()):
                break
            else:
                self._sleep(appending)
                if flying is None:
                    appending.check()
        return batch

    def _batch(self, flying: Batch | None) -> Batch:
        assumes_new = not self._wary
        if flying is None:
            return Batch(self._known, self._seq, self._moment(), self._marks, assumes_new=assumes_new)
        return Batch(flying.unit, flying.head, self._moment(), self._marks, assumes_new=assumes_new)

    def _moment(self) -> datetime:
        """When a command that is decided now is on record. If the clock steps back, `recorded_at` does not."""
        now = self._now()
        if self._recorded_at is None or now > self._recorded_at:
            self._recorded_at = now
        return self._recorded_at

    def _redecided(self, tasks: list[Task]) -> Batch:
        batch = self._batch(None)
        self._known.fetch(stream for task in tasks for stream in streams_of(task.command))
        for task in tasks:
            batch.add(task, self._recent, self._moment())
        return batch

    def _land(self, batch: Batch, appending: Appending, term: Term) -> list[Task] | None:
        """Wait for the append in flight, and tell everyone; or which tasks are to be decided anew."""
        try:
            appending.finish()
        except StreamConflict as conflict:
            self._attempts += 1
            if self._attempts >= ATTEMPTS_MAX:
                overtaken = StreamConflict("the log", f"{ATTEMPTS_MAX} attempts were overtaken by other writers")
                self._let_on(term)
                return self._fail(batch, overtaken)
            self._hold_off(term)
            self._catch_up(batch, conflict)
            return batch.tasks
        except psycopg.Error as error:
            if appending.is_lost:
                self._settle(batch, term, error)
                raise
            self._let_on(term)
            return self._fail(batch, self._unavailable(error))
        batch.answer()
        self._let_on(term)
        self._attempts = 0
        self._seq = batch.head
        self._known.keep(batch.unit.states)
        self._known.executed = {}
        self._remember(batch.kept.values())
        return None

    def _fail(self, batch: Batch, error: Exception) -> list[Task]:
        for task in batch.tasks:
            tell(task, error)
        self._attempts = 0
        return []

    def _hold_off(self, term: Term) -> None:
        """Let nobody else append until what is decided now has landed: the second attempt is not overtaken again."""
        if not self._is_alone:
            term.connection.execute("SELECT pg_advisory_lock(%s)", [APPEND_LOCK])
            self._is_alone = True

    def _let_on(self, term: Term) -> None:
        if self._is_alone:
            term.connection.execute("SELECT pg_advisory_unlock(%s)", [APPEND_LOCK])
            self._is_alone = False

    def _catch_up(self, batch: Batch, conflict: StreamConflict) -> None:
        """Learn what the log says that the batch did not know."""
        self._wary = WARY_MAX
        if isinstance(conflict, KeyTaken):
            self._remember(self._log.kept(list(batch.kept)))
        if isinstance(conflict, ExecutionKnown):
            self._known.executed = self._log.executed(executions(batch.unit.records))
        head = self._log.head()
        self._known.forget(self._log.streams_between(self._seq, head.seq))
        self._seq = head.seq
        if head.recorded_at is not None:
            self._recorded_at = max(head.recorded_at, self._recorded_at or head.recorded_at)

    def _remember(self, kept: Iterable[KeptAnswer]) -> None:
        for each in kept:
            self._recent[each.actor, each.key] = each
        while len(self._recent) > KEPT_ANSWERS_MAX:
            self._recent.popitem(last=False)

    def _settle(self, batch: Batch, term: Term, lost: Exception) -> None:
        """The connection, or the will to go on, was lost with an append in flight. Make sure that it is over, ask what
        became of it, and tell everyone: their answers if it was recorded, else that nothing was.
        """
        told = {id(task) for task in batch.tasks}
        self._taken = [task for task in self._taken if id(task) not in told]
        try:
            leadership.end(self._url, term.backend_pid)
            if leadership.is_held(self._url, term.backend_pid):
                raise Unavailable(str(lost))
            records, keys = batch.unit.records, list(batch.kept)
            is_recorded = (bool(records) and self._log.settled(records) is not None) or (
                not records and bool(keys) and bool(self._log.kept(keys[:1]))
            )
        except (LedgerError, psycopg.Error):
            self._fail(batch, Unavailable(OUTCOME_UNKNOWN.format(connections.name(self._url))))
            return
        if is_recorded:
            batch.answer()
        else:
            self._fail(batch, self._unavailable(lost))

    def _unavailable(self, error: Exception) -> LedgerError:
        told = f"the database {connections.name(self._url)} did not take the records: {error}"
        if not isinstance(error, psycopg.Error):
            return Unavailable(told)
        try:
            with connections.reaching(self._url):
                raise error
        except Unavailable as lost:
            return lost
        except psycopg.Error:
            return Unavailable(told)

    # The queue

    def _pop(self) -> Task | None:
        """The next task; what it is about has been read, together with that of its neighbours."""
        if not self._ready:
            with self._lock:
                weight = 0
                while self._queue and weight < READY_MAX:
                    task = self._queue.popleft()
                    weight += task.weight
                    self._ready.append(task)
                self._weight -= weight
            if self._wary:
                self._wary = max(self._wary - len(self._ready), 0)
                self._known.fetch(stream for task in self._ready for stream in streams_of(task.command))
            elif self._ready:
                self._known.fetch(stream for task in self._ready for stream in _read_first(task.command))
        return self._ready.popleft() if self._ready else None

    def _sleep(self, appending: Appending) -> None:
        """Until a command comes, or the server says something."""
        with self._lock:
            if self._queue:
                return
            self._is_asleep = True
        appending.wait(self._ear.fileno(), IDLE_SECONDS_MAX)
        with self._lock:
            self._is_asleep = False
        with contextlib.suppress(BlockingIOError):
            self._ear.recv(4096)

    def _ring(self) -> None:
        with contextlib.suppress(OSError):
            self._bell.send(b"!")


def _read_first(command: Command) -> list[str]:
    """What a command is about, but for what it most likely begins."""
    streams, begun = streams_of(command), streams_begun_by(command)
    return [stream for stream in streams if stream not in begun] if begun else streams
