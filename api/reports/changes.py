"""What has changed in a report since a place in the log: the rows set since, and the keys of those removed.

The client has the report of that place or of any later moment before the next event. Each row gets a column `change`.
In a part that has a key a row that is `set` replaces the one with its key or is new, and one that is `removed` has its
key alone. A part without a key is whole, and replaces what the client has. So applied to the old report the changes
make the new one.

Long reports look up what was touched. All others are computed again as of that place and compared. Rows that depend on
marks are set whenever a mark can have changed them, as marks change without the log.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace

from api.read_models.snapshot import Reading
from api.reports.analyses import Basis, Content, days_at
from api.reports.catalog import CHANGE, REMOVED, SET, Part, Report
from api.reports.contents import changes_of, columns_of, content_of
from domain.errors import InvalidInput
from domain.values import EPOCH
from projections.storage.tables import AnyRow, Row

Key = tuple[Any, ...]


def changed(report: Report, basis: Basis, marks_at: Any) -> Content:
    """Return the changes of a report since the place it names. `marks_at` returns the marks of an earlier reading."""
    since = basis.parameters.since_seq
    assert since is not None, "changes are since a place"
    if not 0 <= since <= basis.at.seq:
        raise InvalidInput("since_seq", since, f"a place in the log up to that of the report, {basis.at.seq}")
    if basis.parameters.limit is not None:
        raise InvalidInput("limit", basis.parameters.limit, "left out where changes are requested")
    main = report.parts[0]
    if (found := changes_of(report.name, basis, since)) is not None:
        touched, removed = found
        gone = [_removed(report, main, row) for row in removed]
        return Content({main.name: [*({CHANGE: SET, **row} for row in touched), *gone]})
    content = content_of(report.name, basis)
    recorded_at = basis.daybook.history.recorded_by(since) or EPOCH
    before = _before(report, basis, recorded_at, marks_at) if since else []
    parts = {
        part.name: list(_compared(report, part, content, before, since=since, recorded_at=recorded_at))
        for part in report.parts
    }
    return content._replace(parts=parts)


def _before(report: Report, basis: Basis, recorded_at: datetime, marks_at: Any) -> list[Content]:
    """Return the report as it was at the place, with what was known then; of days also as far as is known now."""
    since, at = basis.parameters.since_seq or 0, basis.at
    then = Reading(at.back_to(since), since, recorded_at, at.occurred_by)
    parameters = replace(basis.parameters, since_seq=None)
    requested = [(then, parameters)]
    if report.is_dated and at.known_at is not None:
        first, _ = days_at(parameters, recorded_at)
        requested.append(
            (then._replace(recorded_at=at.known_at, pinned=at.known), replace(parameters, first=first.isoformat()))
        )
    found = []
    for reading, wanted in requested:
        content = _content_then(report, basis._replace(at=reading, parameters=wanted), marks_at)
        if content is not None:
            found.append(content._replace(parts={name: list(rows) for name, rows in content.parts.items()}))
    return found


def _content_then(report: Report, basis: Basis, marks_at: Any) -> Content | None:
    """Return a report as it was; None if there was nothing to report of: no account, no day."""
    try:
        return content_of(report.name, basis._replace(marks=marks_at(basis.at, basis.parameters)))
    except InvalidInput as error:
        if error.field != "restated_at":
            return None
    reported = replace(basis.parameters, known_at=str(basis.at.seq))  # it was not known as well as now when reported
    return content_of(report.name, basis._replace(parameters=reported))


def _compared(
    report: Report, part: Part, content: Content, before: list[Content], *, since: int, recorded_at: datetime
) -> Iterator[Row]:
    rows = content.parts[part.name]
    if not part.key:
        for row in rows:
            yield {CHANGE: SET, **row}
        return
    old = [{_key(part, row): row for row in each.parts[part.name]} for each in before]
    kept = set()
    for row in rows:
        key = _key(part, row)
        kept.add(key)
        is_same = all(each.get(key) == row for each in old) and bool(old)
        if not is_same or row.get("seq", 0) > since or _may_differ(part, row, recorded_at):
            yield {CHANGE: SET, **row}
    gone = {key: row for each in old for key, row in each.items() if key not in kept}
    for row in gone.values():
        yield _removed(report, part, row)


def _may_differ(part: Part, row: AnyRow, recorded_at: datetime) -> bool:
    """Whether marks recorded since the place can have changed a row, by the client's report or this one."""
    if not part.is_marked:
        return False
    if "close_at" in row:
        return bool(row["close_at"] > recorded_at - timedelta(microseconds=1))
    return bool(row.get("quantity", True))


def _key(part: Part, row: AnyRow) -> Key:
    return tuple(row.get(name) for name in part.key)


def _removed(report: Report, part: Part, row: AnyRow) -> Row:
    absent: Row = dict.fromkeys(columns_of(report, part))
    return absent | {CHANGE: REMOVED} | {name: row.get(name) for name in part.key}
