"""Which histories of positions are cached: those that late entries are put into, and few of the others."""

from typing import Any

import pytest

from adapters.log.memory import MemoryLog
from domain import position
from domain.ledger import Aggregates, unit_of_work
from domain.position import Position
from tests.domain.position.booking import AVERAGE, fill

STREAM = "position:main:trend:BTCUSDT.SIM"


class Book:
    """A position that lives in a cache, fill by fill, and is unfolded when it has to be, as the ledger does it."""

    def __init__(self) -> None:
        self.cache = Aggregates(MemoryLog())
        self.events: list[Any] = []
        self.unfolded = 0

    @property
    def state(self) -> Position | None:
        kept = self.cache._kept.get(STREAM)
        return None if kept is None else kept[1]

    @property
    def has_history(self) -> bool:
        assert self.state is not None
        return self.state.history is not None

    def fill(self, n: int, *, at: int | None = None) -> None:
        report, state = fill(n, "BUY", "1", "100", at=at), self.state
        if position.needs_history(state, [report]):
            state, self.unfolded = position.unfold(self.events), self.unfolded + 1
        for event in position.admit(state, [report], AVERAGE):
            self.events.append(event)
            state = position.evolve(state, event)
        self.cache.keep({STREAM: (len(self.events), state)})


@pytest.fixture
def book(monkeypatch: pytest.MonkeyPatch) -> Book:
    monkeypatch.setattr(unit_of_work, "IDLE_ENTRIES_MAX", 300)
    return Book()


def test_a_history_that_only_grows_is_forgotten_and_one_for_late_entries_is_kept(book: Book) -> None:
    for n in range(1, 400):
        book.fill(n)
    assert book.has_history and book.unfolded == 0
    for n in range(400, 700):
        book.fill(n)
    assert not book.has_history, "nothing late was put into it"

    for n in range(20):  # older than the tail
        book.fill(10_000 + n, at=5)
    assert (book.unfolded, book.has_history) == (1, True), "read once, and kept for the others"
    for n in range(700, 800):
        book.fill(n)
    book.fill(20_000, at=6)
    assert book.unfolded == 1

    for n in range(800, 1500):
        book.fill(n)
    assert not book.has_history, "nothing late for long"


def test_histories_that_only_grow_share_a_bound(book: Book) -> None:
    for n in range(1, 400):
        book.fill(n)
    version, state = book.cache._kept[STREAM]
    for number in range(5):
        book.cache.keep({f"{STREAM}{number}": (version, state)})
    kept = [known.history for _, known in book.cache._kept.values() if known.history is not None]
    assert len(kept) == 1 and book.cache._growing._entries <= 300
