"""Mark prices of instruments, with source and time: stored beside the log, and committed to it in batches.

Prices are in quote units per base unit, exact. The latest mark is the one with the latest `mark_at`, of equals the one
with the greatest id. `mark_at` is when it was observed, `recorded_at` when its batch was recorded in the log, `quality`
what kind of price it is. Funding rates are stored in the same way; they value nothing.

`stage` stores a batch that no query shows yet; the event that `domain.marks` decides for it makes it visible, in the
transaction that appends it (`adapters.market.recording`). A batch whose event is never appended is never shown.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from threading import Lock
from typing import Any, NamedTuple, TypeVar

from psycopg import Cursor
from psycopg.rows import TupleRow

from adapters.postgres import connections, price_rows
from adapters.postgres.connections import Role
from adapters.postgres.pool import Pool
from domain import marks as prices
from domain import values
from domain.errors import Unavailable
from domain.marks import (
    ANY_SOURCE,
    BATCH_MARKS_MAX,
    Leaf,
    MarkOnRecord,
    MarksRecorded,
    PriceKind,
    QualifiedMark,
    Quality,
    RecordMarks,
)
from domain.values import Mark

STALE_MS_MAX = 250
CACHED_MARKS_MAX = 10_000
EARLIER_SECONDS_MAX = 60.0  # to wait for a process that commits earlier prices
SEQ_MAX = 2**63 - 1
END_OF_TIME = "infinity"

# The rows are written in the transaction of a batch, before its event; the event's own commit makes both durable.
STAGING = "SET LOCAL synchronous_commit = off"
NEXT_ID = "SELECT nextval('market.price_ids')"
COPY_MARKS = "COPY market.marks (mark_id, instrument_id, mark_at, price, source, quality) FROM STDIN"
COPY_RATES = "COPY market.funding_rates (rate_id, instrument_id, rate_at, rate, source) FROM STDIN"
STORE_HASHES = "INSERT INTO market.leaves (kind, first_id, hashes) VALUES (%s, %s, %s)"

# The seq of the batch that a price belongs to, by its id; null if the batch is not complete.
_SEQ = """(
    SELECT CASE WHEN batch.last_id >= {id} THEN batch.seq END FROM market.batches AS batch
    WHERE batch.kind = '{kind}' AND batch.first_id <= {id} ORDER BY batch.first_id DESC LIMIT 1
)"""
_MARK_SEQ = _SEQ.format(kind=PriceKind.MARK, id="mark.mark_id")
# Whether a mark was on record at a place in the log; one recorded before batches were, by the time of its record.
_KNOWN = f"""CASE WHEN mark.recorded_at IS NULL
    THEN mark.mark_id <= (SELECT known_to FROM known) AND coalesce({_MARK_SEQ} <= %(seq)s, false)
    ELSE mark.recorded_at <= %(known_at)s
