"""Compute a report with its digest, or reproduce it from a digest, and write it in any format.

The moment that a report is of is that of the book: when the last event was recorded, a batch of marks included, or if
that was before the last close that a report of days includes, that close. Its marks are those that the log has then,
and each is compared with its batch in the log before it counts. The ages of marks count up to it, so the same
book gives the same bytes whenever it is read.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, BinaryIO, NamedTuple

from msgspec.structs import replace

from adapters.market.mark_store import KnownBy, MarkStore
from adapters.postgres.connections import reaching
from api.clock import now
from api.daybook import Daybook
from api.parameters import Format, Moment, given_marks
from api.problems import Problem
from api.read_models.selection import check_selection
from api.read_models.snapshot import Reading, aged, check_given, reading
from api.reports import analyses
from api.reports.analyses import Basis, Content
from api.reports.arrow_copy import copied
from api.reports.catalog import LAID_OUT, PLAIN_TEXT, REPORTS, STATEMENT, Parameters, Part, Report, report_of
from api.reports.changes import changed
from api.reports.committed_marks import check_recorded
from api.reports.contents import content_of, models_of, paged_entries
from api.reports.digest import Digest, hash_of
from api.reports.files import Shape, batches_of, shapes_of, write_csv, write_json, write_parquet
from api.reports.plaintext import export
from api.settings import release
from api.statements.periods import period_of
from api.statements.statement import Statement, bases, gathered
from domain.errors import InvalidInput
from domain.marks import MarkOnRecord
from domain.values import EPOCH, Mark
from projections.analytics.valuation import Marks
from projections.models import journal, reference_data
from projections.models.positions import positions
from projections.storage.rows import Source

AT_ONE_MOMENT = ("pnl", "exposure", STATEMENT)  # the marks of other reports are looked up as they are computed


def needs(name: str, parameters: Parameters) -> tuple[str, ...]:
    """Return the read models that a report is read from. Raises Problem for an unknown report, InvalidInput."""
    report = report_of(name)
    if parameters.occurred_by is not None and not report.occurs:
        known = ", ".join(one.name for one in REPORTS.values() if one.occurs)
        raise InvalidInput(
            "known_at", parameters.occurred_by, f"given with as_of only for {known}: other reports are as recorded, by"
            " as_of alone",
        )  # fmt: skip
    return models_of(report, parameters)


class Made(NamedTuple):
    """A report ready to be written, once."""

    digest: Digest
    basis: Basis
    content: Content

    @property
    def report(self) -> Report:
        """Its entry in the catalog."""
        return report_of(self.digest.report)

    @property
    def missing(self) -> Sequence[str]:
        """The marks and rates that some of its figures need and that are not on record."""
        return self.content.missing

    @property
    def parts(self) -> list[Part]:
        """The parts that it shows: the one requested, or all."""
        wanted = self.digest.parameters.part
        return [part for part in self.report.parts if wanted in (None, part.name)]

    def shapes(self, part: Part) -> dict[str, Shape]:
        """Return what the columns of a part hold."""
        return shapes_of(self.report, part, has_change=self.digest.parameters.since_seq is not None)

    def write(self, out: BinaryIO) -> None:
        """Write it in its format. Raises Problem if a value does not fit."""
        match form := self.digest.form:
            case Format.JSON:
                write_json(self._about(), [(part, self.shapes(part), self._rows(part)) for part in self.parts], out)
            case Format.CSV:
                part = self.parts[0]
                write_csv(self.shapes(part), self._rows(part), out)
            case Format.PARQUET:
                self._write_parquet(out)
            case Format.HTML | Format.PDF:
                out.write(laid_out(analyses.statement_of(self.basis), self.digest))
            case Format.HLEDGER | Format.BEANCOUNT:
                out.writelines(line.encode() for line in self._plain_text(form))
            case Format.TABLE:
                raise InvalidInput("format", form, "a format of files")

    def _rows(self, part: Part) -> Any:
        return self.content.parts.get(part.name, ())

    def _about(self) -> dict[str, Any]:
        """Return what a report in JSON has before its rows."""
        digest = self.digest
        about = {"report": digest.report, "seq": digest.seq, "recorded_at": digest.recorded_at}
        about |= {"occurred_by": digest.parameters.occurred_by, "valued_at": digest.marks_at}
        if digest.parameters.since_seq is not None:
            about["since_seq"] = digest.parameters.since_seq
        about |= {"digest": digest.text(), "missing": self.missing} | dict(self.content.about)
        return about | ({"rests_on": self.bases} if self.report.name == STATEMENT else {})

    @property
    def bases(self) -> dict[str, str]:
        """What each kind of figure of a statement rests on."""
        has_positions = bool(self.content.parts["positions"])
        return dict(bases(self.digest.seq, self.digest.root, has_positions=has_positions))

    def _write_parquet(self, out: BinaryIO) -> None:
        digest, part = self.digest, self.parts[0]
        about = {"report": digest.report, "part": part.name, "seq": str(digest.seq), "digest": digest.text()}
        if self.missing:
            about["missing"] = "; ".join(self.missing)
        shapes = self.shapes(part)
        write_parquet(shapes, self._batches(part, shapes), out, decimals=digest.parameters.decimals, about=about)

    def _batches(self, part: Part, shapes: Mapping[str, Shape]) -> Iterator[Any]:
        import pyarrow as pa  # noqa: PLC0415 (0.3 s, only where needed)

        parameters = self.digest.parameters
        fast = copied(self.digest.report, shapes, self.basis.at.source, parameters)
        if fast is None:
            yield from batches_of(shapes, self._rows(part), parameters.decimals)
            return
        try:
            yield from fast
        except pa.ArrowInvalid:
            for _ in batches_of(shapes, self._rows(part), parameters.decimals):
                pass  # raises a problem that names the value
            raise

    def _plain_text(self, form: Format) -> Iterator[str]:
        source, account_id = self.basis.at.source, self.digest.parameters.account_id
        about = f"Daybook, {account_id or 'all accounts'}, as on record at seq {self.digest.seq}; {self.digest.text()}"
        return export(form, paged_entries(source, account_id), journal.ledger(source, account_id=account_id), about)


def laid_out(statement: Statement, digest: Digest) -> bytes:
    """Return a statement as HTML or PDF."""
    if digest.form is Format.HTML:
        from api.statements import html  # noqa: PLC0415 (it loads what it draws with)

        return html.page(statement, digest=digest.text(), root=digest.root, code=digest.code)
    from api.statements import pdf  # noqa: PLC0415 (it loads what it draws with)

    return pdf.document(statement, digest=digest.text(), root=digest.root, code=digest.code)


def statement_bytes(source: Source, digest: Digest, marks: Marks) -> bytes:
    """Return the statement of a digest, laid out in its format."""
    requested = digest.parameters
    assert requested.account_id is not None, "a statement is of an account"
    assert requested.day is not None, "a statement is of a period"
    made = gathered(source, requested.account_id, period_of(requested.day, "day"), seq=digest.seq, marks=marks)
    return laid_out(made, digest)


def make(daybook: Daybook, name: str, parameters: Parameters, *, form: Format, at: Reading, is_past: bool) -> Made:
    """Compute a report from a reading, at the marks of its moment. Raises Problem, InvalidInput."""
    report = report_of(name)
    _check_form(report, parameters, form)
    check_selection(daybook, at, parameters)
    digest = Digest(
        report=name, form=form, seq=at.seq, root=_root(daybook, at.seq), code=release(), parameters=parameters,
        is_past=is_past, recorded_at=at.recorded_at if is_past else None,
    )  # fmt: skip
    if report.is_valued and at.recorded_at is None:
        seq = max(at.seq, daybook.market.newest_seq())
        at = at._replace(pinned=KnownBy(seq, _moment_of(daybook, report, parameters, seq)))
    basis, noted = _basis(daybook, report, at, parameters)
    content = _content(report, basis)
    if report.is_valued and (known := at.known) is not None:
        digest = replace(
            digest, marks=hash_of(_pinned(daybook, basis, noted)), marks_at=known.at, marks_seq=known.seq,
            marks_root=_root(daybook, known.seq) if known.seq > at.seq else "",
        )  # fmt: skip
    return Made(digest, basis, content)


@contextmanager
def again(daybook: Daybook, digest: Digest) -> Iterator[Made]:
    """Compute the report of a digest. Raises Problem if log or marks are not those it was made from."""
    report, parameters = report_of(digest.report), digest.parameters
    with reading(daybook, *needs(report.name, parameters), moment=Moment(seq=digest.seq)) as past:
        _check_root(daybook, digest.seq, digest.root)
        if digest.marks_root and digest.marks_seq is not None:
            _check_root(daybook, digest.marks_seq, digest.marks_root)
        known = _known_when_made(daybook, digest) if digest.recorded_at is None else None
        at = past._replace(recorded_at=digest.recorded_at, occurred_by=parameters.occurred_by, pinned=known)
        basis, noted = _basis(daybook, report, at, parameters)
        content = _content(report, basis)
        if digest.marks and hash_of(_pinned(daybook, basis, noted)) != digest.marks:
            raise Problem(
                409, "other-marks", "Other marks",
                "the marks that were known when the report was made are not on record as they were then",
                marks=digest.marks,
            )  # fmt: skip
        yield Made(digest, basis, content)


def _check_root(daybook: Daybook, seq: int, root: str) -> None:
    if _root(daybook, seq) == root:
        return
    raise Problem(
        409, "other-log", "Another log",
        f"the log up to seq {seq} has another Merkle root than the one the report was made from: it is another ledger,"
        " or history was altered (run daybook verify)", seq=seq, root=root,
    )  # fmt: skip


def _known_when_made(daybook: Daybook, digest: Digest) -> KnownBy | None:
    """Return what was known when a report was made; an older release pinned only the time."""
    if digest.marks_at is None:
        return None
    seq = daybook.history.seq_at(digest.marks_at) if digest.marks_seq is None else digest.marks_seq
    return KnownBy(seq, digest.marks_at)


def _pinned(daybook: Daybook, basis: Basis, noted: "_Noted") -> Mapping[str, Mark]:
    """Return the marks that a report was computed from. Raises Problem if one of them is not that of the log."""
    marks = basis.marks if noted.report.name in AT_ONE_MOMENT else noted.marks
    recorded = [mark for mark in marks.values() if isinstance(mark, MarkOnRecord)]
    if basis.at.known is not None:
        check_recorded(daybook, recorded, basis.at.known)
    return marks


def _check_form(report: Report, parameters: Parameters, form: Format) -> None:
    """Raise InvalidInput unless the report has the format, and that the parameters."""
    if form not in report.formats:
        raise InvalidInput("format", form, f"a format of this report: {', '.join(report.formats)}")
    report.part(parameters.part)
    if form not in (*LAID_OUT, *PLAIN_TEXT):
        return
    lacking = ["since_seq", "part"]
    if form in PLAIN_TEXT:
        lacking += ["strategy_id", "instrument_id", "position_side", "asset", "day"]
    for name in lacking:
        if (value := getattr(parameters, name)) is not None:
            raise InvalidInput(name, value, f"left out: {form} has no rows of its own, and is of whole accounts")


class _Noted:
    """The marks on record, and those of them that a report was computed from."""

    def __init__(self, market: MarkStore, report: Report) -> None:
        self._market = market
        self.report = report
        self.marks: dict[str, Mark] = {}

    def latest_all(self, at: datetime | None = None, known: KnownBy | None = None) -> dict[str, MarkOnRecord]:
        """See MarkStore."""
        found = self._market.latest_all(at, known)
        self._note(found.values())
        return found

    def latest_each(
        self, wanted: Sequence[tuple[str, datetime]], known: KnownBy | None = None
    ) -> list[MarkOnRecord | None]:
        """See MarkStore."""
        found = self._market.latest_each(wanted, known)
        self._note(found)
        return found

    def latest_at(
        self, instrument_ids: Sequence[str], moments: Sequence[datetime], known: KnownBy | None = None
    ) -> list[dict[str, MarkOnRecord]]:
        """See MarkStore."""
        found = self._market.latest_at(instrument_ids, moments, known)
        for each in found:
            self._note(each.values())
        return found

    def _note(self, marks: Any) -> None:
        for mark in marks:
            if mark is not None:
                self.marks[f"{mark.instrument_id} {mark.mark_at.isoformat()} {mark.source} {mark.price}"] = mark


def _basis(daybook: Daybook, report: Report, at: Reading, parameters: Parameters) -> tuple[Basis, _Noted]:
    """Return what a report is computed from, and where the marks that it looks up are noted."""
    noted = _Noted(daybook.market, report)
    noting = copy.copy(daybook)
    vars(noting)["market"] = noted
    return Basis(noting, at, parameters, _marks(daybook, report, at, parameters)), noted


def _content(report: Report, basis: Basis) -> Content:
    if basis.parameters.since_seq is None:
        return content_of(report.name, basis)

    def marks_at(at: Reading, parameters: Parameters) -> Marks:
        return _marks(basis.daybook, report, at, parameters)

    return changed(report, basis, marks_at)


def _moment_of(daybook: Daybook, report: Report, parameters: Parameters, seq: int) -> datetime:
    """Return the moment that a report of the book as it is now is of."""
    recorded = [daybook.history.recorded_by(seq), daybook.market.last_recorded_at()]
    if report.is_dated:
        recorded.append(analyses.last_close(parameters, now()))
    return max((moment for moment in recorded if moment is not None), default=EPOCH)


def _marks(daybook: Daybook, report: Report, at: Reading, parameters: Parameters) -> Marks:
    """Return the marks of a report's positions: given ones, else the newest that were known."""
    if report.name not in AT_ONE_MOMENT:
        return {}
    known: dict[str, Mark] = {}
    known_at = at.known_at
    if known_at is not None:
        seen_by, moment = parameters.occurred_by or at.seen_by or known_at, parameters.occurred_by or known_at
        if report.name == STATEMENT and parameters.day is not None:
            end = period_of(parameters.day, "day").end
            seen_by, moment = min(seen_by, end), min(moment, end)
        known |= aged(daybook, daybook.market.latest_all(seen_by, at.known), moment)
    given = given_marks(list(parameters.mark))
    check_given(daybook, given)
    known |= given
    held = positions(at.source, **parameters.where._asdict())
    named = {row["instrument_id"] for row in held}
    if report.name != STATEMENT:
        named |= reference_data.pairs(at.source).keys()
    return {name: mark for name, mark in known.items() if name in named}


def _root(daybook: Daybook, seq: int) -> str:
    with reaching(daybook.url):
        return daybook.proofs.root_at(seq).hex()
