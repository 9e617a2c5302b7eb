"""States as bytes: what comes back is what went in, for every kind of aggregate, or nothing at all."""

import shutil
from collections.abc import Iterator, Mapping
from datetime import timedelta
from decimal import Decimal as D
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct

import domain
from adapters.log import state_codec
from adapters.log.memory import MemoryLog
from adapters.log.state_codec import StateUnreadable
from domain import position
from domain.account import BalanceLine, CostBasis, Costing, Statement
from domain.ledger import AGGREGATES, Ledger, Recorded, scan, unit_of_work
from domain.order import CloseParent, OrderKey
from domain.position import Lots
from domain.values import Side
from tests import samples
from tests.desk import T0, Desk, costings, days, fill

Streams = dict[str, list[Recorded]]
long_days = st.tuples(days, days, days).map(lambda parts: [step for part in parts for step in part])
PAGE = 2


class Remembered:
    """Snapshots in memory: every state that is offered, as bytes."""

    def __init__(self) -> None:
        self.kept: dict[str, dict[int, bytes]] = {}
        self.recalled = 0

    def recall(self, stream: str, *, after: int) -> tuple[int, Any] | None:
        versions = self.kept.get(stream, {})
        version = max(versions, default=0)
        if version <= after:
            return None
        self.recalled += 1
        return version, state_codec.decode(stream, versions[version])

    def offer(self, stream: str, version: int, state: Any) -> None:
        try:
            self.kept.setdefault(stream, {})[version] = state_codec.encode(stream, state)
        except StateUnreadable:
            assert stream.startswith("position:"), "only in the middle of an append is a position not whole"


def streams_of(log: MemoryLog) -> Streams:
    streams: Streams = {}
    for logged in scan(log):
        streams.setdefault(logged.recorded.stream, []).append(logged.recorded)
    return streams


def boundaries(records: list[Recorded]) -> Iterator[int]:
    """The versions that appends ended with: every command of a desk has a second of its own."""
    for here, following in zip(records, [*records[1:], None], strict=True):
        if following is None or following.recorded_at != here.recorded_at:
            yield here.version


def exactly(state: Any) -> Any:
    """To the type and digits of every number; the order of a table's entries and the chunks of lots have no meaning."""
    match state:
        case Mapping():
            return sorted((repr(exactly(key)), exactly(value)) for key, value in state.items())
        case frozenset():
            return sorted(repr(exactly(item)) for item in state)
        case Lots() | tuple():
            return [type(state).__name__, *map(exactly, state)]
        case Struct():
            names = (name for name in state.__struct_fields__ if name != state_codec.CACHE)
            return [type(state).__name__, *(exactly(getattr(state, name)) for name in names)]
        case _:
            return (type(state).__name__, repr(state))


def check(stream: str, records: list[Recorded]) -> None:
    """From a snapshot after any append, the stream folds to what it folds to from its first event."""
    evolve = AGGREGATES[stream.partition(":")[0]].evolve
    events = [recorded.event for recorded in records]
    whole = reduce(evolve, events, None)
    for version in boundaries(records):
        state = reduce(evolve, events[:version], None)
        back = state_codec.decode(stream, state_codec.encode(stream, state))
        assert back == state
        assert exactly(back) == exactly(state)
        assert reduce(evolve, events[version:], back) == whole


@settings(max_examples=150)
@given(long_days, costings)
def test_a_state_comes_back_the_same_and_folds_on_to_the_same(day: list[tuple[int, ...]], costing: Costing) -> None:
    desk = Desk(costing=costing)
    desk.live(day)
    desk.report(Statement("main", "SIM", f"S{len(day)}", T0, (BalanceLine("USDT", D("1.50")),)))
    desk.request(CloseParent(OrderKey("main", "P-1"), "done", T0))
    for stream, records in streams_of(desk.log).items():  # type: ignore[arg-type]
        check(stream, records)


@settings(max_examples=80)
@given(long_days, costings, st.integers(1, 5))
def test_starts_from_snapshots_lead_to_the_same_log(day: list[tuple[int, ...]], costing: Costing, every: int) -> None:
    plain = Desk(costing=costing)
    plain.live(day)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unit_of_work, "PAGE_EVENTS", PAGE)
        remembered = Remembered()
        desk = Desk(MemoryLog(snapshots=remembered), costing)
        for number, step in enumerate(day):
            if number % every == 0:  # a new process: nothing cached
                desk.ledger = Ledger(desk.log, desk._now, desk.ledger._marks)
            desk.live([step])
    assert list(scan(desk.log)) == list(scan(plain.log))


