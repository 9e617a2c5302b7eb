"""Requests of clients over HTTP. Each is carried out once, by its natural key.

201 the first time, 200 with the same answer for the same request again, 409 for the same key with other terms. A
refusal names its rule and its numbers. Every answer carries `Daybook-Seq`, a place in the log that covers it: a query
with `min_seq` set to it sees the effect.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Path
from pydantic import Field, StrictInt
from starlette.responses import Response

from adapters.writer.batch import Look
from api.clock import now
from api.http.auth import Admin, Recorder, Trader
from api.http.dependencies import SEQ_HEADER, OpenDaybook, RequestId, answer, documented
from api.http.fields import AnyTime, CurrencyCode, InstrumentId, Name, Number, Positive, RequestBody, Text, Time
from api.http.idempotency import IdempotencyKey, carried_out, command, one
from api.http.problem_responses import response, responses
from api.intake.requests import listing, opening, transfer_on_record
from api.operations.access_schemas import ProposalAnswer
from api.problems import not_found, problem_of
from api.read_models import schemas
from api.read_models.records import account_record, instrument_record, order_record
from domain import account, instrument, order, risk
from domain.account import CostBasis, Costing, FeePolicy
from domain.errors import RequestRefused
from domain.instrument import Kind
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
from domain.position import PositionKey, PositionTransferred, Transfer
from domain.risk import Measure, Scope, SetLimit
from domain.values import ONE, Side

MARKS_MAX = 1000
DEFAULT_STRATEGY = "main"

router = APIRouter(prefix="/v1", tags=["requests"], responses=responses(401, 403, 409, 422, 429, 503))


class Owner(RequestBody):
    """The person an account is kept for. The name is stored sealed, and can be forgotten."""

    subject_id: Name = Field(description="your own, and reveals nothing of the person: never a name or an address")
    name: Annotated[str, Field(strict=True, min_length=1, max_length=256)]


class OpenAccountRequest(RequestBody):
    """An account and its accounting conventions, which are set once."""

    account_id: Name
    base_currency: CurrencyCode
    cost_basis: CostBasis = CostBasis.AVERAGE
    fee_policy: FeePolicy = FeePolicy.EXPENSED
    money_places: StrictInt = Field(8, ge=0, le=18, description="decimal places at which realized PnL is booked")
    owner: Owner | None = None


class ListInstrumentRequest(RequestBody):
    """An instrument and the facts that turn its quantities into money."""

    instrument_id: InstrumentId
    kind: Kind
    base: CurrencyCode
    quote: CurrencyCode
    contract_size: Positive = ONE
    tick_size: Positive
    lot_size: Positive


class SetLimitRequest(RequestBody):
    """A limit over one strategy or all (null), one instrument or each (null); `limit` null lifts it."""

    account_id: Name
    measure: Measure
    limit: Number | None
    currency: CurrencyCode | None = Field(None, description="of a notional limit; null for quantities")
    strategy_id: Name | None = None
    instrument_id: InstrumentId | None = None


class OrderSubmission(RequestBody):
    """An order. `cl_ord_id` is your own and unique in the account."""

    account_id: Name
    cl_ord_id: Name
    strategy_id: Name = DEFAULT_STRATEGY
    instrument_id: InstrumentId
    side: Side
    ord_type: OrdType = OrdType.LIMIT
    order_qty: Positive
    price: Positive | None = Field(None, description="of an order with a limit; null for a market order")
    time_in_force: TimeInForce = TimeInForce.GTC
    expire_time: AnyTime | None = Field(None, description="of a GTD order")
    stop_px: Positive | None = Field(None, description="the price that triggers a stop or take-profit order")
    trigger_price: TriggerPrice = Field(TriggerPrice.LAST, description="the kind of price that triggers it")
    peg_offset_value: Positive | None = Field(None, description="the distance of a trailing stop")
    peg_offset: PegOffset = Field(PegOffset.PRICE, description="in quote units or in basis points")
    exec_inst: list[ExecInst] = Field([], max_length=len(ExecInst))
    display_qty: Positive | None = Field(None, description="the quantity an iceberg shows")


class CancelRequest(RequestBody):
    """Why the order is to be canceled."""

    reason: Text = ""


class TransferSubmission(RequestBody):
    """Quantity that was transferred in (SELL: out) at a cost, in settlement currency, signed as its value is."""

    account_id: Name
    strategy_id: Name = DEFAULT_STRATEGY
    instrument_id: InstrumentId
    transfer_id: Name
    side: Side = Side.BUY
    quantity: Positive
    cost: Number
    transact_time: Time


class SubmittedMark(RequestBody):
    """A price at which an instrument was observed."""

    instrument_id: InstrumentId
    price: Positive
    source: Name = "api"
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
CREATED = documented(201, "done") | documented(200, "done before: the same answer")
PROPOSED = documented(202, "proposed: it takes effect when another person approves it", ProposalAnswer)


@router.post("/accounts", status_code=201, response_model=schemas.AccountAnswer, responses=CREATED)
def open_account(
    body: OpenAccountRequest, daybook: OpenDaybook, caller: Admin, request_id: RequestId, key: IdempotencyKey
) -> Response:
    """Open an account."""
    costing = Costing(body.cost_basis, body.fee_policy, body.money_places)
    owner = (body.owner.subject_id, body.owner.name) if body.owner is not None else None
    request = opening(daybook, body.account_id, body.base_currency, costing, owner=owner)
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
    """List an instrument. Inverse contracts settle in base, all others in quote."""
    request = listing(
        body.instrument_id, body.kind, base=body.base, quote=body.quote, contract_size=body.contract_size,
        tick_size=body.tick_size, lot_size=body.lot_size,
    )  # fmt: skip

    def respond(answers: list[Answer], look: Look) -> Response:
        done = one(answers)
        return _done(instrument_record(look(instrument.stream(body.instrument_id))), done)

    return carried_out(daybook, command(request, caller, request_id), key, respond)


@router.post("/limits", status_code=201, response_model=schemas.LimitAnswer, responses=CREATED | PROPOSED)
def set_limit(
    body: SetLimitRequest, daybook: OpenDaybook, caller: Admin, request_id: RequestId, key: IdempotencyKey
) -> Response:
    """Set, change or lift a limit of an account."""
    scope = Scope(body.strategy_id, body.instrument_id)
    request = SetLimit(
        body.account_id, scope=scope, measure=body.measure, limit=body.limit, currency=body.currency,
        transact_time=now(),
    )  # fmt: skip

    def respond(answers: list[Answer], look: Look) -> Response:
        done = one(answers)
        state = look(risk.stream(body.account_id))
        known = state.limits.get((scope, body.measure)) if state else None
        return _done(body.model_dump() | {"version": known.version if known else 0}, done)

    return carried_out(daybook, command(request, caller, request_id), key, respond)


@router.post("/orders", status_code=201, response_model=schemas.OrderAnswer, responses=CREATED)
def submit_order(
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
    key = OrderKey(body.account_id, body.cl_ord_id)
    terms = OrderTerms(
        strategy_id=body.strategy_id, instrument_id=body.instrument_id, side=body.side, ord_type=body.ord_type,
        order_qty=body.order_qty, price=body.price, time_in_force=body.time_in_force, expire_time=body.expire_time,
        stop_px=body.stop_px, trigger_price=body.trigger_price, peg_offset_value=body.peg_offset_value,
        peg_offset=body.peg_offset, exec_inst=frozenset(body.exec_inst), display_qty=body.display_qty,
    )  # fmt: skip

    def respond(answers: list[Answer], _: Look) -> Response:
        (done,) = answers
        if isinstance(done.error, RequestRefused):
            refusal = response(problem_of(done.error), f"/v1/orders/{body.account_id}/{body.cl_ord_id}")
            refusal.headers[SEQ_HEADER] = str(done.seq)
            return refusal
        first = one(answers).records[:1] or daybook.log.read(order.stream(key), limit=1)
        return _done(order_record(key, first[0]), done)

    return carried_out(daybook, command(SubmitOrder(key, terms, now()), caller, request_id), idempotency, respond)


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

    return carried_out(daybook, command(CancelOrder(key, body.reason, now()), caller, request_id), idempotency, respond)


@router.post("/transfers", status_code=201, response_model=schemas.TransferAnswer, responses=CREATED)
def record_transfer(
    body: TransferSubmission, daybook: OpenDaybook, caller: Recorder, request_id: RequestId, idempotency: IdempotencyKey
) -> Response:
    """Book a quantity transferred in or out: an opening balance, a deposit in kind."""
    key = PositionKey(body.account_id, body.strategy_id, body.instrument_id)
    transfer = Transfer(
        key, transfer_id=body.transfer_id, side=body.side, quantity=body.quantity, cost=body.cost,
        transact_time=body.transact_time,
    )  # fmt: skip

    def respond(answers: list[Answer], _: Look) -> Response:
        done = one(answers)
        is_booked = any(isinstance(record.event, PositionTransferred) for record in done.records)
        if not is_booked and (known := transfer_on_record(daybook, transfer)) != transfer:
            raise RequestRefused(
                "one transfer_id names one transfer", transfer_id=body.transfer_id,
                quantity=known and known.quantity, cost=known and known.cost,
            )  # fmt: skip
        return _done(body.model_dump(), done)

    return carried_out(daybook, command((transfer,), caller, request_id), idempotency, respond)


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
