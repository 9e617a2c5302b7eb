"""Closings: decided once for a place in the log, and each for a later one than the one before."""

from datetime import UTC, date, datetime

import pytest
from msgspec.structs import asdict, replace

from domain.errors import RequestRefused
from domain.ledger import AGGREGATES
from domain.sealed import figures
from domain.sealed.figures import Closed, CloseFigures, Figure, FiguresClosed, FiguresTree, differing
from domain.sealed.groups import INSTRUMENTS, OTHERS, group_of

AT = datetime(2026, 3, 1, 9, tzinfo=UTC)
CLOSE = CloseFigures(
    as_of_seq=40, closed_before=date(2026, 3, 1), figures=2, root="r", figures_format=1, versions={"positions": 6},
    transact_time=AT,
)  # fmt: skip


def test_a_closing_states_what_was_requested():
    assert figures.decide(None, CLOSE) == (FiguresClosed(**asdict(CLOSE)),)
    assert figures.evolve(None, FiguresClosed(**asdict(CLOSE))) == Closed(40, "r")


def test_a_closing_that_is_on_record_adds_nothing():
    assert figures.decide(Closed(40, "r"), replace(CLOSE, transact_time=AT.replace(hour=10))) == ()


def test_other_figures_of_the_same_place_are_refused():
    with pytest.raises(RequestRefused, match="these are others"):
        figures.decide(Closed(40, "other"), CLOSE)


def test_a_closing_of_an_earlier_place_is_refused():
    with pytest.raises(RequestRefused, match="a later place"):
        figures.decide(Closed(41, "r"), CLOSE)


def test_the_first_figure_that_differs_is_named():
    assert differing({"a": "1", "b": "2"}, {"a": "1", "b": "2"}) is None
    assert differing({"a": "1", "b": "2", "c": "4"}, {"a": "1", "b": "3"}) == Figure("b", "3")
    assert differing({"a": "1"}, {}) == Figure("a", "")
    assert [each.key for each in FiguresTree({"b": "1", "a": "2", "é": "3"}).figures] == ["a", "b", "é"]


def test_every_kind_of_stream_has_its_place_among_the_groups():
    """A new kind is of no account, unless the groups' rule says so: then it is another rule."""
    accounts = {"account", "evidence", "limit", "order", "parentorder", "position", "statement", "venueorder"}
    found = {
        kind: group_of(f"{kind}:venue:main:x" if kind == "venueorder" else f"{kind}:main:x") for kind in AGGREGATES
    }
    assert {kind for kind, group in found.items() if group not in (INSTRUMENTS, OTHERS)} == accounts
    assert {kind for kind, group in found.items() if group == INSTRUMENTS} == {"instrument"}
    assert found["figures"] == found["subject"] == OTHERS
