"""The parts of Daybook wired together over one database, for the service, the command line and the demo alike.

`with Daybook.open(settings) as daybook:` finds (or starts) the database, makes the schema in one that is new, and
closes every connection at the end. `daybook.following()` keeps the read models up to date while it lasts. What only
the read models need, SQLAlchemy above all, is loaded when they are first used: a command that writes starts sooner.
"""

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from adapters.log.postgres import PostgresLog
from adapters.market.mark_store import MarkStore
from adapters.market.recording import MarkRecorder
from adapters.os_account import os_account
from adapters.postgres import connections, embedded
from adapters.postgres.api_keys import ApiKeys
from adapters.postgres.connections import Role
from adapters.postgres.countdowns import Countdowns
from adapters.postgres.imports import Imports
from adapters.postgres.migrations import prepare
from adapters.upkeep.clock import ClockCheck
from adapters.upkeep.disk import DiskCheck
from adapters.upkeep.revival import Revival
from adapters.upkeep.supervisor import State, Supervisor, Task
from adapters.upkeep.watch import Watch, reported
from adapters.writer.confirmation import confirm_clock
from adapters.writer.leadership import named
from adapters.writer.writer import Writer
from api.clock import now
from api.settings import Settings
from domain.access import SEALER, Actor
from domain.errors import HistoryBroken, LedgerError
from domain.ledger import ClockConfirmed, Recorded
from projections.runner.gc_pauses import short_pauses

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from adapters.proof.checkpoints import Note
    from adapters.proof.key_record import KeyRecorder
    from adapters.proof.policies import Policy
    from adapters.proof.proofs import Proofs
    from adapters.proof.witnesses import Witnesses
    from adapters.subject_keys import Subjects
    from projections.reactions.runner import ReactionRunner
    from projections.runner.runner import Runner

log_line = structlog.get_logger("daybook")

PROJECTING_CONNECTIONS_MAX = 8
READING_CONNECTIONS_MAX = 16
REACTING_CONNECTIONS_MAX = 2
FOLLOW_STOP_SECONDS_MAX = 15.0
PAUSE_SECONDS_MAX = 2.0  # before a follower or sealer is restarted
REBUILD_SECONDS_MAX = 600.0  # how long a follower may report nothing: it swaps in what it has rebuilt
SEAL_STOP_SECONDS_MAX = 15.0
WATCH_STOP_SECONDS_MAX = 5.0

log_line = structlog.get_logger("daybook.marks")


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


def _process() -> str:
    return f"process {os.getpid()} on {socket.gethostname()}"


