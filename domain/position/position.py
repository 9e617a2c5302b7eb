"""Position aggregate: the quantity, cost, lots and realized PnL of one strategy of one account in one instrument.

Quantities are signed. Sums are in settlement currency; cost and PnL follow `domain.position.costing`. The book is
always the one that the order of occurrence gives. An entry that arrives in order is booked with its effect and changes
nothing else; a late one is booked with the effect it has in its place, together with a restatement of what it changed
in later entries. A busted trade is reversed, a corrected one reversed and booked again, in the same way.

To book a late report the position remembers its last entries (the tail), the book before them (the anchor), and, if it
was folded from its first event, the entries before that (`history`). A position that was not, or has forgotten, is
folded from its first event when a report is older than the tail: `needs_history` tests that, `unfold` does it.

Invariant, exact, in settlement currency: realized + rounding + unrealized - fees - fee_cost + funding + income
+ transferred = the change of equity, where unrealized = value(quantity, mark) - cost.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import reduce
from itertools import count, takewhile
from typing import assert_never

from msgspec import Struct
from msgspec.structs import replace

from domain import names
from domain.account import CostBasis, Costing
from domain.errors import RequestRefused
from domain.immutable import AppendMap
from domain.instrument import Contract, Kind
from domain.position import costing, rebooking
from domain.position.costing import Book, Entry
from domain.position.entries import booking, contract_of, entry_of, entry_of_report, occurrence_of, oversold
from domain.position.events import (
    Booking,
    ContractDelivered,
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
    TradeReversed,
    Transfer,
)
from domain.position.history import History
from domain.position.rebooking import Booked, Changes
from domain.position.whole_numbers import TooFine
from domain.values import ZERO, Money, Occurrence, PositionSide, Side, TradeKind, exact

_AT_EXPIRY = {TradeKind.SETTLEMENT, TradeKind.EXERCISE, TradeKind.DELIVERY}
LATEST = datetime.max.replace(tzinfo=UTC)
TAIL_MAX = 128
ENTRIES_MAX = 250_000  # of the history of a position that is not being restated


class Position(Struct, frozen=True, gc=False):
    """The state of a position. `book` = `anchor` + the effects of `tail`; `anchored_at` is the last occurrence in the
    anchor. `history` has the entries up to there, if they are known.

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
    sent_at_cost: tuple[str, ...] = ()
    deliveries: dict[str, ContractDelivered] = {}
    history: History | None = None

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
    leg = () if key.position_side is PositionSide.BOTH else (key.position_side,)
    return names.stream("position", key.account_id, key.strategy_id, key.instrument_id, *leg)


def needs_history(position: Position | None, reports: Iterable[PositionReport | PositionRequest]) -> bool:
    """Whether a report is about an entry before the tail, so that the position must be `unfold`ed from its stream."""
    if position is None or position.history is not None:
        return False
    return any(_is_before_tail(position, occurrence_of(r)) for r in reports if not isinstance(r, SettleFunding))


def unfold(events: Iterable[PositionEvent]) -> Position | None:
    """The position with its history, however long, from all its events."""
    position: Position | None = None
    for event in events:
        position = evolve(position, event, entries_max=None)
    return position


def without_history(position: Position) -> Position:
    """The position with its tail only."""
    return replace(position, history=None)


def _with_history(position: Position) -> Position:
    """The position with its tail added to its history: a new, empty tail starts after the last entry."""
    history = position.history
    if history is not None and position.costing is not None:
        history = history.followed_by([item.entry for item in position.tail], position.costing)
    return replace(position, anchor=position.book, anchored_at=position.last, tail=(), history=history)


def decide(position: Position | None, request: PositionRequest) -> tuple[PositionEvent, ...]:
    """The events that carry out a request; () if already in effect. Raises RequestRefused."""
    if position is None or position.costing is None or position.costing.cost_basis is not CostBasis.SPECIFIC:
        raise RequestRefused(
            "lots are assigned where cost is kept by SPECIFIC identification",
            cost_basis=position.costing.cost_basis if position and position.costing else None,
        )
    booked, book = _on_record(position, _place(position, request.transact_time, request.exec_id))
    if booked is None or not booked.effect.closed:
        raise RequestRefused("lots are assigned to a disposal on record", exec_id=request.exec_id)
    if booked.entry.lot_ids == request.lot_ids:
        return ()
    if len(set(request.lot_ids)) < len(request.lot_ids):
        raise RequestRefused("each assigned lot is named once", exec_id=request.exec_id)
    held = {lot.lot_id for lot in book.lots}
    if unknown := [lot_id for lot_id in request.lot_ids if lot_id not in held]:
        raise RequestRefused("an assigned lot was open at the disposal", lot_id=unknown[0], exec_id=request.exec_id)
    changes = Changes(assigned={booked.entry.occurrence: request.lot_ids})
    rebooked = _rebooked_with(position, changes, position.costing)
    assigned = LotsAssigned(position.key, request.exec_id, request.lot_ids, request.transact_time)
    restated = _restatement(position.key, (request.exec_id,), rebooked, position.book, since=changes.first)
    events: tuple[PositionEvent, ...] = (assigned, *restated)
    if not (position.sent_at_cost and (corrections := _corrections(position, events))):
        return events
    after = position
    for event in events:
        after = evolve(after, event)
    return (*events, *_admitted(after, corrections, position.costing))


