"""Reports over HTTP: any report, complete, in the requested format, with its digest; or reproduced from a digest.

The format is `format`, or else what `Accept` names. `Daybook-Report-Digest` is the report's digest: send it as `digest`
for the same bytes, no matter what was recorded since. `Daybook-Missing` names the marks and rates that the report
lacks, in every format. A report is computed before the answer begins, on disk if it is long, so that an error can be
answered as a problem.
"""

import tempfile
from os import SEEK_END
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import Field
from starlette.responses import Response

from adapters.postgres.scopes import Scope
from api.analytics.gains import YEAR_FIRST
from api.analytics.http import CloseText, Day, Equal
from api.encoding import decimal_text, time_text
from api.http.auth import needs as needs_key
from api.http.dependencies import SEQ_HEADER, FileResponse, OpenDaybook, documented
from api.http.fields import AnyTime, CurrencyCode, InstrumentId, Name, Number, Place, RequestBody
from api.http.methods import negotiated
from api.http.problem_responses import responses
from api.http.reads import ReadRoute, expensive
from api.parameters import NOW_WORD, Format, Moment, given_mark, moment_of
from api.read_models.query_params import SEQ_MAX, AssetId
from api.read_models.snapshot import reading
from api.reports.catalog import MEDIA_TYPES, REPORTS, STATEMENT, Parameters, Report, formats_over_http, report_of
from api.reports.digest import CHARACTERS_MAX, parse
from api.reports.make import Made, again, make, needs
from domain.account import CostBasis, FeePolicy
from domain.errors import InvalidInput
from domain.holdings.gains import Scope as LotScope
from domain.holdings.gains import Withdrawals
from domain.values import PositionSide
from projections.calendar import parsed_zone

DIGEST_HEADER = "Daybook-Report-Digest"
MISSING_HEADER = "Daybook-Missing"
MISSING_CHARACTERS_MAX = 1000
IN_MEMORY_BYTES_MAX = 2**20
AGE_SECONDS_MAX = 10 * 365 * 86_400
FORMATS = tuple(dict.fromkeys(form for report in REPORTS.values() for form in formats_over_http(report)))
EVERYWHERE = {"decimals", "min_seq", "format", "since_seq", "part"}  # parameters of every report
FIELDS = {"from_": "first", "to": "last", "as_of_seq": "as_of"}  # parameters by another name in the catalog

router = APIRouter(
    prefix="/v1",
    route_class=ReadRoute,
    tags=["reports"],
    dependencies=[needs_key(Scope.READ)],
    responses=responses(401, 409, 422, 503),
)


