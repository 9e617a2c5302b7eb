"""Executions: every trade and transfer booked, and its effect on its position.

`effect_*`, `realized`, `rounding`, `fee` and `fee_cost` are the entry's effect in order of occurrence as known now: a
restatement replaces them and counts in `restatements`. One by half hour leaves the table as it is, and
`restatements_table` has the place it begins at: the rows from there on are costed from the position's entries when they
are read. `is_late` marks an entry that arrived after a later one. A trade canceled by the venue stays, with no effect
and the `reversal`'s reason; a corrected one is shown as corrected. `reason` is a trade's TradeKind, a transfer's
TransferReason. A transfer has a stated `cost` and no price, order or commission; `lots` are those transferred with it.
`lot_ids` are those a disposal was assigned. Each row has the contract and the conventions it was booked by, so that the
same trades can be costed by others
(`projections.models.lots.recosted`).
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple, cast

import msgspec
import sqlalchemy as sa

from domain.account import CostBasis, Costing, FeePolicy
from domain.instrument import Contract
from domain.ledger import Logged
from domain.position import (
    Effect,
    Entry,
    Lot,
    LotsAssigned,
    PositionKey,
    PositionRestated,
    PositionTransferred,
    TradeBooked,
    TradeReversed,
    costing,
    expensed,
)
from domain.values import ZERO, Money, Occurrence, PositionSide, Side
from projections.storage.copy_out import CopyOut
from projections.storage.rows import Source, fetch
from projections.storage.tables import (
    AT,
    ITEMS,
    NUMBER,
    POSITION,
    WHOLE,
    Amounts,
    ContractColumns,
    PositionColumns,
    PositionId,
    Projection,
    Row,
    Rows,
    contract_columns,
    contract_of,
    contract_row,
    fact,
    json_of,
    key,
    maybe,
    position_filter,
    position_of,
    position_row,
    printable,
    table,
)

PAGE_ROWS_MAX = 1000
TRADE, TRANSFER = "TRADE", "TRANSFER"
BOTH = PositionSide.BOTH.value
SINCE = ("since_at", "since_trade_seq", "since_exec_id", "since_nanos", "since_tie")  # an Occurrence

Position = PositionId

executions = table(
    "executions",
    "executions",
    *map(key, POSITION),
    key("exec_id"),
    key("cl_ord_id"),
    key("entry"),
    fact("reason"),
    fact("trade_seq", WHOLE),
    fact("nanos", WHOLE),
    fact("side"),
    fact("last_qty", NUMBER),
    maybe("last_px", NUMBER),
    maybe("cost", NUMBER),
    maybe("commission", NUMBER),
    maybe("commission_currency"),
    maybe("commissions", ITEMS),
    maybe("liquidity"),
    maybe("counterparty_account_id"),
    maybe("counterparty_strategy_id"),
    maybe("lots", ITEMS),
    maybe("lot_ids", ITEMS),
    fact("transact_time", AT),
    fact("recorded_at", AT),
    *contract_columns(),
    fact("cost_basis"),
    fact("fee_policy"),
    fact("money_places", WHOLE),
    fact("effect_quantity", NUMBER),
    fact("effect_cost", NUMBER),
    fact("realized", NUMBER),
    fact("rounding", NUMBER),
    fact("fee", NUMBER),
    fact("fees", Amounts()),
    fact("fee_cost", NUMBER),
    fact("is_late", sa.Boolean()),
    fact("is_at_cost", sa.Boolean()),
    fact("restatements", WHOLE),
    maybe("reversal"),
    fact("booked_seq", WHOLE),
    indexes=(
        ("booked_seq",),
        ("account_id", "booked_seq"),
        (*POSITION, "transact_time"),
        ("account_id", "cl_ord_id"),
    ),
    created_by="booked_seq",
)
restatements_table = table(
    "executions",
    "restatements",
    *map(key, POSITION),
    key("restated_seq", WHOLE),
    fact("since_at", AT),
    fact("since_trade_seq", WHOLE),
    fact("since_exec_id"),
    fact("since_nanos", WHOLE),
    fact("since_tie"),
    created_by="restated_seq",
    is_only_added=True,
)
COPIED = CopyOut(executions, "booked_seq DESC")


class TradeRow(PositionColumns, ContractColumns):
    """A trade or transfer: `last_qty` (unsigned) and `effect_quantity` (signed) in base units or contracts, `last_px`
    in quote units, all other amounts in `settle`. `commissions` are all fees as charged, positive paid and negative a
    rebate, one a currency; `commission` is the first of them and `fee` what of it is expensed, both in
    `commission_currency`; `fees` is what of all is expensed, by currency.
    """

    exec_id: str
    cl_ord_id: str
    entry: str
    reason: str
    trade_seq: int
    nanos: int
    side: str
    last_qty: Decimal
    last_px: Decimal | None
    cost: Decimal | None
    commission: Decimal | None
    commission_currency: str | None
    commissions: list[Any] | None
    liquidity: str | None
    counterparty_account_id: str | None
    counterparty_strategy_id: str | None
    lots: list[Any] | None
    lot_ids: list[Any] | None
    transact_time: datetime
    recorded_at: datetime
    cost_basis: str
    fee_policy: str
    money_places: int
    effect_quantity: Decimal
    effect_cost: Decimal
    realized: Decimal
    rounding: Decimal
    fee: Decimal
    fees: dict[str, Decimal]
    fee_cost: Decimal
    is_late: bool
    is_at_cost: bool
    restatements: int
    reversal: str | None
    booked_seq: int
    seq: int


class RestatementRow(PositionColumns):
    """A restatement by half hour: it changed effects of entries from a place in order of occurrence on."""

    restated_seq: int
    since_at: datetime
    since_trade_seq: int
    since_exec_id: str
    since_nanos: int
    since_tie: str
    seq: int


def _effect(effect: Effect, commission_currency: str | None) -> Row:
    fees = expensed(effect, Money(ZERO, commission_currency or ""))
    return {
        "effect_quantity": effect.quantity,
        "effect_cost": effect.cost,
        "realized": effect.realized,
        "rounding": effect.rounding,
        "fee": effect.fee,
        "fees": {fee.currency: fee.amount for fee in fees},
        "fee_cost": effect.fee_cost,
    }


def _conventions(position: PositionKey, contract: Contract, costing: Costing) -> Row:
    return {
        **position_row(position),
        "cost_basis": costing.cost_basis.value,
        "fee_policy": costing.fee_policy.value,
        "money_places": costing.money_places,
        **contract_row(contract),
    }


def _booking(logged: Logged, event: TradeBooked | PositionTransferred) -> Row:
    return {
        **_conventions(event.key, event.contract, event.costing),
        **_effect(event.effect, event.commission.currency if isinstance(event, TradeBooked) else None),
        "side": event.side.value,
        "nanos": event.nanos if isinstance(event, TradeBooked) else 0,
        "transact_time": event.transact_time,
        "recorded_at": logged.recorded.recorded_at,
        "is_late": event.is_late,
        "is_at_cost": isinstance(event, PositionTransferred) and event.is_at_cost,
        "restatements": 0,
        "reversal": None,
        "lot_ids": None,
        "booked_seq": logged.seq,
        "seq": logged.seq,
    }


def _traded(rows: Rows, logged: Logged, event: TradeBooked) -> None:
    row = _booking(logged, event)
    row |= {
        "exec_id": event.exec_id,
        "cl_ord_id": event.cl_ord_id,
        "entry": TRADE,
        "reason": event.kind.value,
        "trade_seq": event.trade_seq,
        "last_qty": event.last_qty,
        "last_px": event.last_px,
        "cost": None,
        "commission": event.commission.amount,
        "commission_currency": event.commission.currency,
        "commissions": [{"amount": f"{paid.amount:f}", "currency": paid.currency} for paid in event.commissions],
        "liquidity": event.liquidity.value,
        "counterparty_account_id": None,
        "counterparty_strategy_id": None,
        "lots": None,
    }
    rows.put(executions, row)


def _transferred(rows: Rows, logged: Logged, event: PositionTransferred) -> None:
    row = _booking(logged, event)
    row |= {
        "exec_id": event.transfer_id,
        "cl_ord_id": "",
        "entry": TRANSFER,
        "reason": event.reason.value,
        "trade_seq": 0,
        "last_qty": event.quantity,
        "last_px": None,
        "cost": event.cost,
        "commission": None,
        "commission_currency": None,
        "commissions": None,
        "liquidity": None,
        "counterparty_account_id": event.counterparty.account_id if event.counterparty else None,
        "counterparty_strategy_id": event.counterparty.strategy_id if event.counterparty else None,
        "lots": json_of(event.lots) or None,
    }
    rows.put(executions, row)


def _of(rows: Rows, position: PositionKey, *exec_ids: str) -> list[Row]:
    """Return the executions of a position with these ids that are not reversed."""
    found = rows.find(
        executions,
        **position_row(position),
        exec_id=exec_ids,
    )
    return [row for row in found if row["reversal"] is None]


def _reversed(rows: Rows, logged: Logged, event: TradeReversed) -> None:
    place = (event.transact_time, event.trade_seq, TRADE)
    for row in _of(rows, event.key, event.exec_id):
        if (row["transact_time"], row["trade_seq"], row["entry"]) == place:
            reversal = {"reversal": printable(event.reason), "seq": logged.seq}
            rows.put(executions, row | _effect(Effect(ZERO, ZERO), None) | reversal)


def _assigned(rows: Rows, logged: Logged, event: LotsAssigned) -> None:
    for row in _of(rows, event.key, event.exec_id):
        rows.put(executions, row | {"lot_ids": list(event.lot_ids), "seq": logged.seq})


def _restated(rows: Rows, logged: Logged, event: PositionRestated) -> None:
    if event.since is not None:
        since = dict(zip(SINCE, event.since, strict=True))
        rows.put(restatements_table, position_row(event.key) | since | {"restated_seq": logged.seq, "seq": logged.seq})
        return
    now = {(item.exec_id, item.transact_time): item.now for item in event.items}
    for row in _of(rows, event.key, *(item.exec_id for item in event.items)):
        if (effect := now.get((row["exec_id"], row["transact_time"]))) is not None:
            restatements = row["restatements"] + 1
            rows.put(
                executions,
                row | _effect(effect, row["commission_currency"]) | {"restatements": restatements, "seq": logged.seq},
            )


PROJECTION = Projection(
    "executions",
    8,
    (executions, restatements_table),
    {
        TradeBooked: _traded,
        TradeReversed: _reversed,
        PositionTransferred: _transferred,
        LotsAssigned: _assigned,
        PositionRestated: _restated,
    },
)


def trades(
    source: Source,
    *,
    account_id: str | None = None,
    strategy_id: str | None = None,
    instrument_id: str | None = None,
    position_side: str | None = None,
    cl_ord_id: str | None = None,
    occurred_by: datetime | None = None,
    limit: int | None = PAGE_ROWS_MAX,
    after: int | None = None,
) -> list[TradeRow]:
    """Return trades and transfers, all or those that had `occurred_by` a moment, the newest booking first.

    The next page is `after` the last row's `booked_seq`.
    """
    where = position_filter(account_id, strategy_id, instrument_id, position_side) | {"cl_ord_id": cl_ord_id}
    found = fetch(
        source, executions, where=where, at_most={"transact_time": occurred_by}, by=("booked_seq",),
        after=None if after is None else (after,), limit=limit, is_descending=True,
    )  # fmt: skip
    return _as_restated(source, cast(list[TradeRow], found))


def history(
    source: Source, *, account_id: str, strategy_id: str, instrument_id: str, position_side: str = BOTH,
    occurred_by: datetime | None = None,
) -> list[TradeRow]:  # fmt: skip
    """Return the standing trades and transfers of one position, all or those that had `occurred_by` then, by time."""
    place = (account_id, strategy_id, instrument_id, position_side)
    return _as_restated(source, _standing(source, place, occurred_by))


def _standing(source: Source, position: Position, occurred_by: datetime | None = None) -> list[TradeRow]:
    """Return the rows of a position's standing entries, in order of occurrence, as the table has them."""
    where = dict(zip(POSITION, position, strict=True))
    found = fetch(
        source, executions, where=where, at_most={"transact_time": occurred_by}, by=("transact_time", "exec_id")
    )
    standing = [row for row in cast(list[TradeRow], found) if row["reversal"] is None]
    return sorted(standing, key=lambda row: (occurrence_of(row), row["entry"]))