END"""  # noqa: S608 (our own words)
_KNOWN_TO = f"""known AS MATERIALIZED (SELECT coalesce((
    SELECT known_to FROM market.batches WHERE kind = '{PriceKind.MARK}' AND seq <= %(seq)s ORDER BY seq DESC LIMIT 1
), 0) AS known_to)"""  # noqa: S608 (our own words)
LATEST = f"""
WITH {_KNOWN_TO}
SELECT instrument_id, price, source, mark_at FROM market.marks AS mark
WHERE instrument_id = %(instrument_id)s AND mark_at <= %(at)s AND {_KNOWN}
ORDER BY mark_at DESC, mark_id DESC LIMIT 1
"""  # noqa: S608
# A skip scan: one index look-up per instrument, regardless of the number of marks. Whether the instrument's first mark
# was known is looked up before, so that those recorded later are not scanned in vain.
LATEST_ALL = f"""
WITH RECURSIVE {_KNOWN_TO}, instruments AS (
    (SELECT instrument_id FROM market.marks ORDER BY instrument_id LIMIT 1)
    UNION ALL
    SELECT (
        SELECT later.instrument_id FROM market.marks AS later
        WHERE later.instrument_id > instruments.instrument_id ORDER BY later.instrument_id LIMIT 1
    ) FROM instruments WHERE instruments.instrument_id IS NOT NULL
)
SELECT latest.instrument_id, price, source, mark_at, quality, coalesce(latest.recorded_at, batch.recorded_at), mark_id
FROM instruments CROSS JOIN LATERAL (
    SELECT * FROM market.marks AS mark
    WHERE instrument_id = instruments.instrument_id AND mark_at <= %(at)s AND {_KNOWN}
    AND (coalesce((
        SELECT first.instrument_id = instruments.instrument_id AND first.mark_id <= (SELECT known_to FROM known)
        FROM market.marks AS first
        WHERE (first.instrument_id, first.mark_id) >= (instruments.instrument_id, 0) AND first.recorded_at IS NULL
        ORDER BY first.instrument_id, first.mark_id LIMIT 1
    ), false) OR coalesce((
        SELECT first.instrument_id = instruments.instrument_id AND first.recorded_at <= %(known_at)s
        FROM market.marks AS first
        WHERE (first.instrument_id, first.recorded_at) >= (instruments.instrument_id, '-infinity'::timestamptz)
        AND first.recorded_at IS NOT NULL ORDER BY first.instrument_id, first.recorded_at LIMIT 1
    ), false))
    ORDER BY mark_at DESC, mark_id DESC LIMIT 1
) AS latest LEFT JOIN LATERAL (
    SELECT recorded_at FROM market.batches
    WHERE kind = '{PriceKind.MARK}' AND first_id <= latest.mark_id ORDER BY first_id DESC LIMIT 1
) AS batch ON latest.recorded_at IS NULL
"""  # noqa: S608
# One index look-up for each instrument and moment.
_LATEST = f"""
CROSS JOIN LATERAL (
    SELECT price, source, mark_at, mark_id FROM market.marks AS mark
    WHERE instrument_id = wanted.instrument_id AND mark_at <= wanted.moment AND {_KNOWN}
    ORDER BY mark_at DESC, mark_id DESC LIMIT 1
) AS latest
"""  # noqa: S608
LATEST_EACH = f"""
WITH {_KNOWN_TO}
SELECT wanted.place, latest.* FROM unnest(%(names)s::text[], %(moments)s::timestamptz[]) WITH ORDINALITY
    AS wanted (instrument_id, moment, place)
{_LATEST}"""  # noqa: S608
LATEST_AT = f"""
WITH {_KNOWN_TO}
SELECT wanted.place, wanted.instrument_id, latest.* FROM (
    SELECT instrument_id, moment, place FROM unnest(%(names)s::text[]) AS named (instrument_id)
    CROSS JOIN unnest(%(moments)s::timestamptz[]) WITH ORDINALITY AS moments (moment, place)
) AS wanted
{_LATEST}"""  # noqa: S608
# Whether any price of these instruments and times is stored: if not, none is on record already.
ANY_STORED = "SELECT EXISTS (SELECT FROM {table} WHERE instrument_id = ANY(%s) AND {at} >= %s AND {at} <= %s)"
MARKS_KNOWN = f"""
SELECT given.place FROM unnest(%s::text[], %s::timestamptz[], %s::numeric[], %s::text[], %s::text[])
    WITH ORDINALITY AS given (instrument_id, mark_at, price, source, quality, place)
WHERE EXISTS (
    SELECT FROM market.marks AS mark
    WHERE (mark.instrument_id, mark.mark_at) = (given.instrument_id, given.mark_at)
    AND (mark.price, mark.source, mark.quality) = (given.price, given.source, given.quality)
    AND (mark.recorded_at IS NOT NULL OR {_MARK_SEQ} IS NOT NULL)
)
"""  # noqa: S608
RATES_KNOWN = f"""
SELECT given.place FROM unnest(%s::text[], %s::timestamptz[], %s::numeric[], %s::text[])
    WITH ORDINALITY AS given (instrument_id, rate_at, rate, source, place)
