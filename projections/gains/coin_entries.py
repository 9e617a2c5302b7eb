"""Coin entries: what moved money and coins in accounts other than by trades, one row each, with all its movements.

`entries` are currency and signed amount, in the order of the event; a return has those that reverse its transfer.
`accounts` has the conventions an account keeps cost by. Events that turn one coin into another (a redenomination, a
renamed coin) belong here as rows of the entry REDENOMINATION; `projections.gains.facts` reads them.
"""

from datetime import datetime
from typing import TypedDict, cast

from domain.account import (
    AccountOpened,
    CashEntry,
    CostBasis,
    EntryBooked,
    FeeCharged,
    FeePolicy,
    TransferReturned,
    TransferSettled,
)
from domain.ledger import Logged
from domain.position import FundingSettled
from projections.storage.rows import Source, fetch
from projections.storage.tables import AT, ITEMS, WHOLE, Projection, Row, Rows, fact, key, position_row, table

TRANSFER, RETURN, FEE, ENTRY, FUNDING = "TRANSFER", "RETURN", "FEE", "ENTRY", "FUNDING"
REDENOMINATION = "REDENOMINATION"
NO_POSITION = {"strategy_id": "", "instrument_id": "", "position_side": ""}

entries_table = table(
    "coins",
    "entries",
    key("account_id"),
    key("entry"),
    key("reference"),
    key("strategy_id"),
    key("instrument_id"),
    key("position_side"),
    fact("kind"),
    fact("entries", ITEMS),
    fact("counter_account_id"),
    fact("counterparty"),
    fact("transact_time", AT),
    fact("nanos", WHOLE),
    indexes=(("entry", "account_id"), ("transact_time",)),
    is_only_added=True,
)
accounts_table = table(
    "coins", "accounts", key("account_id"), fact("base_currency"), fact("cost_basis"), fact("fee_policy")
)


class CoinEntryRow(TypedDict):
    """What moved coins or money: `entries` are pairs of currency and signed amount, as text."""

    account_id: str
    entry: str
    reference: str
    strategy_id: str
    instrument_id: str
    position_side: str
    kind: str
    entries: list[list[str]]
    counter_account_id: str
    counterparty: str
    transact_time: datetime
    nanos: int
    seq: int


class ConventionsRow(TypedDict):
    """How an account keeps cost, and the currency it is kept in."""

    account_id: str
    base_currency: str
    cost_basis: CostBasis
    fee_policy: FeePolicy


def _signed(entries: tuple[CashEntry, ...]) -> list[list[str]]:
    return [[each.amount.currency, f"{each.indicator.sign * each.amount.amount:f}"] for each in entries]


def _row(logged: Logged, account_id: str, entry: str, reference: str, at: datetime) -> Row:
    row: Row = {"account_id": account_id, "entry": entry, "reference": reference, "kind": entry, "transact_time": at}
    return row | NO_POSITION | {"counter_account_id": "", "counterparty": "", "nanos": 0, "seq": logged.seq}


def _settled(rows: Rows, logged: Logged, event: TransferSettled | TransferReturned) -> None:
    entry, leg = TRANSFER if isinstance(event, TransferSettled) else RETURN, event.leg
    row = _row(logged, event.account_id, entry, leg.transfer_id, at=event.transact_time)
    row |= {"counter_account_id": leg.counter_account_id, "counterparty": leg.counterparty}
    rows.put(entries_table, row | {"entries": _signed(event.entries)})


def _charged(rows: Rows, logged: Logged, event: FeeCharged) -> None:
    row = _row(logged, event.account_id, FEE, event.fee_id, at=event.transact_time)
    rows.put(entries_table, row | {"entries": _signed(event.entries)})


def _booked(rows: Rows, logged: Logged, event: EntryBooked) -> None:
    row = _row(logged, event.account_id, ENTRY, event.entry_id, at=event.transact_time)
    rows.put(entries_table, row | {"kind": event.kind.value, "entries": _signed(event.entries)})


def _funded(rows: Rows, logged: Logged, event: FundingSettled) -> None:
    row = _row(logged, event.key.account_id, FUNDING, event.funding_id, at=event.transact_time)
    row |= position_row(event.key) | {"nanos": event.nanos}
    rows.put(entries_table, row | {"entries": [[event.amount.currency, f"{event.amount.amount:f}"]]})


def _opened(rows: Rows, logged: Logged, event: AccountOpened) -> None:
    row = {"account_id": event.account_id, "base_currency": event.base_currency, "seq": logged.seq}
    kept = {"cost_basis": event.costing.cost_basis.value, "fee_policy": event.costing.fee_policy.value}
    rows.put(accounts_table, row | kept)


PROJECTION = Projection(
    "coins",
    1,
    (entries_table, accounts_table),
    {
        AccountOpened: _opened,
        TransferSettled: _settled,
        TransferReturned: _settled,
        FeeCharged: _charged,
        EntryBooked: _booked,
        FundingSettled: _funded,
    },
)


def conventions(source: Source) -> dict[str, ConventionsRow]:
    """Return the conventions of every account."""
    return {
        row["account_id"]: {
            "account_id": row["account_id"],
            "base_currency": row["base_currency"],
            "cost_basis": CostBasis(row["cost_basis"]),
            "fee_policy": FeePolicy(row["fee_policy"]),
        }
        for row in fetch(source, accounts_table)
    }


def transfers(source: Source) -> list[CoinEntryRow]:
    """Return the transfers between accounts of ours, and all returns."""
    returned = fetch(source, entries_table, where={"entry": RETURN})
    return cast(list[CoinEntryRow], [*fetch(source, entries_table, where={"entry": TRANSFER}), *returned])
