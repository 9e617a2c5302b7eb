"""A worker process: computes one answer at a time, and can be interrupted in the middle of it.

A thread reads the pipe and the main thread computes. A message to cancel becomes a signal, whose handler raises
`Canceled` in the main thread; as it is a KeyboardInterrupt, psycopg cancels the statement in the database too. When the
other end of the pipe is closed the computation is canceled and the process ends, so it does not outlive its parent.
"""

import os
import resource
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from enum import StrEnum
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple

NICENESS = 10  # writer and event loop run first; beside a busy machine an expensive read still gets on
END_SECONDS_MAX = 3.0
_CANCEL = signal.SIGUSR1


class Canceled(KeyboardInterrupt):
    """Raised in the main thread of a worker, in the middle of its computation."""


class Call(NamedTuple):
    """A message to the worker: compute this; or, without a `call`, cancel the computation of this number."""

    number: int
    call: Any = None


class Outcome(StrEnum):
    """How a computation ended."""

    DONE = "done"
    CANCELED = "canceled"
    FAILED = "failed"


class Reply(NamedTuple):
    """A message from the worker. `value` is the answer, of a failure the traceback.

    With `has_file` a byte with an open file follows. `memory_bytes` is the most memory that the process has used.
    """

    number: int
    outcome: Outcome
    value: Any
    has_file: bool
    memory_bytes: int


class Computed(NamedTuple):
    """An answer, and an open file that belongs to it. The file is sent to the parent and closed here."""

    value: Any
    file: int | None = None


Compute = Callable[[Any], Computed]
Opener = Callable[[], AbstractContextManager[Compute]]  # can be pickled


def serve(opener: Opener, pipe: Pipe) -> None:
    """Compute answers until the other end of the pipe is closed, then exit."""
    _step_back()
    work = _Work(opener, pipe)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the service, which closes the pipe
    signal.signal(_CANCEL, work.interrupt)
    threading.Thread(target=work.read, name="daybook pipe", daemon=True).start()
    try:
        work.run()
    finally:
        os._exit(0)


def _step_back() -> None:
    """Give this process a low priority, and let the kernel end it first when memory runs out."""
    with suppress(OSError):
        os.nice(NICENESS)
    with suppress(OSError):  # Linux only
        Path("/proc/self/oom_score_adj").write_text("1000")


class _Work:
    """The computations of a worker."""

    def __init__(self, opener: Opener, pipe: Pipe) -> None:
        self._opener = opener
        self._pipe = pipe
        self._calls: SimpleQueue[Call | None] = SimpleQueue()
        self._main = threading.main_thread().ident or 0
        self._running: int | None = None
        self._canceled = 0  # the number canceled last
        self._is_ending = False

    def read(self) -> None:
        """Read messages, in a thread of their own, until the pipe is closed."""
        while True:
            try:
                message: Call = self._pipe.recv()
            except (EOFError, OSError):
                break
            if message.call is not None:
                self._calls.put(message)
            else:
                self._canceled = message.number
                signal.pthread_kill(self._main, _CANCEL)
        self._is_ending = True
        signal.pthread_kill(self._main, _CANCEL)
        self._calls.put(None)
        time.sleep(END_SECONDS_MAX)
        os._exit(0)

    def interrupt(self, *_: object) -> None:
        """Handle the signal: raise Canceled if what is computed is what was canceled."""
        if self._running is not None and (self._is_ending or self._canceled == self._running):
            self._running = None  # raised once: what cleans up behind it is not interrupted
            raise Canceled

    def run(self) -> None:
        """Compute one answer after the other."""
        with self._opener() as compute:
            while (message := self._calls.get()) is not None:
                outcome, computed = self._computed(compute, message)
                try:
                    self._reply(message.number, outcome, computed)
                except (OSError, ValueError):
                    return

    def _computed(self, compute: Compute, message: Call) -> tuple[Outcome, Computed]:
        try:
            self._running = message.number
            if self._canceled == message.number:
                self.interrupt()
            computed = compute(message.call)
            self._running = None
        except Canceled:
            return Outcome.CANCELED, Computed(None)
        except Exception:  # noqa: BLE001 (a process's edge)
            self._running = None
            return Outcome.FAILED, Computed(traceback.format_exc())
        return Outcome.DONE, computed

    def _reply(self, number: int, outcome: Outcome, computed: Computed) -> None:
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        has_file = computed.file is not None
        self._pipe.send(Reply(number, outcome, computed.value, has_file=has_file, memory_bytes=used))
        if computed.file is not None:
            with socket.socket(fileno=os.dup(self._pipe.fileno())) as sending:
                socket.send_fds(sending, [b"f"], [computed.file])
            os.close(computed.file)
