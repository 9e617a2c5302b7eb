"""Keys from before they were on record: an upgrade records each as it is, once, and none that comes later."""

from collections.abc import Iterator
from hashlib import sha256
from uuid import uuid4

import psycopg
import pytest

from adapters.log.postgres import PostgresLog
from adapters.postgres.api_keys import ApiKeys
from adapters.postgres.migrations import migrate
from adapters.postgres.migrations.upgrading import upgrade
from adapters.verify import keys_check
from adapters.writer.writer import Writer
from api.clock import now
from domain.access import UPGRADE, KeyRegistered, Part, fingerprint
from domain.ledger import scan, schema
from tests.databases import url_of_database
from tests.records import records

OLD = "dbk_0000000000aa_old"
GONE = "dbk_0000000000bb_gone"
LATER = "dbk_0000000000cc_later"
INSERT = "INSERT INTO access.api_keys (key_id, key_sha256, actor, scopes, revoked_at) VALUES (%s, %s, %s, %s, {})"


@pytest.fixture
def old_url(server_url: str) -> Iterator[str]:
    """A database of a release before, with a history, a key in use and one that is revoked."""
    name = f"daybook_old_{uuid4().hex[:8]}"
    url = url_of_database(server_url, name)
    with psycopg.connect(server_url, autocommit=True) as owner:
        owner.execute(f"CREATE DATABASE {name}")  # type: ignore[arg-type]
        try:
            upgrade(url, "0009")
            with PostgresLog(url) as log:
                log.append(records("account:main", range(1, 4)))
            insert(url, OLD, ["trade", "report"])
            insert(url, GONE, ["admin"], "now()")
            yield url
        finally:
            owner.execute(f"DROP DATABASE {name} WITH (FORCE)")  # type: ignore[arg-type]


def insert(url: str, key: str, scopes: list[str], revoked_at: str = "NULL") -> None:
    """Insert a key by SQL."""
    row = [key.split("_")[1], sha256(key.encode()).digest(), "bot", scopes]
    with psycopg.connect(url) as owner:
        owner.execute(INSERT.format(revoked_at), row)  # type: ignore[arg-type]


def test_an_upgrade_records_the_keys_that_there_are_and_no_later_row(old_url: str) -> None:
    migrate(old_url)
    insert(old_url, LATER, ["admin"])
    migrate(old_url)
    with PostgresLog(old_url) as log:
        added = list(scan(log, after=3))
        stored = [row.state for row in log.stored(after=3, limit=9)]
        keys = ApiKeys(old_url, cache_seconds=0, carry=Writer(log, now).request, actor=Part("system:test"))
        try:
            caller, gone, later = (keys.verify(key) for key in (OLD, GONE, LATER))
            listed = keys.all()
        finally:
            keys.close()
    assert [recorded.event.key_id for _, recorded in added] == ["0000000000aa", "0000000000bb"]
    assert [seq for seq, _ in added] == [4, 5]
    assert [schema.encode(recorded) for _, recorded in added] == stored, "as this Daybook would have written them"
    event = added[0].recorded.event
    assert isinstance(event, KeyRegistered) and added[0].recorded.by == UPGRADE
    assert event.fingerprint == fingerprint("0000000000aa", sha256(OLD.encode()).digest())
    assert caller is not None and caller.rights == {"trade", "report", "record", "read"}
    assert gone is None and later is None
    assert [bool(row.difference) for row in listed] == [False, False, True]
    assert [wrong.key_id for wrong in keys_check.check(old_url).wrong] == ["0000000000cc"]
