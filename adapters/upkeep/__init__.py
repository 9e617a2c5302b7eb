"""Upkeep: supervised threads, the report of their health, and the check of the clock."""
