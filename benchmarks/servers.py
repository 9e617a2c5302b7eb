"""A server of a benchmark's own: PostgreSQL with fsync on, migrated, and gone afterwards."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from adapters.postgres import embedded
from adapters.postgres.migrations import migrate


@contextmanager
def server() -> Iterator[tuple[str, Path]]:
    """Its URL, and a home for keys and the server's own files."""
    home = Path(tempfile.mkdtemp(prefix="daybook-bench-"))
    home.chmod(0o711)  # the account the server runs as passes through
    try:
        url = embedded.start(home)
        migrate(url)
        yield url, home
    finally:
        embedded.stop(home)
        shutil.rmtree(home, ignore_errors=True)
