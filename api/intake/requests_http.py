"""Requests of clients over HTTP. Each is carried out once, by its natural key.

201 the first time, 200 with the same answer for the same request again, 409 for the same key with other terms. A
refusal names its rule and its numbers. Every answer carries `Daybook-Seq`, a place in the log that covers it: a query
with `min_seq` set to it sees the effect.
"""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Path
from pydantic import Field, StrictBool, StrictInt
from starlette.responses import Response

from adapters.writer.batch import Look
from api.clock import now
from api.http.auth import Admin, Recorder, Trader
from api.http.bodies import ParsedRoute
from api.http.dependencies import SEQ_HEADER, OpenDaybook, RequestId, answer, documented
from api.http.fields import (
    AnyTime,
    CurrencyCode,
    InstrumentId,
    Leg,
    Name,
    Number,
    PlainName,
    Positive,
    RequestBody,
    Text,
    Time,
)
from api.http.idempotency import IdempotencyKey, carried_out, carried_out_async, command, one
from api.http.problem_responses import path_of, response, responses
from api.intake.direct import DirectRoute
from api.intake.requests import Listing, check_marks, check_order_prices, opening
from api.operations.access_schemas import ProposalAnswer
from api.problems import not_found, problem_of
from api.read_models import schemas
from api.read_models.records import account_record, instrument_record, order_record
from domain import account, instrument, order, risk
from domain.account import CostBasis, Costing, FeePolicy
from domain.errors import RequestRefused
from domain.instrument import ExerciseStyle, Kind, PutOrCall
from domain.ledger import Answer
from domain.marks import QualifiedMark, Quality, RecordMarks
from domain.order import (
    CancelOrder,
    ExecInst,
    OrderKey,
    OrderTerms,
    OrdType,
    PegOffset,
    SubmitOrder,
    TimeInForce,
    TriggerPrice,
)
from domain.risk import LimitStatus, Measure, Scope, SetLimit
from domain.values import ONE, PositionSide, Side, stated_leg

MARKS_MAX = 1000
DEFAULT_STRATEGY = "main"

router = APIRouter(
    prefix="/v1", tags=["requests"], responses=responses(401, 403, 409, 422, 429, 503), route_class=ParsedRoute
)


class Owner(RequestBody):
    """The person an account is kept for. The name is stored sealed, and can be forgotten."""

    subject_id: PlainName = Field(description="your own, and reveals nothing of the person: never a name or an address")
    name: Annotated[str, Field(strict=True, min_length=1, max_length=256)]


class OpenAccountRequest(RequestBody):
    """An account and its accounting conventions, which are set once."""

    account_id: Name
    base_currency: CurrencyCode
    cost_basis: CostBasis = CostBasis.AVERAGE
    fee_policy: FeePolicy = FeePolicy.EXPENSED
    money_places: StrictInt = Field(8, ge=0, le=18, description="decimal places at which realized PnL is booked")
    venue: CurrencyCode | None = Field(None, description="where it is kept; null if across venues")
    is_margin: StrictBool = Field(False, description="whether it may owe cash: a cash account is not overdrawn")
    owner: Owner | None = None


class ListInstrumentRequest(RequestBody):
    """An instrument and the facts that turn its quantities into money."""

    instrument_id: InstrumentId
    kind: Kind = Field(description="with an expiry, LINEAR and INVERSE are dated futures, without one perpetuals")
    base: CurrencyCode
    quote: CurrencyCode
    settle: CurrencyCode | None = Field(
        None, description="what cost and PnL are in; null: base for INVERSE, else quote. An OPTION may settle in either"
    )
    contract_size: Positive = Field(ONE, description="base (INVERSE: quote) units a contract; 1 for SPOT")
    tick_size: Positive = Field(description="the step of prices")
    lot_size: Positive = Field(description="the step of quantities")
    expiry: AnyTime | None = Field(None, description="of a dated future or an option")
    strike: Positive | None = Field(None, description="of an option")
    put_or_call: PutOrCall | None = Field(None, description="of an option")
    exercise_style: ExerciseStyle | None = Field(
        None, description="of an option: EUROPEAN (if null) is exercised at its expiry, AMERICAN at any time"
    )


