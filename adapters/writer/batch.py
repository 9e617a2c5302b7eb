"""A batch: commands decided one after the other into one append, each with an answer of its own.

A command is decided on the states after the batch so far, the batch on those after the one whose commit is under way,
and that one on the states known from the log. A refused command adds nothing and does not affect the others. No answer
is given before the append is durable; if it fails, the batch and the one based on it are discarded and decided again.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from datetime import datetime
from threading import Lock
from typing import Any, ClassVar, NamedTuple
from weakref import WeakKeyDictionary, ref

from adapters.log.postgres import KeptAnswer
from adapters.writer.append import Row, row_of
from domain.access import label
from domain.errors import KeyReused, LedgerError
from domain.ledger import Answer, BaseLayer, Command, Outcome, UnitOfWork, carried_out, streams_begun_by
from domain.values import Mark

Marks = Callable[[str], Mark | None]
Look = Callable[[str], Any]  # the aggregate of a stream, after the command
KeyOf = tuple[str, str]  # actor, key


class Keyed(NamedTuple):
    """The idempotency key of a request, a digest of it, and how to encode its answer.

    The encoded answer is stored, and returned byte for byte when the same request is sent again. `raw_sha256` is the
    digest by which releases before stored the same request; empty if there is none.
    """

    key: str
    body_sha256: bytes
    encode: Callable[[list[Answer], Look], bytes]
    raw_sha256: bytes = b""


class IdempotentAnswer(NamedTuple):
    """The answer to a keyed request; `is_first` unless it was stored before."""

    answer: bytes
    is_first: bool


class Reply:
    """A lightweight Future, with one lock, for one waiting thread."""

    __slots__ = ("_answer", "_given")

    def __init__(self) -> None:
        self._answer: Any = None
        self._given = Lock()
        self._given.acquire()

    def done(self) -> bool:
        """Return whether the answer is there."""
        return not self._given.locked()

    def set_running_or_notify_cancel(self) -> bool:
        """Return True: it cannot be cancelled."""
        return True

    def set_result(self, answer: Any) -> None:
        """Set the answer."""
        self._answer = answer
        self._given.release()

    def set_exception(self, error: BaseException) -> None:
        """Set an error, which `result` raises."""
        self.set_result(error)

    def result(self, seconds_max: float) -> Any:
        """Wait for the answer. Raises TimeoutError, and the error that was set."""
        if not self._given.acquire(timeout=seconds_max):
            raise TimeoutError
        if isinstance(self._answer, BaseException):
            raise self._answer
        return self._answer


class Mailbox:
    """Answers on their way from the writer's thread to an event loop, which is woken once for all of a batch."""

    _known: ClassVar[WeakKeyDictionary[asyncio.AbstractEventLoop, "Mailbox"]] = WeakKeyDictionary()

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = ref(loop)
        self._answers: deque[tuple[LoopReply, Any]] = deque()
        self._is_woken = False

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop) -> "Mailbox":
        """Return the mailbox of a loop, on that loop."""
        if (found := cls._known.get(loop)) is None:
            found = cls._known[loop] = cls(loop)
        return found

    def put(self, reply: "LoopReply", answer: Any) -> None:
        """Have an answer given, from any thread."""
        self._answers.append((reply, answer))
        loop = self._loop()
        if not self._is_woken and loop is not None:
            self._is_woken = True
            with suppress(RuntimeError):  # the loop was closed: no caller waits
                loop.call_soon_threadsafe(self._give)

    def _give(self) -> None:
        self._is_woken = False  # before the answers are taken: one that comes meanwhile wakes the loop again
        while self._answers:
            reply, answer = self._answers.popleft()
            reply.give(answer)


class LoopReply:
    """A lightweight Future that is answered on another thread and awaited on the event loop it was made on."""

    __slots__ = ("_future", "_is_given", "_mailbox")

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self._mailbox = Mailbox.of(loop)
        self._future: asyncio.Future[Any] = loop.create_future()
        self._is_given = False

    def done(self) -> bool:
        """Return whether the answer was set."""
        return self._is_given

    def set_running_or_notify_cancel(self) -> bool:
        """Return True: a command that is queued is carried out, also if no caller waits for its answer any more."""
        return True

    def set_result(self, answer: Any) -> None:
        """Set the answer, from any thread."""
        self._is_given = True
        self._mailbox.put(self, answer)

    def set_exception(self, error: BaseException) -> None:
        """Set an error, which `result` raises."""
        self.set_result(error)

    async def result(self, seconds_max: float) -> Any:
        """Wait for the answer. Raises TimeoutError, and the error that was set."""
        end = self._future.get_loop().call_later(seconds_max, self.give, TimeoutError())  # cheaper than a timeout scope
        try:
            answer = await self._future
        finally:
            end.cancel()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def give(self, answer: Any) -> None:
        """Set the answer, on the event loop."""
        if not self._future.done():
            self._future.set_result(answer)


