"""What tests share: a real PostgreSQL, a fresh database for a test that uses one, and hypothesis without stopwatches.

DAYBOOK_TEST_DATABASE_URL names a server to use instead of our own; its account must be able to create databases.
"""

import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from uuid import uuid4

import pytest
import structlog
from hypothesis import HealthCheck, settings

from adapters.log.postgres import PostgresLog
from adapters.postgres import embedded
from adapters.postgres.migrations import migrate
from api.daybook import Daybook
from api.settings import Settings
from tests.databases import directory_of_server, make_places, new_database, remove_places

settings.register_profile(
    "daybook", deadline=None, derandomize=True, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("explore", settings.get_profile("daybook"), derandomize=False, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "daybook"))


def pytest_configure(config: pytest.Config) -> None:
    """The process that deals out the tests makes room for the servers of all its workers."""
    if not hasattr(config, "workerinput"):
        make_places()
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # else each of the many processes compiles all that it imports


def pytest_unconfigure(config: pytest.Config) -> None:
    """The same process cleans up, also after workers that were interrupted."""
    if not hasattr(config, "workerinput"):
        remove_places()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slow ones, and the files they are in, first: so no worker is left alone with one in the end."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(scope="session", autouse=True)
def _out_of_the_checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A test without a home of its own keeps keys in one that goes with the session, not in the developer's."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("DAYBOOK_HOME", str(tmp_path_factory.mktemp("home")))
        patched.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    """What a test configures goes to a stream that is closed after it, and would stop what logs later."""
    configured = structlog.get_config()
    yield
    structlog.configure(**configured)


@pytest.fixture
def home() -> Iterator[Path]:
    """A new directory for a server, which is stopped in the end."""
    with directory_of_server() as directory:
        yield directory


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """A server for the whole session of a worker. Not durable: a test of durability starts its own, in `home`."""
    if given := os.environ.get("DAYBOOK_TEST_DATABASE_URL"):
        yield given
        return
    with directory_of_server() as directory:
        yield embedded.start(directory, durable=False)


@pytest.fixture(scope="session")
def template(server_url: str) -> Iterator[str]:
    """The name of a migrated database to copy."""
    name = f"daybook_test_{uuid4().hex[:12]}"
    with new_database(server_url, name) as url:
        migrate(url)
        yield name


@pytest.fixture(scope="session")
def built_template(server_url: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of a database with read models of its empty log, to copy: building them takes most of a start."""
    name = f"{template}_built"
    with new_database(server_url, name, template) as url:
        with Daybook.open(Settings(database_url=url, home=tmp_path_factory.mktemp("built"))) as daybook:  # type: ignore[arg-type]
            daybook.runner.catch_up()
        yield name


@pytest.fixture(scope="session")
def database_names(template: str) -> Iterator[str]:
    return (f"{template}_{number}" for number in count(1))


@pytest.fixture
def database_url(server_url: str, template: str, database_names: Iterator[str]) -> Iterator[str]:
    """The URL, as the owner, of a migrated database of the test's own."""
    with new_database(server_url, next(database_names), template) as url:
        yield url


@pytest.fixture
def log(database_url: str) -> Iterator[PostgresLog]:
    """An empty log, to append to."""
    with PostgresLog(database_url) as log:
        yield log
