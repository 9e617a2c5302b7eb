"""Cash: movements of money in one account other than by trades, in ISO 20022 words.

Every event that moves money carries its `entries`, credits and debits in one currency each; a balance is the sum of the
entries on record. A transfer is pending, then settled or returned. Pending books nothing, but what is to leave is no
longer available; a return after settlement reverses its entries. Of a settlement and a return under one id the later by
`transact_time` stands, in any order of arrival. Between two of our accounts a transfer is one unit of work over both,
and `mirrored` is the other leg.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple, assert_never

from msgspec import Struct
from msgspec.structs import replace

from domain import values
from domain.errors import ReportUnreadable
from domain.immutable import PersistentMap
from domain.values import ZERO, Money, exact

SUM_DIGITS_MAX = 54


class Indicator(StrEnum):
    """ISO 20022 CreditDebitIndicator: CREDIT raises the balance, DEBIT lowers it."""

    CREDIT = "CREDIT"
    DEBIT = "DEBIT"

    @property
    def sign(self) -> int:
        """+1 for CREDIT, -1 for DEBIT."""
        return 1 if self is Indicator.CREDIT else -1

    @property
    def opposite(self) -> "Indicator":
        """The other one."""
        return Indicator.DEBIT if self is Indicator.CREDIT else Indicator.CREDIT


class CashEntry(Struct, frozen=True):
    """One movement of a balance: an amount above zero, and its direction."""

    indicator: Indicator
    amount: Money


class EntryKind(StrEnum):
    """The reason of an entry that is neither transfer nor fee.

    LOAN: credited what is borrowed, debited what is repaid; a loan is no income, and what is owed no capital.
    STAKE: debited what is locked up, credited what is unlocked; the total stays, only less or more of it is available.
    CONVERSION: one currency debited, another credited at the venue's own rate, such as dust.
    REDENOMINATION: a coin debited, the coin that it became credited; no disposal.
    """

    OPENING = "OPENING"
    ADJUSTMENT = "ADJUSTMENT"
    INTEREST = "INTEREST"
    REBATE = "REBATE"
    FUNDING = "FUNDING"  # of a perpetual, in another currency than the position settles in
    INCOME = "INCOME"  # earned, of no other kind
    STAKING = "STAKING"  # rewards
    AIRDROP = "AIRDROP"
    LOAN = "LOAN"
    STAKE = "STAKE"
    CONVERSION = "CONVERSION"
    REDENOMINATION = "REDENOMINATION"

    @property
    def is_income(self) -> bool:
        """Whether it is earned, or where debited paid: no flow of capital."""
        return self in _INCOME


_INCOME = {
    EntryKind.INTEREST, EntryKind.REBATE, EntryKind.FUNDING, EntryKind.INCOME, EntryKind.STAKING, EntryKind.AIRDROP,
}  # fmt: skip


class TransferStatus(StrEnum):
    """PENDING -> SETTLED | RETURNED; a settled transfer may still be returned."""

    PENDING = "PENDING"
    SETTLED = "SETTLED"
    RETURNED = "RETURNED"


class Leg(Struct, frozen=True):
    """One account's side of a transfer. It pays the fee in addition to the amount.

    `counter_account_id` is the other account if that is ours too; `counterparty` names it otherwise.
    """

    transfer_id: str
    indicator: Indicator
    amount: Money
    fee: Money | None = None
    counter_account_id: str = ""
    counterparty: str = ""

    def debit(self, currency: str) -> Decimal:
        """The amount it debits to a balance, fee included."""
        debits = (e.amount for e in self.entries if e.indicator is Indicator.DEBIT)
        return sum((money.amount for money in debits if money.currency == currency), ZERO)

    @property
    def entries(self) -> tuple[CashEntry, ...]:
        """The entries that its settlement books."""
        booked = CashEntry(self.indicator, self.amount)
        return (booked, CashEntry(Indicator.DEBIT, self.fee)) if self.fee and self.fee.amount else (booked,)

    def is_same_money(self, other: "Leg") -> bool:
        """Whether both move the same money. A fee that one of them does not state is the other's."""
        is_same_fee = None in (self.fee, other.fee) or self.entries == other.entries
        return self.indicator is other.indicator and self.amount == other.amount and is_same_fee


