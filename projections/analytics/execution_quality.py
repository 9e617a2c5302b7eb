"""Execution quality: slippage against the arrival price, fill ratio and time to fill of orders.

A view of the blotter and the executions, at the marks given. The arrival price is the newest mark not after an order
was submitted, and not too old. `slippage_bps` = side x (average price - arrival price) / arrival price x 10,000, so
above zero is a cost; `shortfall` is the same in quote currency: that fraction of `notional`, the filled quantity's size
at arrival. It is the executed part of Perold's implementation shortfall: without commissions, and without the quantity
never filled. `fill_ratio` is cum_qty / order_qty; times are seconds from submission to the first and the last fill
that stands, by the venue's clock. Orders refused by the pre-trade check were never sent and are not included.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from operator import itemgetter
from typing import Any, NamedTuple, NotRequired, TypedDict, cast

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from domain.instrument import Kind
from domain.values import ZERO, Mark, Side, divide, exact, venue_of
from projections.analytics.valuation import marked
from projections.calendar import Close
from projections.models.executions import executions
from projections.models.orders import StoredOrderRow, average_price, orders
from projections.storage.rows import Source, fetch
from projections.storage.tables import POSITION, TEXT, AnyRow, Row, contract_of, position_filter

BPS = Decimal(10_000)
ORDERS_MAX = 20_000
GROUPS = (*POSITION, "venue", "day")
_MICROSECOND = timedelta(microseconds=1)
_CONTRACT = ("kind", "base", "quote", "settle", "contract_size")


class Fills(NamedTuple):
    """The fills of one order that stand: their number, the times of the first and last, and their contract."""

    number: int
    first_at: datetime
    last_at: datetime
    contract: Row


class QualityRow(TypedDict):
    """Execution quality of one order: quantities in base units or contracts, prices, `notional` and `shortfall` in
    quote units, `slippage_bps` in basis points (above zero is a cost), `fill_ratio` a fraction, times in seconds.
    """

    account_id: str
    strategy_id: str
    instrument_id: str
    position_side: str
    cl_ord_id: str
    side: str | None
    order_qty: Decimal | None
    cum_qty: Decimal
    status: str
    seq: int
    venue: str
    day: date
    submitted_at: datetime
    avg_px: Decimal | None
    quote: str | None
    arrival_px: Decimal | None
    arrival_source: str | None
    arrival_at: datetime | None
    notional: Decimal | None
    slippage_bps: Decimal | None
    shortfall: Decimal | None
    fill_ratio: Decimal | None
    fills: int
    seconds_to_first_fill: Decimal | None
    seconds_to_last_fill: Decimal | None


class QualityTotal(TypedDict):
    """Execution quality of a group of orders in one quote currency, with the columns they are grouped by; units as in
    `QualityRow`.
    """

    account_id: NotRequired[str]
    strategy_id: NotRequired[str]
    instrument_id: NotRequired[str]
    position_side: NotRequired[str]
    venue: NotRequired[str]
    day: NotRequired[date]
    quote: str
    orders: int
    filled: int
    without_mark: int
    notional: Decimal | None
    shortfall: Decimal | None
    slippage_bps: Decimal | None
    fill_ratio: Decimal | None
    seconds_to_first_fill: Decimal | None
    seconds_to_last_fill: Decimal | None


def orders_between(
    source: Source,
    first: datetime,
    end: datetime,
    *,
    account_id: str | None = None,
    strategy_id: str | None = None,
    instrument_id: str | None = None,
    position_side: str | None = None,
    limit: int = ORDERS_MAX,
) -> list[StoredOrderRow]:
    """Return orders sent from `first` up to, not including, `end`, sorted by seq; at most `limit`."""
    where = position_filter(account_id, strategy_id, instrument_id, position_side)
    chosen = {name: value for name, value in where.items() if value is not None}
    if not isinstance(source, sa.Connection):
        found = fetch(source, orders, where=chosen, by=("opened_seq",))
        sent = [row for row in found if first <= row["opened_at"] < end and row["rule"] is None]
        return cast(list[StoredOrderRow], sent[:limit])
    query = sa.select(orders).where(
        orders.c.opened_at >= first, orders.c.opened_at < end, orders.c.rule.is_(None),
        *(orders.c[name] == value for name, value in chosen.items()),
    )  # fmt: skip
    rows = source.execute(query.order_by(orders.c.opened_seq).limit(limit)).mappings()
    return cast(list[StoredOrderRow], [dict(row) for row in rows])


def fills_of(source: Source, sent: Sequence[StoredOrderRow]) -> dict[tuple[str, str], Fills]:
    """Return the fills of orders, by account and ClOrdID; of several contracts that of the fill booked first."""
    keys = [(row["account_id"], row["cl_ord_id"]) for row in sent if row["cum_qty"]]
    found: dict[tuple[str, str], Fills] = {}
    for row in sorted(_fills(source, keys), key=itemgetter("booked_seq")):
        at, contract = row["transact_time"], {name: row[name] for name in _CONTRACT}
        key = (row["account_id"], row["cl_ord_id"])
        known = found.get(key, Fills(0, at, at, contract))
        found[key] = Fills(known.number + 1, min(at, known.first_at), max(at, known.last_at), known.contract)
    return found


def _fills(source: Source, keys: Sequence[tuple[str, str]]) -> Iterable[Row]:
    if not isinstance(source, sa.Connection):
        wanted = set(keys)
        found = fetch(source, executions, where={"entry": "TRADE"})
        return [row for row in found if row["reversal"] is None and (row["account_id"], row["cl_ord_id"]) in wanted]
    if not keys:
        return []
    columns = [sa.bindparam(None, list(part), postgresql.ARRAY(TEXT)) for part in zip(*keys, strict=True)]
    wanted_keys = sa.func.unnest(*columns).table_valued("account_id", "cl_ord_id", name="wanted").render_derived()
    fill, key = executions.c, wanted_keys.c
    query = (
        sa.select(
            fill.account_id, fill.cl_ord_id, fill.booked_seq, fill.transact_time, *(fill[name] for name in _CONTRACT)
        )
        .join(wanted_keys, sa.and_(fill.account_id == key.account_id, fill.cl_ord_id == key.cl_ord_id))
        .where(fill.reversal.is_(None), fill.entry == "TRADE")
    )
    return [dict(row) for row in source.execute(query).mappings()]


def measured(order: StoredOrderRow, fills: Fills | None, arrival: Mark | None, close: Close) -> QualityRow:
    """Return one order's quality. What is unknown (nothing filled, no mark, no quantity) is None."""
    contract = contract_of(fills.contract) if fills is not None else None
    average, side = average_price(order), Side(order["side"]) if order["side"] else None
    submitted = order["opened_at"]
    size = slipped = cost = None
    if contract is not None and arrival is not None and average is not None and side is not None:
        size = exact(contract.notional(order["cum_qty"], arrival.price))
        against = side.sign * (average - arrival.price)
        slipped = divide(against * BPS, abs(arrival.price), 6)
        if contract.kind is Kind.INVERSE:
            cost = divide(size * against, arrival.price)
        else:
            at_arrival = order["cum_qty"] * arrival.price
            cost = exact(side.sign * (order["cum_cost"] - at_arrival) * contract.contract_size)
    mark_columns = marked(arrival)
    return {
        "account_id": order["account_id"],
        "strategy_id": order["strategy_id"],
        "instrument_id": order["instrument_id"],
        "position_side": order["position_side"],
        "cl_ord_id": order["cl_ord_id"],
        "side": order["side"],
        "order_qty": order["order_qty"],
        "cum_qty": order["cum_qty"],
        "status": order["status"],
        "seq": order["seq"],
        "venue": venue_of(order["instrument_id"]),
        "day": close.day_of(submitted),
        "submitted_at": submitted,
        "avg_px": average,
        "quote": None if contract is None else contract.notional_currency,
        "arrival_px": mark_columns["mark"],
        "arrival_source": mark_columns["mark_source"],
        "arrival_at": mark_columns["mark_at"],
        "notional": size,
        "slippage_bps": slipped,
        "shortfall": cost,
        "fill_ratio": divide(order["cum_qty"], order["order_qty"]) if order["order_qty"] else None,
        "fills": fills.number if fills is not None else 0,
        "seconds_to_first_fill": None if fills is None else _seconds(fills.first_at - submitted),
        "seconds_to_last_fill": None if fills is None else _seconds(fills.last_at - submitted),
    }


