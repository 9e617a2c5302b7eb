"""Buying power over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from adapters.postgres.scopes import Scope
from api.analytics.buying_power import buying_power
from api.http.auth import needs
from api.http.dependencies import OpenDaybook, answer, documented
from api.http.fields import Name
from api.http.problem_responses import responses
from api.read_models.schemas import Answer, DecimalText

router = APIRouter(
    prefix="/v1", tags=["analytics"], dependencies=[needs(Scope.READ)], responses=responses(401, 409, 422, 503)
)  # fmt: skip


class LeverageAnswer(Answer):
    """The leverage of an account (null) or of one of its instruments, as limits of BUYING_POWER set it."""

    instrument_id: str | None
    leverage: DecimalText
    status: str


class LeftAnswer(Answer):
    """One currency: available = balance - committed, by working orders and the margin of open positions."""

    currency: str
    balance: DecimalText
    committed: DecimalText
    available: DecimalText


class BuyingPowerAnswer(Answer):
    """The buying power of an account; `is_limited`: whether orders beyond it are refused."""

    account_id: str
    is_limited: bool
    leverages: list[LeverageAnswer]
    items: list[LeftAnswer]


@router.get(
    "/buying-power",
    response_model=BuyingPowerAnswer,
    responses=documented(200, "what is left of each currency") | responses(404),
)
def read_buying_power(daybook: OpenDaybook, account_id: Annotated[Name, Query()]) -> Response:
    """Cash, coins and margin of an account: of each currency the balance, what is committed, what is available."""
    return answer(buying_power(daybook, account_id), seq=daybook.history.head().seq)
