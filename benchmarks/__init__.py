"""Benchmarks of Daybook and its peers, measured in the same run. One JSON object per line; see docs/performance.md."""
