"""A position with its whole history as tail: the same however much is frozen on the way."""

from functools import reduce
from typing import Any

import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from domain import position
from domain.account import Costing
from domain.ledger import scan
from domain.position import Booked, LotsAssigned, Position, PositionRestated, TradeReversed, costing
from tests.desk import Desk, costings, fill_days

days = st.tuples(fill_days, fill_days, fill_days).map(lambda parts: [step for part in parts for step in part])


def plainly(events: list[Any]) -> Position | None:
    """By the definition: every event on all that was before."""
    return reduce(lambda held, event: position.evolve(held, event, tail_max=None), events, None)


def without_books(held: Position | None) -> Position | None:
    """A restatement forgets the books after all entries of the tail, also of those before what it moved."""
    return held and replace(held, tail=tuple(Booked(item.entry, item.effect) for item in held.tail))


def check_books(held: Position | None) -> None:
    """Those that are known follow from the anchor."""
    book = held.anchor if held is not None else None
    for item in held.tail if held is not None else ():
        assert book is not None
        book = costing.book_with(book, item.effect)
        assert item.after in (None, book)


@pytest.mark.parametrize("tail_max", [1, 3])
@given(day=days, costing=costings)
def test_late_reports_find_the_frozen_history(tail_max: int, day: list[tuple[int, ...]], costing: Costing) -> None:
    desk = Desk(costing=costing)
    desk.live(day)
    streams: dict[str, list[Any]] = {}
    for _, recorded in scan(desk.log):
        if recorded.stream.startswith("position:"):
            streams.setdefault(recorded.stream, []).append(recorded.event)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("domain.position.position.TAIL_MAX", tail_max)
        for events in streams.values():
            for count in {len(events), len(events) // 2}:
                assert without_books(position.unfold(iter(events[:count]))) == without_books(plainly(events[:count]))
            check_books(position.unfold(events))


@pytest.mark.parametrize("kind", [LotsAssigned, PositionRestated, TradeReversed])
def test_some_days_reach_back(kind: type) -> None:
    """Or the property above says nothing."""

    def reaches(drawn: tuple[list[tuple[int, ...]], Costing]) -> bool:
        day, costing = drawn
        desk = Desk(costing=costing)
        desk.live(day)
        return any(type(event) is kind for event in desk.events("position"))

    first_found = settings(max_examples=2000, phases=[Phase.generate], database=None)
    find(st.tuples(days, costings), reaches, settings=first_found)
