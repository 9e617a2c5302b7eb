"""What all commands share: options, output as a table, JSON or CSV, and the tables' columns."""
