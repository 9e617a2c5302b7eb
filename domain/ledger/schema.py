"""The stored format of events: the topic and class of each, their encoding, and the reading of older shapes.

A topic is the struct's tag, written into the bytes as `type`, so that it is part of what is hashed. A shape that
changes gets a new topic (`OrderFilled.v2`); the old class stays under its topic with an upcast to the newest.
"""

from collections.abc import Callable, Iterable
from typing import Any, Union, get_args, get_type_hints

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from domain import names
from domain.access import ApprovalEvent, KeyEvent
from domain.account import AccountEvent, EvidenceEvent, StatementEvent, SubjectEvent
from domain.errors import HistoryBroken
from domain.instrument import InstrumentEvent
from domain.ledger import upcasts
from domain.ledger.given.clock import ClockEvent
from domain.ledger.given.signing import SigningEvent
from domain.ledger.log import Recorded
from domain.ledger.upcasts import (
    EquityAssessedV1,
    FirmUsageChangedV1,
    HoldAdjustedV1,
    HoldPlacedV1,
    HoldRefusedV1,
    PositionRestatedV1,
    PositionRestatedV2,
    PositionTransferredV1,
    PositionTransferredV2,
    TradeBookedV1,
    TradeBookedV2,
)
from domain.marks import MarkEvent
from domain.order import OrderEvent, OrderFilled, ParentEvent, VenueOrderEvent
from domain.policies import PolicyEvent
from domain.position import PositionEvent
from domain.risk import RiskEvent
from domain.sealed.figures import FiguresEvent


def _members(*unions: Any) -> tuple[type[Struct], ...]:
    return tuple(member for union in unions for member in (get_args(union) or (union,)))


NEWEST: tuple[type[Struct], ...] = _members(
    InstrumentEvent,
    AccountEvent,
    OrderEvent,
    PositionEvent,
    RiskEvent,
    EvidenceEvent,
    StatementEvent,
    ParentEvent,
    VenueOrderEvent,
    SubjectEvent,
    ClockEvent,
    KeyEvent,
    ApprovalEvent,
    SigningEvent,
    MarkEvent,
    FiguresEvent,
    PolicyEvent,
)
UPCASTS: dict[type[Struct], Callable[[Any], Any]] = {
    TradeBookedV1: upcasts.trade_booked,
    TradeBookedV2: upcasts.trade_booked_v2,
    PositionTransferredV1: upcasts.position_transferred,
    PositionTransferredV2: upcasts.position_transferred_v2,
    PositionRestatedV1: upcasts.position_restated,
    PositionRestatedV2: upcasts.position_restated_v2,
    HoldPlacedV1: upcasts.hold_placed,
    HoldRefusedV1: upcasts.hold_refused,
    HoldAdjustedV1: upcasts.hold_adjusted,
    FirmUsageChangedV1: upcasts.firm_usage_changed,
    EquityAssessedV1: upcasts.equity_assessed,
}
OLDER: tuple[type[Struct], ...] = tuple(UPCASTS)


def topic_of(event: Any) -> str:
    """The topic an event is stored under."""
    return _TOPICS[type(event)]


def topic_of_class(event_class: type) -> str:
    """The topic events of a class are stored under."""
    return _TOPICS[event_class]


def topics_read_as(event_classes: Iterable[type]) -> frozenset[str]:
    """The topics whose events come out of `decode` as one of these classes: their own, and those of older shapes."""
    wanted = set(event_classes)
    older = {old for old in UPCASTS if newest_class(old) in wanted}
    return frozenset(_TOPICS[event_class] for event_class in (wanted & _TOPICS.keys()) | older)


def newest_class(event_class: type) -> type:
    """The class that events of a class are read as."""
    while (upcast := UPCASTS.get(event_class)) is not None:
        event_class = get_type_hints(upcast)["return"]
    return event_class


def execution_key(event: Any) -> str | None:
    """The key that a fill is unique by in the whole log, under any order; None for other events."""
    return key_of_execution(event) if type(event) is OrderFilled else None


def key_of_execution(fill: OrderFilled) -> str:
    """The key that a fill is unique by in the whole log."""
    return execution_key_of(fill.key.account_id, fill.instrument_id, fill.id_on_record)


def execution_key_of(account_id: str, instrument_id: str, exec_id: str) -> str:
    """The execution key of an account, instrument and exec id."""
    return f"{names.part(account_id)}:{names.part(instrument_id)}:{names.part(exec_id)}"


def _tag(event_class: type[Struct]) -> str:
    tag = event_class.__struct_config__.tag
    assert isinstance(tag, str), f"{event_class.__name__} needs a tag"
    return tag


_TOPICS: dict[type, str] = {event_class: _tag(event_class) for event_class in (*NEWEST, *OLDER)}
EVENTS: dict[str, type[Struct]] = {topic: event_class for event_class, topic in _TOPICS.items()}
assert len(EVENTS) == len(_TOPICS), "two events share a topic"

_ENCODER = msgspec.json.Encoder(order="deterministic")
_ANY_EVENT: Any = Union[tuple(_TOPICS)]  # noqa: UP007 (built at run time)
_DECODER: msgspec.json.Decoder[Recorded] = msgspec.json.Decoder(Recorded[_ANY_EVENT])


def encode(recorded: Recorded) -> bytes:
    """Encode a record: JSON, fields as defined, decimals as text. The bytes are stored and hashed as they are."""
    return _ENCODER.encode(recorded)


def stored(recorded: Recorded) -> tuple[str, bytes, str | None]:
    """The topic, bytes and execution key a record is stored with."""
    event = recorded.event
    return _TOPICS[type(event)], _ENCODER.encode(recorded), execution_key(event)


def shown(value: Any) -> str:
    """A field of a record as it is stored, as text."""
    return _ENCODER.encode(value).decode()


def decode(topic: str, state: bytes) -> Recorded:
    """Decode a record, its event in the newest shape. Raises HistoryBroken if it is not one of ours."""
    try:
        stored: Recorded = _DECODER.decode(state)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        _check_topic(topic)
        raise HistoryBroken(f"a stored {topic} does not decode: {error}") from error
    stored_class = type(stored.event)
    if _TOPICS[stored_class] != topic:
        _check_topic(topic)
        raise HistoryBroken(f"an event stored as {topic} has the type {_TOPICS[stored_class]}")
    return stored if stored_class not in UPCASTS else replace(stored, event=_newest(stored.event))


def _check_topic(topic: str) -> None:
    if topic not in EVENTS:
        raise HistoryBroken(f"unknown topic {topic!r}: this history needs a newer Daybook, or was not written by one")


def _newest(event: Any) -> Any:
    while (upcast := UPCASTS.get(type(event))) is not None:
        event = upcast(event)
    return event
