"""Read models: what follows the log. Each can be thrown away and had again, row for row, from the events."""