def _place(position: Position, at: datetime, exec_id: str) -> Occurrence:
    """The occurrence of the entry with an id at a time; one that is before it, if the entry is not on record."""
    for item in reversed(position.tail):
        if item.entry.occurrence.exec_id == exec_id and item.entry.occurrence.transact_time == at:
            return item.entry.occurrence
    found = position.history.place_of(exec_id, at) if position.history is not None else None
    return found if found is not None else Occurrence(at, 0, exec_id)


def _on_record(position: Position, place: Occurrence) -> tuple[Booked | None, Book]:
    """The entry of an occurrence, if it is on record, and the book right before it."""
    if not _is_before_tail(position, place):
        before = (item.effect for item in position.tail if item.entry.occurrence < place)
        found = next((item for item in position.tail if item.entry.occurrence == place), None)
        return found, reduce(costing.book_with, before, position.anchor)
    assert position.history is not None, "a request about an entry before the tail needs the history"
    assert position.costing is not None, "what has a history was booked"
    book = _book_before(position.history, place, position.costing)
    entry = position.history.entry(place)
    return (Booked(entry, costing.effect_of(book, entry, position.costing)) if entry else None), book


def _book_at(position: Position, report: Filled | Transfer) -> Book:
    """The book right before the place of a report that is sent at cost; the present one for others."""
    if not isinstance(report, Transfer) or not report.is_at_cost:
        return position.book
    return _on_record(position, occurrence_of(report))[1]


def _book_before(history: History, place: Occurrence, costing_: Costing) -> Book:
    try:
        return history.book_before(place, costing_)
    except TooFine:
        return _book_before(history.in_finer_units(), place, costing_)


def _rebooked_with(position: Position, changes: Changes, costing_: Costing) -> rebooking.Rebooked:
    """The position's book with changes, from the first of them on."""
    if not _is_before_tail(position, changes.first):
        return rebooking.summarized(rebooking.rebook(position.anchor, position.tail, costing_, changes))
    assert position.history is not None, "a report older than the tail needs the history"
    return rebooking.rebook_deep(
        position.history, position.anchor, position.tail, book=position.book, costing_=costing_, changes=changes
    )


def admit(position: Position | None, reports: Sequence[PositionReport], costing_: Costing) -> tuple[PositionEvent, ...]:
    """The events that reports add, in any order of arrival. Never refuses; the caller has removed repeated exec ids.

    Reports of one call are booked in order of occurrence. Those before the latest on record are booked late and busted
    ones reversed, followed by one restatement of every entry they changed. Where that changes the cost of what was sent
    at cost, a transfer of no quantity corrects it.
    """
    events = _admitted(position, reports, costing_)
    is_at_cost = any(isinstance(event, PositionTransferred) and event.is_at_cost for event in events)
    if not is_at_cost and (position is None or not position.sent_at_cost):
        return events
    corrections = _corrections(position, events)
    return _admitted(position, [*reports, *corrections], costing_) if corrections else events


