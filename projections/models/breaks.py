"""Breaks: what the outside said that the book's rules call impossible, what could not be read, what does not agree.

An ORDER break keeps a venue's report on an order, an UNREADABLE one the raw text and where it was found. A POSITION
break is a book that cannot be right, an ACCOUNT break money that cannot have moved so, or business of a closed account.
Each of these is one event, so its `break_seq` names it, and `about` says what it is about; the row of an ORDER break
that is withdrawn is removed. A RECONCILIATION break is a difference from a venue's statement (`source`), from the event
that found it until it is RESOLVED; `about` is its id.
"""

from typing import Any

from domain.account import (
    AccountBroken,
    Break,
    BreakAged,
    BreakChanged,
    BreakOpened,
    BreakResolved,
    RawReportKept,
    age_steps,
)
from domain.ledger import Logged
from domain.order import OrderBreakWithdrawn, OrderBroken
from domain.position import PositionBroken
from projections.storage.rows import Rows, Source, fetch
from projections.storage.tables import AT, FACTS, WHOLE, Projection, Row, fact, json_of, key, maybe, printable, table

PAGE_ROWS_MAX = 1000
ORDER, UNREADABLE, POSITION = "ORDER", "UNREADABLE", "POSITION"
ACCOUNT, RECONCILIATION = "ACCOUNT", "RECONCILIATION"
OPEN, RESOLVED = "OPEN", "RESOLVED"

breaks_table = table(
    "breaks",
    "breaks",
    key("break_seq", WHOLE),
    fact("account_id"),
    fact("kind"),
    fact("rule"),
    maybe("about"),
    maybe("cl_ord_id"),
    maybe("report_type"),
    maybe("report", FACTS),
    maybe("venue"),
    maybe("source"),
    maybe("raw"),
    maybe("status"),
    maybe("reason"),
    maybe("opened_at", AT),
    maybe("age_steps", WHOLE),
    fact("recorded_at", AT),
    indexes=(("account_id", "break_seq"), ("account_id", "about")),
    born="break_seq",
)


def _put(rows: Rows, logged: Logged, account_id: str, kind: str, rule: str, **told: Any) -> None:
    row = dict.fromkeys((column.name for column in breaks_table.columns), None) | {
        "break_seq": logged.seq,
        "account_id": account_id,
        "kind": kind,
        "rule": printable(rule),
        "recorded_at": logged.recorded.recorded_at,
        "seq": logged.seq,
    }
    rows.put(breaks_table, row | told)


def _order_broken(rows: Rows, logged: Logged, event: OrderBroken) -> None:
    _put(rows, logged, event.key.account_id, ORDER, event.rule, **_reported(event))


def _order_break_withdrawn(rows: Rows, logged: Logged, event: OrderBreakWithdrawn) -> None:
    """Remove the row of a break that does not hold: as of earlier places in the log it stays."""
    about = {"account_id": event.key.account_id, "about": event.key.cl_ord_id, "kind": ORDER}
    withdrawn = {"rule": printable(event.rule), **_reported(event)}
    for row in rows.find(breaks_table, **about):
        if all(row[name] == value for name, value in withdrawn.items()):
            rows.delete(breaks_table, row["break_seq"])
            return


def _reported(event: OrderBroken | OrderBreakWithdrawn) -> Row:
    report, cl_ord_id = event.report, event.key.cl_ord_id
    return {
        "about": cl_ord_id, "cl_ord_id": cl_ord_id, "report_type": type(report).__name__, "report": json_of(report),
    }  # fmt: skip


def _raw_kept(rows: Rows, logged: Logged, event: RawReportKept) -> None:
    told = {"venue": event.venue, "source": printable(event.source), "raw": printable(event.raw)}
    _put(rows, logged, event.account_id, UNREADABLE, event.reason, **told)


def _position_broken(rows: Rows, logged: Logged, event: PositionBroken) -> None:
    told = {"about": event.key.instrument_id, "report_type": type(event).__name__, "report": json_of(event)}
    _put(rows, logged, event.key.account_id, POSITION, event.rule, **told)


def _account_broken(rows: Rows, logged: Logged, event: AccountBroken) -> None:
    told: Row = {"about": printable(event.about)}
    if event.report is not None:
        told |= {"report_type": type(event.report).__name__, "report": json_of(event.report)}
    _put(rows, logged, event.account_id, ACCOUNT, event.rule, **told)


def _found(found: Break, statement_id: str) -> Row:
    return {
        "about": found.break_id,
        "rule": found.kind.value,
        "report_type": type(found.line).__name__,
        "report": {"fields": list(found.fields), "ours": json_of(found.ours), "theirs": json_of(found.theirs)},
        "source": printable(statement_id),
    }


def _opened(rows: Rows, logged: Logged, event: BreakOpened) -> None:
    told = _found(event.found, event.statement_id)
    rule = told.pop("rule")
    state = {"status": OPEN, "opened_at": event.transact_time, "age_steps": 0}
    _put(rows, logged, event.account_id, RECONCILIATION, rule, **told, **state)


def _changed(rows: Rows, logged: Logged, event: BreakChanged) -> None:
    _move(rows, logged, event.account_id, event.found.break_id, _found(event.found, event.statement_id))


def _aged(rows: Rows, logged: Logged, event: BreakAged) -> None:
    steps = age_steps(event.transact_time - event.opened_at)
    _move(rows, logged, event.account_id, event.break_id, {"age_steps": steps})


def _resolved(rows: Rows, logged: Logged, event: BreakResolved) -> None:
    told = {"status": RESOLVED, "reason": printable(event.reason)}
    _move(rows, logged, event.account_id, event.break_id, told)


def _move(rows: Rows, logged: Logged, account_id: str, break_id: str, changes: Row) -> None:
    """Change the break that is open under an id; it may have been found and resolved before."""
    (row,) = rows.find(breaks_table, account_id=account_id, about=break_id, kind=RECONCILIATION, status=OPEN)
    rows.put(breaks_table, row | changes | {"seq": logged.seq})


PROJECTION = Projection(
    "breaks",
    4,
    (breaks_table,),
    {
        OrderBroken: _order_broken,
        OrderBreakWithdrawn: _order_break_withdrawn,
        RawReportKept: _raw_kept,
        PositionBroken: _position_broken,
        AccountBroken: _account_broken,
        BreakOpened: _opened,
        BreakChanged: _changed,
        BreakAged: _aged,
        BreakResolved: _resolved,
    },
)


def breaks(
    source: Source,
    account_id: str | None = None,
    *,
    kind: str | None = None,
    cl_ord_id: str | None = None,
    limit: int | None = PAGE_ROWS_MAX,
    after: int | None = None,
) -> list[Row]:
    """Breaks, the newest first. The next page is `after` the last row's `break_seq`."""
    where = {"account_id": account_id, "kind": kind, "cl_ord_id": cl_ord_id}
    place = None if after is None else (after,)
    return fetch(source, breaks_table, where=where, by=("break_seq",), after=place, limit=limit, is_descending=True)
