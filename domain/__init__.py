"""The rules of the ledger, pure and over exact decimals: no clock, no input or output, no randomness, no framework."""
