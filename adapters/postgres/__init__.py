"""PostgreSQL: the embedded server, connections, the pool, API keys and migrations."""
