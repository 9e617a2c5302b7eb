"""The shape of the database, one revision after the other, and `migrate`, which brings a database to the newest.

A released revision is never edited: what it made is in somebody's database. Several processes may migrate at once.
"""

import threading
import time
from pathlib import Path

import psycopg
import sqlalchemy
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from adapters.store.database import connect, conninfo, name, reaching
from domain.errors import HistoryBroken

REVISION_TABLE = "daybook_revision"
ADVISORY_LOCK = 0x0DA7_B001  # held for the whole migration
ATTEMPTS_MAX = 10
MIGRATION_SECONDS_MAX = 3600

_one_in_this_process = threading.Lock()  # alembic keeps the migration under way in module globals


def migrate(url: str) -> None:
    """Bring the database to the newest revision; nothing if it is there. All of it happens, or none.

    The account of `url` owns the database, and may create roles if they do not exist yet. Raises Unavailable.
    """
    engine = _engine(url)
    for attempt in range(1, ATTEMPTS_MAX + 1):
        try:
            with _one_in_this_process, reaching(url), engine.begin() as connection:
                connection.exec_driver_sql("SET LOCAL lock_timeout = 0")
                connection.exec_driver_sql("SELECT pg_advisory_xact_lock(%s)", (ADVISORY_LOCK,))
                command.upgrade(_config(connection), "head")
            break
        except CommandError as error:
            raise HistoryBroken(f"the database {name(url)} is of a newer Daybook: use that one ({error})") from error
        except (sqlalchemy.exc.InternalError, sqlalchemy.exc.IntegrityError):
            # Roles belong to the whole cluster, the lock to one database: another's migration touched them just now.
            if attempt == ATTEMPTS_MAX:
                raise
            time.sleep(0.05 * attempt)
    grant_database(url)


def grant_database(url: str) -> None:
    """Let projections create their schemas. A right on the database itself, which neither a dump nor a copy carries."""
    with reaching(url), connect(url) as connection:
        connection.execute(
            "DO $$ BEGIN"
            " IF NOT has_database_privilege('daybook_projector', current_database(), 'CREATE') THEN"
            " EXECUTE format('GRANT CREATE ON DATABASE %I TO daybook_projector', current_database());"
            " END IF; END $$"
        )


def check_revision(url: str) -> None:
    """Raises HistoryBroken unless the database is at this Daybook's newest revision: whose it is, and what to do."""
    revisions = ScriptDirectory.from_config(_config(None))
    with reaching(url), _engine(url).connect() as at:
        found = MigrationContext.configure(at, opts={"version_table": REVISION_TABLE}).get_current_revision()
    known = [revision.revision for revision in revisions.walk_revisions()]
    if found is None:
        raise HistoryBroken(f"the database {name(url)} has no ledger: does DAYBOOK_DATABASE_URL name the right one?")
    if found not in known:
        raise HistoryBroken(
            f"the database {name(url)} is of a newer Daybook (revision {found}, ours is {known[0]}): use that one"
        )
    if found != known[0]:
        raise HistoryBroken(
            f"the database {name(url)} is of an older Daybook (revision {found}): `daybook status` brings it forward"
        )


def is_current(url: str) -> bool:
    """Whether the database is at this Daybook's newest revision."""
    newest = ScriptDirectory.from_config(_config(None)).get_current_head()
    with reaching(url), _engine(url).connect() as at:
        return MigrationContext.configure(at, opts={"version_table": REVISION_TABLE}).get_current_revision() == newest


def _engine(url: str) -> sqlalchemy.Engine:
    return sqlalchemy.create_engine(
        "postgresql+psycopg://",
        creator=lambda: psycopg.connect(conninfo(url, statement_seconds_max=MIGRATION_SECONDS_MAX)),
        poolclass=sqlalchemy.NullPool,
    )


def _config(connection: sqlalchemy.Connection | None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    config.attributes["connection"] = connection
    return config
