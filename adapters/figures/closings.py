"""Closings: the events that commit to figures, and the figures themselves as they are kept for proofs.

Kept figures are lines, a key and a value each, compressed. They are used only if they lead to the root of their event.
"""

import base64
import binascii
import zlib
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from adapters.postgres.connections import Connection
from domain.errors import HistoryBroken
from domain.ledger import schema
from domain.sealed.figures import STREAM, FiguresClosed, FiguresTree
from domain.sealed.merkle import HASH_BYTES

FIGURES_BYTES_MAX = 1024 * 1024 * 1024
EVENTS = """
SELECT notification_id, state FROM ledger.events WHERE originator_id = %s ORDER BY originator_version
"""
NEWEST = """
SELECT notification_id, state FROM ledger.events WHERE originator_id = %s ORDER BY originator_version DESC
"""
KEEP = "INSERT INTO ledger.closings (as_of_seq, figures) VALUES (%s, %s) ON CONFLICT DO NOTHING"
KEPT = "SELECT figures FROM ledger.closings WHERE as_of_seq = %s"


class Closing(NamedTuple):
    """A closing on record: the seq of its event, the event's stored bytes, and the event."""

    seq: int
    state: bytes
    event: FiguresClosed


def closing_of(seq: int, state: bytes) -> Closing:
    """Return a stored event as a closing. Raises HistoryBroken if it is none."""
    record = schema.decode(schema.topic_of_class(FiguresClosed), state)
    if record.stream != STREAM:
        raise HistoryBroken(f"altered at seq {seq}: a closing in the stream {record.stream}")
    return Closing(seq, state, record.event)


def all_closings(connection: Connection) -> list[Closing]:
    """Return all closings, by seq."""
    with connection.cursor(binary=True) as cursor:
        return [closing_of(*row) for row in cursor.execute(EVENTS, [STREAM]).fetchall()]


def newest(connection: Connection, *, as_of_seq: int | None = None, upto: int | None = None) -> Closing | None:
    """Return the newest closing, as of a place in the log if one is given, and recorded by `upto`; None if none is."""
    with connection.cursor(binary=True) as cursor:
        for row in cursor.execute(NEWEST, [STREAM]):
            found = closing_of(*row)
            if as_of_seq in (None, found.event.as_of_seq) and (upto is None or found.seq <= upto):
                return found
    return None


def keep(connection: Connection, as_of_seq: int, tree: FiguresTree) -> None:
    """Keep the figures of a closing, unless they are kept."""
    connection.execute(KEEP, [as_of_seq, packed(tree)])


def kept(connection: Connection, closing: Closing) -> FiguresTree | None:
    """Return the kept figures of a closing; None if they are not kept, or are not those of its event."""
    found = kept_values(connection, closing.event.as_of_seq)
    if found is None:
        return None
    tree = FiguresTree(found)
    return tree if is_of(tree, closing.event) else None


def kept_values(connection: Connection, as_of_seq: int) -> Mapping[str, str] | None:
    """Return the kept figures as of a place in the log, right or wrong; None if they cannot be read."""
    with connection.cursor(binary=True) as cursor:
        row = cursor.execute(KEPT, [as_of_seq]).fetchone()
    try:
        return unpacked(row[0]) if row is not None else None
    except (zlib.error, ValueError):
        return None


def is_of(tree: FiguresTree, event: FiguresClosed) -> bool:
    """Return whether figures are those that an event commits to."""
    return (len(tree.figures), tree.root_text()) == (event.figures, event.root)


def root_of(event: FiguresClosed) -> bytes | None:
    """Return the root that an event commits to; None if it is no hash."""
    try:
        root = base64.b64decode(event.root, validate=True)
    except (binascii.Error, ValueError):
        return None
    return root if len(root) == HASH_BYTES else None


def lines_of(tree: FiguresTree) -> str:
    """Return figures as lines."""
    return "".join(f"{figure.key}\n{figure.value}\n" for figure in tree.figures)


def values_of(lines: str) -> dict[str, str]:
    """Return the figures in lines. Raises ValueError for an odd number of them."""
    parts = lines.split("\n")[:-1]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def packed(tree: FiguresTree) -> bytes:
    """Return figures as they are kept."""
    return zlib.compress(lines_of(tree).encode())


def unpacked(content: bytes) -> dict[str, str]:
    """Return kept figures. Raises ValueError, zlib.error."""
    decompressor = zlib.decompressobj()
    text = decompressor.decompress(content, FIGURES_BYTES_MAX)
    if not decompressor.eof:
        raise ValueError("cut short, or too long")
    return values_of(text.decode())


def members(value: str) -> dict[str, object]:
    """Return the members of a figure's value. Raises HistoryBroken if it is no JSON object."""
    try:
        return msgspec.json.decode(value, type=dict[str, object])
    except (msgspec.MsgspecError, RecursionError) as error:
        raise HistoryBroken(f"a figure's value is no JSON object: {error}") from error
