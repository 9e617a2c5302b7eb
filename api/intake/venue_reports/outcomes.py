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

from typing import Any, NamedTuple

from adapters.writer.batch import Look
from domain import account, ledger, order, position
from domain.account import AccountBroken, CashReport
from domain.account.cash import id_of
from domain.errors.rules import NOT_BOOKED
from domain.errors.sentences import code_of, sentence
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


class Outcome(NamedTuple):
    """The outcome of a report that was read: whether it is in the book, and the rule it breaks, "" for none."""

    status: str
    is_booked: bool
    rule: str = ""

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
    for event in events:
        match event:
            case OrderBroken(rule=rule, report=OrderCommissionReported()) if events[0] == event.report:
                return Outcome(RECORDED, is_booked=True, rule=rule)  # nothing is wrong: its fill is not here yet
            case OrderBroken(rule=rule) if not booked or event.report in booked:  # a late report may break others too
                is_booked = bool(booked) or _is_same(report, result)
                return Outcome(BROKEN, is_booked, rule)
            case PositionBroken(rule=rule, report=(SettleFunding() | Transfer())):
                return Outcome(BROKEN, is_booked=False, rule=rule)
            case AccountBroken(rule=rule):  # what is booked is as it was reported: its balance is what is remarkable
                is_booked = len(events) > 1
                return Outcome(RECORDED if is_booked else BROKEN, is_booked, rule)
    return Outcome(RECORDED, is_booked=True)


def _is_same(report: Any, result: ledger.Answer) -> bool:
    """Return whether a fill is on record with the content that was reported."""
    known = result.on_record
    return known is not None and isinstance(report, OrderFilled) and completed(known, report) is not None


def _known(report: Any, result: ledger.Answer, look: Look) -> Outcome:
    """Return the outcome of a report that added nothing: in the book, or kept as a break before."""
    if result.on_record is not None:
        is_same = _is_same(report, result)
        return Outcome(KNOWN if is_same else BROKEN, is_same, "" if is_same else CONTRADICTED)
    rule = _rule_on_record(report, look)
    if code_of(rule) in NOT_BOOKED:
        return Outcome(BROKEN, is_booked=False, rule=rule)
    return Outcome(KNOWN, is_booked=True, rule=rule)


def _rule_on_record(report: Any, look: Look) -> str:
    """Return the rule of the break that is on record of a report; "" if there is none."""
    match report:
        case _ if isinstance(report, StateReport):
            known: Order | None = look(order.stream(venue_ids.reported_of(look, report).key))
            found = known.breaks if known is not None else ()
            return next((each.rule for each in found if each.report == as_reported(report)), "")
        case SettleFunding() | Transfer():
            held: position.Position | None = look(position.stream(report.key))
            contradicted = held.broken if held is not None else ()
            return next((each.rule for each in contradicted if each.report == report), "")
        case _ if isinstance(report, CashReport):
            owner: account.Account | None = look(account.stream(report.account_id))
            impossible = owner.broken if owner is not None else ()
            return next((each.rule for each in impossible if each.report == report and each.about == id_of(report)), "")
        case _:
            return ""
