"""Position aggregate: the quantity, cost, lots and realized PnL of one strategy of one account in one instrument.

Quantities are signed. Sums are in settlement currency; cost and PnL follow `domain.position.costing`. The book is
always the one that the order of occurrence gives. An entry that arrives in order is booked with its effect and changes
nothing else; a late one is booked with the effect it has in its place, together with a restatement of every later entry
it changed. A busted trade is reversed, a corrected one reversed and booked again, in the same way.

To book a late report the position remembers its last entries (the tail) and the book before them (the anchor). A report
older than the tail needs the stream's whole history: `needs_history` tests that, `unfold` returns the position with it.

Invariant, exact, in settlement currency: realized + rounding + unrealized - fees - fee_cost + funding + income
+ transferred = the change of equity, where unrealized = value(quantity, mark) - cost.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from functools import reduce
from itertools import takewhile
from typing import assert_never

from msgspec import Struct
from msgspec.structs import replace

from domain.account import CostBasis, Costing
from domain.errors import RequestRefused
from domain.immutable import AppendMap
from domain.instrument import Contract, Kind
from domain.position import costing, rebooking
from domain.position.costing import Book, Effect, Entry
from domain.position.events import (
    AssignLots,
    Booking,
    Filled,
    FundingSettled,
    LotsAssigned,
    PositionBroken,
    PositionEvent,
    PositionKey,
    PositionReport,
    PositionRequest,
    PositionRestated,
    PositionTransferred,
    Reverse,
    SettleFunding,
    TradeBooked,
    TradeKind,
    TradeReversed,
    Transfer,
)
from domain.position.rebooking import Booked
from domain.values import ZERO, Money, Occurrence, exact

_AT_EXPIRY = {TradeKind.SETTLEMENT, TradeKind.EXERCISE}
TAIL_MAX = 128
RESTATED_ITEMS_MAX = 500


class Position(Struct, frozen=True, gc=False):
    """The state of a position. `book` = `anchor` + the effects of `tail`; `anchored_at` is the last occurrence in the
    anchor.

    Before the first booking `contract` is not known: `funded_in` is the currency of funding.
    """

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
    funded_in: str = ""
    income: Decimal = ZERO
    transferred: Decimal = ZERO
    fundings: AppendMap[str, FundingSettled] = AppendMap()
    transfers: AppendMap[str, PositionTransferred] = AppendMap()
    broken: tuple[PositionBroken, ...] = ()
    settlement_ids: frozenset[str] = frozenset()

    @property
    def quantity(self) -> Decimal:
        """The signed quantity held."""
        return self.book.quantity

    @property
    def last(self) -> Occurrence | None:
        """The latest occurrence on record."""
        return self.tail[-1].entry.occurrence if self.tail else self.anchored_at


def stream(key: PositionKey) -> str:
    """The stream of one position."""
    return f"position:{key.account_id}:{key.strategy_id}:{key.instrument_id}"


def occurrence_of(report: Filled | Reverse | Transfer | AssignLots) -> Occurrence:
    """The occurrence of the entry that a report is about."""
    if isinstance(report, Transfer):
        return Occurrence(report.transact_time, 0, report.transfer_id)
    if isinstance(report, Filled):
        return _trade_at(report)
    nanos = report.nanos if isinstance(report, Reverse) else 0
    return Occurrence(report.transact_time, report.trade_seq, report.exec_id, nanos)


def _trade_at(trade: Filled | TradeBooked) -> Occurrence:
    tie = f"{trade.side} {trade.cl_ord_id}"
    return Occurrence(trade.transact_time, trade.trade_seq, trade.exec_id, nanos=trade.nanos, tie=tie)


def needs_history(position: Position | None, reports: Iterable[PositionReport | PositionRequest]) -> bool:
    """Whether a report is about an entry before the tail, so that the position must be `unfold`ed from its stream."""
    if position is None or position.anchored_at is None:
        return False
    anchored_at = position.anchored_at
    return any(
        r.transact_time <= anchored_at.transact_time and occurrence_of(r) <= anchored_at
        for r in reports
        if not isinstance(r, SettleFunding)
    )


def unfold(events: Iterable[PositionEvent]) -> Position | None:
    """The position with its whole history as tail.

    Old entries are kept apart until an event concerns them: a tail is copied with every event.
    """
    position: Position | None = None
    old: list[Booked] = []
    for event in events:
        if position is not None and old and (not position.tail or _reaches(event, old[-1].entry.occurrence)):
            position, old = replace(position, tail=(*old, *position.tail)), []
        position = evolve(position, event, tail_max=None)
        if len(position.tail) > 2 * TAIL_MAX:
            old += position.tail[:-TAIL_MAX]
            position = replace(position, tail=position.tail[-TAIL_MAX:])
    return position and replace(position, tail=(*old, *position.tail))


def _reaches(event: PositionEvent, place: Occurrence) -> bool:
    """Whether an event concerns an entry at or before an occurrence."""
    match event:
        case TradeBooked() | PositionTransferred():
            return entry_of(event).occurrence <= place
        case TradeReversed():
            return Occurrence(event.transact_time, event.trade_seq, event.exec_id) <= place
        case PositionRestated():
            return any(Occurrence(item.transact_time, item.trade_seq, item.exec_id) <= place for item in event.items)
        case LotsAssigned():
            return event.transact_time <= place.transact_time
        case FundingSettled() | PositionBroken():
            return False
        case _:
            assert_never(event)


def decide(position: Position | None, request: PositionRequest) -> tuple[PositionEvent, ...]:
    """The events that carry out a request; () if already in effect. Raises RequestRefused."""
    if position is None or position.costing is None or position.costing.cost_basis is not CostBasis.SPECIFIC:
        raise RequestRefused(
            "lots are assigned where cost is kept by SPECIFIC identification",
            cost_basis=position.costing.cost_basis if position and position.costing else None,
        )
    named = (request.transact_time, request.trade_seq, request.exec_id)
    booked = next((item for item in position.tail if item.entry.occurrence[:3] == named), None)
    if booked is None or not booked.effect.closed:
        raise RequestRefused("lots are assigned to a disposal on record", exec_id=request.exec_id)
    if booked.entry.lot_ids == request.lot_ids:
        return ()
    if len(set(request.lot_ids)) < len(request.lot_ids):
        raise RequestRefused("each assigned lot is named once", exec_id=request.exec_id)
    book = reduce(costing.book_with, (item.effect for item in _before(position, booked)), position.anchor)
    held = {lot.lot_id for lot in book.lots}
    if unknown := [lot_id for lot_id in request.lot_ids if lot_id not in held]:
        raise RequestRefused("an assigned lot was open at the disposal", lot_id=unknown[0], exec_id=request.exec_id)
    rebooked = rebooking.rebook(
        position.anchor, position.tail, position.costing, assigned={request.exec_id: request.lot_ids}
    )
    assigned = LotsAssigned(position.key, request.exec_id, request.lot_ids, request.transact_time)
    return (assigned, *_restatements(position.key, (request.exec_id,), rebooked, position.book))


def _before(position: Position, booked: Booked) -> Iterable[Booked]:
    return (item for item in position.tail if item.entry.occurrence < booked.entry.occurrence)


def admit(position: Position | None, reports: Sequence[PositionReport], costing_: Costing) -> tuple[PositionEvent, ...]:
    """The events that reports add, in any order of arrival. Never refuses; the caller has removed repeated exec ids.

    Reports of one call are booked in order of occurrence. Those before the latest on record are booked late and busted
    ones reversed, followed by one restatement of every entry they changed.
    """
    events: list[PositionEvent] = []
    bookings: list[Filled | Transfer] = []
    reversals: list[Reverse] = []
    fundings: dict[str, FundingSettled] = {}  # of this call, which may repeat itself
    transfers: dict[str, Transfer] = {}
    for report in reports:
        match report:
            case SettleFunding(funding_id=funding_id):
                settled_ = FundingSettled(
                    report.key, funding_id, report.amount, report.transact_time, nanos=report.nanos
                )
                known = fundings.get(funding_id) or (position.fundings.get(funding_id) if position else None)
                if known is None:
                    fundings[funding_id] = settled_
                    events.append(settled_)
                elif known.amount != report.amount:
                    events += _contradicted(position, report, known)
            case Transfer(transfer_id=transfer_id):
                booked = position.transfers.get(transfer_id) if position else None
                if booked is not None:
                    events += _contradicted(position, report, booked) if not _is_same_transfer(report, booked) else ()
                elif transfer_id not in transfers:
                    transfers[transfer_id] = report
                    bookings.append(report)
            case Filled():
                bookings.append(report)
            case Reverse():
                reversals.append(report)
            case _:
                assert_never(report)
    if len(bookings) > 1:
        bookings.sort(key=occurrence_of)
    latest = position.last if position else None
    late = list(takewhile(lambda report: occurrence_of(report) < latest, bookings)) if latest is not None else []
    book = position.book if position else costing.empty(costing_.cost_basis)
    if position is not None and (late or reversals):
        moved, book = _rebooked(position, late, reversals, costing_)
        events += moved
    effect = None
    for report in bookings[len(late) :]:
        book = costing.book_with(book, effect) if effect is not None else book
        effect = costing.effect_of(book, _entry(report), costing_)
        events.append(_booking(report, costing_, effect, is_late=False))
    quantity = book.quantity + effect.quantity if effect is not None else book.quantity
    return (*events, *_oversold(position, bookings, quantity))


def _is_same_transfer(report: Transfer, booked: PositionTransferred) -> bool:
    return (report.side, report.quantity, report.cost) == (booked.side, booked.quantity, booked.cost)


def _contradicted(
    position: Position | None, report: SettleFunding | Transfer, on_record: FundingSettled | PositionTransferred
) -> tuple[PositionBroken, ...]:
    """The break that shows a report and what it contradicts, unless it is on record."""
    about = report.funding_id if isinstance(report, SettleFunding) else report.transfer_id
    quantity = position.quantity if position is not None else ZERO
    broken = PositionBroken(
        report.key, "one id has one content", exec_id=about, quantity=exact(quantity),
        transact_time=report.transact_time, report=report, on_record=on_record,
    )  # fmt: skip
    known = position.broken if position is not None else ()
    return () if any((each.report, each.rule) == (report, broken.rule) for each in known) else (broken,)


def _rebooked(
    position: Position, late: Sequence[Filled | Transfer], reversals: Sequence[Reverse], costing_: Costing
) -> tuple[list[PositionEvent], Book]:
    """Late bookings in their place, reversals, and the restatement of the entries they changed; the resulting book."""
    assert not needs_history(position, [*late, *reversals]), "a report older than the tail needs the unfolded position"
    trades = {item.entry.occurrence.exec_id: item for item in position.tail if item.entry.is_trade} if reversals else {}
    reversed_ = [(r, trades[r.exec_id]) for r in reversals if r.exec_id in trades]
    rebooked = rebooking.rebook(
        position.anchor, position.tail, costing_,
        added=[_entry(report) for report in late], removed=[report.exec_id for report, _ in reversed_],
    )  # fmt: skip
    events: list[PositionEvent] = []
    booked = position.book
    for report, item in reversed_:
        commission = item.entry.commission or Money(ZERO, item.entry.contract.settle)
        events.append(
            TradeReversed(
                report.key, item.entry.contract, report.exec_id, report.trade_seq, transact_time=report.transact_time,
                commission=commission, effect=item.effect, reason=report.reason,
            )
        )  # fmt: skip
        booked = rebooking.minus_unmatched(booked, item.effect)
    for late_report in late:
        effect = rebooked.effects[occurrence_of(late_report)]
        events.append(_booking(late_report, costing_, effect, is_late=True))
        booked = rebooking.plus_unmatched(booked, effect)
    moved_by = tuple(occurrence_of(report).exec_id for report in (*reversals, *late))
    return [*events, *_restatements(position.key, moved_by, rebooked, booked)], rebooked.book


def _restatements(
    key: PositionKey, moved_by: tuple[str, ...], rebooked: rebooking.Rebooked, booked: Book
) -> list[PositionEvent]:
    items, lots = rebooked.restated, rebooking.lot_changes(booked, rebooked.book)
    if not items and not lots:
        return []
    parts = [items[at : at + RESTATED_ITEMS_MAX] for at in range(0, len(items), RESTATED_ITEMS_MAX)] or [()]
    return [
        PositionRestated(
            key,
            late_exec_ids=moved_by,
            items=part,
            lots=lots if number == len(parts) else (),
            part=number,
            parts=len(parts),
        )
        for number, part in enumerate(parts, 1)
    ]


def _oversold(
    position: Position | None, bookings: Sequence[Filled | Transfer], quantity: Decimal
) -> tuple[PositionBroken, ...]:
    """The break of a spot position that has just fallen below zero: an acquisition was never reported."""
    was_below = position is not None and position.quantity < 0
    if quantity >= 0 or was_below or not bookings or _contract(bookings[-1]).kind is not Kind.SPOT:
        return ()
    last = bookings[-1]
    exec_id = occurrence_of(last).exec_id
    return (
        PositionBroken(
            last.key,
            rule="a spot position is not below zero",
            exec_id=exec_id,
            quantity=exact(quantity),
            transact_time=last.transact_time,
        ),
    )


def _contract(report: Filled | Transfer) -> Contract:
    assert report.contract is not None, "the ledger fills in the contract"
    return report.contract


def _entry(report: Filled | Transfer) -> Entry:
    place, contract = occurrence_of(report), _contract(report)
    if isinstance(report, Transfer):
        return Entry(
            occurrence=place,
            contract=contract,
            side=report.side,
            quantity=report.quantity,
            price=None,
            commission=None,
            cost=report.cost,
            lots=report.lots,
        )
    return Entry(
        occurrence=place,
        contract=contract,
        side=report.side,
        quantity=report.last_qty,
        price=report.last_px,
        commission=report.commission,
    )


def entry_of(event: Booking) -> Entry:
    """A booking as costing sees it."""
    if isinstance(event, PositionTransferred):
        place = Occurrence(event.transact_time, 0, event.transfer_id)
        return Entry(
            occurrence=place,
            contract=event.contract,
            side=event.side,
            quantity=event.quantity,
            price=None,
            commission=None,
            cost=event.cost,
            lots=event.lots,
        )
    return Entry(
        occurrence=_trade_at(event),
        contract=event.contract,
        side=event.side,
        quantity=event.last_qty,
        price=event.last_px,
        commission=event.commission,
    )


def _booking(report: Filled | Transfer, costing_: Costing, effect: Effect, *, is_late: bool) -> Booking:
    if isinstance(report, Transfer):
        return PositionTransferred(
            report.key, contract=_contract(report), costing=costing_, transfer_id=report.transfer_id, side=report.side,
            quantity=report.quantity, cost=report.cost, transact_time=report.transact_time, effect=effect,
            is_late=is_late, reason=report.reason, counterparty=report.counterparty, lots=report.lots,
        )  # fmt: skip
    return TradeBooked(
        report.key, report.contract, costing_, report.cl_ord_id, exec_id=report.exec_id, trade_seq=report.trade_seq,
        side=report.side, last_qty=report.last_qty, last_px=report.last_px, commission=report.commission,
        liquidity=report.liquidity, transact_time=report.transact_time, effect=effect, is_late=is_late,
        kind=report.kind, nanos=report.nanos,
    )  # fmt: skip


def evolve(position: Position | None, event: PositionEvent, *, tail_max: int | None = TAIL_MAX) -> Position:
    """The position after an event. Total and unconditional: only additions and the order of occurrence."""
    if position is None:
        empty = costing.empty(event.costing.cost_basis if isinstance(event, Booking) else Costing().cost_basis)
        position = Position(event.key, empty, empty)
    match event:
        case TradeBooked() | PositionTransferred():
            return _with_booking(position, event, tail_max)
        case TradeReversed():
            return _with_reversal(position, event)
        case PositionRestated():
            return _with_restatement(position, event)
        case LotsAssigned():
            return replace(position, tail=_tail_assigned(position, event))
        case FundingSettled():
            return replace(
                position,
                funding=position.funding + event.amount.amount,
                funded_in=event.amount.currency,
                fundings=position.fundings.added(event.funding_id, event),
            )
        case PositionBroken():
            return replace(position, broken=(*position.broken, event)) if event.report is not None else position
        case _:
            assert_never(event)


def _with_booking(position: Position, event: Booking, tail_max: int | None) -> Position:
    effect, fees = event.effect, position.fees
    income, transferred, transfers = position.income, position.transferred, position.transfers
    conventions, book, anchor = position.costing, position.book, position.anchor
    if conventions is None:
        conventions, book = event.costing, costing.empty(event.costing.cost_basis)
        anchor = book
    if isinstance(event, PositionTransferred):
        transfers = transfers.added(event.transfer_id, event)
        if event.reason.is_income:
            income = income + event.cost
        else:
            transferred = transferred + event.cost
    elif effect.fee:
        fees = _plus_fee(fees, event.commission.currency, effect.fee)
    settlement_ids = position.settlement_ids
    if isinstance(event, TradeBooked) and event.kind in _AT_EXPIRY:
        settlement_ids = settlement_ids | {event.exec_id}
    if event.is_late:
        book = rebooking.plus_unmatched(book, effect)
        anchor, anchored_at, tail = _tail_with_late(position, Booked(entry_of(event), effect), book)
    else:
        book = costing.book_with(book, effect)
        anchor, anchored_at, tail = _tail_with(position, anchor, Booked(entry_of(event), effect, book), tail_max)
    return Position(
        position.key, book, anchor, event.contract, costing=conventions, anchored_at=anchored_at, tail=tail,
        realized=position.realized + effect.realized, rounding=position.rounding + effect.rounding,
        fee_cost=position.fee_cost + effect.fee_cost, fees=fees, funding=position.funding, funded_in=position.funded_in,
        income=income, transferred=transferred, fundings=position.fundings, transfers=transfers, broken=position.broken,
        settlement_ids=settlement_ids,
    )  # fmt: skip


def _plus_fee(fees: dict[str, Decimal], paid_in: str, fee: Decimal) -> dict[str, Decimal]:
    return fees | {paid_in: fees.get(paid_in, ZERO) + fee}


def _tail_with(
    position: Position, anchor: Book, booked: Booked, tail_max: int | None
) -> tuple[Book, Occurrence | None, tuple[Booked, ...]]:
    tail = position.tail + (booked,)  # noqa: RUF005 (a long tail is copied once this way, not twice)
    if tail_max is None or len(tail) < 2 * tail_max:
        return anchor, position.anchored_at, tail
    old, kept = tail[:tail_max], tail[tail_max:]
    after = old[-1].after or reduce(costing.book_with, (item.effect for item in old), anchor)
    return after, old[-1].entry.occurrence, kept


def _tail_with_late(
    position: Position, booked: Booked, book: Book
) -> tuple[Book, Occurrence | None, tuple[Booked, ...]]:
    if _is_before_tail(position, booked.entry.occurrence):
        return book, position.last, ()  # older than the tail: a new, empty tail starts after the last entry
    at = sum(1 for item in position.tail if item.entry.occurrence < booked.entry.occurrence)
    moved = (Booked(item.entry, item.effect) for item in position.tail[at:])
    return position.anchor, position.anchored_at, (*position.tail[:at], booked, *moved)


def _is_before_tail(position: Position, place: Occurrence) -> bool:
    return position.anchored_at is not None and place <= position.anchored_at


def _with_reversal(position: Position, event: TradeReversed) -> Position:
    effect = event.effect
    book = rebooking.minus_unmatched(position.book, effect)
    place = Occurrence(event.transact_time, event.trade_seq, event.exec_id)
    if _is_before_tail(position, place):
        position = replace(position, anchor=book, anchored_at=position.last, tail=())
    tail = tuple(
        item if item.entry.occurrence < place else Booked(item.entry, item.effect)
        for item in position.tail
        if item.entry.occurrence.exec_id != event.exec_id or not item.entry.is_trade
    )
    fees = _plus_fee(position.fees, event.commission.currency, -effect.fee) if effect.fee else position.fees
    return replace(
        position, book=book, tail=tail, fees=fees,
        realized=position.realized - effect.realized, rounding=position.rounding - effect.rounding,
        fee_cost=position.fee_cost - effect.fee_cost,
    )  # fmt: skip


def _tail_assigned(position: Position, event: LotsAssigned) -> tuple[Booked, ...]:
    return tuple(
        Booked(replace(item.entry, lot_ids=event.lot_ids), item.effect)
        if item.entry.occurrence.exec_id == event.exec_id
        else item
        for item in position.tail
    )


def _with_restatement(position: Position, event: PositionRestated) -> Position:
    cost, realized, rounding, fee_cost = position.book.cost, position.realized, position.rounding, position.fee_cost
    for item in event.items:
        cost += item.now.cost - item.was.cost
        realized += item.now.realized - item.was.realized
        rounding += item.now.rounding - item.was.rounding
        fee_cost += item.now.fee_cost - item.was.fee_cost
    book = rebooking.with_lot_changes(Book(position.book.lots, position.book.quantity, cost), event.lots)
    now = {item.exec_id: item.now for item in event.items}
    tail = tuple(Booked(item.entry, now.pop(item.entry.occurrence.exec_id, item.effect)) for item in position.tail)
    anchor, anchored_at = position.anchor, position.anchored_at
    if now or not tail:  # an entry before the tail has changed: a new, empty tail starts after the last entry
        anchor, anchored_at, tail = book, position.last, ()
    return replace(
        position, book=book, anchor=anchor, anchored_at=anchored_at, tail=tail,
        realized=realized, rounding=rounding, fee_cost=fee_cost,
    )  # fmt: skip
