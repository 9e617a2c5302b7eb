"""Gains by coin: what moved coins other than by trades, the facts in order of occurrence, their rates, the report."""
