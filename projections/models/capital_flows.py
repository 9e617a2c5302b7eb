"""Capital: what came into accounts and went out of them other than by trading, by the half hour in which it did.

`external` is what was brought in or taken out (deposits, withdrawals, transfers, opening balances, adjustments): no
gain. `income` is interest and rebates, `fees` (above zero) what was charged apart from trades, transfer fees included.
`moved` is quantity of an instrument that came or went at a stated cost, other than as income, from or to outside the
account. Signed; in their own currency.
"""

from datetime import datetime
from decimal import Decimal

import sqlalchemy as sa

from domain.account import EntryBooked, EntryKind, FeeCharged, TransferReturned, TransferSettled
from domain.ledger import Logged
from domain.position import PositionTransferred
from domain.values import ZERO, exact
from projections.calendar import slot_of
from projections.storage.rows import Source, fetch
from projections.storage.tables import (
    NUMBER,
    WHOLE,
    Projection,
    Row,
    Rows,
    contract_columns,
    contract_row,
    fact,
    key,
    table,
)

SUMS = ("external", "income", "fees")
_EARNED = (EntryKind.INTEREST, EntryKind.REBATE)

cash = table(
    "capital",
    "cash",
    key("account_id"),
    key("currency"),
    key("slot", WHOLE),
    *(fact(name, NUMBER) for name in SUMS),
)
moved = table(
    "capital",
    "moved",
    key("account_id"),
    key("strategy_id"),
    key("instrument_id"),
    key("slot", WHOLE),
    *contract_columns(),
    fact("quantity", NUMBER),
    fact("cost", NUMBER),
)


def _add(rows: Rows, logged: Logged, place: tuple[str, str, datetime], name: str, amount: Decimal) -> None:
    account_id, currency, at = place
    slot = slot_of(at)
    known = rows.get(cash, account_id, currency, slot)
    row: Row = known or {"account_id": account_id, "currency": currency, "slot": slot, **dict.fromkeys(SUMS, ZERO)}
    rows.put(cash, row | {name: exact(row[name] + amount), "seq": logged.seq})


def _transferred(rows: Rows, logged: Logged, event: TransferSettled | TransferReturned) -> None:
    """The first entry is the amount, a second one its fee."""
    for number, entry in enumerate(event.entries):
        signed, currency = entry.indicator.sign * entry.amount.amount, entry.amount.currency
        place = (event.account_id, currency, event.transact_time)
        _add(rows, logged, place, "fees" if number else "external", -signed if number else signed)


def _charged(rows: Rows, logged: Logged, event: FeeCharged) -> None:
    for entry in event.entries:
        place = (event.account_id, entry.amount.currency, event.transact_time)
        _add(rows, logged, place, "fees", -entry.indicator.sign * entry.amount.amount)


def _booked(rows: Rows, logged: Logged, event: EntryBooked) -> None:
    for entry in event.entries:
        place = (event.account_id, entry.amount.currency, event.transact_time)
        name = "income" if event.kind in _EARNED else "external"
        _add(rows, logged, place, name, entry.indicator.sign * entry.amount.amount)


def _moved(rows: Rows, logged: Logged, event: PositionTransferred) -> None:
    other = event.counterparty
    if event.reason.is_income or (other is not None and other.account_id == event.key.account_id):
        return
    slot, position = slot_of(event.transact_time), event.key
    place = (position.account_id, position.strategy_id, position.instrument_id, slot)
    names = ("account_id", "strategy_id", "instrument_id", "slot")
    row: Row = rows.get(moved, *place) or dict(zip(names, place, strict=True)) | {"quantity": ZERO, "cost": ZERO}
    signed = event.side.sign * event.quantity
    sums = {"quantity": exact(row["quantity"] + signed), "cost": exact(row["cost"] + event.cost)}
    rows.put(moved, row | contract_row(event.contract) | sums | {"seq": logged.seq})


PROJECTION = Projection(
    "capital",
    1,
    (cash, moved),
    {
        TransferSettled: _transferred,
        TransferReturned: _transferred,
        FeeCharged: _charged,
        EntryBooked: _booked,
        PositionTransferred: _moved,
    },
)


def cash_of(source: Source, account_id: str | None = None, first: int = 0) -> list[Row]:
    """What moved the money of one account or of all, by account, currency and half hour (`slot`).

    All that came before the half hour `first` is told as one row, of the half hour before it.
    """
    if not isinstance(source, sa.Connection):
        return fetch(source, cash, where={"account_id": account_id})
    owned = [] if account_id is None else [cash.c.account_id == account_id]
    slot = sa.func.greatest(cash.c.slot, first - 1).label("slot")
    place = (cash.c.account_id, cash.c.currency, slot)
    query = sa.select(*place, *(sa.func.sum(cash.c[name]).label(name) for name in SUMS)).where(*owned)
    grouped = query.group_by(*(sa.literal_column(str(number)) for number in range(1, len(place) + 1)))
    return [dict(row) for row in source.execute(grouped).mappings()]


def moved_of(source: Source, account_id: str | None = None) -> list[Row]:
    """What was moved in and out of the positions of one account or of all, by position and half hour (`slot`)."""
    return fetch(source, moved, where={"account_id": account_id})