class ReportQuery(RequestBody):
    """Which rows, as of when, in which format. A parameter that the report does not take is refused."""

    account_id: Name | None = None
    strategy_id: Name | None = None
    instrument_id: InstrumentId | None = None
    position_side: PositionSide | None = Field(None, description="the leg of hedge mode: LONG, SHORT; else BOTH")
    asset: AssetId | None = Field(None, description="for balances, journal and trial balance; of gains one coin")
    day: str | None = Field(
        None, pattern="^[0-9]{4}-[0-9]{2}(-[0-9]{2})?$",
        description="value date of the journal; last value date of the trial balance; day or month of a statement; date"
        " of the close of a restated day",
    )  # fmt: skip
    method: CostBasis | None = Field(None, description="cost basis")
    fee_policy: FeePolicy | None = None
    mark: list[str] = Field([], max_length=100, description="INSTRUMENT=PRICE, instead of the newest known mark")
    limit: int | None = Field(None, ge=1, le=SEQ_MAX, description="of the blotter: at most this many orders")
    by: list[str] = Field([], max_length=6, description="columns to sum by, for daily, quality and leverage")
    from_: Day | None = Field(None, alias="from", description="the first day; default: 29 before the last")
    to: Day | None = Field(None, description="the last day; default: the present one")
    close: CloseText | None = Field(None, description="when a day ends: a time, in UTC unless a zone follows it")
    currency: CurrencyCode | None = Field(None, description="instead of the base currency that the accounts share")
    capital: Number | None = Field(None, description="capital that is not on record, in that currency")
    risk_free: Number | None = Field(None, description="an annual rate, such as 0.04")
    target: Number | None = Field(None, description="the annual return below which there is a shortfall")
    equal: list[Equal] = Field([], max_length=8, description="currencies taken as equal; default: none")
    mark_age_max: int | None = Field(
        None, ge=1, le=AGE_SECONDS_MAX,
        description="seconds; an older mark is not used; default: a day, at an order's arrival a minute",
    )  # fmt: skip
    since: AnyTime | None = Field(None, description="of matches and gains: only disposals from this time on")
    until: AnyTime | None = Field(None, description="of matches and gains: only disposals before this time")
    long_term_days: int | None = Field(
        None, ge=0, le=100_000, description="of matches and gains: days of 24 hours that are long; default: 365"
    )
    scope: LotScope | None = Field(
        None, description="of gains: whose lots a disposal uses, those of its ACCOUNT (the default) or of ALL"
    )
    withdrawals: Withdrawals | None = Field(
        None, description="of gains: coins withdrawn are REMOVED with their lots (the default) or DISPOSED of"
    )
    year: int | None = Field(None, ge=YEAR_FIRST, le=9998, description="of gains: disposals of this year, in `zone`")
    zone: str | None = Field(None, max_length=64, description="of gains: the zone of years; default: UTC")
    flow_mark_age_max: int | None = Field(
        None, ge=1, le=AGE_SECONDS_MAX, description="of nav: seconds; at a flow an older mark is not used"
    )
    part: str | None = Field(None, max_length=32, description="the table of the report; CSV and Parquet have the first")
    since_seq: int | None = Field(
        None, ge=0, le=SEQ_MAX,
        description="only what has changed since this place in the log, with a column `change`; `Daybook-Seq` of the"
        " answer is the place to go on from",
    )  # fmt: skip
    decimals: int = Field(18, ge=0, le=38, description="decimal places of Parquet's numbers")
    min_seq: int = Field(0, ge=0, le=SEQ_MAX, description="wait until the report covers this place in the log")
    as_of: Place | None = Field(None, description="as recorded up to this time, or this place in the log")
    known_at: Place | None = Field(
        None, description="beside `as_of`, for positions, lots, matches, gains, PnL and exposure: what had happened by"
        " `as_of` as far as it was known at this time or place, or is `now`; of a restatement: when it was reported"
    )  # fmt: skip
    restated_at: Place | None = Field(None, description="of a restatement: when it is known as restated; default: now")
    as_of_seq: int | None = Field(
        None,
        ge=0,
        le=SEQ_MAX,
        description="deprecated alias of `as_of`: a place in the log",
        json_schema_extra={"deprecated": True},
    )
    format: Literal["json", "csv", "parquet", "html", "pdf", "hledger", "beancount"] | None = None

    def check(self, report: Report) -> None:
        """Refuse parameters that the report does not take, and values that it does not know. Raises InvalidInput."""
        for name in sorted(self.model_fields_set - EVERYWHERE):
            if FIELDS.get(name, name) not in report.parameters:
                given, shown = getattr(self, name), name.removesuffix("_")
                raise InvalidInput(shown, str(given), f"a parameter of the report {report.name}; leave it out")
        for group in self.by:
            if group not in report.groups:
                raise InvalidInput("by", group, f"one of {', '.join(report.groups)}")
        if report.name == STATEMENT and (self.account_id is None or self.day is None):
            lacking = "account_id" if self.account_id is None else "day"
            raise InvalidInput(lacking, None, "given: a statement is of an account, for a day or a month")
        if self.day is not None:
            _check_day(report.name, self.day)

    def moment(self, report: Report) -> Moment | None:
        """Return the requested past moment, if any. Raises InvalidInput."""
        if "restated_at" in report.parameters:
            return self.restated_at
        if self.as_of is not None and self.as_of_seq is not None:
            raise InvalidInput("as_of", self.as_of_seq, "given once: leave as_of_seq out")
        as_of = self.as_of if self.as_of_seq is None else Moment(seq=self.as_of_seq)
        return moment_of(as_of, self.known_at)

    def parameters(self, report: Report) -> Parameters:
        """Return the parameters of the report. Raises InvalidInput."""
        marks = tuple(f"{one.instrument_id}={decimal_text(one.price)}" for one in map(given_mark, self.mark))
        moment = self.moment(report)
        known_at = None
        if "restated_at" in report.parameters and self.known_at is not None:
            known_at = _text_of(self.known_at)
        return Parameters(
            account_id=self.account_id, strategy_id=self.strategy_id, instrument_id=self.instrument_id,
            position_side=self.position_side,
            asset=self.asset, day=self.day, method=self.method, fee_policy=self.fee_policy, mark=marks,
            limit=self.limit, decimals=self.decimals, by=tuple(self.by), first=self.from_, last=self.to,
            close=self.close, currency=self.currency, capital=self.capital, risk_free=self.risk_free,
            target=self.target, equal=tuple(self.equal), mark_age_max=self.mark_age_max, known_at=known_at,
            since=self.since, until=self.until, long_term_days=self.long_term_days,
            scope=self.scope, withdrawals=self.withdrawals, year=self.year,
            zone=None if self.zone is None else parsed_zone(self.zone).key,
            flow_mark_age_max=self.flow_mark_age_max, part=self.part, since_seq=self.since_seq,
            occurred_by=moment.occurred_by if moment is not None else None,
        )  # fmt: skip


