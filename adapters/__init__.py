"""The outside world: PostgreSQL, the log, its writer and its proofs, exchanges and market data."""
