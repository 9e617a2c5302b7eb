"""Verification: checking a ledger or a bundle event by event, diagnosing differences, restoring."""