class Reach(NamedTuple):
    """The seq of a restatement by half hour, and the place in order of occurrence from which on it changed effects."""

    seq: int
    since: Occurrence


def restatements(
    source: Source, *, account_id: str | None = None, strategy_id: str | None = None, instrument_id: str | None = None,
    position_side: str | None = None,
) -> dict[Position, list[Reach]]:  # fmt: skip
    """Return the restatements by half hour, by position and in log order."""
    where = position_filter(account_id, strategy_id, instrument_id, position_side)
    found: dict[Position, list[Reach]] = {}
    for row in cast(list[RestatementRow], fetch(source, restatements_table, where=where, by=("restated_seq",))):
        since = Occurrence(*(row[name] for name in SINCE))  # type: ignore[literal-required]
        found.setdefault(position_of(row), []).append(Reach(row["restated_seq"], since))
    return found


def occurrence_of(row: TradeRow) -> Occurrence:
    """Return an entry's occurrence."""
    tie = f"{row['side']} {row['cl_ord_id']}" if row["last_px"] is not None else ""
    return Occurrence(row["transact_time"], row["trade_seq"], row["exec_id"], nanos=row["nanos"], tie=tie)


def costing_entry_of(trade: TradeRow) -> Entry:
    """Return the costing entry of a row."""
    contract = contract_of(trade)
    assert contract is not None, "a booked trade has a contract"
    amount, currency = trade["commission"], trade["commission_currency"]
    return Entry(
        occurrence=occurrence_of(trade),
        contract=contract,
        side=Side(trade["side"]),
        quantity=trade["last_qty"],
        price=trade["last_px"],
        commission=None if amount is None or currency is None else Money(amount, currency),
        cost=trade["cost"],
        lots=msgspec.convert(trade["lots"] or (), tuple[Lot, ...]),
        lot_ids=tuple(trade["lot_ids"] or ()),
        further_commissions=msgspec.convert((trade["commissions"] or ())[1:], tuple[Money, ...]),
        is_at_cost=trade["is_at_cost"] or trade["counterparty_account_id"] is not None,
    )


