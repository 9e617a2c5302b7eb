"""Places of process managers: how far in the log each has come, with its state there, in one row of `read.reactions`.

A row is written only by who has written or read it last (`saves`): of two processes, one finds out that it is late.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from domain.immutable import from_pairs, to_pairs
from domain.reactions.process import Process
from projections.storage.tables import AT, TEXT

REASON_CHARS_MAX = 500

reactions = sa.Table(
    "reactions",
    sa.MetaData(),
    sa.Column("reaction", TEXT, primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("since", sa.BigInteger, nullable=False),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("state", sa.LargeBinary),
    sa.Column("saves", sa.BigInteger, nullable=False),
    sa.Column("updated_at", AT, nullable=False),
    sa.Column("error", TEXT),
    sa.Column("carried_out", sa.BigInteger, nullable=False),
    sa.Column("refused", sa.BigInteger, nullable=False),
    sa.Column("last_request_id", TEXT),
    sa.Column("last_cause", TEXT),
    sa.Column("last_refusal", TEXT),
    sa.Column("last_at", AT),
    schema="read",
)
_KEPT = [column for column in reactions.columns if column.name != "updated_at"]


class Counts(NamedTuple):
    """What a process manager has sent: how many requests were carried out or refused, and the last of them."""

    carried_out: int = 0
    refused: int = 0
    last_request_id: str | None = None
    last_cause: str | None = None
    last_refusal: str | None = None
    last_at: datetime | None = None


class Place(NamedTuple):
    """A place: the seq up to which events were read, and `since`, up to which none is reacted to."""

    version: int
    since: int
    seq: int
    saves: int
    state: bytes | None = None
    error: str | None = None
    counts: Counts = Counts()


class Overtaken(Exception):
    """Another process has moved a place since it was read."""


def find(connection: sa.Connection, names: Iterable[str]) -> dict[str, Place]:
    """Return the places of those that have one."""
    found = connection.execute(sa.select(*_KEPT).where(reactions.c.reaction.in_(list(names))))
    return {row.reaction: _place(row) for row in found}


def _place(row: Any) -> Place:
    counts = Counts(**{name: getattr(row, name) for name in Counts._fields})
    return Place(row.version, row.since, row.seq, row.saves, state=row.state, error=row.error, counts=counts)


def begin(connection: sa.Connection, processes: Sequence[Process], head: int) -> None:
    """Give each process manager without a place one at the log's start, which reacts to what comes after `head`."""
    rows = [
        {"reaction": process.name, "version": process.version, "since": head, "seq": 0, "saves": 0}
        | {"carried_out": 0, "refused": 0, "updated_at": sa.func.clock_timestamp()}
        for process in processes
    ]
    for row in rows:
        connection.execute(postgresql.insert(reactions).values(row).on_conflict_do_nothing())


def save(connection: sa.Connection, name: str, place: Place) -> Place:
    """Write a place over the one it was read from. Return it as it is now. Raises Overtaken."""
    values = place._asdict() | place.counts._asdict() | {"saves": place.saves + 1}
    del values["counts"]
    is_own = (reactions.c.reaction == name) & (reactions.c.saves == place.saves)
    written = sa.update(reactions).where(is_own).values(**values, updated_at=sa.func.clock_timestamp())
    if connection.execute(written).rowcount != 1:
        raise Overtaken(name)
    return place._replace(saves=place.saves + 1)


def resume(connection: sa.Connection, names: Sequence[str]) -> list[str]:
    """Clear the errors of stopped process managers; return the names of those that had one."""
    is_stopped = reactions.c.reaction.in_(names) & reactions.c.error.is_not(None)
    cleared = sa.update(reactions).where(is_stopped).values(error=None, saves=reactions.c.saves + 1)
    return sorted(connection.scalars(cleared.returning(reactions.c.reaction)))


def packed(state: Any) -> bytes:
    """Return a state as it is stored."""
    return _ENCODER.encode(state)


def unpacked(process: Process, state: bytes) -> Any:
    """Return a stored state. Raises ValueError, TypeError or msgspec.MsgspecError if it is of another shape."""
    return msgspec.msgpack.decode(state, type=process.state, dec_hook=from_pairs)


_ENCODER = msgspec.msgpack.Encoder(enc_hook=to_pairs)
