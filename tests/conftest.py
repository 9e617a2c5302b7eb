"""What tests share: a real PostgreSQL, a fresh database for each test that asks, and hypothesis without stopwatches.

DAYBOOK_TEST_DATABASE_URL names a server to use instead of our own; its account must be able to create databases.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, settings

from adapters.log.postgres import PostgresLog
from adapters.postgres import embedded
from adapters.postgres.migrations import grant_database, migrate
from tests.databases import url_of_database

settings.register_profile(
    "daybook", deadline=None, derandomize=True, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("explore", settings.get_profile("daybook"), derandomize=False, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "daybook"))


@pytest.fixture(scope="session", autouse=True)
def _out_of_the_checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Whoever names no home of its own keeps keys in one that goes with the session, and not in the developer's."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("DAYBOOK_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture
def home() -> Iterator[Path]:
    """A new directory for a server, which an unprivileged account can reach also when root runs the tests."""
    directory = Path(tempfile.mkdtemp(prefix="daybook-test-"))
    directory.chmod(0o711)
    try:
        yield directory
    finally:
        embedded.stop(directory)
        shutil.rmtree(directory)


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """A server for the whole session. Not durable: whoever tests durability starts one of their own, in `home`."""
    if given := os.environ.get("DAYBOOK_TEST_DATABASE_URL"):
        yield given
        return
    directory = Path(tempfile.mkdtemp(prefix="daybook-tests-"))
    directory.chmod(0o711)
    try:
        yield embedded.start(directory, durable=False)
    finally:
        embedded.stop(directory)
        shutil.rmtree(directory)


@pytest.fixture(scope="session")
def template(server_url: str) -> Iterator[str]:
    """The name of a migrated database to copy."""
    name = f"daybook_test_{uuid4().hex[:12]}"
    _administer(server_url, f"CREATE DATABASE {name}")
    try:
        migrate(url_of_database(server_url, name))
        yield name
    finally:
        _administer(server_url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def database_names(template: str) -> Iterator[str]:
    return (f"{template}_{number}" for number in count(1))


@pytest.fixture
def database_url(server_url: str, template: str, database_names: Iterator[str]) -> Iterator[str]:
    """The URL, as the owner, of a migrated database of one's own."""
    name = next(database_names)
    _administer(server_url, f"CREATE DATABASE {name} TEMPLATE {template}")
    try:
        url = url_of_database(server_url, name)
        grant_database(url)
        yield url
    finally:
        _administer(server_url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def log(database_url: str) -> Iterator[PostgresLog]:
    """An empty log, to append to."""
    with PostgresLog(database_url) as log:
        yield log


def _administer(server_url: str, statement: str) -> None:
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(statement)
