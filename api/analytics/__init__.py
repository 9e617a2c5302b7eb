"""Days of PnL, equity, exposure, statistics and execution quality: the service, its routes and commands."""
