"""Account: its owner, the conventions it is kept by, its cash and its open breaks.

The conventions are settings of the account, written into every booked trade, so that every figure carries its basis.
`cost_basis` chooses which cost a disposal releases; `fee_policy` where commissions go; `money_places` the precision at
which realized PnL is booked (the remainder is recorded beside it, never lost).

Money that moved other than by trades (transfers, fees, adjustments) is `domain.account.cash`, and its sums are here.
Trades move money too, and are not repeated here: one fill is one append to order, position and limit streams. The
account has a list of its positions (PositionOpened, once each), and `domain.holdings.balances` adds what they moved to
what is here, exactly. A request that may overdraw or close the account is checked with what positions and orders hold:
`Held`, gathered by the ledger. A cash account is not overdrawn by our own requests; a venue report is always booked,
with an AccountBroken beside it where it breaks a rule (an overdraft, a contradiction, anything after closing). Breaks
that reconciliation finds open, change, age and are resolved here; see `domain.holdings.reconciliation`.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, assert_never

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from domain import names, values
from domain.account import cash
from domain.account.breaks import Break, OpenBreak, age_steps, place_of
from domain.account.cash import Cash, CashEvent, CashReport, Indicator, Leg, MoneyEvent, TransferPending
from domain.account.subject import Personal
from domain.errors import InvalidInput, RequestRefused
from domain.immutable import PersistentMap
from domain.values import PLACES_MAX, PositionSide

CLOSED = "a closed account takes no new business"


class CostBasis(StrEnum):
    """The convention that selects the acquisitions a disposal uses up.

    AVERAGE: all alike. FIFO: the oldest first. LIFO: the newest first. HIFO: the highest unit cost first, LOFO: the
    lowest, of equals the oldest. SPECIFIC: the lots assigned to the disposal, then the oldest. Old and new are by order
    of occurrence: transact time, then the venue's trade sequence, then exec id; a lot carried over by a transfer keeps
    the age it had.
    """

    AVERAGE = "AVERAGE"
    FIFO = "FIFO"
    LIFO = "LIFO"
    HIFO = "HIFO"
    LOFO = "LOFO"
    SPECIFIC = "SPECIFIC"


class FeePolicy(StrEnum):
    """The convention for booking commissions.

    EXPENSED: kept apart from cost and proceeds. A fee in the settlement currency is an expense; a spot fee in the base
    currency leaves the position at its cost, right after the fill, and that cost is the expense.
    CAPITALISED: part of cost and proceeds. A settlement fee raises the cost of what is acquired or lowers the proceeds
    of what is disposed of; a base fee lowers what is acquired or raises what is disposed of.
    Under both, a fee in a third currency is an expense in that currency and touches no cost.
    """

    EXPENSED = "EXPENSED"
    CAPITALISED = "CAPITALISED"


class Costing(Struct, frozen=True, gc=False):
    """The conventions by which trades become cost and PnL."""

    cost_basis: CostBasis = CostBasis.AVERAGE
    fee_policy: FeePolicy = FeePolicy.EXPENSED
    money_places: int = 8


# Events: the stored format. A name or a field here outlives this code; change one only with an upcast.
class AccountOpened(Struct, frozen=True, tag="AccountOpened", omit_defaults=True):
    """An account was opened. `venue` is where it is kept, "" if across venues; `is_margin` whether it may owe cash;
    `owner` the name of the person it is kept for."""

    account_id: str
    base_currency: str
    costing: Costing
    transact_time: datetime
    venue: str = ""
    is_margin: bool = False
    owner: Personal | None = None


class PositionOpened(Struct, frozen=True, tag="PositionOpened", omit_defaults=True):
    """The first booking of a strategy in an instrument: from here on the account has this position, or leg of one."""

    account_id: str
    strategy_id: str
    instrument_id: str
    transact_time: datetime
    position_side: PositionSide = PositionSide.BOTH


class BreakOpened(Struct, frozen=True, tag="BreakOpened"):
    """Reconciliation found a difference that was not there before."""

    account_id: str
    found: Break
    statement_id: str
    transact_time: datetime


class BreakChanged(Struct, frozen=True, tag="BreakChanged"):
    """An open break was found again with other numbers."""

    account_id: str
    found: Break
    statement_id: str
    transact_time: datetime


class BreakAged(Struct, frozen=True, tag="BreakAged", omit_defaults=True):
    """An open break is now older than one more of `domain.account.breaks.AGES`, or (`age_steps`) of the account's own
    ages: found again in a statement, or without one because time has passed.
    """

    account_id: str
    break_id: str
    statement_id: str
    opened_at: datetime
    transact_time: datetime
    age_steps: int = 0

    @property
    def steps(self) -> int:
        """How many ages it has passed."""
        return self.age_steps or age_steps(self.transact_time - self.opened_at)


class BreakResolved(Struct, frozen=True, tag="BreakResolved"):
    """A break was not found again, or (without a statement) a person resolved it and stated why.

    `is_corrected`: by reports that are recorded with it.
    """

    account_id: str
    break_id: str
    statement_id: str
    reason: str
    opened_at: datetime
    transact_time: datetime
    is_corrected: bool | UnsetType = UNSET

    @property
    def is_dismissal(self) -> bool:
        """Whether a person resolved it without a report."""
        return not self.statement_id and not self.is_corrected


class AccountClosed(Struct, frozen=True, tag="AccountClosed"):
    """The account accepts no more requests; what a venue still reports is recorded, with a break."""

    account_id: str
    reason: str
    transact_time: datetime


class AccountBroken(Struct, frozen=True, tag="AccountBroken", omit_defaults=True):
    """A venue report broke a rule of the account: the report word for word, or the stream that it was recorded in.

    `on_record` is what the report contradicts, as it would be reported.
    """

    account_id: str
    rule: str
    about: str
    report: CashReport | None
    transact_time: datetime
    on_record: CashReport | None = None


BreakEvent = BreakOpened | BreakChanged | BreakAged | BreakResolved
AccountEvent = AccountOpened | PositionOpened | CashEvent | BreakEvent | AccountClosed | AccountBroken


class OpenAccount(Struct, frozen=True):
    """Open an account with its conventions. Without an `owner` its owner is not recorded."""

    account_id: str
    base_currency: str
    costing: Costing
    transact_time: datetime
    venue: str = ""
    is_margin: bool = False
    owner: Personal | None = None


class RequestTransfer(Struct, frozen=True):
    """Start a transfer out of the account (DEBIT) or into it (CREDIT); between two of ours, for the debited one."""

    account_id: str
    leg: Leg
    transact_time: datetime


class ResolveBreak(Struct, frozen=True, tag="ResolveBreak"):
    """Resolve a break by hand. A difference that is still there at the next statement opens again.

    `opened_at` is when the break of a report was recorded. A stored format too, in a proposal: add fields with defaults
    only.
    """

    account_id: str
    break_id: str
    reason: str
    transact_time: datetime
    opened_at: datetime | None = None


class CloseAccount(Struct, frozen=True):
    """Close an account: accept no more orders and transfers."""

    account_id: str
    reason: str
    transact_time: datetime


AccountRequest = OpenAccount | RequestTransfer | ResolveBreak | CloseAccount
AccountReport = CashReport | BreakEvent


HeldIn = tuple[str, str, PositionSide]  # strategy, instrument and leg


class Held(Struct, frozen=True):
    """The account's holdings beyond its own entries: money moved by positions, open positions and working orders."""

    balances: Mapping[str, Decimal] = {}
    positions: tuple[str, ...] = ()
    open_orders: tuple[str, ...] = ()


