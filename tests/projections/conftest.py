"""Connections to a database of read models."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from adapters.postgres.connections import Role
from adapters.postgres.engine import engine


@pytest.fixture
def projector(database_url: str) -> Iterator[sa.Engine]:
    """An engine that acts as the owner of the read models."""
    made = engine(database_url, Role.PROJECTOR)
    try:
        yield made
    finally:
        made.dispose()