class SettleTransfer(Struct, frozen=True, tag="SettleTransfer"):
    """The money has moved. Dates that are not given are the UTC date of `transact_time`."""

    account_id: str
    leg: Leg
    transact_time: datetime
    booking_date: date | None = None
    value_date: date | None = None


class ReturnTransfer(Struct, frozen=True, tag="ReturnTransfer"):
    """The money did not move, or came back. A fee that is kept all the same is charged by `ChargeFee`."""

    account_id: str
    leg: Leg
    reason: str
    transact_time: datetime
    booking_date: date | None = None
    value_date: date | None = None


class ChargeFee(Struct, frozen=True, tag="ChargeFee"):
    """The venue has charged a fee that belongs to no trade and no transfer."""

    account_id: str
    fee_id: str
    amount: Money
    reason: str
    transact_time: datetime
    booking_date: date | None = None
    value_date: date | None = None


class BookEntry(Struct, frozen=True, tag="BookEntry"):
    """A balance has moved for another reason."""

    account_id: str
    entry_id: str
    kind: EntryKind
    indicator: Indicator
    amount: Money
    reason: str
    transact_time: datetime
    booking_date: date | None = None
    value_date: date | None = None


class ConvertMoney(Struct, frozen=True, tag="ConvertMoney"):
    """The venue has exchanged one currency for another other than by a trade. Its id is one of entries."""

    account_id: str
    entry_id: str
    sold: Money
    bought: Money
    fee: Money | None
    reason: str
    transact_time: datetime
    booking_date: date | None = None
    value_date: date | None = None


CashReport = SettleTransfer | ReturnTransfer | ChargeFee | BookEntry | ConvertMoney


# Events: the stored format. A name or a field here outlives this code; change one only with an upcast.
class TransferPending(Struct, frozen=True, tag="TransferPending"):
    """A transfer was requested and is under way; no balance has moved yet."""

    account_id: str
    leg: Leg
    transact_time: datetime


class TransferSettled(Struct, frozen=True, tag="TransferSettled"):
    """A transfer has settled. `entries` is empty where a later return is already on record."""

    account_id: str
    leg: Leg
    entries: tuple[CashEntry, ...]
    booking_date: date
    value_date: date
    transact_time: datetime


class TransferReturned(Struct, frozen=True, tag="TransferReturned"):
    """A transfer was returned. `entries` reverses what was settled; it is empty where nothing was."""

    account_id: str
    leg: Leg
    reason: str
    entries: tuple[CashEntry, ...]
    booking_date: date
    value_date: date
    transact_time: datetime


class FeeCharged(Struct, frozen=True, tag="FeeCharged"):
    """A fee that belongs to no trade: custody, withdrawal, borrowing."""

    account_id: str
    fee_id: str
    entries: tuple[CashEntry, ...]
    reason: str
    booking_date: date
    value_date: date
    transact_time: datetime


class EntryBooked(Struct, frozen=True, tag="EntryBooked"):
    """Any other entry of a venue's account: interest, a loan, an adjustment.

    A STAKE has two entries that cancel out, the first one from or to what is available. A CONVERSION has what was
    sold, what was bought, and a fee if there was one.
    """

    account_id: str
    entry_id: str
    kind: EntryKind
    entries: tuple[CashEntry, ...]
    reason: str
    booking_date: date
    value_date: date
    transact_time: datetime


MoneyEvent = TransferSettled | TransferReturned | FeeCharged | EntryBooked
CashEvent = TransferPending | MoneyEvent


class CashTransfer(Struct, frozen=True):
    """The state of a transfer in one account."""

    leg: Leg
    settled_at: datetime | None = None
    returned_at: datetime | None = None

    @property
    def status(self) -> TransferStatus:
        """The later of settlement and return; the return if they share a moment."""
        if self.returned_at is not None and (self.settled_at is None or self.settled_at <= self.returned_at):
            return TransferStatus.RETURNED
        return TransferStatus.PENDING if self.settled_at is None else TransferStatus.SETTLED


