"""A home on the disk: with the waits for it there is more to be interrupted."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.databases import directory_of_server


@pytest.fixture
def home() -> Iterator[Path]:
    """A new directory for a server, which is stopped in the end."""
    with directory_of_server(on_disk=True) as directory:
        yield directory
