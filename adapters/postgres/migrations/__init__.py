"""The schema of the database as a series of revisions: `migrate` upgrades a database, `prepare` a new one.

The SQL of a released revision is never edited: databases in use were made by it. Several processes may migrate at once.
"""

import ast
from pathlib import Path
from typing import NamedTuple

import psycopg

from adapters.postgres import advice
from adapters.postgres.connections import Connection, connect, name, prefix_on_record, reaching, remember_prefix
from adapters.postgres.roles import close
from domain.errors import HistoryBroken, Unavailable, UpgradeNeeded

REVISION_TABLE = "daybook_revision"
NEWEST = max(file.name[1:5] for file in (Path(__file__).parent / "versions").glob("r[0-9]*.py"))


class Revision(NamedTuple):
    """A revision of the schema, and what it changes."""

    revision: str
    change: str


def prepare(url: str) -> None:
    """Make the schema in a database that has none. Raises UpgradeNeeded if it is of an older Daybook, HistoryBroken if
    it is of a newer one, Unavailable.
    """
    _migrate(url, upgrades=False)


def migrate(url: str) -> None:
    """Upgrade the database to the newest revision, in one transaction; do nothing if it is there.

    The account of `url` must own the database, and must be allowed to create roles unless they were prepared for it
    (`adapters.postgres.roles`). Raises Unavailable, and HistoryBroken if the database is of a newer Daybook.
    """
    _migrate(url, upgrades=True)


def _migrate(url: str, *, upgrades: bool) -> None:
    with reaching(url), connect(url) as connection:
        found = _revision(connection)
        _refuse_newer(url, found)
        if found not in (None, NEWEST) and not upgrades:
            raise UpgradeNeeded(name(url), str(found), NEWEST)
        if found != NEWEST or prefix_on_record(connection) is None:
            from adapters.postgres.migrations.upgrading import upgrade  # noqa: PLC0415 (alembic is slow to load)

            upgrade(url)
        _close(connection, url)


def revision_of(url: str) -> str | None:
    """Return the database's revision; None if it has no ledger. Raises HistoryBroken if it is newer, Unavailable."""
    with reaching(url), connect(url) as connection:
        found = _revision(connection)
    _refuse_newer(url, found)
    return found


def pending(found: str | None) -> list[Revision]:
    """Return the revisions after one, or all, each with the first line of its module's docstring."""
    files = sorted((Path(__file__).parent / "versions").glob("r[0-9]*.py"))
    return [
        Revision(file.name[1:5], (ast.get_docstring(ast.parse(file.read_bytes())) or "").partition("\n")[0])
        for file in files
        if found is None or file.name[1:5] > found
    ]


def grant_database(url: str) -> None:
    """Give and take the rights on the database itself, which dumps and copies lack."""
    with reaching(url), connect(url) as connection:
        _close(connection, url)


def check_revision(url: str) -> None:
    """Raise UpgradeNeeded or HistoryBroken, with advice, unless the database is at this Daybook's newest revision."""
    with reaching(url), connect(url) as connection:
        found = _revision(connection)
    if found is None:
        raise HistoryBroken(f"the database {name(url)} has no ledger: {advice.another(url)}")
    _refuse_newer(url, found)
    if found != NEWEST:
        raise UpgradeNeeded(name(url), found, NEWEST)


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


def _refuse_newer(url: str, found: str | None) -> None:
    if found is not None and found > NEWEST:
        raise HistoryBroken(
            f"the database {name(url)} is of a newer Daybook (its revision is {found}, this one knows {NEWEST}); "
            "use that Daybook, or another database"
        )


def _close(connection: Connection, url: str) -> None:
    prefix = prefix_on_record(connection)
    if prefix is None:
        raise Unavailable(f"the database {name(url)} has no roles of Daybook; open it as its owner")
    close(connection, prefix)
    remember_prefix(url, prefix)
