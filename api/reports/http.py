"""Reports over HTTP: any report, complete, in the requested format, with its digest; or reproduced from a digest.

The format is `format`, or else what `Accept` names. `Daybook-Report-Digest` is the report's digest: send it as `digest`
for the same bytes, no matter what was recorded since. A report is computed before the answer begins, on disk if it is
long, so that an error can be answered as a problem.
"""

import tempfile
from datetime import date
from os import SEEK_END
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import Field
from starlette.responses import Response

from adapters.postgres.scopes import Scope
from api.encoding import decimal_text
from api.http.auth import needs as needs_key
from api.http.dependencies import SEQ_HEADER, FileResponse, OpenDaybook, documented
from api.http.fields import AnyTime, InstrumentId, Name, Place, RequestBody
from api.http.problem_responses import responses
from api.http.reads import ReadRoute, expensive
from api.parameters import Format, Moment, Where, moment_of, parsed_day
from api.read_models.query_params import SEQ_MAX, AssetId, ValueDate
from api.read_models.snapshot import reading
from api.reports.catalog import REPORTS, Parameters
from api.reports.digest import CHARACTERS_MAX, parse
from api.reports.make import FORMS, MEDIA_TYPES, STATEMENT, STATEMENT_FORMS, Made, again, make, needs
from domain.account import CostBasis, FeePolicy
from domain.errors import InvalidInput
from projections.analytics.disposals import LONG_TERM_DAYS

DIGEST_HEADER = "Daybook-Report-Digest"
IN_MEMORY_BYTES_MAX = 2**20
NAMES = (*REPORTS, STATEMENT)

router = APIRouter(
    prefix="/v1",
    route_class=ReadRoute,
    tags=["reports"],
    dependencies=[needs_key(Scope.READ)],
    responses=responses(401, 409, 422, 503),
)


class ReportQuery(RequestBody):
    """Which rows, as of when, in which format. A report ignores the parameters it has no use for."""

    account_id: Name | None = None
    strategy_id: Name | None = None
    instrument_id: InstrumentId | None = None
    asset: AssetId | None = Field(None, description="for balances, journal and trial balance")
    day: str | None = Field(
        None, pattern="^[0-9]{4}-[0-9]{2}(-[0-9]{2})?$",
        description="value date of the journal; last value date of the trial balance; day or month of a statement",
    )  # fmt: skip
    method: CostBasis | None = Field(None, description="cost basis")
    fee_policy: FeePolicy | None = None
    mark: list[str] = Field([], max_length=100, description="INSTRUMENT=PRICE, instead of the newest known mark")
    since: AnyTime | None = Field(None, description="of matches: only disposals from this time on")
    until: AnyTime | None = Field(None, description="of matches: only disposals before this time")
    from_: ValueDate | None = Field(None, alias="from", description="of daily balances: the first value date")
    to: ValueDate | None = Field(None, description="of daily balances: the last value date")
    long_term_days: int = Field(LONG_TERM_DAYS, ge=0, le=100_000, description="of matches: how long is long")
    decimals: int = Field(18, ge=0, le=38, description="decimal places of Parquet's numbers")
    min_seq: int = Field(0, ge=0, le=SEQ_MAX, description="wait until the report covers this place in the log")
    as_of: Place | None = Field(None, description="as recorded up to this time, or this place in the log")
    known_at: Place | None = Field(
        None,
        description="with `as_of`: what had happened by that time, as known now (`now`), at this time or at this place",
    )
    as_of_seq: int | None = Field(
        None,
        ge=0,
        le=SEQ_MAX,
        description="deprecated alias of `as_of`: a place in the log",
        json_schema_extra={"deprecated": True},
    )
    format: Literal["json", "csv", "parquet", "html", "pdf"] | None = None

    def moment(self) -> Moment | None:
        """Return the requested past moment, if any. Raises InvalidInput."""
        if self.as_of is not None and self.as_of_seq is not None:
            raise InvalidInput("as_of", self.as_of_seq, "given once: leave as_of_seq out")
        as_of = self.as_of if self.as_of_seq is None else Moment(seq=self.as_of_seq)
        return moment_of(as_of, self.known_at)

    def parameters(self, name: str) -> Parameters:
        """Return the parameters of the report. Raises InvalidInput."""
        from api.parameters import given_mark  # noqa: PLC0415

        if name == STATEMENT and (self.account_id is None or self.day is None):
            lacking = "account_id" if self.account_id is None else "day"
            raise InvalidInput(lacking, None, "given: a statement is of an account, for a day or a month")
        if self.day is not None:
            _check_day(name, self.day)
        marks = tuple(f"{one.instrument_id}={decimal_text(one.price)}" for one in map(given_mark, self.mark))
        where = Where(self.account_id, self.strategy_id, self.instrument_id)
        moment = self.moment()
        return Parameters(
            *where, asset=self.asset, day=self.day, method=self.method, fee_policy=self.fee_policy, mark=marks,
            decimals=self.decimals, occurred_by=moment.occurred_by if moment is not None else None,
            since=self.since, until=self.until, long_term_days=self.long_term_days,
            first=_date(self.from_), last=_date(self.to),
        )  # fmt: skip


