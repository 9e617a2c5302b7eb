"""Batches of marks and funding rates: what the log states of prices that are stored beside it.

Prices are too many to be events one by one. They are recorded in batches of at most `BATCH_MARKS_MAX`, each of one
source, and a batch is one event: how many, of which instruments and times, under which ids, and the Merkle root (RFC
6962) over their leaves. A leaf is a JSON array of seven: id, instrument, time, value, source, quality, recorded_at.
Times are UTC to the microsecond, numbers in plain notation without trailing zeros; `quality` is null for funding
rates, `recorded_at` null except where a price was recorded before batches were. Ids follow on from the first one,
except there.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple, assert_never

import msgspec
from msgspec import Struct

from domain import values
from domain.errors import InvalidInput, RequestRefused
from domain.sealed import merkle
from domain.values import Mark, exact

BATCH_MARKS_MAX = 5000
INSTRUMENTS_NAMED_MAX = 64
RECENT_BATCHES_MAX = 32  # a repeated batch is recognised among the last ones of its stream
ANY_SOURCE = "*"  # no source has this name: of the batches of prices recorded before batches were


class PriceKind(StrEnum):
    """The kind of prices in a batch: marks, or the funding rates of perpetuals."""

    MARK = "MARK"
    FUNDING_RATE = "FUNDING_RATE"


# Events: the stored format. A name or a field here outlives this code; change one only with an upcast.
class MarksRecorded(Struct, frozen=True, gc=False, tag="MarksRecorded", omit_defaults=True):
    """A batch of marks or funding rates was recorded, under the ids `first_id` to `last_id` of the mark store.

    `root` is the Merkle root over the batch, in hexadecimal. `instruments` are the first 64 by name, of all
    `instrument_count`. With `is_earlier` the prices were on record before, at times of their own, and the batch states
    what they were when it was recorded; they may be of several sources, and their ids may have gaps.
    """

    kind: PriceKind
    source: str
    first_id: int
    last_id: int
    count: int
    first_at: datetime
    last_at: datetime
    instruments: tuple[str, ...]
    instrument_count: int
    root: str
    is_earlier: bool = False


MarkEvent = MarksRecorded


class RecordMarks(Struct, frozen=True):
    """Record batches of prices that the mark store holds but does not show yet.

    `marks` has the newest mark of each instrument in them: what they value is monitored in the same append.
    """

    batches: tuple[MarksRecorded, ...]
    marks: tuple[Mark, ...] = ()


class MarkSource(Struct, frozen=True):
    """The batches of one source and kind so far; `recent` are the first ids of the last ones."""

    source: str
    batches: int
    prices: int
    recent: tuple[int, ...]


class Leaf(NamedTuple):
    """A price in its canonical form, as it is hashed."""

    mark_id: int
    instrument_id: str
    at: str | None
    value: str
    source: str
    quality: str | None
    recorded_at: str | None


class Batch(NamedTuple):
    """The event of a batch, and the hashes of its leaves, 32 bytes each, in the sequence of their ids."""

    event: MarksRecorded
    hashes: bytes


def stream(batch: MarksRecorded) -> str:
    """The stream of a source's batches."""
    match batch.kind:
        case PriceKind.MARK:
            return f"marks:{batch.source}"
        case PriceKind.FUNDING_RATE:
            return f"rates:{batch.source}"
        case _:
            assert_never(batch.kind)


def decide(known: MarkSource | None, batch: MarksRecorded) -> tuple[MarkEvent, ...]:
    """The event of a batch; () if it is on record. Raises RequestRefused."""
    try:
        if not batch.is_earlier:
            values.plain_name(batch.source, "source")
    except InvalidInput as error:
        raise RequestRefused(f"source is {error.rule}", source=batch.source) from error
    if not 1 <= batch.count <= BATCH_MARKS_MAX:
        raise RequestRefused(f"a batch has 1 to {BATCH_MARKS_MAX} prices", count=batch.count)
    span = batch.last_id - batch.first_id + 1
    if batch.first_id < 1 or (span < batch.count if batch.is_earlier else span != batch.count):
        raise RequestRefused("a batch has an id for each of its prices", first_id=batch.first_id, last_id=batch.last_id)
    return () if known is not None and batch.first_id in known.recent else (batch,)


def evolve(known: MarkSource | None, event: MarkEvent) -> MarkSource:
    """The batches of a source after an event. Total and unconditional."""
    match event:
        case MarksRecorded():
            before = known or MarkSource(event.source, 0, 0, ())
            recent = (*before.recent, event.first_id)[-RECENT_BATCHES_MAX:]
            return MarkSource(before.source, before.batches + 1, before.prices + event.count, recent)
        case _:
            assert_never(event)


def time_text(at: datetime) -> str:
    """Write a time of UTC in the canonical form of a leaf."""
    return f"{at.isoformat(timespec='microseconds')[:-6]}Z"


def number_text(value: Decimal) -> str:
    """Write a number in the canonical form of a leaf."""
    return format(exact(value), "f")


def leaf_bytes(leaf: Leaf) -> bytes:
    """The bytes of a price that are hashed."""
    return _ENCODER.encode(leaf)


def leaf_of(line: bytes) -> Leaf:
    """Read a leaf's bytes. Raises InvalidInput if they are none, or are written in another form."""
    try:
        leaf = _DECODER.decode(line)
    except (msgspec.MsgspecError, ValueError) as error:
        raise InvalidInput("mark", line[:200], f"the seven fields of a price ({error})") from error
    if leaf_bytes(leaf) != line:
        raise InvalidInput("mark", line[:200], "a price in its canonical form")
    return leaf


def hashes_of(leaves: Iterable[Leaf]) -> bytes:
    """The hashes of leaves, 32 bytes each."""
    encode, leaf_hash = _ENCODER.encode, merkle.leaf_hash
    return b"".join([leaf_hash(encode(leaf)) for leaf in leaves])


def root_of(hashes: bytes) -> str:
    """The Merkle root over leaves of these hashes, in hexadecimal."""
    size = merkle.HASH_BYTES
    return merkle.root([hashes[at : at + size] for at in range(0, len(hashes), size)]).hex()


def batch_of(
    kind: PriceKind, leaves: Sequence[Leaf], times: Sequence[datetime], *, source: str, is_earlier: bool = False
) -> Batch:
    """The batch of prices in the sequence of their ids; `times` are theirs."""
    hashes = hashes_of(leaves)
    names = sorted({leaf.instrument_id for leaf in leaves})
    event = MarksRecorded(
        kind=kind, source=source, first_id=leaves[0].mark_id, last_id=leaves[-1].mark_id, count=len(leaves),
        first_at=min(times), last_at=max(times), instruments=tuple(names[:INSTRUMENTS_NAMED_MAX]),
        instrument_count=len(names), root=root_of(hashes), is_earlier=is_earlier,
    )  # fmt: skip
    return Batch(event, hashes)


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Leaf)
