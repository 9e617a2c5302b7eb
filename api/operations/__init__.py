"""Running Daybook: health and metrics, and the commands for read models, keys, privacy and the database."""
