"""Locate the database, and connect to it with the least privileges a task needs.

The role is set by libpq's `-c role=…` as the connection opens, so a connection never acts with the rights of the
account that logs in. Everything has a timeout: connecting, statements, locks, idle transactions, dead peers.
"""

import contextlib
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import TupleRow

from adapters.postgres import embedded
from domain.errors import Unavailable

CONNECT_SECONDS_MAX = 5
STATEMENT_SECONDS_MAX = 60
LOCK_SECONDS_MAX = 10
IDLE_IN_TRANSACTION_SECONDS_MAX = 60

GONE_CHECK_MS = 1000  # how often the server looks, in the middle of a statement, if the client is still there

Connection = psycopg.Connection[TupleRow]

_of_process: dict[str, str] = {}


class Role(StrEnum):
    """The database role of a connection; created and granted by the migrations."""

    WRITER = "daybook_writer"  # add to the log and to the marks; read them, and the API keys; keep snapshots
    PROJECTOR = "daybook_projector"  # read the log and the marks; own the read models
    SEALER = "daybook_sealer"  # read the log; add tiles, checkpoints and public keys
    AUDITOR = "daybook_auditor"  # read the log, its proof, the marks and the read models
    ADMIN = "daybook_admin"  # issue and revoke API keys
    CUSTODIAN = "daybook_custodian"  # make, use and delete the keys of personal data


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


def conninfo(url: str, role: Role | None = None, *, statement_seconds_max: float = STATEMENT_SECONDS_MAX) -> str:
    """Return libpq's connection string: URL, role, timeouts. Raises Unavailable if it is no PostgreSQL URL."""
    settings = {
        "role": role,
        "timezone": "UTC",
        "statement_timeout": f"{statement_seconds_max * 1000:.0f}",
        "lock_timeout": f"{LOCK_SECONDS_MAX * 1000}",
        "idle_in_transaction_session_timeout": f"{IDLE_IN_TRANSACTION_SECONDS_MAX * 1000}",
        **_of_process,
    }
    given = _parse(url)
    options = [str(given.get("options") or ""), *(f"-c {name}={value}" for name, value in settings.items() if value)]
    defaults = {"connect_timeout": CONNECT_SECONDS_MAX, "application_name": role or "daybook", "keepalives_idle": 10}
    return make_conninfo("", **defaults | given | {"options": " ".join(filter(None, options))})


def connect(url: str, role: Role | None = None, *, statement_seconds_max: float = STATEMENT_SECONDS_MAX) -> Connection:
    """Open a connection in autocommit, acting as `role`. Raises Unavailable."""
    with reaching(url):
        return psycopg.connect(conninfo(url, role, statement_seconds_max=statement_seconds_max), autocommit=True)


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
        case psycopg.errors.DiskFull():
            return f"the disk of the database {name(url)} is full; make room, then try again"
    reason = " ".join(str(cause).split()) or "the connection was lost"
    advice = "see that it runs and that DAYBOOK_DATABASE_URL names it"
    return f"the database {name(url)} cannot be reached ({reason}); {advice}"


def _parse(url: str) -> dict[str, Any]:
    try:
        return conninfo_to_dict(url)
    except psycopg.ProgrammingError:  # its message quotes the URL, password and all
        raise Unavailable("DAYBOOK_DATABASE_URL is no PostgreSQL URL (postgresql://user@host/database)") from None