def _check_day(name: str, day: str) -> None:
    from api.statements.periods import period_of  # noqa: PLC0415

    period = period_of(day, "day")
    if name != STATEMENT and period.first != period.last:
        raise InvalidInput("day", day, "a day such as 2026-01-02; only a statement is of a month")


def _accepts(request: Request) -> str:
    return request.headers.get("accept", "")


def _text_of(moment: Moment) -> str:
    if moment.at is not None:
        return time_text(moment.at)
    return NOW_WORD if moment.seq is None else str(moment.seq)


def _form(accepted: str, requested: str | None, report: Report) -> Format:
    """Return the requested format, or the one of the report that `Accept` prefers. Raises InvalidInput, Problem."""
    forms = formats_over_http(report)
    if requested is not None:
        if Format(requested) not in forms:
            raise InvalidInput("format", requested, f"a format of this report: {', '.join(forms)}")
        return Format(requested)
    by_type = {MEDIA_TYPES[form].partition(";")[0]: form for form in reversed(forms)}
    return by_type[negotiated(accepted, [MEDIA_TYPES[form].partition(";")[0] for form in forms])]


def _documented() -> dict[int | str, dict[str, Any]]:
    answers = documented(200, "the report")
    answers[200]["headers"] = answers[200]["headers"] | {
        DIGEST_HEADER: {"description": "the digest that reproduces this report", "schema": {"type": "string"}}
    }
    answers[200]["headers"] |= {
        MISSING_HEADER: {"description": "the marks and rates that it lacks", "schema": {"type": "string"}}
    }
    binary, text = {"type": "string", "format": "binary"}, {"type": "string"}
    schemas = {Format.JSON: {"type": "object"}} | dict.fromkeys((Format.PDF, Format.PARQUET), binary)
    answers[200]["content"] = {
        MEDIA_TYPES[form].partition(";")[0]: {"schema": schemas.get(form, text)} for form in FORMATS
    }
    return answers


@router.get("/reports/{report}", response_class=Response, responses=_documented() | responses(404))
@expensive()
def read_report(
    report: Annotated[str, Path(max_length=32, description=f"one of {', '.join(REPORTS)}")],
    query: Annotated[ReportQuery, Query()],
    accepted: Annotated[str, Depends(_accepts)],
    daybook: OpenDaybook,
) -> Response:
    """Return a complete report of any length: its tables as JSON, one of them as CSV or Parquet; a statement as HTML
    or PDF too, the journal as hledger or beancount.

    docs/reports.md describes each column. What is selected and not on record is 404.
    """
    chosen = report_of(report)
    query.check(chosen)
    names = needs(report, parameters := query.parameters(chosen))
    form = _form(accepted, query.format, chosen)
    moment = query.moment(chosen)
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
    if made.missing:
        headers[MISSING_HEADER] = _short("; ".join(made.missing))
    if made.digest.form in (Format.PARQUET, Format.PDF):
        name = f"{made.digest.report}-{made.digest.seq}.{made.digest.form}"
        headers["Content-Disposition"] = f'attachment; filename="{name}"'
    media_type = MEDIA_TYPES[made.digest.form]
    if size > IN_MEMORY_BYTES_MAX:
        return FileResponse(file, media_type=media_type, headers=headers | {"Content-Length": str(size)})
    with file:
        return Response(file.read(), media_type=media_type, headers=headers)


def _short(text: str) -> str:
    shown = text.encode("ascii", "backslashreplace").decode()
    return shown if len(shown) <= MISSING_CHARACTERS_MAX else shown[:MISSING_CHARACTERS_MAX] + "..."
