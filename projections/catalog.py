"""The catalog: every projection there is."""

from projections import breaks, capital, daily, executions, limits, lots, orders, positions, references

PROJECTIONS = (
    orders.PROJECTION,
    executions.PROJECTION,
    positions.PROJECTION,
    lots.PROJECTION,
    limits.PROJECTION,
    breaks.PROJECTION,
    references.PROJECTION,
    daily.PROJECTION,
    capital.PROJECTION,
)
