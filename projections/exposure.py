"""Exposure: how large positions are at given marks. A view of the rows of `projections.positions`.

`notional` is in the instrument's quote currency, below zero when short; an option's is its premium in settlement
currency, which is then told as its `quote`. Summed by account, strategy, instrument, venue or base asset: `gross` is
the sum of absolute notionals, `net` the signed sum; by quote currency, never converted.
"""

from collections.abc import Sequence

from domain.instrument import Kind
from domain.values import Mark
from projections.positions import positions
from projections.rows import Source
from projections.tables import Row
from projections.valuation import Marks, grouped, mark_of, marked, notional, with_venue

GROUPS = ("account_id", "strategy_id", "instrument_id", "venue", "base")


def exposure(
    source: Source,
    *,
    account_id: str | None = None,
    strategy_id: str | None = None,
    instrument_id: str | None = None,
    marks: Marks,
) -> list[Row]:
    """Every open position's size at the marks, by account, strategy and instrument."""
    rows = positions(source, account_id=account_id, strategy_id=strategy_id, instrument_id=instrument_id)
    return [sized(row, mark_of(row, marks)) for row in rows if row["quantity"]]


def sized(row: Row, mark: Mark | None) -> Row:
    """What a position's row says of its size; `notional` is None without a mark."""
    size = notional(row, mark)
    kept = ("account_id", "strategy_id", "instrument_id", "kind", "base", "quote", "quantity", "seq")
    quoted_in = {"quote": row["settle"]} if row["kind"] == Kind.OPTION else {}
    return with_venue({name: row[name] for name in kept}) | quoted_in | marked(mark) | {"notional": size}


def totals(rows: Sequence[Row], by: Sequence[str]) -> list[Row]:
    """`gross` and `net` of `exposure` rows for each of `by` (some of GROUPS) and quote currency."""
    sizes = [
        row | {"net": row["notional"], "gross": None if row["notional"] is None else abs(row["notional"])}
        for row in rows
    ]
    return grouped(sizes, (*by, "quote"), ("gross", "net"))
