"""Workers: projections built in several processes at once, each with some of the projections and a connection.

A worker receives its work over a pipe and ends when the other end is closed: it outlives its parent process by no more
than the transaction it is in, and writes only into schemas that a killed rebuild leaves for the next one to drop.
"""

import gc
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from multiprocessing.connection import Connection as Pipe
from multiprocessing.connection import wait
from typing import Any, Protocol

import sqlalchemy as sa

from domain.errors import LedgerError, Unavailable
from domain.ledger import EventLog, Logged
from projections.catalog import PROJECTIONS
from projections.runner.build import Built, Goal, OnSeq, begun
from projections.storage.progress import reaching
from projections.storage.rows import SqlRows
from projections.storage.tables import Projection, Row

WORKERS_MAX = 4
EVENTS_MIN = 60_000  # a shorter log is built faster than processes start
SAMPLED_EVENTS = 4_000
READ_SECONDS = 5e-6  # to read an event
LINE_SECONDS = 3e-6  # to write a row, apart from folding it
END_SECONDS_MAX = 10.0

Opener = Callable[[], AbstractContextManager[tuple[EventLog, sa.Engine]]]  # of the log and the database; can be pickled


class Builders(Protocol):
    """The builder or builders of a rebuild's projections."""

    @property
    def schemas(self) -> Mapping[str, str]:
        """See `Builder.schemas`."""

    def build(self, goals: Mapping[str, Goal], on_seq: OnSeq | None = None) -> dict[str, Built]:
        """See `Builder.build`."""

    def finish(self) -> None:
        """See `Builder.finish`."""


@contextmanager
def open_builders(
    log: EventLog, engine: sa.Engine, projections: Sequence[Projection], opener: Opener | None
) -> Iterator[Builders]:
    """Yield one builder in this process; for a long log with an `opener`, as many processes as there are cores."""
    count = min(os.cpu_count() or 1, WORKERS_MAX, len(projections))
    is_known = all(projection in PROJECTIONS for projection in projections)
    if opener is None or count < 2 or not is_known or not log.select(after=EVENTS_MIN - 1, limit=1):
        with engine.connect() as connection:
            yield begun(log, connection, projections)
        return
    with ExitStack() as stack:
        shares = shared(log, projections, count)
        yield _Processes([stack.enter_context(_process(opener, share)) for share in shares])


def shared(log: EventLog, projections: Sequence[Projection], count: int) -> list[list[Projection]]:
    """Divide projections into `count` shares of about the same work, measured on the log's first events.

    Each share reads the events of its projections once.
    """
    batch = log.select(limit=SAMPLED_EVENTS)
    read = {
        one.name: {logged.seq for logged in batch if type(logged.recorded.event) in one.folds} for one in projections
    }
    work = {one.name: _work(one, batch) for one in projections}
    shares: list[list[Projection]] = [[] for _ in range(count)]

    def seconds(share: Iterable[Projection]) -> float:
        names = [one.name for one in share]
        events = set[int]().union(*(read[name] for name in names))
        return sum(work[name] for name in names) + len(events) * READ_SECONDS

    for projection in sorted(projections, key=lambda one: -seconds([one])):
        min(shares, key=lambda share: seconds([*share, projection])).append(projection)
    return [share for share in shares if share]


def _work(projection: Projection, batch: Sequence[Logged]) -> float:
    """Return the seconds to fold events and write their rows."""
    rows, began = _Unwritten(projection.tables, "", is_empty=True), time.perf_counter()
    with suppress(Exception):  # the builder raises it
        projection.fold(rows, batch)
        rows.flush()
    return time.perf_counter() - began + rows.lines * LINE_SECONDS


class _Unwritten(SqlRows):
    """Rows that are formatted and counted, but not written."""

    lines = 0

    def find(self, table: sa.Table, **equals: Any) -> list[Row]:  # noqa: ARG002 (nothing is stored)
        return []

    def _copy(self, statement: str, texts: Sequence[bytes]) -> None:  # noqa: ARG002
        self.lines += sum(text.count(b"\n") + 1 for text in texts)


