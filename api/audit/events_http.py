"""Audit: the log itself, event by event, as it is stored.

`state` is the very text that was written and is hashed; `sha256` is over its bytes; `record` is the same, decoded for
reading. The log only grows, so a page once read never changes.
"""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from adapters.postgres.scopes import Scope
from api.http.auth import needs
from api.http.dependencies import OpenDaybook, answer, documented
from api.http.problem_responses import responses
from api.problems import not_found
from api.read_models import schemas
from api.read_models.query_params import SEQ_MAX
from api.read_models.records import EVENTS_PAGE_MAX, event_record, events_page

router = APIRouter(
    prefix="/v1", tags=["audit"], dependencies=[needs(Scope.AUDIT)], responses=responses(401, 403, 422, 503)
)


@router.get("/events", response_model=schemas.EventsAnswer, responses=documented(200, "a page of the log"))
def list_events(
    book: OpenDaybook,
    after: Annotated[int, Query(ge=0, le=SEQ_MAX, description="the last seq already seen")] = 0,
    limit: Annotated[int, Query(ge=1, le=EVENTS_PAGE_MAX)] = 100,
    stream: Annotated[str, Query(max_length=300, description="only streams that begin so: `order:main:`")] = "",
) -> Response:
    """Events in their order. A filtered page may come up short and still name a next one."""
    head = book.log.head().seq
    found, last = events_page(book, after=after, limit=limit, stream=stream)
    body = {"seq": head, "items": [event_record(stored) for stored in found], "next": last if last < head else None}
    return answer(body, seq=head)


@router.get(
    "/events/{seq}", response_model=schemas.EventAnswer, responses=documented(200, "the event") | responses(404)
)
def read_event(seq: Annotated[int, Path(ge=1, le=SEQ_MAX)], book: OpenDaybook) -> Response:
    """One event."""
    found = book.log.stored(after=seq - 1, upto=seq, limit=1)
    if not found:
        raise not_found(f"event {seq}", seq=seq)
    return answer(event_record(found[0]), seq=seq)
