"""A companion: a process that works beside the service for as long as both run, and sends it messages.

It is forked from the same server process as the workers. When the service ends, however it ends, the pipe between them
is closed, and the companion ends too.
"""

import multiprocessing
import os
import select
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection as Pipe
from typing import Any

from adapters.processes.pool import WorkerEnded, ensure_server
from domain.errors import LedgerError

Body = Callable[[Pipe], None]  # works until the other end of the pipe is closed; can be pickled
END_SECONDS_MAX = 15.0
KILL_SECONDS_MAX = 5.0


class Failed(LedgerError):
    """The companion ended by an error, which the message names."""


class Companion:
    """A companion as the service sees it. `receive` is called by one thread, everything else by any."""

    def __init__(self, body: Body, *, name: str, modules: list[str]) -> None:
        """Start it. Raises WorkerEnded if no process can be started."""
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(modules)
        self._sending = threading.Lock()
        try:
            ensure_server()
            self._pipe, theirs = context.Pipe()
            self._process = context.Process(target=_run, args=(body, theirs), daemon=True, name=name)
            self._process.start()
            theirs.close()
        except (OSError, EOFError) as error:
            raise WorkerEnded(f"no process could be started ({error})") from error

    @property
    def pid(self) -> int | None:
        """Its process id."""
        return self._process.pid

    def receive(self, seconds: float) -> Any:
        """Return its next message, None if there is none in time. Raises Failed, WorkerEnded when it has ended."""
        try:
            message = self._pipe.recv() if self._pipe.poll(seconds) else None
        except (EOFError, OSError) as error:
            raise WorkerEnded("the process beside the service has ended") from error
        if isinstance(message, Failed):
            raise message
        return message

    def send(self, message: object) -> None:
        """Send it a short message, which it does not get if it has ended, or reads none for long. Does not block."""
        with self._sending, suppress(OSError):
            poll = select.poll()
            poll.register(self._pipe.fileno(), select.POLLOUT)
            if poll.poll(0):
                self._pipe.send(message)

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def close(self) -> None:
        """End it: it finishes what it is at, for END_SECONDS_MAX at most."""
        with self._sending:
            self._pipe.close()
        self._process.join(END_SECONDS_MAX)
        self._process.kill()
        self._process.join(KILL_SECONDS_MAX)
        self._process.close()


def _run(body: Body, pipe: Pipe) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the service, which closes the pipe
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        body(pipe)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass
    except LedgerError as error:
        _report(pipe, str(error))
    except Exception:  # noqa: BLE001 (the edge of a process)
        _report(pipe, traceback.format_exc())
    finally:
        sys.stderr.flush()
        os._exit(0)  # nothing is left to do, and threads of libraries must not keep it


def _report(pipe: Pipe, reason: str) -> None:
    with suppress(OSError):
        pipe.send(Failed(reason))
