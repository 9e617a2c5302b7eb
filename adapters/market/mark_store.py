"""Mark prices of instruments, with source and time. Stored beside the log, in `market.marks`, append-only.

A mark is an observation, not a decision, so it is no event; where a decision used one (the value of a market order) the
event contains it. Prices are in quote units per base unit, exact. The latest mark is the one with the latest `mark_at`,
of equals the one recorded last. `mark_at` is when it was observed, `recorded_at` when it was stored, by the database's
clock, `quality` what kind of price it is. Funding rates are stored in the same way; they value nothing.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from threading import Lock
from typing import Any, NamedTuple

from psycopg import Cursor
from psycopg.rows import TupleRow

from adapters.postgres import connections
from adapters.postgres.connections import Role
from adapters.postgres.pool import Pool
from domain import values
from domain.errors import KeyReused
from domain.marks import MarkOnRecord, QualifiedMark, Quality
from domain.values import Mark

STALE_MS_MAX = 250
CACHED_MARKS_MAX = 10_000

INSERT = """
INSERT INTO market.marks (instrument_id, mark_at, price, source, quality)
SELECT * FROM unnest(%s::text[], %s::timestamptz[], %s::numeric[], %s::text[], %s::text[])
"""
# Skips marks that are recorded already with equal values.
INSERT_NEW = """
INSERT INTO market.marks (instrument_id, mark_at, price, source, quality)
SELECT * FROM unnest(%s::text[], %s::timestamptz[], %s::numeric[], %s::text[], %s::text[])
    AS given (instrument_id, mark_at, price, source, quality)
WHERE NOT EXISTS (
    SELECT FROM market.marks AS known
    WHERE (known.instrument_id, known.mark_at) = (given.instrument_id, given.mark_at)
    AND (known.price, known.source, known.quality) = (given.price, given.source, given.quality)
)
"""
INSERT_RATES = """
INSERT INTO market.funding_rates (instrument_id, rate_at, rate, source)
SELECT * FROM unnest(%s::text[], %s::timestamptz[], %s::numeric[], %s::text[])
    AS given (instrument_id, rate_at, rate, source)
WHERE NOT EXISTS (
    SELECT FROM market.funding_rates AS known
    WHERE (known.instrument_id, known.rate_at) = (given.instrument_id, given.rate_at)
    AND (known.rate, known.source) = (given.rate, given.source)
)
"""
# Stores the answer with the marks, as `ledger.requests` does for commands; it has no events.
KEEP = """
INSERT INTO ledger.requests (actor, request_key, body_sha256, first_seq, last_seq, recorded_at, answer)
VALUES (%s, %s, %s, 1, 0, now(), %s) ON CONFLICT (actor, request_key) DO NOTHING
"""
KEPT = "SELECT body_sha256, answer FROM ledger.requests WHERE actor = %s AND request_key = %s"
LATEST = """
SELECT instrument_id, price, source, mark_at FROM market.marks
WHERE instrument_id = %s AND mark_at <= %s
ORDER BY mark_at DESC, mark_id DESC LIMIT 1
"""
# A skip scan: one index look-up per instrument, regardless of the number of marks.
LATEST_ALL = """
WITH RECURSIVE instruments AS (
    (SELECT instrument_id FROM market.marks ORDER BY instrument_id LIMIT 1)
    UNION ALL
    SELECT (
        SELECT later.instrument_id FROM market.marks AS later
        WHERE later.instrument_id > instruments.instrument_id ORDER BY later.instrument_id LIMIT 1
    ) FROM instruments WHERE instruments.instrument_id IS NOT NULL
)
SELECT latest.* FROM instruments CROSS JOIN LATERAL (
    SELECT instrument_id, price, source, mark_at, quality, recorded_at FROM market.marks
    WHERE instrument_id = instruments.instrument_id AND mark_at <= %(at)s AND recorded_at <= %(known_at)s
    AND EXISTS (
        SELECT FROM market.marks AS first
        WHERE first.instrument_id = instruments.instrument_id AND first.recorded_at <= %(known_at)s
    )
    ORDER BY mark_at DESC, mark_id DESC LIMIT 1
) AS latest
"""
# One index look-up for each instrument and moment.
_LATEST = """
CROSS JOIN LATERAL (
    SELECT price, source, mark_at FROM market.marks
    WHERE instrument_id = wanted.instrument_id AND mark_at <= wanted.moment AND recorded_at <= %s
    ORDER BY mark_at DESC, mark_id DESC LIMIT 1
) AS latest
"""
LATEST_EACH = f"""
SELECT wanted.place, latest.* FROM unnest(%s::text[], %s::timestamptz[]) WITH ORDINALITY
    AS wanted (instrument_id, moment, place)
{_LATEST}"""  # noqa: S608 (our own words)
LATEST_AT = f"""
SELECT wanted.place, wanted.instrument_id, latest.* FROM (
    SELECT instrument_id, moment, place FROM unnest(%s::text[]) AS named (instrument_id)
    CROSS JOIN unnest(%s::timestamptz[]) WITH ORDINALITY AS moments (moment, place)
) AS wanted
{_LATEST}"""  # noqa: S608 (our own words)
# Transactions that overlap do not record in the sequence of their marks' numbers.
LAST_RECORDED = """
SELECT max(recorded_at) FROM (SELECT recorded_at FROM market.marks ORDER BY mark_id DESC LIMIT 1000) AS last
"""
END_OF_TIME = "infinity"


class FundingRate(NamedTuple):
    """A venue's funding rate of a perpetual: the fraction of notional that longs pay shorts at `rate_at`."""

    instrument_id: str
    rate_at: datetime
    rate: Decimal
    source: str


