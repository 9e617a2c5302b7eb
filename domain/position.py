"""Position: what one strategy of one account holds of one instrument, what it cost, and what it has realized.

Quantities are signed. Sums are in settlement currency; cost and PnL follow `domain.costing`. The book is always the one
that the order of occurrence gives. A trade that arrives in order is booked with its effect and that is all; one that
arrives late is booked with the effect it has in its place, together with a restatement of every later entry it moved.

To judge a late trade the position remembers its last entries (the tail) and the book before them (the anchor). A trade
older than the tail needs the stream's whole history: `needs_history` says so, `unfold` is the position with all of it.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from functools import reduce
from typing import assert_never

from msgspec import Struct
from msgspec.structs import replace

from domain import costing
from domain.account import Costing
from domain.costing import Book, Effect, Entry, LotChange
from domain.instrument import Contract
from domain.values import ZERO, Liquidity, Money, Occurrence, Side, exact

TAIL_MAX = 128
RESTATED_ITEMS_MAX = 500


class PositionKey(Struct, frozen=True):
    """Whose position in what; carried by every event, so that each reads alone."""

    account_id: str
    strategy_id: str
    instrument_id: str


class Sums(Struct, frozen=True):
    """The sums of an effect that a restatement replaces."""

    cost: Decimal
    realized: Decimal
    rounding: Decimal
    fee_cost: Decimal


class Restated(Struct, frozen=True):
    """One entry whose effect a late arrival changed: what it was on record, what it is now."""

    exec_id: str
    transact_time: datetime
    was: Sums
    now: Effect


# Events: the stored format. A name or a field here outlives this code; change one only with an upcast.
class TradeBooked(Struct, frozen=True, tag="TradeBooked"):
    key: PositionKey
    contract: Contract
    costing: Costing
    cl_ord_id: str
    exec_id: str
    trade_seq: int
    side: Side
    last_qty: Decimal
    last_px: Decimal
    commission: Money
    liquidity: Liquidity
    transact_time: datetime
    effect: Effect
    is_late: bool = False


class PositionTransferred(Struct, frozen=True, tag="PositionTransferred"):
    """Quantity that came from elsewhere at a stated cost: an opening balance, a deposit in kind."""

    key: PositionKey
    contract: Contract
    costing: Costing
    transfer_id: str
    side: Side
    quantity: Decimal
    cost: Decimal
    transact_time: datetime
    effect: Effect
    is_late: bool = False


class FundingSettled(Struct, frozen=True, tag="FundingSettled"):
    """A funding payment of a perpetual: positive received, negative paid, in settlement currency."""

    key: PositionKey
    funding_id: str
    amount: Money
    transact_time: datetime


class PositionRestated(Struct, frozen=True, tag="PositionRestated"):
    """What late arrivals moved of entries already on record; long ones come in parts of at most 500 items."""

    key: PositionKey
    late_exec_ids: tuple[str, ...]
    items: tuple[Restated, ...]
    lots: tuple[LotChange, ...]
    part: int = 1
    parts: int = 1


PositionEvent = TradeBooked | PositionTransferred | FundingSettled | PositionRestated
Booking = TradeBooked | PositionTransferred


class Filled(Struct, frozen=True):
    """A fill to be booked, as the order knows it."""

    key: PositionKey
    cl_ord_id: str
    exec_id: str
    trade_seq: int
    side: Side
    last_qty: Decimal
    last_px: Decimal
    commission: Money
    liquidity: Liquidity
    transact_time: datetime


class TransferIn(Struct, frozen=True):
    """Quantity arriving from outside (SELL: leaving) at a cost in settlement currency, signed as its value is."""

    key: PositionKey
    transfer_id: str
    side: Side
    quantity: Decimal
    cost: Decimal
    transact_time: datetime


class SettleFunding(Struct, frozen=True):
    """The venue has settled funding."""

    key: PositionKey
    funding_id: str
    amount: Money
    transact_time: datetime


PositionReport = Filled | TransferIn | SettleFunding


class Booked(Struct, frozen=True):
    """An entry of the tail and the effect it has on record."""

    entry: Entry
    effect: Effect


class Position(Struct, frozen=True):
    """`book` = `anchor` + the effects of `tail`; `anchored_at` is the last occurrence inside the anchor."""

    key: PositionKey
    book: Book
    anchor: Book
    contract: Contract | None = None
    costing: Costing | None = None
    anchored_at: Occurrence | None = None
    tail: tuple[Booked, ...] = ()
    realized: Decimal = ZERO
    rounding: Decimal = ZERO
    fee_cost: Decimal = ZERO
    fees: dict[str, Decimal] = {}
    funding: Decimal = ZERO
    funding_ids: frozenset[str] = frozenset()
    transfer_ids: frozenset[str] = frozenset()

    @property
    def quantity(self) -> Decimal:
        """Signed quantity held."""
        return self.book.quantity

    @property
    def last(self) -> Occurrence | None:
        """The latest occurrence on record."""
        return self.tail[-1].entry.occurrence if self.tail else self.anchored_at


def stream(key: PositionKey) -> str:
    """The stream of one position."""
    return f"position:{key.account_id}:{key.strategy_id}:{key.instrument_id}"


def occurrence_of(report: Filled | TransferIn) -> Occurrence:
    """The report's place in the order of occurrence."""
    if isinstance(report, TransferIn):
        return Occurrence(report.transact_time, 0, report.transfer_id)
    return Occurrence(report.transact_time, report.trade_seq, report.exec_id)


