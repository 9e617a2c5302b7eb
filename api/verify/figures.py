"""Figures computed from proved bytes: positions and PnL of a bundle, and what closings commit to.

A proof shows that the bytes are those that were signed, not that an honest Daybook wrote them. So an event that cannot
be folded is a finding about the bundle, and a closing whose figures do not follow from the events is named.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from adapters.figures import closings
from adapters.figures.closings import Closing
from adapters.log.postgres import PostgresLog
from adapters.postgres.connections import Role
from adapters.verify.bundles import Bundle
from adapters.verify.record_check import record_of
from api.encoding import plain
from domain.errors import HistoryBroken
from domain.ledger import Logged, scan, schema
from domain.position import TradeBooked
from domain.sealed.figures import FORMAT, FiguresClosed, FiguresTree, differing
from projections.analytics import figures
from projections.analytics.pnl import PnlRow, pnl
from projections.models.positions import PROJECTION, PositionRow, positions
from projections.storage.rows import MemoryRows
from projections.storage.tables import Projection

FIGURES_MIN = 100_000  # of closings of a bundle that are computed again, and one more for so many bytes of it
BYTES_A_FIGURE = 32
FIGURES_A_CLOSING_MIN = 1000
FEE_CURRENCIES_MAX = 5000  # of all positions; each fill copies the fees of its position
CLOSING = f'"type":"{schema.topic_of_class(FiguresClosed)}"'.encode()


class WrongFigure(NamedTuple):
    """A closing whose figures do not follow from the events: the first such figure, as stated and as it follows.

    `key` is "" where it is not known which one; a figure that is not stated, or does not follow, is None.
    """

    closing_seq: int
    as_of_seq: int
    key: str
    stated: str | None
    follows: str | None

    def __str__(self) -> str:
        where = f"the closing at seq {self.closing_seq}, as of seq {self.as_of_seq}"
        if not self.key:
            return f"{where}: its figures do not follow from the events; which one is not known: they are not kept"
        stated, follows = (each if each is not None else "nothing" for each in (self.stated, self.follows))
        return f"{where}: {self.key} is stated as {stated}, and from the events follows {follows}"


class Figures(NamedTuple):
    """What follows from the proved bytes: positions, their PnL without marks, and closings checked, wrong, and not
    checked because the bundle has so many.
    """

    positions: list[PositionRow]
    pnl: list[PnlRow]
    closings: int = 0
    wrong: tuple[WrongFigure, ...] = ()
    unchecked: int = 0


def figures_of(bundle: Bundle) -> Figures:
    """Return the figures of a bundle; closings are checked if it is whole. Raises HistoryBroken for events that make no
    sense.
    """
    every = _closings_in(bundle) if bundle.manifest.is_whole else []
    figures_max = FIGURES_MIN + bundle.size // BYTES_A_FIGURE
    found = _newest(every, figures_max)
    rows, currencies, seq = MemoryRows(), set[str](), 0
    folding = _Folding(rows, found, figures.PROJECTIONS if found else (PROJECTION,), figures_max)
    for seq, state in bundle.lines():
        record = record_of(seq, state)
        if isinstance(record.event, TradeBooked):
            currencies.update(paid.currency for paid in record.event.commissions)
        if len(currencies) > FEE_CURRENCIES_MAX:
            raise HistoryBroken(f"the trades up to seq {seq} pay fees in over {FEE_CURRENCIES_MAX} currencies")
        folding.fold(Logged(seq, record))
    held, gained = _valued(rows, seq)
    stated = dict(bundle.closings()) if found else {}
    checked = [one for one in found if one not in folding.unchecked]
    wrong = [each for one in checked if (each := folding.wrong(one, stated.get(one.event.as_of_seq))) is not None]
    return Figures(held, gained, len(checked), tuple(wrong), unchecked=len(every) - len(checked))


def check_closings(
    log: Iterable[Logged], found: Sequence[Closing], kept: Mapping[int, Mapping[str, str]]
) -> Iterator[WrongFigure]:
    """Fold a log, and yield the closings whose figures do not follow from its events. `kept` are those that are kept,
    by the place in the log they are as of.
    """
    folding = _Folding(MemoryRows(), found, figures.PROJECTIONS)
    for logged in log:
        folding.fold(logged)
    for one in found:
        if (each := folding.wrong(one, kept.get(one.event.as_of_seq))) is not None:
            yield each


class _Folding:
    """Folds events, and computes the figures of closings at the places in the log that they are as of."""

    def __init__(
        self,
        rows: MemoryRows,
        found: Sequence[Closing],
        projections: Sequence[Projection],
        figures_max: int | None = None,
    ) -> None:
        self.unchecked: list[Closing] = []
        self._left = figures_max
        self._rows = rows
        self._projections = projections
        self._due = {each.event.as_of_seq: each for each in found}
        self._computed: dict[int, FiguresTree] = {}

    def fold(self, logged: Logged) -> None:
        """Fold an event. Raises HistoryBroken for one that makes no sense."""
        try:
            for projection in self._projections:
                projection.fold(self._rows, [logged])
            if (closing := self._due.get(logged.seq)) is not None:
                self._compute(closing)
        except Exception as error:
            raise _senseless(logged.seq, error) from error

    def _compute(self, closing: Closing) -> None:
        if self._left is not None and self._left < 0:
            self.unchecked.append(closing)
            return
        tree = figures.figures(self._rows, closing.event.closed_before)
        self._computed[closing.event.as_of_seq] = tree
        if self._left is not None:
            self._left -= len(tree.figures)

    def wrong(self, closing: Closing, stated: Mapping[str, str] | None) -> WrongFigure | None:
        """Return how a closing does not follow; None if it does."""
        event = closing.event
        computed = self._computed.get(event.as_of_seq)
        follows = computed is not None and event.as_of_seq < closing.seq and event.figures_format == FORMAT
        if follows and computed is not None and closings.is_of(computed, event):
            return None
        unknown = WrongFigure(closing.seq, event.as_of_seq, "", stated=None, follows=None)
        if computed is None or stated is None or not closings.is_of(FiguresTree(stated), event):
            return unknown
        by_key = {figure.key: figure.value for figure in computed.figures}
        first = differing(stated, by_key)
        if first is None:
            return unknown
        return WrongFigure(
            closing.seq, event.as_of_seq, first.key, stated=stated.get(first.key), follows=by_key.get(first.key)
        )


def _newest(every: Sequence[Closing], figures_max: int) -> list[Closing]:
    """Return the newest closings that have so many figures by what they state, at least one."""
    found: list[Closing] = []
    for closing in reversed(every):
        figures_max -= max(closing.event.figures, FIGURES_A_CLOSING_MIN)
        if found and figures_max < 0:
            break
        found.insert(0, closing)
    return found


def _closings_in(bundle: Bundle) -> list[Closing]:
    return [closings.closing_of(seq, state) for seq, state in bundle.lines() if CLOSING in state and _is_one(state)]


def _is_one(state: bytes) -> bool:
    """Return whether an event that has the text of a closing is one."""
    return isinstance(record_of(0, state).event, FiguresClosed)


def _valued(rows: MemoryRows, seq: int) -> tuple[list[PositionRow], list[PnlRow]]:
    try:
        found = positions(rows), pnl(rows, marks={})
        plain(found)  # every number can be written out
    except Exception as error:
        raise _senseless(seq, error) from error
    return found


def _senseless(seq: int, error: Exception) -> HistoryBroken:
    reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return HistoryBroken(
        f"the events up to seq {seq} are proved, and no Daybook wrote them: no figures can be computed ({reason})"
    )


def closed_figures(url: str) -> Figures:
    """Compute the figures of all closings of a database again, from its events."""
    with PostgresLog(url, Role.AUDITOR) as log, log.connection() as connection:
        found = closings.all_closings(connection)
        kept = {
            one.event.as_of_seq: values
            for one in found
            if (values := closings.kept_values(connection, one.event.as_of_seq)) is not None
        }
        upto = max((one.event.as_of_seq for one in found), default=0)
        wrong = check_closings(scan(log, upto=upto), found, kept) if found else ()
        return Figures([], [], len(found), tuple(wrong))


def figures_json(found: Figures) -> dict[str, Any]:
    """Return the result for closings as JSON."""
    return {"closings": found.closings, "unchecked": found.unchecked, "wrong": [each._asdict() for each in found.wrong]}


def wrong_figures(wrong: Sequence[WrongFigure]) -> str:
    """Return what is wrong with closings, empty if nothing is."""
    return f"figures wrong in {len(wrong):,} of the closings, the first in {wrong[0]}" if wrong else ""
