"""Versioned SQL views of the read models, for other people's tools: psql, BI tools, pandas, DuckDB, Grafana."""
