"""Views: what a reading shows of positions, PnL, exposure and lots, alike for the API and the command line.

Each is costed by the account's own conventions or, asked to, by others, and valued at the marks of the reading's
moment.
"""

from typing import NamedTuple

from api.asked import Where
from api.reading import Reading, marks_at
from api.recosting import Conventions, recosted_lots, recosted_positions
from api.wiring import Daybook
from domain.values import Mark
from projections import exposure, lots, pnl, positions
from projections.tables import Row
from projections.valuation import mark_of

OWN = Conventions()


class Lots(NamedTuple):
    """Open lots, and which disposal used up how much of which lot."""

    opened: list[Row]
    matched: list[Row]


def positions_of(reading: Reading, where: Where, conventions: Conventions = OWN) -> list[Row]:
    """Every position, with `avg_px`."""
    return recosted_positions(reading.source, positions.positions(reading.source, **where._asdict()), conventions)


def pnl_of(
    book: Daybook, reading: Reading, where: Where, given: dict[str, Mark], conventions: Conventions = OWN
) -> list[Row]:
    """Every position's PnL at the marks."""
    marks = marks_at(book, reading, given)
    return [pnl.valued(row, mark_of(row, marks)) for row in positions_of(reading, where, conventions)]


def exposure_of(book: Daybook, reading: Reading, where: Where, given: dict[str, Mark]) -> list[Row]:
    """Every open position's size at the marks."""
    return exposure.exposure(reading.source, **where._asdict(), marks=marks_at(book, reading, given))


def lots_of(reading: Reading, where: Where, conventions: Conventions = OWN) -> Lots:
    """All lots and matches, by position and in order of occurrence."""
    rows = positions.positions(reading.source, **where._asdict())
    if any(conventions.changes(row) for row in rows):
        return Lots(*recosted_lots(reading.source, rows, conventions))
    return Lots(
        lots.open_lots(reading.source, **where._asdict(), limit=None),
        lots.matches(reading.source, **where._asdict(), limit=None),
    )
