"""The fields of forms: how each is parsed on the command line, and which type of `api.http.fields` it has over HTTP."""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from types import NoneType
from typing import Annotated, Any, NamedTuple, get_args, get_origin, get_type_hints

from msgspec import UNSET, UnsetType

from api.clock import now
from api.parameters import given_mark
from domain import values
from domain.errors import InvalidInput
from domain.position import Lot
from domain.values import Money, OpenedAt

DEFAULT_ACCOUNT = "main"
REMOVED = "none"  # what the command line takes for a value that is to be removed
LOT_PARTS = "ID:QUANTITY:COST:OPENED_AT"


class Kind(NamedTuple):
    """A kind of value: how its text is parsed, what help calls it, and the name of its type over HTTP."""

    parse: Callable[[str, str], Any]
    metavar: str
    http: str


class Field(NamedTuple):
    """What a field means, and its name as an option; `cli_default` is for the command line only."""

    kind: Kind | None = None
    help: str = ""
    option: str = ""
    cli_default: Any = UNSET


def _text(value: str, field: str) -> str:
    if len(value) > 256 or not value.isprintable():
        raise InvalidInput(field, value, "one line of at most 256 characters")
    return value


def _whole(value: str, field: str) -> int:
    try:
        return int(value)
    except ValueError as error:
        raise InvalidInput(field, value, "a whole number") from error


def _money(value: str, field: str) -> Money:
    amount, _, currency = value.partition(" ")
    if not currency:
        raise InvalidInput(field, value, 'an amount and its currency, such as "25000 USDT"')
    return Money(values.number(amount, field), values.currency(currency, field))


def lot_of(lot_id: str, quantity: Decimal, cost: Decimal, opened_at: datetime) -> Lot:
    """Return a lot that a transfer brings with it, whole."""
    opened = OpenedAt(opened_at, 0, lot_id)
    return Lot(lot_id, opened, opened_quantity=quantity, opened_cost=cost, quantity=quantity, cost=cost)


def _lot(value: str, field: str) -> Lot:
    lot_id, *parts = value.split(":", 3)
    if len(parts) != 3:
        raise InvalidInput(field, value, f"a lot as {LOT_PARTS}, such as E-1:0.5:21000:2025-03-01T09:30:00Z")
    quantity, cost = (values.number(part, field) for part in parts[:2])
    return lot_of(values.name(lot_id, field), quantity, cost, values.time(parts[2], field, now=now()))


def _time(value: str, field: str) -> datetime:
    return values.time(value, field, now=now())


NAME = Kind(values.name, "ID", "Name")
CURRENCY = Kind(values.currency, "CURRENCY", "CurrencyCode")
INSTRUMENT = Kind(values.instrument_id, "SYMBOL.VENUE", "InstrumentId")
NUMBER = Kind(values.number, "NUMBER", "Number")
POSITIVE = Kind(values.positive, "NUMBER", "Positive")
TEXT = Kind(_text, "TEXT", "Text")
WHOLE = Kind(_whole, "INTEGER", "int")
TIME = Kind(_time, "TIME", "Time")
ANY_TIME = Kind(values.time, "TIME", "AnyTime")
MONEY = Kind(_money, '"AMOUNT CURRENCY"', "Amount")
LOT = Kind(_lot, LOT_PARTS, "SubmittedLot")
MARK = Kind(lambda value, _: given_mark(value), "SYMBOL.VENUE=PRICE", "StatedMark")


def hints_of(form: type) -> dict[str, Any]:
    """Return the type hint of every field."""
    return get_type_hints(form, include_extras=True)


def described(hint: Any) -> tuple[Any, Field]:
    """Return the plain type of a field, and what is said of it."""
    if get_origin(hint) is Annotated:
        plain, *more = get_args(hint)
        return plain, next((each for each in more if isinstance(each, Field)), Field())
    return hint, Field()


def parts_of(plain: Any) -> tuple[Any, bool, bool, bool]:
    """Return the type of one value, and whether there are several, whether it may be None, and whether UNSET."""
    args = get_args(plain) if get_origin(plain) not in (tuple, None) else ()
    of = next((each for each in args if each not in (NoneType, UnsetType)), plain)
    is_many = get_origin(of) is tuple
    return (get_args(of)[0] if is_many else of), is_many, NoneType in args, UnsetType in args