class Cash(Struct, frozen=True):
    """The cash of an account: `balances` are the sums of all entries, zeros left out; `pending` the transfers neither
    settled nor returned; `loans` what is borrowed of each currency, less what was repaid; `staked` what is locked up.
    What is borrowed and what is staked is part of the balance."""

    balances: dict[str, Decimal] = {}
    transfers: PersistentMap[str, CashTransfer] = PersistentMap()
    pending: dict[str, Leg] = {}
    entries: PersistentMap[str, FeeCharged | EntryBooked] = PersistentMap()
    loans: dict[str, Decimal] = {}
    staked: dict[str, Decimal] = {}

    def total(self, currency: str, moved: Mapping[str, Decimal]) -> Decimal:
        """The booked balance: own entries and what trades `moved`."""
        return exact(self.balances.get(currency, ZERO) + moved.get(currency, ZERO))

    def available(self, currency: str, moved: Mapping[str, Decimal]) -> Decimal:
        """The booked balance less the debits of pending transfers and what is staked."""
        leaving = (leg.debit(currency) for leg in self.pending.values() if leg.indicator is Indicator.DEBIT)
        return exact(self.total(currency, moved) - sum(leaving, ZERO) - self.staked.get(currency, ZERO))


class Classified(NamedTuple):
    """The event that a report is booked as, and the rule it breaks. Neither if it is known.

    `on_record` is what a report contradicts, as it would be reported.
    """

    event: MoneyEvent | None
    rule: str = ""
    on_record: CashReport | None = None


KNOWN = Classified(None)
ONE_CONTENT = "one id has one content"


def mirrored(account_id: str, leg: Leg, fee: Money | None = None) -> Leg:
    """The other account's leg of a transfer between two of ours. It pays its own `fee`, if any."""
    return Leg(
        leg.transfer_id, indicator=leg.indicator.opposite, amount=leg.amount, fee=fee, counter_account_id=account_id
    )


def classify(cash: Cash, report: CashReport) -> Classified:
    """Determine the event that a report is to be booked as, and the rule it breaks."""
    match report:
        case SettleTransfer():
            return _settled(cash.transfers.get(report.leg.transfer_id), report)
        case ReturnTransfer():
            return _returned(cash.transfers.get(report.leg.transfer_id), report)
        case ChargeFee() | BookEntry() | ConvertMoney():
            event = _entry_event(report)
            known = cash.entries.get(id_of(report))
            if known is None:
                return Classified(event)
            is_same = (known.entries, _kind_of(known)) == (event.entries, _kind_of(event))
            return KNOWN if is_same else Classified(None, ONE_CONTENT, report_of(known))
        case _:
            assert_never(report)


def _settled(known: CashTransfer | None, report: SettleTransfer) -> Classified:
    if known is not None and known.settled_at is not None:
        if known.leg.is_same_money(report.leg):
            return KNOWN
        settled = SettleTransfer(report.account_id, known.leg, known.settled_at)
        return Classified(None, ONE_CONTENT, settled)
    leg = _completed(report.leg, known)
    is_undone = known is not None and known.returned_at is not None and known.returned_at >= report.transact_time
    is_other = known is not None and not known.leg.is_same_money(leg)
    entries = () if is_undone else leg.entries
    return Classified(
        TransferSettled(report.account_id, leg, entries, *_dates(report), transact_time=report.transact_time),
        "a transfer settles as it was announced" if is_other else "",
    )


def _returned(known: CashTransfer | None, report: ReturnTransfer) -> Classified:
    is_same = known is None or known.leg.is_same_money(report.leg)
    if known is not None and known.returned_at is not None:
        returned = ReturnTransfer(report.account_id, known.leg, "", known.returned_at)
        return KNOWN if is_same else Classified(None, ONE_CONTENT, returned)
    if known is not None and known.settled_at is not None and not is_same:
        settled = SettleTransfer(report.account_id, known.leg, known.settled_at)
        return Classified(None, ONE_CONTENT, settled)
    leg = _completed(report.leg, known)
    is_booked = known is not None and known.settled_at is not None and known.settled_at <= report.transact_time
    entries = tuple(CashEntry(e.indicator.opposite, e.amount) for e in leg.entries) if is_booked else ()
    booking_date, value_date = _dates(report)
    return Classified(
        TransferReturned(
            report.account_id,
            leg,
            report.reason,
            entries,
            booking_date=booking_date,
            value_date=value_date,
            transact_time=report.transact_time,
        ),
        "" if is_same else "a transfer returns as it was announced",
    )