@pytest.mark.parametrize("cost_basis", CostBasis)
def test_a_position_keeps_its_tail_and_its_anchor(cost_basis: CostBasis) -> None:
    desk, size = Desk(costing=Costing(cost_basis)), 3 * position.TAIL_MAX
    for n in range(size):
        side = Side.SELL if n % 3 == 2 else Side.BUY
        desk.report(fill(f"E{n:04}", side, D(1 + n % 7) / 10, D(90 + n % 13), n))
    desk.report(fill("late", Side.BUY, "0.3", "95", size - 40))
    desk.report(fill("next", Side.SELL, "0.7", "96", size))
    stream, records = next(item for item in streams_of(desk.log).items() if item[0].startswith("position:"))  # type: ignore[arg-type]
    events = [recorded.event for recorded in records]
    versions = {*range(0, len(events), 50), *list(boundaries(records))[-3:]} - {0}
    whole = reduce(position.evolve, events, None)
    for version in sorted(versions):
        state = reduce(position.evolve, events[:version], None)
        back = state_codec.decode(stream, state_codec.encode(stream, state))
        assert back == state
        assert reduce(position.evolve, events[version:], back) == whole
    assert exactly(back) == exactly(state)
    assert whole is not None and whole.anchored_at is not None, "the anchor has moved"
    assert {item.after is None for item in whole.tail} == {True, False}, "some books after have moved"


def test_every_kind_of_aggregate_has_a_shape_and_every_event_fits_one() -> None:
    assert state_codec.SHAPES.keys() == AGGREGATES.keys()
    for event in samples.EVENTS:
        names = {kind: module.__name__ for kind, module in AGGREGATES.items()}
        fitting = [name for name in names.values() if f"{type(event).__module__}.".startswith(f"{name}.")]
        for kind in [kind for kind, name in names.items() if name == max(fitting, key=len, default="")]:
            try:
                state = AGGREGATES[kind].evolve(None, event)
            except AssertionError:
                continue  # not the first of its stream
            try:
                kept = state_codec.encode(f"{kind}:x", state)
            except StateUnreadable:
                assert kind == "position"  # a restatement of nothing
                continue
            assert state_codec.decode(f"{kind}:x", kept) == state


def test_bytes_that_are_no_state_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    state = AGGREGATES["account"].evolve(None, samples.EVENTS[0])
    kept = state_codec.encode("account:main", state)
    for wrong in (b"", kept[:-1], kept + b"x", b"\0" + kept[1:], kept[:20]):
        with pytest.raises(StateUnreadable):
            state_codec.decode("account:main", wrong)
    with pytest.raises(StateUnreadable):
        state_codec.decode("position:main:trend:X.SIM", kept)
    monkeypatch.setattr(state_codec, "STATE_BYTES_MAX", 10)
    with pytest.raises(StateUnreadable, match="more than"):
        state_codec.encode("account:main", state)


def test_the_fingerprint_is_of_all_that_decides_what_a_state_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = state_codec.fingerprint()
    assert state_codec.topic_of("position:main:trend:X.SIM") == f"position:{ours}"
    shutil.copytree(domain.__path__[0], tmp_path, dirs_exist_ok=True)
    monkeypatch.setattr(domain, "__path__", [str(tmp_path)])
    state_codec.fingerprint.cache_clear()
    assert state_codec.fingerprint() == ours
    changed = tmp_path / "position" / "costing.py"
    changed.write_bytes(changed.read_bytes().replace(b"LOTS_CHUNK_MAX = 64", b"LOTS_CHUNK_MAX = 65"))
    state_codec.fingerprint.cache_clear()
    assert state_codec.fingerprint() != ours
    state_codec.fingerprint.cache_clear()


def test_a_moment_before_all_others_comes_back() -> None:
    desk = Desk()
    desk.report(fill("E1", Side.BUY, "1", "100"))
    at = T0 + timedelta(days=4000)
    desk.report(fill("E2", Side.SELL, "1", "100", int((at - T0).total_seconds() // 60)))
    for stream, records in streams_of(desk.log).items():  # type: ignore[arg-type]
        check(stream, records)
