"""The blotter: one row an order, from submission (or adoption, or refusal) to its last report.

Rows follow `domain.order.state`, whose state is kept beside them (`projections.models.order_states`). Statuses are FIX
OrdStatus(39). Terms are the current ones, under `terms_cl_ord_id`, the order's own ClOrdID or that of its last
replacement. Quantities are in base units or contracts, `cum_cost` is the sum of quantity x price in quote units over
the fills that stand. An adopted order's `order_qty` may be unknown (None). An order refused by the pre-trade check is
REJECTED and shows the `rule` and its `facts`. `reason` is the venue's latest, by its own time; `opened_at` and
`changed_at` are times of the venue or the client.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any, TypedDict, cast, get_args

from domain.ledger import Logged
from domain.order import (
    Order,
    OrderAliased,
    OrderBreakWithdrawn,
    OrderBroken,
    OrderCancelRequested,
    OrderEvent,
    OrderKey,
    OrderTerms,
    OrdStatus,
    OrdType,
)
from domain.values import divide
from projections.models import order_states
from projections.storage.rows import Source, fetch
from projections.storage.tables import (
    AT,
    FACTS,
    NUMBER,
    WHOLE,
    AnyRow,
    Projection,
    Row,
    Rows,
    fact,
    json_of,
    key,
    maybe,
    position_filter,
    printable,
    table,
)

PAGE_ROWS_MAX = 1000
OPEN = tuple(status.value for status in OrdStatus if status.is_open)
TRIGGERED = frozenset(OrdType) - {OrdType.MARKET, OrdType.LIMIT}

orders = table(
    "orders",
    "orders",
    key("account_id"),
    key("cl_ord_id"),
    fact("order_id"),
    fact("strategy_id"),
    fact("instrument_id"),
    fact("position_side"),
    maybe("side"),
    maybe("ord_type"),
    maybe("time_in_force"),
    maybe("order_qty", NUMBER),
    maybe("price", NUMBER),
    maybe("stop_px", NUMBER),
    maybe("trigger_price"),
    maybe("peg_offset_value", NUMBER),
    maybe("peg_offset"),
    maybe("display_qty", NUMBER),
    maybe("expire_time", AT),
    fact("exec_inst"),
    fact("parent"),
    fact("terms_cl_ord_id"),
    fact("status"),
    fact("cum_qty", NUMBER),
    fact("leaves_qty", NUMBER),
    fact("cum_cost", NUMBER),
    maybe("rule"),
    maybe("facts", FACTS),
    fact("reason"),
    fact("breaks", WHOLE),
    fact("opened_at", AT),
    fact("changed_at", AT),
    fact("opened_seq", WHOLE),
    indexes=(("opened_seq",), ("account_id", "opened_seq"), ("opened_at",)),
    created_by="opened_seq",
)


class StoredOrderRow(TypedDict):
    """An order as stored: quantities in base units or contracts, prices in quote units, `cum_cost` the sum of
    quantity x price.
    """

    account_id: str
    cl_ord_id: str
    order_id: str
    strategy_id: str
    instrument_id: str
    position_side: str
    side: str | None
    ord_type: str | None
    time_in_force: str | None
    order_qty: Decimal | None
    price: Decimal | None
    stop_px: Decimal | None
    trigger_price: str | None
    peg_offset_value: Decimal | None
    peg_offset: str | None
    display_qty: Decimal | None
    expire_time: datetime | None
    exec_inst: str
    parent: str
    terms_cl_ord_id: str
    status: str
    cum_qty: Decimal
    leaves_qty: Decimal
    cum_cost: Decimal
    rule: str | None
    facts: dict[str, Any] | None
    reason: str
    breaks: int
    opened_at: datetime
    changed_at: datetime
    opened_seq: int
    seq: int


class OrderRow(StoredOrderRow):
    """An order of the blotter; `avg_px` in quote units, None before the first fill."""

    avg_px: Decimal | None


_NO_TERMS: Row = {
    "ord_type": None,
    "time_in_force": None,
    "price": None,
    "stop_px": None,
    "trigger_price": None,
    "peg_offset_value": None,
    "peg_offset": None,
    "display_qty": None,
    "expire_time": None,
    "exec_inst": "",
    "parent": "",
}


def _new(logged: Logged, order: OrderKey, at: datetime) -> Row:
    return {
        "account_id": order.account_id,
        "cl_ord_id": order.cl_ord_id,
        "reason": "",
        "breaks": 0,
        "opened_at": at,
        "changed_at": at,
        "opened_seq": logged.seq,
        "seq": logged.seq,
    }


def _terms(terms: OrderTerms) -> Row:
    return {
        "ord_type": terms.ord_type.value,
        "time_in_force": terms.time_in_force.value,
        "price": terms.price,
        "stop_px": terms.stop_px,
        "trigger_price": terms.trigger_price.value if terms.ord_type in TRIGGERED else None,
        "peg_offset_value": terms.peg_offset_value,
        "peg_offset": terms.peg_offset.value if terms.peg_offset_value is not None else None,
        "display_qty": terms.display_qty,
        "expire_time": terms.expire_time,
        "exec_inst": " ".join(sorted(terms.exec_inst)),
        "parent": terms.parent,
    }


def _show(row: Row, order: Order) -> None:
    """Set the row's columns from an order's state, without its terms."""
    refusal = order.refusal
    row["order_id"] = order.order_id
    row["strategy_id"] = order.strategy_id
    row["instrument_id"] = order.instrument_id
    row["position_side"] = order.shown_leg.value
    row["side"] = order.side.value if order.instrument_id else None
    row["order_qty"] = order.order_qty
    row["terms_cl_ord_id"] = order.cl_ord_id
    row["status"] = order.status.value
    row["cum_qty"] = order.cum_qty
    row["leaves_qty"] = order.leaves_qty
    row["cum_cost"] = order.cum_cost
    row["rule"], row["facts"] = (refusal.rule, json_of(refusal.facts)) if refusal is not None else (None, None)


def _changed(rows: Rows, logged: Logged, event: OrderEvent) -> None:
    """Put the order's row after an event; a new one for an unknown order."""
    dated = event.report if isinstance(event, OrderBroken | OrderBreakWithdrawn) else event
    at, order = dated.transact_time, event.key
    known = rows.get(orders, order.account_id, order.cl_ord_id)
    row = known.copy() if known is not None else _new(logged, order, at)
    before, after = order_states.folded(rows, logged, event)
    if before is None or before.terms is not after.terms:
        row |= _terms(after.terms) if after.terms is not None else _NO_TERMS
    _show(row, after)
    row["seq"] = logged.seq
    if isinstance(event, OrderBroken):
        row["breaks"] += 1
    elif isinstance(event, OrderBreakWithdrawn):
        row["breaks"] -= 1
    elif at == after.last_at and not isinstance(event, OrderCancelRequested):
        row["reason"] = printable(str(getattr(event, "reason", row["reason"])))
    row["changed_at"] = max(at, row["changed_at"])
    rows.put(orders, row)


