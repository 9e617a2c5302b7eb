"""What-if questions, and their answers: put to a book alike over HTTP and from the command line.

Reads the log and the marks as the auditor, who can write nothing.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import datetime
from decimal import Decimal
from threading import BoundedSemaphore
from typing import Any, NamedTuple

from adapters.feeds import MarkStore
from adapters.store.database import Role
from adapters.store.log import PostgresLog
from api.asked import Moment
from api.problems import Problem
from api.whatif import ACCEPTED, REFUSED, Found, Retelling, compared, differences
from api.whatif_commands import Changed, FeeRate, LimitKey
from api.wiring import Daybook
from domain import values
from domain.errors import ReportUnreadable
from domain.log import scan
from domain.measures import Measure, Scope
from domain.values import EARLIEST, FUTURE_MAX, Mark
from projections.tables import Row

RETELLINGS_MAX = 1
_retellings = BoundedSemaphore(RETELLINGS_MAX)
_SCOPES = {"strategy": "strategy_id", "instrument": "instrument_id", "venue": "venue", "asset": "asset"}
_LIMIT = "ACCOUNT,MEASURE=VALUE[,currency=USDT][,strategy=…][,instrument=…][,venue=…][,asset=…], or MEASURE=none"
_FEES = "[INSTRUMENT or VENUE=]MAKER:TAKER, fractions of the value traded, such as BINANCE=0.0002:0.0005"


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
    """What would have come of the log, up to a moment of it. Raises Problem, ReportUnreadable, Unavailable."""
    if not _retellings.acquire(timeout=book.settings.wait_seconds_max):
        raise Problem(503, "busy", "Busy", "another what-if is told; ask again", headers={"Retry-After": "5"})
    with ExitStack() as stack:
        stack.callback(_retellings.release)
        log = stack.enter_context(PostgresLog(book.url, Role.AUDITOR))
        marks = MarkStore(book.url, Role.AUDITOR)
        stack.callback(marks.close)
        upto = _upto(log, moment)
        if events_max is not None and upto > events_max:
            raise ReportUnreadable(
                "as_of_seq",
                upto,
                f"at most {events_max} over HTTP: ask about an earlier moment, or use daybook what-if",
            )
        told = Retelling(changed, lambda name, at: _mark(marks, name, at)).tell(
            scan(log, upto=upto), None if on_progress is None else lambda seq: on_progress(seq, upto)
        )
        newest = marks.latest_all(_recorded_at(log, upto) if moment is not None else None)
    return _answered(told, newest, changed)


def _upto(log: PostgresLog, moment: Moment | None) -> int:
    head = log.head().seq
    if moment is None:
        return head
    upto = log.seq_at(moment.at) if moment.at is not None else moment.seq or 0
    if upto > head:
        raise ReportUnreadable("as_of_seq", upto, f"a place in the log, which ends at {head}")
    return upto


def _recorded_at(log: PostgresLog, seq: int) -> datetime:
    last = log.select(after=seq - 1, upto=seq, limit=1) if seq else []
    return last[0].recorded.recorded_at if last else EARLIEST


def _mark(marks: MarkStore, instrument_id: str, at: datetime) -> Mark | None:
    """The mark that a decision at that moment could have used."""
    return marks.latest_each([(instrument_id, at + FUTURE_MAX)], at)[0]


def _answered(found: Found, marks: dict[str, Mark], changed: Changed) -> Told:
    rows = compared(found, marks, marks | dict(changed.marks))
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


def fee_rate(text: str) -> tuple[str, FeeRate]:
    """Whose fees, and the rates, in `[INSTRUMENT|VENUE=]MAKER:TAKER`. Raises ReportUnreadable."""
    whose, _, rates = text.rpartition("=")
    maker, colon, taker = rates.partition(":")
    if not colon:
        raise ReportUnreadable("fee", text, _FEES)
    if "." in whose:
        values.instrument_id(whose, "fee")
    elif whose:
        values.currency(whose, "fee")
    return whose, FeeRate(values.number(maker, "fee"), values.number(taker, "fee"))


def limit(text: str) -> tuple[LimitKey, tuple[Decimal | None, str | None]]:
    """A limit in `ACCOUNT,MEASURE=VALUE[,currency=…][,strategy=…]…`; VALUE `none` lifts it. Raises ReportUnreadable."""
    account_id, *parts = text.split(",")
    told: dict[str, Any] = {}
    measure: Measure | None = None
    size: Decimal | None = None
    for part in parts:
        name, _, value = part.partition("=")
        if name in Measure.__members__ and measure is None:
            measure, size = Measure(name), None if value == "none" else values.number(value, "limit")
        elif name in _SCOPES or name == "currency":
            told[_SCOPES.get(name, name)] = value
        else:
            raise ReportUnreadable("limit", text, _LIMIT)
    if measure is None:
        raise ReportUnreadable("limit", text, _LIMIT)
    return limit_of(account_id, measure, size, **told)


def limit_of(
    account_id: str,
    measure: Measure,
    size: Decimal | None,
    *,
    currency: str | None = None,
    **scope: str | None,
) -> tuple[LimitKey, tuple[Decimal | None, str | None]]:
    """A limit of the question. Raises ReportUnreadable where currency and measure do not fit."""
    values.name(account_id, "limit.account_id")
    if size is not None and size < 0:
        raise ReportUnreadable("limit", size, "zero or more")
    if size is not None and measure.is_money != (currency is not None):
        rule = "with a currency: it is an amount" if measure.is_money else "without a currency: it is no amount"
        raise ReportUnreadable("limit.currency", currency, f"{measure} {rule}")
    if currency is not None:
        values.currency(currency, "limit.currency")
    return (account_id, Scope(**scope), measure), (size, currency)


def changed_of(
    *,
    method: Any = None,
    fee_policy: Any = None,
    fees: Sequence[tuple[str, FeeRate]] = (),
    limits: Sequence[tuple[LimitKey, tuple[Decimal | None, str | None]]] = (),
    is_without_limits: bool = False,
    marks: Sequence[Mark] = (),
) -> Changed:
    """The question. Raises ReportUnreadable where nothing is to be other than it was."""
    changed = Changed(
        method, fee_policy, dict(fees), dict(limits), is_without_limits, {mark.instrument_id: mark for mark in marks}
    )
    if changed == Changed():
        raise ReportUnreadable("changes", None, "empty: name a method, fees, limits or marks that are to be others")
    return changed
