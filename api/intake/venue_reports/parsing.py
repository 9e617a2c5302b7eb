"""Venue reports as they are sent: parsed one by one, and kept raw as evidence where they cannot be read."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Annotated, Any, NamedTuple, get_args

import msgspec
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from api.http.fields import RequestBody
from api.http.json_text import checked, elements, keys_at_most
from api.intake.venue_reports import cash
from api.intake.venue_reports.fields import example_of
from api.intake.venue_reports.fills import CommissionReport, FilledReport, LiquidatedReport
from api.intake.venue_reports.orders import (
    Accepted,
    Busted,
    Calculated,
    Canceled,
    CancelRejected,
    Corrected,
    DoneForDay,
    Expired,
    PendingCancel,
    PendingNew,
    PendingReplace,
    Rejected,
    Replaced,
    ReplaceRejected,
    Restated,
    Suspended,
    Triggered,
)
from api.intake.venue_reports.outcomes import UNREADABLE, break_id_of, outcome_of
from api.intake.venue_reports.statements import RawReport, VenueStatement
from api.problems import field_errors, unreadable, unreadable_field
from domain import instrument, ledger, values
from domain.account import RawReportKept, reported_id
from domain.account.evidence import stream as evidence_stream
from domain.errors import InvalidInput
from domain.errors.codes import Code
from domain.ledger import Recorded, Report

REPORTS_MAX = 1000
STATEMENT = "statement"
RAW_BYTES_MAX = 65_536
STATEMENT_BYTES_MAX = 1_048_576
UNKNOWN = "unknown"
Look = Callable[[str], Any]  # the state of a stream
Read = Callable[[str], Iterable[Recorded]]  # the records of a stream


AnyVenueReport = (
    PendingNew | Accepted | Rejected | Triggered | FilledReport | LiquidatedReport | CommissionReport | Corrected
    | Busted | PendingCancel | CancelRejected | PendingReplace | ReplaceRejected | Replaced | Restated | Suspended
    | DoneForDay | Canceled | Expired | Calculated | cash.OfCash | VenueStatement | RawReport
)  # fmt: skip
VenueReport = Annotated[AnyVenueReport, Field(discriminator="type")]
SCHEMAS: tuple[type[RequestBody], ...] = get_args(AnyVenueReport)
REPORT_TYPES = frozenset(name for schema in SCHEMAS for name in get_args(schema.model_fields["type"].annotation))
VENUE_REPORT: TypeAdapter[VenueReport] = TypeAdapter(VenueReport)
EXAMPLES: dict[str, dict[str, Any]] = {  # as OpenAPI has them, by type
    get_args(schema.model_fields["type"].annotation)[0]: {
        "summary": (schema.__doc__ or "").partition("\n")[0], "value": {"reports": [example_of(schema)]},
    }
    for schema in SCHEMAS
}  # fmt: skip


class VenueReportSubmission(RequestBody):
    """Venue reports on one or many orders, in any sequence, sent before or not."""

    reports: list[VenueReport] = Field(min_length=1, max_length=REPORTS_MAX)


class Unreadable(NamedTuple):
    """A venue report that does not parse: its errors, and what is kept of it."""

    errors: list[dict[str, Any]]
    kept: RawReportKept


def split(body: bytes) -> list[bytes]:
    """Return each report as it was written, whether it can be read or not. Raises InvalidInput."""
    raws = elements(body, "reports", count_max=REPORTS_MAX)
    if not 1 <= len(raws) <= REPORTS_MAX:
        count = "none" if not raws else f"more than {REPORTS_MAX}"
        raise InvalidInput("reports", count, f"a count of 1 to {REPORTS_MAX} reports")
    return raws


def parsed(raw: bytes, actor: str, look: Look) -> Report | Unreadable:
    """Return a venue report as a report of the domain, or its errors and what is kept of it in the actor's name.

    `look` gives the state of an instrument, which what is reported of it has to fit.
    """
    try:
        _check_length(raw)
        report = VENUE_REPORT.validate_json(raw)
        if keys_at_most(raw) != _keys(report):
            checked(raw, "report")  # parsers differ in which of two equal keys they use
        return as_report(report, look)
    except InvalidInput as error:
        found = [unreadable_field(error)]
    except ValidationError as invalid:
        errors = [
            error | {"loc": error["loc"][1:] if error["loc"] and error["loc"][0] in REPORT_TYPES else error["loc"]}
            for error in invalid.errors(include_url=False)
        ]
        found = field_errors(errors, "report")
    reason = "; ".join(each["message"] for each in found)
    return Unreadable(found, evidence(raw, reason, actor))


def as_report(given: AnyVenueReport, look: Look) -> Report:
    """Return a validated report as a report of the domain; `look` as in `parsed`. Raises InvalidInput."""
    if isinstance(given, cash.InKind | VenueStatement):
        given.check_listed(lambda instrument_id: look(instrument.stream(instrument_id)))
    return given.report()


class _Typed(msgspec.Struct):
    type: str


def _check_length(raw: bytes) -> None:
    """Check the length of a report; a venue statement may be longer. Raises InvalidInput."""
    if len(raw) <= RAW_BYTES_MAX:
        return
    length_max = RAW_BYTES_MAX
    with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        if msgspec.json.decode(raw, type=_Typed).type == STATEMENT:
            length_max = STATEMENT_BYTES_MAX
    if len(raw) > length_max:
        raise InvalidInput("report", f"{len(raw)} bytes", f"a report of at most {length_max} bytes")


def _keys(report: BaseModel) -> int:
    """Return how many keys the JSON of a report had."""
    given = report.model_fields_set
    values_ = (getattr(report, name) for name in given)
    nested = (each for value in values_ for each in (value if isinstance(value, list) else (value,)))
    return len(given) + sum(_keys(value) for value in nested if isinstance(value, BaseModel))


def evidence(raw: bytes, reason: str, actor: str) -> RawReportKept:
    """Return what is kept of a report that cannot be read, under the account and venue it names, if it does.

    Bytes that are not UTF-8 are kept as `\\xNN`. Of a report that is too long its beginning is kept, with its hash.
    """
    text = raw[:RAW_BYTES_MAX].decode("utf-8", "backslashreplace")
    if len(raw) > RAW_BYTES_MAX:
        reason += f" (kept are the first {RAW_BYTES_MAX}; SHA-256 of all {hashlib.sha256(raw).hexdigest()})"
    fields: object = None
    with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        fields = msgspec.json.decode(raw) if len(raw) <= RAW_BYTES_MAX else None
    fields = fields if isinstance(fields, dict) else {}
    account_id, venue = UNKNOWN, UNKNOWN
    with suppress(InvalidInput):
        account_id = values.name(fields.get("account_id"), "account_id")
    with suppress(InvalidInput):
        venue = values.venue_of(values.instrument_id(fields.get("instrument_id")))
    return RawReportKept(account_id, venue, source=f"api:{actor}", raw=text, reason=reason)


def answers_of(
    given: Sequence[Report | Unreadable], results: Sequence[ledger.Answer], look: Look, read: Read
) -> list[dict[str, Any]]:
    """Return the answer to each report of a batch; `look` gives the states right after it, `read` streams before it."""
    answers: list[dict[str, Any]] = []
    batch = [record for result in results for record in result.records]
    for index, (item, result) in enumerate(zip(given, results, strict=True)):
        if isinstance(result.error, InvalidInput):
            answers.append(_unreadable(index, unreadable(result.error).facts["errors"], _evidence(result, None)))
        elif isinstance(item, Unreadable):
            answers.append(_unreadable(index, item.errors, _evidence(result, item.kept)))
        else:
            outcome = outcome_of(item, result, look)
            break_id = break_id_of(outcome, batch, read)
            answers.append({"index": index, "errors": None, **outcome.record(), "break_id": break_id})
    return answers


def _evidence(result: ledger.Answer, kept: RawReportKept | None) -> str | None:
    """Return the id of the break of a report that could not be read: where it is kept, now or before."""
    records = (each for each in result.records if isinstance(each.event, RawReportKept))
    stream = next((each.stream for each in records), None if kept is None else evidence_stream(kept))
    return None if stream is None else reported_id(stream, 1)


def _unreadable(index: int, errors: list[dict[str, Any]], break_id: str | None) -> dict[str, Any]:
    """Return the answer to a report that could not be read."""
    return {
        "index": index, "status": UNREADABLE, "booked": False, "code": Code.UNREADABLE, "rule": None,
        "detail": errors[0]["message"], "errors": errors, "break_id": break_id,
    }  # fmt: skip
