"""The outcome of a venue report: on record and in the book or not, and the rule it breaks.

| status | on record | in the book | meaning |
|---|---|---|---|
| `recorded` | now | yes | it was new |
| `known` | before | yes | it was reported before; nothing was added |
| `broken` | as a break | as `booked` says | it breaks a rule, which is on record beside it |
| `unreadable` | as evidence | no | it could not be read; its raw text is kept |

A report that breaks a rule has happened all the same: a fill beyond its order is in the book, with a break beside it;
one that contradicts what is on record, or amends a fill that is not, is kept as a break alone. `booked` says which.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from adapters.writer.batch import Look
from domain import account, ledger, order, position
from domain.account import AccountBroken, CashReport, reported_id
from domain.account.cash import id_of
from domain.errors.rules import NOT_BOOKED
from domain.errors.sentences import code_of, sentence
from domain.ledger import Recorded
from domain.order import (
    Order,
    OrderBroken,
    OrderCommissionReported,
    OrderFilled,
    OrderReport,
    StateReport,
    as_reported,
    completed,
    venue_ids,
)
from domain.position import PositionBroken, SettleFunding, Transfer

RECORDED, KNOWN, BROKEN, UNREADABLE = "recorded", "known", "broken", "unreadable"
STATUSES = (RECORDED, KNOWN, BROKEN, UNREADABLE)
CONTRADICTED = "one exec_id has one content"


OnRecord = tuple[str, Any]  # the stream of a break, and its event


class Outcome(NamedTuple):
    """The outcome of a report that was read: whether it is in the book, and the rule it breaks, "" for none.

    `broken` is the record that keeps the break; of one that was there before the stream and the event.
    """

    status: str
    is_booked: bool
    rule: str = ""
    broken: Recorded | OnRecord | None = None

    def record(self) -> dict[str, Any]:
        """Return the outcome as it is answered."""
        code = code_of(self.rule)
        return {
            "status": self.status, "booked": self.is_booked, "code": code, "rule": self.rule or None,
            "detail": sentence(self.rule, {}) if code is not None else None,
        }  # fmt: skip


def outcome_of(report: Any, result: ledger.Answer, look: Look) -> Outcome:
    """Return the outcome of a report; `look` gives the states right after it."""
    if not result.records:
        return _known(report, result, look)
    events = [record.event for record in result.records]
    booked = [
        event if isinstance(event, OrderFilled | OrderCommissionReported) else as_reported(event)
        for event in events
        if isinstance(event, OrderReport)
    ]
    for record in result.records:
        match record.event:
            case OrderBroken(rule=rule, report=OrderCommissionReported() as waiting) if events[0] == waiting:
                return Outcome(RECORDED, is_booked=True, rule=rule, broken=record)  # its fill is not here yet
            case OrderBroken(rule=rule, report=found) if (
                not booked or found in booked
            ):  # a late report may break others
                is_booked = bool(booked) or _is_same(report, result)
                return Outcome(BROKEN, is_booked, rule, broken=record)
            case PositionBroken(rule=rule, report=(SettleFunding() | Transfer())):
                return Outcome(BROKEN, is_booked=False, rule=rule, broken=record)
            case AccountBroken(rule=rule):  # what is booked is as it was reported: its balance is what is remarkable
                is_booked = len(events) > 1
                return Outcome(RECORDED if is_booked else BROKEN, is_booked, rule, broken=record)
    return Outcome(RECORDED, is_booked=True)


def _is_same(report: Any, result: ledger.Answer) -> bool:
    """Return whether a fill is on record with the content that was reported."""
    known = result.on_record
    return known is not None and isinstance(report, OrderFilled) and completed(known, report) is not None


def _known(report: Any, result: ledger.Answer, look: Look) -> Outcome:
    """Return the outcome of a report that added nothing: in the book, or kept as a break before."""
    if result.on_record is not None and _is_same(report, result):
        return Outcome(KNOWN, is_booked=True, broken=_on_record(report, look))
    broken = _on_record(report, look)
    if result.on_record is not None:
        return Outcome(BROKEN, is_booked=False, rule=CONTRADICTED, broken=broken)
    rule: str = broken[1].rule if broken is not None and not isinstance(report, OrderCommissionReported) else ""
    if code_of(rule) in NOT_BOOKED:
        return Outcome(BROKEN, is_booked=False, rule=rule, broken=broken)
    return Outcome(KNOWN, is_booked=True, rule=rule, broken=broken)


def _on_record(report: Any, look: Look) -> OnRecord | None:
    """Return the break that is on record of a report, with its stream; None if there is none."""
    found: tuple[Any, ...] | frozenset[Any] = ()
    stream, wanted = "", report
    match report:
        case _ if isinstance(report, OrderReport):
            stream = order.stream(venue_ids.reported_of(look, report).key)
            known: Order | None = look(stream)
            found = known.breaks if known is not None else ()
            wanted = as_reported(report) if isinstance(report, StateReport) else report
        case SettleFunding() | Transfer():
            stream = position.stream(report.key)
            held: position.Position | None = look(stream)
            found = held.broken if held is not None else ()
        case _ if isinstance(report, CashReport):
            stream = account.stream(report.account_id)
            owner: account.Account | None = look(stream)
            impossible = owner.broken if owner is not None else ()
            found = tuple(each for each in impossible if each.about == id_of(report))
        case _:
            pass
    broken = next((each for each in found if each.report == wanted), None)
    return None if broken is None else (stream, broken)


def break_id_of(outcome: Outcome, history: Iterable[Recorded], read: Callable[[str], Iterable[Recorded]]) -> str | None:
    """Return the id of the break of a report: of a record in its batch (`history`), or in its stream (`read`)."""
    match outcome.broken:
        case None:
            return None
        case Recorded() as record:
            return reported_id(record.stream, record.version)
        case (stream, broken):
            records = (each for source in (history, read(stream)) for each in source)
            places = (each.version for each in records if each.stream == stream and each.event == broken)
            version = next(places, None)
            return None if version is None else reported_id(stream, version)
