"""Others doing what Daybook does, each in a process of its own, measured beside it."""