def conventions_of(row: TradeRow) -> Costing:
    """Return the conventions a row was booked by."""
    return Costing(CostBasis(row["cost_basis"]), FeePolicy(row["fee_policy"]), row["money_places"])


def effects(source: Source, position: Position, occurred_by: datetime | None = None) -> list[tuple[TradeRow, Effect]]:
    """Return a position's standing entries in order of occurrence, with their effects in that order."""
    rows = _standing(source, position, occurred_by)
    if not rows:
        return []
    in_order = sorted(((costing_entry_of(row), row) for row in rows), key=lambda pair: pair[0].occurrence)
    found, _ = costing.replay([entry for entry, _ in in_order], conventions_of(rows[0]))
    return [(row, effect) for (_, row), effect in zip(in_order, found, strict=True)]


def _as_restated(source: Source, rows: Sequence[TradeRow]) -> list[TradeRow]:
    """Return rows with the effects that restatements by half hour gave them."""
    if not rows:
        return []
    several = zip(POSITION, zip(*map(position_of, rows), strict=True), strict=True)
    reaches = restatements(source, **{name: values[0] for name, values in several if len(set(values)) == 1})
    if not reaches:
        return list(rows)
    latest: dict[Position, datetime] = {}
    for row in rows:
        position = position_of(row)
        if row["reversal"] is None and _reached(row, reaches.get(position, ())):
            latest[position] = max(latest.get(position, row["transact_time"]), row["transact_time"])
    now = {
        (position, occurrence_of(row)): effect
        for position, at in latest.items()
        for row, effect in effects(source, position, at)
    }
    shown = []
    for row in rows:
        effect = now.get((position_of(row), occurrence_of(row))) if row["reversal"] is None else None
        by = [reach.seq for reach in _reached(row, reaches.get(position_of(row), ()))] if effect else []
        if effect is None or not by:
            shown.append(row)
            continue
        changed = {"restatements": row["restatements"] + len(by), "seq": max(row["seq"], *by)}
        shown.append(cast(TradeRow, row | _effect(effect, row["commission_currency"]) | changed))
    return shown


def _reached(row: TradeRow, reaches: Iterable[Reach]) -> list[Reach]:
    """Return the restatements recorded after a row's booking that reach it."""
    return [reach for reach in reaches if reach.seq > row["booked_seq"] and reach.since <= occurrence_of(row)]
