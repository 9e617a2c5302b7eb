"""Logins that read the SQL views: what they may, and all that they may not."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from adapters.log.postgres import PostgresLog
from adapters.postgres import readers
from adapters.postgres.connections import Role
from adapters.postgres.engine import engine
from adapters.postgres.migrations import grant_database
from domain.errors import RequestRefused
from projections.catalog import PROJECTIONS
from projections.runner.runner import Runner
from projections.sql_views import following
from projections.sql_views.versions import V1
from tests.desk import Desk
from tests.projections.running import trade

VIEWS = {view.name for view in following.shown(PROJECTIONS)} | {one.name for one in V1.composed}

READABLE = """
SELECT n.nspname || '.' || c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'v', 'm', 'p', 'f', 'S') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
    AND n.nspname NOT LIKE 'pg_toast%'
    AND (CASE WHEN c.relkind = 'S' THEN has_sequence_privilege(c.oid, 'SELECT, USAGE, UPDATE')
        ELSE has_any_column_privilege(c.oid, 'SELECT, INSERT, UPDATE, REFERENCES')
            OR has_table_privilege(c.oid, 'DELETE, TRUNCATE, TRIGGER') END)
    AND has_schema_privilege(n.oid, 'USAGE')
"""
WRITABLE = """
SELECT c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND c.relkind IN ('r', 'v', 'p')
    AND (has_any_column_privilege(c.oid, 'INSERT, UPDATE') OR has_table_privilege(c.oid, 'DELETE, TRUNCATE'))
"""


@pytest.fixture
def ledger(database_url: str, log: PostgresLog) -> str:
    """A database with trades and read models."""
    projector = engine(database_url, Role.PROJECTOR)
    trade(Desk(log), range(3))
    Runner(log, projector).catch_up()
    projector.dispose()
    return database_url


@pytest.fixture
def login(ledger: str) -> Iterator[str]:
    """The URL of a login that reads the views."""
    name = f"bi_{uuid4().hex[:8]}"
    readers.make(ledger, name, "a long password")
    parts = urlsplit(ledger)
    yield parts._replace(netloc=f"{name}@{parts.netloc.rpartition('@')[2]}").geturl()
    readers.remove(ledger, name)


def test_a_login_reads_the_views_and_nothing_else(login: str) -> None:
    with psycopg.connect(login) as connection:
        readable = {name for (name,) in connection.execute(READABLE)}
        assert readable == {f"v1.{name}" for name in VIEWS}
        assert connection.execute("SELECT count(*) FROM positions").fetchone() == (1,)  # its search path is v1


def test_a_login_writes_nothing_even_if_it_lifts_its_own_settings(login: str) -> None:
    with psycopg.connect(login, autocommit=True) as connection:
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            connection.execute("SELECT lo_create(0)")
        connection.execute("SET default_transaction_read_only = off")
        assert connection.execute(WRITABLE).fetchall() == []
        for statement in (
            "DELETE FROM v1.positions",
            "INSERT INTO v1.accounts VALUES ('x')",
            "CREATE TABLE v1.mine ()",
            "CREATE TABLE public.mine ()",
            "CREATE TEMP TABLE mine ()",
            "CREATE SCHEMA mine",
            "CREATE FUNCTION v1.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)


HIDDEN = (
    *("ledger.events", "ledger.requests", "ledger.keys", "ledger.snapshots", "access.api_keys", "personal.subjects"),
    *("market.marks", "read.progress", "read_orders.orders", "public.daybook_revision"),
)


def test_a_login_sees_no_events_keys_or_personal_data(login: str) -> None:
    with psycopg.connect(login, autocommit=True) as connection:
        for table in HIDDEN:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(*table.split("."))))


def test_a_login_cannot_become_another_role(login: str, ledger: str) -> None:
    with psycopg.connect(ledger) as owner:
        roles = [row[0] for row in owner.execute("SELECT rolname FROM pg_roles WHERE rolname !~ '^(pg_|bi_)'")]
    with psycopg.connect(login, autocommit=True) as connection:
        group = connection.execute("SELECT rolname FROM pg_roles WHERE pg_has_role(oid, 'MEMBER')").fetchall()
        for role in roles:
            if (role,) not in group:
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
        assert len(group) == 2  # itself, and the group of readers


def test_its_password_is_in_no_statement(ledger: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, sent = f"bi_{uuid4().hex[:8]}", list[str]()
    execute = psycopg.Connection.execute

    def noted(connection: Any, query: Any, *given: Any, **more: Any) -> Any:
        sent.append(query.as_string(connection) if isinstance(query, sql.Composable) else str(query))
        return execute(connection, query, *given, **more)

    monkeypatch.setattr(psycopg.Connection, "execute", noted)
    shown = readers.make(ledger, name, "correct horse")
    monkeypatch.undo()
    assert any("SCRAM-SHA-256$" in statement for statement in sent)
    assert not any("correct horse" in text or "SCRAM" in text for text in shown)
    assert not any("correct horse" in text for text in sent)
    with psycopg.connect(ledger) as owner:
        stored = owner.execute("SELECT rolpassword FROM pg_authid WHERE rolname = %s", [name]).fetchone()
        assert stored is not None and stored[0].startswith("SCRAM-SHA-256$")
    readers.remove(ledger, name)


def test_what_is_printed_makes_a_login_that_can_read(ledger: str) -> None:
    name = f"bi_{uuid4().hex[:8]}"
    with psycopg.connect(ledger, autocommit=True) as owner:
        for statement in readers.statements(ledger, name):
            owner.execute(statement.encode())
        owner.execute(f"SET SESSION AUTHORIZATION {name}".encode())
        assert owner.execute("SELECT count(*) FROM v1.executions").fetchone() == (3,)
    readers.remove(ledger, name)


def test_an_account_that_is_no_reader_is_neither_changed_nor_removed(ledger: str) -> None:
    with psycopg.connect(ledger, autocommit=True) as owner:
        name = f"other_{uuid4().hex[:8]}"
        owner.execute(f"CREATE ROLE {name} LOGIN".encode())
        for act in (readers.make, readers.remove):
            with pytest.raises(RequestRefused, match=r"reader"):
                act(ledger, name)
        owner.execute(f"DROP ROLE {name}".encode())


def test_the_group_of_readers_has_no_members_until_somebody_is_let_in(ledger: str) -> None:
    grant_database(ledger)
    with psycopg.connect(ledger) as owner:
        members = owner.execute(
            "SELECT count(*) FROM pg_auth_members JOIN pg_roles ON pg_roles.oid = roleid"
            " WHERE rolname LIKE '%\\_reader'"
        )
        assert members.fetchone() == (0,)
        assert owner.execute(
            "SELECT count(*) FROM pg_roles WHERE rolname LIKE '%\\_reader' AND rolcanlogin"
        ).fetchone() == (0,)
