"""Workers: projections built in several processes at once, each with some of the projections and a connection.

A worker is told what to do over a pipe and ends when nobody holds the other end: it outlives who started it by no more
than the transaction it is in, and writes only into schemas that a killed rebuild leaves for the next one to remove.
"""

import gc
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from multiprocessing.connection import Connection as Pipe
from multiprocessing.connection import wait
from typing import Any, Protocol

import sqlalchemy as sa

from domain.errors import LedgerError, Unavailable
from domain.log import EventLog
from projections.building import Built, Goal, OnSeq, begun
from projections.catalog import PROJECTIONS
from projections.progress import reaching
from projections.rows import MemoryRows
from projections.tables import Projection

WORKERS_MAX = 4
EVENTS_MIN = 60_000  # a shorter log is built before processes have started
SAMPLED_EVENTS = 2_000
ROW_SECONDS = 20e-6  # what a row costs to write, beside its fold
END_SECONDS_MAX = 10.0

Opener = Callable[[], AbstractContextManager[tuple[EventLog, sa.Engine]]]  # of the log and the database; can be pickled


class Crew(Protocol):
    """Whoever builds the projections of a rebuild."""

    @property
    def schemas(self) -> Mapping[str, str]:
        """See `Builder.schemas`."""

    def build(self, goals: Mapping[str, Goal], on_seq: OnSeq | None = None) -> dict[str, Built]:
        """See `Builder.build`."""

    def finish(self) -> None:
        """See `Builder.finish`."""


@contextmanager
def crew(log: EventLog, engine: sa.Engine, projections: Sequence[Projection], opener: Opener | None) -> Iterator[Crew]:
    """One builder here; or, for a long log that can be opened, as many processes as there are cores to use."""
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
    """The projections in so many shares of about the same work, by what the first events of the log take to fold."""
    batch = log.select(limit=SAMPLED_EVENTS)
    work = {}
    for projection in projections:
        rows, began = MemoryRows(), time.perf_counter()
        with suppress(Exception):  # whoever builds it says what is wrong
            projection.fold(rows, batch)
        written = sum(len(rows.rows(table)) for table in projection.tables)
        work[projection.name] = time.perf_counter() - began + written * ROW_SECONDS
    shares: list[list[Projection]] = [[] for _ in range(count)]
    for projection in sorted(projections, key=lambda one: -work[one.name]):
        min(shares, key=lambda share: sum(work[one.name] for one in share)).append(projection)
    return [share for share in shares if share]


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
        """What each answers, when all have; on the way the seq that all have reached."""
        answers: dict[Pipe, Any] = {}
        reached = dict.fromkeys(self._pipes, 0)
        while waiting := [pipe for pipe in self._pipes if pipe not in answers]:
            for pipe in wait(waiting):
                assert isinstance(pipe, Pipe)
                kind, told = _received(pipe)
                if kind == "failed":
                    raise told
                if kind == "seq":
                    reached[pipe] = told
                else:
                    answers[pipe] = told
            if on_seq is not None and (running := [pipe for pipe in self._pipes if pipe not in answers]):
                on_seq(min(reached[pipe] for pipe in running))
        return [answers[pipe] for pipe in self._pipes]


def _received(pipe: Pipe) -> tuple[str, Any]:
    try:
        told: tuple[str, Any] = pipe.recv()
    except (EOFError, OSError) as error:
        raise Unavailable("a process that built read models has died; start again, nothing is broken") from error
    return told


@contextmanager
def _process(opener: Opener, projections: Sequence[Projection]) -> Iterator[Pipe]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    names = [projection.name for projection in projections]
    process = context.Process(target=work, args=(opener, names, theirs), daemon=True, name="daybook builder")
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


def work(opener: Opener, names: Sequence[str], pipe: Pipe) -> None:
    """A worker's life."""
    gc.disable()  # rows hold no cycles: it would look through a full cache again and again, and find nothing
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
