"""Workers as their parent sees them: started when one is needed and none is idle, kept, canceled, killed, replaced.

They are forked from a server process that has the modules loaded (`multiprocessing`'s forkserver), so a new one takes
some milliseconds and killing one costs little. Nothing here waits for a free worker: the caller decides how many run.
"""

import multiprocessing
import os
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing import forkserver
from multiprocessing.connection import Connection as Pipe
from multiprocessing.process import BaseProcess
from typing import Any

from adapters.processes.worker import Call, Computed, Opener, Outcome, Reply, serve
from domain.errors import LedgerError

_SAFE_PATH = "PYTHONSAFEPATH"
_starting = threading.Lock()

MEMORY_BYTES_MAX = 2**29  # a worker that has used more is replaced after its answer, which returns the memory
KILL_SECONDS_MAX = 5.0


class WorkerEnded(LedgerError):
    """The process ended in the middle of a computation (killed, or out of memory), or none could be started."""

    def __init__(self, reason: str = "the process that computed this was ended") -> None:
        super().__init__(f"{reason}; send it again, or request less at once")


class WorkerFailed(Exception):
    """A mistake of ours in a worker; the message is its traceback."""


class WorkCanceled(Exception):
    """The computation was canceled, as requested."""


class Worker:
    """One worker process. `compute` is called by one thread at a time, `cancel` and `kill` by any."""

    def __init__(self, process: BaseProcess, pipe: Pipe) -> None:
        self._process = process
        self._pipe = pipe
        self._sending = threading.Lock()
        self._number = 0
        self.is_usable = True

    @property
    def pid(self) -> int | None:
        """Its process id."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process.is_alive()

    def compute(self, call: Any) -> Computed:
        """Return the answer to a call. Raises WorkCanceled, WorkerEnded, WorkerFailed."""
        self._number += 1
        try:
            self._send(Call(self._number, call))
            reply: Reply = self._pipe.recv()
            file = self._file() if reply.has_file else None
        except (EOFError, OSError) as error:
            self.kill()
            raise WorkerEnded from error
        self.is_usable = reply.memory_bytes <= MEMORY_BYTES_MAX
        match reply.outcome:
            case Outcome.DONE:
                return Computed(reply.value, file)
            case Outcome.CANCELED:
                raise WorkCanceled
            case _:
                raise WorkerFailed(reply.value)

    def cancel(self) -> None:
        """Interrupt what it computes; `compute` raises WorkCanceled then, unless it was done just before."""
        with suppress(OSError):
            self._send(Call(self._number))

    def kill(self) -> None:
        """End it at once. PostgreSQL notices within a second that the client is gone, and stops its statement."""
        self.is_usable = False
        self._process.kill()

    def close(self) -> None:
        """End it, and free what it holds. No thread may be in `compute`."""
        self.is_usable = False
        self._pipe.close()
        self._process.join(0)
        self._process.kill()
        self._process.join(KILL_SECONDS_MAX)
        self._process.close()

    def _send(self, message: Call) -> None:
        with self._sending:
            self._pipe.send(message)

    def _file(self) -> int:
        with socket.socket(fileno=os.dup(self._pipe.fileno())) as receiving:
            _, files, _, _ = socket.recv_fds(receiving, 1, 1)
        if not files:
            raise EOFError
        return files[0]


class Workers:
    """The workers of a service. Safe between threads."""

    def __init__(self, opener: Opener, *, modules: Sequence[str], name: str) -> None:
        self._opener = opener
        self._name = name
        self._idle: list[Worker] = []
        self._lent: set[Worker] = set()
        self._lock = threading.Lock()
        self._is_closed = False
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(list(modules))

    def take(self) -> Worker:
        """Return an idle worker, or a new one. Raises WorkerEnded if none can be started."""
        with self._lock:
            while self._idle:
                worker = self._idle.pop()
                if worker.is_alive:
                    self._lent.add(worker)
                    return worker
                worker.close()
        try:
            worker = self._started()
        except (OSError, EOFError) as error:
            raise WorkerEnded(f"no process could be started ({error})") from error
        with self._lock:
            self._lent.add(worker)
        return worker

    def give_back(self, worker: Worker) -> None:
        """Keep a worker for the next call, or end it if it is not usable."""
        with self._lock:
            self._lent.discard(worker)
            if worker.is_usable and not self._is_closed:
                self._idle.append(worker)
                return
        worker.close()

    def warm(self) -> None:
        """Start the server process and one worker, so that the first call need not wait for them."""
        self.give_back(self.take())

    def close(self) -> None:
        """End the idle workers now, and lent ones at once: what they compute fails."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
            for worker in self._lent:
                worker.kill()
        for worker in idle:
            worker.close()

    def _started(self) -> Worker:
        ensure_server()
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=serve, args=(self._opener, theirs), daemon=True, name=self._name)
        process.start()
        theirs.close()
        return Worker(process, ours)


def ensure_server() -> None:
    """Start the server process that workers are forked from; it imports nothing from the current directory."""
    with _starting:
        before = os.environ.get(_SAFE_PATH)
        os.environ[_SAFE_PATH] = "1"
        try:
            forkserver.ensure_running()
        finally:
            if before is None:
                del os.environ[_SAFE_PATH]
            else:
                os.environ[_SAFE_PATH] = before
