"""Queries of the read models: one snapshot of the database, the response schemas and their routes."""