NOTHING_HELD = Held()


class Account(Struct, frozen=True):
    """The state of an account. `positions` are (strategy, instrument, leg); `breaks` the open ones, by id; `broken` the
    broken rules on record, `resolved` the breaks of reports that are."""

    account_id: str
    base_currency: str
    costing: Costing
    venue: str = ""
    is_margin: bool = False
    cash: Cash = Cash()
    positions: PersistentMap[HeldIn, None] = PersistentMap()
    breaks: dict[str, OpenBreak] = {}
    broken: frozenset[AccountBroken] = frozenset()
    resolved: frozenset[str] = frozenset()
    closed_at: datetime | None = None
    owner: Personal | None = None

    @property
    def is_closed(self) -> bool:
        """Whether it accepts no more orders and transfers."""
        return self.closed_at is not None


def stream(account_id: str) -> str:
    """The stream of one account."""
    return names.stream("account", account_id)


def owner_place(account_id: str) -> str:
    """The associated data that the sealed name of an account's owner is bound to."""
    return f"account {account_id} owner"


def opened(account: Account | None, account_id: str) -> Account:
    """The account, if it is open. Raises RequestRefused."""
    if account is None:
        raise RequestRefused("the account is open; open it first", account_id=account_id)
    if account.is_closed:
        raise RequestRefused("the account is open; it is closed", account_id=account_id, closed_at=account.closed_at)
    return account


def decide(account: Account | None, request: AccountRequest, held: Held = NOTHING_HELD) -> tuple[AccountEvent, ...]:
    """The events that carry out a request; () if already in effect. Raises RequestRefused."""
    match request:
        case OpenAccount():
            return _open(account, request)
        case RequestTransfer():
            return _request_transfer(account, request, held)
        case ResolveBreak():
            return _resolve(account, request)
        case CloseAccount():
            return _close(account, request, held)
        case _:
            assert_never(request)


