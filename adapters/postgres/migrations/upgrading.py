"""Run the revisions that a database lacks, with alembic. Loaded only when there are any."""

import threading
import time
from pathlib import Path

import psycopg
import sqlalchemy
from alembic import command
from alembic.config import Config

from adapters.postgres import roles
from adapters.postgres.connections import connect, name, prefix_on_record
from adapters.postgres.engine import reaching
from adapters.postgres.migrations import rights
from domain.errors import Unavailable

ADVISORY_LOCK = 0x0DA7_B001  # held for the whole migration
ATTEMPTS_MAX = 10
MIGRATION_SECONDS_MAX = 3600

_one_in_this_process = threading.Lock()  # alembic keeps the current migration in module globals


def upgrade(url: str, revision: str = "head") -> None:
    """Upgrade the database to a revision, in one transaction; do nothing if it is there.

    Its roles become its own where they were shared, and get again the rights that a restore left out.
    Raises Unavailable.
    """
    engine = sqlalchemy.create_engine(
        "postgresql+psycopg://",
        creator=lambda: connect(url, statement_seconds_max=MIGRATION_SECONDS_MAX, autocommit=False),
        poolclass=sqlalchemy.NullPool,
    )
    for attempt in range(1, ATTEMPTS_MAX + 1):
        try:
            with _one_in_this_process, reaching(url), engine.begin() as connection:
                connection.exec_driver_sql("SET LOCAL lock_timeout = 0")
                connection.exec_driver_sql("SELECT pg_advisory_xact_lock(%s)", (ADVISORY_LOCK,))
                _upgrade(connection, name(url), revision)
            break
        except sqlalchemy.exc.ProgrammingError as error:
            if isinstance(error.orig, psycopg.errors.InsufficientPrivilege):
                raise _forbidden(url, error.orig) from error
            raise
        except psycopg.errors.InsufficientPrivilege as error:
            raise _forbidden(url, error) from error
        except (sqlalchemy.exc.InternalError, sqlalchemy.exc.IntegrityError):
            # Roles belong to the whole cluster, the lock to one database: a migration of another database changed them.
            if attempt == ATTEMPTS_MAX:
                raise
            time.sleep(0.05 * attempt)


def _upgrade(connection: sqlalchemy.Connection, where: str, revision: str) -> None:
    raw = connection.connection.driver_connection
    assert isinstance(raw, psycopg.Connection), "the engine's driver is psycopg"
    own = roles.settle(raw, where)
    on_record = prefix_on_record(raw)
    is_fresh = not raw.execute("SELECT 1 FROM pg_namespace WHERE nspname = 'read'").fetchone()
    command.upgrade(_config(connection, on_record or own), revision)
    if on_record != own and not is_fresh:
        rights.give(raw, own)
        if on_record is not None:
            rights.take(raw, on_record)


def _forbidden(url: str, error: psycopg.Error) -> Unavailable:
    return Unavailable(
        f"the account that logs in may not bring the database {name(url)} forward ({' '.join(str(error).split())}); "
        "it has to own the database, and where it may not create roles, an administrator runs what "
        "`daybook database prepare OWNER` prints"
    )


def _config(connection: sqlalchemy.Connection, prefix: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    config.attributes["connection"] = connection
    config.attributes["prefix"] = prefix
    return config