def _completed(leg: Leg, known: CashTransfer | None) -> Leg:
    """A venue's leg, completed with what only we have on record of it."""
    if known is None:
        return leg
    return replace(
        leg,
        fee=known.leg.fee if leg.fee is None else leg.fee,
        counter_account_id=leg.counter_account_id or known.leg.counter_account_id,
        counterparty=leg.counterparty or known.leg.counterparty,
    )


def id_of(item: CashReport | FeeCharged | EntryBooked) -> str:
    """The id of a report or event; fees, entries and transfers have separate id spaces."""
    match item:
        case ChargeFee(fee_id=fee_id) | FeeCharged(fee_id=fee_id):
            return f"fee {fee_id}"
        case BookEntry(entry_id=entry_id) | ConvertMoney(entry_id=entry_id) | EntryBooked(entry_id=entry_id):
            return f"entry {entry_id}"
        case SettleTransfer(leg=leg) | ReturnTransfer(leg=leg):
            return f"transfer {leg.transfer_id}"
        case _:
            assert_never(item)


def _kind_of(event: FeeCharged | EntryBooked) -> EntryKind | None:
    return event.kind if isinstance(event, EntryBooked) else None


def report_of(event: FeeCharged | EntryBooked) -> ChargeFee | BookEntry | ConvertMoney:
    """The report that an event books."""
    first, *others = event.entries
    dates = {"transact_time": event.transact_time, "booking_date": event.booking_date, "value_date": event.value_date}
    if isinstance(event, FeeCharged):
        return ChargeFee(event.account_id, event.fee_id, first.amount, event.reason, **dates)  # type: ignore[arg-type]
    if event.kind is EntryKind.CONVERSION and others:
        fee = others[1].amount if len(others) > 1 else None
        return ConvertMoney(
            event.account_id, event.entry_id, first.amount, others[0].amount, fee=fee, reason=event.reason,
            **dates,  # type: ignore[arg-type]
        )  # fmt: skip
    return BookEntry(
        event.account_id, event.entry_id, event.kind, first.indicator, amount=first.amount, reason=event.reason,
        **dates,  # type: ignore[arg-type]
    )  # fmt: skip


def _entry_event(report: ChargeFee | BookEntry | ConvertMoney) -> FeeCharged | EntryBooked:
    booking_date, value_date = _dates(report)
    if isinstance(report, ChargeFee):
        paid = (CashEntry(Indicator.DEBIT, report.amount),)
        return FeeCharged(
            report.account_id, report.fee_id, paid, report.reason, booking_date=booking_date, value_date=value_date,
            transact_time=report.transact_time,
        )  # fmt: skip
    entries: tuple[CashEntry, ...]
    if isinstance(report, ConvertMoney):
        kind = EntryKind.CONVERSION
        entries = (CashEntry(Indicator.DEBIT, report.sold), CashEntry(Indicator.CREDIT, report.bought))
        if report.fee is not None and report.fee.amount:
            entries = (*entries, CashEntry(Indicator.DEBIT, report.fee))
    else:
        kind, entries = report.kind, (CashEntry(report.indicator, report.amount),)
        if kind is EntryKind.STAKE:
            entries = (*entries, CashEntry(report.indicator.opposite, report.amount))
    return EntryBooked(
        report.account_id, report.entry_id, kind, entries, reason=report.reason, booking_date=booking_date,
        value_date=value_date, transact_time=report.transact_time,
    )  # fmt: skip


def _dates(report: CashReport) -> tuple[date, date]:
    booked = report.booking_date or report.transact_time.astimezone(UTC).date()
    return booked, report.value_date or booked


def check(report: CashReport) -> None:
    """Check a report's ids, amounts, currencies and times. Raises ReportUnreadable naming the field."""
    values.name(report.account_id, "account_id")
    values.zoned(report.transact_time, "transact_time")
    match report:
        case SettleTransfer() | ReturnTransfer():
            check_leg(report.leg, "leg")
            if report.leg.counter_account_id == report.account_id:
                raise ReportUnreadable("leg.counter_account_id", report.account_id, "the other one of two accounts")
        case ChargeFee():
            values.name(report.fee_id, "fee_id")
            _check_money(report.amount, "amount")
        case BookEntry():
            values.name(report.entry_id, "entry_id")
            if report.kind in (EntryKind.CONVERSION, EntryKind.REDENOMINATION):
                raise ReportUnreadable("kind", report.kind, "of one currency; a conversion states both")
            if report.kind is EntryKind.ADJUSTMENT:
                _check_sum(report.amount, "amount")
            else:
                _check_money(report.amount, "amount")
        case ConvertMoney():
            values.name(report.entry_id, "entry_id")
            _check_money(report.sold, "sold")
            _check_money(report.bought, "bought")
            if report.sold.currency == report.bought.currency:
                raise ReportUnreadable("bought.currency", report.bought.currency, "another currency than was sold")
            if report.fee is not None:
                _check_fee(report.fee, "fee")
        case _:
            assert_never(report)


