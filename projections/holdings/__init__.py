"""Holdings by coin: exposure of what is held, and the statement that reconciles trading results with equity."""
