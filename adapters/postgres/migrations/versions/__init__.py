"""Alembic revisions, in order of their numbers."""