class SetLimitRequest(RequestBody):
    """A limit over part of an account, or of the firm (`account_id` null or `firm`); `limit` null lifts it.

    A scope has at most one limit of a measure in each status. A limit of the same number in another status is moved.

    It covers one strategy or all (null), one instrument or each, and those of one venue or base asset or of any.
    """

    account_id: Name | None = Field(None, description="null, or `firm`: all accounts together")
    measure: Measure
    limit: Number | None
    currency: CurrencyCode | None = Field(None, description="of a notional limit; null for quantities")
    strategy_id: Name | None = None
    instrument_id: InstrumentId | None = None
    venue: CurrencyCode | None = Field(None, description="of instruments: the part behind the last dot of their id")
    asset: CurrencyCode | None = Field(None, description="the base currency of instruments")

    status: LimitStatus = Field(
        LimitStatus.ACTIVE,
        description="DRAFT is not checked; SHADOW is checked with every order, which passes, and records what it"
        " would refuse; ACTIVE refuses",
    )

    @property
    def owner(self) -> str:
        """The account that the limit is of, or the firm."""
        return self.account_id or risk.FIRM

    @property
    def scope(self) -> Scope:
        """The scope of the limit."""
        return Scope(self.strategy_id, self.instrument_id, self.venue, self.asset)


class OrderSubmission(RequestBody):
    """An order. `cl_ord_id` is your own and unique in the account."""

    account_id: Name
    cl_ord_id: Name
    strategy_id: Name = DEFAULT_STRATEGY
    instrument_id: InstrumentId
    side: Side
    ord_type: OrdType = OrdType.LIMIT
    order_qty: Positive
    price: Number | None = Field(None, description="of an order with a limit; null for a market order")
    time_in_force: TimeInForce = TimeInForce.GTC
    expire_time: AnyTime | None = Field(None, description="of a GTD order")
    stop_px: Number | None = Field(None, description="the price that triggers a stop or take-profit order")
    trigger_price: TriggerPrice = Field(TriggerPrice.LAST, description="the kind of price that triggers it")
    peg_offset_value: Positive | None = Field(None, description="the distance of a trailing stop")
    peg_offset: PegOffset = Field(PegOffset.PRICE, description="in quote units or in basis points")
    exec_inst: list[ExecInst] = Field([], max_length=len(ExecInst))
    display_qty: Positive | None = Field(None, description="the quantity an iceberg shows")
    position_side: Leg = PositionSide.BOTH
    parent: Name | Literal[""] = Field("", description="the cl_ord_id of the parent order that it is a child of")


class CancelRequest(RequestBody):
    """Why the order is to be canceled, and the ClOrdID of the request, where the venue accepts one."""

    reason: Text = ""
    requested_as: Name | Literal[""] = Field(default="", description="the request's own id, new in the account")


class SubmittedMark(RequestBody):
    """A price at which an instrument was observed."""

    instrument_id: InstrumentId
    price: Number = Field(description="above zero, unless its instrument has other prices")
    source: PlainName = "api"
    mark_at: Time | None = Field(None, description="when it was observed; now if absent")
    quality: Quality = Field(Quality.UNSTATED, description="what kind of price it is")


class MarksSubmission(RequestBody):
    """Marks, recorded together."""

    marks: list[SubmittedMark] = Field(min_length=1, max_length=MARKS_MAX)


