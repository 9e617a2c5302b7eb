"""A batch: commands decided one after the other into one append, each with an answer of its own.

A command stands on the batch, the batch on the one whose commit is under way, and that on what the log is known to say.
A refused command leaves nothing behind; what its neighbours decided stands. Nothing is answered before the append is
durable; if it fails, the batch is thrown away with everything that stands on it, and decided anew.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from datetime import datetime
from threading import Lock
from typing import Any, NamedTuple

from adapters.log.postgres import KeptAnswer
from adapters.writer.append import Row, row_of
from domain.errors import KeyReused, LedgerError
from domain.ledger import Answer, BaseLayer, Command, Outcome, UnitOfWork, decided, streams_begun_by
from domain.values import Mark

Marks = Callable[[str], Mark | None]
Look = Callable[[str], Any]  # the aggregate of a stream, with what the command has done
KeyOf = tuple[str, str]  # actor, key


class Keyed(NamedTuple):
    """What makes a request one that is carried out once: its key, a digest of its body, and how its answer is told.

    The answer is kept as `tell` puts it, and given again, byte for byte, to whoever sends the same request once more.
    """

    key: str
    body_sha256: bytes
    tell: Callable[[list[Answer], Look], bytes]


class Told(NamedTuple):
    """The answer to a keyed request; `is_first` unless it was given before."""

    answer: bytes
    is_first: bool


class Reply:
    """Where one thread waits for one answer: a Future with less to set up, to lock and to wake."""

    __slots__ = ("_answer", "_given")

    def __init__(self) -> None:
        self._answer: Any = None
        self._given = Lock()
        self._given.acquire()

    def done(self) -> bool:
        """Whether the answer is there."""
        return not self._given.locked()

    def set_running_or_notify_cancel(self) -> bool:
        """Whether it is still waited for."""
        return True

    def set_result(self, answer: Any) -> None:
        """Give the answer."""
        self._answer = answer
        self._given.release()

    def set_exception(self, error: BaseException) -> None:
        """Give an error, which `result` raises."""
        self.set_result(error)

    def result(self, seconds_max: float) -> Any:
        """Wait for the answer. Raises TimeoutError, and the error that was given."""
        if not self._given.acquire(timeout=seconds_max):
            raise TimeoutError
        if isinstance(self._answer, BaseException):
            raise self._answer
        return self._answer


class Task(NamedTuple):
    """A command on its way, and where its answer is waited for."""

    command: Command
    keyed: Keyed | None
    future: "Future[Any] | Reply"

    @property
    def weight(self) -> int:
        """How much of the queue it takes up."""
        return len(self.command.payload) if isinstance(self.command.payload, tuple) else 1

    @property
    def key(self) -> KeyOf | None:
        """What it is known by."""
        return (self.command.actor, self.keyed.key) if self.keyed else None


class Batch:
    """Tasks decided together. `after` is the seq that their records continue.

    Where it `assumes_new`, what a command begins is not read first: that it is new, the append finds out.
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
        """Decide one more, at `now`. `known` are requests that came before under their keys."""
        self.tasks.append(task)
        try:
            self._answers.append((task, self._decided(task, known, now)))
        except LedgerError as error:
            self._answers.append((task, error))
        except Exception as mistake:  # noqa: BLE001 (our own mistake in one command is not its neighbours')
            self._answers.append((task, mistake))

    def answer(self) -> None:
        """The append is durable: tell everyone."""
        for task, answer in self._answers:
            tell(task, answer)

    def _decided(self, task: Task, known: Mapping[KeyOf, KeptAnswer], now: datetime) -> Any:
        command, keyed, key = task.command, task.keyed, task.key
        if keyed is not None and key is not None and (before := self.kept.get(key) or known.get(key)):
            return Told(before.answer, False) if before.body_sha256 == keyed.body_sha256 else KeyReused(keyed.key)
        work, outcomes = self._carried_out(command, now)
        first = self.head + 1
        rows = [row_of(record, seq) for seq, record in enumerate(work.records, first)]
        last = self.head + len(rows)
        answers = [Answer(last, *outcome) for outcome in outcomes]
        told = keyed.tell(answers, work.state) if keyed is not None else None
        self.unit.absorb(work)
        self.rows += rows
        if keyed is not None and key is not None and told is not None:
            self.kept[key] = KeptAnswer(*key, keyed.body_sha256, first, last, work.now, told)
            return Told(told, True)
        return answers

    def _carried_out(self, command: Command, now: datetime) -> tuple[UnitOfWork, list[Outcome]]:
        in_whose_name = (command.actor, command.request_id, command.cause)
        if self._assumes_new:
            work = UnitOfWork(self.unit, now, *in_whose_name, assumes_new=True)
            supposed = work.assume_empty(streams_begun_by(command))
            outcomes = decided(work, command, self._marks)
            if work.has_added(supposed):
                return work, outcomes
        work = UnitOfWork(self.unit, now, *in_whose_name)
        return work, decided(work, command, self._marks)


def tell(task: Task, answer: Any) -> None:
    """Give one caller what it waits for."""
    if task.future.done() or not task.future.set_running_or_notify_cancel():
        return
    if isinstance(answer, BaseException):
        task.future.set_exception(answer)
    else:
        task.future.set_result(answer)
