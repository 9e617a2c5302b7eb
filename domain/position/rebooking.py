"""Rebooking: the book in order of occurrence after late, removed or recosted entries, and the restatements.

A position remembers its last entries with the effects they have on record (the tail), the book before them (the
anchor), and the entries before that (its history). When an entry is inserted, removed or changed, the book is replayed
from there on. While few effects differ from those on record, each is restated by itself (`Restated`); where many do,
for a late entry may move all that occurred after it, the restatement states their sums by the half hour of occurrence
(`Moved`): its size follows from the time that it reaches over, not from what was traded. Entries in order are booked
without any of this.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from domain.account import Costing
from domain.position import costing, history, whole_numbers
from domain.position.costing import Book, Effect, Entry, LotChange, Lots
from domain.position.history import History, Replayed, Run
from domain.position.whole_numbers import MONEY_PLACES, State, TooFine, Totals, Units, decimal_of, slot_of
from domain.values import ZERO, Occurrence, exact

ITEMS_MAX = 20  # entries that a restatement names one by one
ALONE_MAX = 40  # lots that are changed one by one
WINDOW_MAX = 64  # entries behind the first that are looked through for the end of a change


class Booked(Struct, frozen=True, gc=False):
    """An entry, its effect on record, and the book right after it (None once an entry before it has changed)."""

    entry: Entry
    effect: Effect
    after: Book | None = None


class Sums(Struct, frozen=True, gc=False):
    """The sums of an effect that a restatement replaces, in settlement currency."""

    cost: Decimal
    realized: Decimal
    rounding: Decimal
    fee_cost: Decimal


class Restated(Struct, frozen=True, gc=False):
    """One entry whose effect has changed: its sums on record before, its effect now."""

    exec_id: str
    trade_seq: int
    transact_time: datetime
    was: Sums
    now: Effect


class Moved(Struct, frozen=True, gc=False, array_like=True):
    """The change of sums of all entries of one half hour, counted from 1970, by a restatement. Written as a list.

    What was paid for an entry never changes, so that realized + rounding = cost + fee_cost in every change.
    """

    half_hour: int
    cost: Decimal
    realized: Decimal
    fee_cost: Decimal = ZERO

    @property
    def rounding(self) -> Decimal:
        """The change of rounding."""
        return exact(self.cost + self.fee_cost - self.realized)


class Changes(Struct, frozen=True):
    """Entries to be added, removed and assigned other lots (lot ids by occurrence)."""

    added: tuple[Entry, ...] = ()
    removed: frozenset[Occurrence] = frozenset()
    assigned: Mapping[Occurrence, tuple[str, ...]] = {}

    @property
    def first(self) -> Occurrence:
        """The first occurrence that is concerned."""
        return min(self.places)

    @property
    def places(self) -> set[Occurrence]:
        """All occurrences that are concerned."""
        return {entry.occurrence for entry in self.added} | self.removed | self.assigned.keys()

    def upto(self, last: Occurrence) -> tuple["Changes", "Changes"]:
        """The changes up to an occurrence, and those behind it."""
        return self._where(last, is_before=True), self._where(last, is_before=False)

    def _where(self, last: Occurrence, *, is_before: bool) -> "Changes":
        return Changes(
            tuple(entry for entry in self.added if (entry.occurrence <= last) is is_before),
            frozenset(place for place in self.removed if (place <= last) is is_before),
            {place: lots for place, lots in self.assigned.items() if (place <= last) is is_before},
        )

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.assigned)


class Rebooked(Struct, frozen=True):
    """The effects of added entries, by their occurrence; the entries removed; the restatement of the others; the
    resulting book.

    The others are restated one by one, or if they may be many (`is_summary`) by half hour: `moved` is empty if they
    changed in what they used up and in no sum.
    """

    effects: dict[Occurrence, Effect]
    removed: dict[Occurrence, Booked]
    restated: tuple[Restated, ...]
    book: Book
    moved: tuple[Moved, ...] = ()
    is_summary: bool = False


def sums_of(effect: Effect) -> Sums:
    """The part of an effect that a restatement replaces."""
    return Sums(effect.cost, effect.realized, effect.rounding, effect.fee_cost)


def rebook(
    anchor: Book, tail: Iterable[Booked], costing_: Costing, changes: Changes, *, before: Book | None = None
) -> Rebooked:
    """The tail's book with changes, every entry restated that has another effect.

    `before` is the book before the tail as it is on record, if that is not `anchor`.
    """
    arriving = {entry.occurrence: entry for entry in changes.added}
    on_record = {booked.entry.occurrence: booked for booked in tail}
    choices = changes.assigned
    book = anchor
    before = anchor if before is None else before
    effects: dict[Occurrence, Effect] = {}
    removed: dict[Occurrence, Booked] = {}
    restated = []
    for place in sorted([*arriving, *on_record]):
        known = on_record.get(place)
        if known is None:
            effect = effects[place] = costing.effect_of(book, arriving[place], costing_)
        else:
            was, before = before, costing.book_with(before, known.effect)
            if place in changes.removed:
                removed[place] = known
                continue
            entry = known.entry
            if place in choices:
                entry = replace(entry, lot_ids=choices[place])
            effect = known.effect
            if entry is not known.entry or not _is_same(book, was):
                effect = costing.effect_of(book, entry, costing_)
            if effect != known.effect:
                was_sums = sums_of(known.effect)
                restated.append(Restated(place.exec_id, place.trade_seq, place.transact_time, was=was_sums, now=effect))
        book = costing.book_with(book, effect)
    return Rebooked(effects, removed, tuple(restated), book)


def summarized(rebooked: Rebooked) -> Rebooked:
    """The same, its restatement by half hour if it is long."""
    if len(rebooked.restated) <= ITEMS_MAX:
        return rebooked
    moved: dict[int, Totals] = {}
    _add_items(moved, rebooked.restated)
    return Rebooked(rebooked.effects, rebooked.removed, (), rebooked.book, moved=_moved(moved), is_summary=True)


def rebook_deep(
    known: History, anchor: Book, tail: Sequence[Booked], book: Book, costing_: Costing, changes: Changes
) -> Rebooked:
    """The position's `book` with changes that begin in its history."""
    try:
        return _rebook_window(known, tail, book, costing_=costing_, changes=changes) or _rebook_runs(
            known, anchor, tail, book=book, costing_=costing_, changes=changes
        )
    except TooFine:
        finer = known.in_finer_units()
    return rebook_deep(finer, anchor, tail, book=book, costing_=costing_, changes=changes)


