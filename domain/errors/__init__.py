"""Errors, and the code, rule and sentence of every refusal and break.

The tree:

* LedgerError
  - RequestRefused    a rule was broken; nothing but the refusal itself was recorded (HTTP 409 / 422)
  - InvalidInput      a field of a request or parameter does not parse               (HTTP 422)
    - ReportUnreadable  a venue report does not parse; its raw text is kept         (HTTP 422)
  - StreamConflict    another writer appended first; read again and decide again    (HTTP 503 after retries)
    - ExecutionKnown  a fill of the batch is on record under another order
  - HistoryBroken     a stored event that is not valid: unknown topic, gap, bad hash (stop)
  - UpgradeNeeded     the database is of an older Daybook: `daybook upgrade`         (exit code 4)
  - Unavailable       the database cannot be reached; send the command again          (HTTP 503)
    - NotLeading      another process writes; the message names it                   (HTTP 503)
  - ClockInDoubt      our clock jumped, or differs from the database's or the log's  (HTTP 503)
  - MomentUnknown     what was on record at a moment cannot be known                (HTTP 422)
  - Busy              more commands wait than may wait; send it again in a moment    (HTTP 429)
  - ProjectionStopped a read model cannot fold an event; the others go on            (stop)
  - KeyReused         the idempotency key was used before, with another body         (HTTP 422)

Errors carry facts as fields; messages name the rule. `str(error)` is a sentence to show to a person; of a refusal
`sentence` is, and `str` adds the rule as events store it.
"""

from datetime import datetime
from typing import Any

from domain.errors import sentences
from domain.errors.codes import Code


class LedgerError(Exception):
    """Base of every error Daybook raises on purpose. `code` is stable: programs act on it."""

    code = Code.INTERNAL


class RequestRefused(LedgerError):
    """A rule was broken. `rule` is what had to hold, as events store it; `facts` are the numbers it was checked with.

    `unit` is that of a limit's quantities, where the instrument states it; it is stored nowhere.
    """

    def __init__(self, rule: str, **facts: Any) -> None:
        super().__init__(rule, facts)
        self.rule = rule
        self.facts = facts
        self.unit: str | None = None
        self.code = sentences.code_of(rule) or Code.REFUSED

    def __str__(self) -> str:
        return f"{self.sentence} (the rule: {self.rule})"

    @property
    def sentence(self) -> str:
        """What happened, for a person: `MAX_POSITION exceeded: 2.4 of 1.5 BTC`."""
        return sentences.sentence(self.rule, self.facts, self.unit)

    @property
    def numbers(self) -> dict[str, Any]:
        """The numbers in one form: `used`, `requested`, `would_be`, `limit`, their `unit`, the `scope` of a limit."""
        return sentences.numbers(self.rule, self.facts, self.unit)


class InvalidInput(LedgerError):
    """A field of a request, a parameter or a file that cannot be read: which field, which value, which rule."""

    code = Code.UNREADABLE

    def __init__(self, field: str, value: object, rule: str) -> None:
        super().__init__(field, value, rule)
        self.field = field
        self.value = value
        self.rule = rule

    def __str__(self) -> str:
        if self.value is None:
            return f"{self.field}: has to be {self.rule}"
        return f"{self.field}: {self.value!r} is not {self.rule}"


class ReportUnreadable(InvalidInput):
    """A venue report that cannot be read. Its raw text is kept as evidence."""


class StreamConflict(LedgerError):
    """Another writer appended to one of our streams first."""

    code = Code.CONFLICT

    def __init__(self, stream: str, detail: str = "another writer appended first") -> None:
        super().__init__(stream, detail)
        self.stream = stream

    def __str__(self) -> str:
        return f"{self.args[0]}: {self.args[1]}; send the command again"


class ExecutionKnown(StreamConflict):
    """An execution of the batch is on record under another order: `EventLog.executed` returns which."""


class HistoryBroken(LedgerError):
    """The stored history is not what was written. Stop, and find out why."""

    code = Code.HISTORY_BROKEN


