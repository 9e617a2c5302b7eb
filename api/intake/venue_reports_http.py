"""Reports: what venues say has happened, in batches. A report is never refused; each gets an answer of its own.

recorded: it changed the book. known: it was on record already. broken: it is kept, with the rule it broke beside it.
unreadable: it could not be taken down; its raw text is kept as evidence, and the answer names field, value and rule.
A batch is one append: all of it is on record when the answer comes, or none. Sending it again adds nothing.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from fastapi import APIRouter, Request
from pydantic import Field, StrictInt, TypeAdapter, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from adapters.postgres.api_keys import Caller
from adapters.writer.batch import Look
from api.daybook import Daybook
from api.http.auth import Reporter
from api.http.dependencies import Book, RequestId, answer, documented
from api.http.fields import CurrencyCode, InstrumentId, Name, Number, Positive, RequestBody, Text, Time
from api.http.idempotency import IdempotencyKey, Key, carried_out, command
from api.http.problem_responses import MEDIA_TYPE, response, responses
from api.problems import Problem, field_errors, unreadable
from api.read_models import schemas
from domain import ledger, values
from domain.account import RawReportKept
from domain.errors import InvalidInput
from domain.order import (
    OrderAccepted,
    OrderBroken,
    OrderCanceled,
    OrderCancelRejected,
    OrderExpired,
    OrderFilled,
    OrderKey,
    OrderRejected,
    OrderReport,
    as_reported,
)
from domain.position import PositionKey, SettleFunding
from domain.values import Liquidity, Money, Side

REPORTS_MAX = 1000
RAW_CHARACTERS_MAX = 65_536
UNKNOWN = "unknown"

router = APIRouter(prefix="/v1", tags=["reports"], responses=responses(401, 403, 422, 429, 503))


class Amount(RequestBody):
    """An amount of one currency."""

    amount: Number
    currency: CurrencyCode

    def money(self) -> Money:
        """As the domain has it."""
        return Money(self.amount, self.currency)


class OfOrder(RequestBody):
    """What every report of an order says: which, and when at the venue."""

    account_id: Name
    cl_ord_id: Name
    transact_time: Time

    @property
    def key(self) -> OrderKey:
        """Which order."""
        return OrderKey(self.account_id, self.cl_ord_id)


class Accepted(OfOrder):
    """The venue has taken the order."""

    type: Literal["accepted"]
    order_id: Name

    def report(self) -> OrderReport:
        """As the domain has it."""
        return OrderAccepted(self.key, self.order_id, self.transact_time)


class _Reasoned(OfOrder):
    reason: Text = ""


class Rejected(_Reasoned):
    """The venue has not taken the order."""

    type: Literal["rejected"]

    def report(self) -> OrderReport:
        """As the domain has it."""
        return OrderRejected(self.key, self.reason, self.transact_time)


class Canceled(_Reasoned):
    """The order is taken back."""

    type: Literal["canceled"]

    def report(self) -> OrderReport:
        """As the domain has it."""
        return OrderCanceled(self.key, self.reason, self.transact_time)


class Expired(_Reasoned):
    """The order has run out of time."""

    type: Literal["expired"]

    def report(self) -> OrderReport:
        """As the domain has it."""
        return OrderExpired(self.key, self.reason, self.transact_time)


class CancelRejected(_Reasoned):
    """The venue does not take the order back."""

    type: Literal["cancel_rejected"]

    def report(self) -> OrderReport:
        """As the domain has it."""
        return OrderCancelRejected(self.key, self.reason, self.transact_time)


class FilledReport(OfOrder):
    """A fill. `trade_seq` is the venue's own trade sequence: it puts fills of one moment in order."""

    type: Literal["filled"]
    strategy_id: Name = "main"
    instrument_id: InstrumentId
    order_id: Name | Literal[""] = ""
    side: Side
    exec_id: Name
    trade_seq: StrictInt = Field(0, ge=0, lt=2**63)
    last_qty: Positive
    last_px: Positive
    commission: Amount
    liquidity: Liquidity = Liquidity.UNKNOWN

    def report(self) -> OrderReport:
        """As the domain has it."""
        return OrderFilled(
            self.key, self.strategy_id, self.instrument_id, self.order_id, self.side, self.exec_id, self.trade_seq,
            self.last_qty, self.last_px, self.commission.money(), self.liquidity, self.transact_time,
        )  # fmt: skip


class Funding(RequestBody):
    """A funding payment of a perpetual: positive received, negative paid."""

    type: Literal["funding"]
    account_id: Name
    strategy_id: Name = "main"
    instrument_id: InstrumentId
    funding_id: Name
    amount: Amount
    transact_time: Time

    def report(self) -> SettleFunding:
        """As the domain has it."""
        key = PositionKey(self.account_id, self.strategy_id, self.instrument_id)
        return SettleFunding(key, self.funding_id, self.amount.money(), self.transact_time)


Reported = Annotated[
    Accepted | Rejected | FilledReport | Canceled | Expired | CancelRejected | Funding, Field(discriminator="type")
]
TYPES = frozenset({"accepted", "rejected", "filled", "canceled", "expired", "cancel_rejected", "funding"})
ONE_REPORT: TypeAdapter[Reported] = TypeAdapter(Reported)


