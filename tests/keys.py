"""API keys for tests that have a database and no open Daybook."""

from collections.abc import Sequence

from adapters.log.postgres import PostgresLog
from adapters.postgres.api_keys import ApiKeys
from adapters.postgres.scopes import Scope
from adapters.writer.writer import Writer
from api.clock import now
from domain.access import Part


def issue(url: str, name: str, scopes: Sequence[Scope]) -> str:
    """A key, on record in the log and in the table."""
    with PostgresLog(url) as log:
        keys = ApiKeys(url, cache_seconds=0, carry=Writer(log, now).request, actor=Part("system:test"))
        try:
            return keys.issue(name, scopes)
        finally:
            keys.close()
