"""The types of request fields, each parsed by the domain, with a schema that agrees with the parser.

A decimal is a JSON string, plain (`0.00000038`) or with an exponent (`3.8E-7`), or an integer; a JSON float has
already lost what was written and is refused. Names are brought to the normal form NFC of Unicode here.
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

NUMBER = r"^-?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?$"
POSITIVE = r"^(?![0.]+([eE]|$))[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?$"
_UNSEEN = r"\u034f\u061c\u115f\u1160\u1680\u180b-\u180f\u2000-\u200f\u2028-\u202f\u205f-\u206f\u2800\u3000\u3164"
_VISIBLE = rf"""[^\x00-\x20\x7f-\xa0\xad{_UNSEEN}\ufe00-\ufe0f\ufeff\uffa0"'`;<>\\]"""  # the domain refuses a few more
NAME = rf"^(?!\.{{1,2}}$){_VISIBLE}( *{_VISIBLE}){{0,{values.NAME_MAX - 1}}}$"
PLAIN_NAME = r"^[A-Za-z0-9][A-Za-z0-9._\-]{0,63}$"
CURRENCY = NAME
VENUE = rf"^[A-Z0-9][A-Z0-9_\-]{{0,{values.VENUE_MAX - 1}}}$"
INSTRUMENT = rf"^{_VISIBLE}( *{_VISIBLE}){{0,{values.NAME_MAX - 1}}}\.[A-Z0-9][A-Z0-9_\-]{{0,{values.VENUE_MAX - 1}}}$"
TEXT = r"^[^\x00-\x1f\x7f]*$"
BREAK_ID_MAX = 1500  # the name of a stream, and a version
INTEGER_LIMIT = 10**values.MAGNITUDE_MAX
NAMES_ARE = (
    f"An id as it is written where it comes from, of 1 to {values.NAME_MAX} characters and {values.NAME_BYTES_MAX} "
    "bytes of UTF-8; kept in NFC."
)


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
            "description": "A decimal as text, plain or with an exponent (3.8E-7), or an integer. Never a float. "
            f"Below 1e{values.MAGNITUDE_MAX}, with at most {values.PLACES_MAX} decimal places.",
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
    PlainValidator(_by(_plain(NUMBER, values.number, 'a decimal as text, such as "-0.015" or "3.8E-7"'))),
    _decimal_schema(NUMBER, 1 - INTEGER_LIMIT, "-0.015"),
]
Positive = Annotated[
    Decimal,
    PlainValidator(_by(_plain(POSITIVE, values.positive, 'a decimal above zero as text, such as "0.015" or "3.8E-7"'))),
    _decimal_schema(POSITIVE, 1, "0.015"),
]
Name = Annotated[
    str,
    PlainValidator(_by(values.name)),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": NAME,
            "minLength": 1,
            "maxLength": values.NAME_MAX,
            "examples": ["main"],
            "description": NAMES_ARE,
        }
    ),
]  # of an account, an order, a venue: as it is written there
ExecutionId = Annotated[
    str,
    PlainValidator(_by(values.execution_id)),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": NAME,
            "minLength": 1,
            "maxLength": values.NAME_MAX,
            "examples": ["1401"],
            "description": f"{NAMES_ARE} Without `@`.",
        }
    ),
]
PlainName = Annotated[
    str,
    PlainValidator(_by(values.plain_name)),
    WithJsonSchema({"type": "string", "pattern": PLAIN_NAME, "minLength": 1, "maxLength": 64, "examples": ["main"]}),
]  # a name of our own
VenueCode = Annotated[
    str,
    PlainValidator(_by(values.venue)),
    WithJsonSchema({"type": "string", "pattern": VENUE, "examples": ["BINANCE"]}),
]
CurrencyCode = Annotated[
    str,
    PlainValidator(_by(values.currency)),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": CURRENCY,
            "maxLength": values.NAME_MAX,
            "examples": ["USDT"],
            "description": "A currency or asset code as its venue writes it; capitals and small letters are apart.",
        }
    ),
]
InstrumentId = Annotated[
    str,
    PlainValidator(_by(values.instrument_id)),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": INSTRUMENT,
            "examples": ["BTCUSDT.BINANCE"],
            "description": "SYMBOL.VENUE: the symbol as the venue writes it; the venue is what follows the last dot.",
        }
    ),
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
BreakId = Annotated[
    str,
    StringConstraints(strict=True, min_length=1, max_length=BREAK_ID_MAX, pattern=TEXT),
    Field(description="as listed: of a difference from a statement, or the place in the log of what a report broke"),
]
Seq = Annotated[int, WithJsonSchema({"type": "integer", "minimum": 0, "maximum": 2**63 - 1})]
