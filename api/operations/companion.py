"""The companion of a service: the process that folds read models and seals the log beside it.

In threads of the service both would hold Python's interpreter lock just when orders need it. So they run in threads
only until the companion is ready, some seconds after the start, and again whenever it has ended, until there is a new
one. The lease of the read models and the lock of the sealer see to it that one of both works at a time.

The companion sends the health of its tasks every second, which of them reach the database, and that read models have
moved while a reader waits.
"""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from functools import partial
from multiprocessing.connection import Connection as Pipe
from typing import Any, NamedTuple

import structlog
from pydantic import SecretStr

from adapters.processes.companion import Companion
from adapters.processes.pool import WorkerEnded
from adapters.upkeep.outages import Outage
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

log_line = structlog.get_logger("daybook.companion")


class Working(NamedTuple):
    """The companion works, or stands by; the health of its tasks."""

    health: list[Health]


class Moved(NamedTuple):
    """Read models have moved while a reader of the service waits for that."""


class Away(NamedTuple):
    """A task of the companion did not reach the database."""

    task: str
    reason: str


class Well(NamedTuple):
    """It reaches it again."""

    task: str


class RelayedOutage(Outage):
    """The database as the companion's tasks find it: for the service, which writes the lines."""

    def __init__(self, send: Callable[[Away | Well], None]) -> None:
        super().__init__()
        self._send = send

    def away(self, source: str, reason: str, *, is_task: bool = True) -> None:
        if is_task:
            self._away.add(source)
        self._send(Away(source, reason))

    def well(self, source: str) -> None:
        if source in self._away:
            self._away.discard(source)
            self._send(Well(source))

    @property
    def is_on(self) -> bool:
        return bool(self._away)


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
    daybook.watch.add(beside.health)
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
        self._health: list[Health] = []

    def health(self) -> list[Health]:
        """Return the health of its tasks, each under a name that no task of the service has."""
        ours = {one.task for one in self._daybook.upkeep.health()}
        return [one._replace(task=f"{one.task} ({NAME})") if one.task in ours else one for one in self._health]

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
            for one in self._health:
                self._daybook.upkeep.outage.forget(one.task)
            self._health = []
            companion.close()

    def _ready(self, task: Task) -> Companion | None:
        """Start a companion and wait until it is ready; None if stopped before. A failed start is tried again."""
        task.stopping.wait(AFTER_SECONDS)
        while not task.stopping.is_set():
            companion = None
            try:
                companion = self._started(task)
                while companion is not None and not task.stopping.is_set():
                    if self._received(companion.receive(POLL_SECONDS)):
                        task.succeeded()
                        return companion
            except LedgerError as error:
                task.failed(error)
            if companion is not None:
                companion.close()
            task.pause()
        return None

    def _started(self, task: Task) -> Companion | None:
        """Start a companion, which takes seconds where the code is not loaded yet; None if stopped meanwhile: then it
        ends with the service. Raises WorkerEnded.
        """
        body = _body(self._daybook, follows=self._follows)
        starting: Future[Companion] = Future()

        def start() -> None:
            try:
                starting.set_result(Companion(body, name="daybook companion", modules=list(MODULES)))
            except BaseException as error:  # noqa: BLE001 (raised by the thread that waits)
                starting.set_exception(error)

        threading.Thread(target=start, name="daybook companion's start", daemon=True).start()
        while not task.stopping.is_set():
            with suppress(TimeoutError):
                return starting.result(POLL_SECONDS)
        return None

    def _relay(self, companion: Companion, task: Task) -> None:
        received_at = time.monotonic()
        while not task.stopping.is_set():
            message = companion.receive(POLL_SECONDS)
            if message is not None:
                received_at = time.monotonic()
                self._received(message)
                task.succeeded()
            elif time.monotonic() - received_at > SILENT_SECONDS_MAX:
                companion.kill()
                raise WorkerEnded(f"the companion sent nothing for {SILENT_SECONDS_MAX:.0f} s and was killed")

    def _received(self, message: Any) -> bool:
        """Take in a message; whether it says that the companion is ready."""
        match message:
            case Moved():
                self._daybook.runner.moved()
            case Away(task, reason):
                self._daybook.upkeep.outage.away(task, reason)
            case Well(task):
                self._daybook.upkeep.outage.well(task)
            case Working(health):
                self._health = health
                return True
        return False


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
        daybook.upkeep.outage = RelayedOutage(send)
        runner = daybook.runner
        runner.on_moved = lambda: send(Moved())
        with in_threads(daybook, follows=follows):
            sent_at = -HEALTH_SECONDS
            while True:
                if time.monotonic() - sent_at >= HEALTH_SECONDS:
                    sent_at = time.monotonic()
                    send(Working(daybook.upkeep.health()))
                if pipe.poll(HEALTH_SECONDS):
                    try:
                        runner.awaited(is_awaited=pipe.recv())
                    except (EOFError, OSError):
                        return