def _corrections(position: Position | None, events: Sequence[PositionEvent]) -> list[Transfer]:
    """The transfers of no quantity after which nothing is realized by what was sent at cost."""
    if not any(isinstance(event, TradeReversed | PositionRestated | PositionTransferred) for event in events):
        return []
    after = position
    for event in events:
        after = evolve(after, event, entries_max=None)
    assert after is not None, "there are events"
    since = min(_changed_from(event) for event in events)
    corrections = []
    for transfer_id in after.sent_at_cost:
        sent = after.transfers[transfer_id]
        place = occurrence_of(sent)
        if sent.transact_time < since or (after.history is None and _is_before_tail(after, place)):
            continue
        before = list(_corrections_of(after, transfer_id))
        found, _ = _on_record(after, place)
        if found is None:
            continue
        gain, corrected = exact(found.effect.realized + found.effect.rounding), sum((e.cost for e in before), ZERO)
        if gain == corrected:
            continue
        # one takes back what was corrected before, and one corrects it all: each is rounded as what it takes back
        for number, cost in enumerate((cost for cost in (-corrected, gain) if cost), len(before) + 2):
            correction = Transfer(
                sent.key, f"{transfer_id}~{number}", sent.side, ZERO, cost=exact(cost),
                transact_time=sent.transact_time, reason=sent.reason, counterparty=sent.counterparty,
                contract=sent.contract,
            )  # fmt: skip
            corrections.append(correction)
    return corrections


def _changed_from(event: PositionEvent) -> datetime:
    """The time from which an event may change what entries on record released."""
    match event:
        case PositionRestated(since=Occurrence(transact_time=at)):
            return at
        case PositionRestated(items=items):
            return min((item.transact_time for item in items), default=LATEST)
        case TradeBooked() | PositionTransferred() | TradeReversed():
            return event.transact_time
        case _:
            return LATEST


def _corrections_of(position: Position, transfer_id: str) -> Iterator[PositionTransferred]:
    """The corrections on record of what was sent at cost."""
    for number in count(2):
        found = position.transfers.get(f"{transfer_id}~{number}")
        if found is None:
            return
        yield found


def _at_cost(book: Book, report: Filled | Transfer, costing_: Costing) -> Filled | Transfer:
    """A transfer with the cost of what it sends, of a book that holds it all; any other report as it is."""
    if not isinstance(report, Transfer) or not report.is_at_cost or not report.quantity:
        return report
    is_spot = report.contract is not None and report.contract.kind is Kind.SPOT
    if report.side is Side.BUY if is_spot else book.quantity * report.side.sign >= 0:
        return replace(report, is_at_cost=False)
    if report.quantity > abs(book.quantity):
        return replace(report, cost=ZERO)
    cost, _ = costing.release(book, report.quantity, costing_)
    return replace(report, cost=exact(-cost))


def _admitted(
    position: Position | None, reports: Sequence[PositionReport], costing_: Costing
) -> tuple[PositionEvent, ...]:
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
        late = [_at_cost(_book_at(position, report), report, costing_) for report in late]
        moved, book = _rebooked(position, late, reversals, costing_)
        events += moved
    effect = None
    for arrived in bookings[len(late) :]:
        book = costing.book_with(book, effect) if effect is not None else book
        report = _at_cost(book, arrived, costing_)
        effect = costing.effect_of(book, entry_of_report(report), costing_)
        events.append(booking(report, costing_, effect, is_late=False))
    quantity = book.quantity + effect.quantity if effect is not None else book.quantity
    outdated = (_outdated(position, report, quantity) for report in late) if position is not None else ()
    broken = next((each for each in outdated if each is not None), None)
    events += [broken] if broken is not None else []
    return (*events, *oversold(position.quantity if position else ZERO, bookings, quantity))


def _outdated(position: Position, report: Filled | Transfer, quantity: Decimal) -> PositionBroken | None:
    """The break of a fill from before its contract's size changed: what was held then was turned without it."""
    known, stated = position.contract, contract_of(report)
    if known is None or known.contract_size == stated.contract_size:
        return None
    return PositionBroken(
        report.key, "a fill is on record when its contract's size changes", exec_id=occurrence_of(report).exec_id,
        quantity=exact(quantity), transact_time=report.transact_time,
    )  # fmt: skip


def _is_same_transfer(report: Transfer, booked: PositionTransferred) -> bool:
    if report.is_at_cost and booked.is_at_cost:
        return (report.side, report.quantity) == (booked.side, booked.quantity)
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
    places = {report: _place(position, report.transact_time, report.exec_id) for report in reversals}
    changes = Changes(tuple(entry_of_report(report) for report in late), frozenset(places.values()))
    rebooked = _rebooked_with(position, changes, costing_)
    events: list[PositionEvent] = []
    booked = position.book
    for report in reversals:
        item = rebooked.removed.get(places[report])
        if item is None:
            continue
        commission = item.entry.commission or Money(ZERO, item.entry.contract.settle)
        further = item.entry.further_commissions
        events.append(
            TradeReversed(
                report.key, item.entry.contract, report.exec_id, report.trade_seq, transact_time=report.transact_time,
                commission=commission, effect=item.effect, reason=report.reason, further_commissions=further,
            )
        )  # fmt: skip
        booked = rebooking.minus_unmatched(booked, item.effect)
    for late_report in late:
        effect = rebooked.effects[occurrence_of(late_report)]
        events.append(booking(late_report, costing_, effect, is_late=True))
        booked = rebooking.plus_unmatched(booked, effect)
    moved_by = tuple(occurrence_of(report).exec_id for report in (*reversals, *late))
    events += _restatement(position.key, moved_by, rebooked, booked, since=changes.first)
    return events, rebooked.book