class KeyedAnswer(NamedTuple):
    """The idempotency key of a request to record marks, a digest of its body, and the answer to store with them."""

    actor: str
    key: str
    body_sha256: bytes
    answer: bytes


class MarkStore:
    """Marks in a migrated database. Safe between threads; close it when done.

    `latest` may return a cached mark, which is at most `stale_ms_max` old, and never older than what this store itself
    has recorded. Recording needs the role WRITER.
    """

    def __init__(
        self,
        url: str,
        role: Role = Role.WRITER,
        *,
        stale_ms_max: int = STALE_MS_MAX,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._pool = Pool(lambda: connections.connect(url, role))
        self._stale_s_max = stale_ms_max / 1000
        self._monotonic = monotonic
        self._lock = Lock()
        self._recordings = 0
        self._cache: OrderedDict[str, tuple[float, Mark | None]] = OrderedDict()

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()

    def record(self, marks: Sequence[Mark], *, is_new_only: bool = False) -> int:
        """Add marks, all or none. Return how many. With `is_new_only`, skip marks recorded already with equal values.

        Raises InvalidInput for an invalid mark, and Unavailable.
        """
        checked, columns = _columns(marks)
        if not checked:
            return 0
        with self._cursor() as cursor:
            added = cursor.execute(INSERT_NEW if is_new_only else INSERT, columns).rowcount
        self._remember(checked)
        return added

    def record_once(self, marks: Sequence[Mark], keyed: KeyedAnswer) -> bytes:
        """Add marks once per key. Return the answer of the first request under that key.

        Raises KeyReused for the same key with another body, InvalidInput and Unavailable.
        """
        checked, columns = _columns(marks)
        with self._cursor() as cursor, cursor.connection.transaction():
            if not cursor.execute(KEEP, keyed).rowcount:
                found = cursor.execute(KEPT, (keyed.actor, keyed.key)).fetchone()
                if found is None or found[0] != keyed.body_sha256:
                    raise KeyReused(keyed.key)
                return bytes(found[1])
            cursor.execute(INSERT, columns)
        self._remember(checked)
        return keyed.answer

    def record_rates(self, rates: Sequence[FundingRate]) -> int:
        """Add funding rates, skipping those recorded already with equal values. Return how many. Raises Unavailable."""
        columns = [list(column) for column in zip(*rates, strict=True)]
        if not columns:
            return 0
        with self._cursor() as cursor:
            return cursor.execute(INSERT_RATES, columns).rowcount

    def _remember(self, marks: Sequence[Mark]) -> None:
        now = self._monotonic()
        with self._lock:
            self._recordings += 1
            for mark in marks:
                _, known = self._cache.get(mark.instrument_id, (0, None))
                if known is not None and known.mark_at <= mark.mark_at:
                    self._cache[mark.instrument_id] = (now, mark)
                else:
                    self._cache.pop(mark.instrument_id, None)

    def latest(self, instrument_id: str, at: datetime | None = None) -> Mark | None:
        """Return the latest mark, or the latest at or before `at`; None if there is none. Raises Unavailable."""
        if at is not None:
            return self._select(LATEST, instrument_id, at).get(instrument_id)
        started_at = self._monotonic()
        with self._lock:
            recordings, entry = self._recordings, self._cache.get(instrument_id)
            if entry is not None and started_at - entry[0] <= self._stale_s_max:
                return entry[1]
        mark = self._select(LATEST, instrument_id, END_OF_TIME).get(instrument_id)
        with self._lock:
            if self._recordings == recordings:  # else what was read may be older than what was recorded
                self._cache[instrument_id] = (started_at, mark)
                self._cache.move_to_end(instrument_id)
                while len(self._cache) > CACHED_MARKS_MAX:
                    self._cache.popitem(last=False)
        return mark

    def latest_all(self, at: datetime | None = None, known_at: datetime | None = None) -> dict[str, MarkOnRecord]:
        """Return each instrument's latest mark, of those observed by `at` and recorded by `known_at`, where given.

        Raises Unavailable.
        """
        limits = {"at": at or END_OF_TIME, "known_at": known_at or END_OF_TIME}
        with self._cursor() as cursor:
            rows = cursor.execute(LATEST_ALL, limits, prepare=True).fetchall()
        return {
            instrument_id: MarkOnRecord(
                instrument_id, values.exact(price), source, mark_at.astimezone(UTC), quality=_quality(quality),
                recorded_at=recorded_at.astimezone(UTC),
            )
            for instrument_id, price, source, mark_at, quality, recorded_at in rows
        }  # fmt: skip

    def last_recorded_at(self) -> datetime | None:
        """Return when the last mark was recorded; None if there is none. Raises Unavailable."""
        with self._cursor() as cursor:
            found = cursor.execute(LAST_RECORDED, prepare=True).fetchone()
        return found[0].astimezone(UTC) if found is not None and found[0] is not None else None

    def latest_each(
        self, wanted: Sequence[tuple[str, datetime]], known_at: datetime | None = None
    ) -> list[Mark | None]:
        """Return for each instrument and moment the latest mark at or before it, recorded by `known_at` if given.

        Raises Unavailable.
        """
        found: list[Mark | None] = [None] * len(wanted)
        if not wanted:
            return found
        columns = [list(column) for column in zip(*wanted, strict=True)]
        with self._cursor() as cursor:
            rows = cursor.execute(LATEST_EACH, [*columns, known_at or END_OF_TIME], prepare=True).fetchall()
        for place, price, source, mark_at in rows:
            instrument_id = wanted[place - 1][0]
            found[place - 1] = Mark(instrument_id, values.exact(price), source, mark_at.astimezone(UTC))
        return found

    def latest_at(
        self, instrument_ids: Sequence[str], moments: Sequence[datetime], known_at: datetime | None = None
    ) -> list[dict[str, Mark]]:
        """Return for each moment the instruments' latest marks at or before it, recorded by `known_at` if given.

        Raises Unavailable.
        """
        found: list[dict[str, Mark]] = [{} for _ in moments]
        if not instrument_ids or not moments:
            return found
        parameters = [list(instrument_ids), list(moments), known_at or END_OF_TIME]
        with self._cursor() as cursor:
            rows = cursor.execute(LATEST_AT, parameters, prepare=True).fetchall()
        for place, instrument_id, price, source, mark_at in rows:
            mark = Mark(instrument_id, values.exact(price), source, mark_at.astimezone(UTC))
            found[place - 1][instrument_id] = mark
        return found

    def _select(self, query: str, *parameters: Any) -> dict[str, Mark]:
        with self._cursor() as cursor:
            rows = cursor.execute(query, parameters, prepare=True).fetchall()
        return {
            instrument_id: Mark(instrument_id, values.exact(price), source, mark_at.astimezone(UTC))
            for instrument_id, price, source, mark_at in rows
        }

    @contextmanager
    def _cursor(self) -> Iterator[Cursor[TupleRow]]:
        with connections.reaching(self._url), self._pool.connection() as lent, lent.cursor(binary=True) as cursor:
            yield cursor


def _columns(marks: Sequence[Mark]) -> tuple[list[Mark], list[list[Any]]]:
    """Validate marks; return them, and their columns with `quality`."""
    checked = [_checked(mark) for mark in marks]
    qualities = [mark.quality if isinstance(mark, QualifiedMark) else Quality.UNSTATED for mark in marks]
    rows = [
        (mark.instrument_id, mark.mark_at, mark.price, mark.source, quality.value)
        for mark, quality in zip(checked, qualities, strict=True)
    ]
    return checked, [list(column) for column in zip(*rows, strict=True)] or [[], [], [], [], []]


def _quality(text: str) -> Quality:
    """Return a stored quality; UNSTATED for one that only a newer Daybook knows."""
    return Quality(text) if text in {quality.value for quality in Quality} else Quality.UNSTATED


def _checked(mark: Mark) -> Mark:
    return Mark(
        values.instrument_id(mark.instrument_id),
        values.positive(mark.price, "price"),
        values.name(mark.source, "source"),
        values.time(mark.mark_at, "mark_at"),
    )
