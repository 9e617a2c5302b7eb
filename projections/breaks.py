"""Breaks: what the outside said that the book's rules call impossible, and what could not be read at all.

An ORDER break keeps a venue's report on an order, an UNREADABLE one the raw text and where it was found. Each is one
event, so its `break_seq` names it.
"""

from typing import Any

import msgspec

from domain import schema
from domain.evidence import RawReportKept
from domain.log import Logged
from domain.order import OrderBroken
from projections.rows import Rows, Source, fetch
from projections.tables import AT, FACTS, WHOLE, Projection, Row, fact, key, maybe, printable, table

PAGE_ROWS_MAX = 1000
ORDER, UNREADABLE = "ORDER", "UNREADABLE"

breaks_table = table(
    "breaks",
    "breaks",
    key("break_seq", WHOLE),
    fact("account_id"),
    fact("kind"),
    fact("rule"),
    maybe("cl_ord_id"),
    maybe("report_type"),
    maybe("report", FACTS),
    maybe("venue"),
    maybe("source"),
    maybe("raw"),
    fact("recorded_at", AT),
    indexes=(("account_id", "break_seq"),),
)


def _order_broken(rows: Rows, logged: Logged, event: OrderBroken) -> None:
    row = {
        "break_seq": logged.seq,
        "account_id": event.key.account_id,
        "kind": ORDER,
        "rule": event.rule,
        "cl_ord_id": event.key.cl_ord_id,
        "report_type": schema.topic_of(event.report),
        "report": _printable(msgspec.to_builtins(event.report)),
        "venue": None,
        "source": None,
        "raw": None,
        "recorded_at": logged.recorded.recorded_at,
        "seq": logged.seq,
    }
    rows.put(breaks_table, row)


def _printable(value: Any) -> Any:
    match value:
        case str():
            return printable(value)
        case dict():
            return {name: _printable(part) for name, part in value.items()}
        case _:
            return value


def _raw_kept(rows: Rows, logged: Logged, event: RawReportKept) -> None:
    row = {
        "break_seq": logged.seq,
        "account_id": event.account_id,
        "kind": UNREADABLE,
        "rule": printable(event.reason),
        "cl_ord_id": None,
        "report_type": None,
        "report": None,
        "venue": event.venue,
        "source": printable(event.source),
        "raw": printable(event.raw),
        "recorded_at": logged.recorded.recorded_at,
        "seq": logged.seq,
    }
    rows.put(breaks_table, row)


PROJECTION = Projection("breaks", 1, (breaks_table,), {OrderBroken: _order_broken, RawReportKept: _raw_kept})


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
