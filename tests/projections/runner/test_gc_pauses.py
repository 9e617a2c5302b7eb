"""Full collections of garbage wait until nothing is to be folded, and come in the end."""

import gc
import weakref
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from adapters.log.postgres import PostgresLog
from domain.account import AccountOpened
from domain.ledger import Logged
from projections.models import positions
from projections.runner import gc_pauses
from projections.runner.runner import Runner
from projections.storage.tables import Rows
from tests.projections.running import TIMEOUT_S, following, until
from tests.records import records

pytestmark = pytest.mark.slow

YOUNG, MIDDLE = 100, 2  # Python's thresholds, lower, so that a little makes much of it
EVENTS = 40
FULL = 2


class Knot:
    """What only a collection finds."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture
def collections(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The generation of each collection from now on; what garbage does to the process is undone."""
    usual, seen = gc.get_threshold(), list[int]()

    def noted(phase: str, shown: dict[str, int]) -> None:
        if phase == "stop":
            seen.append(shown["generation"])

    monkeypatch.setattr(gc_pauses, "IDLE_EVERY", 10)
    gc.freeze()
    gc.collect()  # Python waits, too, until a quarter of what the last one has left is new: of next to nothing
    gc.set_threshold(YOUNG, MIDDLE, 1)
    gc.callbacks.append(noted)
    yield seen
    gc.callbacks.remove(noted)
    gc.set_threshold(*usual)
    gc.unfreeze()


@pytest.mark.slow
def test_a_full_collection_waits_for_a_pause_and_comes_then(
    log: PostgresLog, projector: sa.Engine, collections: list[int]
) -> None:
    """In every fold there are more new objects than would have led to one."""
    kept: list[list[object]] = []
    old: list[weakref.ref[Knot]] = []
    during: list[int] = []

    def fold(rows: Rows, logged: Logged, event: Any) -> None:
        before, knot = len(collections), Knot()
        kept.append([[] for _ in range(YOUNG * (MIDDLE + 2))])
        old.append(weakref.ref(knot))
        gc.collect(1)  # the knot is old: a young collection will not find it
        during.extend(collections[before:])

    full = replace(positions.PROJECTION, name="full", tables=(), folds={AccountOpened: fold})
    runner = Runner(log, projector, [full])
    log.append(records("account:1", range(1, 2)))
    with following(runner):
        assert runner.wait_for(1, TIMEOUT_S)
        collections.clear()
        log.append(records("account:2", range(1, EVENTS + 1)))
        until(lambda: FULL in collections)
        assert len(kept) == EVENTS + 1, "all was folded by then"
        assert FULL not in during
        assert len(during) > EVENTS
        until(lambda: not any(knot() for knot in old))


def test_a_full_collection_comes_in_the_end_without_a_pause(
    collections: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gc_pauses, "FULL_EVERY", 20)
    with gc_pauses.short_pauses():
        gc_pauses.freeze_objects()
        gc.collect()  # of which next to nothing is left, see above
        collections.clear()
        kept = [[] for _ in range(YOUNG * (MIDDLE + 1) * 100)]  # type: ignore[var-annotated]
    assert collections.index(FULL) >= 20
    assert len(kept) == YOUNG * (MIDDLE + 1) * 100


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Knot]]:
    """Something that outlives collections, each of which counts as long; nothing is frozen yet, nor in use."""
    monkeypatch.setattr(gc_pauses, "LONG_SECONDS", -1.0)
    monkeypatch.setattr(gc_pauses, "_PAUSES", gc_pauses._Pauses())
    others = gc.callbacks[:]
    gc.callbacks.clear()
    gc.collect()
    gc.unfreeze()
    yield [Knot()]
    gc.callbacks[:] = others
    gc.unfreeze()


def _collected() -> bool:
    """Whether a full collection removes what is garbage."""
    knot = weakref.ref(Knot())
    gc.collect()
    return knot() is None


def test_what_outlives_a_long_collection_is_frozen_until_all_is_gone_through(
    kept: list[Knot], monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = gc.get_threshold()
    with gc_pauses.short_pauses(), gc_pauses.short_pauses():
        assert gc.get_freeze_count() == 0
        assert _collected()
        assert gc.get_freeze_count() > 0
        assert _collected()
        aside = weakref.ref(kept.pop())
        assert _collected()
        assert aside() is not None  # frozen with all there was
        monkeypatch.setattr(gc_pauses, "EVERYTHING_SECONDS", -1.0)
        gc.collect()
        gc.collect()
        assert aside() is None
    assert gc.get_freeze_count() == 0
    assert gc.get_threshold() == usual


def test_short_collections_change_nothing(kept: list[Knot], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gc_pauses, "LONG_SECONDS", 3600.0)
    with gc_pauses.short_pauses():
        assert _collected()
        assert gc.get_freeze_count() == 0
    assert kept
    monkeypatch.setattr(gc_pauses, "LONG_SECONDS", -1.0)
    gc.collect()
    assert gc.get_freeze_count() == 0  # no process uses it any more
