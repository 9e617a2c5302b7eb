"""Views of positions, PnL, exposure and lots in a reading, alike for the API and the command line.

Each is costed by the account's own conventions or by others on request, and valued at the marks of the reading's
moment.
"""

from collections.abc import Iterable
from functools import partial
from typing import Any, NamedTuple

from api.daybook import Daybook
from api.parameters import Moment, Where
from api.read_models import schemas
from api.read_models.recosting import Conventions, recosted_lots, recosted_positions
from api.read_models.snapshot import Reading, marks_at
from domain.values import Mark
from projections.analytics import exposure, pnl
from projections.analytics.valuation import mark_of
from projections.models import journal, lots, positions, positions_occurred
from projections.storage.tables import PositionId, Row

OWN = Conventions()


class Lots(NamedTuple):
    """Open lots, and which disposal consumed how much of which lot."""

    opened: list[lots.LotRow]
    matched: list[lots.MatchRow]


def models(moment: Moment | None, conventions: Conventions = OWN) -> tuple[str, ...]:
    """Return the read models that positions, their PnL and exposure are read from."""
    is_summed = moment is not None and moment.occurred_by is not None
    return ("positions", "executions") if is_summed or conventions != OWN else ("positions",)


def positions_of(
    reading: Reading,
    where: Where,
    conventions: Conventions = OWN,
    *,
    limit: int | None = None,
    after: PositionId | None = None,
) -> list[positions.PositionRow]:
    """Return every position, with `avg_px`, or a page of them."""
    by = reading.occurred_by
    page: dict[str, Any] = where._asdict() | {"limit": limit, "after": after}
    held = positions.positions if by is None else partial(positions_occurred.positions, occurred_by=by)
    return recosted_positions(reading.source, held(reading.source, **page), conventions, by)


def pnl_of(
    daybook: Daybook, reading: Reading, where: Where, given: dict[str, Mark], conventions: Conventions = OWN
) -> list[pnl.PnlRow]:
    """Return every position's PnL at the marks."""
    marks = marks_at(daybook, reading, given)
    return [pnl.valued(row, mark_of(row, marks)) for row in positions_of(reading, where, conventions)]


def exposure_of(daybook: Daybook, reading: Reading, where: Where, given: dict[str, Mark]) -> list[exposure.ExposureRow]:
    """Return every open position's size at the marks."""
    marks = marks_at(daybook, reading, given)
    return [exposure.sized(row, mark_of(row, marks)) for row in positions_of(reading, where) if row["quantity"]]


def lots_of(reading: Reading, where: Where, conventions: Conventions = OWN) -> Lots:
    """Return all lots and matches, by position and in order of occurrence."""
    rows = positions_of(reading, where)
    if reading.occurred_by is not None or any(conventions.changes(row) for row in rows):
        return Lots(*recosted_lots(reading.source, rows, conventions, reading.occurred_by))
    return Lots(
        lots.open_lots(reading.source, **where._asdict(), limit=None),
        lots.matches(reading.source, **where._asdict(), limit=None),
    )


def trial_balance_totals(rows: Iterable[journal.TrialBalanceRow]) -> list[Row]:
    """Return the sums of a trial balance by asset."""
    names = schemas.TrialBalanceTotal.model_fields
    return [{name: value for name, value in row.items() if name in names} for row in journal.totals(rows)]
