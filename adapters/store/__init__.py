"""Where history is kept: the log on PostgreSQL, the same log in memory, and the server they need."""