def needs_history(position: Position | None, reports: Iterable[PositionReport]) -> bool:
    """Whether a report is older than the tail, so that `admit` wants the position `unfold`ed from the whole stream."""
    if position is None or position.anchored_at is None:
        return False
    return any(not isinstance(r, SettleFunding) and occurrence_of(r) < position.anchored_at for r in reports)


def unfold(events: Iterable[PositionEvent]) -> Position | None:
    """The position with its whole history as tail."""
    return reduce(lambda position, event: evolve(position, event, tail_max=None), events, None)


def admit(
    position: Position | None, reports: Sequence[PositionReport], contract: Contract, costing_: Costing
) -> tuple[PositionEvent, ...]:
    """The events that reports add, in any order of arrival. Never refuses; the caller has removed repeated exec ids.

    Reports of one call are booked in order of occurrence. Those behind the latest on record are booked late, followed
    by one restatement of every entry they moved.
    """
    events: list[PositionEvent] = []
    bookings: list[Filled | TransferIn] = []
    known_ids = (position.funding_ids, position.transfer_ids) if position else (frozenset(), frozenset())
    seen: set[tuple[str, str]] = set()  # one call may repeat itself
    for report in reports:
        match report:
            case SettleFunding(funding_id=funding_id):
                if funding_id not in known_ids[0] and ("funding", funding_id) not in seen:
                    seen.add(("funding", funding_id))
                    events.append(FundingSettled(report.key, funding_id, report.amount, report.transact_time))
            case TransferIn(transfer_id=transfer_id):
                if transfer_id not in known_ids[1] and ("transfer", transfer_id) not in seen:
                    seen.add(("transfer", transfer_id))
                    bookings.append(report)
            case Filled():
                bookings.append(report)
            case _:
                assert_never(report)
    if not bookings:
        return tuple(events)
    bookings.sort(key=occurrence_of)
    latest = position.last if position else None
    late = [report for report in bookings if latest is not None and occurrence_of(report) < latest]
    if late:
        assert position is not None
        assert not needs_history(position, late), "a report older than the tail is judged by the unfolded position"
        booked, restated, book = _rebooked(position, late, contract, costing_)
        events += booked
        events += restated
    else:
        book = position.book if position else costing.empty(costing_.cost_basis)
    for report in bookings[len(late) :]:
        effect = costing.effect_of(book, _entry(report), contract, costing_)
        book = costing.book_with(book, effect)
        events.append(_booking(report, contract, costing_, effect, is_late=False))
    return tuple(events)