WHERE EXISTS (
    SELECT FROM market.funding_rates AS rate
    WHERE (rate.instrument_id, rate.rate_at) = (given.instrument_id, given.rate_at)
    AND (rate.rate, rate.source) = (given.rate, given.source)
    AND (rate.recorded_at IS NOT NULL OR {_SEQ.format(kind=PriceKind.FUNDING_RATE, id="rate.rate_id")} IS NOT NULL)
)
"""  # noqa: S608
HAS_BEGUN = "SELECT EXISTS (SELECT FROM market.batches WHERE NOT is_earlier)"
KEEP_HASHES = f"{STORE_HASHES} ON CONFLICT (kind, first_id) DO NOTHING"
# Of marks from before batches. Transactions that overlap do not record in the sequence of their marks' numbers.
LAST_RECORDED = """
SELECT max(recorded_at) FROM (SELECT recorded_at FROM market.marks ORDER BY mark_id DESC LIMIT 1000) AS last
"""
MARK_IDS = f"""
WITH {_KNOWN_TO}
SELECT wanted.place, found.mark_id
FROM unnest(%(names)s::text[], %(moments)s::timestamptz[], %(prices)s::numeric[], %(sources)s::text[]) WITH ORDINALITY
    AS wanted (instrument_id, mark_at, price, source, place)
