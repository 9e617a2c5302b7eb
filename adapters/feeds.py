"""Mark prices: what instruments were seen at, by whom, when. Kept beside the log, in `market.marks`, append-only.

A mark is an observation, not a decision, so it is no event; where one decided something (the value of a market order)
the event carries it. Prices are quote units a base unit, exact. The latest mark is the one with the latest `mark_at`,
of equals the one recorded last. `mark_at` is when it was seen, `recorded_at`, by the database's clock, when we knew.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from threading import Lock
from typing import Any

from psycopg import Cursor
from psycopg.rows import TupleRow

from adapters.store import database
from adapters.store.database import Role
from adapters.store.pool import Pool
from domain import values
from domain.values import Mark

STALE_MS_MAX = 250
CACHED_MARKS_MAX = 10_000

INSERT = """
INSERT INTO market.marks (instrument_id, mark_at, price, source)
SELECT * FROM unnest(%s::text[], %s::timestamptz[], %s::numeric[], %s::text[])
"""
LATEST = """
SELECT instrument_id, price, source, mark_at FROM market.marks
WHERE instrument_id = %s AND mark_at <= %s
ORDER BY mark_at DESC, mark_id DESC LIMIT 1
"""
# One step through the index an instrument, however many marks each has.
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
    SELECT instrument_id, price, source, mark_at FROM market.marks
    WHERE instrument_id = instruments.instrument_id AND recorded_at <= %s
    ORDER BY mark_at DESC, mark_id DESC LIMIT 1
) AS latest
"""
LATEST_SEEN = """
SELECT DISTINCT ON (instrument_id) instrument_id, price, source, mark_at FROM market.marks
WHERE recorded_at <= %s AND mark_at <= %s ORDER BY instrument_id, mark_at DESC, mark_id DESC
"""
END_OF_TIME = "infinity"


class MarkStore:
    """Marks in a migrated database. Safe between threads; close it when done.

    Asked for the latest mark it may answer from memory: then the answer is at most `stale_ms_max` old, and never older
    than what this store itself has recorded. Recording needs the role WRITER.
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
        self._pool = Pool(lambda: database.connect(url, role))
        self._stale_s_max = stale_ms_max / 1000
        self._monotonic = monotonic
        self._lock = Lock()
        self._recordings = 0
        self._cache: OrderedDict[str, tuple[float, Mark | None]] = OrderedDict()

    def close(self) -> None:
        """Give back the connections."""
        self._pool.close()

    def record(self, marks: Sequence[Mark]) -> int:
        """Add marks, all or none; how many. Raises ReportUnreadable for a mark that is none, and Unavailable."""
        checked = [_checked(mark) for mark in marks]
        if not checked:
            return 0
        columns = zip(*((m.instrument_id, m.mark_at, m.price, m.source) for m in checked), strict=True)
        with self._cursor() as cursor:
            cursor.execute(INSERT, [list(column) for column in columns])
        now = self._monotonic()
        with self._lock:
            self._recordings += 1
            for mark in checked:
                _, known = self._cache.get(mark.instrument_id, (0, None))
                if known is not None and known.mark_at <= mark.mark_at:
                    self._cache[mark.instrument_id] = (now, mark)
                else:
                    self._cache.pop(mark.instrument_id, None)
        return len(checked)

    def latest(self, instrument_id: str, at: datetime | None = None) -> Mark | None:
        """The latest mark, or the latest seen at or before `at`; None if there is none. Raises Unavailable."""
        if at is not None:
            return self._select(LATEST, instrument_id, at).get(instrument_id)
        asked_at = self._monotonic()
        with self._lock:
            recordings, entry = self._recordings, self._cache.get(instrument_id)
            if entry is not None and asked_at - entry[0] <= self._stale_s_max:
                return entry[1]
        mark = self._select(LATEST, instrument_id, END_OF_TIME).get(instrument_id)
        with self._lock:
            if self._recordings == recordings:  # else what we were told may be older than what was recorded
                self._cache[instrument_id] = (asked_at, mark)
                self._cache.move_to_end(instrument_id)
                while len(self._cache) > CACHED_MARKS_MAX:
                    self._cache.popitem(last=False)
        return mark

    def latest_all(self, known_at: datetime | None = None) -> dict[str, Mark]:
        """The latest mark of every instrument, of all or of those recorded by `known_at`. Raises Unavailable."""
        return self._select(LATEST_ALL, known_at or END_OF_TIME)

    def latest_seen(self, seen_by: datetime, known_at: datetime) -> dict[str, Mark]:
        """The latest mark of every instrument among those seen by one moment and recorded by another."""
        return self._select(LATEST_SEEN, known_at, seen_by)

    def _select(self, query: str, *parameters: Any) -> dict[str, Mark]:
        with self._cursor() as cursor:
            rows = cursor.execute(query, parameters, prepare=True).fetchall()
        return {
            instrument_id: Mark(instrument_id, values.exact(price), source, mark_at.astimezone(UTC))
            for instrument_id, price, source, mark_at in rows
        }

    @contextmanager
    def _cursor(self) -> Iterator[Cursor[TupleRow]]:
        with database.reaching(self._url), self._pool.connection() as lent, lent.cursor(binary=True) as cursor:
            yield cursor


def _checked(mark: Mark) -> Mark:
    return Mark(
        values.instrument_id(mark.instrument_id),
        values.positive(mark.price, "price"),
        values.name(mark.source, "source"),
        values.time(mark.mark_at, "mark_at"),
    )
