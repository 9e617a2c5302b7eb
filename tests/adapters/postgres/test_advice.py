"""No message advises a variable whose change would change nothing."""

import ast
import os
import re
from pathlib import Path

import psycopg
import pytest

from adapters.postgres import advice, embedded
from adapters.postgres.connections import Role, connect
from adapters.postgres.migrations import check_revision
from api.terminal.output import EXIT_UNAVAILABLE
from domain.errors import LedgerError, Unavailable
from tests import CHECKOUT
from tests.api.command_line import command

NOWHERE = "postgresql://desk@127.0.0.1:1/book"
ABOUT_PLACES = {"DAYBOOK_DATABASE_URL", "DAYBOOK_HOME", "DAYBOOK_PG_BIN"}
# Where such a message is written down; each says there why its variable applies.
WRITTEN = {
    "adapters/postgres/advice.py",
    "adapters/postgres/own_home.py",  # only of the default home, when DAYBOOK_HOME is not set
    "adapters/postgres/preparing.py",  # `database prepare --run` takes its server from the variable alone
    "api/cli.py",  # `stop`, when the variable names a server that is not ours
    "api/operations/database_cli.py",  # the help of `database prepare --run`
    "adapters/postgres/embedded.py",  # reads DAYBOOK_PG_BIN
}


def message(url: str, role: Role | None = None) -> str:
    with pytest.raises(LedgerError) as found:
        connect(url, role)
    return str(found.value)


def variables(text: str) -> set[str]:
    return set(re.findall(r"DAYBOOK_[A-Z_]+", text))


def test_a_database_that_is_not_reached_names_the_variable_only_if_its_url_is_in_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert variables(message(NOWHERE)) == set()
    monkeypatch.setenv("DAYBOOK_DATABASE_URL", "postgresql://elsewhere")
    assert variables(message(NOWHERE)) == set()
    monkeypatch.setenv("DAYBOOK_DATABASE_URL", NOWHERE)
    assert variables(message(NOWHERE)) == {"DAYBOOK_DATABASE_URL"}
    monkeypatch.setenv("DAYBOOK_DATABASE_URL", "no url")
    assert message("no url").startswith("DAYBOOK_DATABASE_URL is no PostgreSQL URL")
    assert message("no url either").startswith("the database's URL is no PostgreSQL URL")


def test_our_own_server_is_named_by_its_log(home: Path) -> None:
    own = embedded.start(home, durable=False)
    assert "is it in the right home?" in message(own, Role.WRITER), "it has no schema yet"
    with pytest.raises(LedgerError) as found:
        check_revision(own)
    assert variables(str(found.value)) == set()
    embedded.stop(home)
    text = message(own)
    assert variables(text) == set() and str(home / "postgres" / "server.log") in text


def test_a_database_without_roles_names_the_variable_if_its_url_is_in_it(
    server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(server_url, autocommit=True) as owner:
        owner.execute("CREATE DATABASE bare")
        try:
            url = server_url.replace("/daybook?", "/bare?")
            assert variables(message(url, Role.WRITER)) == set()
            monkeypatch.setenv("DAYBOOK_DATABASE_URL", url)
            assert "does DAYBOOK_DATABASE_URL name the right one?" in message(url, Role.WRITER)
        finally:
            owner.execute("DROP DATABASE bare WITH (FORCE)")


def test_programs_that_are_not_found_name_what_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAYBOOK_PG_BIN", raising=False)
    assert variables(advice.programs(None)) == {"DAYBOOK_PG_BIN", "DAYBOOK_DATABASE_URL"}
    assert variables(advice.programs("16")) == {"DAYBOOK_PG_BIN"}, "another server has other data"
    with advice.given(takes_url=False):
        assert variables(advice.programs(None)) == {"DAYBOOK_PG_BIN"}, "the demo uses no other server"
    monkeypatch.setenv("DAYBOOK_PG_BIN", "/opt/wrong")
    assert "DAYBOOK_PG_BIN, which is /opt/wrong" in advice.programs("16")


def test_the_demo_names_its_option_when_its_home_was_given_by_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = command("demo", "--once", "--home", str(tmp_path / "file"))
    assert done.returncode == EXIT_UNAVAILABLE and "give --home elsewhere" in done.stderr and not variables(done.stderr)
    assert advice.elsewhere() == "set DAYBOOK_HOME elsewhere"


def test_a_witness_in_a_database_is_not_named_by_the_variable_of_ours() -> None:
    os.environ.pop("DAYBOOK_DATABASE_URL", None)
    with pytest.raises(Unavailable) as found:
        connect(NOWHERE)
    assert "its URL is right" in str(found.value)


def test_messages_about_places_are_written_where_their_origin_is_known() -> None:
    found = set()
    for room in ("adapters", "api", "domain", "projections"):
        for file in (CHECKOUT / room).rglob("*.py"):
            tree = ast.parse(file.read_bytes())
            docs = {
                id(node.body[0].value)
                for node in ast.walk(tree)
                if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef)
                and node.body and isinstance(node.body[0], ast.Expr)
            }  # fmt: skip
            texts = [
                node.value
                for node in ast.walk(tree)
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs
            ]
            if any(variables(text) & ABOUT_PLACES for text in texts):
                found.add(file.relative_to(CHECKOUT).as_posix())
    assert found - WRITTEN == set(), "use adapters.postgres.advice"
