"""Explanations: the events, lots and marks behind a figure, and the restatement of a day."""
