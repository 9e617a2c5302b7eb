"""Venue reports as they are sent: parsed one by one, and kept raw as evidence where they cannot be read."""

import hashlib
from contextlib import suppress
from typing import Annotated, Any, Literal, NamedTuple, Self

import msgspec
from pydantic import BaseModel, Field, StrictInt, TypeAdapter, ValidationError, model_validator
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import PydanticCustomError

from api.http.fields import (
    CurrencyCode,
    InstrumentId,
    Leg,
    Name,
    Number,
    Positive,
    RequestBody,
    Text,
    VenueTime,
)
from api.http.json_text import READABLE, checked, elements, keys_at_most
from api.problems import field_errors
from domain import ledger, values
from domain.account import AccountBroken, RawReportKept
from domain.errors import InvalidInput
from domain.order import (
    OrderAccepted,
    OrderBroken,
    OrderCanceled,
    OrderCancelRejected,
    OrderCommissionReported,
    OrderExpired,
    OrderFilled,
    OrderKey,
    OrderRejected,
    OrderReport,
    as_reported,
)
from domain.position import PositionBroken, PositionKey, SettleFunding
from domain.values import ZERO, Liquidity, Money, PositionSide, Side, by_currency

REPORTS_MAX = 1000
COMMISSIONS_MAX = 20
RAW_BYTES_MAX = 65_536
UNKNOWN = "unknown"


class Amount(RequestBody):
    """An amount of one currency. As a commission it is positive when paid and negative when a rebate was received; as
    funding it is positive when received and negative when paid.
    """

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


class Commissioned(RequestBody):
    """The fees of a fill: `commission`, or `commissions` where there are several; both if they agree."""

    commission: Amount | SkipJsonSchema[None] = Field(
        None,
        description="the fee: positive is paid by you, negative is a rebate. Venues that write what you pay as a"
        " negative number need their sign turned. Zero or absent: not known yet; a later report completes it",
    )
    commissions: list[Amount] | SkipJsonSchema[None] = Field(
        None,
        min_length=1,
        max_length=COMMISSIONS_MAX,
        description="all fees of the fill, in any currencies: a commission and a tax, or one fee taken from two coins."
        " Signs as for `commission`; several in one currency are summed",
    )

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.commission is not None and self.commissions is not None:
            one = self.commission.money()
            if one.amount and one not in (*self.paid, *by_currency(self.paid)):
                raise PydanticCustomError("commissions", "given with a commission that is among commissions")
        return self

    @property
    def paid(self) -> tuple[Money, ...]:
        """Return the fees, at least one: of zero in no currency where none is known."""
        stated = self.commissions or ([self.commission] if self.commission is not None else [])
        return tuple(amount.money() for amount in stated) or (Money(ZERO, ""),)


class FilledReport(OrderReportFields, Commissioned):
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
    liquidity: Liquidity = Liquidity.UNKNOWN
    position_side: Leg = PositionSide.BOTH

    def report(self) -> OrderReport:
        """Return the event of the domain."""
        commission, *further = self.paid
        return OrderFilled(
            self.key, strategy_id=self.strategy_id, instrument_id=self.instrument_id, order_id=self.order_id,
            side=self.side, exec_id=self.exec_id, trade_seq=self.trade_seq, last_qty=self.last_qty,
            last_px=self.last_px, commission=commission, further_commissions=tuple(further), liquidity=self.liquidity,
            transact_time=self.transact_time.at, nanos=self.transact_time.nanos, position_side=self.position_side,
        )  # fmt: skip


