"""Views of positions, PnL, exposure and lots in a reading, alike for the API and the command line.

Each is costed by the account's own conventions or by others on request, and valued at the marks of the reading's
moment.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple

from api.parameters import Moment, Where
from api.read_models import schemas
from api.read_models.recosting import Conventions, recosted_lots, recosted_positions
from api.read_models.snapshot import Reading
from domain.values import ZERO, exact
from projections.analytics import exposure, pnl
from projections.analytics.valuation import Marks, mark_of
from projections.calendar import slot_of
from projections.models import balances, capital_flows, journal, lots, positions, positions_occurred, reference_data
from projections.storage.tables import PositionId, Row

OWN = Conventions()


class Lots(NamedTuple):
    """Open lots, and which disposal consumed how much of which lot."""

    opened: list[lots.LotRow]
    matched: list[lots.MatchRow]


PRICED = ("positions", "references", "capital")
HELD = (*PRICED, "balances")


def models(
    moment: Moment | None, conventions: Conventions = OWN, names: tuple[str, ...] = ("positions",)
) -> tuple[str, ...]:
    """Return the read models that positions are read from; with `names` their PnL (PRICED) or exposure (HELD)."""
    is_summed = moment is not None and moment.occurred_by is not None
    return (*names, "executions") if is_summed or conventions != OWN else names


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


def pnl_of(reading: Reading, where: Where, marks: Marks, conventions: Conventions = OWN) -> list[pnl.PnlRow]:
    """Return every position's PnL at the marks, and what the cash of whole accounts earned and was charged."""
    held = [pnl.valued(row, mark_of(row, marks)) for row in positions_of(reading, where, conventions)]
    return held + pnl.of_cash(flows_of(reading, where))


def pnl_totals(rows: Sequence[pnl.PnlRow], by: Sequence[str], reading: Reading, marks: Marks) -> list[pnl.PnlTotal]:
    """Return sums of PnL; fees in other currencies are counted at the marks."""
    return pnl.totals(rows, by, pnl.rates_of(rows, marks, reference_data.pairs(reading.source)))


class Exposure(NamedTuple):
    """The size of positions and coins, and the balances that are no exposure."""

    items: list[exposure.ExposureRow]
    uncounted: list[exposure.CoinRow]


def exposure_of(reading: Reading, where: Where, marks: Marks) -> Exposure:
    """Return the size of what is held at the marks."""
    source = reading.source
    pricing = exposure.Pricing(marks, reference_data.pairs(source), reference_data.base_currencies(source))
    return Exposure(*exposure.counted(positions_of(reading, where), cash_of(reading, where), pricing))


def cash_of(
    reading: Reading, where: Where, flows: Sequence[capital_flows.CashFlowRow] | None = None
) -> list[exposure.CashRow]:
    """Return the cash of whole accounts, less what is borrowed; none where positions are selected.

    As occurred it is that of the half hours that had begun. `flows` are all flows of these accounts, if known.
    """
    is_known = reading.occurred_by is None and all(name is None for name in where[1:])
    known = flows if is_known else None
    held: dict[tuple[str, str], tuple[Decimal, int]] = {}
    for row in flows_of(reading, where) if known is None else known:
        place = (row["account_id"], row["currency"])
        before = held.get(place, (ZERO, 0))
        moved = row["external"] + row["income"] - row["fees"] + row["converted"]
        held[place] = (exact(before[0] + moved), max(before[1], row["seq"]))
    at_venue = balances.venues(reading.source) if held else {}
    return [
        {"account_id": account_id, "venue": at_venue.get(account_id, ""), "asset": asset, "quantity": each, "seq": seq}
        for (account_id, asset), (each, seq) in sorted(held.items())
        if each
    ]


def flows_of(reading: Reading, where: Where) -> list[capital_flows.CashFlowRow]:
    """Return what moved the cash of whole accounts up to the reading's half hour; none where positions are selected."""
    if any(name is not None for name in where[1:]):
        return []
    by = reading.occurred_by
    end = capital_flows.SLOTS_MAX if by is None else slot_of(by) + 1
    return [row for row in capital_flows.cash_of(reading.source, where.account_id, end) if row["slot"] < end]


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
