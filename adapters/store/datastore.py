"""The eventsourcing library's datastore over a pool of ours: connections that act as a role and time out."""

from typing import Any, cast

from eventsourcing.postgres import PostgresDatastore

from adapters.store import database
from adapters.store.database import Role
from adapters.store.pool import Pool


class LogDatastore(PostgresDatastore):
    """Where the library's recorders get their connections from."""

    def __init__(self, url: str, role: Role) -> None:
        super().__init__("", "", "", "", "", schema="ledger", originator_id_type="text")
        self.url = url
        self.connections = Pool(lambda: database.connect(url, role))
        self.pool = cast(Any, self.connections)  # in place of the library's, which is not open yet

    def register_type_adapters(self) -> None:
        """Nothing: rows go by COPY and arrays, without the library's composite types."""
