"""Group commit: many callers, one writer thread, one append for all queued commands.

Callers put commands on a bounded queue. The thread decides them against aggregates in memory, sends the batch to the
server (`append`), and while that commits decides the next one, which is based on it; when the commit fails, both are
decided again on the log as it is by then. It writes only while it leads (`leadership`); another process refuses
commands and names the leader. Other processes may still append, guarded by the log's versions: every batch names the
seq it continues, and the one that loses the race decides again.
"""

import contextlib
import gc
import os
import socket
import threading
import time
from collections import ChainMap, OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from datetime import datetime
from typing import Any

import psycopg
import structlog

from adapters.log.postgres import APPEND_LOCK, OUTCOME_UNKNOWN, KeptAnswer, PostgresLog
from adapters.postgres import connections
from adapters.upkeep.clock import ClockCheck
from adapters.upkeep.disk import DiskCheck
from adapters.upkeep.supervisor import Supervisor
from adapters.upkeep.supervisor import Task as Upkept
from adapters.writer import leadership
from adapters.writer.append import Appending, KeyTaken
from adapters.writer.batch import Batch, Keyed, KeyOf, LoopReply, Marks, Reply, Task, resolve
from adapters.writer.leadership import Candidate, Leader, Term
from domain.errors import Busy, ClockInDoubt, ExecutionKnown, LedgerError, NotLeading, StreamConflict, Unavailable
from domain.errors.codes import Code
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
from domain.values import EPOCH

QUEUED_MAX = 20_000  # requests and single reports on the queue
WARY_MAX = 1_000  # tasks decided without suppositions after one was wrong
READY_MAX = 64  # taken off the queue at a time
BATCH_COMMANDS_MAX = 512
BATCH_EVENTS_MAX = 5_000
KEPT_ANSWERS_MAX = 10_000
START_SECONDS_MAX = 5.0
IDLE_SECONDS_MAX = 1.0  # how long the thread sleeps before it checks that it still leads
PAUSE_SECONDS_MAX = 1.0  # before another try to lead

log_line = structlog.get_logger("daybook.writer")


