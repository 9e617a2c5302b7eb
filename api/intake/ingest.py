"""Import of a trade history: read, sorted by time of occurrence, recorded in batches, accounted for line by line.

Every line ends as one of five: recorded now, completing what is on record, already known, conflicting (it contradicts
what is on record: kept as a break, not booked), or unreadable (kept raw as evidence). A line that is recorded may break
a rule: it is in the book, and a break was opened beside it. Each batch is one append, all or
nothing, so an import that was stopped anywhere is continued by starting it again: what is on record is recognised.
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
from domain.access import Actor
from domain.account import Costing, OpenAccount, RawReportKept
from domain.errors import InvalidInput, LedgerError, ReportUnreadable, RequestRefused, Unavailable
from domain.ledger import Answer, Report
from domain.order import OrderBroken, OrderFillCompleted, OrderFilled
from domain.reasons.codes import Code
from domain.reasons.sentences import code_of, sentence

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
    """What is wrong with one line of the file (the header is line 1), and its code."""

    line: int
    error: str
    code: Code


class ImportSummary(Struct):
    """The outcome of a file's lines: read = recorded + completed + already_known + conflicting + unreadable.

    `broken` of those recorded are booked with a break beside them; conflicting and unreadable ones are not booked.
    `breaks`, `conflicts` and `errors` list the first 100 of each. `seq` is the place in the log that covers all of it.
    """

    source: str
    read: int = 0
    recorded: int = 0
    completed: int = 0
    already_known: int = 0
    conflicting: int = 0
    unreadable: int = 0
    broken: int = 0
    breaks: list[Finding] = field(default_factory=list)
    conflicts: list[Finding] = field(default_factory=list)
    errors: list[Finding] = field(default_factory=list)
    seq: int = 0


class ImportProgress(Struct, frozen=True):
    """How far an import is: lines settled so far, and how much of the file has been read."""

    read: int
    recorded: int
    completed: int
    already_known: int
    conflicting: int
    unreadable: int
    bytes_read: int
    bytes_total: int

    @property
    def fraction(self) -> float:
        """From 0 to 1: the lines that are settled, of an estimate of all lines of the file."""
        settled = self.recorded + self.completed + self.already_known + self.conflicting + self.unreadable
        return settled * self.bytes_read / (self.read * self.bytes_total) if self.read and self.bytes_total else 1.0


def ignore(_: ImportProgress) -> None:
    """Ignore progress."""


def import_file(
    writer: Writer,
    path: Path,
    *,
    account_id: str = "main",
    strategy_id: str = "main",
    now: datetime,
    actor: Actor,
    on_progress: Callable[[ImportProgress], None] = ignore,
) -> ImportSummary:
    """Record a trade history and return the summary. The account is opened and instruments are listed if need be.

    Raises InvalidInput if the file is of no known layout (nothing was recorded then), and Unavailable when the
    database goes away; its message states how much was recorded.
    """
    context = ImportContext(values.name(account_id, "account_id"), values.name(strategy_id, "strategy_id"), now)
    with CsvHistory(path, context) as history:
        importing = _Import(writer, history, context, actor=actor, on_progress=on_progress)
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
    """The import of one file."""

    def __init__(
        self,
        writer: Writer,
        history: CsvHistory,
        context: ImportContext,
        actor: Actor,
        on_progress: Callable[[ImportProgress], None],
    ) -> None:
        self._writer = writer
        self._history = history
        self._context = context
        self._actor = actor
        self._on_progress = on_progress
        self._listed: set[str] = set()
        self.summary = ImportSummary(history.path.name)

    def run(self) -> None:
        """Record the file batch by batch."""
        self._open_account()
        for batch in _batches(in_order(self._counted()), BATCH_REPORTS_MAX):
            self._report([self._with_instrument(item) for item in batch])
            self._show_progress()
        self._show_progress()

    def _counted(self) -> Iterator[Row | Unreadable]:
        for item in self._history.rows():
            self.summary.read += 1
            yield item

    def _show_progress(self) -> None:
        known = asdict(self.summary)
        counts = {name: known[name] for name in ImportProgress.__struct_fields__ if name in known}
        history = self._history
        self._on_progress(ImportProgress(**counts, bytes_read=history.bytes_read, bytes_total=history.bytes_total))

    def _open_account(self) -> None:
        stream = account.stream(self._context.account_id)
        if self._writer.state(stream) is None:
            opening = OpenAccount(self._context.account_id, BASE_CURRENCY, Costing(), self._context.now)
            try:
                self.summary.seq = self._writer.request(opening, actor=self._actor).seq
            except RequestRefused:
                if self._writer.state(stream) is None:
                    raise
                # another process opened it just now, with other conventions: they hold

    def _with_instrument(self, item: Row | Unreadable) -> Row | Unreadable:
        """Return the row once its instrument is on record; unreadable if the instrument is not known."""
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
        """Record a batch in one append and count the outcome of each line."""
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
        return RawReportKept(
            self._context.account_id, self._history.venue, source=source, raw=item.raw, reason=str(item.error)
        )  # fmt: skip

    def _count_break(self, row: Row, answer: Answer) -> None:
        rule = _rule_broken(answer)
        if not rule:
            return
        self.summary.broken += 1
        if len(self.summary.breaks) < FINDINGS_MAX:
            found = Finding(row.line, sentence(rule, {}), code_of(rule) or Code.REFUSED)
            self.summary.breaks.append(found)

    def _count_unreadable(self, line: int, error: LedgerError) -> None:
        self.summary.unreadable += 1
        if len(self.summary.errors) < FINDINGS_MAX:
            self.summary.errors.append(Finding(line, str(error), Code.UNREADABLE))

    def _count_fill(self, row: Row, answer: Answer) -> None:
        if any(isinstance(recorded.event, OrderFilled) for recorded in answer.records):
            self.summary.recorded += 1
            self._count_break(row, answer)
            return
        if any(isinstance(recorded.event, OrderFillCompleted) for recorded in answer.records):
            self.summary.completed += 1
            return
        on_record = answer.on_record
        assert on_record is not None, "a fill that was not booked now was booked before"
        if order.completed(on_record, row.fill) is not None:
            self.summary.already_known += 1
            return
        self.summary.conflicting += 1
        if len(self.summary.conflicts) < FINDINGS_MAX:
            self.summary.conflicts.append(Finding(row.line, _difference(on_record, row.fill), Code.EXEC_ID_CONFLICT))


def _rule_broken(answer: Answer) -> str:
    """Return the rule that a fill breaks that was recorded now; "" for none."""
    booked = [recorded.event for recorded in answer.records if isinstance(recorded.event, OrderFilled)]
    broken = [recorded.event for recorded in answer.records if isinstance(recorded.event, OrderBroken)]
    return next((each.rule for each in broken if each.report in booked), "")


def _unlisted(instrument_id: str) -> InvalidInput:
    command = (
        f"daybook instrument add {instrument_id} --base CURRENCY --quote CURRENCY --tick-size PRICE --lot-size QTY"
    )
    rule = f"of a listed instrument; list it with `{command}`, then import again"
    return ReportUnreadable("symbol", values.symbol_of(instrument_id), rule)


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


def _batches(items: Iterable[Row | Unreadable], size: int) -> Iterator[list[Row | Unreadable]]:
    source = iter(items)
    while batch := list(islice(source, size)):
        yield batch
