"""Processes that check stretches of the log side by side: each one interpreter, one connection, and a pipe to us.

They are started by name and not forked or spawned by `multiprocessing`, which would load again whatever program we are
part of, and are told the database's URL through the pipe, where no list of processes shows it.
"""

import os
import pickle
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

from adapters.postgres.connections import Role, connect
from adapters.verify.range_check import Ask, Stretch, check
from domain.errors import Unavailable

AHEAD_MAX = 2  # stretches asked of each before its first answer is read
STATEMENT_SECONDS_MAX = 3600
STOP_SECONDS_MAX = 5


@contextmanager
def checkers(url: str, count: int) -> Iterator["Checkers"]:
    """So many processes, ended when done with."""
    root = str(Path(__file__).parents[2])
    paths = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", __name__]
    started = []
    try:
        for _ in range(count):
            process = subprocess.Popen(  # noqa: S603 (ourselves)
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": paths}
            )
            started.append(process)
            _send(process.stdin, url)
        yield Checkers(started)
    finally:
        for process in started:
            process.kill()
            process.communicate(timeout=STOP_SECONDS_MAX)


class Checkers:
    """Hands out stretches in turn and takes the answers in the same order."""

    def __init__(self, processes: list["subprocess.Popen[bytes]"]) -> None:
        self._processes = processes

    def check(self, asks: Iterable[Ask]) -> Iterator[Stretch]:
        """What was found of each, in order. Raises Unavailable when a process or its database is gone."""
        turn: deque[subprocess.Popen[bytes]] = deque()
        for number, ask in enumerate(asks):
            process = self._processes[number % len(self._processes)]
            if len(turn) == AHEAD_MAX * len(self._processes):
                yield _receive(turn.popleft())
            _send(process.stdin, ask)
            turn.append(process)
        while turn:
            yield _receive(turn.popleft())


def _send(pipe: IO[bytes] | None, message: Any) -> None:
    assert pipe is not None, "it was made with a pipe"
    try:
        pickle.dump(message, pipe)
        pipe.flush()
    except OSError as error:
        raise Unavailable("a process that verifies has ended; try again") from error


def _receive(process: "subprocess.Popen[bytes]") -> Stretch:
    assert process.stdout is not None, "it was made with a pipe"
    try:
        answer = pickle.load(process.stdout)  # noqa: S301 (our own process)
    except (EOFError, OSError, pickle.UnpicklingError) as error:
        raise Unavailable("a process that verifies has ended; try again") from error
    if isinstance(answer, Exception):
        raise answer
    return cast(Stretch, answer)


def _work(asks: IO[bytes], answers: IO[bytes]) -> None:
    """The process: a URL, then stretches until there are no more."""
    url = pickle.load(asks)  # noqa: S301 (our own parent)
    try:
        with connect(url, Role.AUDITOR, statement_seconds_max=STATEMENT_SECONDS_MAX) as connection:
            while True:
                pickle.dump(check(connection, pickle.load(asks)), answers)  # noqa: S301
                answers.flush()
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        return
    except Exception as error:  # noqa: BLE001 (the process's edge: the parent raises it)
        pickle.dump(Unavailable(f"verifying was cut off: {' '.join(str(error).split())}"), answers)
        answers.flush()


if __name__ == "__main__":
    _work(sys.stdin.buffer, sys.stdout.buffer)