def _restatement(
    key: PositionKey, moved_by: tuple[str, ...], rebooked: rebooking.Rebooked, booked: Book, since: Occurrence
) -> tuple[PositionRestated, ...]:
    """The restatement of what changed, if anything did, of a position whose book was `booked` without it."""
    lots = rebooking.lot_changes(booked, rebooked.book)
    if rebooked.is_summary:
        return (PositionRestated(key, moved_by, lots=lots, since=since, moved=rebooked.moved),)
    if rebooked.restated or lots:
        return (PositionRestated(key, moved_by, rebooked.restated, lots),)
    return ()


def evolve(
    position: Position | None,
    event: PositionEvent,
    *,
    tail_max: int = TAIL_MAX,
    entries_max: int | None = ENTRIES_MAX,
) -> Position:
    """The position after an event. Total and unconditional: only additions and the order of occurrence.

    A position with more than `entries_max` entries forgets its history.
    """
    if position is None:
        empty = costing.empty(event.costing.cost_basis if isinstance(event, Booking) else Costing().cost_basis)
        position = Position(event.key, empty, empty, history=History())
    match event:
        case TradeBooked() | PositionTransferred():
            booked = _with_booking(position, event, tail_max)
            if entries_max is not None and booked.history is not None and len(booked.history) > entries_max:
                return booked if event.is_late else without_history(booked)
            return booked
        case TradeReversed():
            return _with_reversal(position, event)
        case PositionRestated():
            return _with_restatement(position, event)
        case LotsAssigned():
            return _with_assignment(position, event)
        case FundingSettled():
            return replace(
                position,
                funding=position.funding + event.amount.amount,
                funded_in=event.amount.currency,
                fundings=position.fundings.added(event.funding_id, event),
            )
        case PositionBroken():
            return replace(position, broken=(*position.broken, event)) if event.report is not None else position
        case ContractDelivered():
            return replace(position, deliveries=position.deliveries | {event.delivery_id: event})
        case _:
            assert_never(event)


def _with_booking(position: Position, event: Booking, tail_max: int) -> Position:
    effect, fees, sent_at_cost = event.effect, position.fees, position.sent_at_cost
    income, transferred, transfers = position.income, position.transferred, position.transfers
    conventions, book, anchor = position.costing, position.book, position.anchor
    if conventions is None:
        conventions, book = event.costing, costing.empty(event.costing.cost_basis)
        anchor = book
    if isinstance(event, PositionTransferred):
        transfers = transfers.added(event.transfer_id, event)
        if event.is_at_cost:
            sent_at_cost = (*sent_at_cost, event.transfer_id)
        if event.reason.is_income:
            income = income + event.cost
        else:
            transferred = transferred + event.cost
    else:
        for fee in costing.expensed(effect, event.commission):
            fees = _plus_fee(fees, fee.currency, fee.amount)
    settlement_ids = position.settlement_ids
    if isinstance(event, TradeBooked) and event.kind in _AT_EXPIRY:
        settlement_ids = settlement_ids | {event.exec_id}
    if event.is_late:
        book = rebooking.plus_unmatched(book, effect)
        anchor, anchored_at, tail, history = _tail_with_late(position, Booked(entry_of(event), effect), anchor, book)
    else:
        book = costing.book_with(book, effect)
        booked = Booked(entry_of(event), effect, book)
        anchor, anchored_at, tail, history = _tail_with(position, anchor, booked, tail_max)
    contract = position.contract if event.is_late and position.contract is not None else event.contract
    return Position(
        position.key, book, anchor, contract, costing=conventions, anchored_at=anchored_at, tail=tail,
        realized=position.realized + effect.realized, rounding=position.rounding + effect.rounding,
        fee_cost=position.fee_cost + effect.fee_cost, fees=fees, funding=position.funding, funded_in=position.funded_in,
        income=income, transferred=transferred, fundings=position.fundings, transfers=transfers, broken=position.broken,
        settlement_ids=settlement_ids, sent_at_cost=sent_at_cost, deliveries=position.deliveries, history=history,
    )  # fmt: skip


