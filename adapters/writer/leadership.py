"""Leader election: of all processes over one database, one writes.

The lead is a session advisory lock on the connection that appends: a lost connection has lost the lock, and a deposed
leader has no other connection to append over. While it runs, a leader sends heartbeats: a counter in `ledger.leader`,
incremented twice a second over a second connection. A standby tries the lock four times a second; when the counter has
not changed for `MISSED_BEATS_MAX` of its polls (the leader hangs, or is cut off from the database), the standby
terminates the leader's session: its open transaction is rolled back, its lock is free, and what it sends later fails.
No clocks are compared: the standby counts its own polls.

The leader puts on record where it can be reached. A standby names it only if the session that holds the lock is the
one on record: a leader that has just ended, or one that is not on record yet, is not named.
"""

import threading
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

from adapters.postgres import connections
from adapters.postgres.connections import Connection, Role
from adapters.upkeep.clock import ClockCheck
from adapters.upkeep.supervisor import Supervisor, Task

SINCE_REVISION = "0002"  # of the database: from there on leaders are on record
LEADER_LOCK = 0x0DA7_B00D
POLL_SECONDS = 0.25
BEAT_SECONDS = 0.5
BEAT_PAUSE_SECONDS_MAX = 1.0  # before the heart is restarted; shorter than a standby's patience
MISSED_BEATS_MAX = 12  # polls, one every POLL_SECONDS: 3 s
END_SECONDS_MAX = 2.0

# Both sides detect a dead peer: on an idle connection by keepalives, on a busy one by unacknowledged data.
CLIENT_TCP = {"keepalives_idle": 2, "keepalives_interval": 1, "keepalives_count": 3, "tcp_user_timeout": 5000}
SERVER_TCP = (
    "-c tcp_keepalives_idle=2 -c tcp_keepalives_interval=1 -c tcp_keepalives_count=3 -c tcp_user_timeout=5000 "
    "-c client_connection_check_interval=1000"
)

