"""Locate the database, and connect to it with the least privileges a task needs.

The role is set by libpq's `-c role=…` as the connection opens, so a connection never acts with the rights of the
account that logs in. A database has roles of its own (`adapters.postgres.roles`), whose names are looked up once. What
a session needs beyond them is pinned and checked (`adapters.postgres.session`). Everything has a timeout: connecting,
statements, locks, idle transactions, dead peers.
"""

import contextlib
import threading
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import TupleRow

from adapters.postgres import advice, embedded, session
from domain.errors import Unavailable

CONNECT_SECONDS_MAX = 5
STATEMENT_SECONDS_MAX = 60
LOCK_SECONDS_MAX = 10
IDLE_IN_TRANSACTION_SECONDS_MAX = 60

GONE_CHECK_MS = 1000  # how often the server looks, in the middle of a statement, if the client is still there

Connection = psycopg.Connection[TupleRow]

_of_process: dict[str, str] = {}


class Role(StrEnum):
    """What a connection may do; the role of the database is named after it, such as `daybook_writer`."""

    WRITER = "writer"  # add to the log and to the marks; read them, and the API keys; keep snapshots
    PROJECTOR = "projector"  # read the log and the marks; own the read models
    SEALER = "sealer"  # read the log; add tiles, checkpoints and public keys
    AUDITOR = "auditor"  # read the log, its proof, the marks and the read models
    ADMIN = "admin"  # issue and revoke API keys
    CUSTODIAN = "custodian"  # make, use and delete the keys of personal data


def locate(home: Path, url: str | None) -> str:
    """Return the database's URL: `url` (DAYBOOK_DATABASE_URL) if given, else that of our own server under `home`."""
    return url or embedded.start(home)


def bound_process(statement_seconds_max: float) -> None:
    """Bound the statements, and the pauses between them, of every connection that this process opens from now on.

    None takes longer, and none goes on for more than a second after the process was killed.
    """
    for name in ("statement_timeout", "idle_in_transaction_session_timeout"):
        _of_process[name] = f"{statement_seconds_max * 1000:.0f}"
    _of_process["client_connection_check_interval"] = str(GONE_CHECK_MS)


_prefixes: dict[str, str] = {}  # of the names of roles, by URL
_looking = threading.Lock()


def connect(
    url: str,
    role: Role | None = None,
    *,
    statement_seconds_max: float = STATEMENT_SECONDS_MAX,
    autocommit: bool = True,
    more: Mapping[str, Any] | None = None,
    more_options: str = "",
) -> Connection:
    """Open a connection, acting as `role` or as the account that logs in; `more` are parameters of libpq.

    Raises Unavailable, also if the database or the server would weaken what Daybook promises.
    """

    def opened() -> Connection:
        role_name = _role_name(url, role) if role else None
        info = _conninfo(url, role, role_name, statement_seconds_max, more=more or {}, more_options=more_options)
        connection = psycopg.connect(info, autocommit=autocommit)
        try:
            is_writing = role not in (None, Role.AUDITOR)
            session.check(
                connection, where=name(url), role=role_name, is_writing=is_writing, directly=advice.directly(url)
            )
        except BaseException:
            connection.close()
            raise
        return connection

    with reaching(url):
        try:
            return opened()
        except psycopg.OperationalError as error:
            if role is None or 'parameter "role"' not in str(error):
                raise
        _prefixes.pop(url, None)  # the database was replaced by another, with other roles
        return opened()


def remember_prefix(url: str, prefix: str) -> None:
    """Note the prefix of the database's roles, so that it need not be looked up."""
    _prefixes[url] = prefix


def prefix_on_record(connection: psycopg.Connection[Any]) -> str | None:
    """Return the prefix of the names of the database's roles: the projector owns the schema `read`."""
    owner = connection.execute("SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = 'read'").fetchone()
    prefix, _, role = str(owner[0]).rpartition("_") if owner else ("", "", "")
    return prefix if role == Role.PROJECTOR else None


