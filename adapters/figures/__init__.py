"""Closings: the figures that are committed to the log, and the proofs of single ones."""
