"""Import of an export file: read, sorted by time of occurrence, recorded in batches, accounted for row by row.

Every row ends as one of six: recorded now, completing what is on record, already known, conflicting (it contradicts
what is on record: kept as a break, not booked), unreadable (kept raw as evidence), or skipped, as it moves nothing. A
row that is recorded may break a rule: it is in the book, and a break was opened beside it. Each batch is one append,
all or nothing, so an import that was stopped anywhere is continued by starting it again: what is on record is
recognised.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from pathlib import Path

from msgspec import Struct

from adapters.exchanges import Unreadable
from adapters.exchanges.binance import BINANCE, binance_spot
from adapters.exchanges.files.assets import Listed
from adapters.exchanges.files.balances import Balances
from adapters.exchanges.files.facts import Fact
from adapters.exchanges.files.grouping import Together, together
from adapters.exchanges.files.numbers import Style
from adapters.exchanges.files.reading import ExportFile, Text, Wanted
from adapters.exchanges.files.reports import Booked, Skipped, Whose, reports
from adapters.exchanges.files.sorting import in_order, moments
from adapters.exchanges.files.times import DateOrder
from adapters.exchanges.layouts.catalog import catalog
from adapters.writer.writer import ANSWER_SECONDS_MAX, Writer
from api.intake.importing.counts import (
    BalancesFound,
    Finding,
    ImportProgress,
    ImportSummary,
    LayoutFound,
    ignore,
)
from domain import account, instrument, order, values
from domain.access import Actor
from domain.account import HEADER_KEPT, AccountBroken, Costing, OpenAccount, RawReportKept
from domain.errors import InvalidInput, LedgerError, ReportUnreadable, RequestRefused, Unavailable
from domain.errors.codes import Code
from domain.errors.sentences import code_of, sentence
from domain.instrument import Contract, ListInstrument
from domain.ledger import Answer, Command, Report
from domain.order import OrderBroken, OrderFillCompleted, OrderFilled
from domain.position import PositionBroken

BATCH_REPORTS_MAX = 500
BATCHES_AHEAD_MAX = 4  # that are sent and have no answer yet, where this process leads
BASE_CURRENCY = "USDT"  # of an account that an import opens
NEUTRAL = "DAYBOOK"  # the venue of files whose rows name their own
FIELDS_OF_A_FILL = (
    "instrument_id",
    "side",
    "trade_seq",
    "last_qty",
    "last_px",
    "commission",
    "liquidity",
    "transact_time",
)
Item = Booked | Unreadable | Skipped


class Stated(Struct, frozen=True):
    """What the desk states about its files: the order of dates, the assets of pairs, the names of assets, and the sign
    before decimals.
    """

    dates: DateOrder | None = None
    pairs: Mapping[str, tuple[str, str]] = {}
    assets: Mapping[str, str] = {}
    style: Style | None = None


def no_row(_line: int, _outcome: str) -> None:
    """Note nothing of a row."""


def import_file(
    writer: Writer,
    path: Path,
    *,
    account_id: str = "main",
    strategy_id: str = "main",
    now: datetime,
    actor: Actor,
    stated: Stated | None = None,
    name: str = "",
    is_dry_run: bool = False,
    on_progress: Callable[[ImportProgress], None] = ignore,
    on_row: Callable[[int, str], None] = no_row,
) -> ImportSummary:
    """Record an export file and return the summary. The account is opened and instruments are listed if need be.

    A dry run reads all of it and records nothing. `name` is the file's own, where `path` is another. `on_row` is called
    with the line of each row, and the name of its count in the summary.

    Raises InvalidInput if the file is of no known layout (nothing was recorded then), and Unavailable when the
    database goes away; its message states how much was recorded.
    """
    stated = stated or Stated()
    whose = Whose(values.name(account_id, "account_id"), values.name(strategy_id, "strategy_id"), "")
    wanted = Wanted(now, stated.dates, stated.pairs, stated.assets, listed=listed_in(writer), style=stated.style)
    with ExportFile(path, catalog(), wanted) as file:
        importing = Import(
            writer, file, whose, actor=actor, now=now, name=name or path.name, is_dry_run=is_dry_run,
            on_progress=on_progress, on_row=on_row,
        )  # fmt: skip
        try:
            importing.run()
        except Unavailable as error:
            summary = importing.summary
            raise Unavailable(
                f"{error}. {importing.name}: {summary.recorded} fills were recorded, {summary.already_known} were "
                "known already; import the file again to go on from there, nothing will be doubled"
            ) from error
        return importing.summary


def listed_in(writer: Writer) -> Callable[[str], Listed]:
    """Return the look-up of contracts on record by venue, then symbol; each is looked up once."""

    def of_venue(venue: str) -> Listed:
        known: dict[str, Contract | None] = {}

        def listed(symbol: str) -> Contract | None:
            if symbol not in known:
                known[symbol] = _contract(writer, symbol if venue == NEUTRAL else f"{symbol}.{venue}")
            return known[symbol]

        return listed

    return of_venue


def _contract(writer: Writer, instrument_id: str) -> Contract | None:
    try:
        found = writer.state(instrument.stream(values.instrument_id(instrument_id)))
    except InvalidInput:
        return None
    return None if found is None else found.contract


class Import:
    """The import of one file."""

    def __init__(
        self,
        writer: Writer,
        file: ExportFile,
        whose: Whose,
        *,
        actor: Actor,
        now: datetime,
        name: str,
        is_dry_run: bool,
        on_progress: Callable[[ImportProgress], None],
        on_row: Callable[[int, str], None],
    ) -> None:
        """Import `file` for the account and strategy of `whose`."""
        self.name = name
        self._writer = writer
        self._file = file
        self._whose = whose
        self._actor = actor
        self._now = now
        self._on_progress = on_progress
        self._on_row = on_row
        self._listed: set[str] = set()
        self._is_header_kept = False
        self._waiting: deque[tuple[Sequence[Booked | Unreadable], Callable[[], list[Answer]]]] = deque()
        self.summary = ImportSummary(name, is_dry_run=is_dry_run)

    def run(self) -> None:
        """Record the file, text by text and batch by batch."""
        is_open = False
        for text in self._file.texts():
            if isinstance(text, ReportUnreadable):
                self.summary.note(self.summary.errors, Finding(0, str(text), Code.UNREADABLE, file=self.name))
                self.summary.read += 1
                self.summary.count("unreadable", "file")
                continue
            if not is_open:
                is_open = True
                self._open_account(text.layout.venue if text.layout.is_venue else "")
            self._record(text)
        self._show_progress()

    def _record(self, text: Text) -> None:
        self.summary.layouts.append(layout_found(text))
        self._is_header_kept = False
        balances = Balances()
        for batch in _batches(self._items(text, balances), BATCH_REPORTS_MAX):
            self._report([self._with_instrument(item) for item in batch], text)
            while len(self._waiting) > BATCHES_AHEAD_MAX:
                self._settle_next(text)
            self._show_progress()
        while self._waiting:
            self._settle_next(text)
            self._show_progress()
        for asset, amount in balances.changes.items():
            self.summary.changes[asset] = values.exact(self.summary.changes.get(asset, values.ZERO) + amount)
        if balances.compared:
            self.summary.balances.append(BalancesFound(balances.compared, balances.parted))

    def _items(self, text: Text, balances: Balances) -> Iterator[Item]:
        """Yield the reports of a text in order of occurrence."""
        layout, assets = text.layout, text.reading.assets
        whose = self._whose._replace(venue=layout.venue)
        for moment in moments(self._compared(in_order(self._counted(text)), balances)):
            if isinstance(moment, Unreadable):
                yield moment
                continue
            found = list(together(moment.facts, assets, layout.symbol_form, is_edge=moment.is_edge))
            yield from (one for one in found if isinstance(one, Unreadable))
            yield from reports((one for one in found if isinstance(one, Together)), whose)

    def _counted(self, text: Text) -> Iterator[Fact | Unreadable]:
        last = 0
        for item in text.facts:
            line = item.line if isinstance(item, Unreadable) else item.source.line
            if line != last:
                self.summary.read += 1
                last = line
            yield item

    def _compared(self, found: Iterable[Fact | Unreadable], balances: Balances) -> Iterator[Fact | Unreadable]:
        for item in found:
            if not isinstance(item, Unreadable):
                balances.add(item)
                if item.source.at > values.EPOCH:
                    self.summary.first_at = self.summary.first_at or item.source.at
                    self.summary.last_at = item.source.at
            yield item

    def _show_progress(self) -> None:
        self._on_progress(self.summary.progress(self._file.bytes_read, self._file.bytes_total))

    def _open_account(self, venue: str) -> None:
        """Open the account where it is not open yet: kept at the venue of its first file."""
        stream = account.stream(self._whose.account_id)
        if not self.summary.is_dry_run and self._writer.state(stream) is None:
            opening = OpenAccount(self._whose.account_id, BASE_CURRENCY, Costing(), self._now, venue=venue)
            try:
                self.summary.seq = self._writer.request(opening, actor=self._actor).seq
            except RequestRefused:
                if self._writer.state(stream) is None:
                    raise
                # another process opened it just now, with other conventions: they hold

    def _with_instrument(self, item: Item) -> Item:
        """Return the item once its instrument is on record."""
        if not isinstance(item, Booked) or item.listing is None or self.summary.is_dry_run:
            return item
        listing = _finest(item.listing)
        if listing.instrument_id in self._listed:
            return item
        if self._writer.state(instrument.stream(listing.instrument_id)) is None:
            try:
                self._writer.request(listing, actor=self._actor)
            except RequestRefused as error:
                return _unreadable(item, ReportUnreadable("instrument", listing.instrument_id, str(error)))
        self._listed.add(listing.instrument_id)
        return item

    def _report(self, batch: Sequence[Item], text: Text) -> None:
        """Record a batch in one append and count the outcome of each row."""
        for item in batch:
            if isinstance(item, Skipped):
                self.summary.count("skipped", "skipped")
                self._on_row(item.line, "skipped")
        with_outcome = [item for item in batch if not isinstance(item, Skipped)]
        if self.summary.is_dry_run:
            self._foresee(with_outcome)
            return
        sent: list[Report] = [
            self._kept(item, text) if isinstance(item, Unreadable) else item.report for item in with_outcome
        ]
        if any(isinstance(item, Unreadable) for item in with_outcome):
            self._keep_header(text)
        self._waiting.append((with_outcome, self._sent(sent)))
        if not self._writer.is_leading:
            self._settle_next(text)

    def _sent(self, reports_: Sequence[Report]) -> Callable[[], list[Answer]]:
        """Send reports; return a function that waits for their answers. Where this process leads, it does not wait."""
        if not self._writer.is_leading:
            answers = self._writer.report(reports_, actor=self._actor)
            return lambda: answers
        future = self._writer.submit(Command(tuple(reports_), self._actor))

        def answered() -> list[Answer]:
            found: list[Answer] = future.result(ANSWER_SECONDS_MAX)
            return found

        return answered

    def _settle_next(self, text: Text) -> None:
        """Count the outcome of the rows of the batch that was sent first."""
        batch, answered = self._waiting.popleft()
        for item, answer in zip(batch, answered(), strict=True):
            self.summary.seq = max(self.summary.seq, answer.seq)
            if isinstance(item, Unreadable):
                self._count_unreadable(item.line, item.error, text)
            elif answer.error is not None:
                self._refused(item, answer.error, text)
            else:
                self._count(item, answer)

    def _foresee(self, items: Sequence[Booked | Unreadable]) -> None:
        for item in items:
            if isinstance(item, Unreadable):
                self.summary.count("unreadable", "unreadable")
                self.summary.note(self.summary.errors, Finding(item.line, str(item.error), Code.UNREADABLE))
            else:
                self.summary.count("recorded", item.kind, len(item.sources))

    def _keep_header(self, text: Text) -> None:
        """Keep the header of a text once, so that its rows that were kept can be read again."""
        if self._is_header_kept or not text.header:
            return
        self._is_header_kept = True
        source = f"{self._source(text)}:{text.header_line}"
        clock, style = text.reading.clock, text.reading.style
        decided = f"dates {clock.order or DateOrder.YMD}, decimals {style}, strategy {self._whose.strategy_id}"
        reason = f"{HEADER_KEPT}: {text.layout.name}, {decided}"
        kept = RawReportKept(self._whose.account_id, text.layout.venue, source=source, raw=text.header, reason=reason)
        self._writer.report([kept], actor=self._actor)

    def _source(self, text: Text) -> str:
        return self.name if text.name == self._file.path.name else f"{self.name}/{text.name}"

    def _kept(self, item: Unreadable, text: Text) -> RawReportKept:
        return RawReportKept(
            self._whose.account_id, text.layout.venue, source=f"{self._source(text)}:{item.line}", raw=item.raw,
            reason=str(item.error),
        )  # fmt: skip

    def _refused(self, item: Booked, error: LedgerError, text: Text) -> None:
        """Keep the rows of a report that could not be recorded."""
        for source in item.sources:
            kept = _unreadable(item, ReportUnreadable("row", source.raw[:100], str(error)))
            self._writer.report([self._kept(kept._replace(line=source.line, raw=source.raw), text)], actor=self._actor)
            self._count_unreadable(source.line, error, text)

    def _count_unreadable(self, line: int, error: LedgerError, text: Text) -> None:
        self.summary.count("unreadable", "unreadable")
        self._on_row(line, "unreadable")
        file = "" if text.name == self._file.path.name else text.name
        self.summary.note(self.summary.errors, Finding(line, str(error), Code.UNREADABLE, file=file))

    def _settle(self, item: Booked, outcome: str) -> None:
        self.summary.count(outcome, item.kind, len(item.sources))
        for source in item.sources:
            self._on_row(source.line, outcome)

    def _count(self, item: Booked, answer: Answer) -> None:
        line = item.sources[0].line if item.sources else 0
        if not isinstance(item.report, OrderFilled):
            self._count_other(item, answer)
        elif any(isinstance(recorded.event, OrderFilled) for recorded in answer.records):
            self._settle(item, "recorded")
            self._count_break(line, _rule_broken(answer))
        elif any(isinstance(recorded.event, OrderFillCompleted) for recorded in answer.records):
            self._settle(item, "completed")
        else:
            on_record = answer.on_record
            assert on_record is not None, "a fill that was not booked now was booked before"
            if order.completed(on_record, item.report) is not None:
                self._settle(item, "already_known")
                return
            self._settle(item, "conflicting")
            found = Finding(line, _difference(on_record, item.report), Code.EXEC_ID_CONFLICT)
            self.summary.note(self.summary.conflicts, found)

    def _count_other(self, item: Booked, answer: Answer) -> None:
        line = item.sources[0].line if item.sources else 0
        broken = [
            one.event for one in answer.records if isinstance(one.event, AccountBroken | PositionBroken | OrderBroken)
        ]
        if not answer.records:
            self._settle(item, "already_known")
        elif len(broken) == len(answer.records):
            self._settle(item, "conflicting")
            self.summary.note(self.summary.conflicts, Finding(line, broken[0].rule, Code.REFUSED))
        else:
            self._settle(item, "recorded")
            self._count_break(line, broken[0].rule if broken else "")

    def _count_break(self, line: int, rule: str) -> None:
        if rule:
            self.summary.broken += 1
            self.summary.note(self.summary.breaks, Finding(line, sentence(rule, {}), code_of(rule) or Code.REFUSED))


def layout_found(text: Text) -> LayoutFound:
    """Return which layout recognised a text, and how it is read."""
    reading = text.reading
    return LayoutFound(
        text.name, text.layout.name, text.layout.venue, columns=sorted(reading.columns),
        columns_not_used=list(text.unknown),
        offset_minutes=int(reading.clock.offset.total_seconds() // 60), decimal_sign=reading.style.value,
    )  # fmt: skip


def _finest(listing: ListInstrument) -> ListInstrument:
    """Return the listing of an instrument, with the venue's own steps where they are known."""
    symbol, venue = values.symbol_of(listing.instrument_id), values.venue_of(listing.instrument_id)
    known = binance_spot(symbol) if venue == BINANCE else None
    return known if known is not None and known.contract == listing.contract else listing