def _rebook_window(
    known: History, tail: Sequence[Booked], book: Book, costing_: Costing, changes: Changes
) -> Rebooked | None:
    """The changes, if they change a few entries only; else None."""
    first = changes.first
    entries = known.after(first, WINDOW_MAX + 1)
    entries += [item.entry for item in tail[: WINDOW_MAX + 1 - len(entries)]]
    is_end = len(entries) <= WINDOW_MAX
    entries = entries[:WINDOW_MAX]
    if not is_end and (changes.upto(entries[-1].occurrence)[1] or _held_more(entries, changes)):
        return None
    before = known.book_before(first, costing_)
    found, after = history.effects(before, entries, costing_)
    booked = [Booked(entry, effect) for entry, effect in zip(entries, found, strict=True)]
    rebooked = rebook(before, booked, costing_, changes)
    if len(rebooked.restated) > ITEMS_MAX:
        return None
    if is_end:
        return rebooked
    return replace(rebooked, book=book) if _is_same(after, rebooked.book) else None


def _held_more(entries: Iterable[Entry], changes: Changes) -> Decimal:
    """The quantity that is held more after changes of these entries."""
    removed = (entry for entry in entries if entry.occurrence in changes.removed) if changes.removed else ()
    added = sum(map(costing.change_of_quantity, changes.added), ZERO)
    return added - sum(map(costing.change_of_quantity, removed), ZERO)


class _Books:
    """The book on record and the one with changes, side by side; the effects and sums that were found to differ."""

    def __init__(self, before: State, conventions: Costing, units: Units) -> None:
        self._was = self._now = before
        self._conventions = conventions
        self._units = units
        self._effects: dict[Occurrence, Effect] = {}
        self._removed: dict[Occurrence, Booked] = {}
        self._moved: dict[int, Totals] = {}

    @property
    def is_same(self) -> bool:
        """Whether both are the same here."""
        return self._was is self._now or self._was == self._now

    def replay(self, replay: Callable[[State], Replayed]) -> None:
        """Go on by entries without changes of their own."""
        before = replay(self._was)
        if self.is_same:
            self._was = self._now = before.after
            return
        after = replay(self._now)
        for (slot, sums), (_, old_sums) in zip(after.sums, before.sums, strict=True):
            self._moved[slot] = self._moved.get(slot, Totals()).plus(sums).plus(old_sums, -1)
        self._was, self._now = before.after, after.after

    def rebook(self, run: Run, changes: Changes) -> None:
        """Go on by a run with changes: entry by entry from the first to the last of them."""
        conventions, units = self._conventions, self._units
        places = changes.places
        first, end = run.find(min(places)), run.find(last := max(places))
        end += end < len(run.entries) and run.entries[end].occurrence == last

        def part(begin: int, end: int) -> Callable[[State], Replayed]:
            rows = run.part(begin, end, conventions, units)
            return lambda state: history.replayed(state, rows, conventions, units)

        self.replay(part(0, first))
        entries, old = run.entries[first:end], whole_numbers.book_of(self._was, conventions.cost_basis, units)
        found, after = history.effects(old, entries, conventions)
        booked = [Booked(entry, effect) for entry, effect in zip(entries, found, strict=True)]
        rebooked = self.rebook_exact(booked, changes, before=old)
        self._was = whole_numbers.state_of(after, units)
        self._now = whole_numbers.state_of(rebooked.book, units)
        self.replay(part(end, len(run.entries)))

    def rebook_exact(self, booked: Sequence[Booked], changes: Changes, *, before: Book) -> Rebooked:
        """What changes do to entries with their effects on record; `before` is the book on record before them."""
        now = whole_numbers.book_of(self._now, self._conventions.cost_basis, self._units)
        rebooked = rebook(now, booked, self._conventions, changes, before=before)
        self._effects |= rebooked.effects
        self._removed |= rebooked.removed
        _add_items(self._moved, rebooked.restated)
        return rebooked

    def result(self, book: Book) -> Rebooked:
        """All that was found, with the resulting book."""
        return Rebooked(self._effects, self._removed, (), book, moved=_moved(self._moved), is_summary=True)


