"""The garbage collector's pauses while a process serves."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from api import collecting
from api.collecting import short_pauses


class Cycle:
    """What only the collector removes."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(name="kept")
def _kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Cycle]]:
    """Something that outlives collections, each of which counts as long; nothing is laid aside, nobody serves yet."""
    monkeypatch.setattr(collecting, "LONG_SECONDS", -1.0)
    monkeypatch.setattr(collecting, "_COLLECTING", collecting._Collecting())
    others = gc.callbacks[:]
    gc.callbacks.clear()
    gc.collect()
    gc.unfreeze()
    yield [Cycle()]
    gc.callbacks[:] = others
    gc.unfreeze()


def _collected() -> bool:
    """Whether a full collection removes what is garbage."""
    garbage = weakref.ref(Cycle())
    gc.collect()
    return garbage() is None


def test_what_outlives_a_long_collection_is_laid_aside_until_all_is_gone_through(
    kept: list[Cycle], monkeypatch: pytest.MonkeyPatch
) -> None:
    with short_pauses(), short_pauses():
        assert gc.get_freeze_count() == 0
        assert _collected()
        assert gc.get_freeze_count() > 0
        assert _collected()
        aside = weakref.ref(kept.pop())
        assert _collected()
        assert aside() is not None  # laid aside with all there was
        monkeypatch.setattr(collecting, "EVERYTHING_SECONDS", -1.0)
        gc.collect()
        gc.collect()
        assert aside() is None
    assert gc.get_freeze_count() == 0


def test_short_collections_change_nothing(kept: list[Cycle], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collecting, "LONG_SECONDS", 3600.0)
    with short_pauses():
        assert _collected()
        assert gc.get_freeze_count() == 0
    assert kept
    monkeypatch.setattr(collecting, "LONG_SECONDS", -1.0)
    gc.collect()
    assert gc.get_freeze_count() == 0  # nobody serves any more
