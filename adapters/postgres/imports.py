"""Imports of files by their ids: what each became, so that sending a file again has the same answer."""

from datetime import datetime
from typing import NamedTuple

from adapters.postgres import connections
from adapters.postgres.connections import Role
from adapters.postgres.pool import Pool

CONNECTIONS_MAX = 2

PUT = """
INSERT INTO ledger.imports AS known (import_id, account_id, name, status, outcome, started_at, updated_at)
VALUES (%(import_id)s, %(account_id)s, %(name)s, %(status)s, %(outcome)s, %(at)s, %(at)s)
ON CONFLICT (import_id) DO UPDATE
SET status = excluded.status, outcome = excluded.outcome, updated_at = excluded.updated_at
"""
GET = """
SELECT import_id, account_id, name, status, outcome, started_at, updated_at FROM ledger.imports WHERE import_id = %s
"""


class KeptImport(NamedTuple):
    """An import: RUNNING, DONE or FAILED, and its outcome as the JSON that is answered."""

    import_id: str
    account_id: str
    name: str
    status: str
    outcome: bytes
    started_at: datetime
    updated_at: datetime


class Imports:
    """The imports of a database, in the writer's role. Safe between threads."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._pool = Pool(lambda: connections.connect(url, Role.WRITER), connections_max=CONNECTIONS_MAX)

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()

    def put(self, import_id: str, *, account_id: str, name: str, status: str, outcome: bytes, at: datetime) -> None:
        """Keep what an import has become by now. Raises Unavailable."""
        row = {
            "import_id": import_id, "account_id": account_id, "name": name, "status": status, "outcome": outcome,
            "at": at,
        }  # fmt: skip
        with connections.reaching(self._url), self._pool.connection() as connection:
            connection.execute(PUT, row)

    def get(self, import_id: str) -> KeptImport | None:
        """Return an import; None if there is none. Raises Unavailable."""
        with connections.reaching(self._url), self._pool.connection() as connection:
            row = connection.execute(GET, [import_id]).fetchone()
        return None if row is None else KeptImport(*row)._replace(outcome=bytes(row[4]))
