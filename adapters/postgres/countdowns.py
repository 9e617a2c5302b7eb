"""The countdowns of dead man's switches: extended, and found to be over, each decided by the row's own lock.

A countdown is over once: an extension that comes after its deadline, or after it was found to be over, is refused, so
that no switch fires whose extension was confirmed. Times are the caller's, by the clock that the log is written by.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from adapters.postgres import connections
from adapters.postgres.connections import Role
from adapters.postgres.pool import Pool
from domain.risk import DeadManSwitchArmed, deadline_of

CONNECTIONS_MAX = 4

EXTEND = """
INSERT INTO ledger.countdowns AS known (account_id, strategy_id, version, extended_at, deadline)
VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (account_id, strategy_id) DO UPDATE
SET version = excluded.version, extended_at = excluded.extended_at, deadline = excluded.deadline, is_over = false
WHERE known.version < excluded.version
    OR (known.version = excluded.version AND NOT known.is_over AND known.deadline > excluded.extended_at)
RETURNING deadline
"""
BEGIN = """
INSERT INTO ledger.countdowns AS known (account_id, strategy_id, version, extended_at, deadline)
VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (account_id, strategy_id) DO UPDATE
SET version = excluded.version, extended_at = excluded.extended_at, deadline = excluded.deadline, is_over = false
WHERE known.version < excluded.version
"""
END = "UPDATE ledger.countdowns SET is_over = true WHERE deadline <= %s AND NOT is_over"
ALL = """
SELECT account_id, nullif(strategy_id, ''), version, extended_at, deadline, is_over FROM ledger.countdowns
ORDER BY account_id, strategy_id
"""


class Countdown(NamedTuple):
    """A countdown: of the switch armed as `version`, last extended at `extended_at`; `is_over` once it was found so."""

    account_id: str
    strategy_id: str | None
    version: int
    extended_at: datetime
    deadline: datetime
    is_over: bool


class Countdowns:
    """The countdowns of a database, in the writer's role. Safe between threads."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._pool = Pool(lambda: connections.connect(url, Role.WRITER), connections_max=CONNECTIONS_MAX)

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()

    def extend(self, armed: DeadManSwitchArmed, now: datetime) -> datetime | None:
        """Begin or extend the countdown of a switch; return its deadline, None if it is over. Raises Unavailable."""
        with connections.reaching(self._url), self._pool.connection() as connection:
            row = connection.execute(EXTEND, _row(armed, now)).fetchone()
        return None if row is None else row[0]

    def begin(self, armed: Iterable[DeadManSwitchArmed], now: datetime) -> None:
        """Begin the countdowns of those switches that have none, as after a crash. Raises Unavailable."""
        with connections.reaching(self._url), self._pool.connection() as connection:
            for each in armed:
                connection.execute(BEGIN, _row(each, now))

    def passed(self, now: datetime) -> list[Countdown]:
        """Return the countdowns that are over, by now or before. Raises Unavailable."""
        with connections.reaching(self._url), self._pool.connection() as connection:
            connection.execute(END, [now])
            rows = [Countdown(*row) for row in connection.execute(ALL).fetchall()]
        return [row for row in rows if row.is_over]

    def all(self) -> list[Countdown]:
        """Return every countdown, also of switches that are no longer armed. Raises Unavailable."""
        with connections.reaching(self._url), self._pool.connection() as connection:
            return [Countdown(*row) for row in connection.execute(ALL).fetchall()]


def _row(armed: DeadManSwitchArmed, now: datetime) -> list[object]:
    return [
        armed.account_id, armed.strategy_id or "", armed.version, now, deadline_of(armed.countdown_ms, now)
    ]  # fmt: skip
