"""Audit: the log itself, event by event, as it is stored.

`state` is the very text that was written and is hashed; `sha256` is over its bytes; `record` is the same, decoded for
reading. The log only grows, so a page once read never changes.
"""

import hashlib
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from adapters.store.log import Stored
from api import schemas
from api.auth import Scope, needs
from api.context import Book, answer, documented
from api.problems import not_found, responses
from api.wiring import Daybook

EVENTS_PAGE_MAX = 1000
SCANNED_EVENTS_MAX = 50_000
SEQ_MAX = 2**63 - 1

router = APIRouter(
    prefix="/v1", tags=["audit"], dependencies=[needs(Scope.AUDIT)], responses=responses(401, 403, 422, 503)
)


@router.get("/events", response_model=schemas.EventsAnswer, responses=documented(200, "a page of the log"))
def list_events(
    book: Book,
    after: Annotated[int, Query(ge=0, le=SEQ_MAX, description="the last seq already seen")] = 0,
    limit: Annotated[int, Query(ge=1, le=EVENTS_PAGE_MAX)] = 100,
    stream: Annotated[str, Query(max_length=300, description="only streams that begin so: `order:main:`")] = "",
) -> Response:
    """Events in their order. A filtered page may come up short and still name a next one."""
    head = book.log.head().seq
    found, last = page(book, after=after, limit=limit, stream=stream)
    body = {"seq": head, "items": [event_told(stored) for stored in found], "next": last if last < head else None}
    return answer(body, seq=head)


@router.get(
    "/events/{seq}", response_model=schemas.EventAnswer, responses=documented(200, "the event") | responses(404)
)
def read_event(seq: Annotated[int, Path(ge=1, le=SEQ_MAX)], book: Book) -> Response:
    """One event."""
    found = book.log.stored(after=seq - 1, upto=seq, limit=1)
    if not found:
        raise not_found(f"event {seq}", seq=seq)
    return answer(event_told(found[0]), seq=seq)


def page(
    book: Daybook, *, after: int, limit: int, stream: str, scanned_max: int | None = SCANNED_EVENTS_MAX
) -> tuple[list[Stored], int]:
    """At most `limit` events behind `after` whose stream begins with `stream`, and the last seq looked at."""
    found: list[Stored] = []
    last = after
    while len(found) < limit and (scanned_max is None or last - after < scanned_max):
        batch = book.log.stored(after=last, limit=limit if not stream else EVENTS_PAGE_MAX)
        if not batch:
            break
        for stored in batch:
            last = stored.seq
            if stored.stream.startswith(stream):
                found.append(stored)
                if len(found) == limit:
                    break
    return found, last


def event_told(stored: Stored) -> dict[str, Any]:
    """An event as it is shown."""
    record = msgspec.json.decode(stored.state)
    return {
        "seq": stored.seq,
        "stream": stored.stream,
        "version": stored.version,
        "topic": stored.topic,
        "recorded_at": stored.recorded_at,
        "actor": record["actor"],
        "request_id": record["request_id"],
        "sha256": hashlib.sha256(stored.state).hexdigest(),
        "state": stored.state.decode(),
        "record": record,
    }
