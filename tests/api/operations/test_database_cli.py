"""`daybook database prepare`: what it prints is what psql runs, and what it runs is all that an owner needs."""

import json
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest

from adapters.postgres.connections import Role, connect
from adapters.postgres.migrations import migrate
from api.cli import run
from api.terminal.output import EXIT_UNAVAILABLE
from tests.databases import url_of_database


@pytest.fixture
def owner(server_url: str) -> str:
    """An account without rights."""
    name = f"owner_{uuid4().hex[:8]}"
    with psycopg.connect(server_url, autocommit=True) as administrator:
        administrator.execute(f"CREATE ROLE {name} LOGIN")  # type: ignore[arg-type]
    return name


def as_account(server_url: str, account: str, database: str) -> str:
    parts = urlsplit(url_of_database(server_url, database))
    return parts._replace(netloc=f"{account}@{parts.netloc.rpartition('@')[2]}").geturl()


def is_usable(url: str) -> bool:
    migrate(url)
    for role in Role:
        connect(url, role).close()
    return True


def test_what_it_prints_prepares_a_database(
    server_url: str, owner: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DAYBOOK_DATABASE_URL", raising=False)
    assert run(["database", "prepare", owner, "--database", owner, "--create"]) == 0
    printed = capsys.readouterr()
    assert "Nothing was run" in printed.err
    with psycopg.connect(server_url, autocommit=True) as administrator:
        for statement in printed.out.split(";\n"):
            administrator.execute(statement)  # type: ignore[arg-type]
    assert is_usable(as_account(server_url, owner, owner))


def test_with_run_it_prepares_the_database_itself(
    server_url: str, owner: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAYBOOK_DATABASE_URL", server_url)
    assert run(["database", "prepare", owner, "--database", owner, "--create", "--run", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["is_run"] and answer["statements"][-1] == f'ALTER DATABASE "{owner}" OWNER TO "{owner}"'
    assert is_usable(as_account(server_url, owner, owner))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["{owner}", "--database", "absent_database", "--run"], "create it, or give --create"),
        (["absent_owner", "--database", "{owner}", "--create", "--run"], "no account that may log in"),
    ],
)
def test_what_cannot_be_prepared_is_refused_and_nothing_is_made(
    server_url: str,
    owner: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    sentence: str,
) -> None:
    monkeypatch.setenv("DAYBOOK_DATABASE_URL", server_url)
    with psycopg.connect(server_url) as administrator:
        query = "SELECT count(*) FROM pg_roles UNION ALL SELECT count(*) FROM pg_database"
        before = administrator.execute(query).fetchall()
        assert run(["database", "prepare", *(each.format(owner=owner) for each in arguments)]) == 1
        assert sentence in capsys.readouterr().err
        assert administrator.execute(query).fetchall() == before


def test_who_is_no_administrator_is_refused_with_the_reason(
    server_url: str, owner: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAYBOOK_DATABASE_URL", as_account(server_url, owner, "postgres"))
    assert run(["database", "prepare", owner, "--database", f"{owner}_other", "--create", "--run"]) == EXIT_UNAVAILABLE
    assert "may not prepare a database" in capsys.readouterr().err