PROJECTION = Projection(
    "orders",
    6,
    (orders, order_states.states, order_states.requests),
    {event_class: _changed for event_class in get_args(OrderEvent) if event_class is not OrderAliased},
)


def blotter(
    source: Source,
    *,
    account_id: str | None = None,
    strategy_id: str | None = None,
    instrument_id: str | None = None,
    position_side: str | None = None,
    status: str | tuple[str, ...] | None = None,
    limit: int | None = PAGE_ROWS_MAX,
    after: int | None = None,
) -> list[OrderRow]:
    """Return orders, the newest first, with `avg_px`. The next page is `after` the last row's `opened_seq`.

    `status` is one OrdStatus or several (`OPEN`: those in which an order can be filled).
    """
    where: Row = {**position_filter(account_id, strategy_id, instrument_id, position_side), "status": status}
    place = None if after is None else (after,)
    found = fetch(source, orders, where=where, by=("opened_seq",), after=place, limit=limit, is_descending=True)
    return cast(list[OrderRow], [row | {"avg_px": average_price(row)} for row in found])


def order(source: Source, account_id: str, cl_ord_id: str) -> OrderRow | None:
    """Return one order as in the blotter; None if there is none."""
    found = fetch(source, orders, where={"account_id": account_id, "cl_ord_id": cl_ord_id})
    return cast(OrderRow, found[0] | {"avg_px": average_price(found[0])}) if found else None


def average_price(row: AnyRow) -> Decimal | None:
    """Return FIX AvgPx(6): cum_cost / cum_qty to 18 places; None before the first fill."""
    return divide(row["cum_cost"], row["cum_qty"]) if row["cum_qty"] else None
