"""Redenomination of a coin in one account: its balance, and what of it is staked or borrowed, becomes another coin.

`units` of the other coin for every `per` of the old one: no disposal. What instruments hold of the coin is turned with
them (`domain.ledger`), and what is then left of the balance here, by entries of the account: one exchanges it, and
beside it what was staked or borrowed is released in the old coin and staked or borrowed in the new one. An amount that
is no decimal is rounded once at 18 places.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal

from msgspec import Struct

from domain.account.cash import Cash, CashEntry, EntryBooked, EntryKind, Indicator
from domain.errors import RequestRefused
from domain.names import joined
from domain.values import Money, divide, exact

PREFIX = "redenomination"


class AssetRedenominated(Struct, frozen=True, tag="AssetRedenominated", omit_defaults=True):
    """A coin became another one in an account: `units` of it for every `per`, at `effective_at`.

    `successors` are instruments that were named, and what they became. The entries, transfers and restated orders
    beside it follow from it.
    """

    account_id: str
    redenomination_id: str
    asset: str
    to_asset: str
    units: Decimal
    per: Decimal
    effective_at: datetime
    is_of_all: bool = False  # requested for all accounts at once
    successors: tuple[tuple[str, str], ...] = ()


class RedenominateAsset(Struct, frozen=True):
    """Turn all that an account, or every one, holds of a coin into another coin, at its cost and with its lots.

    What an instrument becomes is in `successors` (old, new), else it is named alike at the same venue. It is listed if
    need be.
    """

    asset: str
    redenomination_id: str
    to_asset: str
    units: Decimal
    per: Decimal
    effective_at: datetime
    account_id: str = ""
    successors: tuple[tuple[str, str], ...] = ()

    def converted(self, amount: Decimal) -> Decimal:
        """An amount of the old coin in the new one."""
        return divide(amount * self.units, self.per)

    def event(self, account_id: str) -> AssetRedenominated:
        """The event that states it in an account."""
        return AssetRedenominated(
            account_id, self.redenomination_id, self.asset, self.to_asset, units=self.units, per=self.per,
            effective_at=self.effective_at, is_of_all=not self.account_id, successors=self.successors,
        )  # fmt: skip


def request_of(event: AssetRedenominated) -> RedenominateAsset:
    """The request that an event states."""
    return RedenominateAsset(
        event.asset, event.redenomination_id, event.to_asset, event.units, per=event.per,
        effective_at=event.effective_at, account_id="" if event.is_of_all else event.account_id,
        successors=event.successors,
    )  # fmt: skip


def check(cash: Cash, request: RedenominateAsset) -> None:
    """Check that a coin can be redenominated in an account. Raises RequestRefused."""
    for field, value in (("units", request.units), ("per", request.per)):
        if not value.is_finite() or value <= 0:
            raise RequestRefused(f"{field} above zero", **{field: value})
    if request.asset == request.to_asset and request.units == request.per:
        raise RequestRefused("a redenomination changes the coin or the number of units", units=request.units)
    for leg in cash.pending.values():
        if any(entry.amount.currency == request.asset for entry in leg.entries):
            raise RequestRefused(
                "a redenomination comes after pending transfers of the coin", transfer_id=leg.transfer_id
            )


def entries(account_id: str, cash: Cash, request: RedenominateAsset, total: Decimal) -> Iterator[EntryBooked]:
    """The entries that turn the balance of a coin, `total`, and what is staked or borrowed of it."""
    staked, owed = (sums.get(request.asset) for sums in (cash.staked, cash.loans))
    for kind, amount, sign in ((EntryKind.STAKE, staked, 1), (EntryKind.LOAN, owed, -1)):
        if amount:
            yield _entry(account_id, request, kind, ((sign * amount, request.asset),), part="release")
    free = exact(total - (owed or 0))
    if free:
        exchanged = ((-free, request.asset), (request.converted(free), request.to_asset))
        yield _entry(account_id, request, EntryKind.REDENOMINATION, exchanged)
    for kind, amount, sign in ((EntryKind.STAKE, staked, -1), (EntryKind.LOAN, owed, 1)):
        if amount:
            yield _entry(
                account_id, request, kind, ((sign * request.converted(amount), request.to_asset),), part="again"
            )


def is_consequence(event: EntryBooked) -> bool:
    """Whether an entry follows from a redenomination."""
    return event.kind is EntryKind.REDENOMINATION or event.entry_id.startswith(f"{PREFIX}-")


def _entry(
    account_id: str, request: RedenominateAsset, kind: EntryKind, amounts: tuple[tuple[Decimal, str], ...],
    part: str = "",
) -> EntryBooked:  # fmt: skip
    name = joined(PREFIX, request.redenomination_id, request.asset, *((kind.lower(), part) if part else ()))
    booked = tuple(
        CashEntry(Indicator.CREDIT if amount > 0 else Indicator.DEBIT, Money(abs(exact(amount)), currency))
        for amount, currency in amounts
    )
    if kind is EntryKind.STAKE:
        (first,) = booked
        booked = (first, CashEntry(first.indicator.opposite, first.amount))
    day = request.effective_at.astimezone(UTC).date()
    reason = f"{request.asset} became {request.to_asset}, {request.units:f} for {request.per:f}"
    return EntryBooked(
        account_id, name, kind, booked, reason=reason, booking_date=day, value_date=day,
        transact_time=request.effective_at,
    )  # fmt: skip
