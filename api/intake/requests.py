"""Requests of the domain, built alike for the API and the command line."""

from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from api.clock import now
from domain import account, instrument
from domain.account import Costing, OpenAccount
from domain.errors import InvalidInput, RequestRefused
from domain.instrument import Contract, ExerciseStyle, Instrument, Kind, ListInstrument, PutOrCall
from domain.values import ONE, Mark

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


def check_marks(look: Callable[[str], Any], marks: Sequence[Mark]) -> None:
    """Check that instruments may have their marks' prices; of one that is not listed, above zero. Raises InvalidInput.

    `look` returns the state of a stream.
    """
    for number, mark in enumerate(marks):
        if mark.price > 0:
            continue
        listed: Instrument | None = look(instrument.stream(mark.instrument_id))
        if listed is None or not listed.contract.has_price(mark.price):
            rule = listed.contract.price_rule if listed is not None else "above zero of an instrument not listed"
            raise InvalidInput(f"marks[{number}].price", mark.price, f"{rule}, of {mark.instrument_id}")


def check_order_prices(
    look: Callable[[str], Any], instrument_id: str, price: Decimal | None, stop_px: Decimal | None
) -> None:
    """Check that an order's prices are above zero where not every number is a price. Raises InvalidInput."""
    if all(value is None or value > 0 for value in (price, stop_px)):
        return
    listed: Instrument | None = look(instrument.stream(instrument_id))
    try:
        if listed is not None:
            instrument.check_prices(listed.contract, price, stop_px)
    except RequestRefused as refused:
        ((field, value),) = refused.facts.items()
        raise InvalidInput(field, value, "above zero") from refused


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
    exercise_style: ExerciseStyle | None = None

    def request(self) -> ListInstrument:
        """Return the request that lists it."""
        settle = self.settle or (self.base if self.kind is Kind.INVERSE else self.quote)
        contract = Contract(
            self.kind, self.base, self.quote, settle, contract_size=self.contract_size, expiry=self.expiry,
            strike=self.strike, put_or_call=self.put_or_call,
            exercise_style=self.exercise_style or ExerciseStyle.EUROPEAN,
        )  # fmt: skip
        return ListInstrument(self.instrument_id, contract, self.tick_size, self.lot_size)
