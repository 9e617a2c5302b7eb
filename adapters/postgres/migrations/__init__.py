"""The shape of the database, one revision after the other, and `migrate`, which brings a database to the newest.

A released revision is never edited: what it made is in somebody's database. Several processes may migrate at once.
"""

from pathlib import Path

import psycopg

from adapters.postgres.connections import Connection, connect, name, reaching
from domain.errors import HistoryBroken

REVISION_TABLE = "daybook_revision"
NEWEST = max(file.name[1:5] for file in (Path(__file__).parent / "versions").glob("r[0-9]*.py"))


def migrate(url: str) -> None:
    """Bring the database to the newest revision; nothing if it is there. All of it happens, or none.

    The account of `url` owns the database, and may create roles if they do not exist yet.
    Raises Unavailable, and HistoryBroken if it is of a newer Daybook.
    """
    with reaching(url), connect(url) as connection:
        found = _revision(connection)
        if found is not None and found > NEWEST:
            raise HistoryBroken(
                f"the database {name(url)} is of a newer Daybook (its revision is {found}, this one knows {NEWEST}); "
                "use that Daybook, or another database"
            )
        if found != NEWEST:
            from adapters.postgres.migrations.upgrading import upgrade  # noqa: PLC0415 (alembic is slow to load)

            upgrade(url)
        _grant(connection)


def grant_database(url: str) -> None:
    """Let projections create their schemas. A right on the database itself, which neither a dump nor a copy carries."""
    with reaching(url), connect(url) as connection:
        _grant(connection)


def check_revision(url: str) -> None:
    """Raises HistoryBroken unless the database is at this Daybook's newest revision: whose it is, and what to do."""
    with reaching(url), connect(url) as connection:
        found = _revision(connection)
    if found is None:
        raise HistoryBroken(f"the database {name(url)} has no ledger: does DAYBOOK_DATABASE_URL name the right one?")
    if found > NEWEST:
        raise HistoryBroken(
            f"the database {name(url)} is of a newer Daybook (revision {found}, ours is {NEWEST}): use that one"
        )
    if found != NEWEST:
        raise HistoryBroken(
            f"the database {name(url)} is of an older Daybook (revision {found}): `daybook status` brings it forward"
        )


def is_current(url: str) -> bool:
    """Whether the database is at this Daybook's newest revision."""
    with reaching(url), connect(url) as connection:
        return _revision(connection) == NEWEST


def _revision(connection: Connection) -> str | None:
    """The database's revision; None if it has none yet."""
    try:
        row = connection.execute(f"SELECT version_num FROM {REVISION_TABLE}").fetchone()  # noqa: S608 (our own name)
    except psycopg.errors.UndefinedTable:
        return None
    return row[0] if row else None


def _grant(connection: Connection) -> None:
    connection.execute(
        "DO $$ BEGIN"
        " IF NOT has_database_privilege('daybook_projector', current_database(), 'CREATE') THEN"
        " EXECUTE format('GRANT CREATE ON DATABASE %I TO daybook_projector', current_database());"
        " END IF; END $$"
    )