class ReportBatch(RequestBody):
    """Reports of one or many orders, in any order, seen before or not."""

    reports: list[Reported] = Field(min_length=1, max_length=REPORTS_MAX)


class _Envelope(msgspec.Struct, forbid_unknown_fields=True):
    """The batch with every report as it was written."""

    reports: list[msgspec.Raw]


class _Unread(NamedTuple):
    """A report that does not parse: what is wrong, and what is kept of it."""

    errors: list[dict[str, Any]]
    kept: RawReportKept


@router.post(
    "/reports",
    response_model=schemas.ReportsAnswer,
    responses=documented(200, "all taken down") | documented(207, "some were unreadable", schemas.ReportsAnswer),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ReportBatch"}}},
        }
    },
)
async def take_reports(
    request: Request, book: Book, caller: Reporter, request_id: RequestId, key: IdempotencyKey
) -> Response:
    """Take down what venues report. 207 when some are unreadable, 422 when all are: those are kept raw, as evidence."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Problem(415, "http-415", "Unsupported Media Type", "reports are sent as application/json")
    raws = _split(await request.body())
    return await run_in_threadpool(_taken, raws, book, caller, request_id, key)


def _split(body: bytes) -> list[str]:
    """Each report's own text. Raises InvalidInput."""
    try:
        raws = [bytes(raw).decode() for raw in msgspec.json.decode(body, type=_Envelope).reports]
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidInput("body", None, f'an object {{"reports": […]}} in JSON: {error}') from error
    if not 1 <= len(raws) <= REPORTS_MAX:
        raise InvalidInput("reports", len(raws), f"a count of 1 to {REPORTS_MAX} reports")
    if any(len(raw) > RAW_CHARACTERS_MAX for raw in raws):
        raise InvalidInput("reports", None, f"of at most {RAW_CHARACTERS_MAX} characters each")
    return raws


def _taken(raws: Sequence[str], book: Daybook, caller: Caller, request_id: str, key: Key | None) -> Response:
    read = [_read(raw, caller) for raw in raws]
    reports = tuple(item.kept if isinstance(item, _Unread) else item for item in read)

    def evidence_of(index: int, error: InvalidInput) -> RawReportKept:
        return _kept(raws[index], str(error), caller)

    def tell(answers: list[ledger.Answer], _: Look) -> Response:
        told = []
        for index, (item, taken) in enumerate(zip(read, answers, strict=True)):
            if isinstance(taken.error, InvalidInput):
                errors = unreadable(taken.error).facts["errors"]
                told.append({"index": index, "status": "unreadable", "rule": None, "errors": errors})
            elif isinstance(item, _Unread):
                told.append({"index": index, "status": "unreadable", "rule": None, "errors": item.errors})
            else:
                told.append({"index": index, "errors": None, **_outcome(taken)})
        return _told(told, answers[0].seq)

    return carried_out(book, command(reports, caller, request_id, evidence_of), key, tell)


def _outcome(taken: ledger.Answer) -> dict[str, Any]:
    events = [record.event for record in taken.records]
    booked = [
        event if isinstance(event, OrderFilled) else as_reported(event)
        for event in events
        if isinstance(event, OrderReport)
    ]
    for event in events:
        # a late report may break earlier ones too
        if isinstance(event, OrderBroken) and (not booked or event.report in booked):
            return {"status": "broken", "rule": event.rule}
    return {"status": "recorded" if taken.records else "known", "rule": None}


def _told(answers: list[dict[str, Any]], seq: int) -> Response:
    counts = Counter(each["status"] for each in answers)
    body = {status: counts[status] for status in ("recorded", "known", "broken", "unreadable")} | {"answers": answers}
    if counts["unreadable"] < len(answers):
        return answer(body, seq=seq, status=207 if counts["unreadable"] else 200)
    first = answers[0]["errors"][0]
    detail = f"no report could be read; they are kept as evidence. reports.0.{first['field']}: not {first['rule']}"
    errors = [
        error | {"field": f"reports.{each['index']}.{error['field']}"} for each in answers for error in each["errors"]
    ]
    told = response(Problem(422, "unreadable", "Not readable", detail, errors=errors, answers=answers))
    told.headers["Daybook-Seq"] = str(seq)
    assert told.media_type == MEDIA_TYPE
    return told


def _read(raw: str, caller: Caller) -> OrderReport | SettleFunding | _Unread:
    try:
        return ONE_REPORT.validate_json(raw).report()
    except ValidationError as invalid:
        errors = [
            error | {"loc": error["loc"][1:] if error["loc"] and error["loc"][0] in TYPES else error["loc"]}
            for error in invalid.errors(include_url=False)
        ]
        told = field_errors(errors)
        reason = "; ".join(f"{each['field']}: {each['value']!r} is not {each['rule']}" for each in told)
        return _Unread(told, _kept(raw, reason, caller))


def _kept(raw: str, reason: str, caller: Caller) -> RawReportKept:
    try:
        fields = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        fields = None
    fields = fields if isinstance(fields, dict) else {}
    try:
        account_id = values.name(fields.get("account_id"), "account_id")
    except InvalidInput:
        account_id = UNKNOWN
    try:
        venue = values.venue_of(values.instrument_id(fields.get("instrument_id")))
    except InvalidInput:
        venue = UNKNOWN
    return RawReportKept(account_id, venue, f"api:{caller.actor}", raw, reason)
