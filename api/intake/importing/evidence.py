"""Evidence: rows and reports that could not be read, kept as they came. Listed, read again, or dismissed.

Evidence is a break of kind UNREADABLE. What is read again is recorded as at first, and ends the break: rows of a file
together, below their header, as rows may belong together; a venue report by itself. What was booked meanwhile is known.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from adapters.exchanges.files.numbers import Style
from adapters.exchanges.files.times import DateOrder
from api.clock import now
from api.intake.importing.ingest import Stated, import_file
from api.intake.venue_reports.parsing import Unreadable, parsed
from domain.access import Actor, label
from domain.account import BreakResolved, RawReportKept, place_of
from domain.errors import InvalidInput, LedgerError, RequestRefused
from domain.ledger import Report
from domain.values import DEFAULT_STRATEGY
from projections.models.breaks import HEADER, OPEN, UNREADABLE, BreakRow, breaks

if TYPE_CHECKING:
    from datetime import datetime

    from api.daybook import Daybook
    from api.read_models.snapshot import Reading

PAGE_ROWS = 1000
READ_AGAIN = "read again"
_PLACE = re.compile(r"(?P<file>.+):(?P<line>[0-9]{1,12})")
_DECIDED = re.compile(r", dates (?P<dates>[a-z]+), decimals (?P<style>.), strategy (?P<strategy>.+)")


class Kept(NamedTuple):
    """One piece of evidence; `line` is 0 where it is of no file."""

    break_id: str
    report: RawReportKept
    opened_at: "datetime"
    seq: int
    file: str
    line: int


class Retried(Struct, frozen=True):
    """What became of one piece of evidence: how its row ended, and why where it is still unreadable."""

    break_id: str
    source: str
    outcome: str
    reason: str = ""

    @property
    def is_ended(self) -> bool:
        """Whether the break ends."""
        return self.outcome not in ("unreadable", "conflicting")


def _rows(at: "Reading", account_id: str, **where: str) -> list[BreakRow]:
    """Return all evidence of an account of a status or type, the newest first."""
    found: list[BreakRow] = []
    while True:
        after = found[-1]["break_seq"] if found else None
        page = breaks(at.source, account_id, kind=UNREADABLE, limit=PAGE_ROWS, after=after, **where)
        found += page
        if len(page) < PAGE_ROWS:
            return found


def kept(daybook: "Daybook", account_id: str, row: BreakRow) -> Kept:
    """Return the evidence of a row, as it came. Raises RequestRefused for a break of another kind."""
    place = place_of(row["break_id"])
    events = [] if place is None else daybook.history.read(place[0], limit=1)
    event = events[0].event if events else None
    if not isinstance(event, RawReportKept):
        raise RequestRefused("an open break", break_id=row["break_id"], account_id=account_id)
    where = _PLACE.fullmatch(event.source)
    is_of_file = where is not None and not event.source.startswith("api:")
    file, line = (where["file"], int(where["line"])) if is_of_file and where is not None else ("", 0)
    return Kept(row["break_id"], event, events[0].recorded_at, row["break_seq"], file=file, line=line)


def retried(
    daybook: "Daybook", at: "Reading", account_id: str, break_ids: Sequence[str], *, stated: Stated, actor: Actor
) -> list[Retried]:
    """Read evidence of an account again, all that is open or that of `break_ids`, and record what can be read now.

    Rows that belong to one file are read together. A break ends when its row is recorded, known, or moves nothing.
    Raises RequestRefused for a break that is no open evidence of the account.
    """
    rows_open = {row["break_id"]: row for row in _rows(at, account_id, status=OPEN)}
    if missing := next((each for each in break_ids if each not in rows_open), None):
        raise RequestRefused("an open break", break_id=missing, account_id=account_id)
    chosen = [kept(daybook, account_id, rows_open[each]) for each in dict.fromkeys(break_ids or rows_open)]
    headers = [kept(daybook, account_id, row) for row in _rows(at, account_id, report_type=HEADER)]
    done: list[Retried] = []
    for file in dict.fromkeys((each.file, each.report.venue) for each in chosen if each.line):
        rows = [each for each in chosen if each.line and (each.file, each.report.venue) == file]
        done += _rows_again(daybook, rows, headers, stated=stated, actor=actor)
    done += [_report_again(daybook, each, actor) for each in chosen if not each.line]
    ended = {each.break_id for each in done if each.is_ended}
    _end(daybook, [each for each in chosen if each.break_id in ended], actor)
    return done


def _end(daybook: "Daybook", chosen: Sequence[Kept], actor: Actor) -> None:
    reports: list[Report] = [
        BreakResolved(
            each.report.account_id, each.break_id, "", reason=READ_AGAIN, opened_at=each.opened_at,
            transact_time=now(), is_corrected=True,
        )
        for each in chosen
    ]  # fmt: skip
    for answer in daybook.writer.report(reports, actor=actor) if reports else ():
        if answer.error is not None:
            raise answer.error


def _rows_again(
    daybook: "Daybook", rows: Sequence[Kept], headers: Sequence[Kept], *, stated: Stated, actor: Actor
) -> list[Retried]:
    """Read rows of one file again, below the header that was kept before them."""
    first = min(each.seq for each in rows)
    of_file = [each for each in headers if (each.file, each.report.venue) == (rows[0].file, rows[0].report.venue)]
    header = max((each for each in of_file if each.seq <= first), key=lambda each: each.seq, default=None)
    if header is None:
        return [Retried(each.break_id, each.report.source, "unreadable", each.report.reason) for each in rows]
    ordered = sorted(rows, key=lambda each: each.line)
    lines = header.report.raw.split("\n")
    place: dict[int, Kept] = {}
    for each in ordered:
        place[len(lines) + 1] = each
        lines += each.report.raw.split("\n")
    outcomes, name = dict[int, str](), Path(rows[0].file).name
    with TemporaryDirectory(prefix="daybook-evidence-") as folder:
        path = Path(folder) / (name if name.endswith(".csv") else f"{name}.csv")
        path.write_text("\n".join([*lines, ""]), encoding="utf-8", newline="")
        try:
            summary = import_file(
                daybook.writer, path, account_id=rows[0].report.account_id, strategy_id=_strategy(header), now=now(),
                actor=actor, name=rows[0].file,
                stated=_as_decided(stated, header), on_row=outcomes.__setitem__,
            )  # fmt: skip
        except InvalidInput as error:
            return [Retried(each.break_id, each.report.source, "unreadable", str(error)) for each in rows]
    reasons = {finding.line: finding.error for finding in (*summary.errors, *summary.conflicts)}
    return [
        Retried(each.break_id, each.report.source, outcomes.get(line, "unreadable"), reasons.get(line, ""))
        for line, each in place.items()
    ]


def _strategy(header: Kept) -> str:
    decided = _DECIDED.search(header.report.reason)
    return DEFAULT_STRATEGY if decided is None else decided["strategy"]


def _as_decided(stated: Stated, header: Kept) -> Stated:
    """Return what is stated, with what was decided for the whole file where nothing else is stated."""
    decided = _DECIDED.search(header.report.reason)
    if decided is None:
        return stated
    dates = stated.dates or DateOrder(decided["dates"])
    return replace(stated, dates=dates, style=stated.style or Style(decided["style"]))


def _report_again(daybook: "Daybook", each: Kept, actor: Actor) -> Retried:
    """Read a venue report again, and record it by itself."""
    report = parsed(each.report.raw.encode(), label(actor), daybook.writer.state)
    source = each.report.source
    if isinstance(report, Unreadable):
        return Retried(each.break_id, source, "unreadable", report.errors[0]["message"])
    (answer,) = daybook.writer.report([report], actor=actor)
    if isinstance(answer.error, LedgerError):
        return Retried(each.break_id, source, "unreadable", str(answer.error))
    return Retried(each.break_id, source, "recorded" if answer.records else "already_known")
