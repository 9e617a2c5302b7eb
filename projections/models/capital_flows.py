"""Capital flows: money and quantity moved in and out of accounts other than by trading, by half hour of occurrence.

`external` are flows that are not gains (deposits, withdrawals, transfers, opening balances, adjustments). `income` is
interest, rebates, rewards and other income, `fees` (above zero) are charges apart from trades, fees of transfers and
conversions included. `converted` is what was bought less what was sold in conversions of one currency to another,
`borrowed` what was borrowed less what was repaid: it is in the balance, and no capital. `moved` is quantity of an
instrument transferred from or to outside the account at a stated cost, other than as income. Signed; each in its own
currency. What is staked stays where it is.
"""

from datetime import datetime
from decimal import Decimal
from typing import TypedDict, cast

import sqlalchemy as sa

from domain.account import EntryBooked, EntryKind, FeeCharged, TransferReturned, TransferSettled
from domain.ledger import Logged
from domain.position import PositionTransferred
from domain.values import ZERO, exact
from projections.calendar import slot_of
from projections.storage.rows import Source, fetch
from projections.storage.tables import (
    NUMBER,
    POSITION,
    WHOLE,
    ContractColumns,
    PositionColumns,
    Projection,
    Row,
    Rows,
    contract_columns,
    contract_row,
    fact,
    key,
    place_of,
    table,
)

CASH = "CASH"  # the kind of rows of cash among those of positions
FEE_PLACE = 2  # of a conversion's entries
SUMS = ("external", "income", "fees", "converted", "borrowed")
_SUM_OF = {EntryKind.CONVERSION: "converted", EntryKind.LOAN: "borrowed"}

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
    *map(key, POSITION),
    key("slot", WHOLE),
    *contract_columns(),
    fact("quantity", NUMBER),
    fact("cost", NUMBER),
)


class CashFlowRow(TypedDict):
    """Cash flows of an account in one half hour (`slot`, counted from 1970), in `currency`; see `cash_of`."""

    account_id: str
    currency: str
    slot: int
    external: Decimal
    income: Decimal
    fees: Decimal
    converted: Decimal
    borrowed: Decimal
    seq: int


class QuantityFlowRow(PositionColumns, ContractColumns):
    """Quantity moved into a position in one half hour, signed, in base units or contracts; `cost` in `settle`."""

    slot: int
    quantity: Decimal
    cost: Decimal
    seq: int


def _add(rows: Rows, logged: Logged, place: tuple[str, str, datetime], added: tuple[str, Decimal]) -> None:
    """Add an amount to one of SUMS at a place: account, currency and time."""
    (account_id, currency, at), (name, amount) = place, added
    slot = slot_of(at)
    known = rows.get(cash, account_id, currency, slot)
    row: Row = known or {"account_id": account_id, "currency": currency, "slot": slot, **dict.fromkeys(SUMS, ZERO)}
    rows.put(cash, row | {name: exact(row[name] + amount), "seq": logged.seq})


def _transferred(rows: Rows, logged: Logged, event: TransferSettled | TransferReturned) -> None:
    """Add a transfer: its first entry is the amount, a second one the fee."""
    for number, entry in enumerate(event.entries):
        signed, currency = entry.indicator.sign * entry.amount.amount, entry.amount.currency
        place = (event.account_id, currency, event.transact_time)
        _add(rows, logged, place, ("fees", -signed) if number else ("external", signed))


def _charged(rows: Rows, logged: Logged, event: FeeCharged) -> None:
    for entry in event.entries:
        place = (event.account_id, entry.amount.currency, event.transact_time)
        _add(rows, logged, place, ("fees", -entry.indicator.sign * entry.amount.amount))


def _booked(rows: Rows, logged: Logged, event: EntryBooked) -> None:
    """Add an entry; of a conversion the third is its fee."""
    if event.kind is EntryKind.STAKE:
        return
    name = _SUM_OF.get(event.kind) or ("income" if event.kind.is_income else "external")
    for number, entry in enumerate(event.entries):
        place = (event.account_id, entry.amount.currency, event.transact_time)
        signed = entry.indicator.sign * entry.amount.amount
        _add(rows, logged, place, ("fees", -signed) if number == FEE_PLACE else (name, signed))


def _moved(rows: Rows, logged: Logged, event: PositionTransferred) -> None:
    other = event.counterparty
    if event.reason.is_income or (other is not None and other.account_id == event.key.account_id):
        return
    place = (*place_of(event.key), slot_of(event.transact_time))
    names = (*POSITION, "slot")
    row: Row = rows.get(moved, *place) or dict(zip(names, place, strict=True)) | {"quantity": ZERO, "cost": ZERO}
    signed = event.side.sign * event.quantity
    sums = {"quantity": exact(row["quantity"] + signed), "cost": exact(row["cost"] + event.cost)}
    rows.put(moved, row | contract_row(event.contract) | sums | {"seq": logged.seq})


PROJECTION = Projection(
    "capital",
    2,
    (cash, moved),
    {
        TransferSettled: _transferred,
        TransferReturned: _transferred,
        FeeCharged: _charged,
        EntryBooked: _booked,
        PositionTransferred: _moved,
    },
)


def cash_of(source: Source, account_id: str | None = None, first: int = 0) -> list[CashFlowRow]:
    """Return the cash flows of one account or of all, by account, currency and half hour (`slot`).

    All flows before the half hour `first` are summed in one row, of the half hour before it.
    """
    if not isinstance(source, sa.Connection):
        return cast(list[CashFlowRow], fetch(source, cash, where={"account_id": account_id}))
    owned = [] if account_id is None else [cash.c.account_id == account_id]
    slot = sa.func.greatest(cash.c.slot, first - 1).label("slot")
    place = (cash.c.account_id, cash.c.currency, slot)
    query = sa.select(*place, *(sa.func.sum(cash.c[name]).label(name) for name in SUMS))
    query = query.add_columns(sa.func.max(cash.c.seq).label("seq")).where(*owned)
    grouped = query.group_by(*(sa.literal_column(str(number)) for number in range(1, len(place) + 1)))
    return cast(list[CashFlowRow], [dict(row) for row in source.execute(grouped).mappings()])


def moved_of(source: Source, account_id: str | None = None) -> list[QuantityFlowRow]:
    """Return the quantity moved in and out of one account's or all positions, by position and half hour (`slot`)."""
    return cast(list[QuantityFlowRow], fetch(source, moved, where={"account_id": account_id}))
