"""The catalog: every projection there is."""

from projections import balances, breaks, executions, journal, limits, lots, orders, positions

PROJECTIONS = (
    orders.PROJECTION,
    executions.PROJECTION,
    positions.PROJECTION,
    lots.PROJECTION,
    limits.PROJECTION,
    breaks.PROJECTION,
    balances.PROJECTION,
    journal.PROJECTION,
)
