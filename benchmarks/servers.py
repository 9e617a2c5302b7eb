"""A temporary PostgreSQL server for a benchmark: fsync on, migrated, removed afterwards."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from adapters.postgres import embedded
from adapters.postgres.migrations import migrate


@contextmanager
def server() -> Iterator[tuple[str, Path]]:
    """Yield its URL, and a home directory for keys and the server's files."""
    home = Path(tempfile.mkdtemp(prefix="daybook-bench-"))
    home.chmod(0o711)  # the server's account must be able to pass through
    try:
        url = embedded.start(home)
        migrate(url)
        yield url, home
    finally:
        embedded.stop(home)
        shutil.rmtree(home, ignore_errors=True)
