"""Venue reports as they are sent: parsed one by one, and kept raw as evidence where they cannot be read."""

import hashlib
from contextlib import suppress
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from pydantic import BaseModel, Field, StrictInt, TypeAdapter, ValidationError

from api.http.fields import CurrencyCode, InstrumentId, Name, Number, Positive, RequestBody, Text, VenueTime
from api.http.json_text import checked, elements, keys_at_most
from api.problems import field_errors, unreadable_field
from domain import values
from domain.account import RawReportKept
from domain.errors import InvalidInput
from domain.order import (
    OrderAccepted,
    OrderCanceled,
    OrderCancelRejected,
    OrderExpired,
    OrderFilled,
    OrderKey,
    OrderRejected,
    OrderReport,
)
from domain.position import PositionKey, SettleFunding
from domain.values import Liquidity, Money, Side

REPORTS_MAX = 1000
RAW_BYTES_MAX = 65_536
UNKNOWN = "unknown"


class Amount(RequestBody):
    """An amount of one currency."""

    amount: Number
    currency: CurrencyCode

    def money(self) -> Money:
        """Return the amount as a value of the domain."""
        return Money(self.amount, self.currency)


class OrderReportFields(RequestBody):
    """The fields of every report on an order: which order, and when at the venue."""

    account_id: Name
    cl_ord_id: Name
    transact_time: VenueTime

    @property
    def key(self) -> OrderKey:
        """The key of the order."""
        return OrderKey(self.account_id, self.cl_ord_id)


class Accepted(OrderReportFields):
    """The venue accepted the order."""

    type: Literal["accepted"]
    order_id: Name

    def report(self) -> OrderReport:
        """Return the event of the domain."""
        return OrderAccepted(self.key, self.order_id, self.transact_time.at, nanos=self.transact_time.nanos)


class _Reasoned(OrderReportFields):
    reason: Text = ""


class Rejected(_Reasoned):
    """The venue rejected the order."""

    type: Literal["rejected"]

    def report(self) -> OrderReport:
        """Return the event of the domain."""
        return OrderRejected(self.key, self.reason, self.transact_time.at, nanos=self.transact_time.nanos)


class Canceled(_Reasoned):
    """The order is canceled."""

    type: Literal["canceled"]

    def report(self) -> OrderReport:
        """Return the event of the domain."""
        return OrderCanceled(self.key, self.reason, self.transact_time.at, nanos=self.transact_time.nanos)


class Expired(_Reasoned):
    """The order expired."""

    type: Literal["expired"]

    def report(self) -> OrderReport:
        """Return the event of the domain."""
        return OrderExpired(self.key, self.reason, self.transact_time.at, nanos=self.transact_time.nanos)


class CancelRejected(_Reasoned):
    """The venue rejected the request to cancel the order."""

    type: Literal["cancel_rejected"]

    def report(self) -> OrderReport:
        """Return the event of the domain."""
        return OrderCancelRejected(self.key, self.reason, self.transact_time.at, nanos=self.transact_time.nanos)


class Filled(OrderReportFields):
    """A fill. `trade_seq` is the venue's own trade sequence: it decides between fills of one moment."""

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


class Funding(RequestBody):
    """A funding payment of a perpetual: positive received, negative paid."""

    type: Literal["funding"]
    account_id: Name
    strategy_id: Name = "main"
    instrument_id: InstrumentId
    funding_id: Name
    amount: Amount
    transact_time: VenueTime

    def report(self) -> SettleFunding:
        """Return the event of the domain."""
        key = PositionKey(self.account_id, self.strategy_id, self.instrument_id)
        at, nanos = self.transact_time
        return SettleFunding(key, self.funding_id, self.amount.money(), at, nanos=nanos)


VenueReport = Annotated[
    Accepted | Rejected | Filled | Canceled | Expired | CancelRejected | Funding, Field(discriminator="type")
]
REPORT_TYPES = frozenset({"accepted", "rejected", "filled", "canceled", "expired", "cancel_rejected", "funding"})
VENUE_REPORT: TypeAdapter[VenueReport] = TypeAdapter(VenueReport)


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


def parsed(raw: bytes, actor: str) -> OrderReport | SettleFunding | Unreadable:
    """Return a venue report as an event of the domain, or its errors and what is kept of it in the actor's name."""
    try:
        _check_length(raw)
        report = VENUE_REPORT.validate_json(raw)
        if keys_at_most(raw) != _keys(report):
            checked(raw, "report")  # parsers differ in which of two equal keys they use
        return report.report()
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


def _check_length(raw: bytes) -> None:
    if len(raw) > RAW_BYTES_MAX:
        raise InvalidInput("report", f"{len(raw)} bytes", f"a report of at most {RAW_BYTES_MAX} bytes")


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
