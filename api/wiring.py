"""Wiring: the parts of Daybook put together over one database, for the service, the command line and the demo alike.

`with Daybook.open(settings) as daybook:` finds (or starts) the database, brings it to the newest revision, and gives
back every connection at the end. `daybook.following()` keeps the read models up to date while it lasts.
"""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import sqlalchemy
import structlog

from adapters.feeds import MarkStore
from adapters.store import database
from adapters.store.database import Role
from adapters.store.log import PostgresLog
from adapters.store.migrations import migrate
from adapters.store.writer import Writer
from api.auth import ApiKeys
from api.clock import now
from api.settings import Settings
from domain.errors import LedgerError
from projections.runner import Runner

FOLLOW_RETRY_SECONDS = 1.0
FOLLOW_STOP_SECONDS_MAX = 15.0

log_line = structlog.get_logger("daybook")


@dataclass(frozen=True)
class Daybook:
    """Everything a running Daybook is made of. `engine` reads the read models; only `runner` writes them."""

    settings: Settings
    url: str
    log: PostgresLog
    marks: MarkStore
    writer: Writer
    keys: ApiKeys
    engine: sqlalchemy.Engine
    runner: Runner

    @classmethod
    @contextmanager
    def open(cls, settings: Settings | None = None) -> Iterator["Daybook"]:
        """A Daybook on the database that `settings` name. Raises Unavailable."""
        settings = settings or Settings()
        url = database.locate(settings.home, settings.url)
        migrate(url)
        with ExitStack() as stack:
            log = stack.enter_context(PostgresLog(url))
            reading = database.engine(url, Role.AUDITOR)
            stack.callback(reading.dispose)
            projecting = database.engine(url, Role.PROJECTOR, connections_max=4)
            stack.callback(projecting.dispose)
            marks = MarkStore(url)
            stack.callback(marks.close)
            keys = ApiKeys(url, cache_seconds=settings.key_cache_seconds)
            stack.callback(keys.close)
            yield cls(
                settings=settings,
                url=url,
                log=log,
                marks=marks,
                writer=Writer(log, now, marks.latest),
                keys=keys,
                engine=reading,
                runner=Runner(log, projecting),
            )

    @contextmanager
    def leading(self) -> Iterator[None]:
        """Requests of all threads share appends while it lasts, in this process or, if it is first, in another."""
        where = f"{self.settings.host}:{self.settings.port} (process {os.getpid()} on {socket.gethostname()})"
        with self.writer.leading(self.url, name=where):
            yield

    @contextmanager
    def following(self) -> Iterator[None]:
        """Keeps the read models up to date in a thread of its own, through losses of the database."""
        stop = threading.Event()

        def follow() -> None:
            while not stop.is_set():
                try:
                    self.runner.follow(stop)
                except LedgerError as error:
                    log_line.warning("read models wait", reason=str(error))
                    stop.wait(FOLLOW_RETRY_SECONDS)

        thread = threading.Thread(target=follow, name="daybook projections", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(FOLLOW_STOP_SECONDS_MAX)