def _rebooked(
    position: Position, late: Sequence[Filled | TransferIn], contract: Contract, costing_: Costing
) -> tuple[list[PositionEvent], list[PositionEvent], Book]:
    """Late reports booked in their place; the restatement of what followed; the book all of it ends in."""
    arriving = {occurrence_of(report): report for report in late}
    on_record = {booked.entry.occurrence: booked for booked in position.tail}
    book, before = position.anchor, position.anchor
    booked: list[PositionEvent] = []
    items: list[Restated] = []
    for occurrence in sorted([*arriving, *on_record]):
        if occurrence in arriving:
            report = arriving[occurrence]
            effect = costing.effect_of(book, _entry(report), contract, costing_)
            booked.append(_booking(report, contract, costing_, effect, is_late=True))
        else:
            known = on_record[occurrence]
            effect = known.effect
            if (book.quantity, book.cost, book.lots) != (before.quantity, before.cost, before.lots):
                effect = costing.effect_of(book, known.entry, contract, costing_)
            before = costing.book_with(before, known.effect)
            if effect != known.effect:
                items.append(Restated(occurrence.exec_id, occurrence.transact_time, _sums(known.effect), effect))
        book = costing.book_with(book, effect)
    added = reduce(_plus_unmatched, (event.effect for event in booked if isinstance(event, Booking)), position.book)
    return (
        booked,
        _restatements(position.key, tuple(r.exec_id for r in arriving), items, _lot_changes(added, book)),
        book,
    )


def _restatements(
    key: PositionKey, late_exec_ids: tuple[str, ...], items: list[Restated], lots: tuple[LotChange, ...]
) -> list[PositionEvent]:
    if not items and not lots:
        return []
    parts = [items[at : at + RESTATED_ITEMS_MAX] for at in range(0, len(items), RESTATED_ITEMS_MAX)] or [[]]
    return [
        PositionRestated(key, late_exec_ids, tuple(part), lots if number == len(parts) else (), number, len(parts))
        for number, part in enumerate(parts, 1)
    ]


def _entry(report: Filled | TransferIn) -> Entry:
    if isinstance(report, TransferIn):
        return Entry(occurrence_of(report), report.side, report.quantity, None, None, report.cost)
    return Entry(occurrence_of(report), report.side, report.last_qty, report.last_px, report.commission)


def _entry_on_record(event: Booking) -> Entry:
    if isinstance(event, PositionTransferred):
        at = Occurrence(event.transact_time, 0, event.transfer_id)
        return Entry(at, event.side, event.quantity, None, None, event.cost)
    at = Occurrence(event.transact_time, event.trade_seq, event.exec_id)
    return Entry(at, event.side, event.last_qty, event.last_px, event.commission)


def _booking(
    report: Filled | TransferIn, contract: Contract, costing_: Costing, effect: Effect, *, is_late: bool
) -> Booking:
    if isinstance(report, TransferIn):
        return PositionTransferred(
            report.key, contract, costing_, report.transfer_id, report.side, report.quantity, report.cost,
            report.transact_time, effect, is_late,
        )  # fmt: skip
    return TradeBooked(
        report.key, contract, costing_, report.cl_ord_id, report.exec_id, report.trade_seq, report.side,
        report.last_qty, report.last_px, report.commission, report.liquidity, report.transact_time, effect, is_late,
    )  # fmt: skip


def _sums(effect: Effect) -> Sums:
    return Sums(effect.cost, effect.realized, effect.rounding, effect.fee_cost)


def _plus_unmatched(book: Book, effect: Effect) -> Book:
    """A late booking's sums and opened lot; what it closed is settled by the restatement's lot changes."""
    lots = book.lots.add(effect.opened) if effect.opened else book.lots
    return Book(lots, exact(book.quantity + effect.quantity), exact(book.cost + effect.cost))


def _lot_changes(was: Book, now: Book) -> tuple[LotChange, ...]:
    """What turns the open lots of `was` into those of `now`."""
    before = {lot.lot_id: lot for lot in was.lots}
    after = {lot.lot_id: lot for lot in now.lots}
    changes = []
    for lot_id in sorted(before.keys() | after.keys()):
        old, new = before.get(lot_id), after.get(lot_id)
        if old == new:
            continue
        if (
            old is not None
            and new is not None
            and (old.opened_quantity, old.opened_cost) == (new.opened_quantity, new.opened_cost)
        ):
            changes.append(LotChange(new, exact(new.quantity - old.quantity), exact(new.cost - old.cost)))
            continue
        if old is not None:
            changes.append(LotChange(old, exact(-old.quantity), exact(-old.cost)))
        if new is not None:
            changes.append(LotChange(new, new.quantity, new.cost))
    return tuple(changes)


