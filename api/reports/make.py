"""Compute a report with its digest, or reproduce it from a digest, and write it in any format."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, NamedTuple

from msgspec.structs import replace

from adapters.market.mark_store import KnownBy
from adapters.postgres.connections import reaching
from api.clock import now
from api.daybook import Daybook
from api.encoding import encoded
from api.parameters import Format, Moment, given_marks
from api.problems import Problem, not_found
from api.read_models.snapshot import Reading, aged, reading
from api.reports.arrow_copy import copied
from api.reports.catalog import Parameters, Report, report_of
from api.reports.committed_marks import check_recorded
from api.reports.digest import Digest, hash_of
from api.reports.files import batches_of, write_csv, write_json, write_parquet
from api.settings import release
from api.statements.periods import period_of
from api.statements.statement import Statement, gathered, statement_json
from domain import account
from domain.errors import InvalidInput
from domain.values import Mark
from projections.analytics.valuation import Marks
from projections.models.positions import positions
from projections.storage.rows import Source
from projections.storage.tables import AnyRow

STATEMENT = "statement"
STATEMENT_NAMES = ("journal", "positions", "balances", "executions")
AS_OCCURRED = ("pnl", "exposure", "positions", "lots", "matches")
FORMS = (Format.JSON, Format.CSV, Format.PARQUET)
STATEMENT_FORMS = (Format.HTML, Format.PDF, Format.JSON)
MEDIA_TYPES = {
    Format.JSON: "application/json",
    Format.CSV: "text/csv; charset=utf-8",
    Format.PARQUET: "application/vnd.apache.parquet",
    Format.HTML: "text/html; charset=utf-8",
    Format.PDF: "application/pdf",
}


def needs(name: str, parameters: Parameters) -> tuple[str, ...]:
    """Return the read models that a report is read from. Raises Problem for an unknown report, InvalidInput."""
    if parameters.occurred_by is not None and name not in AS_OCCURRED:
        raise InvalidInput(
            "known_at", parameters.occurred_by, f"given with as_of only for {', '.join(AS_OCCURRED)}: other"
            " reports are as recorded, by as_of alone",
        )  # fmt: skip
    return STATEMENT_NAMES if name == STATEMENT else report_of(name).needs(parameters)


class Made(NamedTuple):
    """A report ready to be written."""

    digest: Digest
    at: Reading
    marks: Marks

    @property
    def report(self) -> Report:
        """Its entry in the catalog; statements have none."""
        return report_of(self.digest.report)

    def rows(self) -> Iterable[AnyRow]:
        """Return its rows."""
        return self.report.rows(self.at.source, self.digest.parameters, self.marks)

    def write(self, out: BinaryIO, *, newline: str = "\r\n") -> None:
        """Write it in its format. Raises Problem if a value does not fit."""
        form, parameters = self.digest.form, self.digest.parameters
        if self.digest.report == STATEMENT:
            out.write(statement_bytes(self.at.source, self.digest, self.marks))
            return
        match form:
            case Format.JSON:
                write_json(self.report, self.rows(), out, self.about())
            case Format.CSV:
                write_csv(self.report, self.rows(), out, newline=newline)
            case Format.PARQUET:
                about = {"report": self.digest.report, "seq": str(self.digest.seq), "digest": self.digest.text()}
                write_parquet(self.report, self._batches(), out, decimals=parameters.decimals, about=about)
            case _:
                raise InvalidInput("format", form, f"one of {', '.join(FORMS)}")

    def statement(self) -> Statement:
        """Return it as a statement. Raises InvalidInput unless it is of one account and a day or a month."""
        return _statement(self.at.source, self.digest, self.marks)

    def about(self) -> dict[str, Any]:
        """Return what a report in JSON has before its items."""
        digest = self.digest
        about = {"report": digest.report, "seq": digest.seq, "recorded_at": digest.recorded_at}
        about["occurred_by"] = digest.parameters.occurred_by
        return about | {"digest": digest.text()}

    def _batches(self) -> Iterator[Any]:
        import pyarrow as pa  # noqa: PLC0415 (0.3 s, only where needed)

        report, parameters = self.report, self.digest.parameters
        fast = copied(self.digest.report, report, self.at.source, parameters)
        if fast is None:
            yield from batches_of(report, self.rows(), parameters.decimals)
            return
        try:
            yield from fast
        except pa.ArrowInvalid:
            for _ in batches_of(report, self.rows(), parameters.decimals):
                pass  # raises a problem that names the value
            raise


def statement_bytes(source: Source, digest: Digest, marks: Marks) -> bytes:
    """Return the statement of a digest, in its format. Raises InvalidInput."""
    made = _statement(source, digest, marks)
    match digest.form:
        case Format.HTML:
            from api.statements import html  # noqa: PLC0415 (it loads what it draws with)

            return html.page(made, digest=digest.text(), root=digest.root, code=digest.code)
        case Format.PDF:
            from api.statements import pdf  # noqa: PLC0415 (it loads what it draws with)

            return pdf.document(made, digest=digest.text(), root=digest.root, code=digest.code)
        case Format.JSON:
            return encoded(statement_json(made) | {"digest": digest.text()}) + b"\n"
        case _:
            raise InvalidInput("format", digest.form, f"one of {', '.join(STATEMENT_FORMS)}")


def _statement(source: Source, digest: Digest, marks: Marks) -> Statement:
    requested = digest.parameters
    if requested.account_id is None or requested.day is None:
        rule = "an account; a statement is of one, for a day or a month"
        raise InvalidInput("account_id", requested.account_id, rule)
    return gathered(source, requested.account_id, period_of(requested.day), seq=digest.seq, marks=marks)


def make(daybook: Daybook, name: str, parameters: Parameters, *, form: Format, at: Reading, is_past: bool) -> Made:
    """Compute a report from a reading, at the newest marks (of a past reading, those known then). Raises Problem."""
    account_id = parameters.account_id
    if name == STATEMENT and account_id is not None and daybook.state(account.stream(account_id)) is None:
        raise not_found(f"account {account_id}", account_id=account_id)
    digest = Digest(
        report=name, form=form, seq=at.seq, root=_root(daybook, at.seq), code=release(), parameters=parameters,
        is_past=is_past, recorded_at=at.recorded_at if is_past else None,
    )  # fmt: skip
    if not _is_valued(name):
        return Made(digest, at, {})
    known = at.known if is_past and at.known is not None else KnownBy(max(at.seq, daybook.market.newest_seq()), now())
    marks = _marks(daybook, at, parameters, known)
    digest = replace(
        digest, marks=hash_of(marks), marks_at=known.at, marks_seq=known.seq,
        marks_root=_root(daybook, known.seq) if known.seq > at.seq else "",
    )  # fmt: skip
    return Made(digest, at, marks)


@contextmanager
def again(daybook: Daybook, digest: Digest) -> Iterator[Made]:
    """Compute the report of a digest. Raises Problem if log or marks are not those it was made from."""
    names = needs(digest.report, digest.parameters)
    with reading(daybook, *names, moment=Moment(seq=digest.seq)) as at:
        _check_root(daybook, digest.seq, digest.root)
        if digest.marks_root and digest.marks_seq is not None:
            _check_root(daybook, digest.marks_seq, digest.marks_root)
        marks: Marks = {}
        if _is_valued(digest.report):
            marks = _marks(daybook, at, digest.parameters, _known_when_made(daybook, digest))
        if digest.marks and hash_of(marks) != digest.marks:
            raise Problem(
                409, "other-marks", "Other marks",
                "the marks that were known when the report was made are not on record as they were then",
                marks=digest.marks,
            )  # fmt: skip
        yield Made(digest, at, marks)


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


def _is_valued(name: str) -> bool:
    return name == STATEMENT or report_of(name).is_valued


def _marks(daybook: Daybook, at: Reading, parameters: Parameters, known: KnownBy | None) -> Marks:
    """Return the marks of a report's positions: given ones, else the newest that were known, as the log has them.

    Raises Problem if one of them was altered since it was recorded.
    """
    given = given_marks(list(parameters.mark))
    held = {row["instrument_id"] for row in positions(at.source, **parameters.where._asdict())}
    marks: dict[str, Mark] = {name: mark for name, mark in given.items() if name in held}
    if known is None:
        return marks
    seen_by = parameters.occurred_by or known.at
    if parameters.day is not None:
        seen_by = min(seen_by, period_of(parameters.day).end)
    recorded = daybook.market.latest_all(seen_by, known)
    wanted = {name: mark for name, mark in recorded.items() if name in held and name not in given}
    check_recorded(daybook, wanted.values(), known)
    return aged(daybook, wanted, seen_by) | marks


def _root(daybook: Daybook, seq: int) -> str:
    with reaching(daybook.url):
        return daybook.proofs.root_at(seq).hex()
