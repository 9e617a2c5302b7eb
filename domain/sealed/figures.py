"""Sealed figures: all balances, positions and days' PnL as of a place in the log, committed to by one event.

A figure is a key and a value, each one line of text: `balance:{account}:{venue}:{asset}`,
`position:{account}:{strategy}:{instrument}` or `pnl:{day}:{account}:{strategy}:{instrument}` (of a leg of hedge mode
with `:LONG` or `:SHORT` behind it), and a JSON object with its members sorted, no spaces, and decimals as text. Its
leaf is both lines, each ended, in a sorted tree (`domain.sealed.sorted_tree`). A figure that became zero stays; what
never existed has no leaf, and two neighbours show that.
"""

import base64
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import NamedTuple, assert_never

from msgspec import Struct

from domain import names
from domain.errors import RequestRefused
from domain.sealed.merkle import leaf_hash
from domain.sealed.sorted_tree import SortedTree
from domain.values import PositionSide

STREAM = "figures:closings"
FORMAT = 1  # of keys, values and leaves; another one is another number


def position_figure(account_id: str, strategy_id: str, instrument_id: str, position_side: str) -> str:
    """The key of the figures of a position, or of one leg of it."""
    leg = () if position_side == PositionSide.BOTH else (position_side,)
    return names.stream("position", account_id, strategy_id, instrument_id, *leg)


def day_figure(day: date, *position: str) -> str:
    """The key of the figures of a position's day: `position` as for `position_figure`."""
    return f"pnl:{day}:{position_figure(*position).removeprefix('position:')}"


# Events: the stored format. A name or a field here outlives this code; change one only with an upcast.
class FiguresClosed(Struct, frozen=True, tag="FiguresClosed"):
    """All figures as of a place in the log: their number, and the root of the sorted tree over them, in base64.

    `closed_before` is the first day (UTC) that had not ended when the event at `as_of_seq` was recorded: the days
    before it are closed. `versions` are those of the read models that the figures were computed by.
    """

    as_of_seq: int
    closed_before: date
    figures: int
    root: str
    figures_format: int
    versions: dict[str, int]
    transact_time: datetime


FiguresEvent = FiguresClosed


class CloseFigures(Struct, frozen=True):
    """Commit to all figures as of a place in the log."""

    as_of_seq: int
    closed_before: date
    figures: int
    root: str
    figures_format: int
    versions: dict[str, int]
    transact_time: datetime


class Closed(Struct, frozen=True):
    """The newest closing: what it is as of, and its root."""

    as_of_seq: int
    root: str


def decide(known: Closed | None, request: CloseFigures) -> tuple[FiguresEvent, ...]:
    """The events that carry out a request; () if already in effect. Raises RequestRefused."""
    if known is not None and known.as_of_seq == request.as_of_seq:
        if known.root != request.root:
            raise RequestRefused(
                "a place in the log has the figures that were closed there: these are others; run "
                "`daybook verify --figures`",
                as_of_seq=request.as_of_seq, on_record=known.root, now=request.root,
            )  # fmt: skip
        return ()
    if known is not None and known.as_of_seq > request.as_of_seq:
        raise RequestRefused(
            "a closing is as of a later place in the log than the one before", as_of_seq=request.as_of_seq,
            on_record=known.as_of_seq,
        )  # fmt: skip
    return (
        FiguresClosed(
            as_of_seq=request.as_of_seq, closed_before=request.closed_before, figures=request.figures,
            root=request.root, figures_format=request.figures_format, versions=request.versions,
            transact_time=request.transact_time,
        ),
    )  # fmt: skip


def evolve(known: Closed | None, event: FiguresEvent) -> Closed:
    """The newest closing after an event. Total and unconditional."""
    match event:
        case FiguresClosed(as_of_seq=as_of_seq, root=root):
            return Closed(as_of_seq, root)
        case _:
            assert_never(event)


class Figure(NamedTuple):
    """A figure: its key, and its value as canonical JSON."""

    key: str
    value: str

    def leaf(self) -> bytes:
        """Return the hash of its leaf."""
        return leaf_hash(f"{self.key}\n{self.value}\n".encode())


class FiguresTree:
    """The sorted tree over all figures of a closing. `values` are canonical JSON, by key."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self.figures: Sequence[Figure] = [Figure(key, values[key]) for key in sorted(values, key=str.encode)]
        self._tree = SortedTree([figure.leaf() for figure in self.figures])

    def root(self) -> bytes:
        """The root of the tree."""
        return self._tree.root()

    def root_text(self) -> str:
        """The root in base64, as an event has it."""
        return base64.b64encode(self.root()).decode()

    def proof(self, index: int) -> list[bytes]:
        """The inclusion proof of the figure at a place."""
        return self._tree.proof(index)


def differing(stated: Mapping[str, str], computed: Mapping[str, str]) -> Figure | None:
    """Return the first figure, by key, that was not stated as it is computed; its value is the one computed, "" if
    none is.
    """
    for key in sorted(stated.keys() | computed.keys(), key=str.encode):
        if stated.get(key) != computed.get(key):
            return Figure(key, computed.get(key, ""))
    return None
