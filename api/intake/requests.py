"""Requests of the domain, built alike for the API and the command line."""

from decimal import Decimal
from typing import TYPE_CHECKING

from api.clock import now
from domain import account, position
from domain.account import Costing, OpenAccount
from domain.instrument import Contract, Kind, ListInstrument
from domain.ledger import pages
from domain.position import PositionTransferred, Transfer

if TYPE_CHECKING:
    from api.daybook import Daybook


def opening(
    daybook: "Daybook", account_id: str, base_currency: str, costing: Costing, *, owner: tuple[str, str] | None = None
) -> OpenAccount:
    """Return the request that opens an account. `owner` is a subject and a name; the name is sealed."""
    sealed = None
    if owner is not None:
        subject_id, name = owner
        sealed = daybook.subjects.seal(subject_id, account.owner_place(account_id), name)
    return OpenAccount(account_id, base_currency, costing, now(), owner=sealed)


def listing(
    instrument_id: str, kind: Kind, *, base: str, quote: str, contract_size: Decimal, tick_size: Decimal,
    lot_size: Decimal,
) -> ListInstrument:  # fmt: skip
    """Return the request that lists an instrument. Inverse contracts settle in base, all others in quote."""
    settle = base if kind is Kind.INVERSE else quote
    return ListInstrument(
        instrument_id, Contract(kind, base, quote, settle, contract_size=contract_size), tick_size, lot_size
    )


def transfer_on_record(daybook: "Daybook", transfer: Transfer) -> Transfer | None:
    """Return the transfer of that id into the same position, as it is on record."""
    recorded = (each for page in pages(daybook.log, position.stream(transfer.key)) for each in page)
    for event in (each.event for each in recorded):
        if isinstance(event, PositionTransferred) and event.transfer_id == transfer.transfer_id:
            return Transfer(
                event.key, transfer_id=event.transfer_id, side=event.side, quantity=event.quantity, cost=event.cost,
                transact_time=event.transact_time, reason=event.reason, counterparty=event.counterparty,
                lots=event.lots,
            )  # fmt: skip
    return None
