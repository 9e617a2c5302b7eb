"""The log over HTTP, event by event, as it is stored.

`state` is the stored text that is hashed; `sha256` is the hash of its bytes; `record` is the same text, decoded. The
log only grows, so a page once read never changes.
"""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from adapters.postgres.scopes import Scope
from api.http.auth import needs
from api.http.dependencies import OpenDaybook, answer, documented
from api.http.problem_responses import responses
from api.http.reads import ReadRoute, expensive
from api.problems import not_found
from api.read_models import schemas
from api.read_models.query_params import SEQ_MAX
from api.read_models.records import EVENTS_PAGE_MAX, event_record, events_page

router = APIRouter(
    prefix="/v1",
    route_class=ReadRoute,
    tags=["audit"],
    dependencies=[needs(Scope.AUDIT)],
    responses=responses(401, 403, 422, 503),
)


@router.get("/events", response_model=schemas.EventsAnswer, responses=documented(200, "a page of the log"))
@expensive(lambda given: bool(given["stream"]))
def list_events(
    daybook: OpenDaybook,
    after: Annotated[int, Query(ge=0, le=SEQ_MAX, description="the last seq already received")] = 0,
    limit: Annotated[int, Query(ge=1, le=EVENTS_PAGE_MAX)] = 100,
    stream: Annotated[
        str, Query(max_length=300, description="only streams whose name begins so, such as `order:main:`")
    ] = "",
) -> Response:
    """List events in the order of the log. A filtered page may have fewer events than `limit` and still a `next`."""
    head = daybook.history.head().seq
    found, last = events_page(daybook, after=after, limit=limit, stream=stream)
    body = {"seq": head, "items": [event_record(stored) for stored in found], "next": last if last < head else None}
    return answer(body, seq=head)


@router.get(
    "/events/{seq}", response_model=schemas.EventAnswer, responses=documented(200, "the event") | responses(404)
)
def read_event(seq: Annotated[int, Path(ge=1, le=SEQ_MAX)], daybook: OpenDaybook) -> Response:
    """Return one event."""
    found = daybook.history.stored(after=seq - 1, upto=seq, limit=1)
    if not found:
        raise not_found(f"event {seq}", seq=seq)
    return answer(event_record(found[0]), seq=seq)
