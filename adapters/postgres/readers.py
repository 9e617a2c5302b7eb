"""Logins for other people's tools: accounts that may read the SQL views of one database, and nothing else.

A login is a member of the database's group of readers (`adapters.postgres.roles`). Its password is hashed here, so that
it is in no statement, and so in no log of the server.
"""

from typing import Any

import psycopg
from psycopg import sql

from adapters.postgres.connections import connect, name, prefix_on_record, reaching
from adapters.postgres.roles import reader
from domain.errors import RequestRefused, Unavailable

STATEMENT_SECONDS_MAX = 300
IDLE_SECONDS_MAX = 60  # a rebuild waits for transactions that have read a view
IS_ROLE = "SELECT rolsuper OR rolcreaterole OR rolcreatedb FROM pg_roles WHERE rolname = %s"
IS_MEMBER = "SELECT pg_has_role(%s, %s, 'MEMBER')"


def statements(url: str, login: str) -> list[str]:
    """Return the statements that make a login, as text for psql; its password is set apart from them."""
    with reaching(url), connect(url) as connection:
        return [statement.as_string() for statement in _made(_group(connection, url), login)]


def make(url: str, login: str, password: str | None = None) -> list[str]:
    """Make a login as the account of `url`; return the statements but for the password's. Raises Unavailable.

    An account that has the name is refused with RequestRefused unless it is a reader of this database already: then its
    settings and its password are set again.
    """
    with reaching(url), connect(url) as connection:
        group = _group(connection, url)
        is_known = connection.execute(IS_ROLE, [login]).fetchone() is not None
        if is_known and not _is_member(connection, login, group):
            raise RequestRefused("the name of a login is free, or a reader's of this database", login=login)
        done = _made(group, login, is_known=is_known)
        try:
            with connection.transaction():
                for statement in done:
                    connection.execute(statement)
                if password is not None:
                    connection.execute(_password(connection, login, password))
        except psycopg.errors.InsufficientPrivilege as error:
            raise Unavailable(
                f"the account that logs in to {name(url)} may not make logins ({' '.join(str(error).split())}); let an "
                "administrator of the server run what the command prints without --run"
            ) from error
        return [statement.as_string() for statement in done]


def remove(url: str, login: str) -> None:
    """End a login's sessions and remove it. Raises RequestRefused unless it is a reader of this database."""
    with reaching(url), connect(url) as connection:
        group = _group(connection, url)
        if connection.execute(IS_ROLE, [login]).fetchone() is None or not _is_member(connection, login, group):
            raise RequestRefused("the login is a reader of this database", login=login)
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", [login])
        with connection.transaction():
            connection.execute(sql.SQL("REVOKE {} FROM {}").format(sql.Identifier(group), sql.Identifier(login)))
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(login)))


def _group(connection: psycopg.Connection[Any], url: str) -> str:
    prefix = prefix_on_record(connection)
    if prefix is None:
        raise Unavailable(f"the database {name(url)} has no roles of Daybook; open it as its owner")
    group = reader(prefix)
    if connection.execute(IS_ROLE, [group]).fetchone() is None:
        raise Unavailable(
            f"the group {group} is missing; let an administrator of the server run CREATE ROLE {group} NOLOGIN, "
            f"GRANT CONNECT ON DATABASE {connection.info.dbname} TO {group}, GRANT USAGE ON SCHEMA v1 TO {group} and "
            f"GRANT SELECT ON ALL TABLES IN SCHEMA v1 TO {group}"
        )
    return group


def _is_member(connection: psycopg.Connection[Any], login: str, group: str) -> bool:
    (is_member,) = connection.execute(IS_MEMBER, [login, group]).fetchone() or (False,)
    (is_strong,) = connection.execute(IS_ROLE, [login]).fetchone() or (True,)
    return bool(is_member and not is_strong)


def _made(group: str, login: str, *, is_known: bool = False) -> list[sql.Composed]:
    who = sql.Identifier(login)
    settings = {
        "default_transaction_read_only": "on",
        "statement_timeout": f"{STATEMENT_SECONDS_MAX}s",
        "idle_in_transaction_session_timeout": f"{IDLE_SECONDS_MAX}s",
        "search_path": "v1",
    }
    made = [] if is_known else [sql.SQL("CREATE ROLE {} LOGIN CONNECTION LIMIT 20").format(who)]
    made += (
        sql.SQL("ALTER ROLE {} SET {} = {}").format(who, sql.Identifier(setting), sql.Literal(value))
        for setting, value in settings.items()
    )
    return [*made, sql.SQL("GRANT {} TO {}").format(sql.Identifier(group), who)]


def _password(connection: psycopg.Connection[Any], login: str, password: str) -> sql.Composed:
    """Return the statement that sets a password, by its SCRAM verifier only."""
    verifier = connection.pgconn.encrypt_password(password.encode(), login.encode(), b"scram-sha-256").decode()
    return sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(login), sql.Literal(verifier))
