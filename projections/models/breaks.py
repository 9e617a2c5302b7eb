"""Breaks: venue reports that contradict the ledger, reports that could not be read, and reconciliation differences.

An ORDER break keeps a venue report on an order, an UNREADABLE one the raw text and its source. A POSITION break is a
book that cannot be right, an ACCOUNT break an impossible movement of money, or business of a closed account. Each of
these is one event, so its `break_seq` identifies it, and `about` names its subject, `on_record` what it contradicts;
the row of an ORDER break that is withdrawn is removed. A RECONCILIATION break is a difference from a venue statement
(`source`), from the event that found it until it is RESOLVED. The others are OPEN until a person resolves them.
`break_id` is the id of any break.
"""

from datetime import datetime
from typing import Any, TypedDict, cast

from domain.account import (
    AccountBroken,
    Break,
    BreakAged,
    BreakChanged,
    BreakOpened,
    BreakResolved,
    RawReportKept,
    reported_id,
)
from domain.ledger import Logged
from domain.order import OrderBreakWithdrawn, OrderBroken
from domain.position import PositionBroken
from projections.storage.rows import Source, fetch
from projections.storage.tables import (
    AT,
    FACTS,
    WHOLE,
    Projection,
    Row,
    Rows,
    fact,
    json_of,
    key,
    maybe,
    printable,
    table,
)

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
    maybe("on_record", FACTS),
    maybe("venue"),
    maybe("source"),
    maybe("raw"),
    fact("status"),
    maybe("reason"),
    maybe("opened_at", AT),
    maybe("age_steps", WHOLE),
    fact("recorded_at", AT),
    fact("break_id"),
    indexes=(("account_id", "break_seq"), ("account_id", "about"), ("account_id", "break_id")),
    created_by="break_seq",
)


class BreakRow(TypedDict):
    """A break. `opened_at` and `age_steps` (the ageing thresholds passed) are of a RECONCILIATION break."""

    break_seq: int
    account_id: str
    kind: str
    rule: str
    about: str | None
    cl_ord_id: str | None
    report_type: str | None
    report: dict[str, Any] | None
    on_record: dict[str, Any] | None
    venue: str | None
    source: str | None
    raw: str | None
    status: str
    reason: str | None
    opened_at: datetime | None
    age_steps: int | None
    recorded_at: datetime
    break_id: str
    seq: int


def _put(rows: Rows, logged: Logged, account_id: str, kind: str, *, rule: str, **more: Any) -> None:
    row = dict.fromkeys((column.name for column in breaks_table.columns), None) | {
        "break_seq": logged.seq,
        "account_id": account_id,
        "kind": kind,
        "rule": printable(rule),
        "status": OPEN,
        "recorded_at": logged.recorded.recorded_at,
        "break_id": reported_id(logged.recorded.stream, logged.recorded.version),
        "seq": logged.seq,
    }
    rows.put(breaks_table, row | more)


def _order_broken(rows: Rows, logged: Logged, event: OrderBroken) -> None:
    known: Row = {} if event.on_record is None else {"on_record": json_of(event.on_record)}
    _put(rows, logged, event.key.account_id, ORDER, rule=event.rule, **_reported(event), **known)


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
    columns = {"venue": event.venue, "source": printable(event.source), "raw": printable(event.raw)}
    _put(rows, logged, event.account_id, UNREADABLE, rule=event.reason, **columns)


def _position_broken(rows: Rows, logged: Logged, event: PositionBroken) -> None:
    columns: Row = {"about": event.key.instrument_id, "report_type": type(event).__name__, "report": json_of(event)}
    if event.on_record is not None:
        columns["on_record"] = json_of(event.on_record)
    _put(rows, logged, event.key.account_id, POSITION, rule=event.rule, **columns)


def _account_broken(rows: Rows, logged: Logged, event: AccountBroken) -> None:
    columns: Row = {"about": printable(event.about)}
    if event.report is not None:
        columns |= {"report_type": type(event.report).__name__, "report": json_of(event.report)}
    if event.on_record is not None:
        columns |= {"on_record": json_of(event.on_record)}
    _put(rows, logged, event.account_id, ACCOUNT, rule=event.rule, **columns)


def _found(found: Break, statement_id: str) -> Row:
    return {
        "about": found.break_id,
        "break_id": found.break_id,
        "rule": found.kind.value,
        "report_type": type(found.line).__name__,
        "report": {"fields": list(found.fields), "ours": json_of(found.ours), "theirs": json_of(found.theirs)},
        "source": printable(statement_id),
    }


def _opened(rows: Rows, logged: Logged, event: BreakOpened) -> None:
    columns = _found(event.found, event.statement_id)
    state: Row = {"opened_at": event.transact_time, "age_steps": 0}
    _put(rows, logged, event.account_id, RECONCILIATION, **columns, **state)


def _changed(rows: Rows, logged: Logged, event: BreakChanged) -> None:
    _change(rows, logged, (event.account_id, event.found.break_id), _found(event.found, event.statement_id))


def _aged(rows: Rows, logged: Logged, event: BreakAged) -> None:
    _change(rows, logged, (event.account_id, event.break_id), {"age_steps": event.steps})


def _resolved(rows: Rows, logged: Logged, event: BreakResolved) -> None:
    columns = {"status": RESOLVED, "reason": printable(event.reason)}
    _change(rows, logged, (event.account_id, event.break_id), columns)


def _change(rows: Rows, logged: Logged, place: tuple[str, str], changes: Row) -> None:
    """Change the open break of an account and id; earlier breaks with that id may be resolved, or withdrawn."""
    account_id, break_id = place
    for row in rows.find(breaks_table, account_id=account_id, break_id=break_id, status=OPEN):
        rows.put(breaks_table, row | changes | {"seq": logged.seq})


PROJECTION = Projection(
    "breaks",
    6,
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
    status: str | None = None,
    cl_ord_id: str | None = None,
    break_id: str | None = None,
    limit: int | None = PAGE_ROWS_MAX,
    after: int | None = None,
) -> list[BreakRow]:
    """Return breaks, the newest first. The next page is `after` the last row's `break_seq`."""
    where = {"account_id": account_id, "kind": kind, "status": status, "cl_ord_id": cl_ord_id}
    where |= {"break_id": break_id}
    place = None if after is None else (after,)
    found = fetch(source, breaks_table, where=where, by=("break_seq",), after=place, limit=limit, is_descending=True)
    return cast(list[BreakRow], found)
