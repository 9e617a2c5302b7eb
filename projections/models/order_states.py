"""Order states for the next event of `domain.order.state`, kept beside the blotter.

The rules are the domain's own, so that a late, repeated or contradictory report changes the blotter as it changes the
order. State that grows with an order's history is not kept: an amendment's event has the fill as it was and as it is,
and each request about an order is a row of its own, read when an event answers it.
"""

from operator import attrgetter
from typing import Any, get_args

import msgspec
import sqlalchemy as sa
from msgspec.structs import replace

from domain.immutable import AppendMap
from domain.ledger import Logged
from domain.order import (
    CANCEL,
    REPLACE,
    Amendment,
    Amendments,
    Answer,
    NumberedRequest,
    Order,
    OrderCancelRequested,
    OrderEvent,
    OrderFillBusted,
    OrderKey,
    OrderReplaceRequested,
    answers_to,
    evolve,
)
from projections.storage.tables import AT, FACTS, TEXT, WHOLE, Row, Rows, fact, json_of, key, maybe, table

UNKEPT = frozenset({"fills", "reports", "breaks", "amendments", "requests", "answers", "order_ids"})
PAIRED = frozenset({"unanswered", "pending"})  # mappings with keys that JSON lacks: stored as pairs

_KEPT = [field for field in msgspec.structs.fields(Order) if field.name not in UNKEPT]
_GET = attrgetter(*(field.name for field in _KEPT))
_PAIRED_PLACES = [place for place, field in enumerate(_KEPT) if field.name in PAIRED]
_Stored = msgspec.defstruct(
    "StoredOrder",
    [
        (field.name, tuple[tuple[get_args(field.type)], ...] if field.name in PAIRED else field.type)  # type: ignore[misc]
        for field in _KEPT
    ],
    frozen=True,
    array_like=True,
)
_ENCODER = msgspec.json.Encoder(order="deterministic")
_ORDERS = msgspec.json.Decoder(_Stored)
_BARE: dict[str, Any] = {
    "fills": AppendMap(),
    "reports": AppendMap(),
    "breaks": (),
    "amendments": Amendments(),
    "requests": AppendMap(),
    "answers": AppendMap(),
    "order_ids": frozenset(),
}
assert _BARE.keys() == UNKEPT, "fields that are not kept are emptied"


class OrderState(sa.types.TypeDecorator[Order]):
    """An order's state as the text of a JSON array."""

    impl = TEXT
    cache_ok = True

    def process_bind_param(self, value: Order | None, dialect: sa.Dialect) -> Any:  # noqa: ARG002 (SQLAlchemy's)
        if value is None:
            return None
        values = list(_GET(value))
        for place in _PAIRED_PLACES:
            values[place] = tuple(values[place].items())
        return _ENCODER.encode(values).decode()

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> Any:  # noqa: ARG002
        if value is None:
            return None
        stored = _ORDERS.decode(value)
        values = {field.name: getattr(stored, field.name) for field in _KEPT}
        return Order(**values | {name: dict(values[name]) for name in PAIRED})


states = table("orders", "states", key("account_id"), key("cl_ord_id"), fact("state", OrderState()), has_history=False)
requests = table(
    "orders",
    "requests",
    key("account_id"),
    key("cl_ord_id"),
    key("kind"),
    key("requested_as"),
    maybe("number", WHOLE),
    maybe("request", FACTS),
    maybe("answered_at", AT),
    has_history=False,
)
_REQUEST: Any = OrderCancelRequested | OrderReplaceRequested


def folded(rows: Rows, logged: Logged, event: OrderEvent) -> tuple[Order | None, Order]:
    """Return the order before and after an event, and store the state after it."""
    order = event.key
    known = rows.get(states, order.account_id, order.cl_ord_id)
    before: Order | None = known["state"] if known is not None else None
    was = before
    match event:
        case OrderCancelRequested() | OrderReplaceRequested():
            after = evolve(before, event)
            _keep_request(rows, logged, after, event)
        case _ if isinstance(event, Answer):
            before = _with_requests(rows, order, before, event) if before is not None else None
            after = evolve(before, event)
            _keep_answers(rows, logged, after)
        case _ if isinstance(event, Amendment):
            after = evolve(*_amending(before, event))
        case _:
            after = evolve(before, event)
    after = replace(after, **_BARE)
    row = {"account_id": order.account_id, "cl_ord_id": order.cl_ord_id, "state": after, "seq": logged.seq}
    rows.put(states, row)
    return was, after


def _amending(order: Order | None, event: Amendment) -> tuple[Order | None, Amendment]:
    """Return the order with the amended fill only, and the amendment as the first of that fill."""
    was = event.was
    if order is None or was is None:
        return order, event
    order = replace(order, fills=AppendMap({was.id_on_record: was}))
    if isinstance(event, OrderFillBusted):
        return order, replace(event, exec_ref_id=was.exec_id)
    now = event.now
    assert now is not None, "what was standing is standing after a correction"
    return order, replace(
        event, exec_ref_id=was.exec_id, last_qty=now.last_qty, last_px=now.last_px, commission=now.commission,
        further_commissions=now.further_commissions,
    )  # fmt: skip


def _with_requests(rows: Rows, order: OrderKey, known: Order, event: Any) -> Order:
    """Return the order with the request that an event answers."""
    requested: AppendMap[str, NumberedRequest] = AppendMap()
    answers = known.answers
    name = event.requested_as or answers_to(known, event)[1]
    for kind in (CANCEL, REPLACE):
        row = rows.get(requests, order.account_id, order.cl_ord_id, kind, name)
        if row is not None and row["request"] is not None:
            request = NumberedRequest(row["number"], msgspec.convert(row["request"], _REQUEST))
            requested = requested.added(name, request)
        if row is not None and row["answered_at"] is not None:
            answers = answers.added((kind, name), row["answered_at"])
    return replace(known, requests=requested, answers=answers)


def _keep_request(
    rows: Rows, logged: Logged, order: Order, event: OrderCancelRequested | OrderReplaceRequested
) -> None:
    kind = CANCEL if isinstance(event, OrderCancelRequested) else REPLACE
    row = _request_row(rows, logged, order.key, (kind, event.requested_as))
    rows.put(requests, row | {"number": order.request_count, "request": json_of(event)})


def _keep_answers(rows: Rows, logged: Logged, order: Order) -> None:
    for request, at in order.answers.items():
        row = _request_row(rows, logged, order.key, request)
        if row["answered_at"] != at:
            rows.put(requests, row | {"answered_at": at})


def _request_row(rows: Rows, logged: Logged, order: OrderKey, request: tuple[str, str]) -> Row:
    """Return the row of a request, given by its kind and name, or a new one."""
    kind, name = request
    known = rows.get(requests, order.account_id, order.cl_ord_id, kind, name)
    if known is not None:
        return known | {"seq": logged.seq}
    return {
        "account_id": order.account_id,
        "cl_ord_id": order.cl_ord_id,
        "kind": kind,
        "requested_as": name,
        "number": None,
        "request": None,
        "answered_at": None,
        "seq": logged.seq,
    }
