"""A file of trades into the book: read, put in order of occurrence, reported in batches, accounted for line by line.

Every line ends as one of four: recorded now, already known, conflicting (the book has another content under its exec
id: kept as a break, not booked), or unreadable (kept raw as evidence). Each batch is one append, all or nothing, so an
import that was stopped anywhere is continued by starting it again: what is on record is recognised.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from pathlib import Path

from msgspec import Struct, field
from msgspec.structs import asdict

from adapters.exchanges import Unreadable
from adapters.exchanges.sorting import in_order
from adapters.exchanges.via_csv import CsvHistory, ImportContext, Row
from adapters.writer.writer import Writer
from domain import account, instrument, order, values
from domain.account import Costing, OpenAccount, RawReportKept
from domain.errors import InvalidInput, LedgerError, ReportUnreadable, RequestRefused, Unavailable
from domain.ledger import Answer, Report
from domain.order import OrderFilled

BATCH_REPORTS_MAX = 500
FINDINGS_MAX = 100
BASE_CURRENCY = "USDT"  # of an account that an import opens
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


class Finding(Struct, frozen=True):
    """What is wrong with one line of the file (the header is line 1)."""

    line: int
    error: str


class ImportSummary(Struct):
    """What became of a file's lines: read = recorded + already_known + conflicting + unreadable.

    `conflicts` and `errors` tell of the first 100 of each. `seq` is the place in the log that covers all of it.
    """

    source: str
    read: int = 0
    recorded: int = 0
    already_known: int = 0
    conflicting: int = 0
    unreadable: int = 0
    conflicts: list[Finding] = field(default_factory=list)
    errors: list[Finding] = field(default_factory=list)
    seq: int = 0


class ImportProgress(Struct, frozen=True):
    """How far an import is: lines settled so far, and how much of the file has been read."""

    read: int
    recorded: int
    already_known: int
    conflicting: int
    unreadable: int
    bytes_read: int
    bytes_total: int

    @property
    def fraction(self) -> float:
        """From 0 to 1: the lines that are settled, of as many as the whole file seems to have."""
        settled = self.recorded + self.already_known + self.conflicting + self.unreadable
        return settled * self.bytes_read / (self.read * self.bytes_total) if self.read and self.bytes_total else 1.0


def ignore(_: ImportProgress) -> None:
    """For those who do not watch."""


def import_file(
    writer: Writer,
    path: Path,
    *,
    account_id: str = "main",
    strategy_id: str = "main",
    now: datetime,
    actor: str,
    on_progress: Callable[[ImportProgress], None] = ignore,
) -> ImportSummary:
    """Take down a trade history; what became of it. The account is opened and the instruments are listed if need be.

    Raises InvalidInput if the file is of no known layout (nothing was recorded then), and Unavailable when the
    database goes away, saying how far it came.
    """
    whose = ImportContext(values.name(account_id, "account_id"), values.name(strategy_id, "strategy_id"), now)
    with CsvHistory(path, whose) as history:
        importing = _Import(writer, history, whose, actor, on_progress)
        try:
            importing.run()
        except Unavailable as error:
            summary = importing.summary
            raise Unavailable(
                f"{error}. {path.name}: {summary.recorded} fills were recorded, {summary.already_known} were known "
                "already; import the file again to go on from there, nothing will be doubled"
            ) from error
        return importing.summary


class _Import:
    """One file on its way into the book."""

    def __init__(
        self,
        writer: Writer,
        history: CsvHistory,
        whose: ImportContext,
        actor: str,
        on_progress: Callable[[ImportProgress], None],
    ) -> None:
        self._writer = writer
        self._history = history
        self._whose = whose
        self._actor = actor
        self._on_progress = on_progress
        self._listed: set[str] = set()
        self.summary = ImportSummary(history.path.name)

    def run(self) -> None:
        """Everything, batch by batch."""
        self._open_account()
        for batch in _batches(in_order(self._counted()), BATCH_REPORTS_MAX):
            self._report([self._with_instrument(item) for item in batch])
            self._tell()
        self._tell()

    def _counted(self) -> Iterator[Row | Unreadable]:
        for item in self._history.rows():
            self.summary.read += 1
            yield item

    def _tell(self) -> None:
        known = asdict(self.summary)
        counts = {name: known[name] for name in ImportProgress.__struct_fields__ if name in known}
        history = self._history
        self._on_progress(ImportProgress(**counts, bytes_read=history.bytes_read, bytes_total=history.bytes_total))

    def _open_account(self) -> None:
        stream = account.stream(self._whose.account_id)
        if self._writer.state(stream) is None:
            opening = OpenAccount(self._whose.account_id, BASE_CURRENCY, Costing(), self._whose.now)
            try:
                self.summary.seq = self._writer.request(opening, actor=self._actor).seq
            except RequestRefused:
                if self._writer.state(stream) is None:
                    raise
                # somebody opened it just now, with other conventions: they hold

    def _with_instrument(self, item: Row | Unreadable) -> Row | Unreadable:
        """The row, its instrument on record; unreadable if nobody knows the instrument."""
        if isinstance(item, Unreadable) or item.fill.instrument_id in self._listed:
            return item
        instrument_id = item.fill.instrument_id
        if self._writer.state(instrument.stream(instrument_id)) is None:
            listing = self._history.layout.listing(values.symbol_of(instrument_id))
            if listing is None:
                return Unreadable(item.line, item.raw, _unlisted(instrument_id))
            self._writer.request(listing, actor=self._actor)
        self._listed.add(instrument_id)
        return item

    def _report(self, batch: Sequence[Row | Unreadable]) -> None:
        """One append; then what it made of each line."""
        reports: list[Report] = [item.fill if isinstance(item, Row) else self._kept(item) for item in batch]
        for item, answer in zip(batch, self._writer.report(reports, actor=self._actor), strict=True):
            self.summary.seq = max(self.summary.seq, answer.seq)
            if isinstance(item, Unreadable):
                self._count_unreadable(item.line, item.error)
            elif answer.error is not None:
                self._count_unreadable(item.line, answer.error)
            else:
                self._count_fill(item, answer)

    def _kept(self, item: Unreadable) -> RawReportKept:
        source = f"{self._history.path.name}:{item.line}"
        return RawReportKept(self._whose.account_id, self._history.venue, source, item.raw, str(item.error))

    def _count_unreadable(self, line: int, error: LedgerError) -> None:
        self.summary.unreadable += 1
        if len(self.summary.errors) < FINDINGS_MAX:
            self.summary.errors.append(Finding(line, str(error)))

    def _count_fill(self, row: Row, answer: Answer) -> None:
        if any(isinstance(recorded.event, OrderFilled) for recorded in answer.records):
            self.summary.recorded += 1
            return
        on_record = answer.on_record
        assert on_record is not None, "a fill that was not booked now was booked before"
        if order.same_fill(on_record, row.fill):
            self.summary.already_known += 1
            return
        self.summary.conflicting += 1
        if len(self.summary.conflicts) < FINDINGS_MAX:
            self.summary.conflicts.append(Finding(row.line, _difference(on_record, row.fill)))


def _unlisted(instrument_id: str) -> InvalidInput:
    command = (
        f"daybook instrument add {instrument_id} --base CURRENCY --quote CURRENCY --tick-size PRICE --lot-size QTY"
    )
    rule = f"of a listed instrument; list it with `{command}`, then import again"
    return ReportUnreadable("symbol", values.symbol_of(instrument_id), rule)


def _difference(on_record: OrderFilled, told: OrderFilled) -> str:
    """What a second telling of a fill says otherwise."""
    differing = [
        f"{name} {_shown(getattr(on_record, name))} on record, {_shown(getattr(told, name))} in this line"
        for name in FIELDS_OF_A_FILL
        if getattr(on_record, name) != getattr(told, name)
    ]
    return f"exec_id {told.exec_id} is on record with another content: {'; '.join(differing)}"


def _shown(value: object) -> str:
    match value:
        case values.Money():
            return f"{value.amount:f} {value.currency}"
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case _:
            return str(value)


def _batches(items: Iterable[Row | Unreadable], size: int) -> Iterator[list[Row | Unreadable]]:
    source = iter(items)
    while batch := list(islice(source, size)):
        yield batch
