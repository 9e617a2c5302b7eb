"""Positions: what is held, what it cost, what it has realized, paid and received. One row a position.

Everything a position is, is in one row, so that quantity, cost and PnL in an answer are of one moment; `pnl` and
`exposure` value these rows at given marks. Quantities are signed; sums are in `settle`; `fees` are by currency. A
restatement moves the sums by what it changed, as `domain.position.evolve` does; a trade that is taken back takes its
effect along. `income` and `transferred` are what came in without a trade, at its cost: earned, or brought. `last_*` is
the latest occurrence that was ever booked. `fundings` are the payments that `funding` sums.
"""

from decimal import Decimal

from domain.log import Logged
from domain.position import (
    FundingSettled,
    PositionKey,
    PositionRestated,
    PositionTransferred,
    TradeBooked,
    TradeReversed,
)
from domain.values import ZERO, Money, exact
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

SUMS = ("quantity", "cost", "realized", "rounding", "fee_cost")  # what an effect adds to

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
    fact("income", NUMBER),
    fact("transferred", NUMBER),
    maybe("last_transact_time", AT),
    maybe("last_trade_seq", WHOLE),
    maybe("last_exec_id"),
)
fundings = table(
    "positions",
    "fundings",
    key("account_id"),
    key("strategy_id"),
    key("instrument_id"),
    key("funding_id"),
    fact("amount", NUMBER),
    fact("currency"),
    fact("transact_time", AT),
    fact("recorded_at", AT),
    fact("booked_seq", WHOLE),
    indexes=(("booked_seq",),),
    born="booked_seq",
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
        "income": ZERO,
        "transferred": ZERO,
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
    for name in SUMS:
        row[name] = _plus(row[name], getattr(effect, name))
    if isinstance(event, TradeBooked):
        place = (event.transact_time, event.trade_seq, event.exec_id)
        if effect.fee:
            row["fees"] = _with_fee(row["fees"], Money(effect.fee, event.commission.currency))
    else:
        place = (event.transact_time, 0, event.transfer_id)
        came_as = "income" if event.reason.is_income else "transferred"
        row[came_as] = _plus(row[came_as], event.cost)
    last = (row["last_transact_time"], row["last_trade_seq"], row["last_exec_id"])
    if last[0] is None or place > last:
        row["last_transact_time"], row["last_trade_seq"], row["last_exec_id"] = place
    rows.put(positions_table, row)


def _with_fee(fees: dict[str, Decimal], fee: Money) -> dict[str, Decimal]:
    return fees | {fee.currency: exact(fees.get(fee.currency, ZERO) + fee.amount)}


def _reversed(rows: Rows, logged: Logged, event: TradeReversed) -> None:
    row, effect = _row(rows, logged, event.key), event.effect
    for name in SUMS:
        row[name] = _plus(row[name], -getattr(effect, name))
    if effect.fee:
        row["fees"] = _with_fee(row["fees"], Money(-effect.fee, event.commission.currency))
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
    payment = {
        "account_id": event.key.account_id,
        "strategy_id": event.key.strategy_id,
        "instrument_id": event.key.instrument_id,
        "funding_id": event.funding_id,
        "amount": event.amount.amount,
        "currency": event.amount.currency,
        "transact_time": event.transact_time,
        "recorded_at": logged.recorded.recorded_at,
        "booked_seq": logged.seq,
        "seq": logged.seq,
    }
    rows.put(fundings, payment)


PROJECTION = Projection(
    "positions",
    3,
    (positions_table, fundings),
    {
        TradeBooked: _booked,
        TradeReversed: _reversed,
        PositionTransferred: _booked,
        PositionRestated: _restated,
        FundingSettled: _funded,
    },
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