def _date(day: str | None) -> date | None:
    return None if day is None else parsed_day(day)


def _check_day(name: str, day: str) -> None:
    from api.statements.periods import period_of  # noqa: PLC0415

    period = period_of(day, "day")
    if name != STATEMENT and period.first != period.last:
        raise InvalidInput("day", day, "a day such as 2026-01-02; only a statement is of a month")


def _accepts(request: Request) -> str:
    return request.headers.get("accept", "")


def _form(accepted: str, requested: str | None, name: str) -> Format:
    """Return the requested format, or the first one accepted that the report has. Raises InvalidInput."""
    forms = STATEMENT_FORMS if name == STATEMENT else FORMS
    if requested is not None:
        if Format(requested) not in forms:
            raise InvalidInput("format", requested, f"a format of this report: {', '.join(forms)}")
        return Format(requested)
    by_type = {MEDIA_TYPES[form].partition(";")[0]: form for form in forms}
    ranges = [part.partition(";")[0].strip() for part in accepted.split(",")]
    return next((by_type[one] for one in ranges if one in by_type), forms[0])


def _documented() -> dict[int | str, dict[str, Any]]:
    answers = documented(200, "the report")
    answers[200]["headers"] = answers[200]["headers"] | {
        DIGEST_HEADER: {"description": "the digest that reproduces this report", "schema": {"type": "string"}}
    }
    binary = {"schema": {"type": "string", "format": "binary"}}
    text = {"schema": {"type": "string"}}
    answers[200]["content"] = {
        "application/json": {"schema": {"type": "object"}}, "text/csv": text, "text/html": text,
        "application/pdf": binary, "application/vnd.apache.parquet": binary,
    }  # fmt: skip
    return answers


@router.get("/reports/{report}", response_class=Response, responses=_documented() | responses(404))
@expensive()
def read_report(
    report: Annotated[str, Path(max_length=32, description=f"one of {', '.join(NAMES)}")],
    query: Annotated[ReportQuery, Query()],
    accepted: Annotated[str, Depends(_accepts)],
    daybook: OpenDaybook,
) -> Response:
    """Return a complete report of any length: rows as JSON, CSV or Parquet; a statement as HTML, PDF or JSON."""
    names = needs(report, parameters := query.parameters(report))
    form = _form(accepted, query.format, report)
    moment = query.moment()
    with reading(daybook, *names, min_seq=query.min_seq, moment=moment) as at:
        return _answer(make(daybook, report, parameters, form=form, at=at, is_past=moment is not None))


@router.get("/reports", response_class=Response, responses=_documented())
@expensive()
def reproduce_report(
    digest: Annotated[
        str, Query(max_length=CHARACTERS_MAX, description=f"the digest of a report, from {DIGEST_HEADER}")
    ],
    daybook: OpenDaybook,
) -> Response:
    """Reproduce the report of a digest: the same bytes."""
    parsed = parse(digest)
    if parsed.form not in MEDIA_TYPES:
        raise InvalidInput("digest", parsed.form, f"of a report in one of the formats {', '.join(MEDIA_TYPES)}")
    with again(daybook, parsed) as made:
        return _answer(made)


def _answer(made: Made) -> Response:
    file = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the answer, or with the last reference to it)
    try:
        made.write(file)
    except BaseException:
        file.close()
        raise
    size = file.seek(0, SEEK_END)
    file.seek(0)
    headers = {SEQ_HEADER: str(made.digest.seq), DIGEST_HEADER: made.digest.text()}
    if made.digest.form in (Format.PARQUET, Format.PDF):
        name = f"{made.digest.report}-{made.digest.seq}.{made.digest.form}"
        headers["Content-Disposition"] = f'attachment; filename="{name}"'
    media_type = MEDIA_TYPES[made.digest.form]
    if size > IN_MEMORY_BYTES_MAX:
        return FileResponse(file, media_type=media_type, headers=headers | {"Content-Length": str(size)})
    with file:
        return Response(file.read(), media_type=media_type, headers=headers)