class GroupCommit:
    """The writer of a process: once started it leads, or stands by to take over. Safe between threads."""

    def __init__(
        self,
        url: str,
        log: PostgresLog,
        now: Callable[[], datetime],
        marks: Marks = no_marks,
        *,
        name: str = "",
        upkeep: Supervisor | None = None,
        clock: ClockCheck | None = None,
        disk: DiskCheck | None = None,
        queued_max: int = QUEUED_MAX,
        commands_max: int = BATCH_COMMANDS_MAX,
        cached_streams_max: int = CACHED_STREAMS_MAX,
    ) -> None:
        self._url = url
        self._log = log
        self._now = now if clock is None else clock.read
        self._marks = marks
        self._queued_max = queued_max
        self._commands_max = commands_max
        self._upkeep = upkeep or Supervisor()
        here = f"process {os.getpid()} on {socket.gethostname()}"
        self._clock = clock
        self._disk = disk or DiskCheck()
        self._own: Leader | None = None
        self._candidate = Candidate(url, name or here, self._upkeep, clock)
        self._known = Aggregates(log, cached_streams_max)
        self._recent: OrderedDict[KeyOf, KeptAnswer] = OrderedDict()
        self._lock = threading.Lock()
        self._queue: deque[Task] = deque()
        self._weight = 0
        self._is_asleep = False
        self._wake_send, self._wake_receive = socket.socketpair()
        self._wake_receive.setblocking(False)
        self._leading = threading.Event()
        self._stopping = threading.Event()
        self._leader_known = threading.Event()
        self._task: Upkept | None = None
        self._ready: deque[Task] = deque()
        self._unanswered: list[Task] = []  # off the queue, without an answer yet
        self._attempts = 0
        self._is_alone = False
        self._wary = 0  # number of tasks still to be decided only on streams that were read: a supposition was wrong
        self._seq = 0
        self._recorded_at: datetime | None = None

    @property
    def is_leading(self) -> bool:
        """Whether this process writes."""
        return self._leading.is_set()

    @property
    def leader(self) -> Leader | None:
        """The leader, as it has put itself on record; None if none is known."""
        return self._own if self.is_leading else self._candidate.leader

    def start(self) -> None:
        """Lead, or stand by. Returns as soon as one of them is known.

        Objects loaded so far stay for as long as the process runs, so they are frozen: the garbage collector need not
        scan them again and again.
        """
        gc.freeze()
        self._task = self._upkeep.start("writer", self._run, is_needed=True, pause_seconds_max=PAUSE_SECONDS_MAX)
        deadline = time.monotonic() + START_SECONDS_MAX
        while not self.is_leading and not self._leader_known.is_set() and time.monotonic() < deadline:
            self._leading.wait(0.01)

    def close(self) -> None:
        """Carry out the queued commands, then give up the lead."""
        self._stopping.set()
        if self._task is not None:
            self._task.stopping.set()
            self._wake()
            self._task.end()
        self._wake_send.close()
        self._wake_receive.close()

    def submit(self, command: Command, keyed: Keyed | None = None) -> "Future[Any]":
        """Queue a command. The future's result is its answers (an `IdempotentAnswer` if keyed), once they are durable.

        Raises NotLeading, Busy, ClockInDoubt.
        """
        future: Future[Any] = Future()
        self._enqueue(Task(command, keyed, future))
        return future

    def carry_out(self, command: Command, keyed: Keyed | None = None, *, seconds_max: float) -> Any:
        """Like `submit`, and wait. Raises TimeoutError, and the command's error."""
        reply = Reply()
        self._enqueue(Task(command, keyed, reply))
        return reply.result(seconds_max)

    async def carry_out_async(self, command: Command, keyed: Keyed | None = None, *, seconds_max: float) -> Any:
        """Like `carry_out`, without blocking the event loop or a thread."""
        reply = LoopReply()
        self._enqueue(Task(command, keyed, reply))
        return await reply.result(seconds_max)

    def _enqueue(self, task: Task) -> None:
        if self.is_leading:
            self._now()  # refused at once if the clock is in doubt
        with self._lock:
            if not self.is_leading or self._stopping.is_set():
                leader = self._candidate.leader
                raise NotLeading(
                    f"{leader} leads" if leader else "no leader is known", url=leader.url or None if leader else None
                )
            if self._weight + task.weight > self._queued_max and self._queue:
                raise Busy(self._weight)
            self._queue.append(task)
            self._weight += task.weight
            is_asleep, self._is_asleep = self._is_asleep, False
        if is_asleep:
            self._wake()

    # The thread

    def _run(self, own: Upkept) -> None:
        while not self._stopping.is_set():
            term = self._candidate.campaign(self._stopping, self._leader_known, own.succeeded)
            if term is not None:
                self._serve(term, own)

    def _serve(self, term: Term, own: Upkept) -> None:
        """Lead until stopped, or until the lead is lost, which raises; then fail all unanswered tasks."""
        try:
            self._lead(term, Appending(term.connection), own)
        finally:
            with self._lock:
                self._leading.clear()
                self._log.tail.clear()
                waiting = [*self._unanswered, *self._ready, *self._queue]
                self._unanswered = []
                self._ready.clear()
                self._queue.clear()
                self._weight = 0
            term.end()
            for task in waiting:
                resolve(task, NotLeading("the lead has just changed hands and nothing of this was recorded"))

    def _lead(self, term: Term, appending: Appending, own: Upkept) -> None:
        self._known.clear()
        self._recent.clear()
        if self._clock is not None:
            self._clock.look(term.connection)
            if self._clock.doubt is not None:
                log_line.error("nothing is recorded", reason=self._clock.doubt)
        self._seq, self._recorded_at = self._log.head()
        self._attempts = 0
        self._is_alone = False
        log_line.info("leading", term=term.number, seq=self._seq)
        self._leader_known.clear()
        self._own = term.leader
        self._leading.set()
        flying: Batch | None = None
        while True:
            own.succeeded()
            try:
                batch = self._next_batch(flying, appending, term)
            except Exception as error:
                if flying is not None:
                    self._resolve_lost(flying, term, error)
                raise
            if flying is not None:
                again = self._finish(flying, appending, term)
                if again is None:
                    batch.unit.base = self._known
                else:
                    batch = self._redecided([*again, *batch.tasks])
            flying = batch if batch.tasks else None
            self._unanswered = list(batch.tasks)
            if flying is not None:
                appending.begin(flying.after, flying.rows, list(flying.kept.values()))
            elif self._stopping.is_set():
                return

    def _next_batch(self, flying: Batch | None, appending: Appending, term: Term) -> Batch:
        """Decide queued tasks until the append in flight is done, or without one until the queue is empty."""
        batch = self._batch(flying)
        known = ChainMap({} if flying is None else flying.kept, self._recent)
        while len(batch.tasks) < self._commands_max and len(batch.rows) < BATCH_EVENTS_MAX:
            if flying is not None and appending.is_done():
                break
            task = self._pop()
            if task is not None:
                self._unanswered.append(task)
                self._decide(batch, task, known)
            elif flying is None and (batch.tasks or self._stopping.is_set()):
                break
            else:
                self._sleep(appending)
                if flying is None:
                    appending.check()
                    self._disk.probe(term.connection)
        return batch

    def _batch(self, flying: Batch | None) -> Batch:
        assumes_new, began = not self._wary, self._recorded_at or EPOCH
        if flying is None:
            return Batch(self._known, self._seq, began, self._marks, assumes_new=assumes_new)
        return Batch(flying.unit, flying.head, began, self._marks, assumes_new=assumes_new)

    def _decide(self, batch: Batch, task: Task, known: Mapping[KeyOf, KeptAnswer]) -> None:
        """Add a task to the batch, or refuse it while the clock is in doubt."""
        try:
            moment = self._moment()
        except ClockInDoubt as error:
            resolve(task, error)
        else:
            batch.add(task, known, moment)

    def _moment(self) -> datetime:
        """Return `recorded_at` for a command decided now. It does not decrease when the clock steps back a little.

        Raises ClockInDoubt.
        """
        now = self._now()
        if self._recorded_at is None or now > self._recorded_at:
            self._recorded_at = now
        return self._recorded_at

    def _redecided(self, tasks: list[Task]) -> Batch:
        batch = self._batch(None)
        self._known.fetch(stream for task in tasks for stream in streams_of(task.command))
        for task in tasks:
            self._decide(batch, task, self._recent)
        return batch

    def _finish(self, batch: Batch, appending: Appending, term: Term) -> list[Task] | None:
        """Wait for the append in flight and answer its tasks; or return the tasks to decide again."""
        try:
            appending.finish()
        except StreamConflict as conflict:
            self._attempts += 1
            if self._attempts >= ATTEMPTS_MAX:
                overtaken = StreamConflict("the log", f"{ATTEMPTS_MAX} attempts were overtaken by other writers")
                self._unlock(term)
                return self._fail(batch, overtaken)
            self._lock_out(term)
            self._catch_up(batch, conflict)
            return batch.tasks
        except psycopg.Error as error:
            if appending.is_lost:
                self._resolve_lost(batch, term, error)
                raise
            self._unlock(term)
            self._disk.refused(error)
            return self._fail(batch, self._unavailable(error))
        batch.answer()
        self._disk.fitted()
        self._unlock(term)
        self._attempts = 0
        self._seq = batch.head
        self._log.tail.extend(batch.after, batch.unit.records)
        self._known.keep(batch.unit.states)
        self._known.executed = {}
        self._remember(batch.kept.values())
        return None

    def _fail(self, batch: Batch, error: Exception) -> list[Task]:
        for task in batch.tasks:
            resolve(task, error)
        self._attempts = 0
        return []

    def _lock_out(self, term: Term) -> None:
        """Lock out all other appends until the next attempt is committed, so that it is not overtaken again."""
        if not self._is_alone:
            term.connection.execute("SELECT pg_advisory_lock(%s)", [APPEND_LOCK])
            self._is_alone = True

    def _unlock(self, term: Term) -> None:
        if self._is_alone:
            term.connection.execute("SELECT pg_advisory_unlock(%s)", [APPEND_LOCK])
            self._is_alone = False

    def _catch_up(self, batch: Batch, conflict: StreamConflict) -> None:
        """Update what is known from the log after a conflict."""
        self._wary = WARY_MAX
        if isinstance(conflict, KeyTaken):
            self._remember(self._log.kept(list(batch.kept)))
        if isinstance(conflict, ExecutionKnown):
            self._known.executed = {**self._known.executed, **self._log.executed(executions(batch.unit.records))}
        head = self._log.head()
        self._known.forget(self._log.streams_between(self._seq, head.seq))
        self._seq = head.seq
        self._recorded_at = head.recorded_at  # earlier than before where the clock has been confirmed

    def _remember(self, kept: Iterable[KeptAnswer]) -> None:
        for each in kept:
            self._recent[each.actor, each.key] = each
        while len(self._recent) > KEPT_ANSWERS_MAX:
            self._recent.popitem(last=False)

    def _resolve_lost(self, batch: Batch, term: Term, lost: Exception) -> None:
        """Resolve the tasks of an append in flight when the connection was lost or the thread failed: make sure that it
        has ended, look it up, and give the answers if it was recorded, else an error.
        """
        settled = {id(task) for task in batch.tasks}
        self._unanswered = [task for task in self._unanswered if id(task) not in settled]
        try:
            leadership.end(self._url, term.backend_pid)
            if leadership.is_held(self._url, term.backend_pid):
                raise Unavailable(str(lost))
            records, keys = batch.unit.records, list(batch.kept)
            is_recorded = (bool(records) and self._log.settled(records) is not None) or (
                not records and bool(keys) and bool(self._log.kept(keys[:1]))
            )
        except (LedgerError, psycopg.Error):
            self._fail(
                batch, Unavailable(OUTCOME_UNKNOWN.format(connections.name(self._url)), code=Code.OUTCOME_UNKNOWN)
            )
            return
        if is_recorded:
            batch.answer()
        else:
            self._fail(batch, self._unavailable(lost))

    def _unavailable(self, error: Exception) -> LedgerError:
        message = f"the database {connections.name(self._url)} did not accept the records: {error}"
        if not isinstance(error, psycopg.Error):
            return Unavailable(message)
        try:
            with connections.reaching(self._url):
                raise error
        except Unavailable as lost:
            return lost
        except psycopg.Error:
            return Unavailable(message)

    # The queue

    def _pop(self) -> Task | None:
        """Return the next task. Its streams have been read, together with those of the tasks next to it."""
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
        """Sleep until a command is queued or the server sends something."""
        with self._lock:
            if self._queue:
                return
            self._is_asleep = True
        if self._task is not None:
            self._task.idle()
        appending.wait(self._wake_receive.fileno(), IDLE_SECONDS_MAX)
        with self._lock:
            self._is_asleep = False
        with contextlib.suppress(BlockingIOError):
            self._wake_receive.recv(4096)

    def _wake(self) -> None:
        with contextlib.suppress(OSError):
            self._wake_send.send(b"!")


def _read_first(command: Command) -> list[str]:
    """Return a command's streams, without those it most likely begins."""
    streams, begun = streams_of(command), streams_begun_by(command)
    return [stream for stream in streams if stream not in begun] if begun else streams
