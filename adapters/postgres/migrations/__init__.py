"""The schema of the database as a series of revisions, and `migrate`, which upgrades a database to the newest.

The SQL of a released revision is never edited: databases in use were made by it. Several processes may migrate at once.
"""

from pathlib import Path

import psycopg

from adapters.postgres.connections import Connection, connect, name, prefix_on_record, reaching, remember_prefix
from adapters.postgres.roles import close
from domain.errors import HistoryBroken, Unavailable

REVISION_TABLE = "daybook_revision"
NEWEST = max(file.name[1:5] for file in (Path(__file__).parent / "versions").glob("r[0-9]*.py"))


def migrate(url: str) -> None:
    """Upgrade the database to the newest revision, in one transaction; do nothing if it is there.

    The account of `url` must own the database, and must be allowed to create roles unless they were prepared for it
    (`adapters.postgres.roles`). Raises Unavailable, and HistoryBroken if the database is of a newer Daybook.
    """
    with reaching(url), connect(url) as connection:
        found = _revision(connection)
        if found is not None and found > NEWEST:
            raise HistoryBroken(
                f"the database {name(url)} is of a newer Daybook (its revision is {found}, this one knows {NEWEST}); "
                "use that Daybook, or another database"
            )
        if found != NEWEST or prefix_on_record(connection) is None:
            from adapters.postgres.migrations.upgrading import upgrade  # noqa: PLC0415 (alembic is slow to load)

            upgrade(url)
        _close(connection, url)


def grant_database(url: str) -> None:
    """Give and take the rights on the database itself, which dumps and copies lack."""
    with reaching(url), connect(url) as connection:
        _close(connection, url)


def check_revision(url: str) -> None:
    """Raise HistoryBroken, with advice, unless the database is at this Daybook's newest revision."""
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
    """Return whether the database is at this Daybook's newest revision."""
    with reaching(url), connect(url) as connection:
        return _revision(connection) == NEWEST


def _revision(connection: Connection) -> str | None:
    """Return the database's revision; None if it has none yet."""
    try:
        row = connection.execute(f"SELECT version_num FROM {REVISION_TABLE}").fetchone()  # noqa: S608 (our own name)
    except psycopg.errors.UndefinedTable:
        return None
    return row[0] if row else None


def _close(connection: Connection, url: str) -> None:
    prefix = prefix_on_record(connection)
    if prefix is None:
        raise Unavailable(f"the database {name(url)} has no roles of Daybook; open it as its owner")
    close(connection, prefix)
    remember_prefix(url, prefix)
