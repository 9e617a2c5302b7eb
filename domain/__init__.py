"""The rules of the ledger: pure functions over exact decimals, without a clock, input, output or randomness."""
