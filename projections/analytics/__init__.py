"""Figures computed from rows of read models: valuation, PnL, exposure, equity, statistics, restatement."""
