"""History: the entries of a position before its tail, in order of occurrence, and their effect on the book, run by run.

A late entry is replayed with all that occurred after it. The history keeps the entries for that, in runs, and each run
remembers the books it was last replayed on: what has not changed is not replayed again. A history is persistent: a
changed one shares its other runs with the original. It follows from the position's events and is a cache: a position
without one (`None`) is the same position, and is unfolded from its stream when an entry before its tail changes.
"""

import contextlib
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import groupby
from typing import NamedTuple

from msgspec.structs import replace

from domain.account import Costing
from domain.position import costing, whole_numbers
from domain.position.costing import Book, Effect, Entry
from domain.position.whole_numbers import Row, State, TooFine, Totals, Units, row_of, slot_of
from domain.values import Occurrence

RUN_MAX = 256
LOTS_KEPT_MAX = 1000  # of a book that is remembered; one of more is made again
RESULTS_MAX = 2  # of a run: before and after the last change

Sums = tuple[tuple[int, Totals], ...]  # by the half hour of occurrence


class Replayed(NamedTuple):
    """A run replayed: the books before and after it, and what its entries changed, by half hour."""

    before: State
    after: State
    sums: Sums


class Run:
    """Consecutive entries, at most `RUN_MAX`, and the last results of replaying them."""

    __slots__ = ("_results", "_rows", "_units", "entries")

    def __init__(self, entries: tuple[Entry, ...]) -> None:
        self.entries = entries
        self._rows: list[tuple[int, list[Row]]] | None = None
        self._units: Units | None = None
        self._results: list[Replayed] = []

    @property
    def last(self) -> Occurrence:
        """The occurrence of the last entry."""
        return self.entries[-1].occurrence

    def replayed(self, before: State, conventions: Costing, units: Units) -> Replayed:
        """The run replayed on a book. Raises TooFine."""
        groups = self.rows(conventions, units)
        known: Replayed
        for known in self._results:
            if known.before == before:
                return known
        state, sums = before, []
        for slot, rows in groups:
            state, totals = whole_numbers.replayed(state, rows, conventions, units)
            sums.append((slot, totals))
        found = Replayed(before, state, tuple(sums))
        if len(before.lots) <= LOTS_KEPT_MAX:
            self._results = [*self._results[1 - RESULTS_MAX :], found]
        return found

    def rows(self, conventions: Costing, units: Units) -> list[tuple[int, list[Row]]]:
        """The entries in whole numbers, by half hour. Raises TooFine."""
        if self._rows is None or self._units is not units:
            slots = groupby(self.entries, key=lambda entry: slot_of(entry.occurrence))
            rows = [(slot, [row_of(entry, conventions, units) for entry in entries]) for slot, entries in slots]
            self._rows, self._results, self._units = rows, [], units
        return self._rows


