"""The writer: the entry point for all commands of a process.

By itself it carries out one command at a time with optimistic concurrency: for a command line, an import, a test. While
it leads (`with writer.leading(url):`) commands of all threads share appends; see `group_commit`. Both kinds may work on
one database: the log's versions guard them, and the one that loses a race decides again.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import datetime
from threading import Lock
from typing import Any

from adapters.log.postgres import PostgresLog
from adapters.upkeep.clock import ClockCheck
from adapters.upkeep.disk import DiskCheck
from adapters.upkeep.supervisor import Supervisor
from adapters.writer.batch import IdempotentAnswer, Keyed
from adapters.writer.group_commit import GroupCommit
from adapters.writer.leadership import Leader
from domain.access import Actor
from domain.errors import Unavailable
from domain.errors.codes import Code
from domain.ledger import Answer, Command, EventLog, EvidenceOf, Ledger, Report, Request, no_marks
from domain.values import Mark

ANSWER_SECONDS_MAX = 120  # the writer answers or fails far sooner
TOO_SLOW = "the writer did not answer in time; send the request again, under the same id"


class Writer:
    """A `Ledger` behind a lock or, while it leads, behind a queue. Safe between threads."""

    def __init__(
        self,
        log: EventLog,
        now: Callable[[], datetime],
        marks: Callable[[str], Mark | None] = no_marks,
        clock: ClockCheck | None = None,
        disk: DiskCheck | None = None,
    ) -> None:
        """Write to `log` by the clock `now`; with a `clock` that checks it, only while it is not in doubt. `disk` gets
        to know whether appends fit.
        """
        self._log = log
        self._now = now
        self._marks = marks
        self._clock = clock
        self._disk = disk
        self._ledger = Ledger(log, now if clock is None else clock.read, marks)
        self._lock = Lock()
        self._group: GroupCommit | None = None

    @property
    def is_leading(self) -> bool:
        """Whether this process leads and takes commands of all threads."""
        return self._group is not None and self._group.is_leading

    @property
    def leader(self) -> Leader | None:
        """The leader, if this process leads or stands by and one is known."""
        return None if self._group is None else self._group.leader

    @contextmanager
    def leading(self, url: str, *, name: str = "", upkeep: Supervisor | None = None) -> Iterator[GroupCommit]:
        """Lead, or stand by to take over, in the database of `url`; `name` shows others where to send requests.
        `upkeep` runs the threads.

        Nested calls share the lead, which ends with the outermost one.
        """
        assert isinstance(self._log, PostgresLog), "only a database has a lead"
        if self._group is not None:
            yield self._group
            return
        group = GroupCommit(
            url, self._log, self._now, self._marks, name=name, upkeep=upkeep, clock=self._clock, disk=self._disk
        )
        group.start()
        self._group = group
        try:
            yield group
        finally:
            self._group = None
            group.close()

    def request(self, request: Request, *, actor: Actor, request_id: str = "", cause: str = "") -> Answer:
        """Carry out a client's request; see `Ledger.request`. Raises NotLeading and Busy as well."""
        return _one(self.carry_out(Command(request, actor, request_id, cause)))

    def report(
        self,
        reports: Sequence[Report],
        *,
        actor: Actor,
        request_id: str = "",
        cause: str = "",
        evidence_of: EvidenceOf | None = None,
    ) -> list[Answer]:
        """Record venue reports; see `Ledger.report`. Raises NotLeading and Busy as well."""
        return self.carry_out(Command(tuple(reports), actor, request_id, cause, evidence_of=evidence_of))

    def carry_out(self, command: Command) -> list[Answer]:
        """Carry out a request or reports. Return an answer for each, refusals as errors.

        Raises NotLeading, Busy, ClockInDoubt.
        """
        if self._group is not None:
            answers: list[Answer] = self._led(command)
            return answers
        with self._lock:
            self._look_at_clock()
            return self._ledger.carry_out(command)

    def carry_out_once(self, command: Command, keyed: Keyed) -> IdempotentAnswer:
        """Carry out a command once. Return its first answer, which is stored in the transaction of its events.

        Raises KeyReused for the same key with another body, NotLeading and Busy.
        """
        answer: IdempotentAnswer = self._led(command, keyed)
        return answer

    def submit(self, command: Command, keyed: Keyed | None = None) -> "Future[Any]":
        """Queue a command while this process leads; see `GroupCommit.submit`. Raises NotLeading, Busy."""
        return self._leader().submit(command, keyed)

    async def carry_out_async(self, command: Command) -> list[Answer]:
        """Like `carry_out`, without blocking a thread; only while the writer leads or stands by."""
        answers: list[Answer] = await self._led_async(command)
        return answers

    async def carry_out_once_async(self, command: Command, keyed: Keyed) -> IdempotentAnswer:
        """Like `carry_out_once`, without blocking a thread."""
        answer: IdempotentAnswer = await self._led_async(command, keyed)
        return answer

    def state(self, stream: str) -> Any:
        """Return the aggregate of a stream as of now; None if the stream is empty."""
        with self._lock:
            return self._ledger.state(stream)

    def states(self, streams: Sequence[str]) -> list[Any]:
        """Return the aggregates of short streams as of now, read at once; None where a stream is empty."""
        with self._lock:
            return self._ledger.states(streams)

    def _look_at_clock(self) -> None:
        if self._clock is not None and isinstance(self._log, PostgresLog):
            with self._log.connection() as connection:
                self._clock.look(connection, is_due=self._clock.doubt is not None)
            self._clock.read()

    def _led(self, command: Command, keyed: Keyed | None = None) -> Any:
        try:
            return self._leader().carry_out(command, keyed, seconds_max=ANSWER_SECONDS_MAX)
        except TimeoutError:
            raise Unavailable(TOO_SLOW, code=Code.WRITER_TOO_SLOW) from None

    async def _led_async(self, command: Command, keyed: Keyed | None = None) -> Any:
        try:
            return await self._leader().carry_out_async(command, keyed, seconds_max=ANSWER_SECONDS_MAX)
        except TimeoutError:
            raise Unavailable(TOO_SLOW, code=Code.WRITER_TOO_SLOW) from None

    def _leader(self) -> GroupCommit:
        if self._group is None:
            raise Unavailable("the writer of this process is not running; send the request again", code=Code.STARTING)
        return self._group


def _one(answers: list[Answer]) -> Answer:
    (answer,) = answers
    if answer.error is not None:
        raise answer.error
    return answer
