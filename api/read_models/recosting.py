"""Recosting: positions as they would be under another cost basis or fee policy than their account's.

Computed from the same executions, in order of occurrence; nothing is recorded. Funding does not depend on costing.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple, cast

from domain.account import CostBasis, Costing, FeePolicy
from domain.position import costing, expensed
from domain.values import ZERO, exact
from projections.models import executions, lots, positions
from projections.models.positions import PositionRow
from projections.storage.rows import Source
from projections.storage.tables import AnyRow


class Conventions(NamedTuple):
    """Conventions that replace the account's own; None keeps it."""

    cost_basis: CostBasis | None = None
    fee_policy: FeePolicy | None = None

    def over(self, row: AnyRow) -> Costing:
        """Return the conventions for a position's row."""
        return Costing(
            self.cost_basis or CostBasis(row["cost_basis"]),
            self.fee_policy or FeePolicy(row["fee_policy"]),
            row["money_places"],
        )

    def changes(self, row: AnyRow) -> bool:
        """Whether they differ from those of the row."""
        return row["cost_basis"] is not None and self.over(row) != Conventions().over(row)


def recosted_positions(
    source: Source, rows: Sequence[PositionRow], conventions: Conventions, occurred_by: datetime | None = None
) -> list[PositionRow]:
    """Return rows of `positions` under other conventions."""
    return [_recosted(source, row, conventions, occurred_by) if conventions.changes(row) else row for row in rows]


def recosted_lots(
    source: Source, rows: Sequence[PositionRow], conventions: Conventions, occurred_by: datetime | None = None
) -> tuple[list[lots.LotRow], list[lots.MatchRow]]:
    """Return open lots and matches of positions under other conventions; `seq` is that of the position."""
    opened: list[lots.LotRow] = []
    matched: list[lots.MatchRow] = []
    for row in rows:
        if row["cost_basis"] is not None:
            matches, still_open, _ = lots.recosted(_trades(source, row, occurred_by), conventions.over(row))
            opened += [{**lot, "seq": row["seq"]} for lot in still_open]
            matched += [{**match, "seq": row["seq"]} for match in matches]
    return opened, matched


def _recosted(source: Source, row: PositionRow, conventions: Conventions, occurred_by: datetime | None) -> PositionRow:
    chosen = conventions.over(row)
    entries = sorted(
        map(executions.costing_entry_of, _trades(source, row, occurred_by)), key=lambda entry: entry.occurrence
    )
    effects, book = costing.replay(entries, chosen, is_recosted=True)
    fees: dict[str, Decimal] = defaultdict(lambda: ZERO)
    for entry, effect in zip(entries, effects, strict=True):
        for fee in expensed(effect, entry.commission) if entry.commission is not None else ():
            fees[fee.currency] += fee.amount
    sums: dict[str, Any] = {
        name: exact(sum((getattr(effect, name) for effect in effects), ZERO))
        for name in ("realized", "rounding", "fee_cost")
    }
    recosted = row | sums | {
        "cost_basis": chosen.cost_basis.value,
        "fee_policy": chosen.fee_policy.value,
        "quantity": book.quantity,
        "cost": book.cost,
        "fees": {currency: exact(amount) for currency, amount in sorted(fees.items())},
    }  # fmt: skip
    return cast(PositionRow, recosted | {"avg_px": positions.average_price(recosted)})


def _trades(source: Source, row: PositionRow, occurred_by: datetime | None) -> list[executions.TradeRow]:
    return executions.history(
        source,
        account_id=row["account_id"],
        strategy_id=row["strategy_id"],
        instrument_id=row["instrument_id"],
        position_side=row["position_side"],
        occurred_by=occurred_by,
    )
