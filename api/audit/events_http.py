"""The log over HTTP, event by event, as it is stored.

`state` is the stored text that is hashed; `sha256` is the hash of its bytes; `record` is the same text, decoded. The
log only grows, so a page once read never changes.
"""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import Field, StringConstraints
from starlette.responses import Response

from adapters.postgres.scopes import Scope
from api.http.auth import needs
from api.http.dependencies import OpenDaybook, answer, documented
from api.http.fields import AnyTime, Name, RequestBody
from api.http.problem_responses import responses
from api.http.reads import ReadRoute, expensive
from api.problems import not_found
from api.read_models import schemas
from api.read_models.log_search import LogFilter, checked, search
from api.read_models.query_params import SEQ_MAX
from api.read_models.records import EVENTS_PAGE_MAX, event_record

router = APIRouter(
    prefix="/v1",
    route_class=ReadRoute,
    tags=["audit"],
    dependencies=[needs(Scope.AUDIT)],
    responses=responses(401, 403, 422, 503),
)


class EventsQuery(RequestBody):
    """Which events, in the order of the log. Times are from the first of two on and before the second."""

    after: int = Field(0, ge=0, le=SEQ_MAX, description="the last seq already received")
    limit: int = Field(100, ge=1, le=EVENTS_PAGE_MAX)
    actor: str | None = Field(None, max_length=300, description="only what this actor recorded")
    topic: list[Annotated[str, StringConstraints(max_length=100)]] = Field(
        [], max_length=20, description="only events of this name, such as OrderFilled; may be repeated"
    )
    stream: str = Field("", max_length=2000, description="only streams whose name begins so, such as `order:main:`")
    account_id: Name | None = Field(None, description="only streams of this account")
    request_id: str | None = Field(None, max_length=300, description="only what this request recorded")
    recorded_since: AnyTime | None = None
    recorded_until: AnyTime | None = None
    occurred_since: AnyTime | None = Field(None, description="by the event's own time, at the venue or the client")
    occurred_until: AnyTime | None = None

    def wanted(self) -> LogFilter:
        """Return the filter. Raises InvalidInput."""
        chosen = self.model_dump(exclude={"after", "limit", "topic"})
        return checked(LogFilter(**chosen, event=tuple(self.topic)))


@router.get("/events", response_model=schemas.EventsAnswer, responses=documented(200, "a page of the log"))
@expensive(lambda given: not given["query"].wanted().is_plain)
def list_events(query: Annotated[EventsQuery, Query()], daybook: OpenDaybook) -> Response:
    """List events in the order of the log, filtered by who, what, where and when.

    A filtered page may have fewer events than `limit`, or none, and still a `next`: go on after that. Events are found
    by an index; where it cannot narrow them down, at most 50,000 are read for a page.
    """
    page = search(daybook, query.wanted(), after=query.after, limit=query.limit)
    seq = max(daybook.history.head().seq, page.last)
    items = [event_record(stored) for stored in page.found]
    return answer({"seq": seq, "items": items, "next": None if page.is_last else page.last}, seq=seq)


@router.get(
    "/events/{seq}", response_model=schemas.EventAnswer, responses=documented(200, "the event") | responses(404)
)
def read_event(seq: Annotated[int, Path(ge=1, le=SEQ_MAX)], daybook: OpenDaybook) -> Response:
    """Return one event."""
    found = daybook.history.stored(after=seq - 1, upto=seq, limit=1)
    if not found:
        raise not_found(f"event {seq}", seq=seq)
    return answer(event_record(found[0]), seq=seq)
