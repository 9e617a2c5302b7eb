"""Gains of disposals of coins over HTTP, paged. The report `gains` has them whole, with income and what is left."""

from itertools import islice
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.responses import Response

from adapters.market.mark_store import KnownBy
from adapters.postgres.scopes import Scope as KeyScope
from api.analytics import coin_answers as shapes
from api.analytics.gains import GAINS_MODELS, YEAR_FIRST, GainsRequest, gains
from api.analytics.http import MARK_AGE_SECONDS_MAX, Equal
from api.clock import now
from api.encoding import csv_text
from api.http.auth import needs
from api.http.cursors import cursor_after, cursor_of
from api.http.dependencies import SEQ_HEADER, answer, documented
from api.http.fields import AnyTime, CurrencyCode, Name
from api.http.problem_responses import responses
from api.http.reads import ReadRoute, expensive
from api.parameters import DAY_SECONDS, Moment
from api.read_models.query_params import CSV, CURSOR_MAX, NEXT_HEADER, PAGE_ROWS_MAX, AssetId, Context, DatedQuery
from api.read_models.schemas import Answer
from api.read_models.selection import check_selection
from api.read_models.snapshot import reading
from domain.account import CostBasis, FeePolicy
from domain.holdings.gains import Scope, Withdrawals
from projections.calendar import parsed_zone
from projections.storage.tables import AnyRow

router = APIRouter(
    prefix="/v1",
    route_class=ReadRoute,
    tags=["analytics"],
    dependencies=[needs(KeyScope.READ)],
    responses=responses(401, 422, 503),
)


class GainsQuery(DatedQuery):
    """Which disposals, by which method, valued in which currency."""

    account_id: Name | None = None
    asset: AssetId | None = Field(None, description="one coin")
    method: CostBasis | None = Field(None, description="cost basis; default: the account's own")
    fee_policy: FeePolicy | None = Field(None, description="where fees of trades go; default: the account's own")
    scope: Scope = Field(Scope.ACCOUNT, description="whose lots a disposal uses: its account's, or those of ALL")
    withdrawals: Withdrawals = Field(
        Withdrawals.REMOVED, description="whether coins withdrawn leave with their lots, or are disposed of"
    )
    year: int | None = Field(None, ge=YEAR_FIRST, le=9998, description="only disposals of this year, in `zone`")
    zone: str = Field("UTC", max_length=64, description="the time zone of years, such as Europe/Berlin")
    since: AnyTime | None = Field(None, description="only disposals from this time on")
    until: AnyTime | None = Field(None, description="only disposals before this time")
    long_term_days: int = Field(365, ge=0, le=100_000, description="held for so many days of 24 hours is long")
    currency: CurrencyCode | None = Field(None, description="instead of the base currency that the accounts share")
    equal: list[Equal] = Field([], max_length=8, description="currencies taken as equal; default: none")
    mark_age_max: int = Field(
        DAY_SECONDS, ge=1, le=MARK_AGE_SECONDS_MAX, description="seconds; an older mark makes no rate"
    )
    format: str | None = Field(None, pattern="^(json|csv)$")
    limit: int = Field(100, ge=1, le=PAGE_ROWS_MAX)
    cursor: str | None = Field(None, max_length=CURSOR_MAX, description="`next` of the previous page")

    def requested(self) -> GainsRequest:
        """Return what is requested. Raises InvalidInput."""
        parsed_zone(self.zone)
        return GainsRequest(
            self.account_id, self.asset, self.method, self.fee_policy, scope=self.scope, withdrawals=self.withdrawals,
            year=self.year, zone=self.zone, since=self.since, until=self.until, long_term_days=self.long_term_days,
            currency=self.currency, equal=tuple(self.equal), mark_age_max=self.mark_age_max,
        )  # fmt: skip


def _described() -> dict[str, Any]:
    described = documented(200, "a page of disposals, and the seq it is of")
    described[200]["content"] = {CSV: {"schema": {"type": "string"}}}
    return {"response_model": shapes.GainsAnswer, "responses": described | responses(404)}


@router.get("/gains", **_described())
@expensive()
def read_gains(query: Annotated[GainsQuery, Query()], context: Context) -> Response:
    """Every disposal of a coin, matched with the lots it used up: acquired when, held how long, cost, proceeds, gain.

    In one currency, at the rates of each moment; `missing` names those that are not on record. `totals` and `years`
    are of all pages. The cursor holds the seq of the first page: the pages are of one state of the book.
    """
    after = cursor_after(query.cursor, int, int)
    requested, moment = query.requested(), query.moment()
    if moment is None and after is not None:
        moment = Moment(seq=after[0])
    with reading(context.daybook, *GAINS_MODELS, min_seq=query.min_seq, moment=moment) as found_at:
        check_selection(context.daybook, found_at, requested)
        at = found_at if found_at.known is not None else found_at._replace(pinned=KnownBy(found_at.seq, now()))
        found = gains(context.daybook, at, requested)
    start = max(after[1], 0) if after is not None else 0
    rows = list(islice(found.items, start, start + query.limit + 1))
    page, end = rows[: query.limit], start + query.limit
    next_ = cursor_of({"seq": at.seq, "row": end}, ("seq", "row")) if len(rows) > query.limit else None
    columns = tuple(shapes.GainRow.model_fields)
    if query.format == "csv" or (query.format is None and CSV in context.accepted):
        headers = {SEQ_HEADER: str(at.seq)} | ({NEXT_HEADER: next_} if next_ else {})
        return Response(csv_text(page, columns), media_type=f"{CSV}; charset=utf-8", headers=headers)
    body = {
        "seq": at.seq, "recorded_at": found_at.recorded_at, "occurred_by": at.occurred_by, "currency": found.currency,
        "items": page, "totals": _shown(found.totals, shapes.GainTotal), "years": _shown(found.years, shapes.GainYear),
        "missing": found.missing, "next": next_,
    }  # fmt: skip
    return answer(body, seq=at.seq)


def _shown(rows: Any, shape: type[Answer]) -> list[AnyRow]:
    return [{name: row[name] for name in shape.model_fields} for row in rows]
