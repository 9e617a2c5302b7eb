"""Rebooking: the book in order of occurrence after late, removed or recosted entries, and the restatements.

A position remembers its last entries with the effects they have on record (the tail) and the book before them (the
anchor). When an entry is inserted, removed or changed, the book is replayed from the anchor, and every entry whose
effect differs from the one on record is restated. Entries in order are booked without it.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal

from msgspec import Struct
from msgspec.structs import replace

from domain.account import Costing
from domain.position import costing
from domain.position.costing import Book, Effect, Entry, LotChange
from domain.values import Occurrence, exact


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


class Rebooked(Struct, frozen=True):
    """The effects of added entries, by their occurrence; the restatement of the others; the resulting book."""

    effects: dict[Occurrence, Effect]
    restated: tuple[Restated, ...]
    book: Book


def sums_of(effect: Effect) -> Sums:
    """The part of an effect that a restatement replaces."""
    return Sums(effect.cost, effect.realized, effect.rounding, effect.fee_cost)


def rebook(
    anchor: Book,
    tail: Iterable[Booked],
    costing_: Costing,
    *,
    added: Iterable[Entry] = (),
    removed: Iterable[str] = (),
    assigned: Mapping[str, tuple[str, ...]] | None = None,
) -> Rebooked:
    """The book with entries added, removed (by exec id), or assigned other lots (lot ids by exec id)."""
    arriving = {entry.occurrence: entry for entry in added}
    on_record = {booked.entry.occurrence: booked for booked in tail}
    gone, choices = frozenset(removed), assigned or {}
    book = before = anchor
    effects: dict[Occurrence, Effect] = {}
    restated = []
    for place in sorted([*arriving, *on_record]):
        known = on_record.get(place)
        if known is None:
            effect = effects[place] = costing.effect_of(book, arriving[place], costing_)
        else:
            was, before = before, costing.book_with(before, known.effect)
            if place.exec_id in gone and known.entry.is_trade:
                continue
            entry = known.entry
            if place.exec_id in choices:
                entry = replace(entry, lot_ids=choices[place.exec_id])
            effect = known.effect
            if entry is not known.entry or not _is_same(book, was):
                effect = costing.effect_of(book, entry, costing_)
            if effect != known.effect:
                was_sums = sums_of(known.effect)
                restated.append(Restated(place.exec_id, place.trade_seq, place.transact_time, was=was_sums, now=effect))
        book = costing.book_with(book, effect)
    return Rebooked(effects, tuple(restated), book)


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


def with_lot_changes(book: Book, changes: Iterable[LotChange]) -> Book:
    """The book with its open lots changed."""
    lots = book.lots
    for change in changes:
        if any(lot.lot_id == change.lot.lot_id for lot in lots):
            lots = lots.change(change.lot.lot_id, change.quantity, change.cost)
        else:
            lots = lots.add(change.lot)
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
