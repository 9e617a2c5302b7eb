"""Forgers with the database and a key: what a key or checkpoint kept elsewhere shows, and what nothing here can."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from adapters.log.postgres import PostgresLog
from adapters.proof import checkpoints
from adapters.proof.checkpoints import Note, PublicKey
from adapters.proof.sealer import Sealer
from adapters.verify.derivation import derive
from adapters.verify.diagnosis import Fault
from adapters.verify.verification import VerifyRequest, verify
from domain.errors import HistoryBroken
from domain.values import Side
from tests.adapters.verify.tampering import Log, unguard
from tests.desk import Desk, fill

Kept = tuple[Note, PublicKey]


@pytest.fixture
def desk(log: PostgresLog) -> Desk:
    desk = Desk(log)
    for number in range(5):
        desk.report(fill(f"E{number}", Side.BUY, "1", "100", number))
    return desk


@pytest.fixture
def kept(desk: Desk, database_url: str, tmp_path: Path) -> Kept:
    """A checkpoint and the key, as an auditor keeps them, of a log that goes on by two checkpoints."""
    sealer = Sealer(database_url, tmp_path / "home")
    note = sealer.seal()
    assert note is not None
    key = verify(database_url).keys[0].key
    for number in (5, 6):
        desk.report(fill(f"E{number}", Side.BUY, "1", "100", number))
        sealer.seal()
    return note, key


@pytest.fixture
def superuser(kept: Kept, log: PostgresLog, database_url: str) -> Iterator[Log]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        rows = connection.execute("SELECT size FROM ledger.checkpoints ORDER BY size").fetchall()
        yield Log(connection, log.head().seq, [size for (size,) in rows])


REWRITE = "UPDATE ledger.events SET state = state || ' ' WHERE notification_id = 2"


def test_a_new_key_that_signs_a_rewritten_history_is_shown_by_the_old_one(
    superuser: Log, kept: Kept, database_url: str, tmp_path: Path
) -> None:
    note, key = kept
    unguard(superuser)
    superuser.run(REWRITE)
    for table in ("tiles", "checkpoints", "group_runs", "keys"):
        superuser.run(f"DELETE FROM ledger.{table}")
    Sealer(database_url, tmp_path / "other").seal()
    with pytest.raises(HistoryBroken, match="key"):
        verify(database_url, VerifyRequest(trusted=key))
    with pytest.raises(HistoryBroken, match="signed by none of this ledger's keys"):
        verify(database_url, VerifyRequest(against=[note]))


def test_of_the_newest_checkpoints_only_what_was_done_beside_is_shown_by_a_later_one_kept(
    superuser: Log, database_url: str
) -> None:
    """Without them events look as if they were not sealed yet; without a change they are sealed again, alike."""
    last = checkpoints.parse(
        str(superuser.one("SELECT note FROM ledger.checkpoints WHERE size = %s", superuser.sizes[-1]))
    )
    first = superuser.sizes[0]
    unguard(superuser)
    superuser.run("DELETE FROM ledger.checkpoints WHERE size > %s", first)
    found = verify(database_url).finding
    assert found is not None and (found.fault, found.seq) == (Fault.FORGED, first + 1), "the rows of groups show it"
    superuser.run("DELETE FROM ledger.group_runs WHERE size > %s", first)
    assert verify(database_url).finding is None
    assert verify(database_url, VerifyRequest(against=[last])).finding is None, "nothing is lost"
    superuser.run("UPDATE ledger.events SET state = state || ' ' WHERE notification_id = %s", first + 1)
    assert verify(database_url).finding is None
    found = verify(database_url, VerifyRequest(against=[last])).finding
    assert found is not None and (found.fault, found.seq) == (Fault.REWRITTEN, 1), found
    superuser.run("DELETE FROM ledger.events WHERE notification_id > %s", first)
    assert verify(database_url).finding is None
    found = verify(database_url, VerifyRequest(against=[last])).finding
    assert found is not None and (found.fault, found.seq) == (Fault.TRUNCATED, first + 1), found


def test_a_key_that_was_begun_and_never_used_leaves_no_trace(superuser: Log, database_url: str, tmp_path: Path) -> None:
    Sealer(database_url, tmp_path / "home").rotate()
    unguard(superuser)
    superuser.run("DELETE FROM ledger.keys WHERE place = 2")
    found = verify(database_url)
    assert found.finding is None and len(found.keys) == 1


def test_a_report_that_never_was_is_not_shown_with_all_that_follows_from_it(desk: Desk, database_url: str) -> None:
    desk.report(fill("invented", Side.BUY, "1000", "1", 9))
    assert derive(database_url).faults == (), "that a venue reported it is the input of what follows"
