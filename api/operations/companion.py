"""The companion of a service: the process that folds read models and seals the log beside it.

In threads of the service both would hold Python's interpreter lock just when orders need it. So they run in threads
only until the companion is ready, some seconds after the start, and again whenever it has ended, until there is a new
one. The lease of the read models and the lock of the sealer see to it that one of both works at a time.

The companion sends the health of its tasks every second, and `moved` when read models have moved while a reader waits.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from functools import partial
from multiprocessing.connection import Connection as Pipe

import structlog
from pydantic import SecretStr

from adapters.processes.companion import Companion
from adapters.processes.pool import WorkerEnded
from adapters.upkeep.supervisor import Health, Task
from api.daybook import FOLLOW_STOP_SECONDS_MAX, PAUSE_SECONDS_MAX, Daybook
from api.http.read_worker import MODULES
from api.settings import Settings
from api.terminal.logs import log_to_stderr
from domain.errors import LedgerError

NAME = "companion"
AFTER_SECONDS = 3.0  # the start itself is not slowed by loading the code a second time
HEALTH_SECONDS = 1.0
POLL_SECONDS = 0.25
SILENT_SECONDS_MAX = 20.0  # it hangs
MOVED = "moved"  # sent by the companion: read models have moved
READY = "ready"

log_line = structlog.get_logger("daybook.companion")


@contextmanager
def in_threads(daybook: Daybook, *, follows: bool) -> Iterator[None]:
    """Seal, and keep the read models up to date if it `follows`, in threads of this process."""
    following = daybook.following() if follows else nullcontext()
    with following, daybook.sealing():
        yield


@contextmanager
def accompanied(daybook: Daybook, *, follows: bool) -> Iterator[None]:
    """Do the same in a companion. Raises what cannot be mended by another start, such as HistoryBroken."""
    threads = ExitStack()
    threads.enter_context(in_threads(daybook, follows=follows))
    beside = _Beside(daybook, threads, follows=follows)
    daybook.watch.add(lambda: beside.health)
    task = daybook.upkeep.start(NAME, beside.run, pause_seconds_max=PAUSE_SECONDS_MAX)
    try:
        yield
    finally:
        task.stopping.set()
        daybook.log.wake()
        task.end(2 * FOLLOW_STOP_SECONDS_MAX)


class _Beside:
    """The companion as the service sees it. `threads` do its work now."""

    def __init__(self, daybook: Daybook, threads: ExitStack, *, follows: bool) -> None:
        self._daybook = daybook
        self._follows = follows
        self._threads: ExitStack | None = threads
        self.health: list[Health] = []

    def run(self, task: Task) -> None:
        """Have a companion do the work, until stopped. Raises WorkerEnded, Failed when it has ended."""
        with self._threads or ExitStack() as threads:
            if self._threads is None:
                threads.enter_context(in_threads(self._daybook, follows=self._follows))
            self._threads = None
            companion = self._ready(task)
        if companion is None:
            return
        runner = self._daybook.runner
        try:
            runner.link(companion.send)
            log_line.info("read models and seals go on in a process of their own", pid=companion.pid)
            self._relay(companion, task)
        finally:
            runner.link(None)
            self.health = []
            companion.close()

    def _ready(self, task: Task) -> Companion | None:
        """Start a companion and wait until it is ready; None if stopped before. A failed start is tried again."""
        task.stopping.wait(AFTER_SECONDS)
        while not task.stopping.is_set():
            companion = None
            try:
                companion = Companion(
                    _body(self._daybook, follows=self._follows), name="daybook companion", modules=list(MODULES)
                )
                while not task.stopping.is_set():
                    if companion.receive(POLL_SECONDS) == READY:
                        return companion
            except LedgerError as error:
                task.failed(error)
            if companion is not None:
                companion.close()
            task.pause()
        return None

    def _relay(self, companion: Companion, task: Task) -> None:
        received_at = time.monotonic()
        while not task.stopping.is_set():
            message = companion.receive(POLL_SECONDS)
            if message is not None:
                received_at = time.monotonic()
            if message == MOVED:
                self._daybook.runner.moved()
            elif message is not None:
                self.health = self._named(message)
                task.succeeded()
            elif time.monotonic() - received_at > SILENT_SECONDS_MAX:
                companion.kill()
                raise WorkerEnded(f"the companion sent nothing for {SILENT_SECONDS_MAX:.0f} s and was killed")

    def _named(self, health: list[Health]) -> list[Health]:
        """Return the health of its tasks, each under a name that no task of the service has."""
        ours = {one.task for one in self._daybook.upkeep.health()}
        return [one._replace(task=f"{one.task} ({NAME})") if one.task in ours else one for one in health]


def _body(daybook: Daybook, *, follows: bool) -> partial[None]:
    settings = daybook.settings.model_copy(update={"database_url": SecretStr(daybook.url)})
    return partial(work, settings, follows=follows)


def work(settings: Settings, pipe: Pipe, *, follows: bool) -> None:
    """Seal, and keep the read models up to date if it `follows`, until the other end of the pipe is closed."""
    log_to_stderr(settings)
    sending = threading.Lock()

    def send(message: object) -> None:
        with sending, suppress(OSError):
            pipe.send(message)

    with Daybook.open(settings) as daybook:
        runner = daybook.runner
        runner.on_moved = lambda: send(MOVED)
        with in_threads(daybook, follows=follows):
            send(READY)
            sent_at = 0.0
            while True:
                if pipe.poll(HEALTH_SECONDS):
                    try:
                        runner.awaited(is_awaited=pipe.recv())
                    except (EOFError, OSError):
                        return
                if time.monotonic() - sent_at >= HEALTH_SECONDS:
                    sent_at = time.monotonic()
                    send(daybook.upkeep.health())
