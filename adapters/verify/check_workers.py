"""Worker processes that check ranges of the log in parallel: each has one interpreter, one connection, and a pipe.

They are started by module name and not by `multiprocessing`, which would load the main program again, and with a safe
path (`python -P`), so that no module is taken from the current directory. They get the database's URL through the pipe,
so that no list of processes shows it.
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
from adapters.verify.range_check import CheckedRange, RangeQuery, check
from domain.errors import Unavailable

AHEAD_MAX = 2  # ranges sent to each before its first result is read
STATEMENT_SECONDS_MAX = 3600
STOP_SECONDS_MAX = 5


@contextmanager
def checkers(url: str, count: int) -> Iterator["Checkers"]:
    """Start `count` processes that check ranges, and end them on exit."""
    with started(url, count, __name__) as processes:
        yield Checkers(processes)


@contextmanager
def started(url: str, count: int, module: str) -> Iterator[list["subprocess.Popen[bytes]"]]:
    """Start `count` processes that run a module, send each the URL, and end them on exit."""
    root = str(Path(__file__).parents[__name__.count(".")])
    paths = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-P", "-m", module]
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for _ in range(count):
            process = subprocess.Popen(  # noqa: S603 (ourselves)
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": paths}
            )
            processes.append(process)
            send(process.stdin, url)
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.communicate(timeout=STOP_SECONDS_MAX)


class Checkers:
    """Distributes ranges over the processes, round-robin, and returns the results in the same sequence."""

    def __init__(self, processes: list["subprocess.Popen[bytes]"]) -> None:
        self._processes = processes

    def check(self, queries: Iterable[RangeQuery]) -> Iterator[CheckedRange]:
        """Yield the result of each, in sequence. Raises Unavailable when a process or its database is gone."""
        sent: deque[subprocess.Popen[bytes]] = deque()
        for number, query in enumerate(queries):
            process = self._processes[number % len(self._processes)]
            if len(sent) == AHEAD_MAX * len(self._processes):
                yield cast(CheckedRange, receive(sent.popleft()))
            send(process.stdin, query)
            sent.append(process)
        while sent:
            yield cast(CheckedRange, receive(sent.popleft()))


def send(pipe: IO[bytes] | None, message: Any) -> None:
    """Send a message to a process. Raises Unavailable when it is gone."""
    assert pipe is not None, "it was made with a pipe"
    try:
        pickle.dump(message, pipe)
        pipe.flush()
    except OSError as error:
        raise Unavailable("a process that verifies has ended; try again") from error


def receive(process: "subprocess.Popen[bytes]") -> Any:
    """Return the next message of a process. Raises Unavailable when it is gone, and the error that it sends."""
    assert process.stdout is not None, "it was made with a pipe"
    try:
        answer = pickle.load(process.stdout)  # noqa: S301 (our own process)
    except (EOFError, OSError, pickle.UnpicklingError) as error:
        raise Unavailable("a process that verifies has ended; try again") from error
    if isinstance(answer, Exception):
        raise answer
    return answer


def _work(queries: IO[bytes], answers: IO[bytes]) -> None:
    """Run the process: read a URL, then check ranges until there are no more."""
    url = pickle.load(queries)  # noqa: S301 (our own parent)
    try:
        with connect(url, Role.AUDITOR, statement_seconds_max=STATEMENT_SECONDS_MAX) as connection:
            while True:
                pickle.dump(check(connection, pickle.load(queries)), answers)  # noqa: S301
                answers.flush()
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        return
    except Exception as error:  # noqa: BLE001 (the process's edge: the parent raises it)
        pickle.dump(Unavailable(f"verifying was cut off: {' '.join(str(error).split())}"), answers)
        answers.flush()


if __name__ == "__main__":
    _work(sys.stdin.buffer, sys.stdout.buffer)
