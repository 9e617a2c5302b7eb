"""Encode and decode aggregate states for snapshots, readable only by the code that folded them.

Compressed MessagePack, decoded by the types of the state: bytes that do not fit them are refused. Numbers are text, so
they stay exact. `topic` carries a fingerprint of the domain's source: other code may fold the same events to another
state of the same shape, so states of other code are not read.
"""

import hashlib
import zlib
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, defstruct, structs

import domain
from domain.access import Approvals, Key
from domain.account import Account, CostBasis, RawReportKept, StatementTaken, Subject
from domain.immutable import from_pairs, to_pairs
from domain.instrument import Instrument
from domain.marks import MarkSource
from domain.order import Order, ParentOrder, VenueOrder
from domain.policies import Policies
from domain.position import Book, Booked, Effect, Entry, Lot, Lots, Position, costing
from domain.risk import Risk
from domain.sealed.figures import Closed

COMPRESSION = 1
STATE_BYTES_MAX = 256 * 1024 * 1024


class StateUnreadable(Exception):
    """The bytes are not a state of this kind."""


class KeptBook(Struct, frozen=True, array_like=True):
    """A book with its lots in sequence; how they are chunked has no meaning."""

    basis: CostBasis
    lots: tuple[Lot, ...]
    quantity: Decimal
    cost: Decimal


class KeptEntry(Struct, frozen=True, array_like=True):
    """An entry of a position's tail, with quantity and cost after it if known. Its lots follow from those before it and
    are not repeated.
    """

    entry: Entry
    effect: Effect
    after: tuple[Decimal, Decimal] | None


CACHE = "history"  # follows from the events; a position is kept without it
_KEPT_AS: dict[str, Any] = {"book": KeptBook, "anchor": KeptBook, "tail": tuple[KeptEntry, ...]}
KeptPosition: Any = defstruct(
    "KeptPosition",
    [(field.name, _KEPT_AS.get(field.name, field.type)) for field in structs.fields(Position) if field.name != CACHE],
    frozen=True,
    array_like=True,
)

SHAPES: dict[str, Any] = {
    "access": Key,
    "account": Account,
    "approval": Approvals,
    "evidence": RawReportKept,
    "figures": Closed,
    "instrument": Instrument,
    "limit": Risk,
    "marks": MarkSource,
    "order": Order,
    "parentorder": ParentOrder,
    "policy": Policies,
    "position": KeptPosition,
    "rates": MarkSource,
    "statement": StatementTaken,
    "subject": Subject,
    "venueorder": VenueOrder,
}


def topic_of(stream: str) -> str:
    """Return the kind of a stream's aggregate and the fingerprint of the code: `position:5f0c…`."""
    return f"{_kind(stream)}:{fingerprint()}"


@cache
def fingerprint() -> str:
    """Return a digest of the source that determines a state: the domain, and this module."""
    digest = hashlib.sha256()
    root = Path(domain.__path__[0])
    for path in (*sorted(root.rglob("*.py")), Path(__file__)):
        name = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
        digest.update(f"{name}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:32]


def encode(stream: str, state: Any) -> bytes:
    """Encode and compress a state. Raises StateUnreadable if the bytes do not decode to an equal state."""
    kept = _packed(state) if isinstance(state, Position) else state
    plain = _ENCODER.encode(kept)
    if len(plain) > STATE_BYTES_MAX:
        raise StateUnreadable(f"{len(plain)} bytes are more than {STATE_BYTES_MAX}")
    if not _is_same(_decoded(stream, plain), kept):
        raise StateUnreadable("its bytes do not make the same state")
    return zlib.compress(plain, COMPRESSION)


def _is_same(back: Any, kept: Any) -> bool:
    """Compare states. Of a position's tail only the last book is compared, since each may have thousands of lots: all
    are made by the same additions, from the anchor to the last, which is the book itself.
    """
    if not isinstance(back, Position):
        return bool(back == kept)
    last = back.tail[-1].after if back.tail else None
    return bool(_packed(back) == kept) and (last is None or last.lots == back.book.lots)


def decode(stream: str, state: bytes) -> Any:
    """Decode a state. Raises StateUnreadable."""
    unpacking = zlib.decompressobj()
    try:
        plain = unpacking.decompress(state, STATE_BYTES_MAX)
    except zlib.error as error:
        raise StateUnreadable(str(error)) from error
    if not unpacking.eof or unpacking.unused_data:
        raise StateUnreadable("it is cut off, or too long")
    return _decoded(stream, plain)


def _kind(stream: str) -> str:
    return stream.partition(":")[0]


def _decoded(stream: str, plain: bytes) -> Any:
    try:
        kept = _decoder(_kind(stream)).decode(plain)
        return _unpacked(kept) if isinstance(kept, KeptPosition) else kept
    except (msgspec.MsgspecError, ValueError, TypeError, ArithmeticError, AssertionError) as error:
        raise StateUnreadable(str(error)) from error


@cache
def _decoder(kind: str) -> msgspec.msgpack.Decoder[Any]:
    return msgspec.msgpack.Decoder(SHAPES[kind], dec_hook=from_pairs)


_ENCODER = msgspec.msgpack.Encoder(enc_hook=to_pairs)


def _packed(position: Position) -> Any:
    own: dict[str, Any] = structs.asdict(position)
    del own[CACHE]
    tail = tuple(
        KeptEntry(item.entry, item.effect, (item.after.quantity, item.after.cost) if item.after else None)
        for item in position.tail
    )
    return KeptPosition(**own | {"book": _kept(position.book), "anchor": _kept(position.anchor), "tail": tail})


def _unpacked(kept: Any) -> Position:
    """Rebuild the book after each entry of the tail from the one before, so that they share their lots."""
    anchor, tail = _book(kept.anchor), []
    after = anchor
    for item in kept.tail:
        after = costing.book_with(after, item.effect)
        tail.append(Booked(item.entry, item.effect, Book(after.lots, *item.after) if item.after else None))
    book = _book(kept.book)
    if after.lots == book.lots:
        book = Book(after.lots, book.quantity, book.cost)
    return Position(**structs.asdict(kept) | {"book": book, "anchor": anchor, "tail": tuple(tail)})


def _kept(book: Book) -> KeptBook:
    return KeptBook(book.lots.basis, tuple(book.lots), book.quantity, book.cost)


def _book(kept: KeptBook) -> Book:
    lots = Lots(kept.basis)
    for lot in reversed(kept.lots):  # a lot goes before its equals
        lots = lots.add(lot)
    return Book(lots, kept.quantity, kept.cost)