ORDER_EXAMPLE = {
    "account_id": "main",
    "cl_ord_id": "A-17",
    "instrument_id": "BTCUSDT.BINANCE",
    "side": "BUY",
    "order_qty": "0.25",
    "price": "97500.10",
}
LIMIT_EXAMPLES: dict[str, Any] = {
    "of an account": {
        "value": {"account_id": "main", "measure": "MAX_GROSS_EXPOSURE", "limit": "250000", "currency": "USDT"}
    },
    "of one asset at one venue, for the firm": {
        "value": {"account_id": None, "measure": "MAX_POSITION", "limit": "12.5", "venue": "BINANCE", "asset": "BTC"}
    },
    "a multiple of equity": {"value": {"account_id": "main", "measure": "MAX_LEVERAGE", "limit": "3"}},
    "shadow": {
        "summary": "a tighter limit, beside the active one, that records what it would refuse",
        "value": {"account_id": "main", "measure": "MAX_POSITION", "limit": "1.5", "status": "SHADOW"},
    },
}
CREATED = documented(201, "done") | documented(200, "done before: the same answer")
PROPOSED = documented(202, "proposed: it takes effect when another person approves it", ProposalAnswer)


@router.post("/accounts", status_code=201, response_model=schemas.AccountAnswer, responses=CREATED)
def open_account(
    body: OpenAccountRequest, daybook: OpenDaybook, caller: Admin, request_id: RequestId, key: IdempotencyKey
) -> Response:
    """Open an account."""
    costing = Costing(body.cost_basis, body.fee_policy, body.money_places)
    owner = (body.owner.subject_id, body.owner.name) if body.owner is not None else None
    request = opening(
        daybook, body.account_id, body.base_currency, costing, venue=body.venue or "", is_margin=body.is_margin,
        owner=owner,
    )  # fmt: skip
    if request.owner is not None:
        key = key and key.of(body.model_dump_json(exclude={"owner"}), request.owner.subject_id, request.owner.sealed)

    def respond(answers: list[Answer], look: Look) -> Response:
        done = one(answers)
        return _done(account_record(look(account.stream(body.account_id))), done)

    return carried_out(daybook, command(request, caller, request_id), key, respond)


@router.post("/instruments", status_code=201, response_model=schemas.InstrumentAnswer, responses=CREATED)
def list_instrument(
    body: ListInstrumentRequest, daybook: OpenDaybook, caller: Admin, request_id: RequestId, key: IdempotencyKey
) -> Response:
    """List an instrument. Inverse contracts settle in base, all others in quote unless `settle` says otherwise."""
    request = Listing(**dict(body)).request()

    def respond(answers: list[Answer], look: Look) -> Response:
        done = one(answers)
        return _done(instrument_record(look(instrument.stream(body.instrument_id))), done)

    return carried_out(daybook, command(request, caller, request_id), key, respond)


@router.post("/limits", status_code=201, response_model=schemas.LimitAnswer, responses=CREATED | PROPOSED)
def set_limit(
    body: Annotated[SetLimitRequest, Body(openapi_examples=LIMIT_EXAMPLES)],
    daybook: OpenDaybook,
    caller: Admin,
    request_id: RequestId,
    key: IdempotencyKey,
) -> Response:
    """Set, change or lift a limit of an account, or of the firm, or move one to another status."""
    request = SetLimit(
        body.owner, scope=body.scope, measure=body.measure, limit=body.limit, currency=body.currency,
        transact_time=now(), status=body.status,
    )  # fmt: skip

    def respond(answers: list[Answer], look: Look) -> Response:
        done = one(answers)
        state = look(risk.stream(body.owner))
        known = state.limit_set(body.scope, body.measure, body.status) if state else None
        return _done(body.model_dump() | {"account_id": body.owner, "version": known.version if known else 0}, done)

    return carried_out(daybook, command(request, caller, request_id), key, respond)