def _unreadable(item: Booked, error: InvalidInput) -> Unreadable:
    source = item.sources[0] if item.sources else None
    return Unreadable(source.line if source else 0, source.raw if source else "", error)


def _rule_broken(answer: Answer) -> str:
    """Return the rule that a fill breaks that was recorded now; "" for none."""
    booked = [recorded.event for recorded in answer.records if isinstance(recorded.event, OrderFilled)]
    broken = [recorded.event for recorded in answer.records if isinstance(recorded.event, OrderBroken)]
    return next((each.rule for each in broken if each.report in booked), "")


def _difference(on_record: OrderFilled, repeated: OrderFilled) -> str:
    """Describe how a fill differs from the one on record under its exec id."""
    differing = [
        f"{name} {_shown(getattr(on_record, name))} on record, {_shown(getattr(repeated, name))} in this line"
        for name in FIELDS_OF_A_FILL
        if getattr(on_record, name) != getattr(repeated, name)
    ]
    return f"exec_id {repeated.exec_id} is on record with another content: {'; '.join(differing)}"


def _shown(value: object) -> str:
    match value:
        case values.Money():
            return f"{value.amount:f} {value.currency}"
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case _:
            return str(value)


def _batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    source = iter(items)
    while batch := list(islice(source, size)):
        yield batch
