"""The catalog: every projection there is."""

from projections import breaks, executions, limits, lots, orders, positions

PROJECTIONS = (
    orders.PROJECTION,
    executions.PROJECTION,
    positions.PROJECTION,
    lots.PROJECTION,
    limits.PROJECTION,
    breaks.PROJECTION,
)