CROSS JOIN LATERAL (
    SELECT mark_id FROM market.marks AS mark
    WHERE (mark.instrument_id, mark.mark_at) = (wanted.instrument_id, wanted.mark_at)
    AND (mark.price, mark.source) = (wanted.price, wanted.source) AND {_KNOWN}
    ORDER BY mark_id DESC LIMIT 1
) AS found
"""  # noqa: S608
NEWEST_SEQ = "SELECT coalesce(max(seq), 0) FROM market.batches"


class KnownBy(NamedTuple):
    """A past state of knowledge: what was on record at `seq`, and of marks recorded before batches were, by `at`."""

    seq: int
    at: datetime


class FundingRate(NamedTuple):
    """A venue's funding rate of a perpetual: the fraction of notional that longs pay shorts at `rate_at`."""

    instrument_id: str
    rate_at: datetime
    rate: Decimal
    source: str


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

    def stage(self, marks: Sequence[Mark], *, is_new_only: bool = False) -> RecordMarks:
        """Store marks in batches by source, which stay hidden until the request returned is carried out.

        With `is_new_only`, skip marks on record with equal values. Raises InvalidInput for an invalid mark, and
        Unavailable.
        """
        checked = [_checked(mark) for mark in marks]
        by_source: dict[str, list[QualifiedMark]] = {}
        for mark in checked:
            by_source.setdefault(mark.source, []).append(mark)
        with self._cursor() as cursor, cursor.connection.transaction():
            cursor.execute(STAGING)
            batches = []
            for source in by_source.values():
                new = _without(source, _marks_known(cursor, source)) if is_new_only else source
                batches += [self._stage_marks(cursor, part) for part in _parts(new)]
            return RecordMarks(tuple(batches), _newest(checked) if batches else ())

    def stage_rates(self, rates: Sequence[FundingRate]) -> RecordMarks:
        """Store funding rates like `stage`, skipping those on record with equal values. Raises Unavailable."""
        by_source: dict[str, list[FundingRate]] = {}
        for rate in rates:
            by_source.setdefault(rate.source, []).append(rate)
        with self._cursor() as cursor, cursor.connection.transaction():
            cursor.execute(STAGING)
            batches = []
            for source in by_source.values():
                new = _without(source, _rates_known(cursor, source))
                batches += [self._stage_rates(cursor, part) for part in _parts(new)]
            return RecordMarks(tuple(batches))

    def _stage_marks(self, cursor: Cursor[TupleRow], marks: Sequence[QualifiedMark]) -> MarksRecorded:
        first_id = _one(cursor, NEXT_ID)
        leaf, time_text, number_text = Leaf._make, prices.time_text, prices.number_text
        leaves = [
            leaf((
                place, mark.instrument_id, time_text(mark.mark_at), number_text(mark.price), mark.source,
                mark.quality.value, None,
            ))
            for place, mark in enumerate(marks, first_id)
        ]  # fmt: skip
        lines = [f"{at}\t{name}\t{when}\t{value}\t{of}\t{kind}\n" for at, name, when, value, of, kind, _ in leaves]
        times = [mark.mark_at for mark in marks]
        batch = prices.batch_of(PriceKind.MARK, leaves, times, source=leaves[0].source)
        return _store(cursor, COPY_MARKS, lines, batch)

    def _stage_rates(self, cursor: Cursor[TupleRow], rates: Sequence[FundingRate]) -> MarksRecorded:
        first_id = _one(cursor, NEXT_ID)
        leaves = [
            Leaf(
                place, rate.instrument_id, prices.time_text(rate.rate_at), prices.number_text(rate.rate),
                source=rate.source, quality=None, recorded_at=None,
            )
            for place, rate in enumerate(rates, first_id)
        ]  # fmt: skip
        lines = [f"{at}\t{name}\t{when}\t{value}\t{of}\n" for at, name, when, value, of, _, _ in leaves]
        times = [rate.rate_at for rate in rates]
        batch = prices.batch_of(PriceKind.FUNDING_RATE, leaves, times, source=leaves[0].source)
        return _store(cursor, COPY_RATES, lines, batch)

    def stage_earlier(self) -> RecordMarks:
        """Return the request for the next batch of prices that were recorded before batches were; empty without any.

        They stay visible meanwhile, as they were. Raises Unavailable.
        """
        with self._cursor() as cursor, cursor.connection.transaction():
            if _one(cursor, HAS_BEGUN):
                return RecordMarks(())  # no other price is from before, even if its row says so
            for kind in PriceKind:
                rows = cursor.execute(price_rows.earlier_leaves(kind), [BATCH_MARKS_MAX]).fetchall()
                leaves = [Leaf(*row) for row in rows]
                if leaves:
                    times = [datetime.fromisoformat(leaf.at) for leaf in leaves if leaf.at is not None]
                    batch = prices.batch_of(kind, leaves, times, source=ANY_SOURCE, is_earlier=True)
                    cursor.execute(KEEP_HASHES, [kind.value, batch.event.first_id, batch.hashes])
                    return RecordMarks((batch.event,))
        return RecordMarks(())

    @contextmanager
    def committing_earlier(self) -> Iterator[None]:
        """Keep all other processes from committing earlier prices while it lasts. Raises Unavailable."""
        deadline = time.monotonic() + EARLIER_SECONDS_MAX
        with self._cursor() as cursor:
            while not _one(cursor, "SELECT pg_try_advisory_lock(%s)", price_rows.EARLIER_LOCK):
                if time.monotonic() > deadline:
                    raise Unavailable("another process commits marks that were recorded before; try again later")
                time.sleep(0.1)
            try:
                yield
            finally:
                if not cursor.connection.closed:
                    cursor.execute("SELECT pg_advisory_unlock(%s)", [price_rows.EARLIER_LOCK])

    def newest_seq(self) -> int:
        """Return the seq of the newest batch; 0 if there is none. Raises Unavailable."""
        with self._cursor() as cursor:
            return int(_one(cursor, NEWEST_SEQ))

    def remember(self, marks: Sequence[Mark]) -> None:
        """Take note that marks were recorded by this process: none older than they is the latest from now on."""
        now = self._monotonic()
        with self._lock:
            self._recordings += 1
            for mark in marks:
                _, known = self._cache.get(mark.instrument_id, (0, None))
                if known is not None and known.mark_at <= mark.mark_at:
                    self._cache[mark.instrument_id] = (now, mark)
                else:
                    self._cache.pop(mark.instrument_id, None)

    def forget(self) -> None:
        """Empty the cache: the next `latest` of each instrument is read from the database."""
        with self._lock:
            self._recordings += 1
            self._cache.clear()

    def latest(self, instrument_id: str, at: datetime | None = None) -> Mark | None:
        """Return the latest mark, or the latest at or before `at`; None if there is none. Raises Unavailable."""
        if at is not None:
            return self._latest(instrument_id, at).get(instrument_id)
        started_at = self._monotonic()
        with self._lock:
            recordings, entry = self._recordings, self._cache.get(instrument_id)
            if entry is not None and started_at - entry[0] <= self._stale_s_max:
                return entry[1]
        mark = self._latest(instrument_id, END_OF_TIME).get(instrument_id)
        with self._lock:
            if self._recordings == recordings:  # else what was read may be older than what was recorded
                self._cache[instrument_id] = (started_at, mark)
                self._cache.move_to_end(instrument_id)
                while len(self._cache) > CACHED_MARKS_MAX:
                    self._cache.popitem(last=False)
        return mark

    def latest_all(self, at: datetime | None = None, known: KnownBy | None = None) -> dict[str, MarkOnRecord]:
        """Return each instrument's latest mark, of those observed by `at` and on record at `known`, where given.

        Raises Unavailable.
        """
        limits = {"at": at or END_OF_TIME} | _limits(known)
        with self._cursor() as cursor:
            rows = cursor.execute(LATEST_ALL, limits, prepare=True).fetchall()
        return {
            instrument_id: MarkOnRecord(
                instrument_id, values.exact(price), source, mark_at.astimezone(UTC), quality=_quality(quality),
                recorded_at=recorded_at.astimezone(UTC), mark_id=mark_id,
            )
            for instrument_id, price, source, mark_at, quality, recorded_at, mark_id in rows
        }  # fmt: skip

    def last_recorded_at(self) -> datetime | None:
        """Return when the last mark was recorded from before batches; None if there is none. Raises Unavailable."""
        with self._cursor() as cursor:
            found = cursor.execute(LAST_RECORDED, prepare=True).fetchone()
        return found[0].astimezone(UTC) if found is not None and found[0] is not None else None

    def latest_each(
        self, wanted: Sequence[tuple[str, datetime]], known: KnownBy | None = None
    ) -> list[MarkOnRecord | None]:
        """Return for each instrument and moment the latest mark at or before it, on record at `known` if given.

        Raises Unavailable.
        """
        found: list[MarkOnRecord | None] = [None] * len(wanted)
        if not wanted:
            return found
        names, moments = [list(column) for column in zip(*wanted, strict=True)]
        parameters = {"names": names, "moments": moments} | _limits(known)
        with self._cursor() as cursor:
            rows = cursor.execute(LATEST_EACH, parameters, prepare=True).fetchall()
        for place, price, source, mark_at, mark_id in rows:
            instrument_id = wanted[place - 1][0]
            found[place - 1] = MarkOnRecord(
                instrument_id, values.exact(price), source, mark_at.astimezone(UTC), mark_id=mark_id
            )
        return found

    def latest_at(
        self, instrument_ids: Sequence[str], moments: Sequence[datetime], known: KnownBy | None = None
    ) -> list[dict[str, MarkOnRecord]]:
        """Return for each moment the instruments' latest marks at or before it, on record at `known` if given.

        Raises Unavailable.
        """
        found: list[dict[str, MarkOnRecord]] = [{} for _ in moments]
        if not instrument_ids or not moments:
            return found
        parameters = {"names": list(instrument_ids), "moments": list(moments)} | _limits(known)
        with self._cursor() as cursor:
            rows = cursor.execute(LATEST_AT, parameters, prepare=True).fetchall()
        for place, instrument_id, price, source, mark_at, mark_id in rows:
            mark = MarkOnRecord(instrument_id, values.exact(price), source, mark_at.astimezone(UTC), mark_id=mark_id)
            found[place - 1][instrument_id] = mark
        return found

    def ids_of(self, marks: Sequence[Mark], known: KnownBy | None = None) -> list[int]:
        """Return the ids under which marks are on record, 0 for one that is not. Raises Unavailable."""
        found = [0] * len(marks)
        parameters = {
            "names": [mark.instrument_id for mark in marks], "moments": [mark.mark_at for mark in marks],
            "prices": [mark.price for mark in marks], "sources": [mark.source for mark in marks],
        }  # fmt: skip
        with self._cursor() as cursor:
            for place, mark_id in cursor.execute(MARK_IDS, parameters | _limits(known), prepare=True).fetchall():
                found[place - 1] = mark_id
        return found

    def _latest(self, instrument_id: str, at: datetime | str) -> dict[str, Mark]:
        parameters = {"instrument_id": instrument_id, "at": at} | _limits(None)
        with self._cursor() as cursor:
            rows = cursor.execute(LATEST, parameters, prepare=True).fetchall()
        return {
            instrument_id: Mark(instrument_id, values.exact(price), source, mark_at.astimezone(UTC))
            for instrument_id, price, source, mark_at in rows
        }

    @contextmanager
    def _cursor(self) -> Iterator[Cursor[TupleRow]]:
        with connections.reaching(self._url), self._pool.connection() as lent, lent.cursor(binary=True) as cursor:
            yield cursor


