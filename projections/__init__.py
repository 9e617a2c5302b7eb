"""Read models: tables derived from the log. Each can be dropped and rebuilt from the events, row for row."""
