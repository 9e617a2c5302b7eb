"""Stopping over HTTP: cancel all working orders of a selection; dead man's switches."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Query
from pydantic import Field, StrictBool, StrictInt
from starlette.responses import Response

from adapters.writer.batch import Look
from api.clock import now
from api.http.auth import Reader, Trader
from api.http.dependencies import OpenDaybook, RequestId, answer, documented
from api.http.fields import CurrencyCode, InstrumentId, Name, RequestBody, Text
from api.http.idempotency import IdempotencyKey, carried_out, command, one
from api.http.problem_responses import responses
from api.intake.stopping import cancel_all, dead_man
from api.intake.stopping.cancel_all import Selection
from api.intake.stopping.countdown import known_switch
from api.intake.stopping.schemas import CancelAllAnswer, DeadManAnswer, DeadMenAnswer
from domain import risk
from domain.ledger import Answer
from domain.risk import ArmDeadManSwitch, DisarmDeadManSwitch
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


SWITCH_EXAMPLES: Any = {
    "arm or extend": {"value": {"account_id": "main", "countdown_ms": 30000}},
    "of a strategy, and refuse orders": {
        "value": {"account_id": "main", "strategy_id": "maker", "countdown_ms": 10000, "halts": True}
    },
    "disarm": {"value": {"account_id": "main", "countdown_ms": 0}},
}


class SwitchOf(RequestBody):
    """The account whose switch it is, or the strategy of it."""

    account_id: Name
    strategy_id: Name | None = Field(None, description="null: the switch of the account as a whole")


class DeadManRequest(SwitchOf):
    """Arm, extend or (0) disarm. The account has a switch, and each of its strategies may have one."""

    countdown_ms: StrictInt = Field(
        ge=0, le=86_400_000, description="milliseconds from now, 1000 at least; 0 disarms the switch"
    )
    halts: StrictBool = Field(
        False, description="when it fires, a kill switch refuses further orders too, until another person releases it"
    )


@router.post(
    "/dead-man-switches",
    status_code=201,
    response_model=DeadManAnswer,
    responses=documented(201, "armed, or disarmed") | documented(200, "extended; or it was disarmed before"),
)
def arm_dead_man_switch(
    body: Annotated[DeadManRequest, Body(openapi_examples=SWITCH_EXAMPLES)],
    daybook: OpenDaybook,
    caller: Trader,
    request_id: RequestId,
    key: IdempotencyKey,
) -> Response:
    """Arm or extend a dead man's switch: when its countdown passes, all working orders of its scope are canceled.

    The same request again extends it: nothing is recorded then, so a client may do so every second. Another countdown
    arms it again. Arming, disarming and firing are on record. An extension that comes too late is refused with 409.
    """
    if not body.countdown_ms:
        disarm = DisarmDeadManSwitch(body.account_id, body.strategy_id, now())
        return carried_out(daybook, command(disarm, caller, request_id), key, _switch(body, daybook))
    arm = ArmDeadManSwitch(body.account_id, body.strategy_id, body.countdown_ms, now(), halts=body.halts)
    is_repeated = key is not None and bool(daybook.log.kept([(caller.actor, key.name)]))
    deadline = None if is_repeated else dead_man.extended(daybook, arm)
    if deadline is not None and key is None:
        known = known_switch(daybook, body.account_id, body.strategy_id)
        record = dead_man.record(known, daybook.countdowns.all(), now()) if known is not None else {}
        return answer(record, seq=daybook.history.head().seq)
    done = carried_out(daybook, command(arm, caller, request_id), key, _switch(body, daybook))
    if deadline is None and not is_repeated:
        dead_man.begin(daybook, arm)
    return done


@router.post(
    "/dead-man-switches/fire",
    status_code=201,
    response_model=DeadManAnswer,
    responses=documented(201, "fired") | documented(200, "fired before"),
)
def fire_dead_man_switch(
    body: SwitchOf, daybook: OpenDaybook, caller: Trader, request_id: RequestId, key: IdempotencyKey
) -> Response:
    """Fire an armed dead man's switch at once, as if its countdown had passed."""
    fire = dead_man.to_fire(daybook, body.account_id, body.strategy_id)
    return carried_out(daybook, command(fire, caller, request_id), key, _switch(body, daybook))


@router.get("/dead-man-switches", response_model=DeadMenAnswer)
def list_dead_man_switches(
    daybook: OpenDaybook,
    caller: Reader,  # noqa: ARG001 (its scope is checked)
    account_id: Annotated[Name | None, Query()] = None,
) -> Response:
    """List dead man's switches, with the time left of those that are armed."""
    return answer({"switches": dead_man.switches(daybook, account_id)}, seq=daybook.history.head().seq)


def _switch(body: SwitchOf, daybook: OpenDaybook) -> Any:
    countdowns = daybook.countdowns.all()

    def respond(answers: list[Answer], look: Look) -> Response:
        done = one(answers)
        state = look(risk.stream(body.account_id))
        known = state.dead_man.get(body.strategy_id or "") if state is not None else None
        if known is None:
            record = dead_man.never_armed(body.account_id, body.strategy_id)
        else:
            record = dead_man.record(known, countdowns, now())
        return answer(record, seq=done.seq, status=201 if done.records else 200)

    return respond
