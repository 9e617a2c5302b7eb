"""The types of request fields, each parsed by the domain, with a schema that agrees with the parser.

A decimal is a JSON string in plain notation, or an integer; a JSON float has already lost what was written and is
refused.
"""

import re
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, StringConstraints, ValidationInfo, WithJsonSchema
from pydantic_core import PydanticCustomError

from api.clock import now
from api.parameters import Moment, place_of
from domain import values
from domain.errors import InvalidInput
from domain.values import PositionSide

T = TypeVar("T")

NUMBER = r"^-?[0-9]{1,18}(\.[0-9]{1,18})?$"
POSITIVE = r"^(?!0+(\.0+)?$)[0-9]{1,18}(\.[0-9]{1,18})?$"
NAME = r"^[A-Za-z0-9][A-Za-z0-9._\-]{0,63}$"
CURRENCY = r"^[A-Z0-9]{1,16}$"
INSTRUMENT = r"^[A-Za-z0-9][A-Za-z0-9_/\-.]{0,47}\.[A-Z0-9]{1,16}$"
TEXT = r"^[^\x00-\x1f\x7f]*$"
INTEGER_LIMIT = 10**values.MAGNITUDE_MAX


class RequestBody(BaseModel):
    """A JSON object or a set of query parameters without unknown fields."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=False)


def unreadable(rule: str) -> PydanticCustomError:
    """Return a validation error that names the rule."""
    return PydanticCustomError("unreadable", "not {rule}", {"rule": rule})


def _by(parse: Callable[[object, str], T]) -> Callable[[Any, ValidationInfo], T]:
    def parsed(value: Any, info: ValidationInfo) -> T:
        try:
            return parse(value, info.field_name or "value")
        except InvalidInput as error:
            raise unreadable(error.rule) from error

    return parsed


def text_by(parse: Callable[[str], object]) -> PlainValidator:
    """Return a validator of text that `parse` accepts; the value stays text."""

    def checked(value: Any) -> str:
        text = value if isinstance(value, str) else ""
        try:
            parse(text)
        except InvalidInput as error:
            raise unreadable(error.rule) from error
        return text

    return PlainValidator(checked)


def _plain(pattern: str, parse: Callable[[object, str], Decimal], rule: str) -> Callable[[object, str], Decimal]:
    written = re.compile(pattern)

    def parsed(value: object, field: str) -> Decimal:
        if isinstance(value, Decimal):
            return parse(value, field)
        if isinstance(value, bool) or not isinstance(value, str | int) or not written.fullmatch(str(value)):
            raise InvalidInput(field, value, rule)
        return parse(value, field)

    return parsed


def _decimal_schema(pattern: str, least: int, example: str) -> WithJsonSchema:
    return WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": pattern},
                {"type": "integer", "minimum": least, "exclusiveMaximum": INTEGER_LIMIT},
            ],
            "description": "A decimal as text in plain notation, or an integer. Never a float.",
            "examples": [example],
        }
    )


def _text_of_time(value: object, field: str) -> str:
    if not isinstance(value, str):
        raise InvalidInput(field, value, "an ISO 8601 time such as 2026-01-02T03:04:05.678Z")
    return value


def _any_time(value: object, field: str) -> datetime:
    return values.time(_text_of_time(value, field), field)


def _time(value: object, field: str) -> datetime:
    return values.time(_any_time(value, field), field, now=now())


Number = Annotated[
    Decimal,
    PlainValidator(_by(_plain(NUMBER, values.number, 'a decimal as text in plain notation, such as "-0.015"'))),
    _decimal_schema(NUMBER, 1 - INTEGER_LIMIT, "-0.015"),
]
Positive = Annotated[
    Decimal,
    PlainValidator(_by(_plain(POSITIVE, values.positive, 'a decimal above zero as text, such as "0.015"'))),
    _decimal_schema(POSITIVE, 1, "0.015"),
]
Name = Annotated[
    str,
    PlainValidator(_by(values.name)),
    WithJsonSchema({"type": "string", "pattern": NAME, "minLength": 1, "maxLength": 64, "examples": ["main"]}),
]
CurrencyCode = Annotated[
    str,
    PlainValidator(_by(values.currency)),
    WithJsonSchema({"type": "string", "pattern": CURRENCY, "examples": ["USDT"]}),
]
InstrumentId = Annotated[
    str,
    PlainValidator(_by(values.instrument_id)),
    WithJsonSchema({"type": "string", "pattern": INSTRUMENT, "examples": ["BTCUSDT.BINANCE"]}),
]
_TIME_SCHEMA = WithJsonSchema(
    {"type": "string", "format": "date-time", "description": "UTC", "examples": ["2026-01-02T03:04:05.678Z"]}
)
Time = Annotated[datetime, PlainValidator(_by(_time)), _TIME_SCHEMA]
Leg = Annotated[
    PositionSide,
    Field(
        description="the leg of hedge mode (Binance positionSide, OKX posSide): LONG or SHORT; BOTH, the default, of"
        " one-way mode"
    ),
]
VenueTime = Annotated[
    values.Instant,
    PlainValidator(_by(lambda text, field: values.instant(_text_of_time(text, field), field, now=now()))),
    _TIME_SCHEMA,
]  # of a venue: to the nanosecond, leap seconds included
AnyTime = Annotated[datetime, PlainValidator(_by(_any_time)), _TIME_SCHEMA]  # also a future one
Place = Annotated[
    Moment,
    PlainValidator(_by(lambda text, field: place_of(text, field, now()))),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 0, "exclusiveMaximum": INTEGER_LIMIT},
                {"type": "string", "format": "date-time"},
                {"const": "now"},
            ],
            "description": "A place in the log, a time in UTC, or `now`.",
            "examples": ["2026-01-02T03:04:05.678Z"],
        }
    ),
]
Text = Annotated[str, StringConstraints(strict=True, max_length=256, pattern=TEXT)]
Seq = Annotated[int, WithJsonSchema({"type": "integer", "minimum": 0, "maximum": 2**63 - 1})]
