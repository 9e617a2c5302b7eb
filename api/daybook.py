"""The parts of Daybook wired together over one database, for the service, the command line and the demo alike.

`with Daybook.open(settings) as daybook:` finds (or starts) the database, migrates it to the newest revision, and closes
every connection at the end. `daybook.following()` keeps the read models up to date while it lasts. What only the read
models need, SQLAlchemy above all, is loaded when they are first used: a command that writes starts sooner.
"""

import os
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

from adapters.log.postgres import PostgresLog
from adapters.market.mark_store import MarkStore
from adapters.postgres import connections
from adapters.postgres.api_keys import ApiKeys
from adapters.postgres.connections import Role
from adapters.postgres.migrations import migrate
from adapters.writer.writer import Writer
from api.clock import now
from api.settings import Settings
from domain.errors import LedgerError
from projections.runner.gc_pauses import short_pauses

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from adapters.proof.checkpoints import Note
    from adapters.proof.proofs import Proofs
    from adapters.proof.witnesses import Witnesses
    from adapters.subject_keys import Subjects
    from projections.runner.runner import Runner

PROJECTING_CONNECTIONS_MAX = 8
FOLLOW_RETRY_SECONDS = 1.0
FOLLOW_STOP_SECONDS_MAX = 15.0
SEAL_RETRY_SECONDS = 1.0
SEAL_STOP_SECONDS_MAX = 15.0


@contextmanager
def projecting(url: str) -> Iterator[tuple[PostgresLog, "Engine"]]:
    """Open the log and the read models of a database, for a process that builds them."""
    from adapters.postgres.engine import engine  # noqa: PLC0415 (only read models need it)

    with PostgresLog(url, Role.PROJECTOR) as log:
        made = engine(url, Role.PROJECTOR)
        try:
            yield log, made
        finally:
            made.dispose()


@dataclass(frozen=True)
class Daybook:
    """The parts of a running Daybook."""

    settings: Settings
    url: str
    log: PostgresLog
    marks: MarkStore
    writer: Writer
    keys: ApiKeys
    closing: ExitStack

    @classmethod
    @contextmanager
    def open(cls, settings: Settings | None = None) -> Iterator["Daybook"]:
        """Open a Daybook on the database that `settings` name. Raises Unavailable."""
        settings = settings or Settings()
        url = connections.locate(settings.home, settings.url)
        migrate(url)
        with ExitStack() as stack:
            log = stack.enter_context(PostgresLog(url))
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
                closing=stack,
            )

    @cached_property
    def engine(self) -> "Engine":
        """The engine that reads the read models."""
        return self._engine(Role.AUDITOR)

    @cached_property
    def runner(self) -> "Runner":
        """The runner that writes the read models; nothing else does."""
        return self._runner(None)

    @cached_property
    def subjects(self) -> "Subjects":
        """The keys that seal and open personal data."""
        from adapters.subject_keys import Subjects  # noqa: PLC0415 (see above)

        made = Subjects(self.url)
        self.closing.callback(made.close)
        return made

    @cached_property
    def proofs(self) -> "Proofs":
        """The checkpoints and proofs of the log."""
        from adapters.proof.proofs import Proofs  # noqa: PLC0415 (see above)

        return Proofs(self.log.recorder.datastore.connections)

    def _engine(self, role: Role, connections_max: int | None = None) -> "Engine":
        from adapters.postgres.engine import CONNECTIONS_MAX, engine  # noqa: PLC0415 (see above)

        made = engine(self.url, role, connections_max=connections_max or CONNECTIONS_MAX)
        self.closing.callback(made.dispose)
        return made

    @contextmanager
    def leading(self, url: str = "") -> Iterator[None]:
        """Let requests of all threads share appends while it lasts, in this process or, if it leads, in another.

        `url` is where this process can be reached, which standbys show to their clients.
        """
        process = f"process {os.getpid()} on {socket.gethostname()}"
        where = f"{url} ({process})" if url else process
        with short_pauses(), self.writer.leading(self.url, name=where):
            yield

    def _runner(self, names: Sequence[str] | None) -> "Runner":
        from projections.catalog import PROJECTIONS  # noqa: PLC0415 (see above)
        from projections.runner.lease import EVERYTHING  # noqa: PLC0415
        from projections.runner.runner import Runner  # noqa: PLC0415

        chosen = [projection for projection in PROJECTIONS if names is None or projection.name in names]
        group = EVERYTHING if names is None else " ".join(projection.name for projection in chosen)
        engine = self._engine(Role.PROJECTOR, PROJECTING_CONNECTIONS_MAX)
        return Runner(self.log, engine, chosen, opener=partial(projecting, self.url), group=group)

    @contextmanager
    def following(self, names: Sequence[str] | None = None) -> Iterator[None]:
        """Keep the read models (all, or those named) up to date in a thread of its own; losses of the database are
        retried.
        """
        import structlog  # noqa: PLC0415 (see above)

        stop, log_line = threading.Event(), structlog.get_logger("daybook")
        runner = self.runner if names is None else self._runner(names)

        def follow() -> None:
            while not stop.is_set():
                try:
                    runner.follow(stop)
                except LedgerError as error:
                    log_line.warning("read models wait", reason=str(error))
                    stop.wait(FOLLOW_RETRY_SECONDS)

        thread = threading.Thread(target=follow, name="daybook projections", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            self.log.wake()
            thread.join(FOLLOW_STOP_SECONDS_MAX)

    @contextmanager
    def sealing(self) -> Iterator[None]:
        """Seal the log in a thread of its own and deliver checkpoints to witnesses; losses of the database are
        retried.
        """
        import structlog  # noqa: PLC0415 (see above)

        from adapters.proof.sealer import Sealer  # noqa: PLC0415 (see above)

        stop, log = threading.Event(), structlog.get_logger("daybook.sealer")
        witnesses = self._witnesses()
        sealer = Sealer(self.url, self.settings.home, witnesses.hand)

        def follow() -> None:
            while not stop.is_set():
                try:
                    sealer.follow(stop, lambda error: log.warning("not sealing", reason=str(error)))
                except LedgerError as error:
                    log.warning("not sealing", reason=str(error))
                    stop.wait(SEAL_RETRY_SECONDS)

        thread = threading.Thread(target=follow, name="daybook sealer", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(SEAL_STOP_SECONDS_MAX)
            witnesses.close()

    def seal(self) -> "Note | None":
        """Seal the log as it is, unless another process seals it, and return the checkpoint.

        Raises what `Sealer.seal` raises.
        """
        from adapters.proof.sealer import Sealer  # noqa: PLC0415 (see above)

        witnesses = self._witnesses()
        try:
            return Sealer(self.url, self.settings.home, witnesses.hand).seal()
        finally:
            witnesses.close()

    def _witnesses(self) -> "Witnesses":
        from adapters.proof.witnesses import Witnesses, places  # noqa: PLC0415 (see above)

        return Witnesses(places(self.settings.witnesses.get_secret_value()), _witness_trouble)


def _witness_trouble(witness: str, reason: str) -> None:
    import structlog  # noqa: PLC0415 (see above)

    log = structlog.get_logger("daybook.sealer")
    if reason:
        log.warning("witness not reached", witness=witness, reason=reason)
    else:
        log.info("witness reached again", witness=witness)