def _seconds(span: timedelta) -> Decimal:
    return exact(Decimal(span // _MICROSECOND).scaleb(-6))


def grouped(rows: Iterable[QualityRow], by: Sequence[str]) -> list[QualityTotal]:
    """Summarize orders by some of GROUPS and by quote currency, which is "" for orders never filled.

    `slippage_bps` is weighted by size: shortfall / notional. Ratios and times are means over the orders that have one.
    `without_mark` counts filled orders whose arrival price is unknown: the slippage leaves them out.
    """
    groups: dict[tuple[Any, ...], list[AnyRow]] = {}
    found: Iterable[AnyRow] = rows
    for row in found:
        groups.setdefault((*(row[name] for name in by), row["quote"] or ""), []).append(row)
    sums = [dict(zip((*by, "quote"), place, strict=True)) | _group(rows) for place, rows in sorted(groups.items())]
    return cast(list[QualityTotal], sums)


def _group(rows: Sequence[AnyRow]) -> Row:
    priced = [row for row in rows if row["shortfall"] is not None]
    cost = exact(sum((row["shortfall"] for row in priced), ZERO))
    size = exact(sum((row["notional"] for row in priced), ZERO))
    return {
        "orders": len(rows),
        "filled": sum(1 for row in rows if row["fills"]),
        "without_mark": sum(1 for row in rows if row["fills"] and row["shortfall"] is None),
        "notional": size if priced else None,
        "shortfall": cost if priced else None,
        "slippage_bps": divide(cost * BPS, size, 6) if size else None,
        **{
            name: _mean([row[name] for row in rows if row[name] is not None])
            for name in ("fill_ratio", "seconds_to_first_fill", "seconds_to_last_fill")
        },
    }


def _mean(parts: Sequence[Decimal]) -> Decimal | None:
    return divide(sum(parts, ZERO), Decimal(len(parts))) if parts else None


def arrivals(sent: Sequence[StoredOrderRow], marks: Sequence[Mark | None], age_max: timedelta) -> Mapping[int, Mark]:
    """Return the usable marks, by the index of their order in `sent`."""
    return {
        number: mark
        for number, (order, mark) in enumerate(zip(sent, marks, strict=True))
        if mark is not None and mark.price and order["opened_at"] - mark.mark_at <= age_max
    }
