"""Run the revisions that a database lacks, with alembic. Loaded only when there are any."""

import threading
import time
from pathlib import Path

import psycopg
import sqlalchemy
from alembic import command
from alembic.config import Config

from adapters.postgres.connections import conninfo
from adapters.postgres.engine import reaching

ADVISORY_LOCK = 0x0DA7_B001  # held for the whole migration
ATTEMPTS_MAX = 10
MIGRATION_SECONDS_MAX = 3600

_one_in_this_process = threading.Lock()  # alembic keeps the current migration in module globals


def upgrade(url: str, revision: str = "head") -> None:
    """Upgrade the database to a revision, in one transaction; do nothing if it is there."""
    engine = sqlalchemy.create_engine(
        "postgresql+psycopg://",
        creator=lambda: psycopg.connect(conninfo(url, statement_seconds_max=MIGRATION_SECONDS_MAX)),
        poolclass=sqlalchemy.NullPool,
    )
    for attempt in range(1, ATTEMPTS_MAX + 1):
        try:
            with _one_in_this_process, reaching(url), engine.begin() as connection:
                connection.exec_driver_sql("SET LOCAL lock_timeout = 0")
                connection.exec_driver_sql("SELECT pg_advisory_xact_lock(%s)", (ADVISORY_LOCK,))
                command.upgrade(_config(connection), revision)
            break
        except (sqlalchemy.exc.InternalError, sqlalchemy.exc.IntegrityError):
            # Roles belong to the whole cluster, the lock to one database: a migration of another database changed them.
            if attempt == ATTEMPTS_MAX:
                raise
            time.sleep(0.05 * attempt)


def _config(connection: sqlalchemy.Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    config.attributes["connection"] = connection
    return config
