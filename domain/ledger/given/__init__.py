"""Given: events that no decision of the ledger leads to: confirmations of the clock, and keys that sign."""
