"""Market data: the history of marks and funding rates, and the files they are imported from."""