def _resolve(account: Account | None, request: ResolveBreak) -> tuple[BreakResolved, ...]:
    known = account.breaks.get(request.break_id) if account else None
    opened_at = known.opened_at if known is not None else request.opened_at
    if opened_at is None or (known is None and not _is_open_report(account, request.break_id)):
        raise RequestRefused("an open break", break_id=request.break_id, account_id=request.account_id)
    if not request.reason.strip():
        raise RequestRefused("a break resolved by hand has a reason", reason=request.reason)
    return (
        BreakResolved(
            request.account_id, request.break_id, statement_id="", reason=request.reason, opened_at=opened_at,
            transact_time=request.transact_time,
        ),
    )  # fmt: skip


def dismissal_of(event: BreakResolved) -> ResolveBreak:
    """The request that an event without a statement carries out."""
    opened_at = event.opened_at if place_of(event.break_id) is not None else None
    return ResolveBreak(event.account_id, event.break_id, event.reason, event.transact_time, opened_at=opened_at)


def _is_open_report(account: Account | None, break_id: str) -> bool:
    """Whether an id is that of the break of a report which is not resolved; that it is on record is known before."""
    return account is not None and break_id not in account.resolved and place_of(break_id) is not None


def _open(account: Account | None, request: OpenAccount) -> tuple[AccountEvent, ...]:
    _check_field(values.name, request.account_id, "account_id")
    _check_field(values.currency, request.base_currency, "base_currency")
    _check_field(values.zoned, request.transact_time, "transact_time")
    costing = request.costing
    places: object = costing.money_places
    if type(places) is not int or not 0 <= places <= PLACES_MAX:
        raise RequestRefused(f"money_places from 0 to {PLACES_MAX}", money_places=places)
    if request.venue:
        _check_field(values.venue, request.venue, "venue")
    event = AccountOpened(
        request.account_id, request.base_currency, costing, request.transact_time, venue=request.venue,
        is_margin=request.is_margin, owner=request.owner,
    )  # fmt: skip
    if account is None:
        return (event,)
    if _conventions(account) == _conventions(request):
        if request.owner is not None and request.owner != account.owner:
            raise RequestRefused("an account's owner is named once, when it is opened", account_id=request.account_id)
        return ()
    raise RequestRefused(
        "an account is opened once, by one set of conventions",
        account_id=request.account_id,
        base_currency=account.base_currency,
        cost_basis=account.costing.cost_basis,
        fee_policy=account.costing.fee_policy,
        money_places=account.costing.money_places,
        venue=account.venue or None,
        is_margin=account.is_margin,
    )


def _conventions(of: Account | OpenAccount) -> tuple[object, ...]:
    return (of.base_currency, of.costing, of.venue, of.is_margin)


def _request_transfer(account: Account | None, request: RequestTransfer, held: Held) -> tuple[AccountEvent, ...]:
    leg = request.leg
    _check_field(cash.check_leg, leg, "leg")
    _check_field(values.zoned, request.transact_time, "transact_time")
    if leg.counter_account_id == request.account_id:
        raise RequestRefused("a transfer is between two accounts", counter_account_id=leg.counter_account_id)
    known = account.cash.transfers.get(leg.transfer_id) if account else None
    if known is not None:
        if known.leg == leg:
            return ()
        raise RequestRefused(
            "one transfer_id names one transfer", transfer_id=leg.transfer_id, account_id=request.account_id
        )
    account = opened(account, request.account_id)
    if leg.indicator is Indicator.DEBIT and not account.is_margin:
        for currency in sorted({entry.amount.currency for entry in leg.entries}):
            debit, available = leg.debit(currency), account.cash.available(currency, held.balances)
            if debit > available:
                raise RequestRefused(
                    "a cash account is not overdrawn", amount=debit, currency=currency, available=available
                )
    return (TransferPending(request.account_id, leg, request.transact_time),)


def _close(account: Account | None, request: CloseAccount, held: Held) -> tuple[AccountEvent, ...]:
    if account is not None and account.is_closed:
        return ()
    account = opened(account, request.account_id)
    _check_field(values.zoned, request.transact_time, "transact_time")
    for currency in sorted({*account.cash.balances, *held.balances}):
        if left := account.cash.total(currency, held.balances):
            raise RequestRefused("an account is closed with all balances at zero", currency=currency, balance=left)
    for rule, keys in (
        ("an account is closed with all positions flat", held.positions),
        ("an account is closed with no working orders", held.open_orders),
        ("an account is closed with no pending transfers", tuple(account.cash.pending)),
        ("an account is closed with no open breaks", tuple(account.breaks)),
    ):
        if keys:
            raise RequestRefused(rule, first=min(keys), count=len(keys))
    return (AccountClosed(request.account_id, request.reason, request.transact_time),)


