"""The start of a command: the garbage collector waits until it is over, and is as usual afterwards."""

import gc
from collections.abc import Iterator

import pytest

from api.terminal import startup


@pytest.fixture
def usual() -> Iterator[tuple[int, int, int]]:
    """The thresholds of this process, and those again afterwards."""
    found = gc.get_threshold()
    yield found
    gc.set_threshold(*found)
    gc.unfreeze()


def test_the_collector_waits_while_a_command_starts_and_no_longer(usual: tuple[int, int, int]) -> None:
    startup.begin()
    assert gc.get_threshold()[0] == startup.NEW_OBJECTS
    startup.end()
    assert gc.get_threshold() == usual


def test_the_end_of_a_start_that_did_not_begin_changes_nothing(usual: tuple[int, int, int]) -> None:
    frozen = gc.get_freeze_count()
    startup.end()
    assert (gc.get_threshold(), gc.get_freeze_count()) == (usual, frozen)
