"""Requests of the domain, built alike for the API and the command line."""

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from api.clock import now
from domain import account
from domain.account import Costing, OpenAccount
from domain.instrument import Contract, Kind, ListInstrument, PutOrCall
from domain.values import ONE

if TYPE_CHECKING:
    from api.daybook import Daybook


def opening(
    daybook: "Daybook",
    account_id: str,
    base_currency: str,
    costing: Costing,
    *,
    venue: str = "",
    is_margin: bool = False,
    owner: tuple[str, str] | None = None,
) -> OpenAccount:
    """Return the request that opens an account. `owner` is a subject and a name; the name is sealed."""
    sealed = None
    if owner is not None:
        subject_id, name = owner
        sealed = daybook.subjects.seal(subject_id, account.owner_place(account_id), name)
    return OpenAccount(account_id, base_currency, costing, now(), venue=venue, is_margin=is_margin, owner=sealed)


class Listing(NamedTuple):
    """An instrument to be listed, as callers state it. Absent, `settle` is base for inverse contracts, else quote."""

    instrument_id: str
    kind: Kind
    base: str
    quote: str
    tick_size: Decimal
    lot_size: Decimal
    settle: str | None = None
    contract_size: Decimal = ONE
    expiry: datetime | None = None
    strike: Decimal | None = None
    put_or_call: PutOrCall | None = None

    def request(self) -> ListInstrument:
        """Return the request that lists it."""
        settle = self.settle or (self.base if self.kind is Kind.INVERSE else self.quote)
        contract = Contract(
            self.kind, self.base, self.quote, settle, contract_size=self.contract_size, expiry=self.expiry,
            strike=self.strike, put_or_call=self.put_or_call,
        )  # fmt: skip
        return ListInstrument(self.instrument_id, contract, self.tick_size, self.lot_size)
