"""The fields that venue reports share: amounts, the order a report is about, and when it happened."""

from datetime import date
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from api.http.fields import CurrencyCode, Name, Number, RequestBody, Text, VenueTime
from domain.order import OrderKey
from domain.values import Money

MAIN = "main"
COMMISSIONS_MAX = 20


def example(**fields: Any) -> ConfigDict:
    """Return the configuration of a schema with an example."""
    return ConfigDict(json_schema_extra={"examples": [fields]})


def example_of(schema: type[RequestBody]) -> dict[str, Any]:
    """Return the example of a schema."""
    extra: Any = schema.model_config.get("json_schema_extra")
    return dict(extra["examples"][0])


class Amount(RequestBody):
    """An amount of one currency. As a commission it is positive when paid and negative when a rebate was received; as
    funding it is positive when received and negative when paid.
    """

    amount: Number
    currency: CurrencyCode

    def money(self) -> Money:
        """Return the amount as a value of the domain."""
        return Money(self.amount, self.currency)


Amounts = Annotated[list[Amount], Field(min_length=1, max_length=COMMISSIONS_MAX)]


class OrderReportFields(RequestBody):
    """The fields of every report on an order: which order, and when at the venue."""

    account_id: Name
    cl_ord_id: Name
    transact_time: VenueTime

    @property
    def key(self) -> OrderKey:
        """The key of the order."""
        return OrderKey(self.account_id, self.cl_ord_id)


class CashFields(RequestBody):
    """The fields of every report on cash. Sending one again under its id adds nothing; another content is a break."""

    account_id: Name
    transact_time: VenueTime
    booking_date: date | None = Field(None, description="when the venue booked it; by default the UTC day")
    value_date: date | None = Field(None, description="when it takes effect; by default the booking date")
    reason: Text = ""

    @property
    def dates(self) -> dict[str, Any]:
        """The times of the report."""
        return {
            "transact_time": self.transact_time.at, "booking_date": self.booking_date, "value_date": self.value_date,
        }  # fmt: skip
