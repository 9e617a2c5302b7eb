"""The catalog of all projections."""

from projections.controls import shadow_limits
from projections.gains import coin_entries
from projections.models import (
    balances,
    breaks,
    capital_flows,
    daily_sums,
    executions,
    journal,
    limits,
    log_index,
    lots,
    orders,
    positions,
    reference_data,
)

PROJECTIONS = (
    orders.PROJECTION,
    executions.PROJECTION,
    positions.PROJECTION,
    lots.PROJECTION,
    limits.PROJECTION,
    shadow_limits.PROJECTION,
    breaks.PROJECTION,
    balances.PROJECTION,
    journal.PROJECTION,
    reference_data.PROJECTION,
    daily_sums.PROJECTION,
    capital_flows.PROJECTION,
    coin_entries.PROJECTION,
    log_index.PROJECTION,
)
