"""Reading of one export file: its texts, the layout of each, what is decided for the whole, and what its rows say.

A file is read twice where something can only be decided for the whole of it: the order of days and months, or how a
comma in a number is meant. Nothing of it is held but a row.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime, timedelta
from functools import partial
from itertools import chain, islice
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from adapters.exchanges import Unreadable
from adapters.exchanges.files import decoding, json_texts, records, workbooks
from adapters.exchanges.files.assets import Assets, Listed, none_listed
from adapters.exchanges.files.decoding import Member
from adapters.exchanges.files.facts import Fact, Ignored, Source
from adapters.exchanges.files.layout import Catalog, Layout, Match, Reading, Row, normal
from adapters.exchanges.files.numbers import Style, style_of
from adapters.exchanges.files.records import Lines, LineTable, Record
from adapters.exchanges.files.times import Clock, DateOrder, needs_order, order_of, stated_offset
from domain.errors import InvalidInput, ReportUnreadable
from domain.values import EPOCH

PREAMBLE_LINES_MAX = 40
SAMPLE_ROWS = 200
ENDINGS_MAX = 256
DELIMITERS = (",", ";", "\t", "|")
TOTALS = frozenset({"total", "totals", "sum", "grand total", "subtotal", "summe", "gesamt"})
NUMBERS = ("qty", "price", "amount", "fee", "balance", "sent", "received")


def nothing_listed(_: str) -> Listed:
    """Return the look-up of a venue of which no instrument is on record."""
    return none_listed


class Wanted(NamedTuple):
    """What the desk states about its files: order of dates, pairs, names of assets, how numbers are written; and
    instruments on record.
    """

    now: datetime
    dates: DateOrder | None = None
    pairs: Mapping[str, tuple[str, str]] = {}
    assets: Mapping[str, str] = {}
    listed: Callable[[str], Listed] = nothing_listed
    style: Style | None = None


class Text(NamedTuple):
    """A text of a file that a layout recognised: its rows as facts, and what was decided for it.

    `header` are the header and the lines above it.
    """

    name: str
    layout: Layout
    reading: Reading
    facts: Iterator[Fact | Unreadable]
    header_line: int
    header: str
    unknown: tuple[str, ...] = ()


class ExportFile:
    """An export file, as an Exchange of each of its texts. It can be read once; close it, or use it as a context.

    Raises ReportUnreadable where it cannot be opened.
    """

    def __init__(self, path: Path, catalog: Catalog, wanted: Wanted) -> None:
        self.path = path
        self._catalog = catalog
        self._wanted = wanted
        self._closing = ExitStack()
        self._is_workbook = decoding.is_workbook(path)
        self._members, self._place = self._closing.enter_context(decoding.opened(path))
        self.bytes_total = path.stat().st_size
        self._is_read = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._closing.close()

    @property
    def bytes_read(self) -> int:
        """How much of the file was read, of a workbook all of it."""
        return self.bytes_total if self._is_workbook or self._is_read else self._place()

    def texts(self) -> Iterator[Text | ReportUnreadable]:
        """Yield the texts of the file; of an archive of several also the error of one that is of no known layout.

        Raises ReportUnreadable where the only text is of no known layout.
        """
        count = 0
        last: ReportUnreadable | None = None
        for read in self._each():
            count += 1
            if last is not None:
                yield last
            last = None
            try:
                yield read()
            except ReportUnreadable as error:
                last = error
        self._is_read = True
        if last is not None and count == 1:
            raise last
        if last is not None:
            yield last
        if not count:
            raise ReportUnreadable("file", self.path.name, "a file or archive that holds something")

    def _each(self) -> Iterator[Callable[[], Text]]:
        if self._is_workbook:
            for sheet in workbooks.sheets(self.path):
                yield partial(_table, sheet, self.path, self._catalog, self._wanted)
            return
        try:
            for name, raw in self._members:
                stream = decoding.as_utf8(raw)
                log = self._catalog.of_start(decoding.start_of(stream))
                if log is not None:
                    yield partial(_log, Member(name, stream), log, self._wanted)
                    continue
                as_json = json_texts.begins_as_json(stream)
                member = Member(name, stream)
                yield (
                    partial(_json, member, self._catalog, self._wanted)
                    if as_json
                    else partial(_text, member, self.path, self._catalog, self._wanted)
                )
        except decoding.BROKEN as error:
            raise ReportUnreadable("file", self.path.name, f"whole: {error}") from error


def _log(member: Member, layout: Layout, wanted: Wanted) -> Text:
    """Return the text of a log of a member."""
    assert layout.read_lines is not None, "a log has a reading of its lines"
    assets = Assets(
        layout.aliases | dict(wanted.assets), layout.quotes, stated=wanted.pairs, listed=wanted.listed(layout.venue)
    )  # fmt: skip
    reading = Reading(layout, {}, assets, wanted.now)
    return Text(
        member.name, layout, reading, layout.read_lines(Lines(member.stream), reading), header_line=1, header=""
    )


def _json(member: Member, catalog: Catalog, wanted: Wanted) -> Text:
    """Return the text of JSON of a member. Raises ReportUnreadable where its objects are of no known layout."""
    items = json_texts.items(member.stream, wanted.now)
    first = next(items, None)
    layout = catalog.of_item(first) if isinstance(first, json_texts.Item) else None
    if layout is None or layout.read_item is None or first is None:
        keys = ", ".join(first.value) if isinstance(first, json_texts.Item) else ""
        names = "; ".join(f"{one.name} ({', '.join(one.keys)})" for one in catalog.every if one.read_item is not None)
        raise ReportUnreadable("file", member.name, f"JSON of objects known here (keys: {keys[:200]}). Known: {names}")
    found = json_texts.facts(chain([first], items), layout.read_item)
    reading = Reading(layout, {}, Assets(layout.aliases | dict(wanted.assets)), wanted.now)
    return Text(member.name, layout, reading, found, header_line=1, header="")


def _text(member: Member, path: Path, catalog: Catalog, wanted: Wanted) -> Text:
    def again() -> Iterator[Lines]:
        with decoding.opened(path) as (members, _):
            for one in members:
                if one.name == member.name:
                    yield Lines(decoding.as_utf8(one.stream))

    return _table(LineTable(member.name, Lines(member.stream), again), path, catalog, wanted)


def _table(table: LineTable, path: Path, catalog: Catalog, wanted: Wanted) -> Text:
    match, delimiter, line, before = _found(table.lines, catalog)
    layout = match.layout
    width = len(match.headers)
    least = 1 + max(match.columns[name] for name in layout.columns)
    header = tuple(map(normal, match.headers))

    def found_in(lines: Lines) -> Iterator[Record | Unreadable]:
        return records.records(lines, delimiter, width, least)

    def again() -> Iterator[Record]:
        for lines in table.again():
            skipped = _found(lines, catalog)
            assert skipped is not None, "the header was found before"
            yield from (record for record in found_in(lines) if isinstance(record, Record))

    sampled = list(islice(found_in(table.lines), SAMPLE_ROWS))
    sample = [record for record in sampled if isinstance(record, Record)]
    assets = Assets(
        layout.aliases | dict(wanted.assets), layout.quotes, stated=wanted.pairs,
        listed=wanted.listed(layout.venue), split=layout.split, strip=layout.strip,
    )  # fmt: skip
    origin = f"{' '.join(before)} {table.name} {path.name}"
    reading = Reading(
        layout, match.columns, assets, wanted.now, clock=_clock(match, sample, again, wanted, facts=origin),
        style=wanted.style or _style(match, sample, again, delimiter), headers=match.headers, origin=origin,
    )  # fmt: skip

    def facts() -> Iterator[Fact | Unreadable]:
        endings, line_read = {"BNB"}, 0
        try:
            for record in chain(sampled, found_in(table.lines)):
                yield from _facts(record, reading, header, endings)
                line_read = record.line
        except decoding.BROKEN as error:  # of a compressed file that was cut off
            yield Unreadable(
                line_read + 1, "", ReportUnreadable("file", table.name, f"whole after this line ({error})")
            )

    return Text(
        table.name,
        layout,
        reading,
        facts(),
        header_line=line.number,
        header="\n".join((*before, records.verbatim(line.content))),
        unknown=match.unknown,
    )


def _found(lines: Lines, catalog: Catalog) -> tuple[Match, str, records.Line, list[str]]:
    """Read up to the header. Return its match, delimiter and line, and the lines before. Raises ReportUnreadable."""
    before: list[str] = []
    widest: list[str] = []
    first_error: InvalidInput | None = None
    for line in islice(lines, PREAMBLE_LINES_MAX):
        if not line.content.strip():
            continue
        fault: InvalidInput | None = None
        for delimiter in DELIMITERS:
            if delimiter.encode() not in line.content and delimiter != ",":
                continue
            try:
                fields = records.fields_of(line.content, delimiter)
            except InvalidInput as error:
                fault = error
                continue
            while len(fields) > 1 and not fields[-1].strip():
                fields.pop()
            match = catalog.match(fields)
            if match is not None:
                return match, delimiter, line, before
            if len(fields) > len(widest):
                widest = fields
        first_error = first_error or fault
        before.append(records.verbatim(line.content)[:200])
    raise unknown_header(widest, catalog, first_error)


def unknown_header(headers: Sequence[str], catalog: Catalog, error: InvalidInput | None = None) -> ReportUnreadable:
    """Return the error of a header of no known layout, with the nearest layouts and what differs from them."""
    if len(headers) < 2 and error is not None:
        return ReportUnreadable("header", records.shortened(error).value, f"{error.rule}. {known(catalog)}")
    if not headers:
        return ReportUnreadable("header", "", f"of a layout known here. {known(catalog)}")
    near = "; ".join(f"({at}) {one}" for at, one in enumerate(catalog.nearest(headers), 1))
    return ReportUnreadable(
        "header", ",".join(headers)[:200], f"of a layout known here. Nearest: {near}. {known(catalog)}"
    )


def known(catalog: Catalog) -> str:
    """Return the names of the layouts in one sentence."""
    return f"Known: {', '.join(layout.name for layout in catalog.layouts)}"


def _clock(
    match: Match, sample: list[Record], again: Callable[[], Iterator[Record]], wanted: Wanted, facts: str
) -> Clock:
    """Decide how times are read: by the desk, the header, the lines above it, the file's name, and the dates."""
    offset = match.offset
    if not isinstance(offset, timedelta):
        offset = stated_offset(facts) or timedelta()
    order = wanted.dates or match.layout.order
    column = match.columns.get("date", match.columns.get("time"))
    if order is None and column is not None and any(needs_order(record.fields[column]) for record in sample):
        order = order_of(record.fields[column] for record in again())
    return Clock(order, offset)