P = TypeVar("P", QualifiedMark, FundingRate)


def _limits(known: KnownBy | None) -> dict[str, Any]:
    return {"seq": known.seq, "known_at": known.at} if known else {"seq": SEQ_MAX, "known_at": END_OF_TIME}


def _parts(found: Sequence[P]) -> Iterator[Sequence[P]]:
    return (found[at : at + BATCH_MARKS_MAX] for at in range(0, len(found), BATCH_MARKS_MAX))


def _newest(marks: Sequence[QualifiedMark]) -> tuple[Mark, ...]:
    """Return the newest mark of each instrument, the last of equally new ones."""
    newest: dict[str, QualifiedMark] = {}
    for mark in marks:
        known = newest.get(mark.instrument_id)
        if known is None or known.mark_at <= mark.mark_at:
            newest[mark.instrument_id] = mark
    return tuple(Mark(mark.instrument_id, mark.price, mark.source, mark.mark_at) for mark in newest.values())


def _without(found: Sequence[P], places: set[int]) -> Sequence[P]:
    return [one for place, one in enumerate(found, 1) if place not in places] if places else found


def _marks_known(cursor: Cursor[TupleRow], marks: Sequence[QualifiedMark]) -> set[int]:
    """Return the places, from 1, of the marks that are on record with equal values."""
    times = [mark.mark_at for mark in marks]
    names = [mark.instrument_id for mark in marks]
    query = ANY_STORED.format(table="market.marks", at="mark_at")
    if not _one(cursor, query, sorted(set(names)), min(times), max(times)):
        return set()
    sources, qualities = [mark.source for mark in marks], [mark.quality.value for mark in marks]
    columns = [names, times, [mark.price for mark in marks], sources, qualities]
    return {place for (place,) in cursor.execute(MARKS_KNOWN, columns).fetchall()}