TAKE = "SELECT pg_try_advisory_lock(%s)"
ENTER = """
INSERT INTO ledger.leader AS l (term, name, backend_pid) VALUES (1, %s, pg_backend_pid())
ON CONFLICT (is_only) DO UPDATE
    SET term = l.term + 1, beat = 0, name = excluded.name, backend_pid = excluded.backend_pid, since = clock_timestamp()
RETURNING term, since
"""
BEAT = "UPDATE ledger.leader SET beat = beat + 1 WHERE term = %s"
HELD = """
locktype = 'advisory' AND classid = 0 AND objid = %(lock)s AND objsubid = 1 AND granted
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
LOOK = f"""
SELECT term, beat, name, since, EXISTS (SELECT FROM pg_locks WHERE {HELD} AND pid = backend_pid) FROM ledger.leader
"""  # noqa: S608 (our own words)
HOLDERS = f"""
SELECT {{}} FROM pg_locks
WHERE {HELD} AND pid <> pg_backend_pid() AND (%(pid)s::int IS NULL OR pid = %(pid)s)
"""  # noqa: S608 (our own words)


class Leader(NamedTuple):
    """A leader as it put itself on record: its term, where it can be reached ("" if nowhere), its process."""

    term: int
    url: str
    process: str
    since: datetime

    def __str__(self) -> str:
        return named(self.url, self.process)


class Seen(NamedTuple):
    """The record of the leader when last polled, with its heartbeat counter, and whether its session has the lock."""

    term: int
    beat: int
    name: str
    since: datetime
    is_holding: bool

    @property
    def leader(self) -> Leader | None:
        """The leader; None if the one on record has lost the lock."""
        if not self.is_holding:
            return None
        url, _, process = self.name.rpartition(" (")
        return Leader(self.term, url, process.removesuffix(")") if url else self.name, self.since)


def named(url: str, process: str) -> str:
    """Return the name of a process that can be reached at `url`, if it can, as it is on record."""
    return f"{url} ({process})" if url else process


class Term:
    """A term of leadership: the connection that holds the lock, and the heartbeat thread."""

    def __init__(
        self, url: str, connection: Connection, name: str, upkeep: Supervisor, clock: ClockCheck | None
    ) -> None:
        self._url = url
        self._clock = clock
        self.connection = connection
        row = connection.execute(ENTER, [name]).fetchone()
        assert row is not None, "an upsert returns its row"
        self.number: int = row[0]
        self.leader = Seen(row[0], 0, name, row[1], is_holding=True).leader
        self.backend_pid = connection.info.backend_pid
        self._heart = upkeep.start(
            "leader's heart", self._beat, is_needed=True, pause_seconds_max=BEAT_PAUSE_SECONDS_MAX
        )

    def end(self) -> None:
        """Give up the lead if it is not lost already."""
        self._heart.end()
        self.connection.close()

    def _beat(self, task: Task) -> None:
        with connections.connect(self._url, Role.WRITER) as connection:
            while not task.stopping.is_set():
                connection.execute(BEAT, [self.number])
                if self._clock is not None:
                    self._clock.look(connection, is_due=self._clock.doubt is not None)
                task.succeeded()
                task.stopping.wait(BEAT_SECONDS)


class Candidate:
    """A process that stands by for the lead. `name` is shown to others: where to send requests to."""

    def __init__(self, url: str, name: str, upkeep: Supervisor, clock: ClockCheck | None = None) -> None:
        self._url = url
        self._clock = clock
        self._name = name
        self._upkeep = upkeep
        self._seen: Seen | None = None

    @property
    def leader(self) -> Leader | None:
        """The leader as last polled; None if none is known."""
        return self._seen.leader if self._seen else None

    def campaign(
        self, stop: threading.Event, leader_known: threading.Event, on_look: Callable[[], None]
    ) -> Term | None:
        """Wait for the lead; None when stopped. Sets `leader_known` once another process is known to lead, and calls
        `on_look` at each poll.

        Raises Unavailable, psycopg.OperationalError.
        """
        self._seen = None  # until it is polled, who led before is no answer
        connection = self._connect()
        missed = 0
        try:
            while not stop.is_set():
                if connection.execute(TAKE, [LEADER_LOCK]).fetchone() == (True,):
                    return Term(self._url, connection, self._name, upkeep=self._upkeep, clock=self._clock)
                row = connection.execute(LOOK, {"lock": LEADER_LOCK}).fetchone()
                seen = Seen(*row) if row else None
                missed = missed + 1 if seen == self._seen else 0
                self._seen = seen
                leader_known.set()
                on_look()
                if missed >= MISSED_BEATS_MAX:
                    end(self._url)
                    missed = 0
                stop.wait(POLL_SECONDS)
        except BaseException:
            self._seen = None
            connection.close()
            raise
        connection.close()
        return None

    def _connect(self) -> Connection:
        return connections.connect(self._url, Role.WRITER, more=CLIENT_TCP, more_options=SERVER_TCP)


def end(url: str, backend_pid: int | None = None) -> None:
    """Terminate the session that holds the lead (if it is `backend_pid`); return when it has ended.

    Acts as the account that logs in, which may terminate its own sessions. Raises Unavailable.
    """
    with connections.reaching(url), connections.connect(url) as connection:
        connection.execute(
            HOLDERS.format(f"pg_terminate_backend(pid, {END_SECONDS_MAX * 1000:.0f})"),
            {"lock": LEADER_LOCK, "pid": backend_pid},
        )


def is_held(url: str, backend_pid: int) -> bool:
    """Return whether this session still holds the lead. Raises Unavailable."""
    with connections.reaching(url), connections.connect(url) as connection:
        query = HOLDERS.format("count(*)")
        row = connection.execute(query, {"lock": LEADER_LOCK, "pid": backend_pid}).fetchone()
        return row is not None and row[0] > 0


def present(url: str) -> Leader | None:
    """Return the present leader of a database; None if there is none. Raises Unavailable."""
    with connections.reaching(url), connections.connect(url, Role.AUDITOR) as connection:
        row = connection.execute(LOOK, {"lock": LEADER_LOCK}).fetchone()
        return Seen(*row).leader if row else None
