"""SQLAlchemy engines for the read models, with the roles and timeouts of `connections.connect`.

A module of its own, so that processes that only write to the ledger need not load SQLAlchemy.
"""

import contextlib
from collections.abc import Iterator

import msgspec
import psycopg
import sqlalchemy
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from adapters.postgres import connections
from adapters.postgres.connections import CONNECT_SECONDS_MAX, Role
from domain.errors import Unavailable
from domain.errors.codes import Code

CONNECTIONS_MAX = 8


class _Pool(QueuePool):
    """SQLAlchemy's pool; when every connection is lent for too long it raises Unavailable, as `Pool` does."""

    def _do_get(self) -> ConnectionPoolEntry:
        try:
            return super()._do_get()
        except sqlalchemy.exc.TimeoutError as error:
            raise Unavailable(
                f"all {self.size()} database connections are busy; try again", code=Code.DATABASE_BUSY
            ) from error


def engine(url: str, role: Role | None = None, *, connections_max: int = CONNECTIONS_MAX) -> sqlalchemy.Engine:
    """Create an engine with SQLAlchemy's own transactions."""
    return sqlalchemy.create_engine(
        "postgresql+psycopg://",
        creator=lambda: connections.connect(url, role, autocommit=False),
        poolclass=_Pool,
        pool_size=connections_max,
        max_overflow=0,
        pool_timeout=CONNECT_SECONDS_MAX,
        pool_pre_ping=True,
        json_deserializer=msgspec.json.decode,
    )


@contextlib.contextmanager
def reaching(url: str) -> Iterator[None]:
    """Like `connections.reaching`, for SQLAlchemy's exceptions."""
    with connections.reaching(url):
        try:
            yield
        except sqlalchemy.exc.DBAPIError as error:
            if isinstance(error.orig, psycopg.OperationalError):
                raise error.orig from error
            raise
