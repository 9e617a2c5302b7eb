"""A history that arrives late, in any order and any batches: the same book, by half hour too, and however it is cached.

The bounds of what is kept and named one by one are set low, so that a few entries are a long history.
"""

from collections import defaultdict
from decimal import Decimal as D
from functools import reduce
from typing import Any

import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from domain import position
from domain.account import CostBasis, Costing, FeePolicy
from domain.ledger import scan
from domain.position import (
    AssignLots,
    LotsAssigned,
    PositionRestated,
    PositionTransferred,
    Reverse,
    TradeBooked,
    TradeReversed,
    costing,
)
from domain.position.whole_numbers import SLOT_SECONDS
from domain.values import ZERO, Occurrence, exact
from tests.derived import derived
from tests.desk import Desk, costings, fill_days
from tests.domain.position.booking import INVERSE, LINEAR, SPOT, current, fill

SUMS = ("cost", "realized", "rounding", "fee_cost")
quantities = st.sampled_from(["1", "2", "0.5", "3"]) | st.integers(1, 400).map(lambda n: str(D(n).scaleb(-2)))
prices = st.integers(100, 99999).map(lambda n: str(D(n).scaleb(-2)))
fees = st.tuples(st.integers(0, 99).map(lambda n: str(D(n).scaleb(-3))), st.sampled_from(["USDT", "BTC", "BNB"]))
trades = st.lists(
    st.tuples(st.sampled_from(["BUY", "SELL"]), quantities, prices, fees, st.integers(0, 12), st.booleans()),
    min_size=2, max_size=30,
)  # fmt: skip
conventions = st.builds(Costing, st.sampled_from(CostBasis), st.sampled_from(FeePolicy), st.sampled_from([2, 8]))
bounds = st.fixed_dictionaries(
    {
        "domain.position.position.TAIL_MAX": st.sampled_from([1, 2, 5]),
        "domain.position.history.RUN_MAX": st.sampled_from([2, 3, 256]),
        "domain.position.rebooking.ITEMS_MAX": st.sampled_from([0, 2, 20]),
        "domain.position.rebooking.WINDOW_MAX": st.sampled_from([1, 4, 64]),
        "domain.position.rebooking.ALONE_MAX": st.sampled_from([0, 40]),
        "domain.position.history.LOTS_KEPT_MAX": st.sampled_from([0, 1, 1000]),
    }
)


def bounded(patch: pytest.MonkeyPatch, drawn: dict[str, int]) -> int:
    for name, value in drawn.items():
        patch.setattr(name, value)
    return drawn["domain.position.position.TAIL_MAX"]


def by_half_hour(events: list[Any]) -> dict[tuple[int, str], D]:
    """The sums that the events state, by half hour."""
    sums: dict[tuple[int, str], D] = defaultdict(lambda: ZERO)

    def add(at: Any, change: Any, sign: int) -> None:
        slot = at if isinstance(at, int) else int(at.timestamp()) // SLOT_SECONDS
        for name in SUMS:
            sums[slot, name] += sign * getattr(change, name)

    for event in events:
        match event:
            case TradeBooked() | PositionTransferred():
                add(event.transact_time, event.effect, 1)
            case TradeReversed():
                add(event.transact_time, event.effect, -1)
            case PositionRestated():
                for item in event.items:
                    add(item.transact_time, item.now, 1)
                    add(item.transact_time, item.was, -1)
                for moved in event.moved:
                    add(moved.half_hour, moved, 1)
                assert not (event.moved and event.items)
                assert event.since is not None or not event.moved
    return {place: exact(total) for place, total in sums.items() if total}


def standing(events: list[Any]) -> list[position.Entry]:
    """The entries that stand, in order of occurrence."""
    entries: dict[Occurrence, position.Entry] = {}
    for event in events:
        match event:
            case TradeBooked() | PositionTransferred():
                entry = position.entry_of(event)
                entries[entry.occurrence] = entry
            case TradeReversed():
                for place in [place for place in entries if _is_at(place, event)]:
                    del entries[place]
            case LotsAssigned():
                for place, entry in entries.items():
                    if _is_at(place, event):
                        entries[place] = replace(entry, lot_ids=event.lot_ids)
    return [entry for _, entry in sorted(entries.items())]


def _is_at(place: Occurrence, event: TradeReversed | LotsAssigned) -> bool:
    return (place.exec_id, place.transact_time) == (event.exec_id, event.transact_time)


