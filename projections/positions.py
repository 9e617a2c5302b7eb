"""Positions: what is held, what it cost, what it has realized, paid and received. One row a position.

Everything a position is, is in one row, so that quantity, cost and PnL in an answer are of one moment; `pnl` and
`exposure` value these rows at given marks. Quantities are signed; sums are in `settle`; `fees` are by currency. A
restatement moves the sums by what it changed, as `domain.position.evolve` does.
"""

from decimal import Decimal

from domain.log import Logged
from domain.position import (
    FundingSettled,
    PositionKey,
    PositionRestated,
    PositionTransferred,
    TradeBooked,
)
from domain.values import ZERO, exact
from projections.rows import Rows, Source, fetch
from projections.tables import (
    AT,
    NUMBER,
    WHOLE,
    Amounts,
    Projection,
    Row,
    contract_columns,
    contract_of,
    contract_row,
    fact,
    key,
    maybe,
    table,
)

positions_table = table(
    "positions",
    "positions",
    key("account_id"),
    key("strategy_id"),
    key("instrument_id"),
    *contract_columns(),
    maybe("cost_basis"),
    maybe("fee_policy"),
    maybe("money_places", WHOLE),
    fact("quantity", NUMBER),
    fact("cost", NUMBER),
    fact("realized", NUMBER),
    fact("rounding", NUMBER),
    fact("fees", Amounts()),
    fact("fee_cost", NUMBER),
    fact("funding", NUMBER),
    maybe("last_transact_time", AT),
    maybe("last_trade_seq", WHOLE),
    maybe("last_exec_id"),
)


def _new(position: PositionKey) -> Row:
    return {
        "account_id": position.account_id,
        "strategy_id": position.strategy_id,
        "instrument_id": position.instrument_id,
        "kind": None,
        "base": None,
        "quote": None,
        "settle": None,
        "contract_size": None,
        "cost_basis": None,
        "fee_policy": None,
        "money_places": None,
        "quantity": ZERO,
        "cost": ZERO,
        "realized": ZERO,
        "rounding": ZERO,
        "fees": {},
        "fee_cost": ZERO,
        "funding": ZERO,
        "last_transact_time": None,
        "last_trade_seq": None,
        "last_exec_id": None,
    }


def _row(rows: Rows, logged: Logged, position: PositionKey) -> Row:
    known = rows.get(positions_table, position.account_id, position.strategy_id, position.instrument_id)
    return (_new(position) if known is None else known) | {"seq": logged.seq}


def _plus(sum_: Decimal, part: Decimal) -> Decimal:
    return exact(sum_ + part) if part else sum_


def _booked(rows: Rows, logged: Logged, event: TradeBooked | PositionTransferred) -> None:
    row, effect = _row(rows, logged, event.key), event.effect
    if row["cost_basis"] is None:
        row["cost_basis"] = event.costing.cost_basis.value
        row["fee_policy"] = event.costing.fee_policy.value
        row["money_places"] = event.costing.money_places
    row |= contract_row(event.contract)
    row["quantity"] = _plus(row["quantity"], effect.quantity)
    row["cost"] = _plus(row["cost"], effect.cost)
    row["realized"] = _plus(row["realized"], effect.realized)
    row["rounding"] = _plus(row["rounding"], effect.rounding)
    row["fee_cost"] = _plus(row["fee_cost"], effect.fee_cost)
    if isinstance(event, TradeBooked):
        place = (event.transact_time, event.trade_seq, event.exec_id)
        if effect.fee:
            paid_in, fees = event.commission.currency, row["fees"]
            row["fees"] = fees | {paid_in: exact(fees.get(paid_in, ZERO) + effect.fee)}
    else:
        place = (event.transact_time, 0, event.transfer_id)
    last = (row["last_transact_time"], row["last_trade_seq"], row["last_exec_id"])
    if last[0] is None or place > last:
        row["last_transact_time"], row["last_trade_seq"], row["last_exec_id"] = place
    rows.put(positions_table, row)


def _restated(rows: Rows, logged: Logged, event: PositionRestated) -> None:
    row = _row(rows, logged, event.key)
    for item in event.items:
        for name in ("cost", "realized", "rounding", "fee_cost"):
            row[name] += getattr(item.now, name) - getattr(item.was, name)
    for name in ("cost", "realized", "rounding", "fee_cost"):
        row[name] = exact(row[name])
    rows.put(positions_table, row)


def _funded(rows: Rows, logged: Logged, event: FundingSettled) -> None:
    row = _row(rows, logged, event.key)
    row["funding"] = exact(row["funding"] + event.amount.amount)
    row["settle"] = row["settle"] or event.amount.currency
    rows.put(positions_table, row)


PROJECTION = Projection(
    "positions",
    1,
    (positions_table,),
    {TradeBooked: _booked, PositionTransferred: _booked, PositionRestated: _restated, FundingSettled: _funded},
)


def positions(
    source: Source,
    *,
    account_id: str | None = None,
    strategy_id: str | None = None,
    instrument_id: str | None = None,
    limit: int | None = None,
    after: tuple[str, str, str] | None = None,
) -> list[Row]:
    """Positions by account, strategy and instrument, with `avg_px`: the price at which the quantity is worth its cost.

    The next page is `after` the last row's (account_id, strategy_id, instrument_id).
    """
    where = {"account_id": account_id, "strategy_id": strategy_id, "instrument_id": instrument_id}
    found = fetch(source, positions_table, where=where, after=after, limit=limit)
    return [row | {"avg_px": average_price(row)} for row in found]


def average_price(row: Row) -> Decimal | None:
    """The price at which the position is worth its cost, to 18 places; None when flat."""
    contract = contract_of(row)
    return contract.average_price(row["quantity"], row["cost"]) if contract else None
