"""What policies have done, over HTTP: the events of the log that they recorded, each with its cause."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.responses import Response

from adapters.postgres.scopes import Scope
from api.http.auth import needs
from api.http.dependencies import OpenDaybook, answer, documented
from api.http.fields import Name, RequestBody
from api.http.problem_responses import responses
from api.http.reads import ReadRoute, expensive
from api.read_models import schemas
from api.read_models.log_search import LogFilter, search
from api.read_models.query_params import SEQ_MAX
from api.read_models.records import EVENTS_PAGE_MAX, event_record
from domain.policies import Policy

router = APIRouter(
    prefix="/v1", route_class=ReadRoute, tags=["controls"], dependencies=[needs(Scope.AUDIT)],
    responses=responses(401, 403, 422, 503),
)  # fmt: skip


class ReactionsQuery(RequestBody):
    """Which events, in the order of the log."""

    policy: Policy | None = Field(None, description="only what this policy recorded; without, all of them")
    account_id: Name | None = Field(None, description="only streams of this account")
    after: int = Field(0, ge=0, le=SEQ_MAX, description="the last seq already received")
    limit: int = Field(100, ge=1, le=EVENTS_PAGE_MAX)


@router.get("/reactions", response_model=schemas.EventsAnswer, responses=documented(200, "a page of the log"))
@expensive(lambda given: True)  # noqa: ARG005 (it searches the log)
def list_reactions(query: Annotated[ReactionsQuery, Query()], daybook: OpenDaybook) -> Response:
    """List what policies recorded, in the order of the log: the events, each with its `cause`.

    A page may have fewer events than `limit`, or none, and still a `next`: go on after that.
    """
    wanted = [query.policy] if query.policy is not None else list(Policy)
    actors = tuple(f"policy:{policy}" for policy in wanted)
    chosen = LogFilter(actors=actors, account_id=query.account_id)
    page = search(daybook, chosen, after=query.after, limit=query.limit)
    seq = max(daybook.history.head().seq, page.last)
    items = [event_record(stored) for stored in page.found]
    return answer({"seq": seq, "items": items, "next": None if page.is_last else page.last}, seq=seq)
