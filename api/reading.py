"""Reading: read models at one moment, live or as they were recorded at a past one, and the marks to value them by.

A live reading is one snapshot of the database: the seq it says it stands at is of the very rows it shows. Asked for a
`min_seq`, it waits until the read models are there. A past reading is a replay of the log through the same folds.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from threading import BoundedSemaphore
from typing import NamedTuple

import sqlalchemy as sa

from adapters.store.engines import reaching
from api.asked import Moment
from api.problems import Problem
from api.wiring import Daybook
from domain.errors import ReportUnreadable
from domain.values import Mark
from projections.catalog import PROJECTIONS
from projections.placing import as_placed
from projections.rows import Source
from projections.runner import as_of

POLL_SECONDS = 0.01
REPLAYS_MAX = 2

_replays = BoundedSemaphore(REPLAYS_MAX)
_STANDING = sa.text(
    "SELECT coalesce(min(seq), 0), count(*), min(projection || ': ' || error) FROM read.progress"
    " WHERE projection = ANY(:names)"
)


class Reading(NamedTuple):
    """Where the rows come from, the seq they stand at, and, of a past reading, when that was recorded."""

    source: Source
    seq: int
    recorded_at: datetime | None = None


@contextmanager
def reading(
    book: Daybook, *names: str, min_seq: int = 0, moment: Moment | None = None, wait_seconds_max: float | None = None
) -> Iterator[Reading]:
    """The named projections' rows of one moment. Raises Problem when they are not there in time."""
    if moment is not None:
        yield _past(book, names, moment)
        return
    wait = book.settings.wait_seconds_max if wait_seconds_max is None else wait_seconds_max
    deadline = time.monotonic() + wait
    while True:
        with reaching(book.url), _snapshot(book) as connection:
            seq, count, error = connection.execute(_STANDING, {"names": list(names)}).one()
            if count == len(names) and seq >= min_seq:
                yield Reading(as_placed(connection), seq)
                return
        if min_seq > seq and min_seq > (head := book.log.head().seq):
            raise ReportUnreadable("min_seq", min_seq, f"a place in the log, which ends at {head}")
        if error is not None or time.monotonic() >= deadline:
            raise _behind(names, seq, min_seq, error)
        time.sleep(POLL_SECONDS)


@contextmanager
def _snapshot(book: Daybook) -> Iterator[sa.Connection]:
    with book.engine.connect() as connection:
        yield connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


def _behind(names: Sequence[str], seq: int, min_seq: int, error: str | None) -> Problem:
    what = "the read model " + " and ".join(names)
    why = f" and was stopped by an error: {error}" if error else "; ask again"
    return Problem(
        503, "behind", "Read model behind", f"{what} stands at seq {seq}, not yet at {min_seq}{why}",
        headers={"Retry-After": "1"}, seq=seq, min_seq=min_seq, projections=list(names),
    )  # fmt: skip


def _past(book: Daybook, names: Sequence[str], moment: Moment) -> Reading:
    head = book.log.head().seq
    seq = book.log.seq_at(moment.at) if moment.at is not None else moment.seq or 0
    if seq > head:
        raise ReportUnreadable("as_of_seq", seq, f"a place in the log, which ends at {head}")
    last = book.log.select(after=seq - 1, upto=seq, limit=1) if seq else []
    recorded_at = last[0].recorded.recorded_at if last else None
    if not _replays.acquire(timeout=book.settings.wait_seconds_max):
        raise Problem(
            503, "busy", "Busy", "as many replays run as may run at once; ask again", headers={"Retry-After": "2"}
        )
    try:
        chosen = tuple(projection for projection in PROJECTIONS if projection.name in names)
        return Reading(as_of(book.log, seq=seq, projections=chosen), seq, moment.at or recorded_at)
    finally:
        _replays.release()


def marks_at(book: Daybook, reading_: Reading, given: dict[str, Mark]) -> dict[str, Mark]:
    """The newest marks, of a past reading those on record by then; `given` ones come first."""
    if isinstance(reading_.source, sa.Connection):
        return book.marks.latest_all() | given
    return (book.marks.latest_all(reading_.recorded_at) if reading_.recorded_at else {}) | given
