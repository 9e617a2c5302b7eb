"""The event log, in PostgreSQL and in memory: reading, listening, snapshots and their codec."""
