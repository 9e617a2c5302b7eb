"""Stopping over HTTP: cancel all working orders of a selection."""

from typing import Annotated, Any

from fastapi import APIRouter, Body
from pydantic import Field
from starlette.responses import Response

from adapters.writer.batch import Look
from api.http.auth import Trader
from api.http.dependencies import OpenDaybook, RequestId, answer, documented
from api.http.fields import CurrencyCode, InstrumentId, Name, RequestBody, Text
from api.http.idempotency import IdempotencyKey, carried_out, one
from api.http.problem_responses import responses
from api.intake.stopping import cancel_all
from api.intake.stopping.cancel_all import Selection
from api.intake.stopping.schemas import CancelAllAnswer
from domain.ledger import Answer
from domain.values import Side

router = APIRouter(prefix="/v1", tags=["requests"], responses=responses(401, 403, 409, 422, 429, 503))

EXAMPLES: Any = {
    "account": {"value": {"account_id": "main", "reason": "the feed is down"}},
    "selection": {"value": {"account_id": "main", "strategy_id": "maker", "symbol": "BTCUSDT", "side": "BUY"}},
}


class CancelAllRequest(RequestBody):
    """Which working orders to cancel; null is any. All that is named must fit."""

    account_id: Name
    strategy_id: Name | None = None
    instrument_id: InstrumentId | None = Field(None, description="such as BTCUSDT.BINANCE")
    symbol: Text | None = Field(None, description="an instrument's id without its venue, such as BTCUSDT: at any venue")
    venue: CurrencyCode | None = None
    side: Side | None = None
    reason: Text = Field("", description="why; kept with every request to cancel")

    @property
    def selection(self) -> Selection:
        """The selection of working orders."""
        return Selection(
            self.account_id, self.strategy_id, self.instrument_id, symbol=self.symbol, venue=self.venue, side=self.side
        )


@router.post(
    "/orders/cancel-all",
    status_code=201,
    response_model=CancelAllAnswer,
    responses=documented(201, "requested") | documented(200, "nothing was left to request"),
)
def cancel_all_orders(
    body: Annotated[CancelAllRequest, Body(openapi_examples=EXAMPLES)],
    daybook: OpenDaybook,
    caller: Trader,
    request_id: RequestId,
    key: IdempotencyKey,
) -> Response:
    """Request that every working order of an account or of a part of it be canceled; the answer lists each order.

    Selected are the orders that are on record when the call begins; an order recorded later is not canceled: engage a
    kill switch first to keep such ones out. The same call again cancels what is new; with the same `Idempotency-Key`
    it gets the first answer. The venue's answers arrive as venue reports.
    """
    is_repeated = key is not None and bool(daybook.log.kept([(caller.actor, key.name)]))
    request = cancel_all.begun(daybook, body.selection, body.reason, actor=caller.identity, request_id=request_id)
    request = request._replace(found=()) if is_repeated else request
    rows = cancel_all.carried_out(daybook, request)

    def respond(answers: list[Answer], _: Look) -> Response:
        done = cancel_all.record(request, rows)
        return answer(done, seq=one(answers).seq, status=201 if done["requested"] else 200)

    return carried_out(daybook, request.command(), key, respond)