def _role_name(url: str, role: Role) -> str:
    with _looking:
        if (prefix := _prefixes.get(url)) is None:
            with connect(url) as connection:
                prefix = prefix_on_record(connection)
            if prefix is None:
                raise Unavailable(
                    f"the database {name(url)} has no roles of Daybook: {advice.another(url)} "
                    "`daybook status` makes a ledger in an empty database, and the roles of one restored without them"
                )
            _prefixes[url] = prefix
    return f"{prefix}_{role}"


def _conninfo(
    url: str,
    role: Role | None,
    role_name: str | None,
    seconds_max: float,
    *,
    more: Mapping[str, Any],
    more_options: str,
) -> str:
    """Return libpq's connection string: URL, role, timeouts, pinned settings. Raises Unavailable if it is no URL."""
    settings = {
        "role": role_name or "none",  # none: the account that logs in, even if it is set to act as another role
        "statement_timeout": f"{seconds_max * 1000:.0f}",
        "lock_timeout": f"{LOCK_SECONDS_MAX * 1000}",
        "idle_in_transaction_session_timeout": f"{IDLE_IN_TRANSACTION_SECONDS_MAX * 1000}",
        **_of_process,
    } | session.options()
    given = _parse(url)
    options = [str(given.get("options") or "")]
    options += [f"-c {setting}={_escaped(value)}" for setting, value in settings.items() if value]
    fixed = {"options": " ".join(filter(None, (*options, more_options))), "client_encoding": "UTF8"}
    called = f"daybook_{role}" if role else "daybook"
    defaults: dict[str, Any] = {
        "connect_timeout": CONNECT_SECONDS_MAX,
        "application_name": called,
        "keepalives_idle": 10,
    }
    return make_conninfo("", **defaults | given | dict(more) | fixed)


def _escaped(value: str) -> str:
    """Return a value for libpq's options, which are divided at spaces."""
    return value.replace("\\", "\\\\").replace(" ", "\\ ")


@contextlib.contextmanager
def reaching(url: str) -> Iterator[None]:
    """Turn a lost, missing or slow database into Unavailable, which names the database and what to do."""
    try:
        yield
    except psycopg.OperationalError as error:
        raise Unavailable(_sentence(url, error)) from error


def name(url: str) -> str:
    """Name the database without its password: `daybook at /run/postgresql`, `desk at db.example:5432`."""
    given = _parse(url)
    host = str(given.get("host") or given.get("hostaddr") or "the local socket")
    where = host if host.startswith("/") else f"{host}:{given.get('port') or embedded.PORT}"
    return f"{given.get('dbname') or given.get('user') or 'daybook'} at {where}"


def _sentence(url: str, cause: psycopg.OperationalError) -> str:
    match cause:
        case psycopg.errors.LockNotAvailable():
            return f"the database {name(url)} is busy: a lock was not free within {LOCK_SECONDS_MAX} s; try again"
        case psycopg.errors.QueryCanceled():
            return f"the database {name(url)} took too long and was stopped; try again, or request less at once"
        case psycopg.errors.ObjectNotInPrerequisiteState():
            return f"the database {name(url)} takes no records: {' '.join(str(cause).split(' CONTEXT: ')[0].split())}"
        case psycopg.errors.DiskFull():
            return f"the disk of the database {name(url)} is full; make room, then try again"
    reason = " ".join(str(cause).split()) or "the connection was lost"
    return f"the database {name(url)} cannot be reached ({reason}); {advice.unreached(url)}"


def _parse(url: str) -> dict[str, Any]:
    try:
        return conninfo_to_dict(url)
    except psycopg.ProgrammingError:  # its message quotes the URL, password and all
        what = advice.URL if advice.is_from_environment(url) else "the database's URL"
        raise Unavailable(f"{what} is no PostgreSQL URL (postgresql://user@host/database)") from None