def check_leg(leg: Leg, field: str) -> None:
    values.execution_id(leg.transfer_id, f"{field}.transfer_id")
    _check_money(leg.amount, f"{field}.amount")
    if leg.fee is not None:
        _check_fee(leg.fee, f"{field}.fee")
    if leg.counter_account_id:
        values.name(leg.counter_account_id, f"{field}.counter_account_id")


def _check_money(money: Money, field: str) -> None:
    values.positive(money.amount, field)
    values.currency(money.currency, f"{field}.currency")


def _check_fee(fee: Money, field: str) -> None:
    values.currency(fee.currency, f"{field}.currency")
    if values.number(fee.amount, field) < 0:
        raise ReportUnreadable(field, fee.amount, "zero or more")


def _check_sum(money: Money, field: str) -> None:
    """Check an adjustment's amount: it has the precision of the sums it corrects, products of outside numbers."""
    amount = money.amount
    if not amount.is_finite() or amount <= 0:
        raise ReportUnreadable(field, amount, "above zero")
    if amount.adjusted() >= SUM_DIGITS_MAX or amount.as_tuple().exponent < -SUM_DIGITS_MAX:  # type: ignore[operator]
        raise ReportUnreadable(field, amount, f"below 1e{SUM_DIGITS_MAX} with at most {SUM_DIGITS_MAX} places")
    values.currency(money.currency, f"{field}.currency")


def evolve(cash: Cash, event: CashEvent) -> Cash:
    """The cash after an event. Total and unconditional."""
    match event:
        case TransferPending(leg=leg):
            transfers = cash.transfers.put(leg.transfer_id, CashTransfer(leg))
            return replace(cash, transfers=transfers, pending=cash.pending | {leg.transfer_id: leg})
        case TransferSettled() | TransferReturned():
            transfer_id = event.leg.transfer_id
            known = cash.transfers.get(transfer_id) or CashTransfer(event.leg)
            if isinstance(event, TransferSettled):
                known = CashTransfer(event.leg, event.transact_time, known.returned_at)
            else:
                leg = event.leg if known.settled_at is None else known.leg
                known = CashTransfer(leg, known.settled_at, event.transact_time)
            return replace(
                cash,
                balances=with_entries(cash.balances, event.entries),
                transfers=cash.transfers.put(transfer_id, known),
                pending={key: leg for key, leg in cash.pending.items() if key != transfer_id},
            )
        case FeeCharged() | EntryBooked():
            return replace(
                cash,
                balances=with_entries(cash.balances, event.entries),
                entries=cash.entries.put(id_of(event), event),
                loans=_of_kind(cash.loans, event, EntryKind.LOAN, 1),
                staked=_of_kind(cash.staked, event, EntryKind.STAKE, -1),
            )
        case _:
            assert_never(event)


def _of_kind(
    sums: dict[str, Decimal], event: FeeCharged | EntryBooked, kind: EntryKind, sign: int
) -> dict[str, Decimal]:
    """The sums with the first entry of an event of this kind, credits above zero; with `sign` -1 debits."""
    if not isinstance(event, EntryBooked) or event.kind is not kind:
        return sums
    first = event.entries[0]
    return with_entries(sums, (first if sign > 0 else CashEntry(first.indicator.opposite, first.amount),))


def with_entries(balances: Mapping[str, Decimal], entries: Iterable[CashEntry]) -> dict[str, Decimal]:
    """The balances after entries, zeros left out."""
    changed = dict(balances)
    for entry in entries:
        currency = entry.amount.currency
        changed[currency] = exact(changed.get(currency, ZERO) + entry.indicator.sign * entry.amount.amount)
    return {currency: amount for currency, amount in changed.items() if amount}
