"""Reference data of accounts and instruments for valuation and conversion.

An account's base currency, and the instruments it converts by; every instrument's contract as last listed or amended.
Only listed instruments are pairs.
"""

from collections.abc import Iterable

from domain.account import AccountOpened
from domain.instrument import Contract, InstrumentAmended, InstrumentListed, Kind
from domain.ledger import Logged
from domain.risk import ConversionSet
from projections.storage.rows import Source, fetch
from projections.storage.tables import (
    AT,
    NUMBER,
    Projection,
    Rows,
    contract_columns,
    contract_of,
    contract_row,
    fact,
    key,
    maybe,
    table,
)

accounts_table = table("references", "accounts", key("account_id"), fact("base_currency"), fact("opened_at", AT))
instruments_table = table(
    "references",
    "instruments",
    key("instrument_id"),
    *contract_columns(),
    maybe("expiry", AT),
    fact("lot_size", NUMBER),
)
conversions_table = table("references", "conversions", key("account_id"), key("instrument_id"), *contract_columns())


def _opened(rows: Rows, logged: Logged, event: AccountOpened) -> None:
    row = {"account_id": event.account_id, "base_currency": event.base_currency, "opened_at": event.transact_time}
    rows.put(accounts_table, row | {"seq": logged.seq})


def _listed(rows: Rows, logged: Logged, event: InstrumentListed | InstrumentAmended) -> None:
    row = {"instrument_id": event.instrument_id, "expiry": event.contract.expiry, "lot_size": event.lot_size}
    rows.put(instruments_table, row | contract_row(event.contract) | {"seq": logged.seq})


def _converted(rows: Rows, logged: Logged, event: ConversionSet) -> None:
    if event.contract is None:
        rows.delete(conversions_table, event.account_id, event.instrument_id)
        return
    row = {"account_id": event.account_id, "instrument_id": event.instrument_id, "seq": logged.seq}
    rows.put(conversions_table, row | contract_row(event.contract))


PROJECTION = Projection(
    "references",
    1,
    (accounts_table, instruments_table, conversions_table),
    {
        AccountOpened: _opened,
        InstrumentListed: _listed,
        InstrumentAmended: _listed,
        ConversionSet: _converted,
    },
)


def base_currencies(source: Source) -> dict[str, str]:
    """Return every account's base currency."""
    return {row["account_id"]: row["base_currency"] for row in fetch(source, accounts_table)}


def pairs(source: Source, account_ids: Iterable[str] = ()) -> dict[str, Contract]:
    """Return the pairs to convert by: every spot instrument, and those the accounts have set for conversion."""
    found = fetch(source, instruments_table, where={"kind": Kind.SPOT.value})
    if account_ids:
        found += fetch(source, conversions_table, where={"account_id": tuple(sorted(account_ids))})
    contracts = {row["instrument_id"]: contract_of(row) for row in found}
    return {instrument_id: contract for instrument_id, contract in contracts.items() if contract is not None}
