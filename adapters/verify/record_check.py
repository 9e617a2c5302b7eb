"""The record in a line of a stranger's bundle: decoded, with every number one that Daybook could have written."""

import re
from decimal import Decimal
from typing import Any

from msgspec import Struct

from adapters.verify.range_check import UNDECODABLE, topic_of
from domain.errors import HistoryBroken
from domain.ledger import Recorded, schema

# Stored numbers are products of three of 18 digits and 18 places, and sums of such. Written out, 1e999999999 takes a
# gigabyte, so it is never computed with.
DIGITS_MAX = 72  # before the point, and after it
UNUSUAL = re.compile(rb'e[+-]?[0-9]{2,}[",}\]\s]|[0-9]{%d}|"[+-]?(?:s?nan|inf)' % DIGITS_MAX, re.IGNORECASE)


def record_of(seq: int, state: bytes) -> Recorded:
    """Return the record of a line. Raises HistoryBroken if it is none, or has a number beyond `DIGITS_MAX`."""
    return stored_record_of(seq, state)[1]


def stored_record_of(seq: int, state: bytes) -> tuple[str, Recorded]:
    """Return the topic and record of a line. Raises HistoryBroken like `record_of`."""
    try:
        topic = topic_of(state)
    except UNDECODABLE as error:
        raise HistoryBroken(f"altered at seq {seq}: its bytes are no record") from error
    try:
        record = schema.decode(topic, state)
    except (ArithmeticError, TypeError, LookupError, AttributeError) as error:  # an upcast of an older shape
        raise HistoryBroken(f"seq {seq} is a {topic} that no Daybook wrote: {error!r}") from error
    if UNUSUAL.search(state) and (number := _beyond(record)) is not None:
        raise HistoryBroken(
            f"seq {seq} is a {topic} that no Daybook wrote: {str(number)[:40]} is not a number of at most "
            f"{DIGITS_MAX} digits before and after the point"
        )
    return topic, record


def _beyond(value: Any) -> Decimal | None:
    match value:
        case Decimal():
            is_sound = value.is_finite() and value.adjusted() < DIGITS_MAX
            exponent = value.as_tuple().exponent
            return None if is_sound and isinstance(exponent, int) and exponent >= -DIGITS_MAX else value
        case Struct():
            return _beyond([getattr(value, name) for name in value.__struct_fields__])
        case dict():
            return _beyond(list(value.values()))
        case list() | tuple() | frozenset():
            return next((found for each in value if (found := _beyond(each)) is not None), None)
        case _:
            return None
