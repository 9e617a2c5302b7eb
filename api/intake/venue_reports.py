"""Venue reports as they are sent: parsed one by one, and kept raw as evidence where they cannot be read."""

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Annotated, Any, Literal, NamedTuple, get_args

import msgspec
from pydantic import BaseModel, Field, StrictInt, TypeAdapter, ValidationError

from api.http.fields import InstrumentId, Name, Positive, RequestBody
from api.http.json_text import READABLE, checked, elements, keys_at_most
from api.intake.report_types import cash
from api.intake.report_types.fields import Amount, OrderReportFields, example, example_of
from api.intake.report_types.orders import (
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
from api.intake.report_types.statements import RawReport, VenueStatement
from api.problems import field_errors, unreadable
from domain import instrument, ledger, values
from domain.account import AccountBroken, RawReportKept
from domain.errors import InvalidInput
from domain.ledger import Report
from domain.order import OrderBroken, OrderFilled, OrderReport, as_reported
from domain.position import PositionBroken, SettleFunding, Transfer
from domain.values import Liquidity, Side

REPORTS_MAX = 1000
STATEMENT = "statement"
RAW_BYTES_MAX = 65_536
STATEMENT_BYTES_MAX = 1_048_576
UNKNOWN = "unknown"
Look = Callable[[str], Any]  # the state of a stream


class Filled(OrderReportFields):
    """A fill. `trade_seq` is the venue's own trade sequence: it decides between fills of one moment."""

    model_config = example(
        type="filled", account_id="main", cl_ord_id="A-17", instrument_id="BTCUSDT.BINANCE", order_id="V-901",
        side="BUY", exec_id="E-1", trade_seq=1, last_qty="0.5", last_px="97500",
        commission={"amount": "19.5", "currency": "USDT"}, transact_time="2026-01-02T03:04:11.250Z",
    )  # fmt: skip
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
        """Return the event of the domain."""
        return OrderFilled(
            self.key, strategy_id=self.strategy_id, instrument_id=self.instrument_id, order_id=self.order_id,
            side=self.side, exec_id=self.exec_id, trade_seq=self.trade_seq, last_qty=self.last_qty,
            last_px=self.last_px, commission=self.commission.money(), liquidity=self.liquidity,
            transact_time=self.transact_time.at, nanos=self.transact_time.nanos,
        )  # fmt: skip


AnyVenueReport = (
    PendingNew | Accepted | Rejected | Triggered | Filled | Corrected | Busted | PendingCancel | CancelRejected
    | PendingReplace | ReplaceRejected | Replaced | Restated | Suspended | DoneForDay | Canceled | Expired | Calculated
    | cash.OfCash | VenueStatement | RawReport
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
        if isinstance(report, cash.InKind | VenueStatement):
            report.check_listed(lambda instrument_id: look(instrument.stream(instrument_id)))
        return report.report()
    except InvalidInput as error:
        found = [{"field": error.field, "value": error.value, "rule": error.rule}]
    except ValidationError as invalid:
        errors = [
            error | {"loc": error["loc"][1:] if error["loc"] and error["loc"][0] in REPORT_TYPES else error["loc"]}
            for error in invalid.errors(include_url=False)
        ]
        found = field_errors(errors)
        if errors[0]["type"] == "json_invalid":
            found = [{"field": "report", "value": None, "rule": f"{READABLE}: {found[0]['rule']}"}]
    reason = "; ".join(f"{each['field']}: {each['value']!r} is not {each['rule']}" for each in found)
    return Unreadable(found, evidence(raw, reason, actor))


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
    nested = (getattr(report, name) for name in given)
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


def answers_of(read: Sequence[Report | Unreadable], results: Sequence[ledger.Answer]) -> list[dict[str, Any]]:
    """Return the answer to each report of a batch."""
    answers: list[dict[str, Any]] = []
    for index, (item, result) in enumerate(zip(read, results, strict=True)):
        if isinstance(result.error, InvalidInput):
            errors = unreadable(result.error).facts["errors"]
            answers.append({"index": index, "status": "unreadable", "rule": None, "errors": errors})
        elif isinstance(item, Unreadable):
            answers.append({"index": index, "status": "unreadable", "rule": None, "errors": item.errors})
        else:
            answers.append({"index": index, "errors": None, **outcome_of(result)})
    return answers


def outcome_of(result: ledger.Answer) -> dict[str, Any]:
    """Return the outcome of a report that was read: recorded, known, or broken by which rule."""
    events = [record.event for record in result.records]
    booked = [
        event if isinstance(event, OrderFilled) else as_reported(event)
        for event in events
        if isinstance(event, OrderReport)
    ]
    for event in events:
        match event:
            case OrderBroken(rule=rule) if not booked or event.report in booked:  # a late report may break others too
                return {"status": "broken", "rule": rule}
            case PositionBroken(rule=rule, report=SettleFunding() | Transfer()):
                return {"status": "broken", "rule": rule}
            case AccountBroken(rule=rule) if len(events) == 1:  # nothing is booked beside it
                return {"status": "broken", "rule": rule}
    return {"status": "recorded" if result.records else "known", "rule": None}
