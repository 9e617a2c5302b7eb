"""History: the entries of a position before its tail, in order of occurrence, and their effect on the book, run by run.

A late entry is replayed with all that occurred after it. The history keeps the entries for that, in runs, and each run
remembers the books it was last replayed on: what has not changed is not replayed again. A history is persistent: a
changed one shares its other runs with the original. It follows from the position's events and is a cache: a position
without one (`None`) is the same position, and is unfolded from its stream when an entry before its tail changes.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import groupby
from typing import NamedTuple

from msgspec.structs import replace

from domain.account import Costing
from domain.position import costing, whole_numbers
from domain.position.costing import Book, Effect, Entry
from domain.position.whole_numbers import Rows, State, TooFine, Totals, Units, rows_of, slot_of
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

    def __init__(
        self, entries: tuple[Entry, ...], rows: list[tuple[int, Rows]] | None = None, units: Units | None = None
    ) -> None:
        self.entries = entries
        self._rows = rows
        self._units = units
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
        found = replayed(before, groups, conventions, units)
        if len(before.lots) <= LOTS_KEPT_MAX:
            self._results = [*self._results[1 - RESULTS_MAX :], found]
        return found

    def rows(self, conventions: Costing, units: Units) -> list[tuple[int, Rows]]:
        """The entries in whole numbers, by half hour. Raises TooFine."""
        if self._rows is None or self._units is not units:
            slots = groupby(self.entries, key=lambda entry: slot_of(entry.occurrence))
            rows = [(slot, rows_of(entries, conventions, units)) for slot, entries in slots]
            self._rows, self._results, self._units = rows, [], units
        return self._rows

    def part(self, first: int, end: int, conventions: Costing, units: Units) -> list[tuple[int, Rows]]:
        """The entries from one up to another in whole numbers, by half hour. Raises TooFine."""
        found, at = [], 0
        for slot, rows in self.rows(conventions, units):
            chosen = rows.part(max(first - at, 0), max(end - at, 0))
            if chosen.rows:
                found.append((slot, chosen))
            at += len(rows.rows)
        return found

    def followed_by(self, entries: tuple[Entry, ...], conventions: Costing, units: Units) -> "Run":
        """The run with entries that occurred after it, prepared to be replayed if the run is."""
        longer = self.entries + entries
        if self._rows is None or (self.entries and self._units is not units):
            return Run(longer)
        try:
            added = Run(entries).rows(conventions, units)
        except TooFine:
            return Run(longer)
        rows, (slot, first) = self._rows, added[0]
        if rows and rows[-1][0] == slot:
            added = [(slot, rows[-1][1].followed_by(first)), *added[1:]]
            rows = rows[:-1]
        return Run(longer, rows + added, units)

    def find(self, place: Occurrence) -> int:
        """The number of the first entry at or behind an occurrence; the number of all entries if there is none."""
        return bisect_left(self.entries, place, key=_occurrence)


_EMPTY = Run((), [])


def replayed(before: State, groups: Iterable[tuple[int, Rows]], conventions: Costing, units: Units) -> Replayed:
    """Entries in whole numbers, by half hour, replayed on a book. Raises TooFine."""
    state, sums = before, []
    for slot, rows in groups:
        state, totals = whole_numbers.replayed(state, rows, conventions, units)
        sums.append((slot, totals))
    return Replayed(before, state, tuple(sums))


class History:
    """The entries of a position up to some occurrence. Equal to any other, and to none: it is a cache.

    Late entries are put into their runs together, when the history is next read.
    """

    __slots__ = ("_kept", "_starts", "count", "units")

    def __init__(
        self,
        runs: tuple[Run, ...] = (),
        starts: Sequence[State] = (),
        count: int = 0,
        units: Units = whole_numbers.UNITS[0],
        late: tuple[Entry, ...] = (),
    ) -> None:
        self._kept = runs, late
        self.count = count
        self.units = units
        self._starts = list(starts) or [State(0, 0)]  # the books before the first runs, as far as they are known

    @property
    def runs(self) -> tuple[Run, ...]:
        """The entries, run by run."""
        runs, late = self._kept
        return self._with(runs, late) if late else runs

    def _with(self, runs: tuple[Run, ...], late: Iterable[Entry]) -> tuple[Run, ...]:
        """Put late entries into their runs."""
        added: dict[int, list[Entry]] = {}
        for entry in late:
            at = bisect_left(runs, entry.occurrence, key=_last)
            added.setdefault(max(min(at, len(runs) - 1), 0), []).append(entry)
        found: list[Run] = []
        for at, run in enumerate(runs or (_EMPTY,)):
            if at not in added:
                found.append(run)
                continue
            entries = sorted((*run.entries, *added[at]), key=_occurrence)
            size = -(-len(entries) // -(-len(entries) // RUN_MAX))
            found += (Run(tuple(entries[first : first + size])) for first in range(0, len(entries), size))
        self._starts = self._starts[: min(added) + 1]
        self._kept = tuple(found), ()
        return self._kept[0]

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
        return bisect_left(self.runs, place, key=_last)

    def start(self, at: int, conventions: Costing) -> State:
        """The book before a run; of the number of all runs, the book after them."""
        runs, starts = self.runs, self._starts
        if at < len(starts):
            return starts[at]
        state = starts[-1]
        for number in range(len(starts) - 1, at):
            state = runs[number].replayed(state, conventions, self.units).after
            if len(starts) == number + 1 and len(state.lots) <= LOTS_KEPT_MAX:
                starts.append(state)
        return state

    def followed_by(self, entries: Sequence[Entry], conventions: Costing) -> "History":
        """The history with entries that occurred after it, prepared to be replayed."""
        if not entries:
            return self
        runs, added = self.runs, tuple(entries)
        kept, parts = runs, [added[at : at + RUN_MAX] for at in range(0, len(added), RUN_MAX)]
        last = _EMPTY
        if runs and len(runs[-1].entries) + len(added) <= RUN_MAX:
            kept, last = runs[:-1], runs[-1]
        longer = (last.followed_by(part, conventions, self.units) for part in parts)
        return History((*kept, *longer), self._starts[: len(kept) + 1], self.count + len(added), self.units)

    def including(self, entry: Entry) -> "History":
        """The history with an entry in its place."""
        runs, late = (self.runs, ()) if len(self._kept[1]) >= RUN_MAX else self._kept
        return History(runs, self._starts, self.count + 1, self.units, late=(*late, entry))

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
            run = self.runs[at]
            rows = run.part(0, run.find(place), conventions, self.units)
            state = replayed(state, rows, conventions, self.units).after
        return whole_numbers.book_of(state, conventions.cost_basis, self.units)

    def after(self, place: Occurrence, count: int) -> list[Entry]:
        """The first entries at or behind an occurrence, at most `count`."""
        found: list[Entry] = []
        for number in range(self.find(place), len(self.runs)):
            entries = self.runs[number].entries
            first = 0 if found else self.runs[number].find(place)
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


def _last(run: Run) -> Occurrence:
    return run.last


def _occurrence(entry: Entry) -> Occurrence:
    return entry.occurrence


def effects(book: Book, entries: Sequence[Entry], conventions: Costing) -> tuple[list[Effect], Book]:
    """The effects of entries on a book, one after the other, and the resulting book."""
    found = []
    for entry in entries:
        found.append(costing.effect_of(book, entry, conventions))
        book = costing.book_with(book, found[-1])
    return found, book