class Task(NamedTuple):
    """A queued command, and the future of its answer."""

    command: Command
    keyed: Keyed | None
    future: "Future[Any] | Reply | LoopReply"

    @property
    def weight(self) -> int:
        """Number of requests or reports, as counted against the queue's limit."""
        return len(self.command.payload) if isinstance(self.command.payload, tuple) else 1

    @property
    def key(self) -> KeyOf | None:
        """The actor and idempotency key; None without a key."""
        return (label(self.command.actor), self.keyed.key) if self.keyed else None


class Batch:
    """Tasks decided together. `after` is the seq that their records continue.

    With `assumes_new`, streams that a command would begin are assumed to be empty and not read; the append checks it.
    """

    def __init__(self, base: BaseLayer, after: int, now: datetime, marks: Marks, *, assumes_new: bool = False) -> None:
        self._assumes_new = assumes_new
        self.unit = UnitOfWork(base, now)
        self.after = after
        self.tasks: list[Task] = []
        self.rows: list[Row] = []
        self.kept: dict[KeyOf, KeptAnswer] = {}
        self._marks = marks
        self._answers: list[tuple[Task, Any]] = []

    @property
    def head(self) -> int:
        """The seq of the last record so far."""
        return self.after + len(self.rows)

    def add(self, task: Task, known: Mapping[KeyOf, KeptAnswer], now: datetime) -> None:
        """Decide one more task, at `now`. `known` are the stored answers of earlier keyed requests."""
        self.tasks.append(task)
        try:
            self._answers.append((task, self._decided(task, known, now)))
        except LedgerError as error:
            self._answers.append((task, error))
        except Exception as mistake:  # noqa: BLE001 (a bug met by one command must not fail the others)
            self._answers.append((task, mistake))

    def answer(self) -> None:
        """Give every task its answer, now that the append is durable."""
        for task, answer in self._answers:
            resolve(task, answer)

    def _decided(self, task: Task, known: Mapping[KeyOf, KeptAnswer], now: datetime) -> Any:
        command, keyed, key = task.command, task.keyed, task.key
        if keyed is not None and key is not None and (before := self.kept.get(key) or known.get(key)):
            return (
                IdempotentAnswer(before.answer, False)
                if before.body_sha256 in (keyed.body_sha256, keyed.raw_sha256)
                else KeyReused(keyed.key)
            )
        work, outcomes = self._carried_out(command, now)
        first = self.head + 1
        rows = [row_of(record, seq) for seq, record in enumerate(work.records, first)]
        last = self.head + len(rows)
        answers = [Answer(last, *outcome) for outcome in outcomes]
        encoded = keyed.encode(answers, work.state) if keyed is not None else None
        self.unit.absorb(work)
        self.rows += rows
        if keyed is not None and key is not None and encoded is not None:
            self.kept[key] = KeptAnswer(
                *key,
                body_sha256=keyed.body_sha256,
                first_seq=first,
                last_seq=last,
                recorded_at=work.now,
                answer=encoded,
            )
            return IdempotentAnswer(encoded, True)
        return answers

    def _carried_out(self, command: Command, now: datetime) -> tuple[UnitOfWork, list[Outcome]]:
        origin = (command.actor, command.request_id, command.cause)
        if self._assumes_new:
            work = UnitOfWork(self.unit, now, *origin, assumes_new=True)
            supposed = work.assume_empty(streams_begun_by(command))
            outcomes = carried_out(work, command, self._marks)
            if work.has_added(supposed):
                return work, outcomes
        work = UnitOfWork(self.unit, now, *origin)
        return work, carried_out(work, command, self._marks)


def resolve(task: Task, answer: Any) -> None:
    """Give a task its answer or error, unless it was cancelled."""
    if task.future.done() or not task.future.set_running_or_notify_cancel():
        return
    if isinstance(answer, BaseException):
        task.future.set_exception(answer)
    else:
        task.future.set_result(answer)