class CommissionReport(Commissioned):
    """The fees of a fill, reported apart from it, before or after it. They are booked once.

    The same fees again are known; other ones are a break that shows both, and change nothing.
    """

    type: Literal["commission"]
    account_id: Name
    cl_ord_id: Name | Literal[""] = Field("", description="may be left out once the fill is on record")
    order_id: Name | Literal[""] = ""
    instrument_id: InstrumentId | Literal[""] = Field(
        "", description="finds the fill where `cl_ord_id` is left out, or is not that of its order"
    )
    exec_ref_id: Name = Field(description="FIX ExecRefID(19): the `exec_id` of the fill")
    transact_time: VenueTime

    @model_validator(mode="after")
    def _has_fees(self) -> Self:
        if self.commission is None and self.commissions is None:
            raise PydanticCustomError("commissions", "given: commission, or commissions where there are several")
        return self

    def report(self) -> OrderReport:
        """Return the event of the domain."""
        commission, *further = self.paid
        at, nanos = self.transact_time
        return OrderCommissionReported(
            OrderKey(self.account_id, self.cl_ord_id), self.exec_ref_id, commission, at, nanos=nanos,
            instrument_id=self.instrument_id, order_id=self.order_id, further_commissions=tuple(further),
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
    position_side: Leg = PositionSide.BOTH

    def report(self) -> SettleFunding:
        """Return the event of the domain."""
        key = PositionKey(self.account_id, self.strategy_id, self.instrument_id, self.position_side)
        at, nanos = self.transact_time
        return SettleFunding(key, self.funding_id, self.amount.money(), at, nanos=nanos)


VenueReport = Annotated[
    Accepted | Rejected | FilledReport | CommissionReport | Canceled | Expired | CancelRejected | Funding,
    Field(discriminator="type"),
]
REPORT_TYPES = frozenset(
    {"accepted", "rejected", "filled", "commission", "canceled", "expired", "cancel_rejected", "funding"}
)
VENUE_REPORT: TypeAdapter[VenueReport] = TypeAdapter(VenueReport)


class VenueReportSubmission(RequestBody):
    """Venue reports on one or many orders, in any sequence, sent before or not."""

    reports: list[VenueReport] = Field(min_length=1, max_length=REPORTS_MAX)


_FILLED: dict[str, Any] = {
    "type": "filled", "account_id": "main", "cl_ord_id": "A-1", "instrument_id": "BTCUSDT.BINANCE", "side": "BUY",
    "exec_id": "E-1", "last_qty": "0.5", "last_px": "97500.25", "commission": {"amount": "0.02", "currency": "USDT"},
    "transact_time": "2026-01-02T03:04:05.678Z",
}  # fmt: skip
_SEVERAL = [{"amount": "0.0005", "currency": "BTC"}, {"amount": "0.0000002", "currency": "BNB"}]
EXAMPLES: dict[str, dict[str, Any]] = {
    "a fill": _FILLED,
    "a fill with several fees": {name: value for name, value in _FILLED.items() if name != "commission"}
    | {"cl_ord_id": "A-2", "exec_id": "E-2", "commissions": _SEVERAL},
    "a fill of the long leg in hedge mode": _FILLED
    | {"cl_ord_id": "A-3", "exec_id": "E-3", "instrument_id": "BTC-PERP.BINANCE", "position_side": "LONG"},
    "the fee of a fill, reported apart from it": {
        "type": "commission", "account_id": "main", "cl_ord_id": "A-4", "exec_ref_id": "E-4",
        "commission": {"amount": "1.24", "currency": "USDT"}, "transact_time": "2026-01-02T03:04:06Z",
    },
}  # fmt: skip


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


def _check_length(raw: bytes) -> None:
    if len(raw) > RAW_BYTES_MAX:
        raise InvalidInput("report", f"{len(raw)} bytes", f"a report of at most {RAW_BYTES_MAX} bytes")


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


def outcome_of(result: ledger.Answer) -> dict[str, Any]:
    """Return the outcome of a report that was read: recorded, known, or broken by which rule."""
    events = [record.event for record in result.records]
    booked = [
        event if isinstance(event, OrderFilled | OrderCommissionReported) else as_reported(event)
        for event in events
        if isinstance(event, OrderReport)
    ]
    for event in events:
        match event:
            case OrderBroken(rule=rule, report=OrderCommissionReported()) if events[0] == event.report:
                return {"status": "recorded", "rule": rule}  # nothing is wrong with it, but its fill is not here yet
            case OrderBroken(rule=rule) if not booked or event.report in booked:  # a late report may break others too
                return {"status": "broken", "rule": rule}
            case PositionBroken(rule=rule, report=SettleFunding()):
                return {"status": "broken", "rule": rule}
            case AccountBroken(rule=rule) if len(events) == 1:  # nothing is booked beside it
                return {"status": "broken", "rule": rule}
    return {"status": "recorded" if result.records else "known", "rule": None}