def _rebook_runs(
    known: History, anchor: Book, tail: Sequence[Booked], book: Book, costing_: Costing, changes: Changes
) -> Rebooked:
    """The changes, with their restatement by half hour: runs without changes of their own are replayed for sums."""
    at = known.find(changes.first)
    units = known.units
    books = _Books(known.start(at, costing_), costing_, units)
    for run in known.runs[at:]:
        here, changes = changes.upto(run.last)
        if here:
            books.rebook(run, here)
        elif books.is_same and not changes:
            break
        else:
            books.replay(partial(run.replayed, conventions=costing_, units=units))
    if not changes and books.is_same:
        return books.result(book)
    return books.result(books.rebook_exact(tail, changes, before=anchor).book)


def _add_items(moved: dict[int, Totals], items: Iterable[Restated]) -> None:
    for item in items:
        slot = slot_of(Occurrence(item.transact_time, item.trade_seq, item.exec_id))
        was, now = item.was, item.now
        changes = (
            now.cost - was.cost, now.realized - was.realized,
            now.realized + now.rounding - was.realized - was.rounding, now.fee_cost - was.fee_cost,
        )  # fmt: skip
        totals = Totals(*(whole_numbers.whole(change, MONEY_PLACES) for change in changes))
        moved[slot] = moved.get(slot, Totals()).plus(totals)


def _moved(sums: Mapping[int, Totals]) -> tuple[Moved, ...]:
    """The changes that are not zero, by half hour."""
    return tuple(
        Moved(
            slot,
            decimal_of(total.cost, MONEY_PLACES),
            decimal_of(total.realized, MONEY_PLACES),
            decimal_of(total.fee_cost, MONEY_PLACES),
        )
        for slot, total in sorted(sums.items())
        if any(total)
    )


def _is_same(a: Book, b: Book) -> bool:
    return a is b or (a.quantity == b.quantity and a.cost == b.cost and a.lots == b.lots)


def lot_changes(was: Book, now: Book) -> tuple[LotChange, ...]:
    """The changes from the open lots of `was` to those of `now`."""
    before = {lot.lot_id: lot for lot in was.lots}
    after = {lot.lot_id: lot for lot in now.lots}
    changes = []
    for lot_id in sorted(before.keys() | after.keys()):
        old, new = before.get(lot_id), after.get(lot_id)
        if old == new:
            continue
        if old is not None and new is not None and _is_one_lot(old, new):
            changes.append(LotChange(new, exact(new.quantity - old.quantity), exact(new.cost - old.cost)))
            continue
        if old is not None:
            changes.append(LotChange(old, exact(-old.quantity), exact(-old.cost)))
        if new is not None:
            changes.append(LotChange(new, new.quantity, new.cost))
    return tuple(changes)


def _is_one_lot(a: costing.Lot, b: costing.Lot) -> bool:
    return (a.opened_at, a.opened_quantity, a.opened_cost) == (b.opened_at, b.opened_quantity, b.opened_cost)


def with_lot_changes(book: Book, changes: Sequence[LotChange]) -> Book:
    """The book with its open lots changed."""
    if not changes:
        return book
    held = {lot.lot_id: lot for lot in book.lots}
    lots = book.lots
    for change in changes:
        lot = held.get(change.lot.lot_id)
        if lot is None:
            left = change.lot
        else:
            left = replace(lot, quantity=lot.quantity + change.quantity, cost=lot.cost + change.cost)
        if len(changes) <= ALONE_MAX:
            lots = lots.add(left) if lot is None else lots.change(left.lot_id, change.quantity, change.cost)
        if left.quantity or left.cost:
            held[left.lot_id] = left
        else:
            del held[left.lot_id]
    if len(changes) > ALONE_MAX:
        lots = Lots.of(lots.basis, held.values())
    return Book(lots, book.quantity, book.cost)


def plus_unmatched(book: Book, effect: Effect) -> Book:
    """The book with a late booking's sums and opened lots; what it closed is in the restatement's lot changes."""
    lots = book.lots
    for lot in effect.opened:
        lots = lots.add(lot)
    return Book(lots, book.quantity + effect.quantity, book.cost + effect.cost)


def minus_unmatched(book: Book, effect: Effect) -> Book:
    """The book without the sums of a reversed booking; its lots are in the restatement's lot changes."""
    return Book(book.lots, book.quantity - effect.quantity, book.cost - effect.cost)
