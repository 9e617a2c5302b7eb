"""The statements by which an administrator prepares a database for an owner who may not create roles."""

import psycopg
from psycopg import sql

from adapters.postgres.connections import Role, connect, name, reaching
from adapters.postgres.roles import names, prefixes, reader, standing
from domain.errors import RequestRefused, Unavailable

IS_ACCOUNT = "SELECT rolcanlogin FROM pg_roles WHERE rolname = %s"
IS_DATABASE = "SELECT 1 FROM pg_database WHERE datname = %s"


def statements(database: str, owner: str, *, creates: bool) -> list[str]:
    """Return the statements as text for psql, for a server on which the names of the roles are free."""
    found = _prepared(database, owner, next(prefixes(database)))
    return [statement.as_string() for statement in ([_created(database)] if creates else []) + found]


def run(url: str, database: str, owner: str, *, creates: bool) -> list[str]:
    """Run the statements as the account of `url`, and return them. Raises Unavailable, RequestRefused."""
    if not url:
        raise Unavailable("DAYBOOK_DATABASE_URL has to name the server, and an administrator's account on it")
    done = []
    with reaching(url):
        try:
            with connect(url) as connection:
                if not (row := connection.execute(IS_ACCOUNT, [owner]).fetchone()) or not row[0]:
                    raise RequestRefused("the owner is an account that may log in (CREATE ROLE … LOGIN)", owner=owner)
                is_there = connection.execute(IS_DATABASE, [database]).fetchone() is not None
                if creates and not is_there:
                    connection.execute(_created(database))
                    done.append(_created(database))
                elif not is_there:
                    raise RequestRefused("the database exists, or --create is given", database=database)
                prefix = next((each for each in prefixes(database) if not standing(connection, each).existing), None)
                if prefix is None:
                    raise RequestRefused("names for the roles are free", first=next(prefixes(database)))
                with connection.transaction():
                    for statement in _prepared(database, owner, prefix):
                        connection.execute(statement)
                        done.append(statement)
        except psycopg.errors.InsufficientPrivilege as error:
            raise Unavailable(
                f"the account that logs in to {name(url)} may not prepare a database ({' '.join(str(error).split())}); "
                "let DAYBOOK_DATABASE_URL name an administrator's"
            ) from error
    return [statement.as_string() for statement in done]


def _created(database: str) -> sql.Composed:
    return sql.SQL("CREATE DATABASE {} ENCODING 'UTF8' TEMPLATE template0").format(sql.Identifier(database))


def _prepared(database: str, owner: str, prefix: str) -> list[sql.Composed]:
    at, to = sql.Identifier(database), sql.Identifier(owner)
    found = []
    for role in map(sql.Identifier, names(prefix)):
        found.append(sql.SQL("CREATE ROLE {} NOLOGIN").format(role))
        found.append(sql.SQL("GRANT {} TO {}").format(role, to))
    projector = sql.Identifier(f"{prefix}_{Role.PROJECTOR}")
    found.append(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(reader(prefix))))
    found.append(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(at))
    found.append(sql.SQL("GRANT CREATE ON DATABASE {} TO {}").format(at, projector))
    found.append(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(at, to))
    return found
