"""Audit: the events of the log, proofs of inclusion and consistency, and the commands that verify them."""
