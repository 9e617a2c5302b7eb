"""Log index: in which parts of the log an actor, an event, an account or a kind of stream occurs, and each request.

The log is divided into blocks of BLOCK_EVENTS by seq. `facets` has one row for each value that occurs in a block,
`blocks` the span of occurrence times in it, `requests` the first and last seq of each request. So a search reads the
blocks that may have what is searched for, and skips the others. Rows are few: values repeat within a block.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

import sqlalchemy as sa

from domain import names
from domain.ledger import Logged, schema
from projections.storage.tables import AT, WHOLE, Fold, Projection, Rows, fact, key, maybe, printable, table

BLOCK_EVENTS = 1024
BLOCKS_PAGE = 500
ACTOR, EVENT, ACCOUNT, KIND = "actor", "event", "account", "kind"

facets = table("log", "facets", key("facet"), key("value"), key("block", WHOLE), has_history=False)
blocks = table(
    "log", "blocks", key("block", WHOLE), maybe("occurred_from", AT), maybe("occurred_to", AT), has_history=False
)
requests = table(
    "log", "requests", key("request_id"), fact("first_seq", WHOLE), fact("last_seq", WHOLE), has_history=False
)


class Span(NamedTuple):
    """A range of the log, both ends included."""

    first: int
    last: int


def block_of(seq: int) -> int:
    """Return the number of the block that has a seq."""
    return (seq - 1) // BLOCK_EVENTS


def span_of(block: int) -> Span:
    """Return the seqs of a block."""
    return Span(block * BLOCK_EVENTS + 1, (block + 1) * BLOCK_EVENTS)


def event_name(topic: str) -> str:
    """Return an event's name without the version of its stored format: OrderFilled of OrderFilled.v2."""
    return topic.partition(".v")[0]


@lru_cache(maxsize=4096)
def stream_parts(stream: str) -> tuple[str, str]:
    """Return the kind of a stream, and the account it is of ("" without one)."""
    kind, _, rest = stream.partition(":")
    match kind:
        case "order" | "parentorder" | "position" | "limit" | "account" | "evidence" | "statement" | "policy":
            return kind, names.whole(rest.partition(":")[0])
        case "venueorder":
            return kind, names.whole(rest.partition(":")[2].partition(":")[0])
        case _:
            return kind, ""


def _indexed(rows: Rows, logged: Logged, event: Any) -> None:
    seq, recorded = logged
    block = block_of(seq)
    kind, account_id = stream_parts(recorded.stream)
    found = (
        (ACTOR, recorded.actor),
        (EVENT, event_name(schema.topic_of(event))),
        (ACCOUNT, account_id),
        (KIND, kind),
    )
    for facet, value in found:
        if value and rows.get(facets, facet, printable(value), block) is None:
            rows.put(facets, {"facet": facet, "value": printable(value), "block": block, "seq": seq})
    _request(rows, seq, printable(recorded.request_id))
    _occurred(rows, seq, getattr(event, "transact_time", None))


def _request(rows: Rows, seq: int, request_id: str) -> None:
    known = rows.get(requests, request_id)
    first = seq if known is None else known["first_seq"]
    rows.put(requests, {"request_id": request_id, "first_seq": first, "last_seq": seq, "seq": seq})


def _occurred(rows: Rows, seq: int, at: datetime | None) -> None:
    if at is None:
        return
    block = block_of(seq)
    known = rows.get(blocks, block)
    since, until = (at, at) if known is None else (known["occurred_from"], known["occurred_to"])
    if known is None or at < since or at > until:
        row = {"block": block, "occurred_from": min(since, at), "occurred_to": max(until, at), "seq": seq}
        rows.put(blocks, row)


_FOLDS: dict[type, Fold] = dict.fromkeys(schema.NEWEST, _indexed)

PROJECTION = Projection("log", 1, (facets, blocks, requests), _FOLDS)


def request_span(connection: sa.Connection, request_id: str) -> Span | None:
    """Return the first and last seq of a request, as far as the index has followed the log; None if it has none."""
    query = sa.select(requests.c.first_seq, requests.c.last_seq).where(requests.c.request_id == printable(request_id))
    row = connection.execute(query).one_or_none()
    return None if row is None else Span(row.first_seq, row.last_seq)


def blocks_with(
    connection: sa.Connection,
    values: Mapping[str, Sequence[str]],
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    after: int,
    upto: int,
) -> Iterator[int]:
    """Yield the blocks that may have events with one of the `values` of each facet, in order.

    They have an event after the seq `after` and not after `upto`; with `since` or `until` also one that occurred then.
    """
    start = block_of(after + 1)
    while True:
        query = _candidates(values, since, until).where(
            sa.column("block") >= start, sa.column("block") <= block_of(upto)
        )
        found = list(connection.scalars(query.order_by("block").limit(BLOCKS_PAGE)))
        yield from found
        if len(found) < BLOCKS_PAGE:
            return
        start = found[-1] + 1


def _candidates(values: Mapping[str, Sequence[str]], since: datetime | None, until: datetime | None) -> sa.Select[Any]:
    parts: list[sa.Select[Any]] = []
    for facet, wanted in values.items():
        chosen = sa.select(facets.c.block).where(
            facets.c.facet == facet, facets.c.value.in_([printable(value) for value in wanted])
        )
        parts.append(chosen.distinct() if len(wanted) > 1 else chosen)
    if since is not None or until is not None:
        chosen = sa.select(blocks.c.block)
        if since is not None:
            chosen = chosen.where(blocks.c.occurred_to >= since)
        if until is not None:
            chosen = chosen.where(blocks.c.occurred_from < until)
        parts.append(chosen)
    together = sa.intersect(*parts) if len(parts) > 1 else parts[0]
    return sa.select(together.subquery().c.block)