def _plus_fee(fees: dict[str, Decimal], paid_in: str, fee: Decimal) -> dict[str, Decimal]:
    return fees | {paid_in: fees.get(paid_in, ZERO) + fee}


_Tail = tuple[Book, Occurrence | None, tuple[Booked, ...], History | None]  # the anchor, its place, tail and history


def _tail_with(position: Position, anchor: Book, booked: Booked, tail_max: int) -> _Tail:
    tail = position.tail + (booked,)  # noqa: RUF005 (a long tail is copied once this way, not twice)
    if len(tail) < 2 * tail_max:
        return anchor, position.anchored_at, tail, position.history
    old, kept = tail[:tail_max], tail[tail_max:]
    after = old[-1].after or reduce(costing.book_with, (item.effect for item in old), anchor)
    history = position.history
    if history is not None and position.costing is not None:
        history = history.followed_by([item.entry for item in old], position.costing)
    return after, old[-1].entry.occurrence, kept, history


def _tail_with_late(position: Position, booked: Booked, anchor: Book, book: Book) -> _Tail:
    if _is_before_tail(position, booked.entry.occurrence):
        position = _with_history(position)
        history = position.history
        if history is not None:
            history = history.including(booked.entry)
        return book, position.anchored_at, (), history
    at = sum(1 for item in position.tail if item.entry.occurrence < booked.entry.occurrence)
    moved = (Booked(item.entry, item.effect) for item in position.tail[at:])
    return anchor, position.anchored_at, (*position.tail[:at], booked, *moved), position.history


def _is_before_tail(position: Position, place: Occurrence) -> bool:
    return position.anchored_at is not None and place <= position.anchored_at


def _with_reversal(position: Position, event: TradeReversed) -> Position:
    effect = event.effect
    book = rebooking.minus_unmatched(position.book, effect)
    place = _place(position, event.transact_time, event.exec_id)
    if _is_before_tail(position, place):
        position = _with_history(position)
        history = position.history.without(place) if position.history is not None else None
        position = replace(position, anchor=book, history=history)
    tail = tuple(
        item if item.entry.occurrence < place else Booked(item.entry, item.effect)
        for item in position.tail
        if item.entry.occurrence.exec_id != event.exec_id or not item.entry.is_trade
    )
    fees = position.fees
    for fee in costing.expensed(effect, event.commission):
        fees = _plus_fee(fees, fee.currency, -fee.amount)
    return replace(
        position, book=book, tail=tail, fees=fees,
        realized=position.realized - effect.realized, rounding=position.rounding - effect.rounding,
        fee_cost=position.fee_cost - effect.fee_cost,
    )  # fmt: skip


def _with_assignment(position: Position, event: LotsAssigned) -> Position:
    def is_meant(entry: Entry) -> bool:
        return entry.occurrence.exec_id == event.exec_id and entry.occurrence.transact_time == event.transact_time

    if any(is_meant(item.entry) for item in position.tail):
        tail = tuple(
            Booked(replace(item.entry, lot_ids=event.lot_ids), item.effect) if is_meant(item.entry) else item
            for item in position.tail
        )
        return replace(position, tail=tail)
    if position.history is None:
        return position
    return replace(position, history=position.history.assigned(event.exec_id, event.transact_time, event.lot_ids))


def _with_restatement(position: Position, event: PositionRestated) -> Position:
    cost, realized, rounding, fee_cost = position.book.cost, position.realized, position.rounding, position.fee_cost
    for item in event.items:
        cost += item.now.cost - item.was.cost
        realized += item.now.realized - item.was.realized
        rounding += item.now.rounding - item.was.rounding
        fee_cost += item.now.fee_cost - item.was.fee_cost
    for moved in event.moved:
        cost += moved.cost
        realized += moved.realized
        rounding += moved.rounding
        fee_cost += moved.fee_cost
    book = rebooking.with_lot_changes(Book(position.book.lots, position.book.quantity, cost), event.lots)
    now = {(item.transact_time, item.trade_seq, item.exec_id): item.now for item in event.items}
    tail = tuple(Booked(item.entry, now.pop(item.entry.occurrence[:3], item.effect)) for item in position.tail)
    position = replace(position, book=book, tail=tail, realized=realized, rounding=rounding, fee_cost=fee_cost)
    return _with_history(position) if now or event.since is not None or not tail else position
