"""Orders: the blotter. One row an order, from submission (or adoption, or refusal) to its last report.

Everything follows `domain.order.state`, whose state is kept beside the rows (`projections.models.order_states`).
Statuses are FIX OrdStatus(39). Terms are those that hold now, under `terms_cl_ord_id`, the order's own ClOrdID or that
of its last replacement. Quantities are in base units or contracts, `cum_cost` is the sum of quantity x price in quote
units over the fills that stand. An adopted order's `order_qty` may be unknown (None). An order that pre-trade risk
refused is REJECTED and says by which `rule` and `facts`. `reason` is the venue's last, by its own time; `opened_at` and
`changed_at` are venue's or client's.
"""

from datetime import datetime
from decimal import Decimal
from typing import get_args

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
from projections.storage.rows import Rows, Source, fetch
from projections.storage.tables import AT, FACTS, NUMBER, WHOLE, Projection, Row, fact, key, maybe, printable, table

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
    born="opened_seq",
)
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
    """Put into the row what the blotter tells of an order's state, but for its terms."""
    refusal = order.refusal
    row["order_id"] = order.order_id
    row["strategy_id"] = order.strategy_id
    row["instrument_id"] = order.instrument_id
    row["side"] = order.side.value if order.instrument_id else None
    row["order_qty"] = order.order_qty
    row["terms_cl_ord_id"] = order.cl_ord_id
    row["status"] = order.status.value
    row["cum_qty"] = order.cum_qty
    row["leaves_qty"] = order.leaves_qty
    row["cum_cost"] = order.cum_cost
    row["rule"], row["facts"] = (refusal.rule, refusal.facts) if refusal is not None else (None, None)


def _changed(rows: Rows, logged: Logged, event: OrderEvent) -> None:
    """The order's row after an event; a new one for an order nobody knows."""
    told = event.report if isinstance(event, OrderBroken | OrderBreakWithdrawn) else event
    at, order = told.transact_time, event.key
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
    4,
    (orders, order_states.states, order_states.requests),
    {event_class: _changed for event_class in get_args(OrderEvent) if event_class is not OrderAliased},
)


def blotter(
    source: Source,
    *,
    account_id: str | None = None,
    strategy_id: str | None = None,
    instrument_id: str | None = None,
    status: str | tuple[str, ...] | None = None,
    limit: int | None = PAGE_ROWS_MAX,
    after: int | None = None,
) -> list[Row]:
    """Orders, the newest first, with `avg_px`. The next page is `after` the last row's `opened_seq`.

    `status` is one OrdStatus or several (`OPEN`: those in which an order can be filled).
    """
    where = {"account_id": account_id, "strategy_id": strategy_id, "instrument_id": instrument_id, "status": status}
    place = None if after is None else (after,)
    found = fetch(source, orders, where=where, by=("opened_seq",), after=place, limit=limit, is_descending=True)
    return [row | {"avg_px": average_price(row)} for row in found]


def order(source: Source, account_id: str, cl_ord_id: str) -> Row | None:
    """One order as the blotter shows it; None if there is none."""
    found = fetch(source, orders, where={"account_id": account_id, "cl_ord_id": cl_ord_id})
    return found[0] | {"avg_px": average_price(found[0])} if found else None


def average_price(row: Row) -> Decimal | None:
    """FIX AvgPx(6): cum_cost / cum_qty to 18 places; None before the first fill."""
    return divide(row["cum_cost"], row["cum_qty"]) if row["cum_qty"] else None