class UpgradeNeeded(LedgerError):
    """The database is of an older Daybook, and was left as it is."""

    code = Code.UPGRADE_NEEDED

    def __init__(self, database: str, found: str, newest: str) -> None:
        super().__init__(
            f"the database {database} is of an older Daybook (revision {found}, this one needs {newest}): run `daybook "
            "upgrade`, after its services are stopped and a backup is made (`--dry-run` shows what it would do)"
        )
        self.found = found
        self.newest = newest


class Unavailable(LedgerError):
    """The database cannot be reached or went away. The message states if the command may have been recorded.

    Another `code` says that it is not gone: its connections are busy, or this process starts or ends.
    """

    code = Code.DATABASE_UNAVAILABLE

    def __init__(self, message: str, *, code: Code = Code.DATABASE_UNAVAILABLE) -> None:
        super().__init__(message)
        self.code = code


class NotLeading(Unavailable):
    """Another process of this Daybook leads and writes. Nothing was recorded. `url` is where it can be reached, as it
    has put on record itself; None if no leader is known.
    """

    def __init__(self, leader: str, *, url: str | None = None) -> None:
        where = "send the request again, or send it there" if url else "send the request again"
        super().__init__(f"this process stands by, {leader}; {where}", code=Code.NOT_LEADING)
        self.leader = leader
        self.url = url


class ClockInDoubt(LedgerError):
    """Our clock cannot be right. Nothing was recorded, and nothing will be until it is right or confirmed."""

    code = Code.CLOCK_IN_DOUBT

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"{reason}; nothing is recorded until the clock is right again, or an operator has made sure that it is "
            "right and confirms it: daybook clock confirm --reason TEXT"
        )


class MomentUnknown(LedgerError):
    """A moment at which the clock was wrong: which events were on record then is not known."""

    code = Code.MOMENT_UNKNOWN

    def __init__(
        self, moment: datetime, first_seq: int, last_seq: int, *, since: datetime | None, until: datetime | None
    ) -> None:
        super().__init__(moment, first_seq, last_seq, since, until)
        self.moment = moment
        self.first_seq = first_seq
        self.last_seq = last_seq
        self.since = since
        self.until = until

    def __str__(self) -> str:
        events = f"the events {self.first_seq} to {self.last_seq} of the log were recorded by a wrong clock"
        if self.first_seq == self.last_seq:
            events = f"the event {self.first_seq} of the log was recorded by a wrong clock"
        since = "" if self.since is None else f" after {self.since.isoformat()}"
        until = "and the clock is not confirmed yet" if self.until is None else f"before {self.until.isoformat()}"
        return (
            f"what was on record at {self.moment.isoformat()} is not known: {events},{since} {until}; "
            f"name a place in the log instead, a seq from {self.first_seq - 1} to {self.last_seq}"
        )


class Busy(LedgerError):
    """The queue of commands is full. Nothing was recorded."""

    code = Code.BUSY

    def __init__(self, waiting: int) -> None:
        super().__init__(f"{waiting} commands wait already and nothing was recorded; send it again in a moment")
        self.waiting = waiting


class ProjectionStopped(LedgerError):
    """A read model cannot fold an event. Its rows stay as they were before it, and continue once the fold is fixed."""

    code = Code.PROJECTION_STOPPED

    def __init__(self, projection: str, seq: int, topic: str, stream: str, reason: str) -> None:
        super().__init__(projection, seq, topic, stream, reason)
        self.projection = projection
        self.seq = seq
        self.topic = topic
        self.stream = stream
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.projection} stopped at seq {self.seq} ({self.topic} of {self.stream}): {self.reason}"


class KeyReused(LedgerError):
    """An idempotency key was used before, for another request."""

    code = Code.IDEMPOTENCY_KEY_REUSED

    def __init__(self, key: str) -> None:
        super().__init__(f"the key {key!r} was used before with another body; use a new key for a new request")
        self.key = key
