"""What-if questions, and their answers: put to a book alike over HTTP and from the command line.

Reads the log and the marks as the auditor, who can write nothing.
"""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import datetime
from decimal import Decimal
from threading import BoundedSemaphore
from typing import NamedTuple

from adapters.log.postgres import PostgresLog
from adapters.market.mark_store import MarkStore
from adapters.postgres.connections import Role
from api.daybook import Daybook
from api.parameters import Moment
from api.problems import Problem
from api.what_if.commands import Changed
from api.what_if.replay import ACCEPTED, REFUSED, Found, Retelling, compared, differences
from domain.errors import InvalidInput
from domain.ledger import scan
from domain.values import EARLIEST, FUTURE_MAX, Mark
from projections.storage.tables import Row

RETELLINGS_MAX = 1
_retellings = BoundedSemaphore(RETELLINGS_MAX)


class Told(NamedTuple):
    """What came of it, in rows."""

    seq: int
    orders: int
    refused: int
    accepted: int
    lost_fills: int
    lost_qty: dict[str, Decimal]
    verdicts: list[Row]
    positions: list[Row]
    totals: list[Row]
    untold: dict[str, int]


def what_if(
    book: Daybook,
    changed: Changed,
    *,
    moment: Moment | None = None,
    events_max: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Told:
    """What would have come of the log, up to a moment of it. Raises Problem, InvalidInput, Unavailable."""
    if not _retellings.acquire(timeout=book.settings.wait_seconds_max):
        raise Problem(503, "busy", "Busy", "another what-if is told; ask again", headers={"Retry-After": "5"})
    with ExitStack() as stack:
        stack.callback(_retellings.release)
        log = stack.enter_context(PostgresLog(book.url, Role.AUDITOR))
        marks = MarkStore(book.url, Role.AUDITOR)
        stack.callback(marks.close)
        upto = _upto(log, moment)
        if events_max is not None and upto > events_max:
            raise InvalidInput(
                "as_of_seq",
                upto,
                f"at most {events_max} over HTTP: ask about an earlier moment, or use daybook what-if",
            )
        told = Retelling(changed, lambda name, at: _mark(marks, name, at)).tell(
            scan(log, upto=upto), None if on_progress is None else lambda seq: on_progress(seq, upto)
        )
        newest: dict[str, Mark] = {**marks.latest_all(known_at=_recorded_at(log, upto) if moment is not None else None)}
    return _answered(told, newest, changed)


def _upto(log: PostgresLog, moment: Moment | None) -> int:
    head = log.head().seq
    if moment is None:
        return head
    upto = log.seq_at(moment.at) if moment.at is not None else moment.seq or 0
    if upto > head:
        raise InvalidInput("as_of_seq", upto, f"a place in the log, which ends at {head}")
    return upto


def _recorded_at(log: PostgresLog, seq: int) -> datetime:
    last = log.select(after=seq - 1, upto=seq, limit=1) if seq else []
    return last[0].recorded.recorded_at if last else EARLIEST


def _mark(marks: MarkStore, instrument_id: str, at: datetime) -> Mark | None:
    """The mark that a decision at that moment could have used."""
    return marks.latest_each([(instrument_id, at + FUTURE_MAX)], at)[0]


def _answered(found: Found, marks: Mapping[str, Mark], changed: Changed) -> Told:
    rows = compared(found, marks, {**marks, **changed.marks})
    return Told(
        found.seq,
        found.orders,
        sum(1 for verdict in found.verdicts if verdict.now == REFUSED),
        sum(1 for verdict in found.verdicts if verdict.now == ACCEPTED),
        found.lost_fills,
        found.lost_qty,
        [verdict._asdict() for verdict in found.verdicts],
        rows,
        differences(rows),
        found.untold,
    )