class History:
    """The entries of a position up to some occurrence. Equal to any other, and to none: it is a cache."""

    __slots__ = ("_starts", "count", "runs", "units")

    def __init__(
        self,
        runs: tuple[Run, ...] = (),
        starts: Sequence[State] = (),
        count: int = 0,
        units: Units = whole_numbers.UNITS[0],
    ) -> None:
        self.runs = runs
        self.count = count
        self.units = units
        self._starts = list(starts) or [State(0, 0)]  # the books before the first runs, as far as they are known

    def __eq__(self, other: object) -> bool:
        return other is None or isinstance(other, History)

    def __hash__(self) -> int:
        return 0

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Entry]:
        return (entry for run in self.runs for entry in run.entries)

    def in_finer_units(self) -> "History":
        """The history in the next smaller units of money."""
        finer = whole_numbers.UNITS[whole_numbers.UNITS.index(self.units) + 1]
        return History(self.runs, (), self.count, finer)

    def find(self, place: Occurrence) -> int:
        """The number of the run that an occurrence falls into; the number of all runs if it is behind them."""
        return bisect_left(self.runs, place, key=lambda run: run.last)

    def start(self, at: int, conventions: Costing) -> State:
        """The book before a run; of the number of all runs, the book after them."""
        starts = self._starts
        if at < len(starts):
            return starts[at]
        state = starts[-1]
        for number in range(len(starts) - 1, at):
            state = self.runs[number].replayed(state, conventions, self.units).after
            if len(starts) == number + 1 and len(state.lots) <= LOTS_KEPT_MAX:
                starts.append(state)
        return state

    def followed_by(self, entries: Sequence[Entry], conventions: Costing | None = None) -> "History":
        """The history with entries that occurred after it, prepared to be replayed if their `conventions` are given."""
        if not entries:
            return self
        at, last = len(self.runs), tuple(entries)
        if at and len(self.runs[-1].entries) + len(last) <= RUN_MAX:
            at, last = at - 1, self.runs[-1].entries + last
        longer = self._changed(at, last, len(entries))
        if conventions is not None:
            with contextlib.suppress(TooFine):
                longer.runs[-1].rows(conventions, longer.units)
        return longer

    def including(self, entry: Entry) -> "History":
        """The history with an entry in its place."""
        at = self.find(entry.occurrence)
        if at == len(self.runs):
            return self.followed_by([entry])
        entries = self.runs[at].entries
        place = bisect_left(entries, entry.occurrence, key=_occurrence)
        return self._changed(at, (*entries[:place], entry, *entries[place:]), 1)

    def without(self, place: Occurrence) -> "History":
        """The history without the entry of an occurrence, if it has one."""
        at = self.find(place)
        entries = self.runs[at].entries if at < len(self.runs) else ()
        kept = tuple(entry for entry in entries if entry.occurrence != place)
        return self if len(kept) == len(entries) else self._changed(at, kept, -1)

    def assigned(self, exec_id: str, at: datetime, lot_ids: tuple[str, ...]) -> "History":
        """The history with other lots assigned to a disposal, if it has it."""
        first = bisect_left(self.runs, at, key=lambda run: run.last.transact_time)
        for number in range(first, len(self.runs)):
            entries = self.runs[number].entries
            if entries[0].occurrence.transact_time > at:
                break
            for place, entry in enumerate(entries):
                if entry.occurrence.exec_id == exec_id and entry.occurrence.transact_time == at:
                    chosen = replace(entry, lot_ids=lot_ids)
                    return self._changed(number, (*entries[:place], chosen, *entries[place + 1 :]), 0)
        return self

    def _changed(self, at: int, entries: tuple[Entry, ...], added: int) -> "History":
        """The history with other entries in a run, which is divided if they are too many."""
        half = len(entries) // 2
        parts = (entries,) if len(entries) <= RUN_MAX else (entries[:half], entries[half:])
        runs = tuple(Run(part) for part in parts if part)
        return History(
            (*self.runs[:at], *runs, *self.runs[at + 1 :]), self._starts[: at + 1], self.count + added, self.units
        )

    def book_before(self, place: Occurrence, conventions: Costing) -> Book:
        """The book right before an occurrence, of the entries on record. Raises TooFine."""
        at = self.find(place)
        state = self.start(at, conventions)
        if at < len(self.runs):
            before = bisect_left(self.runs[at].entries, place, key=_occurrence)
            for _, rows in self.runs[at].rows(conventions, self.units):
                state, _ = whole_numbers.replayed(state, rows[:before], conventions, self.units)
                before -= min(before, len(rows))
                if not before:
                    break
        return whole_numbers.book_of(state, conventions.cost_basis, self.units)

    def after(self, place: Occurrence, count: int) -> list[Entry]:
        """The first entries at or behind an occurrence, at most `count`."""
        found: list[Entry] = []
        for number in range(self.find(place), len(self.runs)):
            entries = self.runs[number].entries
            first = 0 if found else bisect_left(entries, place, key=_occurrence)
            found += entries[first : first + count - len(found)]
            if len(found) == count:
                break
        return found

    def place_of(self, exec_id: str, at: datetime) -> Occurrence | None:
        """The occurrence of the trade or transfer with an id at a time, if it has it."""
        first = bisect_left(self.runs, at, key=lambda run: run.last.transact_time)
        for run in self.runs[first:]:
            if run.entries[0].occurrence.transact_time > at:
                break
            for entry in run.entries:
                if entry.occurrence.exec_id == exec_id and entry.occurrence.transact_time == at:
                    return entry.occurrence
        return None

    def entry(self, place: Occurrence) -> Entry | None:
        """The entry of an occurrence, if there is one."""
        found = self.after(place, 1)
        return found[0] if found and found[0].occurrence == place else None


def _occurrence(entry: Entry) -> Occurrence:
    return entry.occurrence


def effects(book: Book, entries: Sequence[Entry], conventions: Costing) -> tuple[list[Effect], Book]:
    """The effects of entries on a book, one after the other, and the resulting book."""
    found = []
    for entry in entries:
        found.append(costing.effect_of(book, entry, conventions))
        book = costing.book_with(book, found[-1])
    return found, book