def _style(match: Match, sample: list[Record], again: Callable[[], Iterator[Record]], delimiter: str) -> Style:
    columns = [at for name, at in match.columns.items() if name.startswith(NUMBERS) and not name.endswith("asset")]

    def numbers_of(found: Iterator[Record] | list[Record]) -> Iterator[str]:
        return (record.fields[at] for record in found for at in columns)

    if not any("," in text for text in numbers_of(sample)):
        return Style.POINT
    return style_of(numbers_of(again()), delimiter)


def _facts(
    record: Record | Unreadable, reading: Reading, header: tuple[str, ...], endings: set[str]
) -> Iterator[Fact | Unreadable]:
    if isinstance(record, Unreadable):
        yield record
        return
    line, raw, fields, is_ended = record
    if fields[0].lstrip('\ufeff "')[:1].casefold() == header[0][:1] and tuple(map(normal, fields)) == header:
        return  # the header once more: files were joined
    row = Row(reading, fields, line, raw)
    if is_total(row, fields):
        yield Ignored(Source(line, raw, EPOCH), "a total")
        return
    try:
        found = reading.layout.read(row)
        if not is_ended:
            _check_whole(fields[-1], reading.headers[-1], endings)
    except InvalidInput as error:
        yield Unreadable(line, raw, records.shortened(error))
        return
    if len(endings) < ENDINGS_MAX:
        endings.add(fields[-1])
    yield from found


def _check_whole(last: str, header: str, endings: set[str]) -> None:
    """Refuse the last line of a file that was truncated in its last field: `BT` where other lines have `BTC`."""
    if last not in endings and last.isalpha() and any(known.startswith(last) for known in endings):
        raise ReportUnreadable(header, last, "whole: the file ends inside this line")


def is_total(row: Row, fields: Sequence[str]) -> bool:
    """Whether a row is a total below the others: it has no time, and a cell says so."""
    time = row.text("time").casefold()
    return (not time or time in TOTALS) and any(field.strip().strip(":").casefold() in TOTALS for field in fields)
