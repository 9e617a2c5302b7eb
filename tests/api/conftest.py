"""A real server for tests: uvicorn on a free port, over a database of the test's own, and a client for each scope."""

import subprocess
from collections.abc import Callable, Iterator

import httpx
import pytest

from adapters.postgres.api_keys import Scope
from api import cli
from api.daybook import Daybook
from api.settings import Settings
from api.terminal.logs import log_to_stderr
from tests.api.client import open_book, serving
from tests.api.command_line import BTC, Run
from tests.api.own_writes import Client
from tests.databases import new_database


@pytest.fixture
def database_url(server_url: str, built_template: str, database_names: Iterator[str]) -> Iterator[str]:
    """The URL, as the owner, of a database of the test's own, with read models of its empty log."""
    with new_database(server_url, next(database_names), built_template) as url:
        yield url


@pytest.fixture
def settings(database_url: str) -> Settings:
    return Settings(database_url=database_url, key_cache_seconds=0.2, wait_seconds_max=30, log_level="error")


@pytest.fixture
def daybook(settings: Settings) -> Iterator[Daybook]:
    log_to_stderr(settings)
    with Daybook.open(settings) as daybook:
        yield daybook


@pytest.fixture
def reacts() -> bool:
    """Whether policies act on what is recorded, about a second later; tests about them say so."""
    return False


@pytest.fixture
def server(daybook: Daybook, *, reacts: bool) -> Iterator[str]:
    with serving(daybook, reacts=reacts) as url:
        yield url


@pytest.fixture
def client_for(server: str, daybook: Daybook) -> Iterator[Callable[..., httpx.Client]]:
    """Makes clients whose key has the scopes named."""
    clients: list[httpx.Client] = []

    def made(*scopes: str, actor: str = "tester") -> httpx.Client:
        headers = {}
        if scopes:
            headers["Authorization"] = f"Bearer {daybook.keys.issue(actor, [Scope(scope) for scope in scopes])}"
        clients.append(Client(base_url=server, headers=headers, timeout=30))
        return clients[-1]

    yield made
    for client in clients:
        client.close()


@pytest.fixture
def client(client_for: Callable[..., httpx.Client]) -> httpx.Client:
    """May do everything."""
    return client_for("trade", "report", "audit", "admin", actor="desk")


@pytest.fixture
def desk(client: httpx.Client) -> httpx.Client:
    """The same, on a book with an account and an instrument."""
    open_book(client)
    return client


@pytest.fixture
def inside(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in this process, with a database that is not there unless one is named."""

    def run(*args: str, url: str = "postgresql://desk:s3cret@127.0.0.1:1/book") -> subprocess.CompletedProcess[str]:
        monkeypatch.setenv("DAYBOOK_DATABASE_URL", url)
        code = cli.run(args)
        said = capsys.readouterr()
        return subprocess.CompletedProcess(args, code, said.out, said.err)

    return run


@pytest.fixture
def run(inside: Run, database_url: str) -> Run:
    """Runs a command on a database of the test's own."""
    return lambda *args: inside(*args, url=database_url)


@pytest.fixture
def book(run: Run) -> Run:
    """The same, with an account and an instrument."""
    assert run("account", "open", "main", "--method", "FIFO").returncode == 0
    listed = run(
        "instrument", "add", BTC, "--base", "BTC", "--quote", "USDT", "--tick-size", "0.01", "--lot-size", "0.001"
    )
    assert listed.returncode == 0, listed.stderr
    return run