def check(events: list[Any], state: position.Position, kept_by: Costing) -> None:
    """The current book is that of the standing entries in order, by half hour too."""
    entries = standing(events)
    effects, book = costing.replay(entries, kept_by)
    expected: dict[tuple[int, str], D] = defaultdict(lambda: ZERO)
    for entry, effect in zip(entries, effects, strict=True):
        for name in SUMS:
            expected[int(entry.occurrence.transact_time.timestamp()) // SLOT_SECONDS, name] += getattr(effect, name)
    assert by_half_hour(events) == {place: exact(total) for place, total in expected.items() if total}
    assert state.book == book
    assert (state.realized, state.rounding, state.fee_cost) == tuple(
        sum((getattr(effect, name) for effect in effects), ZERO) for name in SUMS[1:]
    )
    assert reduce(costing.book_with, (item.effect for item in state.tail), state.anchor) == state.book
    assert [item.effect for item in state.tail] == effects[len(entries) - len(state.tail) :]
    if state.history is not None:
        assert [*state.history, *(item.entry for item in state.tail)] == entries
        assert len(state.history) == len(entries) - len(state.tail)


def reverse(report: position.Filled) -> Reverse:
    return Reverse(report.key, report.exec_id, report.trade_seq, report.transact_time, "busted")


@given(trades, st.sampled_from([SPOT, LINEAR, INVERSE]), conventions, bounds, st.data())
@settings(max_examples=300, deadline=None, phases=[Phase.generate])
def test_any_order_and_any_batches_end_in_the_same_book(drawn, contract, kept_by, limits, data):
    fills = [
        replace(fill(n, side, qty, px, *fee, at=at * 600), contract=contract)
        for n, (side, qty, px, fee, at, _) in enumerate(drawn, 1)
    ]
    arriving: list[Any] = data.draw(st.permutations(fills))
    for report, (*_, is_busted) in zip(fills, drawn, strict=True):
        if is_busted and data.draw(st.booleans()):
            at = arriving.index(report)
            arriving.insert(data.draw(st.integers(at + 1, len(arriving))), reverse(report))
    sizes = data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=30))
    forgets = data.draw(st.lists(st.booleans(), min_size=30, max_size=30))
    with pytest.MonkeyPatch.context() as patch:
        tail_max = bounded(patch, limits)
        events: list[Any] = []
        state = None
        for number, size in enumerate([*sizes, *[1] * len(arriving)]):
            batch, arriving = arriving[:size], arriving[size:]
            batch = without_reversed(batch)
            if state is not None and forgets[number % len(forgets)]:
                state = position.without_history(state)
            if position.needs_history(state, batch):
                state = reduce(lambda s, e: position.evolve(s, e, tail_max=tail_max), events, None)
            added = position.admit(state, batch, kept_by)
            unfolded = reduce(lambda s, e: position.evolve(s, e, tail_max=tail_max), events, None)
            assert unfolded == state
            assert added == position.admit(unfolded, batch, kept_by), "what is cached changes no event"
            events += added
            state = reduce(lambda s, e: position.evolve(s, e, tail_max=tail_max), added, state)
            if state is not None:
                check(events, state, kept_by)
        stands = {entry.occurrence for entry in standing(events)}
        last = None
        for report in sorted(
            (one for one in fills if position.occurrence_of(one) in stands), key=position.occurrence_of
        ):
            last = reduce(position.evolve, position.admit(last, [report], kept_by), last)
        if last is not None:
            assert state is not None
            assert current(replace(state, fees=paid(state))) == current(replace(last, fees=paid(last)))


def paid(state: position.Position) -> dict[str, D]:
    return {currency: exact(fee) for currency, fee in state.fees.items() if fee}


def without_reversed(batch: list[Any]) -> list[Any]:
    """The ledger books no fill that is busted in the same batch."""
    gone = {report.exec_id for report in batch if isinstance(report, Reverse)}
    booked = {report.exec_id for report in batch if not isinstance(report, Reverse)}
    return [report for report in batch if report.exec_id not in gone & booked]


@given(fill_days, fill_days, costings, bounds)
@settings(max_examples=60, deadline=None, phases=[Phase.generate])
def test_a_desk_with_a_long_memory_and_one_without_record_the_same(first, second, kept_by, limits):
    """Trades, transfers, busts, corrections, and lots assigned."""
    with pytest.MonkeyPatch.context() as patch:
        bounded(patch, limits)
        desk = Desk(costing=kept_by)
        desk.live([*first, *second])
        patch.setattr("domain.ledger.unit_of_work.CACHED_ENTRIES_MAX", 0)
        other = Desk(costing=kept_by)
        for step in [*first, *second]:
            other.live([step])
            other.ledger = type(other.ledger)(other.log, other._now, other.ledger._marks)
        streams: dict[str, list[Any]] = {}
        for (_, one), (_, same) in zip(scan(desk.log), scan(other.log), strict=True):
            assert one.event == same.event
            if one.stream.startswith("position:"):
                streams.setdefault(one.stream, []).append(one.event)
        for events in streams.values():
            state = position.unfold(events)
            assert state is not None
            if standing(events):
                check(events, state, kept_by)
        assert not derived([logged.recorded for logged in scan(desk.log)]).faults


def test_lots_are_assigned_to_a_disposal_long_ago():
    kept_by = Costing(CostBasis.SPECIFIC)
    sides = ["BUY", "BUY", "SELL", *["BUY", "SELL"] * 400]
    events: list[Any] = []
    state = None
    for n, side in enumerate(sides, 1):
        report = fill(n, side, "1", str(100 + n % 7))
        added = position.admit(state, [report], kept_by)
        events += added
        state = reduce(position.evolve, added, state)
    assert state is not None
    assert len(state.history) + len(state.tail) == len(sides)
    at = position.occurrence_of(fill(3, "SELL", "1", "103"))
    request = AssignLots(state.key, at.exec_id, at.trade_seq, ("E00002",), at.transact_time)
    added = position.decide(state, request)
    assert position.needs_history(position.without_history(state), [request])
    assert [type(event) for event in added] == [LotsAssigned, PositionRestated]
    events += added
    state = reduce(position.evolve, added, state)
    check(events, state, kept_by)
    assert position.decide(state, request) == ()


@pytest.mark.parametrize("kind", ["moved", "items", "lots"])
def test_some_days_restate(kind):
    """Or the properties above show nothing."""

    def restates(drawn: tuple[Any, ...]) -> bool:
        day, kept_by, limits = drawn
        with pytest.MonkeyPatch.context() as patch:
            bounded(patch, limits)
            desk = Desk(costing=kept_by)
            desk.live(day)
            return any(
                getattr(event, kind, None) for event in desk.events("position") if isinstance(event, PositionRestated)
            )

    first_found = settings(max_examples=2000, phases=[Phase.generate], database=None)
    find(st.tuples(fill_days, costings, bounds), restates, settings=first_found)