class _Processes:
    """Several builders, each behind a pipe."""

    def __init__(self, pipes: Sequence[Pipe]) -> None:
        self._pipes = pipes
        self.schemas: dict[str, str] = {}
        self._of = {}
        for pipe, schemas in zip(pipes, self._answers(), strict=True):
            self.schemas |= schemas
            self._of[pipe] = set(schemas)

    def build(self, goals: Mapping[str, Goal], on_seq: OnSeq | None = None) -> dict[str, Built]:
        for pipe in self._pipes:
            pipe.send(("build", {name: goal for name, goal in goals.items() if name in self._of[pipe]}))
        return {name: built for answer in self._answers(on_seq) for name, built in answer.items()}

    def finish(self) -> None:
        for pipe in self._pipes:
            pipe.send(("finish",))
        self._answers()

    def _answers(self, on_seq: OnSeq | None = None) -> list[Any]:
        """Wait for the answer of every worker; `on_seq` is called with the seq that all have reached."""
        answers: dict[Pipe, Any] = {}
        reached = dict.fromkeys(self._pipes, 0)
        while waiting := [pipe for pipe in self._pipes if pipe not in answers]:
            for pipe in wait(waiting):
                assert isinstance(pipe, Pipe)
                kind, message = _received(pipe)
                if kind == "failed":
                    raise message
                if kind == "seq":
                    reached[pipe] = message
                else:
                    answers[pipe] = message
            if on_seq is not None and (running := [pipe for pipe in self._pipes if pipe not in answers]):
                on_seq(min(reached[pipe] for pipe in running))
        return [answers[pipe] for pipe in self._pipes]


def _received(pipe: Pipe) -> tuple[str, Any]:
    try:
        message: tuple[str, Any] = pipe.recv()
    except (EOFError, OSError) as error:
        raise Unavailable("a process that built read models has died; start again, nothing is broken") from error
    return message


@contextmanager
def _process(opener: Opener, projections: Sequence[Projection]) -> Iterator[Pipe]:
    os.environ["PYTHONSAFEPATH"] = "1"  # the new interpreter takes no module from the current directory
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    names = [projection.name for projection in projections]
    process = context.Process(target=_run_worker, args=(opener, names, theirs), daemon=True, name="daybook builder")
    process.start()
    theirs.close()
    try:
        yield ours
    finally:
        ours.close()
        process.join(END_SECONDS_MAX)
        if process.is_alive():
            process.kill()
            process.join()


def _run_worker(opener: Opener, names: Sequence[str], pipe: Pipe) -> None:
    """Run a worker, then exit at once: freeing its rows one by one would take seconds."""
    try:
        work(opener, names, pipe)
    finally:
        os._exit(0)


def work(opener: Opener, names: Sequence[str], pipe: Pipe) -> None:
    """Serve build requests until the other end of the pipe is closed."""
    gc.disable()  # rows hold no cycles: collections would scan a full cache again and again, and find nothing
    chosen = [projection for projection in PROJECTIONS if projection.name in names]
    try:
        with reaching(), opener() as (log, engine), engine.connect() as connection:
            builder = begun(log, connection, chosen)
            pipe.send(("done", builder.schemas))
            while True:
                match pipe.recv():
                    case ("build", goals):
                        pipe.send(("done", builder.build(goals, lambda seq: pipe.send(("seq", seq)))))
                    case ("finish",):
                        builder.finish()
                        pipe.send(("done", None))
    except (EOFError, OSError, KeyboardInterrupt):
        return
    except LedgerError as error:
        _failed(pipe, error)
    except Exception as error:  # noqa: BLE001 (a process's edge)
        _failed(pipe, LedgerError(f"{type(error).__name__}: {error}"))


def _failed(pipe: Pipe, error: LedgerError) -> None:
    try:
        pipe.send(("failed", error))
    except OSError:
        return
