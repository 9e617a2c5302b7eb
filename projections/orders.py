"""Orders: the blotter. One row an order, from submission (or adoption, or refusal) to its last report.

Statuses are FIX OrdStatus(39) and follow `domain.order.evolve`. Quantities are in base units or contracts, `cum_cost`
is the sum of quantity x price in quote units. An adopted order's `order_qty` is unknown (None). An order that pre-trade
risk refused is REJECTED and says by which `rule` and `facts`. `opened_at` and `changed_at` are venue's or client's.
"""

from datetime import datetime
from decimal import Decimal

from domain.log import Logged
from domain.order import (
    OrderAccepted,
    OrderAdopted,
    OrderBroken,
    OrderCanceled,
    OrderCancelRejected,
    OrderCancelRequested,
    OrderExpired,
    OrderFilled,
    OrderKey,
    OrderRefused,
    OrderRejected,
    OrderSubmitted,
    OrderTerms,
    OrdStatus,
)
from domain.values import ZERO, divide, exact
from projections.rows import Rows, Source, fetch
from projections.tables import AT, FACTS, NUMBER, WHOLE, Projection, Row, fact, key, maybe, printable, table

PAGE_ROWS_MAX = 1000
OPEN = tuple(status.value for status in OrdStatus if status.is_open)

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
    indexes=(("opened_seq",), ("account_id", "opened_seq")),
)


def _new(logged: Logged, order: OrderKey, at: datetime, status: OrdStatus) -> Row:
    return {
        "account_id": order.account_id,
        "cl_ord_id": order.cl_ord_id,
        "order_id": "",
        "strategy_id": "",
        "instrument_id": "",
        "side": None,
        "ord_type": None,
        "time_in_force": None,
        "order_qty": None,
        "price": None,
        "status": status.value,
        "cum_qty": ZERO,
        "leaves_qty": ZERO,
        "cum_cost": ZERO,
        "rule": None,
        "facts": None,
        "reason": "",
        "breaks": 0,
        "opened_at": at,
        "changed_at": at,
        "opened_seq": logged.seq,
        "seq": logged.seq,
    }


def _terms(terms: OrderTerms) -> Row:
    return {
        "strategy_id": terms.strategy_id,
        "instrument_id": terms.instrument_id,
        "side": terms.side.value,
        "ord_type": terms.ord_type.value,
        "time_in_force": terms.time_in_force.value,
        "order_qty": terms.order_qty,
        "price": terms.price,
    }


def _submitted(rows: Rows, logged: Logged, event: OrderSubmitted) -> None:
    row = _new(logged, event.key, event.transact_time, OrdStatus.PENDING_NEW)
    rows.put(orders, row | _terms(event.terms) | {"leaves_qty": event.terms.order_qty})


def _refused(rows: Rows, logged: Logged, event: OrderRefused) -> None:
    row = _new(logged, event.key, event.transact_time, OrdStatus.REJECTED)
    rows.put(orders, row | _terms(event.terms) | {"rule": event.rule, "facts": event.facts})


def _adopted(rows: Rows, logged: Logged, event: OrderAdopted) -> None:
    row = _new(logged, event.key, event.transact_time, OrdStatus.NEW)
    row |= {
        "order_id": event.order_id,
        "strategy_id": event.strategy_id,
        "instrument_id": event.instrument_id,
        "side": event.side.value,
    }
    rows.put(orders, row)


def _row(rows: Rows, logged: Logged, order: OrderKey, at: datetime) -> Row:
    """The order's row, to be changed by this event; a new one for an order nobody knows."""
    known = rows.get(orders, order.account_id, order.cl_ord_id)
    if known is None:
        return _new(logged, order, at, OrdStatus.NEW)
    return known | {"changed_at": max(at, known["changed_at"]), "seq": logged.seq}


def _put(rows: Rows, row: Row) -> None:
    is_open, order_qty = row["status"] in OPEN, row["order_qty"]
    row["leaves_qty"] = max(exact(order_qty - row["cum_qty"]), ZERO) if is_open and order_qty is not None else ZERO
    rows.put(orders, row)


def _accepted(rows: Rows, logged: Logged, event: OrderAccepted) -> None:
    row = _row(rows, logged, event.key, event.transact_time)
    if row["status"] == OrdStatus.PENDING_NEW:
        row["status"] = OrdStatus.NEW.value
    row["order_id"] = event.order_id
    _put(rows, row)


def _filled(rows: Rows, logged: Logged, event: OrderFilled) -> None:
    row = _row(rows, logged, event.key, event.transact_time)
    cum_qty: Decimal = exact(row["cum_qty"] + event.last_qty)
    if row["status"] in OPEN:
        if row["order_qty"] is not None and cum_qty >= row["order_qty"]:
            row["status"] = OrdStatus.FILLED.value
        elif row["status"] != OrdStatus.PENDING_CANCEL:
            row["status"] = OrdStatus.PARTIALLY_FILLED.value
    if not row["instrument_id"]:
        row |= {"instrument_id": event.instrument_id, "side": event.side.value}
    row["strategy_id"] = row["strategy_id"] or event.strategy_id
    row["order_id"] = row["order_id"] or event.order_id
    row["cum_qty"] = cum_qty
    row["cum_cost"] = exact(row["cum_cost"] + event.last_qty * event.last_px)
    _put(rows, row)


def _cancel_requested(rows: Rows, logged: Logged, event: OrderCancelRequested) -> None:
    row = _row(rows, logged, event.key, event.transact_time)
    _put(rows, row | {"status": OrdStatus.PENDING_CANCEL.value})


def _cancel_rejected(rows: Rows, logged: Logged, event: OrderCancelRejected) -> None:
    row = _row(rows, logged, event.key, event.transact_time) | {"reason": printable(event.reason)}
    if row["status"] == OrdStatus.PENDING_CANCEL:
        row["status"] = (OrdStatus.PARTIALLY_FILLED if row["cum_qty"] else OrdStatus.NEW).value
    _put(rows, row)


_CLOSED = {
    OrderRejected: OrdStatus.REJECTED,
    OrderCanceled: OrdStatus.CANCELED,
    OrderExpired: OrdStatus.EXPIRED,
}


def _closed(rows: Rows, logged: Logged, event: OrderRejected | OrderCanceled | OrderExpired) -> None:
    row = _row(rows, logged, event.key, event.transact_time)
    _put(rows, row | {"status": _CLOSED[type(event)].value, "reason": printable(event.reason)})


def _broken(rows: Rows, logged: Logged, event: OrderBroken) -> None:
    row = _row(rows, logged, event.key, event.report.transact_time)
    _put(rows, row | {"breaks": row["breaks"] + 1})


PROJECTION = Projection(
    "orders",
    1,
    (orders,),
    {
        OrderSubmitted: _submitted,
        OrderRefused: _refused,
        OrderAdopted: _adopted,
        OrderAccepted: _accepted,
        OrderFilled: _filled,
        OrderCancelRequested: _cancel_requested,
        OrderCancelRejected: _cancel_rejected,
        OrderRejected: _closed,
        OrderCanceled: _closed,
        OrderExpired: _closed,
        OrderBroken: _broken,
    },
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

    `status` is one OrdStatus or several (`OPEN`: what can still be filled).
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
