"""Run a what-if request, from HTTP or the command line.

Reads the log and the marks in the role of the auditor, which can write nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from adapters.log.postgres import PostgresLog
from adapters.log.queries import streams
from adapters.market.mark_store import KnownBy, MarkStore
from adapters.postgres.connections import Role
from api.daybook import Daybook
from api.parameters import Moment
from api.what_if.commands import Changed, LimitKey
from api.what_if.replay import ACCEPTED, REFUSED, Replay, ReplayResult, compared, differences
from domain.errors import InvalidInput
from domain.errors.sentences import code_of
from domain.ledger import scan
from domain.risk import LimitStatus, Risk
from domain.values import EARLIEST, FUTURE_MAX, Mark
from projections.storage.tables import Row


class WhatIfResult(NamedTuple):
    """The outcome of a replay beside what is recorded, as rows."""

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
    daybook: Daybook,
    changed: Changed,
    *,
    moment: Moment | None = None,
    events_max: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> WhatIfResult:
    """Replay the log with changes, up to a moment, and compare. Raises InvalidInput, Unavailable."""
    with ExitStack() as stack:
        log = stack.enter_context(PostgresLog(daybook.url, Role.AUDITOR))
        marks = MarkStore(daybook.url, Role.AUDITOR)
        stack.callback(marks.close)
        upto = _upto(log, moment)
        if changed.activated:
            changed = changed.with_limits(_limits_in(daybook, changed.activated))
        if events_max is not None and upto > events_max:
            raise InvalidInput(
                "as_of_seq",
                upto,
                f"at most {events_max} over HTTP: name an earlier moment, or use daybook what-if",
            )
        found = Replay(changed, lambda name, known: _mark(marks, name, known)).run(
            scan(log, upto=upto), None if on_progress is None else lambda seq: on_progress(seq, upto)
        )
        known = KnownBy(upto, _recorded_at(log, upto)) if moment is not None else None
        newest: dict[str, Mark] = {**marks.latest_all(known=known)}
    return _result(found, newest, changed)


def _limits_in(daybook: Daybook, statuses: Sequence[LimitStatus]) -> dict[LimitKey, tuple[Decimal | None, str | None]]:
    """Return the limits that are set in these statuses now: of one scope and measure, that of the first status."""
    found: dict[LimitKey, tuple[Decimal | None, str | None]] = {}
    for stream in streams(daybook.url, "limit:"):
        known: Risk | None = daybook.state(stream)
        beside = known.beside if known is not None else {}
        for status in statuses:
            for (scope, measure, of), each in beside.items():
                if of is status and each.limit is not None:
                    found.setdefault((each.account_id, scope, measure), (each.limit, each.currency))
    if not found:
        raise InvalidInput("activate", ", ".join(statuses), "the status of a limit that is set; none is")
    return found


def _upto(log: PostgresLog, moment: Moment | None) -> int:
    head = log.head().seq
    if moment is None:
        return head
    upto = log.seq_at(moment.at) if moment.at is not None else moment.seq or 0
    if upto > head:
        raise InvalidInput("as_of_seq", upto, f"a place in the log, which ends at {head}")
    return upto


def _recorded_at(log: PostgresLog, seq: int) -> datetime:
    return log.recorded_by(seq) or EARLIEST


def _mark(marks: MarkStore, instrument_id: str, known: KnownBy) -> Mark | None:
    """Return the mark that a decision at that moment could have used."""
    return marks.latest_each([(instrument_id, known.at + FUTURE_MAX)], known)[0]


def _result(found: ReplayResult, marks: Mapping[str, Mark], changed: Changed) -> WhatIfResult:
    rows = compared(found, marks, {**marks, **changed.marks})
    return WhatIfResult(
        seq=found.seq,
        orders=found.orders,
        refused=sum(1 for order in found.verdicts if order.now == REFUSED),
        accepted=sum(1 for order in found.verdicts if order.now == ACCEPTED),
        lost_fills=found.lost_fills,
        lost_qty=found.lost_qty,
        verdicts=[order._asdict() | {"code": code_of(order.rule)} for order in found.verdicts],
        positions=rows,
        totals=differences(rows),
        untold=found.untold,
    )