@dataclass(frozen=True)
class Daybook:
    """The parts of a running Daybook."""

    settings: Settings
    url: str
    log: PostgresLog
    marks: MarkStore
    writer: Writer
    keys: ApiKeys
    upkeep: Supervisor
    clock: ClockCheck
    watch: Watch
    closing: ExitStack
    home: Path | None = None
    """Of the server, if it is Daybook's own."""

    @classmethod
    @contextmanager
    def open(cls, settings: Settings | None = None) -> Iterator["Daybook"]:
        """Open a Daybook on the database that `settings` name. Raises Unavailable, and UpgradeNeeded if it is older."""
        settings = settings or Settings()
        home = None if settings.url else settings.server_home()
        url = settings.url or connections.locate(settings.server_home(), None)
        prepare(url)
        with ExitStack() as stack:
            upkeep = Supervisor()
            clock = ClockCheck(now, difference_seconds_max=settings.clock_seconds_max)
            disk = DiskCheck(None if home is None else embedded.data_of(home), free_mb_min=settings.free_mb_min)
            log = stack.enter_context(PostgresLog(url, upkeep=upkeep))
            marks = MarkStore(url)
            stack.callback(marks.close)
            writer = Writer(log, now, marks.latest, clock=clock, disk=disk)
            keys = ApiKeys(url, cache_seconds=settings.key_cache_seconds, carry=writer.request, actor=os_account())
            stack.callback(keys.close)
            yield cls(
                settings=settings,
                url=url,
                log=log,
                marks=marks,
                writer=writer,
                keys=keys,
                upkeep=upkeep,
                clock=clock,
                watch=Watch(url, _process(), upkeep, lambda: [clock.health(), disk.health()]),
                closing=stack,
                home=home,
            )

    @classmethod
    @contextmanager
    def reading(cls, settings: Settings, url: str) -> Iterator["Daybook"]:
        """Open a Daybook for a process that only reads: in the auditor's role, on a database that is migrated."""
        with ExitStack() as stack:
            log = stack.enter_context(PostgresLog(url, Role.AUDITOR))
            marks = MarkStore(url, Role.AUDITOR)
            stack.callback(marks.close)
            writer = Writer(log, now, marks.latest)
            keys = ApiKeys(url, cache_seconds=0, carry=writer.request, actor=os_account())
            stack.callback(keys.close)
            upkeep, clock = Supervisor(), ClockCheck(now, difference_seconds_max=settings.clock_seconds_max)
            made = cls(
                settings=settings, url=url, log=log, marks=marks, writer=writer, keys=keys,
                upkeep=upkeep, clock=clock, watch=Watch(url, _process(), upkeep, list), closing=stack,
            )  # fmt: skip
            vars(made).update(history=log, market=marks)
            yield made

    @cached_property
    def history(self) -> PostgresLog:
        """The log for readers, as auditor: however many of its connections are busy, those of the writer are free."""
        made = PostgresLog(self.url, Role.AUDITOR)
        self.closing.callback(made.close)
        return made

    @cached_property
    def countdowns(self) -> Countdowns:
        """The countdowns of dead man's switches."""
        made = Countdowns(self.url)
        self.closing.callback(made.close)
        return made

    @cached_property
    def imports(self) -> Imports:
        """The imports of files, by their ids, with their outcomes."""
        made = Imports(self.url)
        self.closing.callback(made.close)
        return made

    @cached_property
    def recorder(self) -> MarkRecorder:
        """Records marks and funding rates, each batch of them with its event."""
        return MarkRecorder(self.marks, self.writer.carry_out)

    @cached_property
    def market(self) -> MarkStore:
        """The marks for readers, over connections of their own like `history`."""
        made = MarkStore(self.url, Role.AUDITOR)
        self.closing.callback(made.close)
        return made

    @cached_property
    def _aggregates(self) -> Writer:
        return Writer(self.history, now)

    def state(self, stream: str) -> Any:
        """Return the aggregate of a stream as of now, read apart from the writer; None if the stream is empty."""
        return self._aggregates.state(stream)

    def states(self, streams: Sequence[str]) -> list[Any]:
        """Return the aggregates of short streams as of now, read at once and apart from the writer."""
        return self._aggregates.states(streams)

    @cached_property
    def engine(self) -> "Engine":
        """The engine that reads the read models."""
        return self._engine(Role.AUDITOR, READING_CONNECTIONS_MAX)

    @cached_property
    def runner(self) -> "Runner":
        """The runner that writes the read models; nothing else does."""
        return self._runner(None)

    @cached_property
    def reactions(self) -> "ReactionRunner":
        """The runner of policies: it sends their requests while this process leads."""
        from adapters.writer.reactions import sender  # noqa: PLC0415 (see above)
        from projections.reactions.runner import ReactionRunner  # noqa: PLC0415

        engine = self._engine(Role.PROJECTOR, REACTING_CONNECTIONS_MAX)
        return ReactionRunner(
            self.log, engine, sender(self.writer, self.marks.forget), now=self.clock.read,
            is_leading=lambda: self.writer.is_leading,
        )  # fmt: skip

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

        return Proofs(self.history.recorder.datastore.connections)

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
        with short_pauses(), self.writer.leading(self.url, name=named(url, _process()), upkeep=self.upkeep):
            self._commit_earlier_marks()
            yield

    def _commit_earlier_marks(self) -> None:
        """Commit marks of an older version to the log. Where that is not possible now, the next recording does it."""
        try:
            committed = self.recorder.commit_earlier()
        except LedgerError as error:
            log_line.warning("marks recorded before are not committed to the log yet", reason=str(error))
        else:
            if committed:
                log_line.info("marks recorded before are committed to the log", marks=committed)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Notice stalled sealing, report the health of all tasks, and start our own server again if it dies, in
        supervised threads.
        """
        tasks = [self.upkeep.start("watch", self.watch.run, is_needed=True, pause_seconds_max=PAUSE_SECONDS_MAX)]
        if self.home is not None:
            revival = Revival(self.home, self.url)
            tasks.append(self.upkeep.start("server", revival.run, is_needed=True, pause_seconds_max=PAUSE_SECONDS_MAX))
        try:
            yield
        finally:
            for task in tasks:
                task.end(WATCH_STOP_SECONDS_MAX)

    def clock_doubt(self) -> str | None:
        """Compare the clocks. Return why ours is in doubt, None if it is not. Raises Unavailable."""
        with self.log.connection() as connection:
            self.clock.look(connection)
        return self.clock.doubt

    def confirm_clock(
        self, *, actor: Actor, reason: str, is_difference_accepted: bool = False
    ) -> Recorded[ClockConfirmed] | None:
        """Record that our clock is right; None if no clock is in doubt, here or in a process that reports.

        Raises RequestRefused if the database's clock differs, unless that is accepted; Unavailable.
        """
        in_doubt = [one for one in reported(self.url) if one.is_fresh and one.health.state == State.IN_DOUBT]
        return confirm_clock(
            self.log, now, actor=actor, reason=reason, difference_seconds_max=self.settings.clock_seconds_max,
            is_difference_accepted=is_difference_accepted, is_needed=bool(in_doubt),
        )  # fmt: skip

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
        """Keep the read models (all, or those named) up to date in a supervised thread."""
        runner = self.runner if names is None else self._runner(names)

        def follow(task: Task) -> None:
            runner.follow(task.stopping, on_pass=task.succeeded, on_loss=task.failed, beside=self.upkeep.beside)

        task = self.upkeep.start(
            "follower", follow, is_needed=True, pause_seconds_max=PAUSE_SECONDS_MAX,
            silent_seconds_max=REBUILD_SECONDS_MAX,
        )  # fmt: skip
        try:
            yield
        finally:
            task.stopping.set()
            self.log.wake()
            task.end(FOLLOW_STOP_SECONDS_MAX)

    @contextmanager
    def reacting(self) -> Iterator[None]:
        """Let policies act on the log in a supervised thread, while this process leads."""
        runner = self.reactions

        def react(task: Task) -> None:
            runner.follow(task.stopping, on_pass=task.succeeded, on_loss=task.failed)

        task = self.upkeep.start(
            "reactions", react, is_needed=True, pause_seconds_max=PAUSE_SECONDS_MAX,
            silent_seconds_max=REBUILD_SECONDS_MAX,
        )  # fmt: skip
        try:
            yield
        finally:
            task.stopping.set()
            self.log.wake()
            task.end(FOLLOW_STOP_SECONDS_MAX)

    @contextmanager
    def sealing(self) -> Iterator[None]:
        """Seal the log in a supervised thread and deliver checkpoints to witnesses."""
        from adapters.proof.sealer import Sealer  # noqa: PLC0415 (see above)

        witnesses = self._witnesses()
        sealer = Sealer(self.url, self.settings.home, witnesses.hand, recorder=self.key_recorder())
        self.begin_keys()
        if (newest := self.proofs.latest()) is not None:
            witnesses.catch_up(newest[1])
        task = self.upkeep.start(
            "sealer", lambda own: sealer.follow(own.stopping, own.succeeded), is_needed=True,
            pause_seconds_max=PAUSE_SECONDS_MAX,
        )  # fmt: skip
        try:
            yield
        finally:
            task.end(SEAL_STOP_SECONDS_MAX)
            witnesses.close()

    def seal(self) -> "Note | None":
        """Seal the log as it is, unless another process seals it, and return the checkpoint.

        Raises what `Sealer.seal` raises.
        """
        from adapters.proof.sealer import Sealer  # noqa: PLC0415 (see above)

        witnesses = self._witnesses()
        try:
            sealer = Sealer(self.url, self.settings.home, witnesses.hand, recorder=self.key_recorder())
            if self.log.head().seq:
                sealer.begin()
            return sealer.seal()
        finally:
            witnesses.close()

    def key_recorder(self, actor: Actor = SEALER) -> "KeyRecorder":
        """Return what records signing keys in the log, as an actor."""
        from adapters.proof.key_record import KeyRecorder  # noqa: PLC0415 (see above)

        def moment() -> datetime:
            self.clock_doubt()
            return self.clock.read()

        return KeyRecorder(self.log, moment, actor)

    def begin_keys(self) -> None:
        """Make or check the signing keys before anything else. Raises HistoryBroken: then nothing may go on.

        What else is in the way, such as a key's file that is absent, is for the sealer's task to report and retry.
        """
        from adapters.proof.sealer import Sealer  # noqa: PLC0415 (see above)

        try:
            Sealer(self.url, self.settings.home, recorder=self.key_recorder()).begin()
        except HistoryBroken:
            raise
        except LedgerError as error:
            log_line.warning("the signing keys are not on record yet", reason=str(error))

    def _witnesses(self) -> "Witnesses":
        from adapters.proof.witnesses import Witnesses, places, places_of  # noqa: PLC0415 (see above)

        policy = self.witness_policy
        where = [*places(self.settings.witnesses.get_secret_value()), *(places_of(policy) if policy else ())]
        return Witnesses(where, upkeep=self.upkeep, url=self.url)

    @cached_property
    def witness_policy(self) -> "Policy | None":
        """The policy that the settings name. Raises InvalidInput if it cannot be read."""
        from adapters.proof.policies import read  # noqa: PLC0415 (see above)

        return None if self.settings.witness_policy is None else read(self.settings.witness_policy)