async def submit_order(
    body: Annotated[OrderSubmission, Body(openapi_examples={"limit": {"value": ORDER_EXAMPLE}})],
    daybook: OpenDaybook,
    caller: Trader,
    request_id: RequestId,
    idempotency: IdempotencyKey,
) -> Response:
    """Submit an order: checked against its account's limits together with all held and working, then recorded.

    An order that any rule refuses is on record too, and the same order again gets the same refusal: use a new
    `cl_ord_id` to try again. Not on record are orders of an account or instrument that is not (UNKNOWN_ACCOUNT,
    UNKNOWN_INSTRUMENT), and a `cl_ord_id` that another order has (CL_ORD_ID_USED).
    """
    check_order_prices(daybook.writer.state, body.instrument_id, body.price, body.stop_px)
    key = OrderKey(body.account_id, body.cl_ord_id)
    terms = OrderTerms(
        strategy_id=body.strategy_id, instrument_id=body.instrument_id, side=body.side, ord_type=body.ord_type,
        order_qty=body.order_qty, price=body.price, time_in_force=body.time_in_force, expire_time=body.expire_time,
        stop_px=body.stop_px, trigger_price=body.trigger_price, peg_offset_value=body.peg_offset_value,
        peg_offset=body.peg_offset, exec_inst=frozenset(body.exec_inst), display_qty=body.display_qty,
        position_side=stated_leg(body.position_side),
        parent=body.parent,
    )  # fmt: skip

    def respond(answers: list[Answer], _: Look) -> Response:
        (done,) = answers
        if isinstance(done.error, RequestRefused):
            refusal = response(problem_of(done.error), path_of("v1", "orders", body.account_id, body.cl_ord_id))
            refusal.headers[SEQ_HEADER] = str(done.seq)
            return refusal
        first = one(answers).records[:1] or daybook.log.read(order.stream(key), limit=1)
        return _done(order_record(key, first[0]), done)

    request = command(SubmitOrder(key, terms, now()), caller, request_id)
    return await carried_out_async(daybook, request, idempotency, respond)


router.add_api_route(
    "/orders", submit_order, methods=["POST"], status_code=201, response_model=schemas.OrderAnswer, responses=CREATED,
    route_class_override=DirectRoute,
)  # fmt: skip


@router.post(
    "/orders/{account_id}/{cl_ord_id}/cancel",
    status_code=201,
    response_model=schemas.CancelAnswer,
    responses=CREATED | responses(404),
)
def cancel_order(
    account_id: Annotated[Name, Path()],
    cl_ord_id: Annotated[Name, Path()],
    daybook: OpenDaybook,
    caller: Trader,
    request_id: RequestId,
    idempotency: IdempotencyKey,
    body: CancelRequest = CancelRequest(),
) -> Response:
    """Request that an order be canceled; the venue's answer arrives as a venue report."""
    key = OrderKey(account_id, cl_ord_id)
    if daybook.writer.state(order.stream(key)) is None:
        raise not_found(f"order {cl_ord_id} of account {account_id}", account_id=account_id, cl_ord_id=cl_ord_id)

    def respond(answers: list[Answer], look: Look) -> Response:
        done = one(answers)
        status = look(order.stream(key)).status
        return _done({"account_id": account_id, "cl_ord_id": cl_ord_id, "status": status}, done)

    request = CancelOrder(key, body.reason, now(), requested_as=body.requested_as)
    return carried_out(daybook, command(request, caller, request_id), idempotency, respond)


@router.post(
    "/marks", status_code=201, response_model=schemas.MarksAnswer, responses=documented(201, "recorded")
)  # fmt: skip
def record_marks(
    body: MarksSubmission, daybook: OpenDaybook, caller: Recorder, request_id: RequestId, key: IdempotencyKey
) -> Response:
    """Record prices, a batch for each source; the newest of an instrument values positions and market orders."""
    at = now()
    marks = [
        QualifiedMark(mark.instrument_id, mark.price, mark.source, mark.mark_at or at, quality=mark.quality)
        for mark in body.marks
    ]
    check_marks(daybook.writer.state, marks)
    is_repeated = key is not None and bool(daybook.log.kept([(caller.actor, key.name)]))
    request = RecordMarks(()) if is_repeated else daybook.recorder.stage(marks)

    def respond(answers: list[Answer], _: Look) -> Response:
        return answer({"recorded": len(marks)}, seq=one(answers).seq, status=201)

    response_made = carried_out(daybook, command(request, caller, request_id), key, respond)
    daybook.marks.remember(marks)
    return response_made


def _done(body: Any, done: Answer) -> Response:
    """Return the answer: 201 if it was done now, 200 if before."""
    return answer(body, seq=done.seq, status=201 if done.records else 200)
