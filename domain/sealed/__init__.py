"""Sealed: what checkpoints and closings commit to beside the log: groups of streams, sorted trees, figures."""
