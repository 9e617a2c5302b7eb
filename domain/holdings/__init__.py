"""Holdings: what an account has at each venue by its own events, and the reconciliation with what the venue says."""
