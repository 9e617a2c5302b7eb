"""The catalog: every projection there is."""

from projections import (
    balances,
    breaks,
    capital,
    daily,
    executions,
    journal,
    limits,
    lots,
    orders,
    positions,
    references,
)

PROJECTIONS = (
    orders.PROJECTION,
    executions.PROJECTION,
    positions.PROJECTION,
    lots.PROJECTION,
    limits.PROJECTION,
    breaks.PROJECTION,
    balances.PROJECTION,
    journal.PROJECTION,
    references.PROJECTION,
    daily.PROJECTION,
    capital.PROJECTION,
)
