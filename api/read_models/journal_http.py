"""Balances, the journal and the trial balance over HTTP.

They belong to an account as a whole. A journal entry of a trade names strategy and instrument and can be selected by
them; a balance cannot. Dates are value dates: the UTC day on which something happened, not when it was recorded.
"""

from itertools import islice
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.responses import Response

from adapters.postgres.scopes import Scope
from api.http.auth import needs
from api.http.cursors import cursor_after
from api.http.dependencies import answer
from api.http.fields import RequestBody
from api.http.problem_responses import responses
from api.http.reads import ReadRoute, expensive
from api.parameters import parsed_day
from api.read_models import schemas, views
from api.read_models.query_params import AssetId, Context, PageQuery, SelectionQuery, ValueDate, listed
from api.read_models.snapshot import reading
from domain.errors import InvalidInput
from projections.analytics.daily_balances import daily_balances
from projections.models import balances, journal

ROWS_MAX = 10_000
BALANCE_KEY = ("account_id", "venue", "asset")

router = APIRouter(
    prefix="/v1",
    route_class=ReadRoute,
    tags=["accounting"],
    dependencies=[needs(Scope.READ)],
    responses=responses(401, 422, 503),
)


class _OfAsset(RequestBody):
    asset: AssetId | None = Field(None, description="a currency, or a derivative's instrument_id for its contracts")


class BalancesQuery(PageQuery, _OfAsset):
    """Which balances; `asset` selects one asset."""


class DailyBalancesQuery(SelectionQuery, _OfAsset):
    """Which balances, and the value dates: by default the last 30 up to the last one on record."""

    from_: ValueDate | None = Field(None, alias="from", description="the first value date")
    to: ValueDate | None = Field(None, description="the last value date")


class JournalQuery(PageQuery, _OfAsset):
    """Which entries; `asset` selects those with a line in it, `day` a value date."""

    day: ValueDate | None = Field(None, description="value date")


class TrialBalanceQuery(SelectionQuery, _OfAsset):
    """Which part of the trial balance; `day` is the value date it ends with."""

    day: ValueDate | None = Field(None, description="only entries with a value date up to this one")


def _whole(query: SelectionQuery) -> None:
    for name in ("strategy_id", "instrument_id", "position_side"):
        if (value := getattr(query, name)) is not None:
            raise InvalidInput(name, value, "a parameter here: money belongs to the account as a whole")


@router.get("/balances", **listed(schemas.BalanceRow))
def list_balances(query: Annotated[BalancesQuery, Query()], context: Context) -> Response:
    """Balances of each asset at each venue: total, held by pending transfers, and available."""
    _whole(query)
    after = cursor_after(query.cursor, str, str, str)
    with reading(context.daybook, "balances", min_seq=query.min_seq, moment=query.moment_recorded()) as at:
        rows = balances.balances(
            at.source, account_id=query.account_id, asset=query.asset, limit=query.limit + 1, after=after
        )
    return context.page(query, at, rows, by=BALANCE_KEY, shape=schemas.BalanceRow)


@router.get("/balances/daily", **listed(schemas.DailyBalanceRow))
@expensive()
def list_daily_balances(query: Annotated[DailyBalancesQuery, Query()], context: Context) -> Response:
    """What balances opened and closed each day with, and what came in and went out, by kind.

    Exactly: opening + inflow - outflow = closing, and a day opens with what the one before closed with. A trade's fee
    is COMMISSION.
    """
    _whole(query)
    first, last = (None if day is None else parsed_day(day) for day in (query.from_, query.to))
    with reading(context.daybook, "journal", min_seq=query.min_seq, moment=query.moment_recorded()) as at:
        found = daily_balances(at.source, account_id=query.account_id, asset=query.asset, first=first, last=last)
        rows = list(islice(found, ROWS_MAX + 1))
    if len(rows) > ROWS_MAX:
        raise InvalidInput("from", query.from_, f"fewer days or one account: an answer has at most {ROWS_MAX} rows")
    return context.rows(query, at, rows, schemas.DailyBalanceRow)


@router.get("/journal", **listed(schemas.EntryRow))
def list_entries(query: Annotated[JournalQuery, Query()], context: Context) -> Response:
    """Journal entries, the newest first; in CSV too, one entry a row."""
    after = cursor_after(query.cursor, int, int)
    with reading(context.daybook, "journal", min_seq=query.min_seq, moment=query.moment_recorded()) as at:
        rows = journal.entries(
            at.source, **query.where()._asdict(), asset=query.asset, day=query.day, limit=query.limit + 1,
            after=after, is_descending=True,
        )  # fmt: skip
    return context.page(query, at, rows, by=journal.CURSOR, shape=schemas.EntryRow)


@router.get("/trial-balance", **listed(schemas.TrialBalanceRow, totals=schemas.TrialBalanceTotal))
@expensive(lambda given: given["query"].day is not None)
def read_trial_balance(query: Annotated[TrialBalanceQuery, Query()], context: Context) -> Response:
    """Every ledger account: debit, credit and balance. `totals` are by asset; their balance is zero."""
    _whole(query)
    with reading(context.daybook, "journal", min_seq=query.min_seq, moment=query.moment_recorded()) as at:
        rows = journal.trial_balance(at.source, account_id=query.account_id, asset=query.asset, upto=query.day)
    if context.is_csv(query):
        return context.rows(query, at, rows, schemas.TrialBalanceRow)
    about = {"seq": at.seq, "recorded_at": at.recorded_at, "occurred_by": None}
    return answer(about | {"items": rows, "totals": views.trial_balance_totals(rows)}, seq=at.seq)
