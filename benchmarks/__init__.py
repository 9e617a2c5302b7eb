"""What Daybook does in how much time, beside its peers, in one run. One JSON object a line; see docs/performance.md."""
