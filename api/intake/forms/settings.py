"""Settings of an account's risk: trading day and conversions; and monitoring on request."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

from api.intake.forms.fields import DEFAULT_ACCOUNT, INSTRUMENT, MARK, MONEY, NAME, WHOLE, Field
from api.intake.forms.form import Form, Look, Operation, Record
from api.intake.forms.records import conversion_record, day_record, monitored_record
from domain import risk
from domain.access import Scope
from domain.errors import InvalidInput
from domain.risk import AssessMarks, SetConversion, SetTradingDay
from domain.values import EARLIEST, Mark, Money

if TYPE_CHECKING:
    from api.daybook import Daybook

HOUR_MAX = 23


class _OfAccount(Form, frozen=True, kw_only=True):
    account_id: Annotated[str, Field(NAME, "the account; `firm` is all of them", "--account", DEFAULT_ACCOUNT)]


class SetTradingDayForm(_OfAccount, frozen=True, kw_only=True):
    """Set the full hour, UTC, at which the trading days of an account start. The current day ends when the next starts.

    Limits of a day (losses, orders) count from there.
    """

    starts_at_hour: Annotated[int, Field(WHOLE, "0 to 23", "--hour")]

    def request(self, daybook: "Daybook", at: datetime) -> SetTradingDay:  # noqa: ARG002
        """Return the request. Raises InvalidInput."""
        if not 0 <= self.starts_at_hour <= HOUR_MAX:
            raise InvalidInput("starts_at_hour", self.starts_at_hour, "an hour from 0 to 23")
        return SetTradingDay(self.account_id, self.starts_at_hour, at)

    def record(self, look: Look) -> Record:
        """Return the setting."""
        return day_record(self.account_id, look(risk.stream(self.account_id)))


class SetConversionForm(_OfAccount, frozen=True, kw_only=True):
    """Convert between an instrument's base and quote currency at its mark, for the limits of an account; or no longer.

    Spot and perpetuals convert. Rates are marks of the instrument: record them with `POST /v1/marks`.
    """

    instrument_id: Annotated[str, Field(INSTRUMENT, "the pair to convert by")]
    is_used: Annotated[bool, Field(None, "whether to convert by it from now on", "--use")] = True

    def request(self, daybook: "Daybook", at: datetime) -> SetConversion:  # noqa: ARG002
        """Return the request."""
        return SetConversion(self.account_id, self.instrument_id, at, self.is_used)

    def record(self, look: Look) -> Record:
        """Return the setting."""
        return conversion_record(self.account_id, self.instrument_id, look(risk.stream(self.account_id)))


class AssessMarksForm(_OfAccount, frozen=True, kw_only=True):
    """Check what an account holds against its limits at new marks, without an order, and record what has changed.

    Marks that are not stated are the newest on record. `capital` states the total paid in less withdrawals, in the
    currency that gains are counted in; it is kept.
    """

    marks: Annotated[tuple[Mark, ...], Field(MARK, "prices, where those on record are not to be used", "--mark")] = ()
    capital: Annotated[Money | None, Field(MONEY, "the total paid in less withdrawals")] = None

    def request(self, daybook: "Daybook", at: datetime) -> AssessMarks:  # noqa: ARG002
        """Return the request. A mark without a time is of now."""
        marks = tuple(
            Mark(each.instrument_id, each.price, each.source, at) if each.mark_at == EARLIEST else each
            for each in self.marks
        )
        return AssessMarks(self.account_id, marks, at, self.capital)

    def record(self, look: Look) -> Record:
        """Return the limits in breach, and those that cannot be measured."""
        return monitored_record(self.account_id, look(risk.stream(self.account_id)))


OPERATIONS = (
    Operation(
        "set_trading_day", SetTradingDayForm, "/trading-day", "trading-day set", scope=Scope.ADMIN,
        answer="TradingDayAnswer", tag="controls", can_wait=True,
        said="Trading days of {account_id} start at {starts_at_hour}:00 UTC.",
        example={"account_id": "main", "starts_at_hour": 8}, usage="trading-day set --hour 16",
    ),
    Operation(
        "set_conversion", SetConversionForm, "/conversions", "conversion set", scope=Scope.ADMIN,
        answer="ConversionAnswer", tag="controls", arguments=("instrument_id",), can_wait=True,
        said="{account_id} converts by {instrument_id}: {is_used}.",
        example={"account_id": "main", "instrument_id": "BTCUSDT.BINANCE"},
        usage="conversion set BTCUSDT.BINANCE --no-use",
    ),
    Operation(
        "assess_marks", AssessMarksForm, "/risk/assess", "risk assess", scope=Scope.ADMIN,
        answer="MonitoredAnswer", tag="controls",
        said="{account_id}: {breaches} limits in breach, {missed} not measured.",
        example={"account_id": "main", "capital": {"amount": "250000", "currency": "USDT"}},
        usage="risk assess --mark BTCUSDT.BINANCE=97500 --capital '260000 USDT'",
    ),
)  # fmt: skip
