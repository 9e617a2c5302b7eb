"""Where the tests' servers and databases are, and how they are made."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

from adapters.postgres import embedded
from adapters.postgres.migrations import grant_database

MEMORY = Path("/dev/shm")
MEMORY_BYTES_MIN = 4 * 2**30
PLACES = ("TESTS_IN_MEMORY", "TESTS_ON_DISK")  # environment variables: workers put their servers where these say


def make_places() -> None:
    """Make the folders in which all servers of a run are, in memory where there is room, and name them to workers."""
    for name, above in zip(PLACES, (MEMORY if _has_room(MEMORY) else None, None), strict=True):
        place = Path(tempfile.mkdtemp(prefix="daybook-tests-", dir=above))
        place.chmod(0o711)
        os.environ[name] = str(place)


def remove_places() -> None:
    """Stop and remove also those servers whose test was interrupted."""
    for place in map(Path, map(os.environ.pop, PLACES)):
        for directory in place.iterdir():
            embedded.stop(directory)
        shutil.rmtree(place)


@contextmanager
def directory_of_server(*, on_disk: bool = False) -> Iterator[Path]:
    """A new directory for a server, which an unprivileged account can reach also when root runs the tests."""
    directory = Path(tempfile.mkdtemp(dir=os.environ[PLACES[on_disk]]))
    directory.chmod(0o711)
    try:
        yield directory
    finally:
        embedded.stop(directory)
        shutil.rmtree(directory)


def _has_room(folder: Path) -> bool:
    """Whether clusters fit, whose making is mostly writing files, and programs may be started there."""
    if not os.access(folder, os.W_OK | os.X_OK):
        return False
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize >= MEMORY_BYTES_MIN and not found.f_flag & os.ST_NOEXEC


def url_of_database(server: str, name: str) -> str:
    """The URL of another database of the same server."""
    return urlsplit(server)._replace(path=f"/{name}").geturl()


@contextmanager
def new_database(server: str, name: str, template: str | None = None) -> Iterator[str]:
    """The URL, as the owner, of a database that is dropped in the end: an empty one, or a copy of a migrated one."""
    with psycopg.connect(server, autocommit=True) as connection:
        # Copying files is several times quicker than writing their pages to the WAL, which older servers cannot skip.
        strategy = " STRATEGY file_copy" if template and connection.info.server_version >= 150_000 else ""
        connection.execute(f"CREATE DATABASE {name}" + (f" TEMPLATE {template}{strategy}" if template else ""))
    try:
        url = url_of_database(server, name)
        if template:
            grant_database(url)
        yield url
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
