"""Readings: read models at one moment, live or as they were recorded at a past one, and the marks to value them by.

A reading is one snapshot of the database, so that its seq belongs to the very rows it shows. For a `min_seq`, or a
past moment, it waits until the read models have reached that place. The past is looked up in the tables' histories.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import NamedTuple

import sqlalchemy as sa
from msgspec.structs import replace

from adapters.market.mark_store import KnownBy
from adapters.postgres.engine import reaching
from api.clock import now
from api.daybook import Daybook
from api.parameters import Moment
from api.problems import Problem
from domain import instrument
from domain.errors import InvalidInput
from domain.ledger import Head
from domain.marks import MILLISECOND, MarkOnRecord
from domain.values import FUTURE_MAX, Mark
from projections.catalog import PROJECTIONS
from projections.runner.runner import as_of
from projections.storage import schemas
from projections.storage.history import AsOf
from projections.storage.rows import MemoryRows, Source

POLL_SECONDS = 0.01


class Reading(NamedTuple):
    """The source of rows, and the seq they are of.

    A reading of the past also has the time it was `recorded_at`. The caller applies `occurred_by`: of the rows only
    what had happened by then is shown. A reading for a report has `pinned` which marks it is valued at, whenever it is
    read again: those on record at a place in the log and seen by a moment, the one that the report is of.
    """

    source: Source
    seq: int
    recorded_at: datetime | None = None
    occurred_by: datetime | None = None
    pinned: KnownBy | None = None

    @property
    def moment(self) -> datetime | None:
        """The moment that a report is of; None for another reading."""
        return None if self.pinned is None else self.pinned.at

    @property
    def known_at(self) -> datetime | None:
        """The time up to which marks are known; None for all that are on record now."""
        return self.moment or self.recorded_at

    @property
    def seen_by(self) -> datetime | None:
        """The time up to which marks were seen. A venue's clock may run ahead of ours: its present marks count."""
        return self.moment + FUTURE_MAX if self.moment and not self.recorded_at else self.known_at

    @property
    def known(self) -> KnownBy | None:
        """What was on record then, for look-ups of marks; None for a reading of the present."""
        if self.pinned is not None:
            return self.pinned
        return None if self.recorded_at is None else KnownBy(self.seq, self.recorded_at)

    def back_to(self, seq: int) -> Source:
        """Return the same rows as they were at an earlier place in the log, in the same snapshot."""
        assert not isinstance(self.source, MemoryRows), "a replay has no past"
        return AsOf(self.source.connection if isinstance(self.source, AsOf) else self.source, seq)


@contextmanager
def reading(
    daybook: Daybook, *names: str, min_seq: int = 0, moment: Moment | None = None, wait_seconds_max: float | None = None
) -> Iterator[Reading]:
    """Read the named projections' rows at one moment. Raises Problem when they do not reach it in time."""
    past = ended_at(daybook, moment) if moment is not None else None
    wanted = max(min_seq, past.seq if past else 0)
    wait = daybook.settings.wait_seconds_max if wait_seconds_max is None else wait_seconds_max
    deadline = time.monotonic() + wait
    while True:
        with reaching(daybook.url), _snapshot(daybook) as connection:
            places = schemas.placed(connection)
            standing = [one for one in places if one.projection in names]
            seq = min((one.seq for one in standing), default=0)
            if len(standing) == len(names) and seq >= wanted:
                occurred_by = moment.occurred_by if moment is not None else None
                source = schemas.as_placed(connection, places)
                if past is None:
                    yield Reading(source, seq, occurred_by=occurred_by)
                else:
                    yield Reading(AsOf(source, past.seq), past.seq, past.recorded_at, occurred_by)
                return
        if min_seq > seq and min_seq > (head := daybook.history.head().seq):
            raise InvalidInput("min_seq", min_seq, f"a place in the log, which ends at {head}")
        errors = [f"{one.projection}: {one.error}" for one in standing if one.error is not None]
        if errors or time.monotonic() >= deadline:
            raise _behind(names, seq, wanted, min(errors, default=None))
        time.sleep(POLL_SECONDS)


def replayed(daybook: Daybook, *names: str, moment: Moment) -> Reading:
    """Return the named projections' rows at a past moment, by folding the log in memory: slow, and from no table."""
    past = ended_at(daybook, moment) or daybook.history.head()
    chosen = tuple(projection for projection in PROJECTIONS if projection.name in names)
    return Reading(as_of(daybook.history, seq=past.seq, projections=chosen), past.seq, past.recorded_at)


@contextmanager
def _snapshot(daybook: Daybook) -> Iterator[sa.Connection]:
    with daybook.engine.connect() as connection:
        yield connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        connection.commit()  # a rollback would make the driver forget the statements it has prepared


def _behind(names: Sequence[str], seq: int, min_seq: int, error: str | None) -> Problem:
    what = "the read model " + " and ".join(names)
    why = f" and was stopped by an error: {error}" if error else "; try again"
    return Problem(
        503, "behind", "Read model behind", f"{what} has reached seq {seq}, not yet {min_seq}{why}",
        headers={"Retry-After": "1"}, seq=seq, min_seq=min_seq, projections=list(names),
    )  # fmt: skip


def ended_at(daybook: Daybook, moment: Moment) -> Head | None:
    """Return where the log ended at a past moment; None for one at which all that is known now was known.

    Raises InvalidInput for a place beyond the end of the log.
    """
    if moment.seq is None and moment.at is None:
        return None
    head = daybook.history.head().seq
    seq = daybook.history.seq_at(moment.at) if moment.at is not None else moment.seq or 0
    if seq > head:
        raise InvalidInput("as_of", seq, f"a place in the log, which ends at {head}")
    return Head(seq, moment.at or daybook.history.recorded_by(seq))


def marks_at(daybook: Daybook, at: Reading, given: dict[str, Mark]) -> dict[str, Mark]:
    """Return the marks that value a reading, each with its age; `given` ones take precedence.

    Each is the newest observed by the reading's moment, of those that were on record when it was known.
    """
    check_given(daybook, given)
    if at.known_at is None and not isinstance(at.source, sa.Connection):
        return given  # nothing was on record, no mark either
    moment = at.occurred_by or at.known_at
    known = daybook.market.latest_all(at.occurred_by or at.seen_by, at.known)
    return aged(daybook, known, moment or now()) | given


def check_given(daybook: Daybook, given: Mapping[str, Mark]) -> None:
    """Check that given marks are prices that their instruments have. Raises InvalidInput.

    One of an instrument that is not listed has to be above zero.
    """
    for mark in given.values():
        if mark.price <= 0:
            listed = daybook.state(instrument.stream(mark.instrument_id))
            if listed is None or not listed.contract.has_price(mark.price):
                rule = "above zero" if listed is None else listed.contract.price_rule
                raise InvalidInput("mark", f"{mark.instrument_id}={mark.price:f}", rule)


def aged(daybook: Daybook, marks: Mapping[str, MarkOnRecord], moment: datetime) -> dict[str, Mark]:
    """Return marks with their age at a moment."""
    return {name: _aged(mark, moment, daybook.settings.mark_age_seconds_max) for name, mark in marks.items()}


def _aged(mark: MarkOnRecord, moment: datetime, age_seconds_max: float) -> MarkOnRecord:
    age = max(moment - mark.mark_at, timedelta())
    return replace(mark, age_ms=age // MILLISECOND, is_stale=age.total_seconds() > age_seconds_max)
