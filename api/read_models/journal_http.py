"""Books: balances, the journal and the trial balance over HTTP.

They belong to an account as a whole. A journal entry of a trade names strategy and instrument and can be asked for by
them; a balance cannot. Dates are value dates: the UTC day on which something happened, whenever it came in.
"""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.responses import Response

from api.http.auth import needs
from api.http.cursors import cursor_after
from api.http.dependencies import answer
from api.http.fields import RequestBody
from api.http.problem_responses import responses
from api.read_models import schemas, views
from api.read_models.query_params import CSV, Ask, AssetId, Paged, Selected, ValueDate, listed
from api.read_models.snapshot import reading
from domain.errors import InvalidInput
from projections.models import balances, journal

BALANCE_KEY = ("account_id", "venue", "asset")

router = APIRouter(prefix="/v1", tags=["books"], dependencies=[needs()], responses=responses(401, 422, 503))


class _OfAsset(RequestBody):
    asset: AssetId | None = Field(None, description="a currency, or a derivative's instrument_id for its contracts")


class BalancesAsked(Paged, _OfAsset):
    """Balances, also of one asset."""


class JournalAsked(Paged, _OfAsset):
    """Entries, also those with a line in one asset, and those for one day."""

    day: ValueDate | None = Field(None, description="value date")


class TrialBalanceAsked(Selected, _OfAsset):
    """The trial balance, also as of the end of a value date."""

    day: ValueDate | None = Field(None, description="only what has a value date until then")


def _whole(asked: Selected) -> None:
    for name in ("strategy_id", "instrument_id"):
        if (value := getattr(asked, name)) is not None:
            raise InvalidInput(name, value, "asked of positions; money belongs to the account as a whole")


@router.get("/balances", **listed(schemas.BalanceRow))
def list_balances(asked: Annotated[BalancesAsked, Query()], ask: Ask) -> Response:
    """What accounts have of each asset at each venue: in all, held by pending transfers, and available."""
    _whole(asked)
    after = cursor_after(asked.cursor, str, str, str)
    with reading(ask.book, "balances", min_seq=asked.min_seq, moment=asked.moment_recorded()) as at:
        rows = balances.balances(
            at.source, account_id=asked.account_id, asset=asked.asset, limit=asked.limit + 1, after=after
        )
    return ask.page(asked, at, rows, BALANCE_KEY, schemas.BalanceRow)


@router.get("/journal", **listed(schemas.EntryRow))
def list_entries(asked: Annotated[JournalAsked, Query()], ask: Ask) -> Response:
    """Journal entries, the newest first; in CSV too, one entry a row."""
    after = cursor_after(asked.cursor, int, int)
    with reading(ask.book, "journal", min_seq=asked.min_seq, moment=asked.moment_recorded()) as at:
        rows = journal.entries(
            at.source, **asked.where()._asdict(), asset=asked.asset, day=asked.day, limit=asked.limit + 1,
            after=after, is_descending=True,
        )  # fmt: skip
    return ask.page(asked, at, rows, journal.CURSOR, schemas.EntryRow)


@router.get("/trial-balance", **listed(schemas.TrialBalanceRow, totals=schemas.TrialBalanceTotal))
def read_trial_balance(asked: Annotated[TrialBalanceAsked, Query()], ask: Ask) -> Response:
    """Every ledger account: debit, credit and balance. `totals` add them up by asset, to a balance of zero."""
    _whole(asked)
    with reading(ask.book, "journal", min_seq=asked.min_seq, moment=asked.moment_recorded()) as at:
        rows = journal.trial_balance(at.source, account_id=asked.account_id, asset=asked.asset, upto=asked.day)
    if asked.format == "csv" or (asked.format is None and CSV in ask.request.headers.get("accept", "")):
        return ask.rows(asked, at, rows, schemas.TrialBalanceRow)
    about = {"seq": at.seq, "recorded_at": at.recorded_at, "occurred_by": None}
    return answer(about | {"items": rows, "totals": views.trial_balance_totals(rows)}, seq=at.seq)
