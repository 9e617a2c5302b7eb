"""Policies: the settings on record of what acts by itself, by account or for the firm."""

from domain.policies.settings import (
    DEFAULTS,
    HedgeBand,
    Policies,
    Policy,
    PolicyEvent,
    PolicySet,
    SetPolicy,
    Setting,
    decide,
    effective,
    evolve,
    in_force,
    is_loosened,
    setting_of,
    stream,
)

__all__ = [
    "DEFAULTS",
    "HedgeBand",
    "Policies",
    "Policy",
    "PolicyEvent",
    "PolicySet",
    "SetPolicy",
    "Setting",
    "decide",
    "effective",
    "evolve",
    "in_force",
    "is_loosened",
    "setting_of",
    "stream",
]