def admit(account: Account, report: AccountReport, held: Held = NOTHING_HELD) -> tuple[AccountEvent, ...]:
    """The events a report adds; () if known. Never refused: it has happened. Raises InvalidInput for invalid fields."""
    match report:
        case cash.SettleTransfer() | cash.ReturnTransfer() | cash.ChargeFee() | cash.BookEntry() | cash.ConvertMoney():
            cash.check(report)
            return _admit_cash(account, report, held)
        case BreakOpened():
            return () if report.found.break_id in account.breaks else (report,)
        case BreakChanged():
            known = account.breaks.get(report.found.break_id)
            return () if known is None or known.found == report.found else (report,)
        case BreakAged():
            known = account.breaks.get(report.break_id)
            return () if known is None or known.age_steps >= report.steps else (report,)
        case BreakResolved():
            is_open = report.break_id in account.breaks or _is_open_report(account, report.break_id)
            return (report,) if is_open else ()
        case _:
            assert_never(report)


def _admit_cash(account: Account, report: CashReport, held: Held) -> tuple[AccountEvent, ...]:
    event, rule, on_record = cash.classify(account.cash, report)
    about = cash.id_of(report)
    if event is None:
        contradicted = AccountBroken(
            account.account_id, rule, about, report, transact_time=report.transact_time, on_record=on_record
        )
        return (contradicted,) if rule and contradicted not in account.broken else ()
    rules = [rule] if rule else []
    if account.is_closed:
        rules.append(CLOSED)
    if _overdrawn(account, event, held):
        rules.append("a cash account is not below zero")
    return (
        event,
        *(AccountBroken(account.account_id, rule, about, report, transact_time=report.transact_time) for rule in rules),
    )


def _overdrawn(account: Account, event: MoneyEvent, held: Held) -> bool:
    """Whether an event takes a balance of a cash account further below zero."""
    after = replace(account.cash, balances=cash.with_entries(account.cash.balances, event.entries))
    totals = (
        (after.total(currency, held.balances), account.cash.total(currency, held.balances))
        for currency in {entry.amount.currency for entry in event.entries}
    )
    return not account.is_margin and any(now < 0 and now < was for now, was in totals)


def with_position(account: Account, place: HeldIn, at: datetime) -> tuple[AccountEvent, ...]:
    """The event that adds a new position to its account; () if it is known."""
    if place in account.positions:
        return ()
    strategy_id, instrument_id, position_side = place
    return (PositionOpened(account.account_id, strategy_id, instrument_id, at, position_side=position_side),)


def after_closing(account: Account, about: str, at: datetime) -> tuple[AccountBroken, ...]:
    """The break beside a venue report that was recorded, in stream `about`, for an account that is closed."""
    broken = AccountBroken(account.account_id, rule=CLOSED, about=about, report=None, transact_time=at)
    return (broken,) if account.is_closed and broken not in account.broken else ()


def _check_field(check: Callable[[Any, str], object], value: object, field: str) -> None:
    """Apply a check of reports to a request's field. Raises RequestRefused naming field, value and rule."""
    try:
        check(value, field)
    except InvalidInput as error:
        name = error.field.rpartition(".")[2]
        raise RequestRefused(f"{error.field} is {error.rule}", **{name: error.value}) from error


def evolve(account: Account | None, event: AccountEvent) -> Account:
    """The account after an event. Total and unconditional."""
    if isinstance(event, AccountOpened):
        return Account(
            event.account_id,
            event.base_currency,
            event.costing,
            event.venue,
            is_margin=event.is_margin,
            owner=event.owner,
        )
    assert account is not None, "a stream starts with AccountOpened"
    match event:
        case (
            TransferPending()
            | cash.TransferSettled()
            | cash.TransferReturned()
            | cash.FeeCharged()
            | cash.EntryBooked()
        ):
            return replace(account, cash=cash.evolve(account.cash, event))
        case PositionOpened():
            place = (event.strategy_id, event.instrument_id, event.position_side)
            return replace(account, positions=account.positions.put(place, None))
        case BreakOpened(found=found, transact_time=at):
            return replace(account, breaks=account.breaks | {found.break_id: OpenBreak(found, at)})
        case BreakChanged(found=found):
            changed = replace(account.breaks[found.break_id], found=found)
            return replace(account, breaks=account.breaks | {found.break_id: changed})
        case BreakAged(break_id=break_id):
            aged = replace(account.breaks[break_id], age_steps=event.steps)
            return replace(account, breaks=account.breaks | {break_id: aged})
        case BreakResolved(break_id=break_id) if break_id not in account.breaks:
            return replace(account, resolved=account.resolved | {break_id})
        case BreakResolved(break_id=break_id):
            return replace(account, breaks={key: kept for key, kept in account.breaks.items() if key != break_id})
        case AccountClosed(transact_time=at):
            return replace(account, closed_at=at)
        case AccountBroken():
            return replace(account, broken=account.broken | {event})
        case _:
            assert_never(event)