def evolve(position: Position | None, event: PositionEvent, *, tail_max: int | None = TAIL_MAX) -> Position:
    """The position after an event. Total and unconditional: only additions and the order of occurrence."""
    if position is None:
        empty = costing.empty(event.costing.cost_basis if isinstance(event, Booking) else Costing().cost_basis)
        position = Position(event.key, empty, empty)
    match event:
        case TradeBooked() | PositionTransferred():
            return _with_booking(position, event, tail_max)
        case PositionRestated():
            return _with_restatement(position, event)
        case FundingSettled():
            return replace(
                position,
                funding=exact(position.funding + event.amount.amount),
                funding_ids=position.funding_ids | {event.funding_id},
            )
        case _:
            assert_never(event)


def _with_booking(position: Position, event: Booking, tail_max: int | None) -> Position:
    effect = event.effect
    if position.costing is None:
        empty = costing.empty(event.costing.cost_basis)
        position = replace(position, contract=event.contract, costing=event.costing, book=empty, anchor=empty)
    fees = position.fees
    if effect.fee and isinstance(event, TradeBooked):
        paid_in = event.commission.currency
        fees = fees | {paid_in: exact(fees.get(paid_in, ZERO) + effect.fee)}
    transfer_ids = position.transfer_ids
    if isinstance(event, PositionTransferred):
        transfer_ids = transfer_ids | {event.transfer_id}
    booked = Booked(_entry_on_record(event), effect)
    if event.is_late:
        book = _plus_unmatched(position.book, effect)
        anchor, anchored_at, tail = _tail_with_late(position, booked, book)
    else:
        book = costing.book_with(position.book, effect)
        anchor, anchored_at, tail = _tail_with(position, booked, tail_max)
    return Position(
        position.key, book, anchor, event.contract, position.costing, anchored_at, tail,
        exact(position.realized + effect.realized), exact(position.rounding + effect.rounding),
        exact(position.fee_cost + effect.fee_cost), fees, position.funding, position.funding_ids, transfer_ids,
    )  # fmt: skip


def _tail_with(
    position: Position, booked: Booked, tail_max: int | None
) -> tuple[Book, Occurrence | None, tuple[Booked, ...]]:
    tail = (*position.tail, booked)
    if tail_max is None or len(tail) < 2 * tail_max:
        return position.anchor, position.anchored_at, tail
    old, kept = tail[:tail_max], tail[tail_max:]
    anchor = reduce(costing.book_with, (item.effect for item in old), position.anchor)
    return anchor, old[-1].entry.occurrence, kept


def _tail_with_late(
    position: Position, booked: Booked, book: Book
) -> tuple[Book, Occurrence | None, tuple[Booked, ...]]:
    if position.anchored_at is not None and booked.entry.occurrence < position.anchored_at:
        return book, position.last, ()  # deeper than the tail: it starts anew behind what is known
    at = sum(1 for item in position.tail if item.entry.occurrence < booked.entry.occurrence)
    return position.anchor, position.anchored_at, (*position.tail[:at], booked, *position.tail[at:])


def _with_restatement(position: Position, event: PositionRestated) -> Position:
    cost, realized, rounding, fee_cost = position.book.cost, position.realized, position.rounding, position.fee_cost
    for item in event.items:
        cost += item.now.cost - item.was.cost
        realized += item.now.realized - item.was.realized
        rounding += item.now.rounding - item.was.rounding
        fee_cost += item.now.fee_cost - item.was.fee_cost
    lots = position.book.lots
    for change in event.lots:
        if any(lot.lot_id == change.lot.lot_id for lot in lots):
            lots = lots.change(change.lot.lot_id, change.quantity, change.cost)
        else:
            lots = lots.add(change.lot)
    book = Book(lots, position.book.quantity, exact(cost))
    now = {item.exec_id: item.now for item in event.items}
    tail = tuple(
        Booked(item.entry, now[item.entry.occurrence.exec_id]) if item.entry.occurrence.exec_id in now else item
        for item in position.tail
    )
    return replace(
        position, book=book, anchor=position.anchor if tail else book, tail=tail,
        realized=exact(realized), rounding=exact(rounding), fee_cost=exact(fee_cost),
    )  # fmt: skip
