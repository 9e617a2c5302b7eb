"""Queries of what requests have set up: parent orders, transfers of money, conversions, trading days."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import Field
from starlette.responses import Response

from api.http.auth import Reader
from api.http.dependencies import OpenDaybook, answer, documented
from api.http.fields import Name
from api.http.problem_responses import responses
from api.intake.forms import schemas
from api.intake.forms.records import conversion_record, day_record, parent_record, transfer_record
from api.problems import not_found
from api.read_models.query_params import DatedQuery, place_at
from api.read_models.states import StatesAt, parents_at
from domain import account, risk
from domain.account.cash import TransferStatus
from domain.order import OrderKey, parent

PAGE_MAX = 1000
PAGE = 100

router = APIRouter(prefix="/v1", tags=["queries"], responses=responses(401, 403, 422, 503))
AccountId = Annotated[Name, Path()]
OfAccount = Annotated[Name, Query(description="the account")]


class ParentsQuery(DatedQuery):
    """Which parent orders, as of when."""

    account_id: Name | None = Field(None, description="only this account")
    limit: int = Field(PAGE, ge=1, le=PAGE_MAX)
    cursor: Name | None = Field(None, description="`next` of the page before; of one account")


@router.get("/parents", response_model=schemas.ParentsAnswer, responses=documented(200, "parent orders"))
def list_parents(
    query: Annotated[ParentsQuery, Query()],
    daybook: OpenDaybook,
    caller: Reader,  # noqa: ARG001 (its scope is checked)
) -> Response:
    """List parent orders by account and id, with their sums over their children. Pages are of one account."""
    seq = place_at(daybook, query)
    found = parents_at(daybook, seq, query.account_id, after=query.cursor, limit=query.limit + 1)
    items = [parent_record(state) for state in found[: query.limit]]
    more = items[-1]["cl_ord_id"] if len(found) > query.limit and query.account_id else None
    return answer({"seq": seq, "items": items, "next": more}, seq=seq)


@router.get(
    "/parents/{account_id}/{cl_ord_id}", response_model=schemas.ParentAnswer,
    responses=documented(200, "the parent order") | responses(404),
)  # fmt: skip
def read_parent(
    account_id: AccountId,
    cl_ord_id: Annotated[Name, Path()],
    query: Annotated[DatedQuery, Query()],
    daybook: OpenDaybook,
    caller: Reader,  # noqa: ARG001 (its scope is checked)
) -> Response:
    """One parent order, as of now or of a past moment, with its sums over its children."""
    seq = place_at(daybook, query)
    state = StatesAt(daybook, seq).state(parent.stream(OrderKey(account_id, cl_ord_id)))
    if state is None:
        what = f"parent order {cl_ord_id} of account {account_id}"
        raise not_found(what, account_id=account_id, cl_ord_id=cl_ord_id)
    return answer(parent_record(state), seq=seq)


@router.get(
    "/cash-transfers", response_model=schemas.CashTransfersAnswer,
    responses=documented(200, "transfers of money") | responses(404),
)  # fmt: skip
def list_cash_transfers(
    daybook: OpenDaybook,
    caller: Reader,  # noqa: ARG001 (its scope is checked)
    account_id: OfAccount,
    status: Annotated[TransferStatus | None, Query(description="only those that stand there")] = None,
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = PAGE,
) -> Response:
    """List transfers of money of an account, the newest first."""
    state = daybook.state(account.stream(account_id))
    if state is None:
        raise not_found(f"account {account_id}", account_id=account_id)
    found = [each for each in state.cash.transfers.values() if status in (None, each.status)]
    items = [transfer_record(account_id, each) for each in reversed(found[-limit:])]
    seq = daybook.history.head().seq
    return answer({"seq": seq, "items": items}, seq=seq)


@router.get("/conversions", response_model=schemas.ConversionsAnswer, responses=documented(200, "conversions in use"))
def list_conversions(
    daybook: OpenDaybook,
    caller: Reader,  # noqa: ARG001 (its scope is checked)
    account_id: OfAccount,
) -> Response:
    """List the instruments that an account's limits convert by."""
    state = daybook.state(risk.stream(account_id))
    items = [conversion_record(account_id, name, state) for name in (sorted(state.conversions) if state else ())]
    seq = daybook.history.head().seq
    return answer({"seq": seq, "items": items}, seq=seq)


@router.get("/trading-day", response_model=schemas.TradingDayAnswer, responses=documented(200, "the setting"))
def read_trading_day(
    daybook: OpenDaybook,
    caller: Reader,  # noqa: ARG001 (its scope is checked)
    account_id: OfAccount,
) -> Response:
    """The hour, UTC, at which an account's trading days start."""
    state = daybook.state(risk.stream(account_id))
    return answer(day_record(account_id, state), seq=daybook.history.head().seq)
