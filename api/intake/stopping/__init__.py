"""Stopping: canceling all working orders of a selection at once, and dead man's switches that do so by themselves."""
