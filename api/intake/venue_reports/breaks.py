"""Breaks that a person resolves: dismissed with a reason, or corrected by reports in that person's name.

A difference from a venue statement has an id of its own; what a report broke is identified by the place in the log of
the event that keeps it (`domain.account.breaks`).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from adapters.log.queries import backwards
from api.clock import now
from api.intake.venue_reports.parsing import Unreadable, parsed
from api.intake.venue_reports.reconciliation import correction, open_break, statement_of
from domain import account, order
from domain.account import AccountBroken, BreakResolved, RawReportKept, ResolveBreak, Statement, place_of
from domain.errors import InvalidInput, RequestRefused
from domain.ledger import Answer, Report, schema
from domain.order import Order, OrderBroken
from domain.position import PositionBroken

if TYPE_CHECKING:
    from api.daybook import Daybook

KEPT = OrderBroken | PositionBroken | AccountBroken | RawReportKept


def dismissal(daybook: "Daybook", account_id: str, break_id: str, reason: str) -> ResolveBreak:
    """Return the request that dismisses a break of any kind. Raises RequestRefused where it is not on record."""
    request = ResolveBreak(account_id, break_id, reason, now())
    place = place_of(break_id)
    return request if place is None else replace(request, opened_at=_recorded_at(daybook, account_id, place))


def corrections(daybook: "Daybook", account_id: str, break_id: str, given: Sequence[Report]) -> tuple[Report, ...]:
    """Return the reports that correct a break, and behind them the one that ends it.

    They are those given, or without any those that make our records agree with the venue's statement. Raises
    InvalidInput for one of another account, RequestRefused where the break is not open or nothing corrects it.
    """
    place = place_of(break_id)
    if not given:
        if place is not None:
            _recorded_at(daybook, account_id, place)
            rule = "a break that a report corrects; report what happened, or dismiss the break"
            raise RequestRefused(rule, break_id=break_id, kind="REPORT")
        return correction(daybook, account_id, break_id)
    for index, report in enumerate(given):
        _check(account_id, index, report)
    if place is not None:
        opened_at, statement_id, at = _recorded_at(daybook, account_id, place), "", now()
    else:
        opened = open_break(daybook, account_id, break_id)
        stated = statement_of(daybook, account_id, opened)
        opened_at, statement_id, at = opened.opened_at, stated.statement_id, stated.transact_time
    ended = BreakResolved(
        account_id, break_id, statement_id, reason="corrected by hand", opened_at=opened_at, transact_time=at,
        is_corrected=True,
    )  # fmt: skip
    return (*given, ended)


def corrected_by(reports: Sequence[Report], answers: Sequence[Answer]) -> list[str]:
    """Return the types of the reports that were recorded to correct a break. Raises the error of one that was not."""
    for each in answers:
        if each.error is not None:
            raise each.error
    return [type(report).__name__ for report, done in zip(reports[:-1], answers, strict=False) if done.records]


def read_from(daybook: "Daybook", raws: Sequence[bytes], actor: str) -> list[Report]:
    """Return reports as they were written. Raises InvalidInput for one that cannot be read."""
    reports: list[Report] = []
    for index, raw in enumerate(raws):
        report = parsed(raw, actor, daybook.writer.state)
        if isinstance(report, Unreadable):
            error = report.errors[0]
            raise InvalidInput(f"reports.{index}.{error['field']}", error["value"], error["rule"])
        reports.append(report)
    return reports


def _check(account_id: str, index: int, report: Report) -> None:
    """Check that a report may correct a break of an account. Raises InvalidInput."""
    if isinstance(report, Statement | RawReportKept):
        raise InvalidInput(f"reports.{index}.type", type(report).__name__, "a report that corrects something")
    whose = report.key.account_id if hasattr(report, "key") else getattr(report, "account_id", "")
    if whose != account_id:
        raise InvalidInput(f"reports.{index}.account_id", whose, f"the account of the break, {account_id}")


def _recorded_at(daybook: "Daybook", account_id: str, place: tuple[str, int]) -> Any:
    """Return when the break at a place was recorded. Raises RequestRefused where there is none that stands."""
    stream, version = place
    for stored in backwards(daybook.history, stream, version, 1):
        event = schema.decode(stored.topic, stored.state).event
        is_there = stored.version == version and isinstance(event, KEPT)
        if is_there and _account_of(event) == account_id and not _is_withdrawn(daybook, event):
            return stored.recorded_at
    raise RequestRefused("an open break", break_id=account.reported_id(*place), account_id=account_id)


def _account_of(event: KEPT) -> str:
    return event.account_id if isinstance(event, AccountBroken | RawReportKept) else event.key.account_id


def _is_withdrawn(daybook: "Daybook", event: KEPT) -> bool:
    if not isinstance(event, OrderBroken):
        return False
    known: Order | None = daybook.writer.state(order.stream(event.key))
    return known is None or event not in known.breaks