def _rates_known(cursor: Cursor[TupleRow], rates: Sequence[FundingRate]) -> set[int]:
    """Return the places, from 1, of the funding rates that are on record with equal values."""
    columns = [list(column) for column in zip(*rates, strict=True)]
    return {place for (place,) in cursor.execute(RATES_KNOWN, columns).fetchall()}


def _store(cursor: Cursor[TupleRow], copy: str, lines: Sequence[str], batch: prices.Batch) -> MarksRecorded:
    with cursor.copy(copy) as copying:
        copying.write("".join(lines))
    cursor.execute(STORE_HASHES, [batch.event.kind.value, batch.event.first_id, batch.hashes])
    return batch.event


def _one(cursor: Cursor[TupleRow], query: str, *parameters: Any) -> Any:
    row = cursor.execute(query, parameters).fetchone()
    return row[0] if row else None


def _quality(text: str) -> Quality:
    """Return a stored quality; UNSTATED for one that only a newer Daybook knows."""
    return Quality(text) if text in {quality.value for quality in Quality} else Quality.UNSTATED


def _checked(mark: Mark) -> QualifiedMark:
    return QualifiedMark(
        values.instrument_id(mark.instrument_id), values.number(mark.price, "price"),
        values.plain_name(mark.source, "source"), values.time(mark.mark_at, "mark_at"),
        quality=mark.quality if isinstance(mark, QualifiedMark) else Quality.UNSTATED,
    )  # fmt: skip
